use std::path::Path;

use bytes::Bytes;
use data_encoding::BASE64;
use proptest::prelude::*;

use super::{Event, EventName, KEEP_ALIVE, Line, Outgoing, Splitter, SseError};
use crate::json::{Document, Limits};

const LIMIT: usize = 1 << 20;

fn split<'a>(limit: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Event, SseError>> {
    let mut splitter = Splitter::new(limit);
    let mut events = Vec::new();
    for chunk in chunks {
        splitter.feed(Bytes::copy_from_slice(chunk));
        while let Some(event) = splitter.next_event() {
            events.push(event);
        }
    }
    events
}

/// Every way the tests cut a stream: whole, byte by byte, behind each CR, and in two at each offset.
fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut cuts = vec![vec![bytes], bytes.chunks(1).collect(), bytes.split_inclusive(|byte| *byte == b'\r').collect()];
    cuts.extend((0..bytes.len()).map(|at| vec![&bytes[..at], &[], &bytes[at..]]));
    cuts
}

fn data_of(events: &[Result<Event, SseError>]) -> Vec<String> {
    let events = events.iter().map(|event| event.clone().unwrap());
    events.filter_map(|event| Some(String::from_utf8(event.data?.to_vec()).unwrap())).collect()
}

#[test]
fn reads_what_a_browser_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/wpt-eventsource/cases.jsonl");
    let Ok(cases) = std::fs::read_to_string(path) else {
        println!("skipped: no wpt-eventsource corpus");
        return;
    };
    let mut count = 0;
    for line in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let body = BASE64.decode(case["body_base64"].as_str().unwrap().as_bytes()).unwrap();
        for chunks in cuts(&body) {
            assert_eq!(as_dispatched(&split(LIMIT, chunks)), expected(&case), "{}", case["id"]);
        }
        count += 1;
    }
    println!("{count} streams of wpt-eventsource, each whole, per byte, per CR and in two at every offset");
    assert_eq!(count, 30);
}

/// Name, data and last id of each dispatched event, and the last pause.
type Dispatched = (Vec<(String, String, String)>, Option<u64>);

fn as_dispatched(events: &[Result<Event, SseError>]) -> Dispatched {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let (mut last_id, mut retry, mut seen) = (String::new(), None, Vec::new());
    for event in events {
        let event = event.clone().unwrap();
        last_id = event.id.as_ref().map_or(last_id, text);
        retry = event.retry.or(retry);
        let name = event.event.as_ref().map(text).filter(|name| !name.is_empty());
        if let Some(data) = &event.data {
            seen.push((name.unwrap_or("message".into()), text(data), last_id.clone()));
        }
    }
    (seen, retry)
}

fn expected(case: &serde_json::Value) -> Dispatched {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let events = case["expected_events"].as_array().unwrap().iter();
    (
        events.map(|event| (text(&event["event"]), text(&event["data"]), text(&event["id"]))).collect(),
        case["retry"].as_u64(),
    )
}

#[test]
fn keeps_priming_events_and_bare_pauses() {
    let events = split(LIMIT, [&b"retry: 500\nid: a\ndata:\n\nretry: 7\n\n: c\n\nid: b\r\n\r\n"[..]]);
    let events: Vec<_> = events.into_iter().map(Result::unwrap).collect();
    assert_eq!(events.len(), 3);
    assert_eq!((events[0].data.as_deref(), events[0].retry), (Some(&b""[..]), Some(500)));
    assert_eq!((events[1].data.as_deref(), events[1].retry), (None, Some(7)));
    assert_eq!(events[2].id.as_deref(), Some(&b"b"[..]));
}

#[test]
fn drops_what_no_blank_line_ends() {
    for stream in ["data: a", "data: a\n", "data: a\r", "data: a\r\n", ": x"] {
        for chunks in cuts(stream.as_bytes()) {
            assert!(split(LIMIT, chunks).is_empty(), "{stream:?}");
        }
    }
}

#[test]
fn knows_only_the_names_mcp_has() {
    let name = |stream: &str| split(LIMIT, [stream.as_bytes()])[0].clone().unwrap().name();
    assert_eq!(name("data: a\n\n"), Some(EventName::Message));
    assert_eq!(name("event: message\ndata: a\n\n"), Some(EventName::Message));
    assert_eq!(name("event:\ndata: a\n\n"), Some(EventName::Message));
    assert_eq!(name("event: endpoint\ndata: /m\n\n"), Some(EventName::Endpoint));
    assert_eq!(name("event: alice@example.com\ndata: a\n\n"), None);
}

#[test]
fn gives_up_on_endless_events_wherever_they_are_cut() {
    let long = format!("data: 1\n\ndata: {}\r\n\r\ndata: 2\n\n", "x".repeat(100));
    for chunks in cuts(long.as_bytes()) {
        let events = split(50, chunks);
        assert_eq!(data_of(&events[..1]), ["1"]);
        assert_eq!(events[1..], [Err(SseError::TooLong(50))]);
    }
    for stream in [format!(":{}", "x".repeat(60)), "a\n".repeat(30), "a\r\n".repeat(30)] {
        for chunks in cuts(stream.as_bytes()) {
            assert_eq!(split(50, chunks), [Err(SseError::TooLong(50))]);
        }
    }
    // One terminator a line, however it is spelled: exactly the limit is not over it.
    for stream in ["data: abc\n\n", "data: abc\r\n\r\n", "data: abc\r\r"] {
        for chunks in cuts(stream.as_bytes()) {
            assert_eq!(data_of(&split(10, chunks.clone())), ["abc"]);
            assert_eq!(split(9, chunks), [Err(SseError::TooLong(9))]);
        }
    }
}

#[test]
fn shares_the_memory_of_a_chunk_that_holds_the_event() {
    let chunk = Bytes::from_static(b"data: {\"a\":1}\n\ndata: {\"b\":2}\n\n");
    let mut splitter = Splitter::new(LIMIT);
    splitter.feed(chunk.clone());
    let mut held = 0;
    while let Some(event) = splitter.next_event() {
        let data = event.unwrap().data.unwrap();
        assert!(chunk.as_ptr_range().contains(&data.as_ptr()));
        held += 1;
    }
    assert_eq!(held, 2);
    assert!(!splitter.is_mid_event());
}

#[test]
fn one_message_is_one_line_for_every_peer() {
    let text = "{\r\n \"a\" :\n\"x\u{85}\u{2028}y\u{2029}é€\u{a0}\" }\n";
    let document = Document::parse(Bytes::from(text), &Limits::REQUEST).unwrap();
    let line = Line::of(&document);
    let line = std::str::from_utf8(line.as_bytes()).unwrap();
    assert_eq!(line, "{   \"a\" : \"x\\u0085\\u2028y\\u2029é€\u{a0}\" } ");
    let before: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap(), before);
    assert_eq!(Line::of_uri("/messages?x=1\n"), None);
}

#[test]
fn writes_nothing_but_its_own_fields() {
    let data = Line::of_json(Bytes::from_static(b"{}"));
    assert_eq!(Outgoing::message(&data).encode(), "data: {}\n\n");
    let full = Outgoing { name: EventName::Endpoint, id: Some("AQ-_"), retry: Some(u64::MAX), data: Some(&data) };
    assert_eq!(full.encode(), "event: endpoint\nid: AQ-_\nretry: 60000\ndata: {}\n\n");
    let priming = Outgoing { id: Some("A"), data: Some(&Line::empty()), ..Outgoing::message(&data) };
    assert_eq!(priming.encode(), "id: A\ndata:\n\n");
    let forged = Outgoing { id: Some("A\ndata: x"), ..Outgoing::message(&data) };
    assert_eq!(forged.encode(), "data: {}\n\n");
    assert!(split(LIMIT, [KEEP_ALIVE]).is_empty());
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("data: {\"a\":1}"),
        Just("data"),
        Just("data:"),
        Just("id: 7"),
        Just("id: \0"),
        Just("retry: 10"),
        Just("retry: x"),
        Just("event: message"),
        Just(": comment"),
        Just("\u{feff}"),
        Just("é"),
        Just(" "),
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("\n\n"),
        Just("\r\r"),
        Just("\r\n\r\n"),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn events_do_not_depend_on_chunking(stream in lines(), sizes in prop::collection::vec(0usize..9, 1..40), limit in 8usize..60) {
        let mut chunks = Vec::new();
        let (mut rest, mut sizes) = (&stream[..], sizes.into_iter().cycle());
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(sizes.next().unwrap().max(usize::from(chunks.len() > 100)).min(rest.len()));
            chunks.push(head);
            rest = tail;
        }
        prop_assert_eq!(split(limit, chunks), split(limit, [&stream[..]]));
    }

    #[test]
    fn what_is_written_reads_back_as_one_event(value in any::<String>(), pretty in any::<bool>()) {
        let value = serde_json::json!({ "a": value, "b": [1] });
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let wire = Outgoing::message(&Line::of_json(text.into())).encode();
        let events = split(LIMIT, [&wire[..]]);
        prop_assert_eq!(events.len(), 1);
        let data = events[0].clone().unwrap().data.unwrap();
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&data).unwrap(), value);
        let text = std::str::from_utf8(&data).unwrap();
        let is_one_line = !text.contains(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']);
        prop_assert!(is_one_line);
    }
}
