use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::{Exchange, Issuer, Patience, StartError, authorities, config_digest};
use crate::audit::Audit;
use crate::auth::Epoch;
use crate::auth::revocation::Revocations;
use crate::auth::signals::{Poller, Receiver};
use crate::config;
use crate::state::Stores;

/// All issuers of the process, by a digest of their configuration: a reload that does not change an issuer keeps its keys.
#[derive(Debug)]
pub struct Issuers {
    runtime: Handle,
    epoch: Epoch,
    started: Mutex<HashMap<[u8; 32], Arc<Issuer>>>,
    /// By `iss`, so that revocations stay in force when the issuer's configuration changes.
    revocations: Mutex<HashMap<Arc<str>, Arc<Revocations>>>,
    receivers: Mutex<HashMap<[u8; 32], Receiving>>,
    /// The audit log for changes of keys and revocations.
    audit: Option<Arc<Audit>>,
    /// The store that revocations are shared in.
    stores: Option<Arc<Stores>>,
}

/// A receiver of signals, and its poller, if it polls.
#[derive(Debug)]
struct Receiving {
    receiver: Arc<Receiver>,
    _poller: Option<Poller>,
}

impl Issuers {
    /// An empty registry; issuers fetch on `runtime` and advance `epoch`.
    pub fn new(runtime: Handle, epoch: Epoch) -> Self {
        let (started, revocations, receivers) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { runtime, epoch, started, revocations, receivers, audit: None, stores: None }
    }

    /// The same, recording changes of keys and revocations in `audit`.
    pub fn recorded(mut self, audit: Arc<Audit>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// The same, sharing revocations in the store that is in use.
    pub fn sharing(mut self, stores: Arc<Stores>) -> Self {
        self.stores = Some(stores);
        self
    }

    /// The running issuer with exactly this configuration, started if there is none. Errs if it cannot be started.
    pub fn get_or_start(&self, config: &config::Issuer) -> Result<Arc<Issuer>, StartError> {
        let digest = config_digest(config, authorities(config)?.as_deref());
        let mut started = self.started();
        if let Some(issuer) = started.get(&digest) {
            return Ok(Arc::clone(issuer));
        }
        let revocations = Arc::clone(
            lock(&self.revocations)
                .entry(Arc::clone(&config.issuer))
                .or_insert_with(|| Arc::new(Revocations::new(self.epoch.clone()))),
        );
        let (epoch, audit) = (self.epoch.clone(), self.audit.clone());
        let issuer = Issuer::start_with(config, epoch, &self.runtime, Patience::USUAL, revocations, audit)?;
        started.insert(*issuer.digest(), Arc::clone(&issuer));
        Ok(issuer)
    }

    /// The receiver of signals about the tokens of `issuer` with this configuration, started if there is none; `None` if not
    /// configured.
    pub fn receiver(&self, config: &config::Issuer, issuer: &Arc<Issuer>) -> Result<Option<Arc<Receiver>>, StartError> {
        let Some(signals) = &config.signals else { return Ok(None) };
        let push = signals.push.as_ref().map(|(_, token)| token.resolve()).transpose()?;
        let poll = signals.poll.as_ref().and_then(|(_, token)| token.as_ref());
        let poll = poll.map(config::SecretSource::resolve).transpose()?;
        let secrets = [&push, &poll].map(|secret| secret.as_ref().map(|secret| secret.expose().clone()));
        let digest = receiver_digest(issuer, signals, &secrets);
        if let Some(held) = lock(&self.receivers).get(&digest) {
            return Ok(Some(Arc::clone(&held.receiver)));
        }
        let transmitter = self.transmitter(config, issuer, signals)?;
        let (audience, told) = (&signals.audience, (self.audit.clone(), self.stores.clone()));
        let receiver = Arc::new(Receiver::new(issuer, transmitter, audience, push, signals.keep, told));
        let poller = match &signals.poll {
            None => None,
            Some((endpoint, _)) => {
                let ca = authorities(config)?;
                let (plain, patience) = (config.insecure_loopback, Patience::USUAL);
                let exchange = Exchange::new(&self.runtime, plain, &[endpoint], ca.as_deref(), None, patience)?;
                let (endpoint, receiver) = (endpoint.clone(), Arc::clone(&receiver));
                Some(Poller::start(receiver, exchange, endpoint, poll, signals.poll_interval, &self.runtime))
            }
        };
        lock(&self.receivers).insert(digest, Receiving { receiver: Arc::clone(&receiver), _poller: poller });
        Ok(Some(receiver))
    }

    /// The issuer whose keys sign event tokens: the same one, unless another is configured.
    fn transmitter(
        &self,
        config: &config::Issuer,
        issuer: &Arc<Issuer>,
        signals: &config::Signals,
    ) -> Result<Arc<Issuer>, StartError> {
        if signals.transmitter.is_none() && signals.jwks_uri.is_none() {
            return Ok(Arc::clone(issuer));
        }
        let transmitter = config::Issuer {
            name: format!("{}.signals", config.name).into(),
            issuer: signals.transmitter.clone().unwrap_or_else(|| Arc::clone(&config.issuer)),
            jwks_uri: signals.jwks_uri.clone(),
            discovery: config::Discovery::Signals,
            // Readiness does not wait for the transmitter.
            on_start: config::OnStart::Serve,
            introspection: None,
            revocation_file: None,
            signals: None,
            ..config.clone()
        };
        self.get_or_start(&transmitter)
    }

    /// All running receivers.
    pub fn receivers(&self) -> Vec<Arc<Receiver>> {
        lock(&self.receivers).values().map(|held| Arc::clone(&held.receiver)).collect()
    }

    /// Whether all issuers are ready.
    pub fn ready(&self) -> bool {
        self.started().values().all(|issuer| issuer.is_ready())
    }

    /// All running issuers, by name.
    pub fn all(&self) -> Vec<Arc<Issuer>> {
        let mut all: Vec<_> = self.started().values().cloned().collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// Drops every issuer not in `kept` and every receiver not in `receivers`. An issuer stops fetching when its last route is
    /// gone.
    pub fn retain(&self, kept: &[Arc<Issuer>], receivers: &[Arc<Receiver>]) {
        lock(&self.receivers).retain(|_, held| receivers.iter().any(|other| Arc::ptr_eq(&held.receiver, other)));
        self.started().retain(|_, issuer| kept.iter().any(|other| Arc::ptr_eq(issuer, other)));
    }

    fn started(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Issuer>>> {
        lock(&self.started)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receiver_digest(issuer: &Issuer, signals: &config::Signals, secrets: &[Option<String>; 2]) -> [u8; 32] {
    let text = Zeroizing::new(format!("{:?} {signals:?} {secrets:?}", issuer.digest()));
    digest(&SHA256, text.as_bytes()).as_ref().first_chunk().copied().unwrap_or_default()
}
