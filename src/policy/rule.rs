//! One rule as it runs.

use std::sync::Arc;

use super::args::{Args, Unmet};
use super::context::{Context, Phase};
use super::glob::{Pattern, Room};
use super::scopes::Demand;
use super::{OnDeny, Operation};
use crate::auth::Caller;

/// What a matching rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(super) fn satisfies(self, effect: Effect, phase: Phase) -> bool {
        match (self, effect, phase) {
            (Self::Yes, _, _) => true,
            (Self::No, _, _) => false,
            (Self::Unknown, Effect::Allow, phase) => phase == Phase::List,
            (Self::Unknown, Effect::Deny, phase) => phase == Phase::Call,
        }
    }
}

/// A rule without its names, which the policy's tables lead from.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) effect: Effect,
    /// Empty holds for every method.
    pub(super) methods: Methods,
    /// Names of issuers; empty holds for every one.
    pub(super) issuers: Box<[Box<str>]>,
    pub(super) demand: Demand,
    /// What else it asks; most rules ask nothing else.
    pub(super) conditions: Option<Box<Conditions>>,
    /// Whether a caller may be asked for wider scopes on its account.
    pub(super) step_up: bool,
    pub(super) on_deny: OnDeny,
    pub(super) reason: Option<Arc<str>>,
}

/// What a rule asks besides names, issuers and scopes.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) args: Option<Arc<Args>>,
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
    pub(super) fn fit(&self, caller: &Caller, operation: &Operation<'_>, context: &Context<'_>) -> Fit {
        let fit = if !self.is_of_issuer(caller) || !self.methods.hold(operation.method) {
            return Fit::None;
        } else if self.demand.is_met(&caller.scopes) {
            Fit::Full
        } else {
            Fit::Short
        };
        match &self.conditions {
            // A deny rule that misses scopes denies nothing, whatever else it asks.
            Some(conditions) if fit == Fit::Full || self.effect == Effect::Allow => {
                if conditions.hold(caller, context, self.effect) { fit } else { Fit::None }
            }
            _ => fit,
        }
    }

    pub(super) fn is_of_issuer(&self, caller: &Caller) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|issuer| **issuer == *caller.issuer_name)
    }

    /// What keeps the call's arguments from fitting, if they are all that keeps the rule from matching.
    pub(super) fn unmet_argument(
        &self,
        caller: &Caller,
        operation: &Operation<'_>,
        context: &Context<'_>,
    ) -> Option<Unmet> {
        let args = self.conditions.as_ref()?.args.as_ref()?;
        let fits =
            self.is_of_issuer(caller) && self.methods.hold(operation.method) && self.demand.is_met(&caller.scopes);
        if fits { args.check(context, &caller.claims, self.effect == Effect::Allow).err() } else { None }
    }
}

impl Conditions {
    fn hold(&self, caller: &Caller, context: &Context<'_>, effect: Effect) -> bool {
        let args =
            self.args.as_ref().map_or(Ok(()), |args| args.check(context, &caller.claims, effect == Effect::Allow));
        args.err().map_or(Holds::Yes, |unmet| unmet.holds).satisfies(effect, context.phase)
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
