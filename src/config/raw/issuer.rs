//! `[issuers.NAME]`, as written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{ClientKeys, KeyPair, Secret};

type Texts = Option<Spanned<Vec<Spanned<String>>>>;

/// `[issuers.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the file's key, and the name of the thing in RFC 8414")]
pub(in crate::config) struct Issuer {
    pub(in crate::config) issuer: Option<Spanned<String>>,
    pub(in crate::config) profile: Option<Spanned<String>>,
    pub(in crate::config) jwks_uri: Option<Spanned<String>>,
    pub(in crate::config) discovery: Option<Spanned<String>>,
    pub(in crate::config) algorithms: Texts,
    pub(in crate::config) scope_claim: Texts,
    pub(in crate::config) scope_prefixes: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
    pub(in crate::config) client_claim: Texts,
    pub(in crate::config) subject_claim: Texts,
    pub(in crate::config) tenant_claim: Texts,
    pub(in crate::config) clock_skew: Option<Spanned<String>>,
    pub(in crate::config) max_lifetime: Option<Spanned<String>>,
    pub(in crate::config) strict: Option<bool>,
    pub(in crate::config) tenants: Texts,
    pub(in crate::config) audience_claim: Option<Spanned<String>>,
    pub(in crate::config) audience_may_be_client: Option<bool>,
    pub(in crate::config) max_audiences: Option<Spanned<i64>>,
    pub(in crate::config) required_claims: Texts,
    pub(in crate::config) forbidden_claims: Texts,
    pub(in crate::config) jwks: Option<Jwks>,
    pub(in crate::config) introspection: Option<Spanned<Introspection>>,
    pub(in crate::config) revocation_file: Option<Spanned<String>>,
    pub(in crate::config) signals: Option<Spanned<Signals>>,
    pub(in crate::config) ca_file: Option<Spanned<String>>,
    pub(in crate::config) insecure_loopback: Option<Spanned<bool>>,
}

/// `issuers.NAME.jwks`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Jwks {
    pub(in crate::config) cache_ttl: Option<Spanned<String>>,
    pub(in crate::config) min_refresh_interval: Option<Spanned<String>>,
    pub(in crate::config) max_stale: Option<Spanned<String>>,
    pub(in crate::config) deny_kids: Texts,
    pub(in crate::config) on_start: Option<Spanned<String>>,
}

/// `issuers.NAME.introspection`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Introspection {
    pub(in crate::config) endpoint: Option<Spanned<String>>,
    pub(in crate::config) client_id: Option<Spanned<String>>,
    pub(in crate::config) auth_method: Option<Spanned<String>>,
    pub(in crate::config) client_secret: Option<Spanned<Secret>>,
    pub(in crate::config) private_key_file: Option<Spanned<String>>,
    pub(in crate::config) key_id: Option<Spanned<String>>,
    pub(in crate::config) client_certificate: Option<Spanned<KeyPair>>,
    pub(in crate::config) when: Option<Spanned<String>>,
    pub(in crate::config) response: Option<Spanned<String>>,
    pub(in crate::config) cache_ttl: Option<Spanned<String>>,
}

impl Introspection {
    pub(in crate::config) fn client(&self) -> ClientKeys<'_> {
        ClientKeys {
            client_id: self.client_id.as_ref(),
            auth_method: self.auth_method.as_ref(),
            client_secret: self.client_secret.as_ref(),
            private_key_file: self.private_key_file.as_ref(),
            key_id: self.key_id.as_ref(),
            assertion_audience: None,
            client_certificate: self.client_certificate.as_ref(),
        }
    }
}

/// `issuers.NAME.signals`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Signals {
    pub(in crate::config) transmitter: Option<Spanned<String>>,
    pub(in crate::config) jwks_uri: Option<Spanned<String>>,
    pub(in crate::config) audience: Option<Spanned<String>>,
    pub(in crate::config) push_path: Option<Spanned<String>>,
    pub(in crate::config) push_token: Option<Spanned<Secret>>,
    pub(in crate::config) poll_endpoint: Option<Spanned<String>>,
    pub(in crate::config) poll_token: Option<Spanned<Secret>>,
    pub(in crate::config) poll_interval: Option<Spanned<String>>,
    pub(in crate::config) keep: Option<Spanned<String>>,
}
