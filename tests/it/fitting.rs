//! Masked data is still what the published schema of its tool says: checked as a client's SDK checks it.

use serde_json::{Value, json};

use crate::support::{Ask, Heard, Proxy, Setup, Upstream, events, json_answer};

const ERAS: [&str; 3] = ["2025-06-18", "2025-11-25", "2026-07-28"];
const POLICY: &str = "[policy]\nname = \"fit\"\n[[rule]]\nid = \"use\"\ntools = [\"*\"]\n\
    [[mask]]\nid = \"pii\"\non = [\"arguments\", \"result\"]\nentities = [\"CREDIT_CARD\", \"EMAIL_ADDRESS\", \"IP_ADDRESS\", \"US_SSN\"]\n";

fn output() -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": ["mail", "ssn", "pan", "hosts"], "properties": {
        "mail": { "type": "string", "format": "email" },
        "ssn": { "type": "string", "pattern": "^\\d{3}-\\d{2}-\\d{4}$" },
        "pan": { "type": "integer", "minimum": 1_000_000 },
        "short": { "type": "string", "maxLength": 8 },
        "plan": { "enum": ["free", "sales@example.com"] },
        "hosts": { "type": "array", "items": { "type": "string", "format": "ipv4" } } } })
}

fn input() -> Value {
    json!({ "type": "object", "required": ["to"], "additionalProperties": false,
        "properties": { "to": { "type": "string", "format": "email" }, "only": { "type": "string", "pattern": "^ana@example\\.com$" } } })
}

fn data() -> Value {
    json!({ "mail": "ana@private.example", "ssn": "536-22-1234", "pan": 4_111_111_111_111_111_u64, "short": "a@b.io",
        "plan": "sales@example.com", "hosts": ["10.1.2.3", "10.1.2.4"] })
}

/// A client reads the list of tools, then calls one, then holds the answer against the list.
async fn called(proxy: &Proxy, token: &str, revision: &str, tool: &str) -> (Value, Value) {
    let of = |method: &str, params: &Value| {
        Ask::of(revision, method, params).with("MCP-Protocol-Version", revision).token(token)
    };
    let list = proxy.ask(&of("tools/list", &json!({}))).await.message();
    let tools = list["result"]["tools"].as_array().unwrap().clone();
    let tool = tools.into_iter().find(|listed| listed["name"] == tool).unwrap();
    let params = json!({ "name": tool["name"], "arguments": { "to": "bo@private.example" } });
    let answer = proxy.ask(&of("tools/call", &params)).await.message();
    (tool["outputSchema"].clone(), answer["result"].clone())
}

fn is_valid(schema: &Value, value: &Value) -> bool {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap().is_valid(value)
}

fn tools() -> Value {
    let tight =
        json!({ "type": "object", "properties": { "m": { "type": "string", "pattern": "^ana@private\\.example$" } } });
    json!([{ "name": "look", "inputSchema": input(), "outputSchema": output() },
        { "name": "tight", "inputSchema": input(), "outputSchema": tight }])
}

fn scripted(heard: &Heard, streamed: bool) -> Vec<u8> {
    let asked = heard.json();
    let result = match (asked["method"].as_str().unwrap(), asked["params"]["name"].as_str()) {
        ("tools/list", _) => json!({ "tools": tools(), "ttlMs": 60_000 }),
        (_, Some("tight")) => json!({ "content": [], "structuredContent": { "m": "ana@private.example" } }),
        _ => json!({ "content": [{ "type": "text", "text": data().to_string() }], "structuredContent": data() }),
    };
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }).to_string();
    if streamed { events(format!("data: {answer}\n\n").as_bytes()) } else { json_answer(200, &answer) }
}

#[tokio::test]
async fn structured_content_is_valid_after_masking_and_its_copy_in_text_agrees() {
    assert!(is_valid(&output(), &data()));
    for streamed in [false, true] {
        let upstream = Upstream::answering(move |heard| scripted(heard, streamed)).await;
        upstream.offer(&tools());
        let proxy = Setup::new(upstream.url()).policy(POLICY).start().await;
        let token = proxy.token("ana");
        for secret in ["ana@private.example", "bo@private.example", "536-22-1234", "4111111111111111", "10.1.2.3"] {
            proxy.keep_secret(secret.to_owned());
        }
        for revision in ERAS {
            let (schema, result) = called(&proxy, &token, revision, "look").await;
            let masked = &result["structuredContent"];
            assert!(is_valid(&schema, masked), "{revision}: {result}");
            let copy: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
            assert_eq!(&copy, masked, "{revision}");
            assert_eq!(masked["plan"], "sales@example.com", "the schema shows it");
            // What went up is still what the input schema asks for.
            let heard = upstream.take().into_iter().find(|heard| heard.json()["method"] == "tools/call").unwrap();
            let arguments = heard.json()["params"]["arguments"].clone();
            assert!(is_valid(&input(), &arguments) && arguments["to"] != "bo@private.example", "{arguments}");
            // Where nothing fits, nothing is shown.
            let (_, refused) = called(&proxy, &token, revision, "tight").await;
            assert_eq!(refused["isError"], true, "{revision}: {refused}");
            upstream.take();
        }
    }
}

#[tokio::test]
async fn arguments_that_nothing_fits_do_not_go_up() {
    let upstream = Upstream::plain().await;
    upstream.offer(&tools());
    let proxy = Setup::new(upstream.url()).policy(POLICY).start().await;
    let token = proxy.token("ana");
    proxy.keep_secret("ana@example.com".to_owned());
    for revision in ERAS {
        let call = Ask::call(revision, "look", &json!({ "to": "x@example.com", "only": "ana@example.com" }));
        let answer = proxy.ask(&call.with("MCP-Protocol-Version", revision).token(&token)).await;
        assert_eq!(answer.message()["result"]["isError"], true, "{answer:?}");
    }
    assert!(upstream.take().is_empty());
}
