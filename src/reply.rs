//! The response path: an upstream's answer is admitted, filtered and masked before a byte of it reaches the client.
//!
//! A JSON body is read whole, up to a limit; an event stream is rewritten event by event. Any other body, and one that does
//! not parse, is too large or is compressed, is refused. No header of the upstream's is copied.

mod changes;
mod elicited;
mod handles;
mod list;
mod message;
mod refusal;
mod stream;
mod tidy;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use thiserror::Error;

use crate::auth::Caller;
use crate::body::Body;
use crate::clock::Timestamp;
use crate::json::{Document, Limits};
use crate::mask::{Direction, Masked, Said, View};
use crate::mcp::handle::{Origin, is_plain_id};
use crate::mcp::headers::SESSION_ID;
use crate::mcp::inbound::InboundError;
use crate::mcp::methods;
use crate::mcp::session::{Capabilities, Session};
use crate::mcp::{Access, Era, ListKinds, MessageShape, Revision, RpcId, SubjectKind};
use crate::opened::{Ask, OwnTask, binding};
use crate::policy::tools::Tool;
use crate::policy::{Asker, Context, Kept, Untrusted};
use crate::proxy::Worker;
use crate::reject::Reject;
use crate::route::Route;
use crate::snapshot::Snapshot;
use crate::trail::{Ending, Trail};
use crate::upstream::{Answer, Credential, Fields};

pub(crate) use message::rewrite_result;
pub use message::shown_list;
use message::{Settled, Whole};
pub use stream::Stream;

/// The lifetime of a sealed session id; the upstream may end the session earlier.
pub(crate) const SESSION_LIFETIME: Duration = Duration::from_hours(7 * 24);
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Why an upstream's answer is not passed on.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ReplyError {
    #[error("{0}")]
    Admit(#[from] InboundError),
    #[error("the upstream refused the proxy's credential with {status}")]
    Credential { status: u16 },
    #[error("an id, cursor or state that cannot be one, or that is of somebody else")]
    Handle,
    #[error("content type or coding is not one of MCP's")]
    MediaType,
    #[error("no answer to the request")]
    Missing,
    #[error("the upstream seems to require a session")]
    NoSession,
    #[error("the upstream asks for fewer calls")]
    RateLimited { retry_after: Option<Duration> },
    #[error("the upstream refused with {status}")]
    Refused { status: u16 },
    #[error("the upstream does not know the session")]
    Session,
    #[error("unexpected status {status}")]
    Status { status: u16 },
}

/// What the response path needs to know of the request.
#[derive(Debug)]
pub struct Way {
    /// The caller.
    pub caller: Arc<Caller>,
    /// The era of the request; a GET is of an older revision.
    pub era: Era,
    /// The method requested; `None` for a GET that resumes nothing.
    pub method: Option<&'static methods::Method>,
    /// The id of the request, as written; `None` if no response is due.
    pub id: Option<RpcId>,
    /// The route, as it was when the request came.
    pub route: Arc<Route>,
    /// The revision by which messages are parsed.
    pub revision: Revision,
    /// The session of the request, or the one that its `initialize` opens.
    pub session: Option<Session>,
    /// The snapshot by which the request was decided.
    pub snapshot: Arc<Snapshot>,
    /// The subject of the request.
    pub subject: Option<(SubjectKind, Arc<str>)>,
    /// The arguments of the call.
    pub(crate) arguments: Kept,
    /// The caller's address.
    ip: IpAddr,
    /// Unverified claims of the client, if a rule uses them.
    untrusted: Option<Arc<Untrusted>>,
    /// The text of the request, if the masking of the answer depends on it.
    said: Option<Arc<Said>>,
    /// The client's capabilities, if the request opens a session.
    capabilities: Capabilities,
    /// The digest of the call's parameters, if the server may answer it with `input_required`.
    digest: Option<[u8; 32]>,
    /// The caller's tasks that a subscription named.
    listened: Vec<OwnTask>,
    /// The task that the request is about.
    task: Option<OwnTask>,
    /// The definition of the called tool, if known.
    definition: Option<Arc<Tool>>,
    /// The credential that the call was sent with.
    pub(crate) credential: Credential,
    /// The worker that the request runs on.
    pub worker: Arc<Worker>,
}

impl Way {
    /// The context of a masked request, boxed from stage to stage. Without the definition of the called tool, the tool of the
    /// subject is used if it has been listed.
    pub fn new(
        worker: &Arc<Worker>,
        snapshot: &Arc<Snapshot>,
        route: &Arc<Route>,
        masked: &Masked,
        (ip, untrusted): (IpAddr, Option<Arc<Untrusted>>),
        definition: Option<Arc<Tool>>,
    ) -> Box<Self> {
        let mut way = Box::new(Self {
            caller: masked.caller().clone(),
            era: Era::Legacy,
            method: None,
            id: None,
            route: route.clone(),
            revision: masked.session().map_or(Revision::UNSTATED, |session| session.revision),
            session: masked.session().cloned(),
            snapshot: snapshot.clone(),
            subject: None,
            arguments: Kept::Lost,
            ip,
            untrusted,
            said: masked.said().cloned(),
            capabilities: Capabilities::default(),
            digest: masked.handles().digest,
            listened: masked.handles().listened.clone(),
            task: masked.handles().task.clone(),
            definition,
            credential: Credential::NONE,
            worker: worker.clone(),
        });
        match (masked.ask(), masked.resumed()) {
            (Ask::Message(message), _) => {
                way.era = message.era();
                way.revision = message.revision();
                way.method = message.listed();
                if let MessageShape::Request { id } = message.shape() {
                    way.id = Some(id.clone());
                }
                if way.opens_session() {
                    way.capabilities = message.client_capabilities();
                }
                way.subject = message.kept_subject();
                way.arguments = Kept::of(message);
                if let Some(own) = &way.task {
                    way.subject.clone_from(&own.task.origin.subject);
                }
            }
            (Ask::Listen, Some(resumed)) => {
                way.method = resumed.origin.as_ref().map(|origin| origin.method);
                way.id = resumed.rpc_id.as_deref().and_then(RpcId::from_raw);
                way.subject = resumed.origin.as_ref().and_then(|origin| origin.subject.clone());
                way.task = resumed.task.as_deref().and_then(|id| handles::resumed_task(&way, id));
            }
            (Ask::Close | Ask::Listen, _) => {}
        }
        if let (None, Some((SubjectKind::Tool, name))) = (&way.definition, &way.subject)
            && !way.route.masks.is_empty_for(Direction::Result)
        {
            way.definition = way.route.tools.seen(name);
        }
        way
    }

    /// The circumstances of decisions about the answer.
    pub(crate) fn context(&self, now: Timestamp) -> Context<'_> {
        Context {
            ip: Some(self.ip),
            server: &self.route.name,
            untrusted: self.untrusted.as_deref(),
            approved: self.route.tools.lock(),
            ..Context::at(now)
        }
    }

    /// Decides about the answer by the request's policy.
    pub(crate) fn asker<'a>(&'a self, context: &'a Context<'a>) -> Asker<'a> {
        Asker { policy: &self.route.policy, caller: &self.caller, context, enforced: false }
    }

    /// The call that is answered; `None` for a stream that answers none, and for unlisted methods.
    fn origin(&self) -> Option<Origin> {
        Some(Origin { method: self.method?, subject: self.subject.clone() })
    }

    /// The upstream's name of the tool that the request is about.
    pub(crate) fn tool(&self) -> Option<&str> {
        self.subject.as_ref().filter(|(kind, _)| *kind == SubjectKind::Tool).map(|(_, name)| &**name)
    }

    /// The `kind` label of `portcullis_streams`.
    fn stream_kind(&self) -> &'static str {
        match (self.method, &self.id) {
            (Some(method), _) if method.access == Access::Subscriptions => "listen",
            (_, Some(_)) => "call",
            (_, None) => "get",
        }
    }

    /// What masking depends on: the caller and the call.
    fn view(&self, now: Timestamp) -> View<'_> {
        View {
            caller: self.caller.principal(),
            subject: self.subject.as_ref().map(|(kind, name)| (*kind, &**name)),
            now,
            said: self.said.as_deref(),
            tool: self.definition.as_deref(),
        }
    }

    /// The error for an answer of that status whose body is not passed on. 400 to a request without a session may mean that
    /// one is required (2025-11-25, "Session Management").
    fn refused(&self, status: StatusCode) -> ReplyError {
        let has_none = self.era == Era::Legacy && self.session.is_none() && self.id.is_some() && !self.opens_session();
        if status == StatusCode::BAD_REQUEST && has_none {
            ReplyError::NoSession
        } else {
            ReplyError::Refused { status: status.as_u16() }
        }
    }

    fn opens_session(&self) -> bool {
        self.era == Era::Legacy && self.method.is_some_and(methods::is_initialize)
    }
}

/// Turns an upstream's answer into the client's. The trail ends here, or with the stream. Errs, and gives the trail back, if
/// the answer is refused.
pub async fn rewrite(
    mut way: Box<Way>,
    answer: Box<Answer>,
    mut trail: Box<Trail>,
) -> Result<Response<Body>, Box<(Reject, Box<Trail>)>> {
    trail.answered();
    if let Err(error) = usable_status(&way, &answer) {
        return Err(Box::new((error.into(), trail)));
    }
    if way.opens_session() {
        way.session = match provisional_session(&way, &answer.fields) {
            Ok(session) => session,
            Err(error) => return Err(Box::new((error.into(), trail))),
        };
        if way.caller.anonymous && way.session.is_some() {
            refusal::end_session(&way);
            return Err(Box::new((Reject::NoCredentials, trail)));
        }
    }
    let media = if answer.body.is_read() { Media::Json } else { media_type(&answer.fields) };
    let listens = trail.http_method == Method::GET;
    match media {
        // A GET is answered with a stream only (2025-11-25, "Listening for Messages from the Server").
        Media::Json | Media::None if listens && answer.status.is_success() => {
            Err(Box::new((ReplyError::MediaType.into(), trail)))
        }
        Media::EventStream if answer.status.is_success() => Ok(Box::pin(stream(way, answer, trail)).await),
        Media::Json => json(way, answer, trail).await,
        Media::None if answer.status.is_success() && way.id.is_none() => accepted(answer.status, trail).await,
        // Some servers give an empty body a media type, such as `text/plain`.
        Media::Other if is_taken(&answer, &way, &trail) => json(way, answer, trail).await,
        Media::None | Media::EventStream | Media::Other if !answer.status.is_success() => {
            Err(Box::new((way.refused(answer.status).into(), trail)))
        }
        _ => Err(Box::new((ReplyError::MediaType.into(), trail))),
    }
}

/// Whether the answer accepts a message without a response, or the end of a session; its body is not passed on.
fn is_taken(answer: &Answer, way: &Way, trail: &Trail) -> bool {
    let is_ending = trail.http_method == Method::DELETE && answer.status.is_success();
    way.id.is_none() && (is_ending || trail.http_method == Method::POST && answer.status == StatusCode::ACCEPTED)
}

/// Errs for statuses that are about the proxy rather than the caller: they become answers of the proxy's own.
fn usable_status(way: &Way, answer: &Answer) -> Result<(), ReplyError> {
    let status = answer.status.as_u16();
    match status {
        401 | 403 => Err(ReplyError::Credential { status }),
        404 if way.session.is_some() && !way.opens_session() => Err(ReplyError::Session),
        429 => Err(ReplyError::RateLimited { retry_after: retry_after(&answer.fields) }),
        200..=299 | 400..=499 => Ok(()),
        _ => Err(ReplyError::Status { status }),
    }
}

fn retry_after(fields: &Fields) -> Option<Duration> {
    fields.get(&RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// The kind of body that an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    EventStream,
    Json,
    None,
    Other,
}

/// The kind of body by `Content-Type`. A body with a content coding is never decoded and counts as [`Media::Other`], and so
/// does one whose charset is not UTF-8.
pub(crate) fn media_type(fields: &Fields) -> Media {
    if fields.all(&CONTENT_ENCODING).any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Media::Other;
    }
    let mut values = fields.all(&CONTENT_TYPE);
    let Some(value) = values.next() else { return Media::None };
    if values.next().is_some() {
        return Media::Other;
    }
    let value = value.as_bytes();
    if value == b"application/json" {
        return Media::Json;
    }
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let media = parts.next().unwrap_or_default();
    let utf8 = parts.all(|parameter| {
        !parameter.to_ascii_lowercase().starts_with(b"charset=")
            || matches!(parameter[8..].to_ascii_lowercase().as_slice(), b"utf-8" | b"\"utf-8\"")
    });
    match media {
        _ if !utf8 => Media::Other,
        media if media.eq_ignore_ascii_case(b"text/event-stream") => Media::EventStream,
        media if media.eq_ignore_ascii_case(b"application/json") => Media::Json,
        _ => Media::Other,
    }
}

/// The session that `initialize` opens, if any (2025-11-25, "Session Management"); what it settles is set once the body
/// is read. Errs if the id is invalid.
fn provisional_session(way: &Way, fields: &Fields) -> Result<Option<Session>, ReplyError> {
    let mut values = fields.all(&SESSION_ID);
    let Some(id) = values.next() else { return Ok(None) };
    let id = id.to_str().ok().filter(|id| is_plain_id(id) && values.next().is_none()).ok_or(ReplyError::Handle)?;
    let (upstream_id, revision, lists) = (Some(id.into()), Revision::UNSTATED, ListKinds::default());
    Ok(Some(Session { upstream_id, revision, capabilities: way.capabilities, lists }))
}

/// Adds the sealed id of a session just opened, which only this caller can use.
fn name_session(way: &Way, settled: Settled, headers: &mut HeaderMap) {
    let Some(session) = way.session.as_ref().filter(|_| way.opens_session()) else { return };
    let revision = settled.revision.unwrap_or(session.revision);
    let session = Session { revision, lists: settled.lists, ..session.clone() };
    let seals = &way.snapshot.seals;
    let sealed = session.seal(seals, &binding(&way.route, &way.caller), Timestamp::now(), SESSION_LIFETIME);
    if let Some(id) = sealed.ok().and_then(|sealed| HeaderValue::try_from(sealed).ok()) {
        headers.insert(SESSION_ID.clone(), id);
    }
}

async fn json(
    way: Box<Way>,
    answer: Box<Answer>,
    mut trail: Box<Trail>,
) -> Result<Response<Body>, Box<(Reject, Box<Trail>)>> {
    let Answer { status, mut body, .. } = *answer;
    let whole = match body.take_read() {
        Some((document, edits)) => Whole::Parsed(document, edits),
        None => match body.collect_limited(way.snapshot.limits.answer_bytes).await {
            Ok(bytes) => Whole::Bytes(bytes),
            Err(error) => return Err(Box::new((error.into(), trail))),
        },
    };
    if way.id.is_none() {
        // No body of an answer to a notification or response is passed on.
        return if status.is_success() {
            accepted(status, trail).await
        } else {
            Err(Box::new((ReplyError::Refused { status: status.as_u16() }.into(), trail)))
        };
    }
    let answer = match message::answer(&way, whole, trail.findings_mut()) {
        Ok(answer) => answer,
        Err(_) if !status.is_success() => return Err(Box::new((way.refused(status).into(), trail))),
        Err(error) => return Err(Box::new((error, trail))),
    };
    let ending = Ending { http: status.as_u16(), code: answer.code, tool_error: answer.tool_error, error: None };
    if let Err(refused) = trail.end(ending).await {
        let (error, trail) = *refused;
        return Err(Box::new((Reject::Unrecorded(error), trail)));
    }
    let mut headers = HeaderMap::with_capacity(6);
    name_session(&way, answer.settled, &mut headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = Response::new(Body::full(answer.bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// 202: a message was accepted.
pub(crate) fn taken() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// 404: the stream of a message has ended, and the message was not sent.
pub(crate) fn gone() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Whether a response of the proxy's says that the session is gone.
pub(crate) fn says_no_session(response: &Response<Body>) -> bool {
    let Body::Full(Some(bytes)) = response.body() else { return false };
    let code = || Document::parse(bytes.clone(), &Limits::ANSWER).ok()?.pointer("/error/code")?.as_i64();
    response.status() == StatusCode::NOT_FOUND && code() == Some(i64::from(crate::reject::NO_SESSION))
}

/// Sets the headers of an event stream.
pub(crate) fn as_event_stream(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// Success without a body: 202 for a notification or response, whichever success status the upstream sent (2025-11-25,
/// "Sending Messages to the Server"), and the upstream's status for the end of a session. Errs if it cannot be recorded.
async fn accepted(status: StatusCode, trail: Box<Trail>) -> Result<Response<Body>, Box<(Reject, Box<Trail>)>> {
    let status = if trail.http_method == Method::POST { StatusCode::ACCEPTED } else { status };
    let ending = Ending { http: status.as_u16(), code: None, tool_error: false, error: None };
    trail.end(ending).await.map_err(|refused| Box::new((Reject::Unrecorded(refused.0), refused.1)))?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    Ok(response)
}

async fn stream(way: Box<Way>, answer: Box<Answer>, trail: Box<Trail>) -> Response<Body> {
    // The next larger size is twice that, and would be kept while the stream is open.
    let mut headers = HeaderMap::with_capacity(6);
    let mut stream = Box::new(Stream::new(way, answer.body, trail));
    if stream.way().opens_session() {
        // The sealed session id has the revision, which is in the answer.
        let settled = stream.until_answered().await;
        name_session(stream.way(), settled, &mut headers);
    }
    as_event_stream(&mut headers);
    let mut response = Response::new(Body::Stream(stream));
    *response.headers_mut() = headers;
    response
}
