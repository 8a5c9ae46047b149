//! Graceful shutdown: not ready, then no new connections, then no new calls, then no streams, then nothing.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

use super::admin::Readiness;
use crate::clock;

/// How long connections may take to say goodbye after their streams were told to end.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);

/// What the operating system asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: drain; the second time, exit.
    Terminate,
}

/// SIGHUP, SIGTERM and SIGINT of this process from now on; those that other daemons rotate their logs by end nothing. Must
/// be called within a runtime, which forwards them.
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

/// The shared knowledge that the process is ending, and of what still runs. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    closing: CancellationToken,
    ending: CancellationToken,
    aborting: CancellationToken,
    workers: TaskTracker,
    calls: Mutex<Vec<Arc<Calls>>>,
    streams: AtomicUsize,
}

/// Calls of one worker; only that worker writes.
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

/// One call in progress.
#[derive(Debug)]
pub(super) struct RunningCall(Arc<Calls>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Relaxed);
    }
}

impl Drain {
    /// A process that is not ending.
    pub fn new() -> Self {
        Self::default()
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

    /// A stream toward a client, counted until the value is dropped.
    pub fn stream(&self) -> Stream {
        self.0.streams.fetch_add(1, Relaxed);
        Stream(self.clone())
    }

    /// Calls being handled now, over all workers.
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
        // Finished first: a call that ends in between must not make the difference negative.
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
    /// Ready once the stream must end.
    pub fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.0.ending().cancelled()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Relaxed);
    }
}

/// How long each step of the end may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Not ready, but still accepting.
    pub delay: Duration,
    /// For running calls, after that.
    pub timeout: Duration,
}

/// How the end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Calls that finished after the drain began.
    pub calls: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether a second signal cut it short.
    pub forced: bool,
    /// Streams that were told to end.
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

/// Obeys `signals` until the process is to end, then ends every listener and connection of `drain`.
pub async fn supervise(
    signals: &mut mpsc::Receiver<Signal>,
    drain: &Drain,
    readiness: &Readiness,
    times: Times,
    mut reload: impl FnMut(),
) -> Summary {
    while let Some(Signal::Reload) = signals.recv().await {
        reload();
    }
    readiness.set_draining();
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
    // A call that is cut off leaves its last line in the audit log while its worker ends.
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

/// Ready at the next request to terminate.
async fn again(signals: &mut mpsc::Receiver<Signal>) {
    loop {
        match signals.recv().await {
            Some(Signal::Terminate) => return,
            Some(Signal::Reload) => {}
            None => std::future::pending().await,
        }
    }
}
