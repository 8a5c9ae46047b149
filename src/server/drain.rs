//! Graceful shutdown: the process becomes unready, then accepts no connections and no further calls on open ones, then ends
//! streams, then aborts what is left.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

use super::admin::Readiness;
use super::supervisor;
use crate::clock;

/// How long connections may take to close after their streams were told to end.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);

/// What a signal asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: drain; the second one cuts that short.
    Terminate,
}

/// Receives SIGHUP, SIGTERM and SIGINT of this process. SIGUSR1 and SIGUSR2, with which other daemons reopen their logs, are
/// only warned of. Must be called within a runtime, which forwards them. Errs if a handler cannot be installed.
#[expect(clippy::disallowed_methods, reason = "the forwarder lives as long as the process")]
pub fn signals() -> std::io::Result<mpsc::Receiver<Signal>> {
    let (mut hangup, mut terminate, mut interrupt) =
        (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (mut first, mut second) = (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                _ = hangup.recv() => Some(Signal::Reload),
                _ = terminate.recv() => Some(Signal::Terminate),
                _ = interrupt.recv() => Some(Signal::Terminate),
                _ = first.recv() => unknown("SIGUSR1"),
                _ = second.recv() => unknown("SIGUSR2"),
            };
            let Some(next) = next else { continue };
            if sender.send(next).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn unknown(signal: &str) -> Option<Signal> {
    tracing::warn!(signal, "signal without a meaning: SIGHUP reloads and opens the audit file again");
    None
}

/// The state of the shutdown, and the count of what still runs. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    beginning: CancellationToken,
    closing: CancellationToken,
    ending: CancellationToken,
    aborting: CancellationToken,
    workers: TaskTracker,
    calls: Mutex<Vec<Arc<Calls>>>,
    streams: AtomicUsize,
}

/// Counts of one worker's calls; only that worker writes them.
#[derive(Debug, Default)]
pub(super) struct Calls {
    started: AtomicUsize,
    finished: AtomicUsize,
}

impl Calls {
    pub(super) fn start(self: &Arc<Self>) -> RunningCall {
        self.started.fetch_add(1, Relaxed);
        RunningCall(Arc::clone(self))
    }
}

/// A call in progress, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct RunningCall(Arc<Calls>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Relaxed);
    }
}

impl Drain {
    /// The state of a process that is not shutting down.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the shutdown, as a signal does; a second time changes nothing.
    pub fn begin(&self) {
        self.0.beginning.cancel();
    }

    /// Cancelled once no new connection is accepted.
    pub fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    /// Cancelled once streams must end.
    pub fn ending(&self) -> &CancellationToken {
        &self.0.ending
    }

    pub(super) fn aborting(&self) -> &CancellationToken {
        &self.0.aborting
    }

    pub(super) fn workers(&self) -> &TaskTracker {
        &self.0.workers
    }

    /// Counts a stream toward a client until the result is dropped.
    pub fn stream(&self) -> Stream {
        self.0.streams.fetch_add(1, Relaxed);
        Stream(self.clone())
    }

    /// The number of calls in progress on all workers.
    pub fn active(&self) -> usize {
        let (started, finished) = self.totals();
        started.saturating_sub(finished)
    }

    pub(super) fn worker(&self) -> Arc<Calls> {
        let calls = Arc::new(Calls::default());
        self.calls().push(Arc::clone(&calls));
        calls
    }

    fn totals(&self) -> (usize, usize) {
        let calls = self.calls();
        // Finished calls are read first: a call that ends in between must not make the difference negative.
        let finished = calls.iter().map(|worker| worker.finished.load(Relaxed)).sum();
        (calls.iter().map(|worker| worker.started.load(Relaxed)).sum(), finished)
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Calls>>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream toward a client.
#[derive(Debug)]
pub struct Stream(Drain);

impl Stream {
    /// Completes once the stream must end.
    pub fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.0.ending().cancelled()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Relaxed);
    }
}

/// How long the steps of a shutdown may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Unready, but still accepting.
    pub delay: Duration,
    /// For running calls after that.
    pub timeout: Duration,
}

/// How the shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The number of calls that finished after the drain began.
    pub calls: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether a second signal cut it short.
    pub forced: bool,
    /// The number of streams that were told to end.
    pub streams: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        write!(
            f,
            "{}: {} call{} finished, {} stream{} closed in {:.1} s",
            if self.forced { "drain cut short" } else { "drained" },
            self.calls,
            plural(self.calls),
            self.streams,
            plural(self.streams),
            self.elapsed.as_secs_f64()
        )
    }
}

/// Handles `signals` until the process is to end, then ends all listeners and connections of `drain`.
pub async fn supervise(
    signals: &mut mpsc::Receiver<Signal>,
    drain: &Drain,
    readiness: &Readiness,
    times: Times,
    mut reload: impl FnMut(),
) -> Summary {
    loop {
        let signal = tokio::select! {
            signal = signals.recv() => signal,
            () = drain.0.beginning.cancelled() => None,
        };
        match signal {
            Some(Signal::Reload) => reload(),
            Some(Signal::Terminate) | None => break,
        }
    }
    readiness.set_draining();
    supervisor::stopping();
    let started = clock::monotonic();
    let before = drain.totals().1;
    let mut streams = 0;
    let forced = tokio::select! {
        () = again(signals) => true,
        () = wind_down(drain, times, &mut streams) => false,
    };
    drain.0.ending.cancel();
    drain.0.closing.cancel();
    drain.0.aborting.cancel();
    // Aborted calls still write their last audit line while their worker ends.
    drain.0.workers.close();
    let _ = tokio::time::timeout(GOODBYE, drain.0.workers.wait()).await;
    let elapsed = clock::monotonic().saturating_duration_since(started);
    Summary { calls: drain.totals().1.saturating_sub(before), elapsed, forced, streams }
}

async fn wind_down(drain: &Drain, times: Times, streams: &mut usize) {
    tokio::time::sleep(times.delay).await;
    drain.0.closing.cancel();
    drain.0.workers.close();
    if tokio::time::timeout(times.timeout, drain.0.workers.wait()).await.is_ok() {
        return;
    }
    *streams = drain.0.streams.load(Relaxed);
    drain.0.ending.cancel();
    if tokio::time::timeout(GOODBYE, drain.0.workers.wait()).await.is_err() {
        drain.0.aborting.cancel();
        drain.0.workers.wait().await;
    }
}

/// Completes at the next signal to terminate.
async fn again(signals: &mut mpsc::Receiver<Signal>) {
    loop {
        match signals.recv().await {
            Some(Signal::Terminate) => return,
            Some(Signal::Reload) => {}
            None => std::future::pending().await,
        }
    }
}
