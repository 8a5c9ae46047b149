//! A `[[mask]]` as written.

use toml::Spanned;

use super::super::table::{Keys, Report, Table, Text, Words};
use super::id;
use crate::mask::{Blobs, Share, Treatment, Uris};
use crate::mcp::SubjectKind;

pub(in crate::policy) const MASK: Keys = Keys {
    table: "`[[mask]]`",
    known: &[
        "id",
        "on",
        "tools",
        "prompts",
        "resources",
        "entities",
        "pattern",
        "label",
        "near",
        "validate",
        "allow",
        "action",
        "keep_first",
        "keep_last",
        "char",
        "scope",
        "restore",
        "unless_scopes",
        "unless_groups",
        "except",
        "keys",
        "numbers",
        "uris",
        "blobs",
    ],
    later: &["when"],
};

pub(in crate::policy) const EXCEPT: Keys =
    Keys { table: "an exception", known: &["tools", "prompts", "resources", "fields"], later: &[] };

pub(in crate::policy) const GRANT: Keys =
    Keys { table: "a `restore` grant", known: &["tool", "args", "entities"], later: &[] };

const ON: Words<On> = Words { known: &[("arguments", On::Arguments), ("result", On::Result)], later: &[] };

const ACTION: Words<Action> = Words {
    known: &[
        ("redact", Action::Redact),
        ("mask", Action::Mask),
        ("hash", Action::Hash),
        ("tokenize", Action::Tokenize),
        ("block", Action::Block),
        ("report", Action::Report),
    ],
    later: &[],
};

const SHARE: Words<Share> = Words { known: &[("principal", Share::Principal), ("server", Share::Server)], later: &[] };

const TREATMENT: Words<Treatment> =
    Words { known: &[("mask", Treatment::Mask), ("refuse", Treatment::Refuse), ("pass", Treatment::Pass)], later: &[] };

const URIS: Words<Uris> =
    Words { known: &[("seal", Uris::Seal), ("refuse", Uris::Refuse), ("pass", Uris::Pass)], later: &[] };

const BLOBS: Words<Blobs> = Words { known: &[("pass", Blobs::Pass), ("block", Blobs::Block)], later: &[] };

/// The most characters a mask may keep at one end.
const KEEP: u8 = 64;

/// One `[[mask]]`.
pub(in crate::policy) struct Mask {
    pub(in crate::policy) id: Text,
    pub(in crate::policy) arguments: bool,
    pub(in crate::policy) result: bool,
    pub(in crate::policy) about: Vec<(SubjectKind, Vec<Text>)>,
    pub(in crate::policy) entities: Option<Vec<Text>>,
    pub(in crate::policy) pattern: Option<Text>,
    pub(in crate::policy) label: Option<Text>,
    pub(in crate::policy) near: Option<Vec<Text>>,
    pub(in crate::policy) validate: Option<Text>,
    pub(in crate::policy) allow: Vec<Text>,
    pub(in crate::policy) action: Action,
    pub(in crate::policy) keep_first: Option<Spanned<u8>>,
    pub(in crate::policy) keep_last: Option<Spanned<u8>>,
    pub(in crate::policy) char: Option<Text>,
    pub(in crate::policy) scope: Option<Text>,
    pub(in crate::policy) share: Option<Share>,
    pub(in crate::policy) restore: Vec<Grant>,
    pub(in crate::policy) unless_scopes: Vec<Text>,
    pub(in crate::policy) unless_groups: Vec<Text>,
    pub(in crate::policy) except: Vec<Except>,
    pub(in crate::policy) keys: Option<Treatment>,
    pub(in crate::policy) numbers: Option<Treatment>,
    pub(in crate::policy) uris: Option<Uris>,
    pub(in crate::policy) blobs: Option<Blobs>,
}

/// One table of `except`.
pub(in crate::policy) struct Except {
    pub(in crate::policy) about: Vec<(SubjectKind, Vec<Text>)>,
    pub(in crate::policy) fields: Vec<Text>,
}

/// One table of `restore`.
pub(in crate::policy) struct Grant {
    pub(in crate::policy) tool: Text,
    pub(in crate::policy) args: Vec<Text>,
    pub(in crate::policy) entities: Option<Vec<Text>>,
}

/// `action` of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Action {
    Block,
    Hash,
    Mask,
    Redact,
    Report,
    Tokenize,
}

/// One value of a mask's `on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Arguments,
    Result,
}

impl Mask {
    pub(super) fn read(table: &Table<'_>, report: &mut Report<'_>) -> Option<Self> {
        table.check(&MASK, report);
        let id = id(table, "mask", report);
        let on = on(table, report);
        let action = if table.has("action") { table.word("action", &ACTION, report) } else { Some(Action::Redact) };
        check_sought(table, report);
        let scope = table.text("scope", report);
        let mask = Self {
            arguments: on.contains(&On::Arguments),
            result: on.contains(&On::Result),
            about: about(table, report),
            entities: table.texts("entities", report),
            pattern: table.text("pattern", report),
            label: table.text("label", report),
            near: table.texts("near", report),
            validate: table.text("validate", report),
            allow: table.texts("allow", report).unwrap_or_default(),
            keep_first: table.count("keep_first", KEEP, report),
            keep_last: table.count("keep_last", KEEP, report),
            char: table.text("char", report),
            share: scope.as_ref().and_then(|text| table.meaning("scope", text, &SHARE, report)),
            scope,
            restore: grants(table, report),
            unless_scopes: table.texts("unless_scopes", report).unwrap_or_default(),
            unless_groups: table.texts("unless_groups", report).unwrap_or_default(),
            except: exceptions(table, report),
            keys: table.word("keys", &TREATMENT, report),
            numbers: table.word("numbers", &TREATMENT, report),
            uris: table.word("uris", &URIS, report),
            blobs: table.word("blobs", &BLOBS, report),
            id: id?,
            action: action?,
        };
        Some(mask)
    }
}

fn on(table: &Table<'_>, report: &mut Report<'_>) -> Vec<On> {
    if !table.has("on") {
        let problem = table.problem("a mask must say where it looks", "");
        report.error(problem.help("add `on = [\"result\"]`, `[\"arguments\"]` or both"));
    }
    let on = table.texts("on", report).unwrap_or_default();
    on.iter().filter_map(|text| table.meaning("on", text, &ON, report)).collect()
}

fn check_sought(table: &Table<'_>, report: &mut Report<'_>) {
    if table.has("entities") == table.has("pattern") {
        let message = if table.has("pattern") {
            "a mask has either `entities` or a `pattern`"
        } else {
            "a mask must say what it looks for"
        };
        let help = "add `entities = [\"EMAIL_ADDRESS\"]`, or a `pattern` with a `label`; each pattern is a mask";
        report.error(table.problem(message, "").help(help));
    }
}

fn about(table: &Table<'_>, report: &mut Report<'_>) -> Vec<(SubjectKind, Vec<Text>)> {
    [(SubjectKind::Tool, "tools"), (SubjectKind::Prompt, "prompts"), (SubjectKind::Resource, "resources")]
        .into_iter()
        .filter_map(|(kind, key)| Some((kind, table.texts(key, report)?)))
        .collect()
}

fn exceptions(table: &Table<'_>, report: &mut Report<'_>) -> Vec<Except> {
    let mut exceptions = Vec::new();
    for except in table.tables("except", report) {
        except.check(&EXCEPT, report);
        let read = Except { about: about(&except, report), fields: except.texts("fields", report).unwrap_or_default() };
        if !["tools", "prompts", "resources", "fields"].iter().any(|key| except.has(key)) {
            let problem = except.problem("an exception must say what it is about", "excepts everything");
            report.error(problem.help("`except = [{ tools = [\"get_file\"], fields = [\"/download_url\"] }]`"));
        }
        exceptions.push(read);
    }
    exceptions
}

fn grants(table: &Table<'_>, report: &mut Report<'_>) -> Vec<Grant> {
    let mut grants = Vec::new();
    for grant in table.tables("restore", report) {
        grant.check(&GRANT, report);
        for key in ["tool", "args"].into_iter().filter(|key| !grant.has(key)) {
            let problem = grant.problem(format!("a `restore` grant needs `{key}`"), "");
            report.error(
                problem
                    .help("`restore = [{ tool = \"send_mail\", args = [\"/to\"], entities = [\"EMAIL_ADDRESS\"] }]`"),
            );
        }
        let (tool, args) = (grant.text("tool", report), grant.texts("args", report));
        let entities = grant.texts("entities", report);
        if let (Some(tool), Some(args)) = (tool, args) {
            grants.push(Grant { tool, args, entities });
        }
    }
    grants
}
