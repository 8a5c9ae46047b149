//! Tasks of an older upstream for clients of 2026-07-28: `tasks/get`, `tasks/update` and `tasks/cancel` of the extension.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::Asked;
use crate::auth::Caller;
use crate::bridge::answer;
use crate::bridge::link::Link;
use crate::bridge::older::{self, Stated};
use crate::bridge::session::{Session, Unopened};
use crate::bridge::task::{self, Status, Told};
use crate::json::{Document, Value, quoted};
use crate::mcp::methods::{TASKS_CANCEL, TASKS_GET, TASKS_RESULT, TASKS_UPDATE};
use crate::mcp::{Access, Era, RpcId, SubjectKind};
use crate::policy::tools::TaskSupport;
use crate::upstream::{Answer, UpstreamError, whole_or_streamed};

/// How long the session of a task is kept that nobody asks after, and that says no shorter time of its own.
const KEPT: Duration = Duration::from_hours(1);

/// Who follows a call that goes on as a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follower {
    /// The client, which has said that it can.
    Client,
    /// The proxy, for a client that waits for its answer.
    Proxy,
}

/// Whether a call is to go on as a task, and who follows that.
///
/// The extension lets the server decide: a tool that may run so does where the client can follow it. One that must is
/// followed here for clients that cannot.
pub(super) fn follower(link: &Link, session: &Session, asked: &Asked, params: Option<Value<'_>>) -> Option<Follower> {
    let Access::Subject { kind: SubjectKind::Tool, pointer } = asked.method?.access else { return None };
    let name = params.filter(|_| session.runs_tasks)?.pointer(pointer)?.as_str()?;
    let support = link.route.tools.seen(&name)?.task_support();
    // Who is nobody has no tasks.
    let follows = !asked.caller.anonymous && older::declares_tasks(params);
    match (support, follows) {
        (TaskSupport::Forbidden, _) | (TaskSupport::Optional, false) => None,
        (TaskSupport::Optional | TaskSupport::Required, true) => Some(Follower::Client),
        (TaskSupport::Required, false) => Some(Follower::Proxy),
    }
}

/// A question about a task, under the id `own` as JSON.
pub(super) fn question(own: &str, method: &str, id: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{own},"method":"{method}","params":{{"taskId":{}}}}}"#, quoted(id)).into()
}

/// What a server says about a task.
pub(super) enum Said {
    /// A result or an error.
    Message(Document),
    /// Nothing that says anything of it.
    Other(Box<Answer>),
}

/// Asks the server about a task.
pub(super) async fn ask(link: &Link, session: &Session, method: &str, id: &str) -> Result<Said, UpstreamError> {
    let own = RpcId::own();
    let message = question(&String::from_utf8_lossy(own.raw()), method, id);
    let answer = link.ask(&session.within, message).await?;
    if !answer.status.is_success() {
        return Ok(Said::Other(answer));
    }
    let media = answer.headers.get(CONTENT_TYPE).cloned();
    Ok(match whole_or_streamed(media.as_ref(), answer.body, &own, session.within.revision).await {
        Ok(said) => Said::Message(said.into_document()),
        Err(_) => Said::Other(answer::unusable()),
    })
}

/// Answers what a client asks about a task of its own.
pub(super) async fn send(
    link: Link,
    mut session: Arc<Session>,
    asked: Box<Asked>,
    params: Option<Value<'_>>,
) -> Result<Box<Answer>, UpstreamError> {
    let Some(id) = params.and_then(|params| params.get("taskId")?.as_str()) else {
        return Ok(answer::unusable());
    };
    let mut is_again = false;
    loop {
        let answer = match asked.method.map(|method| method.name) {
            Some(TASKS_CANCEL) => cancel(&link, &session, &asked, &id).await?,
            Some(TASKS_GET) => get(&link, &session, &asked, &id).await?,
            Some(TASKS_UPDATE) => return update(&link, &session, &asked, (&id, params)).await,
            _ => return Ok(answer::no_tasks(&asked.id, Era::Modern)),
        };
        if is_again || !answer::has_lost_session(&answer) || session.within.id().is_none() {
            return Ok(answer);
        }
        // The server has looked at nothing; what it keeps beyond a session it may still know.
        is_again = true;
        link.route.bridge.tasks.forget(&asked.caller, &id);
        link.route.bridge.sessions.forget(&asked.caller, &asked.stated, &session).await;
        session = match link.route.bridge.sessions.get(&link, &asked.caller, &asked.stated).await {
            Ok(session) => session,
            Err(Unopened::Error(error)) => return Err(error),
            Err(_) => return Ok(answer),
        };
    }
}

async fn get(link: &Link, session: &Arc<Session>, asked: &Asked, id: &str) -> Result<Box<Answer>, UpstreamError> {
    let stands = match look(link, session, (&asked.caller, &asked.stated), id).await? {
        Looked::At(stands) => stands,
        Looked::Error(document) => return Ok(error(&document, asked)),
        Looked::Other(answer) => return Ok(answer),
    };
    Ok(stands.with(|task, told| task::got(task, told, &asked.id)).map_or_else(answer::unusable, answer::message))
}

/// What is known of a task.
pub(super) enum Looked {
    At(Stands),
    /// The server says that there is none.
    Error(Document),
    Other(Box<Answer>),
}

/// How a task stands.
pub(super) struct Stands {
    /// The answer to `tasks/get`.
    got: Document,
    asks: Vec<(Box<str>, Document)>,
    outcome: Option<Document>,
}

impl Stands {
    /// What `tell` makes of it.
    pub(super) fn with<T>(&self, tell: impl FnOnce(Value<'_>, Told<'_>) -> Option<T>) -> Option<T> {
        let told = self.outcome.as_ref().map_or(Told::Asks(&self.asks), Told::Outcome);
        tell(self.got.root().get("result")?, told)
    }
}

/// Asks how a task stands, what it asks, and what came of it.
pub(super) async fn look(
    link: &Link,
    session: &Arc<Session>,
    (caller, stated): (&Caller, &Stated),
    id: &str,
) -> Result<Looked, UpstreamError> {
    let got = match ask(link, session, TASKS_GET, id).await? {
        Said::Message(got) => got,
        Said::Other(answer) => return Ok(Looked::Other(answer)),
    };
    let Some(task) = got.root().get("result") else { return Ok(Looked::Error(got)) };
    let status = Status::of(task);
    let known = link.route.bridge.tasks.remember(caller, id, session);
    let (mut asks, mut outcome) = (Vec::new(), None);
    match status {
        Some(Status::Ended) => match ask(link, session, TASKS_RESULT, id).await? {
            Said::Message(document) => outcome = Some(document),
            Said::Other(answer) => return Ok(Looked::Other(answer)),
        },
        Some(Status::InputRequired) => {
            session.keep(kept(task));
            asks = known.questions(link, session, id, stated).await;
        }
        Some(Status::Working) => session.keep(kept(task)),
        Some(Status::Cancelled) | None => {}
    }
    Ok(Looked::At(Stands { got, asks, outcome }))
}

/// How long the session of a task is not to end.
fn kept(task: Value<'_>) -> Duration {
    let millis = task.get("ttl").and_then(|ttl| ttl.as_i64()).and_then(|ttl| u64::try_from(ttl).ok());
    millis.map_or(KEPT, |millis| Duration::from_millis(millis).min(KEPT))
}

/// A call of the caller's goes on as the task that `answer` tells of; gives what the client is told.
pub(super) fn begun(link: &Link, session: &Arc<Session>, asked: &Asked, answer: &Document) -> Option<Bytes> {
    let (task, id) = task::begun(answer)?;
    link.route.bridge.tasks.remember(&asked.caller, &id, session);
    session.keep(kept(task));
    Some(task::created(answer, task, &asked.id))
}

/// Brings answers to what the task asked.
async fn update(
    link: &Link,
    session: &Session,
    asked: &Asked,
    (id, params): (&str, Option<Value<'_>>),
) -> Result<Box<Answer>, UpstreamError> {
    let Some(known) = link.route.bridge.tasks.get(&asked.caller, id) else {
        return Ok(answer::not_waiting(&asked.id));
    };
    known.answer(link, session, params.and_then(|params| params.get("inputResponses"))).await?;
    Ok(answer::message(task::acknowledged(&asked.id)))
}

/// Takes a task back. That it has ended before is none of the client's concern (the extension's "Task Cancellation"), but
/// older servers call that an error, like there being none.
async fn cancel(link: &Link, session: &Session, asked: &Asked, id: &str) -> Result<Box<Answer>, UpstreamError> {
    let refused = match ask(link, session, TASKS_CANCEL, id).await? {
        Said::Other(answer) => return Ok(answer),
        Said::Message(said) if said.root().get("error").is_none() => None,
        Said::Message(said) => Some(said),
    };
    let Some(refused) = refused else { return Ok(answer::message(task::acknowledged(&asked.id))) };
    match ask(link, session, TASKS_GET, id).await? {
        Said::Message(got) if got.root().get("result").and_then(Status::of).is_some_and(has_ended) => {
            Ok(answer::message(task::acknowledged(&asked.id)))
        }
        Said::Message(_) | Said::Other(_) => Ok(error(&refused, asked)),
    }
}

const fn has_ended(status: Status) -> bool {
    matches!(status, Status::Cancelled | Status::Ended)
}

fn error(document: &Document, asked: &Asked) -> Box<Answer> {
    answer::error(document, older::response(document, &asked.id, asked.method).apply(document.bytes()))
}
