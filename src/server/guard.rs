//! The guard in front of the HTTP/1 parser: it passes complete, unambiguous request heads and nothing else.
//!
//! hyper accepts a few framings that another parser may read differently (request smuggling). The guard reads the raw bytes
//! of a connection first and follows every message to its end, so that hyper never sees a byte of a request with ambiguous
//! framing or of an incomplete head.

mod chunks;
mod head;
mod track;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;
use crate::byte_set::ByteSet;
use track::{Admitted, Tracker};

/// How many bytes are still read after a refusal, so that closing does not reset the connection before the client has the
/// answer.
const LINGER_BYTES: usize = 256 * 1024;

/// Limits of one request head.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    /// The most bytes, request line and final line break included.
    pub(super) bytes: usize,
    /// The most header fields.
    pub(super) fields: usize,
}

/// Why a request is refused; each reason has a fixed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Malformed or ambiguous.
    Malformed,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// More or longer header fields than allowed.
    TooLarge,
}

impl Refusal {
    const fn answer(self) -> &'static [u8] {
        match self {
            Self::Malformed => b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            Self::Expectation => b"HTTP/1.1 417 Expectation Failed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            Self::TooLarge => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            }
        }
    }
}

/// A connection whose request bytes are checked before they are read by the parser.
#[derive(Debug)]
pub(super) struct Guard<S> {
    io: S,
    watch: Arc<Watch>,
    tracker: Tracker,
    /// A head that arrived in several pieces, kept until it is complete.
    held: Vec<u8>,
    /// How many bytes of `held` are admitted; zero while the head is incomplete.
    admitted: usize,
    delivered: usize,
    end: End,
    lingered: usize,
}

/// Whether requests are still read.
#[derive(Debug)]
enum End {
    /// Requests are read.
    Open,
    /// The chunked framing of a body broke after its head was passed on.
    Broken,
    /// A request was refused: the rest of the fixed answer to write; further input is ignored.
    Refused(&'static [u8]),
}

impl<S> Guard<S> {
    pub(super) fn new(io: S, limits: HeadLimits, watch: Arc<Watch>) -> Self {
        Self {
            io,
            watch,
            tracker: Tracker::new(limits),
            held: Vec::new(),
            admitted: 0,
            delivered: 0,
            end: End::Open,
            lingered: 0,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.end = End::Refused(refusal.answer());
        self.watch.close();
    }

    /// Copies admitted bytes of `held` to the reader.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let waiting = &self.held[self.delivered..self.admitted];
        let count = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..count]);
        self.delivered += count;
        if self.delivered == self.admitted {
            self.held.drain(..self.admitted);
            if self.held.is_empty() {
                self.held = Vec::new();
            }
            (self.admitted, self.delivered) = (0, 0);
        }
    }

    /// Checks what was just read into `buf` after `before`; returns whether bytes may be passed on. Errs if a body's framing
    /// broke.
    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<bool> {
        if !self.held.is_empty() {
            self.held.extend_from_slice(&buf.filled()[before..]);
            buf.set_filled(before);
            return self.check_held(buf);
        }
        let bytes = &buf.filled()[before..];
        let (upto, outcome) = self.tracker.feed(bytes);
        if outcome == Admitted::All {
            self.watch.head_done();
            return Ok(true);
        }
        if outcome == Admitted::Partial {
            self.held.extend_from_slice(&bytes[upto..]);
            self.watch.head_begun();
        }
        buf.set_filled(before + upto);
        self.conclude(outcome)?;
        Ok(upto > 0)
    }

    fn check_held(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let (upto, outcome) = self.tracker.feed(&self.held);
        self.admitted = upto;
        match outcome {
            Admitted::Partial => self.watch.head_begun(),
            Admitted::All => self.watch.head_done(),
            Admitted::Broken | Admitted::Ended | Admitted::Refused(_) => self.held.truncate(upto),
        }
        self.conclude(outcome)?;
        if upto > 0 {
            self.deliver(buf);
        }
        Ok(upto > 0)
    }

    fn conclude(&mut self, outcome: Admitted) -> io::Result<()> {
        match outcome {
            Admitted::All | Admitted::Partial | Admitted::Ended => Ok(()),
            Admitted::Broken => {
                self.end = End::Broken;
                Err(broken())
            }
            Admitted::Refused(refusal) => {
                self.refuse(refusal);
                Ok(())
            }
        }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "chunk framing has two readings")
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.admitted > 0 {
            this.deliver(buf);
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.end {
                End::Open => {}
                End::Broken => return Poll::Ready(Err(broken())),
                // The connection ends through [`Watch::close`]; an end of input here would cancel the running call.
                End::Refused(_) => return Poll::Pending,
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            if buf.filled().len() == before || this.check(buf, before)? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.watch.written(Pin::new(&mut this.io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.watch.written(Pin::new(&mut this.io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    /// Writes the refusal if there is one, closes the sending side, and reads on for a while, so that the peer gets the
    /// answer rather than a reset (RFC 9112 section 9.6).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while let End::Refused(left) = &mut this.end
            && !left.is_empty()
        {
            let written = ready!(Pin::new(&mut this.io).poll_write(cx, left))?;
            *left = left.get(written.max(1)..).unwrap_or_default();
        }
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        if this.lingered == 0 {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if matches!(this.end, End::Open) && this.tracker.at_boundary() {
                return Poll::Ready(Ok(()));
            }
            this.watch.head_begun();
        }
        this.poll_linger(cx)
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lingered = self.lingered.max(1);
        while self.lingered < LINGER_BYTES {
            let mut scratch = [0; 4096];
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => self.lingered += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Why a request has no single authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Not `host` or `host:port`.
    #[error("the authority is malformed")]
    Malformed,
    /// `:authority` or the absolute form differs from `Host`, or there are several `Host` fields.
    #[error("the request names two authorities")]
    Mismatch,
    /// Neither `:authority` nor `Host`.
    #[error("the request names no authority")]
    Missing,
}

/// The authority of a request, from `:authority` or the absolute form, and `Host` (RFC 9110 section 7.2, RFC 9113 section
/// 8.3.1); it may be any host's. Errs if it is missing, malformed or ambiguous.
pub fn authority<B>(request: &Request<B>) -> Result<&str, AuthorityError> {
    effective(request.uri(), request.headers())
}

fn effective<'r>(uri: &'r http::Uri, headers: &'r http::HeaderMap) -> Result<&'r str, AuthorityError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|value| value.to_str().map_err(|_| AuthorityError::Malformed)).transpose()?;
    if hosts.next().is_some() {
        return Err(AuthorityError::Mismatch);
    }
    let authority = match (uri.authority().map(http::uri::Authority::as_str), host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => return Err(AuthorityError::Mismatch),
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => return Err(AuthorityError::Missing),
    };
    if authority.is_empty() || !IN_AUTHORITIES.has_all(authority.as_bytes()) {
        return Err(AuthorityError::Malformed);
    }
    Ok(authority)
}

/// The same for a request's head.
pub fn authority_of(head: &http::request::Parts) -> Result<&str, AuthorityError> {
    effective(&head.uri, &head.headers)
}

/// The bytes of `host [":" port]`, without userinfo (RFC 3986 section 3.2.2) and without percent-encoding, which has no
/// honest use here.
static IN_AUTHORITIES: ByteSet =
    ByteSet::of(&[b'-'..=b'.', b'0'..=b':', b'A'..=b'[', b']'..=b']', b'_'..=b'_', b'a'..=b'z', b'~'..=b'~']);
