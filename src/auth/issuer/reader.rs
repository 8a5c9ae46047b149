//! Reads the metadata and keys an issuer publishes: discovery, transport rules, limits of size and time.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_ENCODING, HeaderMap};
use reqwest::{Certificate, Client, Identity, StatusCode};
use thiserror::Error;
use url::{Host, Url};

use super::StartError;
use super::address::{Guarded, is_public};
use crate::auth::keys::{KeySetError, LIMIT_BYTES};
use crate::config::Discovery;
use crate::json::{self, Document};
use crate::tls_fault::TlsFault;

/// Timeouts: for connecting, for one request, and for a whole fetch with discovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    pub(super) request: Duration,
    pub(super) fetch: Duration,
}

impl Patience {
    pub(super) const USUAL: Self =
        Self { connect: Duration::from_secs(2), request: Duration::from_secs(5), fetch: Duration::from_secs(10) };
}

/// Why a fetch failed.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("{url} answers in a content coding nobody asked for")]
    Coding { url: Url },
    #[error("{url} names another `{member}` than the issuer's other metadata document")]
    Disagree { url: Url, member: &'static str },
    #[error("{url} cannot be fetched: {reason}")]
    Http { url: Url, reason: String },
    #[error("{url} names issuer `{found}`, not `{expected}`")]
    Issuer { url: Url, expected: Arc<str>, found: String },
    #[error("{url} is not strict JSON: {source}")]
    Json { url: Url, source: json::Error },
    #[error("{url}: {source}")]
    KeySet { url: Url, source: KeySetError },
    #[error("`{member}` of {url} is refused: {reason}")]
    Location { url: Url, member: &'static str, reason: &'static str },
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("{url} answers {status}")]
    Status { url: Url, status: StatusCode },
    #[error("{url} answers with more than 256 KiB")]
    TooLong { url: Url },
}

/// Reads the documents of one issuer.
pub(super) struct Reader {
    client: Client,
    issuer: Arc<str>,
    base: Url,
    discovery: Discovery,
    plain: bool,
}

/// A location in the metadata, and the document it is from.
pub(super) struct Discovered {
    pub(super) location: Url,
    pub(super) document: Document,
}

impl Reader {
    /// A reader with its own HTTP client; `plain` allows http on loopback, and `configured` may be at any address.
    pub(super) fn new(
        issuer: &Arc<str>,
        discovery: Discovery,
        plain: bool,
        configured: Option<&Url>,
        ca: Option<&[u8]>,
        patience: Patience,
    ) -> Result<Self, StartError> {
        let base = Url::parse(issuer).map_err(|_| StartError::Issuer)?;
        if base.query().is_some() {
            return Err(StartError::Issuer);
        }
        for url in [Some(&base), configured].into_iter().flatten() {
            transport(url, plain).map_err(|reason| StartError::Location { url: url.clone(), reason })?;
        }
        let hosts = [Some(&base), configured].into_iter().flatten();
        let configured = hosts.filter_map(|url| url.host_str().map(str::to_owned)).collect();
        let client = client(configured, ca, None, base.scheme() == "http", patience)?;
        Ok(Self { client, issuer: Arc::clone(issuer), base, discovery, plain })
    }

    /// The location `member` in the first available metadata document that names the issuer, in the order of MCP 2026-07-28
    /// (Authorization, "Authorization Server Metadata Discovery"). Errs if there is none, or another document disagrees.
    pub(super) async fn discover(&self, member: &'static str) -> Result<Discovered, FetchError> {
        let (mut first_error, mut found) = (None, None::<Discovered>);
        for url in candidates(&self.base, self.discovery) {
            match (self.metadata(&url, member).await, &found) {
                (Ok(discovered), None) => found = Some(discovered),
                (Ok(other), Some(first)) if other.location != first.location => {
                    return Err(FetchError::Disagree { url, member });
                }
                // The error of a document that exists is more useful than that of a missing one.
                (Err(error), None) if first_error.as_ref().is_none_or(is_missing) => first_error = Some(error),
                (Ok(_) | Err(_), _) => {}
            }
        }
        let nowhere = || FetchError::Location { url: self.base.clone(), member, reason: "no metadata location" };
        found.ok_or_else(|| first_error.unwrap_or_else(nowhere))
    }

    async fn metadata(&self, url: &Url, member: &'static str) -> Result<Discovered, FetchError> {
        let document = self.document(url).await?;
        let refused = |reason| FetchError::Location { url: url.clone(), member, reason };
        let location = document.root().get(member).and_then(|value| value.as_str());
        let location = Url::parse(&location.ok_or_else(|| refused("it is missing"))?);
        let location = location.map_err(|_| refused("it is not a URL"))?;
        self.learnable(&location).map_err(refused)?;
        Ok(Discovered { location, document })
    }

    /// Fetches a metadata document. Errs if it is not this issuer's.
    async fn document(&self, url: &Url) -> Result<Document, FetchError> {
        let (_, body) = self.get(url).await?;
        let document = Document::parse(body, &json::Limits { depth: 16, members: 4096 })
            .map_err(|source| FetchError::Json { url: url.clone(), source })?;
        let issuer = document.root().get("issuer").and_then(|value| value.as_str()).unwrap_or_default();
        // RFC 8414 section 3.3: identical, or the document must not be used.
        if *issuer != *self.issuer {
            let found = issuer.chars().take(200).flat_map(char::escape_debug).collect();
            return Err(FetchError::Issuer { url: url.clone(), expected: Arc::clone(&self.issuer), found });
        }
        drop(issuer);
        Ok(document)
    }

    /// Checks a location from a document: it must be on the issuer's host, or on port 443 of a public host. Host names are
    /// checked by [`Guarded`] when connecting; literal addresses, which are never resolved, here.
    fn learnable(&self, url: &Url) -> Result<(), &'static str> {
        transport(url, self.plain)?;
        if url.host() == self.base.host() {
            return Ok(());
        }
        if url.scheme() != "https" || url.port_or_known_default() != Some(443) {
            return Err("it is on another host than the issuer and not on its https port");
        }
        match url.host() {
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(address)) if is_public(address.into()) => Ok(()),
            Some(Host::Ipv6(address)) if is_public(address.into()) => Ok(()),
            _ => Err("it is not on the issuer's host and not a public address"),
        }
    }

    /// Fetches a document; its size is limited while reading. Errs on any status but 200.
    pub(super) async fn get(&self, url: &Url) -> Result<(HeaderMap, Bytes), FetchError> {
        let failed = |error| FetchError::Http { url: url.clone(), reason: reason(error, "ca_file") };
        let mut response =
            self.client.get(url.clone()).header(ACCEPT, "application/json").send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { url: url.clone(), status: response.status() });
        }
        if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(FetchError::Coding { url: url.clone() });
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LIMIT_BYTES {
                return Err(FetchError::TooLong { url: url.clone() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((std::mem::take(response.headers_mut()), body.freeze()))
    }
}

/// An HTTP client for hosts in the configuration and public ones: no redirects, no cookies, no decompression, no system proxy.
/// `identity` is its client certificate; `plain` is for issuers without TLS.
pub(super) fn client(
    configured: Arc<[String]>,
    ca: Option<&[u8]>,
    identity: Option<Identity>,
    plain: bool,
    patience: Patience,
) -> Result<Client, StartError> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .pool_max_idle_per_host(0)
        .connect_timeout(patience.connect)
        .timeout(patience.request)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Guarded { configured });
    if let Some(pem) = ca {
        let authorities = Certificate::from_pem_bundle(pem).map_err(|_| StartError::CaFile)?;
        if authorities.is_empty() {
            return Err(StartError::CaFile);
        }
        builder = builder.tls_certs_merge(authorities);
    } else if plain {
        // A container without system authorities can still use a loopback issuer.
        builder = builder.tls_certs_only([]);
    }
    if let Some(identity) = identity {
        builder = builder.identity(identity);
    }
    builder.build().map_err(StartError::Client)
}

/// The error with its causes, as the outermost one only says that a request failed. `ca` is the setting for authorities, for
/// the help text.
pub(super) fn reason(error: reqwest::Error, ca: &str) -> String {
    let error = error.without_url();
    if let Some(fault) = TlsFault::of(&error) {
        return format!("{fault}; {}", fault.remedy(ca));
    }
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

const fn is_missing(error: &FetchError) -> bool {
    matches!(error, FetchError::Status { status: StatusCode::NOT_FOUND, .. })
}

/// Checks that a URL is https, or with `plain` http to a loopback host, without user information and fragment.
pub(super) fn transport(url: &Url, plain: bool) -> Result<(), &'static str> {
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("it has user information or a fragment");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if plain && is_loopback(url) => Ok(()),
        "http" => Err("plain http is only for loopback hosts, with `insecure_loopback = true`"),
        _ => Err("it is not https"),
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The metadata locations: RFC 8414 section 3.1 (inserted before the path), `OpenID` Connect Discovery, inserted likewise and
/// appended.
pub(super) fn candidates(issuer: &Url, discovery: Discovery) -> Vec<Url> {
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let path = issuer.path().strip_suffix('/').unwrap_or(issuer.path());
    if discovery == Discovery::Signals {
        // OpenID Shared Signals Framework 1.0, "obtaining transmitter configuration metadata".
        let mut url = issuer.clone();
        url.set_path(&format!("/.well-known/ssf-configuration{path}"));
        return vec![url];
    }
    let mut paths = Vec::with_capacity(3);
    if discovery != Discovery::OpenId {
        paths.push(format!("{OAUTH}{path}"));
    }
    if discovery != Discovery::OAuth {
        paths.push(format!("{OPENID}{path}"));
        if !path.is_empty() {
            paths.push(format!("{path}{OPENID}"));
        }
    }
    paths
        .into_iter()
        .map(|path| {
            let mut url = issuer.clone();
            url.set_path(&path);
            url
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Patience, Reader, candidates, transport};
    use crate::config::Discovery;

    #[test]
    fn discovers_in_the_order_clients_do() {
        for (issuer, expected) in [
            (
                "https://h",
                &["https://h/.well-known/oauth-authorization-server", "https://h/.well-known/openid-configuration"][..],
            ),
            (
                "https://h/",
                &["https://h/.well-known/oauth-authorization-server", "https://h/.well-known/openid-configuration"],
            ),
            (
                "https://h:8443/realms/acme",
                &[
                    "https://h:8443/.well-known/oauth-authorization-server/realms/acme",
                    "https://h:8443/.well-known/openid-configuration/realms/acme",
                    "https://h:8443/realms/acme/.well-known/openid-configuration",
                ],
            ),
            (
                "https://h/t/v2.0/",
                &[
                    "https://h/.well-known/oauth-authorization-server/t/v2.0",
                    "https://h/.well-known/openid-configuration/t/v2.0",
                    "https://h/t/v2.0/.well-known/openid-configuration",
                ],
            ),
        ] {
            let found: Vec<_> =
                candidates(&Url::parse(issuer).unwrap(), Discovery::Auto).into_iter().map(String::from).collect();
            assert_eq!(found, expected, "{issuer}");
        }
    }

    #[test]
    fn plain_http_needs_loopback_and_consent() {
        for (url, plain, ok) in [
            ("https://h/keys", false, true),
            ("http://127.0.0.1:9/keys", true, true),
            ("http://[::1]:9/keys", true, true),
            ("http://localhost:9/keys", true, true),
            ("http://localhost:9/keys", false, false),
            ("http://h/keys", true, false),
            ("http://10.0.0.1/keys", true, false),
            ("http://127.0.0.1.nip.io/keys", true, false),
            ("ftp://h/keys", true, false),
            ("file:///etc/passwd", true, false),
            ("https://user@h/keys", true, false),
            ("https://h/keys#x", true, false),
        ] {
            assert_eq!(transport(&Url::parse(url).unwrap(), plain).is_ok(), ok, "{url}");
        }
    }

    #[test]
    fn a_learned_location_is_on_the_issuers_host_or_public() {
        let issuer = "https://login.example.com/realms/acme".into();
        let ca = Some(crate::auth::tests::support::CA.as_bytes());
        let reader = Reader::new(&issuer, Discovery::Auto, false, None, ca, Patience::USUAL).unwrap();
        for (url, ok) in [
            ("https://login.example.com/keys", true),
            ("https://login.example.com:8443/keys", true),
            ("https://www.googleapis.com/oauth2/v3/certs", true),
            ("https://8.8.8.8/keys", true),
            ("https://www.googleapis.com:8443/keys", false),
            ("http://login.example.com/keys", false),
            ("http://127.0.0.1/keys", false),
            ("https://127.0.0.1/keys", false),
            ("https://169.254.169.254/latest/meta-data", false),
            ("https://2130706433/keys", false),
            ("https://0x7f.1/keys", false),
            ("https://[::1]/keys", false),
            ("https://[::ffff:127.0.0.1]/keys", false),
            ("https://[64:ff9b::7f00:1]/keys", false),
            ("https://[fd00::1]/keys", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(reader.learnable(&Url::parse(url).unwrap()).is_ok(), ok, "{url}");
        }
    }
}
