use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Tool;
use crate::policy::lock::Drift;

/// Most tools that are told of between two looks.
const MOST: usize = 1_000;

/// Which tools were last seen with a definition that is not the approved one, and what of that is still to be told.
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
    /// Notes how a tool was seen; `first` if this definition of it was never seen before.
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

    /// How many tools differ now and which definitions were found to since the last time; nothing where nothing changed.
    pub(super) fn take(&self) -> Option<(usize, BTreeMap<Box<str>, Drift>)> {
        if !self.untold.load(Ordering::Acquire) {
            return None;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.untold.store(false, Ordering::Release);
        Some((seen.now.len(), std::mem::take(&mut seen.untold)))
    }
}
