//! What others wrote to confuse readers, carried inside answers: it comes down as it is, or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use portcullis::mask::Entity;
use serde_json::json;

use crate::corpora::{bytes_of, folder, lines};
use crate::support::{Ask, Proxy, Setup, Upstream, json_answer};

const HIDDEN: &str = "ana@private.example";
const SHOWN: &str = "[EMAIL_ADDRESS]";

/// A script's next answer, in the pieces it is written in.
type Next = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that answers with the next pieces as they are, each written by itself.
async fn scripted(media: &'static str) -> (Upstream, Next) {
    let next: Next = Arc::default();
    let script = next.clone();
    let upstream = Upstream::handling(move |_, mut connection| {
        let pieces = script.lock().unwrap().clone();
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
    (upstream, next)
}

async fn start(upstream: &Upstream) -> Proxy {
    let entities: Vec<String> = Entity::ALL.iter().map(|entity| format!("\"{}\"", entity.name())).collect();
    let policy = format!(
        "[policy]\nname = \"open\"\n[[rule]]\nid = \"all\"\ntools = [\"**\"]\n\
         [[mask]]\nid = \"all\"\non = [\"arguments\", \"result\"]\nentities = [{}]\n",
        entities.join(", ")
    );
    Setup::new(upstream.url()).policy(policy).server("schema = \"off\"").start().await
}

fn by(length: usize, bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunks(length).map(<[u8]>::to_vec).collect()
}

/// A file that is JSON comes down in its own bytes; one that is none comes down as one error; both ways it is carried.
#[tokio::test]
async fn json_comes_down_in_its_own_bytes_or_not_at_all() {
    let Some(folder) = folder("jsontestsuite/test_parsing") else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for media in ["application/json", "text/event-stream"] {
        let (upstream, next) = scripted(media).await;
        let proxy = start(&upstream).await;
        let token = proxy.token("ana");
        let mut tally: BTreeMap<(char, bool), usize> = BTreeMap::new();
        for file in &files {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let fragment = std::fs::read(file).unwrap();
            if media == "text/event-stream" && fragment.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
                continue;
            }
            let before = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"structuredContent":{"v":"#;
            let message = [before, &fragment[..], b"}}}"].concat();
            let sent = if media == "application/json" { message } else { [b"data: ", &message[..], b"\n\n"].concat() };
            *next.lock().unwrap() = by(4096, &sent);
            // Numbers no reader of the tests takes are among them.
            let mut client = proxy.client().await;
            client.send(&Ask::call("2025-11-25", "x", &json!({})).token(&token).bytes()).await;
            let answer = client.answer().await.unwrap();
            // Lines some clients would split are spelled so on a stream that they do not.
            let spelled = if media == "application/json" { sent } else { escaped(&sent) };
            let passed = answer.body == spelled;
            let kind = name.chars().next().unwrap();
            match kind {
                'n' => assert!(!passed, "{name}"),
                'y' => assert!(passed || name.starts_with("y_object_duplicated_key"), "{name}: {answer:?}"),
                _ => {}
            }
            if !passed {
                assert_eq!(answer.message()["error"]["code"], -31502, "{media} {name}: {answer:?}");
            }
            *tally.entry((kind, passed)).or_default() += 1;
        }
        println!("jsontestsuite as {media}: {tally:?}");
        assert!(tally[&('n', false)] > 150 && tally[&('y', true)] > 80 && !tally.contains_key(&('n', true)));
    }
}

fn escaped(sent: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(sent) {
        Ok(text) => text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029").into_bytes(),
        Err(_) => sent.to_vec(),
    }
}

/// No naughty string is lost, changed or mistaken for personal data it is not, up or down.
#[tokio::test]
async fn naughty_strings_pass_as_they_are() {
    let Some(file) = folder("blns/blns.json") else { return };
    let strings: Vec<String> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let upstream = Upstream::answering(|heard| {
        let value = &heard.json()["params"]["arguments"]["v"];
        let result = json!({ "content": [{ "type": "text", "text": value }], "structuredContent": { "v": value } });
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let mut changed = Vec::new();
    for string in &strings {
        let ask = Ask::call("2025-11-25", "x", &json!({ "v": string })).token(&token);
        let answer = proxy.ask(&ask).await;
        let heard = upstream.take().pop().unwrap();
        if heard.body != ask.body {
            changed.push((string, heard.text()));
            continue;
        }
        let message = answer.message();
        let result = &message["result"];
        assert_eq!(result["content"][0]["text"], *string, "{answer:?}");
        assert_eq!(result["structuredContent"]["v"], *string, "{answer:?}");
    }
    println!("{} naughty strings, {} changed: {changed:?}", strings.len(), changed.len());
    assert!(changed.is_empty());
}

/// The streams of the splitter's corpus, each text in them a notification: however they are cut, the same messages come
/// down, masked, in one spelling.
#[tokio::test]
async fn confusing_streams_of_messages_come_down_in_one_spelling() {
    let Some(cases) = lines("wpt-eventsource/cases.jsonl") else { return };
    let (upstream, next) = scripted("text/event-stream").await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let result = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;
    let (mut carried, mut refused, mut others) = (0, 0, Vec::new());
    for case in cases.iter().filter(|case| case["content_type"].as_str().unwrap().starts_with("text/event-stream")) {
        let Ok(body) = String::from_utf8(bytes_of(case, "body_base64")) else { continue };
        let body = format!("{}\n\ndata: {result}\n\n", with_messages(&body));
        let mut answers = Vec::new();
        for length in [body.len(), 1, 7] {
            *next.lock().unwrap() = by(length, body.as_bytes());
            let answer = proxy.ask(&Ask::call("2025-11-25", "x", &json!({})).token(&token)).await;
            assert!(!answer.text().contains(HIDDEN), "{}: {answer:?}", case["id"]);
            answers.push(answer);
        }
        let texts: Vec<String> = answers.iter().map(|answer| spelling(answer.text())).collect();
        assert!(texts.iter().all(|text| *text == texts[0]), "{}: {texts:#?}", case["id"]);
        let messages = answers[0].messages();
        let (last, notices) = messages.split_last().unwrap();
        if last.get("error").is_some() {
            assert_eq!(last["error"]["code"], -31502, "{}", case["id"]);
            refused += 1;
            continue;
        }
        assert_eq!(last["result"], json!({ "content": [] }), "{}: {texts:#?}", case["id"]);
        for notice in notices {
            assert_eq!(notice["params"]["data"], format!("to {SHOWN}."), "{}", case["id"]);
        }
        // Those a browser would give to its page, in the end.
        let expected = case["expected_events"].as_array().unwrap().len();
        if notices.len() != expected {
            others.push((case["id"].clone(), notices.len(), expected));
        }
        carried += 1;
    }
    println!("wpt-eventsource: {carried} streams carried, {refused} refused; other than a browser: {others:?}");
    // One whose last event the answer behind it ends, one of another event name, and one of an event without text.
    assert_eq!((carried, refused, others.len()), (23, 5, 3));
}

/// The stream with the places in it, which are sealed anew for every reader, shown as such.
fn spelling(stream: &str) -> String {
    let lines = stream.lines().map(|line| if line.starts_with("id: ") { "id: sealed" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The parts of a notification, each on a line of its own where an event has that many.
fn notice(lines: usize) -> Vec<String> {
    let params = format!("\"params\":{{\"level\":\"info\",\"data\":\"to {HIDDEN}.\"}}}}");
    let mut parts =
        vec!["{\"jsonrpc\":\"2.0\",".to_owned(), "\"method\":\"notifications/message\",".to_owned(), params];
    while parts.len() > lines {
        let last = parts.pop().unwrap_or_default();
        parts.last_mut().unwrap().push_str(&last);
    }
    parts.resize(lines, " ".to_owned());
    parts
}

/// The stream with the texts of each event replaced by a notification, its framing as it was.
fn with_messages(body: &str) -> String {
    let is_text = |line: &&str| {
        line.trim_end_matches(['\n', '\r']).strip_prefix("data:").is_some_and(|text| !text.trim().is_empty())
    };
    let lines: Vec<&str> = body.split_inclusive(['\n', '\r']).collect();
    let mut out = String::new();
    for event in lines.split_inclusive(|line| line.trim_end_matches(['\n', '\r']).is_empty()) {
        let count = event.iter().copied().filter(is_text).count();
        let mut parts = if count > 0 { notice(count) } else { Vec::new() }.into_iter();
        for line in event {
            let text = line.trim_end_matches(['\n', '\r']);
            match is_text(line).then(|| parts.next()).flatten() {
                Some(part) => {
                    let space = if text.starts_with("data: ") { " " } else { "" };
                    out.extend(["data:", space, &part, &line[text.len()..]]);
                }
                None => out.push_str(line),
            }
        }
    }
    out
}
