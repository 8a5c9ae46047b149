//! What breaks in the middle: upstreams that are killed, ends that fall silent, readers that do not read. Whoever waits is
//! answered or cut off, for a reason that is counted, and nothing is left.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Ask, Connection, Heard, Proxy, Setup, Upstream, json_answer, raw_answer, until, within};

const OLD: &str = "2025-11-25";
const NEW: &str = "2026-07-28";
const OPEN: &str = "[[rule]]\nid = \"any\"\ntools = [\"*\"]\n";

async fn start(upstream: &Upstream, keys: &str) -> Proxy {
    Setup::new(upstream.url()).policy(OPEN).server(&format!("schema = \"off\"\n{keys}")).start().await
}

fn call(revision: &str, tool: &str) -> Ask {
    let params = json!({ "name": tool, "arguments": {}, "_meta": { "progressToken": "t" } });
    Ask::of(revision, "tools/call", &params)
}

fn progress(at: usize, message: &str) -> String {
    let params = json!({ "progressToken": "t", "progress": at, "message": message });
    format!("data: {}\n\n", json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
}

/// Waits until the metrics have that line.
async fn counted(proxy: &Proxy, line: &str) {
    until(line, async || {
        let metrics = proxy.admin("/metrics").await;
        metrics.text().lines().any(|told| told == line).then_some(())
    })
    .await;
}

async fn failed(proxy: &Proxy, reason: &str, times: usize) {
    counted(proxy, &format!("portcullis_errors_total{{server=\"crm\",reason=\"{reason}\"}} {times}")).await;
}

/// Nothing runs, waits or is open any more.
async fn nothing_is_left(proxy: &Proxy) {
    until("everything to be over", async || {
        let metrics = proxy.admin("/metrics").await;
        let gauges = ["portcullis_upstream_in_flight{", "portcullis_upstream_queue{", "portcullis_streams{"];
        let is_gauge = |line: &&str| gauges.iter().any(|gauge| line.starts_with(gauge));
        metrics.text().lines().filter(is_gauge).all(|line| line.ends_with(" 0")).then_some(())
    })
    .await;
}

/// How an upstream begins an answer that it never finishes.
async fn begin(heard: &Heard, connection: &mut Connection) {
    match heard.json()["params"]["name"].as_str() {
        Some("length") => {
            connection
                .send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"jso")
                .await;
        }
        Some("chunks") => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            connection.send(format!("{head}5\r\n{{\"jso\r\n")).await;
        }
        Some("events") => {
            connection.begin_stream().await;
            connection.piece(progress(1, "begun")).await;
        }
        Some("half_event") => {
            connection.begin_stream().await;
            connection.piece(progress(1, "begun")).await;
            connection.piece("data: {\"jsonrpc\":").await;
        }
        _ => {}
    }
}

const KINDS: [&str; 4] = ["length", "chunks", "events", "half_event"];

/// The error a call ends with; on a stream, after what came before it.
async fn ended(proxy: &Proxy, ask: &Ask, kind: &str) -> (u16, Value) {
    let answer = within(kind, proxy.ask(ask)).await;
    if answer.is_stream() {
        let messages = answer.messages();
        assert_eq!(messages.len(), 2, "{kind}: {messages:?}");
        assert_eq!(messages[0]["params"]["message"], "begun", "{kind}");
    }
    (answer.status, answer.message()["error"]["code"].clone())
}

#[tokio::test]
async fn an_upstream_that_is_killed_in_the_middle_ends_its_answers() {
    for is_reset in [false, true] {
        let upstream = Upstream::handling(move |heard, mut connection| async move {
            begin(&heard, &mut connection).await;
            if is_reset {
                connection.reset();
            }
            None
        })
        .await;
        let proxy = start(&upstream, "").await;
        let token = proxy.token("ana");
        let mut times = 0;
        for revision in [OLD, NEW] {
            for kind in KINDS {
                let status = if kind.contains("event") { 200 } else { 502 };
                let ended = ended(&proxy, &call(revision, kind).token(&token), kind).await;
                assert_eq!(ended, (status, json!(-31502)), "{revision} {kind} {is_reset}");
                times += 1;
            }
        }
        failed(&proxy, "broken", times).await;
        counted(&proxy, &format!("portcullis_upstream_errors_total{{server=\"crm\",kind=\"broken\"}} {times}")).await;
        nothing_is_left(&proxy).await;
    }
}

/// The other end says nothing and does not hang up: the proxy does.
#[tokio::test]
async fn an_upstream_that_falls_silent_is_hung_up_on() {
    let (tell, mut hung_up) = mpsc::unbounded_channel();
    let upstream = Upstream::handling(move |heard, mut connection| {
        let tell = tell.clone();
        async move {
            begin(&heard, &mut connection).await;
            connection.hung_up().await;
            tell.send(()).unwrap();
            None
        }
    })
    .await;
    let proxy = start(&upstream, "timeouts = { first_byte = \"200ms\", idle = \"200ms\" }").await;
    let token = proxy.token("ana");
    for revision in [OLD, NEW] {
        for kind in KINDS.into_iter().chain(["nothing"]) {
            let status = if kind.contains("event") { 200 } else { 504 };
            let ended = ended(&proxy, &call(revision, kind).token(&token), kind).await;
            assert_eq!(ended, (status, json!(-31504)), "{revision} {kind}");
            within("the upstream to be hung up on", hung_up.recv()).await.unwrap();
        }
    }
    failed(&proxy, "timeout_idle", 2 * KINDS.len()).await;
    failed(&proxy, "timeout_first_byte", 2).await;
    nothing_is_left(&proxy).await;
}

/// Every informational answer is passed over, and the final one is due all the same.
#[tokio::test]
async fn an_upstream_that_never_comes_to_the_point_is_hung_up_on() {
    let (tell, mut hung_up) = mpsc::unbounded_channel();
    let upstream = Upstream::handling(move |_, mut connection| {
        let tell = tell.clone();
        async move {
            connection.flood(&b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".repeat(100)).await;
            tell.send(()).unwrap();
            None
        }
    })
    .await;
    let proxy = start(&upstream, "timeouts = { first_byte = \"200ms\" }").await;
    let ended = ended(&proxy, &call(NEW, "nothing").token(&proxy.token("ana")), "nothing").await;
    assert_eq!(ended, (504, json!(-31504)));
    within("the upstream to be hung up on", hung_up.recv()).await.unwrap();
    nothing_is_left(&proxy).await;
}

/// A server that wants sessions, and breaks off in one.
#[tokio::test]
async fn what_breaks_behind_a_bridge_is_told_too() {
    for is_silent in [false, true] {
        let upstream = Upstream::unaided(move |heard, mut connection| async move {
            match (heard.json()["method"].as_str(), heard.header("mcp-session-id")) {
                (Some("initialize"), _) => {
                    let result = json!({ "protocolVersion": OLD, "capabilities": {}, "serverInfo": { "name": "s", "version": "1" } });
                    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id());
                    let fields = "Content-Type: application/json\r\nMcp-Session-Id: s1\r\n";
                    connection.send(raw_answer(200, fields, body.as_bytes())).await;
                    Some(connection)
                }
                (Some("tools/call"), Some(_)) => {
                    begin(&heard, &mut connection).await;
                    if is_silent {
                        connection.hung_up().await;
                    } else {
                        connection.reset();
                    }
                    None
                }
                (Some("tools/call" | "server/discover"), None) => {
                    connection.send(json_answer(400, "{}")).await;
                    Some(connection)
                }
                _ => {
                    connection.send(raw_answer(202, "", b"")).await;
                    Some(connection)
                }
            }
        })
        .await;
        let proxy = start(&upstream, "timeouts = { first_byte = \"300ms\", idle = \"300ms\" }").await;
        let token = proxy.token("ana");
        let (code, kind) = if is_silent { (-31504, "timeout_idle") } else { (-31502, "broken") };
        for revision in [OLD, NEW] {
            for cut in ["length", "chunks"] {
                let answer = within(cut, proxy.ask(&call(revision, cut).token(&token))).await;
                assert_eq!(answer.message()["error"]["code"], code, "{revision} {cut}: {answer:?}");
            }
            for cut in ["events", "half_event"] {
                let answer = within(cut, proxy.ask(&call(revision, cut).token(&token))).await;
                assert_eq!(answer.message()["error"]["code"], -31502, "{revision} {cut}: {answer:?}");
            }
        }
        counted(&proxy, &format!("portcullis_upstream_errors_total{{server=\"crm\",kind=\"{kind}\"}} 8")).await;
        nothing_is_left(&proxy).await;
    }
}

#[tokio::test]
async fn a_client_that_falls_silent_is_hung_up_on() {
    let upstream = Upstream::plain().await;
    let limits = "limits = { header_timeout = \"300ms\", body_timeout = \"300ms\", keep_alive = \"300ms\" }";
    let setup = Setup::new(upstream.url()).policy(OPEN).server("schema = \"off\"").listener(limits);
    let proxy = setup.start().await;
    let ask = call(OLD, "x").token(&proxy.token("ana")).bytes();
    let head = memchr::memmem::find(&ask, b"\r\n\r\n").unwrap() + 4;
    // Half a head, and a connection that is not used again, are closed without a word.
    let mut silent = proxy.client().await;
    silent.send(&ask[..head / 2]).await;
    assert!(silent.rest().await.is_empty());
    let mut unused = proxy.client().await;
    unused.send(&ask).await;
    assert_eq!(unused.answer().await.unwrap().status, 200);
    assert!(unused.rest().await.is_empty());
    // Half a body is answered, and the connection with it is closed.
    let mut half = proxy.client().await;
    half.send(&ask[..head + 5]).await;
    let answer = half.answer().await.unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(half.rest().await.is_empty());
    assert_eq!(upstream.take().len(), 1, "what is not whole goes nowhere");
    failed(&proxy, "body_broken", 1).await;
    nothing_is_left(&proxy).await;
}

/// What a reader does not take is not piled up for it: in the end it is cut off, and the upstream with it.
#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off_and_a_slow_one_gets_everything() {
    const EVENTS: usize = 100;
    const FEW: usize = 20;
    let (upstream, mut driver) = Upstream::driven().await;
    let setup = Setup::new(upstream.url()).policy(OPEN).server("schema = \"off\"");
    let proxy = setup.listener("limits = { keep_alive = \"500ms\" }").start().await;
    let token = proxy.token("ana");
    let filling = "x".repeat(64 * 1024);
    let mut client = proxy.client().await.with_little_room();
    client.send(&call(OLD, "x").token(&token).bytes()).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    (0..EVENTS).for_each(|at| driver.piece(progress(at, &filling)));
    driver.hung_up().await;
    failed(&proxy, "cancelled", 1).await;
    nothing_is_left(&proxy).await;
    drop(client);

    let (upstream, driver) = Upstream::driven().await;
    let setup = Setup::new(upstream.url()).policy(OPEN).server("schema = \"off\"");
    let proxy = setup.start().await;
    let mut client = proxy.client().await;
    client.send(&call(OLD, "x").token(&proxy.token("ana")).bytes()).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    (0..FEW).for_each(|at| driver.piece(progress(at, &filling)));
    driver.event(&json!({ "jsonrpc": "2.0", "id": 7, "result": { "content": [] } }));
    for at in 0..FEW {
        assert_eq!(client.message().await.unwrap()["params"]["progress"], at);
    }
    assert_eq!(client.message().await.unwrap()["id"], 7);
    nothing_is_left(&proxy).await;
}
