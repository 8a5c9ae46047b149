//! `test`: every format, with its exit code.

use super::{Folder, GOOD, POLICY};

const TESTS: &str = r#"
[[test]]
name   = "reader may read"
claims = { sub = "ana", scope = "crm:read" }
call   = { tool = "get_contact", args = { id = 7 } }
expect = { decision = "allow", rule = "crm-read" }

[[test]]
name   = "anybody is asked to step up"
scopes = []
call   = { tool = "get_contact" }
expect = { decision = "step_up", rule = "crm-read", scopes = ["crm:read"] }
"#;

const FAILING: &str = r#"
[[test]]
name   = "cards keep their <last> four digits"
claims = { sub = "ana", scope = "crm:read" }
call   = { tool = "get_contact", args = { id = 7 } }
result = "Paid with 4111 1111 1111 1111"
expect = { decision = "allow", rule = "crm-read", result = "Paid with ************1111" }

[[test]]
name   = "nobody deletes"
claims = { sub = "ana", scope = "crm:read" }
call   = { tool = "get_contact" }
expect = { decision = "deny" }
"#;

const CARDS: &str = r#"
[[mask]]
id = "cards"
on = ["arguments"]
entities = ["CREDIT_CARD"]
action = "mask"
keep_last = 4
"#;

fn folder(name: &str, policy: &str) -> Folder {
    let folder = Folder::new(name);
    folder.file("policies/crm.toml", policy);
    folder
}

#[test]
fn says_what_passed_and_by_which_rule() {
    let folder = folder("test-good", &format!("{POLICY}{TESTS}"));
    let of = |head: &str| {
        format!(
            "exit 0\n--- out\n{head}\n\
             \x20 ok    reader may read              crm-read\n\
             \x20 ok    anybody is asked to step up  crm-read   403 scope=\"crm:read\"\n\
             2 passed\n--- err\n"
        )
    };
    assert_eq!(folder.run("-c @/proxy.toml test"), of("@/policies/crm.toml   server crm"));
    for paths in ["@/policies", "@/policies/crm.toml"] {
        assert_eq!(folder.run(&format!("test {paths}")), of("@/policies/crm.toml"), "{paths}");
    }
    assert_eq!(folder.run("test @/proxy.toml"), of("@/policies/crm.toml   server crm"));
    assert_eq!(folder.run("-q test @/policies"), "exit 0\n--- out\n--- err\n");
    assert!(folder.run("--color always test @/policies").contains("  \x1b[32mok\x1b[0m    reader"));
    let one = folder.run("test @/policies --run step.up");
    assert!(one.starts_with("exit 0\n") && one.contains("\n1 passed\n") && !one.contains("may read"), "{one}");
}

#[test]
fn shows_what_failed_and_what_is_to_blame() {
    let folder = folder("test-bad", &format!("{POLICY}{CARDS}{TESTS}{FAILING}"));
    let expected = "\
exit 1
--- out
@/policies/crm.toml
  ok    reader may read                      crm-read
  ok    anybody is asked to step up          crm-read   403 scope=\"crm:read\"
  FAIL  cards keep their <last> four digits
        result  expected  Paid with ************1111
                     got  Paid with 4111 1111 1111 1111
        mask \"cards\" has on = [\"arguments\"]
         --> @/policies/crm.toml:14:6
          |
       14 | id = \"cards\"
          |      ^^^^^^^ mask \"cards\" has on = [\"arguments\"]
  FAIL  nobody deletes
        decision  expected  deny
                       got  allow
         --> @/policies/crm.toml:43:23
          |
       43 | expect = { decision = \"deny\" }
          |                       ^^^^^^ got allow
2 passed, 2 failed
--- err
";
    assert_eq!(folder.run("test @/policies"), expected);
    let quiet = folder.run("-q test @/policies");
    assert!(quiet.starts_with("exit 1\n") && !quiet.contains("reader may read") && quiet.contains("nobody"), "{quiet}");
}

#[test]
fn coverage_counts_rules_and_masks() {
    let folder = folder("test-coverage", &format!("{POLICY}{CARDS}{TESTS}"));
    let said = folder.run("test @/policies --coverage");
    let expected = "  not covered  mask pii                       @/policies/crm.toml:8:6\n\
                    \x20 not covered  mask cards                     @/policies/crm.toml:14:6\n\
                    coverage 33.33 %   1 of 1 rules, 0 of 2 masks\n2 passed\n--- err\n";
    assert!(said.starts_with("exit 0\n") && said.ends_with(expected), "{said}");
    let said = folder.run("test @/policies --min 33.34");
    assert!(said.starts_with("exit 1\n"), "{said}");
    assert!(said.ends_with("--- err\nerror: coverage is 33.33 %, at least 33.34 % is wanted\n"), "{said}");
    assert!(folder.run("test @/policies --min 33.33").starts_with("exit 0\n"));
    let said = folder.run("test @/policies --min 100 --format github");
    assert!(
        said.contains(
            "::warning file=@/policies/crm.toml,line=8,endLine=8,col=6,endColumn=11::no test reaches the mask `pii`\n"
        ),
        "{said}"
    );
    assert!(said.contains("::error::coverage is 33.33 %25, at least 100 %25 is wanted\n"), "{said}");
}

#[test]
fn a_test_is_there_to_be_run() {
    let folder = folder("test-none", POLICY);
    assert_eq!(
        folder.run("test @/policies"),
        "exit 1\n--- out\n0 passed\n--- err\nerror: there is no [[test]] to run\n"
    );
    folder.file("policies/crm.toml", &format!("{POLICY}{TESTS}"));
    let said = folder.run("test @/policies --run nobody");
    assert_eq!(said, "exit 1\n--- out\n0 passed\n--- err\nerror: no test has such a name\n");
    let said = folder.run("-c @/absent.toml test");
    assert!(said.starts_with("exit 2\n") && said.contains("there is no @/absent.toml; name policy files"), "{said}");
    let said = folder.run("test @/nowhere");
    assert!(said.starts_with("exit 2\n--- out\n--- err\nerror: cannot read @/nowhere: "), "{said}");
}

#[test]
fn a_policy_that_is_refused_is_not_tested() {
    let folder = folder("test-refused", &format!("{POLICY}{TESTS}").replace("tools =", "tool ="));
    let said = folder.run("test @/policies");
    assert!(said.starts_with("exit 78\n--- out\n--- err\nerror: ") && said.contains("unknown key `tool`"), "{said}");
    folder
        .file("policies/crm.toml", &format!("{POLICY}{TESTS}").replace("claims = {", "issuer = \"corq\"\nclaims = {"));
    let said = folder.run("-c @/proxy.toml test");
    assert!(said.starts_with("exit 78\n") && said.contains("takes no callers from an issuer `corq`"), "{said}");
    folder.file("proxy.toml", &GOOD.replace("servers.crm", "servers.c r m"));
    assert!(folder.run("-c @/proxy.toml test").starts_with("exit 78\n"));
}

#[test]
fn programs_read_the_same() {
    let folder = folder("test-formats", &format!("{POLICY}{CARDS}{TESTS}{FAILING}"));
    let out = |arguments: &str| {
        let said = folder.run(arguments);
        let out = said.strip_prefix("exit 1\n--- out\n").and_then(|said| said.strip_suffix("--- err\n")).unwrap();
        out.to_owned()
    };
    let json: serde_json::Value = serde_json::from_str(&out("test @/policies --format json --coverage")).unwrap();
    assert_eq!((&json["schema_version"], &json["ok"]), (&1.into(), &false.into()));
    assert_eq!((&json["passed"], &json["failed"]), (&2.into(), &2.into()));
    let failed = &json["tests"][2];
    assert_eq!(failed["mismatches"][0]["blame"]["line"], 14);
    assert_eq!(failed["mismatches"][0]["got"], "Paid with 4111 1111 1111 1111");
    assert_eq!(json["coverage"]["percent"], 33.33);

    let junit = out("test @/policies --format junit --min 100");
    assert!(junit.contains("<testsuites name=\"portcullis\" tests=\"5\" failures=\"3\">"), "{junit}");
    assert!(junit.contains("<testcase name=\"cards keep their &lt;last&gt; four digits\" "), "{junit}");
    assert!(junit.contains("<failure message=\"decision is allow, expected deny\" type=\"decision\">"), "{junit}");
    assert!(junit.contains("<failure message=\"coverage is 33.33 %, at least 100 % is wanted\"/>"), "{junit}");
    assert_eq!(junit.matches("<testcase").count(), 5);

    let tap = out("test @/policies --format tap --min 0");
    let expected = "\
TAP version 14
1..5
ok 1 - reader may read
ok 2 - anybody is asked to step up
not ok 3 - cards keep their <last> four digits
  ---
  message: \"result\"
  expected: \"Paid with ************1111\"
  actual: \"Paid with 4111 1111 1111 1111\"
  at: \"@/policies/crm.toml:37:60\"
  ...
not ok 4 - nobody deletes
  ---
  message: \"decision\"
  expected: \"deny\"
  actual: \"allow\"
  at: \"@/policies/crm.toml:43:23\"
  ...
ok 5 - coverage
";
    assert_eq!(tap, expected);

    let github = out("test @/policies --format github");
    let expected = "::error file=@/policies/crm.toml,line=14,endLine=14,col=6,endColumn=13::test \"cards keep";
    assert!(github.starts_with(expected) && github.lines().count() == 2, "{github}");
}

#[test]
fn prints_the_schemas_editors_check_by() {
    let folder = Folder::new("schemas");
    for (of, title) in [("proxy", "Portcullis: proxy.toml"), ("policy", "Portcullis: policy file")] {
        let said = folder.run(&format!("generate schema {of}"));
        let out = said.strip_prefix("exit 0\n--- out\n").and_then(|said| said.strip_suffix("--- err\n")).unwrap();
        let schema: serde_json::Value = serde_json::from_str(out).unwrap();
        assert_eq!(schema["title"], title);
    }
}

#[test]
fn a_case_that_differs_twice_has_one_diagnostic() {
    let both = "[[test]]\nname = \"both\"\nclaims = { sub = \"ana\", scope = \"crm:read\" }\ncall = { tool = \"get_x\" }\n\
                expect = { decision = \"deny\", rule = \"none\" }\n";
    let folder = folder("test-tap", &format!("{POLICY}{both}"));
    let said = folder.run("test @/policies --format tap");
    let expected = "not ok 1 - both\n  ---\n  message: \"decision, rule\"\n  \
                    expected: {\"decision\":\"deny\",\"rule\":\"none\"}\n  \
                    actual: {\"decision\":\"allow\",\"rule\":\"crm-read\"}\n  at: \"@/policies/crm.toml:";
    assert!(said.contains(expected) && said.matches("\n  ...").count() == 1, "{said}");
}

#[test]
fn a_policy_may_come_from_a_pipe() {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let folder = Folder::new("pipe");
    for command in ["test PATH", "replay @/audit.jsonl -c @/absent.toml --policies PATH"] {
        let (read, mut write) = std::io::pipe().unwrap();
        write.write_all(format!("{POLICY}{TESTS}").as_bytes()).unwrap();
        drop(write);
        folder.file("audit.jsonl", "");
        let said = folder.run(&command.replace("PATH", &format!("/dev/fd/{}", read.as_raw_fd())));
        assert!(said.contains("2 passed") || said.contains("0 decisions"), "{command}: {said}");
    }
}

/// What a token says is read as its issuer writes it; a scope nobody can be given passes no test.
#[test]
fn claims_are_read_as_those_of_the_issuers_tokens() {
    let rule = "[[rule]]\nid = \"all\"\ntools = [\"*\"]\nscopes = [\"crm:read\", \"role:admin\"]\n";
    let case = |who: &str, decision: &str| {
        format!(
            "[[test]]\nname = '{who}'\n{who}\ncall = {{ tool = \"get_contact\" }}\nexpect = {{ decision = \"{decision}\" }}\n"
        )
    };
    let cases = [
        case("scopes = [\"crm:read\", \"role:admin\"]", "allow"),
        case("claims = { scp = [\"crm:read\"], roles = [\"admin\"] }", "allow"),
        case("claims = { scope = \"crm:read\", roles = [\"admin\"] }", "step_up"),
        case("claims = { scp = [\"crm:read\", \"role:admin\"] }", "step_up"),
    ];
    let folder = folder("test-claims", &format!("{rule}{}", cases.concat()));
    let issuer = "profile = \"okta\"\nscope_prefixes = { roles = \"role:\" }\n[servers";
    folder.file("proxy.toml", &GOOD.replace("[servers", issuer));
    let said = folder.run("-c @/proxy.toml test");
    assert!(said.contains("\n4 passed\n"), "{said}");
    let explain = |claims: &str| folder.run(&format!("-c @/proxy.toml explain --tool get_contact --claims {claims}"));
    assert!(explain("{\"uid\":\"ana\",\"scp\":[\"crm:read\"],\"roles\":[\"admin\"]}").starts_with("exit 0\n"));
    assert!(explain("{\"scp\":[\"crm:read\",\"role:admin\"]}").contains("403"));
}

#[test]
fn what_would_be_decided_of_methods_everybody_may_use_is_that_too() {
    let rules = "[[rule]]\nid = \"all\"\ntools = [\"*\"]\n[[rule]]\nid = \"quiet\"\neffect = \"deny\"\nmode = \"shadow\"\n\
                 methods = [\"logging/setLevel\"]\n";
    let case = |call: &str, would: &str| {
        format!(
            "[[test]]\nname = '{call}'\nscopes = []\ncall = {{ {call} }}\n\
             expect = {{ decision = \"allow\", would = {{ {would} }} }}\n"
        )
    };
    let cases = [
        case("method = \"ping\"", "decision = \"allow\""),
        case("list = \"tools\"", "decision = \"allow\""),
        case("tool = \"x\"", "decision = \"allow\", rule = \"all\""),
        case("method = \"logging/setLevel\"", "decision = \"deny\", rule = \"quiet\""),
    ];
    let folder = folder("test-would", &format!("{rules}{}", cases.concat()));
    let said = folder.run("test @/policies/crm.toml");
    assert!(said.contains("\n4 passed\n"), "{said}");
}

#[test]
fn the_issuer_of_a_test_counts_without_a_configuration_too() {
    let rule = "[[rule]]\nid = \"all\"\ntools = [\"*\"]\nissuer = [\"corp\"]\n";
    let case = |issuer: &str, decision: &str| {
        format!(
            "[[test]]\nname = \"{issuer}\"\nissuer = \"{issuer}\"\nscopes = []\ncall = {{ tool = \"get_contact\" }}\n\
             expect = {{ decision = \"{decision}\" }}\n"
        )
    };
    let folder = folder("test-issuer", &format!("{rule}{}{}", case("corp", "allow"), case("other", "deny")));
    let said = folder.run("test @/policies/crm.toml");
    assert!(said.contains("\n2 passed\n"), "{said}");
}
