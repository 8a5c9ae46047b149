//! One connection, and what is asked on it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use memchr::memmem;
use portcullis::clock::monotonic;

use super::gateway::Gateway;
use super::program::TEXT;
use super::wire::is_whole;

/// The call of an older client.
pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"open tickets"}}}"#;
const NEWER: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"open tickets"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// What is called, and in which era.
pub(crate) struct Call {
    path: &'static str,
    newer: bool,
}

impl Call {
    pub(crate) const fn newer(path: &'static str) -> Self {
        Self { path, newer: true }
    }

    pub(crate) const fn older(path: &'static str) -> Self {
        Self { path, newer: false }
    }
}

/// A client that has said hello, where its era does.
pub(crate) struct Client {
    stream: TcpStream,
    address: String,
    request: Vec<u8>,
    listen: Vec<u8>,
    read: Vec<u8>,
}

impl Client {
    pub(crate) fn open(gateway: &Gateway, call: &Call) -> Self {
        let address = gateway.address.clone();
        let authorization = format!("authorization: Bearer {}\r\n", gateway.token);
        let head = |verb: &str, fields: &str| {
            let accept = "accept: application/json, text/event-stream\r\n";
            format!("{verb} {} HTTP/1.1\r\nhost: {address}\r\n{authorization}{accept}{fields}", call.path)
        };
        let post = |fields: &str, body: &str| {
            let length = body.len();
            let kind = "content-type: application/json\r\n";
            format!("{}{kind}content-length: {length}\r\n\r\n{body}", head("POST", fields)).into_bytes()
        };
        let stream = connect(&address);
        let mut client =
            Self { stream, address: address.clone(), request: Vec::new(), listen: Vec::new(), read: Vec::new() };
        if call.newer {
            let fields = "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: search\r\n";
            client.request = post(fields, NEWER);
            return client;
        }
        let hello = client.exchange(&post("", HELLO));
        let session =
            hello.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).map(str::trim).unwrap_or_default();
        let fields = format!("mcp-protocol-version: 2025-11-25\r\nmcp-session-id: {session}\r\n");
        client.exchange(&post(&fields, READY));
        client.request = post(&fields, CALL);
        client.listen = format!("{}\r\n", head("GET", &fields)).into_bytes();
        client
    }

    /// Microseconds of each of so many calls, one after the other.
    pub(crate) fn calls(&mut self, count: usize) -> Vec<f64> {
        let request = std::mem::take(&mut self.request);
        let mut one = || {
            let sent = monotonic();
            let answer = self.exchange(&request);
            let micros = sent.elapsed().as_secs_f64() * 1e6;
            assert!(answer.contains(TEXT), "{answer}");
            micros
        };
        let times = (0..count).map(|_| one()).collect();
        self.request = request;
        times
    }

    /// So many streams, each on a connection of its own, that have begun.
    pub(crate) fn listen(&self, count: usize) -> Vec<TcpStream> {
        let one = || {
            let mut stream = connect(&self.address);
            stream.write_all(&self.listen).unwrap();
            let (mut read, mut piece) = (Vec::new(), [0; 1024]);
            while memmem::find(&read, b"\r\n\r\n").is_none() {
                let count = stream.read(&mut piece).unwrap();
                read.extend_from_slice(&piece[..count]);
                assert!(count > 0, "{}", String::from_utf8_lossy(&read));
            }
            assert!(read.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read));
            stream
        };
        (0..count).map(|_| one()).collect()
    }

    fn exchange(&mut self, request: &[u8]) -> String {
        self.stream.write_all(request).unwrap();
        self.read.clear();
        let mut piece = [0; 16 * 1024];
        while !is_whole(&self.read) {
            let count = self.stream.read(&mut piece).unwrap();
            self.read.extend_from_slice(&piece[..count]);
            assert!(count > 0, "the proxy hung up: {}", String::from_utf8_lossy(&self.read));
        }
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
