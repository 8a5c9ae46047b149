//! A server that speaks HTTP+SSE (2024-11-05), adapted to look like one that speaks Streamable HTTP.
//!
//! Each session of a client has a stream of its own, a [`Channel`]: what one receives no other does. Where a server broadcasts
//! everything, all sessions share one, as the sessions of a shared process do. Ids and progress tokens are the
//! proxy's own, and no two streams of one process use the same; so even then an answer reaches only the client that asked.

mod channel;
mod conversation;
mod endpoint;
mod trunk;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

pub(super) use self::channel::Channel;
use self::channel::Unopened;
use self::conversation::Conversation;
pub use self::endpoint::EndpointError;
use self::trunk::{Greeted, Trunk};
use super::gate::{Busy, Room};
use super::lines::{Asked, Lines, Peer};
use super::losses::Losses;
use super::outbound::Passenger;
use super::replica::Replicas;
use super::request::{Head, Request};
use super::switchboard::{AHEAD, Heard, OWN, Session};
use super::{Answer, Outbound, Pool, UpstreamError};
use crate::auth::Who;
use crate::config::{self, Sharing};
use crate::json::{Document, Limits, Splice};
use crate::mcp::methods::{INITIALIZE, INITIALIZED};
use crate::mcp::sse::Line;
use crate::mcp::{MessageShape, Revision, RpcId, inbound};

const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The most sessions.
const SESSIONS: usize = 20_000;
/// The most sessions of one caller.
const SHARE: usize = 1_000;
/// The most bytes of an `initialize` request, which is kept to reopen the session's stream.
const HELLO_BYTES: usize = 64 * 1024;

/// The sessions of one server.
#[derive(Debug)]
pub(super) struct Sse {
    shared: Arc<Shared>,
    sessions: Mutex<HashMap<Box<str>, Arc<Conversation>>>,
    /// The shared stream of each revision, if sessions share streams.
    trunks: Mutex<HashMap<Revision, Arc<Trunk>>>,
    last: AtomicU64,
}

/// State shared by all streams of one server.
#[derive(Debug)]
pub(super) struct Shared {
    server: config::Server,
    replicas: Arc<Replicas>,
    /// Whether the server broadcasts messages to all streams.
    is_broadcast: Arc<AtomicBool>,
    /// The latest request id, unique across streams.
    ids: Arc<AtomicU64>,
    losses: Losses,
}

/// A client's parsed request.
struct Sent {
    posting: Head,
    message: Document,
    shape: MessageShape,
    passenger: Passenger,
}

/// Why a stream is not open.
enum Closed {
    /// The server's error answer.
    Answer(Box<Answer>),
    Error(UpstreamError),
    /// The server does not offer a stream of 2024-11-05.
    NoStream,
}

impl From<UpstreamError> for Closed {
    fn from(error: UpstreamError) -> Self {
        Self::Error(error)
    }
}

/// The first outcome of a call.
enum First {
    Heard(Heard, mpsc::Receiver<Heard>),
    /// The server refused the POST.
    Refused(Box<Answer>),
}

fn too_long(id: &RpcId) -> Box<Answer> {
    let id = String::from_utf8_lossy(id.raw());
    let error = r#""error":{"code":-32602,"message":"The message that opens a session may have at most 64 KiB"}"#;
    Answer::json(StatusCode::OK, format!(r#"{{"jsonrpc":"2.0","id":{id},{error}}}"#).into())
}

impl Sse {
    pub(super) fn new(server: &config::Server, replicas: &Arc<Replicas>) -> Self {
        // Random, since other proxies may use the same server, and below 2^51 so that it is exact as a JSON number.
        let first = Uuid::new_v4().as_u64_pair().0 >> 14;
        let shared = Arc::new(Shared {
            server: server.clone(),
            replicas: Arc::clone(replicas),
            is_broadcast: Arc::new(AtomicBool::new(server.sessions == Sharing::All)),
            ids: Arc::new(AtomicU64::new(first)),
            losses: Losses::default(),
        });
        Self { shared, sessions: Mutex::default(), trunks: Mutex::default(), last: AtomicU64::new(0) }
    }

    /// Ends sessions that have been idle too long; to be called periodically.
    pub(super) fn tidy(&self) {
        let idle = self.shared.server.session_idle.streams;
        self.sessions().retain(|_, conversation| !conversation.is_idle(idle));
        // A shared stream ends with the last session that uses it.
        let mut trunks = self.trunks.lock().unwrap_or_else(PoisonError::into_inner);
        trunks.retain(|_, trunk| Arc::strong_count(trunk) > 1);
    }

    /// The counts of dropped messages.
    pub(super) fn losses(&self) -> &Losses {
        &self.shared.losses
    }

    /// Closes all sessions and streams.
    pub(super) fn shut_down(&self) {
        self.sessions().clear();
        self.trunks.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Sends `outbound` and waits for the beginning of the answer; `None` if the server does not offer a stream of 2024-11-05.
    /// Errs if there is no answer.
    pub(super) async fn send(&self, pool: &Pool, outbound: Outbound) -> Result<Option<Box<Answer>>, UpstreamError> {
        let (Request { head: mut posting, content }, passenger) = outbound.into_parts();
        let session = posting.session.take();
        let session = session.as_ref().map(|id| id.to_str().unwrap_or_default());
        match (&posting.method, session) {
            (&Method::GET, Some(id)) => self.listen(pool, id, &posting, &passenger).await.map(Some),
            (&Method::DELETE, Some(id)) => {
                let closed = self.sessions().remove(id);
                let Some(closed) = closed else { return Ok(Some(Answer::bare(StatusCode::NOT_FOUND))) };
                closed.close().await;
                Ok(Some(Answer::bare(StatusCode::OK)))
            }
            (&Method::POST, session) => {
                let (message, shape) = inbound::read(content).map_err(|_| UpstreamError::Greeting)?;
                self.message(pool, session, Sent { posting, message, shape, passenger }).await
            }
            _ => Ok(Some(Answer::bare(StatusCode::METHOD_NOT_ALLOWED))),
        }
    }

    async fn message(
        &self,
        pool: &Pool,
        session: Option<&str>,
        sent: Sent,
    ) -> Result<Option<Box<Answer>>, UpstreamError> {
        let method = sent.message.root().get("method").and_then(|method| method.as_str());
        if method.as_deref() == Some(INITIALIZE)
            && let MessageShape::Request { id } = &sent.shape
        {
            let id = id.clone();
            return self.open(pool, sent, id).await;
        }
        let Some(session) = session else { return Ok(Some(Answer::bare(StatusCode::BAD_REQUEST))) };
        let conversation = self.find(session)?;
        let answer = match &sent.shape {
            MessageShape::Request { id } => self.ask(pool, &conversation, &sent, id).await?,
            MessageShape::Notification => {
                let channel = self.channel(pool, &conversation, &sent.posting, &sent.passenger).await?;
                let line = channel.board().tell(conversation.number, &sent.message);
                self.aside(pool, &channel, sent.posting, line).await?
            }
            MessageShape::Response { .. } => {
                let channel = self.channel(pool, &conversation, &sent.posting, &sent.passenger).await?;
                let line = channel.board().reply(conversation.number, &sent.message);
                self.aside(pool, &channel, sent.posting, line).await?
            }
        };
        Ok(Some(answer))
    }

    /// Opens a session: opens a stream and sends the client's `initialize` on it, or reuses the answer of the shared stream.
    async fn open(&self, pool: &Pool, sent: Sent, id: RpcId) -> Result<Option<Box<Answer>>, UpstreamError> {
        if sent.message.bytes().len() > HELLO_BYTES {
            return Ok(Some(too_long(&id)));
        }
        let trunk = self.trunk(&sent.message, id.clone())?;
        let greeted = match self.opened(pool, &trunk, &sent.posting, &sent.passenger).await {
            Ok(greeted) => greeted,
            Err(Closed::Answer(answer)) => return Ok(Some(answer)),
            Err(Closed::Error(error)) => return Err(error),
            Err(Closed::NoStream) => return Ok(None),
        };
        let name = format!("sse-{}", Uuid::new_v4().simple());
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let who = sent.passenger.caller.as_deref().map(Who::of);
        self.keep(&name, Conversation::new(who, number, trunk))?;
        let mut splice = Splice::new();
        if let Some(own) = greeted.answer.root().get("id") {
            splice.replace(own.span(), Bytes::copy_from_slice(id.raw()));
        }
        let mut answer = Answer::json(StatusCode::OK, splice.apply(greeted.answer.bytes()));
        if let Ok(name) = HeaderValue::from_str(&name) {
            answer.fields.set(MCP_SESSION_ID, name);
        }
        Ok(Some(answer))
    }

    /// The stream for a client with this `initialize` request: a new one, or the shared one of its revision.
    fn trunk(&self, hello: &Document, id: RpcId) -> Result<Arc<Trunk>, UpstreamError> {
        let new = |hello, id, is_shared| Arc::new(Trunk { hello, id, is_shared, open: tokio::sync::Mutex::default() });
        if self.shared.server.sessions != Sharing::All {
            // Copied, since the bytes would keep the whole read buffer alive for as long as the session is open.
            let bytes = Bytes::copy_from_slice(hello.bytes());
            let hello = Document::parse(bytes, &Limits::REQUEST).map_err(|_| UpstreamError::Greeting)?;
            return Ok(new(hello, id, false));
        }
        let version = hello.pointer("/params/protocolVersion").and_then(|version| version.as_str());
        let version = version.and_then(|version| Revision::parse(&version)).unwrap_or(Revision::V2025_11_25);
        let mut trunks = self.trunks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trunk) = trunks.get(&version) {
            return Ok(Arc::clone(trunk));
        }
        let own = RpcId::own();
        let (raw, proxy) = (String::from_utf8_lossy(own.raw()).into_owned(), env!("CARGO_PKG_VERSION"));
        // No capabilities, since those of one client do not hold for the others.
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{raw},"method":"{INITIALIZE}","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"portcullis","version":"{proxy}"}}}}}}"#
        );
        let hello = Document::parse(text.into(), &Limits::REQUEST).map_err(|_| UpstreamError::Greeting)?;
        let trunk = new(hello, own, true);
        trunks.insert(version, Arc::clone(&trunk));
        Ok(trunk)
    }

    fn keep(&self, name: &str, conversation: Conversation) -> Result<(), UpstreamError> {
        let mut sessions = self.sessions();
        let idle = self.shared.server.session_idle.streams;
        if sessions.len() >= SESSIONS {
            sessions.retain(|_, conversation| !conversation.is_idle(idle));
        }
        if sessions.len() >= SESSIONS {
            return Err(Busy::Streams.into());
        }
        if sessions.values().filter(|other| other.who == conversation.who).count() >= SHARE {
            return Err(Busy::Share.into());
        }
        sessions.insert(name.into(), Arc::new(conversation));
        Ok(())
    }

    /// Sends `initialize` and `notifications/initialized` (2024-11-05, "Lifecycle"); returns the answer to `initialize`.
    async fn greet(
        &self,
        pool: &Pool,
        channel: &Arc<Channel>,
        posting: &Head,
        trunk: &Trunk,
    ) -> Result<Document, Closed> {
        let (first, asked) = self.first(pool, channel, OWN, posting.clone(), (&trunk.hello, &trunk.id)).await?;
        let answer = match first {
            First::Refused(answer) => {
                asked.done();
                return Err(Closed::Answer(answer));
            }
            First::Heard(Heard::Last(answer), _) => answer,
            First::Heard(Heard::Aside(_), mut heard) => {
                let last = async {
                    loop {
                        if let Heard::Last(answer) = heard.recv().await? {
                            return Some(answer);
                        }
                    }
                };
                let patience = channel::patience(&self.shared);
                let last = timeout(patience, last).await.map_err(|_| UpstreamError::FirstByte(patience))?;
                last.ok_or(UpstreamError::StreamEnded)?
            }
        };
        asked.done();
        let refused = || Closed::Answer(Answer::json(StatusCode::OK, answer.clone()));
        let document = Document::parse(answer.clone(), &Limits::ANSWER).map_err(|_| refused())?;
        if document.root().get("result").is_none() {
            return Err(refused());
        }
        let ready = Line::of_json(format!(r#"{{"jsonrpc":"2.0","method":"{INITIALIZED}"}}"#).into());
        let taken = channel.post(pool, posting.clone(), ready).await?;
        if taken.status.is_success() { Ok(document) } else { Err(Closed::Answer(taken)) }
    }

    fn find(&self, session: &str) -> Result<Arc<Conversation>, UpstreamError> {
        let found = self.sessions().get(session).cloned().ok_or(UpstreamError::NoSuchSession)?;
        found.touch();
        Ok(found)
    }

    /// The open stream. If it has ended, a new one is opened and initialized with the same request.
    async fn opened(
        &self,
        pool: &Pool,
        trunk: &Trunk,
        posting: &Head,
        passenger: &Passenger,
    ) -> Result<Greeted, Closed> {
        let patience = channel::patience(&self.shared);
        // The wait for another request's attempt is limited by the first-byte timeout too.
        let Ok(mut open) = timeout(patience, trunk.open.lock()).await else {
            return Err(UpstreamError::FirstByte(patience).into());
        };
        if let Some(greeted) = open.as_ref().filter(|greeted| greeted.channel.is_open()) {
            return Ok(greeted.clone());
        }
        let channel = match Channel::open(&self.shared, pool, posting, passenger).await {
            Ok(channel) => channel,
            Err(Unopened::Error(error)) => return Err(error.into()),
            Err(Unopened::Answer(answer)) if is_no_stream(&answer) => return Err(Closed::NoStream),
            Err(Unopened::Answer(answer)) => return Err(Closed::Answer(answer)),
        };
        let answer = self.greet(pool, &channel, posting, trunk).await?;
        Ok(open.insert(Greeted { channel, answer }).clone())
    }

    /// The open stream of a session, reopened if needed.
    async fn channel(
        &self,
        pool: &Pool,
        conversation: &Conversation,
        posting: &Head,
        passenger: &Passenger,
    ) -> Result<Arc<Channel>, UpstreamError> {
        match self.opened(pool, &conversation.trunk, posting, passenger).await {
            Ok(greeted) => Ok(greeted.channel),
            Err(Closed::Error(error)) => Err(error),
            Err(Closed::Answer(_) | Closed::NoStream) => Err(UpstreamError::NoSuchSession),
        }
    }

    /// Sends a request on the session's stream. If the server no longer knows the stream, the request was not delivered, and it
    /// is sent once more on a new stream.
    async fn ask(
        &self,
        pool: &Pool,
        conversation: &Conversation,
        sent: &Sent,
        id: &RpcId,
    ) -> Result<Box<Answer>, UpstreamError> {
        let idle = (sent.passenger.room != Room::Stream).then_some(self.shared.server.timeouts.idle);
        let mut is_again = false;
        loop {
            let channel = self.channel(pool, conversation, &sent.posting, &sent.passenger).await?;
            let place = self.shared.replicas.enter(channel.replica(), &sent.passenger).await?;
            let (first, asked) =
                self.first(pool, &channel, conversation.number, sent.posting.clone(), (&sent.message, id)).await?;
            match first {
                First::Refused(answer) => {
                    asked.done();
                    if answer.status != StatusCode::NOT_FOUND {
                        return Ok(answer);
                    }
                    channel.close();
                    if is_again {
                        return Ok(answer);
                    }
                    is_again = true;
                }
                First::Heard(Heard::Last(text), _) => {
                    asked.done();
                    return Ok(Answer::json(StatusCode::OK, text));
                }
                First::Heard(Heard::Aside(text), heard) => {
                    let mut answer = Answer::lines(Lines::new(Some(text), heard, asked, idle));
                    answer.body.hold(place);
                    return Ok(answer);
                }
            }
        }
    }

    /// Posts a request, and waits for its first message on the stream or for an error answer to the POST.
    async fn first(
        &self,
        pool: &Pool,
        channel: &Arc<Channel>,
        session: Session,
        posting: Head,
        (message, id): (&Document, &RpcId),
    ) -> Result<(First, Asked), UpstreamError> {
        let (to, mut heard) = mpsc::channel(AHEAD);
        let (number, line) = channel.board().ask(session, message, id, to);
        let asked = Asked::new(Peer::Channel(Arc::clone(channel)), Some(number));
        if !channel.is_open() {
            return Err(UpstreamError::StreamEnded);
        }
        let patience = channel::patience(&self.shared);
        let (whom, pool) = (Arc::clone(channel), pool.clone());
        // Spawned, so that an answer on the stream that arrives first does not cancel the POST.
        let mut posted = spawn(async move { whom.post(&pool, posting, line).await });
        let first = async {
            tokio::select! {
                biased;
                first = heard.recv() => return first.map(Ok).ok_or(UpstreamError::StreamEnded),
                posted = &mut posted => {
                    let answer = posted.unwrap_or(Err(UpstreamError::StreamEnded))?;
                    if !answer.status.is_success() {
                        return Ok(Err(answer));
                    }
                }
            }
            heard.recv().await.map(Ok).ok_or(UpstreamError::StreamEnded)
        };
        match timeout(patience, first).await {
            Err(_) => {
                channel.doubt();
                Err(UpstreamError::FirstByte(patience))
            }
            Ok(Err(error)) => Err(error),
            Ok(Ok(Err(answer))) => Ok((First::Refused(answer), asked)),
            Ok(Ok(Ok(first))) => Ok((First::Heard(first, heard), asked)),
        }
    }

    /// Sends a message that has no answer; a message that need not be sent (`None`) is accepted too.
    async fn aside(
        &self,
        pool: &Pool,
        channel: &Channel,
        posting: Head,
        line: Option<Line>,
    ) -> Result<Box<Answer>, UpstreamError> {
        let Some(line) = line else { return Ok(Answer::bare(StatusCode::ACCEPTED)) };
        let answer = channel.post(pool, posting, line).await?;
        Ok(if answer.status.is_success() { Answer::bare(StatusCode::ACCEPTED) } else { answer })
    }

    async fn listen(
        &self,
        pool: &Pool,
        id: &str,
        posting: &Head,
        passenger: &Passenger,
    ) -> Result<Box<Answer>, UpstreamError> {
        let conversation = self.find(id)?;
        let channel = self.channel(pool, &conversation, posting, passenger).await?;
        let place = self.shared.replicas.enter(channel.replica(), passenger).await?;
        let (to, heard) = mpsc::channel(AHEAD);
        channel.board().listen(conversation.number, to);
        let mut answer = Answer::lines(Lines::new(None, heard, Asked::new(Peer::Channel(channel), None), None));
        answer.body.hold(place);
        Ok(answer)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Conversation>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the answer means that the server offers no stream, as opposed to an error of the request or the server.
fn is_no_stream(answer: &Answer) -> bool {
    answer.status.is_success() || matches!(answer.status.as_u16(), 400 | 404 | 405 | 406)
}

#[expect(clippy::disallowed_methods, reason = "ends with the upstream's timeouts")]
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}
