//! Conditions that mean less than they seem to: variables that are never set, patterns that match anything.

use std::path::Path;
use std::sync::Arc;

use serde_json::Map;

use super::super::Policy;
use super::super::args::{Argument, Equals, Scalar, Word};
use super::super::explain::{Written, key_of};
use super::super::rule::{Effect, Holds, Rule};
use super::super::when::When;
use super::super::{Context, Operation};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::config::{Problem, Problems};
use crate::mcp::SubjectKind;

/// Warnings about the conditions of a rule, independent of tools.
pub(super) fn find(rule: &Rule, written: &Written) -> Problems {
    let mut problems = Problems::new();
    let Some(conditions) = &rule.conditions else { return problems };
    if let Some(when) = &conditions.when {
        for variable in ["args", "tool"].into_iter().filter(|variable| when.looks_at(variable)) {
            problems.append(absent(rule, written, variable).into_iter().collect());
        }
        problems.append(never(rule, written, when).into_iter().collect());
        for pattern in when.empty_patterns() {
            let mut span = written.span("when");
            let text = written.source.text.get(span.clone()).unwrap_or_default();
            if let Some(at) = text.find(pattern) {
                span = span.start + at..span.start + at + pattern.len();
            }
            problems.push(empty(written, span));
        }
    }
    let arguments = conditions.args.iter().flat_map(|args| args.arguments());
    for (word, span) in arguments.flat_map(Argument::places) {
        if matches!(word, Word::Pattern(pattern) if pattern.is_match("")) {
            problems.push(empty(written, span.clone()));
        }
        if let Word::Equals(Equals::Value(Scalar::Text(text))) = word
            && ["claims.", "{claims.", "$claims.", "{{claims."].iter().any(|start| text.starts_with(start))
        {
            let message = "this is compared as it stands, and is no claim";
            let problem = Problem::warning(&written.source, span.clone(), message, "this very text");
            problems.push(problem.help("a claim is written `${claims.email}`").code("no-template"));
        }
    }
    problems
}

fn empty(written: &Written, span: std::ops::Range<usize>) -> Problem {
    let problem =
        Problem::warning(&written.source, span, "this pattern matches the empty text", "anything or nothing fits");
    problem.help("anchor it with `^` and `$`, and write `+` for at least one: `^[a-z]+$`").code("empty-match")
}

/// A warning about an expression that only reads the time and is true at no hour of the week.
fn never(rule: &Rule, written: &Written, when: &When) -> Option<Problem> {
    const HOUR: i64 = 60 * 60;
    let span = written.span("when");
    if !when.looks_at_no_more_than(&["now"]) || written.source.text.get(span.clone())?.contains("unix") {
        return None;
    }
    let (nobody, nothing) = (Caller::unverified("", Map::new()), Operation { method: "", kind: None, name: "" });
    let holds = |hour| when.holds(&nobody, &nothing, &Context::at(Timestamp::from_unix_seconds(hour * HOUR)));
    if (0..7 * 24).any(|hour| holds(hour) != Holds::No) {
        return None;
    }
    let label = match rule.effect {
        Effect::Allow => "so nothing is allowed by it",
        Effect::Deny => "so nothing is denied by it",
    };
    let message = format!("the condition of the rule `{}` is true at no hour of the week", rule.id);
    let problem = Problem::warning(&written.source, span, message, label);
    Some(problem.help("hours are 0 to 23, weekdays 0 to 6; `||` is either, `&&` both at once").code("dead-rule"))
}

/// A warning about a variable that an expression reads and that is never set for something the rule lists.
fn absent(rule: &Rule, written: &Written, variable: &'static str) -> Option<Problem> {
    let has = |kind: &SubjectKind| matches!((variable, kind), (_, SubjectKind::Tool) | ("args", SubjectKind::Prompt));
    let without: Vec<&str> =
        written.subjects.iter().filter(|(kind, _)| !has(kind)).map(|(kind, _)| key_of(*kind)).collect();
    let without = match (without.first(), written.subjects.is_empty(), variable) {
        (Some(first), _, _) => *first,
        (None, true, "tool") => "methods",
        _ => return None,
    };
    let message = format!("`{variable}` is never there for the `{without}` of the rule `{}`", rule.id);
    let label = match rule.effect {
        Effect::Allow => "unknown, so nothing is allowed",
        Effect::Deny => "unknown, so all are denied",
    };
    let problem = Problem::warning(&written.source, written.span("when"), message, label);
    let help = match variable {
        "args" => "only tools and prompts have arguments: give them a rule of their own",
        _ => "give tools a rule of their own",
    };
    Some(problem.help(help).code("absent-variable"))
}

impl Policy {
    /// The rules of a file that read variables unknown in lists, with those variables. In lists such rules count as if they
    /// could match.
    pub(crate) fn untold_in_lists(&self, file: &Path) -> Vec<(Arc<str>, Vec<&'static str>)> {
        let untold = |rule: &Rule| {
            let conditions = rule.conditions.as_ref()?;
            let mut looks: Vec<&'static str> =
                ["args", "now"].into_iter().filter(|name| conditions.look_at(name)).collect();
            if conditions.args.is_some() && !looks.contains(&"args") {
                looks.insert(0, "args");
            }
            (!looks.is_empty()).then(|| (Arc::clone(&rule.id), looks))
        };
        let of_file = self.rules.iter().zip(&self.written).filter(|(_, written)| written.source.path == file);
        of_file.filter_map(|(rule, _)| untold(rule)).collect()
    }
}
