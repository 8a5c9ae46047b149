//! Compares a policy with the tools that exist: globs that match none, and arguments that none of them has.

use std::ops::Range;

use serde_json::Value as Json;

use super::super::Loaded;
use super::super::Policy;
use super::super::args::{Args, Argument, Word};
use super::super::explain::Written;
use super::super::glob::{Pattern, Room};
use super::super::lock::visible;
use super::super::rule::{Effect, Rule};
use super::super::selector::Selector;
use super::clash::{Fit, look};
use crate::config::suggest::closest;
use crate::config::{Problem, Problems, Severity};
use crate::mcp::SubjectKind;

/// The most comparisons of a rule with a tool; a policy that needs more is compared in part.
const COMPARISONS: usize = 20_000;
/// The most tool names in a message.
const TOLD: usize = 3;

/// A tool that exists.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// Its name.
    pub(crate) name: String,
    /// Its `inputSchema`, if it has one.
    pub(crate) schema: Option<Json>,
}

/// The tools of one source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer<'a> {
    /// All its tools.
    pub(crate) tools: &'a [Offered],
    /// The source in words, as in `the upstream of crm`.
    pub(crate) whose: &'a str,
}

impl Policy {
    /// Reports globs that match none of the tools, and rules whose arguments the tools do not have.
    pub(crate) fn compare(&self, offer: Offer<'_>) -> Problems {
        let mut problems = Problems::new();
        let mut left = COMPARISONS;
        for (rule, written) in self.rules.iter().zip(&self.written) {
            let Some((_, patterns)) = written.subjects.iter().find(|(kind, _)| *kind == SubjectKind::Tool) else {
                continue;
            };
            let folds = rule.effect == Effect::Deny;
            for pattern in patterns.iter().filter(|pattern| !offer.tools.iter().any(|tool| lists(pattern, folds, tool)))
            {
                problems.push(unknown(written, pattern, offer));
            }
            let listed = offer.tools.iter().filter(|tool| patterns.iter().any(|pattern| lists(pattern, folds, tool)));
            let one = OneRule { rule, written, tools: listed.collect() };
            left = left.saturating_sub(one.tools.len());
            if left == 0 {
                break;
            }
            if let Some(args) = rule.args().filter(|_| !one.tools.is_empty()) {
                one.arguments(args, &mut problems);
            }
            one.expression(&mut problems);
        }
        problems
    }

    /// The tools that no allow rule lists.
    pub(crate) fn uncovered<'a>(&self, tools: &'a [Offered]) -> Vec<&'a str> {
        let allows = |tool: &Offered| {
            self.rules.iter().zip(&self.written).filter(|(rule, _)| rule.effect == Effect::Allow).any(|(_, written)| {
                let of_tools = written.subjects.iter().filter(|(kind, _)| *kind == SubjectKind::Tool);
                of_tools.flat_map(|(_, patterns)| patterns).any(|pattern| pattern.matches(&tool.name))
            })
        };
        tools.iter().filter(|tool| !allows(tool)).map(|tool| tool.name.as_str()).collect()
    }
}

impl Loaded {
    /// Reports masks for tools that do not exist.
    pub(crate) fn compare_masks(&self, offer: Offer<'_>) -> Problems {
        let mut problems = Problems::new();
        for spec in &self.masks {
            let about = &spec.applies.about;
            let only_tools = !about.is_empty() && about.iter().all(|selector| selector.is_about(SubjectKind::Tool));
            let covers =
                |selector: &Selector| offer.tools.iter().any(|tool| selector.covers(SubjectKind::Tool, &tool.name));
            let grants = spec.restore.iter().map(|grant| &*grant.tool);
            let lost: Vec<&str> =
                grants.filter(|tool| !offer.tools.iter().any(|offered| offered.name == **tool)).collect();
            let Some((source, span)) = self.mask_place(&spec.id) else { continue };
            if only_tools && !about.iter().any(covers) {
                let message = format!("the mask `{}` is for tools of which {} has none", spec.id, offer.whose);
                let problem = Problem::warning(source, span.clone(), message, "it never applies");
                problems
                    .push(problem.help("name tools there are, or leave `tools` out to mask all").code("unknown-tool"));
            }
            if let Some(tool) = lost.first() {
                let message = format!("the mask `{}` restores for a tool {} does not have", spec.id, offer.whose);
                let problem = Problem::warning(source, span, message, format!("there is no `{tool}`"));
                problems.push(problem.help(advice(tool, offer)).code("unknown-tool"));
            }
        }
        problems
    }
}

/// Whether a rule's pattern lists the tool; those of deny rules match folded names too.
fn lists(pattern: &Pattern, folds: bool, tool: &Offered) -> bool {
    let folded = || pattern.folded().matches(&Room::new().fold(&tool.name));
    pattern.matches(&tool.name) || folds && folded()
}

fn unknown(written: &Written, pattern: &Pattern, offer: Offer<'_>) -> Problem {
    let name = pattern.to_string();
    let message = format!("{} has no tool that `{name}` lists", offer.whose);
    let problem = Problem::warning(&written.source, place(written, &name), message, "lists nothing");
    problem.help(advice(&name, offer)).code("unknown-tool")
}

fn advice(name: &str, offer: Offer<'_>) -> String {
    match closest(name, offer.tools.iter().map(|tool| tool.name.as_str())) {
        Some(near) => format!("did you mean {}?", visible(near).replace('"', "`")),
        None => "`portcullis tools SERVER` shows what there is; take out what is gone".into(),
    }
}

/// The span of one of the rule's tools, or of all of them if it cannot be found.
fn place(written: &Written, name: &str) -> Range<usize> {
    let whole = written.span("tools");
    let text = written.source.text.get(whole.clone()).unwrap_or_default();
    let quoted = [format!("\"{name}\""), format!("'{name}'")];
    let found = quoted.iter().find_map(|quoted| Some((text.find(quoted.as_str())?, quoted.len())));
    found.map_or(whole.clone(), |(at, length)| whole.start + at..whole.start + at + length)
}

/// A rule and the tools it lists.
struct OneRule<'a> {
    rule: &'a Rule,
    written: &'a Written,
    tools: Vec<&'a Offered>,
}

impl OneRule<'_> {
    fn arguments(&self, args: &Args, problems: &mut Problems) {
        for argument in args.arguments() {
            let fits = self.tools.iter().map(|tool| match &tool.schema {
                Some(schema) => look(schema, argument),
                None => Fit::Fits,
            });
            let fits: Vec<Fit> = fits.collect();
            let is = |wanted: fn(&Fit) -> bool| -> Vec<&str> {
                let tools = self.tools.iter().zip(&fits).filter(|(_, fit)| wanted(fit));
                tools.map(|(tool, _)| tool.name.as_str()).collect()
            };
            let absent = is(|fit| matches!(fit, Fit::Absent(_)));
            if absent.len() == fits.len() || !absent.is_empty() && self.minds_absence(argument) {
                problems.push(self.absent(argument, &absent, &fits));
            }
            let clashing = is(|fit| matches!(fit, Fit::Clash(..)));
            if let Some((at, why)) = fits.iter().find_map(|fit| match fit {
                Fit::Clash(at, why) => Some((*at, why)),
                Fit::Absent(_) | Fit::Fits => None,
            }) {
                problems.push(self.clash(argument, at, why, &clashing, clashing.len() + absent.len() == fits.len()));
            }
        }
    }

    /// Whether the rule does the unexpected for a tool without the argument: an allow rule never matches, a deny rule always.
    fn minds_absence(&self, argument: &Argument) -> bool {
        match self.rule.effect {
            Effect::Allow => argument.is_required(),
            Effect::Deny => !argument.words().any(|word| matches!(word, Word::Required)),
        }
    }

    fn absent(&self, argument: &Argument, tools: &[&str], fits: &[Fit]) -> Problem {
        let pointer = argument.pointer();
        let message = format!("{} no argument {pointer}, which the rule `{}` is about", have(tools), self.rule.id);
        let all = tools.len() == fits.len();
        let label = match (self.rule.effect, all) {
            _ if all => "there is no such argument",
            (Effect::Allow, _) => "it allows no call without",
            (Effect::Deny, _) => "it denies every call without",
        };
        let known = fits.iter().flat_map(|fit| match fit {
            Fit::Absent(known) => known.as_slice(),
            Fit::Clash(..) | Fit::Fits => &[],
        });
        let name = argument.path().last().map(|name| &**name).unwrap_or_default();
        let help = match closest(name, known.clone().map(String::as_str)) {
            Some(near) => format!("did you mean {}?", visible(near).replace('"', "`")),
            None if self.rule.effect == Effect::Deny => {
                "add `required = true` where only calls that name it are meant, or list fewer tools".into()
            }
            None => "give the tools that have it a rule of their own".into(),
        };
        self.problem(all, self.span_of(argument, 0), message, label).help(help).code("unknown-argument")
    }

    fn clash(&self, argument: &Argument, at: usize, why: &str, tools: &[&str], all: bool) -> Problem {
        let word = argument.words().nth(at).map_or("", |word| word.name());
        let message = format!(
            "`{word}` of {} in the rule `{}` contradicts the input schema of {}",
            argument.pointer(),
            self.rule.id,
            names(tools)
        );
        let why = visible(why);
        let why = why.strip_prefix('"').and_then(|why| why.strip_suffix('"')).unwrap_or_default().replace("\\\"", "\"");
        let problem = self.problem(all, self.span_of(argument, at), message, why);
        let help = match self.rule.effect {
            Effect::Allow => "no call can meet both: ask for what the tool takes, or take it out",
            Effect::Deny => {
                "no call that fits the schema has such a value: ask for what the tool takes, or take it out"
            }
        };
        problem.help(help).code("schema-contradiction")
    }

    /// Warns of arguments that the rule's `when` reads and no tool has.
    fn expression(&self, problems: &mut Problems) {
        let Some(when) = self.rule.conditions.as_ref().and_then(|asked| asked.when.as_ref()) else { return };
        for name in when.arguments() {
            let argument = Argument::bare(name);
            let lacks = |tool: &&Offered| {
                tool.schema.as_ref().is_some_and(|schema| matches!(look(schema, &argument), Fit::Absent(_)))
            };
            if self.tools.is_empty() || !self.tools.iter().all(lacks) {
                continue;
            }
            let tools: Vec<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
            let message =
                format!("{} no argument `{name}`, which `when` of the rule `{}` looks at", have(&tools), self.rule.id);
            let problem = Problem::warning(&self.written.source, self.written.span("when"), message, "always unknown");
            let help = "`portcullis explain` shows what becomes of it; name an argument there is";
            problems.push(problem.help(help).code("unknown-argument"));
        }
    }

    fn span_of(&self, argument: &Argument, at: usize) -> Range<usize> {
        argument.places().get(at).map_or_else(|| self.written.span("args"), |(_, span)| span.clone())
    }

    fn problem(&self, error: bool, span: Range<usize>, message: String, label: impl Into<String>) -> Problem {
        let severity = if error { Severity::Error } else { Severity::Warning };
        Problem { severity, ..Problem::warning(&self.written.source, span, message, label) }
    }
}

/// ``the tool `a` has``, or the plural.
fn have(tools: &[&str]) -> String {
    match tools {
        [_] => format!("the tool {} has", names(tools)),
        _ => format!("the tools {} have", names(tools)),
    }
}

/// The first few names, escaped, as they are the upstream's text.
fn names(tools: &[&str]) -> String {
    let shown: Vec<String> = tools.iter().take(TOLD).map(|name| visible(name).replace('"', "`")).collect();
    let more = tools.len().saturating_sub(TOLD);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
