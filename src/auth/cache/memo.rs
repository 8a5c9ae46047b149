use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::verdict::Verdict;
use crate::auth::{Acceptance, Bearer, Caller, VerifyError};
use crate::clock::Timestamp;

/// The number of sets of a worker's memo, and of slots in each; one set is one cache line.
const SETS: usize = 1024;
const WAYS: usize = 4;

type Slot = Option<(u64, Arc<Verdict>)>;

/// One worker's cache of verdicts in front of the shared one: set-associative, at most 4,096 entries.
pub struct Memo(Mutex<Slots>);

struct Slots {
    sets: Box<[[Slot; WAYS]]>,
    counts: Counts,
}

/// Hits and misses of a worker's memo, for `portcullis_token_cache_requests_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered from the memo.
    pub hits: u64,
    /// Not in the memo.
    pub misses: u64,
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memo").field(&self.counts()).finish()
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self::new()
    }
}

impl Memo {
    /// An empty memo.
    pub fn new() -> Self {
        let sets = (0..SETS).map(|_| [const { None }; WAYS]).collect();
        Self(Mutex::new(Slots { sets, counts: Counts::default() }))
    }

    /// Hits and misses so far.
    pub fn counts(&self) -> Counts {
        self.slots().counts
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recall(
        &self,
        print: u64,
        epoch: u64,
        acceptance: &Acceptance,
        bearer: Bearer<'_>,
        now: Timestamp,
    ) -> Option<Result<Arc<Caller>, VerifyError>> {
        let mut slots = self.slots();
        let held = slots.sets[place(print)].iter().flatten().find(|(held, _)| *held == print);
        let result =
            held.filter(|(_, verdict)| verdict.is_of(epoch, acceptance, bearer)).and_then(|(_, known)| known.at(now));
        let counts = &mut slots.counts;
        *(if result.is_some() { &mut counts.hits } else { &mut counts.misses }) += 1;
        result
    }

    pub(super) fn remember(&self, verdict: Arc<Verdict>) {
        let (print, epoch) = (verdict.key.print, verdict.key.epoch);
        let mut slots = self.slots();
        let set = &mut slots.sets[place(print)];
        let same = set.iter().position(|slot| slot.as_ref().is_some_and(|(held, _)| *held == print));
        let dead = || set.iter().position(|slot| slot.as_ref().is_none_or(|(_, held)| held.key.epoch < epoch));
        // A full set loses the slot selected by the keyed hash: as good as random, and not predictable from outside.
        let at = same.or_else(dead).unwrap_or((print >> 32) as usize % WAYS);
        set[at] = Some((print, verdict));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only the low bits choose a set")]
const fn place(print: u64) -> usize {
    print as usize % SETS
}
