//! Clients are told when what they may see has changed: after a reload, and when the server says so, at a bounded rate.

use std::time::Instant;

use portcullis::server::drain::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Ask, CRM_POLICY, Client, Proxy, Setup, Upstream, raw_answer, until};

/// A server that has tools and resources, and never says that they change; its streams have the pieces the test sends.
pub(crate) async fn upstream(answer: &'static str) -> (Upstream, mpsc::UnboundedSender<Vec<u8>>) {
    let (pieces, received) = mpsc::unbounded_channel::<Vec<u8>>();
    let received = std::sync::Arc::new(std::sync::Mutex::new(Some(received)));
    let upstream = Upstream::handling(move |heard, mut connection| {
        let received = received.clone();
        async move {
            let is_stream = heard.line().starts_with("GET") || heard.text().contains("subscriptions/listen");
            let driving = if is_stream { received.lock().unwrap().take() } else { None };
            if let Some(mut received) = driving {
                connection.begin_stream().await;
                if !connection.pieces(&mut received).await {
                    connection.end_stream().await;
                }
                return None;
            }
            if !heard.text().contains("\"initialize\"") {
                connection.send(raw_answer(202, "", b"")).await;
                return Some(connection);
            }
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"protocolVersion":"2025-11-25","capabilities":{answer},"serverInfo":{{"name":"up","version":"1"}}}}}}"#,
                heard.id()
            );
            let fields = "Content-Type: application/json\r\nMcp-Session-Id: up-1\r\n";
            connection.send(raw_answer(200, fields, body.as_bytes())).await;
            Some(connection)
        }
    })
    .await;
    (upstream, pieces)
}

pub(crate) const CAPABILITIES: &str = r#"{"tools":{},"resources":{"subscribe":true}}"#;

pub(crate) fn told(kind: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": format!("notifications/{kind}/list_changed") })
}

fn piece(message: &Value) -> Vec<u8> {
    format!("data: {message}\n\n").into_bytes()
}

/// What ends a round: something that is passed on whatever the policy.
fn marker(at: usize) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": at } })
}

/// A session's own stream.
async fn listening(proxy: &Proxy, token: &str) -> Client {
    let session = proxy.open_session(token).await;
    standing(proxy.client().await, token, &session).await
}

/// The same on a connection.
pub(crate) async fn standing(mut client: Client, token: &str, session: &str) -> Client {
    client.send(&Ask::new("GET").header("Accept", "text/event-stream").token(token).session(session).bytes()).await;
    assert!(client.head().await.unwrap().is_stream());
    client
}

/// The version of the policy in force.
async fn in_force(proxy: &Proxy) -> String {
    let metrics = proxy.admin("/metrics").await;
    metrics.text().lines().find(|line| line.starts_with("portcullis_config_info")).unwrap().to_owned()
}

/// Writes the policy and waits until it is in force.
async fn reload(proxy: &Proxy, policy: &str) {
    let before = in_force(proxy).await;
    proxy.folder.write("crm.toml", policy);
    proxy.signal(Signal::Reload).await;
    until("the reload", async || (in_force(proxy).await != before).then_some(())).await;
}

/// The policy with another rule for tools.
pub(crate) fn narrower() -> String {
    CRM_POLICY.replace("\"create_*\"", "\"make_*\"")
}

/// The policy with lists by another rule.
fn every_list() -> String {
    CRM_POLICY.replace("\"acquirable\"", "\"allowed\"")
}

#[tokio::test]
async fn a_session_is_told_of_a_reload_that_changes_its_lists() {
    let (upstream, pieces) = upstream(CAPABILITIES).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let mut client = listening(&proxy, &token).await;
    // It concerns no list: nothing is told, and what comes next is the server's.
    reload(&proxy, &format!("# a remark\n{CRM_POLICY}")).await;
    pieces.send(piece(&marker(1))).unwrap();
    assert_eq!(client.message().await.unwrap(), marker(1));
    // One rule for tools.
    reload(&proxy, &narrower()).await;
    assert_eq!(client.message().await.unwrap(), told("tools"));
    // Every list the server has; it has no prompts.
    reload(&proxy, &every_list()).await;
    let two = [client.message().await.unwrap(), client.message().await.unwrap()];
    assert_eq!(two, [told("resources"), told("tools")]);
    pieces.send(piece(&marker(2))).unwrap();
    assert_eq!(client.message().await.unwrap(), marker(2));
}

/// The watch notices the file; nobody says a word to the proxy.
#[tokio::test]
async fn a_session_is_told_when_a_file_has_changed() {
    let (upstream, _pieces) = upstream(CAPABILITIES).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let mut client = listening(&proxy, &proxy.token("ana")).await;
    let before = in_force(&proxy).await;
    let mut round = 0;
    until("the newer rules", async || {
        round += 1;
        if round % 100 == 1 {
            proxy.folder.write("crm.toml", format!("{}\n# {round}\n", narrower()));
        }
        (in_force(&proxy).await != before).then_some(())
    })
    .await;
    assert_eq!(client.message().await.unwrap(), told("tools"));
}

#[tokio::test]
async fn what_was_not_declared_is_not_told() {
    for (capabilities, declared, kinds) in [
        ("{}", json!({}), &[][..]),
        (r#"{"tools":{"listChanged":false}}"#, json!({ "tools": { "listChanged": true } }), &["tools"]),
        (r#"{"prompts":{},"x":{}}"#, json!({ "prompts": { "listChanged": true }, "x": {} }), &["prompts"]),
    ] {
        let (upstream, pieces) = upstream(capabilities).await;
        let proxy = Setup::new(upstream.url()).start().await;
        let token = proxy.token("ana");
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} });
        let opened = proxy.ask(&Ask::legacy("initialize", &params).token(&token)).await;
        assert_eq!(opened.json()["result"]["capabilities"], declared);
        let mut client = listening(&proxy, &token).await;
        reload(&proxy, &every_list()).await;
        for kind in kinds {
            assert_eq!(client.message().await.unwrap(), told(kind));
        }
        pieces.send(piece(&marker(1))).unwrap();
        assert_eq!(client.message().await.unwrap(), marker(1), "{capabilities}");
    }
}

#[tokio::test]
async fn a_subscription_is_told_of_what_it_covers_and_by_its_id() {
    let (upstream, pieces) = upstream(CAPABILITIES).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let wanted = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
    let listen = Ask::modern("subscriptions/listen", &json!({ "notifications": wanted })).token(&proxy.token("ana"));
    let mut client = proxy.client().await;
    client.send(&listen.bytes()).await;
    assert!(client.head().await.unwrap().is_stream());
    let id = json!({ "io.modelcontextprotocol/subscriptionId": 7 });
    // The server honours two of the three.
    let honoured = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": { "_meta": id, "notifications": { "toolsListChanged": true, "resourcesListChanged": true } } });
    // Nothing may come before the acknowledgement.
    reload(&proxy, &narrower()).await;
    pieces.send(piece(&honoured)).unwrap();
    assert_eq!(client.message().await.unwrap(), honoured);
    reload(&proxy, &every_list()).await;
    for kind in ["resources", "tools"] {
        let mut expected = told(kind);
        expected["params"] = json!({ "_meta": id });
        assert_eq!(client.message().await.unwrap(), expected);
    }
    let end = json!({ "jsonrpc": "2.0", "id": 7, "result": { "resultType": "complete" } });
    pieces.send(piece(&end)).unwrap();
    assert_eq!(client.message().await.unwrap()["id"], 7);
    assert_eq!(client.event().await, None);
}

/// The bound: four at once, and one in five seconds from then on.
fn most(since: Instant) -> usize {
    4 + usize::try_from(since.elapsed().as_secs() / 5).unwrap() + 1
}

#[tokio::test]
async fn many_reloads_are_told_of_at_a_bounded_rate() {
    let (upstream, pieces) = upstream(CAPABILITIES).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let since = Instant::now();
    let mut client = listening(&proxy, &proxy.token("ana")).await;
    for round in 0..30 {
        let policy = if round % 2 == 0 { narrower() } else { CRM_POLICY.to_owned() };
        reload(&proxy, &policy).await;
        // The stream has seen each of them.
        pieces.send(piece(&marker(round))).unwrap();
    }
    drop(pieces);
    let mut count = 0;
    while let Some(message) = client.message().await {
        count += usize::from(message == told("tools"));
    }
    assert!((4..=most(since)).contains(&count), "{count}");
}

/// A server whose list never stops changing does not have its clients list for ever.
#[tokio::test]
async fn a_server_that_announces_changes_without_end_is_passed_on_at_a_bounded_rate() {
    let (upstream, pieces) = upstream(CAPABILITIES).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let since = Instant::now();
    let mut client = listening(&proxy, &proxy.token("ana")).await;
    for at in 0..200 {
        pieces.send(piece(&told("tools"))).unwrap();
        pieces.send(piece(&told("resources"))).unwrap();
        pieces.send(piece(&marker(at))).unwrap();
    }
    drop(pieces);
    let (mut tools, mut markers, mut last) = (0, 0, Value::Null);
    while let Some(message) = client.message().await {
        tools += usize::from(message == told("tools"));
        markers += usize::from(message["method"] == "notifications/message");
        last = message;
    }
    assert_eq!(markers, 200);
    assert!((5..=most(since)).contains(&tools), "{tools}");
    // Held back, and told of before the stream ended.
    assert!(last == told("tools") || last == told("resources"), "{last}");
    let metrics = proxy.admin("/metrics").await;
    let dropped = "portcullis_upstream_messages_dropped_total{server=\"crm\",reason=\"list_changed\"} ";
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(dropped)).unwrap().to_owned();
    assert!(line.parse::<usize>().unwrap() >= 400 - 2 * most(since), "{line}");
}
