//! `replay` and `learn` over audit files as the proxy writes them.

use std::fmt::Write as _;

use super::Folder;

const POLICY: &str = r#"
[[rule]]
id = "crm-read"
tools = ["get_*", "search_*"]
resources = ["crm://contacts/*"]
scopes = ["crm:read"]
[[rule]]
id = "crm-write"
tools = ["update_contact"]
scopes = ["crm:read", "crm:write"]
[[rule]]
id = "asks"
methods = ["sampling/createMessage"]
"#;

/// A line of the audit.
fn line(sub: &str, scopes: &[&str], about: &str, decision: &str, rule: Option<&str>) -> String {
    let (key, name) = about.split_once(' ').unwrap();
    let (method, target) = match key {
        "tool" => ("tools/call", format!(",\"tool\":\"{name}\"")),
        "resource" => ("resources/read", format!(",\"resource\":\"{name}\"")),
        "prompt" => ("prompts/get", format!(",\"prompt\":\"{name}\"")),
        _ => (name, String::new()),
    };
    let (scopes, rule) = (serde_json::json!(scopes), serde_json::json!(rule));
    format!(
        "{{\"v\":1,\"time\":\"2026-01-05T12:00:00.000Z\",\"event\":\"call\",\"decision\":\"{decision}\",\"shadow\":false,\
         \"server\":\"crm\",\"method\":\"{method}\"{target},\"subject\":{{\"iss\":\"https://login.example.com/realms/acme\",\
         \"sub\":\"{sub}\",\"scopes\":{scopes}}},\"policy\":{{\"version\":\"sha256:0\",\"rule\":{rule},\"reason\":null}}}}\n"
    )
}

fn audit() -> String {
    let (read, both) = (&["crm:read", "openid"][..], &["crm:read", "crm:write"][..]);
    let mut text = String::new();
    for _ in 0..1000 {
        text += &line("ana", read, "tool get_contact", "allow", Some("crm-read"));
    }
    text += &line("ana", read, "tool update_contact", "step_up", Some("crm-write"));
    text += &line("max", both, "tool update_contact", "allow", Some("crm-write"));
    text += &line("max", both, "tool update_contact", "allow", Some("crm-write"));
    text += &line("kim", both, "tool update_contact", "allow", Some("crm-write"));
    text += &line("max", both, "tool get_contact", "allow", Some("crm-read"));
    text += &line("max", both, "resource crm://contacts/7", "allow", Some("crm-read"));
    text += &line("max", both, "tool drop_table", "deny", None);
    text += &line("max", both, "method sampling/createMessage", "allow", Some("asks"));
    text += &line("max", both, "method tools/list", "allow", None);
    text += &line("max", both, "method GET", "allow", None);
    text += &line("max", both, "tool [EMAIL_ADDRESS]", "deny", None);
    text +=
        &line("max", both, "tool get_secret", "deny", Some("secrets")).replace("}}\n", "},\"error\":\"blocked\"}\n");
    text += "what is this?\n{\"v\":1,\"time\":\"x\",\"event\":\"start\"}\n{}\n";
    text
}

fn folder(name: &str, next: &str) -> Folder {
    let folder = Folder::new(name);
    std::fs::create_dir_all(folder.0.join("next")).unwrap();
    folder.file("policies/crm.toml", POLICY);
    folder.file("next/crm.toml", next);
    folder.file("audit.jsonl", &audit());
    folder
}

const NOT_VERIFIED: &str = "note: it was not verified that the audit file is unchanged\n";

#[test]
fn nothing_changes_under_the_same_rules() {
    let folder = folder("replay-same", POLICY);
    let expected = format!(
        "exit 0\n--- out\n1 010 decisions, none would change\n--- err\n\
         note: 1 decision is about a name the audit has cut or masked\nnote: 1 decision was made by a mask\n\
         warning: @/audit.jsonl:1013: not JSON\n\
         warning: @/audit.jsonl:1015: not a record of Portcullis: missing field `v`\n{NOT_VERIFIED}"
    );
    assert_eq!(folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next"), expected);
    assert_eq!(folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next/crm.toml"), expected);
}

#[test]
fn says_what_would_change_and_for_whom() {
    let next = POLICY
        .replace("[\"update_contact\"]", "[\"update_contact\", \"drop_table\"]")
        .replace("\"get_*\", \"search_*\"", "\"search_*\"")
        + "[[rule]]\nid = \"no-update\"\neffect = \"deny\"\ntools = [\"update_*\"]\n[[rule]]\nid = \"wide\"\ntools = [\"get_*\"]\nscopes = [\"crm:admin\"]\n";
    let folder = folder("replay-other", &next);
    let said = folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next");
    let expected = "exit 1\n--- out\n\
1 010 decisions, 1 006 would change
  allow   → step_up  1 001   rule wide   2 subjects: ana, max
  allow   → deny         3   rule no-update   2 subjects: kim, max
  deny    → allow        1   rule crm-write   1 subject: max
  step_up → deny         1   rule no-update   1 subject: ana
--- err
";
    assert!(said.starts_with(expected), "{said}");
    let said = folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next --format json");
    let out = said.strip_prefix("exit 1\n--- out\n").unwrap().split_once("--- err\n").unwrap().0;
    let json: serde_json::Value = serde_json::from_str(out).unwrap();
    assert_eq!((&json["decisions"], &json["changed"]), (&1010.into(), &1006.into()));
    assert_eq!(json["changes"][1]["subjects"][1]["sub"], "max");
    assert_eq!(json["changes"][1]["targets"]["update_contact"], 3);
    assert_eq!(json["bad_lines"]["first"][0]["line"], 1013);
    assert_eq!((&json["not_replayed"]["masks"], &json["verified"]), (&1.into(), &false.into()));
}

#[test]
fn what_depends_on_arguments_is_not_guessed() {
    let next =
        POLICY.replace("tools = [\"update_contact\"]", "tools = [\"update_contact\"]\nargs = { id = { maximum = 7 } }");
    let folder = folder("replay-open", &next);
    let said = folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next");
    assert!(said.starts_with("exit 0\n--- out\n1 006 decisions, none would change\n"), "{said}");
    assert!(said.contains("note: 4 decisions depend on arguments or claims the audit does not have\n"), "{said}");
    assert!(!said.contains("in shadow"), "{said}");
    // What the audit noted of one of them is told.
    let marked = audit().replacen(
        &line("max", &["crm:read", "crm:write"], "tool update_contact", "allow", Some("crm-write")),
        &line("max", &["crm:read", "crm:write"], "tool update_contact", "allow", Some("crm-write"))
            .replace("\"shadow\":false", "\"shadow\":true"),
        1,
    );
    folder.file("audit.jsonl", &marked);
    let said = folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next");
    let note = "note: 1 of those was marked when it was made: rules in shadow would have decided otherwise\n";
    assert!(said.contains(note), "{said}");
}

#[test]
fn policies_are_found_by_name() {
    let folder = folder("replay-names", POLICY);
    folder.file("next/wiki.toml", POLICY);
    let said = folder.run("-c @/absent.toml replay @/audit.jsonl --policies @/next/wiki.toml");
    assert!(said.contains("warning: 1 012 decisions of `crm`, for which there is no policy here\n"), "{said}");
    let said = folder.run("-c @/absent.toml replay @/audit.jsonl --policies @/next");
    assert!(said.starts_with("exit 0\n--- out\n1 010 decisions"), "{said}");
    for (arguments, expected) in [
        ("replay @/audit.jsonl --policies @/nowhere", "error: there is no @/nowhere\n"),
        ("-c @/proxy.toml replay @/none.jsonl --policies @/next", "error: cannot read @/none.jsonl: "),
    ] {
        let said = folder.run(arguments);
        assert!(said.starts_with(&format!("exit 2\n--- out\n--- err\n{expected}")), "{said}");
    }
    folder.file("next/crm.toml", "[[rule]]");
    assert!(folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next").starts_with("exit 78\n"));
    folder.file("next/crm.toml", POLICY);
    let said = folder.run_with("-c @/proxy.toml replay - --policies @/next", &audit());
    assert!(said.starts_with("exit 0\n--- out\n1 010 decisions, none would change\n"), "{said}");
}

#[test]
fn learns_the_least_that_was_used() {
    let folder = folder("learn", POLICY);
    let said = folder.run("-c @/proxy.toml learn @/audit.jsonl");
    let (out, err) = said.strip_prefix("exit 0\n--- out\n").unwrap().split_once("--- err\n").unwrap();
    assert!(err.starts_with("warning: @/audit.jsonl:1013: not JSON\n") && err.contains(NOT_VERIFIED), "{err}");
    let learnt: toml::Table = out.parse().unwrap();
    let rules = learnt["rule"].as_array().unwrap();
    let of =
        |id: &str| rules.iter().find(|rule| rule["id"].as_str() == Some(id)).unwrap_or_else(|| panic!("{id}: {out}"));
    assert_eq!(rules.len(), 3, "{out}");
    assert_eq!(of("crm-read")["tools"].as_array().unwrap(), &["get_contact".into()]);
    assert_eq!(of("crm-read-crm-write")["tools"].as_array().unwrap(), &["update_contact".into()]);
    assert_eq!(of("crm-read-crm-write")["resources"].as_array().unwrap(), &["crm://contacts/7".into()]);
    assert_eq!(of("crm-read-crm-write-2")["methods"].as_array().unwrap(), &["sampling/createMessage".into()]);
    // What was learnt passes its own tests, covers itself, and changes nothing that was allowed.
    folder.file("next/crm.toml", out);
    let tested = folder.run("test @/next --min 100");
    assert!(tested.starts_with("exit 0\n"), "{tested}");
    let replayed = folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next");
    assert!(replayed.contains("none would change"), "{replayed}");
}

/// The audit has no arguments and few claims: what they decided a learnt policy does not ask for.
#[test]
fn tells_what_was_denied_and_would_be_allowed() {
    let folder = folder("learn-denied", POLICY);
    let mut text = audit();
    text += &line("eve", &["crm:read"], "tool get_contact", "deny", Some("not-eve"));
    text += &line("eve", &["crm:read", "more"], "tool get_contact", "deny", Some("not-eve"));
    text += &line("eve", &["more"], "tool get_contact", "deny", None);
    text += &line("eve", &["crm:read"], "tool update_contact", "deny", None);
    folder.file("audit.jsonl", &text);
    let said = folder.run("-c @/proxy.toml learn @/audit.jsonl");
    assert!(said.starts_with("exit 0\n"), "{said}");
    assert!(said.contains("warning: get_contact was denied 2 times to callers this policy allows it\n"), "{said}");
    assert_eq!(said.matches("was denied").count(), 1, "{said}");
}

/// What was used without a token is learnt as such, and asked again as such.
#[test]
fn callers_without_a_token_are_told_from_others() {
    let folder = folder("learn-anonymous", POLICY);
    let nobody = |about: &str| {
        let line = line("", &[], about, "allow", Some("public"));
        let (before, rest) = line.split_once("\"subject\":").unwrap();
        format!("{before}\"subject\":{{\"anonymous\":true}}{}", rest.split_once('}').unwrap().1)
    };
    let known = line("ana", &["crm:read"], "tool get_contact", "allow", Some("crm-read"));
    let known = format!("{known}{}", known.replace("get_contact", "get_note"));
    folder.file("audit.jsonl", &format!("{}{}{known}", nobody("tool get_contact"), nobody("tool search_docs")));
    let said = folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next");
    assert!(said.contains("4 decisions, 2 would change\n"), "{said}");
    assert!(said.contains("1 subject: (without a token)"), "{said}");
    let said = folder.run("-c @/proxy.toml learn @/audit.jsonl");
    let (out, err) = said.strip_prefix("exit 0\n--- out\n").unwrap().split_once("--- err\n").unwrap();
    assert!(!err.contains("warning"), "{err}");
    let learnt: toml::Table = out.parse().unwrap();
    let rules = learnt["rule"].as_array().unwrap();
    let public = rules.iter().find(|rule| rule["id"].as_str() == Some("crm-anonymous")).unwrap();
    assert_eq!(public["tools"].as_array().unwrap(), &["get_contact".into(), "search_docs".into()]);
    assert_eq!((public["anonymous"].as_bool(), public.get("scopes"), rules.len()), (Some(true), None, 2), "{out}");
    folder.file("next/crm.toml", out);
    let tested = folder.run("test @/next --min 100");
    assert!(tested.starts_with("exit 0\n"), "{tested}");
    let replayed = folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next");
    assert!(replayed.contains("none would change"), "{replayed}");
}

/// As with `baseline = "allow_listed"`, under which whatever no rule names yet is allowed and marked.
#[test]
fn learns_what_rules_in_shadow_would_not_have_allowed_and_says_so() {
    let folder = folder("learn-shadow", POLICY);
    let shadowed = line("ana", &["a"], "tool shadowed", "allow", None).replace("\"shadow\":false", "\"shadow\":true");
    folder.file("audit.jsonl", &(line("ana", &["a"], "tool plain", "allow", Some("r")) + &shadowed + &shadowed));
    let said = folder.run("-c @/proxy.toml learn @/audit.jsonl");
    assert!(said.contains("tools = [\"plain\", \"shadowed\"]"), "{said}");
    let warning = "warning: shadowed was allowed 2 times where rules in shadow would have decided otherwise\n";
    assert!(said.contains(warning) && !said.contains("plain was allowed"), "{said}");
}

#[test]
fn learns_nothing_from_what_was_denied() {
    let folder = folder("learn-less", POLICY);
    let text = line("ana", &["a"], "tool denied", "deny", None);
    folder.file("audit.jsonl", &text);
    let said = folder.run("-c @/proxy.toml learn @/audit.jsonl");
    assert!(said.starts_with("exit 1\n--- out\n--- err\n"), "{said}");
    assert!(said.ends_with("error: no call was allowed, so there is nothing to learn a policy from\n"), "{said}");
}

#[test]
fn odd_names_are_left_out_and_others_escaped() {
    let folder = folder("learn-odd", POLICY);
    let mut text = String::new();
    for about in ["tool a b", "tool a*", "resource crm://a?b=*", "resource crm://a/../b", "prompt p", "tool [SECRET]"] {
        text += &line("ana", &["a"], about, "allow", Some("r"));
    }
    text += &line("kim", &["b"], "prompt p", "allow", Some("r"));
    text += &line("kim", &[], "tool open", "allow", Some("r"));
    let foreign = line("eve", &["a"], "tool foreign", "allow", Some("r")).replace("realms/acme", "realms/evil");
    text += &foreign;
    folder.file("audit.jsonl", &text);
    let said = folder.run("-c @/proxy.toml learn @/audit.jsonl");
    let (out, err) = said.strip_prefix("exit 0\n--- out\n").unwrap().split_once("--- err\n").unwrap();
    for odd in ["a b", "a*", "crm://a/../b", "[SECRET]"] {
        assert!(
            err.contains(&format!("warning: left out, as a rule could not name it safely: {odd}\n")),
            "{odd}: {err}"
        );
    }
    assert!(
        err.contains("as proxy.toml has no such issuer: callers of https://login.example.com/realms/evil"),
        "{err}"
    );
    assert!(out.contains("\"crm://a\\\\?b=\\\\*\"") || out.contains("'crm://a\\?b=\\*'"), "{out}");
    assert!(out.contains("scopes_any = [") && out.contains("crm-anybody") && !out.contains("foreign"), "{out}");
    folder.file("next/crm.toml", out);
    assert!(folder.run("test @/next --min 100").starts_with("exit 0\n"), "{out}");
}

#[test]
fn learning_asks_which_server() {
    let folder = folder("learn-two", POLICY);
    let mut text = line("ana", &["a"], "tool x", "allow", Some("r"));
    let _ = write!(text, "{}", line("ana", &["a"], "tool y", "allow", Some("r")).replace("\"crm\"", "\"wiki\""));
    folder.file("audit.jsonl", &text);
    let said = folder.run("-c @/proxy.toml learn @/audit.jsonl");
    assert_eq!(said, "exit 2\n--- out\n--- err\nerror: which server is it for? choose one with --server: crm, wiki\n");
    let said = folder.run("-c @/proxy.toml learn @/audit.jsonl --server wiki");
    assert!(said.contains("tools = [\"y\"]") && !said.contains("\"x\""), "{said}");
}

#[test]
fn a_file_that_is_no_audit_does_not_pass_for_one_in_which_nothing_changes() {
    let folder = Folder::new("replay-garbage");
    let said = folder.run_with("replay - --policies @/policies/crm.toml", "what is this?\nno audit\n");
    assert!(said.starts_with("exit 2\n"), "{said}");
    assert!(said.contains("error: - holds no decision: is it an audit file?\n"), "{said}");
    let said =
        folder.run_with("replay - --policies @/policies/crm.toml", "{\"v\":1,\"time\":\"x\",\"event\":\"start\"}\n");
    assert!(said.starts_with("exit 0\n--- out\n0 decisions, none would change\n"), "{said}");
}

/// What everybody may use can be denied, and was.
#[test]
fn methods_everybody_may_use_are_decided_by_deny_rules() {
    let quiet = "[[rule]]\nid = \"quiet\"\neffect = \"deny\"\nmethods = [\"logging/setLevel\"]\n";
    let folder = folder("replay-free", &format!("{POLICY}{quiet}"));
    let both = &["crm:read", "crm:write"];
    let denied = line("ana", both, "method logging/setLevel", "deny", Some("quiet"));
    let allowed = line("ana", both, "method ping", "allow", None);
    folder.file("audit.jsonl", &format!("{denied}{allowed}"));
    for (policies, told) in
        [("@/next/crm.toml", "2 decisions, none would change"), ("@/policies/crm.toml", "2 decisions, 1 would change")]
    {
        let said = folder.run(&format!("-c @/proxy.toml replay @/audit.jsonl --policies {policies}"));
        assert!(said.contains(told), "{said}");
    }
}

/// The audit has no claim but who called, and whether a token had another is not guessed.
#[test]
fn what_depends_on_claims_the_audit_lacks_is_counted_and_not_guessed() {
    for condition in [
        "when = \"has(claims.groups) && 'admins' in claims.groups\"\n",
        "when = \"claims.email == 'ana@example.com'\"\n",
        "[rule.args]\nowner = { equals = \"${claims.email}\" }\n",
    ] {
        let own = format!("[[rule]]\nid = \"own\"\ntools = [\"pay\"]\n{condition}");
        let deny = format!("[[rule]]\nid = \"deny\"\neffect = \"deny\"\ntools = [\"wipe\"]\n{condition}");
        let all = "[[rule]]\nid = \"all\"\ntools = [\"wipe\"]\n";
        let folder = folder("replay-claims", &format!("{own}{deny}{all}"));
        let lines = [
            line("ana", &[], "tool pay", "allow", Some("own")),
            line("ana", &[], "tool wipe", "deny", Some("deny")),
            line("ana", &[], "tool wipe", "allow", Some("all")),
        ];
        folder.file("audit.jsonl", &lines.concat());
        let said = folder.run("-c @/proxy.toml replay @/audit.jsonl --policies @/next/crm.toml");
        assert!(said.contains("none would change"), "{condition}: {said}");
        assert!(said.contains("3 decisions depend on arguments or claims"), "{condition}: {said}");
    }
}
