//! What goes upstream: built from the route, the credential and the masked message, never copied from the client.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};

use super::Credential;
use super::gate::Room;
use crate::audit::Recorded;
use crate::auth::Caller;
use crate::json::{Document, Limits, quoted};
use crate::mask::Masked;
use crate::mcp::admit::{META_CAPABILITIES, META_VERSION};
use crate::mcp::handle::TASKS_EXTENSION;
use crate::mcp::headers::encode_value;
use crate::mcp::methods::{INITIALIZE, INITIALIZED, TOOLS_LIST, is_initialize};
use crate::mcp::session::Session;
use crate::mcp::{Access, Era, Message, MessageShape, Revision, RpcId, SubjectKind};
use crate::opened::Ask;

const BOTH_TYPES: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// A request to an upstream. Only [`outbound`] makes one, and only out of what the audit log has.
///
/// ```compile_fail,E0308
/// fn skip(credential: &portcullis::upstream::Credential, masked: portcullis::mask::Masked) {
///     let _ = portcullis::upstream::outbound(credential, masked);
/// }
/// ```
#[derive(Debug)]
pub struct Outbound {
    /// In a box: it is handed down through many a layer.
    request: Box<Request<Full<Bytes>>>,
    /// Whether it changes nothing upstream, and may be sent once more should its credential be refused.
    repeatable: bool,
    passenger: Passenger,
    speaks: Speaks,
}

/// What a request brings along that is not sent: for whom and as what it counts.
#[derive(Clone, Debug)]
pub(crate) struct Passenger {
    pub(super) room: Room,
    /// Whose request it is; nobody's if the proxy asks for itself.
    pub(super) caller: Option<Arc<Caller>>,
    /// Whether doing it twice is no more than doing it once.
    pub(super) may_repeat: bool,
}

impl Passenger {
    /// Of a message of the proxy's own.
    const fn own(room: Room) -> Self {
        Self { room, caller: None, may_repeat: room as u8 == Room::Call as u8 }
    }

    /// The same as a stream.
    pub(super) fn streaming(&self) -> Self {
        Self { room: Room::Stream, caller: self.caller.clone(), may_repeat: true }
    }

    fn of(masked: &Masked) -> Self {
        let room = match masked.ask() {
            Ask::Close => Room::Aside,
            Ask::Listen => Room::Stream,
            Ask::Message(message) => match (message.shape(), message.listed().map(|method| method.access)) {
                (MessageShape::Request { .. }, Some(Access::Subscriptions)) => Room::Stream,
                (MessageShape::Request { .. }, _) => Room::Call,
                // A call may wait for just this.
                (MessageShape::Notification | MessageShape::Response { .. }, _) => Room::Aside,
            },
        };
        Self { room, caller: Some(masked.caller().clone()), may_repeat: is_repeatable(masked.ask()) }
    }
}

/// What a request is, for whoever must say it in another era.
#[derive(Clone, Debug, Default)]
struct Speaks {
    /// The client's era; none for what the proxy says by itself.
    era: Option<Era>,
    opens_session: bool,
    /// The body once more: the request's own cannot be looked at.
    bytes: Bytes,
}

impl Speaks {
    fn of(masked: &Masked) -> Self {
        let message = masked.ask().message();
        Self {
            era: Some(message.map_or(Era::Legacy, Message::era)),
            opens_session: message.and_then(Message::listed).is_some_and(is_initialize),
            bytes: masked.bytes().clone(),
        }
    }
}

impl Outbound {
    /// The client's era; `None` for what the proxy says by itself, which is always in the upstream's.
    pub(crate) fn era(&self) -> Option<Era> {
        self.speaks.era
    }

    /// Whether it opens a session of an older revision.
    pub(crate) fn opens_session(&self) -> bool {
        self.speaks.opens_session
    }

    /// Whether it is a request to be worked on, and not a stream or a message without an answer.
    pub(crate) fn is_call(&self) -> bool {
        self.passenger.room == Room::Call && self.request.method() == Method::POST
    }

    /// The message as it leaves.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.speaks.bytes
    }

    /// For whom and as what it counts.
    pub(crate) fn passenger(&self) -> Passenger {
        self.passenger.clone()
    }

    /// Whose request it is.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.passenger.caller.as_ref()
    }

    /// POST, GET or DELETE.
    pub(crate) fn verb(&self) -> &Method {
        self.request.method()
    }

    /// The session it is sent in, as its upstream calls it.
    pub(crate) fn session(&self) -> Option<&str> {
        self.request.headers().get(&MCP_SESSION_ID)?.to_str().ok()
    }

    /// Whether it is a client's hello, whoever says it.
    pub(super) async fn says_hello(&self) -> bool {
        let Ok(body) = self.request.body().clone().collect().await;
        let message = Document::parse(body.to_bytes(), &Limits::ANSWER);
        message.is_ok_and(|message| {
            message.root().get("method").is_some_and(|method| method.as_str().as_deref() == Some(INITIALIZE))
        })
    }

    /// The same once more, for who may be asked in another era.
    pub(crate) fn twin(&self) -> Self {
        Self {
            request: self.request.clone(),
            repeatable: false,
            passenger: self.passenger.clone(),
            speaks: self.speaks.clone(),
        }
    }

    /// The same, counted as that.
    pub(crate) fn for_passenger(self, passenger: Passenger) -> Self {
        Self { passenger, ..self }
    }

    /// The same as a stream: mostly silent, and open for as long as anybody reads it.
    pub(crate) fn into_stream(self) -> Self {
        self.for_passenger(Passenger::own(Room::Stream))
    }

    /// The same with more header fields.
    pub(crate) fn with_headers(mut self, fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        for (name, value) in fields {
            self.request.headers_mut().append(name, value);
        }
        self
    }

    /// The HTTP request, and what it brings along.
    pub(super) fn into_parts(self) -> (Box<Request<Full<Bytes>>>, Passenger) {
        (self.request, self.passenger)
    }

    /// The same once more, if sending it twice is no more than sending it once.
    pub(super) fn again(&self) -> Option<Self> {
        self.repeatable.then(|| self.twin())
    }

    /// The same with that credential.
    pub(super) fn shown(mut self, credential: &Credential) -> Self {
        credential.apply(self.request.headers_mut());
        self
    }

    /// The same, of a tool that only reads, or that may be called twice, by its approved definition or the operator's word.
    pub(crate) fn of_tool(mut self, reads: bool, may_repeat: bool) -> Self {
        self.repeatable |= reads;
        self.passenger.may_repeat |= reads || may_repeat;
        self
    }
}

/// Writes the upstream request for a recorded decision, shown with `credential`.
pub fn outbound(credential: &Credential, recorded: Recorded) -> Outbound {
    let masked = recorded.into_masked();
    // The next size up is no longer among those the allocator keeps at hand.
    let few = masked.session().is_none() && masked.ask().message().is_some_and(|message| message.era() == Era::Legacy);
    let mut headers = HeaderMap::with_capacity(if few && credential.is_none() { 6 } else { 12 });
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    credential.apply(&mut headers);
    if let Some(id) = masked.session().and_then(upstream_id) {
        headers.insert(MCP_SESSION_ID, id);
    }
    let method = match masked.ask() {
        Ask::Close => {
            insert_version(&mut headers, masked.session());
            Method::DELETE
        }
        Ask::Listen => {
            insert_version(&mut headers, masked.session());
            headers.insert(ACCEPT, EVENT_STREAM);
            if let Some(id) = masked.resumed().and_then(|id| HeaderValue::from_str(&id.upstream_id).ok()) {
                headers.insert(LAST_EVENT_ID, id);
            }
            Method::GET
        }
        Ask::Message(message) => {
            headers.insert(ACCEPT, BOTH_TYPES);
            headers.insert(CONTENT_TYPE, JSON);
            message_headers(&mut headers, message, &masked);
            Method::POST
        }
    };
    let mut request = Box::new(Request::new(Full::new(masked.bytes().clone())));
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    let passenger = Passenger::of(&masked);
    Outbound { request, repeatable: passenger.may_repeat, passenger, speaks: Speaks::of(&masked) }
}

/// Lists, reads and streams; what a tool does is not known here.
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

/// Writes the answer to a server's request that the policy refused. It is the proxy's own message and holds nothing of the
/// client's.
pub(crate) fn refusal(
    credential: &Credential,
    session: Option<&Session>,
    revision: Revision,
    message: Bytes,
) -> Outbound {
    own_message(credential, session, revision, message)
}

/// A message that is the proxy's own, or that it says for a client in another era; in a session or in none.
pub(crate) fn in_era(credential: &Credential, session: Option<&str>, revision: Revision, message: Bytes) -> Outbound {
    let mut outbound = in_session(own_message(credential, None, revision, message), session);
    if revision == Revision::UNSTATED {
        outbound.request.headers_mut().remove(&MCP_PROTOCOL_VERSION);
    }
    outbound
}

/// Opens the stream of a session.
pub(crate) fn listening(credential: &Credential, session: Option<&str>, revision: Revision) -> Outbound {
    let mut outbound = in_era(credential, session, revision, Bytes::new());
    *outbound.request.method_mut() = Method::GET;
    let headers = outbound.request.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(ACCEPT, EVENT_STREAM);
    outbound.into_stream()
}

fn own_message(credential: &Credential, session: Option<&Session>, revision: Revision, message: Bytes) -> Outbound {
    let mut headers = HeaderMap::with_capacity(8);
    credential.apply(&mut headers);
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    headers.insert(ACCEPT, BOTH_TYPES);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(MCP_PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
    if let Some(id) = session.and_then(upstream_id) {
        headers.insert(MCP_SESSION_ID, id);
    }
    let mut request = Box::new(Request::new(Full::new(message)));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    Outbound { request, repeatable: false, passenger: Passenger::own(Room::Aside), speaks: Speaks::default() }
}

/// What the proxy says it can do where it only lists: servers show some tools only to clients that can answer what those
/// ask, and what is not listed is not approved.
const CAPABILITIES: &str = r#""elicitation":{},"roots":{},"sampling":{}"#;

/// Asks the upstream for a page of its tools, for the proxy's own use; in a session of the older era, or in none.
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
    let meta = modern.then(|| format!(r#""_meta":{{"{META_VERSION}":"{revision}","{META_CAPABILITIES}":{{{able}}}}}"#));
    let params = cursor.into_iter().chain(meta).collect::<Vec<_>>().join(",");
    let message = format!(r#"{{"jsonrpc":"2.0","id":{raw_id},"method":"{TOOLS_LIST}","params":{{{params}}}}}"#);
    let Outbound { mut request, .. } = own_message(credential, None, revision, message.into());
    let passenger = Passenger::own(Room::Call);
    let headers = request.headers_mut();
    if modern {
        headers.insert(MCP_METHOD, HeaderValue::from_static(TOOLS_LIST));
    } else if revision == Revision::UNSTATED {
        headers.remove(MCP_PROTOCOL_VERSION);
    }
    let speaks = Speaks::default();
    (in_session(Outbound { request, repeatable: false, passenger, speaks }, session), id)
}

/// Opens a session of the proxy's own: the request, and what is to be sent when it is answered.
pub(super) fn opening(credential: &Credential) -> ((Outbound, RpcId), impl Fn(Option<&str>, Revision) -> Outbound) {
    let id = RpcId::own();
    let (raw_id, version) = (String::from_utf8_lossy(id.raw()).into_owned(), env!("CARGO_PKG_VERSION"));
    let revision = Revision::V2025_11_25;
    let params = format!(
        r#"{{"protocolVersion":"{revision}","capabilities":{{{CAPABILITIES}}},"clientInfo":{{"name":"portcullis","version":"{version}"}}}}"#
    );
    let message = format!(r#"{{"jsonrpc":"2.0","id":{raw_id},"method":"{INITIALIZE}","params":{params}}}"#);
    let Outbound { mut request, .. } = own_message(credential, None, revision, message.into());
    request.headers_mut().remove(MCP_PROTOCOL_VERSION);
    let credential = credential.clone();
    let opened = move |session: Option<&str>, revision| {
        let message = format!(r#"{{"jsonrpc":"2.0","method":"{INITIALIZED}"}}"#);
        in_session(own_message(&credential, None, revision, message.into()), session)
    };
    let passenger = Passenger::own(Room::Call);
    ((Outbound { request, repeatable: false, passenger, speaks: Speaks::default() }, id), opened)
}

/// Ends a session of the proxy's own.
pub(crate) fn ending(credential: &Credential, session: &str, revision: Revision) -> Outbound {
    let mut outbound = in_session(own_message(credential, None, revision, Bytes::new()), Some(session));
    *outbound.request.method_mut() = Method::DELETE;
    outbound
}

fn in_session(mut outbound: Outbound, session: Option<&str>) -> Outbound {
    if let Some(id) = session.and_then(|id| HeaderValue::from_str(id).ok()) {
        outbound.request.headers_mut().insert(MCP_SESSION_ID, id);
    }
    outbound
}

fn upstream_id(session: &Session) -> Option<HeaderValue> {
    HeaderValue::from_str(session.upstream_id.as_deref()?).ok()
}

/// The revision later requests of a session speak (2025-06-18, "Protocol Version Header").
fn insert_version(headers: &mut HeaderMap, session: Option<&Session>) {
    if let Some(session) = session {
        headers.insert(MCP_PROTOCOL_VERSION, HeaderValue::from_static(session.revision.as_str()));
    }
}

fn message_headers(headers: &mut HeaderMap, message: &Message, masked: &Masked) {
    if message.era() == Era::Legacy {
        let opens_session = message.listed().is_some_and(is_initialize);
        if !opens_session && message.revision() > Revision::UNSTATED {
            headers.insert(MCP_PROTOCOL_VERSION, HeaderValue::from_static(message.revision().as_str()));
        }
        return;
    }
    // 2026-07-28, "Request metadata headers": each equals its place in the body, which masking may have changed.
    headers.insert(MCP_PROTOCOL_VERSION, HeaderValue::from_static(message.revision().as_str()));
    if let Some(Ok(method)) = message.method().map(|method| HeaderValue::from_str(method.name())) {
        headers.insert(MCP_METHOD, method);
    }
    match &masked.handles().task {
        Some(own) => headers.insert(MCP_NAME, encode_value(&own.task.upstream_id)),
        None => message.mirrored_name().and_then(|name| headers.insert(MCP_NAME, encode_value(&name))),
    };
    for (name, value) in masked.param_headers() {
        headers.append(name.clone(), value.clone());
    }
}
