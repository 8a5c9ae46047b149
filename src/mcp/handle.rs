//! Handles: what a client carries of its calls. Tasks, cursors and request states each name the call they belong to.
//!
//! A handle of a call is decided like the call: it holds the method and its subject, sealed to the caller it was given to.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use aws_lc_rs::rand;
use thiserror::Error;

use super::methods::{self, Method, SubjectKind};
use crate::clock::Timestamp;
use crate::seal::{Binding, Purpose, Reader, SealError, Seals, Writer};

/// The extension that has tasks in 2026-07-28.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// How long a client may take for a page of a list.
const CURSOR_LIFETIME: Duration = Duration::from_hours(24);
/// How long a user may take to answer what a server asks inside a call.
const STATE_LIFETIME: Duration = Duration::from_hours(1);
/// A task that says no other time of its own, and the longest time one can say.
const TASK_LIFETIME: Duration = Duration::from_hours(30 * 24);
/// A task is answered for at least so long, whatever its server says.
const TASK_LIFETIME_LEAST: Duration = Duration::from_hours(24);
/// Longest id of a task or session an upstream may choose.
const LONGEST_ID: usize = 256;

/// A handle that is unknown, foreign, changed, too old or used up: to a client all the same.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoHandle {
    /// A page nobody was told of.
    #[error("no such page")]
    Cursor,
    /// A state no call of this kind was given, or with other arguments.
    #[error("no such request state")]
    RequestState,
    /// A state that was brought back before.
    #[error("the request state was used before")]
    Spent,
    /// A task of somebody else, or of nobody.
    #[error("no such task")]
    Task,
    /// The client did not say that it can have tasks.
    #[error("tasks without the extension's capability")]
    Undeclared,
}

/// Whether an upstream may call a task or session so: 1 to 256 visible ASCII characters, which fit every place ids go to.
pub fn is_plain_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The call something belongs to: its method, and the tool, prompt or resource that was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// As called.
    pub method: &'static Method,
    /// As decided.
    pub subject: Option<(SubjectKind, Arc<str>)>,
}

impl Origin {
    /// The subject, borrowed.
    pub fn subject(&self) -> Option<(SubjectKind, &str)> {
        self.subject.as_ref().map(|(kind, name)| (*kind, &**name))
    }

    pub(super) fn write(&self, payload: &mut Writer) {
        payload.text(Some(self.method.name));
        payload.text(self.subject.as_ref().map(|(_, name)| &**name));
        if let Some((kind, _)) = &self.subject {
            payload.byte(letter(*kind));
        }
    }

    pub(super) fn read(payload: &mut Reader<'_>) -> Option<Self> {
        let method = methods::find(payload.text()??)?;
        let subject = match payload.text()? {
            Some(name) => Some((kind(payload.byte()?)?, name.into())),
            None => None,
        };
        Some(Self { method, subject })
    }
}

const fn letter(kind: SubjectKind) -> u8 {
    match kind {
        SubjectKind::Prompt => b'p',
        SubjectKind::Resource => b'r',
        SubjectKind::ResourceTemplate => b'u',
        SubjectKind::Tool => b't',
    }
}

const fn kind(letter: u8) -> Option<SubjectKind> {
    match letter {
        b'p' => Some(SubjectKind::Prompt),
        b'r' => Some(SubjectKind::Resource),
        b'u' => Some(SubjectKind::ResourceTemplate),
        b't' => Some(SubjectKind::Tool),
        _ => None,
    }
}

/// A task of an upstream (2025-11-25 "Tasks", and the extension of 2026-07-28), and the call that began it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What the upstream calls it.
    pub upstream_id: Box<str>,
    /// The call.
    pub origin: Origin,
}

impl Task {
    /// The id the client is given; it opens as long as the task says it is kept, within bounds of ours.
    pub fn seal(
        &self,
        seals: &Seals,
        binding: &Binding<'_>,
        now: Timestamp,
        kept: Option<Duration>,
    ) -> Result<String, SealError> {
        let mut payload = Writer::default();
        payload.text(Some(&self.upstream_id));
        self.origin.write(&mut payload);
        let lifetime = kept.unwrap_or(TASK_LIFETIME).clamp(TASK_LIFETIME_LEAST, TASK_LIFETIME);
        seals.seal(Purpose::TaskId, binding, &payload.0, now, lifetime)
    }

    /// The task of an id, if it is this principal's on this server.
    pub fn open(id: &str, seals: &Seals, binding: &Binding<'_>, now: Timestamp) -> Result<Self, NoHandle> {
        let payload = seals.open(Purpose::TaskId, binding, id, now).map_err(|_| NoHandle::Task)?;
        let mut payload = Reader(&payload);
        let mut read = || Some(Self { upstream_id: payload.text()??.into(), origin: Origin::read(&mut payload)? });
        read().filter(|_| payload.is_done()).ok_or(NoHandle::Task)
    }
}

/// A page of a list (2025-11-25 "Pagination"): it opens for the method it was given by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What the upstream wrote.
    pub upstream: Box<str>,
    /// What lists the page.
    pub method: &'static Method,
}

impl Cursor {
    /// What the client is given.
    pub fn seal(&self, seals: &Seals, binding: &Binding<'_>, now: Timestamp) -> Result<String, SealError> {
        let mut payload = Writer::default();
        payload.text(Some(self.method.name));
        payload.text(Some(&self.upstream));
        seals.seal(Purpose::Cursor, binding, &payload.0, now, CURSOR_LIFETIME)
    }

    /// What the upstream wrote for that page, if it is one of this caller's in the list of that method.
    pub fn open(
        cursor: &str,
        method: &Method,
        seals: &Seals,
        binding: &Binding<'_>,
        now: Timestamp,
    ) -> Result<Box<str>, NoHandle> {
        let payload = seals.open(Purpose::Cursor, binding, cursor, now).map_err(|_| NoHandle::Cursor)?;
        let mut payload = Reader(&payload);
        let mut read = || {
            let name = payload.text()??;
            let upstream = payload.text()??;
            (name == method.name).then(|| upstream.into())
        };
        read().filter(|_| payload.is_done()).ok_or(NoHandle::Cursor)
    }
}

/// Tells one request state from every other, so that it can be spent.
pub type StateNonce = [u8; 16];

/// What a server gave a client to bring back with its answers (2026-07-28, "Multi Round-Trip Requests"): it opens for the
/// same call with the same parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestState {
    /// What the upstream wrote.
    pub upstream: Box<str>,
    /// The call.
    pub origin: Origin,
    /// Of the call's parameters, as the client sent them.
    pub digest: [u8; SHA256_OUTPUT_LEN],
    /// Its own.
    pub nonce: StateNonce,
}

impl RequestState {
    /// How long one opens, and is remembered when it was spent.
    pub const LIFETIME: Duration = STATE_LIFETIME;

    /// A state that was not given before.
    pub fn new(upstream: Box<str>, origin: Origin, digest: [u8; SHA256_OUTPUT_LEN]) -> Result<Self, SealError> {
        let mut nonce = StateNonce::default();
        rand::fill(&mut nonce).map_err(|_| SealError::NoKey)?;
        Ok(Self { upstream, origin, digest, nonce })
    }

    /// What the client is given.
    pub fn seal(&self, seals: &Seals, binding: &Binding<'_>, now: Timestamp) -> Result<String, SealError> {
        let mut payload = Writer::default();
        payload.bytes(&self.nonce);
        payload.bytes(&self.digest);
        self.origin.write(&mut payload);
        payload.text(Some(&self.upstream));
        seals.seal(Purpose::RequestState, binding, &payload.0, now, STATE_LIFETIME)
    }

    /// The state of what a client brought, if it was given to it.
    pub fn open(state: &str, seals: &Seals, binding: &Binding<'_>, now: Timestamp) -> Result<Self, NoHandle> {
        let payload = seals.open(Purpose::RequestState, binding, state, now).map_err(|_| NoHandle::RequestState)?;
        let mut payload = Reader(&payload);
        let mut read = || {
            let (nonce, digest) = (payload.array()?, payload.array()?);
            let origin = Origin::read(&mut payload)?;
            Some(Self { upstream: payload.text()??.into(), origin, digest, nonce })
        };
        read().filter(|_| payload.is_done()).ok_or(NoHandle::RequestState)
    }
}

#[cfg(test)]
mod tests;
