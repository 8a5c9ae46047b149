//! Passes the answers to posted messages on to the client's stream.

use std::pin::Pin;

use bytes::Bytes;
use http::Response;
use http::header::WWW_AUTHENTICATE;
use http_body::Body as _;
use tokio::sync::oneshot;

use super::station::Station;
use crate::body::Body;
use crate::json::{Document, Limits};
use crate::mcp::headers::SESSION_ID;
use crate::mcp::sse::{Line, Outgoing, Splitter};
use crate::reply;

/// Sends an answer to the stream, or to the client's POST as `posted`.
///
/// An answer with the request's id is an event. A challenge (`WWW-Authenticate`) answers the POST, where clients look for
/// it; so does an answer that the session is gone, which also ends the stream.
pub(super) async fn answer(station: &Station, mut response: Response<Body>, posted: oneshot::Sender<Response<Body>>) {
    if let Some(session) = response.headers_mut().remove(&SESSION_ID) {
        station.keep_session(session);
    }
    let is_refused = !response.status().is_success();
    let is_lost = is_refused && reply::says_no_session(&response) && station.session().is_some();
    if is_lost || is_refused && (response.headers().contains_key(WWW_AUTHENTICATE) || !names_its_request(&response)) {
        let _ = posted.send(response);
        if is_lost {
            station.end();
        }
        return;
    }
    if matches!(response.body(), Body::Empty) {
        let _ = posted.send(reply::taken());
        // The first message without an answer is `notifications/initialized`: the client is ready.
        station.listen();
        return;
    }
    let _ = posted.send(reply::taken());
    events(station, response).await;
}

/// Sends the messages of a response to the stream, until the response ends.
pub(super) async fn events(station: &Station, response: Response<Body>) {
    let mut body = response.into_body();
    if let Body::Full(message) = &mut body {
        if let Some(message) = message.take() {
            station.say(message).await;
        }
        return;
    }
    // These events were written by the proxy, within its limits.
    let mut splitter = Splitter::new(usize::MAX);
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.into_data() else { continue };
        splitter.feed(data);
        while let Some(Ok(event)) = splitter.next_event() {
            // Event ids are dropped, as nothing is resumed, and so are events without data.
            if let Some(message) = event.data.filter(|data| !data.is_empty()) {
                station.say(message).await;
            }
        }
    }
}

/// A message as a server-sent event.
pub(super) fn event(message: Bytes) -> Bytes {
    Outgoing::message(&Line::of_json(message)).encode()
}

fn names_its_request(response: &Response<Body>) -> bool {
    let Body::Full(Some(bytes)) = response.body() else { return false };
    Document::parse(bytes.clone(), &Limits::ANSWER).is_ok_and(|message| message.root().get("id").is_some())
}
