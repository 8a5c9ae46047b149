//! Rules that are valid but probably mistaken.

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

#[test]
fn finds_conditions_that_mean_less_than_they_seem() {
    for (text, expected) in [
        (rule("a", "tools = [\"x\"]\nwhen = \"tool.annotations.readOnlyHint && args.n < 5\""), &[][..]),
        (
            rule("a", "resources = [\"a:b\"]\nwhen = \"tool.name == 'x'\""),
            &[
                "absent-variable: `tool` is never there for the `resources` of the rule `a` (unknown, so nothing is allowed)",
            ],
        ),
        (
            rule("a", "tools = [\"x\"]\nprompts = [\"p\"]\nwhen = \"tool.name == 'x'\""),
            &[
                "absent-variable: `tool` is never there for the `prompts` of the rule `a` (unknown, so nothing is allowed)",
            ],
        ),
        (
            rule("a", "effect = \"deny\"\nmethods = [\"tasks/list\"]\nwhen = \"tool.name == 'x'\""),
            &["absent-variable: `tool` is never there for the `methods` of the rule `a` (unknown, so all are denied)"],
        ),
        (
            rule("a", "resources = [\"a:b\"]\nwhen = \"args.n < 5\""),
            &[
                "absent-variable: `args` is never there for the `resources` of the rule `a` (unknown, so nothing is allowed)",
            ],
        ),
        (rule("a", "prompts = [\"p\"]\nwhen = \"args.n == 'x'\""), &[]),
        (rule("a", "tools = [\"x\"]\nargs = { n = { pattern = '^[a-z]+$' } }"), &[]),
        (
            rule("a", "tools = [\"x\"]\nargs = { n = { pattern = '^[a-z]*$' } }"),
            &["empty-match: this pattern matches the empty text (anything or nothing fits)"],
        ),
        (
            rule("a", "tools = [\"x\"]\nwhen = \"args.n.matches('x|')\""),
            &["empty-match: this pattern matches the empty text (anything or nothing fits)"],
        ),
    ] {
        assert_eq!(found(&text), expected, "{text}");
    }
    let text = rule("a", "tools = [\"x\"]\nwhen = \"args.n.matches('^a*$')\"");
    let problems = policy(&text).review();
    let places: Vec<_> = problems.iter().map(|problem| problem.file.text.get(problem.span.clone()).unwrap()).collect();
    assert_eq!(places, ["^a*$"]);
}

#[test]
fn says_which_rules_a_list_cannot_tell() {
    let text = rule("a", "tools = [\"x\"]\nscopes = [\"s\"]")
        + &rule("b", "tools = [\"x\"]\nargs = { n = { maximum = 1 } }")
        + &rule("c", "tools = [\"x\"]\nwhen = \"now.hour < 8 && args.n < 1\"")
        + &rule("d", "tools = [\"x\"]\nwhen = \"claims.x == 1\"");
    let told: Vec<String> = policy(&text)
        .untold_in_lists("0.toml".as_ref())
        .into_iter()
        .map(|(id, looks)| format!("{id} {}", looks.join(" ")))
        .collect();
    assert_eq!(told, ["b args", "c args now"]);
    assert!(policy(&text).untold_in_lists("1.toml".as_ref()).is_empty());
}

#[test]
fn a_claim_without_its_sign_is_told() {
    for (text, told) in
        [("${claims.email}", 0), ("{claims.email}", 1), ("$claims.email", 1), ("claims.email", 1), ("a", 0)]
    {
        let rule = rule("a", &format!("tools = [\"x\"]\nargs = {{ owner = {{ equals = \"{text}\" }} }}"));
        assert_eq!(found(&rule).len(), told, "{text}");
    }
}

#[test]
fn a_condition_no_hour_meets_is_told() {
    for (when, told) in [
        ("now.hour < 8 && now.hour >= 18", 1),
        ("now.hour < 8 || now.hour >= 18", 0),
        ("now.hour > 24", 1),
        ("now.weekday == 6", 0),
        ("now.weekday == 7", 1),
        ("false", 1),
        ("true", 0),
        ("now.unix > 1", 0),
        ("claims.x == 'y' && now.hour > 24", 0),
    ] {
        let rule = rule("a", &format!("effect = \"deny\"\ntools = [\"x\"]\nwhen = \"{when}\""));
        assert_eq!(found(&rule).len(), told, "{when}");
    }
}
