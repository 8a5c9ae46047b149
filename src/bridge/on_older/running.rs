//! A running call: the notifications and requests that the server sends before it answers.

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::hub::CallInbox;
use super::polled_task::{Polled, PolledTask};
use super::tasks;
use super::{AHEAD, Asked, PATIENCE, Resumed, Unanswered, answered};
use crate::auth::Who;
use crate::bridge::{event, older, task};
use crate::json::{Document, Limits, Value, quoted};
use crate::mcp::asked::ASKED_OF_CLIENTS;
use crate::mcp::methods::{CANCELLED, PING, TASKS_RESULT};
use crate::mcp::sse::Splitter;
use crate::reply::{Media, media_type};
use crate::upstream::{Answer, AnswerBody, UpstreamError};

/// A request that has been sent, until the head of its answer is there.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<Box<Answer>, UpstreamError>> + Send>>;
/// The body of an answer that is one message.
type Collecting = Pin<Box<dyn Future<Output = Result<Bytes, UpstreamError>> + Send>>;

/// The upstream's answer, by how much of it is there.
pub(super) enum PendingAnswer {
    Body(AnswerBody),
    Collecting(Collecting),
    Head(Sending),
    Nothing,
}

/// A part of the upstream's answer.
pub(super) enum Piece {
    /// Bytes of an event stream.
    Data(Bytes),
    /// The one message of an answer that is no stream.
    Message(Bytes),
}

impl PendingAnswer {
    /// Releases the concurrency slot: the response has come.
    fn release(&mut self) {
        if let Self::Body(body) = self {
            body.release();
        }
    }

    /// The next part; `None` at the end. `most` is the limit of a whole message, in bytes. Cancel-safe. Errs if the answer
    /// breaks off or is too large.
    pub(super) async fn piece(&mut self, most: usize) -> Result<Option<Piece>, UpstreamError> {
        loop {
            match self {
                Self::Nothing => return Ok(None),
                Self::Head(sending) => {
                    let answer = sending.as_mut().await?;
                    *self = match media_type(&answer.fields) {
                        Media::Json => Self::Collecting(Box::pin(answer.body.collect_limited(most))),
                        Media::EventStream if answer.status.is_success() => Self::Body(answer.body),
                        Media::EventStream | Media::None | Media::Other => return Ok(None),
                    };
                }
                Self::Collecting(all) => {
                    let message = all.as_mut().await;
                    *self = Self::Nothing;
                    return message.map(|message| Some(Piece::Message(message)));
                }
                Self::Body(body) => {
                    let Some(frame) = body.frame().await else { return Ok(None) };
                    if let Ok(data) = frame?.into_data() {
                        return Ok(Some(Piece::Data(data)));
                    }
                }
            }
        }
    }
}

/// A call without an answer yet.
pub(super) struct Running {
    unanswered: Unanswered,
    /// The progress token: the id of the first request of the call.
    token: u64,
    /// The task that the call runs as, if the proxy follows it.
    followed: Option<PolledTask>,
    asked: Box<Asked>,
    pending: PendingAnswer,
    splitter: Splitter,
    /// Receives server requests outside of the call.
    outside: Option<CallInbox>,
    out: mpsc::Sender<Bytes>,
    /// The unanswered server requests, by the key for the client.
    questions: Vec<(u64, Document)>,
}

/// How a call continues that has become a task.
pub(super) enum Goes {
    /// The client follows the task; the message tells it so.
    AsTask(Bytes),
    /// The proxy follows the task.
    Followed(PolledTask),
}

/// What a message from the server was.
enum Taken {
    Answer,
    Aside,
    Task(PolledTask),
}

/// What happens next in a running call.
enum Next {
    Event(Document),
    /// The client has gone, or the upstream's answer has ended.
    Over,
    /// The server waits for responses to its requests.
    Waits,
}

impl Running {
    pub(super) fn new(unanswered: Unanswered, asked: Box<Asked>, outside: Option<CallInbox>) -> Self {
        let limit = unanswered.link.worker.live.current().limits.event_bytes;
        let (out, _) = mpsc::channel(1);
        let (pending, splitter) = (PendingAnswer::Nothing, Splitter::new(limit));
        let (token, questions) = (unanswered.own, Vec::new());
        Self { unanswered, token, followed: None, asked, pending, splitter, outside, out, questions }
    }

    /// Continues with a server request that came before the answer to the call, which is still awaited in `sending`.
    pub(super) async fn ask(mut self, sending: Sending, question: &Document) -> mpsc::Receiver<Bytes> {
        self.pending = PendingAnswer::Head(sending);
        self.take(question).await;
        self.begin()
    }

    /// Continues with an answer that is an event stream.
    pub(super) fn stream(mut self, body: AnswerBody) -> mpsc::Receiver<Bytes> {
        self.pending = PendingAnswer::Body(body);
        self.begin()
    }

    /// Continues as a task that the proxy follows.
    pub(super) fn follow(mut self, followed: PolledTask) -> mpsc::Receiver<Bytes> {
        let (out, events) = mpsc::channel(AHEAD);
        self.out = out;
        let link = self.unanswered.link.clone();
        link.begin(async move {
            if self.settles(followed).await {
                self.run().await;
            }
        });
        events
    }

    fn begin(mut self) -> mpsc::Receiver<Bytes> {
        let (out, events) = mpsc::channel(AHEAD);
        self.out = out;
        let link = self.unanswered.link.clone();
        link.begin(self.run());
        events
    }

    async fn run(mut self) {
        loop {
            match self.next().await {
                Next::Over => return,
                Next::Waits => {
                    if !self.park().await {
                        return;
                    }
                }
                Next::Event(document) => match self.take(&document).await {
                    Taken::Answer => {
                        self.refuse_open().await;
                        self.ends();
                        return;
                    }
                    Taken::Aside => {}
                    Taken::Task(followed) => {
                        if !self.settles(followed).await {
                            return;
                        }
                    }
                },
            }
        }
    }

    /// Answers open server requests with an error after the call: its client will not get them, and the server may still
    /// wait.
    async fn refuse_open(&mut self) {
        for (_, question) in std::mem::take(&mut self.questions) {
            if let Some(id) = question.root().get("id") {
                self.reply(id, r#""error":{"code":-32603,"message":"The call has been answered"}"#).await;
            }
        }
    }

    /// Marks the call as ended, so that nothing is cancelled.
    fn ends(&mut self) {
        self.unanswered.is_over = true;
        self.pending.release();
        if let Some(followed) = &mut self.followed {
            followed.is_over = true;
        }
    }

    /// Polls the task until it needs input or has ended, and then requests its outcome. Returns false if the call is over.
    async fn settles(&mut self, mut followed: PolledTask) -> bool {
        self.unanswered.is_over = true;
        self.pending.release();
        loop {
            tokio::select! {
                biased;
                () = self.out.closed() => return false,
                asked = outside(self.outside.as_ref()) => {
                    self.take(&asked).await;
                    break;
                }
                () = tokio::time::sleep(followed.pause()) => {}
            }
            match followed.poll().await {
                Polled::Working => {}
                Polled::Settled => break,
                Polled::Answer(said) => {
                    let response = older::response(&said, &self.asked.id, self.asked.method);
                    self.say(response.apply(said.bytes())).await;
                    return false;
                }
                Polled::Gone => {
                    self.say(self.failed("The server ran this as a task, which was taken back or lost")).await;
                    return false;
                }
                Polled::Late(most) => {
                    let text = format!("The server ran this as a task, which took longer than {} s", most.as_secs());
                    self.say(self.failed(&text)).await;
                    return false;
                }
            }
        }
        let (link, session) = (self.unanswered.link.clone(), self.unanswered.session.clone());
        let own = session.next_id();
        let message = tasks::question(&own.to_string(), TASKS_RESULT, &followed.id);
        self.unanswered = Unanswered { link: link.clone(), session: session.clone(), own, is_over: false };
        self.followed = Some(followed);
        self.splitter = Splitter::new(link.worker.live.current().limits.event_bytes);
        let sending = async move { link.ask(&session.within, message).await };
        self.pending = PendingAnswer::Head(Box::pin(sending));
        true
    }

    /// A tool result with `isError`, in place of an outcome that does not come.
    fn failed(&self, text: &str) -> Bytes {
        let id = String::from_utf8_lossy(&self.asked.id);
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","content":[{{"type":"text","text":{}}}],"isError":true}}}}"#,
            quoted(text)
        )
        .into()
    }

    async fn next(&mut self) -> Next {
        loop {
            while let Some(event) = self.splitter.next_event() {
                let Ok(event) = event else { return Next::Over };
                let Some(data) = event.data.filter(|data| !data.is_empty()) else { continue };
                // Invalid JSON ends the call, and the client gets an error.
                let Ok(document) = Document::parse(data, &Limits::ANSWER) else { return Next::Over };
                return Next::Event(document);
            }
            if !self.questions.is_empty() {
                return Next::Waits;
            }
            let most = self.unanswered.link.most_bytes();
            tokio::select! {
                biased;
                () = self.out.closed() => return Next::Over,
                asked = outside(self.outside.as_ref()) => return Next::Event(asked),
                piece = self.pending.piece(most) => match piece {
                    Ok(Some(Piece::Data(data))) => self.splitter.feed(data),
                    Ok(Some(Piece::Message(message))) => match Document::parse(message, &Limits::ANSWER) {
                        Ok(document) => return Next::Event(document),
                        Err(_) => return Next::Over,
                    },
                    Ok(None) => return Next::Over,
                    Err(error) => {
                        // The client's stream only ends: the client gets the same error whatever went wrong.
                        self.unanswered.link.failed(&error);
                        return Next::Over;
                    }
                },
            }
        }
    }

    /// Handles a message from the server; returns what it was.
    async fn take(&mut self, document: &Document) -> Taken {
        // The client does not know of the task.
        let unrelated = task::unrelated(document);
        let document = unrelated.as_ref().unwrap_or(document);
        let root = document.root();
        match (root.get("method"), root.get("id")) {
            (Some(method), None) => {
                if method.as_str().as_deref() == Some(CANCELLED)
                    && let Some(id) = root.pointer("/params/requestId")
                {
                    // A request that the server cancels need not be sent to the client.
                    self.questions
                        .retain(|(_, question)| question.root().get("id").is_none_or(|own| own.raw() != id.raw()));
                }
                if let Some(aside) = older::aside(document, self.token, &self.asked.stated) {
                    self.say(aside).await;
                }
                Taken::Aside
            }
            (Some(method), Some(id)) => {
                let method = method.as_str().unwrap_or_default();
                self.question(&method, id, document).await;
                Taken::Aside
            }
            (None, id) => {
                if id.and_then(|id| id.as_i64()) != i64::try_from(self.unanswered.own).ok() {
                    return Taken::Aside;
                }
                let goes = self.followed.is_none().then(|| self.unanswered.goes_on(&self.asked, document));
                match goes.flatten() {
                    Some(Goes::Followed(followed)) => Taken::Task(followed),
                    Some(Goes::AsTask(message)) => {
                        self.say(message).await;
                        Taken::Answer
                    }
                    None => {
                        self.say(answered(document, &self.asked).bytes(document)).await;
                        Taken::Answer
                    }
                }
            }
        }
    }

    async fn say(&mut self, message: Bytes) {
        let _ = self.out.send(event(message)).await;
    }

    /// Handles a server request: keeps it for the client if that accepts such requests, and else answers it.
    async fn question(&mut self, method: &str, id: Value<'_>, document: &Document) {
        if method == PING {
            return self.reply(id, r#""result":{}"#).await;
        }
        let may_ask = self.asked.method.is_some_and(|method| method.asks);
        let known = ASKED_OF_CLIENTS.iter().any(|(name, _)| *name == method);
        if may_ask && known && self.asked.stated.able.answers(method) {
            let key = self.questions.last().map_or(0, |(key, _)| key + 1);
            self.questions.push((key, document.clone()));
        } else {
            self.reply(id, r#""error":{"code":-32601,"message":"The client cannot be asked this"}"#).await;
        }
    }

    async fn reply(&mut self, id: Value<'_>, what: &str) {
        let id = String::from_utf8_lossy(id.raw());
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},{what}}}"#);
        let (link, session) = (&self.unanswered.link, &self.unanswered.session);
        let _ = link.post(&session.within, message.into()).await;
    }

    /// Ends the client's call with the server's requests, and waits until the client repeats it with responses; returns
    /// false if it does not, or if too many calls wait.
    async fn park(&mut self) -> bool {
        let bridge = self.unanswered.link.route.clone();
        let Some((name, resumed)) = bridge.bridge.parked.wait(Some(Who::of(&self.asked.caller))) else { return false };
        let asked = older::input_required(&self.asked.id, &self.questions, &name);
        self.say(asked).await;
        // The client's call is answered: nothing more is sent on this stream.
        let (unheard, _) = mpsc::channel(1);
        self.out = unheard;
        let Ok(Ok(resumed)) = tokio::time::timeout(PATIENCE, resumed).await else { return false };
        let Resumed { mut asked, responses, out } = resumed;
        // Only if the call asked to run as a task.
        asked.follower = self.asked.follower.and(asked.follower);
        (self.asked, self.out) = (asked, out);
        let mut open = Vec::new();
        for (key, question) in std::mem::take(&mut self.questions) {
            let response = responses.root().get(&key.to_string()).map(|response| response.raw_bytes());
            match (response, question.root().get("id")) {
                (Some(response), Some(id)) => {
                    self.reply(id, &format!(r#""result":{}"#, String::from_utf8_lossy(&response))).await;
                }
                _ => open.push((key, question)),
            }
        }
        self.questions = open;
        true
    }
}

/// The next server request outside of the call; never completes if the call is not registered for them.
async fn outside(inbox: Option<&CallInbox>) -> Document {
    match inbox {
        Some(inbox) => inbox.question().await,
        None => std::future::pending().await,
    }
}
