//! State that a client of the older era carries for us: its session, where its streams resume, and what a server asked it.

use aws_lc_rs::digest::{SHA256, digest};
use std::time::Duration;
use thiserror::Error;

use super::handle::Origin;
use super::methods::{self, Method};
use super::{ListKinds, Revision};
use crate::clock::Timestamp;
use crate::json::{Kind, Value};
use crate::seal::{Binding, Purpose, Reader, SealError, Seals, Writer};

/// A session, event or request id that does not open. The client is told the same whatever the cause; the log is not.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoSession {
    /// It was sealed with a key that is not configured: by another replica, or before the keys were replaced.
    #[error("sealed with a key that is not configured here")]
    Key,
    /// Its time, or its key's, is over.
    #[error("expired")]
    Expired,
    /// Unknown, changed, or another principal's or server's.
    #[error("no such session")]
    Unknown,
}

impl NoSession {
    /// The word in audit and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "session_key",
            Self::Expired => "session_expired",
            Self::Unknown => "session",
        }
    }
}

impl From<SealError> for NoSession {
    fn from(error: SealError) -> Self {
        match error {
            SealError::UnknownKey => Self::Key,
            SealError::Expired | SealError::Early => Self::Expired,
            SealError::Forged
            | SealError::Malformed
            | SealError::Nobody
            | SealError::NoKey
            | SealError::TooLong
            | SealError::WrongKind => Self::Unknown,
        }
    }
}

/// Something a client can do for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Capability {
    Elicitation,
    Roots,
    Sampling,
}

impl Capability {
    const ALL: [Self; 3] = [Self::Elicitation, Self::Roots, Self::Sampling];

    const fn name(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation",
            Self::Roots => "roots",
            Self::Sampling => "sampling",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Elicitation => 1,
            Self::Roots => 2,
            Self::Sampling => 4,
        }
    }
}

/// The capabilities a client declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Those an object of capabilities holds; only an object declares one.
    pub fn of(object: Value<'_>) -> Self {
        let declares =
            |capability: &Capability| object.get(capability.name()).is_some_and(|value| value.kind() == Kind::Object);
        Self(Capability::ALL.into_iter().filter(declares).fold(0, |bits, capability| bits | capability.bit()))
    }

    /// Whether one was declared.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }
}

/// A session of the older era as the client carries it (2025-11-25 "Session Management").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What the upstream calls it; `None` where it keeps none.
    pub upstream_id: Option<Box<str>>,
    /// What was negotiated.
    pub revision: Revision,
    /// What the client declared.
    pub capabilities: Capabilities,
    /// The lists of which it was declared to the client that it is told of changes.
    pub lists: ListKinds,
}

/// The bit from which the lists stand beside the capabilities: a session of an earlier version has none.
const LISTS_FROM: u8 = 4;

/// Tells sessions of one principal apart without telling what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionKey([u8; 16]);

impl Session {
    /// The id the client is given: visible ASCII, and nobody else's.
    pub fn seal(
        &self,
        seals: &Seals,
        binding: &Binding<'_>,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<String, SealError> {
        let mut payload = Writer::default();
        payload.text(Some(self.revision.as_str()));
        payload.byte(self.capabilities.0 | self.lists.bits() << LISTS_FROM);
        payload.text(self.upstream_id.as_deref());
        seals.seal(Purpose::Session, binding, &payload.0, now, lifetime)
    }

    /// The session of an id, if it is this principal's on this server.
    pub fn open(id: &str, seals: &Seals, binding: &Binding<'_>, now: Timestamp) -> Result<Self, NoSession> {
        let payload = seals.open(Purpose::Session, binding, id, now)?;
        Self::read(&mut Reader(&payload)).ok_or(NoSession::Unknown)
    }

    fn read(payload: &mut Reader<'_>) -> Option<Self> {
        let revision = Revision::parse(payload.text()??)?;
        let bits = payload.byte()?;
        let capabilities = Capabilities(bits & ((1 << LISTS_FROM) - 1));
        let lists = ListKinds::from_bits(bits >> LISTS_FROM);
        let upstream_id = payload.text()?.map(Into::into);
        payload.is_done().then_some(Self { upstream_id, revision, capabilities, lists })
    }

    /// What events and requests of the session are bound to.
    pub fn key(&self) -> SessionKey {
        let hash = digest(&SHA256, self.upstream_id.as_deref().unwrap_or_default().as_bytes());
        SessionKey(hash.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// Where a stream resumes, and by which call's rules what comes is to be decided and masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// What the upstream calls it.
    pub upstream_id: Box<str>,
    /// The id of the request it answers, as written; `None` for a stream that answers nothing.
    pub rpc_id: Option<Box<str>>,
    /// The call that request was, of a method in the table.
    pub origin: Option<Origin>,
    /// What the upstream calls the task that was asked about.
    pub task: Option<Box<str>>,
}

impl EventId {
    /// The id the client is given.
    pub fn seal(
        &self,
        session: SessionKey,
        seals: &Seals,
        binding: &Binding<'_>,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<String, SealError> {
        let mut payload = Writer::default();
        payload.0.extend_from_slice(&session.0);
        payload.text(Some(&self.upstream_id));
        payload.text(self.rpc_id.as_deref());
        payload.text(self.task.as_deref());
        write_origin(self.origin.as_ref(), &mut payload);
        seals.seal(Purpose::EventId, binding, &payload.0, now, lifetime)
    }

    /// What an id stands for, if it is one of the session's.
    pub fn open(
        id: &str,
        session: SessionKey,
        seals: &Seals,
        binding: &Binding<'_>,
        now: Timestamp,
    ) -> Result<Self, NoSession> {
        let payload = seals.open(Purpose::EventId, binding, id, now)?;
        Self::read(payload.strip_prefix(&session.0).ok_or(NoSession::Unknown)?).ok_or(NoSession::Unknown)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let mut payload = Reader(payload);
        let upstream_id = payload.text()??.into();
        let rpc_id = payload.text()?.map(Into::into);
        let task = payload.text()?.map(Into::into);
        let origin = read_origin(&mut payload)?;
        payload.is_done().then_some(Self { upstream_id, rpc_id, origin, task })
    }
}

/// A request a server sent to a client: the answer's id says what is answered, and one nobody asked for does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRequest {
    /// The id the server gave it, as written.
    pub raw_id: Box<str>,
    /// What was asked.
    pub method: &'static Method,
    /// The call it was asked for; `None` on a stream that answers nothing.
    pub origin: Option<Origin>,
}

impl ServerRequest {
    /// The id the client sees; the same request has the same one again when a stream is resumed.
    pub fn seal(
        &self,
        session: SessionKey,
        seals: &Seals,
        binding: &Binding<'_>,
        now: Timestamp,
    ) -> Result<String, SealError> {
        let mut payload = Writer::default();
        payload.0.extend_from_slice(&session.0);
        payload.text(Some(self.method.name));
        payload.text(Some(&self.raw_id));
        write_origin(self.origin.as_ref(), &mut payload);
        seals.seal_deterministic(Purpose::RequestId, binding, &payload.0, now)
    }

    /// The request an answer is for, if a server asked it in the session.
    pub fn open(
        id: &str,
        session: SessionKey,
        seals: &Seals,
        binding: &Binding<'_>,
        now: Timestamp,
    ) -> Result<Self, NoSession> {
        let payload = seals.open(Purpose::RequestId, binding, id, now)?;
        Self::read(payload.strip_prefix(&session.0).ok_or(NoSession::Unknown)?).ok_or(NoSession::Unknown)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let mut payload = Reader(payload);
        let method = methods::find(payload.text()??)?;
        let raw_id = payload.text()??.into();
        let origin = read_origin(&mut payload)?;
        payload.is_done().then_some(Self { raw_id, method, origin })
    }
}

fn write_origin(origin: Option<&Origin>, payload: &mut Writer) {
    payload.byte(u8::from(origin.is_some()));
    if let Some(origin) = origin {
        origin.write(payload);
    }
}

/// The call something belongs to; the outer `None` means that it cannot be read.
#[expect(clippy::option_option, reason = "what cannot be read and what belongs to no call are two answers")]
fn read_origin(payload: &mut Reader<'_>) -> Option<Option<Origin>> {
    match payload.byte()? {
        0 => Some(None),
        1 => Some(Some(Origin::read(payload)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
