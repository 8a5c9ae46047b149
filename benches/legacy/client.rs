//! One connection, and what is asked on it.

use std::fmt::Write as _;
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
const ASKED: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"open tickets"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}}}"#;
const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// What is called, and in which era.
pub(crate) struct Call {
    path: &'static str,
    body: &'static str,
    newer: bool,
}

impl Call {
    pub(crate) const fn newer(path: &'static str) -> Self {
        Self { path, body: NEWER, newer: true }
    }

    /// The same by a client whose server may ask it something.
    pub(crate) const fn asked(path: &'static str) -> Self {
        Self { path, body: ASKED, newer: true }
    }

    pub(crate) const fn older(path: &'static str) -> Self {
        Self { path, body: CALL, newer: false }
    }

    /// Whether its server has a stream of the session's own.
    pub(crate) fn listens(&self) -> bool {
        self.path == "/older"
    }
}

/// A client that has said hello, where its era does.
pub(crate) struct Client {
    stream: TcpStream,
    address: String,
    path: &'static str,
    /// The fields every request of it has.
    fields: String,
    body: &'static str,
    read: Vec<u8>,
}

impl Client {
    pub(crate) fn open(gateway: &Gateway, call: &Call) -> Self {
        Self::try_open(gateway, call).unwrap()
    }

    /// `None` where the proxy does not take it.
    pub(crate) fn try_open(gateway: &Gateway, call: &Call) -> Option<Self> {
        let address = gateway.address.clone();
        let fields = format!(
            "host: {address}\r\nauthorization: Bearer {}\r\naccept: application/json, text/event-stream\r\n",
            gateway.token
        );
        let stream = connect(&address)?;
        let mut client = Self { stream, address, path: call.path, fields, body: call.body, read: Vec::new() };
        if call.newer {
            client.fields += "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: search\r\n";
            return Some(client);
        }
        let hello = client.exchange(&client.post(HELLO))?;
        let session = hello.lines().find_map(|line| line.strip_prefix("mcp-session-id: "))?.trim();
        write!(client.fields, "mcp-protocol-version: 2025-11-25\r\nmcp-session-id: {session}\r\n").ok()?;
        client.exchange(&client.post(READY))?;
        Some(client)
    }

    /// Microseconds of each of so many calls, one after the other.
    pub(crate) fn calls(&mut self, count: usize) -> Vec<f64> {
        self.timed(&self.post(self.body), TEXT, count)
    }

    /// The same of calls that the policy denies.
    pub(crate) fn denied(&mut self, count: usize) -> Vec<f64> {
        self.timed(&self.post(&self.body.replace("\"search\"", "\"delete\"")), "\"error\"", count)
    }

    fn timed(&mut self, request: &[u8], expected: &str, count: usize) -> Vec<f64> {
        let mut one = || {
            let sent = monotonic();
            let answer = self.exchange(request).unwrap();
            let micros = sent.elapsed().as_secs_f64() * 1e6;
            assert!(answer.contains(expected), "{answer}");
            micros
        };
        (0..count).map(|_| one()).collect()
    }

    /// The status of one call; `None` where it is cut off.
    pub(crate) fn ask(&mut self, query: &str) -> Option<u16> {
        let request = self.post(&self.body.replace("open tickets", query));
        self.exchange(&request)?.get(9..12)?.parse().ok()
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn send(&mut self, query: &str) {
        let request = self.post(&self.body.replace("open tickets", query));
        let _ = self.stream.write_all(&request);
    }

    /// Ends the session, where there is one.
    pub(crate) fn end(mut self) {
        if self.body == CALL {
            let request = format!("DELETE {} HTTP/1.1\r\n{}\r\n", self.path, self.fields);
            let _ = self.exchange(request.as_bytes());
        }
    }

    /// So many streams, each on a connection of its own, that have begun.
    pub(crate) fn listen(&self, count: usize) -> Vec<TcpStream> {
        let request = format!("GET {} HTTP/1.1\r\n{}\r\n", self.path, self.fields);
        let one = || {
            let mut stream = connect(&self.address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
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

    fn post(&self, body: &str) -> Vec<u8> {
        let (path, fields, length) = (self.path, &self.fields, body.len());
        let kind = "content-type: application/json";
        format!("POST {path} HTTP/1.1\r\n{fields}{kind}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    /// The whole answer; `None` where the proxy hangs up before its end.
    fn exchange(&mut self, request: &[u8]) -> Option<String> {
        self.stream.write_all(request).ok()?;
        self.read.clear();
        let mut piece = [0; 16 * 1024];
        while !is_whole(&self.read) {
            let count = self.stream.read(&mut piece).ok().filter(|count| *count > 0)?;
            self.read.extend_from_slice(&piece[..count]);
        }
        Some(String::from_utf8_lossy(&self.read).into_owned())
    }
}

fn connect(address: &str) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}
