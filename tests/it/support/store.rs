//! A store that several proxies share, as far as they use it: it speaks RESP3 in raw bytes, and fails as it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Connections are closed at once.
    Closed,
    /// What reads or writes a key is answered with this error; it is there all the same.
    Error(&'static str),
    /// Nothing is answered.
    Silent,
    Well,
}

/// What one of its commands said, word by word.
pub(crate) type Said = Vec<String>;

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    mood: watch::Sender<Mood>,
    keys: Mutex<BTreeMap<String, String>>,
    /// What scripts answer.
    script: Mutex<u64>,
    heard: Mutex<Vec<Said>>,
    /// Keys that were changed.
    announced: broadcast::Sender<String>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.mood.send_replace(Mood::Closed);
    }
}

impl Store {
    pub(crate) async fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    /// A new one at an address where there was one before.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (keys, script, heard) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (mood, announced) = (watch::Sender::new(Mood::Well), broadcast::Sender::new(64));
        let inner = Arc::new(Inner { mood, keys, script, heard, announced });
        let serving = inner.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = serving.clone();
                tokio::spawn(async move { inner.serve(stream).await });
            }
        });
        Self { address, inner, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// `[state.redis]` with this store, and the sealing keys it needs.
    pub(crate) fn tables(&self, more: &str) -> String {
        let url = self.url();
        let stale = if more.contains("max_stale") { "" } else { "max_stale = \"1h\"\n" };
        format!(
            "[[sealing.keys]]\nid = \"k1\"\nfile = \"k1\"\n[state.redis]\nurl = {{ value = \"{url}\" }}\ntimeout = \"2s\"\n{stale}{more}\n"
        )
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.inner.mood.send_replace(mood);
    }

    /// What scripts answer from now on.
    pub(crate) fn answer(&self, number: u64) {
        *self.inner.script.lock().unwrap() = number;
    }

    /// Somebody else sets a key, or removes it; who follows it is told.
    pub(crate) fn put(&self, key: &str, value: Option<&str>) {
        let mut keys = self.inner.keys.lock().unwrap();
        match value {
            Some(value) => _ = keys.insert(key.to_owned(), value.to_owned()),
            None => _ = keys.remove(key),
        }
        let _ = self.inner.announced.send(key.to_owned());
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.inner.keys.lock().unwrap().get(key).cloned()
    }

    /// What was heard since the last time, but for what keeps a connection.
    pub(crate) fn take(&self) -> Vec<Said> {
        let quiet = ["HELLO", "PING", "CLIENT", "SCRIPT", "SCAN", "MGET", "EXISTS"];
        let mut heard = std::mem::take(&mut *self.inner.heard.lock().unwrap());
        heard.retain(|said| !quiet.contains(&said[0].as_str()) && !said[1].ends_with(":probe"));
        heard
    }
}

impl Inner {
    async fn serve(&self, stream: TcpStream) {
        let (reader, mut writer) = stream.into_split();
        let (mut reader, mut mood) = (BufReader::new(reader), self.mood.subscribe());
        let (commands, mut received) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(said) = command(&mut reader).await {
                let _ = commands.send(said);
            }
        });
        let mut announced = self.announced.subscribe();
        loop {
            if *mood.borrow_and_update() == Mood::Closed {
                return;
            }
            let said = tokio::select! {
                said = received.recv() => said,
                _ = mood.changed() => continue,
                Ok(key) = announced.recv() => {
                    let push = format!(">2\r\n{}*1\r\n{}", bulk("invalidate"), bulk(&key));
                    let _ = writer.write_all(push.as_bytes()).await;
                    continue;
                }
            };
            let Some(said) = said else { return };
            let now = *self.mood.borrow();
            let answer = match now {
                Mood::Closed => return,
                Mood::Silent => String::new(),
                Mood::Error(error)
                    if !["HELLO", "PING"].contains(&said[0].as_str()) && !said[1].ends_with(":probe") =>
                {
                    format!("-{error}\r\n")
                }
                Mood::Error(_) | Mood::Well => self.answer(&said),
            };
            self.heard.lock().unwrap().push(said);
            if writer.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, said: &[String]) -> String {
        let mut keys = self.keys.lock().unwrap();
        let words: Vec<&str> = said.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["HELLO", ..] => "%1\r\n+proto\r\n:3\r\n".to_owned(),
            ["PING"] => "+PONG\r\n".to_owned(),
            ["SCRIPT", "LOAD", script] => bulk(&script.len().to_string()),
            ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", _] => "+OK\r\n".to_owned(),
            ["SCAN", "0", "MATCH", pattern, ..] => {
                let prefix = pattern.trim_end_matches('*');
                let found: Vec<String> =
                    keys.keys().filter(|key| key.starts_with(prefix)).map(|key| bulk(key)).collect();
                format!("*2\r\n{}*{}\r\n{}", bulk("0"), found.len(), found.concat())
            }
            ["MGET", wanted @ ..] => {
                let values =
                    wanted.iter().map(|key| keys.get(*key).map_or_else(|| "_\r\n".to_owned(), |value| bulk(value)));
                format!("*{}\r\n{}", wanted.len(), values.collect::<String>())
            }
            ["EXISTS", key] => format!(":{}\r\n", u8::from(keys.contains_key(*key))),
            ["EVALSHA", _, "1", key, value, _] if key.contains(":rev:") => {
                keys.insert((*key).to_owned(), (*value).to_owned());
                let _ = self.announced.send((*key).to_owned());
                ":1\r\n".to_owned()
            }
            ["EVALSHA", ..] => format!(":{}\r\n", *self.script.lock().unwrap()),
            ["SET", key, value, rest @ ..] => {
                if rest.contains(&"NX") && keys.contains_key(*key) {
                    return "_\r\n".to_owned();
                }
                keys.insert((*key).to_owned(), (*value).to_owned());
                "+OK\r\n".to_owned()
            }
            ["DEL", key] => format!(":{}\r\n", u8::from(keys.remove(*key).is_some())),
            ["GET", key] => keys.get(*key).map_or_else(|| "_\r\n".to_owned(), |value| bulk(value)),
            _ => "-ERR unknown command\r\n".to_owned(),
        }
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// One command: an array of strings.
async fn command(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> Option<Said> {
    let count = number(reader, '*').await?;
    let mut said = Vec::new();
    for _ in 0..count {
        let mut text = vec![0; number(reader, '$').await? + 2];
        reader.read_exact(&mut text).await.ok()?;
        text.truncate(text.len() - 2);
        said.push(String::from_utf8(text).unwrap());
    }
    Some(said)
}

async fn number(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>, kind: char) -> Option<usize> {
    let mut line = String::new();
    if reader.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    Some(line.trim_end().strip_prefix(kind).unwrap_or_else(|| panic!("`{kind}` wanted: {line:?}")).parse().unwrap())
}
