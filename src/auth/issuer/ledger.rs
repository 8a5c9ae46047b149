//! When keys are fetched and what callers get meanwhile: decisions only, with the time as an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The most unknown `kid`s remembered; others cause fetches again, within the bucket's limit.
const LIMIT_ABSENT: usize = 1024;
/// The burst of fetches for unknown `kid`s.
const BURST: u32 = 5;
/// The bounds for how long a key set is used before it is fetched again.
const TTL: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));
/// The first pause after a failure; it doubles up to `min_refresh_interval`.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The time settings of one issuer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) cache_ttl: Duration,
    pub(super) min_refresh_interval: Duration,
    pub(super) max_stale: Duration,
}

/// What to do about a token whose key is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The issuer has no such key.
    Absent,
    /// Unknown; to be tried again after that time.
    Unavailable(Duration),
    /// Wait until another attempt is over.
    Wait {
        /// The number of attempts that are over now.
        after: u64,
        /// Whether a fetch has to be started.
        start: bool,
    },
}

/// The result of the last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Failed,
    Succeeded,
}

/// The state of one issuer's fetches.
pub(super) struct Ledger {
    timing: Timing,
    bucket: Bucket,
    absent: HashMap<Box<str>, Instant>,
    /// Whether a fetch is running or requested.
    in_flight: bool,
    attempts: u64,
    failures: u32,
    last: Last,
    due: Instant,
    stopped: bool,
}

impl Ledger {
    /// A ledger before its first fetch.
    pub(super) fn new(timing: Timing, now: Instant) -> Self {
        Self {
            timing,
            bucket: Bucket { tokens: BURST, since: now },
            absent: HashMap::new(),
            in_flight: true,
            attempts: 0,
            failures: 0,
            last: Last::Failed,
            due: now,
            stopped: false,
        }
    }

    /// What to do about `kid`, which the current keys lack; `has_keys` is false if there are no usable ones. `waited` tells
    /// that the request has already waited for an attempt.
    pub(super) fn ask(&mut self, kid: Option<&str>, has_keys: bool, waited: bool, now: Instant) -> Answer {
        if self.stopped {
            return Answer::Unavailable(FIRST_RETRY);
        }
        if has_keys && kid.is_some_and(|kid| self.absent.get(kid).is_some_and(|until| now < *until)) {
            return Answer::Absent;
        }
        if waited {
            return self.verdict(kid, has_keys, now);
        }
        if self.in_flight {
            return Answer::Wait { after: self.attempts, start: false };
        }
        if has_keys && self.bucket.take(self.timing.min_refresh_interval, now) {
            self.in_flight = true;
            return Answer::Wait { after: self.attempts, start: true };
        }
        self.verdict(kid, has_keys, now)
    }

    /// The answer without another fetch: `Absent`, and so 401, only if the last attempt succeeded without the key. If the
    /// bucket is empty, that attempt was at most `min_refresh_interval` ago.
    fn verdict(&mut self, kid: Option<&str>, has_keys: bool, now: Instant) -> Answer {
        if !has_keys || self.last == Last::Failed {
            let bucket = self.bucket.next(self.timing.min_refresh_interval);
            let next = if has_keys { self.due.min(bucket) } else { self.due };
            return Answer::Unavailable(next.saturating_duration_since(now).max(FIRST_RETRY));
        }
        if let Some(kid) = kid {
            self.remember_absent(kid, now);
        }
        Answer::Absent
    }

    fn remember_absent(&mut self, kid: &str, now: Instant) {
        if self.absent.len() >= LIMIT_ABSENT {
            self.absent.retain(|_, until| now < *until);
        }
        if self.absent.len() < LIMIT_ABSENT {
            self.absent.insert(kid.into(), now + self.timing.min_refresh_interval);
        }
    }

    /// Whether a fetch is requested before it is due.
    pub(super) const fn is_wanted(&self) -> bool {
        self.in_flight
    }

    /// Notes that a fetch begins.
    pub(super) const fn begin(&mut self) {
        self.in_flight = true;
    }

    /// Notes that a fetch succeeded, with the response's `max_age`, if any. `jitter` is from 0 to 255.
    pub(super) fn succeeded(&mut self, max_age: Option<Duration>, jitter: u8, now: Instant) {
        self.over(Last::Succeeded);
        self.failures = 0;
        let ttl = max_age.unwrap_or(self.timing.cache_ttl).clamp(TTL.0, TTL.1);
        // After 80 to 90 percent of the time, so that the next set is there before this one is too old.
        self.due = now + ttl * 4 / 5 + ttl / 10 * u32::from(jitter) / 255;
    }

    /// Notes that a fetch failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.over(Last::Failed);
        let longest = self.timing.min_refresh_interval.max(FIRST_RETRY);
        self.due = now + (FIRST_RETRY * (1 << self.failures.min(10))).min(longest);
        self.failures += 1;
    }

    fn over(&mut self, last: Last) {
        self.in_flight = false;
        self.attempts += 1;
        self.last = last;
    }

    /// Notes that no fetch will run any more.
    pub(super) fn stop(&mut self) {
        self.over(Last::Failed);
        self.stopped = true;
    }

    /// The number of attempts that are over.
    pub(super) const fn attempts(&self) -> u64 {
        self.attempts
    }

    /// When the next fetch is due.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// How long keys are used without a successful fetch.
    pub(super) const fn max_stale(&self) -> Duration {
        self.timing.max_stale
    }
}

/// A token bucket, refilled by one per interval.
struct Bucket {
    tokens: u32,
    /// The time up to which it was refilled.
    since: Instant,
}

impl Bucket {
    fn take(&mut self, interval: Duration, now: Instant) -> bool {
        let interval = interval.max(Duration::from_millis(1));
        while self.tokens < BURST && now.saturating_duration_since(self.since) >= interval {
            self.tokens += 1;
            self.since += interval;
        }
        if self.tokens == BURST {
            self.since = now;
        }
        let taken = self.tokens > 0;
        self.tokens -= u32::from(taken);
        taken
    }

    /// When the next token is available.
    fn next(&self, interval: Duration) -> Instant {
        if self.tokens > 0 { self.since } else { self.since + interval }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Answer, Ledger, Timing};

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> (Ledger, Instant) {
        let now = crate::clock::monotonic();
        let timing = Timing { cache_ttl: 600 * SECOND, min_refresh_interval: 30 * SECOND, max_stale: 86_400 * SECOND };
        (Ledger::new(timing, now), now)
    }

    fn ready() -> (Ledger, Instant) {
        let (mut ledger, now) = start();
        ledger.succeeded(None, 0, now);
        (ledger, now)
    }

    #[test]
    fn requests_before_the_first_fetch_wait_for_it_and_then_say_unavailable() {
        let (mut ledger, now) = start();
        assert_eq!(ledger.ask(Some("a"), false, false, now), Answer::Wait { after: 0, start: false });
        ledger.failed(now);
        assert_eq!(ledger.ask(Some("a"), false, true, now), Answer::Unavailable(SECOND));
        assert_eq!(ledger.ask(None, false, false, now), Answer::Unavailable(SECOND), "nothing is fetched for it");
    }

    #[test]
    fn forty_unknown_kids_cause_five_fetches() {
        let (mut ledger, now) = ready();
        let mut fetches = 0;
        for number in 0..40 {
            let kid = format!("kid-{number}");
            if let Answer::Wait { start, .. } = ledger.ask(Some(&kid), true, false, now) {
                assert!(start);
                fetches += 1;
                ledger.succeeded(None, 0, now);
                assert_eq!(ledger.ask(Some(&kid), true, true, now), Answer::Absent);
            }
        }
        assert_eq!(fetches, 5);
        assert!(matches!(ledger.ask(Some("later"), true, false, now + 29 * SECOND), Answer::Absent));
        assert!(matches!(ledger.ask(Some("later"), true, false, now + 60 * SECOND), Answer::Wait { start: true, .. }));
        ledger.succeeded(None, 0, now);
        assert!(matches!(
            ledger.ask(Some("one more"), true, false, now + 60 * SECOND),
            Answer::Wait { start: true, .. }
        ));
        ledger.succeeded(None, 0, now);
        assert_eq!(
            ledger.ask(Some("and one"), true, false, now + 60 * SECOND),
            Answer::Absent,
            "two came back, no more"
        );
    }

    #[test]
    fn waiters_share_one_fetch() {
        let (mut ledger, now) = ready();
        assert_eq!(ledger.ask(Some("a"), true, false, now), Answer::Wait { after: 1, start: true });
        for kid in ["a", "b", "c"] {
            assert_eq!(ledger.ask(Some(kid), true, false, now), Answer::Wait { after: 1, start: false });
        }
    }

    #[test]
    fn an_absent_kid_is_remembered_for_the_interval() {
        let (mut ledger, now) = ready();
        assert!(matches!(ledger.ask(Some("a"), true, false, now), Answer::Wait { start: true, .. }));
        ledger.succeeded(None, 0, now);
        assert_eq!(ledger.ask(Some("a"), true, true, now), Answer::Absent);
        assert_eq!(ledger.ask(Some("a"), true, false, now + 29 * SECOND), Answer::Absent);
        assert!(matches!(ledger.ask(Some("a"), true, false, now + 30 * SECOND), Answer::Wait { start: true, .. }));
    }

    #[test]
    fn memory_of_absent_kids_is_bounded() {
        let (mut ledger, now) = ready();
        for number in 0..5000 {
            ledger.remember_absent(&number.to_string(), now);
        }
        assert_eq!(ledger.absent.len(), super::LIMIT_ABSENT);
        ledger.remember_absent("later", now + 31 * SECOND);
        assert_eq!(ledger.absent.len(), 1);
    }

    #[test]
    fn an_unknown_kid_is_never_refused_while_fetches_fail() {
        let (mut ledger, now) = ready();
        for _ in 0..40 {
            match ledger.ask(Some("a"), true, false, now) {
                Answer::Wait { .. } => ledger.failed(now),
                Answer::Unavailable(after) => assert!(after >= SECOND && after <= 30 * SECOND, "{after:?}"),
                Answer::Absent => panic!("refused without having asked"),
            }
        }
        assert!(matches!(ledger.ask(Some("a"), true, true, now), Answer::Unavailable(_)));
    }

    #[test]
    fn the_next_fetch_follows_max_age_within_bounds() {
        for (max_age, from, to) in
            [(None, 480, 540), (Some(0), 48, 54), (Some(3600), 2880, 3240), (Some(u64::MAX), 69_120, 77_760)]
        {
            for jitter in [0, 128, 255] {
                let (mut ledger, now) = start();
                ledger.succeeded(max_age.map(Duration::from_secs), jitter, now);
                let pause = ledger.due() - now;
                assert!(pause >= from * SECOND && pause <= to * SECOND, "{max_age:?} {pause:?}");
            }
        }
    }

    #[test]
    fn failures_back_off_to_the_interval() {
        let (mut ledger, now) = start();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            ledger.failed(now);
            pauses.push((ledger.due() - now).as_secs());
        }
        assert_eq!(&pauses[..7], [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pauses[39], 30);
    }

    #[test]
    fn nobody_waits_for_a_stopped_ledger() {
        let (mut ledger, now) = start();
        ledger.stop();
        assert!(matches!(ledger.ask(Some("a"), true, false, now), Answer::Unavailable(_)));
    }
}
