//! Valid but mistaken policies: rules that never decide, and names nobody uses.

mod clash;
mod disjoint;
mod offer;
mod unmeant;

use std::sync::Arc;

pub(crate) use self::offer::{Offer, Offered};
use super::Policy;
use super::explain::Written;
use super::glob::Pattern;
use super::rule::{Effect, Rule};
use crate::config::suggest::closest;
use crate::config::{Problem, Problems};
use crate::mcp::methods::{self, METHODS};
use crate::mcp::{Access, SubjectKind};

/// The budget for comparisons; a policy that needs more is reviewed in part.
const COMPARISONS: usize = 1_000_000;
/// The cost of comparing two globs; that of two names is 1.
const GLOBS: usize = 200;

impl Policy {
    /// Warnings about rules that can never decide, and about methods that do not exist.
    pub(crate) fn review(&self) -> Problems {
        let mut review = Review { policy: self, denies: Vec::new(), problems: Problems::new(), left: COMPARISONS };
        let denies = |at: &usize| self.rules[*at].effect == Effect::Deny && review.holds_for_all(*at);
        review.denies = (0..self.rules.len()).filter(denies).collect();
        for at in 0..self.rules.len() {
            review.methods(at);
            review.problems.append(unmeant::find(&self.rules[at], &self.written[at]));
            if !review.dead(at) {
                review.shadowed(at);
            }
        }
        review.problems
    }

    /// Whether anything can be allowed; otherwise every call is denied.
    pub(crate) fn opens_something(&self) -> bool {
        self.baseline || self.rules.iter().any(|rule| rule.effect == Effect::Allow)
    }

    /// Warnings about scopes of rules for that issuer that are not among `known`.
    pub(crate) fn unknown_scopes(&self, issuer: &str, known: &[&str]) -> Problems {
        let mut problems = Problems::new();
        for (rule, written) in self.rules.iter().zip(&self.written) {
            if !rule.issuers.is_empty() && !rule.issuers.iter().any(|name| **name == *issuer) {
                continue;
            }
            for (key, scopes) in [("scopes", &rule.demand.all), ("scopes_any", &rule.demand.any)] {
                let unknown: Vec<&str> =
                    scopes.iter().map(|scope| &*scope.name).filter(|scope| !known.contains(scope)).collect();
                let Some(first) = unknown.first() else { continue };
                let message =
                    format!("the issuer `{issuer}` does not say that it knows the scopes of the rule `{}`", rule.id);
                let label = format!("not in its `scopes_supported`: {}", unknown.join(", "));
                let help = match closest(first, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "create them at the issuer; until then nobody can hold them".to_owned(),
                };
                problems.push(
                    Problem::warning(&written.source, written.span(key), message, label)
                        .help(help)
                        .code("unknown-scope"),
                );
            }
        }
        problems
    }
}

struct Review<'a> {
    policy: &'a Policy,
    /// Deny rules that hold for all callers.
    denies: Vec<usize>,
    problems: Problems,
    left: usize,
}

impl Review<'_> {
    fn parts(&self, at: usize) -> (&Rule, &Written) {
        (&self.policy.rules[at], &self.policy.written[at])
    }

    /// Warns of unknown methods that look like known ones, and of methods that never have a subject the rule lists.
    fn methods(&mut self, at: usize) {
        let (rule, written) = (&self.policy.rules[at], &self.policy.written[at]);
        for pattern in &rule.methods.exact {
            let Pattern::Exact(name) = pattern else { continue };
            if methods::find(name).is_none()
                && let Some(near) = closest(name, METHODS.iter().map(|method| method.name))
            {
                let message = format!("no revision of MCP has a method `{name}`");
                let problem = Problem::warning(&written.source, written.span("methods"), message, "unknown");
                self.problems.push(problem.help(format!("did you mean `{near}`?")).code("unknown-method"));
            }
        }
        if rule.methods.exact.is_empty() || written.subjects.is_empty() {
            return;
        }
        let about = |kind: SubjectKind| {
            METHODS.iter().any(|method| {
                let is = match method.access {
                    Access::Subject { kind: of, .. } => of == kind,
                    Access::Task => kind == SubjectKind::Tool,
                    Access::Completion => kind != SubjectKind::Tool,
                    Access::Free | Access::Named | Access::Subscriptions => false,
                };
                is && rule.methods.hold(method.name)
            })
        };
        if !written.subjects.iter().any(|(kind, _)| about(*kind)) {
            let message = format!("the rule `{}` can never match: its methods are about nothing it lists", rule.id);
            let problem = Problem::warning(&written.source, written.span("methods"), message, "");
            self.problems
                .push(problem.help("take `methods` out, or give the methods a rule of their own").code("dead-rule"));
        }
    }

    /// Warns of an allow rule that unconditional deny rules cover completely; returns whether it did.
    fn dead(&mut self, at: usize) -> bool {
        if self.policy.rules[at].effect == Effect::Deny {
            return false;
        }
        let denies = std::mem::take(&mut self.denies);
        let by = self.covered_by(at, &denies);
        self.denies = denies;
        let Some(by) = by else { return false };
        let (rule, written) = self.parts(at);
        let message = format!("the rule `{}` can never allow anything", rule.id);
        let label = format!("all of it is denied by `{by}`");
        let problem = Problem::warning(&written.source, written.place.span.clone(), message, label);
        let help = "a deny wins over every allow: take one of them out, or let the deny list less";
        self.problems.push(problem.help(help).code("dead-rule"));
        true
    }

    /// Warns of a rule that never decides, as an earlier one with the same effect covers it and requires no more.
    fn shadowed(&mut self, at: usize) {
        let mut by = None;
        for before in 0..at {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return;
            }
            let same = self.policy.rules[before].effect == self.policy.rules[at].effect;
            if same && self.asks_no_more(before, at) {
                by = self.covered_by(at, &[before]);
            }
            if by.is_some() {
                break;
            }
        }
        let Some(by) = by else { return };
        let (rule, written) = self.parts(at);
        let message = format!("the rule `{}` never decides", rule.id);
        let label = format!("`{by}` stands above it, lists all of it and asks for no more");
        let problem = Problem::warning(&written.source, written.place.span.clone(), message, label);
        self.problems.push(problem.help("take it out, or let one of them list less").code("shadowed-rule"));
    }

    /// Whether a rule has no conditions besides names, and is not in shadow.
    fn holds_for_all(&self, at: usize) -> bool {
        let rule = &self.policy.rules[at];
        rule.shadow.is_none()
            && rule.methods.exact.is_empty()
            && rule.issuers.is_empty()
            && rule.conditions.is_none()
            && rule.demand.all.is_empty()
            && rule.demand.any.is_empty()
    }

    /// Whether `before` matches whenever `at` does, apart from names.
    fn asks_no_more(&self, before: usize, at: usize) -> bool {
        // If both list methods only, `covered_by` compares those.
        let names = self.policy.written[at].subjects.is_empty() && self.policy.written[before].subjects.is_empty();
        let (before, rule) = (&self.policy.rules[before], &self.policy.rules[at]);
        let issuers = before.issuers.is_empty()
            || !rule.issuers.is_empty() && rule.issuers.iter().all(|name| before.issuers.contains(name));
        let methods = names || before.methods.exact.is_empty() || before.methods.exact == rule.methods.exact;
        before.shadow.is_none()
            && issuers
            && methods
            && before.conditions.is_none()
            && before.demand.is_met_with(&rule.demand)
    }

    /// The first of `others` that covers a pattern of the rule, if each of its patterns is covered by one of them.
    fn covered_by(&mut self, at: usize, others: &[usize]) -> Option<Arc<str>> {
        let written = &self.policy.written[at];
        let mut first = None;
        let mut left = self.left;
        let mut cover = |kind: Option<SubjectKind>, pattern: &Pattern| {
            others.iter().find(|other| {
                let lists = |pattern_of: &Pattern| {
                    let globs = matches!((pattern_of, pattern), (Pattern::Wild(_), Pattern::Wild(_)));
                    left = left.saturating_sub(if globs { GLOBS } else { 1 });
                    left > 0 && pattern_of.covers(pattern)
                };
                let other = **other;
                match kind {
                    None => {
                        self.policy.written[other].subjects.is_empty()
                            && self.policy.rules[other].methods.exact.iter().any(lists)
                    }
                    Some(kind) => {
                        let of_kind = self.policy.written[other].subjects.iter().filter(|(of, _)| *of == kind);
                        of_kind.flat_map(|(_, patterns)| patterns).any(lists)
                    }
                }
            })
        };
        let mut all = true;
        if written.subjects.is_empty() {
            for pattern in &self.policy.rules[at].methods.exact {
                match cover(None, pattern) {
                    Some(by) => first = first.or(Some(*by)),
                    None => all = false,
                }
            }
        }
        for (kind, patterns) in &written.subjects {
            for pattern in patterns {
                match cover(Some(*kind), pattern) {
                    Some(by) => first = first.or(Some(*by)),
                    None => all = false,
                }
            }
        }
        self.left = left;
        if all { first.map(|by| Arc::clone(&self.policy.rules[by].id)) } else { None }
    }
}
