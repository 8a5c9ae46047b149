//! Servers of HTTP+SSE (2024-11-05): clients of either era use them as any other, and what comes on a stream is only for who
//! asked on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::support::{Answer, Ask, Heard, Proxy, Setup, Upstream, raw_answer, until, within};

const HIDDEN: &str = "ana@private.example";
const SHOWN: &str = "[EMAIL_ADDRESS]";
const POLICY: &str = r#"
[[rule]]
id = "use"
tools = ["**"]
[[rule]]
id = "ask"
methods = ["elicitation/create", "sampling/createMessage"]
[[rule]]
id = "never"
effect = "deny"
tools = ["forbidden"]
[[mask]]
id = "mail"
on = ["arguments", "result"]
entities = ["EMAIL_ADDRESS"]
"#;

/// What a server of 2024-11-05 does with what is posted; it has the hand on its streams.
type Act = Arc<dyn Fn(&Server, &Heard, usize) + Send + Sync>;

/// A server with a stream for each client.
#[derive(Clone)]
struct Server {
    streams: Arc<Mutex<BTreeMap<usize, mpsc::UnboundedSender<Vec<u8>>>>>,
    /// How many streams were opened, and how many the proxy has hung up.
    opened: watch::Sender<usize>,
    hung_up: watch::Sender<usize>,
    /// Streams it says it does not know.
    lost: Arc<Mutex<Vec<usize>>>,
    /// How a post to where the stream is ends.
    refusal: Arc<Mutex<u16>>,
    broadcasts: bool,
}

impl Server {
    /// Says something on a stream; on every one, if this server is like that.
    fn say(&self, stream: usize, message: &Value) {
        let streams = self.streams.lock().unwrap();
        for (_, to) in streams.iter().filter(|(number, _)| self.broadcasts || **number == stream) {
            let _ = to.send(format!("event: message\ndata: {message}\n\n").into_bytes());
        }
    }

    fn raw(&self, stream: usize, bytes: impl Into<Vec<u8>>) {
        let _ = self.streams.lock().unwrap()[&stream].send(bytes.into());
    }

    fn end(&self, stream: usize) {
        self.streams.lock().unwrap().remove(&stream);
    }
}

/// A server that begins each stream with `first` and its number, and does as `act` says with calls.
async fn server(
    broadcasts: bool,
    first: &'static str,
    act: impl Fn(&Server, &Heard, usize) + Send + Sync + 'static,
) -> (Upstream, Server) {
    let server = Server {
        streams: Arc::default(),
        opened: watch::Sender::new(0),
        hung_up: watch::Sender::new(0),
        lost: Arc::default(),
        refusal: Arc::new(Mutex::new(404)),
        broadcasts,
    };
    let (act, kept): (Act, Server) = (Arc::new(act), server.clone());
    let upstream = Upstream::unaided(move |heard, mut connection| {
        let (act, server) = (act.clone(), server.clone());
        async move {
            let line = heard.line().to_owned();
            if line.starts_with("GET /sse ") {
                let (to, mut pieces) = mpsc::unbounded_channel();
                server.opened.send_modify(|opened| *opened += 1);
                let number = *server.opened.borrow();
                connection.begin_stream().await;
                let first = first.replace('N', &number.to_string());
                connection.piece(first).await;
                server.streams.lock().unwrap().insert(number, to);
                if connection.pieces(&mut pieces).await {
                    server.hung_up.send_modify(|count| *count += 1);
                } else {
                    connection.end_stream().await;
                }
                return None;
            }
            let Some(number) = line.strip_prefix("POST /messages?s=").and_then(|rest| rest.split(' ').next()) else {
                let refusal = *server.refusal.lock().unwrap();
                connection.send(raw_answer(refusal, "Content-Type: text/html\r\n", b"Cannot POST /sse")).await;
                return Some(connection);
            };
            let number: usize = number.parse().unwrap();
            if server.lost.lock().unwrap().contains(&number) {
                connection.send(raw_answer(404, "", b"Could not find session")).await;
                return Some(connection);
            }
            connection.send(raw_answer(202, "Content-Type: text/plain\r\n", b"Accepted")).await;
            let message = heard.json();
            match message["method"].as_str() {
                Some("initialize") => {
                    let result = json!({ "protocolVersion": "2024-11-05", "capabilities": { "tools": {} },
                        "serverInfo": { "name": "old", "version": "1" } });
                    server.say(number, &json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
                }
                Some("tools/list") => {
                    let tools = json!([{ "name": "echo", "inputSchema": { "type": "object" } }]);
                    server.say(number, &json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "tools": tools } }));
                }
                _ => act(&server, &heard, number),
            }
            Some(connection)
        }
    })
    .await;
    (upstream, kept)
}

const ENDPOINT: &str = "event: endpoint\ndata: /messages?s=N\n\n";

/// The answer to a call: which stream it came on, and what was said.
fn echo(server: &Server, heard: &Heard, stream: usize) {
    let message = heard.json();
    if message["method"] == "tools/call" {
        let text = format!("{stream} {} {HIDDEN}", message["params"]["arguments"]["to"].as_str().unwrap_or_default());
        server.say(stream, &answer(&message["id"], &text));
    }
}

fn answer(id: &Value, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": text }] } })
}

async fn start(upstream: &Upstream, keys: &str) -> Proxy {
    let url = format!("http://{}/sse", upstream.address);
    let proxy = Setup::new(url).policy(POLICY).server("schema = \"off\"").server(keys).start().await;
    proxy.keep_secret(HIDDEN.to_owned());
    proxy
}

/// Opens a session with the revision that such servers speak; gives its id.
async fn hello(proxy: &Proxy, token: &str) -> String {
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": { "elicitation": {}, "sampling": {} },
        "clientInfo": { "name": "it", "version": "1" } });
    let got = proxy.ask(&Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(token)).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.message()["result"]["protocolVersion"], "2024-11-05", "{got:?}");
    got.header("mcp-session-id").unwrap().to_owned()
}

fn call(token: &str, session: &str, tool: &str, arguments: &Value) -> Ask {
    let ask = Ask::legacy("tools/call", &json!({ "name": tool, "arguments": arguments }));
    ask.with("MCP-Protocol-Version", "2024-11-05").session(session).token(token)
}

fn text(answer: &Answer) -> String {
    let message = answer.message();
    message["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned()
}

fn lines(heard: &[Heard]) -> Vec<String> {
    heard.iter().map(|heard| heard.line().trim_end_matches(" HTTP/1.1").to_owned()).collect()
}

#[tokio::test]
async fn each_session_has_a_stream_of_its_own_and_is_found_out_to_want_one() {
    for transport in ["auto", "sse"] {
        let (upstream, server) = server(false, ENDPOINT, echo).await;
        let proxy = start(&upstream, &format!("transport = \"{transport}\"")).await;
        let (ana, max) = (proxy.token("ana"), proxy.token("max"));
        let session = hello(&proxy, &ana).await;
        let post = "POST /messages?s=1".to_owned();
        let mut wanted = vec!["GET /sse".to_owned(), post.clone(), post.clone()];
        if transport == "auto" {
            wanted.insert(0, "POST /sse".to_owned());
        }
        let heard = upstream.take();
        assert_eq!(lines(&heard), wanted);
        let [get, greeting, ready] = &heard[heard.len() - 3..] else { panic!() };
        assert_eq!(get.header("accept").as_deref(), Some("text/event-stream"));
        assert_eq!((get.header("content-type"), get.header("authorization")), (None, None));
        assert_eq!(greeting.json()["params"]["capabilities"], json!({ "elicitation": {}, "sampling": {} }));
        assert_eq!(ready.json(), json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        // The client says so too, and is told that it was heard.
        let ready = Ask::post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!(proxy.ask(&ready.session(&session).token(&ana)).await.status, 202);
        assert!(upstream.take().is_empty());

        let called = proxy.ask(&call(&ana, &session, "echo", &json!({ "to": HIDDEN }))).await;
        assert_eq!(text(&called), format!("1 {SHOWN} {SHOWN}"));
        assert_eq!(called.message()["id"], 7);
        let [heard] = upstream.take().try_into().unwrap();
        assert_eq!(heard.json()["params"]["arguments"]["to"], SHOWN);
        assert!(heard.json()["id"].as_u64().unwrap() > 7, "an id of the proxy's own");
        assert!(!heard.names().iter().any(|name| name == "mcp-session-id" || name == "authorization"));

        // Another caller has another stream, and no use for this one.
        let other = hello(&proxy, &max).await;
        assert_eq!(text(&proxy.ask(&call(&max, &other, "echo", &json!({}))).await), format!("2  {SHOWN}"));
        assert_eq!(proxy.ask(&call(&max, &session, "echo", &json!({}))).await.status, 404);
        upstream.take();
        let denied = proxy.ask(&call(&ana, &session, "forbidden", &json!({}))).await.message();
        assert_eq!(denied["error"]["code"], -32_602, "{denied}");
        assert!(upstream.take().is_empty());

        // It ends with the session.
        let end = Ask::new("DELETE").session(&session).token(&ana);
        assert_eq!(proxy.ask(&end).await.status, 200);
        within("the stream to end", server.hung_up.subscribe().wait_for(|count| *count == 1)).await.unwrap();
        assert_eq!(proxy.ask(&call(&ana, &session, "echo", &json!({}))).await.status, 404);
        assert_eq!(text(&proxy.ask(&call(&max, &other, "echo", &json!({}))).await), format!("2  {SHOWN}"));
    }
}

#[tokio::test]
async fn a_newer_client_is_led_to_it_through_one_stream_of_its_own() {
    let (upstream, server) = server(false, ENDPOINT, echo).await;
    let proxy = start(&upstream, "").await;
    for (user, stream) in [("ana", 1), ("max", 2), ("ana", 1)] {
        let ask = Ask::modern("tools/call", &json!({ "name": "echo", "arguments": { "to": "x" } }));
        let got = proxy.ask(&ask.token(&proxy.token(user))).await;
        assert_eq!(got.status, 200, "{got:?}");
        assert_eq!(text(&got), format!("{stream} x {SHOWN}"));
        assert_eq!(got.message()["result"]["resultType"], "complete");
    }
    assert_eq!(*server.opened.borrow(), 2);
    assert!(upstream.take().iter().all(|heard| heard.header("mcp-session-id").is_none()));
}

/// The proxy then has the session, and no longer its stream.
#[tokio::test]
async fn a_newer_client_is_led_to_it_after_a_reload_too() {
    for refusal in [404, 405] {
        let (upstream, server) = server(false, ENDPOINT, echo).await;
        *server.refusal.lock().unwrap() = refusal;
        let proxy = start(&upstream, "concurrency = { max_in_flight = 8 }").await;
        let ask = Ask::modern("tools/call", &json!({ "name": "echo", "arguments": {} })).token(&proxy.token("ana"));
        for stream in [1, 2] {
            let got = proxy.ask(&ask).await;
            assert_eq!((got.status, text(&got)), (200, format!("{stream}  {SHOWN}")), "{refusal}");
            proxy.reload(("max_in_flight = ", "max_in_flight = 1")).await;
        }
    }
}

/// Where several stand for each other, a session that none of them has is said to be none without asking any.
#[tokio::test]
async fn a_newer_client_is_led_to_one_of_several_after_a_reload_too() {
    let ((one, _), (other, _)) = (server(false, ENDPOINT, echo).await, server(false, ENDPOINT, echo).await);
    let urls = format!(r#"["http://{}/sse", "http://{}/sse"]"#, one.address, other.address);
    let setup = Setup::new(urls).policy(POLICY).server("schema = \"off\"\nconcurrency = { max_in_flight = 8 }");
    let proxy = setup.start().await;
    let ask = Ask::modern("tools/call", &json!({ "name": "echo", "arguments": {} })).token(&proxy.token("ana"));
    for _ in 0..2 {
        let got = proxy.ask(&ask).await;
        assert!(got.status == 200 && text(&got).ends_with(SHOWN), "{got:?}");
        proxy.reload(("max_in_flight = ", "max_in_flight = 1")).await;
    }
}

/// What a server says first, and nothing is posted anywhere.
#[tokio::test]
async fn an_endpoint_that_is_none_is_not_posted_to() {
    let elsewhere = Upstream::plain().await;
    let stolen: &'static str = format!("event: endpoint\ndata: http://{}/messages?s=N\n\n", elsewhere.address).leak();
    let long: &'static str = format!("event: endpoint\ndata: /{}\n\n", "m".repeat(70_000)).leak();
    for (first, status) in [
        (stolen, 502),
        ("event: endpoint\ndata: //evil.example/messages\n\n", 502),
        ("event: endpoint\ndata: javascript:alert(1)\n\n", 502),
        ("event: endpoint\ndata: /messages\ndata: Host: evil\n\n", 502),
        ("event: endpoint\ndata:\n\n", 502),
        ("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n", 502),
        ("event: other\ndata: /messages?s=N\n\n", 502),
        (long, 502),
        // It never comes.
        (": wait\n\n", 504),
    ] {
        let (upstream, server) = server(false, first, |_, _, _| {}).await;
        let keys = "transport = \"sse\"\ntimeouts = { first_byte = \"300ms\" }";
        let proxy = start(&upstream, keys).await;
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
        let ask = Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(&proxy.token("ana"));
        let got = proxy.ask(&ask).await;
        assert_eq!((got.status, got.header("mcp-session-id")), (status, None), "{first}: {got:?}");
        assert_eq!(lines(&upstream.take()), ["GET /sse"], "{first}");
        within("the stream to end", server.hung_up.subscribe().wait_for(|count| *count == 1)).await.unwrap();
    }
    assert!(elsewhere.take().is_empty());
}

#[tokio::test]
async fn a_server_without_such_a_stream_is_said_to_have_none() {
    let upstream = Upstream::plain().await;
    let proxy = start(&upstream, "transport = \"sse\"").await;
    let ask = Ask::legacy("initialize", &json!({})).without("MCP-Protocol-Version").token(&proxy.token("ana"));
    assert_eq!(proxy.ask(&ask).await.status, 502);
    assert_eq!(lines(&upstream.take()), ["GET /sse"]);
}

#[tokio::test]
async fn what_was_not_asked_is_no_answer() {
    let (upstream, _server) = server(false, ENDPOINT, |server, heard, stream| {
        let message = heard.json();
        let id = &message["id"];
        let Some(number) = id.as_u64() else { return };
        for wrong in [json!(number + 1), json!(number - 1), json!(7), json!(number.to_string()), json!(format!("{number}.0")), json!(1)] {
            server.say(stream, &answer(&wrong, "of somebody else"));
        }
        server.raw(stream, format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{number},\"id\":{number},\"result\":{{}}}}\n\n"));
        server.raw(stream, "data: no JSON\n\nevent: endpoint\ndata: /messages?s=9\n\n: nothing\n\nid: 4\nretry: 1\n\n");
        server.say(stream, &json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": number + 1, "progress": 1 } }));
        server.say(stream, &answer(id, "right"));
        server.say(stream, &answer(id, "again"));
    })
    .await;
    let proxy = start(&upstream, "transport = \"sse\"").await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token).await;
    for _ in 0..3 {
        let got = proxy.ask(&call(&token, &session, "echo", &json!({}))).await;
        assert_eq!(text(&got), "right");
    }
    assert!(lines(&upstream.take()).iter().all(|line| line != "POST /messages?s=9"));
}

/// One bridge tells every client what any of them asked.
#[tokio::test]
async fn a_server_that_tells_everybody_everything_answers_only_who_asked() {
    let (upstream, kept) = server(true, ENDPOINT, |server, heard, _| {
        let message = heard.json();
        if message["method"] != "tools/call" {
            return;
        }
        let said = message["params"]["arguments"]["to"].as_str().unwrap();
        let log =
            json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": said } });
        server.say(0, &log);
        server.say(
            0,
            &json!({ "jsonrpc": "2.0", "id": 5, "method": "elicitation/create", "params": { "message": said } }),
        );
        server.say(0, &answer(&message["id"], said));
    })
    .await;
    let proxy = start(&upstream, "transport = \"sse\"\nsessions = \"shared\"").await;
    let mut sessions = Vec::new();
    for user in ["ana", "max", "ana", "max"] {
        let token = proxy.token(user);
        sessions.push((hello(&proxy, &token).await, token));
    }
    let asked = (0..40).map(|number| {
        let (session, token) = &sessions[number % sessions.len()];
        let ask = call(token, session, "echo", &json!({ "to": format!("of {number}") }));
        let proxy = &proxy;
        async move {
            let got = proxy.ask(&ask).await;
            assert_eq!((got.is_stream(), text(&got)), (false, format!("of {number}")));
        }
    });
    futures_util::future::join_all(asked).await;
    // All of them are on one stream.
    assert_eq!(*kept.opened.borrow(), 1);
    // The server's question was answered for everybody, by nobody.
    let told = upstream.take().into_iter().find(|heard| heard.json()["id"] == 5).unwrap().json();
    assert_eq!(told["error"]["code"], -32_601);
}

#[tokio::test]
async fn a_stream_that_ends_ends_its_calls_and_is_opened_again() {
    let (upstream, server) = server(false, ENDPOINT, |server, heard, stream| match heard.json()["params"]["name"].as_str() {
        Some("break") => server.end(stream),
        Some("flood") => {
            let progress = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "x" } });
            server.say(stream, &progress);
            server.raw(stream, vec![b'x'; 16 * 1024 * 1024 + 1]);
        }
        _ => echo(server, heard, stream),
    })
    .await;
    let proxy = start(&upstream, "transport = \"sse\"").await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token).await;
    let got = proxy.ask(&call(&token, &session, "break", &json!({}))).await;
    assert_eq!((got.status, &got.message()["error"]["code"]), (502, &json!(-31_502)), "{got:?}");
    upstream.take();
    assert_eq!(text(&proxy.ask(&call(&token, &session, "echo", &json!({}))).await), format!("2  {SHOWN}"));
    let heard = upstream.take();
    let wanted = ["GET /sse", "POST /messages?s=2", "POST /messages?s=2", "POST /messages?s=2"];
    assert_eq!(lines(&heard), wanted);
    assert_eq!(heard[1].json()["params"]["capabilities"], json!({ "elicitation": {}, "sampling": {} }));
    let messages = proxy.ask(&call(&token, &session, "flood", &json!({}))).await.messages();
    assert_eq!(messages.last().unwrap()["error"]["code"], -31_502, "{messages:?}");
    assert_eq!(text(&proxy.ask(&call(&token, &session, "echo", &json!({}))).await), format!("3  {SHOWN}"));
    // One the server does not know any more took nothing, and the call is made on another.
    server.lost.lock().unwrap().push(3);
    assert_eq!(text(&proxy.ask(&call(&token, &session, "echo", &json!({}))).await), format!("4  {SHOWN}"));
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_its_call_back() {
    let (upstream, _) = server(false, ENDPOINT, |_, _, _| {}).await;
    let proxy = start(&upstream, "transport = \"sse\"").await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token).await;
    upstream.take();
    let mut client = proxy.client().await;
    client.send(&call(&token, &session, "hang", &json!({})).bytes()).await;
    let called = until("the call", async || upstream.take().pop()).await;
    drop(client);
    let told = until("the call to be taken back", async || upstream.take().pop()).await;
    assert_eq!(told.json()["method"], "notifications/cancelled");
    assert_eq!(told.json()["params"]["requestId"], called.json()["id"]);
    assert_eq!(told.line(), "POST /messages?s=1 HTTP/1.1");
}

#[tokio::test]
async fn questions_and_news_come_on_the_stream_of_the_session() {
    let (upstream, server) = server(false, ENDPOINT, |server, heard, stream| {
        let message = heard.json();
        if message["method"] == "tools/call" {
            let asked = json!({ "jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": {
                "messages": [{ "role": "user", "content": { "type": "text", "text": HIDDEN } }], "maxTokens": 9 } });
            server.say(stream, &asked);
        } else if message["id"] == "q" {
            server.say(stream, &json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
        }
    })
    .await;
    let proxy = start(&upstream, "transport = \"sse\"").await;
    let token = proxy.token("ana");
    let session = hello(&proxy, &token).await;
    let mut listening = proxy.client().await;
    let listen = Ask::new("GET").header("Accept", "text/event-stream").session(&session).token(&token);
    listening.send(&listen.bytes()).await;
    listening.head().await.unwrap();
    let mut calling = proxy.client().await;
    calling.send(&call(&token, &session, "ask", &json!({})).bytes()).await;
    calling.head().await.unwrap();
    let question = calling.message().await.unwrap();
    assert_eq!(question["method"], "sampling/createMessage", "{question}");
    assert_eq!(question["params"]["messages"][0]["content"]["text"], SHOWN);
    upstream.take();
    let result = |text: &str| json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": text } });
    let said = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result(HIDDEN) });
    let reply = Ask::post(said.to_string()).session(&session).token(&token);
    assert_eq!(proxy.ask(&reply).await.status, 202);
    let [told] = upstream.take().try_into().unwrap();
    assert_eq!(told.json(), json!({ "jsonrpc": "2.0", "id": "q", "result": result(SHOWN) }));
    assert_eq!(listening.message().await.unwrap()["method"], "notifications/tools/list_changed");
    // Its end is the end of the answer that is still waited for.
    server.end(1);
    assert_eq!(calling.message().await.unwrap()["error"]["code"], -31_502);
}

/// What opens a session is kept as long as that is, and is kept within bounds.
#[tokio::test]
async fn what_opens_a_session_has_bounds() {
    let (upstream, _) = server(false, ENDPOINT, echo).await;
    let proxy = start(&upstream, "transport = \"sse\"").await;
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": { "experimental": { "a": "x".repeat(64 * 1024) } },
        "clientInfo": { "name": "it", "version": "1" } });
    let ask = Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(&proxy.token("ana"));
    let refused = proxy.ask(&ask).await;
    assert_eq!((refused.header("mcp-session-id"), &refused.message()["error"]["code"]), (None, &json!(-32_602)));
    assert!(upstream.take().is_empty());
    hello(&proxy, &proxy.token("ana")).await;
}
