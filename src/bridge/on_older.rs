//! Messages of a client of 2026-07-28 at an upstream of an older revision.
//!
//! A request that the older server sends during a call ends the answer to that call with an `input_required` result
//! (2026-07-28, "Multi Round-Trip Requests"); the upstream's stream stays open, under a name in `requestState`, and is read
//! on when the client repeats the call with the responses.

pub(super) mod hub;
mod known_tasks;
mod listen;
mod polled_task;
mod running;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::answer::{self, Rewritten};
use super::link::Link;
use super::older::{self, Stated};
use super::session::{Session, Unopened};
use hub::{CallInbox, Hub};
pub(super) use known_tasks::KnownTasks;
use polled_task::PolledTask;
use running::{Goes, Running, Sending};
use tasks::Follower;

use crate::auth::Caller;
use crate::json::{Document, Limits, Value};
use crate::mcp::methods::{self, CANCELLED, DISCOVER, LISTEN, Method};
use crate::mcp::{Access, Era};
use crate::reply::{Media, media_type};
use crate::upstream::{Answer, AnswerBody, Outbound, UpstreamError};

/// How long a client may take to answer a server's requests.
const PATIENCE: Duration = Duration::from_mins(10);
/// Number of events buffered for the client of one call.
const AHEAD: usize = 16;
/// The `requestState` of a call that is repeated without anything waiting for it.
const AGAIN: &str = "again";

/// A client's request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    caller: Arc<Caller>,
    /// The id as the client wrote it, as JSON.
    id: Bytes,
    method: Option<&'static Method>,
    stated: Stated,
    /// Who follows its task, if it asks to run as one.
    follower: Option<Follower>,
    /// Whether the client is of the upstream's era and only has no session.
    is_older: bool,
}

/// A client's repeated call with its responses, and the sender for the events of its answer.
#[derive(Debug)]
pub(super) struct Resumed {
    asked: Box<Asked>,
    responses: Document,
    out: mpsc::Sender<Bytes>,
}

impl Asked {
    /// A request of a client of the upstream's era.
    pub(super) const fn older(caller: Arc<Caller>, id: Bytes, method: Option<&'static Method>, stated: Stated) -> Self {
        Self { caller, id, method, stated, follower: None, is_older: true }
    }

    /// Whether the server may send the client requests before it answers.
    fn may_be_asked(&self) -> bool {
        self.method.is_some_and(|method| method.asks) && self.stated.able.answers_any()
    }
}

/// Sends a message of a client of 2026-07-28. Errs if the upstream does not answer.
pub(super) async fn send(link: Link, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
    let Some(document) = outbound.document() else { return Ok(answer::unusable()) };
    let root = document.root();
    // In 2026-07-28 clients send no notifications over HTTP; one that comes all the same is accepted and dropped.
    let (Some(id), Some(caller)) = (root.get("id"), outbound.caller()) else {
        return Ok(answer::accepted());
    };
    let params = root.get("params");
    let stated = Stated::of(params);
    let (id, method) = (id.raw_bytes(), outbound.listed());
    let asked = Asked { caller: caller.clone(), id, method, stated, follower: None, is_older: false };
    let mut asked = Box::new(asked);
    if let Some(state) = params.and_then(|params| params.get("requestState")?.as_str())
        && state != AGAIN
    {
        asked.follower = Some(Follower::of(&asked, params));
        return Ok(resume(&link, asked, &state, params));
    }
    let is_task = asked.method.is_some_and(|method| method.access == Access::Task || methods::lists_tasks(method));
    let task = params.filter(|_| is_task).and_then(|params| params.get("taskId")?.as_str());
    let begun = task.and_then(|task| link.route.bridge.tasks.session(&asked.caller, &task));
    let session = match begun {
        Some(session) => Ok(session),
        None => link.route.bridge.sessions.of_newer(&link, &asked.caller, &asked.stated).await,
    };
    let session = match session {
        Ok(session) => session,
        Err(Unopened::Answer(answer)) => return Ok(answer),
        Err(Unopened::Error(error)) => return Err(error),
        Err(Unopened::NotOlder) => return link.deliver(outbound).await,
        Err(Unopened::TooLong) => return Ok(answer::too_long(&asked.id)),
    };
    match asked.method.map_or("", |method| method.name) {
        DISCOVER => Ok(answer::message(older::discovered(&session.opened, &asked.id))),
        LISTEN => Ok(listen::open(link, session, *asked, params)),
        // Boxed, since few calls need it.
        _ if is_task && session.runs_tasks => Box::pin(tasks::send(link, session, asked, params)).await,
        _ if is_task => Ok(answer::no_tasks(&asked.id, Era::Modern)),
        _ => {
            asked.follower = tasks::follower(&link, &session, &asked, params);
            call(link, session, asked, &document).await
        }
    }
}

/// Resumes the call that waits under the name `state`, with the responses in `params`; its further events answer `asked`.
fn resume(link: &Link, asked: Box<Asked>, state: &str, params: Option<Value<'_>>) -> Box<Answer> {
    let responses = params.and_then(|params| params.get("inputResponses"));
    let responses = responses.map_or_else(|| Bytes::from_static(b"{}"), |responses| responses.raw_bytes());
    let id = asked.id.clone();
    let (out, events) = mpsc::channel(AHEAD);
    let resumed = Document::parse(responses, &Limits::ANSWER).ok().map(|responses| Resumed { asked, responses, out });
    if resumed.is_some_and(|resumed| link.route.bridge.parked.resume(state, resumed)) {
        return Answer::events(events);
    }
    answer::not_waiting(&id)
}

/// Makes a call in a session, and once more in a new one if the upstream has lost that. Errs if the upstream does not
/// answer.
pub(super) async fn call(
    link: Link,
    mut session: Arc<Session>,
    asked: Box<Asked>,
    document: &Document,
) -> Result<Box<Answer>, UpstreamError> {
    let mut is_again = false;
    loop {
        if let Some(level) = &asked.stated.log_level {
            Box::pin(session.log_from(&link, level)).await;
        }
        let own = session.next_id();
        let unanswered = Unanswered { link: link.clone(), session: session.clone(), own, is_over: false };
        let message = if asked.is_older {
            older::renumbered(document, own)
        } else {
            older::message(document, Some(own), asked.follower.is_some())
        };
        let (answer, inbox) = if asked.may_be_asked() {
            let inbox = Hub::register(&link, &session, own);
            if inbox.is_early() {
                Box::pin(session.hub.settle()).await;
            }
            let ends = (link.clone(), session.clone());
            let mut sending: Sending = Box::pin(async move { ends.0.ask(&ends.1.within, message).await });
            let question = tokio::select! {
                biased;
                answer = &mut sending => Err(answer?),
                question = inbox.question() => Ok(question),
            };
            match question {
                Err(answer) => (answer, Some(inbox)),
                Ok(question) => {
                    let running = Running::new(unanswered, asked, Some(inbox));
                    return Ok(Answer::events(Box::pin(running.ask(sending, &question)).await));
                }
            }
        } else {
            (link.ask(&session.within, message).await?, None)
        };
        // The server has lost the session, so it has not processed the call (2025-11-25, "Session Management").
        if answer::has_lost_session(&answer) && session.within.id().is_some() && !is_again {
            unanswered.over();
            is_again = true;
            let sessions = &link.route.bridge.sessions;
            sessions.forget(&asked.caller, &asked.stated, &session).await;
            session = match Box::pin(sessions.get(&link, &asked.caller, &asked.stated)).await {
                Ok(session) => session,
                Err(Unopened::Answer(answer)) => return Ok(answer),
                Err(Unopened::Error(error)) => return Err(error),
                Err(Unopened::NotOlder) => return Ok(answer::unusable()),
                Err(Unopened::TooLong) => return Ok(answer::too_long(&asked.id)),
            };
            continue;
        }
        return heard(unanswered, asked, inbox, answer).await;
    }
}

/// Translates the upstream's answer to a call. Errs if the body cannot be read.
async fn heard(
    unanswered: Unanswered,
    asked: Box<Asked>,
    inbox: Option<CallInbox>,
    answer: Box<Answer>,
) -> Result<Box<Answer>, UpstreamError> {
    match media_type(&answer.fields) {
        Media::Json => {
            let (status, fields) = (answer.status, answer.fields);
            let bytes = answer.body.collect_limited(unanswered.link.most_bytes()).await?;
            let document = match Document::parse_or_return(bytes) {
                Ok(document) => document,
                Err(bytes) => {
                    unanswered.over();
                    return Ok(Answer::new(status, fields, AnswerBody::whole(bytes)));
                }
            };
            if let Some(goes) = unanswered.goes_on(&asked, &document) {
                return Ok(match goes {
                    Goes::AsTask(message) => {
                        unanswered.over();
                        Answer::json(status, message)
                    }
                    Goes::Followed(followed) => Answer::events(Running::new(unanswered, asked, inbox).follow(followed)),
                });
            }
            let own = unanswered.own;
            unanswered.over();
            // A response to another request would be taken for the answer once it has the client's id.
            if !older::is_answer(&document, own) {
                return Ok(answer::unusable());
            }
            let status = if asked.is_older { status } else { answer::newer(status, &document) };
            let body = answered(&document, &asked).body(document);
            Ok(Answer::new(status, fields, body))
        }
        Media::EventStream if answer.status.is_success() => {
            Ok(Answer::events(Running::new(unanswered, asked, inbox).stream(answer.body)))
        }
        Media::EventStream | Media::None | Media::Other => {
            unanswered.over();
            Ok(answer)
        }
    }
}

/// Translates a response for the client; URLs that the user must open first become input requests.
fn answered(document: &Document, asked: &Asked) -> Rewritten {
    if asked.is_older {
        return Rewritten::Framed(older::renamed(document, &asked.id));
    }
    match older::elicitations(document).filter(|_| asked.method.is_some_and(|method| method.asks)) {
        Some(questions) => Rewritten::Anew(older::input_required(&asked.id, &questions, AGAIN)),
        // The error code may be translated too.
        None if document.root().get("error").is_some() => {
            Rewritten::Edited(older::response(document, &asked.id, asked.method))
        }
        None => Rewritten::Framed(older::response(document, &asked.id, asked.method)),
    }
}

/// A request to the upstream without an answer yet. Dropping it cancels the request.
#[derive(Debug)]
struct Unanswered {
    link: Link,
    session: Arc<Session>,
    own: u64,
    is_over: bool,
}

impl Unanswered {
    /// Ends it without a cancellation: it has been answered, or will never be.
    fn over(mut self) {
        self.is_over = true;
    }

    /// What follows if `answer` says that a task was created; `None` for other answers.
    fn goes_on(&self, asked: &Asked, answer: &Document) -> Option<Goes> {
        let Self { link, session, own, .. } = self;
        match asked.follower.filter(|_| older::is_answer(answer, *own))? {
            Follower::Client => tasks::begun(link, session, asked, answer).map(Goes::AsTask),
            Follower::Proxy => PolledTask::of(link, session, answer).map(Goes::Followed),
        }
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
            let _ = link.post(&session.within, message.into()).await;
        });
    }
}
