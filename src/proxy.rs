//! The path of a request; read this file first. [`handle`] answers every request, `call` is the pipeline of stages.

mod defined;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, EXPECT, STRICT_TRANSPORT_SECURITY};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;

use crate::auth::signals::{self, Receiver, SetError};
use crate::auth::{self, Caller, Claimed, Memo, Presented, Shown, Strangers, Verifier, VerifyError};
use crate::body::{self, Body};
use crate::clock::Timestamp;
use crate::cors::{self, Origin};
use crate::mask::Direction;
use crate::mcp::{self, Head, Known, Revision};
use crate::opened::{self, Ask, Opened, Spent};
use crate::policy::tools::Tool;
use crate::policy::{Denial, Permit, Untrusted};
use crate::reject::{self, Reject};
use crate::reply::{self, Way};
use crate::route::{Found, Route};
use crate::server::{Peer, authority_of};
use crate::snapshot::{Live, Snapshot};
use crate::state::State;
use crate::trail::{Sinks, Trail};
use crate::upstream::{self, Answer, Calling, Pool, Standing};
use crate::{audit, document, http_sse, json, mask, policy};

use defined::defined;

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The largest body read from a caller without a token.
const ANONYMOUS_BYTES: usize = 64 * 1024;
/// How much of a refused request's body is drained from its connection, and for how long.
const UNREAD_BYTES: usize = 64 * 1024;
const UNREAD_TIMEOUT: Duration = Duration::from_secs(1);
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The state of one worker thread. Only what is behind an `Arc` is shared with other threads.
#[derive(Debug)]
pub struct Worker {
    /// The current configuration.
    pub live: Arc<Live>,
    /// Verifies access tokens; its cache is shared by the whole process.
    pub verifier: Arc<Verifier>,
    /// Token cache of this thread.
    pub memo: Memo,
    /// Upstream connections of this thread.
    pub pool: Pool,
    /// Audit, metrics and log.
    pub sinks: Arc<Sinks>,
    /// Used one-time values, and which tasks belong to whom, in the whole process.
    pub state: Arc<State>,
}

/// Answers one request. Whatever happens, the answer carries the request id that audit and log know it by.
///
/// Rarely needed futures are boxed, here and below: a future is as large as everything it may await.
pub async fn handle(worker: Arc<Worker>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
    let (snapshot, secure) = (worker.live.current(), peer.secure);
    let (head, incoming) = request.into_parts();
    let forwarded = peer.forwarded(&snapshot.proxies, &head.headers);
    let (peer, unclear) = match forwarded {
        Ok(client) => (client.map_or(peer, Arc::new), None),
        Err(error) => (peer, Some(error)),
    };
    let mut trail = Trail::begin(&worker.sinks, peer, &head);
    let request_id = trail.request_id_header();
    let origin = snapshot.origins.check(&head.headers);
    let found = unclear.map_or_else(|| find(&snapshot, &head, origin, &mut trail), |error| Err(error.into()));
    let mut response = match found {
        Err(reject) => Box::pin(unread(&head, incoming, trail, &reject)).await,
        Ok(Front::Answer(response, path)) => {
            let response = trail.served(response, path);
            Box::pin(leave(&head, incoming, response)).await
        }
        Ok(Front::Sse(route)) => {
            Box::pin(http_sse::serve(&worker, &snapshot, route, head.clone(), incoming, trail)).await
        }
        Ok(Front::Signals(receiver)) => {
            let limits = &snapshot.limits;
            let response = signals(receiver, &head, incoming, limits.body_timeout).await;
            trail.served(response, head.uri.path())
        }
        Ok(Front::Route(route)) => {
            let mut response = match identify(&worker, &snapshot, route, &head, &mut trail).await {
                Ok(who) => exchange(&worker, &snapshot, route, &head, Some(incoming), who, trail).await,
                Err(reject) => Box::pin(unread(&head, incoming, trail, &reject)).await,
            };
            renew_nonce(route, &snapshot, &head, &mut response);
            response
        }
    };
    cors::expose(origin, response.headers_mut());
    reuse(head.headers, &mut response);
    response.headers_mut().insert(X_REQUEST_ID, request_id);
    if let (true, Some(hsts)) = (secure, &snapshot.hsts) {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    response
}

/// Moves the response's header fields into the memory of the request's, unless that is large: hyper keeps it for the next
/// request of the connection, which is much like this one. That of a stream would be kept while it is open.
fn reuse(mut memory: HeaderMap, response: &mut Response<Body>) {
    /// The largest capacity that is reused.
    const ROOM: usize = 24;
    if memory.capacity() <= ROOM && matches!(response.body(), Body::Full(_)) {
        memory.clear();
        memory.extend(std::mem::take(response.headers_mut()));
        *response.headers_mut() = memory;
    }
}

/// RFC 9449 section 8.2: a client that must use nonces gets the next one with any answer.
fn renew_nonce(route: &Route, snapshot: &Snapshot, head: &Parts, response: &mut Response<Body>) {
    if !route.acceptance.wants_nonces() || response.headers().contains_key(&DPOP_NONCE) {
        return;
    }
    let Ok(presented) = auth::credential(&head.headers, None) else { return };
    if let Some(nonce) = auth::next_nonce(&route.acceptance, &presented, &snapshot.seals, Timestamp::now()) {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
}

/// What a request is for, as far as that is known before authentication.
enum Front<'s> {
    /// With the path to count it under.
    Answer(Response<Body>, &'s str),
    Signals(&'s Arc<Receiver>),
    Sse(&'s Arc<Route>),
    Route(&'s Arc<Route>),
}

/// Routes a request by host, path and origin, in this order: nothing else is read before they match.
fn find<'s>(
    snapshot: &'s Snapshot,
    head: &'s Parts,
    origin: Origin<'_>,
    trail: &mut Trail,
) -> Result<Front<'s>, Reject> {
    if !snapshot.serves_host(authority_of(head)?) {
        return Err(Reject::Host);
    }
    let path = head.uri.path();
    let found = match snapshot.find(path) {
        Some(found) => found,
        None if path.starts_with(document::PLACE) => {
            return document::serve(head, None).map(|response| Front::Answer(response, document::PLACE));
        }
        None => return Err(Reject::NotFound),
    };
    if let Found::Route(route) | Found::Sse(route) = &found {
        trail.found(route);
    }
    match found {
        Found::Metadata(document) => {
            document::serve(head, Some(document)).map(|response| Front::Answer(response, path))
        }
        Found::Signals(_) if head.method != Method::POST => Err(Reject::Method { allow: "POST" }),
        // A transmitter of events is no web page.
        Found::Signals(_) if !matches!(origin, Origin::Absent) => Err(Reject::Origin),
        Found::Signals(receiver) => Ok(Front::Signals(receiver)),
        Found::Route(_) | Found::Sse(_) if matches!(origin, Origin::Refused) => Err(Reject::Origin),
        Found::Route(_) | Found::Sse(_) if head.method == Method::OPTIONS => {
            Ok(Front::Answer(cors::preflight(&head.headers), path))
        }
        Found::Route(route) => Ok(Front::Route(route)),
        Found::Sse(route) => Ok(Front::Sse(route)),
    }
}

/// Receives one pushed security event token from the agreed transmitter (RFC 8935 section 2).
async fn signals(receiver: &Receiver, head: &Parts, incoming: Incoming, timeout: Duration) -> Response<Body> {
    if let Err(error) = receiver.accepts(&head.headers) {
        return leave(head, incoming, reject::signal(&receiver.name, Err(error))).await;
    }
    let taken = async {
        let body = body::read(incoming, signals::LIMIT_BYTES, timeout).await;
        receiver.take(&body.map_err(|_| SetError::Request("the body cannot be read"))?, Timestamp::now()).await
    };
    reject::signal(&receiver.name, taken.await)
}

/// The caller, and the credential it presented.
type Who<'h> = (Arc<Caller>, Presented<'h>);

/// Refuses a request whose body nobody has read.
pub(crate) async fn unread(head: &Parts, incoming: Incoming, trail: Box<Trail>, reject: &Reject) -> Response<Body> {
    let response = trail.refuse(reject).await;
    leave(head, incoming, response).await
}

/// Drains an unread body from the connection, or has the answer close the connection (RFC 9112 section 9.6). A client that
/// sends head and body separately would otherwise find it closed at the next request.
async fn leave(head: &Parts, incoming: Incoming, mut response: Response<Body>) -> Response<Body> {
    let waits = head.headers.contains_key(EXPECT);
    if head.version < Version::HTTP_2 && (waits || !body::discard(incoming, UNREAD_BYTES, UNREAD_TIMEOUT).await) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Authenticates the caller of a request by the token it presents.
pub(crate) async fn identify<'h>(
    worker: &Worker,
    snapshot: &Snapshot,
    route: &Route,
    head: &'h Parts,
    trail: &mut Trail,
) -> Result<Who<'h>, Reject> {
    let now = trail.received;
    let presented = auth::credential(&head.headers, head.uri.query())?;
    trail.presented(presented.scheme(), worker.verifier.epoch());
    let peer = trail.peer.clone();
    let (seals, proofs) = (&*snapshot.seals, &worker.state.proofs);
    let strangers = Strangers {
        failures: &worker.state.failures,
        limit: snapshot.limits.refused_tokens,
        proxies: &snapshot.proxies,
    };
    let shown = Shown { peer: &peer, method: &head.method, headers: &head.headers, seals, proofs, strangers };
    let caller = worker.verifier.authenticate(&worker.memo, &route.acceptance, &presented, &shown, now).await;
    if let (Err(error), Some(token)) = (&caller, presented.token())
        && !matches!(error, VerifyError::TooMany { .. })
    {
        trail.claimed(Claimed::of(&route.acceptance, token));
    }
    let caller = caller?;
    let caller = match caller {
        Some(caller) => caller,
        None => Box::pin(anonymous(route, head, &peer, now)).await?,
    };
    trail.identified(&caller);
    Ok((caller, presented))
}

/// The call, then the answer's way back; every refusal ends the trail.
pub(crate) async fn exchange(
    worker: &Arc<Worker>,
    snapshot: &Arc<Snapshot>,
    route: &Arc<Route>,
    head: &Parts,
    incoming: Option<Incoming>,
    who: Who<'_>,
    mut trail: Box<Trail>,
) -> Response<Body> {
    let (reject, trail) = match call(worker, snapshot, route, head, incoming, who, &mut trail).await {
        Ok((way, answer)) => match reply::rewrite(way, answer, trail).await {
            Ok(response) => return response,
            Err(refused) => *refused,
        },
        Err(reject) => (reject, trail),
    };
    Box::pin(trail.refuse(&reject)).await
}

/// The pipeline. Each stage takes what the one before it made, so that none can be left out or swapped.
async fn call(
    worker: &Arc<Worker>,
    snapshot: &Arc<Snapshot>,
    route: &Arc<Route>,
    head: &Parts,
    incoming: Option<Incoming>,
    (caller, presented): Who<'_>,
    trail: &mut Trail,
) -> Result<(Box<Way>, Box<Answer>), Reject> {
    let now = trail.received;
    let session = opened::session_of(&snapshot.seals, &opened::binding(route, &caller), &head.headers, now);
    let negotiated = session.as_ref().ok().and_then(|session| Some(session.as_ref()?.revision));
    let most = snapshot.limits.request_bytes.min(if caller.anonymous { ANONYMOUS_BYTES } else { usize::MAX });
    let bytes = read(snapshot, head, incoming, most).await?;
    let ask = ask(route, negotiated, head, (bytes, most), trail)?;
    let untrusted = route.policy.asks_untrusted().then(|| Arc::new(Untrusted::of(&head.headers, ask.message())));
    let opened = opened::open(&snapshot.seals, route, &head.headers, caller, session, ask, now)?;
    let opened = mask::restore(&route.masks, opened, now)?;
    trail.restored(&opened);
    trail.opened(&opened);
    let ip = trail.peer.address.ip();
    let context = policy::Context {
        ip: Some(ip),
        server: &route.name,
        untrusted: untrusted.as_deref(),
        approved: route.tools.lock(),
        ..policy::Context::at(now)
    };
    let who = opened.caller.clone();
    let calling = Calling { caller: &who, token: presented.token(), now };
    let standing = Standing::of(worker, route, trail, &who);
    // Where no rule looks at definitions, they are only asked for once a call is allowed.
    let asked = if route.policy.minds_definitions() {
        Asked::Undecided(opened)
    } else {
        Asked::Permitted(permit(route, opened, &context, trail)?)
    };
    let defined = defined(worker, route, asked.opened(), &context, (calling, &standing)).await?;
    let context = policy::Context { definition: defined.definition().unwrap_or(context.definition), ..context };
    let permit = match asked {
        Asked::Undecided(opened) => permit(route, opened, &context, trail)?,
        Asked::Permitted(permit) => permit,
    };
    let tool = defined.tool();
    trail.permitted(permit.rule());
    let (reads, may_repeat) = repeats(route, tool);
    let permit = permit.defined_by(&route.tools, tool)?;
    trail.slot = route.policy.enter(&permit).await?;
    let masked = mask::mask(&route.masks, &route.meta, permit, tool, now)
        .map_err(|blocked| Reject::Blocked { blocked, direction: Direction::Arguments })?;
    policy::still_fits(&route.policy, &route.tools, tool, &masked, &context)?;
    let states = (&worker.state.spent, snapshot.shared.as_ref());
    let spent = Spent::of(&masked, route, context.definition.annotations, states, now).await?;
    let mut way = Way::new(worker, snapshot, route, &masked, (ip, untrusted), defined.into_tool());
    let limit = route.policy.timeout(masked.rule());
    let recorded = audit::decided(trail, masked).await.inspect_err(|_| give_back(worker, spent.as_ref()))?;
    let shown = route.credentials.shown(way.tool(), calling).await;
    let shown = shown.inspect_err(|_| give_back(worker, spent.as_ref()))?;
    way.credential = shown.credential().clone();
    let outbound = upstream::outbound(shown.credential(), recorded).of_tool(reads, may_repeat);
    let outbound = outbound.standing(standing).traced(trail.trace.as_deref_mut(), &route.backend);
    let sending = upstream::send(worker, route, &shown, (way.tool(), calling), outbound, limit);
    let answer = sending.await.inspect_err(|error| {
        if error.is_unreachable() {
            give_back(worker, spent.as_ref());
        }
    })?;
    Ok((way, answer))
}

/// A request before the definition of the called tool is known.
enum Asked {
    Permitted(Permit),
    Undecided(Box<Opened>),
}

impl Asked {
    fn opened(&self) -> &Opened {
        match self {
            Self::Permitted(permit) => permit.opened(),
            Self::Undecided(opened) => opened,
        }
    }
}

/// Decides, and notes what rules in shadow would have decided.
fn permit(
    route: &Route,
    opened: Box<Opened>,
    context: &policy::Context<'_>,
    trail: &mut Trail,
) -> Result<Permit, Denial> {
    let written = opened.written_subject();
    let foreseen = policy::foresee(&route.policy, &opened, context);
    let decided = policy::authorize(&route.policy, opened, context);
    trail.shadow = foreseen.filter(|foreseen| foreseen.differs(&decided));
    decided
        .map_err(|denial| match trail.caller.as_deref() {
            Some(caller) => route.policy.limit_step_ups(denial, caller),
            None => denial,
        })
        .map_err(|denial| mask::as_written(denial, written.as_deref()))
}

/// Whether a tool is read-only, and whether it may be called twice, by its approved definition or the operator's word.
fn repeats(route: &Route, tool: Option<&Tool>) -> (bool, bool) {
    let Some(tool) = tool else { return (false, false) };
    let hints = tool.annotations();
    (hints.read_only, hints.idempotent || route.repeatable.contains(&tool.name))
}

/// The caller without a token, where a rule allows such callers something: single messages only, rate limited per address.
async fn anonymous(route: &Route, head: &Parts, peer: &Peer, now: Timestamp) -> Result<Arc<Caller>, Reject> {
    // A malformed credential must not pass as no credential.
    if !route.policy.serves_anonymous(now) || head.headers.contains_key(AUTHORIZATION) {
        return Err(Reject::NoCredentials);
    }
    let caller = Caller::anonymous(peer.address.ip());
    route.policy.enter_anonymous(&caller).await?;
    match head.method {
        Method::POST => Ok(Arc::new(caller)),
        // Clients ask for a stream once a server is initialized, and go on without where there is none (2025-11-25,
        // "Listening for Messages from the Server").
        Method::GET if !opened::names_session(&head.headers) => Err(Reject::Method { allow: "POST, OPTIONS" }),
        _ => Err(Reject::NoCredentials),
    }
}

/// Gives back the one-time value of a call that was certainly not made.
fn give_back(worker: &Worker, spent: Option<&Spent>) {
    if let Some(spent) = spent {
        spent.give_back(&worker.state.spent);
    }
}

/// Reads the body of a message; nothing of other requests.
async fn read(
    snapshot: &Snapshot,
    head: &Parts,
    incoming: Option<Incoming>,
    most: usize,
) -> Result<Bytes, body::ReadError> {
    match incoming {
        Some(incoming) if head.method == Method::POST => body::read(incoming, most, snapshot.limits.body_timeout).await,
        Some(_) | None => Ok(Bytes::new()),
    }
}

/// What the client requests: one message, a stream, or the end of a session.
fn ask(
    route: &Route,
    negotiated: Option<Revision>,
    head: &Parts,
    (bytes, most): (Bytes, usize),
    trail: &mut Trail,
) -> Result<Ask, Reject> {
    match head.method {
        Method::POST => {
            let known = Known {
                bytes: most,
                limits: json::Limits::REQUEST,
                names_method: &|name| route.policy.names_method(name),
                supported: &Revision::SERVED,
            };
            let head = Head { headers: &head.headers, session: negotiated };
            match mcp::admit(&head, bytes, &known) {
                Ok(message) => {
                    trail.admitted(&message);
                    Ok(Ask::Message(message))
                }
                Err(error) => {
                    let error = error.supporting(|era| route.bridge.spoken(route.bridging, era));
                    trail.misread(&error);
                    Err(error.into())
                }
            }
        }
        Method::GET if accepts_event_stream(head) => {
            trail.listens();
            Ok(Ask::Listen)
        }
        Method::GET => Err(Reject::NotAcceptable),
        Method::DELETE => {
            trail.closes();
            Ok(Ask::Close)
        }
        _ => Err(Reject::Method { allow: "GET, POST, DELETE, OPTIONS" }),
    }
}

pub(crate) fn accepts_event_stream(head: &Parts) -> bool {
    head.headers.get_all(ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| accept.contains("text/event-stream") || accept.contains("*/*"))
    })
}
