mod flights;
mod memo;
mod store;
mod verdict;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::binding::{self, Shown};
use super::{Acceptance, Bearer, Caller, Presented, VerifyError, jwt};
use crate::clock::{self, Timestamp};
use flights::Flights;
use store::Store;
use verdict::{Key, Place, Verdict};

pub use memo::{Counts, Memo};
pub(super) use verdict::Over;

/// The most verdicts of the process, in units of tokens up to 1 KiB.
const LIMIT_SHARED: usize = 200_000;
/// The most tokens remembered as inactive, and how long.
const LIMIT_INACTIVE: u64 = 10_000;
const INACTIVE_FOR: Duration = Duration::from_secs(10);

/// A count that moves when verdicts reached before must no longer be used.
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

    /// Ends the epoch; call it after the change it is for can be seen.
    pub fn advance(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// Makes those look again who look when an epoch ends: what they look at came later than they did.
    pub(crate) fn look_again(&self) {
        self.moved.notify_waiters();
    }

    /// Ready once the epoch has ended after this call, for what runs on without asking.
    pub(crate) fn end(&self) -> OwnedNotified {
        Arc::clone(&self.moved).notified_owned()
    }
}

/// Checks tokens and remembers what it found; one for the process, outliving reloads.
pub struct Verifier {
    epoch: Epoch,
    hasher: RandomState,
    store: Store,
    flights: Flights,
    /// Tokens their issuer has just called inactive.
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
    /// A verifier that remembers nothing yet.
    pub fn new() -> Self {
        let inactive = Cache::builder().max_capacity(LIMIT_INACTIVE).time_to_live(INACTIVE_FOR).build();
        let (epoch, hasher) = (Epoch::default(), RandomState::new());
        Self { epoch, hasher, store: Store::with_room(LIMIT_SHARED), flights: Flights::default(), inactive }
    }

    /// The count shared with issuers, which move it.
    pub const fn shared_epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.now()
    }

    /// Makes every verdict reached so far void; call it after a new snapshot can be seen.
    pub fn advance(&self) {
        self.epoch.advance();
    }

    /// The caller of a request on a route that accepts `acceptance`: the token is looked up or verified, and if it is bound
    /// to a key, or should be, the presenter must prove it anew, whatever is remembered of the token.
    pub async fn authenticate(
        &self,
        memo: &Memo,
        acceptance: &Acceptance,
        presented: &Presented<'_>,
        shown: &Shown<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Caller>>, VerifyError> {
        let Some(token) = presented.token() else { return Ok(None) };
        let caller = self.verify(memo, acceptance, token, now).await?;
        binding::check(acceptance, &caller, presented, shown, now)?;
        Ok(Some(caller))
    }

    /// The caller a token names on a route that accepts `acceptance`. Many requests with one token make one
    /// verification; a remembered verdict is used only for the same bytes, route and epoch, and before its token expires.
    ///
    /// Whoever decides by it must have asked [`Verifier::authenticate`]: a bound token alone proves nobody.
    pub async fn verify(
        &self,
        memo: &Memo,
        acceptance: &Acceptance,
        bearer: Bearer<'_>,
        now: Timestamp,
    ) -> Result<Arc<Caller>, VerifyError> {
        // INVARIANT: read before anything a verdict depends on, so a change during verification voids the verdict.
        let epoch = self.epoch.now();
        let print = self.print(acceptance, bearer);
        if let Some(result) = memo.recall(print, epoch, acceptance, bearer, now) {
            return result;
        }
        let place = Place { print, epoch, realm: &acceptance.realm, token: bearer.bytes() };
        let verdict = match self.known(&place, now) {
            Some(known) => known,
            // Boxed, so that the path of a known token does not carry the state of a longer one around.
            None => Box::pin(self.reached(&place, acceptance, now)).await?,
        };
        memo.remember(Arc::clone(&verdict));
        verdict.at(now).unwrap_or(Err(VerifyError::Expired))
    }

    /// What another worker found, without a copy of the token; nothing if it says nothing any more.
    fn known(&self, place: &Place<'_>, now: Timestamp) -> Option<Arc<Verdict>> {
        self.store.get(place).filter(|known| known.at(now).is_some())
    }

    /// The verdict that is reached anew, by one of all who ask for it.
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
        // Another's may have landed since this one looked.
        if let Some(known) = self.known(place, now) {
            return Ok(known);
        }
        let jwt::Verified { caller, until, after } =
            jwt::verify(acceptance, &key.token, now, clock::monotonic()).await?;
        let verdict = Arc::new(Verdict { key: key.clone(), caller, until, after });
        self.store.insert(Arc::clone(&verdict), now);
        Ok(verdict)
    }

    /// A keyed hash of a few bytes that differ between any two tokens: the signature's end, the length and the route. Full
    /// bytes are compared where it leads.
    fn print(&self, acceptance: &Acceptance, bearer: Bearer<'_>) -> u64 {
        let token = bearer.bytes();
        let tail = token.last_chunk::<16>().map_or(0, |tail| u128::from_le_bytes(*tail));
        self.hasher.hash_one((tail, token.len(), acceptance.realm.word()))
    }
}
