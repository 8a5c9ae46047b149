use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use equivalent::Equivalent;
use foldhash::fast::FixedState;
use moka::Expiry;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::binding::{self, Shown};
use super::{Acceptance, Bearer, Caller, Presented, RouteKey, VerifyError, jwt};
use crate::clock::{self, Timestamp};

/// Most verdicts of the process, in units of tokens up to 1 KiB.
const LIMIT_SHARED: u64 = 200_000;
/// Most tokens remembered as inactive, and how long.
const LIMIT_INACTIVE: u64 = 10_000;
const INACTIVE_FOR: Duration = Duration::from_secs(10);
/// Sets of a worker's memo and slots in each; one set is one cache line.
const SETS: usize = 1024;
const WAYS: usize = 4;

/// A count that moves when verdicts reached before must no longer be used.
#[derive(Clone, Debug, Default)]
pub struct Epoch {
    count: Arc<AtomicU64>,
    moved: Arc<Notify>,
}

impl Epoch {
    /// The epoch of now.
    pub fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Ends the epoch; call it after the change it is for can be seen.
    pub fn advance(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
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
    /// What is hashed there is a keyed hash already.
    shared: Cache<Key, Arc<Verdict>, FixedState>,
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
        // Least recently used, not least frequently: a token that is new must get in, however full the cache is.
        let shared = Cache::builder()
            .max_capacity(LIMIT_SHARED)
            .weigher(|key: &Key, _| 1 + u32::try_from(key.token.len() / 1024).unwrap_or(u32::MAX))
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(UntilExpired)
            .build_with_hasher(FixedState::default());
        let inactive = Cache::builder().max_capacity(LIMIT_INACTIVE).time_to_live(INACTIVE_FOR).build();
        Self { epoch: Epoch::default(), hasher: RandomState::new(), shared, inactive }
    }

    /// The count shared with issuers, which move it.
    pub const fn shared_epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The epoch of now.
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
        // Boxed, so that the path of a known token does not carry the state of a longer one around.
        let verdict = Box::pin(self.known_or_reached(epoch, print, acceptance, bearer, now)).await?;
        memo.remember(Arc::clone(&verdict));
        verdict.at(now).unwrap_or(Err(VerifyError::Expired))
    }

    /// What another worker knows is found without a copy of the token.
    async fn known_or_reached(
        &self,
        epoch: u64,
        print: u64,
        acceptance: &Acceptance,
        bearer: Bearer<'_>,
        now: Timestamp,
    ) -> Result<Arc<Verdict>, VerifyError> {
        let place = Place { print, epoch, realm: &acceptance.realm, token: bearer.bytes() };
        match self.shared.get(&place).await {
            Some(known) if known.at(now).is_some() => Ok(known),
            _ => Box::pin(self.verdict(epoch, print, acceptance, bearer, now)).await,
        }
    }

    /// The shared verdict, reached anew where there is none or the one that is held says nothing any more.
    async fn verdict(
        &self,
        epoch: u64,
        print: u64,
        acceptance: &Acceptance,
        bearer: Bearer<'_>,
        now: Timestamp,
    ) -> Result<Arc<Verdict>, VerifyError> {
        let asked = acceptance.asked().is_some();
        let key = Key { print, epoch, realm: acceptance.realm.clone(), token: bearer.bytes().into() };
        if asked && self.inactive.get(&key).await.is_some() {
            return Err(VerifyError::Inactive);
        }
        let held = self.shared_verdict(key.clone(), acceptance, bearer, now).await;
        let verdict = match held {
            Ok(verdict) if verdict.at(now).is_none() => {
                self.shared.invalidate(&key).await;
                self.shared_verdict(key.clone(), acceptance, bearer, now).await
            }
            held => held,
        };
        if asked && verdict.as_ref().err() == Some(&VerifyError::Inactive) {
            self.inactive.insert(key, ()).await;
        }
        verdict
    }

    async fn shared_verdict(
        &self,
        key: Key,
        acceptance: &Acceptance,
        bearer: Bearer<'_>,
        now: Timestamp,
    ) -> Result<Arc<Verdict>, VerifyError> {
        let lookup = key.clone();
        let verified = async {
            let verified = jwt::verify(acceptance, bearer, now, clock::monotonic()).await?;
            let left = now.until(verified.until);
            Ok(Arc::new(Verdict { key, caller: verified.caller, until: verified.until, after: verified.after, left }))
        };
        self.shared.try_get_with(lookup, verified).await.map_err(|error: Arc<VerifyError>| (*error).clone())
    }

    /// A keyed hash of a few bytes that differ between any two tokens: the signature's end, the length and the route. Full
    /// bytes are compared where it leads.
    fn print(&self, acceptance: &Acceptance, bearer: Bearer<'_>) -> u64 {
        let token = bearer.bytes();
        let tail = token.last_chunk::<16>().map_or(0, |tail| u128::from_le_bytes(*tail));
        self.hasher.hash_one((tail, token.len(), acceptance.realm.accepts[0]))
    }
}

/// What a verdict is found by.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    print: u64,
    epoch: u64,
    realm: RouteKey,
    token: Arc<[u8]>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.print);
        state.write_u64(self.epoch);
    }
}

/// The same as a request has it, for a lookup that copies nothing.
struct Place<'a> {
    print: u64,
    epoch: u64,
    realm: &'a RouteKey,
    token: &'a [u8],
}

impl Hash for Place<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.print);
        state.write_u64(self.epoch);
    }
}

impl Equivalent<Key> for Place<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.print == key.print && self.epoch == key.epoch && *self.token == *key.token && *self.realm == key.realm
    }
}

/// The outcome of a verification that succeeded; refusals are not remembered.
struct Verdict {
    key: Key,
    caller: Arc<Caller>,
    until: Timestamp,
    /// What is wrong with it from then on; `None` if that has to be found out again.
    after: Option<VerifyError>,
    /// From verification to `until`.
    left: Duration,
}

impl Verdict {
    /// What it says at `now`, if it says anything.
    fn at(&self, now: Timestamp) -> Option<Result<Arc<Caller>, VerifyError>> {
        if now < self.until { Some(Ok(Arc::clone(&self.caller))) } else { self.after.clone().map(Err) }
    }

    fn is_of(&self, epoch: u64, acceptance: &Acceptance, bearer: Bearer<'_>) -> bool {
        self.key.epoch == epoch && *self.key.token == *bearer.bytes() && self.key.realm == acceptance.realm
    }
}

/// Lets the cache forget a verdict when its token has expired; whether it may be used is decided at each hit.
struct UntilExpired;

impl Expiry<Key, Arc<Verdict>> for UntilExpired {
    fn expire_after_create(&self, _: &Key, verdict: &Arc<Verdict>, _: Instant) -> Option<Duration> {
        Some(verdict.left)
    }
}

type Slot = Option<(u64, Arc<Verdict>)>;

/// One worker's verdicts in front of the shared ones: at most 4,096, replaced by what comes next to the same place.
pub struct Memo(Mutex<Slots>);

struct Slots {
    sets: Box<[[Slot; WAYS]]>,
    counts: Counts,
}

/// How often a worker's token was known, for `portcullis_token_cache_requests_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered from the memo.
    pub hits: u64,
    /// Looked for elsewhere.
    pub misses: u64,
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memo").field(&self.counts()).finish()
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self::new()
    }
}

impl Memo {
    /// An empty memo.
    pub fn new() -> Self {
        let sets = (0..SETS).map(|_| [const { None }; WAYS]).collect();
        Self(Mutex::new(Slots { sets, counts: Counts::default() }))
    }

    /// Hits and misses so far.
    pub fn counts(&self) -> Counts {
        self.slots().counts
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(
        &self,
        print: u64,
        epoch: u64,
        acceptance: &Acceptance,
        bearer: Bearer<'_>,
        now: Timestamp,
    ) -> Option<Result<Arc<Caller>, VerifyError>> {
        let mut slots = self.slots();
        let held = slots.sets[place(print)].iter().flatten().find(|(held, _)| *held == print);
        let result =
            held.filter(|(_, verdict)| verdict.is_of(epoch, acceptance, bearer)).and_then(|(_, known)| known.at(now));
        let counts = &mut slots.counts;
        *(if result.is_some() { &mut counts.hits } else { &mut counts.misses }) += 1;
        result
    }

    fn remember(&self, verdict: Arc<Verdict>) {
        let (print, epoch) = (verdict.key.print, verdict.key.epoch);
        let mut slots = self.slots();
        let set = &mut slots.sets[place(print)];
        let same = set.iter().position(|slot| slot.as_ref().is_some_and(|(held, _)| *held == print));
        let dead = || set.iter().position(|slot| slot.as_ref().is_none_or(|(_, held)| held.key.epoch < epoch));
        // A full set gives up the slot the print points at: as good as random, and nobody outside can aim it.
        let at = same.or_else(dead).unwrap_or((print >> 32) as usize % WAYS);
        set[at] = Some((print, verdict));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only the low bits choose a set")]
const fn place(print: u64) -> usize {
    print as usize % SETS
}
