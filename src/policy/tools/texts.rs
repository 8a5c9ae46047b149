use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

/// Most texts that are remembered; with more, all are looked at again.
const MOST: usize = 65_536;

/// Whether something was found in a text that honest text hardly ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    None,
    Some,
}

/// Texts about prompts and resources that were looked at, each by a keyed hash, so that a list is not searched anew each
/// time it is shown, and what is found is told once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    hasher: RandomState,
    seen: Mutex<HashMap<u64, Suspicion>>,
}

impl Texts {
    /// What was found in the text, if it was looked at.
    pub(super) fn known(&self, text: &[u8]) -> Option<Suspicion> {
        let hash = self.hasher.hash_one(text);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).copied()
    }

    /// Remembers it.
    pub(super) fn note(&self, text: &[u8], suspicious: bool) {
        let hash = self.hasher.hash_one(text);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(hash, if suspicious { Suspicion::Some } else { Suspicion::None });
    }
}
