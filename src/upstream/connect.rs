use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::deadline::{Deadline, drive};
use super::paced::Paced;
use super::{Tls, Upstream, UpstreamError};
use crate::clock;
use crate::server::liveness;

/// How long an idle connection is kept. Less than the 5 s after which Node and uvicorn close it: a request that races with
/// such a close may have been received and cannot be resent, so the race is best avoided.
pub(super) const KEEP: Duration = Duration::from_secs(4);

/// The most bytes of an answer's header section; for HTTP/2 counted as in RFC 9113 section 6.5.2.
pub(super) const HEAD_BYTES: u16 = 32 * 1024;
/// The most bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// HTTP/2 flow-control windows in bytes: of one stream, and of a whole connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How often an HTTP/2 connection with open streams is pinged, and how long the reply may take before it counts as dead.
const PING: Duration = Duration::from_secs(15);

/// An HTTP/1.1 connection. Dropping it closes the socket, whatever it was doing.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) deadline: Arc<Deadline>,
    driver: JoinHandle<()>,
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Closes the connection now. hyper by itself would first flush its buffers, however slowly the peer reads.
    pub(super) fn end(&self) {
        self.driver.abort();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Opens an HTTP/1.1 connection; errs if that does not succeed within the connect timeout.
pub(super) async fn http1(upstream: &Upstream) -> Result<Connection, UpstreamError> {
    match open_in_time(upstream).await? {
        Stream::Plain(stream) => handshake_http1(upstream, stream).await,
        Stream::Tls(stream) => handshake_http1(upstream, stream).await,
    }
}

/// Opens an HTTP/2 connection, which lives as long as a sender or a stream does; errs if that does not succeed within the
/// connect timeout.
pub(super) async fn http2(upstream: &Upstream) -> Result<http2::SendRequest<Full<Bytes>>, UpstreamError> {
    match open_in_time(upstream).await? {
        Stream::Plain(stream) => handshake_http2(stream).await,
        Stream::Tls(stream) => handshake_http2(stream).await,
    }
}

/// See [`Upstream::reach`].
pub(super) async fn reach(upstream: &Upstream) -> Result<(), UpstreamError> {
    open_in_time(upstream).await.map(drop)
}

async fn open_in_time(upstream: &Upstream) -> Result<Stream, UpstreamError> {
    let limit = upstream.timeouts.connect;
    timeout(limit, open(upstream)).await.unwrap_or(Err(UpstreamError::ConnectTimeout(limit)))
}

async fn open(upstream: &Upstream) -> Result<Stream, UpstreamError> {
    let found = tokio::net::lookup_host((upstream.host.as_str(), upstream.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(UpstreamError::Resolve)?.collect();
    let stream = first_of(&addresses, upstream.timeouts.connect).await?;
    stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
    liveness::watch(&stream).map_err(UpstreamError::Connect)?;
    let Some(Tls { connector, name }) = &upstream.tls else {
        return Ok(Stream::Plain(stream));
    };
    let stream = connector.connect(name.clone(), stream).await.map_err(UpstreamError::Tls)?;
    let expected = upstream.protocol.alpn();
    // A server that does not support ALPN sends no protocol (RFC 7301 section 3.2): then it is HTTP/1.1.
    match stream.get_ref().1.alpn_protocol() {
        Some(agreed) if agreed == expected => Ok(Stream::Tls(Box::new(stream))),
        None if expected == super::Protocol::Http1.alpn() => Ok(Stream::Tls(Box::new(stream))),
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

async fn handshake_http1<S>(upstream: &Upstream, stream: S) -> Result<Connection, UpstreamError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // hyper's default limit of 100 header fields is kept: setting one would cost an allocation per answer.
    let (sender, connection) = http1::Builder::new()
        .max_header_size(usize::from(HEAD_BYTES))
        .max_buf_size(READ_BYTES)
        .handshake(TokioIo::new(Paced::new(stream)))
        .await
        .map_err(UpstreamError::Broken)?;
    let deadline = Arc::new(Deadline::new(clock::monotonic()));
    let shortest = KEEP.min(upstream.timeouts.first_byte).min(upstream.timeouts.idle);
    let driver = spawn(drive(connection, Arc::clone(&deadline), shortest));
    Ok(Connection { deadline, driver, sender })
}

async fn handshake_http2<S>(stream: S) -> Result<http2::SendRequest<Full<Bytes>>, UpstreamError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::from(HEAD_BYTES))
        .handshake(TokioIo::new(Paced::new(stream)))
        .await
        .map_err(UpstreamError::Broken)?;
    // The requests on the connection see how it ended.
    drop(spawn(async move { drop(connection.await) }));
    Ok(sender)
}

/// Spawns the task that drives a connection's I/O.
#[expect(clippy::disallowed_methods, reason = "ends with the connection, which ends with its last user")]
fn spawn(driver: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(driver)
}
