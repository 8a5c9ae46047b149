//! The guard and hyper together, over bytes in memory: what is refused, what passes, and in what pieces.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Record, Seen, limits, note};
use crate::server::Peer;
use crate::server::connection::{self, Desk, Settings};
use crate::server::watch::Roster;

/// A connection whose input is all there, handed out in pieces of one size; it stays open until the test ends it.
#[derive(Clone)]
struct Wire(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    input: Vec<u8>,
    at: usize,
    piece: usize,
    output: Vec<u8>,
    polls: usize,
    ended: bool,
    waiting: Option<Waker>,
}

impl Wire {
    /// Ends the input once nothing happens any more: a client that hangs up earlier takes its call with it.
    async fn end_when_quiet(&self) {
        let mut before = 0;
        loop {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            let mut line = self.0.lock().unwrap();
            if line.polls == before {
                line.ended = true;
                if let Some(waker) = line.waiting.take() {
                    waker.wake();
                }
                return;
            }
            before = line.polls;
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.lock().unwrap();
        let end = line.at.saturating_add(line.piece.min(buf.remaining())).min(line.input.len());
        if line.at == end && !line.ended {
            line.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(&line.input[line.at..end]);
        line.at = end;
        line.polls += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut line = self.0.lock().unwrap();
        line.output.extend_from_slice(bytes);
        line.polls += 1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Requests that reached the handler whole, and everything that was answered.
async fn serve(input: &[u8], piece: usize) -> (Vec<Seen>, String) {
    let record = Record::default();
    let noted = Arc::clone(&record);
    let handler = move |_: Arc<Peer>, request| note(Arc::clone(&noted), request);
    let address = "127.0.0.1:1".parse().unwrap();
    let peer = Arc::new(Peer::new(address, address));
    let wire = Wire(Arc::new(Mutex::new(Line { input: input.to_vec(), piece, ..Line::default() })));
    let desk = Desk { settings: Settings::new(&limits()), handler, calls: Arc::default() };
    let serving = connection::http1(wire.clone(), peer, desk, Roster::default().enrol());
    let both = async { tokio::join!(serving, wire.end_when_quiet()) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("the connection hangs");
    let seen = record.lock().unwrap().clone();
    let answer = String::from_utf8_lossy(&wire.0.lock().unwrap().output).into_owned();
    (seen, answer)
}

/// The same, whole and byte by byte: where packets are cut must not matter.
async fn both(input: &[u8]) -> (Vec<Seen>, String) {
    let whole = serve(input, usize::MAX).await;
    for piece in [1, 3] {
        let pieces = serve(input, piece).await;
        assert_eq!(whole.0, pieces.0, "in pieces of {piece}: {:?}", String::from_utf8_lossy(input));
    }
    whole
}

const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn refuses_what_has_two_readings() {
    for head in [
        // S1: framing
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
        // S1b: chunk framing
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n X: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: \0\r\n\r\n",
        // S2: lines
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\tfolded\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\t: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        // S4: authority
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n",
        // S5: connection options
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, authorization, mcp-name\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, host\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: MCP-Session-Id\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: x-gw-sub\r\n\r\n",
        // S8: methods and upgrades
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
    ] {
        let (seen, answer) = both(head.as_bytes()).await;
        assert_eq!((seen, answer.as_str()), (Vec::new(), REFUSED), "{head:?}");
    }
}

#[tokio::test]
async fn other_refusals_have_their_own_status() {
    let expectation = "POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 0\r\n\r\n";
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(32 * 1024));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(40 * 1024));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(100));
    for (input, status) in [(expectation, "417"), (&long, "431"), (&endless, "431"), (&many, "431")] {
        for piece in [usize::MAX, 1000] {
            let (seen, answer) = serve(input.as_bytes(), piece).await;
            assert!(seen.is_empty() && answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        }
    }
    let most = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(99));
    assert_eq!(both(most.as_bytes()).await.0.len(), 1);
}

#[tokio::test]
async fn lets_ordinary_requests_through() {
    for (input, body) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET / HTTP/1.0\r\n\r\n", ""),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET http://A:8080/x?y HTTP/1.1\r\nHost: a:8080\r\n\r\n", ""),
        ("DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", ""),
        ("POST / HTTP/1.1\r\nHost: a\r\ncontent-length:5\r\n\r\nhello", "hello"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t5 \r\nConnection: close\r\n\r\nhello", "hello"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n005\r\nhello\r\n00\r\n\r\n", "hello"),
        // A client that offers HTTP/2 in clear text gets its answer in HTTP/1.1.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n\r\n{}",
            "{}",
        ),
    ] {
        let (seen, answer) = both(input.as_bytes()).await;
        assert_eq!(seen.len(), 1, "{input:?}: {answer}");
        assert!(seen[0].is_canonical(), "{:?}", seen[0]);
        assert_eq!(String::from_utf8_lossy(&seen[0].body), body, "{input:?}");
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 OK\r\n"), "{input:?}: {answer}");
        assert!(!answer.contains("101"), "{answer}");
    }
}

#[tokio::test]
async fn every_pipelined_request_is_a_call_of_its_own() {
    let input = "POST /1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}\
                 POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n\
                 GET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    let (seen, answer) = both(input.as_bytes()).await;
    assert_eq!(seen.iter().map(|one| one.target.as_str()).collect::<Vec<_>>(), ["/1", "/2", "/3"]);
    assert_eq!(answer.matches(" 200 OK\r\n").count(), 3);
    assert!(seen[0].headers.contains_key("authorization") && !seen[1].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_refusal_follows_the_answers_before_it() {
    let good = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    let bad = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}";
    let (seen, answer) = both(format!("{good}{bad}{good}").as_bytes()).await;
    assert_eq!(seen.len(), 1);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(REFUSED), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer}");
}

#[tokio::test]
async fn nothing_is_read_after_the_last_request() {
    for input in [
        "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /1 HTTP/1.0\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /1 HTTP/1.0\r\nHost: a\r\n\r\nrubbish\0\n",
    ] {
        let (seen, answer) = both(input.as_bytes()).await;
        assert_eq!(seen.len(), 1, "{input:?}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{input:?}: {answer}");
    }
}

#[tokio::test]
async fn a_chunk_that_breaks_late_never_completes_a_body() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for piece in [1, 2, head.len()] {
        let (seen, answer) = serve(format!("{head}5\r\nhello\n0\r\n\r\n").as_bytes(), piece).await;
        assert!(seen.is_empty());
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn trailers_are_dropped() {
    let input = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n\
                 2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\nHost: b\r\n\r\n";
    let (seen, _) = both(input.as_bytes()).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, b"{}");
    assert!(!seen[0].headers.contains_key("authorization"));
}

/// Raw requests of a corpus beside the project; nothing when it is absent.
fn corpus(file: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no corpus {file}");
        return Vec::new();
    };
    let case = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let raw = value.get("raw_request_base64").or_else(|| value.get("raw_base64")).unwrap().as_str().unwrap();
        (value["id"].as_str().unwrap().to_owned(), data_encoding::BASE64.decode(raw.as_bytes()).unwrap())
    };
    text.lines().map(case).collect()
}

/// Checks every case in one piece and in small ones; how many ended with 0, 1 and more requests.
async fn run(file: &str, most: usize) -> [usize; 3] {
    let mut counts = [0; 3];
    for (id, raw) in corpus(file) {
        let (seen, answer) = both(&raw).await;
        assert!(seen.len() <= most, "{id}: {seen:?}");
        for one in &seen {
            assert!(one.is_canonical(), "{id}: {one:?}");
            assert!(!one.method.as_str().starts_with('X'), "{id}: {one:?}");
        }
        if seen.is_empty() {
            assert!(!answer.contains(" 200 OK"), "{id}: {answer}");
        }
        counts[seen.len().min(2)] += 1;
    }
    println!("{file}: {} refused, {} accepted, {} pipelined", counts[0], counts[1], counts[2]);
    counts
}

#[tokio::test]
async fn smuggler_never_gets_a_second_request() {
    let [refused, accepted, _] = run("smuggler/cases.jsonl", 1).await;
    assert!(refused + accepted == 0 || refused > 3000, "{refused} {accepted}");
}

#[tokio::test]
async fn http_garden_never_gets_a_second_request() {
    run("http-garden/cases.jsonl", 1).await;
}

#[tokio::test]
async fn fuzzed_requests_are_canonical_or_refused() {
    run("h2o-fuzz/http1-corpus.jsonl", usize::MAX).await;
}
