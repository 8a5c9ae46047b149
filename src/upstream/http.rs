use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};

use super::connect::{self, Connection};
use super::gate::Place;
use super::lines::Lines;
use super::pool::Shelf;
use super::source::Source;
use super::{Stay, Upstream, UpstreamError};
use crate::clock;
use crate::json::{Document, Splice};

/// The most header fields of an answer; hyper's limit for HTTP/1.1 is the same.
const HEAD_FIELDS: usize = 100;
/// The most bytes preallocated for an answer according to its `Content-Length`.
const TRUSTED_BYTES: u64 = 1024 * 1024;

/// How long an upstream has to end an answer whose remaining content is not needed.
const PARTING: Duration = Duration::from_millis(200);

/// An upstream's answer: the head, unambiguous and within limits, and the body, still to be read.
#[derive(Debug)]
pub struct Answer {
    /// The final status; interim (1xx) responses are skipped.
    pub status: StatusCode,
    /// The header section as received; only a few of its fields may be forwarded.
    pub headers: HeaderMap,
    /// The body, which holds the connection.
    pub body: AnswerBody,
}

impl Answer {
    /// An answer of these parts; in a box, as it goes through many hands.
    pub(crate) fn new(status: StatusCode, headers: HeaderMap, body: AnswerBody) -> Box<Self> {
        Box::new(Self { status, headers, body })
    }

    /// An answer with a status and no content.
    pub(crate) fn bare(status: StatusCode) -> Box<Self> {
        Self::new(status, HeaderMap::new(), AnswerBody::whole(Bytes::new()))
    }

    /// An answer of one JSON message.
    pub(crate) fn json(status: StatusCode, message: Bytes) -> Box<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self::new(status, headers, AnswerBody::whole(message))
    }

    /// An event stream that a task writes; if the answer is dropped, the task's channel is closed.
    pub(crate) fn events(pieces: mpsc::Receiver<Bytes>) -> Box<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        Self::new(StatusCode::OK, headers, AnswerBody::made(Source::Made(pieces), Lease::None))
    }
}

/// Sends on the newest idle connection, or on a new one.
pub(super) async fn http1(
    upstream: &Arc<Upstream>,
    shelf: &Arc<Shelf>,
    mut request: Box<Request<Full<Bytes>>>,
) -> Result<Box<Answer>, Failed> {
    let mut kept = shelf.take();
    loop {
        let reused = kept.is_some();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            // Boxed to keep the future small, since nearly every request finds an idle connection.
            None => match Box::pin(connect::http1(upstream)).await {
                Ok(connection) => connection,
                Err(error) => return Err(Failed::unsent(error, request)),
            },
        };
        let sent = clock::monotonic();
        connection.deadline.arm(sent, upstream.timeouts.first_byte);
        let mut error = match connection.sender.try_send_request(*request).await {
            Ok(response) => {
                connection.deadline.disarm();
                let lease = Lease::Http1 { connection, shelf: Arc::clone(shelf), waiting: false };
                return Ok(admit(response, lease, upstream, sent)?);
            }
            Err(error) => error,
        };
        match error.take_message() {
            // hyper returns a request only if no part of it was written.
            Some(unsent) if reused => *request = unsent,
            _ if connection.deadline.is_expired() => {
                return Err(UpstreamError::FirstByte(upstream.timeouts.first_byte).into());
            }
            _ => return Err(failure(error.into_error()).into()),
        }
    }
}

/// Sends on the worker's one connection to an HTTP/2 upstream.
pub(super) async fn http2(
    upstream: &Arc<Upstream>,
    shelf: &Shelf,
    mut request: Box<Request<Full<Bytes>>>,
) -> Result<Box<Answer>, Failed> {
    loop {
        let (mut sender, reused) = match shelf.shared(upstream).await {
            Ok(shared) => shared,
            Err(error) => return Err(Failed::unsent(error, request)),
        };
        let (sent, limit) = (clock::monotonic(), upstream.timeouts.first_byte);
        let mut error = match timeout(limit, sender.try_send_request(*request)).await {
            Err(_) => return Err(UpstreamError::FirstByte(limit).into()),
            Ok(Ok(response)) => return Ok(admit(response, Lease::Http2 { pause: None }, upstream, sent)?),
            Ok(Err(error)) => error,
        };
        match error.take_message() {
            Some(unsent) if reused => {
                shelf.forget_closed();
                *request = unsent;
            }
            _ => return Err(failure(error.into_error()).into()),
        }
    }
}

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    /// The request, if no part of it was sent.
    pub(super) unsent: Option<Box<Request<Full<Bytes>>>>,
    /// Whether sending it was attempted.
    pub(super) was_tried: bool,
}

impl Failed {
    /// Sending was attempted, and no part of the request was sent.
    fn unsent(error: UpstreamError, request: Box<Request<Full<Bytes>>>) -> Self {
        Self { error, unsent: Some(request), was_tried: true }
    }

    /// Sending was not attempted.
    pub(super) fn untried(error: UpstreamError, request: Box<Request<Full<Bytes>>>) -> Self {
        Self { error, unsent: Some(request), was_tried: false }
    }
}

impl From<UpstreamError> for Failed {
    fn from(error: UpstreamError) -> Self {
        Self { error, unsent: None, was_tried: true }
    }
}

/// Turns the response into an answer; errs if its head is ambiguous or too large.
fn admit(
    response: Response<Incoming>,
    lease: Lease,
    upstream: &Upstream,
    sent: Instant,
) -> Result<Box<Answer>, UpstreamError> {
    let (head, incoming) = response.into_parts();
    check(&head)?;
    let body = AnswerBody::new(Source::Network(incoming), lease, upstream, sent);
    Ok(Answer::new(head.status, head.headers, body))
}

/// Errs for a head whose framing is ambiguous (RFC 9112 section 6.3): with both a length and a transfer coding, or with a
/// coding other than `chunked`. hyper itself refuses differing lengths and folded lines.
fn check(head: &response::Parts) -> Result<(), UpstreamError> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamError::Framing("an upgrade nobody asked for"));
    }
    if head.headers.len() > HEAD_FIELDS {
        return Err(UpstreamError::TooLarge);
    }
    if let Some(coding) = head.headers.get(header::TRANSFER_ENCODING) {
        if head.headers.contains_key(header::CONTENT_LENGTH) {
            return Err(UpstreamError::Framing("both content-length and transfer-encoding"));
        }
        let codings = head.headers.get_all(header::TRANSFER_ENCODING).iter().count();
        if codings != 1 || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(UpstreamError::Framing("a transfer coding other than chunked"));
        }
    }
    Ok(())
}

/// Maps hyper's error.
pub(super) fn failure(error: hyper::Error) -> UpstreamError {
    if error.is_parse_too_large() { UpstreamError::TooLarge } else { UpstreamError::Broken(error) }
}

/// The body of an answer. Read to its end, the connection is kept for the next request; dropped before, the connection is
/// closed at once (HTTP/2: the stream is reset), which is how a client's disconnect reaches the upstream. `release` gives the
/// upstream a short time to end it.
#[derive(Debug)]
pub struct AnswerBody {
    idle: Duration,
    incoming: Source,
    lease: Lease,
    /// The slot at the upstream, held until the answer has ended.
    place: Option<Place>,
    sent: Instant,
    total: Duration,
}

/// Awaits `sending`, and errs if the answer does not begin within `limit`; limits the total time of a body to be read whole
/// to `limit` too.
pub(crate) async fn within(
    limit: Duration,
    sending: impl Future<Output = Result<Box<Answer>, UpstreamError>> + Unpin,
) -> Result<Box<Answer>, UpstreamError> {
    let mut answer = timeout(limit, sending).await.map_err(|_| UpstreamError::FirstByte(limit))??;
    answer.body.total = answer.body.total.min(limit);
    Ok(answer)
}

/// A body's hold on its connection.
#[derive(Debug)]
enum Lease {
    Ended,
    /// There is no connection.
    None,
    Http1 {
        connection: Connection,
        shelf: Arc<Shelf>,
        /// Whether the deadline is armed.
        waiting: bool,
    },
    Http2 {
        /// The idle timer; runs while data is awaited.
        pause: Option<Pin<Box<Sleep>>>,
    },
}

impl AnswerBody {
    fn new(incoming: Source, lease: Lease, upstream: &Upstream, sent: Instant) -> Self {
        let mut body =
            Self { idle: upstream.timeouts.idle, incoming, lease, place: None, sent, total: upstream.timeouts.total };
        if body.incoming.is_end_stream() {
            body.lease.end();
        }
        body
    }

    /// Holds `place` until the answer has ended.
    pub(super) fn hold(&mut self, place: Place) {
        self.place = Some(place).filter(|_| !matches!(self.lease, Lease::Ended));
    }

    /// Keeps a session in use until the body is read or dropped.
    pub(crate) fn keep(&mut self, stay: Stay) {
        if !matches!(self.lease, Lease::Ended) {
            let incoming = std::mem::replace(&mut self.incoming, Source::Whole(Bytes::new()));
            self.incoming = Source::OfSession(Box::new((incoming, stay)));
        }
    }

    /// Discards the rest: everything needed has come, and a stream should end after its response (2025-11-25, "Sending
    /// Messages to the Server"). If it ends soon, its connection is kept like any other; otherwise it is closed.
    #[expect(clippy::disallowed_methods, reason = "it ends by itself, and soon")]
    pub(crate) fn release(&mut self) {
        let mut body = std::mem::replace(self, Self::whole(Bytes::new()));
        body.place = None;
        let holds_connection = matches!(body.lease, Lease::Http1 { .. } | Lease::Http2 { .. });
        if holds_connection && tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(timeout(PARTING, async move { body.piece(0).await.is_ok() }));
        }
    }

    /// This body without idle and total timeouts.
    pub(super) fn unhurried(self) -> Self {
        Self { idle: Duration::MAX, total: Duration::MAX, ..self }
    }

    /// A body in memory.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let lease = if bytes.is_empty() { Lease::Ended } else { Lease::None };
        Self::made(Source::Whole(bytes), lease)
    }

    /// A parsed message in memory, and `edits` still to be applied to it.
    pub(crate) fn read(document: Document, edits: Splice) -> Self {
        Self::made(Source::Read(Box::new((document, edits))), Lease::None)
    }

    /// Whether it is a parsed message.
    pub(crate) const fn is_read(&self) -> bool {
        matches!(self.incoming, Source::Read(_))
    }

    /// Takes the parsed message and its edits; `None` if it is another kind of body.
    pub(crate) fn take_read(&mut self) -> Option<(Document, Splice)> {
        if self.is_read() { self.incoming.take_read() } else { None }
    }

    /// The events of a process or of a stream of 2024-11-05.
    pub(super) fn lines(lines: Lines) -> Self {
        Self::made(Source::Lines(Box::new(lines)), Lease::None)
    }

    fn made(incoming: Source, lease: Lease) -> Self {
        let forever = Duration::MAX;
        Self { idle: forever, incoming, lease, place: None, sent: clock::monotonic(), total: forever }
    }

    /// Reads the whole body. Errs if it has more than `limit` bytes, is not read within the total time, or breaks off. A body
    /// of one piece is not copied.
    pub async fn collect_limited(mut self, limit: usize) -> Result<Bytes, UpstreamError> {
        if self.incoming.size_hint().lower() > limit as u64 {
            return Err(UpstreamError::TooLarge);
        }
        let first = self.piece(limit).await?.unwrap_or_default();
        if self.is_end_stream() {
            return Ok(first);
        }
        let Some(second) = self.piece(limit - first.len()).await? else {
            return Ok(first);
        };
        let expected = self.incoming.size_hint().lower().min(TRUSTED_BYTES);
        let mut whole = BytesMut::with_capacity(first.len() + second.len() + usize::try_from(expected).unwrap_or(0));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        drop((first, second));
        while let Some(piece) = self.piece(limit - whole.len()).await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The next piece; `None` at the end. Errs if it has more than `limit` bytes.
    async fn piece(&mut self, limit: usize) -> Result<Option<Bytes>, UpstreamError> {
        let Some(frame) = std::future::poll_fn(|cx| self.poll_data(cx)).await else {
            return Ok(None);
        };
        let data = frame?;
        if data.len() > limit {
            return Err(UpstreamError::TooLarge);
        }
        // No two pieces are further apart than the idle timeout, so checking at each piece is often enough.
        if !self.is_end_stream() && clock::monotonic().saturating_duration_since(self.sent) > self.total {
            return Err(UpstreamError::Total(self.total));
        }
        Ok(Some(data))
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        if matches!(self.lease, Lease::Ended) {
            // Any remaining piece is empty, so it need not be read.
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Pending => match self.lease.poll_idle(cx, self.idle) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => {
                        self.lease = Lease::Ended;
                        return Poll::Ready(Some(Err(UpstreamError::Idle(self.idle))));
                    }
                },
                Poll::Ready(Some(Ok(frame))) => {
                    self.lease.resume();
                    // Trailers are not forwarded.
                    if let Ok(data) = frame.into_data() {
                        if self.incoming.is_end_stream() {
                            self.lease.end();
                        }
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = if self.lease.is_late() { UpstreamError::Idle(self.idle) } else { error };
                    self.lease = Lease::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    self.lease.end();
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.get_mut().poll_data(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.lease, Lease::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match self.lease {
            Lease::Ended => SizeHint::with_exact(0),
            Lease::Http1 { .. } | Lease::Http2 { .. } | Lease::None => self.incoming.size_hint(),
        }
    }
}

impl Lease {
    /// The answer is complete: an HTTP/1.1 connection returns to the pool.
    fn end(&mut self) {
        if let Self::Http1 { connection, shelf, .. } = std::mem::replace(self, Self::Ended) {
            shelf.put(connection);
        }
    }

    /// Starts the idle timer if it is not running; ready when it fires. HTTP/1.1 connections check their own deadline.
    fn poll_idle(&mut self, cx: &mut Context<'_>, idle: Duration) -> Poll<()> {
        match self {
            Self::Ended | Self::None => Poll::Pending,
            Self::Http1 { connection, waiting, .. } => {
                if !*waiting {
                    *waiting = true;
                    connection.deadline.arm(clock::monotonic(), idle);
                }
                Poll::Pending
            }
            Self::Http2 { pause } => pause.get_or_insert_with(|| Box::pin(sleep(idle))).as_mut().poll(cx),
        }
    }

    /// Stops the idle timer after data came: until the next poll, a pause is not the upstream's.
    fn resume(&mut self) {
        match self {
            Self::Ended | Self::None => {}
            Self::Http1 { connection, waiting, .. } => {
                if *waiting {
                    *waiting = false;
                    connection.deadline.disarm();
                }
            }
            Self::Http2 { pause } => *pause = None,
        }
    }

    /// Whether the connection was closed by its deadline.
    fn is_late(&self) -> bool {
        matches!(self, Self::Http1 { connection, .. } if connection.deadline.is_expired())
    }
}
