//! Revocation: tokens no longer accepted although not expired, by token id, session, subject, or time of issue.

mod learned;
mod listed;

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::state::Shared;

use super::Caller;

pub use learned::Revocations;
pub use listed::{ListError, Listed};

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// Tokens with this email address, in any case.
    Email(Box<str>),
    /// Every token of the issuer.
    Everyone,
    /// Tokens of one session: `sid`.
    Session(Box<str>),
    /// Tokens of one subject.
    Subject(Box<str>),
    /// Tokens of one tenant.
    Tenant(Box<str>),
    /// One token: `jti`.
    Token(Box<str>),
}

impl Revoked {
    /// The name in a store that processes share, after what names of revocations begin with.
    pub(super) fn name(&self, iss: &str) -> String {
        match self {
            Self::Email(email) => format!("{iss}:email:{email}"),
            Self::Everyone => format!("{iss}:all"),
            Self::Session(session) => format!("{iss}:sid:{session}"),
            Self::Subject(subject) => format!("{iss}:sub:{subject}"),
            Self::Tenant(tenant) => format!("{iss}:tenant:{tenant}"),
            Self::Token(token) => format!("{iss}:jti:{token}"),
        }
    }
}

/// Revocations, each with the last time of issue it applies to.
#[derive(Debug, Default)]
struct Denials(HashMap<Revoked, Timestamp>);

impl Denials {
    /// Adds a revocation; of two times the later counts.
    fn add(&mut self, revoked: Revoked, last: Timestamp) {
        let held = self.0.entry(revoked).or_insert(last);
        *held = (*held).max(last);
    }

    /// Whether the caller's token is revoked. A token without `iat` counts as old.
    fn hit(&self, caller: &Caller) -> bool {
        if self.0.is_empty() {
            return false;
        }
        names(caller).any(|name| self.0.get(&name).is_some_and(|last| is_old(caller, *last)))
    }
}

/// What would have to be revoked for the caller's token to be.
fn names(caller: &Caller) -> impl Iterator<Item = Revoked> {
    // Most tokens' claims are only needed here, so they are not kept.
    let claims = caller.claims.glance();
    let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str);
    let email = text("email").map(str::to_lowercase);
    [
        Some(Revoked::Everyone),
        caller.token_id.clone().map(Revoked::Token),
        caller.session_id().map(|sid| Revoked::Session(sid.into())),
        Some(Revoked::Subject(caller.subject.clone())),
        text("sub").map(|sub| Revoked::Subject(sub.into())),
        caller.tenant.clone().map(Revoked::Tenant),
        email.map(|email| Revoked::Email(email.into())),
    ]
    .into_iter()
    .flatten()
}

/// Whether the caller's token was issued by `last`. A token without `iat` counts as old.
fn is_old(caller: &Caller, last: Timestamp) -> bool {
    caller.issued.is_none_or(|issued| issued <= last)
}

/// Whether the caller's token is revoked in the store that processes share.
pub(super) fn is_shared(shared: &Shared, caller: &Caller) -> bool {
    if shared.revocations() == 0 {
        return false;
    }
    let names = names(caller).map(|revoked| revoked.name(&caller.issuer));
    shared.last_revoked(names).is_some_and(|last| is_old(caller, last))
}
