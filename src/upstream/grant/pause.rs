//! Pauses after an authorization server fails: for one caller, and for all.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use foldhash::HashMap;

use super::GrantError;

/// Longest pause.
const LONGEST: Duration = Duration::from_mins(1);
/// Consecutive failures of one caller's requests that cause no pause.
const PATIENCE_WITH_ONE: u32 = 1;
/// Number of different callers whose latest requests may fail, with no success between, before the server counts as failing.
const PATIENCE: u32 = 2;
/// The most callers remembered as those whose requests failed last.
const LATEST: usize = 8;
/// The most callers that have a pause of their own.
const LIMIT_CALLERS: usize = 10_000;

/// The pauses of one authorization server.
///
/// A caller whose requests keep failing has a pause of its own. All callers have one after the requests of several callers
/// failed in a row: one bad token, however often it is used, does not keep other callers from theirs.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    all: Pause,
    callers: HashMap<u64, Pause>,
    /// The callers whose requests failed last, with no success since.
    latest: VecDeque<u64>,
}

impl Pauses {
    /// The error during a pause for `whose`, `None` for the proxy itself; `None` without a pause.
    pub(super) fn resting(&self, whose: Option<u64>, now: Instant) -> Option<GrantError> {
        self.all.resting(now).or_else(|| self.callers.get(&whose?)?.resting(now))
    }

    /// The server answered with a token, or with a refusal of one caller: it works.
    pub(super) fn worked(&mut self, whose: Option<u64>) {
        self.all = Pause::default();
        self.latest.clear();
        if let Some(whose) = whose {
            self.callers.remove(&whose);
        }
    }

    /// Records a failed request; `times` are its start and end. `jitter`, in [0, 1), shortens the pause by up to a quarter.
    pub(super) fn failed(&mut self, whose: Option<u64>, error: &GrantError, jitter: f64, times: (Instant, Instant)) {
        let Some(whose) = whose else { return self.all.failed(error, 0, jitter, times) };
        if self.callers.len() >= LIMIT_CALLERS {
            self.callers.retain(|_, pause| !pause.is_past(times.1));
        }
        if self.callers.len() < LIMIT_CALLERS || self.callers.contains_key(&whose) {
            let own = self.callers.entry(whose).or_default();
            if own.is_past(times.1) {
                *own = Pause::default();
            }
            own.failed(error, PATIENCE_WITH_ONE, jitter, times);
        }
        if self.latest.contains(&whose) {
            return;
        }
        self.latest.truncate(LATEST - 1);
        self.latest.push_front(whose);
        self.all.failed(error, PATIENCE, jitter, times);
    }
}

/// One pause, and the failures that led to it.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    /// The end of the pause, and the latest error.
    resting: Option<(Instant, GrantError)>,
    /// Time of the latest failure.
    latest: Option<Instant>,
    /// When the latest pause began. Failures of requests sent before do not count again.
    since: Option<Instant>,
}

impl Pause {
    /// The error during the pause; `None` without one.
    fn resting(&self, now: Instant) -> Option<GrantError> {
        let (until, error) = self.resting.as_ref().filter(|(until, _)| now < *until)?;
        Some(match error {
            GrantError::Unavailable { reason, .. } => {
                GrantError::Unavailable { reason, retry_after: until.saturating_duration_since(now) }
            }
            other => other.clone(),
        })
    }

    /// Whether the pause ended so long ago that it can be forgotten.
    fn is_past(&self, now: Instant) -> bool {
        let until = self.resting.as_ref().map(|(until, _)| *until).or(self.latest);
        until.is_some_and(|until| until + LONGEST <= now)
    }

    /// Records a failure. The first `patience` cause no pause; each further one doubles it. Concurrent requests that fail
    /// count once.
    fn failed(&mut self, error: &GrantError, patience: u32, jitter: f64, (began, now): (Instant, Instant)) {
        if self.since.is_some_and(|since| began < since) {
            return;
        }
        self.latest = Some(now);
        self.failures = self.failures.saturating_add(1);
        let Some(over) = self.failures.checked_sub(patience + 1) else { return };
        let doubled = Duration::from_secs(1 << over.min(6)).min(LONGEST);
        let pause = doubled.mul_f64(1.0 - jitter / 4.0);
        let said = if let GrantError::Unavailable { retry_after, .. } = error { *retry_after } else { Duration::ZERO };
        self.resting = Some((now + pause.max(said), error.clone()));
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{GrantError, LATEST, LIMIT_CALLERS, Pause, Pauses};
    use crate::clock;

    fn down(seconds: u64) -> GrantError {
        GrantError::Unavailable { reason: "unreachable", retry_after: Duration::from_secs(seconds) }
    }

    fn rest(pause: &Pause, now: Instant) -> Option<Duration> {
        match pause.resting(now)? {
            GrantError::Unavailable { retry_after, .. } => Some(retry_after),
            _ => Some(Duration::ZERO),
        }
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let (mut pause, mut now) = (Pause::default(), clock::monotonic());
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(rest(&pause, now), None);
            pause.failed(&down(1), 0, 0.0, (now, now));
            assert_eq!(rest(&pause, now), Some(Duration::from_secs(expected)));
            now += Duration::from_secs(expected);
        }
        pause = Pause::default();
        pause.failed(&down(1), 0, 0.9, (now, now));
        assert_eq!(rest(&pause, now), Some(Duration::from_secs(1)), "what is said counts, whatever the jitter");
        let later = now + Duration::from_secs(1);
        pause.failed(&down(90), 0, 0.0, (later, later));
        assert_eq!(rest(&pause, later), Some(Duration::from_secs(90)), "it says when to come back");
    }

    #[test]
    fn a_few_failures_may_be_one_callers() {
        let (mut pause, now) = (Pause::default(), clock::monotonic());
        for _ in 0..2 {
            pause.failed(&down(1), 2, 0.0, (now, now));
            assert_eq!(rest(&pause, now), None);
        }
        pause.failed(&down(1), 2, 0.0, (now, now));
        assert!(rest(&pause, now).is_some());
    }

    #[test]
    fn jitter_shortens_by_a_quarter_at_most() {
        let now = clock::monotonic();
        for jitter in [0.0, 0.5, 0.999] {
            let mut pause = Pause::default();
            for _ in 0..3 {
                pause.failed(&down(0), 0, jitter, (now, now));
            }
            let rest = rest(&pause, now).unwrap();
            assert!(rest <= Duration::from_secs(4) && rest > Duration::from_secs(3), "{rest:?}");
        }
    }

    #[test]
    fn what_fails_at_once_fails_once() {
        let (mut pause, began) = (Pause::default(), clock::monotonic());
        let over = began + Duration::from_secs(10);
        for at in 0..64 {
            pause.failed(&down(0), 2, 0.0, (began, over + Duration::from_millis(at)));
        }
        assert_eq!(rest(&pause, over), Some(Duration::from_millis(1002)), "a pause of one second behind the third");
        let later = over + Duration::from_secs(2);
        pause.failed(&down(0), 2, 0.0, (later, later));
        assert_eq!(rest(&pause, later), Some(Duration::from_secs(2)), "the next failure is the next");
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_caller_whose_requests_fail_is_left_alone_alone() {
        let (mut pauses, mut now) = (Pauses::default(), clock::monotonic());
        pauses.failed(Some(1), &down(1), 0.0, (now, now));
        assert_eq!(pauses.resting(Some(1), now), None, "once is nothing");
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            pauses.failed(Some(1), &down(1), 0.0, (now, now));
            assert_eq!(pauses.resting(Some(2), now), None, "another's pause");
            let Some(GrantError::Unavailable { retry_after, .. }) = pauses.resting(Some(1), now) else { panic!() };
            assert_eq!(retry_after, Duration::from_secs(expected));
            now += retry_after;
            assert_eq!(pauses.resting(Some(1), now), None);
        }
        // Two that take turns are still fewer than it takes.
        for at in 0..20 {
            now += Duration::from_secs(130);
            for _ in 0..2 {
                pauses.failed(Some(at % 2), &down(1), 0.0, (now, now));
            }
            assert_eq!(pauses.resting(Some(2), now), None);
            assert!(pauses.resting(Some(at % 2), now).is_some());
            assert_eq!(pauses.resting(Some(at % 2), now + SECOND), None, "long ago is as never");
        }
        assert!(pauses.resting(Some(1), now).is_some());
        pauses.worked(Some(1));
        assert_eq!(pauses.resting(Some(1), now), None, "it works for this caller");
    }

    #[test]
    fn a_server_that_fails_everybody_is_left_alone_by_everybody() {
        let (mut pauses, now) = (Pauses::default(), clock::monotonic());
        for whose in 0..2 {
            pauses.failed(Some(whose), &down(1), 0.0, (now, now));
            assert_eq!(pauses.resting(Some(9), now), None, "{whose}");
        }
        pauses.failed(Some(2), &down(1), 0.0, (now, now));
        assert!(pauses.resting(Some(9), now).is_some() && pauses.resting(None, now).is_some());
        // Whoever asks next finds out, and the pause doubles.
        let later = now + SECOND;
        pauses.failed(Some(3), &down(1), 0.0, (later, later));
        assert!(pauses.resting(Some(9), later + SECOND).is_some());
        pauses.worked(Some(9));
        assert_eq!(pauses.resting(Some(8), later), None);
        // What is the proxy's own is nobody's token.
        pauses.failed(None, &down(1), 0.0, (later, later));
        assert!(pauses.resting(Some(9), later).is_some());
    }

    #[test]
    fn who_has_a_pause_is_bounded() {
        let (mut pauses, now) = (Pauses::default(), clock::monotonic());
        for whose in 0..LIMIT_CALLERS as u64 + 100 {
            pauses.failed(Some(whose), &down(1), 0.0, (now, now));
        }
        assert_eq!((pauses.callers.len(), pauses.latest.len()), (LIMIT_CALLERS, LATEST));
        let later = now + Duration::from_mins(10);
        pauses.failed(Some(u64::MAX), &down(1), 0.0, (later, later));
        assert_eq!(pauses.callers.len(), 1);
    }
}
