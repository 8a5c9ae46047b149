//! HTTP/1.1 toward an upstream (RFC 9112): one request at a time on a connection.
//!
//! The caller's task itself writes the request and reads the answer, where hyper's client has a task of its own for each
//! connection and channels to it. What arrives is parsed by `httparse`, as in hyper; what delimits it is decided in [`head`]
//! and [`content`], once, and more strictly: an answer that could be read in two ways is refused.

mod content;
mod head;

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use self::content::Content;
use self::head::Head;
use super::answer::{Answer, AnswerBody};
use super::connect::{self, HEAD_BYTES, Stream};
use super::deadline::Deadline;
use super::paced::Paced;
use super::pool::{Failed, Sent, Shelf};
use super::request::Request;
use super::source::Source;
use super::{Upstream, UpstreamError};
use crate::clock;

/// The most and the fewest bytes read at once; more than the fewest if a read fills its buffer.
const MOST_BYTES: usize = 64 * 1024;
const FEWEST_BYTES: usize = 4 * 1024;
/// The most bytes of content that are copied behind the head, so that both are written at once from one place.
const COPIED_BYTES: usize = 4 * 1024;
/// The largest read buffer of an idle connection.
const KEPT_BYTES: usize = 16 * 1024;

/// Why an answer cannot be read to its end.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum Broken {
    #[error("its chunks are malformed")]
    Chunk,
    #[error("the connection was closed")]
    Ended,
    #[error("its head is malformed")]
    Head(#[source] httparse::Error),
    #[error("HTTP/2")]
    Http2(#[source] hyper::Error),
    #[error("the connection failed")]
    Io(#[source] io::Error),
    #[error("it came before the request")]
    Unasked,
}

/// Sends on the newest idle connection, or on a new one, and waits for the head of the answer.
pub(super) async fn send(
    upstream: &Arc<Upstream>,
    shelf: &Arc<Shelf>,
    request: &Request,
) -> Result<Box<Answer>, Failed> {
    while let Some(connection) = shelf.take() {
        match ask(connection, upstream, shelf, request).await {
            Err(Failed { sent: Sent::Nothing, error }) if !error.is_timeout() => {}
            done => return done,
        }
    }
    // Boxed to keep the future small, since nearly every request finds an idle connection.
    let connection = Box::pin(connect::http1(upstream)).await.map_err(Failed::unsent)?;
    ask(connection, upstream, shelf, request).await
}

async fn ask(
    mut connection: Box<Connection>,
    upstream: &Arc<Upstream>,
    shelf: &Arc<Shelf>,
    request: &Request,
) -> Result<Box<Answer>, Failed> {
    let (sent, limit) = (clock::monotonic(), upstream.timeouts.first_byte);
    connection.begin(upstream, request, sent);
    let head = match poll_fn(|cx| connection.poll_head(cx, limit)).await {
        Ok(head) => head,
        Err(error) if connection.is_unsent() => return Err(Failed::unsent(error)),
        Err(error) => return Err(error.into()),
    };
    let body = AnswerBody::new(Source::Http1(Exchange { connection, shelf: Arc::clone(shelf) }), upstream, sent);
    Ok(Answer::new(head.status, head.fields, body))
}

/// An HTTP/1.1 connection. Dropping it closes the socket, whatever it was doing.
pub(super) struct Connection {
    stream: Paced<Box<dyn Stream>>,
    request: Outgoing,
    /// What has arrived and is not used up.
    received: BytesMut,
    /// The least room for the next read.
    room: usize,
    /// What of the answer is still to come.
    rest: Content,
    /// Whether content of a known length is to be one piece.
    is_gathered: bool,
    /// Whether another request may follow this answer.
    persists: bool,
    deadline: Deadline,
}

impl Connection {
    /// Over a stream on which nothing has been sent; to be made in a runtime.
    pub(super) fn new(stream: Box<dyn Stream>) -> Box<Self> {
        Box::new(Self {
            stream: Paced::new(stream),
            request: Outgoing::default(),
            received: BytesMut::new(),
            room: FEWEST_BYTES,
            rest: Content::NONE,
            is_gathered: false,
            persists: true,
            deadline: Deadline::new(),
        })
    }

    /// Makes it ready for another request; false if it cannot take one, because the last was not sent or answered to its
    /// end, something followed the answer, or the upstream closes it.
    pub(super) fn renew(&mut self) -> bool {
        self.deadline.disarm();
        self.is_gathered = false;
        if self.received.capacity() > KEPT_BYTES {
            (self.received, self.room) = (BytesMut::new(), FEWEST_BYTES);
        }
        self.persists && self.rest.is_complete() && self.request.is_sent() && self.received.is_empty()
    }

    fn begin(&mut self, upstream: &Upstream, request: &Request, now: Instant) {
        self.request.begin(upstream, request);
        self.deadline.arm(now, upstream.timeouts.first_byte);
    }

    /// Whether no part of the request was sent.
    fn is_unsent(&self) -> bool {
        self.request.written == 0
    }

    /// Sends the request as far as possible, and waits for the head of the final answer. Errs if that does not come by the
    /// deadline, which was set `limit` ahead.
    fn poll_head(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Result<Head, UpstreamError>> {
        loop {
            match self.poll_read(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Broken::Ended.into())),
                // What comes before the request is nobody's answer.
                Poll::Ready(Ok(_)) if self.is_unsent() => return Poll::Ready(Err(Broken::Unasked.into())),
                Poll::Ready(Ok(read)) => {
                    if let Some(head) = self.take_head(read)? {
                        self.deadline.disarm();
                        (self.rest, self.persists) = (head.content, head.persists);
                        return Poll::Ready(Ok(head));
                    }
                }
                Poll::Pending => {
                    self.request.poll_write(&mut self.stream, cx)?;
                    return self.deadline.poll(cx).map(|()| Err(UpstreamError::FirstByte(limit)));
                }
            }
        }
    }

    /// The head of the final answer, once all of it is among the bytes received, of which the last `read` are new.
    fn take_head(&mut self, read: usize) -> Result<Option<Head>, UpstreamError> {
        // A head ends with a line. It is parsed from its beginning, so not for every byte that comes.
        if memchr(b'\n', &self.received[self.received.len() - read..]).is_none()
            && self.received.len() < usize::from(HEAD_BYTES)
        {
            return Ok(None);
        }
        loop {
            match Head::take(&mut self.received)? {
                Some(head) if head.is_interim() => {}
                head => return Ok(head),
            }
        }
    }

    /// The next piece of the content, empty if more of what is gathered has come; `None` at its end. Errs if it breaks off,
    /// or pauses for `idle`.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        loop {
            if self.received.len() as u64 >= self.wanted() && !self.rest.is_complete() {
                let piece = self.rest.take(&mut self.received)?;
                if !piece.is_empty() {
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
            if self.rest.is_complete() {
                return Poll::Ready(None);
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => self.rest.close()?,
                Poll::Ready(Ok(_)) => {
                    self.deadline.disarm();
                    if (self.received.len() as u64) < self.wanted() {
                        return Poll::Ready(Some(Ok(Bytes::new())));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Pending => {
                    // An answer may begin before the request was sent to its end.
                    self.request.poll_write(&mut self.stream, cx)?;
                    self.deadline.arm_once(idle);
                    return self.deadline.poll(cx).map(|()| Some(Err(UpstreamError::Idle(idle))));
                }
            }
        }
    }

    /// Has content of a known length come as one piece, read into one buffer, unless it is longer than `most` bytes.
    pub(super) fn gather(&mut self, most: u64) {
        self.is_gathered = self.rest.is_exact() && self.rest.at_least() <= most;
    }

    /// How many bytes make the next piece.
    fn wanted(&self) -> u64 {
        if self.is_gathered { self.rest.at_least() } else { 1 }
    }

    /// What of the answer is still to come.
    pub(super) const fn rest(&self) -> Content {
        self.rest
    }

    /// Reads what has arrived; 0 if the upstream has closed the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        let due = usize::try_from(self.rest.at_least()).unwrap_or(MOST_BYTES);
        let due = if self.is_gathered { due.saturating_sub(self.received.len()) } else { due.min(MOST_BYTES) };
        if self.received.capacity() - self.received.len() < due.max(FEWEST_BYTES / 4) {
            self.received.reserve(self.room.max(due));
        }
        let read = ready!(pin!(self.stream.read_buf(&mut self.received)).poll(cx)).map_err(Broken::Io)?;
        if self.received.len() == self.received.capacity() {
            self.room = MOST_BYTES.min(self.room * 2);
        }
        Poll::Ready(Ok(read))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("rest", &self.rest).finish_non_exhaustive()
    }
}

/// A request on its way.
#[derive(Debug, Default)]
struct Outgoing {
    /// The head, and the content too if it is short.
    head: Vec<u8>,
    content: Bytes,
    written: usize,
    is_sent: bool,
}

impl Outgoing {
    fn begin(&mut self, upstream: &Upstream, request: &Request) {
        self.head.clear();
        request.write_head(upstream, &mut self.head);
        if request.content.len() <= COPIED_BYTES {
            self.head.extend_from_slice(&request.content);
        } else {
            self.content = request.content.clone();
        }
        (self.written, self.is_sent) = (0, false);
    }

    /// Whether all of it was sent.
    const fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Writes as much as the stream takes. Errs if it takes nothing at all; a failure after that is left to the reader,
    /// since an upstream may answer, and close, before it has read everything.
    fn poll_write(&mut self, stream: &mut Paced<Box<dyn Stream>>, cx: &mut Context<'_>) -> Result<(), Broken> {
        while !self.is_sent {
            match self.poll_step(Pin::new(stream), cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) if self.written == 0 => return Err(Broken::Io(error)),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn poll_step(
        &mut self,
        mut stream: Pin<&mut Paced<Box<dyn Stream>>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let head = self.head.get(self.written..).unwrap_or_default();
        let written = match (head.is_empty(), self.content.is_empty()) {
            (true, true) => {
                ready!(stream.poll_flush(cx))?;
                self.is_sent = true;
                return Poll::Ready(Ok(()));
            }
            (false, true) => ready!(stream.as_mut().poll_write(cx, head))?,
            (true, false) => ready!(stream.as_mut().poll_write(cx, &self.content))?,
            (false, false) => {
                let both = [IoSlice::new(head), IoSlice::new(&self.content)];
                ready!(stream.as_mut().poll_write_vectored(cx, &both))?
            }
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.content.advance(written.saturating_sub(head.len()));
        self.written += written;
        Poll::Ready(Ok(()))
    }
}

/// An answer that is being read, and where its connection goes after that.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) connection: Box<Connection>,
    shelf: Arc<Shelf>,
}

impl Exchange {
    /// The answer is complete: the connection is kept for the next request.
    pub(super) fn end(self) {
        self.shelf.put(self.connection);
    }
}

#[cfg(test)]
mod tests;
