//! Sessions at an upstream that nobody uses any more.

use serde_json::{Value, json};

use crate::support::{Ask, Client, Heard, Proxy, Setup, Upstream, json_answer, raw_answer, until, within};

const OLD: &str = "2025-11-25";

/// A server that opens a session for each hello, and has a stream for each.
async fn server() -> Upstream {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let count = std::sync::Arc::new(count);
    Upstream::unaided(move |heard, mut connection| {
        let count = count.clone();
        async move {
            let message = heard.json();
            if heard.line().starts_with("GET") {
                connection.begin_stream().await;
                connection.hung_up().await;
                return None;
            }
            let answer = match message["method"].as_str() {
                None => raw_answer(200, "", b""),
                Some("initialize") => {
                    let number = 1 + count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let result = json!({ "protocolVersion": OLD, "capabilities": {}, "serverInfo": { "name": "u", "version": "1" } });
                    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
                    let fields = format!("Content-Type: application/json\r\nMcp-Session-Id: s{number}\r\n");
                    raw_answer(200, &fields, body.as_bytes())
                }
                Some("server/discover") => {
                    json_answer(400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no session"}}"#)
                }
                Some(_) if message.get("id").is_none() => raw_answer(202, "", b""),
                Some(_) => {
                    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "tools": [], "content": [] } });
                    json_answer(200, &body.to_string())
                }
            };
            connection.send(answer).await;
            Some(connection)
        }
    })
    .await
}

async fn start(upstream: &Upstream, lines: &str) -> Proxy {
    let auth = "[servers.crm.upstream_auth]\ntype = \"bearer\"\ntoken = { value = \"for-upstream\" }";
    let lines = format!("schema = \"off\"\n{lines}\n{auth}");
    Setup::new(upstream.url()).policy("[[rule]]\nid = \"any\"\ntools = [\"**\"]\n").server(&lines).start().await
}

/// The sessions whose end the upstream is told, in order.
async fn ended(upstream: &Upstream, count: usize) -> Vec<Heard> {
    let mut all = Vec::new();
    until("sessions to be ended", async || {
        all.extend(upstream.take().into_iter().filter(|heard| heard.line().starts_with("DELETE")));
        (all.len() >= count).then_some(())
    })
    .await;
    all
}

fn is_ending(heard: &Heard, session: &str, revision: Option<&str>) {
    assert_eq!(heard.header("mcp-session-id").as_deref(), Some(session), "{heard:?}");
    assert_eq!(heard.header("mcp-protocol-version").as_deref(), revision, "{heard:?}");
    assert_eq!(heard.header("authorization").as_deref(), Some("Bearer for-upstream"), "{heard:?}");
}

#[tokio::test]
async fn a_session_of_the_proxy_s_own_is_ended_when_nobody_uses_it() {
    let upstream = server().await;
    let proxy = start(&upstream, "session_idle = \"50ms\"").await;
    let token = proxy.token("ana");
    for (number, can) in [json!({}), json!({ "elicitation": {} })].into_iter().enumerate() {
        let mut call = Ask::modern("tools/call", &json!({ "name": "x", "arguments": {} }));
        let mut message: Value = serde_json::from_slice(&call.body).unwrap();
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = can;
        call.body = message.to_string().into_bytes();
        assert_eq!(proxy.ask(&call.token(&token)).await.status, 200);
        let [end] = ended(&upstream, 1).await.try_into().unwrap();
        is_ending(&end, &format!("s{}", number + 1), Some(OLD));
    }
}

#[tokio::test]
async fn a_session_a_client_has_left_behind_is_ended() {
    let upstream = server().await;
    let proxy = start(&upstream, "session_idle = \"50ms\"").await;
    let token = proxy.token("ana");
    // One that only said hello, and settled on nothing that has shown.
    proxy.open_session(&token).await;
    let [end] = ended(&upstream, 1).await.try_into().unwrap();
    is_ending(&end, "s1", None);
    let session = proxy.open_session(&token).await;
    let ask = |method: &str| Ask::legacy(method, &json!({})).token(&token).session(&session);
    assert_eq!(proxy.ask(&ask("tools/list")).await.status, 200);
    let [end] = ended(&upstream, 1).await.try_into().unwrap();
    is_ending(&end, "s2", Some("2025-11-25"));
    // What the server has forgotten it is not told again.
    assert_eq!(proxy.ask(&ask("tools/list")).await.status, 200);
    let [end] = ended(&upstream, 1).await.try_into().unwrap();
    is_ending(&end, "s2", Some("2025-11-25"));
}

#[tokio::test]
async fn a_session_somebody_listens_in_is_in_use() {
    let upstream = server().await;
    let proxy = start(&upstream, "session_idle = \"50ms\"").await;
    let token = proxy.token("ana");
    let kept = proxy.open_session(&token).await;
    let mut client = proxy.client().await;
    let listen = Ask::new("GET").header("Accept", "text/event-stream").token(&token).session(&kept);
    client.send(&listen.bytes()).await;
    client.head().await.unwrap();
    proxy.open_session(&token).await;
    let [end] = ended(&upstream, 1).await.try_into().unwrap();
    is_ending(&end, "s2", None);
    drop(client);
    let [end] = ended(&upstream, 1).await.try_into().unwrap();
    assert_eq!(end.header("mcp-session-id").as_deref(), Some("s1"));
}

#[tokio::test]
async fn a_session_its_client_ends_is_ended_once() {
    let upstream = server().await;
    let proxy = start(&upstream, "session_idle = \"50ms\"").await;
    let token = proxy.token("ana");
    let session = proxy.open_session(&token).await;
    let end = Ask::new("DELETE").token(&token).session(&session);
    assert_eq!(proxy.ask(&end).await.status, 200);
    // What comes after it is told of the next.
    proxy.open_session(&token).await;
    let heard = ended(&upstream, 2).await;
    let names: Vec<_> = heard.iter().map(|heard| heard.header("mcp-session-id").unwrap()).collect();
    assert_eq!(names, ["s1", "s2"]);
}

/// Only what is opened now is known to be idle.
async fn only_the_next_is_ended(proxy: &Proxy, upstream: &Upstream, token: &str) {
    proxy.open_session(token).await;
    let [end] = ended(upstream, 1).await.try_into().unwrap();
    is_ending(&end, "s2", None);
}

/// A client that listens in the session it has opened.
async fn listener(proxy: &Proxy, token: &str) -> (String, Client) {
    let session = proxy.open_session(token).await;
    let mut client = proxy.client().await;
    client.send(&Ask::new("GET").header("Accept", "text/event-stream").token(token).session(&session).bytes()).await;
    client.head().await.unwrap();
    (session, client)
}

#[tokio::test]
async fn a_session_used_while_none_were_to_be_ended_is_left_alone_afterwards() {
    let upstream = server().await;
    let proxy = start(&upstream, "session_idle = \"50ms\"").await;
    let token = proxy.token("ana");
    let (kept, client) = listener(&proxy, &token).await;
    proxy.reload(("session_idle", "# session_idle")).await;
    let ask = Ask::legacy("tools/list", &json!({})).token(&token).session(&kept);
    assert_eq!(proxy.ask(&ask).await.status, 200);
    drop(client);
    proxy.reload(("# session_idle", "session_idle")).await;
    only_the_next_is_ended(&proxy, &upstream, &token).await;
}

/// It may be in use at the same server, by another of its addresses.
#[tokio::test]
async fn sessions_opened_where_the_server_is_no_longer_asked_are_left_alone() {
    let upstream = server().await;
    let proxy = start(&upstream, "session_idle = \"50ms\"").await;
    let token = proxy.token("ana");
    let (_, client) = listener(&proxy, &token).await;
    proxy.reload((&upstream.url(), &format!("{}?now", upstream.url()))).await;
    drop(client);
    only_the_next_is_ended(&proxy, &upstream, &token).await;
}

#[tokio::test]
async fn a_session_of_the_proxy_s_own_outlives_a_reload_of_something_else() {
    let upstream = server().await;
    let proxy = start(&upstream, "session_idle = \"1h\"\nconcurrency = { max_in_flight = 8 }").await;
    let call = Ask::modern("tools/call", &json!({ "name": "x", "arguments": {} })).token(&proxy.token("ana"));
    assert_eq!(proxy.ask(&call).await.status, 200);
    proxy.reload(("max_in_flight = 8", "max_in_flight = 9")).await;
    proxy.reload(("session_idle = \"1h\"", "session_idle = \"2h\"")).await;
    assert_eq!(proxy.ask(&call).await.status, 200);
    let heard = upstream.take();
    let of = |method: &str| heard.iter().filter(|heard| heard.text().contains(method)).collect::<Vec<_>>();
    assert_eq!(of("\"initialize\"").len(), 1);
    let calls = of("tools/call");
    assert!(calls.len() == 2 && calls.iter().all(|call| call.header("mcp-session-id").as_deref() == Some("s1")));
}

/// Everybody's sessions are on one stream of HTTP+SSE, which ends with the last of them.
#[tokio::test]
async fn a_shared_stream_ends_when_nobody_is_on_it() {
    let (opened, gone) = (tokio::sync::watch::Sender::new(0), tokio::sync::watch::Sender::new(0));
    let (to, pieces) = tokio::sync::mpsc::unbounded_channel();
    let pieces = std::sync::Arc::new(tokio::sync::Mutex::new(pieces));
    let (counted, ended) = (opened.clone(), gone.clone());
    let upstream = Upstream::unaided(move |heard, mut connection| {
        let (counted, ended, to, pieces) = (counted.clone(), ended.clone(), to.clone(), pieces.clone());
        async move {
            if heard.line().starts_with("GET") {
                counted.send_modify(|count| *count += 1);
                connection.begin_stream().await;
                connection.piece("event: endpoint\ndata: /messages\n\n").await;
                if connection.pieces(&mut *pieces.lock().await).await {
                    ended.send_modify(|count| *count += 1);
                }
                return None;
            }
            connection.send(raw_answer(202, "", b"")).await;
            let message = heard.json();
            if message["method"] == "initialize" {
                let result = json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": { "name": "u", "version": "1" } });
                let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
                to.send(format!("event: message\ndata: {answer}\n\n").into_bytes()).unwrap();
            }
            Some(connection)
        }
    })
    .await;
    let proxy = start(&upstream, "transport = \"sse\"\nsessions = \"shared\"\nsession_idle = \"50ms\"").await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let (kept, left) = (proxy.open_session(&ana).await, proxy.open_session(&max).await);
    let mut client = proxy.client().await;
    let listen = Ask::new("GET").header("Accept", "text/event-stream").token(&ana).session(&kept);
    client.send(&listen.bytes()).await;
    client.head().await.unwrap();
    let end = Ask::new("DELETE").token(&max).session(&left);
    assert_eq!(proxy.ask(&end).await.status, 200);
    assert_eq!((*opened.borrow(), *gone.borrow()), (1, 0));
    drop(client);
    within("the stream to end", gone.subscribe().wait_for(|count| *count == 1)).await.unwrap();
    assert_eq!(*opened.borrow(), 1);
}
