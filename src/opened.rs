//! Opens the sealed state a client carries: its session, its position in a stream, the server request it answers.

mod handles;
mod spend;

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use thiserror::Error;

use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::json::Splice;
use crate::mcp::handle::NoHandle;
use crate::mcp::headers::{LAST_EVENT_ID, SESSION_ID};
use crate::mcp::session::{EventId, NoSession, ServerRequest, Session, SessionKey};
use crate::mcp::{Era, Message, MessageShape, SubjectKind};
use crate::route::Route;
use crate::seal::{Binding, Seals};

pub(crate) use handles::RELATED_TASK;
pub use handles::{Handles, OwnTask};
pub use spend::Spent;

/// What a client requests from an MCP endpoint, by HTTP method.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every request is a message, and goes on in the box of `Opened`")]
pub enum Ask {
    /// DELETE: the end of a session (2025-11-25, "Session Management").
    Close,
    /// GET: the server's own stream, or the rest of a broken one (2025-11-25, "Listening for Messages from the Server").
    Listen,
    /// POST: one message.
    Message(Message),
}

impl Ask {
    /// The message, if it is one.
    pub(crate) const fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Close | Self::Listen => None,
        }
    }
}

/// A request whose handles (sealed ids and states) belong to the caller. Only [`open`] makes one. It is boxed from stage to stage.
#[derive(Debug)]
pub struct Opened {
    pub(crate) caller: Arc<Caller>,
    pub(crate) ask: Ask,
    pub(crate) session: Option<Session>,
    pub(crate) resumed: Option<EventId>,
    pub(crate) answers: Option<ServerRequest>,
    pub(crate) handles: Handles,
    pub(crate) splice: Splice,
}

impl Opened {
    /// A request that carries nothing to be opened, such as a composed one.
    pub(crate) fn without_handles(caller: Arc<Caller>, ask: Ask) -> Box<Self> {
        Box::new(Self {
            caller,
            ask,
            session: None,
            resumed: None,
            answers: None,
            handles: Handles::default(),
            splice: Splice::new(),
        })
    }

    /// The message and the tool's name if this is a tool call; `None` for other requests, and for an odd name
    /// ([`Message::subject_is_odd`]).
    pub(crate) fn tool_call(&self) -> Option<(&Message, &str)> {
        let Ask::Message(message) = &self.ask else { return None };
        match message.subject() {
            Some((SubjectKind::Tool, tool)) if !message.subject_is_odd() => Some((message, tool)),
            _ => None,
        }
    }

    /// The subject as the client wrote it, if a masked value in it was restored before the decision.
    pub(crate) fn written_subject(&self) -> Option<Box<str>> {
        match &self.ask {
            Ask::Message(message) => message.written_subject().map(Into::into),
            Ask::Close | Ask::Listen => None,
        }
    }
}

/// Why a sealed value cannot be opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OpenError {
    #[error(transparent)]
    Handle(#[from] NoHandle),
    #[error(transparent)]
    Session(#[from] NoSession),
}

/// What opening needs: keys, binding and time.
struct Sealing<'a> {
    seals: &'a Seals,
    binding: Binding<'a>,
    now: Timestamp,
}

/// What a sealed value is bound to: the caller's issuer, tenant, subject and client, the server and the upstream's origin.
pub fn binding<'a>(route: &'a Route, caller: &'a Caller) -> Binding<'a> {
    Binding {
        server: &route.name,
        upstream: route.backend.origin(),
        issuer: &caller.issuer,
        tenant: caller.tenant.as_deref(),
        subject: &caller.subject,
        client: caller.client_id.as_deref(),
    }
}

/// Opens every handle that a request carries. Errs if one is unknown, another caller's or expired, without saying which.
pub fn open(
    seals: &Seals,
    route: &Route,
    headers: &HeaderMap,
    caller: Arc<Caller>,
    session: Result<Option<Session>, NoSession>,
    ask: Ask,
    now: Timestamp,
) -> Result<Box<Opened>, OpenError> {
    let legacy = !matches!(&ask, Ask::Message(message) if message.era() == Era::Modern);
    let mut opened = Opened::without_handles(caller, ask);
    let Opened { caller, ask, session: known, resumed, answers, handles, splice } = &mut *opened;
    let sealing = Sealing { seals, binding: binding(route, caller), now };
    // In 2026-07-28 there are no sessions: an id is ignored.
    if legacy {
        *known = session?;
    }
    match ask {
        Ask::Close if known.is_none() => return Err(NoSession::Unknown.into()),
        Ask::Close => {}
        Ask::Listen => {
            let open = |sealed| EventId::open(sealed, session_key(known.as_ref()), seals, &sealing.binding, now);
            *resumed = header(headers, &LAST_EVENT_ID)?.map(open).transpose()?;
        }
        Ask::Message(message) => {
            if let MessageShape::Response { .. } = message.shape() {
                let id = message.document().pointer("/id").ok_or(NoSession::Unknown)?;
                let sealed = id.as_str().ok_or(NoSession::Unknown)?;
                let key = session_key(known.as_ref());
                let asked = ServerRequest::open(&sealed, key, seals, &sealing.binding, now)?;
                splice.replace(id.span(), asked.raw_id.clone().into_string());
                *answers = Some(asked);
            }
            handles.open(message, &sealing)?;
        }
    }
    Ok(opened)
}

/// The session that a request of an older revision names, if any. Errs if it is not the caller's.
pub fn session_of(
    seals: &Seals,
    binding: &Binding<'_>,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Option<Session>, NoSession> {
    let sealed = header(headers, &SESSION_ID)?;
    sealed.map(|sealed| Session::open(sealed, seals, binding, now)).transpose()
}

/// Whether a request names a session or a position in a stream, opened or not.
pub fn names_session(headers: &HeaderMap) -> bool {
    headers.contains_key(&SESSION_ID) || headers.contains_key(&LAST_EVENT_ID)
}

/// The key that binds event and request ids to a session; the empty key without one.
pub fn session_key(session: Option<&Session>) -> SessionKey {
    session.map_or_else(SessionKey::default, Session::key)
}

/// The value of a header; `None` if it is missing. Errs if there are several, or it is not visible ASCII.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, NoSession> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(NoSession::Unknown);
    }
    value.to_str().map(Some).map_err(|_| NoSession::Unknown)
}
