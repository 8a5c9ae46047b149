//! A server that speaks HTTP+SSE (2024-11-05), made to look like one that speaks Streamable HTTP.
//!
//! Each session of a client has a stream of its own, a [`Channel`]: what one is told no other hears. Ids and progress tokens
//! are the proxy's own, and no two streams of one process use the same; so even a server that tells everybody everything
//! answers nobody but who asked.

mod channel;
mod endpoint;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

pub(super) use self::channel::Channel;
use self::channel::Unopened;
pub use self::endpoint::EndpointError;
use super::gate::{Busy, Room};
use super::lines::{Asked, Lines, Peer};
use super::outbound::Passenger;
use super::replica::Replicas;
use super::switchboard::{AHEAD, Heard, Session};
use super::{Answer, AnswerBody, Outbound, Pool, UpstreamError};
use crate::clock;
use crate::config::{self, Sharing};
use crate::json::{Document, Limits};
use crate::mcp::methods::{INITIALIZE, INITIALIZED};
use crate::mcp::sse::Line;
use crate::mcp::{MessageShape, RpcId, inbound};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The only session of a channel.
const ONLY: Session = 1;
/// Most sessions.
const SESSIONS: usize = 20_000;
/// How long a session may be without a call and without a listener.
const IDLE: Duration = Duration::from_mins(30);

/// The sessions of one server.
#[derive(Debug)]
pub(super) struct Sse {
    shared: Arc<Shared>,
    sessions: Mutex<HashMap<Box<str>, Arc<Conversation>>>,
}

/// What all streams of one server have in common.
#[derive(Debug)]
pub(super) struct Shared {
    server: config::Server,
    replicas: Arc<Replicas>,
    /// Whether the server tells one stream what another asked.
    is_told_to_all: Arc<AtomicBool>,
    /// No two requests under way have one id, on whatever stream.
    ids: Arc<AtomicU64>,
}

/// A session of a client: its stream, and what it was opened with, to open it again.
#[derive(Debug)]
struct Conversation {
    hello: Document,
    id: RpcId,
    channel: tokio::sync::Mutex<Arc<Channel>>,
    used: Mutex<Instant>,
}

/// A request of a client, read.
struct Sent {
    fields: HeaderMap,
    message: Document,
    shape: MessageShape,
    passenger: Passenger,
}

/// What came of a hello.
enum Greeted {
    /// The result.
    Open(Bytes),
    /// An error, or what the endpoint said instead.
    Refused(Answer),
}

/// What comes first of a call.
enum First {
    Heard(Heard, mpsc::Receiver<Heard>),
    /// It was not taken.
    Refused(Answer),
}

impl Sse {
    pub(super) fn new(server: &config::Server, replicas: &Arc<Replicas>) -> Self {
        // Below 2^51, where every JSON number is exact, and nobody else's: other proxies may speak to the same server.
        let first = Uuid::new_v4().as_u64_pair().0 >> 14;
        let shared = Arc::new(Shared {
            server: server.clone(),
            replicas: Arc::clone(replicas),
            is_told_to_all: Arc::new(AtomicBool::new(server.sessions == Sharing::All)),
            ids: Arc::new(AtomicU64::new(first)),
        });
        Self { shared, sessions: Mutex::default() }
    }

    /// Ends the sessions that nobody has used for long; to be called now and then.
    pub(super) fn tidy(&self) {
        self.sessions().retain(|_, conversation| !conversation.is_idle(IDLE));
    }

    /// Hangs up everywhere.
    pub(super) fn shut_down(&self) {
        self.sessions().clear();
    }

    /// Sends `outbound` and waits for the first of the answer; `None` where there is no such server.
    pub(super) async fn send(&self, pool: &Pool, outbound: Outbound) -> Result<Option<Answer>, UpstreamError> {
        let (request, passenger) = outbound.into_parts();
        let (mut parts, body) = request.into_parts();
        let session = parts.headers.remove(&MCP_SESSION_ID);
        let session = session.as_ref().map(|id| id.to_str().unwrap_or_default());
        match (parts.method, session) {
            (Method::GET, Some(id)) => self.listen(pool, id, &parts.headers, &passenger).await.map(Some),
            (Method::DELETE, Some(id)) => {
                let closed = self.sessions().remove(id);
                let Some(closed) = closed else { return Ok(Some(Answer::bare(StatusCode::NOT_FOUND))) };
                closed.channel.lock().await.close();
                Ok(Some(Answer::bare(StatusCode::OK)))
            }
            (Method::POST, session) => {
                let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes);
                let (message, shape) = inbound::read(body).map_err(|_| UpstreamError::Greeting)?;
                self.message(pool, session, Sent { fields: parts.headers, message, shape, passenger }).await
            }
            _ => Ok(Some(Answer::bare(StatusCode::METHOD_NOT_ALLOWED))),
        }
    }

    async fn message(&self, pool: &Pool, session: Option<&str>, sent: Sent) -> Result<Option<Answer>, UpstreamError> {
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
                let channel = self.channel(pool, &conversation, &sent.fields, &sent.passenger).await?;
                let line = channel.board().tell(ONLY, &sent.message);
                self.aside(pool, &channel, sent.fields, line).await?
            }
            MessageShape::Response { .. } => {
                let channel = self.channel(pool, &conversation, &sent.fields, &sent.passenger).await?;
                let line = channel.board().reply(ONLY, &sent.message);
                self.aside(pool, &channel, sent.fields, line).await?
            }
        };
        Ok(Some(answer))
    }

    /// Opens a session: a stream, and the client's hello on it.
    async fn open(&self, pool: &Pool, sent: Sent, id: RpcId) -> Result<Option<Answer>, UpstreamError> {
        let channel = match Channel::open(&self.shared, pool, &sent.fields, &sent.passenger).await {
            Ok(channel) => channel,
            Err(Unopened::Error(error)) => return Err(error),
            Err(Unopened::Answer(answer)) if is_no_stream(&answer) => return Ok(None),
            Err(Unopened::Answer(answer)) => return Ok(Some(answer)),
        };
        let result = match self.greet(pool, &channel, &sent.fields, &sent.message, &id).await? {
            Greeted::Open(result) => result,
            Greeted::Refused(answer) => return Ok(Some(answer)),
        };
        let (name, hello) = (format!("sse-{}", Uuid::new_v4().simple()), sent.message);
        let used = Mutex::new(clock::monotonic());
        let conversation = Conversation { hello, id, channel: tokio::sync::Mutex::new(channel), used };
        self.keep(&name, conversation)?;
        let mut answer = Answer::json(StatusCode::OK, result);
        if let Ok(name) = HeaderValue::from_str(&name) {
            answer.headers.insert(MCP_SESSION_ID, name);
        }
        Ok(Some(answer))
    }

    fn keep(&self, name: &str, conversation: Conversation) -> Result<(), UpstreamError> {
        let mut sessions = self.sessions();
        if sessions.len() >= SESSIONS {
            sessions.retain(|_, conversation| !conversation.is_idle(IDLE));
        }
        if sessions.len() >= SESSIONS {
            return Err(Busy::Streams.into());
        }
        sessions.insert(name.into(), Arc::new(conversation));
        Ok(())
    }

    /// `initialize` and `notifications/initialized` (2024-11-05, "Lifecycle").
    async fn greet(
        &self,
        pool: &Pool,
        channel: &Arc<Channel>,
        fields: &HeaderMap,
        hello: &Document,
        id: &RpcId,
    ) -> Result<Greeted, UpstreamError> {
        let first = self.first(pool, channel, fields.clone(), hello, id).await?;
        let (answer, asked) = match first {
            (First::Refused(answer), _) => return Ok(Greeted::Refused(answer)),
            (First::Heard(Heard::Last(answer), _), asked) => (answer, asked),
            (First::Heard(Heard::Aside(_), mut heard), asked) => {
                let last = async {
                    loop {
                        if let Heard::Last(answer) = heard.recv().await? {
                            return Some(answer);
                        }
                    }
                };
                let patience = channel::patience(&self.shared);
                let last = timeout(patience, last).await.map_err(|_| UpstreamError::FirstByte(patience))?;
                (last.ok_or(UpstreamError::StreamEnded)?, asked)
            }
        };
        asked.done();
        let is_open =
            Document::parse(answer.clone(), &Limits::ANSWER).is_ok_and(|answer| answer.root().get("result").is_some());
        if !is_open {
            return Ok(Greeted::Refused(Answer::json(StatusCode::OK, answer)));
        }
        let ready = Line::of_json(format!(r#"{{"jsonrpc":"2.0","method":"{INITIALIZED}"}}"#).into());
        let taken = channel.post(pool, fields.clone(), ready).await?;
        if taken.status.is_success() { Ok(Greeted::Open(answer)) } else { Ok(Greeted::Refused(taken)) }
    }

    fn find(&self, session: &str) -> Result<Arc<Conversation>, UpstreamError> {
        let found = self.sessions().get(session).cloned().ok_or(UpstreamError::NoSuchSession)?;
        found.touch();
        Ok(found)
    }

    /// The session's stream; where that has ended, another one, on which the client's hello is said again.
    async fn channel(
        &self,
        pool: &Pool,
        conversation: &Conversation,
        fields: &HeaderMap,
        passenger: &Passenger,
    ) -> Result<Arc<Channel>, UpstreamError> {
        let patience = channel::patience(&self.shared);
        // Whoever waits for another's attempt waits no longer than for an answer.
        let Ok(mut held) = timeout(patience, conversation.channel.lock()).await else {
            return Err(UpstreamError::FirstByte(patience));
        };
        if held.is_open() {
            return Ok(Arc::clone(&held));
        }
        let channel = match Channel::open(&self.shared, pool, fields, passenger).await {
            Ok(channel) => channel,
            Err(Unopened::Error(error)) => return Err(error),
            Err(Unopened::Answer(_)) => return Err(UpstreamError::NoSuchSession),
        };
        match self.greet(pool, &channel, fields, &conversation.hello, &conversation.id).await? {
            Greeted::Open(_) => {
                *held = Arc::clone(&channel);
                Ok(channel)
            }
            Greeted::Refused(_) => Err(UpstreamError::NoSuchSession),
        }
    }

    /// Asks on the session's stream. Where the server does not know that any more nothing was delivered, and it is asked
    /// on another one, once.
    async fn ask(
        &self,
        pool: &Pool,
        conversation: &Conversation,
        sent: &Sent,
        id: &RpcId,
    ) -> Result<Answer, UpstreamError> {
        let idle = (sent.passenger.room != Room::Stream).then_some(self.shared.server.timeouts.idle);
        let mut is_again = false;
        loop {
            let channel = self.channel(pool, conversation, &sent.fields, &sent.passenger).await?;
            let place = self.shared.replicas.enter(channel.replica(), &sent.passenger).await?;
            let (first, asked) = self.first(pool, &channel, sent.fields.clone(), &sent.message, id).await?;
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
                    let mut answer = streamed(Lines::new(Some(text), heard, asked, idle));
                    answer.body.hold(place);
                    return Ok(answer);
                }
            }
        }
    }

    /// Posts a request, and waits for the first that comes of it, on the stream or where it was posted.
    async fn first(
        &self,
        pool: &Pool,
        channel: &Arc<Channel>,
        fields: HeaderMap,
        message: &Document,
        id: &RpcId,
    ) -> Result<(First, Asked), UpstreamError> {
        let (to, mut heard) = mpsc::channel(AHEAD);
        let (number, line) = channel.board().ask(ONLY, message, id, to);
        let asked = Asked::new(Peer::Channel(Arc::clone(channel)), Some(number));
        if !channel.is_open() {
            return Err(UpstreamError::StreamEnded);
        }
        let patience = channel::patience(&self.shared);
        let (posting, pool) = (Arc::clone(channel), pool.clone());
        // By itself, so that an answer that overtakes it does not cut it off.
        let mut posted = spawn(async move { posting.post(&pool, fields, line).await });
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
            Ok(Err(error)) => {
                if error.is_outage() {
                    channel.close();
                }
                Err(error)
            }
            Ok(Ok(Err(answer))) => Ok((First::Refused(answer), asked)),
            Ok(Ok(Ok(first))) => Ok((First::Heard(first, heard), asked)),
        }
    }

    /// What has no answer is taken, whether the server hears of it or not.
    async fn aside(
        &self,
        pool: &Pool,
        channel: &Channel,
        fields: HeaderMap,
        line: Option<Line>,
    ) -> Result<Answer, UpstreamError> {
        let Some(line) = line else { return Ok(Answer::bare(StatusCode::ACCEPTED)) };
        let answer = channel.post(pool, fields, line).await?;
        Ok(if answer.status.is_success() { Answer::bare(StatusCode::ACCEPTED) } else { answer })
    }

    async fn listen(
        &self,
        pool: &Pool,
        id: &str,
        fields: &HeaderMap,
        passenger: &Passenger,
    ) -> Result<Answer, UpstreamError> {
        let conversation = self.find(id)?;
        let mut posting = fields.clone();
        posting.insert(CONTENT_TYPE, JSON);
        let channel = self.channel(pool, &conversation, &posting, passenger).await?;
        let place = self.shared.replicas.enter(channel.replica(), passenger).await?;
        let (to, heard) = mpsc::channel(AHEAD);
        channel.board().listen(ONLY, to);
        let mut answer = streamed(Lines::new(None, heard, Asked::new(Peer::Channel(channel), None), None));
        answer.body.hold(place);
        Ok(answer)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Conversation>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conversation {
    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = clock::monotonic();
    }

    /// Whether nothing has been asked for so long, and nobody waits for anything.
    fn is_idle(&self, time: Duration) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(channel) = self.channel.try_lock() else { return false };
        used.elapsed() >= time && channel.board().is_idle()
    }
}

impl Drop for Conversation {
    /// Calls that still run are told by the end of their stream.
    fn drop(&mut self) {
        self.channel.get_mut().close();
    }
}

/// Whether an answer says that there is no stream, and not that something is wrong with the request or the server.
fn is_no_stream(answer: &Answer) -> bool {
    answer.status.is_success() || matches!(answer.status.as_u16(), 400 | 404 | 405 | 406)
}

fn streamed(lines: Lines) -> Answer {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    Answer { status: StatusCode::OK, headers, body: AnswerBody::lines(lines) }
}

#[expect(clippy::disallowed_methods, reason = "ends with the upstream's timeouts")]
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}
