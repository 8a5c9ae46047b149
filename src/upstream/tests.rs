use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::request::Request;
use super::{Answer, AnswerBody, BuildError, Pool, Upstream, UpstreamError};
use crate::config;

const SHORT: Duration = Duration::from_millis(30);

pub(in crate::upstream) fn server(url: &str) -> config::Server {
    config::Server {
        name: "crm".into(),
        path: "/crm".to_owned(),
        resource: "https://mcp.example.com/crm".to_owned(),
        backend: config::Backend::Http(vec![url.parse().unwrap()]),
        concurrency: config::Concurrency::default(),
        breaker: config::Breaker::default(),
        retries: config::Retries::default(),
        upstream_ca_file: None,
        upstream_http2: false,
        upstream_auth: config::UpstreamAuth::None,
        tool_auth: std::collections::BTreeMap::new(),
        upstream_client_certificate: None,
        identity: config::Identity::default(),
        issuers: Vec::new(),
        audiences: Vec::new(),
        policies: Vec::new(),
        resource_name: None,
        scopes_advertised: None,
        meta: Vec::new(),
        elicitation: config::Elicitation::default(),
        era: config::EraMode::default(),
        transport: config::Transport::default(),
        sessions: config::Sharing::default(),
        session_idle: config::SessionIdle::default(),
        sse_path: None,
        access: config::Access::default(),
        timeouts: config::Timeouts {
            connect: Duration::from_secs(20),
            first_byte: Duration::from_secs(20),
            idle: Duration::from_secs(20),
            total: Duration::from_secs(20),
        },
        tools: config::Tools::default(),
    }
}

fn made(server: &config::Server) -> Result<Arc<Upstream>, BuildError> {
    let config::Backend::Http(urls) = &server.backend else { panic!("a program") };
    Upstream::new(server, &urls[0])
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn upstream(address: SocketAddr) -> Arc<Upstream> {
    made(&server(&format!("http://{address}/mcp?v=1"))).unwrap()
}

fn hasty(address: SocketAddr, change: impl FnOnce(&mut config::Timeouts)) -> Arc<Upstream> {
    let mut server = server(&format!("http://{address}/mcp"));
    change(&mut server.timeouts);
    made(&server).unwrap()
}

fn request() -> Request {
    Request::post(b"{\"id\":1}")
}

async fn send(pool: &Pool, upstream: &Arc<Upstream>) -> Result<Box<Answer>, UpstreamError> {
    pool.send(upstream, &request()).await.map_err(|failed| failed.error)
}

/// Reads one request with a body of eight bytes.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n{\"id\":1}") {
        if stream.read_buf(&mut text).await.unwrap() == 0 {
            break;
        }
    }
    String::from_utf8(text).unwrap()
}

/// Whether the other side has closed the connection, with or without a reset.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 16];
    matches!(stream.read(&mut rest).await, Ok(0) | Err(_))
}

/// A raw upstream: the n-th connection answers its requests with the n-th texts, then waits for the close.
async fn scripted(connections: &'static [&'static [&'static str]]) -> (SocketAddr, oneshot::Receiver<Vec<String>>) {
    let (listener, address) = listener().await;
    let (done, seen) = oneshot::channel();
    start(async move {
        let mut requests = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in *answers {
                requests.push(read_request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            assert!(is_closed(&mut stream).await);
        }
        drop(done.send(requests));
    });
    (address, seen)
}

#[expect(clippy::disallowed_methods, reason = "the other side of a test")]
fn start(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

async fn whole(pool: &Pool, upstream: &Arc<Upstream>) -> Result<Bytes, UpstreamError> {
    send(pool, upstream).await?.body.collect_limited(1 << 20).await
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn sends_to_the_configured_place_and_keeps_the_connection() {
    let (address, seen) =
        scripted(&[&[OK, "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", OK]])
            .await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    assert_eq!(whole(&pool, &upstream).await.unwrap(), "ok");
    for status in [202, 204] {
        let answer = send(&pool, &upstream).await.unwrap();
        assert_eq!(answer.status, status);
        assert!(answer.body.is_end_stream());
        assert_eq!(pool.idle(&upstream), 1, "an empty body gives the connection back at once");
    }
    let mut answer = send(&pool, &upstream).await.unwrap();
    assert_eq!(pool.idle(&upstream), 0);
    assert_eq!(answer.body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    assert_eq!(pool.idle(&upstream), 1, "the last piece gives it back without another poll");
    assert!(answer.body.frame().await.is_none());

    pool.retain(&[Arc::clone(&upstream)]);
    assert_eq!(pool.idle(&upstream), 1);
    pool.retain(&[]);
    for text in seen.await.unwrap() {
        assert!(text.starts_with("POST /mcp?v=1 HTTP/1.1\r\n"), "{text}");
        assert!(text.contains(&format!("\r\nhost: {address}\r\n")), "{text}");
    }
}

#[tokio::test]
async fn uses_the_newest_idle_connection_first() {
    let (listener, address) = listener().await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    let (first, second, (mut one, mut two)) = tokio::join!(send(&pool, &upstream), send(&pool, &upstream), async {
        let (mut one, _) = listener.accept().await.unwrap();
        let (mut two, _) = listener.accept().await.unwrap();
        for stream in [&mut one, &mut two] {
            read_request(stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
        (one, two)
    });
    let (one_port, two_port) = (one.peer_addr().unwrap().port(), two.peer_addr().unwrap().port());
    assert_ne!(one_port, two_port);
    first.unwrap().body.collect_limited(9).await.unwrap();
    second.unwrap().body.collect_limited(9).await.unwrap();
    assert_eq!(pool.idle(&upstream), 2);
    let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
        tokio::select! {
            _ = read_request(&mut one) => panic!("the older connection was used"),
            _ = read_request(&mut two) => two.write_all(OK.as_bytes()).await.unwrap(),
        }
    });
    assert_eq!(answer.unwrap(), "ok");
}

#[tokio::test]
async fn refuses_ambiguous_framing_and_closes() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nEVIL!";
    for (head, kind) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "framing"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\nok", "framing"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "framing"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "framing"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\nok", "framing"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\nok", "framing"),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "framing"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", "framing"),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", "framing"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", "framing"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok", "framing"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n folded: yes\r\n\r\nok", "broken"),
        ("HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok", "broken"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\0\r\n\r\nok", "broken"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "framing"),
        ("HTTP/0.9 200 OK\r\n\r\nok", "broken"),
        ("ok", "broken"),
    ] {
        let (listener, address) = listener().await;
        let (pool, upstream) = (Pool::new(), upstream(address));
        let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(format!("{head}{EVIL}").as_bytes()).await.unwrap();
            if kind == "broken" {
                stream.shutdown().await.unwrap();
            }
            assert!(is_closed(&mut stream).await, "{head}");
        });
        assert_eq!(answer.unwrap_err().kind(), kind, "{head}");
        assert_eq!(pool.idle(&upstream), 0, "{head}");
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_end_the_connection() {
    const EVIL: &str =
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nEVIL!";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nEVIL!";
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\nEVIL!";
    let (address, seen) = scripted(&[&[EVIL], &[CHUNKED], &[EMPTY], &[OK]]).await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    for expected in ["ok", "ok", "", "ok"] {
        assert_eq!(whole(&pool, &upstream).await.unwrap(), expected);
    }
    drop(pool);
    assert_eq!(seen.await.unwrap().len(), 4);
}

#[tokio::test]
async fn bytes_on_an_idle_connection_are_nobodys_answer() {
    let (listener, address) = listener().await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    let (first, mut stream) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream
    });
    assert_eq!(first.unwrap(), "ok");
    assert_eq!(pool.idle(&upstream), 1);
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nEVIL!").await.unwrap();
    assert!(is_closed(&mut stream).await);
    let (second, ()) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
    });
    assert_eq!(second.unwrap(), "ok");
}

#[tokio::test]
async fn passes_over_informational_answers_but_not_for_ever() {
    let (address, _seen) = scripted(&[&[
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ]])
    .await;
    assert_eq!(whole(&Pool::new(), &upstream(address)).await.unwrap(), "ok");

    let (listener, address) = listener().await;
    let upstream = hasty(address, |timeouts| timeouts.first_byte = SHORT);
    let pool = Pool::new();
    let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    });
    assert_eq!(answer.unwrap_err().kind(), "timeout_first_byte");
}

#[tokio::test]
async fn does_not_follow_redirects() {
    let (address, seen) = scripted(&[&[
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:9/ops\r\ncontent-length: 0\r\n\r\n",
    ]])
    .await;
    let pool = Pool::new();
    let answer = send(&pool, &upstream(address)).await.unwrap();
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    drop((answer, pool));
    assert_eq!(seen.await.unwrap().len(), 1);
}

#[tokio::test]
async fn bounds_the_head() {
    let fields = |count: usize| {
        let fields = (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<Vec<_>>().concat();
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{fields}\r\nok")
    };
    let long = |bytes: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: {}\r\n\r\nok", "y".repeat(bytes));
    for (text, fits) in
        [(fields(99), true), (fields(100), false), (long(32_000), true), (long(33_000), false), (long(500_000), false)]
    {
        let (listener, address) = listener().await;
        let (pool, upstream) = (Pool::new(), upstream(address));
        let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            // The rest of a long head meets a closed connection.
            drop(stream.write_all(text.as_bytes()).await);
            drop(stream.shutdown().await);
        });
        match answer {
            Ok(body) => assert!(fits && body == "ok"),
            Err(error) => assert!(!fits && error.kind() == "too_large", "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_hang_up_reaches_the_upstream_at_once() {
    let (listener, address) = listener().await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    // While it sends, and while it has nothing to send.
    for sends in [true, false] {
        let (answer, mut stream) = tokio::join!(send(&pool, &upstream), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}9\r\ndata: 1\n\n\r\n").as_bytes()).await.unwrap();
            stream
        });
        let mut body = answer.unwrap().body;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
        drop(body);
        if sends {
            while stream.write_all(b"9\r\ndata: 2\n\n\r\n").await.is_ok() {}
        } else {
            assert!(is_closed(&mut stream).await);
        }
        assert_eq!(pool.idle(&upstream), 0);
    }
}

#[tokio::test]
async fn a_request_given_up_closes_its_connection() {
    let (listener, address) = listener().await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    let (asked, is_asked) = oneshot::channel();
    tokio::join!(
        async {
            tokio::select! {
                _ = send(&pool, &upstream) => panic!("nobody answered"),
                _ = is_asked => {}
            }
        },
        async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            asked.send(()).unwrap();
            assert!(is_closed(&mut stream).await);
        }
    );
    assert_eq!(pool.idle(&upstream), 0);
}

#[tokio::test]
async fn a_request_given_up_is_not_written_to_its_end() {
    const LENGTH: usize = 32 << 20;
    let (listener, address) = listener().await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    let long = Request { content: Bytes::from(vec![b' '; LENGTH]), ..request() };
    let begun = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        stream
    };
    let mut stream = tokio::select! {
        _ = pool.send(&upstream, &long) => panic!("nobody answered"),
        stream = begun => stream,
    };
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest).await);
    assert!(rest.len() < LENGTH);
}

#[tokio::test]
async fn sends_again_only_what_was_not_sent() {
    let (listener, address) = listener().await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    // A kept connection that ends before it has taken the request: that goes out on a new one.
    let (first, _stream) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream
    });
    first.unwrap();
    pool.replace_idle(&upstream, || Box::new(tokio::io::duplex(1).0));
    assert_eq!(pool.idle(&upstream), 1);
    let (second, mut stream) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream
    });
    assert_eq!(second.unwrap(), "ok");
    // A kept connection that takes the request and ends: it may have been carried out, so it is not sent again.
    let (third, ()) = tokio::join!(whole(&pool, &upstream), async {
        read_request(&mut stream).await;
        drop(stream);
    });
    assert_eq!(third.unwrap_err().kind(), "broken");
    assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "it was sent again");
}

#[tokio::test]
async fn a_cut_answer_is_broken() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconte",
    ] {
        let (listener, address) = listener().await;
        let (pool, upstream) = (Pool::new(), upstream(address));
        let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(text.as_bytes()).await.unwrap();
        });
        assert_eq!(answer.unwrap_err().kind(), "broken", "{text}");
    }
}

#[tokio::test]
async fn keeps_no_connection_that_is_to_close() {
    let (address, seen) = scripted(&[
        &["HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"],
        &["HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"],
        &[OK],
    ])
    .await;
    let (pool, upstream) = (Pool::new(), upstream(address));
    for _ in 0..3 {
        assert_eq!(whole(&pool, &upstream).await.unwrap(), "ok");
    }
    drop(pool);
    assert_eq!(seen.await.unwrap().len(), 3);
}

#[tokio::test]
async fn every_wait_has_an_end() {
    // No head.
    let (listener, address) = listener().await;
    let upstream = hasty(address, |timeouts| timeouts.first_byte = SHORT);
    let pool = Pool::new();
    let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        assert!(is_closed(&mut stream).await);
    });
    let error = answer.unwrap_err();
    assert!(error.kind() == "timeout_first_byte" && error.is_timeout() && !error.is_unreachable());

    // A pause in the body.
    let upstream = hasty(address, |timeouts| timeouts.idle = SHORT);
    let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await.unwrap();
        assert!(is_closed(&mut stream).await);
    });
    assert_eq!(answer.unwrap_err().kind(), "timeout_idle");

    // A body that never pauses and never ends.
    let upstream = hasty(address, |timeouts| timeouts.total = SHORT);
    let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    assert!(matches!(answer.unwrap_err().kind(), "timeout_total" | "too_large"));

    // The same with a length.
    let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(answer.unwrap_err().kind(), "timeout_total");

    // A TLS handshake nobody answers.
    let mut silent = server(&format!("https://{address}/mcp"));
    silent.timeouts.connect = SHORT;
    let authority = Authority::new();
    silent.upstream_ca_file = Some(authority.file.clone());
    let silent = made(&silent).unwrap();
    let error = whole(&pool, &silent).await.unwrap_err();
    assert!(error.kind() == "timeout_connect" && error.is_unreachable());

    // Nobody there, and no such name.
    drop(listener);
    assert_eq!(whole(&pool, &upstream).await.unwrap_err().kind(), "refused");
    let nameless = made(&server("http://name.invalid:1/")).unwrap();
    assert_eq!(whole(&pool, &nameless).await.unwrap_err().kind(), "resolve");
}

#[tokio::test]
async fn a_slow_reader_is_not_a_slow_upstream() {
    let (listener, address) = listener().await;
    let upstream = hasty(address, |timeouts| (timeouts.first_byte, timeouts.idle) = (SHORT, SHORT));
    let pool = Pool::new();
    let (answer, mut stream) = tokio::join!(send(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok").await.unwrap();
        stream
    });
    let mut body = answer.unwrap().body;
    tokio::time::sleep(4 * SHORT).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    tokio::time::sleep(4 * SHORT).await;
    stream.write_all(b"!!").await.unwrap();
    assert_eq!(body.collect_limited(9).await.unwrap(), "!!");
}

#[tokio::test]
async fn collects_up_to_the_limit() {
    const CHUNKS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\nx-trailer: 1\r\n\r\n";
    const ONE: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde";
    const HUGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\nabcde";
    const TO_THE_END: &str = "HTTP/1.1 200 OK\r\n\r\nabcde";
    for (text, limit, expected) in [
        (CHUNKS, 5, Some("abcde")),
        (CHUNKS, 4, None),
        (CHUNKS, 1, None),
        (ONE, 5, Some("abcde")),
        (ONE, 4, None),
        (LENGTH, 5, Some("abcde")),
        (LENGTH, 4, None),
        (LENGTH, 0, None),
        (HUGE, 1 << 24, None),
        (TO_THE_END, 5, Some("abcde")),
        (TO_THE_END, 4, None),
    ] {
        let (listener, address) = listener().await;
        let (pool, upstream) = (Pool::new(), upstream(address));
        let (answer, mut stream) = tokio::join!(send(&pool, &upstream), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(text.as_bytes()).await.unwrap();
            if text == TO_THE_END {
                stream.shutdown().await.unwrap();
            }
            stream
        });
        match (answer.unwrap().body.collect_limited(limit).await, expected) {
            (Ok(body), Some(expected)) => {
                assert_eq!(body, expected);
                assert_eq!(pool.idle(&upstream), usize::from(text != TO_THE_END));
            }
            (Err(error), None) => {
                assert_eq!(error.kind(), "too_large", "{text}");
                assert!(is_closed(&mut stream).await);
            }
            (got, _) => panic!("{text} to {limit}: {got:?}"),
        }
    }
}

#[test]
fn the_request_path_is_send() {
    fn is_send<T: Send>(_: &T) {}
    fn body<T: http_body::Body<Data = Bytes, Error = UpstreamError> + Send + Unpin>() {}
    let (pool, upstream) = (Pool::new(), made(&server("http://127.0.0.1:1/")).unwrap());
    is_send(&send(&pool, &upstream));
    body::<AnswerBody>();
}

#[test]
fn writes_authority_and_target_as_each_version_wants_them() {
    let ca = Authority::new();
    for (url, http2, authority, target) in [
        ("http://up.example/mcp", false, "up.example", "/mcp"),
        ("http://up.example:80", false, "up.example", "/"),
        ("https://up.example:8443/a%20b?q=1", false, "up.example:8443", "/a%20b?q=1"),
        ("http://[::1]:9/mcp", false, "[::1]:9", "/mcp"),
        ("https://up.example/mcp", true, "up.example", "https://up.example/mcp"),
        ("http://10.0.0.1:81/mcp?x", true, "10.0.0.1:81", "http://10.0.0.1:81/mcp?x"),
    ] {
        let mut server = server(url);
        (server.upstream_http2, server.upstream_ca_file) = (http2, Some(ca.file.clone()));
        let upstream = made(&server).unwrap();
        assert_eq!(upstream.authority(), authority);
        assert_eq!(upstream.uri.to_string(), target);
    }
    assert!(matches!(made(&server("ftp://up.example/")), Err(BuildError::Scheme(_))));
    assert!(matches!(made(&server("unix:/run/x")), Err(BuildError::Scheme(_))));
}

#[test]
fn every_setting_moves_the_pool_key() {
    let change = |change: &dyn Fn(&mut config::Server)| {
        let mut server = server("http://up.example/mcp");
        change(&mut server);
        made(&server).unwrap().id()
    };
    let ca = Authority::new();
    let same = change(&|_| {});
    assert_eq!(same, change(&|_| {}));
    let changes: [&dyn Fn(&mut config::Server); 7] = [
        &|server| server.name = "erp".into(),
        &|server| server.backend = config::Backend::Http(vec!["http://up.example/other".parse().unwrap()]),
        &|server| server.upstream_http2 = true,
        &|server| server.upstream_ca_file = Some(ca.file.clone()),
        &|server| server.upstream_auth = config::UpstreamAuth::Bearer(config::SecretSource::Env("A".to_owned())),
        &|server| server.timeouts.idle = SHORT,
        &|server| server.timeouts.connect = SHORT,
    ];
    for one in changes {
        assert_ne!(same, change(one));
    }
}

/// A certificate authority, and its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("portcullis-authority-{}-{count}.pem", std::process::id()));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    fn acceptor(&self, name: &str, protocol: &[u8]) -> tokio_rustls::TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = if protocol.is_empty() { Vec::new() } else { vec![protocol.to_vec()] };
        Arc::new(config).into()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}

#[tokio::test]
async fn speaks_tls_only_with_whom_it_should() {
    let (trusted, stranger) = (Authority::new(), Authority::new());
    for (authority, name, protocol, kind) in [
        (&trusted, "127.0.0.1", &b"http/1.1"[..], "ok"),
        (&trusted, "127.0.0.1", b"", "ok"),
        (&trusted, "other.example", b"http/1.1", "tls"),
        (&stranger, "127.0.0.1", b"http/1.1", "tls"),
        // No common protocol is a fatal alert (RFC 7301 section 3.2).
        (&trusted, "127.0.0.1", b"h2", "tls"),
    ] {
        let (listener, address) = listener().await;
        let mut server = server(&format!("https://{address}/mcp"));
        server.upstream_ca_file = Some(trusted.file.clone());
        let (pool, upstream) = (Pool::new(), made(&server).unwrap());
        let acceptor = authority.acceptor(name, protocol);
        let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut text = Vec::new();
                while !text.ends_with(b"{\"id\":1}") && matches!(stream.read_buf(&mut text).await, Ok(1..)) {}
                drop(stream.write_all(OK.as_bytes()).await);
            }
        });
        match answer {
            Ok(body) => assert!(kind == "ok" && body == "ok"),
            Err(error) => assert!(error.kind() == kind && error.is_unreachable(), "{name}: {error:?}"),
        }
    }
    let mut server = server("https://127.0.0.1/");
    server.upstream_ca_file = Some(std::env::temp_dir().join("portcullis-no-such-file.pem"));
    assert!(matches!(made(&server), Err(BuildError::CaFile { .. })));
}

#[tokio::test]
async fn http2_needs_an_agreement_under_tls() {
    let authority = Authority::new();
    for (protocol, kind) in [(&b"h2"[..], "ok"), (b"", "protocol"), (b"http/1.1", "tls")] {
        let (listener, address) = listener().await;
        let mut server = server(&format!("https://{address}/mcp"));
        (server.upstream_http2, server.upstream_ca_file) = (true, Some(authority.file.clone()));
        let acceptor = authority.acceptor("127.0.0.1", protocol);
        start(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_http2(TokioIo::new(stream), Served::default()).await;
            }
        });
        match whole(&Pool::new(), &made(&server).unwrap()).await {
            Ok(body) => assert!(kind == "ok" && body == format!("{address} None")),
            Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
        }
    }
}

/// What an HTTP/2 upstream of the tests has to tell.
#[derive(Clone, Default)]
struct Served {
    connections: Arc<AtomicUsize>,
    endless: bool,
    reset: Option<tokio::sync::mpsc::UnboundedSender<()>>,
}

/// Answers with authority and `Host`, or with a body that never ends and tells when it is dropped.
struct Told(Option<Bytes>, Served);

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(data) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(data)))),
            None if self.1.endless => std::task::Poll::Pending,
            None => std::task::Poll::Ready(None),
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(reset) = &self.1.reset {
            let _ = reset.send(());
        }
    }
}

async fn serve_http2<I>(io: I, served: Served)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    served.connections.fetch_add(1, Ordering::Relaxed);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let text = format!("{} {:?}", request.uri().authority().unwrap(), request.headers().get("host"));
        let served = served.clone();
        async move { Ok::<_, Infallible>(http::Response::new(Told(Some(text.into()), served))) }
    });
    drop(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await);
}

fn http2_upstream(address: SocketAddr, change: impl FnOnce(&mut config::Server)) -> Arc<Upstream> {
    let mut server = server(&format!("http://{address}/mcp"));
    server.upstream_http2 = true;
    change(&mut server);
    made(&server).unwrap()
}

#[tokio::test]
async fn http2_requests_share_one_connection_that_is_made_again() {
    let (listener, address) = listener().await;
    let served = Served::default();
    let (connections, (end, ended)) = (Arc::clone(&served.connections), oneshot::channel::<()>());
    start(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let first = serve_http2(TokioIo::new(stream), served.clone());
        tokio::select! { () = first => {}, _ = ended => {} }
        let (stream, _) = listener.accept().await.unwrap();
        serve_http2(TokioIo::new(stream), served).await;
    });
    let (pool, upstream) = (Pool::new(), http2_upstream(address, |_| {}));
    let (one, two, three) = tokio::join!(whole(&pool, &upstream), whole(&pool, &upstream), whole(&pool, &upstream));
    for body in [one, two, three] {
        assert_eq!(body.unwrap(), format!("{address} None"), "authority without a Host beside it");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    end.send(()).unwrap();
    // Until the close has arrived, a request may meet it; it is never sent twice for that.
    while let Err(error) = whole(&pool, &upstream).await {
        assert_eq!(error.kind(), "broken");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_http2_hang_up_resets_the_stream_and_keeps_the_connection() {
    let (listener, address) = listener().await;
    let (reset, mut is_reset) = tokio::sync::mpsc::unbounded_channel();
    let served = Served { endless: true, reset: Some(reset), ..Served::default() };
    let connections = Arc::clone(&served.connections);
    start(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve_http2(TokioIo::new(stream), served.clone()).await;
        }
    });
    let (pool, upstream) = (Pool::new(), http2_upstream(address, |server| server.timeouts.idle = SHORT));
    let mut body = send(&pool, &upstream).await.unwrap().body;
    body.frame().await.unwrap().unwrap();
    drop(body);
    is_reset.recv().await.unwrap();
    // The same for one that pauses too long.
    assert_eq!(whole(&pool, &upstream).await.unwrap_err().kind(), "timeout_idle");
    is_reset.recv().await.unwrap();
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_http2_upstream_that_does_not_answer_is_given_up() {
    let (listener, address) = listener().await;
    let (pool, upstream) = (Pool::new(), http2_upstream(address, |server| server.timeouts.first_byte = SHORT));
    assert_eq!(whole(&pool, &upstream).await.unwrap_err().kind(), "timeout_first_byte");
    // One that speaks HTTP/1.1.
    let (stream, _) = listener.accept().await.unwrap();
    drop(stream);
    let (pool, upstream) = (Pool::new(), http2_upstream(address, |_| {}));
    let (answer, ()) = tokio::join!(whole(&pool, &upstream), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
        while !is_closed(&mut stream).await {}
    });
    assert_eq!(answer.unwrap_err().kind(), "broken");
}

#[test]
fn answers_are_small() {
    assert!(size_of::<AnswerBody>() <= 160, "{}", size_of::<AnswerBody>());
    assert!(size_of::<UpstreamError>() <= 24);
}
