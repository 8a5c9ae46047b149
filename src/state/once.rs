use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aws_lc_rs::digest;
use thiserror::Error;

use crate::clock::Timestamp;

/// The number of parts, each with a lock of its own.
const PARTS: usize = 64;
/// One owner has at most one in so many places of the room.
const OWNERS: usize = 16;

/// A set of values that may be used once: each is remembered until it would be refused as expired.
///
/// A value belongs to an owner. Who has its share of the room is refused more, and leaves the rest to the others; when
/// there is no room left nobody may use anything, so that nothing is used twice.
#[derive(Debug)]
pub struct Once {
    parts: Box<[Mutex<Part>]>,
    /// The most entries, and the most of one owner.
    room: usize,
    share: usize,
    /// The number of entries, about.
    held: AtomicUsize,
    hasher: RandomState,
}

/// Why a value cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SpendError {
    /// The limit, or the owner's share of it, is reached.
    #[error("no room to remember another used value")]
    Full,
    /// The value was used before.
    #[error("used before")]
    Spent,
}

/// 128 bits of the SHA-256 over owner and value.
type Mark = [u8; 16];

#[derive(Debug, Default)]
struct Part {
    /// The expiry of each value, in Unix seconds.
    until: HashMap<Mark, i64>,
    /// The same by time, with when that much time has really passed; of a value that was given back more than once.
    order: BinaryHeap<Reverse<(i64, Instant, Mark, u64)>>,
    /// How many of them are whose, by a hash of the owner.
    owned: HashMap<u64, usize>,
}

impl Once {
    /// Room for about that many values in all.
    pub fn with_room(entries: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        let (share, held) = (entries.div_ceil(OWNERS), AtomicUsize::new(0));
        Self { parts, room: entries, share, held, hasher: RandomState::new() }
    }

    /// Uses up `value`, which expires at `until`. Errs if it was used before, or cannot be remembered.
    ///
    /// `now` and `moment` are the present on the system and the monotonic clock. A value is remembered until it has expired
    /// by both, so that it is not usable again after a system clock that ran ahead is corrected.
    pub fn spend(
        &self,
        owner: &[u8],
        value: &[u8],
        until: Timestamp,
        (now, moment): (Timestamp, Instant),
    ) -> Result<(), SpendError> {
        let passed = moment + now.until(until);
        let (until, now) = (until.unix_seconds(), now.unix_seconds());
        if self.held.load(Ordering::Relaxed) >= self.room {
            self.parts.iter().for_each(|part| self.forget(&mut lock(part), now, moment));
        }
        let owner_hash = self.hasher.hash_one(owner);
        let mut part = self.part(owner_hash);
        self.forget(&mut part, now, moment);
        let count = part.owned.get(&owner_hash).copied().unwrap_or_default();
        let is_full = count >= self.share || self.held.load(Ordering::Relaxed) >= self.room;
        let mark = mark(owner, value);
        match part.until.entry(mark) {
            Entry::Occupied(_) => return Err(SpendError::Spent),
            Entry::Vacant(_) if is_full => return Err(SpendError::Full),
            Entry::Vacant(vacant) => vacant.insert(until),
        };
        part.order.push(Reverse((until, passed, mark, owner_hash)));
        part.owned.insert(owner_hash, count + 1);
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a value usable again whose use had no effect.
    pub fn give_back(&self, owner: &[u8], value: &[u8]) {
        self.part(self.hasher.hash_one(owner)).until.remove(&mark(owner, value));
    }

    /// The number of remembered values.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).until.len()).sum()
    }

    /// Whether no value is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&self, owner_hash: u64) -> MutexGuard<'_, Part> {
        lock(&self.parts[usize::try_from(owner_hash % PARTS as u64).unwrap_or(0)])
    }

    fn forget(&self, part: &mut Part, now: i64, moment: Instant) {
        self.held.fetch_sub(part.forget(now, moment), Ordering::Relaxed);
    }
}

impl Part {
    /// Forgets what nobody accepts any more; returns how many places that frees.
    fn forget(&mut self, now: i64, moment: Instant) -> usize {
        let before = self.order.len();
        while let Some(Reverse((until, passed, mark, owner_hash))) = self.order.peek().copied()
            && until <= now
            && passed <= moment
        {
            self.order.pop();
            self.until.remove(&mark);
            if let Entry::Occupied(mut owned) = self.owned.entry(owner_hash) {
                *owned.get_mut() -= 1;
                if *owned.get() == 0 {
                    owned.remove();
                }
            }
        }
        before - self.order.len()
    }
}

/// A part is whole after every line of [`Once::spend`] but the last, and then only remembers too long.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mark(owner: &[u8], value: &[u8]) -> Mark {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&u64::try_from(owner.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(owner);
    context.update(value);
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::{OWNERS, Once, SpendError};
    use crate::clock::{Timestamp, monotonic};

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    /// Both clocks, so many seconds from when the tests began.
    fn now(seconds: u64) -> (Timestamp, Instant) {
        static BEGIN: LazyLock<Instant> = LazyLock::new(monotonic);
        (at(i64::try_from(seconds).unwrap()), *BEGIN + Duration::from_secs(seconds))
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_new() {
        let once = Once::with_room(1000);
        assert_eq!(once.spend(b"ana", b"1", at(100), now(0)), Ok(()));
        // It ran an hour ahead for a moment.
        let ahead = (at(3600), now(1).1);
        assert_eq!(once.spend(b"ana", b"2", at(3700), ahead), Ok(()));
        assert_eq!(once.spend(b"ana", b"1", at(100), now(2)), Err(SpendError::Spent));
        // What was used while it did is good again when it really is as late.
        assert_eq!(once.spend(b"ana", b"2", at(3700), now(3650)), Err(SpendError::Spent));
        assert_eq!(once.spend(b"ana", b"3", at(3800), now(3700)), Ok(()));
        assert_eq!(once.len(), 1);
    }

    #[test]
    fn a_value_is_used_once_by_its_owner() {
        let once = Once::with_room(1000);
        assert_eq!(once.spend(b"ana", b"1", at(100), now(0)), Ok(()));
        assert_eq!(once.spend(b"ana", b"1", at(100), now(99)), Err(SpendError::Spent));
        assert_eq!(once.spend(b"max", b"1", at(100), now(0)), Ok(()), "another's value of the same name");
        assert_eq!(once.spend(b"an", b"a1", at(100), now(0)), Ok(()), "only runs together the same way");
        assert_eq!(once.len(), 3);
    }

    #[test]
    fn what_nobody_accepts_any_more_is_forgotten() {
        let once = Once::with_room(OWNERS * 2);
        for round in 0..1000_u64 {
            let until = at(i64::try_from(round).unwrap() + 1);
            assert_eq!(once.spend(b"ana", &[1], until, now(round)), Ok(()));
            assert_eq!(once.len(), 1);
        }
    }

    #[test]
    fn who_has_its_share_is_refused_and_leaves_the_others_theirs() {
        let once = Once::with_room(OWNERS * 4);
        let used = (0..40_u8).filter(|value| once.spend(b"ana", &[*value], at(100), now(0)).is_ok()).count();
        assert_eq!(used, 4);
        for owner in 1..u8::try_from(OWNERS).unwrap() {
            for value in 0..4 {
                assert_eq!(once.spend(&[owner], &[value], at(100), now(0)), Ok(()), "{owner}");
            }
        }
        assert_eq!(once.spend(b"max", b"1", at(100), now(99)), Err(SpendError::Full), "no room is left");
        // What others used makes room for everybody once it is over.
        assert_eq!(once.spend(b"max", b"1", at(200), now(100)), Ok(()));
        assert_eq!(once.spend(b"ana", b"x", at(200), now(100)), Ok(()));
        assert_eq!(once.len(), 2);
    }

    #[test]
    fn a_use_that_is_given_back_can_be_made_again_and_fills_the_room_all_the_same() {
        let once = Once::with_room(OWNERS * 3);
        for _ in 0..3 {
            assert_eq!(once.spend(b"ana", b"1", at(100), now(0)), Ok(()));
            once.give_back(b"ana", b"1");
        }
        assert_eq!(once.spend(b"ana", b"1", at(100), now(0)), Err(SpendError::Full), "nothing grows without bound");
        assert_eq!(once.spend(b"ana", b"1", at(200), now(100)), Ok(()));
    }

    #[test]
    fn of_many_threads_one_uses_it() {
        let once = Once::with_room(1000);
        let (won, barrier) = (AtomicUsize::new(0), std::sync::Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    for value in 0..100_u8 {
                        won.fetch_add(once.spend(b"ana", &[value], at(9), now(0)).map_or(0, |()| 1), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(won.load(Ordering::Relaxed), 1000_usize.div_ceil(OWNERS));
    }
}
