use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of parts, each with a lock and a limit of its own.
const PARTS: usize = 64;
/// The most tasks of one part; about 6 MB in all with ids of usual length.
const ROOM: usize = 256;

/// The owner of each of an upstream's tasks, and the handle that the owner has for it.
///
/// Task lists and notifications have the upstream's own ids; only tasks remembered here are passed on, to their owners. A
/// task that was forgotten, because a part was full or the process ended, is missing from lists and notifications, but its
/// owner's handle still opens, and the task is remembered again when that is used.
#[derive(Debug)]
pub struct Tasks {
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
}

type Key = (Box<[u8]>, Box<str>);

#[derive(Debug, Default)]
struct Part {
    handles: HashMap<Key, Box<str>>,
    /// Oldest first.
    order: VecDeque<Key>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Tasks {
    /// Remembers that the upstream's task `id` belongs to `owner`, who has `handle` for it.
    pub fn remember(&self, owner: &[u8], id: &str, handle: &str) {
        let key: Key = (owner.into(), id.into());
        let mut part = self.part(owner);
        if part.handles.insert(key.clone(), handle.into()).is_some() {
            return;
        }
        part.order.push_back(key);
        if part.order.len() > ROOM
            && let Some(oldest) = part.order.pop_front()
        {
            part.handles.remove(&oldest);
        }
    }

    /// The handle of `owner` for the upstream's task `id`; `None` if the task is not known to be the owner's.
    pub fn handle(&self, owner: &[u8], id: &str) -> Option<Box<str>> {
        let key: Key = (owner.into(), id.into());
        self.part(owner).handles.get(&key).cloned()
    }

    fn part(&self, owner: &[u8]) -> MutexGuard<'_, Part> {
        let at = self.hasher.hash_one(owner) % PARTS as u64;
        self.parts[usize::try_from(at).unwrap_or(0)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{ROOM, Tasks};

    #[test]
    fn a_task_is_known_to_its_owner_alone() {
        let tasks = Tasks::default();
        tasks.remember(b"ana", "t1", "sealed");
        assert_eq!(tasks.handle(b"ana", "t1").as_deref(), Some("sealed"));
        assert_eq!(tasks.handle(b"max", "t1"), None);
        assert_eq!(tasks.handle(b"ana", "t2"), None);
        tasks.remember(b"ana", "t1", "sealed anew");
        assert_eq!(tasks.handle(b"ana", "t1").as_deref(), Some("sealed anew"));
    }

    #[test]
    fn the_oldest_are_forgotten_where_there_are_too_many() {
        let tasks = Tasks::default();
        for at in 0..=ROOM {
            tasks.remember(b"ana", &at.to_string(), "x");
            tasks.remember(b"ana", &at.to_string(), "x");
        }
        assert_eq!(tasks.handle(b"ana", "0"), None);
        assert!(tasks.handle(b"ana", "1").is_some() && tasks.handle(b"ana", &ROOM.to_string()).is_some());
    }
}
