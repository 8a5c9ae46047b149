//! Who has which place of the pool, and who makes room for whom.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::process::Process;
use super::slot::{Owner, Slot};
use crate::auth::Who;
use crate::upstream::gate::Busy;
use crate::upstream::switchboard::Session;

/// The most sessions, of which each is a few hundred bytes.
const SESSIONS: usize = 20_000;
/// The most of them of one caller; that caller's own unused for longest makes room.
const SHARE: usize = 1_000;

/// The places of one server, and the sessions that name them.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) slots: HashMap<Owner, Arc<Slot>>,
    pub(super) sessions: HashMap<Box<str>, Opened>,
    /// Processes that were told to end, and may not have yet.
    pub(super) leaving: Vec<Arc<Process>>,
}

/// A session of a client: a name for its place.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) number: Session,
    pub(super) who: Option<Who>,
    pub(super) slot: Arc<Slot>,
    pub(super) used: Instant,
}

impl Places {
    /// Sees to it that one of `most` places is free for that caller, who has at most half of them: its own idle one makes room,
    /// and where all are taken the one that was idle for longest.
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

    /// Keeps a session under that name.
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

    /// Closes a session; says whether there was one.
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

    /// Gives up the places that were idle for so long.
    pub(super) fn tidy(&mut self, idle: Duration) {
        let given_up: Vec<_> = self.slots.values().filter(|slot| self.is_idle(slot, idle)).cloned().collect();
        for slot in given_up {
            self.leave(&slot);
        }
    }

    /// Gives up the place that was idle for longest among some; says whether there was one.
    fn give_up_idlest(&mut self, among: impl Fn(&Slot) -> bool) -> bool {
        let idle = self.slots.values().filter(|slot| among(slot) && self.is_idle(slot, Duration::ZERO));
        let idlest = idle.min_by_key(|slot| slot.used()).cloned();
        if let Some(slot) = &idlest {
            self.leave(slot);
        }
        idlest.is_some()
    }

    /// Whether nobody has used a place for so long, and nobody is about to: who is on the way there holds it too.
    fn is_idle(&self, slot: &Arc<Slot>, idle: Duration) -> bool {
        let named = || self.sessions.values().filter(|opened| Arc::ptr_eq(&opened.slot, slot)).count();
        slot.is_idle(idle) && Arc::strong_count(slot) <= 1 + named()
    }

    /// Gives up a place with its sessions: nobody else can go on with those.
    fn leave(&mut self, slot: &Arc<Slot>) {
        self.give_up(slot);
        self.sessions.retain(|_, opened| !Arc::ptr_eq(&opened.slot, slot));
    }

    /// Ends the process of a place that is nobody's any more.
    fn give_up(&mut self, slot: &Slot) {
        self.slots.remove(&slot.owner);
        self.leaving.retain(|process| !process.has_ended());
        self.leaving.extend(slot.stop());
    }
}

#[cfg(test)]
mod tests;
