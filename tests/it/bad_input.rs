//! What is no message, in either direction: it is refused and counted, and nothing of it passes unmasked.

use serde_json::json;

use crate::support::{Ask, Proxy, Setup, Upstream, events, json_answer, raw_answer};

/// Stands in every bad message; whoever sees it sees what no mask went over.
const HIDDEN: &str = "ana@private.example";
const POLICY: &str = "[policy]\nname = \"open\"\n[[rule]]\nid = \"all\"\ntools = [\"**\"]\n\
    [[mask]]\nid = \"pii\"\non = [\"arguments\", \"result\"]\nentities = [\"EMAIL_ADDRESS\"]\n";

const LIMITS: &str = "limits = { request_bytes = \"64 KiB\", answer_bytes = \"256 KiB\", event_bytes = \"64 KiB\" }";

/// The sum of a metric over all its labels.
async fn total(proxy: &Proxy, name: &str) -> usize {
    let metrics = proxy.admin("/metrics").await;
    let lines = metrics.text().lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

/// Bodies that are no usable JSON, with `HIDDEN` in each.
fn broken(whole: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = whole.as_bytes();
    let nested = |depth: usize| {
        let mut inner = json!({ "m": HIDDEN }).to_string();
        (0..depth).for_each(|_| inner = json!([inner]).to_string());
        whole.replace("\"VALUE\"", &json!(inner).to_string()).into_bytes()
    };
    let with = |value: &str| whole.replace("\"VALUE\"", value).into_bytes();
    vec![
        ("truncated", bytes[..bytes.len() - 2].to_vec()),
        ("invalid UTF-8", with("\"\u{1}\"").iter().map(|byte| if *byte == 1 { 0xff } else { *byte }).collect()),
        ("overlong", [&bytes[..bytes.len() - 1], b",\"\xc0\xae\":1}"].concat()),
        ("byte order mark", [b"\xef\xbb\xbf", bytes].concat()),
        ("UTF-16", whole.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("gzip", [b"\x1f\x8b\x08\x00", bytes].concat()),
        ("lone surrogate", with("\"\\ud800\"")),
        ("lone low surrogate", with("\"\\udfff x\"")),
        ("raw control", with("\"a\rb\"")),
        ("two values", [bytes, bytes].concat()),
        ("trailing bytes", [bytes, b"x"].concat()),
        ("duplicate key", with("{\"a\":1,\"a\":2}")),
        ("deep", with(&format!("{}1{}", "[".repeat(200), "]".repeat(200)))),
        ("JSON in JSON in JSON", nested(6)),
        ("NaN", with("NaN")),
        ("leading zero", with("012")),
        ("hexadecimal", with("0x10")),
        ("single quotes", with("'x'")),
        ("comment", with("/* x */ 1")),
        ("empty", Vec::new()),
        ("a batch", [b"[", bytes, b"]"].concat()),
    ]
}

#[tokio::test]
async fn requests_that_are_no_messages_do_not_go_up_and_are_counted() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).policy(POLICY).listener(LIMITS).start().await;
    let token = proxy.token("ana");
    proxy.keep_secret(HIDDEN.to_owned());
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "x", "arguments": { "to": HIDDEN, "v": "VALUE" } } });
    let mut bodies = broken(&call.to_string());
    bodies.push(("too large", call.to_string().replace("VALUE", &"x".repeat(70_000)).into_bytes()));
    let mut count = 0;
    for (what, body) in bodies {
        let answer = proxy.ask(&Ask::post(body).token(&token)).await;
        let denied = answer.status == 200 && answer.message()["result"]["isError"] == true;
        assert!(denied || matches!(answer.status, 400 | 413), "{what}: {answer:?}");
        assert!(upstream.take().is_empty(), "{what} went up");
        count += 1;
    }
    for (name, value) in [
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/json; charset=utf-16"),
        ("Content-Encoding", "gzip"),
    ] {
        let ask = Ask::post(call.to_string()).without(name).header(name, value).token(&token);
        assert_eq!(proxy.ask(&ask).await.status, 415, "{name}: {value}");
        count += 1;
    }
    assert!(upstream.take().is_empty());
    let audited = proxy.audit().iter().filter(|line| line["decision"] != "allow").count();
    assert_eq!(audited, count, "every refusal is one line");
    assert!(proxy.audit().iter().all(|line| line["error"].is_string()), "each says why");
    assert_eq!(total(&proxy, "http_server_request_duration_seconds_count").await, count);
    assert_eq!(total(&proxy, "portcullis_errors_total").await, count, "every refusal is counted with its reason");
    proxy.assert_not_kept(HIDDEN).await;
    // It still answers.
    assert_eq!(proxy.ask(&Ask::call("2025-11-25", "x", &json!({})).token(&token)).await.status, 200);
}

#[tokio::test]
async fn answers_that_are_no_messages_do_not_come_down_and_are_counted() {
    let result = json!({ "jsonrpc": "2.0", "id": 7, "result": { "content": [{ "type": "text", "text": HIDDEN }], "structuredContent": { "v": "VALUE" } } });
    let whole = result.to_string();
    let mut answers: Vec<(String, Vec<u8>)> = Vec::new();
    for (what, body) in broken(&whole) {
        answers.push((format!("{what} as JSON"), raw_answer(200, "Content-Type: application/json\r\n", &body)));
        if !body.contains(&b'\n') {
            let event = [b"data: ", &body[..], b"\n\n"].concat();
            // A mark before a stream is part of no event, and an event without data is none.
            if !matches!(what, "empty") {
                answers.push((format!("{what} on a stream"), events(&event)));
            }
        }
    }
    for (what, fields) in [
        ("plain text", "Content-Type: text/plain\r\n"),
        ("HTML", "Content-Type: text/html\r\n"),
        ("no type", ""),
        ("another charset", "Content-Type: application/json; charset=utf-16\r\n"),
        ("two types", "Content-Type: application/json\r\nContent-Type: text/plain\r\n"),
        ("gzip", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"),
        ("brotli", "Content-Type: text/event-stream\r\nContent-Encoding: br\r\n"),
    ] {
        answers.push((what.to_owned(), raw_answer(200, fields, whole.as_bytes())));
    }
    let large = whole.replace("VALUE", &"x ".repeat(200_000));
    answers.push(("too large".to_owned(), json_answer(200, &large)));
    answers.push(("an event too large".to_owned(), events(format!("data: {large}\n\n").as_bytes())));
    let lines = format!("data: {whole}\n{}\n", "data: \n".repeat(100_000));
    answers.push(("an event of 100,000 lines".to_owned(), events(lines.as_bytes())));
    answers.push(("no end".to_owned(), events(format!("data: {whole}").as_bytes())));
    let total = answers.len();
    let sent = answers.clone();
    let upstream = Upstream::answering(move |heard| {
        let at: usize = heard.json()["params"]["arguments"]["case"].as_u64().unwrap().try_into().unwrap();
        sent[at].1.clone()
    })
    .await;
    let proxy = Setup::new(upstream.url()).policy(POLICY).listener(LIMITS).start().await;
    let token = proxy.token("ana");
    let mut refusals = 0;
    for (at, (what, _)) in answers.iter().enumerate() {
        let ask = Ask::call("2025-11-25", "x", &json!({ "case": at })).token(&token);
        let answer = proxy.ask(&ask).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains(HIDDEN), "{what}: {text}");
        let refused = answer.status == 502
            || (answer.status == 200 && (text.contains("-31502") || text.contains("\"isError\":true")));
        // White space within lines of one event is white space of its JSON.
        let harmless = what.starts_with("an event of 100,000") && text.contains("[EMAIL_ADDRESS]");
        assert!(refused || harmless, "{what}: {answer:?}");
        refusals += usize::from(refused);
    }
    let lines = proxy.audit();
    let failed = lines.iter().filter(|line| line["event"] == "end" && line["error"].is_string()).count();
    assert_eq!(failed, refusals, "the end of each says why");
    assert_eq!(self::total(&proxy, "http_server_request_duration_seconds_count").await, total);
    assert_eq!(self::total(&proxy, "portcullis_errors_total").await, refusals, "and is counted by it");
    proxy.assert_not_kept(HIDDEN).await;
}
