//! HTTP/2 toward an upstream (RFC 9113): all requests of a worker share one connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body as _, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep, timeout};

use super::answer::{Answer, AnswerBody, keep};
use super::http1::Broken;
use super::pool::{Failed, Shelf};
use super::request::Request;
use super::source::Source;
use super::{Fields, Upstream, UpstreamError};
use crate::clock;

/// Sends on the worker's one connection, and waits for the head of the answer.
pub(super) async fn send(upstream: &Arc<Upstream>, shelf: &Shelf, request: &Request) -> Result<Box<Answer>, Failed> {
    loop {
        let (mut sender, reused) = shelf.shared(upstream).await.map_err(Failed::unsent)?;
        let (sent, limit) = (clock::monotonic(), upstream.timeouts.first_byte);
        let mut error = match timeout(limit, sender.try_send_request(request.to_http2(upstream))).await {
            Err(_) => return Err(UpstreamError::FirstByte(limit).into()),
            Ok(Ok(response)) => {
                let (head, incoming) = response.into_parts();
                if head.status == StatusCode::SWITCHING_PROTOCOLS
                    || head.headers.contains_key(header::TRANSFER_ENCODING)
                {
                    return Err(UpstreamError::Framing("what HTTP/2 does not have").into());
                }
                let body = AnswerBody::new(Source::Http2(Streamed { incoming, pause: None }), upstream, sent);
                return Ok(Answer::new(head.status, kept(&head.headers), body));
            }
            Ok(Err(error)) => error,
        };
        match error.take_message() {
            // hyper returns a request only if no part of it was written.
            Some(_) if reused => shelf.forget_closed(),
            _ => return Err(failure(error.into_error()).into()),
        }
    }
}

fn kept(received: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    received.iter().for_each(|(name, value)| keep(&mut fields, name.as_str(), value.as_bytes()));
    fields
}

fn failure(error: hyper::Error) -> UpstreamError {
    if error.is_parse_too_large() { UpstreamError::TooLarge } else { Broken::Http2(error).into() }
}

/// The content of an answer on a stream; if it is dropped before its end, the stream is reset.
#[derive(Debug)]
pub(super) struct Streamed {
    incoming: Incoming,
    /// The idle timer; runs while data is awaited.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Streamed {
    /// The next piece; `None` at the end. Errs if the stream breaks off, or pauses for `idle`.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(frame) => {
                    // Until the next poll, a pause is not the upstream's.
                    self.pause = None;
                    match frame.transpose().map_err(failure)?.map(http_body::Frame::into_data) {
                        Some(Ok(data)) => return Poll::Ready(Some(Ok(data))),
                        // Trailers are not forwarded.
                        Some(Err(_)) => {}
                        None => return Poll::Ready(None),
                    }
                }
                Poll::Pending => {
                    ready!(self.pause.get_or_insert_with(|| Box::pin(sleep(idle))).as_mut().poll(cx));
                    return Poll::Ready(Some(Err(UpstreamError::Idle(idle))));
                }
            }
        }
    }

    /// Whether the end has been read.
    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// How long it is.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
