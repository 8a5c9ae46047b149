//! What waits for a message of a client to go on: by a name only that client is given, for a while, and not too many.

use std::sync::{Mutex, PoisonError};

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Most that wait at one upstream.
const MOST: usize = 1_024;

/// Those that wait.
#[derive(Debug)]
pub(super) struct Parked<T>(Mutex<HashMap<Box<str>, oneshot::Sender<T>>>);

impl<T> Default for Parked<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T> Parked<T> {
    /// A place to wait at, under a name nobody can guess; `None` where too many wait.
    pub(super) fn wait(&self) -> Option<(Box<str>, oneshot::Receiver<T>)> {
        let name: Box<str> = Uuid::now_v7().to_string().into();
        let (sender, receiver) = oneshot::channel();
        let mut parked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who has given up has dropped its receiver.
        if parked.len() >= MOST {
            parked.retain(|_, waiting| !waiting.is_closed());
        }
        if parked.len() >= MOST {
            return None;
        }
        parked.insert(name.clone(), sender);
        Some((name, receiver))
    }

    /// Lets the one of that name go on with that; says whether there was one.
    pub(super) fn resume(&self, name: &str, with: T) -> bool {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        waiting.is_some_and(|waiting| waiting.send(with).is_ok())
    }
}
