//! The decision: any matching deny, else any matching allow, else whether more scopes would be enough, else no.

use std::sync::Arc;

use super::args::Args;
use super::candidates::{Candidates, RuleIndex};
use super::context::{Context, Phase};
use super::glob::Room;
use super::index::{Index, IndexBuilder};
use super::rule::{Effect, Rule};
use super::scopes::{self, Demand};
use super::{Decision, ListMode, Operation, Policy, RefusedArgument};
use crate::auth::{Caller, Scopes};
use crate::mcp::{SubjectKind, methods};

/// One value per kind of subject: tables of rules by what they list.
#[derive(Debug, Default)]
pub(super) struct Tables<T> {
    prompt: T,
    resource: T,
    template: T,
    tool: T,
    /// Rules that list methods only.
    method: T,
}

impl<T> Tables<T> {
    /// The table for a kind of subject, or for methods.
    pub(super) fn of(&self, kind: Option<SubjectKind>) -> &T {
        match kind {
            None => &self.method,
            Some(SubjectKind::Prompt) => &self.prompt,
            Some(SubjectKind::Resource) => &self.resource,
            Some(SubjectKind::ResourceTemplate) => &self.template,
            Some(SubjectKind::Tool) => &self.tool,
        }
    }

    /// The same, mutable.
    pub(super) fn of_mut(&mut self, kind: Option<SubjectKind>) -> &mut T {
        match kind {
            None => &mut self.method,
            Some(SubjectKind::Prompt) => &mut self.prompt,
            Some(SubjectKind::Resource) => &mut self.resource,
            Some(SubjectKind::ResourceTemplate) => &mut self.template,
            Some(SubjectKind::Tool) => &mut self.tool,
        }
    }

    /// Maps each table.
    pub(super) fn map<U>(self, mut change: impl FnMut(T) -> U) -> Tables<U> {
        Tables {
            prompt: change(self.prompt),
            resource: change(self.resource),
            template: change(self.template),
            tool: change(self.tool),
            method: change(self.method),
        }
    }
}

/// The rules of one kind of subject.
#[derive(Debug)]
pub(super) struct Table {
    allow: Index,
    deny: Index,
    /// The deny rules again, for folded names.
    folded: Index,
}

impl Default for Table {
    fn default() -> Self {
        TableBuilder::default().build(&[])
    }
}

/// Builds a [`Table`].
#[derive(Debug, Default)]
pub(super) struct TableBuilder {
    pub(super) allow: IndexBuilder,
    pub(super) deny: IndexBuilder,
    pub(super) folded: IndexBuilder,
}

impl TableBuilder {
    /// The finished table; `demands` has the scopes of all rules.
    pub(super) fn build(self, demands: &[&Demand]) -> Table {
        Table { allow: self.allow.build(demands), deny: self.deny.build(demands), folded: self.folded.build(demands) }
    }
}

impl Table {
    /// The first deny rule for `name`, as written or folded, that holds for a caller with `scopes`.
    fn first_deny(&self, name: &str, scopes: &Scopes, holds: impl Fn(RuleIndex) -> bool) -> Option<RuleIndex> {
        if self.folded.is_empty() {
            return None;
        }
        let mut room = Room::new();
        let folded = room.fold(name);
        let first = first(self.folded.find(&folded), scopes, &holds);
        // A name that folding does not change matches folded whatever it matches as written.
        if *folded == *name {
            return first;
        }
        first.into_iter().chain(self::first(self.deny.find(name), scopes, &holds)).min()
    }
}

/// The first rule in file order that holds for a caller with `scopes`.
fn first<'a>(
    found: impl Iterator<Item = &'a Candidates>,
    scopes: &'a Scopes,
    holds: impl Fn(RuleIndex) -> bool,
) -> Option<RuleIndex> {
    let earlier = |first: Option<RuleIndex>, rules: &[RuleIndex]| {
        let before = |rule: &RuleIndex| first.is_none_or(|first| *rule < first);
        rules.iter().copied().take_while(before).find(|rule| holds(*rule)).or(first)
    };
    found.fold(None, |first, candidates| candidates.possible(scopes).fold(first, earlier))
}

/// The rule id in decisions by the baseline.
const BASELINE: &str = "baseline";

/// The result of the rules, before it becomes a [`Decision`].
enum Outcome<'a> {
    /// Only scopes are missing.
    Acquirable,
    Allowed(&'a Rule),
    /// Allowed because every rule is still in shadow and `baseline` is set.
    Baseline,
    Denied(&'a Rule),
    /// No rule applies.
    Unlisted,
}

impl Policy {
    /// Decides whether `caller` may do `operation` in `context`, and by which rule.
    pub fn decide(&self, caller: &Caller, operation: &Operation<'_>, context: &Context<'_>) -> Decision {
        self.answer(&Ask { caller, operation, context, enforced: false })
    }

    /// The decision if every rule in shadow were enforced.
    pub fn decide_enforced(&self, caller: &Caller, operation: &Operation<'_>, context: &Context<'_>) -> Decision {
        self.answer(&Ask { caller, operation, context, enforced: true })
    }

    fn answer(&self, ask: &Ask<'_>) -> Decision {
        match self.outcome(ask) {
            Outcome::Baseline => Decision::Allow { rule: Arc::from(BASELINE) },
            Outcome::Allowed(rule) => Decision::Allow { rule: Arc::clone(&rule.id) },
            Outcome::Acquirable => self.step_up(ask),
            Outcome::Denied(rule) => Decision::Deny {
                rule: Some(Arc::clone(&rule.id)),
                reason: rule.reason.clone(),
                hidden: ask.operation.kind.is_some_and(|kind| !self.shows(ask, kind)),
                on_deny: rule.on_deny,
                argument: None,
            },
            Outcome::Unlisted => self.unlisted(ask),
        }
    }

    /// Whether the caller's list shows `name`. That is decided by the same code as a call: a call of it, with some arguments,
    /// would have an outcome that `ListMode` includes.
    pub fn lists(&self, caller: &Caller, kind: SubjectKind, name: &str, context: &Context<'_>) -> bool {
        let operation = Operation { method: methods::use_of(kind), kind: Some(kind), name };
        self.shows(&Ask { caller, operation: &operation, context, enforced: false }, kind)
    }

    fn shows(&self, ask: &Ask<'_>, kind: SubjectKind) -> bool {
        let operation = Operation { method: methods::use_of(kind), ..*ask.operation };
        let outcome = self.outcome(&Ask { operation: &operation, context: &ask.context.listing(), ..*ask });
        // Callers without a token do not learn what a token would allow.
        let list = if ask.caller.anonymous { ListMode::Allowed } else { self.list };
        match list {
            ListMode::Acquirable => {
                matches!(outcome, Outcome::Acquirable | Outcome::Allowed(_) | Outcome::Baseline)
            }
            ListMode::All => !matches!(outcome, Outcome::Denied(_)),
            ListMode::Allowed => matches!(outcome, Outcome::Allowed(_) | Outcome::Baseline),
        }
    }

    /// The allow rules by which the caller could use `name` now, in file order, each with its conditions on arguments. Rules
    /// for which scopes are missing are not included.
    pub fn ways(
        &self,
        caller: &Caller,
        kind: SubjectKind,
        name: &str,
        context: &Context<'_>,
    ) -> Vec<(Arc<str>, Option<Arc<Args>>)> {
        let operation = Operation { method: methods::use_of(kind), kind: Some(kind), name };
        let ask = Ask { caller, operation: &operation, context: &context.listing(), enforced: false };
        let rules = self.listing(&operation).flat_map(|candidates| candidates.possible(&caller.scopes)).flatten();
        let mut fitting: Vec<RuleIndex> = rules.copied().filter(|at| self.rule(*at).matches(&ask)).collect();
        fitting.sort_unstable();
        fitting.dedup();
        let args = |rule: &Rule| rule.conditions.as_ref().and_then(|conditions| conditions.args.clone());
        fitting.into_iter().map(|at| self.rule(at)).map(|rule| (Arc::clone(&rule.id), args(rule))).collect()
    }

    /// Whether the caller could call the tool now, with some arguments.
    pub(crate) fn could_call(&self, caller: &Caller, tool: &str, context: &Context<'_>) -> bool {
        let kind = SubjectKind::Tool;
        let operation = Operation { method: methods::use_of(kind), kind: Some(kind), name: tool };
        let ask = Ask { caller, operation: &operation, context: &context.listing(), enforced: false };
        matches!(self.outcome(&ask), Outcome::Allowed(_) | Outcome::Baseline)
    }

    /// The conditions on arguments of each rule that would let the caller call the tool, now or after a step-up; empty if one
    /// of the rules has none.
    pub(crate) fn narrowing(&self, caller: &Caller, tool: &str, context: &Context<'_>) -> Vec<&Arc<Args>> {
        let kind = SubjectKind::Tool;
        let operation = Operation { method: methods::use_of(kind), kind: Some(kind), name: tool };
        let ask = Ask { caller, operation: &operation, context: &context.listing(), enforced: false };
        let mut asked: Vec<&Arc<Args>> = Vec::new();
        for at in self.listing(&operation).flat_map(Candidates::all) {
            let rule = self.rule(*at);
            let acquirable = rule.step_up && rule.lacks_scopes(&ask);
            if !(acquirable || rule.matches(&ask)) {
                continue;
            }
            let Some(args) = rule.args() else { return Vec::new() };
            if !asked.iter().any(|known| Arc::ptr_eq(known, args)) {
                asked.push(args);
            }
        }
        asked
    }

    /// Every set of scopes an allow rule requires, and the empty set, each once.
    pub(crate) fn roles(&self) -> Vec<Vec<Box<str>>> {
        let mut roles = vec![Vec::new()];
        for rule in self.rules.iter().filter(|rule| rule.effect == Effect::Allow) {
            let scopes = rule.demand.advertised();
            if !roles.contains(&scopes) {
                roles.push(scopes);
            }
        }
        roles
    }

    /// Whether any rule has conditions on arguments.
    pub(crate) fn minds_arguments(&self) -> bool {
        self.rules.iter().any(|rule| rule.args().is_some())
    }

    fn outcome(&self, ask: &Ask<'_>) -> Outcome<'_> {
        if let Some(rule) = self.first_deny(ask) {
            return Outcome::Denied(rule);
        }
        if let Some(at) = first(self.listing(ask.operation), &ask.caller.scopes, |at| self.rule(at).matches(ask)) {
            return Outcome::Allowed(self.rule(at));
        }
        let mut rules = self.listing(ask.operation).flat_map(Candidates::all);
        if rules.any(|at| self.rule(*at).step_up && self.rule(*at).lacks_scopes(ask)) {
            Outcome::Acquirable
        } else if self.is_baseline(ask) {
            Outcome::Baseline
        } else {
            Outcome::Unlisted
        }
    }

    /// Whether the baseline allows the operation: every rule is still in shadow, and a method without a subject is in the
    /// method table.
    fn is_baseline(&self, ask: &Ask<'_>) -> bool {
        self.baseline
            && !ask.caller.anonymous
            && (ask.operation.kind.is_some() || methods::find(ask.operation.method).is_some())
            && self.rules.iter().all(|rule| rule.is_suspended(ask))
    }

    /// The first deny rule that matches: one that lists the subject, or one that lists only methods.
    fn first_deny(&self, ask: &Ask<'_>) -> Option<&Rule> {
        let (operation, scopes) = (ask.operation, &ask.caller.scopes);
        let holds = |at| self.rule(at).matches(ask);
        let of_method = self.tables.of(None).first_deny(operation.method, scopes, holds);
        let of_subject =
            operation.kind.and_then(|kind| self.tables.of(Some(kind)).first_deny(operation.name, scopes, holds));
        let first = of_method.into_iter().chain(of_subject).min()?;
        Some(self.rule(first))
    }

    /// The allow rules that list the subject or, for a method without one, the method.
    fn listing<'a>(&'a self, operation: &Operation<'a>) -> impl Iterator<Item = &'a Candidates> {
        let name = if operation.kind.is_some() { operation.name } else { operation.method };
        self.tables.of(operation.kind).allow.find(name)
    }

    fn step_up(&self, ask: &Ask<'_>) -> Decision {
        let mut short: Vec<RuleIndex> = self
            .listing(ask.operation)
            .flat_map(Candidates::all)
            .copied()
            .filter(|at| self.rule(*at).step_up && self.rule(*at).lacks_scopes(ask))
            .collect();
        short.sort_unstable();
        short.dedup();
        let demands = short.into_iter().map(|at| (self.rule(at), &self.rule(at).demand));
        match scopes::choose(demands, &ask.caller.scopes) {
            Some(chosen) => {
                Decision::StepUp { rule: Arc::clone(&chosen.of.id), scopes: chosen.scopes, needs: chosen.needs }
            }
            None => self.unlisted(ask),
        }
    }

    /// Whether a token could help a caller without one: some rule that lists the operation requires a token.
    pub(crate) fn would_a_token_help(&self, operation: &Operation<'_>) -> bool {
        self.baseline || self.listing(operation).flat_map(Candidates::all).any(|at| !self.rule(*at).anonymous)
    }

    /// The decision if no rule applies. What is not in the caller's list is hidden.
    fn unlisted(&self, ask: &Ask<'_>) -> Decision {
        let hidden = ask.operation.kind.is_none_or(|kind| !self.shows(ask, kind));
        let argument = if hidden || ask.context.phase != Phase::Call { None } else { self.refused_argument(ask) };
        Decision::Deny { rule: None, reason: None, hidden, on_deny: self.on_deny, argument }
    }

    /// The unmet argument condition of the first allow rule for which it is all that is unmet.
    fn refused_argument(&self, ask: &Ask<'_>) -> Option<Box<RefusedArgument>> {
        let rules = self.listing(ask.operation).flat_map(Candidates::all).copied();
        let refused = |at| {
            let rule = self.rule(at);
            let unmet = rule.unmet_argument(ask)?;
            Some((at, RefusedArgument { rule: Arc::clone(&rule.id), pointer: unmet.pointer, word: unmet.word }))
        };
        rules.filter_map(refused).min_by_key(|(at, _)| *at).map(|(_, argument)| Box::new(argument))
    }

    fn rule(&self, at: RuleIndex) -> &Rule {
        &self.rules[at as usize]
    }
}

/// The inputs of one decision.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) caller: &'a Caller,
    pub(super) operation: &'a Operation<'a>,
    pub(super) context: &'a Context<'a>,
    /// Whether rules in shadow count as enforced.
    pub(super) enforced: bool,
}
