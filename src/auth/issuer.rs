//! One configured issuer and its keys, which are refreshed in the background: a request normally finds the keys, and waits at
//! most for one fetch, shared by all waiting requests.

mod address;
mod client;
pub(crate) mod exchange;
pub(crate) mod explorer;
mod fetch;
mod ledger;
mod reader;
mod registry;
mod ring;
mod token_endpoint;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use thiserror::Error;
use tokio::runtime::Handle;
use url::Url;

use super::claims::LIMIT_LEEWAY;
use super::introspection::{Introspector, Places};
use super::keys::{Algorithm, Key};
use super::lexicon::Lexicon;
use super::revocation::Revocations;
use super::{Epoch, VerifyError};
use crate::audit::Audit;
use crate::clock::{self, Timestamp};
use crate::config;
use fetch::{Fetcher, ScopesSupported};
use ledger::Timing;
use reader::Patience;
use ring::Ring;

pub(super) use client::OAuthClient;
pub(crate) use client::{certificate, secrets as client_secrets, signing_key};
pub(super) use exchange::Exchange;
pub use registry::Issuers;
pub(crate) use token_endpoint::{Asked, TokenEndpoint};

/// Why an issuer cannot be started: an error in the configuration, not an outage.
#[derive(Debug, Error)]
pub enum StartError {
    /// An unsupported entry of `algorithms`.
    #[error("`{0}` is not a supported signature algorithm")]
    Algorithm(String),
    /// `ca_file` holds no certificate.
    #[error("`ca_file` holds no PEM certificate")]
    CaFile,
    /// `ca_file` cannot be read.
    #[error("`ca_file` {} cannot be read: {source}", .path.display())]
    CaFileUnread {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client cannot be built.
    #[error("HTTP client cannot be built: {0}")]
    Client(#[source] reqwest::Error),
    /// A private key is unusable.
    #[error("`{}` holds no PEM private key for ES256, EdDSA or RS256", .path.display())]
    KeyFile {
        /// As configured.
        path: PathBuf,
    },
    /// A private key cannot be read.
    #[error("`{}` cannot be read: {source}", .path.display())]
    KeyFileUnread {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A client certificate is unusable.
    #[error("`{}` and its key are not a usable PEM client certificate", .path.display())]
    KeyPair {
        /// As configured.
        path: PathBuf,
    },
    /// `issuer` is not usable.
    #[error("`issuer` is not a URL without query")]
    Issuer,
    /// `issuer` or `jwks_uri` cannot be reached safely.
    #[error("{url} is refused: {reason}")]
    Location {
        /// As configured.
        url: Url,
        /// Why.
        reason: &'static str,
    },
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] config::secret_source::SecretError),
}

/// The requirements on an issuer's tokens.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway: Duration,
    pub(super) tokens: config::Tokens,
}

/// The state of an issuer's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The number of keys in use.
    pub keys: usize,
    /// When keys were last fetched.
    pub last_success: Option<Timestamp>,
    /// Why the last attempt failed; `None` after a success.
    pub last_error: Option<Arc<str>>,
    /// The number of successful attempts.
    pub succeeded: u64,
    /// The number of failed attempts.
    pub failed: u64,
}

/// One configured issuer. Its keys are refreshed until it is dropped.
#[derive(Debug)]
pub struct Issuer {
    name: Arc<str>,
    iss: Arc<str>,
    digest: [u8; 32],
    profile: Profile,
    on_start: config::OnStart,
    introspector: Option<Introspector>,
    lexicon: Lexicon,
    revocations: Arc<Revocations>,
    ring: Arc<Ring>,
    scopes_supported: Arc<OnceLock<ScopesSupported>>,
    task: tokio::task::AbortHandle,
}

impl Issuer {
    /// Starts fetching the keys of `config` on `runtime`, without waiting for them; `epoch` advances whenever they change. Errs
    /// only on a wrong configuration.
    pub fn start(config: &config::Issuer, epoch: Epoch, runtime: &Handle) -> Result<Arc<Self>, StartError> {
        let revocations = Arc::new(Revocations::new(epoch.clone()));
        Self::start_with(config, epoch, runtime, Patience::USUAL, revocations, None)
    }

    fn start_with(
        config: &config::Issuer,
        epoch: Epoch,
        runtime: &Handle,
        patience: Patience,
        revocations: Arc<Revocations>,
        audit: Option<Arc<Audit>>,
    ) -> Result<Arc<Self>, StartError> {
        let ca = authorities(config)?;
        let introspector = introspector(config, ca.as_deref(), patience, runtime)?;
        let profile = Profile::new(config)?;
        let fetcher = Fetcher::new(config, ca.as_deref(), patience)?;
        let timing = Timing {
            cache_ttl: config.cache_ttl,
            min_refresh_interval: config.min_refresh_interval,
            max_stale: config.max_stale,
        };
        let scopes_supported = fetcher.scopes();
        let ring = Ring::new(Arc::clone(&config.name), timing, epoch, clock::monotonic());
        let ring = Arc::new(ring.recorded(audit, &config.issuer));
        let task = runtime.spawn(ring::keep_fresh(Arc::clone(&ring), fetcher)).abort_handle();
        let (name, iss) = (Arc::clone(&config.name), Arc::clone(&config.issuer));
        let (digest, on_start) = (config_digest(config, ca.as_deref()), config.on_start);
        Ok(Arc::new(Self {
            name,
            iss,
            digest,
            profile,
            on_start,
            introspector,
            lexicon: Lexicon::default(),
            revocations,
            ring,
            scopes_supported,
            task,
        }))
    }

    /// Name in `proxy.toml`.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Exact `iss`.
    pub const fn issuer(&self) -> &Arc<str> {
        &self.iss
    }

    /// `scopes_supported` of its metadata (RFC 8414 section 2); `None` if it has none, or was not read.
    pub fn scopes_supported(&self) -> Option<&[Box<str>]> {
        self.scopes_supported.get().map(|scopes| &**scopes)
    }

    /// The state of its keys, for readiness and metrics.
    pub fn status(&self) -> Status {
        self.ring.status()
    }

    /// Whether keys were fetched once, or the process does not wait for them.
    pub fn is_ready(&self) -> bool {
        self.on_start == config::OnStart::Serve || self.status().last_success.is_some()
    }

    /// Resolves when the first attempt to fetch keys is over, successful or not.
    pub async fn settled(&self) {
        self.ring.over(0).await;
    }

    /// The issuer's revocations since the start.
    pub const fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// The interned strings of its tokens.
    pub(super) const fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// The introspection client, if configured.
    pub(super) const fn introspector(&self) -> Option<&Introspector> {
        self.introspector.as_ref()
    }

    pub(super) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(super) const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The number of its current key set, 0 before the first. To be read before the keys when verifying a token.
    pub(super) fn edition(&self) -> u32 {
        self.ring.edition()
    }

    /// The keys that may have signed a token with `kid` and `alg`; waits for one fetch if the key is unknown.
    pub(super) async fn keys(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
        now: Instant,
    ) -> Result<Vec<Arc<Key>>, VerifyError> {
        self.ring.keys(kid, alg, now).await
    }

    /// The same from the keys already fetched.
    pub(super) fn keys_held(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
        now: Instant,
    ) -> Result<Vec<Arc<Key>>, VerifyError> {
        self.ring.keys_held(kid, alg, now)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Profile {
    fn new(config: &config::Issuer) -> Result<Self, StartError> {
        let tokens = config.tokens.clone();
        let algorithm = |name: &String| Algorithm::parse(name).ok_or_else(|| StartError::Algorithm(name.clone()));
        let algorithms = tokens.algorithms.iter().map(algorithm).collect::<Result<_, _>>()?;
        Ok(Self { algorithms, leeway: tokens.clock_skew.min(LIMIT_LEEWAY), tokens })
    }
}

fn introspector(
    config: &config::Issuer,
    ca: Option<&[u8]>,
    patience: Patience,
    runtime: &Handle,
) -> Result<Option<Introspector>, StartError> {
    let Some(asked) = &config.introspection else { return Ok(None) };
    Ok(Some(Introspector {
        exchange: Exchange::new(
            runtime,
            config.insecure_loopback,
            &[&asked.endpoint],
            ca,
            client::identity(&asked.client.auth)?,
            patience,
        )?,
        endpoint: asked.endpoint.clone(),
        client: OAuthClient::new(&asked.client, &config.issuer)?,
        when: asked.when,
        format: asked.format,
        ttl: asked.cache_ttl,
        places: Places::new(),
    }))
}

fn authorities(config: &config::Issuer) -> Result<Option<Vec<u8>>, StartError> {
    authorities_in(config.ca_file.as_ref())
}

fn authorities_in(file: Option<&PathBuf>) -> Result<Option<Vec<u8>>, StartError> {
    let read =
        |path: &PathBuf| std::fs::read(path).map_err(|source| StartError::CaFileUnread { path: path.clone(), source });
    file.map(read).transpose()
}

/// A digest of the issuer's configuration, over its `Debug` output, which has every field, and its secrets.
fn config_digest(config: &config::Issuer, ca: Option<&[u8]>) -> [u8; 32] {
    let mut text = format!("{config:?}").into_bytes();
    text.extend_from_slice(ca.unwrap_or_default());
    // A changed secret or key file means another digest, so that it is read again.
    text.extend(config.introspection.iter().flat_map(|asked| client::secrets(&asked.client.auth)));
    digest(&SHA256, &text).as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
