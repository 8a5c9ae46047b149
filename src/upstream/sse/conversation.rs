//! One client's session on a stream.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::trunk::{Greeted, Trunk};
use crate::auth::Who;
use crate::clock;
use crate::upstream::switchboard::Session;

/// A client's session: its number on a stream.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The owner; `None` for a caller without a token.
    pub(super) who: Option<Who>,
    pub(super) number: Session,
    pub(super) trunk: Arc<Trunk>,
    used: Mutex<Instant>,
}

impl Conversation {
    pub(super) fn new(who: Option<Who>, number: Session, trunk: Arc<Trunk>) -> Self {
        Self { who, number, trunk, used: Mutex::new(clock::monotonic()) }
    }

    /// Records that the session is used now.
    pub(super) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = clock::monotonic();
    }

    /// Whether it was not used for `time`, and no call or listener is pending.
    pub(super) fn is_idle(&self, time: Duration) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(open) = self.trunk.open.try_lock() else { return false };
        let is_quiet = |greeted: &Greeted| {
            let board = greeted.channel.board();
            if self.trunk.is_shared { board.is_idle_for(self.number) } else { board.is_idle() }
        };
        used.elapsed() >= time && open.as_ref().is_none_or(is_quiet)
    }

    /// Ends the session, and its stream unless that is shared.
    pub(super) async fn close(&self) {
        if let Some(greeted) = &*self.trunk.open.lock().await {
            if self.trunk.is_shared {
                greeted.channel.board().forget(self.number);
            } else {
                greeted.channel.close();
            }
        }
    }
}
