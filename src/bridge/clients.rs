//! Sessions that the proxy keeps for clients of older revisions at upstreams of 2026-07-28, which have none.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::HashMap;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::newer::Declared;
use crate::auth::Who;
use crate::clock;

/// Prefix of the ids of these sessions: they are recognized even if the upstream's era is detected differently later.
const PREFIX: &str = "portcullis-bridge-";
/// The most sessions for one upstream; beyond it the least recently used one is dropped.
const MOST: usize = 10_000;
/// The most sessions of one user, with any number of clients; beyond it the user's least recently used one is dropped.
const SHARE: usize = 256;
/// The idle time after which a session is dropped.
const IDLE: Duration = Duration::from_hours(24);
/// The most resource subscriptions of one session.
const URIS: usize = 256;
/// The most bytes of their URIs together.
const URI_BYTES: usize = 64 * 1024;

/// Whether a session id is one of these sessions, not the upstream's.
pub(super) fn is_own_session(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// The sessions for one upstream, by id.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashMap<Box<str>, Arc<Client>>>);

/// The session of one client.
#[derive(Debug)]
pub(super) struct Client {
    /// The caller; `None` if anonymous.
    pub(super) who: Option<Who>,
    pub(super) declared: Declared,
    used: Mutex<Instant>,
    level: Mutex<Option<Box<str>>>,
    uris: Mutex<BTreeSet<Box<str>>>,
    /// Notified when the subscriptions change, so that the session's stream is opened anew.
    pub(super) changed: Notify,
    running: Mutex<HashMap<Bytes, oneshot::Sender<()>>>,
}

impl Clients {
    /// Opens a session and returns its id.
    pub(super) fn open(&self, who: Option<Who>, declared: Declared) -> Box<str> {
        let name: Box<str> = format!("{PREFIX}{}", Uuid::now_v7()).into();
        let mut clients = lock(&self.0);
        let now = clock::monotonic();
        clients.retain(|_, client| now.saturating_duration_since(*lock(&client.used)) < IDLE);
        let is_own = |client: &Client| Who::are_one_person(client.who.as_ref(), who.as_ref());
        if clients.values().filter(|client| is_own(client)).count() >= SHARE {
            make_room(&mut clients, is_own);
        } else if clients.len() >= MOST {
            make_room(&mut clients, |_| true);
        }
        clients.insert(name.clone(), Arc::new(Client::new(who, declared)));
        name
    }

    /// The session of an id, which counts as used now; `None` if there is none.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Client>> {
        let client = lock(&self.0).get(name).cloned()?;
        *lock(&client.used) = clock::monotonic();
        Some(client)
    }

    /// Ends a session; returns whether there was one.
    pub(super) fn close(&self, name: &str) -> bool {
        lock(&self.0).remove(name).is_some()
    }
}

/// Drops the least recently used session among those that `among` accepts.
fn make_room(clients: &mut HashMap<Box<str>, Arc<Client>>, among: impl Fn(&Client) -> bool) {
    let some = clients.iter().filter(|(_, client)| among(client));
    let oldest = some.min_by_key(|(_, client)| *lock(&client.used)).map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        clients.remove(&oldest);
    }
}

impl Client {
    /// A session with no log level, subscriptions or requests.
    pub(super) fn new(who: Option<Who>, declared: Declared) -> Self {
        Self {
            who,
            declared,
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

    /// The URIs of the subscribed resources.
    pub(super) fn uris(&self) -> Vec<Box<str>> {
        lock(&self.uris).iter().cloned().collect()
    }

    /// Subscribes to a resource, or with `wants` false unsubscribes; returns false if a limit is reached.
    pub(super) fn subscribe(&self, uri: &str, wants: bool) -> bool {
        let mut uris = lock(&self.uris);
        let changed = if !wants {
            uris.remove(uri)
        } else if !uris.contains(uri)
            && (uris.len() >= URIS || uris.iter().map(|uri| uri.len()).sum::<usize>() + uri.len() > URI_BYTES)
        {
            return false;
        } else {
            uris.insert(uri.into())
        };
        if changed {
            self.changed.notify_one();
        }
        true
    }

    /// Registers a request for cancellation, by its id as JSON.
    pub(super) fn track(&self, id: &Bytes) -> Cancellation {
        let (back, taken) = oneshot::channel();
        lock(&self.running).insert(id.clone(), back);
        Cancellation(Some(taken))
    }

    /// Unregisters a request that has been answered.
    pub(super) fn untrack(&self, id: &Bytes) {
        lock(&self.running).remove(id);
    }

    /// Cancels a request.
    pub(super) fn cancel(&self, id: &[u8]) {
        if let Some(back) = lock(&self.running).remove(id) {
            // The request may have ended meanwhile.
            let _ = back.send(());
        }
    }
}

/// The receiving end of a request's cancellation.
#[derive(Debug)]
pub(super) struct Cancellation(Option<oneshot::Receiver<()>>);

impl Cancellation {
    /// Completes when the request is cancelled; never if it can no longer be, because another request has reused its id.
    pub(super) async fn requested(&mut self) {
        let said = match &mut self.0 {
            Some(taken) => taken.await.is_ok(),
            None => false,
        };
        self.0 = None;
        if !said {
            std::future::pending::<()>().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Clients, IDLE, SHARE, URI_BYTES};
    use crate::auth::Who;
    use crate::bridge::newer::Declared;
    use crate::clock;
    use crate::policy::tests::caller;

    #[test]
    fn one_caller_takes_no_room_of_others() {
        let clients = Clients::default();
        let (ana, mut kim) = (Who::of(&caller("")), caller(""));
        kim.subject = "kim".into();
        let declared = || Declared::of(None);
        let first = clients.open(Some(ana.clone()), declared());
        let other = clients.open(Some(Who::of(&kim)), declared());
        let nobody = clients.open(None, declared());
        // Whichever client it calls with.
        for at in 1..SHARE {
            let mut ana = caller("");
            ana.client_id = Some(at.to_string().into());
            clients.open(Some(Who::of(&ana)), declared());
        }
        assert!(clients.get(&first).is_some());
        let second = clients.open(Some(ana.clone()), declared());
        let third = clients.open(Some(ana), declared());
        assert!(clients.get(&first).is_some(), "used last");
        assert!([&other, &nobody, &second, &third].iter().all(|name| clients.get(name).is_some()));
        assert_eq!(super::lock(&clients.0).len(), SHARE + 2);
        *super::lock(&clients.get(&other).unwrap().used) = clock::monotonic().checked_sub(IDLE).unwrap();
        clients.open(None, declared());
        assert!(clients.get(&other).is_none(), "forgotten");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let clients = Clients::default();
        let client = clients.get(&clients.open(None, Declared::of(None))).unwrap();
        assert!(client.subscribe(&"a".repeat(URI_BYTES / 2), true));
        assert!(!client.subscribe(&"b".repeat(URI_BYTES / 2 + 1), true));
        assert!(client.subscribe(&"a".repeat(URI_BYTES / 2), false));
        assert!(client.subscribe(&"b".repeat(URI_BYTES / 2 + 1), true));
    }
}
