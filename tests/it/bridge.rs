//! Clients of one era at upstreams of the other: each hears and is heard as if there were no other.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::support::{Ask, Heard, Proxy, Setup, Upstream, json_answer, raw_answer, until};

const OLD: &str = "2025-11-25";
const NEW: &str = "2026-07-28";
const HIDDEN: &str = "ana@private.example";
const SHOWN: &str = "[EMAIL_ADDRESS]";
const POLICY: &str = r#"
[policy]
name = "bridge"
[[rule]]
id = "use"
tools = ["**"]
prompts = ["**"]
resources = ["**"]
[[rule]]
id = "ask"
methods = ["elicitation/create", "sampling/createMessage", "roots/list"]
[[mask]]
id = "mail"
on = ["arguments", "result"]
entities = ["EMAIL_ADDRESS"]
"#;

async fn start(upstream: &Upstream) -> Proxy {
    let proxy = Setup::new(upstream.url()).policy(POLICY).server("schema = \"off\"").start().await;
    proxy.keep_secret(HIDDEN.to_owned());
    proxy
}

fn answer(heard: &Heard, result: &Value) -> Vec<u8> {
    json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
}

fn error(heard: &Heard, status: u16, code: i64) -> Vec<u8> {
    json_answer(status, &format!(r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":{code},"message":"no"}}}}"#, heard.id()))
}

/// What of a conversation reached the upstream: method, session and body.
fn methods(heard: &[Heard]) -> Vec<String> {
    let verb = |heard: &Heard| heard.line().split(' ').next().unwrap().to_owned();
    heard.iter().map(|heard| heard.json()["method"].as_str().map_or_else(|| verb(heard), ToOwned::to_owned)).collect()
}

/// What an older server keeps.
struct Older {
    sessions: Mutex<usize>,
    lost: Mutex<Option<String>>,
    answered: Notify,
    answers: Mutex<Vec<Value>>,
    news: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
    ask: mpsc::UnboundedSender<String>,
}

/// A server that knows nothing of 2026-07-28, and nothing outside of a session.
async fn older() -> (Upstream, Arc<Older>, mpsc::UnboundedSender<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let state = Arc::new(Older {
        sessions: Mutex::default(),
        lost: Mutex::default(),
        answered: Notify::new(),
        answers: Mutex::default(),
        news: Mutex::new(Some(told)),
        ask: tell.clone(),
    });
    let kept = state.clone();
    let upstream = Upstream::unaided(move |heard, mut connection| {
        let state = state.clone();
        async move {
            let message = heard.json();
            let method = message["method"].as_str().unwrap_or_default();
            let session = heard.header("mcp-session-id");
            if method == "initialize" {
                if message.pointer("/params/capabilities/sampling/hang").is_some() {
                    connection.hung_up().await;
                    return None;
                }
                let number = {
                    let mut sessions = state.sessions.lock().unwrap();
                    *sessions += 1;
                    *sessions
                };
                let result = json!({ "protocolVersion": "2025-06-18", "serverInfo": { "name": "old", "version": "1" },
                    "instructions": "be kind", "capabilities": { "tools": { "listChanged": true },
                    "resources": { "subscribe": true, "listChanged": true }, "logging": {} } });
                let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id());
                let fields = format!("Content-Type: application/json\r\nMcp-Session-Id: s{number}\r\n");
                connection.send(raw_answer(200, &fields, body.as_bytes())).await;
                return Some(connection);
            }
            let Some(session) = session else {
                connection.send(error(&heard, 400, -32_000)).await;
                return Some(connection);
            };
            if state.lost.lock().unwrap().as_deref() == Some(&session) {
                connection.send(error(&heard, 404, -32_001)).await;
                return Some(connection);
            }
            if heard.line().starts_with("GET") {
                let told = state.news.lock().unwrap().take();
                let Some(mut told) = told else {
                    connection.send(raw_answer(405, "", b"")).await;
                    return Some(connection);
                };
                connection.begin_stream().await;
                while let Some(news) = told.recv().await {
                    connection.piece(format!("data: {news}\n\n")).await;
                }
                return None;
            }
            if method.is_empty() {
                state.answers.lock().unwrap().push(message.clone());
                state.answered.notify_one();
            }
            if message.get("id").is_none() || method.is_empty() {
                connection.send(raw_answer(202, "", b"")).await;
                return Some(connection);
            }
            match (method, message["params"]["name"].as_str()) {
                ("tools/call", Some("ask")) => {
                    connection.begin_stream().await;
                    let asked = json!({ "jsonrpc": "2.0", "id": 5, "method": "elicitation/create", "params": {
                        "message": format!("for {HIDDEN}?"), "requestedSchema": { "type": "object", "properties": {} } } });
                    connection.piece(format!("id: 1\ndata: {asked}\n\n")).await;
                    state.answered.notified().await;
                    let said = state.answers.lock().unwrap().pop().unwrap();
                    let result = json!({ "content": [{ "type": "text", "text": said["result"].to_string() }] });
                    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
                    connection.piece(format!("data: {body}\n\n")).await;
                    connection.end_stream().await;
                }
                // It takes its question back, and does without; if it takes back another one, it waits for the answer.
                ("tools/call", Some("changes_its_mind")) => {
                    connection.begin_stream().await;
                    let asked = json!({ "jsonrpc": "2.0", "id": 5, "method": "elicitation/create",
                        "params": { "message": "sure?", "requestedSchema": { "type": "object", "properties": {} } } });
                    let back = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                        "params": { "requestId": message["params"]["arguments"]["which"] } });
                    connection.piece(format!("data: {asked}\n\ndata: {back}\n\n")).await;
                    if message["params"]["arguments"]["which"] != asked["id"] {
                        connection.hung_up().await;
                        return None;
                    }
                    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "content": [] } });
                    connection.piece(format!("data: {body}\n\n")).await;
                    connection.end_stream().await;
                }
                // What it asks is about another call of its caller's.
                ("tools/call", Some("answers_at_once")) => {
                    connection.begin_stream().await;
                    let asked = json!({ "jsonrpc": "2.0", "id": 5, "method": "elicitation/create",
                        "params": { "message": "sure?", "requestedSchema": { "type": "object", "properties": {} } } });
                    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "content": [] } });
                    connection.piece(format!("data: {asked}\n\ndata: {body}\n\n")).await;
                    connection.end_stream().await;
                }
                // It asks on its own stream, and answers the call in one piece when it has been answered.
                ("tools/call", Some("roots")) => {
                    state.ask.send(json!({ "jsonrpc": "2.0", "id": 6, "method": "roots/list" }).to_string()).unwrap();
                    state.answered.notified().await;
                    let said = state.answers.lock().unwrap().pop().unwrap();
                    let content = json!([{ "type": "text", "text": said.to_string() }]);
                    connection.send(answer(&heard, &json!({ "content": content }))).await;
                }
                ("tools/call", Some("slow")) => {
                    connection.begin_stream().await;
                    let token = &message["params"]["_meta"]["progressToken"];
                    for event in [
                        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": 1 } }),
                        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": HIDDEN } }),
                        json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" }),
                    ] {
                        connection.piece(format!("data: {event}\n\n")).await;
                    }
                    state.answered.notified().await;
                    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "content": [] } });
                    connection.piece(format!("data: {body}\n\n")).await;
                    connection.end_stream().await;
                }
                ("tools/call", Some("hang")) => {
                    connection.begin_stream().await;
                    connection.hung_up().await;
                    return None;
                }
                ("tools/call", Some(name @ ("framed" | "other"))) => connection.send(framed(&heard, name)).await,
                ("tools/call", _) => {
                    let text = message["params"]["arguments"]["to"].as_str().unwrap_or_default().to_owned();
                    let content = json!([{ "type": "text", "text": format!("{session} {text} {HIDDEN}") }]);
                    connection.send(answer(&heard, &json!({ "content": content }))).await;
                }
                ("tools/list", _) => {
                    let tools = json!([{ "name": "x", "inputSchema": { "type": "object" } }]);
                    connection.send(answer(&heard, &json!({ "tools": tools }))).await;
                }
                ("resources/read", _) => connection.send(error(&heard, 200, -32_002)).await,
                ("resources/subscribe" | "resources/unsubscribe" | "logging/setLevel", _) => {
                    if method == "resources/subscribe" && message["params"]["uri"] == "crm://slow" {
                        state.answered.notified().await;
                    }
                    connection.send(answer(&heard, &json!({}))).await;
                }
                _ => connection.send(error(&heard, 200, -32_601)).await,
            }
            Some(connection)
        }
    })
    .await;
    (upstream, kept, tell)
}

fn newer_call(tool: &str, arguments: &Value, capabilities: &Value) -> Ask {
    with_capabilities(Ask::modern("tools/call", &json!({ "name": tool, "arguments": arguments })), capabilities)
}

fn with_capabilities(mut ask: Ask, capabilities: &Value) -> Ask {
    let mut message: Value = serde_json::from_slice(&ask.body).unwrap();
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    message["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "it", "version": "2" });
    ask.body = message.to_string().into_bytes();
    ask
}

#[tokio::test]
async fn a_newer_client_is_led_through_one_session_of_its_own() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let call =
        newer_call("x", &json!({ "to": HIDDEN, "n": 1.0 }), &json!({ "sampling": {}, "extensions": { "a/b": {} } }));
    let got = proxy.ask(&call.clone().token(&ana)).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.header("mcp-session-id"), None);
    let text = format!("s1 {SHOWN} {SHOWN}");
    assert_eq!(
        got.message(),
        json!({ "jsonrpc": "2.0", "id": 7, "result": { "resultType": "complete",
        "content": [{ "type": "text", "text": text }] } })
    );
    let heard = upstream.take();
    // The proxy looks the tool up as it does for every call of a newer client, in the client's session, and hears what is
    // asked there of a client that can be asked.
    let wanted = ["server/discover", "initialize", "notifications/initialized", "tools/list", "GET", "tools/call"];
    assert_eq!(methods(&heard), wanted);
    let hello = heard[1].json();
    assert_eq!(hello["params"]["capabilities"], json!({ "sampling": {} }));
    assert_eq!(hello["params"]["clientInfo"], json!({ "name": "it", "version": "2" }));
    assert_eq!((heard[1].header("mcp-protocol-version"), heard[1].header("mcp-method")), (None, None));
    for heard in &heard[2..] {
        assert_eq!(heard.header("mcp-session-id").as_deref(), Some("s1"));
        assert_eq!(heard.header("mcp-protocol-version").as_deref(), Some("2025-06-18"));
        assert!(!heard.names().iter().any(|name| name == "mcp-method" || name == "mcp-name"), "{heard:?}");
    }
    let sent = String::from_utf8(heard[5].body.clone()).unwrap();
    assert!(sent.contains(r#""n":1.0"#) && !sent.contains("io.modelcontextprotocol"), "{sent}");
    assert!(heard[5].json()["id"].is_u64());
    // Once more, and somebody else.
    assert_eq!(proxy.ask(&call.clone().token(&ana)).await.status, 200);
    assert_eq!(methods(&upstream.take()), ["tools/call"]);
    let other = proxy.ask(&call.token(&max)).await.message();
    assert!(other["result"]["content"][0]["text"].as_str().unwrap().starts_with("s2 "), "{other}");
    let wanted = ["initialize", "notifications/initialized", "tools/list", "GET", "tools/call"];
    assert_eq!(methods(&upstream.take()), wanted);
}

#[tokio::test]
async fn a_newer_client_hears_what_its_revision_promises() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let ask = async |method: &str, params: Value| proxy.ask(&Ask::modern(method, &params).token(&token)).await;
    let found = ask("server/discover", json!({})).await.message();
    let result = &found["result"];
    assert!(result["supportedVersions"].as_array().unwrap().contains(&json!(NEW)), "{found}");
    assert_eq!((&result["instructions"], &result["cacheScope"]), (&json!("be kind"), &json!("private")));
    let list = ask("tools/list", json!({})).await.message();
    assert_eq!((&list["result"]["ttlMs"], &list["result"]["cacheScope"]), (&json!(0), &json!("private")), "{list}");
    let read = ask("resources/read", json!({ "uri": "crm://x" })).await;
    assert_eq!((read.status, &read.message()["error"]["code"]), (200, &json!(-32_602)), "{read:?}");
    let unknown = ask("prompts/list", json!({})).await;
    assert_eq!((unknown.status, &unknown.message()["error"]["code"]), (404, &json!(-32_601)), "{unknown:?}");
}

#[tokio::test]
async fn what_an_older_server_asks_is_asked_inside_of_the_answer() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let call = newer_call("ask", &json!({}), &json!({ "elicitation": {} }));
    let asked = proxy.ask(&call.clone().token(&token)).await.message();
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let question = &result["inputRequests"]["0"];
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["message"], format!("for {SHOWN}?"));
    let mut message: Value = serde_json::from_slice(&call.body).unwrap();
    message["id"] = json!("again");
    message["params"]["requestState"] = result["requestState"].clone();
    message["params"]["inputResponses"] = json!({ "0": { "action": "accept", "content": { "to": HIDDEN } } });
    let retry = Ask { body: message.to_string().into_bytes(), ..call.clone() };
    upstream.take();
    // The state is of no use to anybody else.
    let foreign = proxy.ask(&retry.clone().token(&proxy.token("max"))).await.message();
    assert_eq!(foreign["error"]["code"], -32_602, "{foreign}");
    assert!(upstream.take().is_empty());
    let done = proxy.ask(&retry.token(&token)).await.message();
    let said = json!({ "action": "accept", "content": { "to": SHOWN } });
    assert_eq!(done["id"], "again");
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    let text: Value = serde_json::from_str(done["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, said);
    let [heard] = upstream.take().try_into().unwrap();
    assert_eq!(heard.json(), json!({ "jsonrpc": "2.0", "id": 5, "result": said }));
}

/// A server that asks outside of its call asks about that call, if there is no other.
#[tokio::test]
async fn a_question_that_is_taken_back_is_not_asked() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let can = json!({ "elicitation": {} });
    let done = newer_call("changes_its_mind", &json!({ "which": 5 }), &can);
    let answer = proxy.ask(&done.token(&token)).await.message();
    assert_eq!(answer["result"], json!({ "resultType": "complete", "content": [] }));
    // Only that one: a number is not its text, and another question stands.
    for which in [json!("5"), json!(6)] {
        let asked = newer_call("changes_its_mind", &json!({ "which": which }), &can);
        let answer = proxy.ask(&asked.token(&token)).await.message();
        assert_eq!(answer["result"]["resultType"], "input_required", "{which}: {answer}");
    }
}

#[tokio::test]
async fn what_an_older_server_asks_beside_its_only_call_belongs_to_it() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let call = newer_call("roots", &json!({}), &json!({ "roots": {} }));
    let asked = proxy.ask(&call.clone().token(&token)).await.message();
    let result = &asked["result"];
    assert_eq!(result["inputRequests"]["0"]["method"], "roots/list", "{asked}");
    let mut message: Value = serde_json::from_slice(&call.body).unwrap();
    message["params"]["requestState"] = result["requestState"].clone();
    message["params"]["inputResponses"] = json!({ "0": { "roots": [{ "uri": "file:///it" }] } });
    let retry = Ask { body: message.to_string().into_bytes(), ..call.clone() };
    let done = proxy.ask(&retry.token(&token)).await.message();
    let text = done["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{done}"));
    let said: Value = serde_json::from_str(text).unwrap();
    assert_eq!(said, json!({ "jsonrpc": "2.0", "id": 6, "result": { "roots": [{ "uri": "file:///it" }] } }));
}

#[tokio::test]
async fn who_cannot_be_asked_is_not_asked() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let call = newer_call("ask", &json!({}), &json!({}));
    let done = proxy.ask(&call.token(&proxy.token("ana"))).await.message();
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    let told = upstream.take().into_iter().find(|heard| heard.json().get("error").is_some()).unwrap().json();
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(5), &json!(-32_601)));
}

#[tokio::test]
async fn progress_is_told_under_the_client_s_token_and_logs_where_they_are_wanted() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    for level in [None, Some("info")] {
        let mut meta = json!({ "progressToken": "mine" });
        if let Some(level) = level {
            meta["io.modelcontextprotocol/logLevel"] = json!(level);
        }
        let call = Ask::modern("tools/call", &json!({ "name": "slow", "arguments": {}, "_meta": meta }));
        let messages = proxy.ask(&call.token(&token)).await.messages();
        let named: Vec<_> = messages.iter().map(|message| message["method"].as_str().unwrap_or("answer")).collect();
        let wanted: &[&str] = match level {
            None => &["notifications/progress", "answer"],
            Some(_) => &["notifications/progress", "notifications/message", "answer"],
        };
        assert_eq!(named, wanted, "{messages:?}");
        assert_eq!(messages[0]["params"]["progressToken"], "mine");
    }
    let heard = upstream.take();
    assert!(methods(&heard).contains(&"logging/setLevel".to_owned()));
    // The server's question whether anybody is there was answered.
    assert!(heard.iter().any(|heard| heard.json() == json!({ "jsonrpc": "2.0", "id": 9, "result": {} })));
}

#[tokio::test]
async fn a_session_the_server_has_lost_is_opened_again() {
    let (upstream, older, _) = older().await;
    let proxy = start(&upstream).await;
    let call = newer_call("x", &json!({}), &json!({})).token(&proxy.token("ana"));
    assert_eq!(proxy.ask(&call).await.status, 200);
    upstream.take();
    *older.lost.lock().unwrap() = Some("s1".to_owned());
    let again = proxy.ask(&call).await.message();
    assert!(again["result"]["content"][0]["text"].as_str().unwrap().starts_with("s2 "), "{again}");
    assert_eq!(methods(&upstream.take()), ["tools/call", "initialize", "notifications/initialized", "tools/call"]);
}

#[tokio::test]
async fn clients_that_go_while_their_sessions_are_opened_leave_room_for_others() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let call = |sampling: Value| newer_call("x", &json!({}), &json!({ "sampling": sampling })).token(&token);
    for at in 0..16 {
        let mut client = proxy.client().await;
        client.send(&call(json!({ "hang": at })).bytes()).await;
        until("`initialize`", async || methods(&upstream.take()).contains(&"initialize".to_owned()).then_some(()))
            .await;
    }
    until("room for a session", async || (proxy.ask(&call(json!({}))).await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_newer_client_that_hangs_up_takes_its_call_back() {
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let call = newer_call("hang", &json!({}), &json!({})).token(&proxy.token("ana"));
    let mut client = proxy.client().await;
    client.send(&call.bytes()).await;
    upstream.wait_for(4).await;
    client.head().await.unwrap();
    drop(client);
    let cancelled = until("the call to be taken back", async || {
        upstream.take().into_iter().find(|heard| heard.json()["method"] == "notifications/cancelled")
    })
    .await;
    assert!(cancelled.json()["params"]["requestId"].is_u64());
}

#[tokio::test]
async fn a_subscription_hears_what_it_asked_for() {
    let (upstream, _, tell) = older().await;
    let proxy = start(&upstream).await;
    let listen = json!({ "notifications": { "toolsListChanged": true, "promptsListChanged": true,
        "resourceSubscriptions": ["crm://x"] } });
    let ask = Ask::modern("subscriptions/listen", &listen).token(&proxy.token("ana"));
    let mut client = proxy.client().await;
    client.send(&ask.bytes()).await;
    client.head().await.unwrap();
    let mine = json!({ "io.modelcontextprotocol/subscriptionId": 7 });
    let first = client.message().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["_meta"], mine);
    // The server has no news of prompts.
    assert_eq!(
        first["params"]["notifications"],
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["crm://x"] })
    );
    let updated =
        |uri: &str| json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } });
    for news in [
        updated("crm://other"),
        json!({ "jsonrpc": "2.0", "method": "notifications/resources/list_changed" }),
        updated("crm://x"),
        json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }),
    ] {
        tell.send(news.to_string()).unwrap();
    }
    let news = client.message().await.unwrap();
    assert_eq!((&news["params"]["uri"], &news["params"]["_meta"]), (&json!("crm://x"), &mine), "{news}");
    let news = client.message().await.unwrap();
    assert_eq!(
        (&news["method"], &news["params"]["_meta"]),
        (&json!("notifications/tools/list_changed"), &mine),
        "{news}"
    );
    drop(client);
    until("the resource to be let go", async || {
        upstream.take().into_iter().find(|heard| heard.json()["method"] == "resources/unsubscribe")
    })
    .await;
}

#[tokio::test]
async fn a_question_its_client_is_not_asked_is_refused_when_the_call_has_its_answer() {
    let (upstream, state, _tell) = older().await;
    let proxy = start(&upstream).await;
    let ask = newer_call("answers_at_once", &json!({}), &json!({ "elicitation": {} })).token(&proxy.token("ana"));
    let got = proxy.ask(&ask).await;
    assert_eq!(got.message()["result"]["resultType"], "complete", "{got:?}");
    let said = until("the server to be answered", async || state.answers.lock().unwrap().pop()).await;
    assert_eq!((&said["id"], said["error"]["code"].is_i64()), (&json!(5), true), "{said}");
}

#[tokio::test]
async fn what_is_subscribed_to_is_let_go_of_when_its_client_goes_meanwhile() {
    let (upstream, state, _tell) = older().await;
    let proxy = start(&upstream).await;
    let listen = json!({ "notifications": { "resourceSubscriptions": ["crm://slow"] } });
    let ask = Ask::modern("subscriptions/listen", &listen).token(&proxy.token("ana"));
    let heard = async |method: &str| {
        until(method, async || upstream.take().into_iter().find(|heard| heard.json()["method"] == method)).await
    };
    let mut client = proxy.client().await;
    client.send(&ask.bytes()).await;
    heard("resources/subscribe").await;
    drop(client);
    until("its end", async || proxy.folder.read("audit.jsonl").contains(r#""event":"end""#).then_some(())).await;
    state.answered.notify_one();
    let left = heard("resources/unsubscribe").await;
    assert_eq!(left.json()["params"]["uri"], "crm://slow");
}

/// A server that knows nothing but 2026-07-28.
async fn newer() -> Upstream {
    Upstream::unaided(move |heard, mut connection| async move {
        let message = heard.json();
        let params = &message["params"];
        let meta = &params["_meta"];
        if heard.header("mcp-session-id").is_some()
            || heard.header("mcp-method").as_deref() != message["method"].as_str()
            || meta["io.modelcontextprotocol/protocolVersion"] != NEW
        {
            connection.send(error(&heard, 400, -32_020)).await;
            return Some(connection);
        }
        let complete = |mut result: Value| {
            result["resultType"] = json!("complete");
            answer(&heard, &result)
        };
        match (message["method"].as_str().unwrap(), params["name"].as_str()) {
            ("server/discover", _) => {
                let info = json!({ "io.modelcontextprotocol/serverInfo": { "name": "new", "version": "3" } });
                connection
                    .send(complete(json!({ "supportedVersions": [NEW], "capabilities": { "tools": {}, "extensions": {} },
                        "instructions": "be brief", "ttlMs": 5, "cacheScope": "public", "_meta": info })))
                    .await;
            }
            ("tools/list", _) => {
                let tools = json!([{ "name": "x", "inputSchema": { "type": "object" }, "outputSchema": { "type": "array" } }]);
                connection.send(complete(json!({ "tools": tools, "ttlMs": 5, "cacheScope": "public" }))).await;
            }
            ("tools/call", Some("ask")) => {
                let result = match params.get("inputResponses") {
                    Some(responses) if params["requestState"] == "st" => {
                        json!({ "resultType": "complete", "content": [{ "type": "text", "text": responses["k"].to_string() }] })
                    }
                    _ => json!({ "resultType": "input_required", "requestState": "st", "inputRequests": { "k": {
                        "method": "elicitation/create", "params": { "message": format!("{HIDDEN}?"),
                        "requestedSchema": { "type": "object", "properties": {} } } } } }),
                };
                connection.send(answer(&heard, &result)).await;
            }
            ("tools/call", Some("never_done")) => {
                let result = json!({ "resultType": "input_required", "requestState": "st" });
                connection.send(answer(&heard, &result)).await;
            }
            ("tools/call", Some("hang")) => {
                connection.begin_stream().await;
                connection.hung_up().await;
                return None;
            }
            ("tools/call", Some("linked")) => {
                let link = json!({ "type": "resource_link", "uri": "crm://a", "name": "a", "description": HIDDEN });
                let audio = json!({ "type": "audio", "data": "AAAA", "mimeType": "audio/wav" });
                connection.send(complete(json!({ "content": [link, audio] }))).await;
            }
            ("tools/call", Some(name @ ("framed" | "other"))) => connection.send(framed(&heard, name)).await,
            ("tools/call", _) => {
                connection.begin_stream().await;
                let level = &meta["io.modelcontextprotocol/logLevel"];
                let event = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": level } });
                connection.piece(format!("data: {event}\n\n")).await;
                let result = json!({ "resultType": "complete", "content": [{ "type": "text", "text": HIDDEN }], "structuredContent": [1] });
                let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
                connection.piece(format!("data: {body}\n\n")).await;
                connection.end_stream().await;
            }
            ("subscriptions/listen", _) => {
                connection.begin_stream().await;
                let id = json!({ "io.modelcontextprotocol/subscriptionId": message["id"] });
                let uris = &params["notifications"]["resourceSubscriptions"];
                for event in [
                    json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": { "_meta": id, "notifications": {} } }),
                    json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": { "_meta": id } }),
                ] {
                    connection.piece(format!("data: {event}\n\n")).await;
                }
                for uri in uris.as_array().unwrap() {
                    let event = json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "_meta": id, "uri": uri } });
                    connection.piece(format!("data: {event}\n\n")).await;
                }
                connection.hung_up().await;
                return None;
            }
            _ => connection.send(error(&heard, 404, -32_601)).await,
        }
        Some(connection)
    })
    .await
}

/// An answer that is one message, with something of everything that is taken out; of "other", to another request.
fn framed(heard: &Heard, name: &str) -> Vec<u8> {
    let id = if name == "other" { "77777".to_owned() } else { heard.id() };
    let (kind, kept) = match heard.header("mcp-session-id") {
        None => (r#""resultType":"complete", "ttlMs":5,"cacheScope":"public","#, r#", "n":1.0 "#),
        Some(_) => ("", r#", "n":1.0 "#),
    };
    let content = format!(r#"{{"type":"text","text":"{HIDDEN}","_meta":{{"x/y":1}}}}"#);
    let result = format!(r#"{{{kind}"_meta":{{"x/y":1 ,"progressToken":2}},"content":[{content}]{kept}}}"#);
    raw_answer(
        200,
        "Content-Type: application/json\r\n",
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).as_bytes(),
    )
}

/// What is one message is read once, and leaves as if it had been written in the client's era.
#[tokio::test]
async fn an_answer_in_one_piece_is_masked_and_tidied_as_in_the_client_s_era() {
    let shown = format!(
        r#""_meta":{{"progressToken":2}},"content":[{{"type":"text","text":"{SHOWN}","_meta":{{}}}}], "n":1.0 "#
    );
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let ask = |tool: &str| newer_call(tool, &json!({}), &json!({})).token(&proxy.token("ana"));
    let got = proxy.ask(&ask("framed")).await;
    let id = got.json()["id"].to_string();
    assert_eq!(got.text(), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete",{shown}}}}}"#));
    // Under the client's id it would pass for the answer.
    let got = proxy.ask(&ask("other")).await;
    assert!(got.status == 502 && !got.text().contains(SHOWN) && !got.text().contains(HIDDEN), "{got:?}");

    let upstream = newer().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token, OLD).await;
    let ask = |tool: &str| {
        Ask::legacy("tools/call", &json!({ "name": tool, "arguments": {} })).session(&session).token(&token)
    };
    let got = proxy.ask(&ask("framed")).await;
    let id = got.json()["id"].to_string();
    assert_eq!(got.text(), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{shown}}}}}"#));
    let got = proxy.ask(&ask("other")).await;
    assert!(got.status == 502 && !got.text().contains(SHOWN) && !got.text().contains(HIDDEN), "{got:?}");
}

/// Opens a session as an older client does; gives its id.
async fn hello(proxy: &Proxy, token: &str, revision: &str) -> String {
    let params = json!({ "protocolVersion": revision, "capabilities": { "elicitation": {} }, "clientInfo": { "name": "it", "version": "1" } });
    let got = proxy.ask(&Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(token)).await;
    assert_eq!(got.status, 200, "{got:?}");
    let message = got.message();
    let result = &message["result"];
    assert_eq!(result["protocolVersion"], revision, "{result}");
    assert_eq!(result["serverInfo"], json!({ "name": "new", "version": "3" }));
    assert_eq!(
        (&result["instructions"], &result["capabilities"]),
        (&json!("be brief"), &json!({ "tools": { "listChanged": true } }))
    );
    got.header("mcp-session-id").unwrap().to_owned()
}

#[tokio::test]
async fn an_older_client_has_a_session_at_a_server_without_any() {
    let upstream = newer().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    for revision in ["2025-03-26", "2025-06-18", OLD] {
        let session = hello(&proxy, &token, revision).await;
        let ask = |method: &str, params: Value| {
            Ask::legacy(method, &params).with("MCP-Protocol-Version", revision).session(&session).token(&token)
        };
        upstream.take();
        for (method, params) in [
            ("ping", json!({})),
            ("logging/setLevel", json!({ "level": "notice" })),
            ("resources/subscribe", json!({ "uri": "crm://x" })),
        ] {
            assert_eq!(proxy.ask(&ask(method, params)).await.message()["result"], json!({}), "{method}");
        }
        assert!(upstream.take().is_empty());
        let list = proxy.ask(&ask("tools/list", json!({}))).await.message();
        assert_eq!(list["result"], json!({ "tools": [{ "name": "x", "inputSchema": { "type": "object" } }] }));
        let call = proxy.ask(&ask("tools/call", json!({ "name": "x", "arguments": { "to": HIDDEN } }))).await;
        let [log, done] = call.messages().try_into().unwrap();
        assert_eq!(log["params"]["data"], "notice");
        assert_eq!(done["result"], json!({ "content": [{ "type": "text", "text": SHOWN }] }));
        let heard = upstream.take();
        assert_eq!(methods(&heard), ["tools/list", "tools/call"]);
        assert_eq!(heard[1].header("mcp-name").as_deref(), Some("x"));
        let meta = &heard[1].json()["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({ "elicitation": {} }));
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "it");
        assert_eq!(heard[1].json()["params"]["arguments"]["to"], SHOWN);
        // Of no use to anybody else, and of none when it has ended.
        let foreign = ask("ping", json!({})).without("Authorization").token(&proxy.token("max"));
        assert_eq!(proxy.ask(&foreign).await.status, 404);
        let end = Ask { method: "DELETE", body: Vec::new(), ..ask("ping", json!({})) };
        assert_eq!(proxy.ask(&end.without("Content-Type")).await.status, 200);
        assert_eq!(proxy.ask(&ask("tools/list", json!({}))).await.status, 404);
    }
}

#[tokio::test]
async fn an_older_client_gets_content_its_revision_has() {
    let proxy = start(&newer().await).await;
    let token = proxy.token("ana");
    let link = json!({ "type": "resource_link", "uri": "crm://a", "name": "a", "description": SHOWN });
    let audio = json!({ "type": "audio", "data": "AAAA", "mimeType": "audio/wav" });
    let text = |text: String| json!({ "type": "text", "text": text });
    let (as_text, no_audio) = (text(format!("a\ncrm://a\n{SHOWN}")), text("[audio/wav]".to_owned()));
    for (revision, content) in [
        ("2024-11-05", [&as_text, &no_audio]),
        ("2025-03-26", [&as_text, &audio]),
        ("2025-06-18", [&link, &audio]),
        (OLD, [&link, &audio]),
    ] {
        let session = hello(&proxy, &token, revision).await;
        let call = Ask::legacy("tools/call", &json!({ "name": "linked", "arguments": {} }));
        let call = call.with("MCP-Protocol-Version", revision).session(&session).token(&token);
        assert_eq!(proxy.ask(&call).await.message()["result"]["content"], json!(content), "{revision}");
    }
}

/// Tasks of one era are none of the other's: nobody is told that there are any, and who asks is told why not.
#[tokio::test]
async fn tasks_are_not_translated_and_that_is_said() {
    let upstream = newer().await;
    let policy = format!("{POLICY}[[rule]]\nid = \"tasks\"\nmethods = [\"tasks/list\"]\n");
    let proxy = Setup::new(upstream.url()).policy(policy).server("schema = \"off\"").start().await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token, OLD).await;
    upstream.take();
    let answer = proxy.ask(&Ask::legacy("tasks/list", &json!({})).session(&session).token(&token)).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (200, &json!(-32601)), "{answer:?}");
    assert!(answer.text().contains("tasks are not translated"), "{answer:?}");
    assert!(upstream.take().is_empty());
    // A call that wants to be one is an ordinary call.
    let params = json!({ "name": "x", "arguments": {}, "task": { "ttl": 1000 } });
    let answer = proxy.ask(&Ask::legacy("tools/call", &params).session(&session).token(&token)).await;
    assert!(answer.message()["result"]["content"].is_array(), "{answer:?}");
    assert!(upstream.take().iter().all(|heard| heard.json()["params"].get("task").is_none()));
}

#[tokio::test]
async fn what_a_newer_server_asks_is_asked_on_the_stream_of_the_call() {
    let upstream = newer().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token, OLD).await;
    let ask = |message: &Value| {
        Ask::post(message.to_string()).header("MCP-Protocol-Version", OLD).session(&session).token(&token)
    };
    let call =
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "ask", "arguments": {} } });
    let mut client = proxy.client().await;
    client.send(&ask(&call).bytes()).await;
    client.head().await.unwrap();
    let question = client.message().await.unwrap();
    assert_eq!(
        (&question["method"], &question["params"]["message"]),
        (&json!("elicitation/create"), &json!(format!("{SHOWN}?")))
    );
    let said = json!({ "action": "accept", "content": { "to": HIDDEN } });
    let back = ask(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": said }));
    assert_eq!(proxy.ask(&back).await.status, 202);
    let done = client.message().await.unwrap();
    let text: Value = serde_json::from_str(done["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((&done["id"], &text["content"]["to"]), (&json!(7), &json!(SHOWN)), "{done}");
    let calls: Vec<_> = upstream.take().into_iter().filter(|heard| heard.json()["method"] == "tools/call").collect();
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].id(), calls[1].id());
}

#[tokio::test]
async fn a_call_is_repeated_no_more_often_than_its_answer_is_read() {
    let upstream = newer().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token, OLD).await;
    upstream.take();
    let call = Ask::legacy("tools/call", &json!({ "name": "never_done", "arguments": {} }));
    let last = proxy.ask(&call.session(&session).token(&token)).await.messages().pop().unwrap();
    assert_eq!(last["result"]["isError"], true, "{last}");
    assert_eq!(methods(&upstream.take()), ["tools/call"; 16]);
}

#[tokio::test]
async fn an_older_client_has_the_news_it_asked_for_and_can_take_a_call_back() {
    let upstream = newer().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token, OLD).await;
    let ask = |message: &Value| {
        Ask::post(message.to_string()).header("MCP-Protocol-Version", OLD).session(&session).token(&token)
    };
    let mut news = proxy.client().await;
    let get = Ask::new("GET").header("Accept", "text/event-stream").header("MCP-Protocol-Version", OLD);
    news.send(&get.session(&session).token(&token).bytes()).await;
    news.head().await.unwrap();
    let told = news.message().await.unwrap();
    assert_eq!(
        told,
        json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": { "_meta": {} } })
    );
    let want = json!({ "jsonrpc": "2.0", "id": 8, "method": "resources/subscribe", "params": { "uri": "crm://x" } });
    assert_eq!(proxy.ask(&ask(&want)).await.message()["result"], json!({}));
    let mut told = news.message().await.unwrap();
    while told["method"] != "notifications/resources/updated" {
        told = news.message().await.unwrap();
    }
    assert_eq!(told["params"]["uri"], "crm://x");
    upstream.take();
    let call =
        json!({ "jsonrpc": "2.0", "id": "h", "method": "tools/call", "params": { "name": "hang", "arguments": {} } });
    let mut client = proxy.client().await;
    client.send(&ask(&call).bytes()).await;
    client.head().await.unwrap();
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "h" } });
    assert_eq!(proxy.ask(&ask(&cancel)).await.status, 202);
    // Nothing more is to come but that there is no answer.
    let last = client.message().await.unwrap();
    assert_eq!(last["error"]["code"], -31_502, "{last}");
}

/// What is said straight is not touched, and nothing is asked that need not be.
#[tokio::test]
async fn like_is_left_to_like() {
    let (older, _, _) = older().await;
    let proxy = start(&older).await;
    let token = proxy.token("ana");
    let session = proxy.open_session(&token).await;
    let call = Ask::legacy("tools/call", &json!({ "name": "x", "arguments": {} })).session(&session).token(&token);
    assert_eq!(proxy.ask(&call).await.status, 200);
    assert_eq!(methods(&older.take()), ["initialize", "tools/call"]);
    let newer = newer().await;
    let proxy = start(&newer).await;
    let call = newer_call("x", &json!({}), &json!({})).token(&proxy.token("ana"));
    assert_eq!(proxy.ask(&call).await.status, 200);
    assert_eq!(methods(&newer.take()), ["server/discover", "tools/list", "tools/call"]);
}

/// A server that answers neither question as a server of either era does is left alone with what the client says.
#[tokio::test]
async fn what_speaks_neither_hears_the_message_itself() {
    let upstream = Upstream::unaided(|heard, mut connection| async move {
        connection.send(answer(&heard, &json!({ "content": [] }))).await;
        Some(connection)
    })
    .await;
    let proxy = start(&upstream).await;
    let call = newer_call("x", &json!({}), &json!({})).token(&proxy.token("ana"));
    for wanted in [&["server/discover", "initialize", "tools/list", "tools/call"][..], &["tools/call"]] {
        let got = proxy.ask(&call).await;
        assert_eq!((got.status, &got.message()["result"]), (200, &json!({ "content": [] })), "{got:?}");
        let heard = upstream.take();
        let heard: Vec<_> = methods(&heard).into_iter().filter(|method| method != "tools/list").collect();
        let wanted: Vec<_> = wanted.iter().filter(|method| **method != "tools/list").collect();
        assert_eq!(heard.iter().collect::<Vec<_>>(), wanted);
    }
}

/// What is kept as long as a session is has bounds, in both directions.
#[tokio::test]
async fn what_a_client_says_of_itself_is_kept_within_bounds() {
    let long = "x".repeat(64 * 1024);
    let upstream = newer().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let hello = json!({ "protocolVersion": OLD, "capabilities": { "experimental": { "a": long } },
        "clientInfo": { "name": "it", "version": "1" } });
    let ask = Ask::legacy("initialize", &hello).without("MCP-Protocol-Version").token(&token);
    let refused = proxy.ask(&ask).await;
    assert_eq!((refused.header("mcp-session-id"), &refused.message()["error"]["code"]), (None, &json!(-32_602)));
    let session = self::hello(&proxy, &token, OLD).await;
    let level = Ask::legacy("logging/setLevel", &json!({ "level": "loud" })).session(&session).token(&token);
    assert_eq!(proxy.ask(&level).await.message()["error"]["code"], -32_602);
    let (upstream, _, _) = older().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let stated = |key: &str, value: &str| newer_call("x", &json!({}), &json!({ "sampling": { key: value } }));
    let refused = proxy.ask(&stated("a", &long).token(&token)).await.message();
    assert_eq!(refused["error"]["code"], -32_602, "{refused}");
    // One caller does not take the sessions of all.
    let mut taken = 0;
    while proxy.ask(&stated(&format!("k{taken}"), "").token(&token)).await.status == 200 {
        taken += 1;
        assert!(taken < 100);
    }
    assert_eq!(taken, 16);
    assert_eq!(proxy.ask(&stated("k0", "").token(&proxy.token("max"))).await.status, 200);
    assert_eq!(proxy.ask(&stated("k0", "").token(&token)).await.status, 200);
}
