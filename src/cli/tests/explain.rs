//! `explain`: the rules one by one, and the answer as clients get it.

use super::Folder;

const POLICY: &str = r#"
[scopes]
"crm:write" = ["crm:read"]
[[rule]]
id = "crm-read"
tools = ["search_*", "get_*"]
scopes = ["crm:read"]
[[rule]]
id = "crm-update"
tools = ["update_contact"]
scopes = ["crm:read", "crm:write"]
[rule.args]
amount = { maximum = 10000 }
[[rule]]
id = "no-delete"
effect = "deny"
tools = ["delete_*"]
reason = "Ask the CRM team"
[[mask]]
id = "cards"
on = ["arguments"]
entities = ["CREDIT_CARD"]
action = "mask"
keep_last = 4
"#;

fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.file("policies/crm.toml", POLICY);
    folder.file("reader.json", r#"{"sub":"ana","scope":"crm:read"}"#);
    folder.file("writer.json", r#"{"sub":"max","scope":"crm:write"}"#);
    folder.file("large.json", r#"{"amount":20000}"#);
    folder.file("card.json", r#"{"amount":1,"name":"4111 1111 1111 1111"}"#);
    folder
}

fn explain(folder: &Folder, arguments: &str) -> String {
    folder.run(&format!("-c @/proxy.toml explain {arguments}"))
}

#[test]
fn shows_every_rule_and_the_answer() {
    let folder = folder("explain-denied");
    let said = explain(&folder, "--claims @@/writer.json --tool update_contact --args @@/large.json");
    for part in [
        "exit 1\n--- out\ndecision     deny",
        "  no match   crm-update   @/policies/crm.toml:8:1\n",
        "      tools      ok       lists `update_contact`\n",
        "      scopes     ok       held\n",
        "      args       no       /amount does not meet maximum",
        "   @/policies/crm.toml:13:",
        "  no match   crm-read     does not list `update_contact`   @/policies/crm.toml:4:1\n",
        "  no match   no-delete    does not list `update_contact`   @/policies/crm.toml:14:1\n",
        "client sees  200\n             content-type: application/json\n             {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{",
        "\"isError\":true",
        "(rule crm-update)",
        "Request 00000000-0000-0000-0000-000000000000",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("20000"), "{said}");
}

#[test]
fn a_step_up_shows_its_challenge() {
    let folder = folder("explain-step-up");
    let said = explain(&folder, "--claims @@/reader.json --tool update_contact");
    let expected = "\
client sees  403
             www-authenticate: Bearer resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/crm/mcp\", \
error=\"insufficient_scope\", scope=\"crm:read crm:write\", error_description=\"update_contact needs crm:write\"
             content-type: application/json
             {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-31403,\"message\":\"update_contact needs crm:write\"}}
--- err
";
    assert!(said.starts_with("exit 1\n--- out\ndecision     step_up   rule crm-update"), "{said}");
    assert!(said.ends_with(expected), "{said}");
}

#[test]
fn what_is_hidden_answers_like_what_is_not_there() {
    let folder = folder("explain-hidden");
    let answer = |tool: &str| {
        let said = explain(&folder, &format!("--claims @@/writer.json --tool {tool}"));
        let answer = said.split_once("client sees").unwrap().1.replace(tool, "TOOL");
        (said.lines().nth(2).unwrap().to_owned(), answer)
    };
    let (denied, absent) = (answer("delete_contact"), answer("run_sql"));
    assert_eq!(denied.1, absent.1);
    assert!(denied.0.contains("deny   rule no-delete   (hidden"), "{denied:?}");
    assert!(absent.0.contains("deny   (hidden"), "{absent:?}");
}

#[test]
fn what_is_allowed_shows_what_goes_up() {
    let folder = folder("explain-allowed");
    let said = explain(&folder, "--claims @@/reader.json --tool get_contact --args {\"id\":\"4111111111111111\"}");
    for part in [
        "exit 0\n--- out\ndecision     allow   rule crm-read\n",
        "  allows     crm-read     @/policies/crm.toml:4:1\n",
        "upstream     gets the arguments {\"id\":\"************1111\"}\n",
        "             mask cards found CREDIT_CARD × 1 in the arguments: mask\n",
        "client sees  the upstream's answer, behind the masks\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = explain(&folder, "--claims @@/reader.json --method ping");
    assert!(said.contains("decision     allow   (every caller with a token may)\n"), "{said}");
}

#[test]
fn a_list_is_explained_rule_by_rule() {
    let folder = folder("explain-list");
    let said = explain(&folder, "--claims @@/reader.json --list");
    for part in [
        "exit 0\n",
        "  shows      crm-read     tools = [\"search_*\", \"get_*\"]   @/policies/crm.toml:4:1\n",
        "  no match   crm-update   tools = [\"update_contact\"]   scopes: missing crm:write   @/policies/crm.toml:8:1\n",
        "  hides      no-delete    tools = [\"delete_*\"]   @/policies/crm.toml:14:1\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = explain(&folder, "--claims @@/reader.json --list prompts");
    assert!(!said.contains("crm-read"), "{said}");
    let said = explain(&folder, "--claims @@/reader.json --list --format json");
    let out = said.strip_prefix("exit 0\n--- out\n").and_then(|said| said.strip_suffix("--- err\n")).unwrap();
    let json: serde_json::Value = serde_json::from_str(out).unwrap();
    let rules: Vec<_> = json["rules"].as_array().unwrap().iter().map(|rule| (&rule["id"], &rule["matches"])).collect();
    assert!(rules.contains(&(&"crm-read".into(), &true.into())), "{rules:?}");
    assert!(rules.contains(&(&"crm-update".into(), &false.into())), "{rules:?}");
    assert_eq!(json["rules"][0]["conditions"][0]["detail"], "tools = [\"search_*\", \"get_*\"]");
}

#[test]
fn programs_get_all_of_it() {
    let folder = folder("explain-json");
    let said = explain(&folder, "--claims @@/reader.json --tool update_contact --protocol 2025-06-18 --format json");
    let out = said.strip_prefix("exit 1\n--- out\n").and_then(|said| said.strip_suffix("--- err\n")).unwrap();
    let json: serde_json::Value = serde_json::from_str(out).unwrap();
    assert_eq!((&json["schema_version"], &json["allowed"]), (&1.into(), &false.into()));
    assert_eq!(json["scopes"], serde_json::json!(["crm:read", "crm:write"]));
    assert_eq!(json["answer"]["status"], 403);
    assert!(json["answer"]["headers"]["www-authenticate"].as_str().unwrap().starts_with("Bearer "));
    assert_eq!(json["rules"].as_array().unwrap().len(), 3);
    assert_eq!(json["rules"][1]["conditions"][1]["key"], "scopes");
    assert_eq!(json["rules"][1]["conditions"][1]["line"], 11);
}

/// What a client says of itself, who is nobody, and what a tool is: whatever the language can ask about can be said.
#[test]
fn what_rules_may_depend_on_can_be_said() {
    let folder = folder("explain-said");
    let rules = "[[rule]]\nid = \"docs\"\ntools = [\"search_docs\"]\nanonymous = true\n\
                 [[rule]]\nid = \"crm-read\"\ntools = [\"get_*\"]\nscopes = [\"crm:read\"]\n\
                 [[rule]]\nid = \"reads\"\ntools = [\"see\"]\nwhen = \"tool.annotations.readOnlyHint\"\n\
                 [[rule]]\nid = \"no-bots\"\neffect = \"deny\"\ntools = [\"*\"]\n\
                 when = \"(has(untrusted.name) && untrusted.name == 'bot') || 'user-agent' in untrusted.headers\"\n\
                 reason = \"No bots\"\n";
    folder.file("policies/crm.toml", rules);
    folder.file("bot.json", r#"{"name":"bot","version":"1"}"#);
    folder.file("curl.json", r#"{"headers":{"user-agent":"curl/8"}}"#);
    folder.file("see.json", r#"{"name":"see","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}"#);
    folder
        .file("get.json", r#"{"name":"get_a","inputSchema":{"type":"object","properties":{"n":{"type":"integer"}}}}"#);
    let challenge = "client sees  401\n             www-authenticate: Bearer resource_metadata=";
    for (arguments, expected) in [
        ("--anonymous --tool search_docs", vec!["exit 0\n", "decision     allow   rule docs\n"]),
        // Whether it is there or not is not told to who has no token.
        ("--anonymous --tool get_a", vec!["exit 1\n", challenge, "\"code\":-31401"]),
        ("--anonymous --tool nothing", vec!["exit 1\n", challenge]),
        ("--anonymous --list", vec!["exit 0\n", "  shows      docs ", "  no match   crm-read "]),
        ("--claims @@/reader.json --tool get_a --untrusted @@/bot.json", vec!["exit 1\n", "deny   rule no-bots"]),
        ("--claims @@/reader.json --tool get_a --untrusted @@/curl.json", vec!["exit 1\n", "deny   rule no-bots"]),
        (
            "--claims @@/reader.json --tool get_a --untrusted {\"name\":\"good\",\"version\":\"1\"}",
            vec!["exit 0\n", "allow   rule crm-read"],
        ),
        // What an upstream says of its own tool is believed of its schema, and of its hints once they are approved.
        ("--claims @@/reader.json --tool see --definition @@/see.json", vec!["exit 1\n", "when       no "]),
        (
            "--claims @@/reader.json --tool get_a --definition @@/get.json --args {\"n\":\"x\"}",
            vec!["exit 1\n", "argument /n does not fit `type`"],
        ),
        ("--claims @@/reader.json --tool get_a --definition @@/get.json --args {\"n\":1}", vec!["exit 0\n"]),
    ] {
        let said = explain(&folder, arguments);
        for part in expected {
            assert!(said.contains(part), "{arguments}: no {part:?} in {said}");
        }
    }
    // Nobody is let in before a rule says so.
    folder.file("policies/crm.toml", "[[rule]]\nid = \"all\"\ntools = [\"*\"]\n");
    let said = explain(&folder, "--anonymous --tool get_a");
    assert!(said.contains("refused   (before any rule is asked)") && said.contains(challenge), "{said}");
}

#[test]
fn an_approved_definition_is_what_a_call_is_held_against() {
    let folder = folder("explain-approved");
    folder.file(
        "policies/crm.toml",
        "[[rule]]\nid = \"reads\"\ntools = [\"*\"]\nwhen = \"tool.annotations.readOnlyHint\"\n",
    );
    let definition = r#"{"name":"see","description":"Sees.","annotations":{"readOnlyHint":true}}"#;
    folder.file("see.json", definition);
    folder.file("other.json", &definition.replace("Sees.", "Sees all."));
    let mut lock = crate::policy::lock::Lock::default();
    let document = crate::json::Document::parse(definition.into(), &crate::json::Limits::ANSWER).unwrap();
    lock.approve("see", crate::policy::lock::canonical(document.root()));
    folder.file("policies/crm.lock", &lock.write("crm"));
    folder.file(
        "proxy.toml",
        &(std::fs::read_to_string(folder.0.join("proxy.toml")).unwrap() + "lock = \"policies/crm.lock\"\n"),
    );
    for (arguments, expected) in [
        ("", "decision     allow   rule reads\n"),
        ("--definition @@/see.json", "decision     allow   rule reads\n"),
        ("--definition @@/other.json", "when       no "),
    ] {
        let said = explain(&folder, format!("--claims @@/reader.json --tool see {arguments}").trim());
        assert!(said.contains(expected), "{arguments}: {said}");
    }
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let folder = folder("explain-usage");
    for (arguments, expected) in [
        ("--claims [] --tool x", "--claims is not a JSON object"),
        ("--claims { --tool x", "--claims is not JSON"),
        (r#"--claims {"sub":"ana"} --tool x --args {"id":99,"id":3}"#, "--args is not JSON as the proxy takes it: "),
        ("--claims @@/none.json --tool x", "--claims: cannot read @/none.json"),
        ("--claims {\"scope\":7} --tool x", "`scope` must be a string of scopes or a list of strings"),
        ("--claims {\"iss\":\"https://evil.example\"} --tool x", "takes no callers of the issuer"),
        ("--claims {} --resource a:b --args {}", "only tools and prompts have arguments"),
        ("--claims {} --tool x --server wiki", "there is no server `wiki`"),
        ("--claims {} --tool x --protocol 2024-11-05", "`2024-11-05` is no revision that is served"),
        ("--claims {} --tool x --now noon", "`noon` is not a date and time"),
        ("--claims {} --tool x --untrusted {\"nam\":\"a\"}", "it may have `name`, `version` and `headers`"),
        ("--claims {} --tool x --untrusted {\"name\":\"a\"}", "`name` and `version` of a client come together"),
        ("--claims {} --tool x --untrusted {\"name\":7,\"version\":\"1\"}", "`name` must be a string"),
        ("--claims {} --tool x --untrusted {\"headers\":7}", "`headers` must be an object"),
        ("--claims {} --tool x --untrusted {\"headers\":{\"cookie\":\"a\"}}", "do not see the header `cookie`"),
        ("--claims {} --tool x --definition {\"name\":\"y\"}", "--definition is not one of the tool `x`"),
        ("--token @/none.txt --tool x", "no token in `@/none.txt`"),
    ] {
        let said = explain(&folder, arguments);
        assert!(
            said.starts_with("exit 2\n--- out\n--- err\nerror: ") && said.contains(expected),
            "{arguments}: {said}"
        );
    }
    folder.file("policies/crm.toml", "[[rule]]");
    assert!(explain(&folder, "--claims {} --tool x").starts_with("exit 78\n"));
}
