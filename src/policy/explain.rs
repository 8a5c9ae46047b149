//! Explains a decision: every rule with every condition, and its place in its file.

use std::ops::Range;
use std::sync::Arc;

use super::args::Argument;
use super::context::Context;
use super::glob::{Pattern, Room};
use super::raw::Place;
use super::rule::{Effect, Holds, Rule};
use super::scopes::Required;
use super::{Decision, Operation, Policy};
use crate::auth::Caller;
use crate::config::Source;
use crate::mcp::SubjectKind;

/// A decision, and how each rule applied.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The decision, made as for a request.
    pub decision: Decision,
    /// Every rule of the policy, in file order.
    pub rules: Vec<RuleTrace>,
}

/// One rule applied to one operation.
#[derive(Clone, Debug)]
pub struct RuleTrace {
    /// Its `id`.
    pub id: Arc<str>,
    /// Its effect.
    pub effect: Effect,
    /// The file it is in.
    pub source: Arc<Source>,
    /// The span of its header.
    pub span: Range<usize>,
    /// Whether the rule matches.
    pub matches: bool,
    /// Whether it is in shadow, so that it has no effect.
    pub shadow: bool,
    /// All its conditions, in the order they are evaluated.
    pub conditions: Vec<ConditionTrace>,
}

impl RuleTrace {
    /// The first condition that is not met, or whose result is unknown; `None` if all are met.
    pub fn first_unmet(&self) -> Option<&ConditionTrace> {
        self.conditions.iter().find(|condition| condition.holds != Holds::Yes)
    }

    /// Whether only missing scopes keep it from matching.
    pub fn lacks_only_scopes(&self) -> bool {
        let mut unmet = self.conditions.iter().filter(|condition| condition.holds != Holds::Yes).peekable();
        unmet.peek().is_some() && unmet.all(|condition| matches!(condition.key, "scopes" | "scopes_any"))
    }
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionTrace {
    /// Its key in the policy file.
    pub key: &'static str,
    /// Whether it is met.
    pub holds: Holds,
    /// What was required and what was found. For people who may read the policy; clients never see it.
    pub detail: String,
    /// Its span in the rule's file.
    pub span: Range<usize>,
}

/// The place of a rule in its file, and the patterns it lists, which decisions do not need.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) source: Arc<Source>,
    pub(super) place: Place,
    pub(super) subjects: Box<[(SubjectKind, Box<[Pattern]>)]>,
}

impl Written {
    pub(super) fn span(&self, key: &str) -> Range<usize> {
        let found = self.place.keys.iter().find(|(name, _)| **name == *key);
        found.map_or_else(|| self.place.span.clone(), |(_, span)| span.clone())
    }
}

impl Policy {
    /// Decides, and reports for every rule how it applies.
    pub fn explain(&self, caller: &Caller, operation: &Operation<'_>, context: &Context<'_>) -> Explanation {
        let trace = |(rule, written): (&Rule, &Written)| Trace { rule, written, caller, operation, context }.run();
        Explanation {
            decision: self.decide(caller, operation, context),
            rules: self.rules.iter().zip(&self.written).map(trace).collect(),
        }
    }
}

/// One rule being explained.
struct Trace<'a> {
    rule: &'a Rule,
    written: &'a Written,
    caller: &'a Caller,
    operation: &'a Operation<'a>,
    context: &'a Context<'a>,
}

impl Trace<'_> {
    fn run(&self) -> RuleTrace {
        let mut conditions = vec![self.subject()];
        conditions.extend(self.methods());
        conditions.extend(self.anonymous());
        conditions.extend(self.issuer());
        conditions.extend(self.scopes());
        conditions.extend(self.args());
        conditions.extend(self.when());
        let satisfied = |condition: &ConditionTrace| condition.holds.satisfies(self.rule.effect, self.context.phase);
        RuleTrace {
            id: Arc::clone(&self.rule.id),
            effect: self.rule.effect,
            source: Arc::clone(&self.written.source),
            span: self.written.place.span.clone(),
            matches: conditions.iter().all(satisfied),
            shadow: self.rule.shadow.is_some_and(|until| self.context.now < until),
            conditions,
        }
    }

    fn condition(&self, key: &'static str, holds: bool, detail: String) -> ConditionTrace {
        let holds = if holds { Holds::Yes } else { Holds::No };
        ConditionTrace { key, holds, detail, span: self.written.span(key) }
    }

    /// Whether the rule lists the subject or the method.
    fn subject(&self) -> ConditionTrace {
        let Some(kind) = self.operation.kind else {
            let only_methods = self.written.subjects.is_empty();
            let found = if only_methods { "lists methods only" } else { "is about subjects, and the method has none" };
            return self.condition("methods", only_methods, found.into());
        };
        let lists = |listed: SubjectKind| {
            listed == kind
                || self.rule.effect == Effect::Deny
                    && (listed, kind) == (SubjectKind::Resource, SubjectKind::ResourceTemplate)
        };
        let mut of_kind = self.written.subjects.iter().filter(|(listed, _)| lists(*listed)).peekable();
        let Some((listed, _)) = of_kind.peek().copied() else {
            let by_method = self.written.subjects.is_empty() && self.rule.effect == Effect::Deny;
            let key = if self.written.subjects.is_empty() { "methods" } else { key_of(kind) };
            let detail = match (by_method, key) {
                (true, _) => "holds for every subject".into(),
                (false, "methods") => "is about methods that have no subject".into(),
                (false, key) => format!("lists no {key}"),
            };
            return self.condition(key, by_method, detail);
        };
        let mut room = Room::new();
        let folded = room.fold(self.operation.name);
        let matches = of_kind.flat_map(|(_, patterns)| patterns).any(|pattern| {
            pattern.matches(self.operation.name)
                || self.rule.effect == Effect::Deny && pattern.folded().matches(&folded)
        });
        let verb = if matches { "lists" } else { "does not list" };
        self.condition(key_of(*listed), matches, format!("{verb} `{}`", self.operation.name.escape_debug()))
    }

    fn methods(&self) -> Option<ConditionTrace> {
        if self.rule.methods.exact.is_empty() {
            return None;
        }
        let holds = self.rule.methods.hold(self.operation.method);
        let verb = if holds { "lists" } else { "does not list" };
        Some(self.condition("methods", holds, format!("{verb} `{}`", self.operation.method.escape_debug())))
    }

    fn anonymous(&self) -> Option<ConditionTrace> {
        if !self.caller.anonymous || self.rule.effect == Effect::Deny {
            return None;
        }
        let holds = self.rule.is_for(self.caller);
        let detail = if holds { "lets pass who has no token" } else { "asks for a token" };
        Some(self.condition("anonymous", holds, detail.into()))
    }

    fn issuer(&self) -> Option<ConditionTrace> {
        if self.rule.issuers.is_empty() {
            return None;
        }
        let detail = format!("the token is from `{}`", self.caller.issuer_name);
        Some(self.condition("issuer", self.rule.is_of_issuer(self.caller), detail))
    }

    fn scopes(&self) -> impl Iterator<Item = ConditionTrace> {
        let held = |scope: &&Required| scope.is_held(&self.caller.scopes);
        let names = |scopes: &[&Required]| scopes.iter().map(|scope| &*scope.name).collect::<Vec<_>>().join(" ");
        let demand = &self.rule.demand;
        let missing: Vec<&Required> = demand.all.iter().filter(|scope| !held(scope)).collect();
        let all = (!demand.all.is_empty()).then(|| {
            let detail = if missing.is_empty() { "held".into() } else { format!("missing {}", names(&missing)) };
            self.condition("scopes", missing.is_empty(), detail)
        });
        let any = (!demand.any.is_empty()).then(|| {
            let found = demand.any.iter().find(held);
            let detail = found.map_or_else(
                || format!("none held of {}", names(&demand.any.iter().collect::<Vec<_>>())),
                |scope| format!("{} is held", scope.name),
            );
            self.condition("scopes_any", found.is_some(), detail)
        });
        all.into_iter().chain(any)
    }

    fn when(&self) -> Option<ConditionTrace> {
        let when = self.rule.conditions.as_ref()?.when.as_ref()?;
        Some(match when.explain(self.caller, self.operation, self.context) {
            Ok(holds) => self.condition("when", holds, if holds { "true" } else { "false" }.into()),
            Err(why) => {
                ConditionTrace { key: "when", holds: Holds::Unknown, detail: why, span: self.written.span("when") }
            }
        })
    }

    fn args(&self) -> Option<ConditionTrace> {
        let args = self.rule.conditions.as_ref()?.args.as_ref()?;
        let key = "args";
        let closed = self.rule.effect == Effect::Allow;
        Some(match args.check(self.context, &self.caller.claims, closed) {
            Ok(()) => self.condition(key, true, "as asked".into()),
            Err(unmet) => {
                let words = args.arguments().iter().filter(|argument| argument.pointer() == &*unmet.pointer);
                let place = words.flat_map(Argument::places).find(|(word, _)| word.name() == unmet.word);
                ConditionTrace {
                    key,
                    holds: unmet.holds,
                    detail: format!("{} does not meet {}: {}", unmet.pointer.escape_debug(), unmet.word, unmet.detail),
                    span: place.map_or_else(|| self.written.span(key), |(_, span)| span.clone()),
                }
            }
        })
    }
}

pub(super) const fn key_of(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Prompt => "prompts",
        SubjectKind::Resource => "resources",
        SubjectKind::ResourceTemplate => "resource_templates",
        SubjectKind::Tool => "tools",
    }
}
