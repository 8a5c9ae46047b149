use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, Reference};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::share::Shares;
use super::{Key, lock};

/// The most keys counted at a time, approximately.
const MOST: usize = 100_000;
/// The number of checks between two removals of stale keys.
const LOOK: u32 = 1024;

/// A rate limit by key (generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Rate<C: Clock> {
    limiter: RateLimiter<Key, DashMapStateStore<Key>, C, StateInformationMiddleware>,
    clock: C,
    checks: AtomicU32,
    full: AtomicBool,
    shares: Mutex<Shares>,
}

impl<C: Clock + Clone> Rate<C> {
    /// A limit of `calls` per `time`, of which `burst` may come at once. `None` if one of them is zero.
    pub(super) fn new(calls: u32, time: Duration, burst: u32, clock: C) -> Option<Self> {
        let quota = Quota::with_period(time.checked_div(calls)?)?.allow_burst(NonZeroU32::new(burst)?);
        let limiter = RateLimiter::new(quota, DashMapStateStore::default(), clock.clone());
        let (checks, full) = (AtomicU32::new(0), AtomicBool::new(false));
        Some(Self { limiter, clock, checks, full, shares: Mutex::default() })
    }

    /// Counts one call. Errs with the time to wait if it exceeds the limit.
    pub(super) fn check(&self, key: &Key) -> Result<(), Duration> {
        self.count(key).map(drop)
    }

    /// Counts one call by a key that `caller` chose. Errs also if it has chosen too many lately.
    pub(super) fn check_chosen(&self, caller: &Key, key: &Key, now: Instant) -> Result<(), Duration> {
        let mut shares = lock(&self.shares);
        if !shares.has_room(caller, key, now) {
            return Err(super::BUSY);
        }
        let state = self.count(key)?;
        let quota = state.quota();
        // The limiter drops a key once its burst has been whole for one interval.
        let missing = quota.burst_size().get().saturating_sub(state.remaining_burst_capacity());
        shares.note(caller, key, now, quota.replenish_interval().saturating_mul(missing.saturating_add(1)));
        Ok(())
    }

    /// Whether `caller` may choose `key`. Errs if it has chosen too many lately.
    pub(super) fn may_choose(&self, caller: &Key, key: &Key, now: Instant) -> Result<(), Duration> {
        if lock(&self.shares).has_room(caller, key, now) { Ok(()) } else { Err(super::BUSY) }
    }

    /// Notes that `caller` chose `key`, which is counted elsewhere for `time`.
    pub(super) fn chose(&self, caller: &Key, key: &Key, now: Instant, time: Duration) {
        lock(&self.shares).note(caller, key, now, time);
    }

    fn count(&self, key: &Key) -> Result<StateSnapshot, Duration> {
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

    use super::super::share::SHARE;
    use super::{Key, LOOK, MOST, Rate, lock};
    use crate::clock::monotonic;

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

    #[test]
    fn one_callers_many_names_refuse_only_that_caller() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::new(1, Duration::from_secs(1), 1, clock.clone()).unwrap();
        let key = |who: &str, number: u64| -> Key { [who.as_bytes(), &number.to_le_bytes()].concat().into() };
        let (ana, kim) = (key("ana", 0), key("kim", 0));
        let start = monotonic();
        let mut let_in = 0;
        for number in 0..MOST as u64 + 2 * u64::from(LOOK) {
            let_in += usize::from(rate.check_chosen(&ana, &key("ana", number), start).is_ok());
        }
        assert_eq!(let_in, SHARE);
        assert!(rate.check_chosen(&kim, &key("kim", 1), start).is_ok());
        // Those it has already go on.
        let second = Duration::from_secs(1);
        clock.advance(second);
        assert!(rate.check_chosen(&ana, &key("ana", 1), start + second).is_ok());
        assert!(rate.check_chosen(&ana, &key("ana", u64::MAX), start + second).is_err());
        clock.advance(second);
        assert!(rate.check_chosen(&ana, &key("ana", u64::MAX), start + 2 * second).is_ok(), "stale ones make room");
    }

    #[test]
    fn callers_that_are_gone_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::new(1, Duration::from_secs(1), 1, clock.clone()).unwrap();
        let key = |number: u64| -> Key { Box::from(number.to_le_bytes()) };
        let start = monotonic();
        for number in 0..4 * u64::from(LOOK) {
            clock.advance(Duration::from_secs(1));
            let _ = rate.check_chosen(&key(number), &key(number), start + Duration::from_secs(number));
        }
        assert!(lock(&rate.shares).len() <= LOOK as usize + 2);
    }
}
