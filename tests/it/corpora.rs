//! Cases nobody here wrote, through the whole proxy: what is refused, and that what passes passes in one reading.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::support::{Answer, Ask, Heard, Proxy, Setup, Upstream, events, json_answer, raw_answer};

const OPEN: &str = "[policy]\nname = \"open\"\n[[rule]]\nid = \"all\"\ntools = [\"**\"]\nresources = [\"**\"]\n\
                    resource_templates = [\"**\"]\nprompts = [\"**\"]\n\
                    [[rule]]\nid = \"asks\"\n\
                    methods = [\"elicitation/create\", \"roots/list\", \"sampling/createMessage\"]\n";

pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora").join(name);
    if !path.exists() {
        println!("skipped: no corpus {name}");
        return None;
    }
    Some(path)
}

pub(crate) fn lines(file: &str) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(folder(file)?).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

pub(crate) fn bytes_of(case: &Value, key: &str) -> Vec<u8> {
    BASE64.decode(case[key].as_str().unwrap().as_bytes()).unwrap()
}

/// A listener that answers to the hosts and the path the cases use.
async fn reachable(path: &str, hosts: &str) -> (Proxy, Upstream) {
    let upstream = Upstream::plain().await;
    let here = format!(
        "[servers.here]\npath = \"{path}\"\nupstream = \"{}\"\npolicies = [\"crm.toml\"]\nissuers = [\"corp\"]\n\
         audiences = [\"https://gw.test/crm/mcp\"]\n",
        upstream.url()
    );
    let setup = Setup::new(upstream.url()).policy(OPEN).tables(&here);
    let proxy = setup.listener(&format!("allowed_hosts = [{hosts}]")).start().await;
    (proxy, upstream)
}

/// The head with a credential and a media type, so that only its framing stands between it and the upstream.
fn authorised(raw: &[u8], token: &str) -> Vec<u8> {
    let Some(end) = memchr::memchr(b'\n', raw) else { return raw.to_vec() };
    let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    [&raw[..=end], fields.as_bytes(), &raw[end + 1..]].concat()
}

/// Statuses of all answers in what a connection gave.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let heads = text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
    heads.collect()
}

/// A request the upstream may hear at most once a connection, in exactly these bytes.
fn good(token: &str, path: &str, host: &str) -> Ask {
    Ask::call("2026-07-28", "x", &json!({})).token(token).target(path).with("Host", host)
}

fn canonical(heard: &Heard, good: &Ask) {
    assert_eq!(heard.line(), "POST /mcp HTTP/1.1");
    assert_eq!(heard.body, good.body);
    assert_eq!(heard.header("content-length"), Some(good.body.len().to_string()));
    assert_eq!(heard.header("transfer-encoding"), None);
}

/// Sends each case with a good request behind it, and says what was answered how often.
async fn smuggle(
    cases: &[Value],
    proxy: &Proxy,
    upstream: &Upstream,
    path: &str,
    host: &str,
) -> BTreeMap<Vec<u16>, usize> {
    let token = proxy.token("ana");
    let second = good(&token, path, host);
    let mut tally = BTreeMap::new();
    for case in cases {
        let raw = bytes_of(case, "raw_request_base64");
        for first in [raw.clone(), authorised(&raw, &token)] {
            let mut client = proxy.client().await;
            client.send(&[first, second.bytes()].concat()).await;
            client.finish().await;
            let answers = statuses(&client.rest().await);
            let heard = upstream.take();
            assert!(heard.len() <= 1, "{} reached the upstream {} times", case["id"], heard.len());
            for heard in &heard {
                canonical(heard, &second);
            }
            assert!(answers.iter().filter(|status| **status == 200).count() <= 1, "{}: {answers:?}", case["id"]);
            *tally.entry(answers).or_insert(0) += 1;
        }
    }
    // It still answers as before.
    assert_eq!(proxy.ask(&second).await.status, 200);
    canonical(&upstream.take().pop().unwrap(), &second);
    tally
}

#[tokio::test]
async fn rfc_9112_requests_with_two_readings_do_not_reach_the_upstream() {
    let Some(cases) = lines("smuggler/cases.jsonl") else { return };
    let (proxy, upstream) = reachable("/mcp", "\"proxy.test\"").await;
    let tally = smuggle(&cases, &proxy, &upstream, "/mcp", "proxy.test").await;
    println!("{} cases of smuggler: {tally:?}", cases.len());
    assert_eq!(cases.len(), 3406);
}

#[tokio::test]
async fn bugs_of_other_servers_are_not_ours() {
    let Some(cases) = lines("http-garden/cases.jsonl") else { return };
    let (proxy, upstream) = reachable("/mcp", "\"a\", \"b\", \"whatever\"").await;
    let tally = smuggle(&cases, &proxy, &upstream, "/mcp", "a").await;
    println!("{} cases of http-garden: {tally:?}", cases.len());
    assert_eq!(cases.len(), 77);
}

#[tokio::test]
async fn noise_neither_passes_nor_stops_the_listener() {
    let Some(cases) = lines("h2o-fuzz/http1-corpus.jsonl") else { return };
    let (proxy, upstream) = reachable("/mcp", "\"a\"").await;
    let mut tally: BTreeMap<Vec<u16>, usize> = BTreeMap::new();
    for case in &cases {
        let mut client = proxy.client().await;
        client.send(&bytes_of(case, "raw_base64")).await;
        client.finish().await;
        let answers = statuses(&client.rest().await);
        assert!(!answers.contains(&200) && !answers.iter().any(|status| *status >= 500), "{}: {answers:?}", case["id"]);
        *tally.entry(answers).or_default() += 1;
    }
    assert_eq!(upstream.take().len(), 0);
    let good = good(&proxy.token("ana"), "/mcp", "a");
    assert_eq!(proxy.ask(&good).await.status, 200);
    println!("{} inputs of h2o-fuzz: {} kinds of answers", cases.len(), tally.len());
}

#[tokio::test]
async fn json_passes_in_its_own_bytes_or_not_at_all() {
    let Some(folder) = folder("jsontestsuite/test_parsing") else { return };
    let upstream = Upstream::answering(|_| json_answer(200, r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)).await;
    let proxy = Setup::new(upstream.url()).policy(OPEN).start().await;
    let token = proxy.token("ana");
    let mut tally: BTreeMap<(char, u16), usize> = BTreeMap::new();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let fragment = std::fs::read(&file).unwrap();
        let before = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{"v":"#;
        let ask = Ask::post([before, &fragment[..], b"}}}"].concat()).token(&token);
        let answer = proxy.ask(&ask).await;
        let heard = upstream.take();
        let kind = name.chars().next().unwrap();
        let is_duplicate = name.starts_with("y_object_duplicated_key");
        match kind {
            'n' => assert_eq!(answer.status, 400, "{name}"),
            'y' => assert_eq!(answer.status, if is_duplicate { 400 } else { 200 }, "{name} {answer:?}"),
            _ => {}
        }
        if answer.status == 200 {
            assert_eq!(heard.len(), 1, "{name}");
            assert_eq!(heard[0].body, ask.body, "{name}");
        } else {
            assert_eq!((answer.status, heard.len()), (400, 0), "{name} {answer:?}");
        }
        *tally.entry((kind, answer.status)).or_default() += 1;
    }
    println!("jsontestsuite: {tally:?}");
    assert_eq!(tally.get(&('n', 400)), Some(&188));
    assert_eq!((tally.get(&('y', 200)), tally.get(&('y', 400))), (Some(&93), Some(&2)));
}

#[tokio::test]
async fn conversations_of_a_sdk_pass_as_they_are_or_are_refused_in_form() {
    let Some(cases) = lines("mcp-traffic/go-sdk-messages.jsonl") else { return };
    let upstream = Upstream::answering(|heard| match heard.json().get("id") {
        Some(id) => json_answer(200, &json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string()),
        None => raw_answer(202, "", b""),
    })
    .await;
    let proxy = Setup::new(upstream.url()).policy(OPEN).start().await;
    let token = proxy.token("ana");
    let mut refused = Vec::new();
    let (mut sent, mut passed) = (0, 0);
    for case in cases.iter().filter(|case| case["from"] == "client") {
        let message = &case["msg"];
        let mut ask = Ask::post(message.to_string()).token(&token);
        let meta = &message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
        if let (Some(version), Some(method)) = (meta.as_str(), message["method"].as_str()) {
            ask = ask.header("MCP-Protocol-Version", version).header("Mcp-Method", method);
            if let Some(name) = message["params"]["name"].as_str().or(message["params"]["uri"].as_str()) {
                ask = ask.header("Mcp-Name", name);
            }
        }
        let answer = proxy.ask(&ask).await;
        let heard = upstream.take();
        sent += 1;
        if let [heard] = heard.as_slice() {
            assert_eq!(heard.json(), *message, "{}", case["id"]);
            passed += 1;
        } else {
            assert!(heard.is_empty());
            refused.push(format!("{} {} {}", case["id"].as_str().unwrap(), answer.status, answer.text()));
        }
    }
    println!("{sent} messages of the Go SDK, {passed} passed; refused: {refused:#?}");
    // Its bad requests, names and URIs that are missing, answers nobody asked for, and a state nobody was given.
    assert_eq!((sent, refused.len()), (54, 12));
}

/// The specification's own examples of answers, through the proxy and out again.
#[tokio::test]
async fn published_answers_come_out_as_they_went_in() {
    let Some(cases) = lines("mcp-traffic/schema-examples-2026-07-28.jsonl") else { return };
    let next: Arc<Mutex<String>> = Arc::default();
    let scripted = next.clone();
    let upstream = Upstream::answering(move |heard| {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{}}}"#, heard.id(), scripted.lock().unwrap());
        if heard.text().contains("streamed") {
            events(format!("data: {message}\n\n").as_bytes())
        } else {
            json_answer(200, &message)
        }
    })
    .await;
    let proxy = Setup::new(upstream.url()).policy(OPEN).start().await;
    let token = proxy.token("ana");
    let mut count = 0;
    for case in &cases {
        let kind = case["type"].as_str().unwrap();
        let result = if kind.ends_with("ResultResponse") { &case["value"]["result"] } else { &case["value"] };
        let (method, params) = match kind.trim_end_matches("Response") {
            "CallToolResult" | "InputRequiredResult" => ("tools/call", json!({ "name": "x" })),
            "CompleteResult" => (
                "completion/complete",
                json!({ "ref": { "type": "ref/prompt", "name": "x" }, "argument": { "name": "a", "value": "b" } }),
            ),
            "GetPromptResult" => ("prompts/get", json!({ "name": "x" })),
            "ListPromptsResult" => ("prompts/list", json!({})),
            "ListResourceTemplatesResult" => ("resources/templates/list", json!({})),
            "ListResourcesResult" => ("resources/list", json!({})),
            "ListToolsResult" => ("tools/list", json!({})),
            "ReadResourceResult" => ("resources/read", json!({ "uri": "file:///x" })),
            "DiscoverResult" => ("server/discover", json!({})),
            _ => continue,
        };
        *next.lock().unwrap() = result.to_string();
        for streamed in [false, true] {
            let mut params = params.clone();
            if streamed {
                params["_meta"] = json!({ "progressToken": "streamed" });
            }
            let answer: Answer = proxy.ask(&Ask::modern(method, &params).token(&token)).await;
            let mut got = answer.message();
            let mut wanted = result.clone();
            // What a filter may have touched is nobody else's.
            if let Some(scope) = wanted.get_mut("cacheScope") {
                *scope = json!("private");
            }
            // Nor is it kept for longer than a minute.
            if let Some(ttl) = wanted.get_mut("ttlMs").filter(|ttl| ttl.as_i64().is_some_and(|ttl| ttl > 60_000)) {
                *ttl = json!(60_000);
            }
            // What a client brings back is behind a name of our own.
            for handle in ["nextCursor", "requestState"] {
                if let Some(written) = wanted.get_mut(handle).map(Value::take) {
                    let sealed = got["result"][handle].take();
                    assert!(sealed.is_string() && sealed != written, "{}", case["id"]);
                }
            }
            let foreign = |key: &String| !(key.starts_with("io.modelcontextprotocol/") || key == "traceparent");
            if let Some(meta) = wanted.get_mut("_meta").and_then(Value::as_object_mut) {
                meta.retain(|key, _| !foreign(key));
            }
            drop_foreign_icons(&mut wanted);
            assert_eq!(got["result"], wanted, "{}", case["id"]);
        }
        count += 1;
    }
    println!("{count} published answers, each as JSON and on a stream");
    assert!(count >= 20, "{count}");
}

/// An icon is loaded by who reads the list: those on other origins are told of who that is.
fn drop_foreign_icons(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_foreign_icons),
        Value::Object(members) => {
            if let Some(icons) = members.get_mut("icons").and_then(Value::as_array_mut) {
                icons.retain(|icon| icon["src"].as_str().is_some_and(|src| src.starts_with("data:image/")));
            }
            members.values_mut().for_each(drop_foreign_icons);
        }
        _ => {}
    }
}

/// Streams made to confuse readers carry nothing of MCP: however they are cut, one error comes out and none of their words.
#[tokio::test]
async fn confusing_streams_are_one_error_however_they_are_cut() {
    let Some(cases) = lines("wpt-eventsource/cases.jsonl") else { return };
    let next: Arc<Mutex<(String, Vec<Vec<u8>>)>> = Arc::default();
    let scripted = next.clone();
    let upstream = Upstream::handling(move |_, mut connection| {
        let (media, pieces) = scripted.lock().unwrap().clone();
        async move {
            connection
                .send(format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n"))
                .await;
            for piece in pieces {
                connection.piece(piece).await;
            }
            connection.end_stream().await;
            Some(connection)
        }
    })
    .await;
    let proxy = Setup::new(upstream.url()).policy(OPEN).start().await;
    let token = proxy.token("ana");
    let unusable = json!({ "jsonrpc": "2.0", "id": 7,
        "error": { "code": -31502, "message": "The upstream server's answer is not usable" } });
    let mut tally: BTreeMap<u16, usize> = BTreeMap::new();
    for case in &cases {
        let media = case["content_type"].as_str().unwrap();
        let body = bytes_of(case, "body_base64");
        let cuts: [Vec<Vec<u8>>; 3] = [
            vec![body.clone()],
            body.chunks(1).map(<[u8]>::to_vec).collect(),
            body.split_inclusive(|byte| *byte == b'\r').map(<[u8]>::to_vec).collect(),
        ];
        let mut outcomes = Vec::new();
        for pieces in cuts {
            *next.lock().unwrap() = (media.to_owned(), pieces);
            let answer = proxy.ask(&Ask::call("2026-07-28", "x", &json!({})).token(&token)).await;
            let is_stream =
                media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
                    && !media.contains("windows-1252");
            assert_eq!(answer.status, if is_stream { 200 } else { 502 }, "{} {answer:?}", case["id"]);
            assert_eq!(answer.message(), unusable, "{}", case["id"]);
            *tally.entry(answer.status).or_default() += 1;
            outcomes.push(answer.body);
        }
        assert!(outcomes.iter().all(|body| *body == outcomes[0]), "{}", case["id"]);
    }
    println!("{} streams of wpt-eventsource, each cut in three ways: {tally:?}", cases.len());
    assert_eq!(cases.len(), 30);
}
