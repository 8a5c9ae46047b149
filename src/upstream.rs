//! The client side toward a protected server: its endpoints, connections, credentials and answers.
//!
//! A [`Backend`] is what is behind one protected server; it chooses an endpoint, and lets no more calls through than that can
//! take. An [`Upstream`] is one such endpoint, parsed once. A [`Pool`] belongs to one worker thread and keeps its idle
//! connections; a request sent on one, in `http1` or `http2`, becomes an [`Answer`] whose body holds the connection until it
//! has ended. Addresses come only from the configuration, redirects are never followed, and nothing that may have been sent
//! is sent twice.

mod answer;
mod backend;
mod breaker;
mod catalog;
mod connect;
pub mod credential;
mod credentials;
mod deadline;
mod error;
mod fields;
mod gate;
mod grant;
mod http1;
mod http2;
mod identity;
mod lines;
mod listing;
mod losses;
mod outbound;
mod paced;
mod pool;
mod replica;
mod request;
mod send;
mod source;
mod sse;
mod standing;
mod stdio;
mod survey;
mod switchboard;
mod transport;
mod visit;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use http::{HeaderValue, Uri};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::config;

pub use answer::{Answer, AnswerBody};
pub use backend::{Backend, Backends};
pub(crate) use breaker::Phase;
pub(crate) use catalog::Asking;
pub use catalog::{Catalog, CatalogError, Offer};
pub use credential::Credential;
pub(crate) use credentials::Calling;
pub use credentials::{Credentials, CredentialsError};
pub use error::{BuildError, UpstreamError};
pub use fields::Fields;
pub use gate::Busy;
pub use grant::{Broker, GrantError, Grants};

pub use http1::Broken;
pub use identity::Identity;
pub(crate) use listing::whole_or_streamed;
pub use outbound::{Outbound, outbound};
pub(crate) use outbound::{Passenger, Within, ending, in_era, listening, refusal};
pub use pool::Pool;
pub(crate) use send::send;
pub use sse::EndpointError;
pub(crate) use standing::Standing;
pub(crate) use stdio::END_NOW;
pub(crate) use survey::survey;
pub(crate) use visit::{Stay, Visit};

/// One endpoint of a configured upstream: its address, TLS settings and timeouts. Immutable and shared by all workers.
#[derive(Clone, Debug)]
pub struct Upstream {
    authority: HeaderValue,
    /// Scheme, host and port; sealed values are bound to it.
    origin: Box<str>,
    host: String,
    id: UpstreamId,
    port: u16,
    protocol: Protocol,
    timeouts: config::Timeouts,
    /// How the head of an HTTP/1.1 request goes on behind its method, up to the value of `Host`.
    target_and_host: Box<[u8]>,
    tls: Option<Tls>,
    uri: Uri,
    url: Url,
}

/// SHA-256 over an upstream's effective configuration; connections are shared only between upstreams with equal ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId([u8; 32]);

/// The HTTP version used toward an upstream; set in the configuration, never negotiated down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({:?})", self.name)
    }
}

impl Upstream {
    /// Parses the endpoint `url` of `server` and reads the certificate files that it names; no connection is made.
    ///
    /// Errs if the URL's scheme is neither `http` nor `https`, the URL has no usable host, or a file is unreadable or is
    /// not the PEM that it should be.
    pub fn new(server: &config::Server, url: &Url) -> Result<Arc<Self>, BuildError> {
        let encrypted = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(BuildError::Scheme(url.scheme().to_owned())),
        };
        let host = url.host().ok_or(BuildError::Authority)?;
        let port = url.port_or_known_default().ok_or(BuildError::Authority)?;
        let authority = authority(url).ok_or(BuildError::Authority)?;
        let protocol = if server.upstream_http2 { Protocol::Http2 } else { Protocol::Http1 };
        let authorities = server.upstream_ca_file.as_deref().map(read_authorities).transpose()?;
        let own = server.upstream_client_certificate.as_ref().map(certificate).transpose()?;
        let tls = if encrypted {
            let name = server_name(&host).ok_or(BuildError::Authority)?;
            Some(Tls {
                connector: tls_connector(authorities.as_deref(), own.as_deref().map(Vec::as_slice), protocol)?,
                name,
            })
        } else {
            None
        };
        let uri = target(url, protocol, &authority).ok_or(BuildError::Authority)?;
        let target_and_host = target_and_host(&uri, &authority);
        Ok(Arc::new(Self {
            authority,
            origin: url.origin().ascii_serialization().into(),
            host: lookup_name(&host),
            id: UpstreamId::of(
                server,
                url,
                authorities.as_deref().unwrap_or_default(),
                own.as_deref().map(Vec::as_slice),
            ),
            port,
            protocol,
            timeouts: server.timeouts.clone(),
            target_and_host,
            tls,
            uri,
            url: url.clone(),
        }))
    }

    /// The value of `Host`, or of `:authority`.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The key under which connections are pooled; it changes with any setting of this upstream.
    pub fn id(&self) -> UpstreamId {
        self.id
    }

    /// Connects, with TLS for `https`, and closes the connection; errs if that does not succeed within the connect timeout.
    pub async fn reach(&self) -> Result<(), UpstreamError> {
        connect::reach(self).await
    }

    /// The timeouts toward this upstream.
    pub fn timeouts(&self) -> &config::Timeouts {
        &self.timeouts
    }

    /// The configured URL.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The same upstream with another URL of the same origin, which shares this one's connections.
    fn at(&self, url: &Url) -> Option<Arc<Self>> {
        let uri = target(url, self.protocol, &self.authority)?;
        let target_and_host = target_and_host(&uri, &self.authority);
        Some(Arc::new(Self { target_and_host, uri, url: url.clone(), ..self.clone() }))
    }
}

impl UpstreamId {
    fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(server: &config::Server, url: &Url, authorities: &[u8], own: Option<&[u8]>) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(server.name.as_bytes());
        part(url.as_str().as_bytes());
        part(authorities);
        // A client certificate that was replaced is used on new connections.
        part(own.unwrap_or_default());
        part(&[u8::from(server.upstream_ca_file.is_some()), u8::from(server.upstream_http2)]);
        // `Debug` prints secrets masked; the server's name keeps servers with different secrets apart.
        part(format!("{:?}", server.upstream_auth).as_bytes());
        part(format!("{:?}", server.timeouts).as_bytes());
        let mut id = [0; 32];
        id.copy_from_slice(hash.finish().as_ref());
        Self(id)
    }
}

/// The authority, as `host` or `host:port`; the scheme's default port is left out (RFC 9110 section 7.2).
fn authority(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    match url.port() {
        Some(port) => HeaderValue::from_maybe_shared(bytes::Bytes::from(format!("{host}:{port}"))).ok(),
        None => HeaderValue::from_maybe_shared(bytes::Bytes::from(host.to_owned())).ok(),
    }
}

/// The request target: origin form for HTTP/1.1 (RFC 9112 section 3.2.1), an absolute URI for HTTP/2, whose
/// pseudo-headers are made of its parts.
fn target(url: &Url, protocol: Protocol, authority: &HeaderValue) -> Option<Uri> {
    let mut path = url.path().to_owned();
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    match protocol {
        Protocol::Http1 => Uri::try_from(path).ok(),
        Protocol::Http2 => Uri::try_from(format!("{}://{}{path}", url.scheme(), authority.to_str().ok()?)).ok(),
    }
}

/// The target, the version and `Host`, which comes first of all header fields (RFC 9110 section 7.2).
fn target_and_host(uri: &Uri, authority: &HeaderValue) -> Box<[u8]> {
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    [b" ", target.as_bytes(), b" HTTP/1.1\r\nhost: ", authority.as_bytes()].concat().into()
}

/// The host in the form that a resolver takes: an IPv6 address without brackets.
fn lookup_name(host: &Host<&str>) -> String {
    match host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

fn server_name(host: &Host<&str>) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => ServerName::try_from((*name).to_owned()).ok(),
        Host::Ipv4(address) => Some(ServerName::from(IpAddr::V4(*address))),
        Host::Ipv6(address) => Some(ServerName::from(IpAddr::V6(*address))),
    }
}

fn certificate(files: &config::KeyPair) -> Result<zeroize::Zeroizing<Vec<u8>>, BuildError> {
    crate::auth::certificate(files).map_err(|_| BuildError::ClientCertificate)
}

fn read_authorities(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::CaFile { path: path.to_owned(), source })
}

/// A TLS client that trusts the system's root certificates and those of the PEM text `authorities`, and that presents the
/// certificate chain of `own`, PEM with its key, if the server asks for one.
fn tls_connector(
    authorities: Option<&[u8]>,
    own: Option<&[u8]>,
    protocol: Protocol,
) -> Result<TlsConnector, BuildError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier(authorities, provider)?);
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some(pem) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| BuildError::ClientCertificate)?;
            let chain = chain.map_err(|_| BuildError::ClientCertificate)?;
            config.with_client_auth_cert(chain, key).map_err(|_| BuildError::ClientCertificate)?
        }
    };
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A TLS client that presents no certificate, trusting the authorities of the PEM file `ca_file` besides the system's.
pub(crate) fn tls_client(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, BuildError> {
    let authorities = ca_file.map(read_authorities).transpose()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier(authorities.as_deref(), provider)?);
    Ok(config.with_no_client_auth())
}

fn verifier(
    authorities: Option<&[u8]>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, BuildError> {
    let Some(pem) = authorities else {
        return Ok(Arc::new(rustls_platform_verifier::Verifier::new(provider)?));
    };
    let roots: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| BuildError::NoCertificate)?;
    if roots.is_empty() {
        return Err(BuildError::NoCertificate);
    }
    Ok(Arc::new(rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider)?))
}

impl Protocol {
    /// The ALPN protocol id (RFC 7301 section 6; RFC 9113 section 3.2).
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

#[cfg(test)]
mod tests;
