//! Serves one accepted connection until it ends or is told to: TLS if configured, then HTTP/1 behind the guard, or HTTP/2.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::drain::{Calls, RunningCall};
use super::forwarded::{self, ForwardedError};
use super::gate::{Place, Refusal};
use super::guard::{Guard, HeadLimits};
use super::proxy_header::{self, Origin};
use super::tls::Tls;
use super::watch::{CallGuard, Meter, Patience, Signal, Watch};
use crate::audit::Fragment;
use crate::config::{self, Proxies, ProxyProtocol};
use crate::mcp::ClientSaid;

/// The first bytes of an HTTP/2 connection with prior knowledge (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// The most bytes that hyper buffers for one HTTP/1 connection; limits one read of a body, not the body.
const BUFFER_BYTES: usize = 64 * 1024;
/// The flow-control window of one HTTP/2 stream, in bytes; that of a connection is four times as large.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The most streams that a client may reset before they are accepted (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// The most stream resets that a client may provoke on one connection (CVE-2025-8671).
const PROVOKED_RESETS: usize = 128;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address: that of the connection, or the one a trusted proxy names. Port 0 is unknown.
    pub address: SocketAddr,
    /// Who has opened the connection, as far as is known: `None` if a proxy has passed it on and does not say for whom.
    pub sender: Option<IpAddr>,
    /// The client's certificate, if it sent one; verified unless any certificate is accepted.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
    /// The local address.
    pub local: SocketAddr,
    /// Whether the connection is TLS.
    pub secure: bool,
    /// SHA-256 of the certificate, computed once.
    certificate_digest: OnceLock<Option<[u8; 32]>>,
    /// What the client said of itself with the first call and how the audit log says it; rendered once.
    pub(crate) client: OnceLock<(Option<HeaderValue>, Option<ClientSaid>, Fragment)>,
}

impl Peer {
    /// The peer of a connection without TLS.
    pub const fn new(address: SocketAddr, local: SocketAddr) -> Self {
        Self {
            address,
            sender: Some(address.ip()),
            certificate: None,
            local,
            secure: false,
            certificate_digest: OnceLock::new(),
            client: OnceLock::new(),
        }
    }

    /// The client of a request, if a trusted proxy has forwarded it; `None` if it is that of the connection. Errs if the proxy
    /// does not say who it is.
    pub(crate) fn forwarded(&self, proxies: &Proxies, headers: &HeaderMap) -> Result<Option<Self>, ForwardedError> {
        let Some(sender) = self.sender.filter(|_| !proxies.trusted.is_empty()) else { return Ok(None) };
        let client = forwarded::client(proxies, sender, headers)?;
        Ok(client.map(|address| Self { address, client: OnceLock::new(), ..self.clone() }))
    }

    /// SHA-256 of the client's certificate, to which tokens may be bound (RFC 8705 section 3.1); `None` without one.
    pub fn certificate_digest(&self) -> Option<[u8; 32]> {
        *self.certificate_digest.get_or_init(|| {
            let certificate = self.certificate.as_deref()?;
            digest(&SHA256, certificate).as_ref().try_into().ok()
        })
    }
}

/// Limits of the connections of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) head: HeadLimits,
    pub(super) patience: Patience,
    pub(super) streams: u32,
    pub(super) tls_timeout: Duration,
}

impl Settings {
    pub(super) fn new(limits: &config::Limits) -> Self {
        Self {
            head: HeadLimits { bytes: limits.header_bytes, fields: limits.header_count },
            patience: Patience { header: limits.header_timeout, keep_alive: limits.keep_alive },
            streams: limits.http2_streams,
            tls_timeout: limits.tls_timeout,
        }
    }
}

/// What every connection of a worker is served with.
#[derive(Clone, Debug)]
pub(super) struct Desk<H> {
    pub(super) settings: Settings,
    pub(super) handler: H,
    pub(super) calls: Arc<Calls>,
}

/// Serves a new TCP connection to its end, and holds its permit until then.
///
/// Futures that a plain HTTP/1 connection does not need are boxed: there are thousands of connections, many idle for hours.
pub(super) async fn serve<H, F, B>(
    mut stream: TcpStream,
    mut peer: Arc<Peer>,
    tls: Option<Arc<Tls>>,
    desk: Desk<H>,
    (watch, mut place): (Arc<Watch>, Place),
) where
    H: Fn(Arc<Peer>, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if place.header != ProxyProtocol::Off {
        let introduced = Box::pin(introduced(&mut stream, &peer, &mut place, desk.settings.tls_timeout));
        let Some(Some(client)) = watch.unless_ended(introduced).await else { return };
        peer = client;
    }
    if let Some(tls) = tls {
        return Box::pin(secured(stream, peer, tls, desk, watch)).await;
    }
    let mut start = [0; PREFACE.len()];
    let Some(Ok(count)) = watch.unless_ended(stream.peek(&mut start)).await else { return };
    if start == PREFACE {
        Box::pin(http2(stream, peer, desk, watch)).await;
    } else if count > 0 {
        http1(stream, peer, desk, watch).await;
    }
}

/// The peer of a connection of a trusted proxy, once its PROXY header is read; `None` if the connection is refused.
async fn introduced(stream: &mut TcpStream, peer: &Arc<Peer>, place: &mut Place, limit: Duration) -> Option<Arc<Peer>> {
    let is_optional = place.header == ProxyProtocol::Optional;
    match tokio::time::timeout(limit, proxy_header::read(stream, is_optional)).await {
        Ok(Ok(None)) => Some(Arc::clone(peer)),
        Ok(Ok(Some(Origin::Unnamed))) => Some(Arc::new(Peer { sender: None, ..(**peer).clone() })),
        Ok(Ok(Some(Origin::Client(address)))) => {
            let client = Peer { address, sender: Some(address.ip()), ..(**peer).clone() };
            place.count(address.ip()).then(|| Arc::new(client))
        }
        Ok(Err(_)) | Err(_) => {
            place.refuse(Refusal::Header, peer.address.ip());
            None
        }
    }
}

async fn secured<H, F, B>(stream: TcpStream, peer: Arc<Peer>, tls: Arc<Tls>, desk: Desk<H>, watch: Arc<Watch>)
where
    H: Fn(Arc<Peer>, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handshake = Box::pin(tokio::time::timeout(desk.settings.tls_timeout, tls.acceptor().accept(stream)));
    let stream = match watch.unless_ended(handshake).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => return tracing::debug!(%error, "the TLS handshake failed"),
        Some(Err(_)) | None => return,
    };
    let session = stream.get_ref().1;
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
    let peer = Arc::new(Peer { certificate: certificate.map(Arc::new), secure: true, ..(*peer).clone() });
    if session.alpn_protocol() == Some(b"h2") {
        Box::pin(http2(stream, peer, desk, watch)).await;
    } else {
        Box::pin(http1(stream, peer, desk, watch)).await;
    }
}

/// Serves HTTP/1 behind the guard.
pub(super) async fn http1<S, H, F, B>(io: S, peer: Arc<Peer>, desk: Desk<H>, watch: Arc<Watch>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Arc<Peer>, Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Desk { settings, handler, calls } = desk;
    let watched = Arc::clone(&watch);
    let service = service_fn(move |request| {
        let running = (calls.start(), watched.call());
        // hyper keeps the memory of this future while the connection lives; a box is freed when the call ends.
        answer(Box::pin(handler(Arc::clone(&peer), request)), running)
    });
    let guard = Guard::new(io, settings.head, Arc::clone(&watch));
    let connection = pin!(http1_builder(&settings).serve_connection(TokioIo::new(guard), service));
    oversee(&watch, connection, http1::Connection::graceful_shutdown).await;
}

fn http1_builder(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The roster enforces timeouts; hyper would start a timer for every request.
    // One copy is cheaper than a write of many parts.
    builder.header_read_timeout(None).writev(false).max_buf_size(BUFFER_BYTES.max(settings.head.bytes));
    if settings.head.fields > 100 {
        builder.max_headers(settings.head.fields);
    }
    builder
}

/// Serves HTTP/2, after ALPN or with prior knowledge.
async fn http2<S, H, F, B>(io: S, peer: Arc<Peer>, desk: Desk<H>, watch: Arc<Watch>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Arc<Peer>, Request<Incoming>) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Desk { settings, handler, calls } = desk;
    watch.head_done();
    let watched = Arc::clone(&watch);
    let service = service_fn(move |request| {
        let running = (calls.start(), watched.call());
        // A stream keeps the memory of this future until the last byte of the response is sent.
        answer(Box::pin(handler(Arc::clone(&peer), request)), running)
    });
    let mut builder = http2::Builder::new(Spawner);
    builder
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(u32::try_from(settings.head.bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(PROVOKED_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(4 * STREAM_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize);
    let io = TokioIo::new(Meter { io, watch: Arc::clone(&watch) });
    let connection = pin!(builder.serve_connection(io, service));
    oversee(&watch, connection, http2::Connection::graceful_shutdown).await;
}

/// Waits for the handler; the call counts as running until it ends or is dropped.
fn answer<B>(
    response: impl Future<Output = Response<B>>,
    running: (RunningCall, CallGuard),
) -> impl Future<Output = Result<Response<B>, Infallible>> {
    response.map(|response| {
        drop(running);
        Ok(response)
    })
}

/// Drives a connection to its end, and follows the signals of its watch.
async fn oversee<C: Future<Output = hyper::Result<()>>>(
    watch: &Watch,
    mut connection: Pin<&mut C>,
    shut_down: impl Fn(Pin<&mut C>),
) {
    let (mut registered, mut closing) = (false, false);
    let ended = std::future::poll_fn(|cx| {
        loop {
            let signal = watch.signal();
            if signal == Signal::Abort {
                return Poll::Ready(Ok(()));
            }
            // Before further responses are written, so that they say `connection: close`.
            if signal == Signal::Close && !closing {
                (registered, closing) = (false, true);
                shut_down(connection.as_mut());
            }
            if !registered {
                watch.register(cx);
                registered = true;
            }
            match connection.as_mut().poll(cx) {
                Poll::Pending if watch.signal() != signal => {}
                ended => return ended,
            }
        }
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Runs HTTP/2 streams on the worker that accepted their connection.
#[derive(Clone, Copy, Debug)]
struct Spawner;

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output: Send> + Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "the task ends with its connection or its worker's runtime")]
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}
