//! Upstream tokens issued by an authorization server: requested once however many calls need them, kept until shortly before
//! they expire, and never used for anybody but the caller they were requested for.

mod answer;
mod ask;
mod error;
mod pause;
mod registry;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use moka::Expiry;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Credential;
use super::gate::{Gate, Room};
use crate::auth::{Bearer, Caller, Epoch, StartError, TokenEndpoint};
use crate::clock::{self, Timestamp};
use crate::config::{Concurrency, Grant, GrantKind};
use crate::secret::Secret;
use crate::telemetry::metrics::Metrics;
use answer::Token;
use ask::{Endpoints, Moment, ask};
use pause::Pauses;

pub use error::GrantError;
pub use registry::Grants;

/// Capacity of a server's token cache; a token counts as one, plus one per whole KiB.
const LIMIT_HELD: u64 = 20_000;
/// Capacity of the caches of refusals, and lifetime of one, so that a caller that was refused does not cause a request per
/// call.
const LIMIT_REFUSED: u64 = 10_000;
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Concurrency limits of one authorization server. Further requests wait in turn by caller, for a short time.
const ASKING: Concurrency = Concurrency {
    max_in_flight: 64,
    per_principal: 32,
    queue: 1_024,
    queue_timeout: Duration::from_secs(5),
    streams: 0,
};
/// The most concurrent token revocation requests to one authorization server; others wait.
const LIMIT_GIVING_BACK: usize = 4;
/// Timeout for all requests that obtain one token.
const LIMIT_TIME: Duration = Duration::from_secs(20);
/// A token younger than this is not replaced when the upstream refuses it, unless the upstream has accepted it and few were
/// replaced so lately: another one would be no better, and would be requested with every call.
const YOUNG: Duration = Duration::from_secs(5);
const FEW: u32 = 3;
const LATELY: Duration = Duration::from_mins(1);
/// How many times the proxy may be among the actors of the caller's token before the call counts as a loop.
const LIMIT_LOOPS: usize = 3;

/// The caller whose token is exchanged, and that token.
#[derive(Clone)]
pub(crate) struct Subject {
    caller: Arc<Caller>,
    token: Arc<Secret<String>>,
}

impl Subject {
    /// `caller`, and the token that it authenticated with.
    pub(crate) fn new(caller: &Arc<Caller>, token: Bearer<'_>) -> Self {
        Self { caller: caller.clone(), token: Arc::new(token.secret()) }
    }
}

/// For whom a token was issued: SHA-256 over the caller's issuer, subject and whole token, never its name alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Holder([u8; 32]);

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holder(***)")
    }
}

impl Holder {
    /// The proxy itself.
    const PROXY: Self = Self([0; 32]);

    /// The holder for `caller` with `token`. Issuer and subject are hashed too, since an opaque token contains neither.
    pub(crate) fn of(caller: &Caller, token: Bearer<'_>) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in [caller.issuer.as_bytes(), caller.subject.as_bytes(), token.bytes()] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finish().as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// A cached token.
struct Held {
    credential: Credential,
    /// The caller whose token was exchanged; `None` for the proxy's own token.
    caller: Option<Arc<Caller>>,
    bytes: usize,
    asked: Instant,
    /// When a new token is requested in the background.
    refresh: Instant,
    /// When the token is no longer used.
    until: Instant,
    refreshing: AtomicBool,
    /// Whether the upstream has ever accepted it.
    taken: AtomicBool,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("until", &self.until).finish_non_exhaustive()
    }
}

/// A credential that an authorization server issued, and what is needed to forget it if the upstream refuses it.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    broker: Arc<Broker>,
    holder: Holder,
    held: Arc<Held>,
}

impl Granted {
    /// The credential itself.
    pub(crate) fn credential(&self) -> &Credential {
        &self.held.credential
    }

    /// The upstream accepted the token, or refused the call for another reason.
    pub(crate) fn taken(&self) {
        self.held.taken.store(true, Ordering::Relaxed);
    }

    /// Forgets the token, which the upstream refused; false if a new one would not help, because this one was just issued.
    pub(crate) async fn refused(&self) -> bool {
        // Another request may have replaced it already.
        let held = self.broker.held.get(&self.holder).await;
        if !held.is_some_and(|held| Arc::ptr_eq(&held, &self.held)) {
            return true;
        }
        let age = clock::monotonic().saturating_duration_since(self.held.asked);
        let replaced = self.broker.replaced.get(&self.holder).await.unwrap_or_default();
        if age < YOUNG && (replaced >= FEW || !self.held.taken.load(Ordering::Relaxed)) {
            return false;
        }
        self.broker.held.invalidate(&self.holder).await;
        self.broker.replaced.insert(self.holder, replaced.saturating_add(1)).await;
        true
    }

    /// For whom it was issued.
    pub(crate) const fn holder(&self) -> Holder {
        self.holder
    }
}

/// Requests and caches the tokens for one server, or one of its tools, from one authorization server.
pub struct Broker {
    server: Arc<str>,
    digest: [u8; 32],
    grant: Grant,
    endpoints: Endpoints,
    held: Cache<Holder, Arc<Held>>,
    refused: Cache<Holder, GrantError>,
    /// How many tokens the upstream refused and were replaced lately.
    replaced: Cache<Holder, u32>,
    pauses: Mutex<Pauses>,
    asking: Arc<Gate>,
    /// Limits concurrent revocations: many tokens may be revoked at once, and no call waits for them.
    giving_back: Semaphore,
    runtime: Handle,
    metrics: Arc<Metrics>,
    epoch: Epoch,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Expires a token at [`Held::until`].
struct UntilOver;

impl Expiry<Holder, Arc<Held>> for UntilOver {
    fn expire_after_create(&self, _: &Holder, held: &Arc<Held>, now: Instant) -> Option<Duration> {
        Some(held.until.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &Holder, held: &Arc<Held>, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(held.until.saturating_duration_since(now))
    }
}

impl Broker {
    fn new(
        server: &Arc<str>,
        grant: &Grant,
        digest: [u8; 32],
        runtime: &Handle,
        metrics: &Arc<Metrics>,
        epoch: &Epoch,
    ) -> Result<Self, StartError> {
        let second = match &grant.kind {
            GrantKind::IdJag { server, .. } => Some(TokenEndpoint::new(server, runtime)?),
            GrantKind::ClientCredentials | GrantKind::OnBehalfOf | GrantKind::TokenExchange { .. } => None,
        };
        Ok(Self {
            server: server.clone(),
            digest,
            grant: grant.clone(),
            endpoints: Endpoints { first: TokenEndpoint::new(&grant.server, runtime)?, second },
            held: held(LIMIT_HELD),
            refused: remembered(REFUSED_FOR),
            replaced: remembered(LATELY),
            pauses: Mutex::default(),
            asking: Gate::new(ASKING),
            giving_back: Semaphore::new(LIMIT_GIVING_BACK),
            runtime: runtime.clone(),
            metrics: metrics.clone(),
            epoch: epoch.clone(),
        })
    }

    /// Whether the token is the proxy's own, the same for every caller.
    pub(crate) const fn is_own(&self) -> bool {
        matches!(self.grant.kind, GrantKind::ClientCredentials)
    }

    /// The credential for a call of `caller`, which authenticated with `token`; cached, or requested now. Errs if the
    /// authorization server issues none.
    pub(crate) async fn credential(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        token: Option<Bearer<'_>>,
        now: Timestamp,
    ) -> Result<Granted, GrantError> {
        self.credential_at(caller, token, Moment { wall: now, monotonic: clock::monotonic() }).await
    }

    async fn credential_at(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        token: Option<Bearer<'_>>,
        moment: Moment,
    ) -> Result<Granted, GrantError> {
        let whose = if self.is_own() { None } else { Some(token.ok_or(GrantError::Nobody)?) };
        let holder = whose.map_or(Holder::PROXY, |token| Holder::of(caller, token));
        let subject = || whose.map(|token| Subject::new(caller, token));
        if let Some(held) = self.held.get(&holder).await.filter(|held| moment.monotonic < held.until) {
            if moment.monotonic >= held.refresh && !held.refreshing.swap(true, Ordering::AcqRel) {
                self.refresh(holder, subject(), held.clone(), moment);
            }
            return Ok(self.granted(holder, held));
        }
        if let Some(error) = self.refused.get(&holder).await {
            return Err(error);
        }
        self.looped(caller)?;
        let subject = subject();
        let asking = || async { self.fetch(holder, subject.as_ref(), moment).await };
        let epoch = self.epoch.now();
        let held = self.held.try_get_with(holder, asking()).await.map_err(|error| (*error).clone())?;
        self.came(epoch);
        if moment.monotonic < held.until {
            return Ok(self.granted(holder, held));
        }
        // The cached token has just expired.
        self.held.invalidate(&holder).await;
        let held = self.held.try_get_with(holder, asking()).await.map_err(|error| (*error).clone())?;
        Ok(self.granted(holder, held))
    }

    /// The credential for the proxy's own requests; cached, or requested now. Errs like [`Self::credential`].
    pub(crate) async fn own_credential(&self, now: Timestamp) -> Result<Credential, GrantError> {
        let moment = Moment { wall: now, monotonic: clock::monotonic() };
        Ok(self.fetch(Holder::PROXY, None, moment).await?.credential.clone())
    }

    fn granted(self: &Arc<Self>, holder: Holder, held: Arc<Held>) -> Granted {
        Granted { broker: self.clone(), holder, held }
    }

    /// Errs if the proxy is among the token's actors too often: then the call goes round in a loop (RFC 8693 section 4.1,
    /// nested `act`).
    fn looped(&self, caller: &Caller) -> Result<(), GrantError> {
        let own = self.endpoints.first.client_id();
        if self.is_own() || caller.actors().iter().filter(|actor| ***actor == *own).count() < LIMIT_LOOPS {
            return Ok(());
        }
        self.count("delegation_loop");
        Err(GrantError::Forbidden { reason: "delegation_loop" })
    }

    /// A token that was requested in `epoch` was cached. If revocations came since, they may have missed it, so they are
    /// applied again.
    fn came(&self, epoch: u64) {
        if self.epoch.now() != epoch {
            self.epoch.look_again();
        }
    }

    /// Requests a token in the background that is to replace `held`, which is used meanwhile.
    fn refresh(self: &Arc<Self>, holder: Holder, subject: Option<Subject>, held: Arc<Held>, moment: Moment) {
        let broker = self.clone();
        self.runtime.spawn(async move {
            let epoch = broker.epoch.now();
            match broker.fetch(holder, subject.as_ref(), moment).await {
                Ok(fresh) => {
                    broker.held.insert(holder, fresh).await;
                    broker.came(epoch);
                }
                // The next call tries again, once any pause after the failure is over.
                Err(_) => held.refreshing.store(false, Ordering::Release),
            }
        });
    }

    /// Requests a token, unless there is a pause after failures. Errs with the reason why there is none.
    async fn fetch(&self, holder: Holder, subject: Option<&Subject>, now: Moment) -> Result<Arc<Held>, GrantError> {
        let caller = subject.map(|subject| &*subject.caller);
        let whose = caller.map(|caller| self.asking.owner(Some(caller)));
        self.rested(whose, now)?;
        let came = clock::monotonic();
        let Ok(_place) = self.asking.enter(Room::Call, caller).await else {
            self.count("busy");
            return Err(GrantError::Unavailable { reason: "busy", retry_after: Duration::from_secs(1) });
        };
        let began = clock::monotonic();
        let now = now.plus(began.saturating_duration_since(came));
        // Another request may have failed while this one waited.
        self.rested(whose, now)?;
        let asked = tokio::time::timeout(LIMIT_TIME, ask(&self.grant, &self.endpoints, subject, now)).await;
        let late = GrantError::Unavailable { reason: "timeout", retry_after: Duration::from_secs(1) };
        match asked.unwrap_or(Err(late)).and_then(|token| self.hold(&token, subject, now)) {
            Ok(held) => {
                self.pauses().worked(whose);
                Ok(Arc::new(held))
            }
            Err(error) => {
                let over = now.monotonic + clock::monotonic().saturating_duration_since(began);
                Err(self.failed(holder, whose, error, (now.monotonic, over)).await)
            }
        }
    }

    /// Errs during a pause after failures.
    fn rested(&self, whose: Option<u64>, now: Moment) -> Result<(), GrantError> {
        self.pauses().resting(whose, now.monotonic).map_or(Ok(()), Err)
    }

    fn hold(&self, token: &Token, subject: Option<&Subject>, now: Moment) -> Result<Held, GrantError> {
        let unusable = GrantError::Unusable { reason: "access_token" };
        let credential = Credential::granted(&token.value).ok_or(unusable)?;
        self.count(if token.narrowed { "narrowed" } else { "ok" });
        let caller = subject.map(|subject| subject.caller.clone());
        // Allows for clock skew and network latency, so that the token does not expire on its way.
        let margin = (token.lifetime / 10).min(Duration::from_secs(10));
        let mut until = now.monotonic + token.lifetime.saturating_sub(margin);
        if let Some(caller) = &caller {
            // INVARIANT: no token is cached longer than the token that it was exchanged for is valid, except for one second,
            // so that concurrent calls of one caller make one request.
            let rest = now.wall.until(caller.expires).max(Duration::from_secs(1));
            until = until.min(now.monotonic + rest);
        }
        let early = token.lifetime.mul_f64(0.75 + 0.1 * jitter());
        let (refresh, bytes) = (now.monotonic + early, token.value.expose().len());
        Ok(Held {
            credential,
            caller,
            bytes,
            asked: now.monotonic,
            refresh,
            until,
            refreshing: AtomicBool::new(false),
            taken: AtomicBool::new(false),
        })
    }

    /// Records a failed request; `times` are its start and end. Returns the error to report.
    async fn failed(
        &self,
        holder: Holder,
        whose: Option<u64>,
        error: GrantError,
        times: (Instant, Instant),
    ) -> GrantError {
        self.count(error.reason());
        // The proxy's own token does not depend on a caller, so its failure is never a caller's fault.
        let error = match error {
            GrantError::Forbidden { reason } | GrantError::Interaction { reason, .. } if self.is_own() => {
                GrantError::Unusable { reason }
            }
            GrantError::Token if self.is_own() => GrantError::Unusable { reason: "invalid_grant" },
            other => other,
        };
        tracing::warn!(server = %self.server, grant = self.grant.kind.name(), %error, "no token for the upstream");
        if self.is_own() || error.is_of_the_server() {
            self.pauses().failed(whose, &error, jitter(), times);
        } else {
            self.pauses().worked(whose);
        }
        if !self.is_own() && !matches!(error, GrantError::Unavailable { .. }) {
            self.refused.insert(holder, error.clone()).await;
        }
        error
    }

    /// Forgets and revokes the tokens of the callers for which `gone` is true.
    pub(crate) async fn forget(self: &Arc<Self>, gone: impl Fn(&Caller) -> bool) {
        for (holder, held) in &self.held {
            if held.caller.as_ref().is_some_and(|caller| gone(caller)) {
                self.held.invalidate(&*holder).await;
                self.count("revoked");
                self.give_back(&held.credential);
            }
        }
    }

    /// Revokes a token at its authorization server in the background (RFC 7009). Failure is only counted: the token is no
    /// longer cached here, and expires by itself.
    fn give_back(self: &Arc<Self>, credential: &Credential) {
        let (broker, token) = (self.clone(), credential.token());
        self.runtime.spawn(async move {
            let (Some(token), Ok(_place)) = (token, broker.giving_back.acquire().await) else { return };
            let from = broker.endpoints.second.as_ref().unwrap_or(&broker.endpoints.first);
            match from.revoke(token.expose(), Timestamp::now(), clock::monotonic()).await {
                Ok(true) => broker.count("given_back"),
                Ok(false) => {}
                Err(reason) => {
                    broker.count("not_given_back");
                    tracing::warn!(server = %broker.server, reason, "token for the upstream not given back");
                }
            }
        });
    }

    fn count(&self, result: &'static str) {
        self.metrics.count_token_request(&self.server, self.grant.kind.name(), result);
    }

    fn pauses(&self) -> std::sync::MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for tokens. When it is full, the least recently used goes: by default the cache would turn new ones away, and their
/// callers would have one requested with every call.
fn held(limit: u64) -> Cache<Holder, Arc<Held>> {
    let weigh = |_: &Holder, held: &Arc<Held>| 1 + u32::try_from(held.bytes / 1024).unwrap_or(u32::MAX);
    let room = Cache::builder().max_capacity(limit).weigher(weigh);
    room.eviction_policy(EvictionPolicy::lru()).expire_after(UntilOver).build()
}

/// Room for what is remembered of holders for `time`.
fn remembered<T: Clone + Send + Sync + 'static>(time: Duration) -> Cache<Holder, T> {
    let room = Cache::builder().max_capacity(LIMIT_REFUSED);
    room.eviction_policy(EvictionPolicy::lru()).time_to_live(time).build()
}

/// A random number in [0, 1), so that many proxies do not make their requests at the same time.
fn jitter() -> f64 {
    let mut byte = [0; 1];
    // Without random bytes there is no jitter, which is harmless.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / 256.0
}

#[cfg(test)]
mod tests;
