//! One event stream of a server of 2024-11-05, the endpoint it named, and the switchboard between them and the clients.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::EndpointError;
use super::Shared;
use super::endpoint::resolve;
use crate::mcp::sse::{Event, EventName, Line, Splitter};
use crate::reply::{Media, media_type};
use crate::upstream::losses::Loss;
use crate::upstream::outbound::Passenger;
use crate::upstream::request::{Head, Request};
use crate::upstream::switchboard::{Outcome, Switchboard};
use crate::upstream::{Answer, AnswerBody, Pool, Upstream, UpstreamError};

/// The most bytes of one event.
const EVENT_BYTES: usize = 16 * 1024 * 1024;
/// The most bytes before the `endpoint` event.
const GREETING_BYTES: usize = 64 * 1024;
/// The most queued messages of the proxy's own.
const LINES: usize = 64;
/// The most bytes of the answer to a POST, which should be empty.
const TAKEN_BYTES: usize = 64 * 1024;
/// Number of unanswered calls, with nothing received meanwhile, after which the stream counts as dead.
const SILENT: u32 = 2;

/// An open stream, and the endpoint for messages.
#[derive(Debug)]
pub(in crate::upstream) struct Channel {
    shared: Arc<Shared>,
    board: Mutex<Switchboard>,
    /// The URL for messages, at the replica that the stream is from.
    endpoint: Arc<Upstream>,
    replica: usize,
    /// The headers for messages of the proxy's own: those of the client's latest message.
    head: Mutex<Head>,
    own: mpsc::Sender<Line>,
    closed: CancellationToken,
    silent: AtomicU32,
    is_odd: AtomicBool,
}

/// Why there is no channel.
#[derive(Debug)]
pub(super) enum Unopened {
    /// The server's answer, which is not a stream.
    Answer(Box<Answer>),
    Error(UpstreamError),
}

impl From<UpstreamError> for Unopened {
    fn from(error: UpstreamError) -> Self {
        Self::Error(error)
    }
}

impl Channel {
    /// Opens a stream with the headers `head`, and waits for its `endpoint` event. Errs if either does not come in time.
    pub(super) async fn open(
        shared: &Arc<Shared>,
        pool: &Pool,
        head: &Head,
        passenger: &Passenger,
    ) -> Result<Arc<Self>, Unopened> {
        let patience = shared.server.timeouts.first_byte;
        let opening = Self::begin(shared, pool, head, passenger);
        timeout(patience, opening).await.unwrap_or(Err(UpstreamError::FirstByte(patience).into()))
    }

    async fn begin(
        shared: &Arc<Shared>,
        pool: &Pool,
        head: &Head,
        passenger: &Passenger,
    ) -> Result<Arc<Self>, Unopened> {
        let mut request = Request { head: head.clone().with(Method::GET), content: Bytes::new() };
        let (replica, answer) = shared.replicas.ask(pool, &mut request, &passenger.streaming()).await?;
        if !answer.status.is_success() || media_type(&answer.fields) != Media::EventStream {
            return Err(Unopened::Answer(answer));
        }
        let upstream = shared.replicas.upstream(replica).ok_or(UpstreamError::NoSuchSession)?;
        let mut body = answer.body.unhurried();
        let mut splitter = Splitter::new(EVENT_BYTES);
        let endpoint = named(&mut body, &mut splitter).await?;
        let endpoint = resolve(upstream.url(), &endpoint).map_err(UpstreamError::Endpoint)?;
        let endpoint = upstream.at(&endpoint).ok_or(UpstreamError::Endpoint(EndpointError::NoAddress))?;
        let (own, lines) = mpsc::channel(LINES);
        let channel = Arc::new(Self {
            shared: Arc::clone(shared),
            board: Mutex::new(Switchboard::among(Arc::clone(&shared.is_broadcast), Arc::clone(&shared.ids))),
            endpoint,
            replica,
            head: Mutex::new(head.clone()),
            own,
            closed: CancellationToken::new(),
            silent: AtomicU32::new(0),
            is_odd: AtomicBool::new(false),
        });
        let closed = channel.closed.clone();
        spawn(read(Arc::downgrade(&channel), closed.clone(), body, splitter));
        spawn(write(Arc::downgrade(&channel), closed, pool.clone(), lines));
        Ok(channel)
    }

    pub(in crate::upstream) fn board(&self) -> MutexGuard<'_, Switchboard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of its replica.
    pub(super) const fn replica(&self) -> usize {
        self.replica
    }

    /// Whether the stream is not known to be closed.
    pub(super) fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    /// Closes the stream, which ends all pending calls.
    pub(super) fn close(&self) {
        self.closed.cancel();
        self.board().clear();
    }

    /// Posts a client's message with the headers `head`, and returns the answer to the POST. Errs if there is none.
    pub(super) async fn post(&self, pool: &Pool, head: Head, line: Line) -> Result<Box<Answer>, UpstreamError> {
        self.head().clone_from(&head);
        let request = Request { head: head.with(Method::POST), content: line.into_bytes() };
        let answer = self.shared.replicas.send_to(self.replica, &self.endpoint, pool, &request).await?;
        let Answer { status, fields, body } = *answer;
        // Read to the end, so that the connection can be reused.
        let said = body.collect_limited(TAKEN_BYTES).await?;
        Ok(Answer::new(status, fields, AnswerBody::whole(said)))
    }

    /// Queues a message of the proxy's own for posting; drops it if the queue is full.
    pub(in crate::upstream) fn say(&self, line: Line) {
        let _ = self.own.try_send(line);
    }

    /// Notes that a call was not answered in time; closes the stream after [`SILENT`] of them.
    pub(super) fn doubt(&self) {
        if self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT {
            tracing::warn!(server = %self.shared.server.name, "nothing is heard on a stream any more, and it is closed");
            self.close();
        }
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, event: &Event) {
        self.silent.store(0, Ordering::Relaxed);
        let Some(data) = event.data.as_ref().filter(|data| !data.is_empty()).cloned() else { return };
        let server = &self.shared.server.name;
        if event.name() != Some(EventName::Message) {
            // The endpoint is fixed when the stream begins.
            return tracing::debug!(%server, "an event that is no message is dropped");
        }
        let outcome = self.board().hear(data);
        match outcome {
            Outcome::Passed => {}
            Outcome::Reply(answer) => self.say(Line::of_json(answer)),
            Outcome::Dropped(why) => {
                self.shared.losses.count(why);
                tracing::debug!(%server, why = why.word(), "message of a stream dropped");
            }
            Outcome::Unasked => {
                self.shared.losses.count(Loss::Unasked);
                if !self.shared.is_broadcast.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %server,
                        "a stream carries answers to what was not asked on it, which are dropped; from now on only answers \
                         go to clients: say so with `sessions = \"shared\"`"
                    );
                }
            }
            Outcome::Unreadable(error) => {
                self.shared.losses.count(Loss::NotMcp);
                if !self.is_odd.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%server, %error, "an event is no message and is dropped");
                }
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// The data of the first event; errs if that is not an `endpoint` event.
async fn named(body: &mut AnswerBody, splitter: &mut Splitter) -> Result<Bytes, UpstreamError> {
    let missing = || UpstreamError::Endpoint(EndpointError::Missing);
    let mut read = 0;
    loop {
        while let Some(event) = splitter.next_event() {
            let event = event.map_err(|_| missing())?;
            let Some(data) = &event.data else { continue };
            return if event.name() == Some(EventName::Endpoint) { Ok(data.clone()) } else { Err(missing()) };
        }
        let frame = body.frame().await.ok_or_else(missing)??;
        if let Ok(data) = frame.into_data() {
            read += data.len();
            splitter.feed(data);
            if read > GREETING_BYTES {
                return Err(missing());
            }
        }
    }
}

/// Reads events until the stream ends or the channel is dropped.
async fn read(channel: Weak<Channel>, closed: CancellationToken, mut body: AnswerBody, mut splitter: Splitter) {
    loop {
        while let Some(event) = splitter.next_event() {
            let Some(channel) = channel.upgrade() else { return };
            match event {
                Ok(event) => channel.hear(&event),
                Err(error) => {
                    tracing::warn!(server = %channel.shared.server.name, %error, "a stream is closed");
                    return channel.close();
                }
            }
        }
        let frame = tokio::select! {
            biased;
            () = closed.cancelled() => return,
            frame = body.frame() => frame,
        };
        match frame {
            Some(Ok(frame)) => frame.into_data().into_iter().for_each(|data| splitter.feed(data)),
            Some(Err(_)) | None => break,
        }
    }
    if let Some(channel) = channel.upgrade() {
        channel.close();
    }
}

/// Posts the proxy's own messages, one after the other.
async fn write(channel: Weak<Channel>, closed: CancellationToken, pool: Pool, mut lines: mpsc::Receiver<Line>) {
    loop {
        let line = tokio::select! {
            biased;
            () = closed.cancelled() => return,
            line = lines.recv() => line,
        };
        let (Some(line), Some(channel)) = (line, channel.upgrade()) else { return };
        let head = channel.head().clone();
        if let Err(error) = channel.post(&pool, head, line).await {
            tracing::debug!(server = %channel.shared.server.name, %error, "the upstream could not be told");
        }
    }
}

/// How long a request may go without a sign of an answer.
pub(super) fn patience(shared: &Shared) -> Duration {
    shared.server.timeouts.first_byte
}

#[expect(clippy::disallowed_methods, reason = "ends with the channel, which ends with its last user")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
