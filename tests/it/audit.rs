//! The record: before the effect, complete, one line each, without secrets, and never in the way of the wrong ones.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use crate::support::{Ask, Process, Setup, Upstream, decisions, json_answer, token_of, until};

fn search(token: &str) -> Ask {
    Ask::call("2026-07-28", "search_contacts", &json!({ "query": "x" })).token(token)
}

#[tokio::test]
async fn the_decision_is_written_before_the_upstream_hears_of_it_and_the_end_before_the_client_does() {
    let file: Arc<OnceLock<PathBuf>> = Arc::default();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (reading, found) = (file.clone(), seen.clone());
    let upstream = Upstream::answering(move |heard| {
        found.lock().unwrap().push(std::fs::read_to_string(reading.get().unwrap()).unwrap());
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, heard.id()))
    })
    .await;
    let proxy = Setup::new(upstream.url()).start().await;
    file.set(proxy.folder.path("audit.jsonl")).unwrap();
    let token = proxy.token("ana");
    for at in 0..20 {
        let answer = proxy.ask(&search(&token)).await;
        let request_id = answer.header("x-request-id").unwrap();
        let before = seen.lock().unwrap().pop().unwrap();
        let lines = decisions(&before);
        assert_eq!(lines.len(), 2 * at + 1);
        let call = lines.last().unwrap();
        assert_eq!((&call["event"], &call["request_id"]), (&json!("call"), &json!(request_id)));
        let end = proxy.audit().pop().unwrap();
        assert_eq!((&end["event"], &end["request_id"]), (&json!("end"), &json!(request_id)));
    }
}

#[tokio::test]
async fn a_line_tells_who_what_and_why() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    proxy.ask(&search(&token).header("User-Agent", "it/1")).await;
    let lines = proxy.audit();
    assert_eq!(lines.len(), 2);
    for (line, event) in lines.iter().zip(["call", "end"]) {
        assert_eq!(line["event"], event);
        for (pointer, value) in [
            ("/decision", json!("allow")),
            ("/shadow", json!(false)),
            ("/server", json!("crm")),
            ("/method", json!("tools/call")),
            ("/tool", json!("search_contacts")),
            ("/protocol", json!("2026-07-28")),
            ("/rpc_id", json!(7)),
            ("/subject/sub", json!("ana")),
            ("/subject/iss", json!(proxy.issuer.url())),
            ("/subject/scopes", json!(["crm:read"])),
            ("/client/ip", json!("127.0.0.1")),
            ("/client/user_agent", json!("it/1")),
            ("/policy/rule", json!("crm-read")),
        ] {
            assert_eq!(line.pointer(pointer), Some(&value), "{pointer} {line}");
        }
    }
    assert_eq!(lines[1]["http"], 200);
    assert_ne!(lines[0]["id"], lines[1]["id"]);
    assert_eq!(lines[0]["request_id"], lines[1]["request_id"]);
}

/// A refusal is one line, whichever it is; what needs no server leaves none.
#[tokio::test]
async fn what_a_client_says_it_is_is_in_the_lines_of_the_calls_that_say_so() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let name = format!("ana@example.com \u{7} {}", "x".repeat(400));
    for said in [Some("it"), None, Some(&*name)] {
        let mut params = json!({ "name": "search_contacts", "arguments": { "query": "x" } });
        if let Some(said) = said {
            params["_meta"] = json!({ "io.modelcontextprotocol/clientInfo": { "name": said, "version": "1.2" } });
        }
        proxy.ask(&Ask::modern("tools/call", &params).token(&token)).await;
    }
    let info = json!({ "name": "old", "version": "3" });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info });
    proxy.ask(&Ask::legacy("initialize", &params).token(&token)).await;
    proxy.ask(&Ask::call("2025-11-25", "search_contacts", &json!({ "query": "x" })).token(&token)).await;
    let lines: Vec<Value> = proxy.audit().iter().map(|line| line["client"].clone()).collect();
    let said = |at: usize| (lines[at]["name"].as_str(), lines[at]["version"].as_str());
    assert_eq!(lines.len(), 10);
    for (at, expected) in
        [(0, (Some("it"), Some("1.2"))), (2, (None, None)), (6, (Some("old"), Some("3"))), (8, (None, None))]
    {
        assert_eq!((said(at), said(at + 1)), (expected, expected), "{at}");
    }
    let name = said(4).0.unwrap();
    assert!(name.starts_with("[EMAIL_ADDRESS]") && name.len() < 220 && !name.contains('\u{7}'), "{name}");
}

#[tokio::test]
async fn a_refusal_is_one_line() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let call = |tool: &str| Ask::call("2026-07-28", tool, &json!({})).token(&token);
    let mut count = 0;
    for (ask, event, decision, http, error) in [
        (search("garbage"), "auth_failed", "refused", 401, json!("malformed")),
        (search(&token).without("Authorization"), "auth_failed", "refused", 401, json!("missing")),
        (call("delete_contact"), "call", "deny", 200, json!("unknown_name")),
        (call("update_contact"), "call", "step_up", 403, json!("insufficient_scope")),
        (call("search_contacts").with("Mcp-Name", "x"), "call", "refused", 400, json!("header_mismatch")),
        (Ask::post("{").token(&token), "call", "refused", 400, json!("not_json")),
        (Ask::modern("a/b", &json!({})).token(&token), "call", "refused", 404, json!("unknown_method")),
        (search(&token).header("Mcp-Session-Id", "x"), "end", "allow", 200, Value::Null),
    ] {
        let answer = proxy.ask(&ask).await;
        let lines = proxy.audit();
        count += if event == "end" { 2 } else { 1 };
        assert_eq!(lines.len(), count, "{answer:?} {lines:?}");
        let line = lines.last().unwrap();
        let got = (line["event"].as_str(), line["decision"].as_str(), line["http"].as_i64());
        assert_eq!(got, (Some(event), Some(decision), Some(http)), "{line}");
        assert_eq!(line["request_id"], answer.header("x-request-id").unwrap());
        assert_eq!(line.get("error").cloned().unwrap_or_default(), error, "{line}");
    }
    for ask in [search(&token).target("/nowhere"), search(&token).with("Host", "evil.test"), Ask::new("OPTIONS")] {
        proxy.ask(&ask).await;
        assert_eq!(proxy.audit().len(), count);
    }
    let step_up = proxy.audit().into_iter().find(|line| line["decision"] == "step_up").unwrap();
    assert_eq!(step_up["policy"]["missing_scopes"], json!(["crm:write"]));
    assert_eq!(step_up["policy"]["rule"], "crm-update");
}

/// Whatever a caller writes stays one string in one line (threats O5), and what is secret in it is not kept (O6).
#[tokio::test]
async fn nobody_can_write_a_line_of_their_own() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("sub".to_owned(), json!("ana\n{\"decision\":\"allow\"}\u{1b}[31m"));
    assert_eq!(proxy.ask(&search(&proxy.mint(&claims))).await.status, 401, "control characters name nobody");
    claims.insert("sub".to_owned(), json!("ana\",\"decision\":\"allow\\"));
    let odd = proxy.mint(&claims);
    let names = [
        "nope\n{\"decision\":\"allow\"}\u{1b}[31m\u{2028}",
        "a\r\nb\u{85}c\u{2029}d\u{202e}e\u{0}f\u{7f}",
        "ana@private.example",
        "4111 1111 1111 1111",
        "AKIAIOSFODNN7EXAMPLF",
    ];
    let mut count = 1;
    let long = "x".repeat(4096);
    for name in names.into_iter().chain([long.as_str()]) {
        for token in [&token, &odd] {
            for ask in [
                Ask::call("2025-11-25", name, &json!({})),
                Ask::legacy("resources/read", &json!({ "uri": name })),
                Ask::legacy("prompts/get", &json!({ "name": name })),
                Ask::legacy("ping", &json!({}))
                    .header("User-Agent", &name.replace(|c: char| c.is_control() || !c.is_ascii(), "?")),
            ] {
                let ask = Ask {
                    body: String::from_utf8(ask.body.clone())
                        .unwrap()
                        .replacen("\"id\":7", &format!("\"id\":{}", json!(&name[..name.len().min(100)])), 1)
                        .into(),
                    ..ask
                };
                let answer = proxy.ask(&ask.token(token)).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                count += if answer.json().get("result").is_some() { 2 } else { 1 };
            }
        }
    }
    let text = proxy.folder.read("audit.jsonl");
    assert_eq!(decisions(&text).len(), count);
    assert_eq!(text.lines().count(), count + 2, "the start of the process and its issuer's keys have a line each");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "a control character");
    for bad in ['\u{2028}', '\u{2029}', '\u{202e}'] {
        assert!(!text.contains(bad), "{bad:?}");
    }
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        assert!(value["event"].is_string() && line.len() < 4096, "{line}");
    }
    for secret in &names[2..] {
        proxy.assert_not_kept(secret).await;
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_calls_and_nothing_else() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).audit("sinks = [{ type = \"file\", path = \"/dev/full\" }]").start().await;
    let token = proxy.token("ana");
    let text = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31503,"message":"The call could not be recorded and was not made"}}"#;
    for tool in ["search_contacts", "delete_contact", "update_contact"] {
        let answer = proxy.ask(&Ask::call("2026-07-28", tool, &json!({})).token(&token)).await;
        assert_eq!((answer.status, answer.text()), (503, text), "{tool}");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    // Who is nobody is refused as ever.
    assert_eq!(proxy.ask(&search("garbage")).await.status, 401);
    assert_eq!(upstream.take().len(), 0);

    let audit = "sinks = [{ type = \"file\", path = \"/dev/full\" }]\non_error = \"drop\"";
    let proxy = Setup::new(upstream.url()).audit(audit).start().await;
    assert_eq!(proxy.ask(&search(&proxy.token("ana"))).await.status, 200);
    assert_eq!(upstream.take().len(), 1);
}

#[tokio::test]
async fn a_flood_of_strangers_is_counted_and_the_known_are_written() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let mut client = proxy.client().await;
    let (strangers, known) = (600, 6);
    for at in 0..strangers {
        client.send(&search("garbage").bytes()).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, 401);
        // On a machine that stands still for a second a refusal ends its connection, and says so.
        if answer.header("connection").is_some() {
            client = proxy.client().await;
        }
        if at % 100 == 0 {
            client.send(&search(&token).bytes()).await;
            assert_eq!(client.answer().await.unwrap().status, 200);
        }
    }
    let counts = || {
        let lines = proxy.audit();
        let failures: Vec<_> = lines.iter().filter(|line| line["event"] == "auth_failed").collect();
        let single = failures.iter().filter(|line| line["count"].is_null()).count() as u64;
        let summed: u64 = failures.iter().filter_map(|line| line["count"].as_u64()).sum();
        (lines.len() - failures.len(), single, summed, lines)
    };
    until("all of them in the log", async || {
        let (_, single, summed, _) = counts();
        (single + summed == strangers).then_some(())
    })
    .await;
    let (calls, single, _, lines) = counts();
    assert_eq!(calls, 2 * known);
    let mut seconds: Vec<_> = lines.iter().filter_map(|line| line["time"].as_str()?.get(..19)).collect();
    seconds.dedup();
    assert!(single <= 100 * seconds.len() as u64, "{single} lines in {} s", seconds.len());
}

#[tokio::test]
async fn a_process_killed_behind_its_answer_has_lost_no_line() {
    let upstream = Upstream::plain().await;
    let (folder, issuer) = Setup::new(upstream.url()).write("127.0.0.1:0", "127.0.0.1:0").await;
    let token = issuer.mint_claims(&token_of(&issuer, "ana")).unwrap();
    let mut answered = Vec::new();
    for _ in 0..3 {
        let mut process = Process::serve(&folder).await;
        for _ in 0..5 {
            let answer = until("keys", async || {
                let answer = process.ask(&search(&token)).await;
                (answer.status == 200).then_some(answer)
            })
            .await;
            answered.push(answer.header("x-request-id").unwrap().to_owned());
        }
        process.signal("KILL");
        assert_eq!(process.ended().await, None);
        let text = folder.read("audit.jsonl");
        assert!(text.ends_with('\n'));
        let lines = decisions(&text);
        for id in &answered {
            let events: Vec<_> =
                lines.iter().filter(|line| line["request_id"] == **id).map(|line| &line["event"]).collect();
            assert_eq!(events, ["call", "end"]);
        }
    }
}
