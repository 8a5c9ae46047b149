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

/// What a matching rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It lets pass.
    Allow,
    /// It refuses, whatever allows.
    Deny,
}

/// Whether a condition is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It is not.
    No,
    /// It cannot be told: another type, an argument that is not known, an expression that errs.
    Unknown,
    /// It is.
    Yes,
}

impl Holds {
    /// Whether a rule with that effect goes on as if it were met.
    pub(crate) fn satisfies(self, effect: Effect, phase: Phase) -> bool {
        match (self, effect, phase) {
            (Self::Yes, _, _) => true,
            (Self::No, _, _) => false,
            (Self::Unknown, Effect::Allow, phase) => phase != Phase::Call,
            (Self::Unknown, Effect::Deny, phase) => phase == Phase::Call,
        }
    }
}

/// A rule without its names, which the policy's tables lead from.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) effect: Effect,
    /// Until when it is in shadow, if it is: it denies nothing and grants nothing, and what it would do is recorded.
    pub(super) shadow: Option<Timestamp>,
    /// Empty holds for every method.
    pub(super) methods: Methods,
    /// Names of issuers; empty holds for every one.
    pub(super) issuers: Box<[Box<str>]>,
    pub(super) demand: Demand,
    /// What else it asks; most rules ask nothing else.
    pub(super) conditions: Option<Box<Conditions>>,
    /// Whether it also lets pass who has no token.
    pub(super) anonymous: bool,
    /// Whether a caller may be asked for wider scopes on its account.
    pub(super) step_up: bool,
    pub(super) on_deny: OnDeny,
    pub(super) reason: Option<Arc<str>>,
}

/// What a rule asks besides names, issuers and scopes.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) args: Option<Arc<Args>>,
    pub(super) when: Option<Arc<When>>,
}

impl Rule {
    /// Whether it fits in everything, the name aside.
    pub(super) fn matches(&self, ask: &Ask<'_>) -> bool {
        self.is_about(ask) && self.demand.is_met(&ask.caller.scopes) && self.conditions_hold(ask)
    }

    /// Whether it fits in everything but the scopes, the name aside.
    pub(super) fn lacks_scopes(&self, ask: &Ask<'_>) -> bool {
        self.is_about(ask) && !self.demand.is_met(&ask.caller.scopes) && self.conditions_hold(ask)
    }

    fn is_about(&self, ask: &Ask<'_>) -> bool {
        !self.is_suspended(ask)
            && self.is_for(ask.caller)
            && self.is_of_issuer(ask.caller)
            && self.methods.hold(ask.operation.method)
    }

    /// Whether it speaks of callers like that one: who has no token is let pass only where a rule says so, and refused by
    /// every rule that refuses everybody.
    pub(super) fn is_for(&self, caller: &Caller) -> bool {
        !caller.anonymous || self.anonymous || self.effect == Effect::Deny
    }

    /// Whether it has no effect on this question.
    pub(super) fn is_suspended(&self, ask: &Ask<'_>) -> bool {
        !ask.enforced && self.shadow.is_some_and(|until| ask.context.now < until)
    }

    fn conditions_hold(&self, ask: &Ask<'_>) -> bool {
        self.conditions.as_ref().is_none_or(|conditions| conditions.hold(ask, self.effect))
    }

    /// What it asks of arguments.
    pub(super) fn args(&self) -> Option<&Arc<Args>> {
        self.conditions.as_ref()?.args.as_ref()
    }

    pub(super) fn is_of_issuer(&self, caller: &Caller) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|issuer| **issuer == *caller.issuer_name)
    }

    /// What keeps the call's arguments from fitting, if they are all that keeps the rule from matching.
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

    /// Whether the expression looks at that variable.
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
    /// Patterns for the folded name; a deny rule's only.
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
