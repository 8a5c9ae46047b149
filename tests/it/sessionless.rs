//! Clients that open no session, at servers that want one: each caller is held one, and nobody another's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use portcullis::server::drain::Signal;
use serde_json::{Value, json};

use crate::support::{Ask, Heard, Proxy, Setup, Upstream, json_answer, raw_answer, until};

const OLD: &str = "2025-11-25";
const POLICY: &str = r#"
[[rule]]
id = "use"
tools = ["**"]
resources = ["**"]
"#;

/// What a server that wants sessions knows, and how it says so.
#[derive(Default)]
struct Strict {
    sessions: Mutex<usize>,
    lost: Mutex<Option<String>>,
    refusal: Vec<u8>,
}

/// A server that does nothing outside of a session.
async fn strict(refusal: impl Into<Vec<u8>>) -> (Upstream, Arc<Strict>) {
    let state = Arc::new(Strict { refusal: refusal.into(), ..Strict::default() });
    let kept = state.clone();
    let upstream = Upstream::unaided(move |heard, mut connection| {
        let state = state.clone();
        async move {
            let message = heard.json();
            let method = message["method"].as_str().unwrap_or_default();
            if method == "server/discover" || method == "tools/call" && message["params"]["name"] == "hang" {
                if method == "tools/call" && heard.header("mcp-session-id").is_some() {
                    connection.hung_up().await;
                    return None;
                }
                connection.send(state.refusal.clone()).await;
                return Some(connection);
            }
            if method == "initialize" {
                let number = {
                    let mut sessions = state.sessions.lock().unwrap();
                    *sessions += 1;
                    *sessions
                };
                let result = json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
                    "serverInfo": { "name": "strict", "version": "1" } });
                let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id());
                let fields = format!("Content-Type: application/json\r\nMcp-Session-Id: s{number}\r\n");
                connection.send(raw_answer(200, &fields, body.as_bytes())).await;
                return Some(connection);
            }
            let session = heard.header("mcp-session-id");
            let known = session.filter(|session| state.lost.lock().unwrap().as_ref() != Some(session));
            let answer = match (known, message.get("id")) {
                (None, _) if heard.header("mcp-session-id").is_some() => raw_answer(404, "", b""),
                (None, _) => state.refusal.clone(),
                (Some(_), None) => raw_answer(202, "", b""),
                (Some(session), Some(id)) => json_answer(200, &in_session(&message, &session, id)),
            };
            connection.send(answer).await;
            Some(connection)
        }
    })
    .await;
    (upstream, kept)
}

fn in_session(message: &Value, session: &str, id: &Value) -> String {
    let id = if message["params"]["name"] == "other" { json!(7) } else { id.clone() };
    let text = format!("{session} {}", message["params"]["arguments"]["word"].as_str().unwrap_or_default());
    let result = if message["method"] == "tools/list" {
        json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] })
    } else {
        json!({ "content": [{ "type": "text", "text": text }] })
    };
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
}

/// As servers made with the SDKs say it.
fn refusals() -> Vec<Vec<u8>> {
    let body = |id: &str, code: i64| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"Bad Request"}}}}"#)
    };
    vec![
        json_answer(400, &body("null", -32_000)),
        json_answer(400, &body("\"server-error\"", -32_600)),
        json_answer(400, r#"{"error":"no session"}"#),
        json_answer(404, &body("null", -32_001)),
        raw_answer(422, "Content-Type: text/plain\r\n", b"expect initialize request"),
        raw_answer(400, "", b""),
    ]
}

async fn start(upstream: &Upstream, keys: &str) -> Proxy {
    Setup::new(upstream.url()).policy(POLICY).server(keys).start().await
}

fn call(word: &str) -> Ask {
    Ask::call(OLD, "echo", &json!({ "word": word }))
}

fn text(message: &Value) -> String {
    message["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned()
}

fn methods(heard: &[Heard]) -> Vec<String> {
    let name = |heard: &Heard| match (heard.json()["method"].as_str(), heard.header("mcp-session-id")) {
        (Some(method), Some(session)) => format!("{method} in {session}"),
        (Some(method), None) => method.to_owned(),
        (None, _) => heard.line().to_owned(),
    };
    heard.iter().map(name).collect()
}

#[tokio::test]
async fn a_session_is_held_for_each_caller_who_opens_none() {
    for refusal in refusals() {
        let (upstream, strict) = strict(refusal.clone()).await;
        let proxy = Setup::new(upstream.url()).policy(POLICY).server("schema = \"off\"").start().await;
        let said = String::from_utf8_lossy(&refusal).into_owned();
        let first = proxy.ask(&call("first").token(&proxy.token("ana"))).await;
        assert_eq!((first.status, first.json()["id"].clone()), (200, json!(7)), "{said}");
        assert_eq!(text(&first.message()), "s1 first", "{said}");
        let heard = upstream.take();
        let wanted = ["tools/call", "initialize", "notifications/initialized in s1", "tools/call in s1"];
        assert_eq!(methods(&heard), wanted, "{said}");
        assert_eq!(heard[3].header("mcp-protocol-version").as_deref(), Some("2025-06-18"));
        assert!(heard[3].json()["id"].is_u64() && heard[1].json()["params"]["capabilities"] == json!({}));

        // From then on it is known, and callers do not share.
        let users = ["ana", "max", "ana", "max", "ana"];
        let calls = users.map(|user| (user, call(user).token(&proxy.token(user))));
        let answers = join_all(calls.iter().map(|(user, ask)| async { (*user, proxy.ask(ask).await) })).await;
        for (user, answer) in answers {
            let session = if user == "ana" { "s1" } else { "s2" };
            assert_eq!(text(&answer.message()), format!("{session} {user}"), "{said}");
        }
        let heard = upstream.take();
        assert_eq!(*strict.sessions.lock().unwrap(), 2, "{:?}", methods(&heard));
        assert!(
            heard
                .iter()
                .all(|heard| heard.json()["method"] == "initialize" || heard.header("mcp-session-id").is_some())
        );
        let ids: BTreeSet<_> = heard.iter().map(|heard| (heard.header("mcp-session-id"), heard.id())).collect();
        assert_eq!(ids.len(), heard.len(), "no id twice in a session");
    }
}

/// The default: no call without the tool's definition, which is asked for in the session too.
#[tokio::test]
async fn the_tools_are_listed_in_the_session_the_call_is_made_in() {
    let (upstream, _) = strict(raw_answer(400, "", b"")).await;
    let proxy = start(&upstream, "").await;
    let answer = proxy.ask(&call("x").token(&proxy.token("ana"))).await;
    assert_eq!(text(&answer.message()), "s1 x");
    let wanted =
        ["tools/list", "initialize", "notifications/initialized in s1", "tools/list in s1", "tools/call in s1"];
    assert_eq!(methods(&upstream.take()), wanted);
    let max = proxy.ask(&call("y").token(&proxy.token("max"))).await;
    assert_eq!(text(&max.message()), "s2 y");
    let wanted = ["initialize", "notifications/initialized in s2", "tools/list in s2", "tools/call in s2"];
    assert_eq!(methods(&upstream.take()), wanted, "what one caller is offered is no other's");
}

#[tokio::test]
async fn progress_ids_and_hang_ups_are_the_clients_own() {
    let (upstream, _) = strict(raw_answer(400, "", b"")).await;
    let proxy = start(&upstream, "schema = \"off\"").await;
    let token = proxy.token("ana");
    // An answer that names another request is nobody's, although the client's own id is just that.
    assert_eq!(text(&proxy.ask(&call("x").token(&token)).await.message()), "s1 x");
    let other = proxy.ask(&Ask::call(OLD, "other", &json!({})).token(&token)).await;
    assert_eq!((other.status, &other.json()["error"]["code"]), (502, &json!(-31502)), "{other:?}");
    upstream.take();
    let mut client = proxy.client().await;
    let params = json!({ "name": "hang", "arguments": {}, "_meta": { "progressToken": "mine" } });
    client.send(&Ask::legacy("tools/call", &params).token(&token).bytes()).await;
    let asked = until("the call", async || upstream.take().into_iter().next()).await;
    let own = asked.json()["id"].clone();
    assert_eq!(asked.json()["params"]["_meta"]["progressToken"], own);
    drop(client);
    let told = until("the call to be taken back", async || upstream.take().into_iter().next()).await;
    assert_eq!(
        (&told.json()["method"], &told.json()["params"]["requestId"]),
        (&json!("notifications/cancelled"), &own)
    );
    assert_eq!(told.header("mcp-session-id").as_deref(), Some("s1"));
}

#[tokio::test]
async fn what_belongs_to_a_session_needs_one_of_the_clients_own() {
    let (upstream, strict) = strict(raw_answer(400, "", b"")).await;
    let proxy = start(&upstream, "schema = \"off\"").await;
    let token = proxy.token("ana");
    for (method, params) in [
        ("logging/setLevel", json!({ "level": "debug" })),
        ("resources/subscribe", json!({ "uri": "crm://x" })),
        ("resources/unsubscribe", json!({ "uri": "crm://x" })),
    ] {
        let answer = proxy.ask(&Ask::legacy(method, &params).token(&token)).await;
        assert_eq!(answer.json()["error"]["code"], -32600, "{answer:?}");
        assert!(answer.text().contains("begin with initialize"), "{answer:?}");
    }
    let in_session: Vec<_> =
        upstream.take().into_iter().filter(|heard| heard.header("mcp-session-id").is_some()).collect();
    assert_eq!(methods(&in_session), ["notifications/initialized in s1"]);

    // One the server has lost is opened again.
    *strict.lost.lock().unwrap() = Some("s1".to_owned());
    assert_eq!(text(&proxy.ask(&call("x").token(&token)).await.message()), "s2 x");
}

/// Nothing is held where nobody in particular asks, or where eras are left to the two ends; and both are told what to do.
#[tokio::test]
async fn without_a_caller_or_a_bridge_the_remedy_is_told() {
    let (upstream, strict) = strict(refusals().remove(0)).await;
    let policy = format!("{POLICY}anonymous = true\n");
    let open = Setup::new(upstream.url()).policy(policy).server("schema = \"off\"").start().await;
    let passing = start(&upstream, "schema = \"off\"\nera = \"pass\"").await;
    for answer in [open.ask(&call("x")).await, passing.ask(&call("x").token(&passing.token("ana"))).await] {
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32600)), "{answer:?}");
        assert!(answer.text().contains("begin with initialize"), "{answer:?}");
    }
    assert_eq!(*strict.sessions.lock().unwrap(), 0);
    assert_eq!(upstream.take().len(), 2);
}

/// A server that refuses for another reason is asked for a session once, and its own word comes back.
#[tokio::test]
async fn a_server_without_sessions_has_its_say() {
    let error = |code: i64| format!(r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":{code},"message":"no"}}}}"#);
    let next = Arc::new(Mutex::new(json_answer(400, &error(-32_000))));
    let scripted = next.clone();
    let upstream = Upstream::answering(move |_| scripted.lock().unwrap().clone()).await;
    let proxy = start(&upstream, "schema = \"off\"").await;
    let ask = call("x").token(&proxy.token("ana"));
    for wanted in [vec!["tools/call", "initialize"], vec!["tools/call"], vec!["tools/call"]] {
        let answer = proxy.ask(&ask).await;
        assert_eq!((answer.status, answer.text()), (400, error(-32_000).as_str()));
        assert_eq!(methods(&upstream.take()), wanted);
    }
    // What it has looked at it is not asked again.
    let upstream = Upstream::answering(move |_| json_answer(400, &error(-32_602))).await;
    let proxy = start(&upstream, "schema = \"off\"").await;
    assert_eq!(proxy.ask(&call("x").token(&proxy.token("ana"))).await.status, 400);
    assert_eq!(methods(&upstream.take()), ["tools/call"]);
}

/// A server keeps what belongs to a session until it is told that nobody comes back: also by a proxy that ends.
#[tokio::test]
async fn sessions_end_with_the_proxy() {
    let (upstream, _) = strict(raw_answer(400, "", b"")).await;
    let mut proxy = start(&upstream, "schema = \"off\"").await;
    for user in ["ana", "max"] {
        assert_eq!(proxy.ask(&call("x").token(&proxy.token(user))).await.status, 200);
    }
    upstream.take();
    proxy.signal(Signal::Terminate).await;
    proxy.ended().await;
    let ended: BTreeSet<_> =
        upstream.take().into_iter().map(|heard| (heard.line().to_owned(), heard.header("mcp-session-id"))).collect();
    let wanted = ["s1", "s2"].map(|id| ("DELETE /mcp HTTP/1.1".to_owned(), Some(id.to_owned())));
    assert_eq!(ended, BTreeSet::from(wanted));
}
