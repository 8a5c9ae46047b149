//! The shipped policies against their own tests, and cases against policies that are known.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::{Outcome, Suite};
use crate::config::Problems;
use crate::policy::cases::Verdict;

/// A policy file in a folder of its own, removed at the end.
struct Written(PathBuf);

impl Written {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-trial-{}.toml", uuid::Uuid::now_v7()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The suite of a text, which must be right.
fn suite(text: &str) -> Suite {
    let (suite, problems) = read(text);
    assert!(problems.is_empty(), "{}", problems.render(false));
    suite.unwrap()
}

fn read(text: &str) -> (Option<Suite>, Problems) {
    let file = Written::new(text);
    let mut problems = Problems::new();
    (Suite::of_files(std::slice::from_ref(&file.0), &mut problems), problems)
}

fn run(suite: &Suite) -> Vec<Outcome> {
    suite.cases.iter().map(|case| suite.run(case)).collect()
}

/// What each case differs in.
fn differences(text: &str) -> Vec<String> {
    let suite = suite(text);
    let told = |outcome: Outcome| {
        let differences: Vec<String> = outcome
            .mismatches
            .iter()
            .map(|one| {
                let blame = one.blame.as_ref().map(|(why, _)| format!(" ({why})")).unwrap_or_default();
                format!("{}: {} | {}{blame}", one.what, one.expected, one.got)
            })
            .collect();
        differences.join("; ")
    };
    run(&suite).into_iter().map(told).collect()
}

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// Only what a rule opens is for who has no token, in lists and in calls; a deny holds for everybody.
#[test]
fn cases_tell_what_is_for_callers_without_a_token() {
    let policy = r#"
        [policy]
        list = "all"
        [[rule]]
        id = "public"
        tools = ["see_*"]
        anonymous = true
        [[rule]]
        id = "open"
        tools = ["*"]
        when = "!has(claims.sub)"
        [[rule]]
        id = "office"
        tools = ["near"]
        when = "client.ip.startsWith('10.')"
        anonymous = true
        [[rule]]
        id = "no"
        effect = "deny"
        tools = ["see_secret"]
        when = "claims.department == 'sales'"
        [[test]]
        name = "anybody sees"
        anonymous = true
        call = { tool = "see_all" }
        expect = { decision = "allow", rule = "public" }
        [[test]]
        name = "an expression that errs denies everybody"
        anonymous = true
        call = { tool = "see_secret" }
        expect = { decision = "deny", rule = "no" }
        [[test]]
        name = "a rule for every caller is for callers with a token"
        anonymous = true
        call = { tool = "put" }
        expect = { decision = "deny" }
        [[test]]
        name = "a condition holds for anybody too"
        anonymous = true
        call = { tool = "near" }
        expect = { decision = "deny" }
        [[test]]
        name = "lists show no more than that"
        anonymous = true
        call = { list = "tools" }
        definitions = ["see_all", "see_secret", "put"]
        expect = { listed = ["see_all", "see_secret"] }
        [[test]]
        name = "nothing is kept for anybody"
        anonymous = true
        call = { method = "subscriptions/listen" }
        expect = { decision = "deny" }
        [[test]]
        name = "anybody says hello"
        anonymous = true
        call = { method = "server/discover" }
        expect = { decision = "allow" }
        [[test]]
        name = "who has a token is let pass by it too"
        claims = { sub = "ana" }
        call = { tool = "see_all" }
        expect = { decision = "allow", rule = "public" }
    "#;
    assert_eq!(differences(policy), vec![String::new(); 8]);
    assert_ne!(differences(&policy.replacen("anonymous = true", "", 1)), vec![String::new(); 8]);
    for wrong in ["claims = {}", "scopes = []", "issuer = \"corp\""] {
        let case = format!(
            "[[test]]\nname = \"t\"\nanonymous = true\n{wrong}\ncall = {{ tool = \"a\" }}\nexpect = {{ decision = \"deny\" }}"
        );
        let (_, problems) = read(&format!("[[rule]]\nid = \"a\"\ntools = [\"b\"]\n{case}"));
        assert!(problems.render(false).contains("has no meaning beside `anonymous`"), "{wrong}");
    }
}

#[test]
fn shipped_policies_pass_their_own_tests_and_cover_themselves() {
    let names: BTreeSet<String> =
        shipped().iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    for name in ["crm", "everything", "filesystem", "github", "hubspot", "postgres", "slack"] {
        assert!(names.contains(name), "{name}");
    }
    for file in shipped() {
        let suite = suite(&fs::read_to_string(&file).unwrap());
        let outcomes = run(&suite);
        for (case, outcome) in suite.cases.iter().zip(&outcomes) {
            assert!(outcome.mismatches.is_empty(), "{}: {}: {outcome:?}", file.display(), case.name);
        }
        let deciding: BTreeSet<_> = outcomes.iter().filter_map(|outcome| outcome.rule.clone()).collect();
        let finding: BTreeSet<_> = outcomes.iter().flat_map(|outcome| outcome.masks.iter().cloned()).collect();
        for rule in &suite.rules {
            assert!(deciding.contains(&rule.id), "{}: no test reaches the rule {}", file.display(), rule.id);
        }
        for mask in &suite.mask_places {
            assert!(finding.contains(&mask.id), "{}: no test reaches the mask {}", file.display(), mask.id);
        }
    }
}

/// Each text with one `[[rule]]` or `[[mask]]` less, and what it lost.
fn mutants(text: &str) -> Vec<(String, String)> {
    let root = DeTable::parse(text).unwrap();
    let mut headers: Vec<usize> = text.match_indices("\n[").map(|(at, _)| at + 1).collect();
    headers.push(text.len());
    let mut mutants = Vec::new();
    for kind in ["rule", "mask"] {
        for table in root.get_ref().get(kind).iter().flat_map(|tables| tables.get_ref().as_array().unwrap().iter()) {
            let id = table.get_ref().as_table().unwrap()["id"].get_ref().as_str().unwrap().to_owned();
            let start = table.span().start;
            // Tables below it, such as `[rule.args]`, go with it.
            let below = format!("[{kind}.");
            let ends = |at: &&usize| **at > start && !text.get(**at..).unwrap().starts_with(&below);
            let end = *headers.iter().find(ends).unwrap();
            mutants
                .push((format!("{kind} {id}"), format!("{}{}", text.get(..start).unwrap(), text.get(end..).unwrap())));
        }
    }
    mutants
}

#[test]
fn without_any_one_rule_or_mask_a_test_of_its_policy_fails() {
    let mut seen = 0;
    for file in shipped() {
        let text = fs::read_to_string(&file).unwrap();
        for (lost, mutant) in mutants(&text) {
            let suite = suite(&mutant);
            let failed = run(&suite).iter().any(|outcome| !outcome.mismatches.is_empty());
            assert!(failed, "{}: every test passes without the {lost}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 40, "{seen}");
}

const RULES: &str = r#"
[scopes]
"crm:write" = ["crm:read"]
[[rule]]
id     = "read"
tools  = ["get_*"]
resources = ["crm://pub/**"]
resource_templates = ["crm://pub/**"]
prompts = ["brief"]
scopes = ["crm:read"]
[[rule]]
id     = "write"
tools  = ["put_*"]
scopes = ["crm:read", "crm:write"]
[[rule]]
id      = "asks"
methods = ["sampling/createMessage", "tasks/get"]
[[rule]]
id     = "no-delete"
effect = "deny"
tools  = ["delete_*"]
[[mask]]
id       = "mail"
on       = ["result"]
entities = ["EMAIL_ADDRESS"]
[[mask]]
id        = "cards"
on        = ["arguments"]
entities  = ["CREDIT_CARD"]
action    = "mask"
keep_last = 4
[[mask]]
id       = "keys"
on       = ["arguments"]
entities = ["SECRET"]
action   = "block"
"#;

/// A test of a reader, from call and expectation.
fn case(rest: &str) -> String {
    format!("{RULES}\n[[test]]\nname = \"t\"\nclaims = {{ sub = \"ana\", scope = \"crm:read\" }}\n{rest}")
}

/// What follows `claims` in a test, and what it differs in.
const CASES: &[(&str, &str)] = &[
    (
        r#"call = { tool = "get_a" }
            expect = { decision = "allow", rule = "read" }"#,
        "",
    ),
    (
        r#"call = { tool = "get_a" }
            expect = { decision = "deny", rule = "no-delete" }"#,
        "decision: deny | allow; rule: no-delete | read (rule `no-delete` did not decide)",
    ),
    (
        r#"call = { tool = "put_a" }
            expect = { decision = "step_up", rule = "write", scopes = ["crm:write", "crm:read"] }"#,
        "",
    ),
    (
        r#"call = { tool = "put_a" }
            expect = { decision = "step_up", scopes = ["crm:write"] }"#,
        "scopes: crm:write | crm:read crm:write",
    ),
    (
        r#"call = { tool = "delete_a" }
            expect = { decision = "deny", rule = "no-delete" }"#,
        "",
    ),
    (
        r#"call = { tool = "run" }
            expect = { decision = "deny", rule = "read" }"#,
        "rule: read | no rule (rule `read` did not decide)",
    ),
    // A name two parsers could read differently is denied, whatever the globs say.
    (
        r#"call = { tool = "get a" }
            expect = { decision = "deny" }"#,
        "",
    ),
    (
        r#"call = { resource = "crm://pub/a" }
            expect = { decision = "allow", rule = "read" }"#,
        "",
    ),
    (
        r#"call = { resource = "crm://pub/../secret" }
            expect = { decision = "deny" }"#,
        "",
    ),
    (
        r#"call = { resource_template = "crm://pub/{id}" }
            expect = { decision = "allow", rule = "read" }"#,
        "",
    ),
    (
        r#"call = { prompt = "brief", args = { id = "7" } }
            result = "for ana@example.com"
            expect = { decision = "allow", rule = "read", result = "for [EMAIL_ADDRESS]" }"#,
        "",
    ),
    (
        r#"call = { method = "sampling/createMessage" }
            expect = { decision = "allow", rule = "asks" }"#,
        "",
    ),
    (
        r#"call = { method = "tasks/list" }
            expect = { decision = "deny" }"#,
        "",
    ),
    (
        r#"call = { method = "ping" }
            expect = { decision = "allow" }"#,
        "",
    ),
    (
        r#"call = { tool = "get_a", args = { q = "4111 1111 1111 1111" } }
            expect = { decision = "allow", arguments = { q = "************1111" } }"#,
        "",
    ),
    (
        r#"call = { tool = "get_a", args = { q = "AKIAIOSFODNN7EXAMPLE" } }
            expect = { decision = "deny", rule = "keys" }"#,
        "",
    ),
    (
        r#"call = { tool = "get_a" }
            result = "Paid with 4111 1111 1111 1111"
            expect = { decision = "allow", result = "Paid with ************1111" }"#,
        "result: Paid with ************1111 | Paid with 4111 1111 1111 1111 (mask \"cards\" has on = [\"arguments\"])",
    ),
    (
        r#"call = { tool = "get_a" }
            result = { content = [], structuredContent = { mail = "ana@example.com", n = 1 } }
            expect = { decision = "allow", result = { content = [], structuredContent = { mail = "[EMAIL_ADDRESS]", n = 1 } } }"#,
        "",
    ),
    (
        r#"call = { list = "tools" }
            definitions = ["get_a", "put_a", "delete_a", "run"]
            expect = { listed = ["get_a", "put_a"] }"#,
        "",
    ),
    (
        r#"call = { list = "tools" }
            definitions = [{ name = "get_a", inputSchema = { type = "object" } }, "run"]
            expect = { listed = ["run"] }"#,
        "listed: run | get_a",
    ),
    (
        r#"call = { list = "resources" }
            definitions = ["crm://pub/a", "crm://secret"]
            expect = { decision = "allow", listed = ["crm://pub/a"] }"#,
        "",
    ),
    (
        r#"call = { list = "prompts" }
            definitions = ["other"]
            expect = { listed = [] }"#,
        "",
    ),
];

#[test]
fn cases_see_what_clients_and_upstreams_see() {
    for (rest, expected) in CASES {
        assert_eq!(differences(&case(rest)), [*expected], "{rest}");
    }
}

/// From where a client calls and what it says of itself are told in the file; what is not told is not known.
#[test]
fn cases_tell_of_the_client() {
    let rules = r#"
[[rule]]
id = "all"
tools = ["*"]
[[rule]]
id = "office"
tools = ["near"]
prompts = ["near"]
when = "client.ip.startsWith('10.')"
[[rule]]
id = "no-app"
effect = "deny"
tools = ["by_app"]
when = "client.id == 'app'"
[[rule]]
id = "no-bot"
effect = "deny"
tools = ["chat"]
when = "has(untrusted.name) && untrusted.name == 'bot' && untrusted.version == '1'"
[[rule]]
id = "no-curl"
effect = "deny"
tools = ["fetch"]
when = "'user-agent' in untrusted.headers && untrusted.headers['user-agent'].startsWith('curl/')"
[[rule]]
id = "no-old"
effect = "deny"
tools = ["new"]
when = "untrusted.protocol_version != '2026-07-28'"
[[rule]]
id = "careless"
effect = "deny"
tools = ["careless"]
when = "untrusted.name == 'bot'"
"#;
    for (call, client, decision, rule) in [
        ("prompt = \"near\"", "client = { ip = \"10.2.3.4\" }", "allow", "office"),
        ("prompt = \"near\"", "client = { ip = \"::ffff:10.2.3.4\" }", "allow", "office"),
        ("prompt = \"near\"", "client = { ip = \"192.0.2.1\" }", "deny", "no rule"),
        ("prompt = \"near\"", "client = { ip = \"2001:db8::1\" }", "deny", "no rule"),
        ("prompt = \"near\"", "", "deny", "no rule"),
        ("tool = \"by_app\"", "claims = { client_id = \"app\" }", "deny", "no-app"),
        ("tool = \"by_app\"", "claims = { client_id = \"other\" }", "allow", "all"),
        ("tool = \"chat\"", "", "allow", "all"),
        ("tool = \"chat\"", "untrusted = {}", "allow", "all"),
        ("tool = \"chat\"", "untrusted = { name = \"bot\", version = \"1\" }", "deny", "no-bot"),
        ("tool = \"chat\"", "untrusted = { name = \"bot\", version = \"2\" }", "allow", "all"),
        ("tool = \"fetch\"", "", "allow", "all"),
        ("tool = \"fetch\"", "untrusted = { headers = { user-agent = \"curl/8\" } }", "deny", "no-curl"),
        ("tool = \"fetch\"", "untrusted = { headers = { user-agent = \"Mozilla\" } }", "allow", "all"),
        ("tool = \"fetch\"", "untrusted = { headers = { referer = \"curl/8\" } }", "allow", "all"),
        ("tool = \"new\"", "", "allow", "all"),
        ("tool = \"new\"", "untrusted = { protocol_version = \"2025-03-26\" }", "deny", "no-old"),
        ("tool = \"new\"", "untrusted = { protocol_version = \"2026-07-28\" }", "allow", "all"),
        // Who does not say its name makes the condition of a deny rule err, and so match, as on the wire.
        ("tool = \"careless\"", "", "deny", "careless"),
        ("tool = \"careless\"", "untrusted = { name = \"good\", version = \"1\" }", "allow", "all"),
    ] {
        let case = |decision: &str| {
            format!(
                "{rules}[[test]]\nname = \"t\"\nscopes = []\ncall = {{ {call} }}\n{client}\nexpect = {{ decision = \"{decision}\" }}"
            )
        };
        let suite = suite(&case(decision));
        let outcome = suite.run(&suite.cases[0]);
        let got = outcome.rule.as_deref().unwrap_or("no rule");
        assert_eq!((outcome.verdict.as_str(), got), (decision, rule), "{call} {client}");
        let other = if decision == "deny" { "allow" } else { "deny" };
        assert_eq!(differences(&case(other)), [format!("decision: {other} | {decision}")], "{call} {client}");
    }
}

/// What is approved of tools is what a lock would say: hints, schemas, and that other tools are not approved.
#[test]
fn cases_tell_what_is_approved_of_tools() {
    let rules = "[[rule]]\nid = \"reads\"\ntools = [\"*\"]\nwhen = \"tool.annotations.readOnlyHint\"\n\
                 [[rule]]\nid = \"pay\"\ntools = [\"pay\"]\n";
    let see = "approved = [{ name = \"see\", annotations = { readOnlyHint = true } }]";
    let pay =
        "approved = [{ name = \"pay\", inputSchema = { type = \"object\", properties = { n = { maximum = 5 } } } }]";
    for (approved, call, expect) in [
        ("", "tool = \"see\"", "decision = \"deny\""),
        (see, "tool = \"see\"", "decision = \"allow\", rule = \"reads\""),
        (see, "tool = \"other\"", "decision = \"deny\""),
        ("", "tool = \"pay\", args = { n = 6 }", "decision = \"allow\", rule = \"pay\""),
        (see, "tool = \"pay\"", "decision = \"deny\""),
        (pay, "tool = \"pay\", args = { n = 5 }", "decision = \"allow\", rule = \"pay\""),
        (pay, "tool = \"pay\", args = { n = 6 }", "decision = \"deny\""),
        (see, "list = \"tools\"", "listed = [\"see\"]"),
        ("approved = []", "list = \"tools\"", "listed = []"),
        ("", "list = \"tools\"", "listed = [\"pay\"]"),
    ] {
        let definitions = if call.starts_with("list") { "definitions = [\"see\", \"put\", \"pay\"]" } else { "" };
        let case = format!(
            "{rules}[[test]]\nname = \"t\"\nscopes = []\n{approved}\ncall = {{ {call} }}\n{definitions}\nexpect = {{ {expect} }}"
        );
        assert_eq!(differences(&case), [""], "{approved} {call}");
    }
    for (approved, expected) in [
        ("\"see\"", "`approved` is a list of definitions"),
        ("[\"see\"]", "a table with the tool's `name`"),
        ("[{ title = \"See\" }]", "a table with the tool's `name`"),
        ("[{ name = \"a\" }, { name = \"a\" }]", "the tool is approved twice"),
    ] {
        let (_, problems) = read(&format!(
            "[[test]]\nname = \"t\"\nscopes = []\napproved = {approved}\ncall = {{ tool = \"a\" }}\nexpect = {{ decision = \"deny\" }}"
        ));
        let shown = problems.render(false);
        assert!(problems.has_errors() && shown.contains(expected), "{approved}: {shown}");
    }
}

#[test]
fn cases_tell_only_what_a_client_can_be() {
    for (client, expected) in [
        ("client = \"10.2.3.4\"", "write `client = { ip = \"10.2.3.4\" }`"),
        ("client = {}", "`client` says nothing"),
        ("client = { ip = 7 }", "`ip` must be a string"),
        ("client = { ip = \"\" }", "`ip` holds an empty string"),
        ("client = { ip = \"10.0.0.0/8\" }", "`ip` is not an IP address"),
        ("client = { ip = \"10.2.3.4:80\" }", "without port or prefix length"),
        ("client = { id = \"app\" }", "client_id = \"app\""),
        ("client = { ip = \"10.2.3.4\", port = 1 }", "unknown key `port`"),
        ("untrusted = \"bot\"", "`untrusted` must be a table"),
        ("untrusted = { nam = \"bot\", version = \"1\" }", "did you mean `name`?"),
        ("untrusted = { name = \"bot\" }", "come together"),
        ("untrusted = { version = \"1\" }", "come together"),
        ("untrusted = { name = 7, version = \"1\" }", "`name` must be a string"),
        ("untrusted = { protocol_version = \"2025-06-17\" }", "did you mean `2025-06-18`?"),
        ("untrusted = { protocol_version = \"2024-11-05\" }", "`protocol_version` cannot be `2024-11-05`"),
        ("untrusted = { headers = [] }", "`headers` must be a table"),
        ("untrusted = { headers = { authorization = \"a\" } }", "rules do not see the header `authorization`"),
        ("untrusted = { headers = { User-Agent = \"a\" } }", "did you mean `user-agent`?"),
        ("untrusted = { headers = { user-agent = 8 } }", "`user-agent` must be a string"),
        ("untrusted = { headers = { user-agent = \"ä\" } }", "printable ASCII"),
        ("untrusted = { headers = { user-agent = \"a\\r\\nb\" } }", "printable ASCII"),
    ] {
        let (suite, problems) = read(&format!(
            "[[test]]\nname = \"t\"\nscopes = []\n{client}\ncall = {{ tool = \"a\" }}\nexpect = {{ decision = \"deny\" }}"
        ));
        let shown = problems.render(false);
        assert!(problems.has_errors() && shown.contains(expected), "{client}: {shown}");
        assert!(suite.is_none_or(|suite| suite.policy.is_empty()), "{client}");
    }
}

#[test]
fn a_case_looks_behind_the_shadow() {
    let rules = r#"
[policy]
shadow_until = 2026-02-01T00:00:00Z
[[rule]]
id = "all"
tools = ["*"]
[[rule]]
id = "no-drop"
effect = "deny"
mode = "shadow"
tools = ["drop_*"]
"#;
    let case = |expect: &str| {
        format!("{rules}[[test]]\nname = \"t\"\nscopes = []\ncall = {{ tool = \"drop_a\" }}\nexpect = {expect}")
    };
    for (expect, expected) in [
        (r#"{ decision = "allow", rule = "all", would = { decision = "deny", rule = "no-drop" } }"#, ""),
        (r#"{ decision = "allow", would = { decision = "allow" } }"#, "would: allow | deny"),
        (r#"{ decision = "allow", would = { decision = "deny", rule = "all" } }"#, "would: all | no-drop"),
        (r#"{ decision = "deny" }"#, "decision: deny | allow"),
    ] {
        assert_eq!(differences(&case(expect)), [expected], "{expect}");
    }
}

#[test]
fn a_case_tells_which_masks_found_something() {
    let text =
        case("call = { tool = \"get_a\", args = { q = \"AKIAIOSFODNN7EXAMPLE\" } }\nexpect = { decision = \"deny\" }");
    let suite = suite(&text);
    let outcome = suite.run(&suite.cases[0]);
    assert_eq!(outcome.verdict, Verdict::Deny);
    assert!(outcome.masks.iter().any(|mask| **mask == *"keys"), "{outcome:?}");
}

#[test]
fn a_wrong_test_is_shown_where_it_is_wrong() {
    for (rest, expected) in [
        ("[[test]]", "a test needs a `name`"),
        ("[[test]]\nname = \"t\"", "a test must say who calls"),
        ("[[test]]\nname = \"t\"\nclaims = {}", "a test must say what is called"),
        ("[[test]]\nname = \"t\"\nclaims = {}\ncall = { tool = \"a\" }", "a test must say what it expects"),
        ("[[test]]\nname = \"t\"\nclaim = {}\ncall = { tool = \"a\" }", "did you mean `claims`?"),
        ("[[test]]\nname = \"t\"\nclaims = { scope = 7 }\ncall = { tool = \"a\" }", "no token has such claims"),
        ("[[test]]\nname = \"t\"\nclaims = { scope = \"a\" }\nscopes = [\"a\"]", "say the same thing twice"),
        ("[[test]]\nname = \"t\"\nscopes = []\ncall = {}", "a call is about exactly one thing"),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\", prompt = \"b\" }",
            "a call is about exactly one thing",
        ),
        ("[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\", args = 7 }", "`args` must be a table"),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { resource = \"a:b\", args = {} }",
            "`args` has no meaning beside `resource`",
        ),
        ("[[test]]\nname = \"t\"\nscopes = []\ncall = { method = \"tools/call\" }", "decided by what it is about"),
        ("[[test]]\nname = \"t\"\nscopes = []\ncall = { list = \"tool\" }", "did you mean `tools`?"),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\" }\nnow = \"noon\"\nexpect = {}",
            "`now` is not a date and time",
        ),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\" }\nexpect = {}",
            "`expect` must say the `decision`",
        ),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\" }\nexpect = { decision = \"stepup\" }",
            "did you mean `step_up`?",
        ),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\" }\nexpect = { decision = \"deny\", scopes = [\"a\"] }",
            "`scopes` cannot be expected here",
        ),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\" }\nexpect = { decision = \"allow\", result = \"a\" }",
            "`result` cannot be expected here",
        ),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\" }\nexpect = { decision = \"allow\", listed = [\"a\"] }",
            "`listed` cannot be expected here",
        ),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\" }\ndefinitions = [\"a\"]\nexpect = { decision = \"allow\" }",
            "`definitions` are what a list is filtered from",
        ),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { list = \"tools\" }\nresult = \"a\"\nexpect = {}",
            "this cannot be the `result` of the call",
        ),
        (
            "[[test]]\nname = \"t\"\nscopes = []\ncall = { tool = \"a\", args = { n = inf } }\nexpect = { decision = \"allow\" }",
            "a number no JSON message can carry",
        ),
        (
            "[[test]]\nname = \"t\"\nelicits = \"c\"\ncall = { tool = \"a\" }\nexpect = { decision = \"deny\" }",
            "unknown key `elicits`",
        ),
    ] {
        let (suite, problems) = read(rest);
        let shown = problems.render(false);
        assert!(problems.has_errors() && shown.contains(expected), "{rest}: {shown}");
        assert!(suite.is_none_or(|suite| suite.policy.is_empty()), "{rest}");
    }
}
