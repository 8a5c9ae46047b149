//! What a client of the older era carries for us: its session, where its streams resume, and what a server asked it.

use aws_lc_rs::digest::{SHA256, digest};
use std::time::Duration;
use thiserror::Error;

use super::Revision;
use super::methods::{self, Method};
use crate::clock::Timestamp;
use crate::json::{Kind, Value};
use crate::seal::{Binding, Purpose, SealError, Seals};

/// A session, event or request id that is unknown, foreign, changed or too old: to a client all the same.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no such session")]
pub struct NoSession;

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
}

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
        payload.byte(self.capabilities.0);
        payload.text(self.upstream_id.as_deref());
        seals.seal(Purpose::Session, binding, &payload.0, now, lifetime)
    }

    /// The session of an id, if it is this principal's on this server.
    pub fn open(id: &str, seals: &Seals, binding: &Binding<'_>, now: Timestamp) -> Result<Self, NoSession> {
        let payload = seals.open(Purpose::Session, binding, id, now).map_err(|_| NoSession)?;
        Self::read(&mut Reader(&payload)).ok_or(NoSession)
    }

    fn read(payload: &mut Reader<'_>) -> Option<Self> {
        let revision = Revision::parse(payload.text()??)?;
        let capabilities = Capabilities(payload.byte()?);
        let upstream_id = payload.text()?.map(Into::into);
        payload.is_done().then_some(Self { upstream_id, revision, capabilities })
    }

    /// What events and requests of the session are bound to.
    pub fn key(&self) -> SessionKey {
        let hash = digest(&SHA256, self.upstream_id.as_deref().unwrap_or_default().as_bytes());
        SessionKey(hash.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// Where a stream resumes, and by which call's rules what comes is to be masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// What the upstream calls it.
    pub upstream_id: Box<str>,
    /// The method whose answer the stream carries; `None` for a stream that answers nothing.
    pub method: Option<Box<str>>,
    /// The id of the request it answers, as written.
    pub rpc_id: Option<Box<str>>,
    /// The tool, prompt or resource of that method.
    pub subject: Option<Box<str>>,
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
        payload.text(self.method.as_deref());
        payload.text(self.rpc_id.as_deref());
        payload.text(self.subject.as_deref());
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
        let payload = seals.open(Purpose::EventId, binding, id, now).map_err(|_| NoSession)?;
        Self::read(payload.strip_prefix(&session.0).ok_or(NoSession)?).ok_or(NoSession)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let mut payload = Reader(payload);
        let upstream_id = payload.text()??.into();
        let method = payload.text()?.map(Into::into);
        let rpc_id = payload.text()?.map(Into::into);
        let subject = payload.text()?.map(Into::into);
        payload.is_done().then_some(Self { upstream_id, method, rpc_id, subject })
    }
}

/// A request a server sent to a client: the answer's id says what is answered, and one nobody asked for does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRequest {
    /// The id the server gave it, as written.
    pub raw_id: Box<str>,
    /// What was asked.
    pub method: &'static Method,
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
        let payload = seals.open(Purpose::RequestId, binding, id, now).map_err(|_| NoSession)?;
        Self::read(payload.strip_prefix(&session.0).ok_or(NoSession)?).ok_or(NoSession)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let mut payload = Reader(payload);
        let method = methods::find(payload.text()??)?;
        let raw_id = payload.text()??.into();
        payload.is_done().then_some(Self { raw_id, method })
    }
}

/// Fields with their lengths before them; an absent one has the length no field can have.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn text(&mut self, text: Option<&str>) {
        let length = text.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1));
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(text.unwrap_or_default().as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next field; the outer `None` means there is none, the inner that it is absent.
    #[expect(clippy::option_option, reason = "the end of the payload and an absent field are two answers")]
    fn text(&mut self) -> Option<Option<&'a str>> {
        let (length, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let length = u32::from_be_bytes(*length);
        if length == u32::MAX {
            return Some(None);
        }
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(Some)
    }

    const fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
