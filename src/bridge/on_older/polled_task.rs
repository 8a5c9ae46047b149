//! A task that the proxy polls itself, for a client that waits for the answer to its call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tasks::{self, Said};
use crate::bridge::link::Link;
use crate::bridge::session::Session;
use crate::bridge::task::Status;
use crate::clock;
use crate::json::Document;
use crate::mcp::methods::{TASKS_CANCEL, TASKS_GET};

/// The interval between two polls if the server states none, and the bounds of the interval it may state.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(30)];
/// Number of failed polls in a row after which the task is given up.
const FAILURES: usize = 3;

/// A task that runs for a call. Dropping it before it has ended cancels the task.
#[derive(Debug)]
pub(super) struct PolledTask {
    link: Link,
    session: Arc<Session>,
    pub(super) id: Box<str>,
    began: Instant,
    pause: Duration,
    failures: usize,
    pub(super) is_over: bool,
}

/// The outcome of one poll.
pub(super) enum Polled {
    /// The server answered with an error, which goes to the client.
    Answer(Document),
    /// The task was cancelled, is unknown, or could not be polled.
    Gone,
    /// The task has run for longer than an answer may take.
    Late(Duration),
    /// The task has ended or needs input: `tasks/result` is to be requested.
    Settled,
    Working,
}

impl PolledTask {
    /// The task that an answer to a call says was created; `None` for other answers.
    pub(super) fn of(link: &Link, session: &Arc<Session>, answer: &Document) -> Option<Self> {
        let (task, id) = crate::bridge::task::begun(answer)?;
        let pause = pause(task.get("pollInterval").and_then(|millis| millis.as_i64()));
        let (link, session) = (link.clone(), session.clone());
        Some(Self { link, session, id, began: clock::monotonic(), pause, failures: 0, is_over: false })
    }

    /// How long to wait before the next poll.
    pub(super) const fn pause(&self) -> Duration {
        self.pause
    }

    /// Polls the task once.
    pub(super) async fn poll(&mut self) -> Polled {
        let most = self.link.route.backend.timeouts().total;
        if clock::monotonic().saturating_duration_since(self.began) >= most {
            return Polled::Late(most);
        }
        let got = match tasks::ask(&self.link, &self.session, TASKS_GET, &self.id).await {
            Ok(Said::Message(got)) => got,
            Ok(Said::Other(answer)) if answer.status.is_client_error() => return self.ends(Polled::Gone),
            Ok(Said::Other(_)) | Err(_) => {
                self.failures += 1;
                return if self.failures < FAILURES { Polled::Working } else { Polled::Gone };
            }
        };
        self.failures = 0;
        let Some(task) = got.root().get("result") else { return self.ends(Polled::Answer(got)) };
        match Status::of(task) {
            Some(Status::Ended | Status::InputRequired) => Polled::Settled,
            Some(Status::Working) => {
                self.pause = pause(task.get("pollInterval").and_then(|millis| millis.as_i64()));
                Polled::Working
            }
            Some(Status::Cancelled) => self.ends(Polled::Gone),
            None => Polled::Gone,
        }
    }

    fn ends(&mut self, polled: Polled) -> Polled {
        self.is_over = true;
        polled
    }
}

fn pause(millis: Option<i64>) -> Duration {
    let [least, most] = PAUSES;
    let stated = millis.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
    stated.map_or(PAUSE, |stated| stated.clamp(least, most))
}

impl Drop for PolledTask {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (link, session, id) = (self.link.clone(), self.session.clone(), self.id.clone());
        self.link.begin(async move {
            let message = tasks::question(&session.next_id().to_string(), TASKS_CANCEL, &id);
            let _ = link.post(&session.within, message).await;
        });
    }
}
