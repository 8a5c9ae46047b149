use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

/// The most texts remembered; beyond it all are forgotten.
const MOST: usize = 65_536;

/// Whether a text has suspicious findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    None,
    Some,
}

/// Results for definitions of prompts and resources, by a keyed hash, so that they are not linted again for every list, and
/// findings are logged once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    hasher: RandomState,
    seen: Mutex<HashMap<u64, Suspicion>>,
}

impl Texts {
    /// The result for a text, if it is remembered.
    pub(super) fn known(&self, text: &[u8]) -> Option<Suspicion> {
        let hash = self.hasher.hash_one(text);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).copied()
    }

    /// Remembers the result for a text.
    pub(super) fn note(&self, text: &[u8], suspicious: bool) {
        let hash = self.hasher.hash_one(text);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(hash, if suspicious { Suspicion::Some } else { Suspicion::None });
    }
}
