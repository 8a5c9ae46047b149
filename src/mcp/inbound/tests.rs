use std::path::Path;

use bytes::Bytes;

use super::{Inbound, InboundError, admit_reply, admit_streamed};
use crate::json::{Document, Limits};
use crate::mcp::admit::tests::asked;
use crate::mcp::envelope::Flaw;
use crate::mcp::{Revision, RpcId};

fn reply(body: &str, id: &str) -> Result<Inbound, InboundError> {
    admit_reply(Bytes::copy_from_slice(body.as_bytes()), &asked(id))
}

fn streamed(body: &str, revision: Revision) -> Result<Inbound, InboundError> {
    admit_streamed(Bytes::copy_from_slice(body.as_bytes()), Some(&asked("1")), revision)
}

#[test]
fn the_answer_carries_the_asked_id_with_its_type() {
    for (asked, given) in [
        ("1", "1"),
        ("-7", "-7"),
        ("\"a\"", "\"a\""),
        ("\"a/b\"", "\"a\\/b\""),
        ("\"\\u00e9\"", "\"é\""),
        ("\"1\"", "\"\\u0031\""),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{given},"result":{{}}}}"#);
        assert!(matches!(reply(&body, asked), Ok(Inbound::Response { .. })), "{asked} {given}");
    }
    for (asked, given) in [("1", "999"), ("1", "\"1\""), ("\"1\"", "1"), ("\"a\"", "\"A\""), ("0", "1")] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{given},"result":{{"secret":1}}}}"#);
        assert_eq!(reply(&body, asked).unwrap_err(), InboundError::ForeignId);
    }
    for given in ["1.0", "1e0", "null", "[1]", "true", "-0"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{given},"result":{{}}}}"#);
        assert_eq!(reply(&body, "1").unwrap_err(), InboundError::Envelope(Flaw::Id));
    }
}

#[test]
fn refuses_answers_two_clients_could_read_differently() {
    for (body, error) in [
        (r#"{"jsonrpc":"2.0","id":1}"#, InboundError::Envelope(Flaw::Shape)),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
            InboundError::Envelope(Flaw::Shape),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":null}"#, InboundError::Envelope(Flaw::Shape)),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}"#, InboundError::Envelope(Flaw::Member)),
        (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, InboundError::Envelope(Flaw::Result)),
        (r#"{"jsonrpc":"2.0","id":1,"result":"x"}"#, InboundError::Envelope(Flaw::Result)),
        (r#"{"id":1,"result":{}}"#, InboundError::Envelope(Flaw::Version)),
        (r#"{"jsonrpc":"2.0","result":{}}"#, InboundError::Envelope(Flaw::Id)),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"message":""}}"#, InboundError::Envelope(Flaw::Error)),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","Message":"x"}}"#,
            InboundError::Envelope(Flaw::Error),
        ),
        (r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#, InboundError::Envelope(Flaw::Batch)),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"Content":[]}}"#, InboundError::DisguisedKey),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"tool\u017f":[]}}"#, InboundError::DisguisedKey),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"tools\u0000":[]}}"#, InboundError::DisguisedKey),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"\u0074ools":[]}}"#, InboundError::DisguisedKey),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","Name":"b"}]}}"#, InboundError::DisguisedKey),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputRequests":{"x":{"Method":"elicitation/create"}}}}"#,
            InboundError::DisguisedKey,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, InboundError::NotAnAnswer),
    ] {
        assert_eq!(reply(body, "1").unwrap_err(), error, "{body}");
    }
    assert!(matches!(reply(r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}"#, "1"), Err(InboundError::Json(_))));
    assert!(matches!(reply(r#"{"jsonrpc":"2.0","id":1,"result":{}} x"#, "1"), Err(InboundError::Json(_))));
    assert!(matches!(reply("<html>", "1"), Err(InboundError::Json(_))));
}

#[test]
fn data_may_hold_what_names_may_not() {
    let body = r#"{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"a":1,"A":2,"Name":3},"content":[]}}"#;
    assert!(reply(body, "1").is_ok());
}

#[test]
fn servers_ask_only_in_the_older_era() {
    let request = r#"{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{"message":"?"}}"#;
    assert!(matches!(streamed(request, Revision::V2025_06_18), Ok(Inbound::Request { .. })));
    assert_eq!(streamed(request, Revision::V2025_03_26).unwrap_err(), InboundError::Request);
    assert_eq!(streamed(request, Revision::V2026_07_28).unwrap_err(), InboundError::Request);
    for name in ["tools/call", "nobody/knows", "initialize"] {
        let request = format!(r#"{{"jsonrpc":"2.0","id":5,"method":"{name}"}}"#);
        assert_eq!(streamed(&request, Revision::V2025_11_25).unwrap_err(), InboundError::Request, "{name}");
    }
}

#[test]
fn unknown_notifications_are_dropped_and_the_stream_goes_on() {
    let note = |name: &str, revision| streamed(&format!(r#"{{"jsonrpc":"2.0","method":"{name}"}}"#), revision);
    assert!(matches!(note("notifications/message", Revision::V2026_07_28), Ok(Inbound::Notification { .. })));
    assert!(matches!(note("notifications/tasks", Revision::V2026_07_28), Ok(Inbound::Notification { .. })));
    for (name, revision) in [
        ("notifications/tasks", Revision::V2025_11_25),
        ("notifications/acme", Revision::V2025_11_25),
        ("notifications/initialized", Revision::V2025_11_25),
        ("notifications/subscriptions/acknowledged", Revision::V2025_11_25),
        ("tools/call", Revision::V2025_11_25),
    ] {
        let error = note(name, revision).unwrap_err();
        assert!(error.is_dropped(), "{name}");
    }
    assert!(!InboundError::ForeignId.is_dropped());
}

#[test]
fn admits_what_servers_are_published_to_send() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/mcp-traffic/schema-examples-2026-07-28.jsonl");
    let Ok(examples) = std::fs::read_to_string(path) else {
        println!("skipped: no published examples");
        return;
    };
    let (mut responses, mut results, mut notifications) = (0, 0, 0);
    for line in examples.lines() {
        let example: serde_json::Value = serde_json::from_str(line).unwrap();
        let (kind, value) = (example["type"].as_str().unwrap(), &example["value"]);
        let id = if value["id"].is_null() { "1".into() } else { value["id"].to_string() };
        let (text, count) = match kind {
            _ if kind.ends_with("ResultResponse") || value["error"].is_object() => (value.to_string(), &mut responses),
            _ if kind.ends_with("Result") => (format!(r#"{{"jsonrpc":"2.0","id":1,"result":{value}}}"#), &mut results),
            _ if kind.ends_with("Notification") => (value.to_string(), &mut notifications),
            _ => continue,
        };
        let admitted = admit_streamed(Bytes::from(text), Some(&asked(&id)), Revision::V2026_07_28);
        assert!(admitted.is_ok(), "{}: {admitted:?}", example["id"]);
        *count += 1;
    }
    println!(
        "published by 2026-07-28: {responses} responses, {results} results, {notifications} notifications admitted"
    );
    assert!(responses >= 14 && results >= 20 && notifications >= 8);
}

#[test]
fn admits_what_the_go_sdk_servers_send() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/mcp-traffic/go-sdk-messages.jsonl");
    let Ok(messages) = std::fs::read_to_string(path) else {
        println!("skipped: no go-sdk messages");
        return;
    };
    let mut count = 0;
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        if message["from"] != "server" {
            continue;
        }
        let id = message["msg"]["id"].to_string();
        let admitted = admit_streamed(message["msg"].to_string().into(), Some(&asked(&id)), Revision::V2025_11_25);
        assert!(admitted.is_ok(), "{}: {admitted:?}", message["id"]);
        count += 1;
    }
    println!("{count} messages of go-sdk servers admitted");
    assert_eq!(count, 45);
}

#[test]
fn reads_the_parts_of_a_message() {
    let reply = reply(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"m","data":[1]}}"#, "1").unwrap();
    assert!(reply.result().is_none() && reply.params().is_none());
    assert_eq!(reply.error().unwrap().pointer("/data/0").unwrap().as_i64(), Some(1));
    let document = Document::parse(Bytes::from_static(b"\"1\""), &Limits::REQUEST).unwrap();
    let id: RpcId = asked("1");
    assert!(!id.is(document.root()));
}
