//! Writes the observed use as a policy file.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::used::{ANONYMOUS, Name, Sets, Used};
use crate::mcp::SubjectKind;

const HEAD: &str = "\
# Learnt from an audit file: every name that was used, with the scopes every caller of it had.
# Whether that file was changed was not verified. Read this before you use it, and write globs where a name stands for many.

";

/// Longest id of a rule.
const ID: usize = 64;

#[derive(Serialize)]
struct File {
    policy: Policy,
    rule: Vec<Rule>,
    test: Vec<Test>,
}

#[derive(Serialize)]
struct Policy {
    name: String,
}

#[derive(Default, Serialize)]
struct Rule {
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_templates: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prompts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_any: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issuer: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    anonymous: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[derive(Serialize)]
struct Test {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_false")]
    anonymous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    call: BTreeMap<&'static str, String>,
    expect: Expect,
}

#[derive(Serialize)]
struct Expect {
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
}

/// What callers must hold, and whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Demand {
    scopes: Vec<Box<str>>,
    any: Vec<Box<str>>,
    issuer: Option<Box<str>>,
    /// Whether they need no token.
    anonymous: bool,
}

/// The file; `None` if nothing was used.
pub(super) fn write(used: &Used) -> Option<String> {
    // A list of methods beside subjects would narrow them, so methods have rules of their own.
    let mut rules: BTreeMap<(bool, Demand), Vec<&Name>> = BTreeMap::new();
    for (name, issuers) in &used.names {
        // What is open to anybody is open to all of them.
        let anybody = issuers.contains_key(ANONYMOUS);
        for (issuer, sets) in issuers.iter().filter(|(issuer, _)| !anybody || ***issuer == *ANONYMOUS) {
            let (scopes, any) = demand(sets);
            let anonymous = **issuer == *ANONYMOUS;
            let issuer = (used.known_issuers() > 1 && !anonymous).then(|| issuer.clone());
            let of_methods = matches!(name, Name::Method(_));
            let names = rules.entry((of_methods, Demand { scopes, any, issuer, anonymous })).or_default();
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
    }
    if rules.is_empty() {
        return None;
    }
    let mut file = File { policy: Policy { name: used.server().to_owned() }, rule: Vec::new(), test: Vec::new() };
    let mut ids = BTreeSet::new();
    for ((_, demand), names) in &rules {
        let id = id(used.server(), demand, &mut ids);
        file.test.extend(tests(&id, demand, names));
        file.rule.push(rule(id, demand, names));
    }
    file.test.push(unused(&file, used));
    let text = toml::to_string(&file).ok()?;
    Some(format!("{HEAD}{text}"))
}

/// What was denied to callers whom the file allows it, with how often: something was asked of them that the audit does not
/// tell, such as arguments or claims.
pub(super) fn opened(used: &Used) -> Vec<(&Name, u64)> {
    let count = |name: &Name, issuers: &BTreeMap<Box<str>, Sets>| -> u64 {
        let denied = used.denied.get(name).into_iter().flatten();
        let allowed = denied.filter(|((issuer, held), _)| {
            issuers.iter().any(|(of, sets)| {
                let (scopes, any) = demand(sets);
                (**of == *ANONYMOUS || of == issuer)
                    && scopes.iter().all(|scope| held.contains(scope))
                    && (any.is_empty() || any.iter().any(|scope| held.contains(scope)))
            })
        });
        allowed.map(|(_, count)| *count).sum()
    };
    let names = used.names.iter().map(|(name, issuers)| (name, count(name, issuers)));
    names.filter(|(_, count)| *count > 0).collect()
}

/// The scopes all callers had; where they had none in common, scopes of which each had one.
fn demand(sets: &Sets) -> (Vec<Box<str>>, Vec<Box<str>>) {
    let mut all = sets.iter();
    let first: BTreeSet<&Box<str>> = all.next().into_iter().flatten().collect();
    let common: Vec<Box<str>> =
        first.into_iter().filter(|scope| sets.iter().all(|set| set.contains(*scope))).cloned().collect();
    if !common.is_empty() || sets.iter().any(Vec::is_empty) {
        return (common, Vec::new());
    }
    let (mut left, mut any): (Vec<&Vec<Box<str>>>, Vec<Box<str>>) = (sets.iter().collect(), Vec::new());
    while !left.is_empty() {
        let mut counts: BTreeMap<&Box<str>, usize> = BTreeMap::new();
        left.iter().copied().flatten().for_each(|scope| *counts.entry(scope).or_default() += 1);
        let Some((scope, _)) = counts.into_iter().max_by_key(|(scope, count)| (*count, std::cmp::Reverse(*scope)))
        else {
            break;
        };
        any.push(scope.clone());
        left.retain(|set| !set.contains(scope));
    }
    (Vec::new(), any)
}

/// A name for the rule from what it asks for: `crm-read`.
fn id(server: &str, demand: &Demand, ids: &mut BTreeSet<String>) -> String {
    let scopes: Vec<&str> = demand.scopes.iter().chain(&demand.any).map(|scope| &**scope).collect();
    let words = if demand.anonymous {
        format!("{server}-anonymous")
    } else if scopes.is_empty() {
        format!("{server}-anybody")
    } else {
        scopes.join("-")
    };
    let issuer = demand.issuer.as_deref().map(|issuer| format!("-{issuer}")).unwrap_or_default();
    let plain = |char: char| if char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.') { char } else { '-' };
    let base: String = format!("{words}{issuer}").chars().map(plain).take(ID - 5).collect();
    let mut id = base.clone();
    let mut number = 2;
    while !ids.insert(id.clone()) {
        id = format!("{base}-{number}");
        number += 1;
    }
    id
}

fn rule(id: String, demand: &Demand, names: &[&Name]) -> Rule {
    let texts = |scopes: &[Box<str>]| scopes.iter().map(ToString::to_string).collect();
    let mut rule = Rule {
        id,
        scopes: texts(&demand.scopes),
        scopes_any: texts(&demand.any),
        issuer: demand.issuer.iter().map(ToString::to_string).collect(),
        anonymous: demand.anonymous,
        ..Rule::default()
    };
    for name in names {
        let (list, text) = match name {
            Name::Subject(SubjectKind::Tool, text) => (&mut rule.tools, text),
            Name::Subject(SubjectKind::Prompt, text) => (&mut rule.prompts, text),
            Name::Subject(SubjectKind::Resource, text) => (&mut rule.resources, text),
            Name::Subject(SubjectKind::ResourceTemplate, text) => (&mut rule.resource_templates, text),
            Name::Method(text) => (&mut rule.methods, text),
        };
        list.push(escaped(text));
    }
    rule
}

/// The name as a glob that matches nothing else.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, char) in name.char_indices() {
        if matches!(char, '*' | '?' | '{' | '}' | '[' | '\\') || at == 0 && char == '!' {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

fn call(name: &Name) -> BTreeMap<&'static str, String> {
    let (key, text) = match name {
        Name::Subject(SubjectKind::Tool, text) => ("tool", text),
        Name::Subject(SubjectKind::Prompt, text) => ("prompt", text),
        Name::Subject(SubjectKind::Resource, text) => ("resource", text),
        Name::Subject(SubjectKind::ResourceTemplate, text) => ("resource_template", text),
        Name::Method(text) => ("method", text),
    };
    BTreeMap::from([(key, text.to_string())])
}

/// One that is allowed, and one that lacks the scopes.
fn tests(id: &str, demand: &Demand, names: &[&Name]) -> Vec<Test> {
    let Some(name) = names.first() else { return Vec::new() };
    let issuer = demand.issuer.as_deref().map(ToOwned::to_owned);
    let held: Vec<String> = demand.scopes.iter().chain(demand.any.first()).map(ToString::to_string).collect();
    let allowed = Test {
        name: format!("{id} allows what was used"),
        scopes: (!demand.anonymous).then(|| held.clone()),
        anonymous: demand.anonymous,
        issuer: issuer.clone(),
        call: call(name),
        expect: Expect { decision: "allow", rule: Some(id.to_owned()), scopes: Vec::new() },
    };
    let asked = Test {
        name: format!("{id} asks for its scopes"),
        scopes: Some(Vec::new()),
        anonymous: false,
        issuer,
        call: call(name),
        expect: Expect { decision: "step_up", rule: None, scopes: Vec::new() },
    };
    if held.is_empty() { vec![allowed] } else { vec![allowed, asked] }
}

/// What was not used stays closed.
fn unused(file: &File, used: &Used) -> Test {
    let mut name = "never_used".to_owned();
    while used.names.contains_key(&Name::Subject(SubjectKind::Tool, name.as_str().into())) {
        name.push('_');
    }
    let scopes: BTreeSet<&String> =
        file.rule.iter().flat_map(|rule| rule.scopes.iter().chain(&rule.scopes_any)).collect();
    Test {
        name: "what was never used stays closed".to_owned(),
        scopes: Some(scopes.into_iter().cloned().collect()),
        anonymous: false,
        issuer: None,
        call: BTreeMap::from([("tool", name)]),
        expect: Expect { decision: "deny", rule: None, scopes: Vec::new() },
    }
}
