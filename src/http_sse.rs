//! Clients that only speak HTTP+SSE (2024-11-05): each has a stream, and a URL of its own to post to.
//!
//! A posted message goes through all of [`crate::proxy`] like any other; only its answer differs, which is an event of the
//! stream. Toward the upstream such a client is one of Streamable HTTP: its session and event stream there are opened and
//! ended here.

mod relay;
mod station;

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub use self::station::Stations;
use self::station::{AHEAD, Attendance, Station};
use crate::auth::{self, Caller, Who};
use crate::body::Body;
use crate::clock::Timestamp;
use crate::mcp::headers::{LAST_EVENT_ID, SESSION_ID};
use crate::mcp::session::NoSession;
use crate::mcp::sse::{EventName, Line, Outgoing};
use crate::opened::{self, Ask};
use crate::proxy::{self, Worker};
use crate::reject::Reject;
use crate::route::Route;
use crate::seal::{Binding, Purpose};
use crate::snapshot::Snapshot;
use crate::trail::Trail;
use crate::upstream::{Busy, UpstreamError};
use crate::{audit, mask, policy, reply};

/// The query parameter that names the stream in the URL to post to.
const STREAM: &str = "stream";

/// What a request of such a client is served with.
#[derive(Clone, Debug)]
struct Desk {
    worker: Arc<Worker>,
    snapshot: Arc<Snapshot>,
    route: Arc<Route>,
}

/// Answers one request to `sse_path`.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    snapshot: &Arc<Snapshot>,
    route: &Arc<Route>,
    head: Parts,
    incoming: Incoming,
    mut trail: Box<Trail>,
) -> Response<Body> {
    let desk = Desk { worker: worker.clone(), snapshot: snapshot.clone(), route: route.clone() };
    let caller = match proxy::identify(worker, snapshot, route, &head, &mut trail).await {
        // A stream is state, and none is kept for anonymous callers.
        Ok((caller, _)) if caller.anonymous => {
            return proxy::unread(&head, incoming, trail, &Reject::NoCredentials).await;
        }
        Ok((caller, _)) => caller,
        Err(reject) => return proxy::unread(&head, incoming, trail, &reject).await,
    };
    match head.method {
        Method::GET if proxy::accepts_event_stream(&head) => desk.open(caller, head, trail).await,
        Method::GET => trail.refuse(&Reject::NotAcceptable).await,
        Method::POST => desk.post(caller, head, incoming, trail).await,
        _ => proxy::unread(&head, incoming, trail, &Reject::Method { allow: "GET, POST, OPTIONS" }).await,
    }
}

impl Desk {
    /// Opens a stream, whose first event has the URL to post to (2024-11-05, "HTTP with SSE").
    async fn open(self, caller: Arc<Caller>, head: Parts, mut trail: Box<Trail>) -> Response<Body> {
        trail.listens();
        if let Err(reject) = self.decide(&caller, &mut trail).await {
            return trail.refuse(&reject).await;
        }
        let name = Uuid::new_v4();
        let Some(first) = self.endpoint(&caller, name) else { return trail.refuse(&NoSession::Unknown.into()).await };
        let (out, events) = mpsc::channel(AHEAD);
        // The channel is new and has room.
        let _ = out.try_send(first);
        let station = match self.worker.state.stations.open(name, Who::of(&caller), out) {
            Ok(station) => station,
            Err(busy) => return trail.refuse(&UpstreamError::Busy(busy).into()).await,
        };
        Attendance { desk: self, station, name, caller, head, trail }.begin();
        let mut response = Response::new(Body::Made(events));
        reply::as_event_stream(response.headers_mut());
        response
    }

    /// Decides and records the opening of the stream; its messages are decided one by one. Errs if it is refused.
    async fn decide(&self, caller: &Arc<Caller>, trail: &mut Trail) -> Result<(), Reject> {
        let (Self { snapshot, route, .. }, now) = (self, trail.received);
        // A `Last-Event-ID` is ignored: streams of this transport are not resumed.
        let (seals, none) = (&snapshot.seals, HeaderMap::new());
        let opened = opened::open(seals, route, &none, caller.clone(), Ok(None), Ask::Listen, now)?;
        let context =
            policy::Context { ip: Some(trail.peer.address.ip()), server: &route.name, ..policy::Context::at(now) };
        let permit = policy::authorize(&route.policy, opened, &context)?.defined_by(&route.tools, None)?;
        let masked = mask::mask(&route.masks, &route.meta, permit, None, now)
            .map_err(|blocked| Reject::Blocked { blocked, direction: mask::Direction::Arguments })?;
        audit::decided(trail, masked).await?;
        Ok(())
    }

    /// The `endpoint` event, with a URL that only this caller can post to; `None` if it cannot be made.
    fn endpoint(&self, caller: &Caller, name: Uuid) -> Option<bytes::Bytes> {
        let path = self.route.sse_path.as_deref()?;
        let binding = opened::binding(&self.route, caller);
        let (seals, now) = (&self.snapshot.seals, Timestamp::now());
        let sealed = seals.seal(Purpose::Endpoint, &binding, name.as_bytes(), now, reply::SESSION_LIFETIME).ok()?;
        let line = Line::of_uri(&format!("{path}?{STREAM}={sealed}"))?;
        Some(Outgoing { name: EventName::Endpoint, id: None, retry: None, data: Some(&line) }.encode())
    }

    /// The caller's open stream that the URL posted to names. Errs if there is none.
    fn station(&self, binding: &Binding<'_>, query: Option<&str>) -> Result<Arc<Station>, NoSession> {
        let mut named =
            url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(|(name, _)| name == STREAM);
        let (Some((_, sealed)), None) = (named.next(), named.next()) else { return Err(NoSession::Unknown) };
        let name = self.snapshot.seals.open(Purpose::Endpoint, binding, &sealed, Timestamp::now());
        let name = Uuid::from_slice(&name?).map_err(|_| NoSession::Unknown)?;
        self.worker.state.stations.get(name).ok_or(NoSession::Unknown)
    }

    /// Handles one posted message. The POST is answered as soon as the message is decided: 202 if it is sent on or its
    /// answer is an event, else the refusal.
    async fn post(
        self,
        caller: Arc<Caller>,
        mut head: Parts,
        incoming: Incoming,
        mut trail: Box<Trail>,
    ) -> Response<Body> {
        let station = self.station(&opened::binding(&self.route, &caller), head.uri.query());
        let station = match station {
            Ok(station) => station,
            Err(error) => return proxy::unread(&head, incoming, trail, &error.into()).await,
        };
        let Some(turn) = station.turn() else {
            return proxy::unread(&head, incoming, trail, &UpstreamError::Busy(Busy::Share).into()).await;
        };
        station.lead(&mut head.headers);
        let (told, mut decided) = oneshot::channel();
        let (answer, mut answered) = oneshot::channel();
        trail.tell_decided(told);
        let (attended, over) = (station.clone(), station.over.clone());
        let worker = self.worker.clone();
        station::begin(&worker, async move {
            let carried = async {
                let response = self.carry(&caller, &head, Some(incoming), trail).await;
                relay::answer(&attended, response, answer).await;
            };
            tokio::select! {
                biased;
                // The stream has ended: dropping the call cancels it.
                () = over.cancelled() => {}
                () = carried => {}
            }
            drop(turn);
        });
        tokio::select! {
            biased;
            // If the stream ended before the message was decided, the message was not sent.
            response = &mut answered => response.unwrap_or_else(|_| match decided.try_recv() {
                Ok(()) => reply::taken(),
                Err(_) => reply::gone(),
            }),
            Ok(()) = &mut decided => reply::taken(),
        }
    }

    /// Sends a request of the client through the proxy, as one of a Streamable HTTP client.
    async fn carry(
        &self,
        caller: &Arc<Caller>,
        head: &Parts,
        incoming: Option<Incoming>,
        mut trail: Box<Trail>,
    ) -> Response<Body> {
        // The credential was verified just now, or when the stream was opened.
        let presented = match auth::credential(&head.headers, head.uri.query()) {
            Ok(presented) => presented,
            Err(error) => return trail.refuse(&error.into()).await,
        };
        trail.found(&self.route);
        let epoch = trail.epoch;
        trail.presented(presented.scheme(), epoch);
        trail.identified(caller);
        let who = (caller.clone(), presented);
        proxy::exchange(&self.worker, &self.snapshot, &self.route, head, incoming, who, trail).await
    }
}

impl Station {
    /// Gives a request the headers of a Streamable HTTP client in this stream's session.
    fn lead(&self, headers: &mut HeaderMap) {
        headers.remove(&LAST_EVENT_ID);
        headers.remove(&SESSION_ID);
        if let Some(session) = self.session() {
            headers.insert(SESSION_ID.clone(), session);
        }
    }

    /// The head of a request without a body in this stream's session; `opened` is the head that opened the stream.
    fn head(&self, opened: &Parts, method: Method) -> Parts {
        let mut head = opened.clone();
        head.method = method;
        head.headers.remove(CONTENT_TYPE);
        self.lead(&mut head.headers);
        head
    }
}
