//! Rules in shadow have no effect, and what they would do is reported.

use super::{AT, caller, loaded, operation, policy, words};
use crate::clock::Timestamp;
use crate::mcp::SubjectKind;
use crate::policy::Context;

const RULES: &str = r#"
    [[rule]]
    id = "read"
    tools = ["get_*"]
    [[rule]]
    id = "write"
    tools = ["put_*"]
    mode = "shadow"
    [[rule]]
    id = "no-secret"
    effect = "deny"
    tools = ["get_secret"]
    mode = "shadow"
    [[rule]]
    id = "admin"
    tools = ["wipe"]
    scopes = ["a"]
    mode = "shadow"
"#;

#[test]
fn a_rule_in_shadow_neither_denies_nor_grants() {
    let policy = policy(RULES);
    for (asked, now, enforced) in [
        ("tool get_a", "allow read", "allow read"),
        ("tool get_secret", "allow read", "hide no-secret"),
        ("tool put_a", "hide -", "allow write"),
        ("tool wipe", "hide -", "step_up admin a | a"),
        ("tool other", "hide -", "hide -"),
    ] {
        assert_eq!(words(policy.decide(&caller(""), &operation(asked), &AT)), now, "{asked}");
        assert_eq!(words(policy.decide_enforced(&caller(""), &operation(asked), &AT)), enforced, "{asked}");
    }
    assert!(policy.has_shadow());
    assert!(policy.lists(&caller(""), SubjectKind::Tool, "get_secret", &AT));
    let shadow = policy.explain(&caller(""), &operation("tool get_secret"), &AT).rules;
    assert_eq!(
        shadow.iter().map(|rule| (rule.matches, rule.shadow)).collect::<Vec<_>>(),
        [(true, false), (false, true), (true, true), (false, true)]
    );
}

#[test]
fn shadow_ends_when_the_file_says() {
    let text = "[policy]\nmode = \"shadow\"\nbaseline = \"allow_listed\"\nshadow_until = 2026-01-05T13:00:00Z\n[[rule]]\nid = \"no\"\neffect = \"deny\"\ntools = [\"x\"]\n[[rule]]\nid = \"all\"\ntools = [\"*\"]";
    let policy = loaded(&[text]).policy;
    let late = Context { now: Timestamp::from_unix_seconds(1_767_618_000), ..AT };
    for (asked, before, after) in [
        ("tool x", "allow baseline", "hide no"),
        ("tool y", "allow baseline", "allow all"),
        ("prompt y", "allow baseline", "hide -"),
        ("method tasks/get", "allow baseline", "hide -"),
        ("method vendor/thing", "hide -", "hide -"),
    ] {
        assert_eq!(words(policy.decide(&caller(""), &operation(asked), &AT)), before, "{asked}");
        assert_eq!(words(policy.decide(&caller(""), &operation(asked), &late)), after, "{asked}");
    }
    assert!(policy.lists(&caller(""), SubjectKind::Tool, "x", &AT));
    assert!(!policy.lists(&caller(""), SubjectKind::Tool, "x", &late));
}
