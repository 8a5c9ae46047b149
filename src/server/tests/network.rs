//! Over loopback sockets: time and number limits, several workers, HTTP/2.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{answer, exchange, limits, listener, read_until, recording, start};
use crate::config;
use crate::server::guard::{AuthorityError, authority};
use crate::server::{ServerError, bind};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn hasty() -> config::Limits {
    config::Limits { header_timeout: Duration::from_millis(40), keep_alive: Duration::from_millis(40), ..limits() }
}

#[tokio::test]
async fn closes_connections_that_owe_a_head() {
    let (server, record) = recording(config::Limits { header_timeout: Duration::from_millis(40), ..limits() });
    assert_eq!(exchange(server.address, b"").await, "");
    assert_eq!(exchange(server.address, b"GET / HTTP/1.1\r\nHost: a\r\n").await, "");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    read_until(&mut stream, "\r\n\r\n/").await;
    stream.write_all(b"GET / HT").await.unwrap();
    assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0);
    assert_eq!(record.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn closes_idle_connections_after_the_answer() {
    let (server, record) = recording(hasty());
    let answer = exchange(server.address, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(record.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_slow_call_is_not_an_idle_connection() {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let server = start(&listener(hasty(), 1), None, move |_, _| {
        let mut receiver = receiver.clone();
        async move {
            receiver.wait_for(|done| *done).await.unwrap();
            answer(StatusCode::OK, "late")
        }
    });
    let idle = exchange(server.address, b"").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    // Two more connections time out one after the other, so the limit has passed for this one too.
    assert_eq!((idle, exchange(server.address, b"").await, exchange(server.address, b"").await), Default::default());
    sender.send(true).unwrap();
    read_until(&mut stream, "late").await;
}

/// A body without end that says when it is given up.
struct Endless(tokio::sync::mpsc::UnboundedSender<()>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[b'x'; 8192])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let (sender, mut given_up) = tokio::sync::mpsc::unbounded_channel();
    let drain = super::Drain::new();
    let bound = bind(&listener(hasty(), 1)).unwrap();
    let address = bound.addresses()[0];
    let make = move |_| {
        let sender = sender.clone();
        move |_, _: Request<_>| std::future::ready(http::Response::new(Endless(sender.clone())))
    };
    bound.serve(None, &drain, make).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    given_up.recv().await.unwrap();
    drain.aborting().cancel();
    drain.closing().cancel();
}

#[tokio::test]
async fn idle_http2_connections_are_closed() {
    let (server, _) = recording(hasty());
    let io = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io);
    let (client, connection) = handshake.await.unwrap();
    connection.await.unwrap();
    drop(client);
    // One that never answers the farewell is cut off.
    assert_eq!(goaway(server.address, &[]).await, Some(0));
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_on() {
    let (server, record) = recording(limits());
    let mut bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\n\r\n".to_vec();
    bytes.resize(200_000, b'x');
    let answer = exchange(server.address, &bytes).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(record.lock().unwrap().is_empty());
}

#[tokio::test]
async fn connections_are_counted() {
    let (server, _) = recording(config::Limits { connections: 1, ..limits() });
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(GET).await.unwrap();
    read_until(&mut first, "\r\n\r\n/").await;
    assert_eq!(exchange(server.address, GET).await, "");
    first.shutdown().await.unwrap();
    assert_eq!(first.read(&mut [0; 64]).await.unwrap(), 0);
    // The place is free when the server has noticed, which it has at the latest when it answers again.
    loop {
        let mut next = TcpStream::connect(server.address).await.unwrap();
        if next.write_all(GET).await.is_ok() && next.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {
            break;
        }
    }
}

#[tokio::test]
async fn workers_share_a_port_that_nobody_else_gets() {
    let bound = bind(&listener(limits(), 4)).unwrap();
    let address = bound.addresses()[0];
    let taken = config::Listener { listen: vec![address], ..listener(limits(), 2) };
    assert!(matches!(bind(&taken), Err(ServerError::Bind { address: at, .. }) if at == address));
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let drain = super::Drain::new();
    bound
        .serve(None, &drain, move |number| {
            sender.send(number).unwrap();
            move |_, _: Request<_>| std::future::ready(answer(StatusCode::OK, number.to_string()))
        })
        .unwrap();
    let mut numbers = Vec::new();
    for _ in 0..4 {
        numbers.push(receiver.recv().await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3]);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(exchange(address, request).await.starts_with("HTTP/1.1 200 OK\r\n"));
    drain.aborting().cancel();
    drain.closing().cancel();
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let server = start(&listener(limits(), 1), None, |_, request| async move {
        assert_ne!(request.uri().path(), "/panic", "asked for");
        answer(StatusCode::OK, "fine")
    });
    assert_eq!(exchange(server.address, b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(exchange(server.address, request).await.ends_with("fine"));
}

type Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn http2(address: std::net::SocketAddr) -> Client {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::task::spawn(connection);
    client
}

#[tokio::test]
async fn http2_with_prior_knowledge_has_one_authority() {
    let server = start(&listener(limits(), 1), None, |_, request| {
        std::future::ready(match authority(&request) {
            Ok(one) => answer(StatusCode::OK, format!("{one} {:?}", request.version())),
            Err(error) => answer(StatusCode::BAD_REQUEST, error.to_string()),
        })
    });
    let mut client = http2(server.address).await;
    for (host, status) in [(None, 200), (Some("GW.test"), 200), (Some("evil.test"), 400)] {
        let mut request = Request::builder().uri("http://gw.test/mcp").version(Version::HTTP_2);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let response = client.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{host:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        if status == 200 {
            assert_eq!(body, "gw.test HTTP/2.0");
        }
    }
}

#[tokio::test]
async fn http2_header_lists_are_bounded() {
    let (server, record) = recording(limits());
    let mut client = http2(server.address).await;
    let request = Request::builder().uri("http://gw.test/").header("x", "y".repeat(40_000));
    let response = client.send_request(request.body(Empty::new()).unwrap()).await;
    assert!(response.is_err() || response.is_ok_and(|response| response.status() == 431));
    assert!(record.lock().unwrap().is_empty());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends the preface and `frames`; the code of the GOAWAY the server closes with.
async fn goaway(address: std::net::SocketAddr, frames: &[u8]) -> Option<u32> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frames);
    let (mut reader, mut writer) = stream.split();
    let mut got = Vec::new();
    // The server may close while we still write.
    let writing = async {
        let _ = writer.write_all(&bytes).await;
    };
    let ((), _) = tokio::join!(writing, reader.read_to_end(&mut got));
    let (mut rest, mut code) = (got.as_slice(), None);
    while let [a, b, c, kind, _, _, _, _, _, payload @ ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(payload) = payload.get(..length) else { break };
        if *kind == 7 {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        rest = &rest[9 + length..];
    }
    code
}

#[tokio::test]
async fn http2_floods_end_the_connection() {
    let (server, _) = recording(limits());
    // GET, http, path `/`, authority `a`, without Huffman coding.
    let head = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
    let mut resets = Vec::new();
    for number in 0..3000 {
        resets.extend(frame(1, 0x5, number * 2 + 1, &head));
        resets.extend(frame(3, 0, number * 2 + 1, &8_u32.to_be_bytes()));
    }
    assert_eq!(goaway(server.address, &resets).await, Some(ENHANCE_YOUR_CALM));
    let mut continuations = frame(1, 0, 1, &head);
    for _ in 0..3000 {
        continuations.extend(frame(9, 0, 1, &[]));
    }
    assert_eq!(goaway(server.address, &continuations).await, Some(ENHANCE_YOUR_CALM));
    let mut client = http2(server.address).await;
    let request = Request::builder().uri("http://gw.test/").body(Empty::new()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
}

#[test]
fn there_is_one_authority_or_an_error() {
    for (uri, hosts, expected) in [
        ("/", &["a"][..], Ok("a")),
        ("/", &["a:80"], Ok("a:80")),
        ("/", &["[::1]:8443"], Ok("[::1]:8443")),
        ("http://A/", &["a"], Ok("A")),
        ("http://a/", &[], Ok("a")),
        ("/", &[], Err(AuthorityError::Missing)),
        ("/", &["a", "a"], Err(AuthorityError::Mismatch)),
        ("http://a/", &["b"], Err(AuthorityError::Mismatch)),
        ("http://a/", &["a:80"], Err(AuthorityError::Mismatch)),
        ("/", &["user@a"], Err(AuthorityError::Malformed)),
        ("/", &[""], Err(AuthorityError::Malformed)),
        ("/", &["a/b"], Err(AuthorityError::Malformed)),
        ("/", &["a, b"], Err(AuthorityError::Malformed)),
        ("/", &["\u{e9}"], Err(AuthorityError::Malformed)),
        ("http://user@a/", &[], Err(AuthorityError::Malformed)),
    ] {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", host.as_bytes());
        }
        assert_eq!(authority(&request.body(()).unwrap()), expected, "{uri} {hosts:?}");
    }
}

/// The handler is given the connection's own ends.
#[tokio::test]
async fn a_peer_knows_both_ends() {
    let server = start(&listener(limits(), 1), None, |peer: Arc<crate::server::Peer>, _| {
        std::future::ready(answer(StatusCode::OK, format!("{} {} {}", peer.address, peer.local, peer.secure)))
    });
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    let expected = format!("{} {} false", stream.local_addr().unwrap(), server.address);
    read_until(&mut stream, &expected).await;
}
