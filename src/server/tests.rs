//! The listening side from the outside: raw bytes in, raw bytes out.
#![expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]

mod admin;
mod drain;
mod network;
mod tls;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::drain::Drain;
use super::tls::Tls;
use super::{Peer, bind};
use crate::config;

/// A request whose body arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    /// Whether exactly one framing describes the message.
    fn is_canonical(&self) -> bool {
        let all = |name| self.headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
        match (all("content-length").as_slice(), all("transfer-encoding").as_slice()) {
            ([], []) => self.body.is_empty(),
            ([length], []) => *length == self.body.len().to_string().into_bytes(),
            ([], [coding]) => coding.eq_ignore_ascii_case(b"chunked"),
            _ => false,
        }
    }
}

type Record = Arc<Mutex<Vec<Seen>>>;

/// Reads the body, without trailers, notes the request, and answers `200` with the target as body.
async fn note(record: Record, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => return answer(StatusCode::BAD_REQUEST, "body"),
        }
    }
    let target = parts.uri.to_string();
    let seen = Seen { method: parts.method, target: target.clone(), headers: parts.headers, body: bytes };
    record.lock().unwrap().push(seen);
    answer(StatusCode::OK, target)
}

fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn limits() -> config::Limits {
    config::Limits {
        request_bytes: 1 << 20,
        answer_bytes: 16 << 20,
        event_bytes: 4 << 20,
        header_count: 100,
        header_bytes: 32 * 1024,
        connections: 10_000,
        connections_per_address: 10_000,
        refused_tokens: None,
        http2_streams: 100,
        header_timeout: Duration::from_secs(10),
        tls_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(30),
        keep_alive: Duration::from_mins(1),
    }
}

fn listener(limits: config::Limits, workers: usize) -> config::Listener {
    config::Listener {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        public_url: "http://localhost/".parse().unwrap(),
        tls: None,
        hsts: None,
        plain_http: false,
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        proxies: config::Proxies::default(),
        workers,
        limits,
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(25),
    }
}

/// A server that is ended when dropped.
struct Running {
    address: SocketAddr,
    drain: Drain,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.closing().cancel();
        self.drain.aborting().cancel();
    }
}

fn start<H, F>(listener: &config::Listener, tls: Option<&Arc<Tls>>, handler: H) -> Running
where
    H: Fn(Arc<Peer>, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let bound = bind(listener).unwrap();
    let address = bound.addresses()[0];
    let drain = Drain::new();
    bound.serve(tls, &drain, move |_| handler.clone()).unwrap();
    Running { address, drain }
}

/// A plain server that notes what it is asked.
fn recording(limits: config::Limits) -> (Running, Record) {
    let record = Record::default();
    let noted = Arc::clone(&record);
    let running = start(&listener(limits, 1), None, move |_, request| note(Arc::clone(&noted), request));
    (running, record)
}

/// Sends `bytes` and reads until the server closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads from `stream` until what came contains `wanted`.
async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), wanted: &str) -> String {
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(wanted) {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "closed before {wanted:?}: {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A folder of this test's own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("portcullis-server-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
