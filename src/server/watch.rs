//! Enforces the timeouts of connections without a timer for each: one task per worker checks them all at intervals.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::drain::Drain;

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Signal {
    /// Continue.
    None,
    /// Finish running calls, then close.
    Close,
    /// Close now.
    Abort,
}

/// The state of a connection that timeouts depend on, and the signal to it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    signal: AtomicU8,
    waker: AtomicWaker,
    /// A counter that is odd while the rest of a handshake or request head is awaited.
    head: AtomicU32,
    progress: AtomicU32,
    blocked: AtomicBool,
    calls: AtomicU32,
}

impl Watch {
    /// A handshake or head has begun, and the header timeout runs.
    pub(super) fn head_begun(&self) {
        let head = self.head.load(Relaxed);
        if head.is_multiple_of(2) {
            self.head.store(head.wrapping_add(1), Relaxed);
        }
    }

    /// The handshake or head is complete.
    pub(super) fn head_done(&self) {
        let head = self.head.load(Relaxed);
        if !head.is_multiple_of(2) {
            self.head.store(head.wrapping_add(1), Relaxed);
        }
    }

    /// Notes the result of a write, and returns it.
    pub(super) fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.progress.store(self.progress.load(Relaxed).wrapping_add(1), Relaxed);
        }
        self.blocked.store(result.is_pending(), Relaxed);
        result
    }

    /// Counts a call until the guard is dropped.
    pub(super) fn call(self: &Arc<Self>) -> CallGuard {
        self.calls.fetch_add(1, Relaxed);
        CallGuard(Arc::clone(self))
    }

    /// Tells the connection to finish running calls, then close.
    pub(super) fn close(&self) {
        self.tell(Signal::Close);
    }

    fn tell(&self, signal: Signal) {
        self.signal.fetch_max(signal as u8, Relaxed);
        self.waker.wake();
    }

    /// The latest signal.
    pub(super) fn signal(&self) -> Signal {
        match self.signal.load(Relaxed) {
            0 => Signal::None,
            1 => Signal::Close,
            _ => Signal::Abort,
        }
    }

    /// Makes a signal wake the task of `cx`, once: after a signal it must register again.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// The output of `future`; `None` if the connection is told to close first. For the steps before HTTP begins.
    pub(super) async fn unless_ended<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            self.register(cx);
            match (self.signal(), future.as_mut().poll(cx)) {
                (Signal::None, Poll::Ready(output)) => Poll::Ready(Some(output)),
                (Signal::None, Poll::Pending) => Poll::Pending,
                (Signal::Close | Signal::Abort, _) => Poll::Ready(None),
            }
        })
        .await
    }
}

/// A call in progress on a connection.
#[derive(Debug)]
pub(super) struct CallGuard(Arc<Watch>);

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Relaxed);
    }
}

/// A connection that reports its writes to a watch; for HTTP/2, which has no guard.
#[derive(Debug)]
pub(super) struct Meter<S> {
    pub(super) io: S,
    pub(super) watch: Arc<Watch>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Meter<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Meter<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.watch.written(Pin::new(&mut this.io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.watch.written(Pin::new(&mut this.io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// The header timeout and the idle timeout of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) header: Duration,
    pub(super) keep_alive: Duration,
}

impl Patience {
    /// The interval of checks. A timeout fires at most one interval early, and never late.
    fn step(self) -> Duration {
        (self.header.min(self.keep_alive) / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    fn steps(self, limit: Duration) -> u32 {
        u32::try_from(limit.as_nanos() / self.step().as_nanos()).unwrap_or(u32::MAX).max(2) - 1
    }
}

/// The connections of one worker.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    watch: Arc<Watch>,
    head: u32,
    owing: u32,
    progress: u32,
    quiet: u32,
}

impl Roster {
    /// Adds a connection, whose first handshake or head is awaited from now on.
    pub(super) fn enrol(&self) -> Arc<Watch> {
        let watch = Arc::new(Watch::default());
        watch.head_begun();
        // Neither count is the present one, so that the first check, which may come at once, does not count as an interval.
        let entry = Entry { watch: Arc::clone(&watch), head: 0, owing: 0, progress: u32::MAX, quiet: 0 };
        self.entries().push(entry);
        watch
    }

    /// Checks the connections at intervals; never completes.
    pub(super) async fn keep(&self, patience: Patience, drain: &Drain) {
        let mut tick = tokio::time::interval(patience.step());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut closing, mut aborting) = (false, false);
        loop {
            tokio::select! {
                _ = tick.tick() => self.entries().retain_mut(|entry| entry.look(patience)),
                () = drain.closing().cancelled(), if !closing => closing = true,
                () = drain.aborting().cancelled(), if !aborting => aborting = true,
            }
            // Connections accepted from the backlog after closing began are told at the next check.
            if closing || aborting {
                let signal = if aborting { Signal::Abort } else { Signal::Close };
                self.entries().iter().filter(|entry| entry.watch.signal() < signal).for_each(|e| e.watch.tell(signal));
            }
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// One check; false if the connection has ended.
    fn look(&mut self, patience: Patience) -> bool {
        let watch = &self.watch;
        if Arc::strong_count(watch) == 1 {
            return false;
        }
        let (head, progress) = (watch.head.load(Relaxed), watch.progress.load(Relaxed));
        let idle = watch.calls.load(Relaxed) == 0;
        self.owing = if head == self.head && !head.is_multiple_of(2) { self.owing.saturating_add(1) } else { 0 };
        self.quiet = if progress == self.progress { self.quiet.saturating_add(1) } else { 0 };
        (self.head, self.progress) = (head, progress);
        let keep_alive = patience.steps(patience.keep_alive);
        let closing = watch.signal() == Signal::Close;
        let blocked = watch.blocked.load(Relaxed);
        if (self.owing >= patience.steps(patience.header) && idle) || (self.quiet >= keep_alive && blocked) {
            watch.tell(Signal::Abort);
        } else if self.quiet >= keep_alive && idle && !closing {
            watch.tell(Signal::Close);
        } else if closing && idle && self.quiet >= keep_alive.saturating_mul(2) {
            watch.tell(Signal::Abort);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Patience, Roster, Signal};

    #[test]
    fn a_timeout_is_short_of_its_limit_by_one_step_at_most() {
        let limit = std::time::Duration::from_millis(800);
        let patience = Patience { header: limit, keep_alive: limit };
        let checks = |begin: &dyn Fn(&super::Watch)| {
            let roster = Roster::default();
            let watch = roster.enrol();
            begin(&watch);
            let mut entry = roster.entries().pop().unwrap();
            (1..100).find(|_| entry.look(patience) && watch.signal() != Signal::None).unwrap()
        };
        // The first check may come at once, and the last interval may be missing.
        for (what, begin) in [("a head", &(|_: &super::Watch| {}) as &dyn Fn(&_)), ("idle", &super::Watch::head_done)] {
            assert!(patience.step() * checks(begin) >= limit, "{what}");
        }
    }
}
