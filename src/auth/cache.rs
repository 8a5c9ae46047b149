mod flights;
mod memo;
mod store;
mod verdict;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::binding::{self, Shown};
use super::introspection::Provenance;
use super::{Acceptance, Bearer, Caller, Presented, Strangers, VerifyError, jwt};
use crate::clock::{self, Timestamp};
use flights::Flights;
use store::Store;
use verdict::{Key, Place, Verdict};

pub use memo::{Counts, Memo};
pub(super) use verdict::After;

/// The most verdicts of the process, counting one for each started KiB of token.
const LIMIT_SHARED: usize = 200_000;
/// The most tokens remembered as inactive, and how long.
const LIMIT_INACTIVE: u64 = 10_000;
const INACTIVE_FOR: Duration = Duration::from_secs(10);

/// A counter that advances when earlier verdicts must no longer be used.
#[derive(Clone, Debug, Default)]
pub struct Epoch {
    count: Arc<AtomicU64>,
    moved: Arc<Notify>,
}

impl Epoch {
    /// The current epoch.
    pub fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Ends the epoch; to be called after the change is visible.
    pub fn advance(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// Wakes those waiting for [`Epoch::end`] without ending the epoch, because what they check has changed.
    pub(crate) fn look_again(&self) {
        self.moved.notify_waiters();
    }

    /// Resolves once the epoch ends after this call, for long-running work.
    pub(crate) fn end(&self) -> OwnedNotified {
        Arc::clone(&self.moved).notified_owned()
    }
}

/// Verifies tokens and caches the verdicts; one per process, across reloads.
pub struct Verifier {
    epoch: Epoch,
    hasher: RandomState,
    store: Store,
    flights: Flights,
    /// Tokens that their issuer recently called inactive.
    inactive: Cache<Key, ()>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// A verifier with an empty cache.
    pub fn new() -> Self {
        let inactive = Cache::builder().max_capacity(LIMIT_INACTIVE).time_to_live(INACTIVE_FOR).build();
        let (epoch, hasher) = (Epoch::default(), RandomState::new());
        Self { epoch, hasher, store: Store::with_room(LIMIT_SHARED), flights: Flights::default(), inactive }
    }

    /// The epoch, shared with issuers, which advance it.
    pub const fn shared_epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.now()
    }

    /// Invalidates all verdicts so far; to be called after a new snapshot is visible.
    pub fn advance(&self) {
        self.epoch.advance();
    }

    /// Removes some verdicts that are over; to be called regularly.
    pub fn tend(&self, now: Timestamp) {
        self.store.tend(self.epoch.now(), now);
    }

    /// Authenticates a request on a route with `acceptance`: looks up or verifies the token, and checks proof of possession,
    /// which is never cached. `None` without a credential. Errs if the token is refused.
    pub async fn authenticate(
        &self,
        memo: &Memo,
        acceptance: &Acceptance,
        presented: &Presented<'_>,
        shown: &Shown<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Caller>>, VerifyError> {
        let Some(token) = presented.token() else { return Ok(None) };
        acceptance.knows_revocations()?;
        let stranger = Some((&shown.strangers, shown.peer.address.ip()));
        let caller = self.look(memo, acceptance, token, stranger, now).await?;
        if let Some(used) = binding::check(acceptance, &caller, presented, shown, now)? {
            Box::pin(used.everywhere(acceptance)).await?;
        }
        Ok(Some(caller))
    }

    /// The caller a token identifies on a route with `acceptance`. Concurrent requests with one token share one verification. A
    /// cached verdict is used only for the same bytes, route and epoch, and before its token expires.
    ///
    /// Requests must use [`Verifier::authenticate`], since a bound token alone proves nothing.
    pub async fn verify(
        &self,
        memo: &Memo,
        acceptance: &Acceptance,
        bearer: Bearer<'_>,
        now: Timestamp,
    ) -> Result<Arc<Caller>, VerifyError> {
        self.look(memo, acceptance, bearer, None, now).await
    }

    async fn look(
        &self,
        memo: &Memo,
        acceptance: &Acceptance,
        bearer: Bearer<'_>,
        stranger: Option<(&Strangers<'_>, IpAddr)>,
        now: Timestamp,
    ) -> Result<Arc<Caller>, VerifyError> {
        // INVARIANT: read before anything a verdict depends on, so that a change during verification invalidates it.
        let epoch = self.epoch.now();
        let print = self.print(acceptance, bearer);
        if let Some(result) = memo.recall(print, epoch, acceptance, bearer, now) {
            return result;
        }
        let place = Place { print, epoch, realm: &acceptance.realm, token: bearer.bytes() };
        let verdict = match self.known(&place, now) {
            Some(known) => known,
            // Boxed, to keep the future small for known tokens.
            None => Box::pin(self.unknown(&place, acceptance, stranger, now)).await?,
        };
        memo.remember(Arc::clone(&verdict));
        verdict.at(now).unwrap_or(Err(VerifyError::Expired))
    }

    /// A verdict in the shared cache that still holds, looked up without copying the token.
    fn known(&self, place: &Place<'_>, now: Timestamp) -> Option<Arc<Verdict>> {
        self.store.get(place).filter(|known| known.at(now).is_some())
    }

    /// Verifies a token without a verdict that holds, unless too many of its sender's were refused. One that was accepted lately
    /// is looked at in any case: its caller is not refused for others at its address.
    async fn unknown(
        &self,
        place: &Place<'_>,
        acceptance: &Acceptance,
        stranger: Option<(&Strangers<'_>, IpAddr)>,
        now: Timestamp,
    ) -> Result<Arc<Verdict>, VerifyError> {
        let Some((strangers, address)) = stranger else { return self.reached(place, acceptance, now).await };
        let before = Place { epoch: place.epoch.wrapping_sub(1), ..*place };
        if self.store.get(place).is_none() && self.store.get(&before).is_none() {
            strangers.admit(address, clock::monotonic())?;
        }
        let verdict = self.reached(place, acceptance, now).await;
        verdict.inspect_err(|error| strangers.note(address, error, clock::monotonic()))
    }

    /// Verifies the token, once for all concurrent requests.
    async fn reached(
        &self,
        place: &Place<'_>,
        acceptance: &Acceptance,
        now: Timestamp,
    ) -> Result<Arc<Verdict>, VerifyError> {
        let (asked, key) = (acceptance.asked().is_some(), place.key());
        if asked && self.inactive.get(&key).await.is_some() {
            return Err(VerifyError::Inactive);
        }
        let verdict = self.flights.share(&key, self.verdict(place, &key, acceptance, now)).await;
        if asked && verdict.as_ref().err() == Some(&VerifyError::Inactive) {
            self.inactive.insert(key, ()).await;
        }
        verdict
    }

    async fn verdict(
        &self,
        place: &Place<'_>,
        key: &Key,
        acceptance: &Acceptance,
        now: Timestamp,
    ) -> Result<Arc<Verdict>, VerifyError> {
        // Another verification may have finished since the lookup.
        let last = self.store.get(place);
        let provenance = if last.is_some() { Provenance::Known } else { Provenance::Unknown };
        if let Some(known) = last.filter(|known| known.at(now).is_some()) {
            return Ok(known);
        }
        let jwt::Verified { caller, until, after } =
            jwt::verify(acceptance, (&key.token, provenance), now, clock::monotonic()).await?;
        let verdict = Arc::new(Verdict { key: key.clone(), caller, reached: now, until, after });
        self.store.insert(Arc::clone(&verdict), now);
        Ok(verdict)
    }

    /// A keyed hash of the end of the signature, the length and the route, which nearly always differ between tokens. Lookups
    /// compare all bytes.
    fn print(&self, acceptance: &Acceptance, bearer: Bearer<'_>) -> u64 {
        let token = bearer.bytes();
        let tail = token.last_chunk::<16>().map_or(0, |tail| u128::from_le_bytes(*tail));
        self.hasher.hash_one((tail, token.len(), acceptance.realm.word()))
    }
}
