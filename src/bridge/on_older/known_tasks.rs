//! The tasks of callers at an older upstream, and the requests that the server sends for them.
//!
//! An older server sends the requests of a task on the stream that answers `tasks/result`, and waits for the responses; in
//! the newer revision the client polls. So that stream is kept open here, and its requests are returned with the state of
//! the task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::HashMap;
use tokio::sync::watch;
use uuid::Uuid;

use super::running::{PendingAnswer, Piece};
use super::{PATIENCE, Unanswered, tasks};
use crate::auth::{Caller, Who};
use crate::bridge::link::Link;
use crate::bridge::older::Stated;
use crate::bridge::session::Session;
use crate::clock;
use crate::json::{Document, Limits, Value};
use crate::mcp::asked::ASKED_OF_CLIENTS;
use crate::mcp::methods::{PING, TASKS_RESULT};
use crate::mcp::sse::Splitter;
use crate::upstream::UpstreamError;

/// The most tasks remembered of one upstream; beyond it the least recently polled one is forgotten.
const MOST: usize = 4_096;
/// The most tasks of one user, with any number of clients; beyond it the user's least recently polled one is forgotten.
const SHARE: usize = 256;
/// How long to wait for the requests of a task whose status is `input_required`.
const ASKING: Duration = Duration::from_secs(2);
/// The most unanswered requests of one task.
const QUESTIONS: usize = 16;

/// The known tasks of one upstream, by caller and the upstream's task id.
#[derive(Debug, Default)]
pub(in crate::bridge) struct KnownTasks(Mutex<HashMap<Key, Arc<Task>>>);

/// The caller, and the upstream's task id.
type Key = (Who, Box<str>);

/// A task at an older upstream.
#[derive(Debug)]
pub(super) struct Task {
    /// The session that the task was created in, where the server sends its notifications.
    session: Weak<Session>,
    used: Mutex<Instant>,
    asks: watch::Sender<Asks>,
}

/// The server's requests for a task.
#[derive(Debug, Default)]
struct Asks {
    /// The unanswered requests, by a unique key.
    open: Vec<(Box<str>, Document)>,
    /// Whether the stream is open, so that more may come.
    is_heard: bool,
}

impl KnownTasks {
    /// The caller's task of that id and session, a new one if it is unknown.
    pub(super) fn remember(&self, caller: &Caller, id: &str, session: &Arc<Session>) -> Arc<Task> {
        let (who, now) = (Who::of(caller), clock::monotonic());
        let mut tasks = lock(&self.0);
        let key = (who, id.into());
        if let Some(task) = tasks.get(&key).filter(|task| task.session.as_ptr() == Arc::as_ptr(session)) {
            *lock(&task.used) = now;
            return task.clone();
        }
        tasks.retain(|_, task| task.session.strong_count() > 0);
        let is_own = |(other, _): &Key| other.is_person(&key.0);
        if tasks.keys().filter(|other| is_own(other)).count() >= SHARE {
            make_room(&mut tasks, is_own);
        } else if tasks.len() >= MOST {
            make_room(&mut tasks, |_| true);
        }
        let (asks, _) = watch::channel(Asks::default());
        let task = Arc::new(Task { session: Arc::downgrade(session), used: Mutex::new(now), asks });
        tasks.insert(key, task.clone());
        task
    }

    /// The caller's task of an id, if known; it counts as polled now.
    pub(super) fn get(&self, caller: &Caller, id: &str) -> Option<Arc<Task>> {
        let task = lock(&self.0).get(&(Who::of(caller), id.into())).cloned()?;
        *lock(&task.used) = clock::monotonic();
        Some(task)
    }

    /// The session in which the caller's task was created; `None` if the task is unknown or the session has ended.
    pub(super) fn session(&self, caller: &Caller, id: &str) -> Option<Arc<Session>> {
        self.get(caller, id)?.session.upgrade()
    }

    /// Forgets the caller's task of an id.
    pub(super) fn forget(&self, caller: &Caller, id: &str) {
        lock(&self.0).remove(&(Who::of(caller), id.into()));
    }
}

fn make_room(tasks: &mut HashMap<Key, Arc<Task>>, among: impl Fn(&Key) -> bool) {
    let some = tasks.iter().filter(|(key, _)| among(key));
    let oldest = some.min_by_key(|(_, task)| *lock(&task.used)).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        tasks.remove(&oldest);
    }
}

impl Task {
    /// The unanswered requests of a task whose status is `input_required`, by key. Opens the stream that carries them if it
    /// is not open; empty if none come in time.
    pub(super) async fn questions(
        self: &Arc<Self>,
        link: &Link,
        session: &Arc<Session>,
        id: &str,
        stated: &Stated,
    ) -> Vec<(Box<str>, Document)> {
        let begins = self.asks.send_if_modified(|asks| !std::mem::replace(&mut asks.is_heard, true));
        if begins {
            let stream = ResultStream::begin(self.clone(), link, session, id, stated);
            link.begin(stream.run());
        }
        let mut asks = self.asks.subscribe();
        let asked = asks.wait_for(|asks| !asks.open.is_empty() || !asks.is_heard);
        match tokio::time::timeout(ASKING, asked).await {
            Ok(Ok(asks)) => asks.open.clone(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Removes and returns the request of a key.
    fn take(&self, key: &str) -> Option<Document> {
        let mut taken = None;
        self.asks.send_if_modified(|asks| {
            let at = asks.open.iter().position(|(open, _)| **open == *key);
            taken = at.map(|at| asks.open.remove(at).1);
            false
        });
        taken
    }

    /// Answers the requests whose keys are in `responses`; unknown keys are ignored (the extension's "Task Update
    /// Requests"). Errs if the upstream does not accept an answer.
    pub(super) async fn answer(
        &self,
        link: &Link,
        session: &Session,
        responses: Option<Value<'_>>,
    ) -> Result<(), UpstreamError> {
        for member in responses.iter().flat_map(Value::members) {
            let Some(question) = self.take(&member.name()) else { continue };
            let Some(id) = question.root().get("id") else { continue };
            let result = String::from_utf8_lossy(member.value.raw());
            reply(link, session, id, &format!(r#""result":{result}"#)).await?;
        }
        Ok(())
    }

    fn is_left_alone(&self) -> bool {
        clock::monotonic().saturating_duration_since(*lock(&self.used)) >= PATIENCE
    }
}

/// The stream that answers `tasks/result`.
struct ResultStream {
    task: Arc<Task>,
    unanswered: Unanswered,
    stated: Stated,
    pending: PendingAnswer,
    splitter: Splitter,
}

impl ResultStream {
    fn begin(task: Arc<Task>, link: &Link, session: &Arc<Session>, id: &str, stated: &Stated) -> Self {
        let own = session.next_id();
        let message = tasks::question(&own.to_string(), TASKS_RESULT, id);
        let unanswered = Unanswered { link: link.clone(), session: session.clone(), own, is_over: false };
        let splitter = Splitter::new(link.worker.live.current().limits.event_bytes);
        let (link, session) = (link.clone(), session.clone());
        let sending = async move { link.ask_for_stream(&session.within, message).await };
        Self {
            task,
            unanswered,
            stated: stated.clone().kept(),
            pending: PendingAnswer::Head(Box::pin(sending)),
            splitter,
        }
    }

    /// Reads the stream until the task has ended, or nobody has polled it for [`PATIENCE`].
    async fn run(mut self) {
        let most = self.unanswered.link.most_bytes();
        while !self.task.is_left_alone() {
            match tokio::time::timeout(PATIENCE, self.pending.piece(most)).await {
                Err(_) => {}
                Ok(Ok(Some(Piece::Data(data)))) => {
                    self.splitter.feed(data);
                    if !self.events().await {
                        break;
                    }
                }
                Ok(Ok(Some(Piece::Message(message)))) => {
                    self.message(message).await;
                    break;
                }
                // The outcome is requested anew when the client polls.
                Ok(Ok(None) | Err(_)) => break,
            }
        }
        self.task.asks.send_modify(|asks| *asks = Asks::default());
    }

    /// Handles the complete events; returns whether more may come.
    async fn events(&mut self) -> bool {
        while let Some(event) = self.splitter.next_event() {
            let Ok(event) = event else { return false };
            if let Some(data) = event.data.filter(|data| !data.is_empty())
                && !self.message(data).await
            {
                return false;
            }
        }
        true
    }

    async fn message(&mut self, message: Bytes) -> bool {
        let Ok(document) = Document::parse(message, &Limits::ANSWER) else { return false };
        let root = document.root();
        match (root.get("method").and_then(|method| method.as_str()), root.get("id")) {
            (Some(method), Some(id)) => self.question(&method, id, &document).await,
            (Some(_), None) => {}
            (None, _) => {
                self.unanswered.is_over = true;
                return false;
            }
        }
        true
    }

    async fn question(&mut self, method: &str, id: Value<'_>, document: &Document) {
        let (link, session) = (&self.unanswered.link, &self.unanswered.session);
        let is_known = ASKED_OF_CLIENTS.iter().any(|(name, _)| *name == method);
        let what = if method == PING {
            r#""result":{}"#
        } else if !is_known || !self.stated.able.answers(method) {
            r#""error":{"code":-32601,"message":"The client cannot be asked this"}"#
        } else if self.task.asks.borrow().open.len() >= QUESTIONS {
            r#""error":{"code":-32603,"message":"The client is asked as much as it may be"}"#
        } else {
            let key = Uuid::now_v7().to_string().into();
            self.task.asks.send_modify(|asks| asks.open.push((key, document.clone())));
            return;
        };
        let _ = reply(link, session, id, what).await;
    }
}

async fn reply(link: &Link, session: &Session, id: Value<'_>, what: &str) -> Result<(), UpstreamError> {
    let message = format!(r#"{{"jsonrpc":"2.0","id":{},{what}}}"#, String::from_utf8_lossy(id.raw()));
    link.post(&session.within, message.into()).await.map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{KnownTasks, MOST, SHARE, lock};
    use crate::bridge::session::Session;
    use crate::policy::tests::caller;

    /// Makes a task the least recently polled one.
    fn was_never_asked_after(tasks: &KnownTasks, who: &crate::auth::Caller, id: &str) {
        let task = tasks.get(who, id).unwrap();
        *lock(&task.used) = crate::clock::monotonic().checked_sub(super::PATIENCE).unwrap();
    }

    #[test]
    fn one_caller_s_tasks_take_no_room_of_others() {
        let (tasks, session) = (KnownTasks::default(), Arc::new(Session::of_tests()));
        let (ana, mut kim) = (caller(""), caller(""));
        kim.subject = "kim".into();
        tasks.remember(&kim, "0", &session);
        was_never_asked_after(&tasks, &kim, "0");
        // Whichever client it calls with.
        let mut other = ana.clone();
        other.client_id = Some("other".into());
        for id in 0..SHARE {
            tasks.remember(if id < SHARE / 2 { &ana } else { &other }, &id.to_string(), &session);
        }
        // A known task is not counted twice.
        tasks.remember(&ana, "0", &session);
        was_never_asked_after(&tasks, &ana, "7");
        tasks.remember(&ana, "new", &session);
        assert!(tasks.get(&ana, "7").is_none());
        assert!(["0", "new"].iter().all(|id| tasks.get(&ana, id).is_some()));
        assert!(tasks.get(&kim, "0").is_some() && tasks.get(&kim, "1").is_none());
        assert_eq!(lock(&tasks.0).len(), SHARE + 1);
    }

    #[test]
    fn all_callers_tasks_together_are_bounded() {
        let (tasks, session) = (KnownTasks::default(), Arc::new(Session::of_tests()));
        let mut who = caller("");
        for number in 0..MOST {
            who.subject = format!("user {}", number / SHARE * 2).into();
            tasks.remember(&who, &number.to_string(), &session);
        }
        let (mut first, mut other) = (caller(""), caller(""));
        (first.subject, other.subject) = ("user 0".into(), "somebody else".into());
        was_never_asked_after(&tasks, &first, "3");
        tasks.remember(&other, "x", &session);
        assert!(tasks.get(&first, "3").is_none() && tasks.get(&first, "4").is_some());
        assert_eq!(lock(&tasks.0).len(), MOST);
        // Tasks whose session has ended are forgotten when the next one is remembered.
        drop(session);
        let next = Arc::new(Session::of_tests());
        tasks.remember(&other, "y", &next);
        assert!(tasks.session(&first, "4").is_none() && tasks.session(&other, "y").is_some());
        assert_eq!(lock(&tasks.0).len(), 1);
    }
}
