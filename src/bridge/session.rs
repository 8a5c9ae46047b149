//! Sessions at an older upstream: one per caller and set of client capabilities, opened once and shared by its calls.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use equivalent::Equivalent;
use foldhash::fast::RandomState;
use http::header::CONTENT_TYPE;
use indexmap::IndexMap;

use super::link::Link;
use super::older::{self, Stated};
use super::on_older::hub::Hub;
use super::{answer, task};
use crate::auth::{Caller, Who};
use crate::clock;
use crate::json::{Document, quoted};
use crate::mcp::handle::is_plain_id;
use crate::mcp::headers::SESSION_ID;
use crate::mcp::methods::{INITIALIZE, INITIALIZED, SET_LEVEL};
use crate::mcp::{Era, Inbound, Revision, RpcId};
use crate::upstream::{Answer, Credential, Outbound, UpstreamError, Within, ending, whole_or_streamed};

/// The most sessions of the proxy's at one upstream.
const MOST: usize = 4_096;
/// The most sessions of one user with one client, which has one for each set of capabilities.
const SHARE: usize = 16;
/// The most sessions of one user, with any number of clients.
const SHARE_OF_USER: usize = 64;

/// The key of a session: sessions are not shared between callers, nor between clients of different capabilities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    who: Who,
    capabilities: Bytes,
}

/// The key of a call's session, borrowed for look-up.
#[derive(Clone, Copy)]
struct KeyRef<'c> {
    caller: &'c Caller,
    stated: &'c Stated,
}

impl KeyRef<'_> {
    fn owned(&self) -> Key {
        // Copied, since a slice would keep the whole message alive.
        Key { who: Who::of(self.caller), capabilities: Bytes::copy_from_slice(&self.stated.capabilities) }
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Who::hash_of(self.caller, state);
        self.stated.capabilities.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        key.capabilities == self.stated.capabilities && key.who.is(self.caller)
    }
}

/// The session of one key; `None` until it is opened. Whoever opens it holds the lock, and other calls wait.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Session>>>>;

/// The sessions of one upstream.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<IndexMap<Key, Slot, RandomState>>);

/// An open session, shared by the calls of one caller.
#[derive(Debug)]
pub(super) struct Session {
    /// The session id, if the upstream assigned one, and the negotiated revision.
    pub(super) within: Within,
    /// The answer to `initialize`.
    pub(super) opened: Document,
    ids: AtomicU64,
    /// When the session was last used, or a later time until which it must be kept.
    used: Mutex<Instant>,
    /// Whether the server can run tools as tasks.
    pub(super) runs_tasks: bool,
    level: tokio::sync::Mutex<Option<Box<str>>>,
    pub(super) hub: Arc<Hub>,
    /// The credential that it was opened with.
    credential: Credential,
}

/// Why a session could not be opened.
#[derive(Debug)]
pub(super) enum Unopened {
    /// The upstream, or the proxy at its limit, answered with an error, which is the answer to the client.
    Answer(Box<Answer>),
    Error(UpstreamError),
    /// The upstream does not accept `initialize` either: the message is sent to it untranslated.
    NotOlder,
    /// The client's capabilities and information are too long to be kept.
    TooLong,
}

impl Sessions {
    /// The session for a client of 2026-07-28, opened if there is none. Errs if it cannot be opened; after
    /// [`Unopened::NotOlder`] such clients' messages are not translated for a while.
    pub(super) async fn of_newer(
        &self,
        link: &Link,
        caller: &Arc<Caller>,
        stated: &Stated,
    ) -> Result<Arc<Session>, Unopened> {
        let session = self.get(link, caller, stated).await;
        if matches!(session, Err(Unopened::NotOlder)) {
            link.route.bridge.known.is_not_older();
        }
        session
    }

    /// The caller's session, opened if there is none. Errs if it cannot be opened.
    pub(super) async fn get(
        &self,
        link: &Link,
        caller: &Arc<Caller>,
        stated: &Stated,
    ) -> Result<Arc<Session>, Unopened> {
        if stated.is_too_long() {
            return Err(Unopened::TooLong);
        }
        let key = KeyRef { caller, stated };
        let slot = self.slot(key).ok_or_else(|| Unopened::Answer(answer::full()))?;
        let open = slot.try_lock().ok().and_then(|opened| opened.clone());
        if let Some(session) = open {
            session.keep(Duration::ZERO);
            return Ok(session);
        }
        let claim = Claim { sessions: self, key: key.owned(), slot };
        // Boxed: the future is large and rarely needed.
        Box::pin(claim.open(link, caller, stated)).await
    }

    /// The slot of the session, a new one if there is none; `None` if a limit is reached.
    fn slot(&self, key: KeyRef<'_>) -> Option<Slot> {
        let mut slots = lock(&self.0);
        if let Some(slot) = slots.get(&key) {
            return Some(slot.clone());
        }
        let key = key.owned();
        let count = |is_own: &dyn Fn(&Who) -> bool| slots.keys().filter(|other| is_own(&other.who)).count();
        let has_room = slots.len() < MOST
            && count(&|other| *other == key.who) < SHARE
            && count(&|other| other.is_person(&key.who)) < SHARE_OF_USER;
        has_room.then(|| slots.entry(key).or_default().clone())
    }

    /// Forgets a session that the upstream has lost.
    pub(super) async fn forget(&self, caller: &Caller, stated: &Stated, session: &Arc<Session>) {
        let key = KeyRef { caller, stated };
        let slot = lock(&self.0).get(&key).cloned();
        let Some(slot) = slot else { return };
        let claim = Claim { sessions: self, key: key.owned(), slot };
        let mut opened = claim.slot.lock().await;
        if opened.as_ref().is_some_and(|known| Arc::ptr_eq(known, session)) {
            *opened = None;
        }
    }

    /// Removes and returns all sessions.
    pub(super) fn take_all(&self) -> Vec<Arc<Session>> {
        let slots = std::mem::take(&mut *lock(&self.0));
        // A session that is still being opened is left out.
        slots.into_values().filter_map(|slot| slot.try_lock().ok()?.take()).collect()
    }
}

/// A slot in use. Dropping it removes the slot, if that is empty and nobody else uses it: a call may end at any time, also
/// while it opens a session or waits for one.
struct Claim<'s> {
    sessions: &'s Sessions,
    key: Key,
    slot: Slot,
}

impl Claim<'_> {
    /// The session of the slot, opened unless another call has done so meanwhile. Errs if it cannot be opened.
    async fn open(self, link: &Link, caller: &Arc<Caller>, stated: &Stated) -> Result<Arc<Session>, Unopened> {
        let mut opened = self.slot.lock().await;
        if let Some(session) = &*opened {
            session.keep(Duration::ZERO);
            return Ok(session.clone());
        }
        let session = Arc::new(Session::open(link, caller, stated).await?);
        *opened = Some(session.clone());
        link.begin(expire(link.clone(), self.key.clone(), Arc::downgrade(&self.slot)));
        Ok(session)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut slots = lock(&self.sessions.0);
        // INVARIANT: let go of before the map is unlocked, so that the last of several claims knows that it is the last.
        let slot = std::mem::take(&mut self.slot);
        let is_held = slots.get(&self.key).is_some_and(|held| Arc::ptr_eq(held, &slot));
        // One count is the map's and one this claim's.
        if is_held && Arc::strong_count(&slot) == 2 && slot.try_lock().is_ok_and(|opened| opened.is_none()) {
            slots.swap_remove(&self.key);
        }
    }
}

/// The shortest pause between two checks of one session.
const LEAST: Duration = Duration::from_millis(20);

/// Ends a session that has not been used for `session_idle`.
async fn expire(link: Link, key: Key, slot: std::sync::Weak<tokio::sync::Mutex<Option<Arc<Session>>>>) {
    // A reload may change the time.
    let most = || link.current().unwrap_or_else(|| link.clone()).route.idle.own;
    let mut left = most();
    loop {
        tokio::time::sleep(left.max(LEAST)).await;
        let Some(slot) = slot.upgrade() else { return };
        let claim = Claim { sessions: &link.route.bridge.sessions, key: key.clone(), slot };
        let mut opened = claim.slot.lock().await;
        let Some(session) = &*opened else { return };
        let idle = clock::monotonic().saturating_duration_since(*lock(&session.used));
        let most = most();
        // Running calls and open streams hold the session too.
        if idle < most || Arc::strong_count(session) > 1 {
            left = if idle < most { most.saturating_sub(idle) } else { most };
            continue;
        }
        let session = opened.take();
        drop(opened);
        drop(claim);
        if let Some(ending) = session.and_then(|session| session.ending()) {
            let _ = link.current().unwrap_or(link).deliver(ending).await;
        }
        return;
    }
}

impl Session {
    /// Sends `initialize` and `notifications/initialized` (2025-11-25, "Lifecycle"). Errs if the upstream does not answer,
    /// or not like a server of an older revision.
    async fn open(link: &Link, caller: &Arc<Caller>, stated: &Stated) -> Result<Self, Unopened> {
        let id = RpcId::own();
        let message = hello(&id, stated);
        let sent = link.open(message, caller).await.map_err(|error| {
            link.route.bridge.known.forget();
            Unopened::Error(error)
        })?;
        if !sent.status.is_success() {
            let not_older = answer::may_be_about_eras(&sent);
            return Err(if not_older { Unopened::NotOlder } else { Unopened::Answer(sent) });
        }
        let unusable = || Unopened::NotOlder;
        let named = sent.fields.get(&SESSION_ID).map(|id| id.to_str().ok().filter(|id| is_plain_id(id)).ok_or(()));
        let session_id: Option<Box<str>> = match named {
            None => None,
            Some(Ok(id)) => Some(id.into()),
            Some(Err(())) => return Err(unusable()),
        };
        match Self::greeted(link, sent, &id, session_id.clone()).await {
            Ok(session) => Ok(session),
            Err(unopened) => {
                // The upstream has opened the session all the same.
                if let Some(id) = session_id {
                    link.end(&id, Revision::V2025_11_25).await;
                }
                Err(unopened)
            }
        }
    }

    /// Completes the handshake after `sent`, the answer to `initialize`. Errs if that is no result of an older revision.
    async fn greeted(
        link: &Link,
        sent: Box<Answer>,
        id: &RpcId,
        session_id: Option<Box<str>>,
    ) -> Result<Self, Unopened> {
        let unusable = || Unopened::NotOlder;
        let media = sent.fields.get(&CONTENT_TYPE).cloned();
        let hello = whole_or_streamed(media.as_ref(), sent.body, id, Revision::V2025_11_25).await;
        let hello: Inbound = hello.map_err(|_| unusable())?;
        let version = hello.result().and_then(|result| Revision::parse(&result.get("protocolVersion")?.as_str()?));
        let revision = version.filter(|revision| revision.era() == Era::Legacy).ok_or_else(unusable)?;
        let told = format!(r#"{{"jsonrpc":"2.0","method":"{INITIALIZED}"}}"#);
        let within = Within::session(session_id.as_deref(), revision);
        drop(link.post(&within, told.into()).await.map_err(Unopened::Error)?);
        Ok(Self {
            within,
            runs_tasks: task::runs_tools(hello.document()),
            opened: hello.into_document(),
            ids: AtomicU64::new(1),
            used: Mutex::new(clock::monotonic()),
            level: tokio::sync::Mutex::default(),
            hub: Arc::default(),
            credential: link.credential.clone(),
        })
    }

    /// Marks the session as used, and keeps it for at least `time`.
    pub(super) fn keep(&self, time: Duration) {
        let mut used = lock(&self.used);
        *used = (*used).max(clock::monotonic() + time);
    }

    /// The request that ends the session; `None` if it has no id.
    pub(super) fn ending(&self) -> Option<Outbound> {
        Some(ending(&self.credential, self.within.id()?, self.within.revision))
    }

    /// A request id that is unique in the session.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the server declared a capability, given as a JSON pointer (RFC 6901) below `capabilities`.
    pub(super) fn server_can(&self, capability: &str) -> bool {
        let stated = self.opened.pointer("/result/capabilities").and_then(|all| all.pointer(capability));
        stated.is_some_and(|stated| stated.as_bool() != Some(false))
    }

    /// Sets the session's log level to `level`, unless the server already logs as much. Each call forwards only the messages
    /// it wants.
    pub(super) async fn log_from(&self, link: &Link, level: &str) {
        if !self.server_can("/logging") {
            return;
        }
        let mut known = self.level.lock().await;
        if known.as_deref().is_some_and(|known| older::is_at_most(known, level)) {
            return;
        }
        let id = self.next_id();
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{SET_LEVEL}","params":{{"level":{}}}}}"#, quoted(level));
        if link.post(&self.within, message.into()).await.is_ok_and(|answer| answer.status.is_success()) {
            *known = Some(level.into());
        }
    }
}

/// The `initialize` request with a client's capabilities and information.
fn hello(id: &RpcId, stated: &Stated) -> Bytes {
    let raw_id = String::from_utf8_lossy(id.raw());
    let own = format!(r#"{{"name":"portcullis","version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    let client = stated.client.as_ref().map_or(own.into(), |client| String::from_utf8_lossy(client));
    let capabilities = String::from_utf8_lossy(&stated.capabilities);
    let revision = Revision::V2025_11_25;
    format!(
        r#"{{"jsonrpc":"2.0","id":{raw_id},"method":"{INITIALIZE}","params":{{"protocolVersion":"{revision}","capabilities":{capabilities},"clientInfo":{client}}}}}"#
    )
    .into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Limits;
    use crate::policy::tests::caller;

    impl Session {
        /// A session that was never opened.
        pub(in crate::bridge) fn of_tests() -> Self {
            Self {
                within: Within::none(Revision::V2025_11_25),
                opened: Document::parse(Bytes::from_static(b"{}"), &Limits::ANSWER).unwrap(),
                ids: AtomicU64::new(1),
                used: Mutex::new(clock::monotonic()),
                runs_tasks: true,
                level: tokio::sync::Mutex::default(),
                hub: Arc::default(),
                credential: Credential::NONE,
            }
        }
    }

    #[test]
    fn one_user_takes_no_room_of_others() {
        let (sessions, stated) = (Sessions::default(), Stated::of(None));
        let has_room = |subject: &str, client: usize| {
            let mut caller = caller("");
            (caller.subject, caller.client_id) = (subject.into(), Some(client.to_string().into()));
            sessions.slot(KeyRef { caller: &caller, stated: &stated }).is_some()
        };
        assert!((0..SHARE_OF_USER).all(|client| has_room("ana", client)));
        assert!(!has_room("ana", SHARE_OF_USER) && has_room("ana", 0) && has_room("max", 0));
    }
}
