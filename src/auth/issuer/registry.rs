use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

use super::{Issuer, StartError, authorities, config_digest};
use crate::auth::Epoch;
use crate::config;

/// All issuers of the process, by a digest of their configuration: a reload that does not touch an issuer keeps its keys.
#[derive(Debug)]
pub struct Issuers {
    runtime: Handle,
    epoch: Epoch,
    started: Mutex<HashMap<[u8; 32], Arc<Issuer>>>,
}

impl Issuers {
    /// An empty registry; issuers fetch on `runtime` and move `epoch`.
    pub fn new(runtime: Handle, epoch: Epoch) -> Self {
        Self { runtime, epoch, started: Mutex::default() }
    }

    /// The running issuer of exactly this configuration, started if there is none.
    pub fn get_or_start(&self, config: &config::Issuer) -> Result<Arc<Issuer>, StartError> {
        let digest = config_digest(config, authorities(config)?.as_deref());
        let mut started = self.started();
        if let Some(issuer) = started.get(&digest) {
            return Ok(Arc::clone(issuer));
        }
        let issuer = Issuer::start(config, self.epoch.clone(), &self.runtime)?;
        started.insert(*issuer.digest(), Arc::clone(&issuer));
        Ok(issuer)
    }

    /// Whether every issuer has had keys once, or is not waited for.
    pub fn ready(&self) -> bool {
        self.started().values().all(|issuer| issuer.is_ready())
    }

    /// All running issuers, by name.
    pub fn all(&self) -> Vec<Arc<Issuer>> {
        let mut all: Vec<_> = self.started().values().cloned().collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// Forgets every issuer that is not among `kept`; it stops fetching when its last route is gone.
    pub fn retain(&self, kept: &[Arc<Issuer>]) {
        self.started().retain(|_, issuer| kept.iter().any(|other| Arc::ptr_eq(issuer, other)));
    }

    fn started(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Issuer>>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
