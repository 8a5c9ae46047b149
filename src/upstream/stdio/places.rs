//! Which owner has which slot of the pool, and which slot is evicted for a new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::process::Process;
use super::slot::{Owner, Slot};
use crate::auth::Who;
use crate::upstream::gate::Busy;
use crate::upstream::switchboard::Session;

/// The most sessions; each takes a few hundred bytes.
const SESSIONS: usize = 20_000;
/// The most sessions of one caller; beyond that, the caller's own least recently used one is closed.
const SHARE: usize = 1_000;

/// The slots of one server, and the sessions that refer to them.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) slots: HashMap<Owner, Arc<Slot>>,
    pub(super) sessions: HashMap<Box<str>, Opened>,
    /// Processes that are being stopped and may not have ended yet.
    pub(super) leaving: Vec<Arc<Process>>,
}

/// A client's session, and its slot.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) number: Session,
    pub(super) who: Option<Who>,
    pub(super) slot: Arc<Slot>,
    pub(super) used: Instant,
}

impl Places {
    /// Ensures that one of `most` slots is free for `who`, who may have at most half of them: evicts the caller's own idle slot
    /// beyond its share, and the one idle longest if all are taken. Errs if none can be evicted.
    pub(super) fn find_room(&mut self, who: Option<&Who>, most: usize, idle: Duration) -> Result<(), Busy> {
        let is_own = |slot: &Slot| who.zip(slot.who.as_ref()).is_some_and(|(who, other)| who.is_person(other));
        let own = self.slots.values().filter(|slot| is_own(slot)).count();
        if own >= most.div_ceil(2) && !self.give_up_idlest(is_own) {
            return Err(Busy::Share);
        }
        if self.slots.len() >= most {
            self.tidy(idle);
        }
        if self.slots.len() >= most && !self.give_up_idlest(|_| true) {
            return Err(Busy::Processes);
        }
        Ok(())
    }

    /// Registers a session by its id. Errs if the limit of sessions is reached.
    pub(super) fn keep(&mut self, name: &str, opened: Opened, idle: Duration) -> Result<(), Busy> {
        let is_own = |other: &Opened| Who::are_one_person(other.who.as_ref(), opened.who.as_ref());
        let own = || self.sessions.iter().filter(|(_, other)| is_own(other));
        let idlest = || own().min_by_key(|(_, other)| other.used).map(|(name, _)| name.clone());
        if let Some(name) = (own().count() >= SHARE).then(idlest).flatten() {
            self.close(&name);
        }
        if self.sessions.len() >= SESSIONS {
            self.sessions.retain(|_, opened| opened.used.elapsed() < idle);
        }
        if self.sessions.len() >= SESSIONS {
            return Err(Busy::Streams);
        }
        self.sessions.insert(name.into(), opened);
        Ok(())
    }

    /// Closes a session; true if there was one.
    pub(super) fn close(&mut self, name: &str) -> bool {
        let Some(opened) = self.sessions.remove(name) else { return false };
        if let Some(process) = opened.slot.running() {
            process.board().forget(opened.number);
        }
        if matches!(opened.slot.owner, Owner::Client(_)) {
            self.give_up(&opened.slot);
        }
        true
    }

    /// Evicts the slots that have been idle for `idle`.
    pub(super) fn tidy(&mut self, idle: Duration) {
        let given_up: Vec<_> = self.slots.values().filter(|slot| self.is_idle(slot, idle)).cloned().collect();
        for slot in given_up {
            self.leave(&slot);
        }
    }

    /// Evicts the slot that has been idle longest of those in `among`; true if there was one.
    fn give_up_idlest(&mut self, among: impl Fn(&Slot) -> bool) -> bool {
        let idle = self.slots.values().filter(|slot| among(slot) && self.is_idle(slot, Duration::ZERO));
        let idlest = idle.min_by_key(|slot| slot.used()).cloned();
        if let Some(slot) = &idlest {
            self.leave(slot);
        }
        idlest.is_some()
    }

    /// Whether a slot has been idle for `idle`, and no request is about to use it: such a request holds a reference.
    fn is_idle(&self, slot: &Arc<Slot>, idle: Duration) -> bool {
        let named = || self.sessions.values().filter(|opened| Arc::ptr_eq(&opened.slot, slot)).count();
        slot.is_idle(idle) && Arc::strong_count(slot) <= 1 + named()
    }

    /// Evicts a slot with its sessions, which cannot continue without its process.
    fn leave(&mut self, slot: &Arc<Slot>) {
        self.give_up(slot);
        self.sessions.retain(|_, opened| !Arc::ptr_eq(&opened.slot, slot));
    }

    /// Removes a slot and stops its process.
    fn give_up(&mut self, slot: &Slot) {
        self.slots.remove(&slot.owner);
        self.leaving.retain(|process| !process.has_ended());
        self.leaving.extend(slot.stop());
    }
}

#[cfg(test)]
mod tests;
