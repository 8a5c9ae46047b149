//! A fact detected about an upstream: trusted for a while, after which one call detects it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long one call may take to detect the fact again before another call tries.
const FINDING_OUT: Duration = Duration::from_secs(30);
/// Number of low bits with the value; the bits above are the time until which it is trusted, in milliseconds.
const SHIFT: u32 = 2;
const YES: u64 = 1;
const NO: u64 = 2;

/// Yes, no or unknown, and until when that is trusted.
///
/// No value is trusted forever: a load balancer may give misleading answers while its backends start, and an upstream that is
/// replaced may speak another era.
#[derive(Debug, Default)]
pub(super) struct Fact(AtomicU64);

impl Fact {
    /// The value, however old; `None` if unknown.
    pub(super) fn known(&self) -> Option<bool> {
        answer(self.0.load(Ordering::Relaxed))
    }

    /// The value at `now`; `None` if the caller must detect it. When it has become too old, one caller gets `None`, and the
    /// others get the old value meanwhile.
    pub(super) fn believed(&self, now: Instant) -> Option<bool> {
        let word = self.0.load(Ordering::Relaxed);
        let known = answer(word)?;
        if millis(now) < word >> SHIFT {
            return Some(known);
        }
        let meanwhile = pack(known, now + FINDING_OUT);
        match self.0.compare_exchange(word, meanwhile, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => None,
            Err(_) => Some(known),
        }
    }

    /// Sets the value, trusted until `until`.
    pub(super) fn set(&self, answer: bool, until: Instant) {
        self.0.store(pack(answer, until), Ordering::Relaxed);
    }

    /// Makes it unknown.
    pub(super) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

const fn answer(word: u64) -> Option<bool> {
    match word & (YES | NO) {
        YES => Some(true),
        NO => Some(false),
        _ => None,
    }
}

fn pack(answer: bool, until: Instant) -> u64 {
    millis(until) << SHIFT | if answer { YES } else { NO }
}

/// Milliseconds since the first use of this function.
fn millis(time: Instant) -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(crate::clock::monotonic);
    u64::try_from(time.saturating_duration_since(*START).as_millis()).unwrap_or(u64::MAX >> SHIFT)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FINDING_OUT, Fact};

    #[test]
    fn is_found_out_again_by_one_asker_when_it_is_old() {
        let fact = Fact::default();
        let minute = Duration::from_mins(1);
        let start = crate::clock::monotonic();
        assert_eq!((fact.known(), fact.believed(start)), (None, None));
        for known in [false, true] {
            fact.set(known, start + minute);
            assert_eq!(fact.believed(start + minute / 2), Some(known));
            assert_eq!(fact.believed(start + minute), None, "the first finds out");
            assert_eq!(fact.believed(start + minute), Some(known), "the others go on");
            assert_eq!(fact.known(), Some(known));
            assert_eq!(fact.believed(start + minute + FINDING_OUT), None, "whoever was to find out did not come back");
            fact.set(!known, start + 3 * minute);
            assert_eq!(fact.believed(start + 2 * minute), Some(!known));
        }
        fact.forget();
        assert_eq!((fact.known(), fact.believed(start)), (None, None));
    }
}
