//! The circuit breaker: stops calls to a failing upstream, and detects its recovery without a call.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gate::Busy;
use crate::config;

/// Closed while the upstream answers; open for a pause after the configured number of consecutive failures; then half open:
/// one request is let through, after a connection made only to test whether the upstream accepts one.
#[derive(Debug)]
pub(super) struct Breaker {
    limits: config::Breaker,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Whether the state is other than closed; while it is closed, only this is read.
    is_shut: AtomicBool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    HalfOpen { pause: Duration },
    Open { until: Instant, pause: Duration },
}

/// Permission to send one request; its outcome is reported with [`Pass::succeeded`] or [`Pass::failed`].
#[derive(Debug)]
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    is_trial: bool,
}

/// The breaker's state in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    HalfOpen,
    Open,
}

impl Breaker {
    pub(super) fn new(limits: config::Breaker) -> Self {
        Self { limits, failures: AtomicU32::new(0), is_shut: AtomicBool::new(false), state: Mutex::new(State::Closed) }
    }

    /// Permission to send a request now; errs with [`Busy::Breaker`] while open or while a trial is running. The clock is not
    /// read while the breaker is closed.
    pub(super) fn pass(&self, now: impl FnOnce() -> Instant) -> Result<Pass<'_>, Busy> {
        if !self.is_shut.load(Ordering::Acquire) {
            return Ok(Pass { breaker: self, is_trial: false });
        }
        let mut state = self.lock();
        if let Some(refused) = self.refused(*state, now()) {
            return Err(refused);
        }
        let State::Open { pause, .. } = *state else { return Ok(Pass { breaker: self, is_trial: false }) };
        *state = State::HalfOpen { pause };
        Ok(Pass { breaker: self, is_trial: true })
    }

    /// Why no request may be sent now; `None` if one may. Changes nothing.
    pub(super) fn refuses(&self, now: impl FnOnce() -> Instant) -> Option<Busy> {
        if !self.is_shut.load(Ordering::Acquire) {
            return None;
        }
        let state = *self.lock();
        self.refused(state, now())
    }

    fn refused(&self, state: State, now: Instant) -> Option<Busy> {
        match state {
            State::Closed => None,
            State::HalfOpen { .. } => Some(Busy::Breaker { after: self.limits.pause }),
            State::Open { until, .. } => (now < until).then(|| Busy::Breaker { after: until - now }),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match *self.lock() {
            State::Closed => Phase::Closed,
            State::HalfOpen { .. } => Phase::HalfOpen,
            State::Open { .. } => Phase::Open,
        }
    }

    fn open(&self, pause: Duration, now: Instant) {
        let pause = pause.min(self.limits.longest);
        *self.lock() = State::Open { until: now + pause, pause };
        self.is_shut.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Whether this is the trial request of a half-open breaker.
    pub(super) const fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// The upstream answered.
    pub(super) fn succeeded(mut self) {
        let breaker = self.breaker;
        if breaker.failures.load(Ordering::Relaxed) != 0 {
            breaker.failures.store(0, Ordering::Relaxed);
        }
        if std::mem::take(&mut self.is_trial) {
            *breaker.lock() = State::Closed;
            breaker.is_shut.store(false, Ordering::Release);
        }
    }

    /// The upstream could not be reached, or failed to answer properly.
    pub(super) fn failed(mut self, now: Instant) {
        let breaker = self.breaker;
        if std::mem::take(&mut self.is_trial) {
            let pause = match *breaker.lock() {
                State::HalfOpen { pause } => pause * 2,
                State::Closed | State::Open { .. } => breaker.limits.pause,
            };
            return breaker.open(pause, now);
        }
        let failures = breaker.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= breaker.limits.failures && !breaker.is_shut.load(Ordering::Acquire) {
            breaker.open(breaker.limits.pause, now);
        }
    }
}

impl Drop for Pass<'_> {
    /// A trial that was abandoned, for example because its client disconnected, showed nothing: the next request is the trial.
    fn drop(&mut self) {
        if self.is_trial {
            let mut state = self.breaker.lock();
            if let State::HalfOpen { pause } = *state {
                *state = State::Open { until: crate::clock::monotonic(), pause };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Breaker, Phase};
    use crate::clock;
    use crate::config;
    use crate::upstream::gate::Busy;

    const PAUSE: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(config::Breaker { failures: 3, pause: PAUSE, longest: Duration::from_secs(3) })
    }

    fn opened(now: std::time::Instant) -> Breaker {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.pass(|| now).unwrap().failed(now);
        }
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let (breaker, now) = (breaker(), clock::monotonic());
        for _ in 0..10 {
            breaker.pass(|| now).unwrap().failed(now);
            breaker.pass(|| now).unwrap().failed(now);
            breaker.pass(|| now).unwrap().succeeded();
        }
        assert_eq!(breaker.phase(), Phase::Closed);
        let breaker = opened(now);
        assert_eq!(breaker.phase(), Phase::Open);
        assert_eq!(breaker.pass(|| now).unwrap_err(), Busy::Breaker { after: PAUSE });
        assert!(breaker.refuses(|| now).is_some() && breaker.refuses(|| now + PAUSE).is_none());
    }

    #[test]
    fn lets_one_request_find_out() {
        let now = clock::monotonic();
        let breaker = opened(now);
        let later = now + PAUSE;
        let trial = breaker.pass(|| later).unwrap();
        assert!(trial.is_trial());
        assert_eq!(breaker.phase(), Phase::HalfOpen);
        assert!(breaker.pass(|| later).is_err() && breaker.refuses(|| later).is_some());
        trial.succeeded();
        assert_eq!(breaker.phase(), Phase::Closed);
        assert!(!breaker.pass(|| later).unwrap().is_trial());
        // One failure is no reason again.
        breaker.pass(|| later).unwrap().failed(later);
        assert_eq!(breaker.phase(), Phase::Closed);
    }

    #[test]
    fn waits_longer_each_time_up_to_a_limit() {
        let mut now = clock::monotonic();
        let breaker = opened(now);
        for seconds in [1, 2, 3, 3] {
            let Err(Busy::Breaker { after }) = breaker.pass(|| now) else { panic!("open") };
            assert_eq!(after, Duration::from_secs(seconds));
            now += after;
            breaker.pass(|| now).unwrap().failed(now);
        }
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_it_to_the_next() {
        let now = clock::monotonic();
        let breaker = opened(now);
        drop(breaker.pass(|| now + PAUSE).unwrap());
        let late = clock::monotonic() + PAUSE;
        assert!(breaker.pass(|| late).unwrap().is_trial());
    }

    #[test]
    fn failures_of_requests_sent_before_it_opened_do_not_lengthen_the_pause() {
        let now = clock::monotonic();
        let breaker = breaker();
        let passes: Vec<_> = (0..6).map(|_| breaker.pass(|| now).unwrap()).collect();
        for pass in passes {
            pass.failed(now);
        }
        assert_eq!(breaker.pass(|| now).unwrap_err(), Busy::Breaker { after: PAUSE });
    }
}
