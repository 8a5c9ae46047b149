use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::super::Policy;
use super::super::candidates::RuleIndex;
use super::super::decide::{TableBuilder, Tables};
use super::super::explain::Written;
use super::super::glob::{Pattern, Separator};
use super::super::limit::Limit;
use super::super::raw::{self, File, Mode};
use super::super::rule::{Conditions, Effect, Methods, Rule};
use super::super::scopes::{Demand, Hierarchy, OFFLINE_ACCESS, Required};
use super::super::table::{Report, Text, advice};
use super::super::when::When;
use super::expressions::Expressions;
use super::{Loaded, unique};
use crate::clock::Timestamp;
use crate::config::{Problem, Source};
use crate::mcp::{SubjectKind, methods};

/// The longest `reason`, in bytes.
const REASON: usize = 500;

/// The issuers of a rule.
#[derive(Debug)]
pub(super) struct Issued {
    source: Arc<Source>,
    /// The span of the rule's `id`.
    span: Range<usize>,
    id: Arc<str>,
    allows: bool,
    issuers: Vec<Text>,
}

impl Issued {
    /// The rule's `id` and its place.
    pub(super) fn place(&self) -> (&Arc<str>, &Arc<Source>, Range<usize>) {
        (&self.id, &self.source, self.span.clone())
    }
}

/// Compiles the rules of all files, in order, into one policy.
pub(super) fn compile(files: &[File], report: &mut Report<'_>) -> (Policy, Vec<Issued>) {
    let mut compiler = Compiler { hierarchy: hierarchy(files, report), ..Compiler::default() };
    let expressions = Expressions::compile(files);
    for file in files {
        for rule in &file.rules {
            let when = expressions.of(rule, &file.source, report);
            compiler.rule(rule, when, file, report);
        }
    }
    let advertised = advertised(&compiler.rules);
    let demands: Vec<&Demand> = compiler.rules.iter().map(|rule| &rule.demand).collect();
    let tables = compiler.tables.map(|table| table.build(&demands));
    let looks_at = |variable| move |rule: &Rule| rule.conditions.as_ref().is_some_and(|asked| asked.look_at(variable));
    let asks_untrusted = compiler.rules.iter().any(looks_at("untrusted"));
    let minds_definitions = compiler.rules.iter().any(|rule| rule.args().is_some() || looks_at("tool")(rule));
    let policy = Policy {
        asks_untrusted,
        anonymous: compiler.rules.iter().filter(|rule| rule.anonymous).map(in_force).min(),
        anonymous_limit: None,
        has_shadow: compiler.rules.iter().any(|rule| rule.shadow.is_some()),
        minds_definitions,
        baseline: baseline(files, &compiler.rules, report),
        limits: compiler.limits,
        timeouts: compiler.timeouts,
        counted: Arc::default(),
        rules: compiler.rules.into(),
        written: compiler.written.into(),
        tables,
        methods: compiler.methods,
        list: files.iter().filter_map(|file| file.settings.list).max().unwrap_or_default(),
        on_deny: files.iter().find_map(|file| file.settings.on_deny).unwrap_or_default(),
        advertised,
    };
    (policy, compiler.issued)
}

/// The smallest set of scopes an allow rule requires, the first among equals; rules that require none do not count.
fn advertised(rules: &[Rule]) -> Box<[Box<str>]> {
    let allow = rules.iter().filter(|rule| rule.effect == Effect::Allow);
    let sets = allow.map(|rule| rule.demand.advertised()).filter(|set| !set.is_empty());
    sets.min_by_key(Vec::len).unwrap_or_default().into()
}

/// The hierarchy of the `[scopes]` tables of all files. Reports cycles.
fn hierarchy(files: &[File], report: &mut Report<'_>) -> Hierarchy {
    let mut hierarchy = Hierarchy::default();
    for file in files {
        for (broad, narrow) in &file.scopes {
            is_scope(broad, &file.source, report);
            for narrow in narrow {
                is_scope(narrow, &file.source, report);
                let Err(circle) = hierarchy.imply(broad.get_ref(), narrow.get_ref()) else { continue };
                let circle: Vec<String> = circle.iter().map(|scope| format!("`{scope}`")).collect();
                let problem = Problem::error(
                    &file.source,
                    narrow.span(),
                    format!("scopes imply each other in a circle: {}", circle.join(" > ")),
                    "closes the circle",
                );
                report.error(problem.help("a scope stands left of those it includes; take this one out"));
            }
        }
    }
    hierarchy
}

/// Whether it is a scope (RFC 6749 section 3.3): `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`. Reports it if not.
pub(super) fn is_scope(scope: &Text, source: &Arc<Source>, report: &mut Report<'_>) -> bool {
    let fits = scope.get_ref().bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    if !fits {
        let problem = Problem::error(source, scope.span(), "this cannot be a scope", "");
        report.error(problem.help("one scope a string, of printable ASCII without blanks, `\"` and `\\`"));
    }
    fits
}

#[derive(Default)]
struct Compiler {
    hierarchy: Hierarchy,
    rules: Vec<Rule>,
    written: Vec<Written>,
    limits: HashMap<Arc<str>, Limit>,
    timeouts: HashMap<Arc<str>, Duration>,
    tables: Tables<TableBuilder>,
    methods: HashSet<Box<str>>,
    ids: HashMap<Arc<str>, (Arc<Source>, Range<usize>)>,
    issued: Vec<Issued>,
}

impl Compiler {
    fn rule(&mut self, raw: &raw::Rule, when: Option<Arc<When>>, file: &File, report: &mut Report<'_>) {
        let source = &file.source;
        let id = unique(&mut self.ids, &raw.id, "rule", source, report);
        let methods = patterns(&raw.methods, Separator::None, source, report);
        if raw.anonymous {
            for_anyone(&raw.methods, source, report);
        }
        let at = RuleIndex::try_from(self.rules.len()).unwrap_or(RuleIndex::MAX);
        let mut subjects = Vec::with_capacity(raw.subjects.len());
        for (kind, globs) in &raw.subjects {
            let patterns = patterns(globs, separator(*kind), source, report);
            self.subject(*kind, &patterns, raw.effect, at);
            subjects.push((*kind, patterns.into()));
        }
        self.written.push(Written { source: Arc::clone(source), place: raw.place.clone(), subjects: subjects.into() });
        if raw.subjects.is_empty() {
            add(self.tables.of_mut(None), &methods, raw.effect, at);
        }
        self.methods.extend(methods.iter().filter_map(|pattern| match pattern {
            Pattern::Exact(name) => Some(name.clone()),
            Pattern::Wild(_) => None,
        }));
        let folded =
            if raw.effect == Effect::Deny { methods.iter().map(Pattern::folded).collect() } else { Box::default() };
        self.issued.push(Issued {
            source: Arc::clone(source),
            span: raw.id.span(),
            id: Arc::clone(&id),
            // A rule for callers without a token needs no issuer.
            allows: raw.effect == Effect::Allow && !raw.anonymous,
            issuers: raw.issuers.clone(),
        });
        let rule = Rule {
            id,
            effect: raw.effect,
            shadow: shadow(raw, file),
            conditions: conditions(raw, when),
            methods: Methods { exact: methods.into(), folded },
            issuers: raw.issuers.iter().map(|name| name.get_ref().as_str().into()).collect(),
            demand: self.demand(raw, source, report),
            anonymous: raw.anonymous,
            step_up: raw.step_up,
            on_deny: raw.on_deny.or(file.settings.on_deny).unwrap_or_default(),
            reason: reason(raw, source, report),
        };
        if let Some(spec) = &raw.limit {
            self.limits.insert(Arc::clone(&rule.id), Limit::new(spec.clone()));
        }
        if let Some(timeout) = raw.timeout {
            self.timeouts.insert(Arc::clone(&rule.id), timeout);
        }
        self.rules.push(rule);
    }

    /// Adds the patterns of a rule to the tables. Templates are subjects of their own, but what is denied as a resource is also
    /// denied as a template, or completion on it would be a side door.
    fn subject(&mut self, kind: SubjectKind, patterns: &[Pattern], effect: Effect, at: RuleIndex) {
        add(self.tables.of_mut(Some(kind)), patterns, effect, at);
        if kind == SubjectKind::Resource && effect == Effect::Deny {
            add(self.tables.of_mut(Some(SubjectKind::ResourceTemplate)), patterns, effect, at);
        }
    }

    fn demand(&self, raw: &raw::Rule, source: &Arc<Source>, report: &mut Report<'_>) -> Demand {
        let mut required = |scopes: &[Text]| -> Box<[Required]> {
            for scope in scopes {
                if let Some(problem) = super::doubts::scope(scope, source) {
                    report.warning(problem);
                }
                if is_scope(scope, source, report) && scope.get_ref() == OFFLINE_ACCESS {
                    let message = "`offline_access` asks an issuer for a refresh token; it permits nothing";
                    let problem = Problem::warning(source, scope.span(), message, "not a permission");
                    report.warning(problem.help("clients add it themselves; take it out"));
                }
            }
            scopes.iter().map(|scope| self.hierarchy.required(scope.get_ref())).collect()
        };
        Demand { all: required(&raw.scopes), any: required(&raw.scopes_any) }
    }
}

/// The time until which the rule is in shadow, if it is.
fn shadow(raw: &raw::Rule, file: &File) -> Option<Timestamp> {
    let mode = raw.mode.or(file.settings.mode).unwrap_or(Mode::Enforce);
    (mode == Mode::Shadow).then(|| file.settings.shadow_until.unwrap_or(Timestamp::NEVER))
}

/// Reports methods that callers without a token can never use, as what the methods create would belong to nobody.
fn for_anyone(methods: &[Text], source: &Arc<Source>, report: &mut Report<'_>) {
    for method in methods {
        let Some(listed) = methods::find(method.get_ref()).filter(|listed| !methods::is_for_anyone(listed)) else {
            continue;
        };
        let message = format!("`{}` is not for callers without a token", listed.name);
        let problem = Problem::error(source, method.span(), message, "what comes of it would be nobody's");
        report.error(problem.help("give callers with a token a rule of their own for it"));
    }
}

/// The time from which the rule takes effect.
fn in_force(rule: &Rule) -> Timestamp {
    rule.shadow.unwrap_or(Timestamp::from_unix_seconds(0))
}

/// Whether everything listed is allowed while every rule is in shadow. Otherwise everything would be denied, which nobody who
/// tries rules in shadow wants; so the setting is required then, together with an end.
fn baseline(files: &[File], rules: &[Rule], report: &mut Report<'_>) -> bool {
    let mut written = files.iter().filter_map(|file| Some((file, file.settings.baseline.clone()?))).peekable();
    let all = !rules.is_empty() && rules.iter().all(|rule| rule.shadow.is_some());
    let limited = rules.iter().all(|rule| rule.shadow != Some(Timestamp::NEVER));
    let Some((file, span)) = written.peek().cloned() else {
        if let Some(file) = files.first().filter(|_| all) {
            let message = "every rule is in shadow, so that nothing would be allowed";
            let problem = Problem::error(&file.source, 0..0, message, "");
            report.error(problem.help(
                "write `baseline = \"allow_listed\"` and `shadow_until = 2026-01-05T00:00:00Z` under `[policy]`, or enforce a rule",
            ));
        }
        return false;
    };
    if !all {
        let message = "`baseline` is for a server whose every rule is in shadow";
        let problem = Problem::error(&file.source, span, message, "a rule is enforced");
        report.error(problem.help("take it out: what no enforced rule allows is denied"));
    } else if !limited {
        let problem = Problem::error(&file.source, span, "`baseline` needs an end", "");
        report.error(
            problem.help("add `shadow_until = 2026-01-05T00:00:00Z` to every file; from then on rules are enforced"),
        );
    }
    all && limited
}

/// The rule's conditions besides names, issuers and scopes, if any.
fn conditions(raw: &raw::Rule, when: Option<Arc<When>>) -> Option<Box<Conditions>> {
    let args = raw.args.clone();
    (args.is_some() || when.is_some()).then(|| Box::new(Conditions { args, when }))
}

fn add(table: &mut TableBuilder, patterns: &[Pattern], effect: Effect, at: RuleIndex) {
    for pattern in patterns {
        match effect {
            Effect::Allow => table.allow.add(pattern.clone(), at),
            Effect::Deny => {
                table.folded.add(pattern.folded(), at);
                table.deny.add(pattern.clone(), at);
            }
        }
    }
}

pub(super) const fn separator(kind: SubjectKind) -> Separator {
    match kind {
        SubjectKind::Prompt | SubjectKind::Tool => Separator::None,
        SubjectKind::Resource | SubjectKind::ResourceTemplate => Separator::Slash,
    }
}

pub(super) fn patterns(
    globs: &[Text],
    separator: Separator,
    source: &Arc<Source>,
    report: &mut Report<'_>,
) -> Vec<Pattern> {
    let mut patterns = Vec::with_capacity(globs.len());
    for glob in globs {
        match Pattern::parse(glob.get_ref(), separator) {
            Ok(more) => {
                if separator == Separator::None
                    && let Some(problem) = super::doubts::glob(glob, source)
                {
                    report.warning(problem);
                }
                patterns.extend(more);
            }
            Err(error) => {
                // In a plain string of one line, content and source are the same; otherwise the whole value is shown.
                let (whole, text) = (glob.span(), glob.get_ref());
                let plain = whole.len() == text.len() + 2;
                let start = whole.start + 1;
                let span = if plain { start + error.span.start..start + error.span.end } else { whole };
                let problem = Problem::error(source, span, error.kind.to_string(), "");
                report.error(problem.help(error.kind.help()));
            }
        }
    }
    patterns
}

fn reason(raw: &raw::Rule, source: &Arc<Source>, report: &mut Report<'_>) -> Option<Arc<str>> {
    let reason = raw.reason.as_ref()?;
    let text = reason.get_ref();
    if text.len() > REASON || text.chars().any(char::is_control) {
        let message = format!("a `reason` is one line of at most {REASON} bytes");
        report.error(Problem::error(source, reason.span(), message, ""));
    }
    Some(text.as_str().into())
}

impl Loaded {
    /// Compares the rules with the issuers that `proxy.toml` accepts for the server. A rule may name only these, and with
    /// several of them every allow rule must name some, since two issuers may use one scope for different things. With an error
    /// the policy denies everything.
    pub fn check_issuers(&mut self, issuers: &[Arc<str>], problems: &mut crate::config::Problems) {
        let mut report = Report::new(problems);
        for rule in &self.issued {
            for name in rule.issuers.iter().filter(|name| !issuers.iter().any(|it| **it == **name.get_ref())) {
                let message = format!("the server takes no callers from an issuer `{}`", name.get_ref());
                let problem = Problem::error(&rule.source, name.span(), message, "not among its `issuers`");
                report.error(problem.help(advice(name.get_ref(), issuers.iter().map(|it| &**it))));
            }
            if issuers.len() > 1 && rule.allows && rule.issuers.is_empty() {
                let message = format!("the allow rule `{}` does not say which issuer's callers it is for", rule.id);
                let problem =
                    Problem::error(&rule.source, rule.span.clone(), message, "the server has several issuers");
                report.error(problem.help(format!("add `issuer = [\"{}\"]`", issuers.join("\", \""))));
            }
        }
        if report.failed() {
            self.policy = Policy::default();
        }
    }
}
