//! Asks the admin endpoints of a running proxy, over TCP or the Unix socket.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The most bytes of a health check's answer that are read.
const CHECK_BYTES: u64 = 4096;

/// Where a proxy's admin endpoints are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The admin listener.
    Address(SocketAddr),
    /// The Unix socket.
    Socket(PathBuf),
}

impl FromStr for Place {
    type Err = &'static str;

    /// An address, an http URL of one, or the path of a socket.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Socket(path.into()));
        }
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare).replace("localhost:", "127.0.0.1:");
        match bare.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) if text.contains('/') && !text.contains("://") => Ok(Self::Socket(text.into())),
            Err(_) => Err("write an IP address and a port, such as `127.0.0.1:9901`, or the path of a socket"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status; 0 if the answer is not HTTP.
    pub status: u16,
    /// The body as text, cut where it was to be.
    pub body: String,
}

impl Place {
    /// The answer to GET of `target`, of which at most `limit` bytes are read. Errs if there is none in time.
    pub async fn get(&self, target: &str, limit: u64) -> io::Result<Answer> {
        let asking = async {
            match self {
                Self::Address(address) => exchange(TcpStream::connect(reachable(*address)).await?, target, limit).await,
                Self::Socket(path) => exchange(UnixStream::connect(path).await?, target, limit).await,
            }
        };
        tokio::time::timeout(TIMEOUT, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// A listener on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: &str, limit: u64) -> io::Result<Answer> {
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(limit).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/").and_then(|head| head.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body: body.to_owned() })
}

/// Why a health check failed.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// There is no answer.
    #[error("no answer from {place}: {source}")]
    Connect {
        /// Who was asked.
        place: Place,
        /// The system's error.
        source: io::Error,
    },
    /// The answer is not a success; its text.
    #[error("{0}")]
    Unhealthy(String),
}

/// Requests `/livez`, or `/readyz` with `ready`, and returns the answer's text. Errs if there is no answer, or it is not 200.
pub async fn healthcheck(place: &Place, ready: bool) -> Result<String, HealthcheckError> {
    let target = if ready { "/readyz?verbose" } else { "/livez" };
    let answer = place.get(target, CHECK_BYTES).await;
    let answer = answer.map_err(|source| HealthcheckError::Connect { place: place.clone(), source })?;
    let body = answer.body.trim_end().chars();
    let body: String = body.map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    match answer.status {
        200 => Ok(body),
        0 => Err(HealthcheckError::Unhealthy("the answer is not HTTP".to_owned())),
        _ => Err(HealthcheckError::Unhealthy(body)),
    }
}
