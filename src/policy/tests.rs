mod args;
mod explain;
mod offer;
mod properties;
mod review;
mod shadow;
mod stages;
mod truth;
mod when;

use std::fmt::Write as _;
use std::sync::Arc;

use super::load::from_texts;
use super::{Context, Decision, Loaded, OnDeny, Operation, Policy};
use crate::auth::{Caller, Scopes};
use crate::clock::Timestamp;
use crate::config::Problems;
use crate::mcp::SubjectKind;

/// Monday noon, without anything else.
pub(crate) const AT: Context<'static> = Context::at(Timestamp::from_unix_seconds(1_767_614_400));

pub(crate) fn caller(scopes: &str) -> Caller {
    caller_of("corp", scopes)
}

fn caller_of(issuer: &str, scopes: &str) -> Caller {
    Caller {
        expressed: crate::policy::Expressed::default(),
        fragment: std::sync::OnceLock::new(),
        issuer: "https://login.example.com".into(),
        issuer_name: issuer.into(),
        tenant: None,
        subject: "ana".into(),
        client_id: None,
        scopes: scopes.split_whitespace().collect::<Scopes>(),
        claims: crate::auth::ClaimsSet::default(),
        expires: Timestamp::from_unix_seconds(0),
        until: Timestamp::from_unix_seconds(0),
        over: crate::auth::Over::Expired,
        token_id: None,
        issued: None,
        particulars: None,
        key_id: None,
        anonymous: false,
        edition: 0,
    }
}

fn loaded(texts: &[&str]) -> Loaded {
    let mut problems = Problems::new();
    let loaded = from_texts(texts, &mut problems);
    assert!(problems.is_empty(), "{}", problems.render(false));
    loaded
}

pub(crate) fn policy(text: &str) -> Policy {
    loaded(&[text]).policy
}

/// Parses `tool NAME`, `resource URI`, `template URI` or `prompt NAME`, with the method that uses it or another one after `by`;
/// or `method NAME` for one without a subject.
fn operation(text: &str) -> Operation<'_> {
    let (text, by) = text.split_once(" by ").map_or((text, None), |(text, by)| (text, Some(by)));
    let (kind, name) = text.split_once(' ').unwrap();
    let (kind, method) = match kind {
        "method" => return Operation { method: name, kind: None, name: "" },
        "prompt" => (SubjectKind::Prompt, "prompts/get"),
        "resource" => (SubjectKind::Resource, "resources/read"),
        "template" => (SubjectKind::ResourceTemplate, "completion/complete"),
        "tool" => (SubjectKind::Tool, "tools/call"),
        _ => panic!("{text}"),
    };
    Operation { method: by.unwrap_or(method), kind: Some(kind), name }
}

/// `allow RULE`, `deny RULE`, `hide RULE`, or `step_up RULE SCOPES | NEEDS`; `-` is no rule.
fn words(decision: Decision) -> String {
    match decision {
        Decision::Allow { rule } => format!("allow {rule}"),
        Decision::Deny { rule, hidden, .. } => {
            format!("{} {}", if hidden { "hide" } else { "deny" }, rule.as_deref().unwrap_or("-"))
        }
        Decision::StepUp { rule, scopes, needs } => {
            format!("step_up {rule} {} | {}", scopes.join(" "), needs.join(" "))
        }
    }
}

/// One policy, then cases of scopes, operation and decision.
type Cases = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

const CASES: &[Cases] = &[
    ("", &[("a", "tool x", "hide -"), ("a", "method tasks/get", "hide -")]),
    (
        r#"
        [[rule]]
        id = "open"
        tools = ["ping"]
        [[rule]]
        id = "read"
        tools = ["get_*"]
        scopes = ["r"]
        [[rule]]
        id = "write"
        tools = ["put_*", "get_secret"]
        scopes = ["r", "w"]
        "#,
        &[
            ("", "tool ping", "allow open"),
            ("", "tool Ping", "hide -"),
            ("", "tool ping ", "hide -"),
            ("", "tool p\u{200b}ing", "hide -"),
            ("", "tool ｐing", "hide -"),
            ("", "tool crm__ping", "hide -"),
            ("", "prompt ping", "hide -"),
            ("", "resource ping", "hide -"),
            ("r", "tool get_a", "allow read"),
            ("r", "tool get_a/../b", "allow read"),
            ("", "tool get_a", "step_up read r | r"),
            ("R", "tool get_a", "step_up read r | r"),
            ("reader r,w", "tool get_a", "step_up read r | r"),
            ("r", "tool put_a", "step_up write r w | w"),
            ("w", "tool put_a", "step_up write r w | r"),
            ("r w", "tool put_a", "allow write"),
            ("r w", "tool get_secret", "allow read"),
            ("w", "tool get_secret", "step_up read r | r"),
        ],
    ),
    // A deny wins in any place, and matches any spelling.
    (
        r#"
        [[rule]]
        id = "all"
        tools = ["*"]
        resources = ["**"]
        [[rule]]
        id = "no-delete"
        effect = "deny"
        tools = ["delete_*", "Drop"]
        [[rule]]
        id = "no-secrets"
        effect = "deny"
        resources = ["file:///**/secret/**"]
        "#,
        &[
            ("", "tool get", "allow all"),
            ("", "tool delete_x", "hide no-delete"),
            ("", "tool DELETE_x", "hide no-delete"),
            ("", "tool ｄelete_x", "hide no-delete"),
            ("", "tool del\u{ad}ete_x", "hide no-delete"),
            ("", "tool  delete_x\t", "hide no-delete"),
            ("", "tool deleted", "allow all"),
            ("", "tool drop", "hide no-delete"),
            ("", "tool Drop", "hide no-delete"),
            ("", "tool drop ", "hide no-delete"),
            ("", "resource file:///a/b", "allow all"),
            ("", "resource file:///secret/b", "hide no-secrets"),
            ("", "resource file:///a/SECRET/b/c", "hide no-secrets"),
            ("", "template file:///a/{x}", "hide -"),
            ("", "template file:///secret/{x}", "hide no-secrets"),
        ],
    ),
    // A deny with conditions holds for callers who meet them.
    (
        r#"
        [scopes]
        "boss" = ["contractor"]
        [[rule]]
        id = "no-contractors"
        effect = "deny"
        tools = ["pay"]
        scopes = ["contractor"]
        [[rule]]
        id = "pay"
        tools = ["pay"]
        "#,
        &[
            ("", "tool pay", "allow pay"),
            ("contractor", "tool pay", "hide no-contractors"),
            ("boss", "tool pay", "hide no-contractors"),
        ],
    ),
    // Hierarchy and step-up.
    (
        r#"
        [scopes]
        "crm:admin" = ["crm:write"]
        "crm:write" = ["crm:read"]
        [[rule]]
        id = "admin"
        tools = ["edit", "wipe"]
        scopes = ["crm:admin"]
        [[rule]]
        id = "write"
        tools = ["edit"]
        scopes = ["crm:read", "crm:write"]
        [[rule]]
        id = "read"
        tools = ["view"]
        scopes = ["crm:read"]
        [[rule]]
        id = "quiet"
        tools = ["view", "quiet"]
        scopes = ["hidden"]
        step_up = false
        [[rule]]
        id = "any"
        tools = ["any"]
        scopes = ["a"]
        scopes_any = ["b", "c"]
        "#,
        &[
            ("crm:admin", "tool view", "allow read"),
            ("crm:admin", "tool edit", "allow admin"),
            ("crm:write", "tool edit", "allow write"),
            ("crm:write", "tool wipe", "step_up admin crm:admin | crm:admin"),
            ("crm:read", "tool edit", "step_up write crm:read crm:write | crm:write"),
            ("", "tool edit", "step_up write crm:read crm:write | crm:read crm:write"),
            ("crm:administer", "tool view", "step_up read crm:read | crm:read"),
            ("hidden", "tool view", "allow quiet"),
            ("", "tool quiet", "hide -"),
            ("a", "tool any", "step_up any a b | b"),
            ("c", "tool any", "step_up any a c | a"),
            ("a c", "tool any", "allow any"),
        ],
    ),
    // Methods.
    (
        r#"
        [[rule]]
        id = "tasks"
        methods = ["tasks/*", "vendor/thing"]
        scopes = ["t"]
        [[rule]]
        id = "calls"
        methods = ["tools/call"]
        [[rule]]
        id = "both"
        tools = ["run"]
        prompts = ["run"]
        methods = ["tools/call", "vendor/run"]
        [[rule]]
        id = "no-subscriptions"
        effect = "deny"
        methods = ["resources/subscribe"]
        [[rule]]
        id = "read"
        resources = ["doc://**"]
        [[rule]]
        id = "no-completion"
        effect = "deny"
        prompts = ["help"]
        methods = ["completion/*"]
        [[rule]]
        id = "prompts"
        prompts = ["help", "other"]
        "#,
        &[
            ("t", "method tasks/get", "allow tasks"),
            ("", "method tasks/get", "step_up tasks t | t"),
            ("t", "method vendor/thing", "allow tasks"),
            ("t", "method Vendor/Thing", "hide -"),
            ("t", "method tasks", "hide -"),
            ("", "method vendor/run", "hide -"),
            ("", "method tools/call", "allow calls"),
            ("", "tool x", "hide -"),
            ("", "tool run", "allow both"),
            ("", "tool run by completion/complete", "deny -"),
            ("", "prompt run", "hide -"),
            ("", "resource doc://a", "allow read"),
            ("", "resource doc://a by resources/subscribe", "deny no-subscriptions"),
            ("", "resource doc://a by Resources/Subscribe", "deny no-subscriptions"),
            ("", "prompt help", "allow prompts"),
            ("", "prompt help by completion/complete", "deny no-completion"),
            ("", "prompt other by completion/complete", "allow prompts"),
        ],
    ),
    // Templates are subjects of their own.
    (
        r#"
        [[rule]]
        id = "contacts"
        resources = ["crm://contacts/*"]
        resource_templates = ['crm://contacts/\{id\}']
        "#,
        &[
            ("", "template crm://contacts/{id}", "allow contacts"),
            ("", "template crm://contacts/{name}", "hide -"),
            ("", "resource crm://contacts/7", "allow contacts"),
            ("", "resource crm://contacts/7/notes", "hide -"),
        ],
    ),
    // A denial only admits what the caller's list shows.
    (
        r#"
        [policy]
        list = "all"
        [[rule]]
        id = "read"
        tools = ["get"]
        scopes = ["r"]
        [[rule]]
        id = "no-delete"
        effect = "deny"
        tools = ["delete"]
        "#,
        &[("", "tool other", "deny -"), ("", "tool delete", "hide no-delete"), ("", "tool get", "step_up read r | r")],
    ),
];

#[test]
fn decides_as_written() {
    for (text, cases) in CASES {
        let policy = policy(text);
        for (scopes, asked, expected) in *cases {
            let decision = policy.decide(&caller(scopes), &operation(asked), &AT);
            assert_eq!(words(decision), *expected, "{asked:?} with {scopes:?} under {text}");
        }
    }
}

#[test]
fn a_deny_in_any_file_wins() {
    let allow = "[[rule]]\nid = \"all\"\ntools = [\"*\"]";
    let deny = "[[rule]]\nid = \"no\"\neffect = \"deny\"\ntools = [\"x\"]\nreason = \"because\"";
    for files in [[allow, deny], [deny, allow]] {
        let policy = loaded(&files).policy;
        assert_eq!(words(policy.decide(&caller(""), &operation("tool x"), &AT)), "hide no");
        assert_eq!(words(policy.decide(&caller(""), &operation("tool y"), &AT)), "allow all");
    }
}

#[test]
fn an_issuers_rule_is_for_its_callers_only() {
    let policy = policy(
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\nissuer = [\"corp\", \"sub\"]\nscopes = [\"s\"]\n\
         [[rule]]\nid = \"no\"\neffect = \"deny\"\ntools = [\"y\"]\nissuer = [\"guest\"]\n\
         [[rule]]\nid = \"y\"\ntools = [\"y\"]",
    );
    for (issuer, scopes, asked, expected) in [
        ("corp", "s", "tool x", "allow a"),
        ("sub", "s", "tool x", "allow a"),
        ("sub", "", "tool x", "step_up a s | s"),
        ("guest", "s", "tool x", "hide -"),
        ("guest", "", "tool x", "hide -"),
        ("Corp", "s", "tool x", "hide -"),
        ("corp", "", "tool y", "allow y"),
        ("guest", "", "tool y", "hide no"),
    ] {
        let decision = policy.decide(&caller_of(issuer, scopes), &operation(asked), &AT);
        assert_eq!(words(decision), expected, "{issuer} {asked}");
    }
}

#[test]
fn who_has_no_token_is_let_pass_where_a_rule_says_so() {
    let rules = "[[rule]]\nid = \"open\"\ntools = [\"ping\"]\nanonymous = true\n[[rule]]\nid = \"known\"\ntools = [\"get\"]\n\
                 [[rule]]\nid = \"write\"\ntools = [\"put\"]\nscopes = [\"w\"]\n";
    let nobody = Caller { anonymous: true, ..caller("") };
    for list in ["acquirable", "allowed", "all"] {
        let policy = policy(&format!("[policy]\nlist = \"{list}\"\n{rules}"));
        for (tool, decided) in [("ping", "allow open"), ("get", "hide -"), ("put", "hide -"), ("other", "hide -")] {
            let decision = policy.decide(&nobody, &operation(&format!("tool {tool}")), &AT);
            assert_eq!(words(decision), decided, "{list} {tool}");
            let listed = policy.lists(&nobody, SubjectKind::Tool, tool, &AT);
            assert_eq!(listed, tool == "ping", "{list} {tool}");
        }
        let asks = |tool: &str| policy.would_a_token_help(&operation(&format!("tool {tool}")));
        assert_eq!(["ping", "get", "put", "other"].map(asks), [false, true, true, false]);
    }
    // The baseline is for callers with a token.
    let shadow = policy(&format!(
        "[policy]\nmode = \"shadow\"\nbaseline = \"allow_listed\"\nshadow_until = 2026-01-05T13:00:00Z\n{rules}"
    ));
    assert_eq!(words(shadow.decide(&caller(""), &operation("tool get"), &AT)), "allow baseline");
    assert_eq!(words(shadow.decide(&nobody, &operation("tool get"), &AT)), "hide -");
}

#[test]
fn a_denial_carries_reason_and_form() {
    let rule = |more: &str| format!("[[rule]]\nid = \"no\"\neffect = \"deny\"\ntools = [\"x\"]\n{more}\n");
    for (file, expected) in [
        (rule(""), (OnDeny::ToolError, None)),
        (rule("on_deny = \"error\"\nreason = \"not now\""), (OnDeny::Error, Some("not now"))),
        (format!("policy.on_deny = \"http_403\"\n{}", rule("")), (OnDeny::Http403, None)),
        (format!("policy.on_deny = \"http_403\"\n{}", rule("on_deny = \"tool_error\"")), (OnDeny::ToolError, None)),
    ] {
        let Decision::Deny { reason, on_deny, .. } = policy(&file).decide(&caller(""), &operation("tool x"), &AT)
        else {
            panic!("{file}");
        };
        assert_eq!((on_deny, reason.as_deref()), expected, "{file}");
    }
    // A file's `on_deny` is that of its rules; if no rule applies, that of the first file that has one.
    let files = [rule(""), "policy.on_deny = \"error\"".to_owned(), "policy.on_deny = \"http_403\"".to_owned()];
    let policy = loaded(&files.each_ref().map(String::as_str)).policy;
    for (asked, expected) in [("tool x", OnDeny::ToolError), ("tool y", OnDeny::Error)] {
        let Decision::Deny { on_deny, .. } = policy.decide(&caller(""), &operation(asked), &AT) else { panic!() };
        assert_eq!(on_deny, expected);
    }
}

#[test]
fn the_strictest_list_mode_holds() {
    let rules = "[[rule]]\nid = \"r\"\ntools = [\"get\"]\nscopes = [\"r\"]\n\
                 [[rule]]\nid = \"d\"\neffect = \"deny\"\ntools = [\"del\"]\n";
    for (modes, shown) in [
        (&[][..], "get"),
        (&["all"], "get other"),
        (&["acquirable"], "get"),
        (&["allowed"], ""),
        (&["all", "acquirable"], "get"),
        (&["allowed", "all"], ""),
    ] {
        let mut files = vec![rules.to_owned()];
        files.extend(modes.iter().map(|mode| format!("[policy]\nlist = \"{mode}\"")));
        let policy = loaded(&files.iter().map(String::as_str).collect::<Vec<_>>()).policy;
        let names = ["get", "del", "other"].into_iter();
        let listed: Vec<&str> = names.filter(|name| policy.lists(&caller(""), SubjectKind::Tool, name, &AT)).collect();
        assert_eq!(listed.join(" "), shown, "{modes:?}");
        assert!(policy.lists(&caller("r"), SubjectKind::Tool, "get", &AT));
    }
}

#[test]
fn names_methods_exactly_or_not_at_all() {
    let policy = policy("[[rule]]\nid = \"m\"\nmethods = [\"vendor/{a,b}\", \"tasks/*\", '\\x']");
    for (name, expected) in [
        ("vendor/a", true),
        ("vendor/b", true),
        ("x", true),
        ("tasks/get", false),
        ("tasks/*", false),
        ("vendor/A", false),
    ] {
        assert_eq!(policy.names_method(name), expected, "{name}");
    }
}

#[test]
fn advertises_the_smallest_set() {
    let rule = |id: &str, more: &str| format!("[[rule]]\nid = \"{id}\"\ntools = [\"x\"]\n{more}\n");
    for (rules, expected) in [
        (vec![], ""),
        (vec![rule("a", "")], ""),
        (vec![rule("a", "scopes = [\"r\", \"w\"]"), rule("b", "scopes = [\"r\"]"), rule("c", "scopes = [\"x\"]")], "r"),
        (vec![rule("a", "scopes_any = [\"b\", \"c\"]"), rule("b", "scopes = [\"r\", \"w\"]")], "b"),
        (
            vec![rule("a", ""), rule("b", "effect = \"deny\"\nscopes = [\"d\"]"), rule("c", "scopes = [\"r\", \"w\"]")],
            "r w",
        ),
    ] {
        assert_eq!(policy(&rules.concat()).scopes_advertised().join(" "), expected, "{rules:?}");
    }
    let mut problems = Problems::new();
    let loaded = from_texts(&[&rule("a", "scopes = [\"offline_access\", \"r\", \"w\"]")], &mut problems);
    assert!(!problems.has_errors() && !problems.is_empty());
    assert_eq!(loaded.policy.scopes_advertised().join(" "), "r w");
}

#[test]
fn stays_right_with_ten_thousand_rules() {
    let mut text = String::new();
    for number in 0..10_000 {
        let tools = match number % 4 {
            0 => format!("tool_{number}"),
            1 => format!("tool_{number}_*"),
            2 => format!("*_{number}"),
            _ => "everybody".to_owned(),
        };
        let _ = write!(text, "[[rule]]\nid = \"r{number}\"\ntools = [\"{tools}\"]\nscopes = [\"s{number}\"]\n");
    }
    let policy = policy(&text);
    assert_eq!(policy.len(), 10_000);
    for (scopes, asked, expected) in [
        ("s9996", "tool tool_9996", "allow r9996"),
        ("", "tool tool_9996", "step_up r9996 s9996 | s9996"),
        ("s9997", "tool tool_9997_x", "allow r9997"),
        ("s9998", "tool x_9998", "allow r9998"),
        ("s9999", "tool everybody", "allow r9999"),
        ("", "tool everybody", "step_up r3 s3 | s3"),
        ("s1", "tool nobody", "hide -"),
    ] {
        assert_eq!(words(policy.decide(&caller(scopes), &operation(asked), &AT)), expected, "{asked}");
    }
}

#[test]
fn finds_rules_by_scope_as_by_trying_each() {
    let mut text = "[scopes]\nboss = [\"s7\"]\nowner = [\"boss\", \"x3\"]\n".to_owned();
    for number in 0..40 {
        let demand = match number {
            5 => "scopes_any = [\"x5\", \"x3\"]".to_owned(),
            30 => "step_up = false".to_owned() + "\nscopes = [\"last\"]",
            _ => format!("scopes = [\"s{number}\", \"also\"]"),
        };
        let _ = write!(text, "[[rule]]\nid = \"r{number}\"\ntools = [\"*\"]\n{demand}\n");
    }
    let scoped = policy(&text);
    let open = policy(&(text + "[[rule]]\nid = \"open\"\ntools = [\"*\"]\n"));
    for (scopes, expected) in [
        ("s9 also", "allow r9"),
        ("also s9 s8", "allow r8"),
        ("boss also", "allow r7"),
        ("owner", "allow r5"),
        ("x3", "allow r5"),
        ("x5 s1 also", "allow r1"),
        ("last", "allow r30"),
        ("also", "step_up r0 s0 also | s0"),
        ("boss", "step_up r5 x5 | x5"),
        ("s9", "step_up r5 x5 | x5"),
    ] {
        assert_eq!(words(scoped.decide(&caller(scopes), &operation("tool x"), &AT)), expected, "{scopes}");
        let expected = if expected.starts_with("allow") { expected } else { "allow open" };
        assert_eq!(words(open.decide(&caller(scopes), &operation("tool x"), &AT)), expected, "{scopes}");
    }
}

#[test]
fn is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<Policy>>();
    shared::<Decision>();
}
