//! More calls than an upstream can take, and upstreams that fail: who is served, who is told to come back, and what the
//! upstream is spared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::{Answer, Ask, Client, Proxy, Setup, Upstream, json_answer, raw_answer, until, within};

/// Anybody may call anything.
const OPEN: &str = "[[rule]]\nid = \"any\"\ntools = [\"*\"]\n";

/// An upstream that answers one request for each permit, with its own name.
async fn holding(name: &'static str) -> (Upstream, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let taken = permits.clone();
    let upstream = Upstream::handling(move |heard, mut connection| {
        let permits = taken.clone();
        async move {
            if heard.json()["id"].is_null() {
                connection.send(raw_answer(202, "", b"")).await;
                return Some(connection);
            }
            permits.acquire().await.unwrap().forget();
            connection.send(json_answer(200, &answer(&heard.id(), name))).await;
            Some(connection)
        }
    })
    .await;
    (upstream, permits)
}

fn answer(id: &str, text: &str) -> String {
    let content = json!([{ "type": "text", "text": text }]);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":{content}}}}}"#)
}

fn setup(upstream: impl Into<String>) -> Setup {
    Setup::new(upstream).policy(OPEN).server("schema = \"off\"")
}

fn call(token: &str, tool: &str) -> Ask {
    Ask::call("2025-11-25", tool, &json!({})).token(token)
}

/// A call that is under way while the test goes on.
async fn begin(proxy: &Proxy, ask: Ask) -> JoinHandle<Answer> {
    let mut client: Client = proxy.client().await;
    client.send(&ask.bytes()).await;
    tokio::spawn(async move { client.answer().await.unwrap() })
}

async fn gauge(proxy: &Proxy, name: &str, wanted: i64) {
    let what = format!("{name} to be {wanted}");
    until(&what, async || {
        let metrics = proxy.admin("/metrics").await;
        let line = metrics.text().lines().find(|line| line.starts_with(&format!("{name}{{")))?.to_owned();
        (line.rsplit(' ').next()?.parse() == Ok(wanted)).then_some(())
    })
    .await;
}

/// The reason in the last line of the audit that tells of an end.
fn reason(proxy: &Proxy) -> Value {
    proxy.audit().last().unwrap()["error"].clone()
}

async fn counted(proxy: &Proxy, kind: &str) -> bool {
    let line = format!("portcullis_upstream_errors_total{{server=\"crm\",kind=\"{kind}\"}} 1");
    proxy.admin("/metrics").await.text().contains(&line)
}

#[tokio::test]
async fn no_more_calls_are_there_than_may_be_and_callers_take_turns() {
    let (upstream, permits) = holding("a").await;
    let keys = "concurrency = { max_in_flight = 1, per_principal = 1 }";
    let proxy = setup(upstream.url()).server(keys).start().await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let mut calls = vec![begin(&proxy, call(&ana, "a1")).await];
    upstream.wait_for(1).await;
    for (at, (token, tool)) in [(&ana, "a2"), (&ana, "a3"), (&ana, "a4"), (&max, "m1"), (&max, "m2")].iter().enumerate()
    {
        calls.push(begin(&proxy, call(token, tool)).await);
        gauge(&proxy, "portcullis_upstream_queue", i64::try_from(at).unwrap() + 1).await;
    }
    gauge(&proxy, "portcullis_upstream_in_flight", 1).await;
    for done in 1..=6 {
        permits.add_permits(1);
        upstream.wait_for((done + 1).min(6)).await;
    }
    for call in calls {
        assert_eq!(within("an answer", call).await.unwrap().status, 200);
    }
    let order: Vec<_> = upstream.take().iter().map(|heard| heard.json()["params"]["name"].clone()).collect();
    assert_eq!(order, ["a1", "a2", "m1", "a3", "m2", "a4"], "ana came first, and max waits for one call of hers");
    gauge(&proxy, "portcullis_upstream_in_flight", 0).await;
}

#[tokio::test]
async fn one_caller_leaves_room_for_others() {
    let (upstream, permits) = holding("a").await;
    let proxy = setup(upstream.url()).server("concurrency = { max_in_flight = 3, per_principal = 2 }").start().await;
    // One of them may by chance be counted together with her.
    let (ana, others) = (proxy.token("ana"), [proxy.token("max"), proxy.token("eve")]);
    let mut calls = Vec::new();
    for tool in ["a1", "a2", "a3"] {
        calls.push(begin(&proxy, call(&ana, tool)).await);
    }
    gauge(&proxy, "portcullis_upstream_queue", 1).await;
    for other in &others {
        calls.push(begin(&proxy, call(other, "other")).await);
    }
    upstream.wait_for(3).await;
    permits.add_permits(5);
    for call in calls {
        assert_eq!(within("an answer", call).await.unwrap().status, 200);
    }
    let heard: Vec<_> = upstream.take().iter().map(|heard| heard.json()["params"]["name"].clone()).collect();
    assert!(heard[..3].contains(&json!("other")), "{heard:?}");
}

#[tokio::test]
async fn beyond_the_queue_callers_are_told_when_to_come_back_and_nothing_is_sent() {
    let (upstream, permits) = holding("a").await;
    let keys = "concurrency = { max_in_flight = 1, queue = 2 }";
    let proxy = setup(upstream.url()).server(keys).start().await;
    let (ana, max, eve) = (proxy.token("ana"), proxy.token("max"), proxy.token("eve"));
    let mut calls = vec![begin(&proxy, call(&ana, "a1")).await];
    upstream.wait_for(1).await;
    calls.push(begin(&proxy, call(&ana, "a2")).await);
    gauge(&proxy, "portcullis_upstream_queue", 1).await;

    let refused = proxy.ask(&call(&ana, "a3")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.json()["error"]["code"], -31429);
    assert_eq!(refused.json()["id"], 7);
    assert_eq!(reason(&proxy), "share_full");

    calls.push(begin(&proxy, call(&max, "m1")).await);
    gauge(&proxy, "portcullis_upstream_queue", 2).await;
    let refused = proxy.ask(&call(&eve, "e1")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["error"]["code"], -31503);
    assert_eq!(reason(&proxy), "queue_full");
    assert!(counted(&proxy, "share_full").await && counted(&proxy, "queue_full").await);

    permits.add_permits(3);
    for call in calls {
        assert_eq!(within("an answer", call).await.unwrap().status, 200);
    }
    let heard: Vec<_> = upstream.take().iter().map(|heard| heard.json()["params"]["name"].clone()).collect();
    assert_eq!(heard, ["a1", "a2", "m1"]);
}

#[tokio::test]
async fn who_waits_too_long_is_refused_and_who_hangs_up_is_forgotten() {
    let (upstream, permits) = holding("a").await;
    let keys = "concurrency = { max_in_flight = 1, queue_timeout = \"20ms\" }";
    let proxy = setup(upstream.url()).server(keys).start().await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let first = begin(&proxy, call(&ana, "a1")).await;
    upstream.wait_for(1).await;
    let refused = proxy.ask(&call(&max, "m1")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(reason(&proxy), "queue_timeout");
    permits.add_permits(1);
    assert_eq!(within("an answer", first).await.unwrap().status, 200);
    assert_eq!(upstream.take().len(), 1);

    // The call of a client that hangs up gives its room back.
    let mut gone = proxy.client().await;
    gone.send(&call(&ana, "a2").bytes()).await;
    upstream.wait_for(2).await;
    drop(gone);
    gauge(&proxy, "portcullis_upstream_in_flight", 0).await;
}

#[tokio::test]
async fn what_a_call_may_wait_for_does_not_wait_for_the_call() {
    let (upstream, permits) = holding("a").await;
    let proxy = setup(upstream.url()).server("concurrency = { max_in_flight = 1, queue = 0 }").start().await;
    let token = proxy.token("ana");
    let first = begin(&proxy, call(&token, "a1")).await;
    upstream.wait_for(1).await;
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
    let told = Ask::post(cancelled.to_string()).header("MCP-Protocol-Version", "2025-11-25").token(&token);
    assert_eq!(proxy.ask(&told).await.status, 202);
    assert_eq!(proxy.ask(&call(&token, "a2")).await.status, 503);
    permits.add_permits(1);
    assert_eq!(within("an answer", first).await.unwrap().status, 200);
    assert_eq!(upstream.take().len(), 2, "the call and the notification");
}

#[tokio::test]
async fn a_stream_takes_no_room_of_calls() {
    let (upstream, mut driver) = Upstream::driven().await;
    let keys = "concurrency = { max_in_flight = 1, queue = 0, streams = 1 }";
    let proxy = setup(upstream.url()).server(keys).start().await;
    let token = proxy.token("ana");
    let listen = Ask::new("GET").header("Accept", "text/event-stream").token(&token);
    let mut listening = proxy.client().await;
    listening.send(&listen.bytes()).await;
    upstream.wait_for(1).await;
    let refused = proxy.ask(&listen).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(reason(&proxy), "streams_full");
    let mut calling = proxy.client().await;
    calling.send(&call(&token, "a1").bytes()).await;
    upstream.wait_for(2).await;
    drop(listening);
    driver.hung_up().await;
}

#[tokio::test]
async fn an_upstream_that_fails_is_left_alone_until_it_is_back() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let upstream = Upstream::handling(move |heard, mut connection| {
        let is_broken = is_broken.load(Ordering::SeqCst);
        async move {
            if is_broken {
                return None;
            }
            connection.send(json_answer(200, &answer(&heard.id(), "back"))).await;
            Some(connection)
        }
    })
    .await;
    let keys = "breaker = { failures = 3, pause = \"10s\" }";
    let proxy = setup(upstream.url()).server(keys).start().await;
    let token = proxy.token("ana");
    for _ in 0..3 {
        assert_eq!(proxy.ask(&call(&token, "a")).await.status, 502);
    }
    assert_eq!(upstream.take().len(), 3);
    for _ in 0..3 {
        let refused = proxy.ask(&call(&token, "a")).await;
        assert_eq!((refused.status, refused.json()["error"]["code"].as_i64()), (503, Some(-31503)));
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
        assert_eq!(reason(&proxy), "breaker_open");
    }
    assert!(upstream.take().is_empty(), "it is left alone");
    gauge(&proxy, "portcullis_upstream_breaker", 2).await;
    drop(proxy);

    // With a short pause: the first request after it is preceded by a connection on which nothing is said.
    let proxy = setup(upstream.url()).server("breaker = { failures = 1, pause = \"1ms\" }").start().await;
    let token = proxy.token("ana");
    assert_eq!(proxy.ask(&call(&token, "a")).await.status, 502);
    upstream.take();
    broken.store(false, Ordering::SeqCst);
    let status = until("the breaker to close", async || {
        let answer = proxy.ask(&call(&token, "a")).await;
        (answer.status != 503).then_some(answer.status)
    })
    .await;
    assert_eq!(status, 200);
    let heard = upstream.take();
    assert_eq!(heard.len(), 1, "one call, and no session for the probe: {heard:?}");
    gauge(&proxy, "portcullis_upstream_breaker", 0).await;
}

/// An address nobody listens at.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/mcp", listener.local_addr().unwrap())
}

#[tokio::test]
async fn sessions_stay_with_the_endpoint_that_opened_them() {
    let open = |name: &'static str| {
        Upstream::answering(move |heard| {
            let message = heard.json();
            if message["method"] != "initialize" {
                return json_answer(200, &answer(&heard.id(), name));
            }
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                "serverInfo": { "name": name, "version": "1" } });
            let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id());
            let fields = format!("Content-Type: application/json\r\nMcp-Session-Id: of-{name}\r\n");
            raw_answer(200, &fields, body.as_bytes())
        })
    };
    let (one, two) = (open("one").await, open("two").await);
    let urls = format!("[\"{}\", \"{}\"]", one.url(), two.url());
    let proxy = setup(urls).start().await;
    let token = proxy.token("ana");
    let sessions = [proxy.open_session(&token).await, proxy.open_session(&token).await];
    assert_eq!((one.take().len(), two.take().len()), (1, 1), "the one with less to do, in turn");
    for session in sessions.iter().cycle().take(8) {
        let said = proxy.ask(&call(&token, "who").session(session)).await;
        assert_eq!(said.status, 200);
    }
    for (upstream, own) in [(&one, "of-one"), (&two, "of-two")] {
        let heard = upstream.take();
        assert_eq!(heard.len(), 4);
        assert!(heard.iter().all(|heard| heard.header("mcp-session-id").as_deref() == Some(own)), "{heard:?}");
    }
    let end = Ask::new("DELETE").session(&sessions[0]).token(&token);
    proxy.ask(&end).await;
    assert_eq!(one.take().len() + two.take().len(), 1);

    // What has no session goes to the one with the least to do.
    for _ in 0..10 {
        assert_eq!(proxy.ask(&call(&token, "any")).await.status, 200);
    }
    assert_eq!((one.take().len(), two.take().len()), (5, 5));
}

#[tokio::test]
async fn only_what_may_be_done_twice_is_tried_at_another_endpoint() {
    let there = Upstream::plain().await;
    let urls = format!("[\"{}\", \"{}\"]", nowhere().await, there.url());
    let keys = "retries = { tools = [\"twice\"] }\nbreaker = { failures = 1000 }\nschema = \"report\"";
    let proxy = Setup::new(urls).policy(OPEN).server(keys).start().await;
    there.offer(&json!([
        { "name": "once", "inputSchema": { "type": "object" } },
        { "name": "twice", "inputSchema": { "type": "object" } },
    ]));
    let token = proxy.token("ana");
    let mut statuses = Vec::new();
    for _ in 0..6 {
        // One of two in a row meets the endpoint that is away.
        statuses.push(proxy.ask(&call(&token, "once")).await.status);
        statuses.push(proxy.ask(&call(&token, "once")).await.status);
        assert_eq!(proxy.ask(&call(&token, "twice")).await.status, 200);
        assert_eq!(proxy.ask(&Ask::legacy("tools/list", &json!({})).token(&token)).await.status, 200);
    }
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
    let heard = there.take();
    let delivered = statuses.iter().filter(|status| **status == 200).count();
    let named = |name: &str| heard.iter().filter(|heard| heard.json()["params"]["name"] == name).count();
    assert_eq!((named("once"), named("twice")), (delivered, 6), "nothing is delivered twice");
    drop(proxy);

    // An endpoint that is known to be away is not asked at all.
    let urls = format!("[\"{}\", \"{}\"]", nowhere().await, there.url());
    let keys = "breaker = { failures = 1, pause = \"10m\", longest = \"10m\" }";
    let proxy = setup(urls).server(keys).start().await;
    let token = proxy.token("ana");
    let mut refused = 0;
    for _ in 0..8 {
        refused += usize::from(proxy.ask(&call(&token, "once")).await.status != 200);
    }
    assert_eq!(refused, 1);
}
