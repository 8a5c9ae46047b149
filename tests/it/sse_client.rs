//! Clients that only speak HTTP+SSE (2024-11-05): their stream, the address only they can post to, and what reaches the
//! upstream of it.

use std::sync::{Arc, Mutex};

use portcullis::clock::Timestamp;
use portcullis::server::drain::Signal;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::support::{Answer, Ask, Client, Heard, LASTS, Proxy, Setup, Upstream, raw_answer, token_of, until, within};

const SSE: &str = "/crm/mcp/sse";
const HIDDEN: &str = "ana@private.example";
const SHOWN: &str = "[EMAIL_ADDRESS]";
const POLICY: &str = r#"
[[rule]]
id = "read"
tools = ["read", "ask", "hang", "stream"]
scopes = ["crm:read"]
[[rule]]
id = "write"
tools = ["write"]
scopes = ["crm:write"]
[[rule]]
id = "ask"
methods = ["elicitation/create"]
[[mask]]
id = "mail"
on = ["arguments", "result"]
entities = ["EMAIL_ADDRESS"]
"#;

/// What the upstream says by itself.
type News = mpsc::UnboundedSender<Vec<u8>>;

/// In place of a piece of its stream, which it cannot open for now.
const AWAY: &[u8] = b"away";

/// A server of 2025-11-25 with sessions and a stream for each.
async fn server() -> (Upstream, News) {
    let (news, told) = mpsc::unbounded_channel();
    let (told, answered) = (Arc::new(Mutex::new(Some(told))), Arc::new(Notify::new()));
    let upstream = Upstream::unaided(move |heard, mut connection| {
        let (told, answered) = (told.clone(), answered.clone());
        async move {
            let message = heard.json();
            let id = heard.id();
            let say = |result: Value| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
            let json = |body: String| raw_answer(200, "Content-Type: application/json\r\n", body.as_bytes());
            let text = |text: &str| json!({ "content": [{ "type": "text", "text": text }] });
            match (message["method"].as_str(), message["params"]["name"].as_str()) {
                (Some("initialize"), _) => {
                    let result = json!({ "protocolVersion": message["params"]["protocolVersion"], "capabilities": { "tools": {} },
                        "serverInfo": { "name": "s", "version": "1" } });
                    let fields = "Content-Type: application/json\r\nMcp-Session-Id: s1\r\n";
                    connection.send(raw_answer(200, fields, say(result).as_bytes())).await;
                }
                (Some("tools/call"), Some("hang")) => {
                    connection.hung_up().await;
                    return None;
                }
                (Some("tools/call"), Some("ask" | "stream")) => {
                    connection.begin_stream().await;
                    connection.piece("id: e1\nretry: 5\ndata:\n\n").await;
                    let asked = json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
                        "params": { "message": HIDDEN, "requestedSchema": { "type": "object", "properties": {} } } });
                    if message["params"]["name"] == "ask" {
                        connection.piece(format!("id: e2\ndata: {asked}\n\n")).await;
                        answered.notified().await;
                    }
                    connection.piece(format!("id: e3\ndata: {}\n\n", say(text(HIDDEN)))).await;
                    connection.end_stream().await;
                }
                (Some("tools/call"), _) => {
                    let to = message["params"]["arguments"]["to"].as_str().unwrap_or_default().to_owned();
                    connection.send(json(say(text(&format!("{to} {HIDDEN}"))))).await;
                }
                (Some(_), _) if message.get("id").is_some() => connection.send(json(say(json!({})))).await,
                _ if heard.line().starts_with("GET") => {
                    let Some(mut news) = told.lock().unwrap().take() else {
                        connection.send(raw_answer(405, "", b"")).await;
                        return Some(connection);
                    };
                    let first = news.try_recv().unwrap_or_default();
                    if first == AWAY {
                        *told.lock().unwrap() = Some(news);
                        connection.send(raw_answer(503, "", b"")).await;
                        return Some(connection);
                    }
                    connection.begin_stream().await;
                    connection.piece(first).await;
                    connection.pieces(&mut news).await;
                    return None;
                }
                (None, _) if message.get("result").is_some() => {
                    connection.send(raw_answer(202, "", b"")).await;
                    answered.notify_one();
                }
                _ => connection.send(raw_answer(if heard.line().starts_with("DELETE") { 200 } else { 202 }, "", b"")).await,
            }
            Some(connection)
        }
    })
    .await;
    (upstream, news)
}

async fn start(upstream: &Upstream) -> Proxy {
    let keys = format!("schema = \"off\"\nsse_path = \"{SSE}\"");
    let proxy = Setup::new(upstream.url()).policy(POLICY).server(&keys).start().await;
    proxy.keep_secret(HIDDEN.to_owned());
    proxy
}

/// An open stream with the address its first event named.
struct Open {
    client: Client,
    endpoint: String,
}

async fn open(proxy: &Proxy, token: &str) -> Open {
    let mut client = proxy.client().await;
    let ask = Ask::new("GET").target(SSE).header("Accept", "text/event-stream").token(token);
    // What a browser says of a stream that broke off is about that one.
    client.send(&ask.header("Last-Event-ID", "4").bytes()).await;
    let head = client.head().await.unwrap();
    assert_eq!((head.status, head.is_stream(), head.header("x-accel-buffering")), (200, true, Some("no")), "{head:?}");
    let first = client.event().await.unwrap();
    let endpoint = first.strip_prefix("event: endpoint\ndata: ").unwrap_or_else(|| panic!("{first}")).to_owned();
    assert!(endpoint.starts_with(&format!("{SSE}?stream=")), "{endpoint}");
    Open { client, endpoint }
}

impl Open {
    fn post(&self, token: &str, message: &Value) -> Ask {
        Ask::post(message.to_string()).target(&self.endpoint).without("Accept").token(token)
    }

    async fn send(&self, proxy: &Proxy, token: &str, message: &Value) -> Answer {
        proxy.ask(&self.post(token, message)).await
    }

    /// Opens a session as such a client does.
    async fn hello(&mut self, proxy: &Proxy, token: &str) {
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "it", "version": "1" } });
        let got = self.send(proxy, token, &request(0, "initialize", &params)).await;
        assert_eq!((got.status, got.header("mcp-session-id"), got.body.len()), (202, None, 0), "{got:?}");
        let result = self.client.message().await.unwrap();
        assert_eq!((&result["id"], &result["result"]["serverInfo"]["name"]), (&json!(0), &json!("s")));
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.send(proxy, token, &ready).await.status, 202);
    }
}

fn request(id: usize, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn call(id: usize, tool: &str) -> Value {
    request(id, "tools/call", &json!({ "name": tool, "arguments": { "to": HIDDEN } }))
}

fn methods(heard: &[Heard]) -> Vec<String> {
    let verb = |heard: &Heard| heard.line().split(' ').next().unwrap().to_owned();
    heard.iter().map(|heard| heard.json()["method"].as_str().map_or_else(|| verb(heard), ToOwned::to_owned)).collect()
}

#[tokio::test]
async fn answers_come_on_the_stream_of_who_asked() {
    let (upstream, news) = server().await;
    let proxy = start(&upstream).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let mut open_ = open(&proxy, &ana).await;
    assert!(upstream.take().is_empty());
    open_.hello(&proxy, &ana).await;
    upstream.wait_for(3).await;
    let heard = upstream.take();
    assert_eq!(methods(&heard), ["initialize", "notifications/initialized", "GET"]);
    assert!(heard[1..].iter().all(|heard| heard.header("mcp-session-id").as_deref() == Some("s1")));
    assert!(
        heard.iter().all(|heard| heard.header("authorization").is_none() && heard.header("last-event-id").is_none())
    );

    assert_eq!(open_.send(&proxy, &ana, &call(1, "read")).await.status, 202);
    let done = open_.client.message().await.unwrap();
    assert_eq!((&done["id"], &done["result"]["content"][0]["text"]), (&json!(1), &json!(format!("{SHOWN} {SHOWN}"))));
    let [heard] = upstream.take().try_into().unwrap();
    assert_eq!((heard.json()["params"]["arguments"]["to"].clone(), heard.line()), (json!(SHOWN), "POST /mcp HTTP/1.1"));

    // Its events are messages and nothing else: nothing is resumed here.
    assert_eq!(open_.send(&proxy, &ana, &call(2, "stream")).await.status, 202);
    let event = open_.client.event().await.unwrap();
    assert!(event.starts_with("data: {") && event.contains(SHOWN), "{event}");

    // What the server says by itself comes there too.
    news.send(b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n".to_vec()).unwrap();
    assert_eq!(open_.client.message().await.unwrap()["method"], "notifications/tools/list_changed");

    // And what it asks; only who was asked can answer.
    upstream.take();
    assert_eq!(open_.send(&proxy, &ana, &call(3, "ask")).await.status, 202);
    let question = open_.client.message().await.unwrap();
    assert_eq!((&question["method"], &question["params"]["message"]), (&json!("elicitation/create"), &json!(SHOWN)));
    let other = open(&proxy, &max).await;
    let reply = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept", "content": { "to": HIDDEN } } });
    assert_eq!(other.send(&proxy, &max, &reply).await.status, 404);
    assert_eq!(open_.send(&proxy, &ana, &reply).await.status, 202);
    assert_eq!(open_.client.message().await.unwrap()["id"], 3);
    let told = upstream.take().pop().unwrap();
    assert_eq!(
        told.json(),
        json!({ "jsonrpc": "2.0", "id": "q", "result": { "action": "accept", "content": { "to": SHOWN } } })
    );

    // It ends, and with it the session.
    drop(open_);
    let end = until("the session to end", async || {
        upstream.take().into_iter().find(|heard| heard.line().starts_with("DELETE"))
    })
    .await;
    assert_eq!(end.header("mcp-session-id").as_deref(), Some("s1"));
    let audit = proxy.audit();
    let methods: Vec<_> =
        audit.iter().filter(|line| line["event"] == "call").filter_map(|line| line["method"].as_str()).collect();
    for method in ["GET", "initialize", "notifications/initialized", "tools/call", "DELETE"] {
        assert!(methods.contains(&method), "{method}: {methods:?}");
    }
    proxy.assert_not_kept(HIDDEN).await;
}

#[tokio::test]
async fn nobody_else_can_post_there() {
    let (upstream, _news) = server().await;
    let proxy = start(&upstream).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let mut stream = open(&proxy, &ana).await;
    stream.hello(&proxy, &ana).await;
    upstream.wait_for(3).await;
    upstream.take();
    let sealed = stream.endpoint.split_once('=').unwrap().1.to_owned();
    let mut changed = sealed.clone();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'Q' } else { 'A' });
    for (token, target) in [
        (&max, stream.endpoint.clone()),
        (&ana, format!("{SSE}?stream={changed}")),
        (&ana, format!("{SSE}?stream=")),
        (&ana, format!("{SSE}?stream={sealed}&stream={sealed}")),
        (&ana, format!("{SSE}?session={sealed}")),
        (&ana, SSE.to_owned()),
    ] {
        let got = proxy.ask(&stream.post(token, &call(1, "read")).target(&target)).await;
        assert_eq!((got.status, &got.message()["error"]["code"]), (404, &json!(-32_600)), "{target}");
    }
    // No token, one that is none, and no token in the address.
    let bare = stream.post(&ana, &call(1, "read")).without("Authorization");
    assert_eq!(proxy.ask(&bare).await.status, 401);
    assert_eq!(proxy.ask(&bare.clone().token("x.y.z")).await.status, 401);
    assert_eq!(proxy.ask(&bare.target(&format!("{}&access_token={ana}", stream.endpoint))).await.status, 400);
    // The sealed name of the stream is nothing else, and a session is no stream.
    let elsewhere = Ask::post(call(1, "read").to_string()).session(&sealed).token(&ana);
    assert_eq!(proxy.ask(&elsewhere).await.status, 404);
    let session = proxy.open_session(&ana).await;
    assert_eq!(
        proxy.ask(&stream.post(&ana, &call(1, "read")).target(&format!("{SSE}?stream={session}"))).await.status,
        404
    );
    assert!(!upstream.take().iter().any(|heard| heard.json()["method"] == "tools/call"));
    // Afterwards it is nobody's.
    let post = stream.post(&ana, &call(1, "read"));
    assert_eq!(proxy.ask(&post).await.status, 202);
    drop(stream);
    until("the stream to end", async || (proxy.ask(&post).await.status == 404).then_some(())).await;
}

#[tokio::test]
async fn what_is_refused_is_told_where_clients_look_for_it() {
    let (upstream, _news) = server().await;
    let proxy = start(&upstream).await;
    let ana = proxy.token("ana");
    let mut stream = open(&proxy, &ana).await;
    stream.hello(&proxy, &ana).await;
    upstream.wait_for(3).await;
    upstream.take();
    // A wider token is asked for where the message was posted.
    let step_up = stream.send(&proxy, &ana, &call(1, "write")).await;
    assert_eq!(step_up.status, 403, "{step_up:?}");
    assert!(step_up.header("www-authenticate").unwrap().contains("insufficient_scope"));
    // What policy hides is an answer like another.
    assert_eq!(stream.send(&proxy, &ana, &call(2, "hidden")).await.status, 202);
    let hidden = stream.client.message().await.unwrap();
    assert_eq!((&hidden["id"], &hidden["error"]["code"]), (&json!(2), &json!(-32_602)));
    // What is no message has no request it could answer.
    for (body, status) in [("{", 400), ("[]", 400), (r#"{"jsonrpc":"2.0","method":"tools/call"}"#, 400)] {
        let ask = Ask::post(body).target(&stream.endpoint).token(&ana);
        assert_eq!(proxy.ask(&ask).await.status, status, "{body}");
    }
    let ask = Ask { body: vec![b'x'; 2 * 1024 * 1024], ..stream.post(&ana, &json!({})) };
    assert_eq!(proxy.ask(&ask).await.status, 413);
    assert_eq!(proxy.ask(&stream.post(&ana, &call(3, "read")).with("Content-Type", "text/plain")).await.status, 415);
    assert!(upstream.take().is_empty());
    for (method, status) in [("PUT", 405), ("DELETE", 405)] {
        assert_eq!(proxy.ask(&Ask::new(method).target(SSE).token(&ana)).await.status, status, "{method}");
    }
    let get = Ask::new("GET").target(SSE).header("Accept", "text/event-stream");
    assert_eq!(proxy.ask(&get).await.status, 401);
    assert_eq!(
        proxy.ask(&Ask::new("GET").target(SSE).header("Accept", "application/json").token(&ana)).await.status,
        406
    );
    assert_eq!(proxy.ask(&get.token(&ana).header("Origin", "https://evil.example")).await.status, 403);
    // Where it is not wanted there is no such path.
    let without = Setup::new(upstream.url()).policy(POLICY).start().await;
    assert_eq!(without.ask(&Ask::new("GET").target(SSE).token(&without.token("ana"))).await.status, 404);
}

#[tokio::test]
async fn a_client_that_goes_takes_its_calls_back() {
    let (upstream, _news) = server().await;
    let proxy = start(&upstream).await;
    let ana = proxy.token("ana");
    let mut stream = open(&proxy, &ana).await;
    stream.hello(&proxy, &ana).await;
    upstream.wait_for(3).await;
    // It is told that its call is on its way although nothing has come of it, and the next is not kept waiting.
    assert_eq!(stream.send(&proxy, &ana, &call(1, "hang")).await.status, 202);
    assert_eq!(stream.send(&proxy, &ana, &call(2, "read")).await.status, 202);
    assert_eq!(stream.client.message().await.unwrap()["id"], 2);
    upstream.take();
    drop(stream);
    until("the session to end", async || upstream.take().into_iter().find(|heard| heard.line().starts_with("DELETE")))
        .await;
    let cancelled = until("the call's end in the audit", async || {
        proxy.audit().into_iter().find(|line| line["tool"] == "hang" && line["event"] == "end" || line["status"] == 499)
    })
    .await;
    assert_eq!(cancelled["event"], "end");
}

/// What is still being sent when its stream ends has gone nowhere, and is not said to have been taken.
#[tokio::test]
async fn a_stream_the_server_cannot_open_for_now_is_asked_for_again() {
    let (upstream, news) = server().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    news.send(AWAY.to_vec()).unwrap();
    let mut open = open(&proxy, &token).await;
    open.hello(&proxy, &token).await;
    until("the server to be asked", async || methods(&upstream.take()).contains(&"GET".to_owned()).then_some(())).await;
    news.send(b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n".to_vec()).unwrap();
    let told = within("the notification", open.client.message()).await.unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn a_message_whose_stream_ends_meanwhile_is_not_taken() {
    let (upstream, _news) = server().await;
    let proxy = start(&upstream).await;
    let ana = proxy.token("ana");
    let mut stream = open(&proxy, &ana).await;
    stream.hello(&proxy, &ana).await;
    upstream.wait_for(3).await;
    let message = stream.post(&ana, &call(3, "read")).header("Expect", "100-continue").bytes();
    let head = memchr::memmem::find(&message, b"\r\n\r\n").unwrap() + 4;
    let mut late = proxy.client().await;
    late.send(&message[..head]).await;
    // Its body is waited for.
    assert_eq!(late.head().await.unwrap().status, 100);
    let again = stream.post(&ana, &call(4, "read"));
    upstream.take();
    drop(stream);
    let answer = late.answer().await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (404, 0), "{answer:?}");
    until("the session to end", async || upstream.take().into_iter().find(|heard| heard.line().starts_with("DELETE")))
        .await;
    assert_eq!(proxy.ask(&again).await.status, 404, "nor is one that comes later");
    assert!(upstream.take().iter().all(|heard| heard.json()["method"] != "tools/call"));
}

#[tokio::test]
async fn streams_end_with_the_drain() {
    let (upstream, _news) = server().await;
    let mut proxy = start(&upstream).await;
    let ana = proxy.token("ana");
    let mut stream = open(&proxy, &ana).await;
    stream.hello(&proxy, &ana).await;
    proxy.signal(Signal::Terminate).await;
    while stream.client.event().await.is_some() {}
    proxy.ended().await;
    let ends: Vec<_> =
        proxy.audit().into_iter().filter(|line| line["event"] == "end" && line["error"] == "drain").collect();
    assert!(!ends.is_empty());
}

#[tokio::test]
async fn a_stream_ends_with_the_token_it_was_opened_with() {
    let (upstream, _news) = server().await;
    let proxy = start(&upstream).await;
    let mut claims = token_of(&proxy.issuer, "ana");
    // Of the leeway of a minute a little is left.
    let end = Timestamp::now().unix_seconds() + LASTS;
    claims.insert("exp".to_owned(), json!(end - 60));
    let mut stream = open(&proxy, &proxy.mint(&claims)).await;
    // Well before it is next looked after to be kept alive.
    assert_eq!(stream.client.event().await, None);
    assert!(Timestamp::now().unix_seconds() >= end);
    assert!(proxy.audit().iter().any(|line| line["event"] == "end" && line["error"] == "expired"));
}

#[tokio::test]
async fn a_stream_ends_when_a_reload_no_longer_lets_its_caller_in() {
    let (upstream, _news) = server().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let mut stream = open(&proxy, &token).await;
    stream.hello(&proxy, &token).await;
    proxy.reload(("path = \"/crm/mcp\"", "path = \"/crm/mcp\"\naudiences = [\"https://elsewhere.test\"]")).await;
    while stream.client.event().await.is_some() {}
    let ended = proxy.audit().into_iter().find(|line| line["error"] == "wrong_audience");
    assert!(ended.is_some_and(|line| line["event"] == "end"), "{:?}", proxy.audit());
}
