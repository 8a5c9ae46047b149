use std::fmt::Write as _;

use proptest::prelude::*;

use super::{AT, caller, policy};
use crate::auth::Caller;
use crate::mcp::SubjectKind;
use crate::policy::{Decision, Operation, Policy};

/// A random rule over few names and scopes, so that rules overlap.
fn any_rule() -> impl Strategy<Value = String> {
    let names = prop::collection::vec(prop::sample::select(vec!["get", "GET", "get_*", "*", "p?t", "{a,get_b}"]), 1..3);
    let scopes = || prop::collection::vec(prop::sample::select(vec!["r", "w", "x", "admin"]), 0..3);
    let list = |key: &str, items: &[&str]| {
        if items.is_empty() { String::new() } else { format!("{key} = [\"{}\"]\n", items.join("\", \"")) }
    };
    (any::<[bool; 4]>(), names, scopes(), scopes()).prop_map(move |(flags, names, all, any)| {
        let [deny, silent, other, methods] = flags;
        let mut rule = list(if other && silent { "prompts" } else { "tools" }, &names);
        rule += &list("scopes", &all);
        rule += &list("scopes_any", &any);
        if methods && other {
            rule += "methods = [\"tools/call\", \"prompts/get\"]\n";
        }
        match (deny && other, silent) {
            (true, _) => rule + "effect = \"deny\"\n",
            (false, true) => rule + "step_up = false\n",
            (false, false) => rule,
        }
    })
}

fn file(mode: &str, rules: &[String]) -> String {
    let rules = rules.iter().enumerate().map(|(at, rule)| format!("[[rule]]\nid = \"r{at}\"\n{rule}"));
    format!("[policy]\nlist = \"{mode}\"\n[scopes]\nadmin = [\"r\", \"w\"]\n{}", rules.collect::<String>())
}

const NAMES: [&str; 8] = ["get", "Get", "get_b", "get_\u{200b}b", "put", "a", "A", "z"];
const HELD: [&str; 6] = ["", "r", "w x", "r w", "admin", "x"];
const KINDS: [(SubjectKind, &str); 2] = [(SubjectKind::Tool, "tools/call"), (SubjectKind::Prompt, "prompts/get")];

/// Every operation over these names, with every caller.
fn world() -> impl Iterator<Item = (Caller, Operation<'static>)> {
    HELD.into_iter().flat_map(|held| {
        NAMES.into_iter().flat_map(move |name| {
            KINDS.into_iter().map(move |(kind, method)| (caller(held), Operation { method, kind: Some(kind), name }))
        })
    })
}

/// Numbered rules, each in shadow or not. The last one, which lists nothing that is requested, never is.
fn shadowed(rules: &[(String, bool)], keep: impl Fn(bool) -> Option<&'static str>) -> String {
    let mut text = "[scopes]\nadmin = [\"r\", \"w\"]\n".to_owned();
    for (at, (rule, shadow)) in rules.iter().enumerate() {
        if let Some(mode) = keep(*shadow) {
            let _ = write!(text, "[[rule]]\nid = \"r{at}\"\n{mode}{rule}");
        }
    }
    text + "[[rule]]\nid = \"last\"\ntools = [\"nothing\"]\n"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_listed_is_what_would_be_answered(rules in prop::collection::vec(any_rule(), 0..7)) {
        for mode in ["acquirable", "allowed", "all"] {
            let policy = policy(&file(mode, &rules));
            for (caller, operation) in world() {
                let listed = policy.lists(&caller, operation.kind.unwrap(), operation.name, &AT);
                let decision = policy.decide(&caller, &operation, &AT);
                let expected = match (&decision, mode) {
                    (Decision::Allow { .. }, _) => true,
                    (Decision::StepUp { .. }, mode) => mode != "allowed",
                    (Decision::Deny { rule, .. }, mode) => mode == "all" && rule.is_none(),
                };
                prop_assert_eq!(listed, expected, "{:?} {:?}", mode, operation);
                if let Decision::Deny { hidden, .. } = decision {
                    prop_assert_eq!(hidden, !listed);
                }
            }
        }
    }

    /// Another deny, in any place, never allows anything.
    #[test]
    fn a_deny_takes_and_never_gives(
        rules in prop::collection::vec(any_rule(), 0..7),
        deny in any_rule(),
        at in any::<prop::sample::Index>(),
    ) {
        let deny = deny.replace("step_up = false\n", "").replace("effect = \"deny\"\n", "") + "effect = \"deny\"\n";
        let mut more = rules.clone();
        more.insert(at.index(rules.len() + 1), deny);
        let (before, after) = (policy(&file("all", &rules)), policy(&file("all", &more)));
        for (caller, operation) in world() {
            let rank = |policy: &Policy| match policy.decide(&caller, &operation, &AT) {
                Decision::Deny { rule: Some(_), .. } => 0,
                Decision::Deny { rule: None, .. } => 1,
                Decision::StepUp { .. } => 2,
                Decision::Allow { .. } => 3,
            };
            let (before, after) = (rank(&before), rank(&after));
            prop_assert!(after == before || after == 0, "{operation:?}: {before} became {after}");
        }
    }

    /// Decisions are as if rules in shadow did not exist, and would-be decisions as if they were in force: for calls and lists,
    /// and in tests, `replay` and the audit.
    #[test]
    fn shadow_takes_rules_away_and_enforcing_brings_them_back(
        rules in prop::collection::vec((any_rule(), any::<bool>()), 0..7),
    ) {
        let policy_of = |keep: &dyn Fn(bool) -> Option<&'static str>| policy(&shadowed(&rules, keep));
        let shadow = policy_of(&|shadow| Some(if shadow { "mode = \"shadow\"\n" } else { "" }));
        let without = policy_of(&|shadow| (!shadow).then_some(""));
        let enforced = policy_of(&|_| Some(""));
        for (caller, operation) in world() {
            prop_assert_eq!(shadow.decide(&caller, &operation, &AT), without.decide(&caller, &operation, &AT));
            prop_assert_eq!(shadow.decide_enforced(&caller, &operation, &AT), enforced.decide(&caller, &operation, &AT));
            prop_assert_eq!(enforced.decide_enforced(&caller, &operation, &AT), enforced.decide(&caller, &operation, &AT));
            let kind = operation.kind.unwrap();
            prop_assert_eq!(
                shadow.lists(&caller, kind, operation.name, &AT),
                without.lists(&caller, kind, operation.name, &AT)
            );
        }
    }

    /// A caller with the scopes of the challenge is allowed.
    #[test]
    fn one_challenge_is_enough(rules in prop::collection::vec(any_rule(), 1..7)) {
        let mut text = file("acquirable", &rules);
        text = text.replace("effect = \"deny\"\n", "");
        let policy = policy(&text);
        for (caller_before, operation) in world() {
            if let Decision::StepUp { scopes, needs, .. } = policy.decide(&caller_before, &operation, &AT) {
                prop_assert!(!needs.is_empty() && needs.iter().all(|need| scopes.contains(need)));
                let decision = policy.decide(&caller(&scopes.join(" ")), &operation, &AT);
                prop_assert!(matches!(decision, Decision::Allow { .. }), "{operation:?}: {decision:?}");
            }
        }
    }
}
