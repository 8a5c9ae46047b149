//! Reads a `[[test]]` table into a [`Case`], or reports everything that is wrong with it.

use std::ops::Range;

use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::super::lock::{Lock, canonical};
use super::super::table::{Keys, Report, Table, Text, Words, json_of};
use super::{At, Case, Client, Expect, NOON, Verdict, Would};
use crate::config::Problem;
use crate::json::{Document, Limits};
use crate::mcp::{Access, SubjectKind, compose, methods};
use crate::trial::{self, Call};

pub(in crate::policy) const TEST: Keys = Keys {
    table: "`[[test]]`",
    known: &[
        "name",
        "claims",
        "issuer",
        "scopes",
        "anonymous",
        "client",
        "untrusted",
        "now",
        "approved",
        "call",
        "definitions",
        "result",
        "expect",
    ],
    later: &[],
};

pub(in crate::policy) const CALL: Keys = Keys {
    table: "`call`",
    known: &["tool", "resource", "resource_template", "prompt", "method", "list", "args"],
    later: &[],
};

pub(in crate::policy) const EXPECT: Keys = Keys {
    table: "`expect`",
    known: &["decision", "rule", "scopes", "arguments", "result", "listed", "would"],
    later: &[],
};

pub(in crate::policy) const WOULD: Keys = Keys { table: "`would`", known: &["decision", "rule"], later: &[] };

const DECISION: Words<Verdict> =
    Words { known: &[("allow", Verdict::Allow), ("deny", Verdict::Deny), ("step_up", Verdict::StepUp)], later: &[] };

const LIST: Words<SubjectKind> = Words {
    known: &[
        ("tools", SubjectKind::Tool),
        ("resources", SubjectKind::Resource),
        ("resource_templates", SubjectKind::ResourceTemplate),
        ("prompts", SubjectKind::Prompt),
    ],
    later: &[],
};

const USES: [(&str, SubjectKind); 4] = [
    ("tool", SubjectKind::Tool),
    ("resource", SubjectKind::Resource),
    ("resource_template", SubjectKind::ResourceTemplate),
    ("prompt", SubjectKind::Prompt),
];

impl Case {
    /// Reads one table; `None` if the case cannot be run. Every problem goes to `report`.
    pub(in crate::policy) fn read(table: &Table<'_>, report: &mut Report<'_>) -> Option<Self> {
        table.check(&TEST, report);
        if !table.has("name") {
            report.error(table.problem("a test needs a `name`", "").help("a sentence: `name = \"reader may search\"`"));
        }
        let name = table.text("name", report);
        let anonymous = table.flag("anonymous", report).is_some_and(Spanned::into_inner);
        let claims = if anonymous { no_claims(table, report) } else { claims(table, report) };
        let (claims, scopes) = claims.unzip();
        let issuer = table.text("issuer", report).map(plain);
        let now = if table.has("now") { table.moment("now", report) } else { Some(NOON) };
        let client = Client::read(table, report);
        let approved = if table.has("approved") { approved(table, report).map(Some) } else { Some(None) };
        let call = call(table, report);
        let result = call.as_ref().and_then(|call| result(table, call, report));
        let expect = expect(table, call.as_ref(), report);
        Some(Self {
            source: table.source.clone(),
            span: table.span.clone(),
            name: plain(name?),
            claims: claims?,
            scopes: scopes?,
            anonymous,
            issuer,
            client: client?,
            approved: approved?,
            call: call?,
            now: now?,
            result,
            expect: expect?,
        })
    }
}

fn plain(text: Text) -> Box<str> {
    text.into_inner().into()
}

/// The claims of a caller's token, and its scopes if given apart from them.
type Claims = (Map<String, Value>, Option<Vec<Box<str>>>);

/// Reports claims of a caller without a token.
fn no_claims(table: &Table<'_>, report: &mut Report<'_>) -> Option<Claims> {
    let written = ["claims", "scopes", "issuer"].into_iter().filter_map(|key| Some((key, table.key_span(key)?)));
    let mut sound = true;
    for (key, span) in written {
        let message = format!("`{key}` has no meaning beside `anonymous`");
        report.error(Problem::error(table.source, span, message, "a caller without a token has none"));
        sound = false;
    }
    sound.then(Claims::default)
}

fn claims(table: &Table<'_>, report: &mut Report<'_>) -> Option<Claims> {
    let mut claims = match table.value("claims") {
        None => Map::new(),
        Some(value) => object(table, "claims", value, report)?,
    };
    if !table.has("claims") && !table.has("scopes") {
        let problem = table.problem("a test must say who calls", "");
        report.error(problem.help(
            "add `claims = { sub = \"ana\", scope = \"crm:read\" }`, `scopes = [\"crm:read\"]`, or `anonymous = true`",
        ));
        return None;
    }
    let mut held = None;
    if let Some(scopes) = table.value("scopes") {
        let scopes = table.any_strings("scopes", scopes, report)?;
        if claims.contains_key("scope") {
            let problem = table.problem("`scopes` and `claims.scope` say the same thing twice", "");
            report.error(problem.help("take one of them out"));
        }
        let scopes: Vec<String> = scopes.into_iter().map(Text::into_inner).collect();
        claims.insert("scope".to_owned(), scopes.join(" ").into());
        held = Some(scopes.into_iter().map(Box::from).collect());
    }
    if let Err(message) = trial::caller(claims.clone(), trial::IssuedBy::Named("")) {
        let span = table.value("claims").map_or(table.span.clone(), Spanned::span);
        report.error(Problem::error(table.source, span, "no token has such claims", message));
        return None;
    }
    Some((claims, held))
}

fn call(table: &Table<'_>, report: &mut Report<'_>) -> Option<Call> {
    if !table.has("call") {
        let problem = table.problem("a test must say what is called", "");
        report.error(problem.help("add `call = { tool = \"get_contact\", args = { id = 7 } }`"));
    }
    let call = table.table("call", report)?;
    call.check(&CALL, report);
    let args = match call.value("args") {
        Some(value) => Some(object(&call, "args", value, report)?),
        None => None,
    };
    let mut about = USES.iter().map(|(key, _)| *key).chain(["method", "list"]).filter(|key| call.has(key));
    let (Some(key), None) = (about.next(), about.next()) else {
        let problem = call.problem("a call is about exactly one thing", "");
        report
            .error(problem.help("write one of `tool`, `resource`, `resource_template`, `prompt`, `method` and `list`"));
        return None;
    };
    if let Some((key, kind)) = USES.into_iter().find(|(use_of, _)| *use_of == key) {
        let takes_args = matches!(kind, SubjectKind::Tool | SubjectKind::Prompt);
        refuse_args(&call, takes_args, key, report);
        return Some(Call::Use { kind, name: plain(call.text(key, report)?), args });
    }
    refuse_args(&call, false, key, report);
    if key == "list" {
        return call.word("list", &LIST, report).map(Call::List);
    }
    let method = call.text("method", report)?;
    let access = methods::find(method.get_ref()).map(|method| method.access);
    if matches!(access, Some(Access::Subject { .. } | Access::Completion)) {
        let problem = Problem::error(call.source, method.span(), "this method is decided by what it is about", "");
        report.error(problem.help("write `tool`, `resource`, `resource_template` or `prompt` with its name instead"));
        return None;
    }
    Some(Call::Method(plain(method)))
}

fn refuse_args(call: &Table<'_>, takes_args: bool, key: &str, report: &mut Report<'_>) {
    if let Some(args) = call.value("args").filter(|_| !takes_args) {
        let message = format!("`args` has no meaning beside `{key}`");
        report.error(Problem::error(call.source, args.span(), message, "only tools and prompts have arguments"));
    }
}

/// The upstream's answer: `result`, or a list of `definitions`.
fn result(table: &Table<'_>, call: &Call, report: &mut Report<'_>) -> Option<Value> {
    if let Some(value) = table.value("definitions") {
        return definitions(table, value, call, report);
    }
    let value = table.value("result")?;
    match (value.get_ref(), call) {
        (DeValue::String(text), Call::Use { kind, name, .. }) => Some(compose::text_result(*kind, name, text)),
        (DeValue::Table(_), _) => object(table, "result", value, report).map(Value::Object),
        _ => {
            let problem = Problem::error(table.source, value.span(), "this cannot be the `result` of the call", "");
            report.error(
                problem.help("a text, for what one tool, resource or prompt answers; else the whole result as a table"),
            );
            None
        }
    }
}

/// The answer to a list request with these names or definitions.
fn definitions(table: &Table<'_>, value: &Spanned<DeValue<'_>>, call: &Call, report: &mut Report<'_>) -> Option<Value> {
    let list = match call {
        Call::List(_) => call.method().and_then(|method| method.list),
        Call::Method(_) | Call::Use { .. } => None,
    };
    let (Some(list), Some(items)) = (list, value.get_ref().as_array()) else {
        let problem = Problem::error(table.source, value.span(), "`definitions` are what a list is filtered from", "");
        report.error(problem.help("write `call = { list = \"tools\" }` and `definitions = [\"get_contact\", …]`"));
        return None;
    };
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        let definition = match json_of(item.get_ref()) {
            Some(Value::String(name)) if list.kind == SubjectKind::Tool => compose::named(&name),
            Some(Value::String(name)) => json!({ list.key: name }),
            Some(definition @ Value::Object(_)) => definition,
            _ => {
                let message = "a definition is a name, or a table as the server lists it";
                report.error(Problem::error(table.source, item.span(), message, ""));
                return None;
            }
        };
        all.push(definition);
    }
    Some(json!({ list.items: all }))
}

/// The approved definitions, as a lock.
fn approved(table: &Table<'_>, report: &mut Report<'_>) -> Option<Lock> {
    let value = table.value("approved")?;
    let mut refuse = |span: Range<usize>, message: &str| {
        let problem = Problem::error(table.source, span, message, "");
        report.error(
            problem.help("write `approved = [{ name = \"get_contact\", annotations = { readOnlyHint = true } }]`"),
        );
    };
    let Some(items) = value.get_ref().as_array() else {
        refuse(value.span(), "`approved` is a list of definitions");
        return None;
    };
    let mut lock = Lock::default();
    for item in items {
        let definition = json_of(item.get_ref()).filter(Value::is_object);
        let named = definition.as_ref().and_then(|definition| definition.get("name")?.as_str());
        let Some((name, text)) = named.zip(definition.as_ref().map(Value::to_string)) else {
            refuse(item.span(), "an approved definition is a table with the tool's `name`, as the server lists it");
            return None;
        };
        if lock.definition(name).is_some() {
            refuse(item.span(), "the tool is approved twice");
            return None;
        }
        let document = Document::parse(text.into(), &Limits::ANSWER).ok()?;
        lock.approve(name, canonical(document.root()));
    }
    Some(lock)
}

fn expect(table: &Table<'_>, call: Option<&Call>, report: &mut Report<'_>) -> Option<Expect> {
    if !table.has("expect") {
        let problem = table.problem("a test must say what it expects", "");
        report.error(problem.help("add `expect = { decision = \"allow\", rule = \"crm-read\" }`"));
    }
    let expect = table.table("expect", report)?;
    expect.check(&EXPECT, report);
    let lists = matches!(call, Some(Call::List(_)));
    let decision = if expect.has("decision") || !lists {
        if !expect.has("decision") {
            let problem = expect.problem("`expect` must say the `decision`", "");
            report.error(problem.help("`decision = \"allow\"`, `\"deny\"` or `\"step_up\"`"));
        }
        expect.word("decision", &DECISION, report).map(|value| At { span: span(&expect, "decision"), value })
    } else {
        // Every caller may list; only what the list shows matters.
        Some(At { span: expect.span.clone(), value: Verdict::Allow })
    };
    let rule = expect.text("rule", report).map(|text| At { span: text.span(), value: plain(text) });
    let texts = |key: &'static str, report: &mut Report<'_>| -> Option<At<Vec<Box<str>>>> {
        let texts = expect.any_strings(key, expect.value(key)?, report)?;
        Some(At { span: span(&expect, key), value: texts.into_iter().map(plain).collect() })
    };
    let (scopes, listed) = (texts("scopes", report), texts("listed", report));
    let values = |key: &'static str, report: &mut Report<'_>| -> Option<At<Value>> {
        let value = expect.value(key)?;
        let found = json_of(value.get_ref());
        if found.is_none() {
            report.error(out_of_range(&expect, key, value));
        }
        Some(At { span: value.span(), value: found? })
    };
    let (arguments, result) = (values("arguments", report), values("result", report));
    let would = would(&expect, report);
    let decision = decision?;
    unanswerable(table, &expect, decision.value, lists, report);
    Some(Expect { decision, rule, scopes, arguments, result, would, listed })
}

fn would(expect: &Table<'_>, report: &mut Report<'_>) -> Option<Would> {
    let would = expect.table("would", report)?;
    would.check(&WOULD, report);
    if !would.has("decision") {
        let problem = would.problem("`would` must say the `decision`", "");
        report.error(problem.help("what is decided once rules in shadow are enforced: `{ decision = \"deny\" }`"));
    }
    let rule = would.text("rule", report).map(|text| At { span: text.span(), value: plain(text) });
    let decision = would.word("decision", &DECISION, report)?;
    Some(Would { decision: At { span: span(&would, "decision"), value: decision }, rule })
}

/// Reports expectations that cannot be met.
fn unanswerable(table: &Table<'_>, expect: &Table<'_>, decision: Verdict, lists: bool, report: &mut Report<'_>) {
    let answered = table.has("result") || table.has("definitions");
    let allowed = decision == Verdict::Allow;
    for (key, wrong, help) in [
        ("scopes", decision != Verdict::StepUp, "only `decision = \"step_up\"` names scopes"),
        ("arguments", !allowed, "only what is allowed reaches the upstream"),
        ("result", !answered, "give the test a `result` of the upstream to be masked"),
        ("listed", !lists || !answered, "write `call = { list = \"tools\" }` and the `definitions` to choose from"),
    ] {
        if let Some(value) = expect.value(key).filter(|_| wrong) {
            let message = format!("`{key}` cannot be expected here");
            report.error(Problem::error(expect.source, value.span(), message, "").help(help));
        }
    }
}

fn span(table: &Table<'_>, key: &str) -> Range<usize> {
    table.value(key).map_or(table.span.clone(), Spanned::span)
}

fn object(
    table: &Table<'_>,
    key: &'static str,
    value: &Spanned<DeValue<'_>>,
    report: &mut Report<'_>,
) -> Option<Map<String, Value>> {
    table.table(key, report)?;
    if let Some(Value::Object(members)) = json_of(value.get_ref()) {
        return Some(members);
    }
    report.error(out_of_range(table, key, value));
    None
}

fn out_of_range(table: &Table<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Problem {
    let message = format!("`{key}` holds a number no JSON message can carry");
    Problem::error(table.source, value.span(), message, "")
}
