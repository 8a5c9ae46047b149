use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::SizeHint;
use tokio::sync::mpsc;

use super::http1::Exchange;
use super::http2::Streamed;
use super::lines::Lines;
use super::{Stay, UpstreamError};
use crate::json::{Document, Splice};

/// The source of an answer's body.
#[derive(Debug)]
pub(super) enum Source {
    /// An HTTP/1.1 connection.
    Http1(Exchange),
    /// A stream of an HTTP/2 connection.
    Http2(Streamed),
    /// The events of a process or channel.
    Lines(Box<Lines>),
    /// The pieces that a task sends.
    Made(mpsc::Receiver<Bytes>),
    /// Any of these, in use of a session. Boxed, since it is rare.
    OfSession(Box<(Self, Stay)>),
    /// A parsed message. Boxed to keep the enum small.
    Read(Box<(Document, Splice)>),
    /// Bytes in memory.
    Whole(Bytes),
}

impl Default for Source {
    /// Nothing.
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Source {
    /// Takes the parsed message and its pending edits, which leaves an empty body; `None` for other sources.
    pub(super) fn take_read(&mut self) -> Option<(Document, Splice)> {
        match std::mem::take(self) {
            Self::Read(read) => Some(*read),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Has the rest come as one piece if it is no longer than `most` bytes, where that is known.
    pub(super) fn gather(&mut self, most: u64) {
        match self {
            Self::Http1(exchange) => exchange.connection.gather(most),
            Self::OfSession(inner) => inner.0.gather(most),
            Self::Http2(_) | Self::Lines(_) | Self::Made(_) | Self::Read(_) | Self::Whole(_) => {}
        }
    }

    /// Whether it is read from a connection.
    pub(super) fn holds_connection(&self) -> bool {
        match self {
            Self::Http1(_) | Self::Http2(_) => true,
            Self::OfSession(inner) => inner.0.holds_connection(),
            Self::Lines(_) | Self::Made(_) | Self::Read(_) | Self::Whole(_) => false,
        }
    }

    /// All has been read: an HTTP/1.1 connection returns to the pool.
    pub(super) fn end(self) {
        match self {
            Self::Http1(exchange) => exchange.end(),
            Self::OfSession(inner) => inner.0.end(),
            Self::Http2(_) | Self::Lines(_) | Self::Made(_) | Self::Read(_) | Self::Whole(_) => {}
        }
    }

    /// The next piece; `None` at the end. Errs if a connection breaks off, or pauses for `idle`.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        match self {
            Self::Http1(exchange) => exchange.connection.poll_content(cx, idle),
            Self::Http2(streamed) => streamed.poll_piece(cx, idle),
            Self::Lines(lines) => lines.poll(cx),
            Self::Made(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(Ok)),
            Self::OfSession(inner) => inner.0.poll_piece(cx, idle),
            Self::Read(_) => {
                let written = self.take_read().map(|(document, edits)| edits.apply(document.bytes()));
                Poll::Ready(written.map(Ok))
            }
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
        }
    }

    /// Whether all has been read.
    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(exchange) => exchange.connection.rest().is_complete(),
            Self::Http2(streamed) => streamed.is_end_stream(),
            Self::Lines(lines) => lines.is_ended(),
            Self::Made(_) | Self::Read(_) => false,
            Self::OfSession(inner) => inner.0.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    /// How long the rest is, as far as that is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Lines(_) | Self::Made(_) | Self::Read(_) => SizeHint::default(),
            Self::Http1(exchange) => exchange.connection.rest().size_hint(),
            Self::Http2(streamed) => streamed.size_hint(),
            Self::OfSession(inner) => inner.0.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
