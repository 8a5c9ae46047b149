//! Calls of a client of 2026-07-28 at an upstream of an older revision.
//!
//! A question the older server asks during a call ends the answer to that call, as `input_required` does in the newer revision;
//! the upstream's stream stays open, under a name in `requestState`, and continues when the client comes back with the answers.

mod begun;
mod followed;
pub(super) mod hub;
mod listen;
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
pub(super) use begun::Begun;
use followed::Followed;
use hub::{Attended, Hub};
use running::{Goes, Running, Sending};
use tasks::Follower;

use crate::auth::Caller;
use crate::json::{Document, Limits, Value};
use crate::mcp::methods::{self, CANCELLED, DISCOVER, LISTEN, Method};
use crate::mcp::{Access, Era};
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
pub(super) struct Asked {
    caller: Arc<Caller>,
    /// As written.
    id: Bytes,
    method: Option<&'static Method>,
    stated: Stated,
    /// Who follows it, where it is to go on as a task.
    follower: Option<Follower>,
    /// Whether its client is as old as the upstream, and only has no session.
    is_older: bool,
}

/// The answers a client brought, and where what comes next goes.
#[derive(Debug)]
pub(super) struct Resumed {
    asked: Box<Asked>,
    responses: Document,
    out: mpsc::Sender<Bytes>,
}

impl Asked {
    /// A request of a client as old as the upstream.
    pub(super) const fn older(caller: Arc<Caller>, id: Bytes, method: Option<&'static Method>, stated: Stated) -> Self {
        Self { caller, id, method, stated, follower: None, is_older: true }
    }

    /// Whether its server may ask its client something before it answers.
    fn may_be_asked(&self) -> bool {
        self.method.is_some_and(|method| method.asks) && self.stated.able.answers_any()
    }
}

/// Sends a message of 2026-07-28.
pub(super) async fn send(link: Link, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
    let Some(document) = outbound.document() else { return Ok(answer::unusable()) };
    let root = document.root();
    // 2026-07-28 has no notifications of clients over HTTP; what comes all the same is taken and goes nowhere.
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
        // What few calls need is in boxes, as it is in the proxy's own path.
        _ if is_task && session.runs_tasks => Box::pin(tasks::send(link, session, asked, params)).await,
        _ if is_task => Ok(answer::no_tasks(&asked.id, Era::Modern)),
        _ => {
            asked.follower = tasks::follower(&link, &session, &asked, params);
            call(link, session, asked, &document).await
        }
    }
}

/// Lets a call that waits for answers go on.
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

/// Makes a call in a session.
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
        let (answer, attended) = if asked.may_be_asked() {
            let attended = Hub::attend(&link, &session, own);
            if attended.is_early() {
                Box::pin(session.hub.settle()).await;
            }
            let ends = (link.clone(), session.clone());
            let mut sending: Sending = Box::pin(async move { ends.0.ask(&ends.1.within, message).await });
            let question = tokio::select! {
                biased;
                answer = &mut sending => Err(answer?),
                question = attended.question() => Ok(question),
            };
            match question {
                Err(answer) => (answer, Some(attended)),
                Ok(question) => {
                    let running = Running::new(unanswered, asked, Some(attended));
                    return Ok(Answer::events(Box::pin(running.ask(sending, &question)).await));
                }
            }
        } else {
            (link.ask(&session.within, message).await?, None)
        };
        // The server has lost the session, and has looked at nothing else (2025-11-25 "Session Management").
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
        return heard(unanswered, asked, attended, answer).await;
    }
}

/// Goes on with what has come: a message, a stream of them, or something else.
async fn heard(
    unanswered: Unanswered,
    asked: Box<Asked>,
    attended: Option<Attended>,
    answer: Box<Answer>,
) -> Result<Box<Answer>, UpstreamError> {
    match media_type(&answer.headers) {
        Media::Json => {
            let (status, headers) = (answer.status, answer.headers);
            let bytes = answer.body.collect_limited(unanswered.link.most_bytes()).await?;
            let document = match Document::parse_or_return(bytes) {
                Ok(document) => document,
                Err(bytes) => {
                    unanswered.over();
                    return Ok(Answer::new(status, headers, AnswerBody::whole(bytes)));
                }
            };
            if let Some(goes) = unanswered.goes_on(&asked, &document) {
                return Ok(match goes {
                    Goes::AsTask(message) => {
                        unanswered.over();
                        Answer::json(status, message)
                    }
                    Goes::Followed(followed) => {
                        Answer::events(Running::new(unanswered, asked, attended).follow(followed))
                    }
                });
            }
            let own = unanswered.own;
            unanswered.over();
            // Under its client's id it would pass for the answer.
            if !older::is_answer(&document, own) {
                return Ok(answer::unusable());
            }
            let status = if asked.is_older { status } else { answer::newer(status, &document) };
            let body = answered(&document, &asked).body(document);
            Ok(Answer::new(status, headers, body))
        }
        Media::EventStream if answer.status.is_success() => {
            Ok(Answer::events(Running::new(unanswered, asked, attended).stream(answer.body)))
        }
        Media::EventStream | Media::None | Media::Other => {
            unanswered.over();
            Ok(answer)
        }
    }
}

/// The answer as the client knows one; addresses that must be opened first become questions.
fn answered(document: &Document, asked: &Asked) -> Rewritten {
    if asked.is_older {
        return Rewritten::Framed(older::renamed(document, &asked.id));
    }
    match older::elicitations(document).filter(|_| asked.method.is_some_and(|method| method.asks)) {
        Some(questions) => Rewritten::Anew(older::input_required(&asked.id, &questions, AGAIN)),
        // The code of an error may be another.
        None if document.root().get("error").is_some() => {
            Rewritten::Edited(older::response(document, &asked.id, asked.method))
        }
        None => Rewritten::Framed(older::response(document, &asked.id, asked.method)),
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
    /// There will be no answer, or it is there.
    fn over(mut self) {
        self.is_over = true;
    }

    /// How it goes on, if `answer` says that it has become a task.
    fn goes_on(&self, asked: &Asked, answer: &Document) -> Option<Goes> {
        let Self { link, session, own, .. } = self;
        match asked.follower.filter(|_| older::is_answer(answer, *own))? {
            Follower::Client => tasks::begun(link, session, asked, answer).map(Goes::AsTask),
            Follower::Proxy => Followed::of(link, session, answer).map(Goes::Followed),
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
