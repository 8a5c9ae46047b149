use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Credential;
use crate::clock;
use crate::mcp::Revision;

/// A session of a client's at an upstream, as far as it must be known to tell whether anybody uses it.
#[derive(Debug)]
pub(crate) struct Visit {
    left: Mutex<Instant>,
    /// What it settled on, once that has shown.
    pub(crate) revision: Mutex<Revision>,
    /// What it was opened with.
    pub(crate) credential: Credential,
}

/// One use of it, as long as this is held.
#[derive(Debug)]
pub(crate) struct Stay(Arc<Visit>);

impl Visit {
    /// One that begins now.
    pub(crate) fn new(credential: Credential, revision: Revision) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(clock::monotonic()), revision: Mutex::new(revision), credential })
    }

    /// Uses it.
    pub(crate) fn stay(self: &Arc<Self>) -> Stay {
        Stay(self.clone())
    }

    /// Whether nobody has used it for that long.
    pub(crate) fn is_idle(self: &Arc<Self>, time: Duration) -> bool {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::strong_count(self) == 1 && clock::monotonic().saturating_duration_since(left) >= time
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) = clock::monotonic();
    }
}
