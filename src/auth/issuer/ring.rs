use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, Semaphore, watch};

use super::Status;
use super::fetch::{Fetched, Fetcher};
use super::ledger::{Answer, Ledger, Timing};
use super::reader::FetchError;
use crate::audit::{self, Audit, Refresh};
use crate::auth::keys::{Algorithm, Key, KeySet, Selected};
use crate::auth::{Epoch, VerifyError};
use crate::clock::{self, Timestamp};

/// The most requests that wait for one issuer; beyond that callers get 503 immediately.
const LIMIT_WAITING: usize = 1024;

/// The keys of one issuer, shared by the task that fetches them and the requests that use them.
pub(super) struct Ring {
    name: Arc<str>,
    epoch: Epoch,
    /// The audit log for changes of keys, and the issuer's `iss`.
    record: Option<(Arc<Audit>, Arc<str>)>,
    held: ArcSwapOption<Held>,
    /// How often the keys changed.
    edition: AtomicU32,
    ledger: Mutex<Ledger>,
    status: Mutex<Status>,
    /// Wakes the fetching task before it is due.
    wanted: Notify,
    /// The number of attempts that are over.
    attempts: watch::Sender<u64>,
    waiting: Semaphore,
}

struct Held {
    set: Arc<KeySet>,
    /// When the keys are no longer used if no fetch succeeds.
    until: Instant,
}

impl Ring {
    pub(super) fn new(name: Arc<str>, timing: Timing, epoch: Epoch, now: Instant) -> Self {
        Self {
            name,
            epoch,
            record: None,
            held: ArcSwapOption::empty(),
            edition: AtomicU32::new(0),
            ledger: Mutex::new(Ledger::new(timing, now)),
            status: Mutex::default(),
            wanted: Notify::new(),
            attempts: watch::Sender::new(0),
            waiting: Semaphore::new(LIMIT_WAITING),
        }
    }

    /// The same, recording changes of the keys of `iss` in `audit`.
    pub(super) fn recorded(mut self, audit: Option<Arc<Audit>>, iss: &Arc<str>) -> Self {
        self.record = audit.map(|audit| (audit, Arc::clone(iss)));
        self
    }

    /// See [`super::Issuer::keys`].
    pub(super) async fn keys(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
        now: Instant,
    ) -> Result<Vec<Arc<Key>>, VerifyError> {
        let mut waited = false;
        loop {
            let set = self.usable(now);
            match set.as_ref().map(|set| set.select(kid, alg)) {
                Some(Selected::Unknown) | None => {}
                Some(selected) => return chosen(selected),
            }
            let answer = self.ledger().ask(kid, set.is_some(), waited, now);
            let (after, start) = match answer {
                Answer::Absent => return Err(VerifyError::UnknownKey),
                Answer::Unavailable(retry_after) => return Err(VerifyError::KeysUnavailable { retry_after }),
                Answer::Wait { after, start } => (after, start),
            };
            if start {
                self.wanted.notify_one();
            }
            let Ok(_place) = self.waiting.try_acquire() else {
                return Err(VerifyError::KeysUnavailable { retry_after: std::time::Duration::from_secs(1) });
            };
            self.over(after).await;
            waited = true;
        }
    }

    /// See [`super::Issuer::keys_held`].
    pub(super) fn keys_held(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
        now: Instant,
    ) -> Result<Vec<Arc<Key>>, VerifyError> {
        match self.usable(now) {
            Some(set) => chosen(set.select(kid, alg)),
            None => Err(VerifyError::KeysUnavailable { retry_after: std::time::Duration::from_secs(1) }),
        }
    }

    /// See [`super::Issuer::edition`].
    pub(super) fn edition(&self) -> u32 {
        self.edition.load(Ordering::Acquire)
    }

    fn usable(&self, now: Instant) -> Option<Arc<KeySet>> {
        self.held.load().as_ref().filter(|held| now < held.until).map(|held| Arc::clone(&held.set))
    }

    /// Resolves when more than `attempts` attempts are over.
    pub(super) async fn over(&self, attempts: u64) {
        // The sender is part of `self`, so the channel cannot close during the wait.
        let mut over = self.attempts.subscribe();
        let _closed = over.wait_for(|over| *over > attempts).await.is_err();
    }

    pub(super) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the result of a fetch, then wakes the waiting requests.
    pub(super) fn settle(&self, outcome: Result<Fetched, FetchError>, now: Instant, wall: Timestamp) {
        let (refresh, max_age) = match outcome {
            Ok(fetched) => {
                let until = now + self.ledger().max_stale();
                (self.take(Arc::new(fetched.set), until, wall), Some(fetched.max_age))
            }
            Err(error) => (self.miss(&error, now), None),
        };
        if let (Some(refresh), Some((audit, iss))) = (refresh, &self.record) {
            audit::refreshed(audit, &self.name, iss, &refresh, wall);
        }
        // Until here the fetch counts as running, and requests for a key wait.
        let mut ledger = self.ledger();
        match max_age {
            Some(max_age) => ledger.succeeded(max_age, jitter(), now),
            None => ledger.failed(now),
        }
        self.attempts.send_replace(ledger.attempts());
    }

    fn take(&self, set: Arc<KeySet>, until: Instant, wall: Timestamp) -> Option<Refresh> {
        let old = self.held.load_full();
        let changed = old.as_ref().is_none_or(|old| *old.set != *set);
        let keys = set.len();
        let failed = {
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            let failed = status.last_error.is_some();
            status.succeeded += 1;
            *status = Status { keys, last_success: Some(wall), last_error: None, ..*status };
            failed
        };
        if changed {
            for (kid, dropped) in set.dropped() {
                let kid = kid.as_deref().map(|kid| kid.escape_debug().take(64).collect::<String>());
                tracing::debug!(issuer = %self.name, kid, reason = %dropped, "key of issuer left out");
            }
            tracing::info!(issuer = %self.name, keys, "issuer ready");
        }
        let old = old.as_ref().map(|old| &old.set);
        let refresh = if changed {
            let (old, new) = (old.map(|old| &**old), &*set);
            let removed = old.map(|old| old.beyond(Some(new))).unwrap_or_default();
            Some(Refresh::Changed { keys, added: new.beyond(old), removed })
        } else {
            failed.then_some(Refresh::Recovered)
        };
        let set = if changed { set } else { old.map_or(set, Arc::clone) };
        self.held.store(Some(Arc::new(Held { set, until })));
        // INVARIANT: the epoch advances after the keys are visible, so that verdicts from the old keys have the old epoch.
        if changed {
            self.edition.fetch_add(1, Ordering::Release);
            self.epoch.advance();
        }
        refresh
    }

    fn miss(&self, error: &FetchError, now: Instant) -> Option<Refresh> {
        tracing::warn!(issuer = %self.name, %error, "keys of issuer not fetched");
        let is_over = self.held.load().as_ref().is_some_and(|held| now >= held.until);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.failed += 1;
        let is_first = status.last_error.is_none();
        let text = error.to_string();
        status.last_error = Some(text.as_str().into());
        if is_over {
            status.keys = 0;
            self.held.store(None);
            self.epoch.advance();
            tracing::error!(issuer = %self.name, "keys of issuer are too old and no longer used");
            return Some(Refresh::TooOld);
        }
        is_first.then(|| Refresh::Failed(text.into()))
    }

    pub(super) fn stop(&self) {
        let mut ledger = self.ledger();
        ledger.stop();
        self.attempts.send_replace(ledger.attempts());
    }
}

#[cfg(test)]
impl Ring {
    /// Makes the fetching task fetch now, and waits for the result.
    pub(super) async fn refresh(&self) {
        let attempts = {
            let mut ledger = self.ledger();
            ledger.begin();
            ledger.attempts()
        };
        self.wanted.notify_one();
        self.over(attempts).await;
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("name", &self.name).finish_non_exhaustive()
    }
}

fn chosen(selected: Selected) -> Result<Vec<Arc<Key>>, VerifyError> {
    match selected {
        Selected::Keys(keys) => Ok(keys),
        Selected::Denied | Selected::Unclear | Selected::Unknown => Err(VerifyError::UnknownKey),
        Selected::Unfit => Err(VerifyError::WrongAlgorithm),
    }
}

/// A random number, so that many proxies do not fetch at the same time.
fn jitter() -> u8 {
    RandomState::new().hash_one(0_u8).to_le_bytes()[0]
}

/// Fetches now, when due, and on request; runs until aborted.
pub(super) async fn keep_fresh(ring: Arc<Ring>, mut fetcher: Fetcher) {
    let _stop = Stop(&ring);
    loop {
        ring.ledger().begin();
        let outcome = fetcher.fetch(clock::monotonic()).await;
        ring.settle(outcome, clock::monotonic(), Timestamp::now());
        let due = ring.ledger().due();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => break,
                () = ring.wanted.notified() => {}
            }
            // A wake-up may be left over from a request that an earlier fetch served.
            if ring.ledger().is_wanted() {
                break;
            }
        }
    }
}

/// Wakes waiting requests when the task ends.
struct Stop<'a>(&'a Ring);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
