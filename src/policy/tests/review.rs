//! Rules that are right and not meant.

use super::policy;

/// Code and label of each finding.
fn found(text: &str) -> Vec<String> {
    let problems = policy(text).review();
    problems
        .iter()
        .map(|problem| format!("{}: {} ({})", problem.code.unwrap(), problem.message, problem.label))
        .collect()
}

fn rule(id: &str, rest: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\n{rest}\n")
}

#[test]
fn finds_rules_that_never_decide() {
    let deny = rule("no-delete", "effect = \"deny\"\ntools = [\"delete_*\"]");
    for (text, expected) in [
        (
            rule("a", "tools = [\"delete_x\", \"delete_y*\"]\nscopes = [\"s\"]") + &deny,
            &["dead-rule: the rule `a` can never allow anything (all of it is denied by `no-delete`)"][..],
        ),
        (rule("a", "tools = [\"delete_x\", \"get\"]") + &deny, &[]),
        (rule("a", "tools = [\"delete_x\"]\nresources = [\"a:b\"]") + &deny, &[]),
        (rule("a", "tools = [\"delete_x\"]") + &deny.replace("tools =", "scopes = [\"s\"]\ntools ="), &[]),
        (rule("a", "tools = [\"delete_x\"]") + &deny.replace("tools =", "methods = [\"tools/call\"]\ntools ="), &[]),
        (
            rule("a", "tools = [\"get_*\"]\nscopes = [\"r\"]")
                + &rule("b", "tools = [\"get_a\"]\nscopes = [\"r\", \"w\"]"),
            &["shadowed-rule: the rule `b` never decides (`a` stands above it, lists all of it and asks for no more)"],
        ),
        (
            rule("b", "tools = [\"get_a\"]\nscopes = [\"r\", \"w\"]")
                + &rule("a", "tools = [\"get_*\"]\nscopes = [\"r\"]"),
            &[],
        ),
        (rule("a", "tools = [\"get_*\"]\nscopes = [\"x\"]") + &rule("b", "tools = [\"get_a\"]\nscopes = [\"r\"]"), &[]),
        (
            "[scopes]\nw = [\"r\"]\n".to_owned()
                + &rule("a", "tools = [\"*\"]\nscopes = [\"r\"]")
                + &rule("b", "tools = [\"x\"]\nscopes = [\"w\"]"),
            &["shadowed-rule: the rule `b` never decides (`a` stands above it, lists all of it and asks for no more)"],
        ),
        (
            rule("a", "tools = [\"*\"]\nscopes_any = [\"r\", \"w\"]")
                + &rule("b", "tools = [\"x\"]\nscopes_any = [\"w\"]"),
            &["shadowed-rule: the rule `b` never decides (`a` stands above it, lists all of it and asks for no more)"],
        ),
        (
            rule("a", "tools = [\"*\"]\nscopes_any = [\"w\"]")
                + &rule("b", "tools = [\"x\"]\nscopes_any = [\"r\", \"w\"]"),
            &[],
        ),
        (rule("a", "tools = [\"*\"]\nargs = { n = { maximum = 1 } }") + &rule("b", "tools = [\"x\"]"), &[]),
        (rule("a", "tools = [\"*\"]\nissuer = [\"corp\"]") + &rule("b", "tools = [\"x\"]"), &[]),
        (
            rule("a", "tools = [\"*\"]\nissuer = [\"corp\", \"x\"]")
                + &rule("b", "tools = [\"x\"]\nissuer = [\"corp\"]"),
            &["shadowed-rule: the rule `b` never decides (`a` stands above it, lists all of it and asks for no more)"],
        ),
        (
            deny.clone() + &rule("no-delete-x", "effect = \"deny\"\ntools = [\"delete_x\"]"),
            &[
                "shadowed-rule: the rule `no-delete-x` never decides (`no-delete` stands above it, lists all of it and asks for no more)",
            ],
        ),
        (
            rule("a", "methods = [\"tasks/*\"]") + &rule("b", "methods = [\"tasks/get\"]"),
            &["shadowed-rule: the rule `b` never decides (`a` stands above it, lists all of it and asks for no more)"],
        ),
        (
            rule("a", "tools = [\"x\"]\nmethods = [\"resources/read\"]"),
            &["dead-rule: the rule `a` can never match: its methods are about nothing it lists ()"],
        ),
        (rule("a", "resources = [\"a:b\"]\nmethods = [\"completion/complete\", \"resources/subscribe\"]"), &[]),
        (
            rule("a", "methods = [\"sampling/createMesage\"]"),
            &["unknown-method: no revision of MCP has a method `sampling/createMesage` (unknown)"],
        ),
        (rule("a", "methods = [\"com.example/frobnicate\"]"), &[]),
    ] {
        assert_eq!(found(&text), expected, "{text}");
    }
}

#[test]
fn shipped_policies_have_no_such_rules() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert_eq!(found(&text), [""; 0]);
    }
}

#[test]
fn ten_thousand_rules_are_reviewed_in_part() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for number in 0..10_000 {
        let _ = write!(text, "[[rule]]\nid = \"r{number}\"\ntools = [\"*a{number}x*b*\"]\nscopes = [\"s\"]\n");
    }
    assert!(found(&text).is_empty());
}

#[test]
fn compares_with_what_upstream_and_issuer_say() {
    let policy = policy(
        &(rule("a", "tools = [\"get_*\", \"serch\", \"put_?\"]\nscopes = [\"crm:raed\"]")
            + &rule("b", "tools = [\"search\"]\nissuer = [\"other\"]\nscopes = [\"x\"]")),
    );
    let told = |problems: crate::config::Problems| -> Vec<String> {
        problems
            .iter()
            .map(|problem| format!("{} ({}; {})", problem.message, problem.label, problem.help.join(" ")))
            .collect()
    };
    assert_eq!(
        told(policy.unknown_scopes("corp", &["crm:read"])),
        [
            "the issuer `corp` does not say that it knows the scopes of the rule `a` (not in its `scopes_supported`: crm:raed; did you mean `crm:read`?)"
        ]
    );
    assert!(policy.unknown_scopes("corp", &["crm:raed"]).is_empty());
}
