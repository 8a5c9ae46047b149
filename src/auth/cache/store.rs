use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use indexmap::IndexMap;

use super::verdict::{Place, Verdict};
use crate::clock::Timestamp;

/// The number of parts with a lock each.
const SHARDS: usize = 64;
/// The number of verdicts compared to evict one.
const SAMPLE: usize = 8;
/// The number of verdicts checked for expiry with each insertion: more than one, so that expired ones cannot accumulate.
const SWEPT: usize = 2;
/// The number of verdicts of one shard checked each time the store is tended: some tens of microseconds under its lock.
const TENDED: usize = 512;
/// A shard with room for more than this, and more than four times what it holds, lets go of it.
const ROOMY: usize = 64;

/// The verdicts of all workers, bounded, with sampled eviction of the least recently used.
///
/// Not the least frequently used, as a new token must get in however full it is. An entry costs two words besides the verdict,
/// where a general cache took half a kilobyte.
pub(super) struct Store {
    shards: Box<[Mutex<Shard>]>,
    /// The most weight of a shard.
    limit: usize,
    /// How often it was tended.
    tended: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    /// Each verdict with its last use, as a count of uses of the shard. The hasher is fixed, since the hashed value is a keyed
    /// hash.
    held: IndexMap<Arc<Verdict>, u32, FixedState>,
    weight: usize,
    uses: u32,
    /// The index below which the next sweep continues.
    hand: usize,
}

impl Store {
    /// A store for verdicts of that weight, and a sixteenth more, as shards do not fill evenly.
    pub(super) fn with_room(weight: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, limit: (weight / SHARDS).max(1) * 17 / 16 + 1, tended: AtomicUsize::new(0) }
    }

    /// The verdict for exactly this place, marked as used.
    pub(super) fn get(&self, place: &Place<'_>) -> Option<Arc<Verdict>> {
        let mut shard = self.shard(place.print);
        let now = shard.tick();
        let (_, verdict, used) = shard.held.get_full_mut(place)?;
        *used = now;
        Some(Arc::clone(verdict))
    }

    /// Inserts a verdict, replacing one for the same place.
    pub(super) fn insert(&self, verdict: Arc<Verdict>, now: Timestamp) {
        let mut shard = self.shard(verdict.key.print);
        shard.sweep(SWEPT, verdict.key.epoch, now);
        shard.remove_same(&verdict);
        let weight = weight(&verdict);
        let mut seed = verdict.key.print;
        while !shard.held.is_empty() && shard.weight + weight > self.limit {
            shard.evict(&mut seed, verdict.key.epoch, now);
        }
        shard.weight += weight;
        let used = shard.tick();
        shard.held.insert(verdict, used);
    }

    /// Removes some verdicts that are over, so that many of them do not stay until new ones come. To be called regularly.
    pub(super) fn tend(&self, epoch: u64, now: Timestamp) {
        let at = self.tended.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = lock(&self.shards[at]);
        let count = TENDED.min(shard.held.len());
        shard.sweep(count, epoch, now);
        let most = shard.held.len() * 2;
        if shard.held.capacity() > ROOMY.max(most * 2) {
            shard.held.shrink_to(most);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).held.len()).sum()
    }

    /// The shard of a hash, selected by other bits than those the shard's own table uses first.
    fn shard(&self, print: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(print >> 40) as usize % SHARDS])
    }
}

impl Shard {
    const fn tick(&mut self) -> u32 {
        self.uses = self.uses.wrapping_add(1);
        self.uses
    }

    /// Checks so many verdicts and removes those that are over.
    fn sweep(&mut self, count: usize, epoch: u64, now: Timestamp) {
        for _ in 0..count {
            // Downwards, since a removed entry is replaced by the last one, which was checked before.
            if self.hand == 0 || self.hand > self.held.len() {
                self.hand = self.held.len();
            }
            let Some(hand) = self.hand.checked_sub(1) else { return };
            self.hand = hand;
            if self.held.get_index(hand).is_some_and(|(verdict, _)| verdict.is_over(epoch, now)) {
                self.remove(hand);
            }
        }
    }

    /// Evicts one of a sample: the first that is over, else the least recently used.
    fn evict(&mut self, seed: &mut u64, epoch: u64, now: Timestamp) {
        let mut worst = (0, 0);
        for at in 0..SAMPLE {
            // Knuth's multiplier, for a sequence with a start that is unknown outside.
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = (*seed >> 33) as usize % self.held.len();
            let Some((verdict, used)) = self.held.get_index(index) else { continue };
            let age = if verdict.is_over(epoch, now) { u32::MAX } else { self.uses.wrapping_sub(*used) };
            if at == 0 || age > worst.1 {
                worst = (index, age);
            }
        }
        self.remove(worst.0);
    }

    fn remove(&mut self, index: usize) {
        if let Some((verdict, _)) = self.held.swap_remove_index(index) {
            self.weight -= weight(&verdict);
        }
    }

    fn remove_same(&mut self, verdict: &Arc<Verdict>) {
        if let Some(index) = self.held.get_index_of(verdict) {
            self.remove(index);
        }
    }
}

/// One for each started KiB of the token.
fn weight(verdict: &Verdict) -> usize {
    1 + verdict.key.token.len() / 1024
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{SHARDS, Store};
    use crate::auth::RouteKey;
    use crate::auth::cache::verdict::{After, Key, Place, Verdict};
    use crate::clock::Timestamp;
    use crate::policy::tests::caller;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn what_is_over_goes_without_anything_new() {
        let store = Store::with_room(2_000 * SHARDS);
        for number in 0..1_500 {
            store.insert(verdict(number, 0, 8), at(0));
        }
        for _ in 0..4 * SHARDS {
            store.tend(0, at(99));
        }
        assert_eq!(store.len(), 1_500);
        for _ in 0..3 * SHARDS {
            store.tend(0, at(100));
        }
        assert_eq!(store.len(), 0);
        assert!(store.shards.iter().all(|shard| super::lock(shard).held.capacity() <= super::ROOMY));
    }

    /// Prints of one shard, in an order that looks like any.
    fn verdict(number: u64, epoch: u64, bytes: usize) -> Arc<Verdict> {
        let token = [number.to_be_bytes().to_vec(), vec![0; bytes - 8]].concat().into();
        let print = number.wrapping_mul(0x9E37_79B9) & 0xFFFF_FFFF;
        let key = Key { print, epoch, realm: RouteKey::default(), token };
        let caller = Arc::new(caller(""));
        Arc::new(Verdict { key, caller, reached: at(0), until: at(100), after: After::Refused })
    }

    fn has(store: &Store, verdict: &Verdict) -> bool {
        let Key { print, epoch, realm, token } = &verdict.key;
        store.get(&Place { print: *print, epoch: *epoch, realm, token }).is_some_and(|held| held.key == verdict.key)
    }

    #[test]
    fn is_bounded_by_weight_and_a_new_one_always_gets_in() {
        let store = Store::with_room(100 * SHARDS);
        let limit = store.limit;
        for number in 0..1000 {
            let verdict = verdict(number, 0, 500);
            store.insert(Arc::clone(&verdict), at(0));
            assert!(has(&store, &verdict), "{number}");
            assert!(store.len() <= limit);
        }
        assert_eq!(store.len(), limit);
        // One of 15 KiB is worth sixteen.
        let large = verdict(5000, 0, 15 * 1024);
        store.insert(Arc::clone(&large), at(0));
        assert!(has(&store, &large));
        assert_eq!(store.len(), limit - 15);
        let huge = verdict(5001, 0, 1024 * 1024);
        store.insert(Arc::clone(&huge), at(0));
        assert!(has(&store, &huge) && store.len() == 1, "more than there is room for is alone");
    }

    #[test]
    fn what_is_used_stays() {
        let store = Store::with_room(100 * SHARDS);
        let kept: Vec<_> = (0..10).map(|number| verdict(number, 0, 500)).collect();
        for verdict in &kept {
            store.insert(Arc::clone(verdict), at(0));
        }
        for number in 10..2000 {
            store.insert(verdict(number, 0, 500), at(0));
            for verdict in &kept {
                assert!(has(&store, verdict), "after {number}");
            }
        }
    }

    #[test]
    fn what_is_over_makes_room_before_anything_that_holds() {
        let store = Store::with_room(100 * SHARDS);
        for number in 0..100 {
            store.insert(verdict(number, 0, 500), at(0));
        }
        // Another epoch, and another time: the old ones go two at a time.
        let new: Vec<_> = (100..150).map(|number| verdict(number, 1, 500)).collect();
        for verdict in &new {
            store.insert(Arc::clone(verdict), at(0));
        }
        assert!(store.len() <= 60, "{}", store.len());
        assert!(new.iter().all(|verdict| has(&store, verdict)));
        for number in 200..400 {
            store.insert(verdict(number, 1, 500), at(100));
        }
        assert!(store.len() <= 8, "each is over when the next comes: {}", store.len());
    }

    #[test]
    fn another_token_of_the_same_print_is_another() {
        let store = Store::with_room(100 * SHARDS);
        let (one, mut other) = (verdict(7, 0, 500), verdict(8, 0, 500));
        Arc::get_mut(&mut other).unwrap().key.print = one.key.print;
        store.insert(Arc::clone(&one), at(0));
        assert!(!has(&store, &other));
        store.insert(Arc::clone(&other), at(0));
        assert!(has(&store, &one) && has(&store, &other));
        store.insert(Arc::clone(&one), at(0));
        assert_eq!(store.len(), 2, "the same is there once");
    }
}
