//! A policy file as written: every key known and of the right type, nothing resolved or compiled yet.

mod mask;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

use super::args::{self, Args};
use super::cases::Case;
use super::describe::Describe;
use super::limit;
use super::rule::Effect;
use super::table::{Keys, Report, Table, Text, Words};
use super::{ListMode, OnDeny};
use crate::clock::Timestamp;
use crate::config::{Problem, Source};
use crate::mcp::SubjectKind;
pub(super) use mask::{Action, EXCEPT, GRANT, MASK, Mask};

pub(super) const FILE: Keys = Keys {
    table: "a policy file",
    known: &["policy", "scopes", "rule", "mask", "describe", "test"],
    later: &["lint", "on_drift", "schema", "limit"],
};

pub(super) const POLICY: Keys = Keys {
    table: "`[policy]`",
    known: &["name", "mode", "shadow_until", "baseline", "list", "on_deny"],
    later: &["lint", "on_drift", "schema"],
};

pub(super) const RULE: Keys = Keys {
    table: "`[[rule]]`",
    known: &[
        "id",
        "effect",
        "tools",
        "resources",
        "resource_templates",
        "prompts",
        "methods",
        "scopes",
        "scopes_any",
        "issuer",
        "step_up",
        "on_deny",
        "reason",
        "mode",
        "args",
        "when",
        "limit",
        "timeout",
        "anonymous",
    ],
    later: &["audit", "describe", "lint", "on_drift", "schema", "shadow_until", "unmask"],
};

const MODE: Words<Mode> = Words { known: &[("enforce", Mode::Enforce), ("shadow", Mode::Shadow)], later: &[] };

const BASELINE: Words<()> = Words { known: &[("allow_listed", ())], later: &[] };

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Rules take effect.
    Enforce,
    /// What they would do is only recorded.
    Shadow,
}

/// `[policy]`.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) list: Option<ListMode>,
    pub(super) on_deny: Option<OnDeny>,
    pub(super) mode: Option<Mode>,
    /// When rules in shadow come into force.
    pub(super) shadow_until: Option<Timestamp>,
    /// The span of `baseline`, if present.
    pub(super) baseline: Option<Range<usize>>,
}

const LIST: Words<ListMode> = Words {
    known: &[("acquirable", ListMode::Acquirable), ("allowed", ListMode::Allowed), ("all", ListMode::All)],
    later: &[],
};

const ON_DENY: Words<OnDeny> = Words {
    known: &[("tool_error", OnDeny::ToolError), ("error", OnDeny::Error), ("http_403", OnDeny::Http403)],
    later: &[],
};

const EFFECT: Words<Effect> = Words { known: &[("allow", Effect::Allow), ("deny", Effect::Deny)], later: &[] };

/// One file.
pub(super) struct File {
    pub(super) source: Arc<Source>,
    pub(super) settings: Settings,
    /// Each broader scope with those it implies.
    pub(super) scopes: Vec<(Text, Vec<Text>)>,
    pub(super) rules: Vec<Rule>,
    pub(super) masks: Vec<Mask>,
    pub(super) described: Vec<Describe>,
    pub(super) tests: Vec<Case>,
}

/// One `[[rule]]`.
pub(super) struct Rule {
    pub(super) id: Text,
    pub(super) effect: Effect,
    /// The globs of each kind of subject.
    pub(super) subjects: Vec<(SubjectKind, Vec<Text>)>,
    pub(super) methods: Vec<Text>,
    pub(super) scopes: Vec<Text>,
    pub(super) scopes_any: Vec<Text>,
    /// Names of issuers in `proxy.toml`.
    pub(super) issuers: Vec<Text>,
    pub(super) step_up: bool,
    pub(super) on_deny: Option<OnDeny>,
    pub(super) reason: Option<Text>,
    pub(super) args: Option<Arc<Args>>,
    pub(super) when: Option<Text>,
    pub(super) limit: Option<limit::Spec>,
    /// The longest time for a call.
    pub(super) timeout: Option<Duration>,
    pub(super) mode: Option<Mode>,
    /// Whether it also allows callers without a token.
    pub(super) anonymous: bool,
    /// The spans of the table and its entries.
    pub(super) place: Place,
}

/// The place of a rule in its file.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) span: Range<usize>,
    /// Its keys, each with the span of key and value.
    pub(super) keys: Box<[(Box<str>, Range<usize>)]>,
}

impl File {
    /// Reads `source`; `None` if it is not TOML. Every problem goes to `report`.
    pub(super) fn read(source: &Arc<Source>, report: &mut Report<'_>) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            report.error(Problem::error(source, span, "this is not TOML", error.message()));
        }
        if !errors.is_empty() {
            return None;
        }
        let root = Table::root(source, &root);
        root.check(&FILE, report);
        let settings = settings(&root, report);
        let rules = root.tables("rule", report).iter().filter_map(|table| Rule::read(table, report)).collect();
        let masks = root.tables("mask", report).iter().filter_map(|table| Mask::read(table, report)).collect();
        let described = root.tables("describe", report).iter().filter_map(|one| Describe::read(one, report)).collect();
        let tests = root.tables("test", report).iter().filter_map(|table| Case::read(table, report)).collect();
        Some(Self {
            source: Arc::clone(source),
            settings,
            scopes: scopes(&root, report),
            rules,
            masks,
            described,
            tests,
        })
    }
}

fn settings(root: &Table<'_>, report: &mut Report<'_>) -> Settings {
    let Some(table) = root.table("policy", report) else { return Settings::default() };
    table.check(&POLICY, report);
    table.text("name", report);
    let baseline = table.word("baseline", &BASELINE, report).and_then(|()| table.key_span("baseline"));
    Settings {
        list: table.word("list", &LIST, report),
        on_deny: table.word("on_deny", &ON_DENY, report),
        mode: table.word("mode", &MODE, report),
        shadow_until: if table.has("shadow_until") { table.moment("shadow_until", report) } else { None },
        baseline,
    }
}

fn scopes(root: &Table<'_>, report: &mut Report<'_>) -> Vec<(Text, Vec<Text>)> {
    let Some(table) = root.table("scopes", report) else { return Vec::new() };
    table
        .entries()
        .filter_map(|(broad, value)| {
            let narrow = table.strings(broad.get_ref(), value, report)?;
            Some((broad, narrow))
        })
        .collect()
}

impl Rule {
    fn read(table: &Table<'_>, report: &mut Report<'_>) -> Option<Self> {
        table.check(&RULE, report);
        let mode = table.word("mode", &MODE, report);
        let id = id(table, "rule", report);
        let effect = if table.has("effect") { table.word("effect", &EFFECT, report) } else { Some(Effect::Allow) };
        let subjects: Vec<(SubjectKind, Vec<Text>)> = [
            (SubjectKind::Tool, "tools"),
            (SubjectKind::Resource, "resources"),
            (SubjectKind::ResourceTemplate, "resource_templates"),
            (SubjectKind::Prompt, "prompts"),
        ]
        .into_iter()
        .filter_map(|(kind, key)| Some((kind, table.texts(key, report)?)))
        .collect();
        let mut texts = |key| table.texts(key, report).unwrap_or_default();
        let (methods, scopes, scopes_any) = (texts("methods"), texts("scopes"), texts("scopes_any"));
        let issuers = texts("issuer");
        let step_up = table.flag("step_up", report);
        let on_deny = table.word("on_deny", &ON_DENY, report);
        let reason = table.text("reason", report);
        let when = table.text("when", report);
        let limit = table.table("limit", report).and_then(|limit| limit::read(&limit, report));
        let timeout = limit::timeout(table, report);
        let args = table.table("args", report).map(|args| args::read(&args, effect.unwrap_or(Effect::Allow), report));
        if !["tools", "resources", "resource_templates", "prompts", "methods"].iter().any(|key| table.has(key)) {
            let problem = table.problem("a rule must say what it is about", "lists nothing");
            report.error(
                problem
                    .help("add `tools`, `resources`, `resource_templates`, `prompts` or `methods`; `[\"*\"]` is all"),
            );
        }
        without_arguments(table, &subjects, report);
        let anonymous = table.flag("anonymous", report).is_some_and(Spanned::into_inner);
        if anonymous {
            without_token(table, args.as_ref().and_then(Option::as_ref), report);
        }
        let (id, effect) = (id?, effect?);
        misplaced(table, effect, step_up.as_ref(), report);
        Some(Self {
            id,
            effect,
            subjects,
            methods,
            scopes,
            scopes_any,
            issuers,
            on_deny,
            reason,
            mode,
            limit,
            timeout,
            when,
            args: match args {
                Some(args) => Some(Arc::new(args?)),
                None => None,
            },
            anonymous,
            place: place(table),
            step_up: step_up.is_none_or(Spanned::into_inner),
        })
    }
}

fn place(table: &Table<'_>) -> Place {
    let keys = table.entries().map(|(key, value)| (key.get_ref().as_str().into(), key.span().start..value.span().end));
    Place { span: table.span.clone(), keys: keys.collect() }
}

/// Reports `[rule.args]` in a rule for subjects without arguments: an allow rule would never match, a deny rule always.
fn without_arguments(table: &Table<'_>, subjects: &[(SubjectKind, Vec<Text>)], report: &mut Report<'_>) {
    let Some(span) = table.key_span("args") else { return };
    let have = |kind: &SubjectKind| matches!(kind, SubjectKind::Prompt | SubjectKind::Tool);
    if subjects.is_empty() || subjects.iter().any(|(kind, _)| !have(kind)) {
        let problem = Problem::error(table.source, span, "only tools and prompts have arguments", "");
        report.error(problem.help("give what the arguments are of a rule of its own, with `tools` or `prompts`"));
    }
}

/// Reports conditions that callers without a token can never meet in a rule for such callers.
fn without_token(table: &Table<'_>, args: Option<&Args>, report: &mut Report<'_>) {
    for key in ["scopes", "scopes_any", "issuer"] {
        if let Some(span) = table.key_span(key) {
            let message = format!("`{key}` means nothing in a rule for callers without a token");
            let problem = Problem::error(table.source, span, message, "they have none");
            report.error(problem.help("take it out, or give callers with a token a rule of their own"));
        }
    }
    if let Some(span) = table.key_span("args").filter(|_| args.is_some_and(Args::has_template)) {
        let problem = Problem::error(table.source, span, "a caller without a token has no claims", "");
        report.error(problem.help("write values out, or give callers with a token a rule of their own"));
    }
}

/// Reports keys that have no effect with the rule's effect.
fn misplaced(table: &Table<'_>, effect: Effect, step_up: Option<&Spanned<bool>>, report: &mut Report<'_>) {
    if effect == Effect::Deny {
        for key in ["limit", "timeout", "anonymous"] {
            if let Some(span) = table.key_span(key) {
                let message = format!("`{key}` means nothing in a deny rule");
                let problem = Problem::error(table.source, span, message, "nothing passes by it");
                report.error(problem.help("write it in the rule that allows"));
            }
        }
    }
    match (effect, step_up) {
        (Effect::Deny, Some(flag)) => {
            let problem = Problem::error(table.source, flag.span(), "a deny rule never asks for wider scopes", "");
            report.error(problem.help("take `step_up` out, or write it in the allow rule"));
        }
        (Effect::Deny, None) => {}
        (Effect::Allow, _) => {
            for key in ["on_deny", "reason"].into_iter().filter(|key| table.has(key)) {
                let span = table.key_span(key).unwrap_or(0..0);
                let message = format!("`{key}` has no effect in an allow rule");
                let problem = Problem::warning(table.source, span, message, "never shown");
                report.warning(problem.help("it says how a rule with `effect = \"deny\"` answers"));
            }
        }
    }
}

/// Reads the `id` of a rule or mask, which is used in the audit, in metrics and in answers.
fn id(table: &Table<'_>, what: &str, report: &mut Report<'_>) -> Option<Text> {
    if !table.has("id") {
        let problem = table.problem(format!("a {what} needs an `id`"), "");
        report.error(problem.help("short and telling, as in `id = \"crm-read\"`: answers and the audit name it"));
        return None;
    }
    let id = table.text("id", report)?;
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    if id.get_ref().len() > 64 || !id.get_ref().chars().all(allowed) {
        let problem = Problem::error(table.source, id.span(), format!("this cannot be the `id` of a {what}"), "");
        report.error(problem.help("up to 64 ASCII letters, digits, `-`, `_` and `.`"));
        return None;
    }
    Some(id)
}
