use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::http::failure;
use super::lines::Lines;
use super::{Stay, UpstreamError};
use crate::json::{Document, Splice};

/// The source of an answer's body.
#[derive(Debug)]
pub(super) enum Source {
    /// The events of a process or channel.
    Lines(Box<Lines>),
    /// The pieces that a task sends.
    Made(mpsc::Receiver<Bytes>),
    /// An HTTP connection.
    Network(Incoming),
    /// Any of these, in use of a session. Boxed, since it is rare.
    OfSession(Box<(Self, Stay)>),
    /// A parsed message. Boxed to keep the enum small.
    Read(Box<(Document, Splice)>),
    /// Bytes in memory.
    Whole(Bytes),
}

impl Source {
    /// Takes the parsed message and its pending edits, which leaves an empty body; `None` for other sources.
    pub(super) fn take_read(&mut self) -> Option<(Document, Splice)> {
        match std::mem::replace(self, Self::Whole(Bytes::new())) {
            Self::Read(read) => Some(*read),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match self.get_mut() {
            Self::Lines(lines) => lines.poll(cx).map_ok(Frame::data),
            Self::Made(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
            Self::Network(incoming) => Pin::new(incoming).poll_frame(cx).map_err(failure),
            Self::OfSession(inner) => Pin::new(&mut inner.0).poll_frame(cx),
            source @ Self::Read(_) => {
                let written = source.take_read().map(|(document, edits)| edits.apply(document.bytes()));
                Poll::Ready(written.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.is_ended(),
            Self::Made(_) | Self::Read(_) => false,
            Self::Network(incoming) => incoming.is_end_stream(),
            Self::OfSession(inner) => inner.0.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Lines(_) | Self::Made(_) | Self::Read(_) => SizeHint::default(),
            Self::Network(incoming) => incoming.size_hint(),
            Self::OfSession(inner) => inner.0.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
