//! One rule as it runs.

use std::sync::Arc;

use super::OnDeny;
use super::glob::{Pattern, Room};
use super::scopes::Demand;
use crate::auth::Caller;

/// What a matching rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// A rule without its names, which the policy's tables lead from.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    /// Empty holds for every method.
    pub(super) methods: Methods,
    /// Names of issuers; empty holds for every one.
    pub(super) issuers: Box<[Box<str>]>,
    pub(super) demand: Demand,
    /// Whether a caller may be asked for wider scopes on its account.
    pub(super) step_up: bool,
    pub(super) on_deny: OnDeny,
    pub(super) reason: Option<Arc<str>>,
}

/// How far a caller's operation on a name the rule lists fits the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// In everything.
    Full,
    /// Not.
    None,
    /// In everything but the scopes.
    Short,
}

impl Rule {
    /// How far it fits, the name aside.
    pub(super) fn fit(&self, caller: &Caller, method: &str) -> Fit {
        let of_issuer = self.issuers.is_empty() || self.issuers.iter().any(|issuer| **issuer == *caller.issuer_name);
        if !of_issuer || !self.methods.hold(method) {
            Fit::None
        } else if self.demand.is_met(&caller.scopes) {
            Fit::Full
        } else {
            Fit::Short
        }
    }
}

/// A rule's `methods`.
#[derive(Debug, Default)]
pub(super) struct Methods {
    pub(super) exact: Box<[Pattern]>,
    /// Patterns for the folded name; a deny rule's only.
    pub(super) folded: Box<[Pattern]>,
}

impl Methods {
    fn hold(&self, method: &str) -> bool {
        if self.exact.is_empty() || self.exact.iter().any(|pattern| pattern.matches(method)) {
            return true;
        }
        !self.folded.is_empty() && {
            let mut room = Room::new();
            let folded = room.fold(method);
            self.folded.iter().any(|pattern| pattern.matches(&folded))
        }
    }
}
