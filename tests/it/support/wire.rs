use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// An answer as it came off the wire.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) line: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Without its chunk framing.
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.line, self.headers, String::from_utf8_lossy(&self.body))
    }
}

impl Answer {
    fn of_head(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{head:?}"));
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self { line, status, headers: lines.filter(|line| !line.is_empty()).map(field).collect(), body: Vec::new() }
    }

    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    /// Every value of a header, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    /// The `data` of every event, for answers that are streams.
    pub(crate) fn messages(&self) -> Vec<Value> {
        assert!(self.is_stream(), "{self:?}");
        let blocks = self.text().split("\n\n").filter_map(|block| {
            let data = block.lines().find_map(|line| line.strip_prefix("data: "))?;
            Some(serde_json::from_str(data).unwrap())
        });
        blocks.collect()
    }

    /// The response in it: the whole body, or the last event.
    pub(crate) fn message(&self) -> Value {
        if self.is_stream() { self.messages().pop().unwrap() } else { self.json() }
    }
}

/// One connection to the proxy, written and read byte by byte.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    /// Body bytes of a stream that are no whole event yet.
    pending: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new(), pending: Vec::new() }
    }

    /// Takes little ahead of being read.
    pub(crate) fn with_little_room(self) -> Self {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(4 * 1024).unwrap();
        self
    }

    /// Writes; a peer that has already closed is noticed when its answer is read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = within("room to write", self.stream.write_all(bytes)).await;
    }

    /// No more will be sent.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    async fn more(&mut self) -> bool {
        within("bytes from the proxy", self.stream.read_buf(&mut self.read)).await.unwrap_or(0) > 0
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n") {
                let line = self.read.drain(..end + 2).collect::<Vec<_>>();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await, "closed inside a body: {:?}", String::from_utf8_lossy(&self.read));
        }
        self.read.drain(..count).collect()
    }

    /// The head of the next answer; `None` if the connection was closed instead.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect::<Vec<_>>();
                return Some(Answer::of_head(std::str::from_utf8(&head[..end]).unwrap()));
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        }
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line().await.expect("closed before the last chunk");
        let size = usize::from_str_radix(&size, 16).unwrap();
        let chunk = self.exactly(size).await;
        assert_eq!(self.exactly(2).await, b"\r\n");
        (size > 0).then_some(chunk)
    }

    /// The next event of a stream, without the blank line behind it; `None` at its end.
    pub(crate) async fn event(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.pending, b"\n\n") {
                let event: Vec<u8> = self.pending.drain(..end + 2).collect();
                return Some(String::from_utf8(event[..end].to_vec()).unwrap());
            }
            let chunk = self.chunk().await?;
            self.pending.extend(chunk);
        }
    }

    /// The `data` of the next event that has any.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        loop {
            let event = self.event().await?;
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The next answer with its body; `None` if the connection was closed instead.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                answer.body.extend(chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            answer.body = self.exactly(length).await;
        } else {
            assert!(matches!(answer.status, 100..=199 | 204 | 304), "no framing: {answer:?}");
        }
        Some(answer)
    }

    /// Every byte until the proxy closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }
}
