use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{Connection, ask};
use crate::upstream::pool::{Sent, Shelf};
use crate::upstream::request::Request;
use crate::upstream::source::Source;
use crate::upstream::tests::server;
use crate::upstream::{Upstream, UpstreamError};

/// Far more than any buffer on the way holds.
const LONG: usize = 8 << 20;

fn upstream() -> Arc<Upstream> {
    Upstream::new(&server("http://up.example/"), &"http://up.example/".parse().unwrap()).unwrap()
}

fn request(content: Bytes) -> Request {
    Request { content, ..Request::post(b"") }
}

/// Reads the head of a request.
async fn take_head(stream: &mut DuplexStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

/// Answers the first request with `text`, and closes.
async fn answer(mut stream: DuplexStream, text: &[u8]) {
    take_head(&mut stream).await;
    drop(stream.write_all(text).await);
}

/// The status and the content of the answer `text`.
async fn read(text: &[u8]) -> Result<(u16, Bytes), UpstreamError> {
    let (near, far) = duplex(1 << 16);
    let (upstream, shelf, request) = (upstream(), Arc::<Shelf>::default(), request(Bytes::new()));
    let asking = ask(Connection::new(Box::new(near)), &upstream, &shelf, &request);
    let (answer, ()) = tokio::join!(asking, answer(far, text));
    let answer = answer.map_err(|failed| failed.error)?;
    Ok((answer.status.as_u16(), answer.body.collect_limited(1 << 20).await?))
}

/// The same as hyper reads it.
async fn read_by_hyper(text: &[u8]) -> Option<(u16, Bytes)> {
    let (near, far) = duplex(1 << 16);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    let request = http::Request::post("/").body(Full::new(Bytes::new())).unwrap();
    let reading = async {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.into_body().collect().await.ok()?.to_bytes()))
    };
    let (read, _, ()) = tokio::join!(reading, connection, answer(far, text));
    read
}

/// Parts that answers are made of, and others that do not belong there.
const PARTS: [&str; 24] = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "content-length: 3\r\n",
    "content-length: 0\r\n",
    "Content-Length: 13\r\n",
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\n",
    "connection: close\r\n",
    "x: y\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "3\r\nabc\r\n",
    "3\r\nabc\r\n",
    "d;x=y\r\n0123456789abc\r\n",
    "0\r\n\r\n",
    "0\r\nx: y\r\n\r\n",
    "abc",
    "3",
    " ",
    "\r",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// What is not refused is what hyper reads too.
    #[test]
    fn reads_an_answer_as_hyper_does(
        first in 0_usize..5,
        parts in prop::collection::vec(0..PARTS.len(), 0..9),
    ) {
        let text: String = [first].iter().chain(&parts).map(|part| PARTS[*part]).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if let Ok(read) = read(text.as_bytes()).await {
                assert_eq!(read_by_hyper(text.as_bytes()).await, Some(read), "{text:?}");
            }
        });
    }
}

#[tokio::test]
async fn refuses_what_hyper_reads_only_where_it_is_meant_to() {
    for (text, refused) in [
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nx: y\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\nabc", false),
    ] {
        let by_hyper = read_by_hyper(text.as_bytes()).await;
        assert_eq!(by_hyper, Some((200, Bytes::from_static(b"abc"))), "{text:?}");
        assert_eq!(read(text.as_bytes()).await.is_err(), refused, "{text:?}");
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_was_taken() {
    let (near, mut far) = duplex(1 << 10);
    let (upstream, shelf, long) = (upstream(), Arc::<Shelf>::default(), request(vec![b' '; LONG].into()));
    let asking = ask(Connection::new(Box::new(near)), &upstream, &shelf, &long);
    let (answer, far) = tokio::join!(asking, async {
        take_head(&mut far).await;
        far.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        far
    });
    let answer = answer.unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(answer.body.collect_limited(9).await.unwrap(), "no");
    assert!(shelf.take().is_none(), "half a request is on it");
    drop(far);
}

#[tokio::test]
async fn a_request_and_its_answer_may_pass_each_other() {
    let (near, mut far) = duplex(1 << 10);
    let (upstream, shelf, long) = (upstream(), Arc::<Shelf>::default(), request(vec![b'x'; LONG].into()));
    let exchange = async {
        let answer = ask(Connection::new(Box::new(near)), &upstream, &shelf, &long).await.unwrap();
        answer.body.collect_limited(LONG).await.unwrap()
    };
    let (content, far) = tokio::join!(exchange, async {
        take_head(&mut far).await;
        far.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n").as_bytes()).await.unwrap();
        let (mut part, mut left) = (vec![0; 1 << 10], LONG);
        while left > 0 {
            let read = far.read(&mut part).await.unwrap();
            far.write_all(&part[..read]).await.unwrap();
            left -= read;
        }
        far
    });
    assert!(content.len() == LONG && content.iter().all(|byte| *byte == b'x'));
    assert!(shelf.take().is_some(), "both are complete");
    drop(far);
}

#[tokio::test]
async fn says_whether_anything_was_sent() {
    let (upstream, shelf, request) = (upstream(), Arc::<Shelf>::default(), request(Bytes::from_static(b"{}")));
    for (before, sent) in [(None, Sent::Nothing), (Some(&b"HTTP/1.1 200 OK\r\n\r\n"[..]), Sent::Nothing)] {
        let (near, mut far) = duplex(1 << 10);
        match before {
            Some(text) => far.write_all(text).await.unwrap(),
            None => far.shutdown().await.unwrap(),
        }
        let failed = ask(Connection::new(Box::new(near)), &upstream, &shelf, &request).await.unwrap_err();
        assert_eq!(failed.sent, sent);
    }
    let (near, far) = duplex(1 << 10);
    let asking = ask(Connection::new(Box::new(near)), &upstream, &shelf, &request);
    let (failed, ()) = tokio::join!(asking, answer(far, b""));
    let failed = failed.unwrap_err();
    assert_eq!((failed.sent, failed.error.kind()), (Sent::Perhaps, "broken"));
}

#[tokio::test]
async fn content_of_a_known_length_is_gathered_where_all_of_it_is_wanted() {
    for (length, pieces) in [(100_000_usize, 1..=1), (5 << 20, 2..=9999)] {
        let (near, mut far) = duplex(1 << 16);
        let (upstream, shelf, request) = (upstream(), Arc::<Shelf>::default(), request(Bytes::new()));
        let asking = ask(Connection::new(Box::new(near)), &upstream, &shelf, &request);
        let text =
            [format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes(), &vec![b'x'; length]].concat();
        let writing = async {
            take_head(&mut far).await;
            far.write_all(&text).await.unwrap();
        };
        let reading = async {
            let mut answer = asking.await.unwrap();
            let Source::Http1(exchange) = answer.body.source_mut() else { panic!("not of a connection") };
            exchange.connection.gather(1 << 20);
            let (mut count, mut read) = (0, 0);
            while let Some(frame) = answer.body.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                count += usize::from(!piece.is_empty());
                read += piece.len();
            }
            (count, read)
        };
        let ((count, read), ()) = tokio::join!(reading, writing);
        assert!(read == length && pieces.contains(&count), "{length}: {count}");
    }
}
