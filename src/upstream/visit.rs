use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Credential;
use crate::clock;
use crate::mcp::Revision;

/// The use of a client's session at an upstream, tracked to find out when it is idle.
#[derive(Debug)]
pub(crate) struct Visit {
    left: Mutex<Instant>,
    /// The negotiated revision, once it is known.
    pub(crate) revision: Mutex<Revision>,
    /// The credential that it was opened with.
    pub(crate) credential: Credential,
}

/// One use of the session, for as long as this is held.
#[derive(Debug)]
pub(crate) struct Stay(Arc<Visit>);

impl Visit {
    /// A session whose last use is now.
    pub(crate) fn new(credential: Credential, revision: Revision) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(clock::monotonic()), revision: Mutex::new(revision), credential })
    }

    /// Begins a use of the session.
    pub(crate) fn stay(self: &Arc<Self>) -> Stay {
        Stay(self.clone())
    }

    /// Whether it has not been in use for `time`.
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
