//! The other side: what leaves for an upstream, byte by byte, and what becomes of whatever it answers.

use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::clock::Timestamp;
use portcullis::demo::certificate;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Answer, Ask, Heard, Setup, Upstream, events, json_answer, raw_answer};

/// Everything a client may send that must never arrive.
const HOSTILE: [(&str, &str); 24] = [
    ("Accept-Encoding", "gzip, br"),
    ("Baggage", "userId=ana"),
    ("Cookie", "session=1"),
    ("Forwarded", "for=10.0.0.1;host=evil.test"),
    ("From", "ana@example.com"),
    ("Last-Event-ID", "41"),
    ("Mcp-Init-Host", "127.0.0.1:9102"),
    ("Origin", "https://gw.test"),
    ("Priority", "u=1"),
    ("Proxy-Authorization", "Basic eDp5"),
    ("Referer", "https://gw.test/"),
    ("Router-Key", "secret-api-key"),
    ("Sec-Fetch-Mode", "cors"),
    ("TE", "trailers"),
    ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("User-Agent", "evil/1"),
    ("Via", "1.1 a"),
    ("X-Api-Key", "of the caller"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Original-URL", "/ops/mcp"),
    ("X-Real-IP", "10.0.0.1"),
    ("X_Forwarded_User", "root"),
];

fn hostile(ask: Ask) -> Ask {
    HOSTILE.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
}

fn sorted(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    headers.sort();
    headers
}

/// The one request that was heard, with exactly these fields besides host and length.
fn only(upstream: &Upstream, ask: &Ask, fields: &[(&str, &str)]) -> Heard {
    let heard = upstream.take();
    assert_eq!(heard.len(), 1);
    let heard = heard[0].clone();
    let mut headers = heard.headers();
    headers.sort();
    let (host, length) = (upstream.address.to_string(), ask.body.len().to_string());
    let mut wanted = vec![("host", host.as_str()), ("accept-encoding", "identity")];
    if !ask.body.is_empty() {
        wanted.extend([("content-length", length.as_str()), ("content-type", "application/json")]);
        wanted.push(("accept", "application/json, text/event-stream"));
    }
    wanted.extend(fields);
    assert_eq!(headers, sorted(&wanted));
    assert_eq!(heard.body, ask.body, "the body must leave as it came");
    heard
}

#[tokio::test]
async fn what_leaves_is_written_by_the_proxy_and_has_nothing_of_the_callers_head() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    // Spellings that a parse and a rewrite would change.
    let body = "{ \"jsonrpc\":\"2.0\" ,\r\n\"id\":7, \"method\":\"tools/call\",\"params\":{\"name\":\"search_contacts\",\
                \"arguments\":{\"n\":9007199254740993,\"f\":1.10,\"e\":1E+2,\"u\":\"\\u00e9\\/\",\"z\":null}}}";
    let old = hostile(Ask::post(body)).header("Mcp-Method", "tools/list").header("Mcp-Param-Region", "x").token(&token);
    assert_eq!(proxy.ask(&old).await.status, 200);
    let heard = only(&upstream, &old, &[]);
    assert_eq!(heard.line(), "POST /mcp HTTP/1.1");

    let new = hostile(Ask::call("2026-07-28", "search_contacts", &json!({ "region": "emea" })))
        .header("Mcp-Session-Id", "of-nobody")
        .header("Mcp-Param-Region", "emea")
        .token(&token);
    assert_eq!(proxy.ask(&new).await.status, 200);
    only(
        &upstream,
        &new,
        &[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "search_contacts"),
            ("mcp-param-region", "emea"),
        ],
    );
}

#[tokio::test]
async fn chunked_requests_and_their_trailers_leave_framed_by_length() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let ask = Ask::call("2025-11-25", "search_contacts", &json!({ "query": "x" })).token(&proxy.token("ana"));
    let head = Ask { body: Vec::new(), ..ask.clone() }.header("Transfer-Encoding", "chunked").bytes();
    let mut client = proxy.client().await;
    client.send(&head).await;
    for piece in ask.body.chunks(17) {
        client.send(format!("{:x}\r\n", piece.len()).as_bytes()).await;
        client.send(&[piece, b"\r\n"].concat()).await;
    }
    client.send(b"0\r\nX-Evil: 1\r\nAuthorization: Bearer x\r\n\r\n").await;
    let answer = client.answer().await.unwrap();
    proxy.check(&answer);
    assert_eq!(answer.status, 200, "{answer:?}");
    only(&upstream, &ask, &[("mcp-protocol-version", "2025-11-25")]);
}

#[tokio::test]
async fn each_kind_of_upstream_auth_shows_the_proxys_own_credential() {
    for (keys, header) in [
        ("type = \"none\"", None),
        ("type = \"bearer\", token = { file = \"secret\" }", Some(("authorization", "Bearer of-the-proxy"))),
        (
            "type = \"basic\", username = \"gate\", password = { file = \"secret\" }",
            Some(("authorization", "Basic Z2F0ZTpvZi10aGUtcHJveHk=")),
        ),
        ("type = \"header\", name = \"X-Api-Key\", value = { file = \"secret\" }", Some(("x-api-key", "of-the-proxy"))),
    ] {
        let upstream = Upstream::answering(|heard| {
            // An upstream that says back all it was told.
            let headers: Vec<_> =
                heard.headers().iter().map(|(name, value)| format!("X-{name}: {value}\r\n")).collect();
            let headers = headers.concat();
            let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, heard.id());
            raw_answer(200, &format!("{headers}Content-Type: application/json\r\n"), body.as_bytes())
        })
        .await;
        let setup = Setup::new(upstream.url()).file("secret", "of-the-proxy\n");
        let proxy = setup.server(&format!("upstream_auth = {{ {keys} }}")).start().await;
        proxy.keep_secret("of-the-proxy".to_owned());
        let ask = Ask::legacy("tools/list", &json!({})).token(&proxy.token("ana"));
        assert_eq!(proxy.ask(&hostile(ask.clone())).await.status, 200);
        let version = ("mcp-protocol-version", "2025-11-25");
        only(&upstream, &ask, &header.into_iter().chain([version]).collect::<Vec<_>>());
        proxy.assert_not_kept("of-the-proxy").await;
    }
}

/// A TLS or plain HTTP/2 server that notes version, authority and header names.
async fn http2_upstream(tls: Option<tokio_rustls::TlsAcceptor>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let noted: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = noted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (notes, tls) = (notes.clone(), tls.clone());
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let notes = notes.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let mut names: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
                        names.sort_unstable();
                        let authority = head.uri.authority().map(|authority| authority.host().to_owned());
                        notes.lock().unwrap().push(format!("{:?} {authority:?} {names:?}", head.version));
                        let body = body.collect().await.unwrap().to_bytes();
                        let id = serde_json::from_slice::<serde_json::Value>(&body).unwrap()["id"].clone();
                        let text = json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string();
                        let answer = http::Response::builder().header("content-type", "application/json");
                        Ok::<_, std::convert::Infallible>(answer.body(Full::new(Bytes::from(text))).unwrap())
                    }
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = match tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
                        Err(_) => Ok(()),
                    },
                    None => builder.serve_connection(TokioIo::new(stream), service).await,
                };
            });
        }
    });
    (format!("localhost:{port}"), noted)
}

fn acceptor(made: &certificate::Certificates) -> tokio_rustls::TlsAcceptor {
    let chain = rustls_pki_types::CertificateDer::pem_slice_iter(made.cert_pem.as_bytes());
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(made.key_pem.expose().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key);
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config).into()
}

#[tokio::test]
async fn upstreams_with_tls_of_their_own_authority_and_with_http2() {
    portcullis::server::tls::install_default();
    let made = certificate::generate(Timestamp::now()).unwrap();
    let (secure, noted_secure) = http2_upstream(Some(acceptor(&made))).await;
    let (plain, noted_plain) = http2_upstream(None).await;
    let names = r#"["accept", "accept-encoding", "content-length", "content-type""#;
    let trusted = "upstream_ca_file = \"ca.pem\"";
    for (url, keys, noted, expected) in [
        (
            format!("https://{secure}/mcp"),
            trusted.to_owned(),
            &noted_secure,
            format!("HTTP/1.1 None {names}, \"host\"]"),
        ),
        (
            format!("https://{secure}/mcp"),
            format!("{trusted}\nupstream_http2 = true"),
            &noted_secure,
            format!("HTTP/2.0 Some(\"localhost\") {names}]"),
        ),
        (
            format!("http://{plain}/mcp"),
            "upstream_http2 = true".to_owned(),
            &noted_plain,
            format!("HTTP/2.0 Some(\"localhost\") {names}]"),
        ),
    ] {
        let proxy = Setup::new(url).file("ca.pem", &made.ca_pem).server(&keys).start().await;
        let answer = proxy
            .ask(&Ask::legacy("tools/list", &json!({})).without("MCP-Protocol-Version").token(&proxy.token("ana")))
            .await;
        assert_eq!(answer.status, 200, "{keys} {answer:?}");
        assert_eq!(std::mem::take(&mut *noted.lock().unwrap()), [expected], "{keys}");
    }
    // A certificate nobody vouches for: no request.
    let proxy = Setup::new(format!("https://{secure}/mcp")).start().await;
    let answer = proxy.ask(&Ask::legacy("tools/list", &json!({})).token(&proxy.token("ana"))).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_i64()), (502, Some(-31503)), "{answer:?}");
    assert!(noted_secure.lock().unwrap().is_empty());
}

/// What an upstream does, and what the client gets of it.
struct Broken {
    name: &'static str,
    answer: Vec<u8>,
    status: u16,
    code: i64,
    text: &'static str,
}

const UNUSABLE: &str = "The upstream server's answer is not usable";
const REFUSED: &str = "The upstream server refused the request";
const BROKE_OFF: &str = "The upstream server broke off";

fn broken(name: &'static str, answer: impl Into<Vec<u8>>, status: u16, code: i64, text: &'static str) -> Broken {
    Broken { name, answer: answer.into(), status, code, text }
}

fn json(body: &str) -> Vec<u8> {
    json_answer(200, body)
}

fn unusable(name: &'static str, answer: impl Into<Vec<u8>>) -> Broken {
    broken(name, answer, 502, -31502, UNUSABLE)
}

fn broken_answers() -> Vec<Broken> {
    let html = "<html>ana@private.example at 10.1.2.3</html>";
    let page =
        |status| raw_answer(status, "Content-Type: text/html\r\nServer: acme/1.2 (10.1.2.3)\r\n", html.as_bytes());
    let good = r#"{"jsonrpc":"2.0","id":7,"result":{"INSIDE":1}}"#;
    let own = "The upstream server refused the proxy's own credential";
    vec![
        broken("401", raw_answer(401, "WWW-Authenticate: Bearer realm=\"INSIDE\"\r\n", b""), 502, -31502, own),
        broken("403", page(403), 502, -31502, own),
        unusable("500", page(500)),
        unusable("503", page(503)),
        unusable("500 with JSON", json_answer(500, good)),
        unusable("page", page(200)),
        broken("404 page", page(404), 404, -31502, REFUSED),
        broken("422 page", page(422), 422, -31502, REFUSED),
        unusable("redirect", raw_answer(307, "Location: http://127.0.0.1:9/ops/mcp\r\n", b"")),
        unusable(
            "gzip",
            raw_answer(200, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", good.as_bytes()),
        ),
        unusable(
            "gzip beside none",
            raw_answer(
                200,
                "Content-Type: application/json\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\n",
                good.as_bytes(),
            ),
        ),
        unusable(
            "gzip stream",
            raw_answer(200, "Content-Type: text/event-stream\r\nContent-Encoding: br\r\n", b"data: x\n\n"),
        ),
        unusable("charset", raw_answer(200, "Content-Type: application/json; charset=utf-16\r\n", good.as_bytes())),
        unusable(
            "two types",
            raw_answer(200, "Content-Type: application/json\r\nContent-Type: text/html\r\n", good.as_bytes()),
        ),
        unusable("no type", raw_answer(200, "", good.as_bytes())),
        unusable("202", raw_answer(202, "", b"")),
        unusable("204", "HTTP/1.1 204 No Content\r\n\r\n"),
        unusable("wrong id", json(r#"{"jsonrpc":"2.0","id":999,"result":{"INSIDE":1}}"#)),
        unusable("id of another type", json(r#"{"jsonrpc":"2.0","id":"7","result":{"INSIDE":1}}"#)),
        unusable("id with a fraction", json(r#"{"jsonrpc":"2.0","id":7.0,"result":{"INSIDE":1}}"#)),
        unusable("null id", json(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"INSIDE"}}"#)),
        unusable("no id", json(r#"{"jsonrpc":"2.0","result":{"INSIDE":1}}"#)),
        unusable("no version", json(r#"{"id":7,"result":{"INSIDE":1}}"#)),
        unusable(
            "result and error",
            json(r#"{"jsonrpc":"2.0","id":7,"result":{"INSIDE":1},"error":{"code":1,"message":"x"}}"#),
        ),
        unusable("a request", json(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#)),
        unusable(
            "a notification",
            json(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"INSIDE"}}"#),
        ),
        unusable("batch", json(&format!("[{good}]"))),
        unusable("two values", json(&format!("{good}{good}"))),
        unusable("duplicate key", json(r#"{"jsonrpc":"2.0","id":7,"result":{"INSIDE":1,"INSIDE":2}}"#)),
        unusable("other case", json(r#"{"jsonrpc":"2.0","id":7,"Result":{},"result":{"INSIDE":1}}"#)),
        unusable("bad UTF-8", json_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":\"INSIDE\xff\"}}")),
        unusable("lone surrogate", json(r#"{"jsonrpc":"2.0","id":7,"result":{"a":"INSIDE\ud800"}}"#)),
        unusable("mark", json("\u{feff}{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}")),
        unusable("not JSON", json("INSIDE")),
        unusable("empty", json("")),
        broken(
            "both framings",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nEVIL",
            502,
            -31502,
            BROKE_OFF,
        ),
        broken(
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            502,
            -31502,
            BROKE_OFF,
        ),
        broken(
            "gzip framing",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            502,
            -31502,
            BROKE_OFF,
        ),
        broken(
            "upgrade",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            502,
            -31502,
            BROKE_OFF,
        ),
        broken("not HTTP", "INSIDE INSIDE\r\n\r\n", 502, -31502, BROKE_OFF),
        broken("nothing", "", 502, -31502, BROKE_OFF),
        broken("cut head", "HTTP/1.1 200 OK\r\nContent-Ty", 502, -31502, BROKE_OFF),
        broken(
            "cut body",
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{good}"),
            502,
            -31502,
            BROKE_OFF,
        ),
        broken(
            "cut chunks",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"jso",
            502,
            -31502,
            BROKE_OFF,
        ),
        broken(
            "too large, said before",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{}",
                " ".repeat(5000)
            ),
            502,
            -31502,
            BROKE_OFF,
        ),
        broken(
            "too large, in chunks",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                format!("3e8\r\n{}\r\n", " ".repeat(1000)).repeat(9)
            ),
            502,
            -31502,
            BROKE_OFF,
        ),
        broken(
            "too many fields",
            format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\n{{}}", "X: y\r\n".repeat(101)),
            502,
            -31502,
            BROKE_OFF,
        ),
    ]
}

fn json_bytes(body: &[u8]) -> Vec<u8> {
    raw_answer(200, "Content-Type: application/json\r\n", body)
}

#[tokio::test]
async fn an_answer_that_is_not_mcps_becomes_one_of_our_own() {
    let next: Arc<Mutex<Vec<u8>>> = Arc::default();
    let scripted = next.clone();
    let upstream = Upstream::handling(move |_, mut connection| {
        let bytes = scripted.lock().unwrap().clone();
        async move {
            connection.send(bytes).await;
            None
        }
    })
    .await;
    let proxy = Setup::new(upstream.url()).listener("limits = { answer_bytes = \"4 KiB\" }").start().await;
    for secret in ["INSIDE", "ana@private.example", "10.1.2.3", "EVIL", "acme"] {
        proxy.keep_secret(secret.to_owned());
    }
    let token = proxy.token("ana");
    let mut wrong = Vec::new();
    for revision in ["2025-11-25", "2026-07-28"] {
        for Broken { name, answer, status, code, text } in broken_answers() {
            *next.lock().unwrap() = answer;
            let got = proxy.ask(&Ask::call(revision, "search_contacts", &json!({})).token(&token)).await;
            let wanted = format!(r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":{code},"message":"{text}"}}}}"#);
            // What seems to want a session is asked for one.
            let heard = upstream.take().iter().filter(|heard| heard.json()["method"] != "initialize").count();
            if got.status != status || got.text() != wanted || heard != 1 {
                wrong.push(format!("{name}: asked {heard} times, {got:?}\nwanted {status} {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let ends: Vec<_> = proxy.audit().into_iter().filter(|line| line["event"] == "end").collect();
    assert_eq!(ends.len(), 2 * broken_answers().len());
    assert!(ends.iter().all(|line| line["error"].is_string()));
    for secret in ["INSIDE", "ana@private.example", "10.1.2.3", "acme"] {
        proxy.assert_not_kept(secret).await;
    }
}

#[tokio::test]
async fn errors_that_are_the_upstreams_own_pass() {
    let next: Arc<Mutex<Vec<u8>>> = Arc::default();
    let scripted = next.clone();
    let upstream = Upstream::answering(move |_| scripted.lock().unwrap().clone()).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no such page"}}"#;
    for (status, answer, body, retry) in [
        (200, json(error), error, None),
        (400, json_answer(400, error), error, None),
        (404, json_answer(404, error), error, None),
        (
            429,
            raw_answer(429, "Retry-After: 17\r\nContent-Type: text/html\r\n", b"slow down"),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31429,"message":"The upstream server asks for fewer calls"}}"#,
            Some("17"),
        ),
        (
            429,
            raw_answer(429, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", b""),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31429,"message":"The upstream server asks for fewer calls"}}"#,
            None,
        ),
    ] {
        *next.lock().unwrap() = answer;
        for revision in ["2025-11-25", "2026-07-28"] {
            let got: Answer = proxy.ask(&Ask::of(revision, "tools/list", &json!({})).token(&token)).await;
            assert_eq!((got.status, got.text(), got.header("retry-after")), (status, body, retry), "{revision}");
        }
    }
}

#[tokio::test]
async fn notifications_are_accepted_without_a_word() {
    let next: Arc<Mutex<Vec<u8>>> = Arc::default();
    let scripted = next.clone();
    let upstream = Upstream::answering(move |_| scripted.lock().unwrap().clone()).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let ask = Ask::post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).token(&proxy.token("ana"));
    for (answer, status) in [
        (raw_answer(202, "X-Inside: 1\r\n", b""), 202),
        (json(r#"{"inside":1}"#), 202),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), 202),
        // Some call nothing text; nobody sees it.
        (raw_answer(202, "Content-Type: text/plain\r\n", b"ana@private.example"), 202),
    ] {
        *next.lock().unwrap() = answer;
        let got = proxy.ask(&ask).await;
        assert_eq!((got.status, got.text()), (status, ""), "{got:?}");
        only(&upstream, &ask, &[]);
    }
    *next.lock().unwrap() = events(b"data: x\n\n");
    let got = proxy.ask(&ask).await;
    assert!(got.status == 502 || got.body.is_empty(), "{got:?}");
    *next.lock().unwrap() = raw_answer(200, "Content-Type: text/html\r\n", b"<p>private.example");
    let got = proxy.ask(&ask).await;
    assert_eq!(got.status, 502, "{got:?}");
    assert!(!got.text().contains("private.example"), "{got:?}");
}

#[tokio::test]
async fn an_upstream_that_is_away_or_late_says_so() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let proxy = Setup::new(format!("http://{address}/mcp")).start().await;
    let ask = |token: &str| Ask::call("2026-07-28", "search_contacts", &json!({})).token(token);
    let got = proxy.ask(&ask(&proxy.token("ana"))).await;
    assert_eq!(got.status, 502);
    assert_eq!(
        got.text(),
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31503,"message":"The upstream server cannot be reached"}}"#
    );
    let late =
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31504,"message":"The upstream server did not answer in time"}}"#;
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"] {
        let upstream = Upstream::handling(move |_, mut connection| async move {
            connection.send(begun).await;
            connection.hung_up().await;
            None
        })
        .await;
        let proxy =
            Setup::new(upstream.url()).server("timeouts = { first_byte = \"50ms\", idle = \"50ms\" }").start().await;
        let got = proxy.ask(&ask(&proxy.token("ana"))).await;
        assert_eq!((got.status, got.text()), (504, late), "{begun:?}");
        assert_eq!(upstream.take().len(), 1);
    }
}

#[tokio::test]
async fn a_call_that_may_have_been_heard_is_never_made_twice() {
    let upstream = Upstream::handling(|heard, mut connection| async move {
        if heard.text().contains("first") {
            connection.send(json(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)).await;
            return Some(connection);
        }
        None
    })
    .await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let call = |query: &str| Ask::call("2026-07-28", "search_contacts", &json!({ "query": query })).token(&token);
    assert_eq!(proxy.ask(&call("first")).await.status, 200);
    assert_eq!(proxy.ask(&call("second")).await.status, 502);
    assert_eq!(upstream.take().len(), 2);
}

#[tokio::test]
async fn nothing_of_an_upstreams_head_reaches_the_client() {
    let fields = "Access-Control-Allow-Origin: *\r\nCache-Control: public, max-age=600\r\nContent-Encoding: identity\r\n\
                  Content-Language: INSIDE\r\nETag: \"INSIDE\"\r\nLink: <INSIDE>\r\nLocation: /INSIDE\r\n\
                  Mcp-Session-Id: INSIDE\r\nServer: INSIDE/1 (10.1.2.3)\r\nSet-Cookie: INSIDE=1\r\n\
                  Strict-Transport-Security: max-age=1\r\nTrailer: X-Inside\r\nWWW-Authenticate: Bearer realm=\"INSIDE\"\r\n\
                  X-Debug-User: INSIDE\r\nX-Request-Id: INSIDE\r\n";
    let upstream = Upstream::answering(move |heard| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, heard.id());
        if heard.text().contains("streamed") {
            let body = format!("data: {body}\n\n");
            return raw_answer(200, &format!("{fields}Content-Type: text/event-stream\r\n"), body.as_bytes());
        }
        raw_answer(200, &format!("{fields}Content-Type: application/json;charset=UTF-8\r\n"), body.as_bytes())
    })
    .await;
    let proxy = Setup::new(upstream.url()).start().await;
    proxy.keep_secret("INSIDE".to_owned());
    for (query, names) in [
        ("whole", &["cache-control", "content-length", "content-type", "date", "x-request-id"][..]),
        (
            "streamed",
            &["cache-control", "content-type", "date", "transfer-encoding", "x-accel-buffering", "x-request-id"],
        ),
    ] {
        for revision in ["2025-11-25", "2026-07-28"] {
            let call = Ask::call(revision, "search_contacts", &json!({ "query": query }));
            let answer = proxy.ask(&call.token(&proxy.token("ana"))).await;
            let mut got: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
            got.sort_unstable();
            assert_eq!((answer.status, got.as_slice()), (200, names));
            assert!(answer.header("cache-control").unwrap().contains("no-store"));
        }
    }
}

#[tokio::test]
async fn a_server_without_a_standing_stream_says_so() {
    let upstream = Upstream::answering(|_| raw_answer(405, "Allow: POST\r\n", b"")).await;
    let proxy = Setup::new(upstream.url()).start().await;
    let listen = Ask::new("GET").header("Accept", "text/event-stream").token(&proxy.token("ana"));
    let answer = proxy.ask(&listen).await;
    assert_eq!(answer.status, 405, "{answer:?}");
    assert_eq!(upstream.take()[0].names(), ["accept", "accept-encoding", "host"]);
}

/// Many servers say who they are to a plain GET. A client that gets 200 takes it for a stream that broke off, and asks again.
#[tokio::test]
async fn who_listens_is_answered_with_a_stream_or_an_error() {
    let head = "Content-Type: application/json\r\n";
    for (what, answer) in [
        ("a page in JSON", raw_answer(200, head, br#"{"name":"crm","status":"ok"}"#)),
        ("nothing", raw_answer(200, "", b"")),
        ("no content", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
    ] {
        let upstream = Upstream::answering(move |_| answer.clone()).await;
        let proxy = Setup::new(upstream.url()).start().await;
        let listen = Ask::new("GET").header("Accept", "text/event-stream").token(&proxy.token("ana"));
        let answer = proxy.ask(&listen).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_i64()), (502, Some(-31502)), "{what}: {answer:?}");
    }
}

/// What the proxy asks for itself shows its own credential and nothing of any caller, and is asked once.
#[tokio::test]
async fn the_schema_of_a_tool_says_which_arguments_headers_repeat() {
    let upstream = Upstream::plain().await;
    let schema =
        json!({ "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } });
    upstream.offer(&json!([{ "name": "search_contacts", "inputSchema": schema }]));
    let setup = Setup::new(upstream.url()).file("secret", "of-the-proxy");
    let setup = setup.server("upstream_auth = { type = \"bearer\", token = { file = \"secret\" } }");
    let proxy = setup.start().await;
    let token = proxy.token("ana");
    let call = || Ask::call("2026-07-28", "search_contacts", &json!({ "region": "emea" })).token(&token);
    for (name, ask, status) in [
        ("repeated", call().header("Mcp-Param-Region", "emea"), 200),
        ("encoded", call().header("Mcp-Param-Region", "=?base64?ZW1lYQ==?="), 200),
        ("left out", call(), 400),
        ("another", call().header("Mcp-Param-Region", "amer"), 400),
        ("another case", call().header("Mcp-Param-Region", "EMEA"), 400),
        ("one nobody declared", call().header("Mcp-Param-Region", "emea").header("Mcp-Param-Odd", "x"), 200),
    ] {
        let answer = proxy.ask(&hostile(ask)).await;
        assert_eq!(answer.status, status, "{name} {answer:?}");
        if status == 400 {
            assert_eq!(answer.json()["error"]["code"], -32020, "{name}");
        }
        assert_eq!(upstream.take().len(), usize::from(status == 200), "{name}");
    }
    let [asked] = upstream.listings().try_into().unwrap();
    assert_eq!(
        asked.names(),
        [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "mcp-method",
            "mcp-protocol-version"
        ]
    );
    assert_eq!(asked.header("mcp-method").as_deref(), Some("tools/list"));
    assert_eq!(asked.header("authorization").as_deref(), Some("Bearer of-the-proxy"));
}

/// The proxy asks nothing on behalf of a call that is not going to be made.
#[tokio::test]
async fn a_denied_call_makes_the_proxy_ask_nothing() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    for tool in ["delete_contact", "update_contact", "no_such_tool"] {
        proxy.ask(&Ask::call("2026-07-28", tool, &json!({})).token(&proxy.token("ana"))).await;
    }
    assert_eq!((upstream.take().len(), upstream.listings().len()), (0, 0));
}
