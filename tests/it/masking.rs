//! What a mask hides it hides wherever it stands, both ways, and nothing else of a message changes.

use serde_json::{Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream, events, json_answer};

/// Stands for what is to be hidden.
const HIDDEN: &str = "ana@private.example";
/// Looks the same and stands where names and handles are, which are never rewritten.
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const KEPT: &str = "op@que.example";
const SHOWN: &str = "[EMAIL_ADDRESS]";

const POLICY: &str = r#"
[policy]
name = "everything"
[[rule]]
id = "use"
tools = ["*"]
resources = ["**"]
resource_templates = ["**"]
prompts = ["**"]
[[rule]]
id = "ask"
methods = ["sampling/createMessage", "elicitation/create", "roots/list", "tasks/*"]
[[mask]]
id = "down"
on = ["result"]
entities = ["EMAIL_ADDRESS"]
action = "redact"
[[mask]]
id = "up"
on = ["arguments"]
entities = ["EMAIL_ADDRESS"]
action = "redact"
[[mask]]
id = "stop"
on = ["arguments", "result"]
entities = ["SECRET"]
action = "block"
"#;

const OLD: &str = "2025-11-25";
const NEW: &str = "2026-07-28";
const BOTH: [&str; 2] = [OLD, NEW];

fn params_of(method: &str) -> Value {
    match method {
        "tools/call" | "prompts/get" => json!({ "name": "x", "arguments": {} }),
        "resources/read" => json!({ "uri": "crm://x" }),
        "completion/complete" => {
            json!({ "ref": { "type": "ref/prompt", "name": "x" }, "argument": { "name": "a", "value": "b" } })
        }
        "initialize" => json!({ "protocolVersion": OLD, "capabilities": {}, "clientInfo": {} }),
        _ => json!({}),
    }
}

/// Every row of the map, results: HIDDEN must go and KEPT must stay, all else as it was.
fn results() -> Vec<(&'static str, &'static [&'static str], Value)> {
    let block = |text: &str| json!({ "type": "text", "text": text });
    let old: &'static [&'static str] = &[OLD];
    let new: &'static [&'static str] = &[NEW];
    let both: &'static [&'static str] = &BOTH;
    let h = |before: &str| format!("{before} {HIDDEN}.");
    vec![
        ("tools/call", both, json!({ "content": [block(&h("text")), block("nothing")], "isError": true })),
        (
            "tools/call",
            both,
            json!({ "structuredContent": { "a": [{ "b": h("deep") }], "n": 1.50, "t": true }, "content": [] }),
        ),
        ("tools/call", both, json!({ "content": [block(&json!({ "inner": h("json in text") }).to_string())] })),
        (
            "tools/call",
            both,
            json!({ "content": [{ "type": "resource", "resource": { "uri": "crm://kept", "text": h("t"), "mimeType": "text/plain" } }] }),
        ),
        (
            "tools/call",
            both,
            json!({ "content": [{ "type": "resource_link", "uri": "crm://kept", "name": h("n"), "title": h("t"), "description": h("d") }] }),
        ),
        (
            "tools/call",
            both,
            json!({ "content": [{ "type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo=" }] }),
        ),
        ("tools/call", both, json!({ "content": [], "_meta": { "traceparent": PARENT, "tracestate": h("a") } })),
        (
            "tools/call",
            new,
            json!({ "resultType": "input_required", "inputRequests": {
            "one": { "method": "elicitation/create", "params": { "mode": "form", "message": h("m"),
                "requestedSchema": { "type": "object", "properties": { "p": { "type": "string", "title": h("t"), "description": h("d"), "default": h("x"), "enum": [KEPT] } } } } },
            "two": { "method": "sampling/createMessage", "params": { "systemPrompt": h("s"), "maxTokens": 5,
                "messages": [{ "role": "user", "content": block(&h("m")) }] } } } }),
        ),
        (
            "resources/read",
            both,
            json!({ "contents": [{ "uri": "crm://kept", "mimeType": "text/plain", "text": h("t") }] }),
        ),
        (
            "prompts/get",
            both,
            json!({ "description": h("d"), "messages": [{ "role": "user", "content": block(&h("m")) }] }),
        ),
        (
            "completion/complete",
            both,
            json!({ "completion": { "values": [HIDDEN, "b"], "total": 2, "hasMore": false } }),
        ),
        (
            "tools/list",
            both,
            json!({ "tools": [{ "name": "x", "title": h("t"), "description": h("d"),
            "annotations": { "title": h("a"), "readOnlyHint": true },
            "inputSchema": { "type": "object", "properties": { "p": { "type": "string", "description": h("d"), "title": h("t"),
                "default": h("x"), "examples": [h("e")], "enum": [KEPT], "const": KEPT, "pattern": KEPT } }, "required": ["p"] } }] }),
        ),
        (
            "resources/list",
            both,
            json!({ "resources": [{ "uri": "crm://kept", "name": h("n"), "title": h("t"), "description": h("d"), "size": 5 }] }),
        ),
        (
            "resources/templates/list",
            both,
            json!({ "resourceTemplates": [{ "uriTemplate": "crm://{id}", "name": h("n"), "description": h("d") }] }),
        ),
        (
            "prompts/list",
            both,
            json!({ "prompts": [{ "name": "x", "title": h("t"), "description": h("d"), "arguments": [{ "name": "a", "description": h("d") }] }] }),
        ),
        (
            "initialize",
            old,
            json!({ "protocolVersion": OLD, "capabilities": { "experimental": { "e": { "v": h("x") } } },
            "serverInfo": { "name": h("n"), "title": h("t"), "version": "1", "websiteUrl": h("w") }, "instructions": h("i") }),
        ),
        (
            "server/discover",
            new,
            json!({ "supportedVersions": [NEW], "capabilities": {}, "instructions": h("i"), "ttlMs": 0, "cacheScope": "private" }),
        ),
    ]
}

fn error() -> Value {
    json!({ "code": -32602, "message": format!("no {HIDDEN}"), "data": { "uri": format!("crm://{HIDDEN}"), "stack": [HIDDEN], "n": 1 } })
}

/// One upstream for a table: it answers with the case named by the id of the request.
async fn upstream_of(cases: Vec<String>, streamed: bool) -> Upstream {
    Upstream::answering(move |heard| {
        let id: usize = heard.json()["id"].as_u64().unwrap().try_into().unwrap();
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},{}}}"#, cases[id]);
        if streamed { events(format!("data: {answer}\n\n").as_bytes()) } else { json_answer(200, &answer) }
    })
    .await
}

fn numbered(ask: Ask, id: usize) -> Ask {
    let body = String::from_utf8(ask.body.clone()).unwrap().replacen("\"id\":7", &format!("\"id\":{id}"), 1);
    Ask { body: body.into(), ..ask }
}

async fn start(upstream: &Upstream) -> Proxy {
    let proxy = Setup::new(upstream.url()).policy(POLICY).start().await;
    proxy.keep_secret(HIDDEN.to_owned());
    proxy
}

#[tokio::test]
async fn every_place_of_every_result_is_masked_and_nothing_else_is_touched() {
    let mut cases = Vec::new();
    let mut asks = Vec::new();
    for (method, revisions, result) in results() {
        for revision in revisions {
            for payload in [format!("\"result\":{result}"), format!("\"error\":{}", error())] {
                asks.push((numbered(Ask::of(revision, method, &params_of(method)), cases.len()), *revision, method));
                cases.push(payload);
            }
        }
    }
    for streamed in [false, true] {
        let upstream = upstream_of(cases.clone(), streamed).await;
        let proxy = start(&upstream).await;
        let token = proxy.token("ana");
        for (at, (ask, revision, method)) in asks.iter().enumerate() {
            let answer = proxy.ask(&ask.clone().token(&token)).await;
            assert_eq!(answer.status, 200, "{method} {answer:?}");
            let wanted = format!(r#"{{"jsonrpc":"2.0","id":{at},{}}}"#, cases[at].replace(HIDDEN, SHOWN));
            let wanted = if streamed { format!("data: {wanted}\n\n") } else { wanted };
            assert_eq!(answer.text(), wanted, "{method} {revision}");
        }
        proxy.assert_not_kept(HIDDEN).await;
        assert!(proxy.audit().iter().any(|line| line["masked"][0]["entity"] == "EMAIL_ADDRESS"));
    }
    println!("{} answers, each as JSON and on a stream", asks.len());
}

/// What a server says besides, on a stream.
#[tokio::test]
async fn every_notification_and_server_request_is_masked() {
    let h = |before: &str| format!("{before} {HIDDEN}.");
    let both = [
        ("notifications/progress", json!({ "progressToken": KEPT, "progress": 1, "total": 2.50, "message": h("m") })),
        ("notifications/message", json!({ "level": "info", "logger": h("l"), "data": { "deep": [h("d")], "n": 1 } })),
        ("notifications/message", json!({ "level": "info", "data": HIDDEN })),
    ];
    let old = [
        (
            "sampling/createMessage",
            json!({ "systemPrompt": h("s"), "maxTokens": 5, "stopSequences": [h("q")], "metadata": { "m": h("m") },
            "messages": [{ "role": "user", "content": { "type": "text", "text": h("t") } },
                { "role": "assistant", "content": [{ "type": "tool_use", "id": KEPT, "name": "x", "input": { "to": h("i") } }] },
                { "role": "user", "content": [{ "type": "tool_result", "toolUseId": KEPT, "content": [{ "type": "text", "text": h("r") }], "structuredContent": { "s": h("c") } }] }] }),
        ),
        (
            "elicitation/create",
            json!({ "mode": "form", "message": h("m"), "requestedSchema": { "type": "object",
            "properties": { "p": { "type": "string", "description": h("d"), "enum": [KEPT] } } } }),
        ),
        (
            "elicitation/create",
            json!({ "mode": "url", "elicitationId": KEPT, "url": format!("https://a.test/?to={HIDDEN}"), "message": "m" }),
        ),
    ];
    for revision in BOTH {
        let sent: Vec<_> = both.iter().chain(if revision == OLD { old.iter() } else { [].iter() }).cloned().collect();
        let mut stream = String::new();
        for (at, (method, params)) in sent.iter().enumerate() {
            let id = if method.starts_with("notifications/") { String::new() } else { format!("\"id\":\"up-{at}\",") };
            let event = format!("data: {{\"jsonrpc\":\"2.0\",{id}\"method\":\"{method}\",\"params\":{params}}}\n\n");
            stream.push_str(&event);
        }
        stream.push_str("data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n");
        let upstream = Upstream::answering(move |_| events(stream.as_bytes())).await;
        let proxy = start(&upstream).await;
        let answer = proxy.ask(&Ask::call(revision, "x", &json!({})).token(&proxy.token("ana"))).await;
        let got = answer.messages();
        assert_eq!(got.len(), sent.len() + 1, "{answer:?}");
        for (message, (method, params)) in got.iter().zip(&sent) {
            let wanted: Value = serde_json::from_str(&params.to_string().replace(HIDDEN, SHOWN)).unwrap();
            assert_eq!((&message["method"], &message["params"]), (&json!(method), &wanted), "{revision}");
            assert!(!message["id"].as_str().is_some_and(|id| id.starts_with("up-")));
        }
        proxy.assert_not_kept(HIDDEN).await;
    }
}

#[tokio::test]
async fn every_place_of_every_argument_is_masked_on_its_way_up() {
    let h = |before: &str| format!("{before} {HIDDEN}.");
    let rows: Vec<(&str, &[&str], Value)> = vec![
        (
            "tools/call",
            &BOTH,
            json!({ "name": "x", "arguments": { "to": HIDDEN, "deep": [{ "b": h("t") }], "n": 9_007_199_254_740_993_u64, "json": json!({ "a": HIDDEN }).to_string() } }),
        ),
        (
            "tools/call",
            &BOTH,
            json!({ "name": "x", "arguments": {}, "_meta": { "progressToken": KEPT, "traceparent": PARENT, "tracestate": HIDDEN } }),
        ),
        (
            "tools/call",
            &[NEW],
            json!({ "name": "x", "arguments": {}, "inputResponses": {
            "one": { "action": "accept", "content": { "mail": HIDDEN } },
            "two": { "role": "assistant", "model": "m", "content": { "type": "text", "text": h("t") } } } }),
        ),
        ("prompts/get", &BOTH, json!({ "name": "x", "arguments": { "a": h("t") } })),
        (
            "completion/complete",
            &BOTH,
            json!({ "ref": { "type": "ref/prompt", "name": "x" }, "argument": { "name": "a", "value": HIDDEN }, "context": { "arguments": { "b": HIDDEN } } }),
        ),
        (
            "initialize",
            &[OLD],
            json!({ "protocolVersion": OLD, "capabilities": { "experimental": { "e": { "v": h("x") } } }, "clientInfo": { "name": h("n"), "title": h("t"), "version": "1", "websiteUrl": h("w") } }),
        ),
    ];
    let upstream = Upstream::plain().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    for (method, revisions, params) in rows {
        for revision in revisions {
            let ask = Ask::of(revision, method, &params);
            assert_eq!(proxy.ask(&ask.clone().token(&token)).await.status, 200, "{method}");
            let heard = upstream.take().pop().unwrap();
            let wanted = String::from_utf8(ask.body).unwrap().replace(HIDDEN, SHOWN);
            assert_eq!(heard.text(), wanted, "{method} {revision}");
            assert!(!heard.head.contains(HIDDEN));
        }
    }
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": KEPT, "reason": h("r") } });
    proxy.ask(&Ask::post(cancelled.to_string()).token(&token)).await;
    assert_eq!(upstream.take().pop().unwrap().text(), cancelled.to_string().replace(HIDDEN, SHOWN));
    proxy.assert_not_kept(HIDDEN).await;
}

#[tokio::test]
async fn headers_that_repeat_arguments_say_what_the_masked_argument_says() {
    let upstream = Upstream::plain().await;
    let proxy = start(&upstream).await;
    let encoded = data_encoding::BASE64.encode(format!("é {HIDDEN}").as_bytes());
    let ask = Ask::call(NEW, "x", &json!({ "to": HIDDEN, "other": format!("é {HIDDEN}"), "n": 42 }))
        .header("Mcp-Param-To", HIDDEN)
        .header("Mcp-Param-Other", &format!("=?base64?{encoded}?="))
        .header("Mcp-Param-N", "42")
        .token(&proxy.token("ana"));
    assert_eq!(proxy.ask(&ask).await.status, 200);
    let heard = upstream.take().pop().unwrap();
    assert_eq!(heard.header("mcp-param-to").as_deref(), Some(SHOWN));
    let other = heard.header("mcp-param-other").unwrap();
    let inner = other.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")).unwrap();
    let inner = data_encoding::BASE64.decode(inner.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(inner).unwrap(), format!("é {SHOWN}"));
    assert_eq!(heard.header("mcp-param-n").as_deref(), Some("42"));
    assert_eq!(heard.json()["params"]["arguments"]["to"], SHOWN);
}

#[tokio::test]
async fn a_blocked_result_is_not_shown_and_what_was_blocked_is_written_nowhere() {
    let key = "AKIAIOSFODNN7EXAMPLF";
    let cases: Vec<String> = vec![
        format!(r#""result":{{"content":[{{"type":"text","text":"the key is {key}"}}]}}"#),
        format!(r#""error":{{"code":1,"message":"the key is {key}"}}"#),
    ];
    for streamed in [false, true] {
        let upstream = upstream_of(cases.clone(), streamed).await;
        let proxy = start(&upstream).await;
        proxy.keep_secret(key.to_owned());
        let token = proxy.token("ana");
        for at in 0..cases.len() {
            for revision in BOTH {
                let answer = proxy.ask(&numbered(Ask::call(revision, "x", &json!({})), at).token(&token)).await;
                assert_eq!(answer.status, 200);
                let request_id = answer.header("x-request-id").unwrap();
                let text = format!("Blocked: result contained SECRET (rule stop). Request {request_id}");
                let result = &answer.message()["result"];
                assert_eq!(
                    (&result["isError"], &result["content"][0]["text"]),
                    (&json!(true), &json!(text)),
                    "{answer:?}"
                );
                // Not a tool call: an error.
                let read = Ask::of(revision, "resources/read", &json!({ "uri": "crm://x" }));
                let answer = proxy.ask(&numbered(read, at).token(&token)).await;
                assert_eq!(answer.message()["error"]["code"], -31403, "{answer:?}");
            }
        }
        assert_eq!(upstream.take().len(), 8);
        proxy.assert_not_kept(key).await;
    }
}

/// `_meta` is an allow-list both ways: the protocol's keys, trace context, and what the server's `meta` names.
#[tokio::test]
async fn foreign_meta_is_dropped_both_ways() {
    let upstream = Upstream::answering(|heard| {
        let result = json!({ "content": [], "_meta": { "com.acme/who": "x", "com.acme/ok": 1, "traceparent": "ana@example.com" } });
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await;
    let proxy = Setup::new(upstream.url()).policy(POLICY).server("meta = [\"com.acme/ok\"]").start().await;
    let params =
        json!({ "name": "x", "arguments": {}, "_meta": { "com.acme/evil": 1, "com.acme/ok": 2, "progressToken": 3 } });
    let answer = proxy.ask(&Ask::legacy("tools/call", &params).token(&proxy.token("ana"))).await;
    assert_eq!(answer.message()["result"]["_meta"], json!({ "com.acme/ok": 1 }));
    let heard = upstream.take().pop().unwrap().json();
    assert_eq!(heard["params"]["_meta"], json!({ "com.acme/ok": 2, "progressToken": 3 }));
}

/// What stands beside the words of a result: `_meta` of items, and icons that would call elsewhere.
#[tokio::test]
async fn items_have_no_foreign_meta_and_no_foreign_icons() {
    let upstream = Upstream::answering(|heard| {
        let icons = json!([{ "src": "https://track.test/i.png" }, { "src": "data:image/png;base64,iVBORw0KGgo=" }, { "src": "javascript:x" }]);
        let meta = json!({ "com.acme/who": "x", "progressToken": 1 });
        let result = match heard.json()["method"].as_str().unwrap() {
            "tools/list" => json!({ "tools": [{ "name": "x", "inputSchema": { "type": "object" }, "icons": icons, "_meta": meta }] }),
            _ => json!({ "content": [
                { "type": "resource_link", "uri": "crm://x", "name": "x", "icons": icons, "_meta": meta },
                { "type": "resource", "resource": { "uri": "crm://x", "text": "t", "_meta": meta } } ],
                "structuredContent": { "icons": icons, "_meta": meta } }),
        };
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let (icons, meta) = (json!([{ "src": "data:image/png;base64,iVBORw0KGgo=" }]), json!({ "progressToken": 1 }));
    for revision in BOTH {
        let list = proxy.ask(&Ask::of(revision, "tools/list", &json!({})).token(&token)).await.message();
        let tool = &list["result"]["tools"][0];
        assert_eq!((&tool["icons"], &tool["_meta"]), (&icons, &meta), "{list}");
        let call = proxy.ask(&Ask::call(revision, "x", &json!({})).token(&token)).await.message();
        let [link, resource] = [&call["result"]["content"][0], &call["result"]["content"][1]["resource"]];
        assert_eq!((&link["icons"], &link["_meta"], &resource["_meta"]), (&icons, &meta, &meta), "{call}");
        assert_eq!(call["result"]["structuredContent"]["icons"].as_array().map(Vec::len), Some(3));
    }
}

/// `blobs`, `keys`, `numbers` and `uris` of a mask.
#[tokio::test]
async fn places_that_are_no_text_are_treated_as_the_mask_says() {
    let key = r#""result":{"content":[],"structuredContent":{"op@que.example":1}}"#;
    let number = r#""result":{"content":[],"structuredContent":{"n":4111111111111111}}"#;
    let uri = r#""result":{"content":[{"type":"resource_link","uri":"crm://op@que.example","name":"n"}]}"#;
    let image = r#""result":{"content":[{"type":"image","mimeType":"image/png","data":"iVBORw0KGgoAAAANSUhEUg=="}]}"#;
    let cases = [
        ("keys = \"pass\"", key, Some(key)),
        ("keys = \"refuse\"", key, None),
        ("numbers = \"pass\"", number, Some(number)),
        ("numbers = \"refuse\"", number, None),
        ("numbers = \"mask\"", number, Some(r#""result":{"content":[],"structuredContent":{"n":0}}"#)),
        ("uris = \"pass\"", uri, Some(uri)),
        ("uris = \"refuse\"", uri, None),
        ("blobs = \"pass\"", image, Some(image)),
        ("blobs = \"block\"", image, None),
    ];
    for (option, result, passed) in cases {
        let upstream = upstream_of(vec![result.to_owned()], false).await;
        let mask = format!(
            "[[rule]]\nid = \"use\"\ntools = [\"*\"]\n[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\", \"CREDIT_CARD\"]\n{option}\n"
        );
        let proxy = Setup::new(upstream.url()).policy(mask).start().await;
        let answer = proxy.ask(&numbered(Ask::call(OLD, "x", &json!({})), 0).token(&proxy.token("ana"))).await;
        match passed {
            Some(passed) => assert_eq!(answer.text(), format!(r#"{{"jsonrpc":"2.0","id":0,{passed}}}"#), "{option}"),
            None => assert_eq!(answer.message()["result"]["isError"], true, "{option}: {answer:?}"),
        }
    }
}

/// A caller whose messages are blocked again and again is told to wait, and its calls are not made.
#[tokio::test]
async fn whoever_is_blocked_too_often_must_wait() {
    let upstream = Upstream::plain().await;
    let proxy = start(&upstream).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let call = Ask::call(OLD, "x", &json!({ "key": "AKIAIOSFODNN7EXAMPLF" })).token(&ana);
    let statuses: Vec<u16> = {
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(proxy.ask(&call).await.status);
        }
        statuses
    };
    assert_eq!(statuses.iter().take(30).filter(|status| **status == 200).count(), 30, "{statuses:?}");
    let answer = proxy.ask(&Ask::call(OLD, "x", &json!({})).token(&ana)).await;
    assert_eq!((answer.status, answer.message()["error"]["code"].clone()), (429, json!(-31429)), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert!(upstream.take().is_empty());
    assert_eq!(proxy.ask(&Ask::call(OLD, "x", &json!({})).token(&max)).await.status, 200);
}

/// RFC 2397 and the URL standard: `base64` in any case, with spaces before it.
#[tokio::test]
async fn a_data_url_is_looked_into_however_it_is_spelled() {
    let encoded = data_encoding::BASE64.encode(HIDDEN.as_bytes());
    let cases = [";base64,", ";BASE64,", "; Base64,", "; charset=utf-8;   bASE64,"].map(|mark| {
        format!(r#""result":{{"content":[{{"type":"text","text":"see data:text/plain{mark}{encoded}"}}]}}"#)
    });
    let upstream = upstream_of(cases.to_vec(), false).await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    for at in 0..cases.len() {
        let answer = proxy.ask(&numbered(Ask::call(OLD, "x", &json!({})), at).token(&token)).await;
        assert!(answer.text().contains("data:text/plain") && !answer.text().contains(&encoded), "{answer:?}");
    }
}

/// The HTML standard, "numeric character reference": the semicolon may be missing, and zeros stand before it.
#[tokio::test]
async fn a_character_is_one_however_its_reference_is_spelled() {
    let cases = ["&#64", "&#0000000000000064;", "&#x40", "&#X000000000000040;", "&#64;"]
        .map(|at| format!(r#""result":{{"content":[{{"type":"text","text":"mail ana{at}private.example now"}}]}}"#));
    let upstream = upstream_of(cases.to_vec(), false).await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    for at in 0..cases.len() {
        let answer = proxy.ask(&numbered(Ask::call(OLD, "x", &json!({})), at).token(&token)).await;
        assert!(answer.text().contains(SHOWN) && !answer.text().contains("private"), "{answer:?}");
    }
}
