use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::server::site::site;

/// The most addresses counted at a time: about 4 MB when full. Beyond it, the refusals of further ones are not counted; they are
/// refused all the same.
const MOST: usize = 64 * 1024;
/// How long nothing is removed again from a full table.
const PAUSE: Duration = Duration::from_secs(1);

/// How many of the tokens an address showed lately were refused. A limiter of requests cannot count that, as only the outcome
/// says whether one counts.
#[derive(Debug)]
pub struct Failures(Mutex<Table>);

#[derive(Debug)]
struct Table {
    /// When the last refusal of a site is forgotten, where each lasts its part of the rate's time, one after another.
    until: HashMap<IpAddr, Instant>,
    most: usize,
    cleared: Option<Instant>,
}

impl Default for Failures {
    fn default() -> Self {
        Self::with_room(MOST)
    }
}

impl Failures {
    fn with_room(most: usize) -> Self {
        Self(Mutex::new(Table { until: HashMap::new(), most, cleared: None }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the address must wait if it has used up the rate: so many refusals in that time.
    pub(crate) fn pause(&self, address: IpAddr, rate: (u32, Duration), now: Instant) -> Option<Duration> {
        let until = *self.table().until.get(&site(address))?;
        let pause = (until.saturating_duration_since(now) + part(rate)).checked_sub(rate.1)?;
        (!pause.is_zero()).then_some(pause)
    }

    /// Counts one refusal.
    pub(crate) fn count(&self, address: IpAddr, rate: (u32, Duration), now: Instant) {
        let mut table = self.table();
        let (site, full) = (site(address), table.until.len() >= table.most);
        if full && table.cleared.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE) {
            table.cleared = Some(now);
            table.until.retain(|_, until| *until > now);
        }
        if table.until.len() >= table.most && !table.until.contains_key(&site) {
            return;
        }
        let until = table.until.entry(site).or_insert(now);
        // Many may be looked at at once before the first of them is refused.
        *until = ((*until).max(now) + part(rate)).min(now + rate.1);
    }
}

/// How long one refusal of a rate lasts.
fn part((count, time): (u32, Duration)) -> Duration {
    time.checked_div(count).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::Failures;
    use crate::clock::monotonic;

    const RATE: (u32, Duration) = (3, Duration::from_mins(1));

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_was_refused_too_often_waits_and_nobody_else() {
        let (failures, now) = (Failures::default(), monotonic());
        let (one, other) = (ip("2001:db8:0:1::1"), ip("2001:db8:0:2::1"));
        for _ in 0..3 {
            assert_eq!(failures.pause(one, RATE, now), None);
            failures.count(one, RATE, now);
        }
        let part = Duration::from_secs(20);
        assert_eq!(failures.pause(one, RATE, now), Some(part));
        assert_eq!(failures.pause(ip("2001:db8:0:1:ffff::2"), RATE, now), Some(part), "the same site");
        assert_eq!(failures.pause(other, RATE, now), None);
        assert_eq!(failures.pause(one, RATE, now + part / 2), Some(part / 2));
        assert_eq!(failures.pause(one, RATE, now + part), None);
        failures.count(one, RATE, now + part);
        assert_eq!(failures.pause(one, RATE, now + part), Some(part), "one more, and no more than that");
        assert_eq!(failures.pause(one, RATE, now + part * 5), None);
        // Thousands that were under way together cost no more than one time.
        for _ in 0..5_000 {
            failures.count(other, RATE, now);
        }
        assert_eq!(failures.pause(other, RATE, now), Some(part));
    }

    #[test]
    fn it_never_grows_without_end_and_forgets_who_is_gone() {
        let (failures, now) = (Failures::with_room(100), monotonic());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..1_000 {
            failures.count(address(number), RATE, now);
        }
        assert_eq!(failures.table().until.len(), 100);
        for _ in 0..3 {
            failures.count(address(7), RATE, now);
        }
        assert!(failures.pause(address(7), RATE, now).is_some(), "one that is counted already");
        let later = now + RATE.1 * 2;
        failures.count(address(5_000), RATE, later);
        assert_eq!(failures.table().until.len(), 1);
    }
}
