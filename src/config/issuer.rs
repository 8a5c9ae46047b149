//! `[issuers.NAME]`: who issues access tokens, and what they look like.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

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

/// `discovery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Whatever is there; where both are, they must agree.
    Auto,
    /// RFC 8414 only.
    OAuth,
    /// `OpenID` Connect Discovery only.
    OpenId,
}

/// `jwks.on_start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStart {
    /// Ready without this issuer; its callers are told 503 until keys come.
    Serve,
    /// Not ready before its keys have come once.
    Wait,
}
