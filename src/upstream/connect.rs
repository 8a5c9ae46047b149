use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::http1::{Broken, Connection};
use super::paced::Paced;
use super::{Tls, Upstream, UpstreamError};
use crate::server::liveness;

/// How long an idle connection is kept. Less than the 5 s after which Node and uvicorn close it: a request that races with
/// such a close may have been received and cannot be resent, so the race is best avoided.
pub(super) const KEEP: Duration = Duration::from_secs(4);

/// The most bytes of an answer's header section; for HTTP/2 counted as in RFC 9113 section 6.5.2.
pub(super) const HEAD_BYTES: u16 = 32 * 1024;
/// HTTP/2 flow-control windows in bytes: of one stream, and of a whole connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How often an HTTP/2 connection with open streams is pinged, and how long the reply may take before it counts as dead.
const PING: Duration = Duration::from_secs(15);

/// A stream of bytes to an upstream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// Opens an HTTP/1.1 connection; errs if that does not succeed within the connect timeout.
pub(super) async fn http1(upstream: &Upstream) -> Result<Box<Connection>, UpstreamError> {
    open_in_time(upstream).await.map(Connection::new)
}

/// Opens an HTTP/2 connection, which lives as long as a sender or a stream does; errs if that does not succeed within the
/// connect timeout.
pub(super) async fn http2(upstream: &Upstream) -> Result<http2::SendRequest<Full<Bytes>>, UpstreamError> {
    let stream = open_in_time(upstream).await?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::from(HEAD_BYTES))
        .handshake(TokioIo::new(Paced::new(stream)))
        .await
        .map_err(Broken::Http2)?;
    // The requests on the connection see how it ended.
    drop(spawn(async move { drop(connection.await) }));
    Ok(sender)
}

/// See [`Upstream::reach`].
pub(super) async fn reach(upstream: &Upstream) -> Result<(), UpstreamError> {
    open_in_time(upstream).await.map(drop)
}

async fn open_in_time(upstream: &Upstream) -> Result<Box<dyn Stream>, UpstreamError> {
    let limit = upstream.timeouts.connect;
    timeout(limit, open(upstream)).await.unwrap_or(Err(UpstreamError::ConnectTimeout(limit)))
}

async fn open(upstream: &Upstream) -> Result<Box<dyn Stream>, UpstreamError> {
    let found = tokio::net::lookup_host((upstream.host.as_str(), upstream.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(UpstreamError::Resolve)?.collect();
    let stream = first_of(&addresses, upstream.timeouts.connect).await?;
    stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
    liveness::watch(&stream).map_err(UpstreamError::Connect)?;
    let Some(Tls { connector, name }) = &upstream.tls else {
        return Ok(Box::new(stream));
    };
    let stream = connector.connect(name.clone(), stream).await.map_err(UpstreamError::Tls)?;
    let expected = upstream.protocol.alpn();
    // A server that does not support ALPN sends no protocol (RFC 7301 section 3.2): then it is HTTP/1.1.
    match stream.get_ref().1.alpn_protocol() {
        Some(agreed) if agreed == expected => Ok(Box::new(stream)),
        None if expected == super::Protocol::Http1.alpn() => Ok(Box::new(stream)),
        _ => Err(UpstreamError::Protocol),
    }
}

/// Connects to the first address that accepts. Each gets an equal share of `limit`, so that one that does not answer leaves
/// time for the others. Errs with the last failure if none accepts.
async fn first_of(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, UpstreamError> {
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    match last.kind() {
        io::ErrorKind::NotFound => Err(UpstreamError::Resolve(last)),
        io::ErrorKind::TimedOut => Err(UpstreamError::ConnectTimeout(limit)),
        _ => Err(UpstreamError::Connect(last)),
    }
}

/// Spawns a task that looks after connections.
#[expect(clippy::disallowed_methods, reason = "ends with its connections, which end with their last user")]
pub(super) fn spawn(driver: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(driver)
}
