//! One slot of the pool: a process, its owner, and how it is started, initialized and restarted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::process::Process;
use crate::auth::Who;
use crate::clock;
use crate::config::{self, Sharing};
use crate::json::{Document, Limits};
use crate::mcp::methods::{INITIALIZE, INITIALIZED};
use crate::mcp::sse::Line;
use crate::mcp::{Inbound, Revision, RpcId, admit_streamed};
use crate::upstream::UpstreamError;
use crate::upstream::breaker::Breaker;
use crate::upstream::gate::Gate;
use crate::upstream::losses::Losses;
use crate::upstream::switchboard::{AHEAD, Heard, OWN};

/// For whom a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// All callers, by the `params` of `initialize`.
    All { greeting: Option<Bytes> },
    /// One session of one client.
    Client(u64),
    /// One caller with one client, by the `params` of `initialize`, which have the client's capabilities.
    Principal { who: Option<Who>, greeting: Option<Bytes> },
}

/// A slot of the pool.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) owner: Owner,
    /// The caller to whose share it counts; `None` if all share it.
    pub(super) who: Option<Who>,
    pub(super) gate: Arc<Gate>,
    /// Limits restarts after failures.
    breaker: Breaker,
    /// The `params` of `initialize`; `None` for processes of 2026-07-28, which has no `initialize`.
    hello: Option<Bytes>,
    state: tokio::sync::Mutex<State>,
    used: std::sync::Mutex<Instant>,
    losses: Arc<Losses>,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Arc<Process>>,
    /// The result of `initialize`.
    greeted: Option<Bytes>,
}

/// An initialized process, and its result of `initialize`.
pub(super) struct Ready {
    pub(super) process: Arc<Process>,
    pub(super) greeted: Option<Bytes>,
}

impl Slot {
    pub(super) fn new(
        owner: Owner,
        who: Option<Who>,
        hello: Option<Bytes>,
        (server, losses): (&config::Server, &Arc<Losses>),
    ) -> Arc<Self> {
        Arc::new(Self {
            owner,
            who,
            gate: Gate::new(server.concurrency),
            breaker: Breaker::new(server.breaker),
            hello,
            state: tokio::sync::Mutex::default(),
            used: std::sync::Mutex::new(clock::monotonic()),
            losses: Arc::clone(losses),
        })
    }

    /// The process; started and initialized if it does not run. Errs if that fails, or if it was a single session's process
    /// and has ended.
    pub(super) async fn ready(
        &self,
        server: &Arc<str>,
        command: &config::Command,
        patience: Duration,
    ) -> Result<Ready, UpstreamError> {
        self.touch();
        // The wait for another request's attempt is limited by the first-byte timeout too.
        let Ok(mut state) = timeout(patience, self.state.lock()).await else {
            return Err(UpstreamError::FirstByte(patience));
        };
        if let Some(process) = state.process.as_ref().filter(|process| process.is_alive()) {
            return Ok(Ready { process: Arc::clone(process), greeted: state.greeted.clone() });
        }
        // A client's own session ends with its process, whose state is lost.
        if state.process.take().is_some() && matches!(self.owner, Owner::Client(_)) {
            return Err(UpstreamError::NoSuchSession);
        }
        let pass = self.breaker.pass(clock::monotonic)?;
        let is_shared = command.sessions == Sharing::All;
        let started = match Process::start(server, command, (is_shared, &self.losses), patience).await {
            Ok(process) => timeout(patience, self.greet(&process))
                .await
                .unwrap_or_else(|_| {
                    process.kill();
                    Err(UpstreamError::FirstByte(patience))
                })
                .map(|greeted| (process, greeted)),
            Err(error) => Err(UpstreamError::Start(error)),
        };
        match started {
            Ok((process, greeted)) => {
                // Starting is not a success yet: the first call decides, since the process may end during it.
                drop(pass);
                state.process = Some(Arc::clone(&process));
                state.greeted.clone_from(&greeted);
                Ok(Ready { process, greeted })
            }
            Err(error) => {
                pass.failed(clock::monotonic());
                Err(error)
            }
        }
    }

    /// Sends `initialize` and `notifications/initialized` (2025-11-25, "Lifecycle"); returns the result, byte for byte. `None`
    /// for processes of 2026-07-28.
    async fn greet(&self, process: &Arc<Process>) -> Result<Option<Bytes>, UpstreamError> {
        let Some(hello) = &self.hello else { return Ok(None) };
        let head = format!(r#"{{"jsonrpc":"2.0","id":0,"method":"{INITIALIZE}","params":"#);
        let text = [head.as_bytes(), hello.as_ref(), b"}".as_slice()];
        let message = Document::parse(text.concat().into(), &Limits::REQUEST).map_err(|_| UpstreamError::Greeting)?;
        let id = RpcId::from_raw("0").ok_or(UpstreamError::Greeting)?;
        let (to, mut answers) = mpsc::channel(AHEAD);
        let (_, line) = process.board().ask(OWN, &message, &id, to);
        if !process.write(line).await {
            return Err(UpstreamError::Exited);
        }
        let answer = loop {
            match answers.recv().await.ok_or(UpstreamError::Exited)? {
                Heard::Last(answer) => break answer,
                Heard::Aside(_) => {}
            }
        };
        let admitted = admit_streamed(answer, Some(&id), Revision::V2025_11_25).map_err(|_| UpstreamError::Greeting)?;
        let Inbound::Response { document } = &admitted else { return Err(UpstreamError::Greeting) };
        let Some(result) = document.root().get("result") else {
            process.stop();
            return Err(UpstreamError::Greeting);
        };
        let ready = format!(r#"{{"jsonrpc":"2.0","method":"{INITIALIZED}"}}"#);
        process.write(Line::of_json(ready.into())).await;
        Ok(Some(Bytes::copy_from_slice(result.raw())))
    }

    /// Records a call's outcome: a process that keeps ending during calls is restarted after longer and longer pauses.
    pub(super) fn note(&self, answered: bool) {
        let Ok(pass) = self.breaker.pass(clock::monotonic) else { return };
        if answered {
            pass.succeeded();
        } else {
            pass.failed(clock::monotonic());
        }
    }

    /// The current process, if it runs; `None` while it is being started.
    pub(super) fn running(&self) -> Option<Arc<Process>> {
        self.state.try_lock().ok()?.process.clone().filter(|process| process.is_alive())
    }

    /// The current process unless it has ended, even if it no longer accepts input.
    pub(super) async fn unended(&self) -> Option<Arc<Process>> {
        self.state.lock().await.process.clone().filter(|process| !process.has_ended())
    }

    pub(super) fn touch(&self) {
        *self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = clock::monotonic();
    }

    /// When it was last used.
    pub(super) fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether it was not used for `time`, and no call or listener is pending.
    pub(super) fn is_idle(&self, time: Duration) -> bool {
        let Ok(state) = self.state.try_lock() else { return false };
        self.used().elapsed() >= time && state.process.as_ref().is_none_or(|process| process.board().is_idle())
    }

    /// Begins to stop its process, and returns it, since ending may take a while.
    pub(super) fn stop(&self) -> Option<Arc<Process>> {
        let process = self.state.try_lock().ok()?.process.take()?;
        process.stop();
        Some(process)
    }

    pub(super) fn phase(&self) -> crate::upstream::Phase {
        self.breaker.phase()
    }
}
