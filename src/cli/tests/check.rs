//! `check` beyond the file itself: policies, certificates, issuers and upstreams.

use clap::CommandFactory as _;
use tokio::net::TcpListener;

use super::{Cli, Folder, GOOD, POLICY, squeezed};
use crate::demo::crm;
use crate::demo::issuer::{Issuer, Settings};

#[test]
fn a_broken_policy_is_shown_where_it_is_broken() {
    let folder = Folder::new("policy");
    folder.file("policies/crm.toml", &POLICY.replace("id = \"crm-read\"", "scope = [\"crm\"]\nid = \"crm-read\""));
    folder.file("policies/wiki.toml", POLICY);
    let two = format!(
        "{GOOD}[servers.wiki]\npath = \"/wiki\"\nupstream = \"http://127.0.0.1:3002/mcp\"\npolicies = [\"policies/wiki.toml\"]\n"
    );
    folder.file("proxy.toml", &two.replace("[issuers", "listen = [\"127.0.0.1:0\"]\n[issuers"));
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    let steps = "exit 78\n--- out\n✓ @/proxy.toml  2 servers, 1 issuer\n✗ policies/crm.toml  1 error\n\
                 ✓ policies/wiki.toml  nothing wrong in it\n✓ tls  CN=mcp.example.com, N days left\n✓ state  in memory: rate limits, used proofs and states, revocations are not shared\n--- err\n";
    assert!(said.starts_with(steps), "{said}");
    for part in ["error: unknown key `scope`", " --> @/policies/crm.toml:4:1\n", "4 | scope = [\"crm\"]\n", "^^^^^"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(folder.run("-q -c @/proxy.toml serve"), format!("exit 78\n--- out\n--- err\n{}", after(&said)));
    let said = folder.run("check --offline @/proxy.toml --format github");
    assert!(said.contains("::error file=@/policies/crm.toml,line=4,endLine=4,col=1,endColumn=6::"), "{said}");
}

/// What stands on standard error.
fn after(said: &str) -> &str {
    said.split_once("--- err\n").unwrap().1
}

#[test]
fn serve_starts_no_differently_than_check_says() {
    let folder = Folder::new("same");
    for (what, text) in [
        ("key", GOOD.replace("public_url", "public_ulr")),
        ("file", GOOD.replace("tls.key", "absent.key")),
        ("secret", format!("{GOOD}[servers.crm.upstream_auth]\ntype = \"bearer\"\ntoken = {{ file = \"absent\" }}\n")),
        ("syntax", "[server\n".to_owned()),
    ] {
        folder.file("proxy.toml", &text);
        let check = folder.run("check --offline @/proxy.toml");
        assert!(check.starts_with("exit 78\n") && after(&check).starts_with("error: "), "{what}: {check}");
        let serve = folder.run("-c @/proxy.toml serve");
        assert_eq!(serve, format!("exit 78\n--- out\n--- err\n{}", after(&check)), "{what}");
        assert_eq!(folder.run("-c @/proxy.toml serve --check"), check, "{what}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let folder = Folder::new("pair");
    folder.file("tls.key", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let expected = "\
error: `key_file` is not the key of the certificate in `cert_file`
 --> @/proxy.toml:3:43
  |
3 | tls = { cert_file = \"tls.crt\", key_file = \"tls.key\" }
  |                                           ^^^^^^^^^ the key of another certificate?
  |
  = help: use the key the certificate was requested with; both files change together
";
    for arguments in ["check --offline @/proxy.toml", "-c @/proxy.toml serve"] {
        let said = folder.run(arguments);
        assert!(said.starts_with("exit 78\n"), "{arguments}: {said}");
        assert!(said.contains(expected), "{arguments}: {said}");
    }
}

/// A proxy.toml for an issuer and an upstream on loopback.
fn local(issuer: &str, upstream: &str) -> String {
    format!(
        "[server]\npublic_url = \"http://127.0.0.1:8080\"\n[issuers.corp]\nissuer = \"{issuer}\"\n\
         insecure_loopback = true\n[servers.crm]\npath = \"/crm/mcp\"\nupstream = \"{upstream}\"\n\
         policies = [\"policies/crm.toml\"]\n"
    )
}

/// The sample server.
async fn crm() -> crm::Crm {
    crm::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), crm::Settings::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_issuers_and_upstreams_unless_offline() {
    let folder = Folder::new("online");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = crm().await;
    let issuer = Issuer::start(listener, Settings::default()).unwrap();
    folder.file("proxy.toml", &local(issuer.url(), upstream.url()));
    let run = |arguments: &str| tokio::task::block_in_place(|| squeezed(&folder.run(arguments)));
    let took = regex::Regex::new("[0-9]+ ms").unwrap();
    let expected = "\
exit 0
--- out
✓ @/proxy.toml  1 server, 1 issuer
✓ policies/crm.toml  1 rule, 1 mask
✓ state  in memory: rate limits, used proofs and states, revocations are not shared
✓ issuer corp  1 key fetched in N ms
✓ upstream crm  8 tools, 7 of them listed by no allow rule
--- err
";
    assert_eq!(took.replace_all(&run("check @/proxy.toml"), "N ms"), expected);
    let locked = format!("{}lock = \"policies/crm.lock\"\n", local(issuer.url(), upstream.url()));
    folder.file("proxy.toml", &locked);
    assert!(run("-c @/proxy.toml tools crm --lock").starts_with("exit 0\n"));
    assert_eq!(took.replace_all(&run("check @/proxy.toml"), "N ms"), expected);
    let lock = std::fs::read_to_string(folder.0.join("policies/crm.lock")).unwrap();
    let kept: Vec<&str> = lock.lines().filter(|line| !line.contains("\"tool\":\"get_contact\"")).collect();
    folder.file("policies/crm.lock", &format!("{}\n", kept.join("\n")));
    let said = run("check @/proxy.toml");
    assert!(said.contains("\n! upstream crm  8 tools,"), "{said}");
    assert!(said.contains("warning: not as the lock has it: `get_contact`\n"), "{said}");
    assert!(said.contains("--> @/proxy.toml:10:8\n"), "{said}");
    assert!(said.contains("`portcullis tools crm --verify` shows what differs"), "{said}");
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    folder.file("proxy.toml", &local(issuer.url(), &format!("http://{gone}/mcp")));
    let fetched = issuer.key_fetches();
    assert!(run("check -D --offline @/proxy.toml").starts_with("exit 0\n"));
    assert_eq!(issuer.key_fetches(), fetched);
    issuer.set_fault(crate::demo::Fault::Down);
    let said = run("check @/proxy.toml");
    assert!(said.starts_with("exit 0\n"), "{said}");
    for part in [
        "\n! issuer corp  no keys\n",
        "\n! upstream crm  not reached\n",
        "warning: no keys from the issuer `corp`: ",
        "warning: the upstream of `crm`, http://127.0.0.1:",
        "Connection refused",
        "--> @/proxy.toml:4:10\n",
        "--> @/proxy.toml:8:12\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(run("check -D @/proxy.toml").starts_with("exit 1\n"));
    assert!(run("-c @/proxy.toml serve --check").starts_with("exit 0\n"));
}

#[test]
fn the_examples_of_the_readme_are_fine() {
    let readme = include_str!("../../../README.md");
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    let (proxy, policies) = blocks.split_first().unwrap();
    assert_eq!((proxy.lines().count(), policies.len()), (9, 12));
    let folder = Folder::new("readme");
    folder.file("proxy.toml", proxy);
    // The first stands alone, the rules and the masks shown later belong together.
    for policy in [policies[0].to_owned(), policies[1..].concat()] {
        folder.file("policies/crm.toml", &policy);
        let said = folder.run("check --offline @/proxy.toml");
        assert!(said.starts_with("exit 0\n"), "{said}");
        // Rules shown on different pages list the same tools; nothing else may be wrong with them together.
        assert_eq!(said.matches("warning: ").count(), said.matches(" never decides\n").count(), "{said}");
    }
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(readme.contains(&format!("`portcullis {name}")), "the README does not tell of `{name}`");
    }
}

#[test]
fn tests_that_fail_are_no_reason_not_to_start() {
    let folder = Folder::new("check-tests");
    let case = "\n[[test]]\nname = \"reader reads\"\nscopes = [\"crm:read\"]\ncall = { tool = \"get_a\" }\nexpect = { decision = \"allow\" }\n";
    folder.file("policies/crm.toml", &format!("{POLICY}{case}"));
    let said = squeezed(&folder.run("check --offline -D @/proxy.toml"));
    assert!(
        said.starts_with("exit 0\n") && said.contains("✓ policies/crm.toml  1 rule, 1 mask, 1 test passed\n"),
        "{said}"
    );
    folder.file("policies/crm.toml", &format!("{POLICY}{case}{}", case.replace("\"allow\"", "\"deny\"")));
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    assert!(said.starts_with("exit 1\n"), "{said}");
    assert!(said.contains("✗ policies/crm.toml  1 rule, 1 mask, 1 of 2 tests failed\n"), "{said}");
    assert!(said.contains("error: the test \"reader reads\" fails\n"), "{said}");
    assert!(said.contains("^^^^^^ decision is allow\n"), "{said}");
    assert!(folder.run("-c @/proxy.toml serve --check").starts_with("exit 1\n"));
}

#[test]
fn rules_that_are_not_meant_are_warned_of() {
    let folder = Folder::new("check-review");
    let rules = "[[rule]]\nid = \"narrow\"\ntools = [\"get_a\"]\nscopes = [\"crm:read\"]\n\
                 [[rule]]\nid = \"no-get\"\neffect = \"deny\"\ntools = [\"get_*\"]\n";
    folder.file("policies/crm.toml", &format!("{POLICY}{rules}"));
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    assert!(said.starts_with("exit 0\n") && said.contains("! policies/crm.toml  3 rules, 1 mask\n"), "{said}");
    for id in ["crm-read", "narrow"] {
        assert!(said.contains(&format!("warning: the rule `{id}` can never allow anything\n")), "{said}");
    }
    assert!(folder.run("check --offline -D @/proxy.toml").starts_with("exit 1\n"));
    let said = folder.run("check --offline @/proxy.toml --format sarif");
    let out = said.strip_prefix("exit 0\n--- out\n").and_then(|said| said.strip_suffix("\n--- err\n")).unwrap();
    let sarif: serde_json::Value = serde_json::from_str(out).unwrap();
    assert_eq!(
        (&sarif["version"], &sarif["runs"][0]["tool"]["driver"]["name"]),
        (&"2.1.0".into(), &"portcullis".into())
    );
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"dead-rule".into(), &"warning".into()));
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_the_issuer_does_not_know_are_warned_of() {
    let folder = Folder::new("check-scopes");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = crm().await;
    let issuer = Issuer::start(listener, Settings::default()).unwrap();
    folder.file("policies/crm.toml", &POLICY.replace("crm:read", "crm:raed"));
    folder.file("proxy.toml", &local(issuer.url(), upstream.url()));
    let said = tokio::task::block_in_place(|| folder.run("check @/proxy.toml"));
    assert!(
        said.contains("warning: the issuer `corp` does not say that it knows the scopes of the rule `crm-read`"),
        "{said}"
    );
    assert!(said.contains("did you mean `crm:read`?"), "{said}");
}

/// A rule that is right by itself and wrong for the sample server.
const MISFIT: &str = r#"
[[rule]]
id     = "misfit"
tools  = ["update_contact", "archive_*"]
scopes = ["crm:write"]

[rule.args]
notes = { min_length = 2001 }
ammount = { maximum = 5 }
"#;

/// What is said of it, wherever the tools come from.
fn misfit(whose: &str) -> [String; 3] {
    [
        format!(
            "warning: {whose} has no tool that `archive_*` lists\n  --> @/policies/crm.toml:15:29\n   |\n15 | tools  = [\"update_contact\", \"archive_*\"]\n   |                             ^^^^^^^^^^^ lists nothing\n"
        ),
        "error: `min_length` of /notes in the rule `misfit` contradicts the input schema of `update_contact`\n  --> @/policies/crm.toml:19:11\n   |\n19 | notes = { min_length = 2001 }\n   |           ^^^^^^^^^^^^^^^^^ the schema has `maxLength` 2000\n".to_owned(),
        "error: the tool `update_contact` has no argument /ammount, which the rule `misfit` is about\n  --> @/policies/crm.toml:20:13\n   |\n20 | ammount = { maximum = 5 }\n   |             ^^^^^^^^^^^ there is no such argument\n   |\n   = help: did you mean `amount`?\n".to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_held_against_the_tools_there_are() {
    let folder = Folder::new("check-tools");
    let issuer = Issuer::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Settings::default()).unwrap();
    let upstream = crm().await;
    folder.file("proxy.toml", &local(issuer.url(), upstream.url()));
    folder.file("policies/crm.toml", &format!("{POLICY}{MISFIT}"));
    let run = |arguments: &str| tokio::task::block_in_place(|| squeezed(&folder.run(arguments)));
    // Offline and without a lock there is nothing to compare with.
    let said = run("check --offline @/proxy.toml");
    assert!(said.starts_with("exit 0\n") && !said.contains("misfit` contradicts"), "{said}");
    // A contradiction is no reason for `serve` not to start.
    let said = run("check @/proxy.toml");
    assert!(said.starts_with("exit 1\n") && said.contains("✗ upstream crm  8 tools, 6 of them listed by"), "{said}");
    for part in misfit("the upstream of `crm`") {
        assert!(said.contains(&part), "{part}: {said}");
    }
    let locked = run("-c @/proxy.toml tools crm --lock");
    assert!(locked.starts_with("exit 0\n"), "{locked}");
    folder.file("proxy.toml", &format!("{}lock = \"policies/crm.lock\"\n", local(issuer.url(), upstream.url())));
    let said = run("check --offline @/proxy.toml");
    assert!(said.starts_with("exit 1\n") && said.contains("✗ policies/crm.toml  2 rules, 1 mask\n"), "{said}");
    assert!(said.contains("lists cannot evaluate these and show their tools: `misfit` (args)\n"), "{said}");
    for part in misfit("the lock file of `crm`") {
        assert!(said.contains(&part), "{part}: {said}");
    }
    // A server that answers nothing useful is told of, and nothing is held against it.
    upstream.set_fault(crate::demo::Fault::Garbage);
    let said = run("check @/proxy.toml");
    assert!(said.contains("! upstream crm  its tools are not known\n"), "{said}");
}

#[test]
fn a_file_that_is_refused_has_a_line_that_says_so() {
    let folder = Folder::new("refused-parts");
    folder.file("crm.lock", "{\n");
    folder.file("proxy.toml", &format!("{GOOD}lock = \"crm.lock\"\n"));
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    assert!(said.starts_with("exit 78\n--- out\n✓ @/proxy.toml  1 server, 1 issuer\n"), "{said}");
    assert!(said.contains("\n✗ @/crm.lock  1 error\n"), "{said}");
    let program = GOOD.replace("upstream = \"http://127.0.0.1:3001/mcp\"", "command = [\"no-such-program\"]");
    folder.file("proxy.toml", &program);
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    assert!(said.starts_with("exit 78\n--- out\n✗ @/proxy.toml  1 error\n"), "{said}");
    let expected = "error: servers.crm.command: there is no program `no-such-program`\n --> @/proxy.toml:8:11\n";
    assert!(said.contains(expected) && said.contains("\n8 | command = [\"no-such-program\"]\n"), "{said}");
    folder.file("proxy.toml", &format!("{}cwd = \"gone\"\n", program.replace("no-such-program", "true")));
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    let expected = "error: servers.crm.cwd: there is no folder `@/gone` to start in\n  --> @/proxy.toml:10:7\n";
    assert!(said.contains(expected), "{said}");
    folder.file("proxy.toml", &format!("{GOOD}lock = \"gone.lock\"\n"));
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    let expected =
        "error: cannot read the lock file: No such file or directory (os error 2)\n  --> @/proxy.toml:10:8\n";
    assert!(
        said.contains(expected)
            && said.contains("\n10 | lock = \"gone.lock\"\n   |        ^^^^^^^^^^^ `@/gone.lock`\n"),
        "{said}"
    );
    assert!(said.contains("= help: write it with `portcullis tools crm --lock`\n"), "{said}");
}

#[test]
fn a_policy_that_opens_nothing_is_a_warning() {
    let folder = Folder::new("closed");
    folder.file("proxy.toml", GOOD);
    for policy in ["", "[[rule]]\nid = \"a\"\neffect = \"deny\"\ntools = [\"delete_*\"]\n"] {
        folder.file("policies/crm.toml", policy);
        let said = squeezed(&folder.run("check --offline @/proxy.toml"));
        assert!(said.contains("\n! policies/crm.toml  ") && said.starts_with("exit 0\n"), "{said}");
        let expected = "warning: no rule allows anything: every call of `crm` is denied\n--> @/policies/crm.toml\n";
        assert!(said.contains(expected), "{said}");
    }
    assert!(folder.run("check -D --offline @/proxy.toml").starts_with("exit 1\n"));
}

#[test]
fn what_is_found_out_late_is_shown_at_the_key_that_names_it() {
    let folder = Folder::new("late");
    let certificate = std::fs::read_to_string(folder.0.join("tls.crt")).unwrap();
    folder.file("clients.pem", &format!("{certificate}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    folder.file("zeros.key", &"0".repeat(64));
    folder.file("revoked.jsonl", "{\"jti\":\"a\"}\njti=b\n");
    std::os::unix::fs::symlink("nowhere/audit.jsonl", folder.0.join("audit.jsonl")).unwrap();
    let good = GOOD.replace("[issuers", "listen = [\"127.0.0.1:0\"]\n[issuers");
    let clients = good.replace("key_file = \"tls.key\"", "key_file = \"tls.key\", client_ca_file = \"clients.pem\"");
    let revoked = good.replace("[servers", "revocation_file = \"revoked.jsonl\"\n[servers");
    let signals = "signals = { push_path = \"/crm/mcp\", push_token = { file = \"zeros.key\" }, audience = \"a\" }";
    let signals = good.replace("[servers", &format!("{signals}\n[servers"));
    for (text, place, told) in [
        (format!("{good}[[sealing.keys]]\nid = \"k1\"\nfile = \"zeros.key\"\n"), "13:8", "holds one byte repeated"),
        (revoked, "7:19", "revoked.jsonl` line 2: not strict JSON"),
        (signals, "7:25", "`push_path` is the path of something else"),
        (clients, "3:71", "cannot verify clients by `@/clients.pem`"),
        (
            format!("{good}[audit]\nsinks = [{{ type = \"file\", path = \"audit.jsonl\" }}]\n"),
            "12:34",
            "= help: create the folder `@/nowhere`",
        ),
    ] {
        folder.file("proxy.toml", &text);
        let check = folder.run("check --offline @/proxy.toml");
        assert!(check.starts_with("exit 78\n"), "{check}");
        assert!(check.contains(&format!("--> @/proxy.toml:{place}\n")) && check.contains(told), "{check}");
    }
}
