//! The request to the upstream: built from the route, the credential and the masked message, never copied from the client.

mod traced;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::gate::Room;
use super::request::{Head, Request};
use super::{Credential, Standing};
use crate::audit::Recorded;
use crate::auth::{Caller, VerifyError};
use crate::json::{Document, Limits, quoted};
use crate::mask::Masked;
use crate::mcp::admit::{META_CAPABILITIES, META_CLIENT, META_VERSION};
use crate::mcp::handle::TASKS_EXTENSION;
use crate::mcp::headers::{encode_string, encode_value};
use crate::mcp::methods::{INITIALIZE, INITIALIZED, Method as Row, MethodRef, TOOLS_LIST, is_initialize};
use crate::mcp::session::Session;
use crate::mcp::{Access, Era, Message, MessageShape, OWN_INFO, Revision, RpcId, SubjectKind};
use crate::opened::Ask;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// A request to an upstream. For a client's request only [`outbound`] makes one, and only from a decision that the audit log
/// has recorded.
///
/// ```compile_fail,E0308
/// fn skip(credential: &portcullis::upstream::Credential, masked: portcullis::mask::Masked) {
///     let _ = portcullis::upstream::outbound(credential, masked);
/// }
/// ```
#[derive(Debug)]
pub struct Outbound {
    /// Boxed, since it is moved through many layers.
    said: Box<Said>,
}

/// A request, and what is known of it: one to be translated to another revision is not parsed again.
#[derive(Clone, Debug)]
struct Said {
    request: Request,
    /// The parsed message, if it is the same as the request's content.
    document: Option<Document>,
    /// The client's era; `None` for the proxy's own messages.
    era: Option<Era>,
    /// The method's row in the table of methods.
    listed: Option<&'static Row>,
    /// Whether it changes nothing upstream, so that it may be sent again if its credential is refused.
    repeatable: bool,
    passenger: Passenger,
}

/// What belongs to a request but is not sent: its caller, and the limit it counts against.
#[derive(Clone, Debug)]
pub(crate) struct Passenger {
    pub(super) room: Room,
    /// The caller; `None` for the proxy's own requests.
    pub(super) caller: Option<Arc<Caller>>,
    /// Rechecks the caller of a call that may have waited.
    standing: Option<Standing>,
    /// Whether the request is idempotent.
    pub(super) may_repeat: bool,
    /// The `traceparent` header.
    traceparent: Option<Box<HeaderValue>>,
}

impl Passenger {
    /// For a message of the proxy's own.
    const fn own(room: Room) -> Self {
        let may_repeat = room as u8 == Room::Call as u8;
        Self { room, caller: None, standing: None, may_repeat, traceparent: None }
    }

    /// This passenger, counted as a stream.
    pub(super) fn streaming(&self) -> Self {
        Self { room: Room::Stream, may_repeat: true, ..self.clone() }
    }

    fn of(masked: &Masked) -> Self {
        let room = match masked.ask() {
            Ask::Close => Room::Aside,
            Ask::Listen => Room::Stream,
            Ask::Message(message) => match (message.shape(), message.listed().map(|method| method.access)) {
                (MessageShape::Request { .. }, Some(Access::Subscriptions)) => Room::Stream,
                (MessageShape::Request { .. }, _) => Room::Call,
                // A pending call may be waiting for this message.
                (MessageShape::Notification | MessageShape::Response { .. }, _) => Room::Aside,
            },
        };
        let caller = Some(masked.caller().clone());
        Self { room, caller, standing: None, may_repeat: is_repeatable(masked.ask()), traceparent: None }
    }

    /// Errs if the caller would no longer be admitted.
    pub(super) fn check(&self, has_waited: bool) -> Result<(), VerifyError> {
        match (&self.standing, &self.caller) {
            (Some(standing), Some(caller)) => standing.check(caller, has_waited),
            _ => Ok(()),
        }
    }
}

impl Outbound {
    /// The method's row in the table of methods; `None` for a method that only a rule names, and for the proxy's own messages.
    pub(crate) fn listed(&self) -> Option<&'static Row> {
        self.said.listed
    }

    /// The client's era; `None` for the proxy's own messages, which are always in the upstream's era.
    pub(crate) fn era(&self) -> Option<Era> {
        self.said.era
    }

    /// Whether it is `initialize`, which opens a session.
    pub(crate) fn opens_session(&self) -> bool {
        self.said.listed.is_some_and(is_initialize)
    }

    /// The revision that its header states.
    pub(crate) fn revision(&self) -> Revision {
        self.said.request.head.revision.unwrap_or(Revision::UNSTATED)
    }

    /// Whether it is a request that the upstream processes, not a stream or a message without an answer.
    pub(crate) fn is_call(&self) -> bool {
        self.said.passenger.room == Room::Call && self.said.request.head.method == Method::POST
    }

    /// The parsed message as it is sent; `None` if there is none or it cannot be parsed.
    pub(crate) fn document(&self) -> Option<Cow<'_, Document>> {
        match &self.said.document {
            Some(document) => Some(Cow::Borrowed(document)),
            None => Document::parse(self.said.request.content.clone(), &Limits::ANSWER).ok().map(Cow::Owned),
        }
    }

    /// The caller, and the limit it counts against.
    pub(crate) fn passenger(&self) -> Passenger {
        self.said.passenger.clone()
    }

    /// The caller; `None` for the proxy's own requests.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.said.passenger.caller.as_ref()
    }

    /// POST, GET or DELETE.
    pub(crate) fn verb(&self) -> &Method {
        &self.said.request.head.method
    }

    /// The session id at the upstream.
    pub(crate) fn session(&self) -> Option<&str> {
        self.said.request.head.session.as_ref()?.to_str().ok()
    }

    /// Whether it has an `Mcp-Method` header, as messages of 2026-07-28 do.
    pub(super) fn names_method(&self) -> bool {
        self.said.request.head.further.iter().any(|(name, _)| name == MCP_METHOD)
    }

    /// Whether it is `initialize`, a client's or the proxy's own.
    pub(super) fn says_hello(&self) -> bool {
        self.document().is_some_and(|message| {
            message.root().get("method").is_some_and(|method| method.as_str().as_deref() == Some(INITIALIZE))
        })
    }

    /// A copy, for a second attempt in another era. Not repeatable itself.
    pub(crate) fn twin(&self) -> Self {
        let mut said = self.said.clone();
        said.repeatable = false;
        Self { said }
    }

    /// This request with another passenger.
    pub(crate) fn for_passenger(mut self, passenger: Passenger) -> Self {
        self.said.passenger = passenger;
        self
    }

    /// This request for `caller`, who alone owns what it opens.
    pub(crate) fn for_caller(mut self, caller: &Arc<Caller>) -> Self {
        self.said.passenger.caller = Some(caller.clone());
        self
    }

    /// This request as a long-lived, mostly silent stream.
    pub(crate) fn into_stream(self) -> Self {
        self.for_passenger(Passenger::own(Room::Stream))
    }

    /// This request, a message of the proxy's own, with these header fields.
    pub(crate) fn with_headers(mut self, fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        self.said.request.head.further = fields.into_iter().collect();
        self
    }

    /// The HTTP request and its passenger.
    pub(super) fn into_parts(self) -> (Request, Passenger) {
        let Said { mut request, mut passenger, .. } = *self.said;
        request.head.traceparent = passenger.traceparent.take();
        (request, passenger)
    }

    /// The message and its passenger, for a server that is not reached over HTTP.
    pub(crate) fn into_message(self) -> (Option<Document>, Passenger) {
        let Said { request, document, passenger, .. } = *self.said;
        (document.or_else(|| Document::parse(request.content, &Limits::ANSWER).ok()), passenger)
    }

    /// A copy to send again, if the request changes nothing upstream.
    pub(super) fn again(&self) -> Option<Self> {
        self.said.repeatable.then(|| self.twin())
    }

    /// This request with another credential.
    pub(super) fn shown(mut self, credential: &Credential) -> Self {
        self.said.request.head.credential = credential.clone();
        self
    }

    /// This request with a recheck of its caller before it is sent.
    pub(crate) fn standing(mut self, standing: Standing) -> Self {
        self.said.passenger.standing = Some(standing);
        self
    }

    /// Errs if the caller would no longer be admitted.
    pub(super) fn check(&self) -> Result<(), VerifyError> {
        self.said.passenger.check(false)
    }

    /// This request for a tool that only reads, or that may be called twice, according to its approved definition or the
    /// configuration.
    pub(crate) fn of_tool(mut self, reads: bool, may_repeat: bool) -> Self {
        self.said.repeatable |= reads;
        self.said.passenger.may_repeat |= reads || may_repeat;
        self
    }
}

/// The upstream request for a recorded decision, authenticated with `credential`.
pub fn outbound(credential: &Credential, recorded: Recorded) -> Outbound {
    let masked = recorded.into_masked();
    let session = masked.session();
    let (verb, revision, fields) = match masked.ask() {
        Ask::Close => (Method::DELETE, session.map(|session| session.revision), Vec::new()),
        Ask::Listen => {
            let resumed = masked.resumed().and_then(|id| HeaderValue::from_str(&id.upstream_id).ok());
            let resumed = resumed.map(|id| (LAST_EVENT_ID, id));
            // Requests in a session state its revision (2025-06-18, "Protocol Version Header").
            (Method::GET, session.map(|session| session.revision), resumed.into_iter().collect())
        }
        Ask::Message(message) => (Method::POST, stated_revision(message), mirroring(message, &masked)),
    };
    let message = masked.ask().message();
    let passenger = Passenger::of(&masked);
    Outbound {
        said: Box::new(Said {
            request: Request {
                head: Head {
                    method: verb,
                    credential: credential.clone(),
                    session: session.and_then(upstream_id),
                    revision,
                    further: fields,
                    traceparent: None,
                },
                content: masked.bytes().clone(),
            },
            era: Some(message.map_or(Era::Legacy, Message::era)),
            listed: message.and_then(Message::listed),
            repeatable: passenger.may_repeat,
            passenger,
            document: masked.into_document(),
        }),
    }
}

/// Whether the request only lists, reads or streams. Tool calls never count: what a tool does is not known here.
fn is_repeatable(ask: &Ask) -> bool {
    match ask {
        Ask::Close => false,
        Ask::Listen => true,
        Ask::Message(message) => message.listed().is_some_and(|method| match method.access {
            Access::Completion | Access::Free | Access::Subscriptions => true,
            Access::Named | Access::Task => false,
            Access::Subject { kind, .. } => kind != SubjectKind::Tool,
        }),
    }
}

/// The answer to a server's request that the policy refused. It is the proxy's own message, with no data of the client.
pub(crate) fn refusal(
    credential: &Credential,
    session: Option<&Session>,
    revision: Revision,
    message: Bytes,
) -> Outbound {
    own_message(credential, session, revision, message)
}

/// The context of a message: its revision, and its session if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    /// The session id at the upstream.
    session: Option<HeaderValue>,
    pub(crate) revision: Revision,
}

impl Within {
    /// In the session with this id; in none if the id cannot be a header value.
    pub(crate) fn session(id: Option<&str>, revision: Revision) -> Self {
        Self { session: id.and_then(|id| HeaderValue::from_str(id).ok()), revision }
    }

    /// In no session.
    pub(crate) const fn none(revision: Revision) -> Self {
        Self { session: None, revision }
    }

    /// The session id.
    pub(crate) fn id(&self) -> Option<&str> {
        self.session.as_ref()?.to_str().ok()
    }
}

/// A message of the proxy's own, or one translated from a client's era.
pub(crate) fn in_era(credential: &Credential, within: &Within, message: Bytes) -> Outbound {
    let Within { session, revision } = within;
    let mut outbound = own_message(credential, None, *revision, message);
    outbound.said.request.head.session.clone_from(session);
    outbound.said.request.head.revision = Some(*revision).filter(|revision| *revision != Revision::UNSTATED);
    outbound
}

/// The GET request for a session's event stream.
pub(crate) fn listening(credential: &Credential, within: &Within) -> Outbound {
    let mut outbound = in_era(credential, within, Bytes::new());
    outbound.said.request.head.method = Method::GET;
    outbound.into_stream()
}

fn own_message(credential: &Credential, session: Option<&Session>, revision: Revision, message: Bytes) -> Outbound {
    Outbound {
        said: Box::new(Said {
            request: Request {
                head: Head {
                    method: Method::POST,
                    credential: credential.clone(),
                    session: session.and_then(upstream_id),
                    revision: Some(revision),
                    further: Vec::new(),
                    traceparent: None,
                },
                content: message,
            },
            document: None,
            era: None,
            listed: None,
            repeatable: false,
            passenger: Passenger::own(Room::Aside),
        }),
    }
}

/// The client capabilities that the proxy declares when it only lists tools: some servers list tools only for clients that
/// support what the tools request, and a tool that is not listed cannot be approved.
const CAPABILITIES: &str = r#""elicitation":{},"roots":{},"sampling":{}"#;

/// A `tools/list` request of the proxy's own, in a session or in none, and its id.
pub(super) fn listing(
    credential: &Credential,
    session: Option<&str>,
    revision: Revision,
    cursor: Option<&str>,
) -> (Outbound, RpcId) {
    let id = RpcId::own();
    let raw_id = String::from_utf8_lossy(id.raw());
    let cursor = cursor.map(|cursor| format!(r#""cursor":{}"#, quoted(cursor)));
    let modern = revision.era() == Era::Modern;
    let able = format!(r#"{CAPABILITIES},"extensions":{{"{TASKS_EXTENSION}":{{}}}}"#);
    let stated =
        format!(r#""{META_VERSION}":"{revision}","{META_CAPABILITIES}":{{{able}}},"{META_CLIENT}":{OWN_INFO}"#);
    let meta = modern.then(|| format!(r#""_meta":{{{stated}}}"#));
    let params = cursor.into_iter().chain(meta).collect::<Vec<_>>().join(",");
    let message = format!(r#"{{"jsonrpc":"2.0","id":{raw_id},"method":"{TOOLS_LIST}","params":{{{params}}}}}"#);
    let within = Within::session(session, revision);
    let mut outbound = in_era(credential, &within, message.into()).for_passenger(Passenger::own(Room::Call));
    if modern {
        outbound.said.request.head.further.push((MCP_METHOD, HeaderValue::from_static(TOOLS_LIST)));
    }
    (outbound, id)
}

/// Opens a session of the proxy's own: `initialize` with its id, and a function that makes the `notifications/initialized` to
/// send after the answer.
pub(super) fn opening(credential: &Credential) -> ((Outbound, RpcId), impl Fn(Option<&str>, Revision) -> Outbound) {
    let id = RpcId::own();
    let raw_id = String::from_utf8_lossy(id.raw()).into_owned();
    let revision = Revision::V2025_11_25;
    let params =
        format!(r#"{{"protocolVersion":"{revision}","capabilities":{{{CAPABILITIES}}},"clientInfo":{OWN_INFO}}}"#);
    let message = format!(r#"{{"jsonrpc":"2.0","id":{raw_id},"method":"{INITIALIZE}","params":{params}}}"#);
    // No revision is negotiated before the answer.
    let nothing = Within::none(Revision::UNSTATED);
    let first = in_era(credential, &nothing, message.into()).for_passenger(Passenger::own(Room::Call));
    let credential = credential.clone();
    let opened = move |session: Option<&str>, revision| {
        let message = format!(r#"{{"jsonrpc":"2.0","method":"{INITIALIZED}"}}"#);
        let mut outbound = own_message(&credential, None, revision, message.into());
        outbound.said.request.head.session = Within::session(session, revision).session;
        outbound
    };
    ((first, id), opened)
}

/// The DELETE request that ends a session of the proxy's own.
pub(crate) fn ending(credential: &Credential, session: &str, revision: Revision) -> Outbound {
    let mut outbound = in_era(credential, &Within::session(Some(session), revision), Bytes::new());
    outbound.said.request.head.method = Method::DELETE;
    outbound
}

fn upstream_id(session: &Session) -> Option<HeaderValue> {
    HeaderValue::from_str(session.upstream_id.as_deref()?).ok()
}

/// The revision for the `MCP-Protocol-Version` header; `None` for `initialize`, before which none is negotiated.
fn stated_revision(message: &Message) -> Option<Revision> {
    let opens_session = message.listed().is_some_and(is_initialize);
    let names = message.era() == Era::Modern || !opens_session && message.revision() > Revision::UNSTATED;
    names.then(|| message.revision())
}

/// The request metadata headers (2026-07-28, "Request metadata headers"): each equals its value in the body, which masking
/// may have changed. None for older revisions.
fn mirroring(message: &Message, masked: &Masked) -> Vec<(HeaderName, HeaderValue)> {
    if message.era() == Era::Legacy {
        return Vec::new();
    }
    let mut fields = Vec::with_capacity(2 + masked.param_headers().len());
    let method = message.method().and_then(|method| match method {
        MethodRef::Listed(row) => Some(HeaderValue::from_static(row.name)),
        MethodRef::Unlisted(name) => HeaderValue::from_str(name).ok(),
    });
    fields.extend(method.map(|method| (MCP_METHOD, method)));
    let name = match &masked.handles().task {
        Some(own) => Some(encode_value(&own.task.upstream_id)),
        None => message.named().and_then(encode_string),
    };
    fields.extend(name.map(|name| (MCP_NAME, name)));
    fields.extend_from_slice(masked.param_headers());
    fields
}
