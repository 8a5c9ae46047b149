//! Event streams: every event at once, whole, masked and in one spelling; and how they end.

use std::sync::{Arc, Mutex};

use portcullis::clock::Timestamp;
use portcullis::server::drain::Signal;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{
    Answer, Ask, CRM_POLICY, Client, Connection, Driver, LASTS, Proxy, Setup, Upstream, events, json_answer,
    raw_answer, token_of, until, within,
};

const SECRET: &str = "ana@private.example";

fn progress(at: u32, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/progress",
        "params": { "progressToken": "t", "progress": at, "message": text } })
}

fn result(text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "result": { "content": [{ "type": "text", "text": text }] } })
}

fn export(revision: &str) -> Ask {
    Ask::call(revision, "export_contacts", &json!({}))
}

async fn open(proxy: &Proxy, ask: &Ask) -> (Client, Answer) {
    let mut client = proxy.client().await;
    client.send(&ask.bytes()).await;
    let head = client.head().await.unwrap();
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("cache-control"), Some("no-cache, no-store"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    (client, head)
}

async fn started() -> (Proxy, Upstream, Driver) {
    let (upstream, driver) = Upstream::driven().await;
    let proxy = Setup::new(upstream.url()).start().await;
    proxy.keep_secret(SECRET.to_owned());
    (proxy, upstream, driver)
}

#[tokio::test]
async fn each_event_leaves_before_the_next_exists() {
    for revision in ["2025-11-25", "2026-07-28"] {
        let (proxy, upstream, driver) = started().await;
        // The head is here although the upstream has sent no event yet.
        let (mut client, _) = open(&proxy, &export(revision).token(&proxy.token("ana"))).await;
        for at in 0..5 {
            driver.event(&progress(at, &format!("row of {SECRET}")));
            assert_eq!(client.message().await.unwrap(), progress(at, "row of [EMAIL_ADDRESS]"));
        }
        driver.event(&result(SECRET));
        assert_eq!(client.message().await.unwrap(), result("[EMAIL_ADDRESS]"));
        assert_eq!(client.event().await, None, "the response ends the stream");
        assert_eq!(upstream.take().len(), 1);
        proxy.assert_not_kept(SECRET).await;
    }
}

/// An upstream that answers each call with an event, and then does what `rest` says; it is told when the client has read.
async fn one_event<F>(rest: impl Fn(Connection) -> F + Clone + Send + Sync + 'static) -> (Upstream, Arc<Notify>)
where
    F: Future<Output = Option<Connection>> + Send + 'static,
{
    let read = Arc::<Notify>::default();
    let told = read.clone();
    let upstream = Upstream::handling(move |_, mut connection| {
        let (told, rest) = (told.clone(), rest.clone());
        async move {
            connection.begin_stream().await;
            connection.piece(format!("data: {}\n\n", result("x"))).await;
            told.notified().await;
            rest(connection).await
        }
    })
    .await;
    (upstream, read)
}

#[tokio::test]
async fn the_connection_of_a_stream_that_ends_with_its_response_serves_the_next_call() {
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = ports.clone();
    let (upstream, read) = one_event(move |mut connection| {
        let seen = seen.clone();
        async move {
            seen.lock().unwrap().push(connection.port());
            connection.end_stream().await;
            Some(connection)
        }
    })
    .await;
    let proxy = Setup::new(upstream.url()).start().await;
    let call = export("2025-11-25").token(&proxy.token("ana"));
    // The end comes when the client has long had its own, so that the next call may come before it.
    until("a connection that serves twice", async || {
        let (mut client, _) = open(&proxy, &call).await;
        assert_eq!(client.message().await.unwrap(), result("x"));
        assert_eq!(client.event().await, None);
        read.notify_one();
        let ports = ports.lock().unwrap();
        ports.array_windows().any(|[one, next]| one == next).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_goes_on_after_its_response_loses_its_connection() {
    for more in [&b": still here\n\n"[..], b""] {
        let (gone, mut hung_up) = tokio::sync::mpsc::channel(1);
        let (upstream, read) = one_event(move |mut connection| {
            let gone = gone.clone();
            async move {
                connection.piece(more).await;
                connection.hung_up().await;
                gone.send(()).await.unwrap();
                None
            }
        })
        .await;
        let proxy = Setup::new(upstream.url()).start().await;
        let (mut client, _) = open(&proxy, &export("2025-11-25").token(&proxy.token("ana"))).await;
        assert_eq!(client.message().await.unwrap(), result("x"));
        assert_eq!(client.event().await, None);
        read.notify_one();
        within("the proxy to hang up", hung_up.recv()).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_hangs_up_on_the_upstream() {
    for revision in ["2025-11-25", "2026-07-28"] {
        let (proxy, _, mut driver) = started().await;
        let (mut client, _) = open(&proxy, &export(revision).token(&proxy.token("ana"))).await;
        driver.event(&progress(1, "x"));
        client.message().await.unwrap();
        drop(client);
        driver.hung_up().await;
        until("the end line", async || {
            proxy.audit().iter().any(|line| line["event"] == "end" && line["error"] == "cancelled").then_some(())
        })
        .await;
    }
    // The same before the first byte of an answer, and for JSON.
    let (waiting, mut asked) = tokio::sync::mpsc::channel(1);
    let upstream = Upstream::handling(move |_, mut connection| {
        let waiting = waiting.clone();
        async move {
            waiting.send(()).await.unwrap();
            connection.hung_up().await;
            waiting.send(()).await.unwrap();
            None
        }
    })
    .await;
    let proxy = Setup::new(upstream.url()).start().await;
    let mut client = proxy.client().await;
    client.send(&export("2026-07-28").token(&proxy.token("ana")).bytes()).await;
    asked.recv().await.unwrap();
    drop(client);
    crate::support::within("the hang-up", asked.recv()).await.unwrap();
}

/// The events of an answer, each as its lines.
fn blocks(answer: &Answer) -> Vec<&str> {
    answer.text().split_terminator("\n\n").collect()
}

#[tokio::test]
async fn where_the_bytes_are_cut_makes_no_difference() {
    let stream = format!(
        ": hello {SECRET}\nevent: message\r\nid: 1\r\ndata: {}\r\n\r\nretry: 5\ndata: {}\rdata: {}\r\revent: {SECRET}\ndata: {{}}\n\nx-note: {SECRET}\ndata:{}\n\n",
        progress(1, &format!("é {SECRET} €")),
        r#"{"jsonrpc":"2.0","method":"notifications/progress","#,
        r#""params":{"progressToken":"t","progress":2}}"#,
        result(SECRET),
    );
    let upstream = Upstream::handling(|heard, mut connection| async move {
        let at: usize = heard.json()["params"]["arguments"]["at"].as_u64().unwrap().try_into().unwrap();
        let stream = heard.json()["params"]["arguments"]["stream"].as_str().unwrap().replace("(at)", "@");
        let stream = stream.into_bytes();
        connection.begin_stream().await;
        if at == stream.len() {
            for byte in stream {
                connection.piece([byte]).await;
            }
        } else {
            connection.piece(&stream[..at]).await;
            connection.piece(&stream[at..]).await;
        }
        connection.end_stream().await;
        Some(connection)
    })
    .await;
    let proxy = Setup::new(upstream.url()).start().await;
    proxy.keep_secret(SECRET.to_owned());
    let token = proxy.token("ana");
    let second = r#"{"jsonrpc":"2.0","method":"notifications/progress", "params":{"progressToken":"t","progress":2}}"#;
    let expected = [
        format!("data: {}", progress(1, "é [EMAIL_ADDRESS] €")),
        format!("retry: 5\ndata: {second}"),
        format!("data: {}", result("[EMAIL_ADDRESS]")),
    ];
    for at in 0..=stream.len() {
        let arguments = json!({ "at": at, "stream": stream.replace('@', "(at)") });
        let answer = proxy.ask(&Ask::call("2026-07-28", "export_contacts", &arguments).token(&token)).await;
        assert_eq!(blocks(&answer), expected, "cut at {at}");
    }
}

#[tokio::test]
async fn only_events_of_mcp_pass_and_ids_are_sealed_or_dropped() {
    let stream = format!(
        "id: 4111111111111111\nretry: 999999999\ndata: \n\n: a comment\n\nevent: endpoint\ndata: /ops/mcp\n\nevent: ping\ndata: {{}}\n\n\
         data: {}\n\nid: place\ndata: {}\n\n",
        json!({ "jsonrpc": "2.0", "method": "notifications/odd", "params": { "a": SECRET } }),
        result("x"),
    );
    let upstream = Upstream::answering(move |_| events(stream.as_bytes())).await;
    let proxy = Setup::new(upstream.url()).start().await;
    for secret in [SECRET, "4111111111111111", "place", "999999999"] {
        proxy.keep_secret(secret.to_owned());
    }
    let token = proxy.token("ana");
    let modern = proxy.ask(&export("2026-07-28").token(&token)).await;
    assert_eq!(blocks(&modern).last().unwrap(), &format!("data: {}", result("x")));
    assert!(!modern.text().contains("id: "), "{modern:?}");
    assert!(!modern.text().contains("ping") && !modern.text().contains("ops"));
    let mut client = proxy.client().await;
    client.send(&export("2025-11-25").token(&token).bytes()).await;
    client.head().await.unwrap();
    let priming = client.event().await.unwrap();
    let lines: Vec<_> = priming.lines().collect();
    assert!(lines[0].starts_with("id: ") && lines[0].len() > 60, "{priming}");
    assert_eq!(lines.last().copied().unwrap().trim_end(), "data:");
    assert!(lines.contains(&"retry: 60000"), "{priming}");
    let last = client.event().await.unwrap();
    assert!(last.starts_with("id: ") && last.ends_with(&format!("data: {}", result("x"))), "{last}");
    assert_eq!(client.event().await, None);
}

#[tokio::test]
async fn a_stream_that_is_no_stream_of_mcps_ends_with_an_error() {
    let unusable = json!({ "jsonrpc": "2.0", "id": 7,
        "error": { "code": -31502, "message": "The upstream server's answer is not usable" } });
    let good = result("x").to_string();
    for (name, stream) in [
        ("not JSON", "data: hello\n\n".to_owned()),
        ("another's answer", format!("data: {}\n\n", good.replace(":7", ":8"))),
        ("id as text", format!("data: {}\n\n", good.replace(":7", ":\"7\""))),
        ("two values", format!("data: {good}{good}\n\n")),
        ("duplicate keys", "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":1,\"a\":2}}\n\n".to_owned()),
        ("batch", format!("data: [{good}]\n\n")),
        ("too large", format!("data: {}\n\n", "x".repeat(5000))),
        ("never ends", format!("data: {}", "x".repeat(5000))),
        ("no answer", format!("data: {}\n\n", progress(1, "x"))),
        ("half an answer", format!("data: {good}\n")),
    ] {
        let upstream = Upstream::answering(move |_| events(stream.as_bytes())).await;
        let proxy = Setup::new(upstream.url()).listener("limits = { event_bytes = \"4 KiB\" }").start().await;
        for revision in ["2025-11-25", "2026-07-28"] {
            let answer = proxy.ask(&export(revision).token(&proxy.token("ana"))).await;
            assert_eq!(answer.messages().last(), Some(&unusable), "{name} {answer:?}");
        }
        let ends = proxy.audit().into_iter().filter(|line| line["event"] == "end" && line["error"].is_string());
        assert_eq!(ends.count(), 2, "{name}");
    }
}

fn sampling() -> Value {
    json!({ "jsonrpc": "2.0", "id": "ask-1", "method": "sampling/createMessage", "params": {
        "messages": [{ "role": "user", "content": { "type": "text", "text": SECRET } }], "maxTokens": 9 } })
}

/// A session, and a call in it whose stream the test drives.
async fn session(proxy: &Proxy, token: &str) -> String {
    proxy.open_session(token).await
}

/// An upstream that opens a session for `initialize` and leaves the rest to the driver.
async fn with_session() -> (Upstream, Driver) {
    let (driven, driver) = Upstream::driven().await;
    let address = driven.address;
    let upstream = Upstream::handling(move |heard, mut connection| async move {
        if heard.text().contains("\"initialize\"") {
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "u", "version": "1" } });
            let body = json!({ "jsonrpc": "2.0", "id": 7, "result": result }).to_string();
            connection.send(raw_answer(200, "Content-Type: application/json\r\nMcp-Session-Id: up-1\r\n", body.as_bytes())).await;
            return Some(connection);
        }
        connection.relay(address, &heard).await;
        None
    })
    .await;
    (upstream, driver)
}

#[tokio::test]
async fn a_server_that_asks_its_client_is_told_no_unless_a_rule_names_the_method() {
    let (upstream, driver) = with_session().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let id = session(&proxy, &token).await;
    upstream.take();
    let (mut client, _) = open(&proxy, &export("2025-11-25").token(&token).session(&id)).await;
    driver.event(&sampling());
    upstream.wait_for(3).await;
    let told = upstream.take().pop().unwrap();
    let no =
        json!({ "jsonrpc": "2.0", "id": "ask-1", "error": { "code": -31403, "message": "Not allowed by policy" } });
    assert_eq!(told.json(), no);
    assert_eq!(told.header("mcp-session-id").as_deref(), Some("up-1"));
    assert_eq!(
        told.names(),
        [
            "accept",
            "accept-encoding",
            "content-length",
            "content-type",
            "host",
            "mcp-protocol-version",
            "mcp-session-id"
        ]
    );
    driver.event(&result("x"));
    assert_eq!(client.message().await.unwrap(), result("x"), "the client saw nothing of it");
    // In the new era servers send no requests: the exchange is broken.
    let (upstream, driver) = Upstream::driven().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let (mut client, _) = open(&proxy, &export("2026-07-28").token(&proxy.token("ana"))).await;
    driver.event(&sampling());
    assert_eq!(client.message().await.unwrap()["error"]["code"], -31502);
    assert_eq!(upstream.take().len(), 1);
}

#[tokio::test]
async fn a_servers_question_that_is_allowed_comes_back_under_its_own_id() {
    let (upstream, driver) = with_session().await;
    let policy = format!(
        "{CRM_POLICY}\n[[rule]]\nid = \"asks-back\"\nmethods = [\"sampling/createMessage\"]\nscopes = [\"crm:read\"]\n\
         [[mask]]\nid = \"up\"\non = [\"arguments\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"redact\"\n"
    );
    let proxy = Setup::new(upstream.url()).policy(policy).start().await;
    proxy.keep_secret("ask-1".to_owned());
    proxy.keep_secret(SECRET.to_owned());
    let token = proxy.token("ana");
    let id = session(&proxy, &token).await;
    let (mut client, _) = open(&proxy, &export("2025-11-25").token(&token).session(&id)).await;
    upstream.take();
    driver.event(&sampling());
    let asked = client.message().await.unwrap();
    let sealed = asked["id"].as_str().unwrap().to_owned();
    assert!(!sealed.contains("ask-1"));
    assert_eq!(asked["params"]["messages"][0]["content"]["text"], "[EMAIL_ADDRESS]");

    let answer = |id: &str| {
        let result =
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": format!("to {SECRET}") } });
        Ask::post(json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
    };
    let max = proxy.token("max");
    let theirs = session(&proxy, &max).await;
    upstream.take();
    for (name, ask) in [
        ("unsolicited", answer("ask-1").token(&token).session(&id)),
        ("a number", Ask::post(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).token(&token).session(&id)),
        ("of another session", answer(&sealed).token(&max).session(&theirs)),
        ("without the session", answer(&sealed).token(&token)),
        ("changed", answer(&format!("{sealed}A")).token(&token).session(&id)),
    ] {
        let refused = proxy.ask(&ask).await;
        assert_eq!(refused.status, 404, "{name} {refused:?}");
        assert_eq!(upstream.take().len(), 0, "{name}");
    }
    let accepted = proxy.ask(&answer(&sealed).token(&token).session(&id)).await;
    assert_eq!((accepted.status, accepted.text()), (202, ""));
    let heard = upstream.take().pop().unwrap().json();
    assert_eq!(heard["id"], "ask-1");
    assert_eq!(heard["result"]["content"]["text"], "to [EMAIL_ADDRESS]");
    driver.event(&result("x"));
    assert_eq!(client.message().await.unwrap(), result("x"));
    // Responses have no place in the new era.
    let modern = answer(&sealed).header("MCP-Protocol-Version", "2026-07-28").token(&token);
    assert_eq!(proxy.ask(&modern).await.status, 400);
}

#[tokio::test]
async fn a_stream_ends_when_a_newer_policy_denies_it() {
    let (proxy, _, mut driver) = started().await;
    let token = proxy.token("ana");
    let (mut client, _) = open(&proxy, &export("2026-07-28").token(&token)).await;
    driver.event(&progress(1, "x"));
    client.message().await.unwrap();
    proxy.folder.write("crm.toml", CRM_POLICY.replace("\"export_contacts\"", "\"other\""));
    proxy.signal(Signal::Reload).await;
    until("the newer policy", async || {
        let text = proxy.ask(&Ask::call("2025-11-25", "other", &json!({})).token(&token)).await;
        (!text.text().contains("Unknown tool")).then_some(())
    })
    .await;
    driver.event(&progress(2, SECRET));
    // Whatever is said at the end, it is not the event.
    while let Some(event) = client.event().await {
        assert!(!event.contains("progress"), "{event}");
    }
    driver.hung_up().await;
    let ends = proxy.audit().into_iter().filter(|line| line["event"] == "end" && line["error"] == "unknown_name");
    assert_eq!(ends.count(), 1);
}

#[tokio::test]
async fn a_stream_ends_with_the_token_it_was_opened_with() {
    // Of the leeway of a minute a little is left.
    let aged = |end: i64| [("exp", end - 60), ("auth_time", end - 60)];
    let old = |end: i64| [("exp", end + 600), ("auth_time", end - 360)];
    tokio::join!(
        ends_with(aged, "The access token expired", "expired"),
        ends_with(old, "A stronger or more recent authentication is needed", "too_weak"),
    );
}

/// A stream whose caller is let in for a little while yet, with `claims` at its end, is ended with that `message`.
async fn ends_with(claims: fn(i64) -> [(&'static str, i64); 2], message: &str, error: &str) {
    let (upstream, mut driver) = Upstream::driven().await;
    let proxy = Setup::new(upstream.url()).server("authentication = { max_age = \"5m\" }").start().await;
    proxy.keep_secret(SECRET.to_owned());
    let end = Timestamp::now().unix_seconds() + LASTS;
    let mut all = token_of(&proxy.issuer, "ana");
    all.extend(claims(end).map(|(name, time)| (name.to_owned(), json!(time))));
    let (mut client, _) = open(&proxy, &export("2026-07-28").token(&proxy.mint(&all))).await;
    driver.event(&progress(1, "x"));
    client.message().await.unwrap();
    until("the end", async || (Timestamp::now().unix_seconds() >= end).then_some(())).await;
    driver.event(&progress(2, SECRET));
    let last = client.message().await.unwrap();
    assert_eq!(last["error"], json!({ "code": -31401, "message": message }));
    assert_eq!(client.event().await, None);
    driver.hung_up().await;
    assert!(proxy.audit().iter().any(|line| line["event"] == "end" && line["error"] == error));
}

#[tokio::test]
async fn a_drain_ends_streams_cleanly() {
    let (mut proxy, _, mut driver) = started().await;
    let (mut client, _) = open(&proxy, &export("2026-07-28").token(&proxy.token("ana"))).await;
    driver.event(&progress(1, "x"));
    client.message().await.unwrap();
    proxy.signal(Signal::Terminate).await;
    // The last chunk comes: an end, not a breaking off.
    assert_eq!(client.event().await, None);
    assert!(client.rest().await.is_empty());
    driver.hung_up().await;
    proxy.ended().await;
    assert!(proxy.audit().iter().any(|line| line["event"] == "end" && line["error"] == "drain"));
}

#[tokio::test]
async fn subscriptions_keep_what_the_caller_may_read() {
    let (upstream, driver) = Upstream::driven().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let filter = json!({ "toolsListChanged": true,
        "resourceSubscriptions": ["crm://contacts/c-001", "crm://secrets/db", "crm://contacts/c-002"] });
    let listen = Ask::modern("subscriptions/listen", &json!({ "notifications": filter })).token(&proxy.token("ana"));
    let (mut client, _) = open(&proxy, &listen).await;
    let heard = upstream.take().pop().unwrap().json();
    assert_eq!(
        heard["params"]["notifications"]["resourceSubscriptions"],
        json!(["crm://contacts/c-001", "crm://contacts/c-002"])
    );
    let updated = |uri: &str| {
        json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri,
            "_meta": { "io.modelcontextprotocol/subscriptionId": 7, "com.acme/who": SECRET } } })
    };
    driver.event(&updated("crm://secrets/db"));
    driver.event(&updated("crm://contacts/c-002"));
    let got = client.message().await.unwrap();
    assert_eq!(
        got["params"],
        json!({ "uri": "crm://contacts/c-002",
        "_meta": { "io.modelcontextprotocol/subscriptionId": 7 } })
    );
    driver.event(&json!({ "jsonrpc": "2.0", "id": 7, "result": { "resultType": "complete" } }));
    assert_eq!(client.message().await.unwrap()["id"], 7);
    assert_eq!(client.event().await, None);
}

#[tokio::test]
async fn json_and_a_stream_say_the_same() {
    for streamed in [false, true] {
        let upstream = Upstream::answering(move |_| {
            let message = result(SECRET).to_string();
            if streamed { events(format!("data: {message}\n\n").as_bytes()) } else { json_answer(200, &message) }
        })
        .await;
        let proxy = Setup::new(upstream.url()).start().await;
        proxy.keep_secret(SECRET.to_owned());
        let answer = proxy.ask(&export("2026-07-28").token(&proxy.token("ana"))).await;
        assert_eq!(answer.message(), result("[EMAIL_ADDRESS]"));
    }
}

/// What is let in with a token within its leeway is answered, whichever form the answer has.
#[tokio::test]
async fn a_token_within_its_leeway_gets_its_answer() {
    let upstream = Upstream::answering(|_| events(format!("data: {}\n\n", result("x")).as_bytes())).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("exp".to_owned(), json!(Timestamp::now().unix_seconds() - 20));
    let answer = proxy.ask(&export("2026-07-28").token(&proxy.mint(&claims))).await;
    assert_eq!(answer.messages(), [result("x")]);
}
