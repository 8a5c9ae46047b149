//! An authorization server's token endpoint (RFC 6749 section 3.2), where the proxy is a client, and its revocation endpoint
//! (RFC 7009).

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use url::Url;

use super::client::{self, OAuthClient};
use super::exchange::{self, Answer, Exchange, UNDISCOVERED};
use super::reader::{Discovered, Patience, Reader};
use super::{StartError, authorities_in};
use crate::clock::{self, Timestamp};
use crate::config::{self, Discovery};

/// The most bytes of a response; a token may have 16 KiB.
const LIMIT_BYTES: usize = 64 * 1024;
/// How long a discovered endpoint is used before it is discovered again.
const LEARNED_FOR: Duration = Duration::from_hours(1);
/// How long a known endpoint is used after a failed discovery.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// A token endpoint with the proxy's client authentication there.
pub(crate) struct TokenEndpoint {
    exchange: Exchange,
    client: OAuthClient,
    place: Place,
    /// The revocation endpoint, if configured or possibly in the issuer's metadata.
    revocation: Option<Place>,
}

/// A response of any status.
pub(crate) struct Asked {
    pub(crate) status: u16,
    pub(crate) answer: Answer,
}

enum Place {
    Configured(Url),
    Discovered(Learned),
}

/// An endpoint from the issuer's metadata.
struct Learned {
    reader: Arc<Reader>,
    member: &'static str,
    patience: Duration,
    runtime: Handle,
    held: Mutex<Held>,
}

/// The discovered endpoint.
#[derive(Default)]
struct Held {
    learned: Option<(Url, Instant)>,
    /// When discovery last failed.
    failed: Option<Instant>,
}

impl std::fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenEndpoint").field("client", &self.client).finish_non_exhaustive()
    }
}

impl TokenEndpoint {
    /// Reads the proxy's secret or key, without fetching anything yet. Connections run on `runtime`. Errs on a wrong
    /// configuration.
    pub(crate) fn new(config: &config::AuthorizationServer, runtime: &Handle) -> Result<Self, StartError> {
        let patience = Patience::USUAL;
        let ca = authorities_in(config.ca_file.as_ref())?;
        let issuer = config.issuer.as_deref().map(Url::parse).transpose().map_err(|_| StartError::Issuer)?;
        // http is for loopback only, which `transport` checks.
        let known = [issuer.as_ref(), config.token_endpoint.as_ref(), config.revocation_endpoint.as_ref()];
        let known: Vec<&Url> = known.into_iter().flatten().collect();
        let plain = known.iter().any(|url| url.scheme() == "http");
        let identity = client::identity(&config.client.auth)?;
        let exchange = Exchange::new(runtime, plain, &known, ca.as_deref(), identity, patience)?;
        let reader = config.issuer.as_ref();
        let reader = reader.map(|issuer| Reader::new(issuer, Discovery::Auto, plain, None, ca.as_deref(), patience));
        let reader = reader.transpose()?.map(Arc::new);
        let learned = |member| {
            let reader = reader.clone()?;
            let (patience, runtime) = (patience.fetch, runtime.clone());
            Some(Learned { reader, member, patience, runtime, held: Mutex::default() })
        };
        let place = match &config.token_endpoint {
            Some(url) => Place::Configured(url.clone()),
            None => Place::Discovered(learned("token_endpoint").ok_or(StartError::Issuer)?),
        };
        // The audience of assertions is the issuer; older servers expect the URL of the endpoint (RFC 7523 section 3).
        let audience = config.assertion_audience.as_deref().or(config.issuer.as_deref());
        let audience = audience.or(config.token_endpoint.as_ref().map(Url::as_str)).unwrap_or_default();
        let client = OAuthClient::new(&config.client, audience)?;
        let revocation = match &config.revocation_endpoint {
            Some(url) => Some(Place::Configured(url.clone())),
            None => learned("revocation_endpoint").map(Place::Discovered),
        };
        Ok(Self { exchange, client, place, revocation })
    }

    /// The proxy's `client_id`.
    pub(crate) fn client_id(&self) -> &str {
        &self.client.id
    }

    /// Posts these parameters with the proxy's credential. Errs with a fixed phrase if there is no response.
    pub(crate) async fn ask(
        &self,
        parameters: &[(&str, &str)],
        now: Timestamp,
        monotonic: Instant,
    ) -> Result<Asked, &'static str> {
        let url = self.place.url(monotonic).await?;
        let (form, headers) = self.request(parameters, now)?;
        let (status, answer) = self.exchange.post_for_any(&url, form, headers, LIMIT_BYTES).await?;
        Ok(Asked { status, answer })
    }

    /// Revokes a token it issued (RFC 7009 section 2.1); false if there is no revocation endpoint. Errs with a fixed phrase if
    /// the token may still be valid.
    pub(crate) async fn revoke(&self, token: &str, now: Timestamp, monotonic: Instant) -> Result<bool, &'static str> {
        let Some(place) = &self.revocation else { return Ok(false) };
        let Ok(url) = place.url(monotonic).await else { return Ok(false) };
        let (form, headers) = self.request(&[("token", token), ("token_type_hint", "access_token")], now)?;
        match self.exchange.post_for_any(&url, form, headers, LIMIT_BYTES).await? {
            (200, _) => Ok(true),
            _ => Err("another status than 200"),
        }
    }

    fn request(&self, parameters: &[(&str, &str)], now: Timestamp) -> Result<(String, HeaderMap), &'static str> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(parameters);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.client.sign(&mut form, &mut headers, now)?;
        Ok((form.finish(), headers))
    }
}

impl Place {
    async fn url(&self, now: Instant) -> Result<Url, &'static str> {
        match self {
            Self::Configured(url) => Ok(url.clone()),
            Self::Discovered(learned) => learned.url(now).await,
        }
    }
}

impl Learned {
    /// The URL of the endpoint. Concurrent requests share one discovery, and a known endpoint is used while the metadata is not
    /// available.
    async fn url(&self, now: Instant) -> Result<Url, &'static str> {
        let began = clock::monotonic();
        let mut held = self.held.lock().await;
        if let Some((url, until)) = &held.learned
            && now < *until
        {
            return Ok(url.clone());
        }
        if held.failed.is_some_and(|failed| began < failed) {
            return Err(UNDISCOVERED);
        }
        let (reader, member) = (Arc::clone(&self.reader), self.member);
        let asked = async move { reader.discover(member).await };
        let found = exchange::elsewhere(&self.runtime, self.patience, asked).await;
        match (found, &mut held.learned) {
            (Some(Ok(Discovered { location, .. })), learned) => {
                *learned = Some((location.clone(), now + LEARNED_FOR));
                return Ok(location);
            }
            (_, Some((url, until))) => {
                *until = now + ASK_AGAIN;
                return Ok(url.clone());
            }
            (Some(Err(error)), None) => tracing::warn!(%error, "endpoint cannot be discovered"),
            (None, None) => {}
        }
        held.failed = Some(clock::monotonic());
        Err(UNDISCOVERED)
    }
}
