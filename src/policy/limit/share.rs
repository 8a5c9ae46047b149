use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use super::Key;

/// The most keys one caller may have counted at a time.
pub(super) const SHARE: usize = 1_000;

/// The number of notes between two removals of stale ones.
const LOOK: usize = 1024;

/// Who brought which keys, so that one caller's many names leave room for everybody else's.
#[derive(Debug, Default)]
pub(super) struct Shares {
    hasher: RandomState,
    /// By caller and hash of the key: until when it is counted.
    keys: HashMap<Key, HashMap<u64, Instant>>,
    noted: usize,
}

impl Shares {
    /// Whether `caller` may have `key` counted, as one it has already or one more.
    pub(super) fn has_room(&mut self, caller: &Key, key: &Key, now: Instant) -> bool {
        let Some(keys) = self.keys.get_mut(caller) else { return true };
        if keys.len() < SHARE || keys.contains_key(&self.hasher.hash_one(key)) {
            return true;
        }
        keys.retain(|_, until| now < *until);
        keys.len() < SHARE
    }

    /// Notes that `key` is counted for `time` from now on because of a call of `caller`.
    pub(super) fn note(&mut self, caller: &Key, key: &Key, now: Instant, time: Duration) {
        let key = self.hasher.hash_one(key);
        self.keys.entry(caller.clone()).or_default().insert(key, now + time);
        self.noted += 1;
        if self.noted >= LOOK {
            self.noted = 0;
            self.forget(now);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.keys.retain(|_, keys| {
            keys.retain(|_, until| now < *until);
            !keys.is_empty()
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}
