use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::http::failure;
use super::lines::Lines;
use super::{Stay, UpstreamError};

/// Where the bytes of an answer come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A program or a channel, event by event.
    Lines(Box<Lines>),
    /// A task of this process, piece by piece.
    Made(mpsc::Receiver<Bytes>),
    /// A connection.
    Network(Incoming),
    /// Any of these, while a session is used. In a box: few are.
    OfSession(Box<(Self, Stay)>),
    /// They are here.
    Whole(Bytes),
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
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.is_ended(),
            Self::Made(_) => false,
            Self::Network(incoming) => incoming.is_end_stream(),
            Self::OfSession(inner) => inner.0.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Lines(_) | Self::Made(_) => SizeHint::default(),
            Self::Network(incoming) => incoming.size_hint(),
            Self::OfSession(inner) => inner.0.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
