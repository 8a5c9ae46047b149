use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Tool;
use crate::policy::lock::Drift;

/// The most tools reported between two calls of [`Drifts::take`].
const MOST: usize = 1_000;

/// The tools last seen with a definition that is not the approved one, and those that are still to be reported.
#[derive(Debug, Default)]
pub(super) struct Drifts {
    seen: Mutex<Seen>,
    untold: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    now: HashSet<Box<str>>,
    untold: BTreeMap<Box<str>, Drift>,
}

impl Drifts {
    /// Notes a definition; `first` if it was not seen before.
    pub(super) fn note(&self, tool: &Tool, first: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match tool.drift() {
            Some(drift) => {
                if first && seen.untold.len() < MOST {
                    seen.untold.insert(tool.name.clone(), drift);
                }
                seen.now.len() < MOST && seen.now.insert(tool.name.clone()) || first
            }
            None => seen.now.remove(&tool.name),
        };
        if changed {
            self.untold.store(true, Ordering::Release);
        }
    }

    /// The number of tools that differ now, and the definitions first seen since the last call; `None` if nothing changed.
    pub(super) fn take(&self) -> Option<(usize, BTreeMap<Box<str>, Drift>)> {
        if !self.untold.load(Ordering::Acquire) {
            return None;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.untold.store(false, Ordering::Release);
        Some((seen.now.len(), std::mem::take(&mut seen.untold)))
    }
}
