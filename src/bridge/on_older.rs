//! The calls of a client of 2026-07-28 at an upstream of an older revision.
//!
//! A question the older server asks while a call runs ends the answer to that call, as questions of the newer revision do;
//! the upstream's stream stays open, under a name in `requestState`, and goes on when the client has brought its answers.

pub(super) mod hub;
mod listen;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::link::Link;
use super::older::{self, Stated};
use super::session::Session;
use super::{answer, event};
use crate::auth::Caller;
use crate::json::{Document, Limits, Value};
use crate::mcp::Access;
use crate::mcp::methods::{self, ASKED_OF_CLIENTS, CANCELLED, DISCOVER, LISTEN, Method, PING};
use crate::mcp::sse::Splitter;
use crate::reply::{Media, media_type};
use crate::upstream::{Answer, AnswerBody, Outbound, UpstreamError};

/// How long a client may take to answer what a server asks.
const PATIENCE: Duration = Duration::from_mins(10);
/// Events of one call on their way to the client.
const AHEAD: usize = 16;
/// The state of a call that is simply made again.
const AGAIN: &str = "again";

/// A request of the client.
#[derive(Clone, Debug)]
struct Asked {
    caller: Arc<Caller>,
    /// As written.
    id: Bytes,
    method: Option<&'static Method>,
    stated: Stated,
}

/// The answers a client brought, and where what comes next goes.
#[derive(Debug)]
pub(super) struct Resumed {
    asked: Asked,
    responses: Document,
    out: mpsc::Sender<Bytes>,
}

/// Sends a message of 2026-07-28.
pub(super) async fn send(link: Link, outbound: Outbound) -> Result<Answer, UpstreamError> {
    let Ok(document) = Document::parse(outbound.bytes().clone(), &Limits::ANSWER) else {
        return Ok(answer::unusable());
    };
    let root = document.root();
    let name = root.get("method").and_then(|method| method.as_str()).unwrap_or_default();
    // 2026-07-28 has no notifications of clients over HTTP; what comes all the same is taken and goes nowhere.
    let (Some(id), Some(caller)) = (root.get("id"), outbound.caller()) else {
        return Ok(answer::accepted());
    };
    let params = root.get("params");
    let stated = Stated::of(params);
    let asked = Asked { caller: caller.clone(), id: id.raw_bytes(), method: methods::find(&name), stated };
    if let Some(state) = params.and_then(|params| params.get("requestState")?.as_str())
        && state != AGAIN
    {
        return Ok(resume(&link, asked, &state, params));
    }
    if asked.method.is_some_and(|method| method.access == Access::Task || methods::lists_tasks(method)) {
        return Ok(answer::no_method(&asked.id));
    }
    let session = match link.route.bridge.sessions.get(&link, &asked.caller, &asked.stated).await {
        Ok(session) => session,
        Err(unopened) => return unopened.into_answer(),
    };
    match &*name {
        DISCOVER => Ok(answer::message(older::discovered(&session.opened, &asked.id))),
        LISTEN => Ok(listen::open(link, session, &asked.id, params).await),
        _ => call(link, session, asked, &document).await,
    }
}

/// Lets a call that waits for answers go on.
fn resume(link: &Link, asked: Asked, state: &str, params: Option<Value<'_>>) -> Answer {
    let responses = params.and_then(|params| params.get("inputResponses"));
    let responses = responses.map_or_else(|| Bytes::from_static(b"{}"), |responses| responses.raw_bytes());
    let id = asked.id.clone();
    let (out, events) = mpsc::channel(AHEAD);
    let resumed = Document::parse(responses, &Limits::ANSWER).ok().map(|responses| Resumed { asked, responses, out });
    if resumed.is_some_and(|resumed| link.route.bridge.parked.resume(state, resumed)) {
        return Answer::events(events);
    }
    answer::to(&id, r#""error":{"code":-32602,"message":"What was asked is no longer waited for"}"#)
}

async fn call(
    link: Link,
    mut session: Arc<Session>,
    asked: Asked,
    document: &Document,
) -> Result<Answer, UpstreamError> {
    let mut is_again = false;
    loop {
        if let Some(level) = &asked.stated.log_level {
            session.log_from(&link, level).await;
        }
        let own = session.next_id();
        let unanswered = Unanswered { link: link.clone(), session: session.clone(), own, is_over: false };
        let message = older::message(document, Some(own));
        let answer = link.ask(session.id(), session.revision(), message).await?;
        // The server has lost the session, and has looked at nothing else (2025-11-25 "Session Management").
        if answer::has_lost_session(&answer) && session.id().is_some() && !is_again {
            unanswered.over();
            is_again = true;
            link.route.bridge.sessions.forget(&asked.caller, &asked.stated, &session).await;
            session = match link.route.bridge.sessions.get(&link, &asked.caller, &asked.stated).await {
                Ok(session) => session,
                Err(unopened) => return unopened.into_answer(),
            };
            continue;
        }
        return match media_type(&answer.headers) {
            Media::Json => {
                let (status, headers) = (answer.status, answer.headers);
                let bytes = answer.body.collect_limited(link.most_bytes()).await?;
                unanswered.over();
                Ok(match Document::parse(bytes.clone(), &Limits::ANSWER) {
                    Ok(document) => answer::newer(status, &document, answered(&document, &asked)),
                    Err(_) => Answer { status, headers, body: AnswerBody::whole(bytes) },
                })
            }
            Media::EventStream if answer.status.is_success() => {
                let (out, events) = mpsc::channel(AHEAD);
                let splitter = Splitter::new(link.worker.live.current().limits.event_bytes);
                let running = Running { unanswered, asked, body: answer.body, splitter, out, questions: Vec::new() };
                link.begin(running.run());
                Ok(Answer::events(events))
            }
            Media::EventStream | Media::None | Media::Other => {
                unanswered.over();
                Ok(answer)
            }
        };
    }
}

/// The answer as the client knows one; addresses that must be opened first become questions.
fn answered(document: &Document, asked: &Asked) -> Bytes {
    match older::elicitations(document).filter(|_| asked.method.is_some_and(|method| method.asks)) {
        Some(questions) => older::input_required(&asked.id, &questions, AGAIN),
        None => older::response(document, &asked.id, asked.method),
    }
}

/// A request of a session that has no answer yet. Dropped, it is taken back.
#[derive(Debug)]
struct Unanswered {
    link: Link,
    session: Arc<Session>,
    own: u64,
    is_over: bool,
}

impl Unanswered {
    fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (link, session, own) = (self.link.clone(), self.session.clone(), self.own);
        self.link.begin(async move {
            let message = format!(r#"{{"jsonrpc":"2.0","method":"{CANCELLED}","params":{{"requestId":{own}}}}}"#);
            let _ = link.post(session.id(), session.revision(), message.into()).await;
        });
    }
}

/// A call whose answer is a stream.
struct Running {
    unanswered: Unanswered,
    asked: Asked,
    body: AnswerBody,
    splitter: Splitter,
    out: mpsc::Sender<Bytes>,
    /// What the server has asked and nobody has answered, by a number for the client.
    questions: Vec<(u64, Document)>,
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
    async fn run(mut self) {
        loop {
            match self.next().await {
                Next::Over => return,
                Next::Waits => {
                    if !self.park().await {
                        return;
                    }
                }
                Next::Event(document) => {
                    if self.take(&document).await {
                        self.unanswered.is_over = true;
                        return;
                    }
                }
            }
        }
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
            tokio::select! {
                biased;
                () = self.out.closed() => return Next::Over,
                frame = self.body.frame() => match frame {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            self.splitter.feed(data);
                        }
                    }
                    Some(Err(_)) | None => return Next::Over,
                },
            }
        }
    }

    /// Takes one message of the server; says whether it was the answer.
    async fn take(&mut self, document: &Document) -> bool {
        let root = document.root();
        match (root.get("method"), root.get("id")) {
            (Some(_), None) => {
                if let Some(aside) = older::aside(document, &self.asked.stated) {
                    self.say(aside).await;
                }
                false
            }
            (Some(method), Some(id)) => {
                let method = method.as_str().unwrap_or_default();
                self.question(&method, id, document).await;
                false
            }
            (None, id) => {
                if id.and_then(|id| id.as_i64()) != i64::try_from(self.unanswered.own).ok() {
                    return false;
                }
                let answer = answered(document, &self.asked);
                self.say(answer).await;
                true
            }
        }
    }

    async fn say(&self, message: Bytes) {
        let _ = self.out.send(event(message)).await;
    }

    /// A request of the server: kept for the client if that can answer it, else answered here.
    async fn question(&mut self, method: &str, id: Value<'_>, document: &Document) {
        if method == PING {
            return self.reply(id, r#""result":{}"#).await;
        }
        let may_ask = self.asked.method.is_some_and(|method| method.asks);
        let known = ASKED_OF_CLIENTS.iter().any(|(name, _)| *name == method);
        if may_ask && known && client_can(&self.asked.stated, method) {
            let key = self.questions.last().map_or(0, |(key, _)| key + 1);
            self.questions.push((key, document.clone()));
        } else {
            self.reply(id, r#""error":{"code":-32601,"message":"The client cannot be asked this"}"#).await;
        }
    }

    async fn reply(&self, id: Value<'_>, what: &str) {
        let id = String::from_utf8_lossy(id.raw());
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},{what}}}"#);
        let (link, session) = (&self.unanswered.link, &self.unanswered.session);
        let _ = link.post(session.id(), session.revision(), message.into()).await;
    }

    /// Asks the client, and waits until it comes back with answers; says whether it did.
    async fn park(&mut self) -> bool {
        let bridge = self.unanswered.link.route.clone();
        let Some((name, resumed)) = bridge.bridge.parked.wait() else { return false };
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

/// Whether the client said that it can answer a server's request of that method.
fn client_can(stated: &Stated, method: &str) -> bool {
    let capability = method.split('/').next().unwrap_or_default();
    let capabilities = Document::parse(stated.capabilities.clone(), &Limits::REQUEST);
    capabilities.is_ok_and(|capabilities| capabilities.root().get(capability).is_some())
}
