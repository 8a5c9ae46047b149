//! Rate limits per principal on new pseudonyms and on blocked messages: both answer questions about values.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::auth::Caller;
use crate::clock::Timestamp;

/// The most principals remembered; a further one gets no new pseudonyms until another has recovered its limits.
const PRINCIPALS: usize = 16_384;
/// The most pseudonyms remembered, over all principals; then all are forgotten.
const SEEN: usize = 1 << 20;

/// The limit on new pseudonyms.
const PSEUDONYMS: Rate = Rate { burst: 2000, each_millis: 500 };
/// The limit on blocked messages.
const BLOCKS: Rate = Rate { burst: 30, each_millis: 2000 };

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: i64,
    each_millis: i64,
}

/// The limits of every principal; one instance per process.
#[derive(Debug, Default)]
pub struct Pace {
    keys: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    principals: HashMap<u64, Principal>,
    seen: usize,
}

/// The state of one principal's limits. Each limit is the time in Unix milliseconds at which its whole burst is available again
/// (generic cell rate algorithm).
#[derive(Debug, Default)]
struct Principal {
    pseudonyms: i64,
    blocks: i64,
    seen: HashSet<u64>,
}

impl Pace {
    /// Whether the caller may get this pseudonym: one it was given before, or a new one within the limit.
    pub(super) fn gives(&self, caller: &Caller, pseudonym: &str, now: Timestamp) -> bool {
        let (key, pseudonym) = (self.key(caller), self.keys.hash_one(pseudonym));
        let mut known = self.lock();
        if known.seen >= SEEN {
            known.principals.values_mut().for_each(|principal| principal.seen.clear());
            known.seen = 0;
        }
        let Some(principal) = known.principal(key, now) else { return false };
        if principal.seen.contains(&pseudonym) {
            return true;
        }
        let given = take(&mut principal.pseudonyms, PSEUDONYMS, now);
        if given {
            principal.seen.insert(pseudonym);
            known.seen += 1;
        }
        given
    }

    /// Counts a blocked message from or for the caller.
    pub(super) fn blocked(&self, caller: &Caller, now: Timestamp) {
        if let Some(principal) = self.lock().principal(self.key(caller), now) {
            take(&mut principal.blocks, BLOCKS, now);
        }
    }

    /// How long the caller must wait because too many of its messages were blocked; `None` if it need not wait.
    pub(super) fn pause(&self, caller: &Caller, now: Timestamp) -> Option<Duration> {
        let known = self.lock();
        if known.principals.is_empty() {
            return None;
        }
        let full = known.principals.get(&self.key(caller))?.blocks;
        let wait = full + BLOCKS.each_millis - now.unix_millis() - BLOCKS.burst * BLOCKS.each_millis;
        u64::try_from(wait).ok().filter(|wait| *wait > 0).map(Duration::from_millis)
    }

    fn key(&self, caller: &Caller) -> u64 {
        self.keys.hash_one((&*caller.issuer, &caller.tenant, &caller.subject, &caller.client_id))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn principal(&mut self, key: u64, now: Timestamp) -> Option<&mut Principal> {
        if self.principals.len() >= PRINCIPALS && !self.principals.contains_key(&key) {
            let now = now.unix_millis();
            self.principals.retain(|_, principal| principal.pseudonyms > now || principal.blocks > now);
            self.seen = self.principals.values().map(|principal| principal.seen.len()).sum();
            if self.principals.len() >= PRINCIPALS {
                return None;
            }
        }
        Some(self.principals.entry(key).or_default())
    }
}

/// Takes one from the limit, if one is left.
fn take(full_at: &mut i64, rate: Rate, now: Timestamp) -> bool {
    let now = now.unix_millis();
    let next = (*full_at).max(now) + rate.each_millis;
    let there = next - now <= rate.burst * rate.each_millis;
    if there {
        *full_at = next;
    }
    there
}

#[cfg(test)]
mod tests {
    use super::{BLOCKS, PSEUDONYMS, Pace};
    use crate::clock::Timestamp;
    use crate::policy::tests::caller;

    const NOW: i64 = 1_767_614_400;

    #[test]
    fn new_pseudonyms_are_few_and_known_ones_free() {
        let (pace, ana) = (Pace::default(), caller(""));
        let now = Timestamp::from_unix_seconds(NOW);
        let given = (0..5000).filter(|n| pace.gives(&ana, &n.to_string(), now)).count();
        assert_eq!(i64::try_from(given), Ok(PSEUDONYMS.burst));
        assert!(pace.gives(&ana, "0", now));
        assert!(!pace.gives(&ana, "new", now));
        assert!(pace.gives(&ana, "new", Timestamp::from_unix_seconds(NOW + 1)));
        let mut other = caller("");
        other.subject = "other".into();
        assert!(pace.gives(&other, "new", now));
    }

    #[test]
    fn who_is_blocked_too_often_pauses() {
        let (pace, ana) = (Pace::default(), caller(""));
        let now = Timestamp::from_unix_seconds(NOW);
        for _ in 0..BLOCKS.burst {
            assert_eq!(pace.pause(&ana, now), None);
            pace.blocked(&ana, now);
        }
        assert!(pace.pause(&ana, now).is_some());
        assert_eq!(pace.pause(&ana, Timestamp::from_unix_seconds(NOW + 2)), None);
    }
}
