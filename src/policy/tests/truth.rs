//! Every pair of rules, of every kind and with every result, against an oracle that was written from the documentation of the
//! language alone and shares no code with the decision.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::{AT, caller, operation, policy};
use crate::auth::Caller;
use crate::json::{Document, Limits};
use crate::mcp::SubjectKind;
use crate::policy::{Context, Decision, Holds, Operation, Policy};

/// A caller with the scope `r`.
const HELD: &str = "r";
const ARGUMENTS: &str = r#"{"n":1,"text":"x"}"#;

/// A condition, its text, and its result at the call and in a list.
#[derive(Clone, Copy, Debug)]
struct Asked {
    written: &'static str,
    call: Holds,
    list: Holds,
}

const fn asked(written: &'static str, call: Holds, list: Holds) -> Asked {
    Asked { written, call, list }
}

const SCOPES: [(&str, bool); 3] = [("", true), ("scopes = [\"r\"]\n", true), ("scopes = [\"w\"]\n", false)];

/// Conditions on arguments are unknown in a list.
const ARGS: [Asked; 4] = [
    asked("", Holds::Yes, Holds::Yes),
    asked("n = { maximum = 5 }", Holds::Yes, Holds::Unknown),
    asked("n = { maximum = 0 }", Holds::No, Holds::Unknown),
    asked("text = { maximum = 5 }", Holds::Unknown, Holds::Unknown),
];

const WHEN: [Asked; 4] = [
    asked("", Holds::Yes, Holds::Yes),
    asked("claims.yes", Holds::Yes, Holds::Yes),
    asked("!claims.yes", Holds::No, Holds::No),
    asked("claims.absent == 1", Holds::Unknown, Holds::Unknown),
];

/// One rule of every kind.
#[derive(Clone, Copy, Debug)]
struct Kind {
    deny: bool,
    shadow: bool,
    scopes: (&'static str, bool),
    args: Asked,
    when: Asked,
}

fn kinds() -> Vec<Kind> {
    let mut all = Vec::new();
    for (deny, shadow) in [(false, false), (false, true), (true, false), (true, true)] {
        for scopes in SCOPES {
            for args in ARGS {
                all.extend(WHEN.map(|when| Kind { deny, shadow, scopes, args, when }));
            }
        }
    }
    all
}

impl Kind {
    fn write(self, id: &str, tools: &str) -> String {
        let Self { deny, shadow, scopes: (scopes, _), args, when } = self;
        let mut text = format!("[[rule]]\nid = \"{id}\"\ntools = [\"{tools}\"]\n{scopes}");
        if deny {
            text.push_str("effect = \"deny\"\n");
        }
        if shadow {
            text.push_str("mode = \"shadow\"\n");
        }
        if !when.written.is_empty() {
            let _ = writeln!(text, "when = \"{}\"", when.written);
        }
        if !args.written.is_empty() {
            let additional = if deny { "" } else { "additional = true\n" };
            let _ = write!(text, "[rule.args]\n{}\n{additional}", args.written);
        }
        text
    }
}

/// Every kind in both halves: the tool `a3_b7` is listed by the fourth rule of the first half and the eighth of the second.
fn every_pair(list: &str) -> Policy {
    let mut text = format!("[policy]\nlist = \"{list}\"\n");
    for (at, kind) in kinds().into_iter().enumerate() {
        text += &kind.write(&format!("a{at}"), &format!("a{at}_*"));
    }
    for (at, kind) in kinds().into_iter().enumerate() {
        text += &kind.write(&format!("b{at}"), &format!("*_b{at}"));
    }
    policy(&text)
}

/// The oracle: rules by name, in file order.
struct Oracle<'a> {
    rules: Vec<(String, &'a Kind)>,
    list: &'a str,
    /// Whether rules in shadow count.
    enforced: bool,
}

impl Oracle<'_> {
    /// The three-valued conjunction of a rule's conditions besides scopes.
    fn asks(kind: &Kind, calling: bool) -> Holds {
        let of = |asked: Asked| if calling { asked.call } else { asked.list };
        match (of(kind.args), of(kind.when)) {
            (Holds::No, _) | (_, Holds::No) => Holds::No,
            (Holds::Unknown, _) | (_, Holds::Unknown) => Holds::Unknown,
            (Holds::Yes, Holds::Yes) => Holds::Yes,
        }
    }

    /// `deny RULE`, `allow RULE`, `step_up RULE` or `none`.
    fn decides(&self, calling: bool) -> String {
        let in_force = || self.rules.iter().filter(|(_, kind)| self.enforced || !kind.shadow);
        for (id, kind) in in_force().filter(|(_, kind)| kind.deny && kind.scopes.1) {
            let matches = match Self::asks(kind, calling) {
                Holds::Yes => true,
                Holds::No => false,
                Holds::Unknown => calling,
            };
            if matches {
                return format!("deny {id}");
            }
        }
        let fits = |kind: &Kind| match Self::asks(kind, calling) {
            Holds::Yes => true,
            Holds::No => false,
            Holds::Unknown => !calling,
        };
        let fitting = || in_force().filter(|(_, kind)| !kind.deny && fits(kind));
        if let Some((id, _)) = fitting().find(|(_, kind)| kind.scopes.1) {
            return format!("allow {id}");
        }
        fitting().next().map_or("none".into(), |(id, _)| format!("step_up {id}"))
    }

    fn lists(&self) -> bool {
        let decided = self.decides(false);
        let word = decided.split(' ').next().unwrap();
        match self.list {
            "all" => word != "deny",
            "allowed" => word == "allow",
            _ => matches!(word, "allow" | "step_up"),
        }
    }

    /// The answer to a call: a denial of what is not listed is hidden.
    fn answers(&self) -> String {
        match (self.decides(true).split_once(' '), self.lists()) {
            (Some(("deny", id)), true) => format!("deny {id}"),
            (Some(("deny", id)), false) => format!("hide {id}"),
            (Some((word, id)), _) => format!("{word} {id}"),
            (None, true) => "deny -".into(),
            (None, false) => "hide -".into(),
        }
    }
}

fn said(decision: Decision) -> String {
    let words = super::words(decision);
    let mut parts = words.split(' ');
    format!("{} {}", parts.next().unwrap(), parts.next().unwrap())
}

fn ana() -> Caller {
    let mut ana = caller(HELD);
    ana.claims.insert("yes".into(), json!(true));
    ana
}

#[test]
fn every_pair_of_rules_is_decided_as_the_language_says() {
    let (kinds, ana) = (kinds(), ana());
    let document = Document::parse(ARGUMENTS.into(), &Limits::REQUEST).unwrap();
    let context = AT.with_arguments(Some(document.root()));
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for list in ["acquirable", "allowed", "all"] {
        let policy = every_pair(list);
        // Only one rule, or none, if the other half has no such name.
        let halves = |letter: &str| {
            let all = kinds.iter().enumerate().map(|(at, kind)| Some((format!("{letter}{at}"), kind)));
            all.chain([None]).collect::<Vec<_>>()
        };
        for first in halves("a") {
            for second in halves("b") {
                let of = |half: &Option<(String, &Kind)>| half.as_ref().map_or("x".to_owned(), |(id, _)| id.clone());
                let name = format!("{}_{}", of(&first), of(&second));
                let operation = Operation { name: &name, ..operation("tool x") };
                let rules: Vec<(String, &Kind)> = first.iter().chain(&second).cloned().collect();
                let mut oracle = Oracle { rules, list, enforced: false };
                let answer = said(policy.decide(&ana, &operation, &context));
                assert_eq!(answer, oracle.answers(), "{list} {first:?} {second:?}");
                *seen.entry(answer.split(' ').next().unwrap().to_owned()).or_default() += 1;
                let listed = policy.lists(&ana, SubjectKind::Tool, &name, &context);
                assert_eq!(listed, oracle.lists(), "{list} {first:?} {second:?}");
                if list == "acquirable" {
                    oracle.enforced = true;
                    let answer = said(policy.decide_enforced(&ana, &operation, &context));
                    assert_eq!(answer, oracle.answers(), "in force: {first:?} {second:?}");
                }
            }
        }
    }
    // Every possible answer occurred, and often.
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["allow", "deny", "hide", "step_up"]);
    assert!(seen.values().sum::<usize>() == 3 * 193 * 193 && seen.values().all(|count| *count > 1_000), "{seen:?}");
}

/// A random rule over few names, with conditions on arguments, claims and the time.
fn any_rule() -> impl Strategy<Value = String> {
    let tools = prop::sample::select(vec!["\"get\"", "\"g*\"", "\"*\"", "\"put\", \"get\""]);
    let scopes =
        prop::sample::select(vec!["", "scopes = [\"r\"]\n", "scopes = [\"w\"]\n", "scopes_any = [\"r\", \"w\"]\n"]);
    let when = prop::sample::select(vec![
        "",
        "claims.yes",
        "claims.absent",
        "args.n > 1",
        "now.hour < 12",
        "args.n == 1 || claims.yes",
        "!has(args.text)",
        "args.absent == 1 || args.n == 1",
        "now.weekday == 1 && args.n < 3",
        "request.method == 'tools/call'",
        "tool.name == 'get'",
        "!tool.annotations.readOnlyHint",
    ]);
    let args = prop::sample::select(vec![
        "",
        "n = { maximum = 1 }",
        "n = { minimum = 2, required = true }",
        "text = { forbidden = true }",
        "text = { equals = \"${claims.sub}\" }",
        "n = { enum = [1, 2] }\nadditional = true",
    ]);
    (tools, scopes, when, args, any::<[bool; 4]>()).prop_map(
        |(tools, scopes, when, args, [deny, also, shadow, step])| {
            let mut rule = format!("tools = [{tools}]\n{scopes}");
            let deny = deny && also;
            rule += if deny {
                "effect = \"deny\"\n"
            } else if step {
                ""
            } else {
                "step_up = false\n"
            };
            if shadow && also {
                rule += "mode = \"shadow\"\n";
            }
            if !when.is_empty() {
                let _ = writeln!(rule, "when = \"{when}\"");
            }
            if !args.is_empty() {
                let args = if deny { args.replace("\nadditional = true", "") } else { args.to_owned() };
                let _ = write!(rule, "[rule.args]\n{args}\n");
            }
            rule
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// What a list hides cannot be called in any way, and what some call could do, at any hour, is listed.
    #[test]
    fn list_time_and_call_time_agree(rules in prop::collection::vec(any_rule(), 0..5)) {
        let mut text = "[[rule]]\nid = \"last\"\ntools = [\"other\"]\n".to_owned();
        for (at, rule) in rules.iter().enumerate() {
            let _ = write!(text, "[[rule]]\nid = \"r{at}\"\n{rule}");
        }
        for list in ["acquirable", "allowed", "all"] {
            let policy = policy(&format!("[policy]\nlist = \"{list}\"\n{text}"));
            for (held, name) in [("", "get"), ("r", "get"), ("r w", "get"), ("r", "put"), ("w", "put"), ("r w", "none")] {
                let mut caller = caller(held);
                caller.claims.extend([("yes".to_owned(), json!(true)), ("sub".to_owned(), json!("ana"))]);
                let listed = policy.lists(&caller, SubjectKind::Tool, name, &AT);
                for arguments in ["{}", r#"{"n":1}"#, r#"{"n":2,"text":"ana"}"#, r#"{"n":"1"}"#, r#"{"text":"ana"}"#, r#"{"x":1}"#] {
                    let document = Document::parse(arguments.into(), &Limits::REQUEST).unwrap();
                    for hours in [0, 13, 40] {
                        let now = AT.now.plus(std::time::Duration::from_hours(hours));
                        let context = Context { now, ..AT }.with_arguments(Some(document.root()));
                        let operation = Operation { method: "tools/call", kind: Some(SubjectKind::Tool), name };
                        match policy.decide(&caller, &operation, &context) {
                            Decision::Allow { .. } => prop_assert!(listed, "{held} {name} {arguments}: allowed, not listed"),
                            Decision::StepUp { .. } => prop_assert!(listed || list == "allowed", "{held} {name} {arguments}"),
                            Decision::Deny { hidden, .. } => prop_assert_eq!(hidden, !listed, "{} {} {}", held, name, arguments),
                        }
                    }
                }

            }
        }
    }
}
