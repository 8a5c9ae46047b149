//! A caller as a key for state kept between two calls.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::Caller;

/// One user of one issuer with one client.
#[derive(Clone, Debug, Eq)]
pub(crate) struct Who {
    issuer: Arc<str>,
    tenant: Option<Box<str>>,
    subject: Box<str>,
    client: Option<Box<str>>,
}

impl Who {
    pub(crate) fn of(caller: &Caller) -> Self {
        Self {
            issuer: caller.issuer.clone(),
            tenant: caller.tenant.clone(),
            subject: caller.subject.clone(),
            client: caller.client_id.as_deref().map(Into::into),
        }
    }
    /// Whether it is that caller.
    pub(crate) fn is(&self, caller: &Caller) -> bool {
        self.names() == Names::of(caller)
    }

    /// Whether both are the same user, with any client, so that more clients do not get a larger share.
    pub(crate) fn is_person(&self, other: &Self) -> bool {
        Names { client: None, ..self.names() } == Names { client: None, ..other.names() }
    }

    /// The same for callers that may be anonymous; all anonymous callers count as one.
    pub(crate) fn are_one_person(one: Option<&Self>, other: Option<&Self>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => one.is_person(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Feeds `state` like the [`Hash`] of the caller's [`Who`].
    pub(crate) fn hash_of(caller: &Caller, state: &mut impl Hasher) {
        Names::of(caller).hash(state);
    }

    fn names(&self) -> Names<'_> {
        let Self { issuer, tenant, subject, client } = self;
        Names { issuer, tenant: tenant.as_deref(), subject, client: client.as_deref() }
    }
}

impl PartialEq for Who {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Hash for Who {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.names().hash(state);
    }
}

/// The same, borrowed.
#[derive(PartialEq, Eq, Hash)]
struct Names<'n> {
    issuer: &'n str,
    tenant: Option<&'n str>,
    subject: &'n str,
    client: Option<&'n str>,
}

impl<'n> Names<'n> {
    fn of(caller: &'n Caller) -> Self {
        Self {
            issuer: &caller.issuer,
            tenant: caller.tenant.as_deref(),
            subject: &caller.subject,
            client: caller.client_id.as_deref(),
        }
    }
}
