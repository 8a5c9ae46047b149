//! A running call: what its server notifies and asks before it answers.

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::followed::{Followed, Stands};
use super::hub::Attended;
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

/// A request whose answer has not begun.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<Box<Answer>, UpstreamError>> + Send>>;
/// An answer that is one message.
type Collecting = Pin<Box<dyn Future<Output = Result<Bytes, UpstreamError>> + Send>>;

/// Where the answer of the upstream is.
pub(super) enum Upward {
    Body(AnswerBody),
    Collecting(Collecting),
    Head(Sending),
    Nothing,
}

/// What comes of it.
pub(super) enum Piece {
    /// Of a stream.
    Data(Bytes),
    /// The whole of it.
    Message(Bytes),
}

impl Upward {
    /// What was wanted has come.
    fn release(&mut self) {
        if let Self::Body(body) = self {
            body.release();
        }
    }

    /// The next of it; `None` where there is no more. Nothing is lost if this is not waited for.
    pub(super) async fn piece(&mut self, most: usize) -> Result<Option<Piece>, UpstreamError> {
        loop {
            match self {
                Self::Nothing => return Ok(None),
                Self::Head(sending) => {
                    let answer = sending.as_mut().await?;
                    *self = match media_type(&answer.headers) {
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

/// A call that has no answer yet.
pub(super) struct Running {
    unanswered: Unanswered,
    /// The id its progress is told by.
    token: u64,
    /// The task it goes on as, and that is followed here.
    followed: Option<Followed>,
    asked: Box<Asked>,
    upward: Upward,
    splitter: Splitter,
    /// What is asked of its client outside of it.
    outside: Option<Attended>,
    out: mpsc::Sender<Bytes>,
    /// What the server has asked and nobody has answered, by a number for the client.
    questions: Vec<(u64, Document)>,
}

/// How a call goes on that has become a task.
pub(super) enum Goes {
    /// As a task its client follows, which is told so.
    AsTask(Bytes),
    /// As one that is followed here.
    Followed(Followed),
}

/// What a message of the server was.
enum Taken {
    Answer,
    Aside,
    Task(Followed),
}

/// What a running call comes to next.
enum Next {
    Event(Document),
    /// Nobody listens any more, or nothing more comes.
    Over,
    /// The server waits for answers.
    Waits,
}

impl Running {
    pub(super) fn new(unanswered: Unanswered, asked: Box<Asked>, outside: Option<Attended>) -> Self {
        let limit = unanswered.link.worker.live.current().limits.event_bytes;
        let (out, _) = mpsc::channel(1);
        let (upward, splitter) = (Upward::Nothing, Splitter::new(limit));
        let (token, questions) = (unanswered.own, Vec::new());
        Self { unanswered, token, followed: None, asked, upward, splitter, outside, out, questions }
    }

    /// Goes on with a question of the server's before the answer begins that is `sending`.
    pub(super) async fn ask(mut self, sending: Sending, question: &Document) -> mpsc::Receiver<Bytes> {
        self.upward = Upward::Head(sending);
        self.take(question).await;
        self.begin()
    }

    /// Goes on with an answer that is a stream.
    pub(super) fn stream(mut self, body: AnswerBody) -> mpsc::Receiver<Bytes> {
        self.upward = Upward::Body(body);
        self.begin()
    }

    /// Goes on as the task the answer told of.
    pub(super) fn follow(mut self, followed: Followed) -> mpsc::Receiver<Bytes> {
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

    /// What its client was not asked before the answer came nobody will be asked: another call may wait for just that.
    async fn refuse_open(&mut self) {
        for (_, question) in std::mem::take(&mut self.questions) {
            if let Some(id) = question.root().get("id") {
                self.reply(id, r#""error":{"code":-32603,"message":"The call has been answered"}"#).await;
            }
        }
    }

    /// Nothing is to be taken back.
    fn ends(&mut self) {
        self.unanswered.is_over = true;
        self.upward.release();
        if let Some(followed) = &mut self.followed {
            followed.is_over = true;
        }
    }

    /// Waits until the task asks something or has ended, and asks for its outcome; says whether that is to be waited for.
    async fn settles(&mut self, mut followed: Followed) -> bool {
        self.unanswered.is_over = true;
        self.upward.release();
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
            match followed.look().await {
                Stands::Working => {}
                Stands::Settled => break,
                Stands::Answer(said) => {
                    let response = older::response(&said, &self.asked.id, self.asked.method);
                    self.say(response.apply(said.bytes())).await;
                    return false;
                }
                Stands::Gone => {
                    self.say(self.failed("The server ran this as a task, which was taken back or lost")).await;
                    return false;
                }
                Stands::Late(most) => {
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
        self.upward = Upward::Head(Box::pin(sending));
        true
    }

    /// The result of a tool that has none.
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
                // What is no JSON ends the stream, and the client is told that there is no answer.
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
                piece = self.upward.piece(most) => match piece {
                    Ok(Some(Piece::Data(data))) => self.splitter.feed(data),
                    Ok(Some(Piece::Message(message))) => match Document::parse(message, &Limits::ANSWER) {
                        Ok(document) => return Next::Event(document),
                        Err(_) => return Next::Over,
                    },
                    Ok(None) => return Next::Over,
                    Err(error) => {
                        // The client's answer only ends: what it is told is the same whatever went wrong.
                        self.unanswered.link.failed(&error);
                        return Next::Over;
                    }
                },
            }
        }
    }

    /// Takes one message of the server; says what it was.
    async fn take(&mut self, document: &Document) -> Taken {
        // Its client knows of no task.
        let unrelated = task::unrelated(document);
        let document = unrelated.as_ref().unwrap_or(document);
        let root = document.root();
        match (root.get("method"), root.get("id")) {
            (Some(method), None) => {
                if method.as_str().as_deref() == Some(CANCELLED)
                    && let Some(id) = root.pointer("/params/requestId")
                {
                    // Before its client was asked it need not be.
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

    /// A request of the server: kept for the client if that can answer it, else answered here.
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

    /// Asks the client, and waits until it comes back with answers; says whether it did.
    async fn park(&mut self) -> bool {
        let bridge = self.unanswered.link.route.clone();
        let Some((name, resumed)) = bridge.bridge.parked.wait(Some(Who::of(&self.asked.caller))) else { return false };
        let asked = older::input_required(&self.asked.id, &self.questions, &name);
        self.say(asked).await;
        // The client has its answer, and nothing more is said on this one.
        let (unheard, _) = mpsc::channel(1);
        self.out = unheard;
        let Ok(Ok(resumed)) = tokio::time::timeout(PATIENCE, resumed).await else { return false };
        let Resumed { asked, responses, out } = resumed;
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

/// The next thing that is asked outside of the call; never, where nothing can be.
async fn outside(attended: Option<&Attended>) -> Document {
    match attended {
        Some(attended) => attended.question().await,
        None => std::future::pending().await,
    }
}
