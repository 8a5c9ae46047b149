//! The masking map on the wire: every method of the table, in every revision that has it, both ways, as JSON and on a
//! stream. A method without a sample here fails the test.

use portcullis::mcp::Revision;
use portcullis::mcp::asked::ASKED_OF_CLIENTS;
use portcullis::mcp::methods::{METHODS, Method, Shape};
use serde_json::{Value, json};

use crate::support::{Ask, Heard, Proxy, Setup, Upstream, events, json_answer, raw_answer};

/// What is to go, wherever it stands.
const HIDDEN: &str = "ana@private.example";
const SHOWN: &str = "[EMAIL_ADDRESS]";
const MODERN: &str = "2026-07-28";
const REVISIONS: [Revision; 4] =
    [Revision::V2025_03_26, Revision::V2025_06_18, Revision::V2025_11_25, Revision::V2026_07_28];

const POLICY: &str = r#"
[policy]
name = "everything"
[[rule]]
id = "use"
tools = ["**"]
resources = ["**"]
resource_templates = ["**"]
prompts = ["**"]
[[rule]]
id = "ask"
methods = ["sampling/createMessage", "elicitation/**", "roots/list", "tasks/**", "notifications/tasks/**"]
[[mask]]
id = "both"
on = ["arguments", "result"]
entities = ["EMAIL_ADDRESS"]
"#;

/// What the method needs to be itself, with a text nobody knows beside it.
fn params(method: &str, task: &str) -> Value {
    let mut params = match method {
        "completion/complete" => {
            json!({ "ref": { "type": "ref/prompt", "name": "x" }, "argument": { "name": "a", "value": HIDDEN } })
        }
        "elicitation/create" => {
            json!({ "mode": "form", "message": HIDDEN, "requestedSchema": { "type": "object", "properties": {} } })
        }
        "initialize" => {
            json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": HIDDEN, "version": "1" } })
        }
        "logging/setLevel" => json!({ "level": "info" }),
        "notifications/cancelled" => json!({ "requestId": "up-0", "reason": HIDDEN }),
        "notifications/elicitation/complete" => json!({ "elicitationId": "e" }),
        "notifications/message" => json!({ "level": "info", "data": HIDDEN }),
        "notifications/progress" => json!({ "progressToken": "t", "progress": 1, "message": HIDDEN }),
        "notifications/subscriptions/acknowledged" => json!({ "notifications": {} }),
        "notifications/resources/updated" | "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            json!({ "uri": "crm://x" })
        }
        "notifications/tasks" | "notifications/tasks/status" => {
            json!({ "taskId": task, "status": "working", "statusMessage": HIDDEN, "createdAt": "2026-01-05T12:00:00Z",
                "lastUpdatedAt": "2026-01-05T12:00:00Z", "ttl": 60_000, "ttlMs": 60_000 })
        }
        "prompts/get" | "tools/call" => json!({ "name": "x", "arguments": { "to": HIDDEN } }),
        "sampling/createMessage" => {
            json!({ "maxTokens": 9, "messages": [{ "role": "user", "content": { "type": "text", "text": HIDDEN } }] })
        }
        "subscriptions/listen" => json!({ "notifications": { "toolsListChanged": true } }),
        "tasks/cancel" | "tasks/get" | "tasks/result" => json!({ "taskId": task }),
        "tasks/update" => {
            json!({ "taskId": task, "inputResponses": { "k": { "action": "accept", "content": { "a": HIDDEN } } } })
        }
        "notifications/initialized"
        | "notifications/prompts/list_changed"
        | "notifications/resources/list_changed"
        | "notifications/roots/list_changed"
        | "notifications/tools/list_changed"
        | "ping"
        | "prompts/list"
        | "resources/list"
        | "resources/templates/list"
        | "roots/list"
        | "server/discover"
        | "tasks/list"
        | "tools/list" => json!({}),
        _ => panic!("{method} has no sample"),
    };
    params["unknown to all"] = json!({ "deep": [format!("write {HIDDEN}.")] });
    params
}

/// What is answered to the method, with a text nobody knows beside it.
fn result(method: &str) -> Value {
    let task = json!({ "taskId": "up-task", "status": "working", "statusMessage": HIDDEN, "ttl": 60_000, "ttlMs": 60_000,
        "createdAt": "2026-01-05T12:00:00Z", "lastUpdatedAt": "2026-01-05T12:00:00Z", "resultType": "complete" });
    let mut result = match method {
        "completion/complete" => json!({ "completion": { "values": [HIDDEN] } }),
        "elicitation/create" => json!({ "action": "accept", "content": { "a": HIDDEN } }),
        "initialize" => {
            json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": HIDDEN, "version": "1" } })
        }
        "prompts/get" => json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": HIDDEN } }] }),
        "prompts/list" => json!({ "prompts": [{ "name": "x", "description": HIDDEN }] }),
        "resources/list" => json!({ "resources": [{ "uri": "crm://x", "name": HIDDEN }] }),
        "resources/read" => json!({ "contents": [{ "uri": "crm://x", "text": HIDDEN }] }),
        "resources/templates/list" => json!({ "resourceTemplates": [{ "uriTemplate": "crm://{id}", "name": HIDDEN }] }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///x", "name": HIDDEN }] }),
        "sampling/createMessage" => {
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": HIDDEN } })
        }
        "server/discover" => json!({ "supportedVersions": [MODERN], "capabilities": {}, "instructions": HIDDEN }),
        "tasks/cancel" | "tasks/get" => task,
        "tasks/list" => json!({ "tasks": [] }),
        "tasks/result" | "tools/call" => json!({ "content": [{ "type": "text", "text": HIDDEN }] }),
        "tools/list" => {
            json!({ "tools": [{ "name": "x", "description": HIDDEN, "inputSchema": { "type": "object" } }] })
        }
        _ => json!({}),
    };
    result["unknown to all"] = json!({ "deep": [format!("write {HIDDEN}.")] });
    result
}

fn masked(value: &Value) -> Value {
    serde_json::from_str(&value.to_string().replace(HIDDEN, SHOWN)).unwrap()
}

/// How the upstream answers.
#[derive(Clone, Copy, Debug)]
enum Form {
    Json,
    Stream,
    Error,
}

/// A server that begins a task where the tool is `task`, and answers everything else with its sample.
async fn upstream(form: Form) -> Upstream {
    Upstream::answering(move |heard: &Heard| {
        let message = heard.json();
        let Some(method) = message["method"].as_str() else { return raw_answer(202, "", b"") };
        if message.get("id").is_none() {
            return raw_answer(202, "", b"");
        }
        let begins = message["params"]["name"] == "task";
        let payload = match form {
            Form::Error if !begins => {
                json!({ "error": { "code": -32000, "message": HIDDEN, "data": { "at": [HIDDEN] } } })
            }
            _ if begins => json!({ "result": begun(message["params"].get("task").is_some()) }),
            _ => json!({ "result": result(method) }),
        };
        let mut answer = json!({ "jsonrpc": "2.0", "id": message["id"] });
        answer.as_object_mut().unwrap().extend(payload.as_object().unwrap().clone());
        match form {
            Form::Stream => events(format!("data: {answer}\n\n").as_bytes()),
            Form::Json | Form::Error => json_answer(200, &answer.to_string()),
        }
    })
    .await
}

fn begun(legacy: bool) -> Value {
    let task = json!({ "taskId": "up-task", "status": "working", "createdAt": "2026-01-05T12:00:00Z",
        "lastUpdatedAt": "2026-01-05T12:00:00Z", "ttl": 60_000, "ttlMs": 60_000, "resultType": "task" });
    if legacy { json!({ "task": task }) } else { task }
}

async fn start(upstream: &Upstream) -> Proxy {
    let proxy = Setup::new(upstream.url()).policy(POLICY).server("schema = \"off\"").start().await;
    proxy.keep_secret(HIDDEN.to_owned());
    proxy
}

fn ask(revision: Revision, method: &str, params: &Value, token: &str) -> Ask {
    let ask = Ask::of(revision.as_str(), method, params).token(token);
    if method == "initialize" {
        ask.without("MCP-Protocol-Version")
    } else {
        ask.with("MCP-Protocol-Version", revision.as_str())
    }
}

/// A task of this caller, as the client knows it; none before there were tasks.
async fn task(proxy: &Proxy, revision: Revision, token: &str) -> String {
    let mut params = json!({ "name": "task", "arguments": {} });
    if revision == Revision::V2025_11_25 {
        params["task"] = json!({ "ttl": 60_000 });
    }
    let answer = proxy.ask(&ask(revision, "tools/call", &params, token)).await.message();
    let result = &answer["result"];
    let id = result["task"].get("taskId").or(result.get("taskId"));
    id.and_then(Value::as_str).unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn rows() -> impl Iterator<Item = (Revision, &'static Method)> {
    REVISIONS.into_iter().flat_map(|revision| {
        METHODS.iter().filter(move |method| method.is_in(revision)).map(move |method| (revision, method))
    })
}

/// Whether nothing of a request reached the other side unmasked, and all the rest of it did.
fn assert_carried(heard: &Value, sent: &Value, told: &str) {
    let without_handles = |value: &Value| {
        let mut value = value.clone();
        for handle in ["taskId", "requestId", "_meta", "progressToken", "resultType", "cacheScope"] {
            value.as_object_mut().map(|members| members.remove(handle));
        }
        value
    };
    assert_eq!(without_handles(heard), without_handles(&masked(sent)), "{told}");
}

#[tokio::test]
async fn every_method_of_a_client_is_masked_both_ways() {
    let mut count = 0;
    for form in [Form::Json, Form::Stream, Form::Error] {
        let upstream = upstream(form).await;
        let proxy = start(&upstream).await;
        let token = proxy.token("ana");
        for (revision, method) in rows().filter(|(revision, method)| method.is_from_client(*revision)) {
            let told = format!("{} of {} as {form:?}", method.name, revision.as_str());
            let id =
                if revision >= Revision::V2025_11_25 { task(&proxy, revision, &token).await } else { String::new() };
            let sent = params(method.name, &id);
            upstream.take();
            let mut ask = ask(revision, method.name, &sent, &token);
            if method.shape == Shape::Notification {
                let mut message: Value = serde_json::from_slice(&ask.body).unwrap();
                message.as_object_mut().unwrap().remove("id");
                ask.body = message.to_string().into_bytes();
            }
            let answer = proxy.ask(&ask).await;
            let heard = upstream.take().pop().unwrap_or_else(|| panic!("{told}: {answer:?}"));
            assert!(!heard.head.contains(HIDDEN), "{told}");
            assert_carried(&heard.json()["params"], &sent, &told);
            count += 1;
            if method.shape == Shape::Notification {
                assert_eq!(answer.status, 202, "{told}");
                continue;
            }
            let message = answer.message();
            match form {
                Form::Error => {
                    let error = json!({ "code": -32000, "message": SHOWN, "data": { "at": [SHOWN] } });
                    assert_eq!(message["error"], error, "{told}");
                }
                _ => assert_carried(&message["result"], &result(method.name), &told),
            }
        }
        proxy.assert_not_kept(HIDDEN).await;
    }
    println!("{count} messages of clients");
}

/// On the stream of a call.
#[tokio::test]
async fn every_method_of_a_server_is_masked_both_ways() {
    let mut count = 0;
    for (revision, method) in rows().filter(|(revision, method)| method.is_from_server(*revision)) {
        let told = format!("{} of {}", method.name, revision.as_str());
        let sent = params(method.name, "up-task");
        let mut message = json!({ "jsonrpc": "2.0", "method": method.name, "params": sent });
        if method.shape == Shape::Request {
            message["id"] = json!("up-1");
        }
        let upstream = Upstream::answering(move |heard: &Heard| {
            let asked = heard.json();
            if asked.get("method").is_none() || asked.get("id").is_none() {
                return raw_answer(202, "", b"");
            }
            if asked["params"]["name"] == "task" {
                let result = begun(asked["params"].get("task").is_some());
                return json_answer(200, &json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }).to_string());
            }
            let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "content": [] } });
            events(format!("data: {message}\n\ndata: {answer}\n\n").as_bytes())
        })
        .await;
        let proxy = start(&upstream).await;
        let token = proxy.token("ana");
        if revision >= Revision::V2025_11_25 {
            task(&proxy, revision, &token).await;
        }
        let call = ask(revision, "tools/call", &json!({ "name": "x", "arguments": {} }), &token);
        let answer = proxy.ask(&call).await;
        let messages = answer.messages();
        let Some(got) = messages.iter().rfind(|message| message["method"] == method.name) else {
            // It names a request by an id the client was never told.
            assert_eq!(method.name, "notifications/cancelled", "{answer:?}");
            continue;
        };
        assert_carried(&got["params"], &sent, &told);
        count += 1;
        if method.shape == Shape::Request && ASKED_OF_CLIENTS.iter().any(|(name, _)| *name == method.name) {
            upstream.take();
            let back = json!({ "jsonrpc": "2.0", "id": got["id"], "result": result(method.name) });
            let back = Ask::post(back.to_string()).header("MCP-Protocol-Version", revision.as_str()).token(&token);
            assert_eq!(proxy.ask(&back).await.status, 202, "{told}");
            let [heard] = upstream.take().try_into().unwrap();
            assert_carried(&heard.json()["result"], &result(method.name), &told);
            count += 1;
        }
        proxy.assert_not_kept(HIDDEN).await;
    }
    println!("{count} messages of servers");
}
