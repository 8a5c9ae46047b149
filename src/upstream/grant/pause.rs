//! How long a failing authorization server is not asked.

use std::time::{Duration, Instant};

use super::GrantError;

/// Longest pause.
const LONGEST: Duration = Duration::from_mins(1);

/// How a server has done lately.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u32,
    /// Until when it is not asked, and what it said last.
    resting: Option<(Instant, GrantError)>,
    /// When the latest pause began. What was asked before that and fails after it fails for the same reason.
    since: Option<Instant>,
}

impl Pause {
    /// Why it is not asked now, if it is not.
    pub(super) fn resting(&self, now: Instant) -> Option<GrantError> {
        let (until, error) = self.resting.as_ref().filter(|(until, _)| now < *until)?;
        Some(match error {
            GrantError::Unavailable { reason, .. } => {
                GrantError::Unavailable { reason, retry_after: until.saturating_duration_since(now) }
            }
            other => other.clone(),
        })
    }

    /// It answered with a token, or with a refusal of one caller: it works.
    pub(super) fn worked(&mut self) {
        *self = Self::default();
    }

    /// A request that began at the first of two moments failed at the second. With `patience` that many failures in a row
    /// pass: one caller's odd token may upset it, and that must not be everybody's loss. The pause doubles, however many
    /// fail at once, and `jitter`, below one, takes up to a quarter of it away.
    pub(super) fn failed(&mut self, error: &GrantError, patience: u32, jitter: f64, (began, now): (Instant, Instant)) {
        if self.since.is_some_and(|since| began < since) {
            return;
        }
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

    use super::{GrantError, Pause};
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
    fn the_pause_doubles_up_to_a_minute_and_ends_with_a_success() {
        let (mut pause, mut now) = (Pause::default(), clock::monotonic());
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(rest(&pause, now), None);
            pause.failed(&down(1), 0, 0.0, (now, now));
            assert_eq!(rest(&pause, now), Some(Duration::from_secs(expected)));
            now += Duration::from_secs(expected);
        }
        pause.worked();
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
}
