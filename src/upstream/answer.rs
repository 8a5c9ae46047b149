//! An upstream's answer and its body, wherever they come from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::gate::Place;
use super::lines::Lines;
use super::source::Source;
use super::{Fields, Stay, Upstream, UpstreamError};
use crate::clock;
use crate::json::{Document, Splice};

const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The most bytes preallocated for an answer according to its `Content-Length`.
const TRUSTED_BYTES: u64 = 1024 * 1024;

/// How long an upstream has to end an answer whose remaining content is not needed.
const PARTING: Duration = Duration::from_millis(200);

/// An upstream's answer: the head, unambiguous and within limits, and the body, still to be read.
#[derive(Debug)]
pub struct Answer {
    /// The final status; interim (1xx) responses are skipped.
    pub status: StatusCode,
    /// Those of its header fields that matter to the proxy.
    pub fields: Fields,
    /// The body, which holds the connection.
    pub body: AnswerBody,
}

impl Answer {
    /// An answer of these parts; in a box, as it goes through many hands.
    pub(crate) fn new(status: StatusCode, fields: Fields, body: AnswerBody) -> Box<Self> {
        Box::new(Self { status, fields, body })
    }

    /// An answer with a status and no content.
    pub(crate) fn bare(status: StatusCode) -> Box<Self> {
        Self::new(status, Fields::default(), AnswerBody::whole(Bytes::new()))
    }

    /// An answer of one JSON message.
    pub(crate) fn json(status: StatusCode, message: Bytes) -> Box<Self> {
        let mut fields = Fields::default();
        fields.push(CONTENT_TYPE, JSON);
        Self::new(status, fields, AnswerBody::whole(message))
    }

    /// An event stream that a task writes; if the answer is dropped, the task's channel is closed.
    pub(crate) fn events(pieces: mpsc::Receiver<Bytes>) -> Box<Self> {
        Self::streamed(AnswerBody::made(Source::Made(pieces)))
    }

    /// The event stream of a process or of a channel of 2024-11-05.
    pub(super) fn lines(lines: Lines) -> Box<Self> {
        Self::streamed(AnswerBody::made(Source::Lines(Box::new(lines))))
    }

    fn streamed(body: AnswerBody) -> Box<Self> {
        let mut fields = Fields::default();
        fields.push(CONTENT_TYPE, EVENT_STREAM);
        Self::new(StatusCode::OK, fields, body)
    }
}

/// Adds a header field to `fields` if it is one that matters to the proxy; no other is ever looked at, and few are
/// forwarded.
pub(super) fn keep(fields: &mut Fields, name: &str, value: &[u8]) {
    let name = match name.len() {
        11 if name.eq_ignore_ascii_case("retry-after") => RETRY_AFTER,
        12 if name.eq_ignore_ascii_case("content-type") => CONTENT_TYPE,
        14 if name.eq_ignore_ascii_case("mcp-session-id") => MCP_SESSION_ID,
        16 if name.eq_ignore_ascii_case("content-encoding") => CONTENT_ENCODING,
        _ => return,
    };
    let value = match value {
        b"application/json" => Ok(JSON),
        b"text/event-stream" => Ok(EVENT_STREAM),
        other => HeaderValue::from_bytes(other),
    };
    // A value that came in a head can be in one.
    if let Ok(value) = value {
        fields.push(name, value);
    }
}

/// The body of an answer. Read to its end, the connection is kept for the next request; dropped before, the connection is
/// closed at once (HTTP/2: the stream is reset), which is how a client's disconnect reaches the upstream. `release` gives the
/// upstream a short time to end it.
#[derive(Debug)]
pub struct AnswerBody {
    idle: Duration,
    source: Source,
    is_ended: bool,
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

impl AnswerBody {
    /// The body of an answer to a request that was sent at `sent`.
    pub(super) fn new(source: Source, upstream: &Upstream, sent: Instant) -> Self {
        let (idle, total) = (upstream.timeouts.idle, upstream.timeouts.total);
        let mut body = Self { idle, source, is_ended: false, place: None, sent, total };
        if body.source.is_end_stream() {
            body.end();
        }
        body
    }

    /// The answer is complete, and its connection is free.
    fn end(&mut self) {
        self.is_ended = true;
        std::mem::take(&mut self.source).end();
    }

    #[cfg(test)]
    pub(super) fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }

    /// Holds `place` until the answer has ended.
    pub(super) fn hold(&mut self, place: Place) {
        self.place = Some(place).filter(|_| !self.is_ended);
    }

    /// Keeps a session in use until the body is read or dropped.
    pub(crate) fn keep(&mut self, stay: Stay) {
        if !self.is_ended {
            let source = std::mem::take(&mut self.source);
            self.source = Source::OfSession(Box::new((source, stay)));
        }
    }

    /// Discards the rest: everything needed has come, and a stream should end after its response (2025-11-25, "Sending
    /// Messages to the Server"). If it ends soon, its connection is kept like any other; otherwise it is closed.
    #[expect(clippy::disallowed_methods, reason = "it ends by itself, and soon")]
    pub(crate) fn release(&mut self) {
        let mut body = std::mem::replace(self, Self::whole(Bytes::new()));
        body.place = None;
        if body.source.holds_connection() && tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(timeout(PARTING, async move { body.piece(0).await.is_ok() }));
        }
    }

    /// This body without idle and total timeouts.
    pub(super) fn unhurried(self) -> Self {
        Self { idle: Duration::MAX, total: Duration::MAX, ..self }
    }

    /// A body in memory.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let is_ended = bytes.is_empty();
        Self { is_ended, ..Self::made(Source::Whole(bytes)) }
    }

    /// A parsed message in memory, and `edits` still to be applied to it.
    pub(crate) fn read(document: Document, edits: Splice) -> Self {
        Self::made(Source::Read(Box::new((document, edits))))
    }

    /// Whether it is a parsed message.
    pub(crate) const fn is_read(&self) -> bool {
        matches!(self.source, Source::Read(_))
    }

    /// Takes the parsed message and its edits; `None` if it is another kind of body.
    pub(crate) fn take_read(&mut self) -> Option<(Document, Splice)> {
        if self.is_read() { self.source.take_read() } else { None }
    }

    fn made(source: Source) -> Self {
        let forever = Duration::MAX;
        Self { idle: forever, source, is_ended: false, place: None, sent: clock::monotonic(), total: forever }
    }

    /// Reads the whole body. Errs if it has more than `limit` bytes, is not read within the total time, or breaks off. A body
    /// of one piece is not copied.
    pub async fn collect_limited(mut self, limit: usize) -> Result<Bytes, UpstreamError> {
        if self.source.size_hint().lower() > limit as u64 {
            return Err(UpstreamError::TooLarge);
        }
        self.source.gather(TRUSTED_BYTES);
        let first = loop {
            match self.piece(limit).await? {
                Some(piece) if piece.is_empty() && !self.is_end_stream() => {}
                first => break first.unwrap_or_default(),
            }
        };
        if self.is_end_stream() {
            return Ok(first);
        }
        let Some(second) = self.piece(limit - first.len()).await? else {
            return Ok(first);
        };
        let expected = self.source.size_hint().lower().min(TRUSTED_BYTES);
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
        if self.is_ended {
            // Any remaining piece is empty, so it need not be read.
            return Poll::Ready(None);
        }
        let polled = ready!(self.source.poll_piece(cx, self.idle));
        match &polled {
            Some(Ok(_)) if !self.source.is_end_stream() => {}
            Some(Ok(_)) | None => self.end(),
            Some(Err(_)) => {
                self.is_ended = true;
                self.source = Source::default();
            }
        }
        Poll::Ready(polled)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.get_mut().poll_data(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_ended { SizeHint::with_exact(0) } else { self.source.size_hint() }
    }
}
