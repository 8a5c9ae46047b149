//! The small HTTP/1.1 server of both demo services, with faults that a test can switch on.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A fault of a demo service, for tests of the proxy's behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// New connections are closed at once, open ones at their next request.
    Down,
    /// Every request is answered 500.
    Error,
    /// Every request is answered 200 with unrelated text.
    Garbage,
    /// No fault.
    #[default]
    None,
    /// Requests are read but not answered until another fault is chosen.
    Stalled,
}

/// The switch for [`Fault`]s.
#[derive(Clone, Debug)]
pub(super) struct Faults(watch::Sender<Fault>);

impl Faults {
    /// No fault, for now.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Fault::None))
    }

    /// Switches a fault on, or off.
    pub(super) fn set(&self, fault: Fault) {
        self.0.send_replace(fault);
    }

    /// The answer of the current fault in place of the right one; `None` without a fault. Waits while stalled.
    async fn answer(&self) -> Result<Option<Response<Body>>, Closed> {
        let mut now = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail; if it did, there would be no fault left.
        let fault = now.wait_for(|fault| *fault != Fault::Stalled).await.map_or(Fault::None, |fault| *fault);
        match fault {
            Fault::Down => Err(Closed),
            Fault::Error => Ok(Some(empty(StatusCode::INTERNAL_SERVER_ERROR))),
            Fault::Garbage => Ok(Some(html(StatusCode::OK, "<!doctype html><title>Hotel Wi-Fi</title>Please log in"))),
            Fault::None | Fault::Stalled => Ok(None),
        }
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the demo service is switched off")]
struct Closed;

/// Answers connections of `listener` with `answer` until the runtime ends.
pub(super) fn serve<F, A>(listener: TcpListener, faults: Faults, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    start(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if *faults.0.borrow() != Fault::Down => {
                    start(connection(stream, faults.clone(), answer.clone()));
                }
                Ok(_) => {}
                // Out of file descriptors: let some connections end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "demo tasks end with the process")]
fn start(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

async fn connection<F, A>(stream: TcpStream, faults: Faults, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    // Events are small and each must leave at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (faults, answered) = (faults.clone(), answer(request));
        async move {
            match faults.answer().await? {
                Some(instead) => Ok::<_, Closed>(instead),
                None => Ok(answered.await),
            }
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "demo connection ended");
    }
}

/// The whole body, or `None` if it is longer than `limit_bytes` or breaks off.
pub(super) async fn read(body: Incoming, limit_bytes: usize) -> Option<Bytes> {
    Limited::new(body, limit_bytes).collect().await.ok().map(http_body_util::Collected::to_bytes)
}

/// Whether the request names a loopback host, and any page that sent it is a loopback page: a site that rebinds its
/// name to 127.0.0.1 names itself in both.
pub(super) fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host_is_local = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_loopback_authority),
        _ => false,
    };
    host_is_local && headers.get_all(header::ORIGIN).iter().all(is_local_origin)
}

fn is_local_origin(origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).is_some_and(is_loopback_authority)
}

fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(host, "127.0.0.1" | "[::1]") || host.eq_ignore_ascii_case("localhost")
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    with(status, None, Bytes::new())
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    with(status, Some("application/json"), value.to_string())
}

/// An HTML answer.
pub(super) fn html(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with(status, Some("text/html; charset=utf-8"), text)
}

/// An event stream; the client going away drops `events`.
pub(super) fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let body = StreamBody::new(events.map(|event| Ok(Frame::data(event)))).boxed_unsync();
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn with(status: StatusCode, media_type: Option<&'static str>, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    if let Some(media_type) = media_type {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_and_pages_are_local() {
        for (host, origin, local) in [
            (Some("127.0.0.1:9000"), None, true),
            (Some("localhost"), Some("http://localhost:6274"), true),
            (Some("[::1]:9000"), Some("https://127.0.0.1"), true),
            (Some("LOCALHOST:1"), None, true),
            (None, None, false),
            (Some("evil.example"), None, false),
            (Some("localhost.evil.example:9000"), None, false),
            (Some("127.0.0.1:9000"), Some("http://evil.example"), false),
            (Some("127.0.0.1:9000"), Some("null"), false),
            (Some("127.0.0.1:9000@evil.example"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, HeaderValue::from_static(host));
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_local(&headers), local, "{host:?} {origin:?}");
        }
    }
}
