//! Conditions of one rule that mean less than they seem to: variables that are never there, patterns anything fits.

use std::path::Path;
use std::sync::Arc;

use super::super::Policy;
use super::super::args::{Argument, Word};
use super::super::explain::{Written, key_of};
use super::super::rule::{Effect, Rule};
use crate::config::{Problem, Problems};
use crate::mcp::SubjectKind;

/// What is wrong with the conditions of a rule, whatever the tools are.
pub(super) fn find(rule: &Rule, written: &Written) -> Problems {
    let mut problems = Problems::new();
    let Some(conditions) = &rule.conditions else { return problems };
    if let Some(when) = &conditions.when {
        for variable in ["args", "tool"].into_iter().filter(|variable| when.looks_at(variable)) {
            problems.append(absent(rule, written, variable).into_iter().collect());
        }
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
    }
    problems
}

fn empty(written: &Written, span: std::ops::Range<usize>) -> Problem {
    let problem =
        Problem::warning(&written.source, span, "this pattern matches the empty text", "anything or nothing fits");
    problem.help("anchor it with `^` and `$`, and write `+` for at least one: `^[a-z]+$`").code("empty-match")
}

/// A variable an expression looks at and that is not there for what the rule lists: it is unknown then, always.
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
    /// Rules of a file with what their conditions look at and a list does not know: there they count as if they could match.
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
