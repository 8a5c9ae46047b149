//! Request and response bodies on the client side: bounded reads, and what is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::reply::Stream;

/// The body of an answer to a client.
#[derive(Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// All bytes at once; `None` once they are sent.
    Full(Option<Bytes>),
    /// Events of a task of this process; the stream ends with it.
    Made(mpsc::Receiver<Bytes>),
    /// An event stream, rewritten event by event.
    Stream(Box<Stream>),
}

impl Body {
    /// A body of exactly `bytes`.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Made(events) => events.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
            Self::Stream(stream) => stream.poll_chunk(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Full(None) => true,
            Self::Full(Some(_)) | Self::Made(_) | Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Made(_) | Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Why a request's body could not be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// The connection or its framing broke.
    #[error("the request body broke off")]
    Broken,
    /// More bytes than allowed.
    #[error("the request body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The bound it passed.
        limit_bytes: usize,
    },
    /// It did not arrive in time.
    #[error("the request body did not arrive in time")]
    TooSlow,
}

/// Reads a whole request body of at most `limit_bytes` within `timeout`; trailers are dropped. One frame is not copied.
pub async fn read(mut body: Incoming, limit_bytes: usize, timeout: Duration) -> Result<Bytes, ReadError> {
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(ReadError::TooLarge { limit_bytes });
    }
    // Most bodies arrive with their head: the timer is only armed for those that do not.
    let mut reading = std::pin::pin!(collect(&mut body, limit_bytes));
    if let Poll::Ready(result) = futures_util::poll!(reading.as_mut()) {
        return result;
    }
    // In a box, so that no request carries a timer's room around that needs none.
    Box::pin(tokio::time::timeout(timeout, reading)).await.unwrap_or(Err(ReadError::TooSlow))
}

async fn collect(body: &mut Incoming, limit_bytes: usize) -> Result<Bytes, ReadError> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = next_frame(body).await {
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else { continue };
        if first.len() + more.len() + data.len() > limit_bytes {
            return Err(ReadError::TooLarge { limit_bytes });
        }
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

/// Drains a request body; returns whether it ended within `limit_bytes` and `timeout`.
pub async fn discard(mut body: Incoming, limit_bytes: usize, timeout: Duration) -> bool {
    let reading = async {
        let mut left = limit_bytes;
        while let Some(frame) = next_frame(&mut body).await {
            let Ok(frame) = frame else { return false };
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(less) => left = less,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(timeout, reading).await.unwrap_or(false)
}

async fn next_frame(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}
