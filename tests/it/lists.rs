//! Lists show a caller what the policy lets it have, whole or on a stream, page by page.

use serde_json::{Value, json};

use crate::support::{Ask, CRM_POLICY, Setup, Upstream, events, json_answer};

/// Method, member, key, all there is, what ana has, and what ana may ask for.
type List = (&'static str, &'static str, &'static str, Names, Names, Names);
type Names = &'static [&'static str];

/// What an upstream offers of each kind.
const LISTS: [List; 4] = [
    (
        "tools/list",
        "tools",
        "name",
        &["delete_contact", "update_contact", "search_contacts", "run_sql", "get_contact", "create_contact"],
        &["search_contacts", "get_contact"],
        &["update_contact", "search_contacts", "get_contact", "create_contact"],
    ),
    (
        "resources/list",
        "resources",
        "uri",
        &["file:///etc/passwd", "crm://contacts/c-001", "crm://contacts/../secrets", "CRM://contacts/c-001"],
        &["crm://contacts/c-001"],
        &["crm://contacts/c-001"],
    ),
    (
        "resources/templates/list",
        "resourceTemplates",
        "uriTemplate",
        &["crm://contacts/{id}", "file:///{path}"],
        &["crm://contacts/{id}"],
        &["crm://contacts/{id}"],
    ),
    (
        "prompts/list",
        "prompts",
        "name",
        &["summarise_contact", "hidden"],
        &["summarise_contact"],
        &["summarise_contact"],
    ),
];

fn items(key: &str, names: &[&str]) -> Vec<Value> {
    let item = |name: &&str| json!({ key: name, "title": "T", "x-unknown": { "kept": [1, 2.50] } });
    let mut items: Vec<Value> = names.iter().map(item).collect();
    // Nameless things are nothing a rule could allow.
    items.retain(|item| !item.is_null());
    items
}

/// An upstream that offers everything, as JSON or on a stream.
async fn offering(streamed: bool) -> Upstream {
    Upstream::answering(move |heard| {
        let message = heard.json();
        let (_, member, key, all, ..) = *LISTS.iter().find(|list| message["method"] == list.0).unwrap();
        let mut offered = items(key, all);
        offered.insert(1, json!({ "title": "nameless" }));
        offered.push(json!({ key: 7 }));
        let result = json!({ member: offered, "nextCursor": "page-2", "ttlMs": 300_000, "cacheScope": "public" });
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
        if streamed { events(format!("data: {answer}\n\n").as_bytes()) } else { json_answer(200, &answer) }
    })
    .await
}

#[tokio::test]
async fn each_list_has_what_the_caller_may_have_and_keeps_its_order_and_cursor() {
    for mode in ["acquirable", "allowed", "all"] {
        let policy = CRM_POLICY.replace("list    = \"acquirable\"", &format!("list = \"{mode}\""));
        assert!(policy.contains(&format!("list = \"{mode}\"")));
        for streamed in [false, true] {
            let upstream = offering(streamed).await;
            let proxy = Setup::new(upstream.url()).policy(policy.as_str()).start().await;
            let token = proxy.token("ana");
            for (method, member, key, all, has, may_ask) in LISTS {
                let shown: Vec<&str> = match mode {
                    "allowed" => has.to_vec(),
                    "acquirable" => may_ask.to_vec(),
                    // What a rule denies is left out of every list.
                    _ => all.iter().copied().filter(|name| *name != "delete_contact").collect(),
                };
                for revision in ["2025-11-25", "2026-07-28"] {
                    let mut cursor = json!(null);
                    for asked in [json!(null), json!("page-2")] {
                        let ask = Ask::of(revision, method, &json!({ "cursor": cursor }));
                        let answer = proxy.ask(&ask.token(&token)).await;
                        assert_eq!(answer.is_stream(), streamed);
                        let mut result = answer.message()["result"].clone();
                        // The place of the next page is the upstream's behind a name of our own.
                        cursor = result["nextCursor"].take();
                        let wanted = json!({ member: items(key, &shown), "nextCursor": null, "ttlMs": 60_000,
                            "cacheScope": "private" });
                        assert_eq!(result, wanted, "{mode} {method} {revision}");
                        assert!(cursor.is_string() && cursor != "page-2");
                        assert_eq!(upstream.take()[0].json()["params"]["cursor"], asked);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_page_with_nothing_left_is_an_empty_list() {
    for streamed in [false, true] {
        let upstream = offering(streamed).await;
        let proxy = Setup::new(upstream.url())
            .policy("[policy]\nname = \"x\"\n[[rule]]\nid = \"one\"\ntools = [\"nothing_here\"]\n")
            .start()
            .await;
        for (method, member, ..) in LISTS {
            let answer = proxy.ask(&Ask::modern(method, &json!({})).token(&proxy.token("ana"))).await;
            let result = answer.message()["result"].clone();
            assert_eq!((&result[member], result["nextCursor"].is_string()), (&json!([]), true), "{method}");
        }
    }
}

/// An upstream that lists these, each under its own member.
async fn listing(lists: Value) -> Upstream {
    Upstream::answering(move |heard| {
        let message = heard.json();
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": lists });
        json_answer(200, &answer.to_string())
    })
    .await
}

/// What stands in place of an item is as tidy as the item would have been.
#[tokio::test]
async fn items_in_other_words_have_no_foreign_meta_and_no_foreign_icons() {
    let icons = json!([{ "src": "https://track.test/i.png" }, { "src": "data:image/png;base64,iVBORw0KGgo=" }]);
    let meta = json!({ "com.acme/who": "x", "com.acme/ok": 1 });
    let evil = "Shows.\u{200b}";
    let item = json!({ "name": "x", "description": evil, "icons": icons, "_meta": meta });
    let mut tool = item.clone();
    tool["inputSchema"] = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    let upstream = listing(json!({ "tools": [tool], "prompts": [item] })).await;
    let open = "[[rule]]\nid = \"all\"\ntools = [\"*\"]\nprompts = [\"*\"]\n";
    let narrow = "[rule.args]\nn = { maximum = 5 }\n";
    let describe = "[[describe]]\ntool = \"x\"\ntitle = \"X\"\n";
    for (policy, lint) in [
        (open.to_owned(), "warn"),
        (open.to_owned(), "strip"),
        (format!("{open}{narrow}"), "warn"),
        (format!("{open}{describe}"), "warn"),
        (format!("{open}{narrow}{describe}"), "strip"),
    ] {
        let setup = Setup::new(upstream.url()).policy(policy.as_str()).server("meta = [\"com.acme/ok\"]");
        let proxy = setup.server(&format!("lint = \"{lint}\"")).start().await;
        let token = proxy.token("ana");
        for revision in ["2025-11-25", "2026-07-28"] {
            for (method, member) in [("tools/list", "tools"), ("prompts/list", "prompts")] {
                for _ in 0..2 {
                    let answer = proxy.ask(&Ask::of(revision, method, &json!({})).token(&token)).await.message();
                    let shown = &answer["result"][member][0];
                    let description = if lint == "strip" { "Shows." } else { evil };
                    assert_eq!(
                        (&shown["icons"], &shown["_meta"], shown["description"].as_str()),
                        (&json!([icons[1]]), &json!({ "com.acme/ok": 1 }), Some(description)),
                        "{policy} {lint} {answer}"
                    );
                }
            }
        }
    }
}

/// Masks look at what a caller is shown, for that caller: not at what is hidden, and not once for everybody.
#[tokio::test]
async fn tools_are_masked_for_whom_they_are_shown_to() {
    let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let tool = |name: &str, description: &str| json!({ "name": name, "description": description, "inputSchema": { "type": "object" } });
    let tools = json!([
        tool("get_a", "Shows."),
        tool("get_b", "Ask ana@example.com."),
        tool("put_a", &format!("With {secret}.")),
        tool("get_c", "Or mail max@example.com."),
    ]);
    let upstream = listing(json!({ "tools": tools, "nextCursor": "bob@example.com", "note": "bob@example.com" })).await;
    let policy = "[[rule]]\nid = \"get\"\ntools = [\"get_*\"]\n[[rule]]\nid = \"put\"\ntools = [\"put_*\"]\nscopes = [\"crm:write\"]\nstep_up = false\n\
                  [[mask]]\nid = \"mail\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nunless_scopes = [\"crm:write\"]\n\
                  [[mask]]\nid = \"stop\"\non = [\"result\"]\nentities = [\"SECRET\"]\naction = \"block\"\nexcept = [{ tools = [\"never\"] }]\n";
    let proxy = Setup::new(upstream.url()).policy(policy).start().await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    for round in 0..2 {
        for revision in ["2025-11-25", "2026-07-28"] {
            let list = Ask::of(revision, "tools/list", &json!({}));
            let answer = proxy.ask(&list.clone().token(&ana)).await.message();
            let shown: Vec<_> =
                answer["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["description"]).collect();
            assert_eq!(shown, ["Shows.", "Ask [EMAIL_ADDRESS].", "Or mail [EMAIL_ADDRESS]."], "{round}");
            assert_eq!(answer["result"]["note"], "[EMAIL_ADDRESS]");
            let found = proxy.audit().into_iter().rfind(|line| line["event"] == "end").unwrap();
            let counted: u64 =
                found["masked"].as_array().unwrap().iter().map(|found| found["count"].as_u64().unwrap()).sum();
            assert_eq!(counted, 3, "{found}");
            // Who is shown the fourth is shown nothing: a secret stands in it.
            let answer = proxy.ask(&list.token(&max)).await.message();
            assert_eq!(answer["error"]["code"], -31403, "{answer}");
        }
    }
}

/// A name that is hidden answers byte for byte like one nobody has heard of.
#[tokio::test]
async fn hidden_and_unknown_are_one() {
    let upstream = offering(false).await;
    let proxy = Setup::new(upstream.url()).start().await;
    for user in ["ana", "nobody"] {
        let token = proxy.token(user);
        for (method, member, hidden, unknown) in [
            ("tools/call", "name", "delete_contact", "unknown_nameXX"),
            ("prompts/get", "name", "hidden", "nobody"),
            ("resources/read", "uri", "file:///etc/passwd", "file:///nil/nobody"),
            ("resources/read", "uri", "crm://contacts/../secrets", "crm://nobodies/../secrets"),
        ] {
            for revision in ["2025-11-25", "2026-07-28"] {
                let mut answers = Vec::new();
                for name in [hidden, unknown] {
                    assert_eq!(hidden.len(), unknown.len());
                    let answer = proxy.ask(&Ask::of(revision, method, &json!({ member: name })).token(&token)).await;
                    let mut headers = answer.headers.clone();
                    headers.retain(|(name, _)| name != "x-request-id" && name != "date");
                    answers.push((answer.line.clone(), headers, answer.text().replace(name, "NAME")));
                }
                assert_eq!(answers[0], answers[1], "{method} {revision}");
                assert!(answers[0].2.contains("NAME"));
                assert_eq!(upstream.take().len(), 0);
            }
        }
    }
}
