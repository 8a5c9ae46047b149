//! How an issuer's keys are located and fetched.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::header::{CACHE_CONTROL, HeaderMap};
use url::Url;

use super::StartError;
use super::reader::{Discovered, FetchError, Patience, Reader};
use crate::auth::keys::KeySet;
use crate::config;

/// How long a discovered `jwks_uri` is used before it is discovered again.
const LEARNED_FOR: Duration = Duration::from_hours(1);

/// `scopes_supported` (RFC 8414 section 2).
pub(super) type ScopesSupported = Box<[Box<str>]>;

/// A fetched key set.
pub(super) struct Fetched {
    pub(super) set: KeySet,
    /// `max-age` of the response.
    pub(super) max_age: Option<Duration>,
}

/// Fetches the keys of one issuer.
pub(super) struct Fetcher {
    reader: Reader,
    configured: Option<Url>,
    denied: Arc<[String]>,
    /// `jwks_uri` of the issuer's metadata, and when it was read.
    learned: Option<(Url, Instant)>,
    /// `scopes_supported` of the metadata, once read.
    scopes: Arc<OnceLock<ScopesSupported>>,
    patience: Patience,
}

impl Fetcher {
    /// A fetcher for one issuer, with its own HTTP client.
    pub(super) fn new(config: &config::Issuer, ca: Option<&[u8]>, patience: Patience) -> Result<Self, StartError> {
        let configured = config.jwks_uri.clone();
        let plain = config.insecure_loopback;
        let reader = Reader::new(&config.issuer, config.discovery, plain, configured.as_ref(), ca, patience)?;
        let denied = config.deny_kids.clone().into();
        Ok(Self { reader, configured, denied, learned: None, scopes: Arc::default(), patience })
    }

    /// The cell that `scopes_supported` is put into.
    pub(super) fn scopes(&self) -> Arc<OnceLock<ScopesSupported>> {
        Arc::clone(&self.scopes)
    }

    /// Fetches the issuer's current key set.
    pub(super) async fn fetch(&mut self, now: Instant) -> Result<Fetched, FetchError> {
        let patience = self.patience.fetch;
        tokio::time::timeout(patience, self.fetch_at_leisure(now)).await.unwrap_or(Err(FetchError::Slow(patience)))
    }

    async fn fetch_at_leisure(&mut self, now: Instant) -> Result<Fetched, FetchError> {
        let url = match self.configured.clone() {
            Some(url) => url,
            None => self.location(now).await?,
        };
        let result = self.key_set(&url).await;
        if result.is_err() {
            self.learned = None;
        }
        result
    }

    /// The location of the keys by the metadata; a known one while it is fresh, or while the metadata is not available.
    async fn location(&mut self, now: Instant) -> Result<Url, FetchError> {
        if let Some((url, at)) = &self.learned
            && now.saturating_duration_since(*at) < LEARNED_FOR
        {
            return Ok(url.clone());
        }
        match (self.reader.discover("jwks_uri").await, &self.learned) {
            (Ok(Discovered { location, document }), _) => {
                if let Some(known) = document.root().get("scopes_supported") {
                    let known = known.items().filter_map(|scope| scope.as_str()).map(|scope| scope.as_ref().into());
                    let _ = self.scopes.set(known.collect());
                }
                self.learned = Some((location.clone(), now));
                Ok(location)
            }
            (Err(_), Some((url, _))) => Ok(url.clone()),
            (Err(error), None) => Err(error),
        }
    }

    async fn key_set(&self, url: &Url) -> Result<Fetched, FetchError> {
        let (headers, body) = self.reader.get(url).await?;
        let set = KeySet::parse(body).map_err(|source| FetchError::KeySet { url: url.clone(), source })?;
        Ok(Fetched { set: set.without(&self.denied), max_age: max_age(&headers) })
    }
}

/// The smallest `max-age` (RFC 9111 section 5.2.2); zero for a response that must not be stored.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let seconds = fields.flat_map(|field| field.split(',')).filter_map(|directive| {
        let directive = directive.trim().to_ascii_lowercase();
        if directive == "no-store" || directive == "no-cache" {
            return Some(0);
        }
        directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok()
    });
    seconds.min().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{CACHE_CONTROL, HeaderMap, HeaderValue};

    use super::max_age;

    #[test]
    fn reads_max_age() {
        for (fields, expected) in [
            (&["public, max-age=300"][..], Some(300)),
            (&["MAX-AGE=5", "max-age=7"], Some(5)),
            (&["max-age=\"9\""], Some(9)),
            (&["no-store"], Some(0)),
            (&["max-age=-1"], None),
            (&["max-age=x, s-maxage=4"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(CACHE_CONTROL, HeaderValue::from_str(field).unwrap());
            }
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{fields:?}");
        }
    }
}
