//! State that several processes share in a Redis or Valkey.
//!
//! What is asked of it during a request has a short timeout, and none at all while it cannot be reached. Names of keys are
//! `PREFIX:rl:…` for rate limits, `PREFIX:jti:…` for proofs and `PREFIX:spent:…` for states that were used.

mod gcra;
mod single;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;
use tokio::runtime::Handle;

use super::address::{Address, AddressError};
use super::link::{Link, Standing, StoreError};
use crate::config::secret_source::SecretError;
use crate::config::{OnStoreError, Redis};
use crate::telemetry::metrics::Metrics;
use crate::upstream::BuildError;

pub use gcra::Quota;

/// Bytes of a digest in the name of a key.
const DIGEST_BYTES: usize = 18;

/// A store that is shared with other processes. It is connected until dropped.
pub struct Shared {
    link: Arc<Link>,
    prefix: Box<str>,
    timeout: Duration,
    on_error: OnStoreError,
    metrics: Arc<Metrics>,
    runtime: Handle,
    task: tokio::task::AbortHandle,
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
}

impl Op {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GiveBack => "give_back",
            Self::Limit => "limit",
            Self::Proof => "proof",
            Self::RequestState => "request_state",
        }
    }
}

impl Shared {
    fn start(config: &Redis, address: Address, runtime: &Handle, metrics: &Arc<Metrics>) -> Result<Self, BuildError> {
        let tls = address.tls(config.ca_file.as_deref())?;
        let link = Arc::new(Link::new(address, tls, format!("{}:probe", config.prefix)));
        let kept = Arc::clone(&link);
        let task = runtime.spawn(async move { kept.keep().await }).abort_handle();
        Ok(Self {
            link,
            prefix: config.prefix.as_str().into(),
            timeout: config.timeout,
            on_error: config.on_error,
            metrics: Arc::clone(metrics),
            runtime: runtime.clone(),
            task,
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
        self.task.abort();
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
    current: Mutex<Option<([u8; 32], Weak<Shared>)>>,
}

impl Stores {
    /// None yet; connections are made on `runtime`.
    pub fn new(runtime: Handle, metrics: Arc<Metrics>) -> Self {
        Self { runtime, metrics, current: Mutex::default() }
    }

    /// The store of exactly this configuration, connected in the background. Errs if the configuration cannot be used.
    pub fn get_or_start(&self, config: &Redis) -> Result<Arc<Shared>, OpenError> {
        let url = config.url.resolve()?;
        let authorities = config.ca_file.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
        let text = format!("{config:?}\0{}\0", url.expose()).into_bytes();
        let identity =
            digest(&SHA256, &[text, authorities].concat()).as_ref().first_chunk().copied().unwrap_or_default();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, shared)) = &*current
            && *held == identity
            && let Some(shared) = shared.upgrade()
        {
            return Ok(shared);
        }
        let shared = Arc::new(Shared::start(config, Address::read(&url)?, &self.runtime, &self.metrics)?);
        *current = Some((identity, Arc::downgrade(&shared)));
        Ok(shared)
    }
}
