//! `[issuers.NAME]`: who issues access tokens, and what they look like.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{KeyPair, SecretSource};

/// One issuer. What its profile says and the file does not is filled in.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Name in the file.
    pub name: Arc<str>,
    /// Exact `iss`.
    pub issuer: Arc<str>,
    /// JWKS location when discovery is not wanted.
    pub jwks_uri: Option<Url>,
    /// Which metadata documents are asked for.
    pub discovery: Discovery,
    /// What its access tokens look like.
    pub tokens: Tokens,
    /// How long a key set is used before it is fetched again when the answer does not say.
    pub cache_ttl: Duration,
    /// Shortest pause between fetches for unknown keys.
    pub min_refresh_interval: Duration,
    /// How long keys serve while the issuer cannot be reached.
    pub max_stale: Duration,
    /// Keys that are refused whatever the issuer publishes, by `kid`.
    pub deny_kids: Vec<String>,
    /// Whether the process is ready only once keys have come.
    pub on_start: OnStart,
    /// Whether and how it is asked about tokens.
    pub introspection: Option<Introspection>,
    /// A list of what is revoked, one entry a line.
    pub revocation_file: Option<PathBuf>,
    /// What it tells of sessions and accounts.
    pub signals: Option<Signals>,
    /// PEM authorities to trust for this issuer besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether plain HTTP on loopback was asked for.
    pub insecure_loopback: bool,
}

/// What an issuer's access tokens look like: the knobs a profile sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Accepted signature algorithms by JOSE name.
    pub algorithms: Vec<String>,
    /// Whether RFC 9068 is required to the letter.
    pub strict: bool,
    /// Tolerance on `exp`, `nbf` and `iat`; at most 300 s.
    pub clock_skew: Duration,
    /// Longest time between issue and expiry, if bounded.
    pub max_lifetime: Option<Duration>,
    /// Claims scopes are read from.
    pub scope_claims: Vec<String>,
    /// Claims read as scopes under a prefix of their own: roles, permissions, groups.
    pub scope_prefixes: Vec<(String, String)>,
    /// Claims that name the client, in order.
    pub client_claims: Vec<String>,
    /// Claims that name the subject, in order.
    pub subject_claims: Vec<String>,
    /// Claims that name the tenant, in order.
    pub tenant_claims: Vec<String>,
    /// Accepted values of the claim that names the tenant; empty accepts any.
    pub tenants: Vec<String>,
    /// A claim that stands in for a missing `aud` (Cognito: `client_id`).
    pub audience_claim: Option<String>,
    /// Whether `aud` may name the client itself (authentik).
    pub audience_may_be_client: bool,
    /// Most audiences of one token, if bounded: each of them could replay it to the others.
    pub max_audiences: Option<usize>,
    /// Claims that must be there.
    pub required_claims: Vec<String>,
    /// Claims that must not.
    pub forbidden_claims: Vec<String>,
}

/// `introspection` (RFC 7662).
#[derive(Clone, Debug)]
pub struct Introspection {
    /// Where to ask.
    pub endpoint: Url,
    /// As whom.
    pub client: OAuthClient,
    /// About which tokens.
    pub when: When,
    /// What an answer must be.
    pub format: AnswerFormat,
    /// How long an answer is believed.
    pub cache_ttl: Duration,
}

/// The proxy's own identity at an authorization server.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    /// `client_id`.
    pub id: String,
    /// How it is shown.
    pub auth: ClientAuthMethod,
}

/// `token_endpoint_auth_method` of `OpenID` Connect Registration.
#[derive(Clone, Debug)]
pub enum ClientAuthMethod {
    /// `client_secret_basic`.
    Basic(SecretSource),
    /// `client_secret_post`.
    Post(SecretSource),
    /// `private_key_jwt` (RFC 7523).
    PrivateKeyJwt {
        /// A PEM private key.
        file: PathBuf,
        /// `kid` of the assertion.
        key_id: Option<String>,
    },
    /// `tls_client_auth` and `self_signed_tls_client_auth` (RFC 8705 section 2).
    Tls(KeyPair),
}

/// `introspection.when`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// About every token, also those that were read and verified.
    Always,
    /// About tokens that cannot be read.
    Opaque,
}

/// `introspection.response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// RFC 7662.
    Json,
    /// RFC 9701, signed.
    Jwt,
}

/// `signals` (`OpenID` Shared Signals Framework).
#[derive(Clone, Debug)]
pub struct Signals {
    /// `iss` of event tokens, where it is not the issuer itself.
    pub transmitter: Option<Arc<str>>,
    /// JWKS location of the transmitter when discovery is not wanted.
    pub jwks_uri: Option<Url>,
    /// `aud` of event tokens.
    pub audience: String,
    /// Path of the public listener where they are pushed to, and the token they come with.
    pub push: Option<(String, SecretSource)>,
    /// Where they are asked for, and the token to ask with.
    pub poll: Option<(Url, Option<SecretSource>)>,
    /// How often to ask.
    pub poll_interval: Duration,
    /// How long a revocation is remembered: the longest life of a token.
    pub keep: Duration,
}

/// `discovery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Whatever is there; where both are, they must agree.
    Auto,
    /// RFC 8414 only.
    OAuth,
    /// `OpenID` Connect Discovery only.
    OpenId,
    /// The configuration of a transmitter of shared signals; not for the file.
    Signals,
}

/// `jwks.on_start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStart {
    /// Ready without this issuer; its callers are told 503 until keys come.
    Serve,
    /// Not ready before its keys have come once.
    Wait,
}
