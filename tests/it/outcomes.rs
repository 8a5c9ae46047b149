//! Audit and metrics tell the same of a request, and all of it: who refused it, whose token failed, what was reloaded.

use portcullis::server::drain::Signal;
use serde_json::{Value, json};

use crate::support::{Ask, CRM_POLICY, Proxy, Setup, Upstream, events, json_answer, token_of, until};

const SECRET: &str = "AKIAIOSFODNN7EXAMPLF";
const BLOCKING: &str = "[[rule]]\nid = \"use\"\ntools = [\"*\"]\n[[mask]]\nid = \"stop\"\non = [\"arguments\", \"result\"]\n\
                        entities = [\"SECRET\"]\naction = \"block\"\n";

/// The value of the first series of that name that has all of `labels`.
async fn counted(proxy: &Proxy, name: &str, labels: &[&str]) -> Option<String> {
    let metrics = proxy.admin("/metrics").await;
    let start = format!("{name}{{");
    let is_it = |line: &&str| line.starts_with(&start) && labels.iter().all(|label| line.contains(label));
    metrics.text().lines().find(is_it).and_then(|line| Some(line.rsplit_once(' ')?.1.to_owned()))
}

async fn decided(proxy: &Proxy, rule: &str, decision: &str) -> Option<String> {
    let labels = [&*format!("rule=\"{rule}\""), &format!("decision=\"{decision}\"")];
    counted(proxy, "portcullis_policy_decisions_total", &labels).await
}

/// The members that say how a line ended.
fn said(line: &Value) -> Value {
    json!([line["event"], line["decision"], line["policy"]["rule"], line["error"]])
}

fn events_of(proxy: &Proxy, event: &str) -> Vec<Value> {
    let log = proxy.folder.read("audit.jsonl");
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

/// Before it goes up, in an answer, and in an answer on a stream.
#[tokio::test]
async fn what_a_mask_blocks_is_denied_by_the_mask() {
    let upstream = Upstream::answering(|heard| {
        let text = if heard.text().contains("clean") { "nothing" } else { SECRET };
        let result = json!({ "content": [{ "type": "text", "text": text }] });
        let body = json!({ "jsonrpc": "2.0", "id": heard.json()["id"], "result": result }).to_string();
        if heard.text().contains("stream") {
            events(format!("data: {body}\n\n").as_bytes())
        } else {
            json_answer(200, &body)
        }
    })
    .await;
    let proxy = Setup::new(upstream.url()).policy(BLOCKING).start().await;
    let token = proxy.token("ana");
    let allowed = json!(["call", "allow", "use", null]);
    let blocked = json!(["end", "deny", "stop", "blocked"]);
    for (tool, arguments, lines) in [
        ("clean", json!({}), vec![allowed.clone(), json!(["end", "allow", "use", null])]),
        ("clean", json!({ "key": SECRET }), vec![json!(["call", "deny", "stop", "blocked"])]),
        ("leak", json!({}), vec![allowed.clone(), blocked.clone()]),
        ("stream", json!({}), vec![allowed, blocked]),
    ] {
        let before = proxy.audit().len();
        proxy.ask(&Ask::call("2025-11-25", tool, &arguments).token(&token)).await;
        let told: Vec<Value> = proxy.audit()[before..].iter().map(said).collect();
        assert_eq!(told, lines, "{tool} {arguments}");
    }
    // As many as there are lines that say so.
    assert_eq!(decided(&proxy, "use", "allow").await.as_deref(), Some("3"));
    assert_eq!(decided(&proxy, "stop", "deny").await.as_deref(), Some("3"));
    assert_eq!(decided(&proxy, "stop", "allow").await, None);
    let labels = ["error_type=\"policy_denied\"", "network_protocol_version=\"1.1\""];
    assert!(counted(&proxy, "mcp_server_operation_duration_seconds_count", &labels).await.is_some());
}

/// Their arguments, or a definition nobody approved.
#[tokio::test]
async fn what_a_definition_refuses_is_denied_and_names_the_rule_that_would_have_allowed_it() {
    let schema =
        json!({ "type": "object", "properties": { "to": { "type": "string" } }, "additionalProperties": false });
    let upstream = Upstream::plain().await;
    upstream.offer(&json!([{ "name": "pay", "inputSchema": schema }]));
    let policy = "[[rule]]\nid = \"all\"\ntools = [\"*\"]\n";
    let proxy = Setup::new(upstream.url()).policy(policy).start().await;
    proxy.ask(&Ask::call("2025-11-25", "pay", &json!({ "to": 7 })).token(&proxy.token("ana"))).await;
    assert_eq!(said(&proxy.audit()[0]), json!(["call", "deny", "all", "arguments_refused"]));
    assert_eq!(decided(&proxy, "all", "deny").await.as_deref(), Some("1"));
    assert_eq!(decided(&proxy, "all", "allow").await, None);

    let lock = "{\"tool\":\"pay\",\"sha256\":\"HASH\",\"definition\":{\"inputSchema\":{\"type\":\"object\"},\"name\":\"pay\"}}\n";
    let hash = portcullis::policy::lock::fingerprint("{\"inputSchema\":{\"type\":\"object\"},\"name\":\"pay\"}");
    let lock = lock.replace("HASH", hash.to_string().strip_prefix("sha256:").unwrap());
    let setup = Setup::new(upstream.url()).policy(policy).file("crm.lock", lock);
    let proxy = setup.server("lock = \"crm.lock\"").start().await;
    proxy.ask(&Ask::call("2025-11-25", "pay", &json!({ "to": "bob" })).token(&proxy.token("ana"))).await;
    assert_eq!(said(&proxy.audit()[0]), json!(["call", "deny", "all", "definition_changed"]));
    assert_eq!(decided(&proxy, "all", "deny").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn the_reason_of_a_rule_that_hides_is_in_the_audit_alone() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let answer = proxy.ask(&Ask::call("2026-07-28", "delete_contact", &json!({})).token(&proxy.token("ana"))).await;
    assert!(!answer.text().contains("ask the CRM team"));
    let policy = &proxy.audit()[0]["policy"];
    assert_eq!(policy["rule"], "crm-no-delete");
    assert_eq!(policy["reason"], "Contacts are never deleted through this server; ask the CRM team");
}

#[tokio::test]
async fn what_reaches_no_server_is_counted() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let post = Ask::legacy("ping", &json!({}));
    let document = "/.well-known/oauth-protected-resource/crm/mcp";
    for ask in [
        post.clone().target("/nowhere"),
        post.clone().with("Host", "evil.test"),
        post.clone().header("Origin", "https://evil.test"),
        Ask::new("OPTIONS").header("Origin", "https://gw.test"),
        Ask::new("GET").target(document),
    ] {
        proxy.ask(&ask).await;
    }
    for (server, reason) in [("", "not_found"), ("", "host_refused"), ("crm", "origin_refused")] {
        let labels = [&*format!("server=\"{server}\""), &format!("reason=\"{reason}\"")];
        assert_eq!(counted(&proxy, "portcullis_errors_total", &labels).await.as_deref(), Some("1"), "{reason}");
    }
    for (method, route, status) in [
        ("POST", "", "404"),
        ("POST", "", "421"),
        ("POST", "/crm/mcp", "403"),
        ("OPTIONS", "/crm/mcp", "204"),
        ("GET", document, "200"),
    ] {
        let labels = [
            &*format!("http_request_method=\"{method}\""),
            &format!("http_route=\"{route}\""),
            &format!("http_response_status_code=\"{status}\""),
        ];
        let count = counted(&proxy, "http_server_request_duration_seconds_count", &labels).await;
        assert_eq!(count.as_deref(), Some("1"), "{method} {route} {status}");
    }
    // Only what was for a server has a line.
    let lines = proxy.audit();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(said(&lines[0]), json!(["auth_failed", "refused", null, "origin_refused"]));
    assert_eq!((&lines[0]["server"], &lines[0]["http"]), (&json!("crm"), &json!(403)));
}

/// What a token says of itself is in the record, as something nobody has verified.
#[tokio::test]
async fn a_token_that_fails_is_told_by_its_issuer_key_and_id() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("jti".to_owned(), json!("late-1"));
    claims.insert("exp".to_owned(), json!(1_700_000_000));
    let late = proxy.mint(&claims);
    claims.insert("iss".to_owned(), json!("https://ana@private.example/\n"));
    claims.insert("jti".to_owned(), json!("x".repeat(5000)));
    let foreign = proxy.mint(&claims);
    for token in [&late, &foreign, &"garbage".to_owned()] {
        assert_eq!(proxy.ask(&Ask::legacy("ping", &json!({})).token(token)).await.status, 401);
    }
    let own = counted(&proxy, "portcullis_auth_total", &["issuer=\"corp\"", "result=\"expired\""]).await;
    assert_eq!(own.as_deref(), Some("1"));
    for result in ["result=\"wrong_issuer\"", "result=\"malformed\""] {
        assert!(counted(&proxy, "portcullis_auth_total", &["issuer=\"_OTHER\"", result]).await.is_some(), "{result}");
    }
    let lines = events_of(&proxy, "auth_failed");
    let digest = |token: &str| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        format!("sha256:{}", data_encoding::HEXLOWER.encode(&hash.as_ref()[..4]))
    };
    let claimed = &lines[0]["unverified"];
    assert_eq!(claimed["issuer"], "corp");
    assert_eq!(claimed["iss"], proxy.issuer.url());
    assert_eq!((&claimed["jti"], &claimed["token"]), (&json!("late-1"), &json!(digest(&late))));
    assert!(claimed["kid"].is_string() && lines[0].get("subject").is_none(), "{claimed}");
    let claimed = &lines[1]["unverified"];
    assert_eq!(claimed["token"], digest(&foreign));
    assert!(claimed.get("issuer").is_none() && !claimed.to_string().contains("ana@private.example"), "{claimed}");
    assert!(claimed["jti"].as_str().unwrap().len() <= 200, "{claimed}");
    assert_eq!(lines[2]["unverified"], json!({ "token": digest("garbage") }));
}

#[tokio::test]
async fn a_start_and_each_reload_say_which_policies_came_and_went() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let start = events_of(&proxy, "start").pop().unwrap()["config"].clone();
    let first = start["servers"][0]["new"].clone();
    assert!(first.as_str().is_some_and(|version| version.starts_with("sha256:")), "{start}");
    assert_eq!(start, json!({ "by": "start", "result": "loaded", "servers": [{ "server": "crm", "new": first }] }));
    // The signal and the watch over the files may both cause one; the later finds nothing new.
    let reloaded = async |wanted: &dyn Fn(&Value) -> bool| {
        until("the line", async || {
            let lines = events_of(&proxy, "config_reload");
            lines.into_iter().map(|line| line["config"].clone()).find(|told| wanted(told))
        })
        .await
    };
    proxy.reload(("path = \"/crm/mcp\"", "path = \"/crm/mcp\"\nresource_name = \"CRM\"")).await;
    let told = reloaded(&|told| told["servers"][0]["old"] != told["servers"][0]["new"]).await;
    assert_eq!((&told["result"], &told["servers"][0]["old"]), (&json!("loaded"), &first));
    assert_eq!(told["changed"], json!(["server crm"]));
    let second = told["servers"][0]["new"].clone();
    // Refused as a whole, which is recorded too.
    proxy.folder.write("crm.toml", CRM_POLICY.replace("effect = \"deny\"", "effect = \"perhaps\""));
    proxy.signal(Signal::Reload).await;
    let told = reloaded(&|told| told["result"] == "refused").await;
    assert!(told["reason"].as_str().unwrap().contains("perhaps"), "{told}");
    assert_eq!(told["servers"], json!([{ "server": "crm", "old": second, "new": second }]));
}

/// Not that of the header, which such a request has none of.
#[tokio::test]
async fn an_initialize_is_recorded_with_the_version_it_asks_for() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    for (asked, told) in [("2025-11-25", "2025-11-25"), ("2024-11-05", "2024-11-05"), ("2099-01-01", "2025-11-25")] {
        let params =
            json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
        let before = proxy.audit().len();
        proxy.ask(&Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(&token)).await;
        for line in &proxy.audit()[before..] {
            assert_eq!(line["protocol"], told, "{asked}: {line}");
        }
    }
}
