use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::unconstrained;

use crate::clock;

/// The deadline of the next event on a connection: the head of an answer, more of its body, or the next request.
///
/// Setting it is one atomic store. The connection's driver polls it periodically, so that no timer is created, reset and
/// removed for every request.
#[derive(Debug)]
pub(super) struct Deadline {
    /// Nanoseconds after `start`; [`Self::NONE`] if there is no deadline.
    due: AtomicU64,
    expired: AtomicBool,
    start: Instant,
}

impl Deadline {
    const NONE: u64 = u64::MAX;

    pub(super) fn new(start: Instant) -> Self {
        Self { due: AtomicU64::new(Self::NONE), expired: AtomicBool::new(false), start }
    }

    /// Sets the deadline: the connection ends unless this or [`Self::disarm`] is called within `wait` of `now`.
    pub(super) fn arm(&self, now: Instant, wait: Duration) {
        let due = now.saturating_duration_since(self.start).saturating_add(wait);
        self.due.store(u64::try_from(due.as_nanos()).unwrap_or(Self::NONE), Ordering::Relaxed);
    }

    /// Removes the deadline: the next step is the proxy's.
    pub(super) fn disarm(&self) {
        self.due.store(Self::NONE, Ordering::Relaxed);
    }

    /// Whether the connection was ended because the deadline passed.
    pub(super) fn is_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    /// The time left until the deadline; `None` without one.
    fn left(&self, now: Instant) -> Option<Duration> {
        let due = self.due.load(Ordering::Relaxed);
        (due != Self::NONE).then(|| Duration::from_nanos(due).saturating_sub(now.saturating_duration_since(self.start)))
    }
}

/// Runs `connection` until it ends or `deadline` passes; then it is dropped, which closes its socket.
///
/// `shortest` is the shortest time that the deadline is ever armed with. The deadline is checked at least that often, so
/// none is missed: one set after a check is not due before the next.
///
/// The connection is polled in place: moved, it would be in this future twice for as long as it is open.
pub(super) async fn drive(mut connection: impl Future + Unpin, deadline: Arc<Deadline>, shortest: Duration) {
    let mut look = pin!(tokio::time::sleep(shortest));
    let mut registered = false;
    poll_fn(|cx| {
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // A task's waker stays the same, so a timer that was polled once need not be polled again until it fires.
        while !registered || look.is_elapsed() {
            registered = true;
            // A peer that never pauses uses up this task's cooperative budget, without which a timer is always pending.
            if pin!(unconstrained(look.as_mut())).poll(cx).is_pending() {
                break;
            }
            let now = clock::monotonic();
            let wait = match deadline.left(now) {
                Some(Duration::ZERO) => {
                    deadline.expired.store(true, Ordering::Relaxed);
                    return Poll::Ready(());
                }
                Some(left) => left.min(shortest),
                None => shortest,
            };
            look.as_mut().reset((now + wait).into());
            registered = false;
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Deadline, drive};
    use crate::clock;

    #[tokio::test]
    async fn ends_a_late_connection_only() {
        let now = clock::monotonic();
        let (wait, shortest) = (Duration::from_millis(20), Duration::from_millis(5));

        let late = Arc::new(Deadline::new(now));
        late.arm(now, wait);
        drive(std::future::pending::<()>(), late.clone(), shortest).await;
        assert!(late.is_expired());
        assert!(clock::monotonic() >= now + wait);

        let disarmed = Arc::new(Deadline::new(now));
        disarmed.arm(now, Duration::ZERO);
        disarmed.disarm();
        drive(Box::pin(tokio::time::sleep(wait)), disarmed.clone(), shortest).await;
        assert!(!disarmed.is_expired());
    }

    /// tokio lets no timer fire in a task that has used up its turn, and a peer that never pauses uses up every one.
    #[tokio::test]
    async fn ends_a_connection_that_is_never_idle() {
        let (wait, shortest) = (Duration::from_millis(20), Duration::from_millis(5));
        let late = Arc::new(Deadline::new(clock::monotonic()));
        late.arm(clock::monotonic(), wait);
        let busy = async {
            loop {
                tokio::task::coop::consume_budget().await;
            }
        };
        let ended = drive(Box::pin(busy), late.clone(), shortest);
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
        assert!(late.is_expired());
    }

    #[test]
    fn a_deadline_beyond_the_clock_is_none() {
        let now = clock::monotonic();
        let deadline = Deadline::new(now);
        deadline.arm(now, Duration::MAX);
        assert_eq!(deadline.left(now), None);
    }
}
