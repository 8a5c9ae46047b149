//! What holds for every answer to a client, whatever was asked.

use serde_json::Value;

use super::Answer;

/// Every header an answer may have.
const HEADERS: [&str; 21] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "dpop-nonce",
    "mcp-session-id",
    "retry-after",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "www-authenticate",
    "x-accel-buffering",
    "x-request-id",
    "mcp-protocol-version",
];

/// Words of the inside that no client may read.
const INSIDE: [&str; 6] = ["hyper", ".rs:", "panicked", "rustls", "tokio", "127.0.0.1:"];

/// Fails if a header is not on the list, a secret is anywhere, or a body is not what its type says.
pub(crate) fn check(answer: &Answer, secrets: &[String]) {
    for (name, value) in &answer.headers {
        assert!(HEADERS.contains(&name.as_str()), "header {name}: {value}");
        // An allowed page's own origin comes back.
        let words = if name == "access-control-allow-origin" { &[][..] } else { &INSIDE[..] };
        assert_clean(value, secrets, words);
    }
    let body = String::from_utf8_lossy(&answer.body);
    assert_clean(&body, secrets, &INSIDE[..5]);
    match answer.header("content-type") {
        Some("application/json") if body.contains("bearer_methods_supported") => {}
        Some("application/json") if body == r#"{"error":"not_found"}"# => assert_eq!(answer.status, 404),
        Some("application/json") => message(&answer.json()),
        Some("text/event-stream") => answer.messages().iter().for_each(message),
        Some(other) => panic!("content type {other}"),
        None => assert!(body.is_empty(), "a body without a type: {body}"),
    }
}

fn assert_clean(text: &str, secrets: &[String], words: &[&str]) {
    for secret in secrets.iter().map(String::as_str).chain(words.iter().copied()) {
        assert!(!text.contains(secret), "`{secret}` in {text}");
    }
}

/// JSON-RPC 2.0 as MCP has it.
pub(crate) fn message(message: &Value) {
    assert_eq!(message["jsonrpc"], "2.0", "{message}");
    let id = message.get("id");
    assert!(id.is_none_or(|id| id.is_string() || id.is_i64()), "{message}");
    let one_of = ["result", "error", "method"].iter().filter(|key| message.get(**key).is_some()).count();
    assert_eq!(one_of, 1, "{message}");
    if let Some(error) = message.get("error") {
        assert!(error["code"].is_i64() && error["message"].is_string(), "{message}");
    }
    if message.get("result").is_some() {
        assert!(id.is_some(), "{message}");
    }
}
