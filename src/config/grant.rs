//! `upstream_auth` and related keys: how the proxy authenticates to an upstream.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{OAuthClient, SecretSource};

/// `upstream_auth`: the caller's own token is never sent.
#[derive(Clone, Debug)]
pub enum UpstreamAuth {
    /// `Authorization: Basic`.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: SecretSource,
    },
    /// `Authorization: Bearer`.
    Bearer(SecretSource),
    /// `Authorization: Bearer` with a token an authorization server gives out.
    Granted(Box<Grant>),
    /// A header of the upstream's choosing.
    Header {
        /// Field name.
        name: http::HeaderName,
        /// Field value.
        value: SecretSource,
    },
    /// Nothing, or no more than the certificate of the connection.
    None,
}

impl UpstreamAuth {
    /// The word it is chosen by, for metrics and audit.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "basic",
            Self::Bearer(_) => "bearer",
            Self::Granted(grant) => grant.kind.name(),
            Self::Header { .. } => "header",
            Self::None => "none",
        }
    }

    /// Its kind for the audit, and the authorization server it is from; `None` for what shows nothing. `certificate` says
    /// whether the connection shows one.
    pub(crate) fn told(&self, certificate: bool) -> Option<(&'static str, Option<&str>)> {
        match self {
            Self::Granted(grant) => {
                let server = match &grant.kind {
                    GrantKind::IdJag { server, .. } => &**server,
                    _ => &grant.server,
                };
                let endpoint = server.token_endpoint.as_ref().map(Url::as_str);
                Some((self.name(), server.issuer.as_deref().or(endpoint)))
            }
            Self::None => certificate.then_some(("mtls", None)),
            Self::Basic { .. } | Self::Bearer(_) | Self::Header { .. } => Some((self.name(), None)),
        }
    }
}

/// What is asked for at an authorization server.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The grant type.
    pub kind: GrantKind,
    /// Whom to ask; with [`GrantKind::IdJag`] the identity provider.
    pub server: AuthorizationServer,
    /// `audience`.
    pub audiences: Vec<String>,
    /// `resource` (RFC 8707).
    pub resources: Vec<String>,
    /// `scope`.
    pub scopes: Vec<String>,
}

/// How a token for the upstream is come by.
#[derive(Clone, Debug)]
pub enum GrantKind {
    /// In the proxy's own name (RFC 6749 section 4.4).
    ClientCredentials,
    /// In the caller's name, by an assertion of the identity provider (draft-ietf-oauth-identity-assertion-authz-grant).
    IdJag {
        /// `subject_token_type`.
        subject_token_type: String,
        /// The upstream's authorization server.
        server: Box<AuthorizationServer>,
    },
    /// In the caller's name, as Microsoft Entra does it.
    OnBehalfOf,
    /// In the caller's name (RFC 8693).
    TokenExchange {
        /// `subject_token_type`.
        subject_token_type: String,
        /// `requested_token_type`, if it is asked for.
        requested_token_type: Option<String>,
        /// `actor_token`, read anew for every request, and `actor_token_type`.
        actor: Option<(SecretSource, String)>,
    },
}

impl GrantKind {
    /// The word it is chosen by.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::IdJag { .. } => "id_jag",
            Self::OnBehalfOf => "on_behalf_of",
            Self::TokenExchange { .. } => "token_exchange",
        }
    }
}

/// An authorization server and the proxy's identity there.
#[derive(Clone, Debug)]
pub struct AuthorizationServer {
    /// Exact issuer identifier; its metadata names the endpoint where none is written.
    pub issuer: Option<Arc<str>>,
    /// Token endpoint.
    pub token_endpoint: Option<Url>,
    /// Where tokens are given back (RFC 7009), if its metadata is not to be asked.
    pub revocation_endpoint: Option<Url>,
    /// As whom.
    pub client: OAuthClient,
    /// `aud` of client assertions, if it is neither issuer nor endpoint.
    pub assertion_audience: Option<String>,
    /// PEM authorities to trust for it besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// PEM chain, leaf first.
    pub cert_file: PathBuf,
    /// PEM private key.
    pub key_file: PathBuf,
}

/// `identity`: what the upstream is told of the caller, in headers the proxy alone writes.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Field name and the claim it carries.
    pub headers: Vec<(http::HeaderName, String)>,
    /// A signed statement.
    pub jwt: Option<IdentityJwt>,
}

/// `identity.jwt`.
#[derive(Clone, Debug)]
pub struct IdentityJwt {
    /// Field name.
    pub header: http::HeaderName,
    /// PEM private key it is signed with.
    pub key_file: PathBuf,
    /// `aud`.
    pub audience: String,
    /// From `iat` to `exp`.
    pub lifetime: Duration,
    /// Claims of the caller's token that are repeated.
    pub claims: Vec<String>,
}
