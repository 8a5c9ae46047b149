use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::Key;

/// The most keys counted at a time, approximately.
const MOST: usize = 100_000;
/// The number of checks between two removals of stale keys.
const LOOK: u32 = 1024;

/// A rate limit by key (generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Rate<C: Clock> {
    limiter: RateLimiter<Key, DashMapStateStore<Key>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    checks: AtomicU32,
    full: AtomicBool,
}

impl<C: Clock + Clone> Rate<C> {
    /// A limit of `calls` per `time`, of which `burst` may come at once. `None` if one of them is zero.
    pub(super) fn new(calls: u32, time: Duration, burst: u32, clock: C) -> Option<Self> {
        let quota = Quota::with_period(time.checked_div(calls)?)?.allow_burst(NonZeroU32::new(burst)?);
        let limiter = RateLimiter::new(quota, DashMapStateStore::default(), clock.clone());
        Some(Self { limiter, clock, checks: AtomicU32::new(0), full: AtomicBool::new(false) })
    }

    /// Counts one call. Errs with the time to wait if it exceeds the limit.
    pub(super) fn check(&self, key: &Key) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % LOOK == LOOK - 1 {
            self.limiter.retain_recent();
            self.full.store(self.limiter.len() > MOST, Ordering::Relaxed);
        }
        if self.full.load(Ordering::Relaxed) {
            // With that many active keys, calls are refused rather than let in uncounted.
            return Err(super::BUSY);
        }
        self.limiter.check_key(key).map_err(|until| until.earliest_possible().duration_since(self.clock.now()).into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::{LOOK, MOST, Rate};

    #[test]
    fn lets_a_burst_pass_and_then_one_at_a_time() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::new(6, Duration::from_mins(1), 2, clock.clone()).unwrap();
        let (ana, kim) = (Box::from(*b"ana"), Box::from(*b"kim"));
        assert!(rate.check(&ana).is_ok() && rate.check(&ana).is_ok());
        assert_eq!(rate.check(&ana), Err(Duration::from_secs(10)));
        assert!(rate.check(&kim).is_ok());
        clock.advance(Duration::from_secs(4));
        assert_eq!(rate.check(&ana), Err(Duration::from_secs(6)));
        clock.advance(Duration::from_secs(6));
        assert!(rate.check(&ana).is_ok());
        assert!(rate.check(&ana).is_err());
    }

    #[test]
    fn forgets_who_has_not_called_and_never_grows_without_end() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::new(1, Duration::from_secs(1), 1, clock.clone()).unwrap();
        let key = |number: u64| Box::from(number.to_le_bytes());
        let mut refused = 0;
        for number in 0..MOST as u64 + 2 * u64::from(LOOK) {
            refused += u64::from(rate.check(&key(number)).is_err());
        }
        assert!(refused > 0 && rate.limiter.len() <= MOST + LOOK as usize);
        clock.advance(Duration::from_secs(2));
        for number in 0..u64::from(LOOK) {
            let _ = rate.check(&key(number));
        }
        assert!(rate.check(&key(u64::MAX)).is_ok());
    }
}
