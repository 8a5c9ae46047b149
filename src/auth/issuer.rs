//! One configured issuer and its keys, kept fresh in the background: a request meets keys that are already there, and
//! waits at most for one fetch that all waiting requests share.

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
use super::introspection::Introspector;
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

/// Why an issuer cannot be used at all: a mistake in the configuration, not an outage.
#[derive(Debug, Error)]
pub enum StartError {
    /// An entry of `algorithms`.
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
    /// A private key is of no use.
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
    /// A client certificate is of no use.
    #[error("`{}` and its key are not a usable PEM client certificate", .path.display())]
    KeyPair {
        /// As configured.
        path: PathBuf,
    },
    /// `issuer` is not usable.
    #[error("`issuer` is not a URL without query")]
    Issuer,
    /// `issuer` or `jwks_uri` is not reached safely.
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

/// What an issuer's tokens must look like.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway: Duration,
    pub(super) tokens: config::Tokens,
}

/// How an issuer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Keys in use.
    pub keys: usize,
    /// When keys last came.
    pub last_success: Option<Timestamp>,
    /// Why the newest attempt failed; `None` after a success.
    pub last_error: Option<Arc<str>>,
    /// Attempts that brought keys.
    pub succeeded: u64,
    /// Attempts that did not.
    pub failed: u64,
}

/// One configured issuer; its keys are fetched until it is dropped.
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
    /// Starts fetching the keys of `config` on `runtime`; `epoch` moves whenever they change. It does not wait: an issuer
    /// that cannot be reached is no error.
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

    /// The scopes its metadata says it knows (RFC 8414 section 2); `None` where it does not say, or was not asked.
    pub fn scopes_supported(&self) -> Option<&[Box<str>]> {
        self.scopes_supported.get().map(|scopes| &**scopes)
    }

    /// Number and age of keys, for readiness and metrics.
    pub fn status(&self) -> Status {
        self.ring.status()
    }

    /// Whether the process can be called ready: keys have come once, or are not waited for.
    pub fn is_ready(&self) -> bool {
        self.on_start == config::OnStart::Serve || self.status().last_success.is_some()
    }

    /// Returns when the first attempt to fetch keys is over, well or not.
    pub async fn settled(&self) {
        self.ring.over(0).await;
    }

    /// What the issuer has revoked since the start.
    pub const fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// What many of its tokens say alike.
    pub(super) const fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// How it is asked about tokens, if it is.
    pub(super) const fn introspector(&self) -> Option<&Introspector> {
        self.introspector.as_ref()
    }

    pub(super) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(super) const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Counts its key sets, from 0 for none yet; whoever verifies a token asks before it looks at the keys.
    pub(super) fn edition(&self) -> u32 {
        self.ring.edition()
    }

    /// The keys that may have signed a token of `kid` and `alg`, waiting for one fetch if the key is not known.
    pub(super) async fn keys(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
        now: Instant,
    ) -> Result<Vec<Arc<Key>>, VerifyError> {
        self.ring.keys(kid, alg, now).await
    }

    /// The same from what is held, without asking the issuer.
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
        asking: Introspector::places(),
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

/// A digest of everything the issuer was started with: `Debug` of the configuration names every field it has.
fn config_digest(config: &config::Issuer, ca: Option<&[u8]>) -> [u8; 32] {
    let mut text = format!("{config:?}").into_bytes();
    text.extend_from_slice(ca.unwrap_or_default());
    // A secret or key that changed in its file must be read again.
    text.extend(config.introspection.iter().flat_map(|asked| client::secrets(&asked.client.auth)));
    digest(&SHA256, &text).as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
