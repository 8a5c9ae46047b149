//! The deadline of the next event on a connection.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::task::unconstrained;
use tokio::time::Sleep;

use crate::clock;

/// The deadline of the next event on a connection: the head of an answer, or more of its content.
///
/// Setting it is one store: the timer below it runs on, and is set anew only when it fires before the deadline, or would
/// fire after it. So no timer is created, reset and removed for every request.
#[derive(Debug)]
pub(super) struct Deadline {
    /// `None` without a deadline.
    due: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// A deadline that is not set; to be made in a runtime.
    pub(super) fn new() -> Self {
        Self { due: None, timer: Box::pin(tokio::time::sleep(Duration::MAX)) }
    }

    /// Sets the deadline to `wait` after `now`; none if that is beyond the clock.
    pub(super) fn arm(&mut self, now: Instant, wait: Duration) {
        self.due = now.checked_add(wait);
    }

    /// Sets the deadline unless there is one.
    pub(super) fn arm_once(&mut self, wait: Duration) {
        if self.due.is_none() {
            self.arm(clock::monotonic(), wait);
        }
    }

    /// Removes the deadline: the next step is the proxy's.
    pub(super) fn disarm(&mut self) {
        self.due = None;
    }

    /// Ready when the deadline has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        if self.timer.deadline().into_std() > due {
            self.timer.as_mut().reset(due.into());
        }
        // A peer that never pauses uses up this task's cooperative budget, without which a timer is always pending.
        while pin!(unconstrained(self.timer.as_mut())).poll(cx).is_ready() {
            if clock::monotonic() >= due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due.into());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::Deadline;
    use crate::clock;

    #[tokio::test]
    async fn passes_when_it_is_due() {
        let (now, wait) = (clock::monotonic(), Duration::from_millis(20));
        let mut deadline = Deadline::new();
        deadline.arm(now, 1000 * wait);
        assert!(poll_fn(|cx| std::task::Poll::Ready(deadline.poll(cx))).await.is_pending());
        // An earlier one than the timer was set for, and a later one.
        for wait in [wait, wait / 2, 2 * wait] {
            let now = clock::monotonic();
            deadline.arm(now, wait);
            poll_fn(|cx| deadline.poll(cx)).await;
            assert!(clock::monotonic() >= now + wait);
        }
        deadline.arm(now, Duration::ZERO);
        deadline.disarm();
        assert!(poll_fn(|cx| std::task::Poll::Ready(deadline.poll(cx))).await.is_pending());
    }

    /// tokio lets no timer fire in a task that has used up its turn, and a peer that never pauses uses up every one.
    #[tokio::test]
    async fn passes_on_a_connection_that_is_never_idle() {
        let mut deadline = Deadline::new();
        deadline.arm(clock::monotonic(), Duration::from_millis(20));
        let ended = poll_fn(|cx| {
            while std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx).is_ready() {}
            deadline.poll(cx)
        });
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    }

    #[tokio::test]
    async fn one_beyond_the_clock_is_none() {
        let mut deadline = Deadline::new();
        deadline.arm(clock::monotonic(), Duration::MAX);
        assert_eq!(deadline.due, None);
    }
}
