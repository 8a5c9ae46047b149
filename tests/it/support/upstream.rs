use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::within;

/// A request as it came off the wire.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Request line and fields, each with its line break, and the blank line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    pub(crate) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    /// Every field, name in lower case, in the order sent.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let fields = self.head.split("\r\n").skip(1).filter(|line| !line.is_empty());
        let fields = fields.map(|line| line.split_once(':').unwrap());
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
    }

    /// The names of all fields, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.headers().into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers().into_iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the proxy asks for no client: what tools there are, or what is spoken here.
    fn is_own_question(&self) -> bool {
        let message = self.json();
        let own = message["id"].as_str().is_some_and(|id| id.starts_with("portcullis-"));
        own && (message["method"] == "tools/list" || message["method"] == "server/discover")
    }

    /// The JSON-RPC id as JSON text.
    pub(crate) fn id(&self) -> String {
        self.json().get("id").unwrap_or(&Value::Null).to_string()
    }
}

/// An upstream's side of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// What tells it from others.
    pub(crate) fn port(&self) -> u16 {
        self.stream.peer_addr().unwrap().port()
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("room to write upstream", self.stream.write_all(bytes.as_ref())).await;
        let _ = self.stream.flush().await;
    }

    /// Writes the same for as long as somebody takes it.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) {
        let flood = async { while self.stream.write_all(bytes).await.is_ok() {} };
        within("the proxy to hang up", flood).await;
    }

    /// The head of an event stream whose pieces are chunks.
    pub(crate) async fn begin_stream(&mut self) {
        self.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    }

    /// One piece of a stream.
    pub(crate) async fn piece(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if !bytes.is_empty() {
            self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await;
        }
    }

    /// Sends pieces of a stream as they come, until there are no more or the proxy hangs up; says whether it has.
    pub(crate) async fn pieces(&mut self, received: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> bool {
        loop {
            let mut byte = [0; 1];
            tokio::select! {
                next = received.recv() => {
                    let Some(next) = next else { return false };
                    self.piece(next).await;
                }
                _ = self.stream.read(&mut byte) => return true,
            }
        }
    }

    /// The end of a stream.
    pub(crate) async fn end_stream(&mut self) {
        self.send("0\r\n\r\n").await;
    }

    /// Breaks the connection off, as the end of a process does that had not read everything.
    pub(crate) fn reset(&self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Leaves this connection to another server, beginning with a request already heard.
    pub(crate) async fn relay(&mut self, to: SocketAddr, heard: &Heard) {
        let mut other = TcpStream::connect(to).await.unwrap();
        other.write_all(heard.head.as_bytes()).await.unwrap();
        other.write_all(&heard.body).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut self.stream, &mut other).await;
    }

    /// Waits until the proxy has closed.
    pub(crate) async fn hung_up(&mut self) {
        let mut piece = [0; 1024];
        let gone = async { while matches!(self.stream.read(&mut piece).await, Ok(read) if read > 0) {} };
        within("the proxy to hang up", gone).await;
    }

    async fn request(&mut self) -> Option<Heard> {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut heard = Heard { head, body: Vec::new() };
        assert_eq!(heard.header("transfer-encoding"), None, "a body framed by length is wanted");
        let length: usize = heard.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            self.more().await?;
        }
        heard.body = self.read.drain(..length).collect();
        Some(heard)
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.read).await.unwrap_or(0);
        (read > 0).then_some(())
    }
}

type Act = Pin<Box<dyn Future<Output = Option<Connection>> + Send>>;
type Told = Arc<dyn Fn(&Heard) -> Vec<u8> + Send + Sync>;
type Script = Arc<dyn Fn(Heard, Connection) -> Act + Send + Sync>;

/// A server that writes down every request and answers as its script says.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    /// What the proxy asked for itself, and what it is told then.
    listings: Arc<Mutex<Vec<Heard>>>,
    tools: Arc<Mutex<String>>,
    /// How the proxy's own questions are answered instead.
    told: Option<Told>,
    /// Whether those are for the script too.
    unaided: bool,
    count: watch::Sender<usize>,
}

impl Upstream {
    /// Each request is answered with the bytes `script` makes of it.
    pub(crate) async fn answering(script: impl Fn(&Heard) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::handling(move |heard, mut connection| {
            let script = script.clone();
            async move {
                let bytes = script(&heard);
                connection.send(bytes).await;
                Some(connection)
            }
        })
        .await
    }

    /// Each request is answered with an empty result.
    pub(crate) async fn plain() -> Self {
        Self::answering(|heard| json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, heard.id())))
            .await
    }

    /// Each request is answered with an empty result, the proxy's own questions as `told` says.
    pub(crate) async fn asked(told: impl Fn(&Heard) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serving(Some(Arc::new(told)), |heard, mut connection| async move {
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, heard.id());
            connection.send(json_answer(200, &answer)).await;
            Some(connection)
        })
        .await
    }

    /// Each request is handled by `script`, which gives the connection back to keep it open.
    pub(crate) async fn handling<F, A>(script: F) -> Self
    where
        F: Fn(Heard, Connection) -> A + Send + Sync + 'static,
        A: Future<Output = Option<Connection>> + Send + 'static,
    {
        Self::serving(None, script).await
    }

    /// Every request, the proxy's own among them, is handled by `script`.
    pub(crate) async fn unaided<F, A>(script: F) -> Self
    where
        F: Fn(Heard, Connection) -> A + Send + Sync + 'static,
        A: Future<Output = Option<Connection>> + Send + 'static,
    {
        Self::start(None, true, script).await
    }

    async fn serving<F, A>(told: Option<Told>, script: F) -> Self
    where
        F: Fn(Heard, Connection) -> A + Send + Sync + 'static,
        A: Future<Output = Option<Connection>> + Send + 'static,
    {
        Self::start(told, false, script).await
    }

    async fn start<F, A>(told: Option<Told>, unaided: bool, script: F) -> Self
    where
        F: Fn(Heard, Connection) -> A + Send + Sync + 'static,
        A: Future<Output = Option<Connection>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            listings: Arc::default(),
            tools: Arc::new(Mutex::new("[]".to_owned())),
            told,
            unaided,
            count: watch::Sender::new(0),
        };
        let script: Script = Arc::new(move |heard, connection| Box::pin(script(heard, connection)));
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serving.clone().converse(Connection { stream, read: Vec::new() }, script.clone()));
            }
        });
        upstream
    }

    async fn converse(self, mut connection: Connection, script: Script) {
        while let Some(heard) = connection.request().await {
            if !self.unaided && heard.is_own_question() {
                if heard.json()["method"] == "server/discover" {
                    let result = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{},"ttlMs":0,"cacheScope":"private"}"#;
                    connection
                        .send(json_answer(
                            200,
                            &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()),
                        ))
                        .await;
                    continue;
                }
                self.listings.lock().unwrap().push(heard.clone());
                if let Some(told) = &self.told {
                    connection.send(told(&heard)).await;
                    continue;
                }
                let tools = self.tools.lock().unwrap().clone();
                let id = heard.id();
                let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":{tools},"ttlMs":60000}}}}"#);
                connection.send(json_answer(200, &answer)).await;
                continue;
            }
            self.heard.lock().unwrap().push(heard.clone());
            self.count.send_modify(|count| *count += 1);
            match script(heard, connection).await {
                Some(kept) => connection = kept,
                None => return,
            }
        }
    }

    /// The first request is answered with a stream whose pieces the test sends; others are accepted.
    pub(crate) async fn driven() -> (Self, Driver) {
        let (pieces, received) = mpsc::unbounded_channel::<Vec<u8>>();
        let gone = watch::Sender::new(false);
        let driver = Driver { pieces, gone: gone.subscribe() };
        let received = Arc::new(Mutex::new(Some(received)));
        let upstream = Self::handling(move |heard, mut connection| {
            let (received, gone) = (received.clone(), gone.clone());
            async move {
                let is_streamed = heard.header("accept").is_some_and(|accept| accept.contains("text/event-stream"))
                    && !heard.text().contains("\"result\"")
                    && !heard.text().contains("\"error\"");
                let driving = if is_streamed { received.lock().unwrap().take() } else { None };
                let Some(mut received) = driving else {
                    connection.send(raw_answer(202, "", b"")).await;
                    return Some(connection);
                };
                connection.begin_stream().await;
                loop {
                    let mut piece = [0; 1];
                    tokio::select! {
                        next = received.recv() => {
                            let Some(next) = next else {
                                connection.end_stream().await;
                                return Some(connection);
                            };
                            connection.piece(next).await;
                        }
                        _ = connection.stream.read(&mut piece) => {
                            gone.send_replace(true);
                            return None;
                        }
                    }
                }
            }
        })
        .await;
        (upstream, driver)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The tools it offers to the proxy itself.
    pub(crate) fn offer(&self, tools: &Value) {
        *self.tools.lock().unwrap() = tools.to_string();
    }

    /// Every question the proxy asked for itself.
    pub(crate) fn listings(&self) -> Vec<Heard> {
        self.listings.lock().unwrap().clone()
    }

    /// Every request since the last time, but for the proxy's own questions.
    pub(crate) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    /// Waits until that many requests have come since the start.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut seen = self.count.subscribe();
        within("the upstream to be asked", seen.wait_for(|seen| *seen >= count)).await.unwrap();
    }
}

/// The hand on an upstream's stream; the stream ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Driver {
    pieces: mpsc::UnboundedSender<Vec<u8>>,
    gone: watch::Receiver<bool>,
}

impl Driver {
    /// Sends a piece of the stream.
    pub(crate) fn piece(&self, bytes: impl Into<Vec<u8>>) {
        let _ = self.pieces.send(bytes.into());
    }

    /// Sends a message as an event.
    pub(crate) fn event(&self, message: &Value) {
        self.piece(format!("data: {message}\n\n"));
    }

    /// Waits until the proxy has closed the connection.
    pub(crate) async fn hung_up(&mut self) {
        within("the proxy to hang up", self.gone.wait_for(|gone| *gone)).await.unwrap();
    }
}

/// An answer of that status with JSON.
pub(crate) fn json_answer(status: u16, body: &str) -> Vec<u8> {
    raw_answer(status, "Content-Type: application/json\r\n", body.as_bytes())
}

/// An answer of that status with these fields, each with its line break, and this body.
pub(crate) fn raw_answer(status: u16, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A whole event stream.
pub(crate) fn events(body: &[u8]) -> Vec<u8> {
    raw_answer(200, "Content-Type: text/event-stream\r\n", body)
}
