//! The request to the upstream: built from the route, the credential and the masked message, never copied from the client.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;

use super::gate::Room;
use super::{Credential, Standing};
use crate::audit::Recorded;
use crate::auth::{Caller, VerifyError};
use crate::json::{Document, Limits, quoted};
use crate::mask::Masked;
use crate::mcp::admit::{META_CAPABILITIES, META_VERSION};
use crate::mcp::handle::TASKS_EXTENSION;
use crate::mcp::headers::{encode_string, encode_value};
use crate::mcp::methods::{INITIALIZE, INITIALIZED, Method as Row, MethodRef, TOOLS_LIST, is_initialize};
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
    said: Box<Said>,
}

/// What is to be said, before it is a request in HTTP: what is said in another era need not be written twice.
#[derive(Clone, Debug)]
struct Said {
    verb: Method,
    credential: Credential,
    /// The session, as its upstream calls it.
    session: Option<HeaderValue>,
    /// The revision, where a header names it.
    revision: Option<Revision>,
    /// What else the head says: what mirrors the message, or where a stream is to go on.
    fields: Vec<(HeaderName, HeaderValue)>,
    message: Bytes,
    /// The same, where it has been read and not changed since.
    document: Option<Document>,
    /// The client's era; none for what the proxy says by itself.
    era: Option<Era>,
    /// The row of its method.
    listed: Option<&'static Row>,
    /// Whether it changes nothing upstream, and may be sent once more should its credential be refused.
    repeatable: bool,
    passenger: Passenger,
}

impl Said {
    /// The request, whose target is still to come.
    fn into_request(self) -> Box<Request<Full<Bytes>>> {
        // The next size up is no longer among those the allocator keeps at hand.
        let few = self.session.is_none() && self.fields.is_empty() && self.credential.is_none();
        let mut headers = HeaderMap::with_capacity(if few { 6 } else { 12 });
        headers.insert(ACCEPT_ENCODING, IDENTITY);
        self.credential.apply(&mut headers);
        if let Some(session) = self.session {
            headers.insert(MCP_SESSION_ID, session);
        }
        if self.verb == Method::POST {
            headers.insert(ACCEPT, BOTH_TYPES);
            headers.insert(CONTENT_TYPE, JSON);
        } else if self.verb == Method::GET {
            headers.insert(ACCEPT, EVENT_STREAM);
        }
        if let Some(revision) = self.revision {
            headers.insert(MCP_PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
        }
        for (name, value) in self.fields {
            headers.append(name, value);
        }
        let mut request = Box::new(Request::new(Full::new(self.message)));
        *request.method_mut() = self.verb;
        *request.headers_mut() = headers;
        request
    }
}

/// What a request brings along that is not sent: for whom and as what it counts.
#[derive(Clone, Debug)]
pub(crate) struct Passenger {
    pub(super) room: Room,
    /// Whose request it is; nobody's if the proxy asks for itself.
    pub(super) caller: Option<Arc<Caller>>,
    /// Whether that caller still stands; of a call that may have waited.
    standing: Option<Standing>,
    /// Whether doing it twice is no more than doing it once.
    pub(super) may_repeat: bool,
}

impl Passenger {
    /// Of a message of the proxy's own.
    const fn own(room: Room) -> Self {
        Self { room, caller: None, standing: None, may_repeat: room as u8 == Room::Call as u8 }
    }

    /// The same as a stream.
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
                // A call may wait for just this.
                (MessageShape::Notification | MessageShape::Response { .. }, _) => Room::Aside,
            },
        };
        let caller = Some(masked.caller().clone());
        Self { room, caller, standing: None, may_repeat: is_repeatable(masked.ask()) }
    }

    /// Refuses who would not be let in any more.
    pub(super) fn check(&self, has_waited: bool) -> Result<(), VerifyError> {
        match (&self.standing, &self.caller) {
            (Some(standing), Some(caller)) => standing.check(caller, has_waited),
            _ => Ok(()),
        }
    }
}

impl Outbound {
    /// The row of its method; `None` for a method only a rule knows, and for what the proxy says by itself.
    pub(crate) fn listed(&self) -> Option<&'static Row> {
        self.said.listed
    }

    /// The client's era; `None` for what the proxy says by itself, which is always in the upstream's.
    pub(crate) fn era(&self) -> Option<Era> {
        self.said.era
    }

    /// Whether it opens a session of an older revision.
    pub(crate) fn opens_session(&self) -> bool {
        self.said.listed.is_some_and(is_initialize)
    }

    /// The revision its head says it is of.
    pub(crate) fn revision(&self) -> Revision {
        self.said.revision.unwrap_or(Revision::UNSTATED)
    }

    /// Whether it is a request to be worked on, and not a stream or a message without an answer.
    pub(crate) fn is_call(&self) -> bool {
        self.said.passenger.room == Room::Call && self.said.verb == Method::POST
    }

    /// The message as it leaves; `None` where there is none that can be read.
    pub(crate) fn document(&self) -> Option<Cow<'_, Document>> {
        match &self.said.document {
            Some(document) => Some(Cow::Borrowed(document)),
            None => Document::parse(self.said.message.clone(), &Limits::ANSWER).ok().map(Cow::Owned),
        }
    }

    /// For whom and as what it counts.
    pub(crate) fn passenger(&self) -> Passenger {
        self.said.passenger.clone()
    }

    /// Whose request it is.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.said.passenger.caller.as_ref()
    }

    /// POST, GET or DELETE.
    pub(crate) fn verb(&self) -> &Method {
        &self.said.verb
    }

    /// The session it is sent in, as its upstream calls it.
    pub(crate) fn session(&self) -> Option<&str> {
        self.said.session.as_ref()?.to_str().ok()
    }

    /// Whether it names its method in its head, as messages of 2026-07-28 do.
    pub(super) fn names_method(&self) -> bool {
        self.said.fields.iter().any(|(name, _)| name == MCP_METHOD)
    }

    /// Whether it is a client's hello, whoever says it.
    pub(super) fn says_hello(&self) -> bool {
        self.document().is_some_and(|message| {
            message.root().get("method").is_some_and(|method| method.as_str().as_deref() == Some(INITIALIZE))
        })
    }

    /// The same once more, for who may be asked in another era.
    pub(crate) fn twin(&self) -> Self {
        let mut said = self.said.clone();
        said.repeatable = false;
        Self { said }
    }

    /// The same, counted as that.
    pub(crate) fn for_passenger(mut self, passenger: Passenger) -> Self {
        self.said.passenger = passenger;
        self
    }

    /// The same for a caller: what it opens is no other's.
    pub(crate) fn for_caller(mut self, caller: &Arc<Caller>) -> Self {
        self.said.passenger.caller = Some(caller.clone());
        self
    }

    /// The same as a stream: mostly silent, and open for as long as anybody reads it.
    pub(crate) fn into_stream(self) -> Self {
        self.for_passenger(Passenger::own(Room::Stream))
    }

    /// The same with those header fields, of a message of the proxy's own.
    pub(crate) fn with_headers(mut self, fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        self.said.fields = fields.into_iter().collect();
        self
    }

    /// The HTTP request, and what it brings along.
    pub(super) fn into_parts(self) -> (Box<Request<Full<Bytes>>>, Passenger) {
        let mut said = self.said;
        let none = Passenger::own(Room::Aside);
        let passenger = std::mem::replace(&mut said.passenger, none);
        (said.into_request(), passenger)
    }

    /// The message and what it brings along, for who is not spoken to over HTTP.
    pub(crate) fn into_message(self) -> (Option<Document>, Passenger) {
        let Said { message, document, passenger, .. } = *self.said;
        (document.or_else(|| Document::parse(message, &Limits::ANSWER).ok()), passenger)
    }

    /// The same once more, if sending it twice is no more than sending it once.
    pub(super) fn again(&self) -> Option<Self> {
        self.said.repeatable.then(|| self.twin())
    }

    /// The same with that credential.
    pub(super) fn shown(mut self, credential: &Credential) -> Self {
        self.said.credential = credential.clone();
        self
    }

    /// The same of who is asked about once more before it leaves.
    pub(crate) fn standing(mut self, standing: Standing) -> Self {
        self.said.passenger.standing = Some(standing);
        self
    }

    /// Refuses it where its caller would not be let in any more.
    pub(super) fn check(&self) -> Result<(), VerifyError> {
        self.said.passenger.check(false)
    }

    /// The same, of a tool that only reads, or that may be called twice, by its approved definition or the operator's word.
    pub(crate) fn of_tool(mut self, reads: bool, may_repeat: bool) -> Self {
        self.said.repeatable |= reads;
        self.said.passenger.may_repeat |= reads || may_repeat;
        self
    }
}

/// Writes the upstream request for a recorded decision, shown with `credential`.
pub fn outbound(credential: &Credential, recorded: Recorded) -> Outbound {
    let masked = recorded.into_masked();
    let session = masked.session();
    let (verb, revision, fields) = match masked.ask() {
        Ask::Close => (Method::DELETE, session.map(|session| session.revision), Vec::new()),
        Ask::Listen => {
            let resumed = masked.resumed().and_then(|id| HeaderValue::from_str(&id.upstream_id).ok());
            let resumed = resumed.map(|id| (LAST_EVENT_ID, id));
            // The revision later requests of a session speak (2025-06-18, "Protocol Version Header").
            (Method::GET, session.map(|session| session.revision), resumed.into_iter().collect())
        }
        Ask::Message(message) => (Method::POST, stated_revision(message), mirroring(message, &masked)),
    };
    let message = masked.ask().message();
    let passenger = Passenger::of(&masked);
    Outbound {
        said: Box::new(Said {
            verb,
            credential: credential.clone(),
            session: session.and_then(upstream_id),
            revision,
            fields,
            message: masked.bytes().clone(),
            era: Some(message.map_or(Era::Legacy, Message::era)),
            listed: message.and_then(Message::listed),
            repeatable: passenger.may_repeat,
            passenger,
            document: masked.into_document(),
        }),
    }
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

/// What a message is said in: a revision, and the session, where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    /// As the upstream calls it.
    session: Option<HeaderValue>,
    pub(crate) revision: Revision,
}

impl Within {
    /// A session of that name.
    pub(crate) fn session(id: Option<&str>, revision: Revision) -> Self {
        Self { session: id.and_then(|id| HeaderValue::from_str(id).ok()), revision }
    }

    /// No session.
    pub(crate) const fn none(revision: Revision) -> Self {
        Self { session: None, revision }
    }

    /// The session's name.
    pub(crate) fn id(&self) -> Option<&str> {
        self.session.as_ref()?.to_str().ok()
    }
}

/// A message that is the proxy's own, or that it says for a client in another era.
pub(crate) fn in_era(credential: &Credential, within: &Within, message: Bytes) -> Outbound {
    let Within { session, revision } = within;
    let mut outbound = own_message(credential, None, *revision, message);
    outbound.said.session.clone_from(session);
    outbound.said.revision = Some(*revision).filter(|revision| *revision != Revision::UNSTATED);
    outbound
}

/// Opens the stream of a session.
pub(crate) fn listening(credential: &Credential, within: &Within) -> Outbound {
    let mut outbound = in_era(credential, within, Bytes::new());
    outbound.said.verb = Method::GET;
    outbound.into_stream()
}

fn own_message(credential: &Credential, session: Option<&Session>, revision: Revision, message: Bytes) -> Outbound {
    Outbound {
        said: Box::new(Said {
            verb: Method::POST,
            credential: credential.clone(),
            session: session.and_then(upstream_id),
            revision: Some(revision),
            fields: Vec::new(),
            message,
            document: None,
            era: None,
            listed: None,
            repeatable: false,
            passenger: Passenger::own(Room::Aside),
        }),
    }
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
    let within = Within::session(session, revision);
    let mut outbound = in_era(credential, &within, message.into()).for_passenger(Passenger::own(Room::Call));
    if modern {
        outbound.said.fields.push((MCP_METHOD, HeaderValue::from_static(TOOLS_LIST)));
    }
    (outbound, id)
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
    // Before it is answered no revision is agreed on.
    let nothing = Within::none(Revision::UNSTATED);
    let first = in_era(credential, &nothing, message.into()).for_passenger(Passenger::own(Room::Call));
    let credential = credential.clone();
    let opened = move |session: Option<&str>, revision| {
        let message = format!(r#"{{"jsonrpc":"2.0","method":"{INITIALIZED}"}}"#);
        let mut outbound = own_message(&credential, None, revision, message.into());
        outbound.said.session = Within::session(session, revision).session;
        outbound
    };
    ((first, id), opened)
}

/// Ends a session of the proxy's own.
pub(crate) fn ending(credential: &Credential, session: &str, revision: Revision) -> Outbound {
    let mut outbound = in_era(credential, &Within::session(Some(session), revision), Bytes::new());
    outbound.said.verb = Method::DELETE;
    outbound
}

fn upstream_id(session: &Session) -> Option<HeaderValue> {
    HeaderValue::from_str(session.upstream_id.as_deref()?).ok()
}

/// The revision a message's head names: a hello has agreed on none yet.
fn stated_revision(message: &Message) -> Option<Revision> {
    let opens_session = message.listed().is_some_and(is_initialize);
    let names = message.era() == Era::Modern || !opens_session && message.revision() > Revision::UNSTATED;
    names.then(|| message.revision())
}

/// 2026-07-28, "Request metadata headers": each equals its place in the body, which masking may have changed.
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
