//! What older clients said of themselves when they opened a session at an upstream that keeps none.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use foldhash::HashMap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::newer::Told;
use crate::clock;

/// What the names of such sessions begin with, so that they are known again whatever the upstream is found to speak then.
const PREFIX: &str = "portcullis-bridge-";
/// Most sessions held for one upstream; the one unused for longest makes room.
const MOST: usize = 10_000;
/// Most resources one session has news of.
const URIS: usize = 256;

/// Whether a session is held here and not by the upstream.
pub(super) fn is_own_session(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// The sessions of the clients of one upstream.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashMap<Box<str>, Arc<Client>>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) told: Told,
    used: Mutex<Instant>,
    level: Mutex<Option<Box<str>>>,
    uris: Mutex<BTreeSet<Box<str>>>,
    /// Tells the stream of the session that it is to have other news.
    pub(super) changed: Notify,
    running: Mutex<HashMap<Bytes, CancellationToken>>,
}

impl Clients {
    /// Opens a session; gives its name.
    pub(super) fn open(&self, told: Told) -> Box<str> {
        let name: Box<str> = format!("{PREFIX}{}", Uuid::now_v7()).into();
        let mut clients = lock(&self.0);
        if clients.len() >= MOST
            && let Some(oldest) =
                clients.iter().min_by_key(|(_, client)| *lock(&client.used)).map(|(name, _)| name.clone())
        {
            clients.remove(&oldest);
        }
        clients.insert(name.clone(), Arc::new(Client::new(told)));
        name
    }

    /// The session of that name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Client>> {
        let client = lock(&self.0).get(name).cloned()?;
        *lock(&client.used) = clock::monotonic();
        Some(client)
    }

    /// Ends it; says whether there was one.
    pub(super) fn close(&self, name: &str) -> bool {
        lock(&self.0).remove(name).is_some()
    }
}

impl Client {
    /// One that says no more than that.
    pub(super) fn new(told: Told) -> Self {
        Self {
            told,
            used: Mutex::new(clock::monotonic()),
            level: Mutex::default(),
            uris: Mutex::default(),
            changed: Notify::new(),
            running: Mutex::default(),
        }
    }

    pub(super) fn level(&self) -> Option<Box<str>> {
        lock(&self.level).clone()
    }

    pub(super) fn set_level(&self, level: &str) {
        *lock(&self.level) = Some(level.into());
    }

    /// The resources it wants news of.
    pub(super) fn uris(&self) -> Vec<Box<str>> {
        lock(&self.uris).iter().cloned().collect()
    }

    /// Wants news of `uri`, or no longer; says whether there is room for it.
    pub(super) fn subscribe(&self, uri: &str, wants: bool) -> bool {
        let mut uris = lock(&self.uris);
        let changed = if !wants {
            uris.remove(uri)
        } else if uris.len() >= URIS && !uris.contains(uri) {
            return false;
        } else {
            uris.insert(uri.into())
        };
        if changed {
            self.changed.notify_one();
        }
        true
    }

    /// Notes a request that may be taken back, by its id.
    pub(super) fn begins(&self, id: &Bytes) -> CancellationToken {
        let token = CancellationToken::new();
        lock(&self.running).insert(id.clone(), token.clone());
        token
    }

    /// It has been answered.
    pub(super) fn ends(&self, id: &Bytes) {
        lock(&self.running).remove(id);
    }

    /// Takes the request of that id back.
    pub(super) fn cancel(&self, id: &[u8]) {
        if let Some(token) = lock(&self.running).remove(id) {
            token.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
