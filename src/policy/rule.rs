//! One compiled rule.

use std::sync::Arc;

use super::OnDeny;
use super::args::{Args, Unmet};
use super::context::Phase;
use super::decide::Ask;
use super::glob::{Pattern, Room};
use super::scopes::Demand;
use super::when::When;
use crate::auth::Caller;
use crate::clock::Timestamp;

/// The effect of a matching rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever other rules allow.
    Deny,
}

/// Whether a condition is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It is not met.
    No,
    /// Unknown: a value of another type, an unknown argument, an expression that fails.
    Unknown,
    /// It is met.
    Yes,
}

impl Holds {
    /// Whether a rule with that effect treats the condition as met.
    pub(crate) fn satisfies(self, effect: Effect, phase: Phase) -> bool {
        match (self, effect, phase) {
            (Self::Yes, _, _) => true,
            (Self::No, _, _) => false,
            (Self::Unknown, Effect::Allow, phase) => phase != Phase::Call,
            (Self::Unknown, Effect::Deny, phase) => phase == Phase::Call,
        }
    }
}

/// A rule without the names it lists, which are in the policy's tables.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) effect: Effect,
    /// The time until which it is in shadow, if it is: it has no effect, and what it would do is recorded.
    pub(super) shadow: Option<Timestamp>,
    /// Empty for every method.
    pub(super) methods: Methods,
    /// Names of issuers; empty for every issuer.
    pub(super) issuers: Box<[Box<str>]>,
    pub(super) demand: Demand,
    /// Further conditions, which most rules do not have.
    pub(super) conditions: Option<Box<Conditions>>,
    /// Whether it also allows callers without a token.
    pub(super) anonymous: bool,
    /// Whether a caller may be asked for the scopes it requires.
    pub(super) step_up: bool,
    pub(super) on_deny: OnDeny,
    pub(super) reason: Option<Arc<str>>,
}

/// The conditions of a rule besides names, issuers and scopes.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) args: Option<Arc<Args>>,
    pub(super) when: Option<Arc<When>>,
}

impl Rule {
    /// Whether the rule matches, apart from the name.
    pub(super) fn matches(&self, ask: &Ask<'_>) -> bool {
        self.is_about(ask) && self.demand.is_met(&ask.caller.scopes) && self.conditions_hold(ask)
    }

    /// Whether only scopes keep the rule from matching, apart from the name.
    pub(super) fn lacks_scopes(&self, ask: &Ask<'_>) -> bool {
        self.is_about(ask) && !self.demand.is_met(&ask.caller.scopes) && self.conditions_hold(ask)
    }

    fn is_about(&self, ask: &Ask<'_>) -> bool {
        !self.is_suspended(ask)
            && self.is_for(ask.caller)
            && self.is_of_issuer(ask.caller)
            && self.methods.hold(ask.operation.method)
    }

    /// Whether the rule applies to such a caller: for one without a token, deny rules do, and allow rules with `anonymous`.
    pub(super) fn is_for(&self, caller: &Caller) -> bool {
        !caller.anonymous || self.anonymous || self.effect == Effect::Deny
    }

    /// Whether the rule is in shadow for this decision.
    pub(super) fn is_suspended(&self, ask: &Ask<'_>) -> bool {
        !ask.enforced && self.shadow.is_some_and(|until| ask.context.now < until)
    }

    fn conditions_hold(&self, ask: &Ask<'_>) -> bool {
        self.conditions.as_ref().is_none_or(|conditions| conditions.hold(ask, self.effect))
    }

    /// Its conditions on arguments.
    pub(super) fn args(&self) -> Option<&Arc<Args>> {
        self.conditions.as_ref()?.args.as_ref()
    }

    pub(super) fn is_of_issuer(&self, caller: &Caller) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|issuer| **issuer == *caller.issuer_name)
    }

    /// The unmet argument condition, if that alone keeps the rule from matching.
    pub(super) fn unmet_argument(&self, ask: &Ask<'_>) -> Option<Unmet> {
        let conditions = self.conditions.as_ref()?;
        let unmet = conditions.unmet_argument(ask, self.effect)?;
        let otherwise =
            self.is_about(ask) && self.demand.is_met(&ask.caller.scopes) && conditions.when_holds(ask, self.effect);
        otherwise.then_some(unmet)
    }
}

impl Conditions {
    fn hold(&self, ask: &Ask<'_>, effect: Effect) -> bool {
        let args = self.unmet_argument(ask, effect).map_or(Holds::Yes, |unmet| unmet.holds);
        args.satisfies(effect, ask.context.phase) && self.when_holds(ask, effect)
    }

    fn unmet_argument(&self, ask: &Ask<'_>, effect: Effect) -> Option<Unmet> {
        self.args.as_ref()?.check(ask.context, &ask.caller.claims, effect == Effect::Allow).err()
    }

    /// Whether the expression reads that variable.
    pub(super) fn look_at(&self, variable: &str) -> bool {
        self.when.as_ref().is_some_and(|when| when.looks_at(variable))
    }

    fn when_holds(&self, ask: &Ask<'_>, effect: Effect) -> bool {
        let holds = |when: &Arc<When>| when.holds(ask.caller, ask.operation, ask.context);
        self.when.as_ref().is_none_or(|when| holds(when).satisfies(effect, ask.context.phase))
    }
}

/// A rule's `methods`.
#[derive(Debug, Default)]
pub(super) struct Methods {
    pub(super) exact: Box<[Pattern]>,
    /// Patterns for the folded name; deny rules only.
    pub(super) folded: Box<[Pattern]>,
}

impl Methods {
    pub(super) fn hold(&self, method: &str) -> bool {
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
