//! Work that waits for a client's message, under an unguessable name that only this client gets; bounded in number.

use std::sync::{Mutex, PoisonError};

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::auth::Who;

/// The most entries at one upstream.
const MOST: usize = 1_024;
/// The most entries of one user.
const SHARE: usize = 256;

/// The waiting work of one upstream, by name.
#[derive(Debug)]
pub(super) struct Parked<T>(Mutex<HashMap<Box<str>, Waiting<T>>>);

/// The caller, `None` if anonymous, and the sender that resumes the work.
type Waiting<T> = (Option<Who>, oneshot::Sender<T>);

impl<T> Default for Parked<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T> Parked<T> {
    /// Registers work for a caller. Returns its name and the receiver of what it waits for; `None` if a limit is reached.
    pub(super) fn wait(&self, who: Option<Who>) -> Option<(Box<str>, oneshot::Receiver<T>)> {
        let name: Box<str> = Uuid::now_v7().to_string().into();
        let (sender, receiver) = oneshot::channel();
        let mut parked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = |other: &Option<Who>| Who::are_one_person(other.as_ref(), who.as_ref());
        let full = |parked: &HashMap<Box<str>, Waiting<T>>| {
            parked.len() >= MOST || parked.values().filter(|(other, _)| is_own(other)).count() >= SHARE
        };
        if full(&parked) {
            // Work that has given up has dropped its receiver.
            parked.retain(|_, (_, waiting)| !waiting.is_closed());
            if full(&parked) {
                return None;
            }
        }
        parked.insert(name.clone(), (who, sender));
        Some((name, receiver))
    }

    /// Resumes the work of a name with `with`; returns whether there was any.
    pub(super) fn resume(&self, name: &str, with: T) -> bool {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        waiting.is_some_and(|(_, waiting)| waiting.send(with).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Parked, SHARE};
    use crate::auth::Who;
    use crate::policy::tests::caller;

    #[test]
    fn one_caller_takes_no_place_of_others() {
        let parked = Parked::default();
        let who = |subject: &str, client: &str| {
            let mut caller = caller("");
            (caller.subject, caller.client_id) = (subject.into(), Some(client.into()));
            Some(Who::of(&caller))
        };
        // Whichever client it calls with.
        let mut waiting: Vec<_> = (0..SHARE).map(|at| parked.wait(who("ana", &at.to_string())).unwrap()).collect();
        assert!(parked.wait(who("ana", "x")).is_none());
        let (name, mut answered) = parked.wait(who("max", "x")).unwrap();
        assert!(parked.resume(&name, 7) && !parked.resume(&name, 8));
        assert_eq!(answered.try_recv(), Ok(7));
        // Dropping a receiver frees its entry.
        waiting.pop();
        assert!(parked.wait(who("ana", "x")).is_some());
        let others: Vec<_> = (0..MOST).filter_map(|at| parked.wait(who(&at.to_string(), "x"))).collect();
        assert_eq!(waiting.len() + others.len(), MOST, "in all");
        assert!(parked.wait(None).is_none());
    }
}
