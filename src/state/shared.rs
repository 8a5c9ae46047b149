//! State that several processes share in a Redis or Valkey.
//!
//! What is asked of it during a request has a short timeout, and none at all while it cannot be reached. Names of keys are
//! `PREFIX:rl:…` for rate limits, `PREFIX:jti:…` for proofs and `PREFIX:spent:…` for states that were used.

mod gcra;
mod revoked;
mod single;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;
use tokio::runtime::Handle;

use super::address::{Address, AddressError};
use super::link::{Link, Standing, StoreError};
use super::mirror::Mirror;
use crate::auth::Epoch;
use crate::clock;
use crate::config::secret_source::SecretError;
use crate::config::{OnStoreError, Redis};
use crate::secret::Secret;
use crate::telemetry::metrics::Metrics;
use crate::upstream::BuildError;

pub use gcra::Quota;

/// Bytes of a digest in the name of a key.
const DIGEST_BYTES: usize = 18;

/// A store that is shared with other processes. It is connected until dropped.
pub struct Shared {
    identity: [u8; 32],
    link: Arc<Link>,
    mirror: Arc<Mirror>,
    prefix: Box<str>,
    timeout: Duration,
    on_error: OnStoreError,
    metrics: Arc<Metrics>,
    runtime: Handle,
    tasks: [tokio::task::AbortHandle; 2],
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("address", self.link.address())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What the store is asked for: the `op` of `portcullis_state_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// To forget a use that had no effect.
    GiveBack,
    /// To count a call.
    Limit,
    /// To remember that a `DPoP` proof was used.
    Proof,
    /// To remember that a `requestState` was used.
    RequestState,
    /// To remember that something is revoked.
    Revoke,
}

impl Op {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GiveBack => "give_back",
            Self::Limit => "limit",
            Self::Proof => "proof",
            Self::RequestState => "request_state",
            Self::Revoke => "revoke",
        }
    }
}

impl Shared {
    fn start(config: &Redis, url: &Secret<String>, stores: &Stores, identity: [u8; 32]) -> Result<Self, OpenError> {
        let Stores { runtime, metrics, epoch, .. } = stores;
        let (address, epoch) = (Address::read(url)?, epoch.clone());
        let tls = address.tls(config.ca_file.as_deref())?;
        let mirror = Arc::new(Mirror::new(&config.prefix, config.max_stale, epoch));
        let link = Arc::new(Link::new(address, tls, format!("{}:probe", config.prefix), Arc::clone(&mirror)));
        let (kept, aging) = (Arc::clone(&link), Arc::clone(&mirror));
        let keeping = runtime.spawn(async move { kept.keep().await });
        let watching = runtime.spawn(async move {
            loop {
                tokio::time::sleep(aging.interval()).await;
                aging.grow_old(clock::monotonic());
            }
        });
        Ok(Self {
            identity,
            link,
            mirror,
            prefix: config.prefix.as_str().into(),
            timeout: config.timeout,
            on_error: config.on_error,
            metrics: Arc::clone(metrics),
            runtime: runtime.clone(),
            tasks: [keeping.abort_handle(), watching.abort_handle()],
        })
    }

    /// Whether processes count by themselves while the store cannot be asked.
    pub const fn counts_locally(&self) -> bool {
        matches!(self.on_error, OnStoreError::Local)
    }

    /// Where the store is.
    pub fn place(&self) -> String {
        self.link.address().to_string()
    }

    /// What is known of the connection.
    pub fn standing(&self) -> Standing {
        self.link.standing()
    }

    /// Resolves when the first attempt to connect is over, successful or not.
    pub async fn settled(&self) {
        self.link.settled().await;
    }

    /// The same result; a failure is counted.
    fn counted<T>(&self, op: Op, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| {
            self.metrics.count_state_error(op.name());
            tracing::debug!(op = op.name(), %error, "shared state");
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

/// A digest of `parts`, as it stands in names of keys: nobody who reads them learns who calls.
fn name_of(parts: &[&[u8]]) -> String {
    let mut hash = digest::Context::new(&SHA256);
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    BASE64URL_NOPAD.encode(hash.finish().as_ref().get(..DIGEST_BYTES).unwrap_or_default())
}

/// Why a store cannot be used at all: an error in the configuration, not an outage.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum OpenError {
    #[error("no address of a store")]
    Address(#[from] AddressError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl OpenError {
    /// The key that it is about.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::Secret(_) => "state.redis.url",
            Self::Build(_) => "state.redis.ca_file",
        }
    }
}

/// The store in use: a reload that does not change it keeps its connection.
#[derive(Debug)]
pub struct Stores {
    runtime: Handle,
    metrics: Arc<Metrics>,
    epoch: Epoch,
    current: Mutex<Option<Arc<Shared>>>,
}

impl Stores {
    /// None yet; connections are made on `runtime`, and `epoch` moves when something is revoked.
    pub fn new(runtime: Handle, metrics: Arc<Metrics>, epoch: Epoch) -> Self {
        Self { runtime, metrics, epoch, current: Mutex::default() }
    }

    /// The store in use.
    pub fn current(&self) -> Option<Arc<Shared>> {
        self.lock().clone()
    }

    /// Uses exactly this store from now on, if any.
    pub fn retain(&self, shared: Option<&Arc<Shared>>) {
        *self.lock() = shared.cloned();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Shared>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store of exactly this configuration, connected in the background. Errs if the configuration cannot be used.
    pub fn get_or_start(&self, config: &Redis) -> Result<Arc<Shared>, OpenError> {
        let url = config.url.resolve()?;
        let authorities = config.ca_file.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
        let text = format!("{config:?}\0{}\0", url.expose()).into_bytes();
        let identity =
            digest(&SHA256, &[text, authorities].concat()).as_ref().first_chunk().copied().unwrap_or_default();
        if let Some(held) = self.current().filter(|held| held.identity == identity) {
            return Ok(held);
        }
        let shared = Arc::new(Shared::start(config, &url, self, identity)?);
        let mut current = self.lock();
        // The first is in use as soon as it is there, one of a reload only after that.
        if current.is_none() {
            *current = Some(Arc::clone(&shared));
        }
        Ok(shared)
    }
}
