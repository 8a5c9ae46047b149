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
use crate::bridge::task::{self, Details, Status};
use crate::json::{Document, Value, quoted};
use crate::mcp::methods::{TASKS_CANCEL, TASKS_GET, TASKS_RESULT, TASKS_UPDATE};
use crate::mcp::{Access, Era, RpcId, SubjectKind};
use crate::policy::tools::TaskSupport;
use crate::upstream::{Answer, UpstreamError, whole_or_streamed};

/// The longest time for which a task keeps its session without being polled; shorter if its `ttl` is.
const KEPT: Duration = Duration::from_hours(1);

/// Who follows the task that a call has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follower {
    /// The client, which declares the tasks extension.
    Client,
    /// The proxy, for a client that waits for the answer.
    Proxy,
}

impl Follower {
    /// Who follows the task of a request with these parameters, if it has one.
    pub(super) fn of(asked: &Asked, params: Option<Value<'_>>) -> Self {
        // Anonymous callers have no tasks of their own.
        if !asked.caller.anonymous && older::declares_tasks(params) { Self::Client } else { Self::Proxy }
    }
}

/// Who follows the task, if a call is to run as one.
///
/// The extension leaves the decision to the server: a tool with optional support runs as a task if the client declares the
/// extension. A tool that requires tasks is followed by the proxy for other clients.
pub(super) fn follower(link: &Link, session: &Session, asked: &Asked, params: Option<Value<'_>>) -> Option<Follower> {
    let Access::Subject { kind: SubjectKind::Tool, pointer } = asked.method?.access else { return None };
    let name = params.filter(|_| session.runs_tasks)?.pointer(pointer)?.as_str()?;
    let support = link.route.tools.seen(&name)?.task_support();
    match (support, Follower::of(asked, params)) {
        (TaskSupport::Forbidden, _) | (TaskSupport::Optional, Follower::Proxy) => None,
        (TaskSupport::Optional | TaskSupport::Required, Follower::Client) => Some(Follower::Client),
        (TaskSupport::Required, Follower::Proxy) => Some(Follower::Proxy),
    }
}

/// A request about a task; `own` is its id, as JSON.
pub(super) fn question(own: &str, method: &str, id: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{own},"method":"{method}","params":{{"taskId":{}}}}}"#, quoted(id)).into()
}

/// A server's answer to a request about a task.
pub(super) enum Said {
    /// A JSON-RPC response.
    Message(Document),
    /// An answer that is no response, for the client.
    Other(Box<Answer>),
}

/// Sends the server a request about a task. Errs if it does not answer.
pub(super) async fn ask(link: &Link, session: &Session, method: &str, id: &str) -> Result<Said, UpstreamError> {
    let own = RpcId::own();
    let message = question(&String::from_utf8_lossy(own.raw()), method, id);
    let answer = link.ask(&session.within, message).await?;
    if !answer.status.is_success() {
        return Ok(Said::Other(answer));
    }
    let media = answer.fields.get(&CONTENT_TYPE).cloned();
    Ok(match whole_or_streamed(media.as_ref(), answer.body, &own, session.within.revision).await {
        Ok(said) => Said::Message(said.into_document()),
        Err(_) => Said::Other(answer::unusable()),
    })
}

/// Answers a client's request about a task. Errs if the upstream does not answer.
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
        // The server has not processed the request, and may keep tasks beyond their session.
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
    let state = match look_up(link, session, (&asked.caller, &asked.stated), id).await? {
        Lookup::Found(state) => state,
        Lookup::Error(document) => return Ok(error(&document, asked)),
        Lookup::Other(answer) => return Ok(answer),
    };
    Ok(state.with(|task, details| task::got(task, details, &asked.id)).map_or_else(answer::unusable, answer::message))
}

/// The outcome of [`look_up`].
pub(super) enum Lookup {
    Found(TaskState),
    /// The server's error, such as for an unknown task.
    Error(Document),
    Other(Box<Answer>),
}

/// The state of a task: its status, and its requests or outcome.
pub(super) struct TaskState {
    /// The answer to `tasks/get`.
    got: Document,
    asks: Vec<(Box<str>, Document)>,
    outcome: Option<Document>,
}

impl TaskState {
    /// Applies `tell` to the `task` object and the details for the extension.
    pub(super) fn with<T>(&self, tell: impl FnOnce(Value<'_>, Details<'_>) -> Option<T>) -> Option<T> {
        let details = self.outcome.as_ref().map_or(Details::Asks(&self.asks), Details::Outcome);
        tell(self.got.root().get("result")?, details)
    }
}

/// Requests the state of a task. Errs if the upstream does not answer.
pub(super) async fn look_up(
    link: &Link,
    session: &Arc<Session>,
    (caller, stated): (&Caller, &Stated),
    id: &str,
) -> Result<Lookup, UpstreamError> {
    let got = match ask(link, session, TASKS_GET, id).await? {
        Said::Message(got) => got,
        Said::Other(answer) => return Ok(Lookup::Other(answer)),
    };
    let Some(task) = got.root().get("result") else { return Ok(Lookup::Error(got)) };
    let status = Status::of(task);
    let known = link.route.bridge.tasks.remember(caller, id, session);
    let (mut asks, mut outcome) = (Vec::new(), None);
    match status {
        Some(Status::Ended) => match ask(link, session, TASKS_RESULT, id).await? {
            Said::Message(document) => outcome = Some(document),
            Said::Other(answer) => return Ok(Lookup::Other(answer)),
        },
        Some(Status::InputRequired) => {
            session.keep(kept(task));
            asks = known.questions(link, session, id, stated).await;
        }
        Some(Status::Working) => session.keep(kept(task)),
        Some(Status::Cancelled) | None => {}
    }
    Ok(Lookup::Found(TaskState { got, asks, outcome }))
}

/// How long a task keeps its session.
fn kept(task: Value<'_>) -> Duration {
    let millis = task.get("ttl").and_then(|ttl| ttl.as_i64()).and_then(|ttl| u64::try_from(ttl).ok());
    millis.map_or(KEPT, |millis| Duration::from_millis(millis).min(KEPT))
}

/// Remembers the task that `answer` says was created, and returns the answer to the client's call; `None` for other answers.
pub(super) fn begun(link: &Link, session: &Arc<Session>, asked: &Asked, answer: &Document) -> Option<Bytes> {
    let (task, id) = task::begun(answer)?;
    link.route.bridge.tasks.remember(&asked.caller, &id, session);
    session.keep(kept(task));
    Some(task::created(answer, task, &asked.id))
}

/// Passes a client's responses on to the task (`tasks/update`).
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

/// Cancels a task. In the extension it is no error if the task has already ended (the extension's "Task Cancellation"), but
/// older servers answer with one, as for an unknown task.
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
