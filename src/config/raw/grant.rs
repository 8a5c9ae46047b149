//! `[servers.NAME.upstream_auth]` and what belongs to it, as written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::Secret;

type Texts = Option<Spanned<Vec<Spanned<String>>>>;

/// `servers.NAME.upstream_auth`, and an entry of `servers.NAME.tool_auth`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamAuth {
    pub(in crate::config) r#type: Option<Spanned<String>>,
    pub(in crate::config) username: Option<Spanned<String>>,
    pub(in crate::config) password: Option<Spanned<Secret>>,
    pub(in crate::config) token: Option<Spanned<Secret>>,
    pub(in crate::config) name: Option<Spanned<String>>,
    pub(in crate::config) value: Option<Spanned<Secret>>,
    pub(in crate::config) issuer: Option<Spanned<String>>,
    pub(in crate::config) token_endpoint: Option<Spanned<String>>,
    pub(in crate::config) revocation_endpoint: Option<Spanned<String>>,
    pub(in crate::config) client_id: Option<Spanned<String>>,
    pub(in crate::config) auth_method: Option<Spanned<String>>,
    pub(in crate::config) client_secret: Option<Spanned<Secret>>,
    pub(in crate::config) private_key_file: Option<Spanned<String>>,
    pub(in crate::config) key_id: Option<Spanned<String>>,
    pub(in crate::config) assertion_audience: Option<Spanned<String>>,
    pub(in crate::config) client_certificate: Option<Spanned<KeyPair>>,
    pub(in crate::config) ca_file: Option<Spanned<String>>,
    pub(in crate::config) audience: Texts,
    pub(in crate::config) resource: Texts,
    pub(in crate::config) scopes: Texts,
    pub(in crate::config) subject_token_type: Option<Spanned<String>>,
    pub(in crate::config) requested_token_type: Option<Spanned<String>>,
    pub(in crate::config) actor_token: Option<Spanned<Secret>>,
    pub(in crate::config) actor_token_type: Option<Spanned<String>>,
    pub(in crate::config) authorization_server: Option<Spanned<AuthorizationServer>>,
}

/// `upstream_auth.authorization_server`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AuthorizationServer {
    pub(in crate::config) issuer: Option<Spanned<String>>,
    pub(in crate::config) token_endpoint: Option<Spanned<String>>,
    pub(in crate::config) revocation_endpoint: Option<Spanned<String>>,
    pub(in crate::config) client_id: Option<Spanned<String>>,
    pub(in crate::config) auth_method: Option<Spanned<String>>,
    pub(in crate::config) client_secret: Option<Spanned<Secret>>,
    pub(in crate::config) private_key_file: Option<Spanned<String>>,
    pub(in crate::config) key_id: Option<Spanned<String>>,
    pub(in crate::config) assertion_audience: Option<Spanned<String>>,
    pub(in crate::config) client_certificate: Option<Spanned<KeyPair>>,
    pub(in crate::config) ca_file: Option<Spanned<String>>,
}

/// The keys both have: an authorization server, and the proxy's identity there.
pub(in crate::config) struct ServerKeys<'a> {
    pub(in crate::config) issuer: Option<&'a Spanned<String>>,
    pub(in crate::config) token_endpoint: Option<&'a Spanned<String>>,
    pub(in crate::config) revocation_endpoint: Option<&'a Spanned<String>>,
    pub(in crate::config) client: ClientKeys<'a>,
    pub(in crate::config) ca_file: Option<&'a Spanned<String>>,
}

/// Who the proxy is at a server it asks, and how it shows that.
pub(in crate::config) struct ClientKeys<'a> {
    pub(in crate::config) client_id: Option<&'a Spanned<String>>,
    pub(in crate::config) auth_method: Option<&'a Spanned<String>>,
    pub(in crate::config) client_secret: Option<&'a Spanned<Secret>>,
    pub(in crate::config) private_key_file: Option<&'a Spanned<String>>,
    pub(in crate::config) key_id: Option<&'a Spanned<String>>,
    pub(in crate::config) assertion_audience: Option<&'a Spanned<String>>,
    pub(in crate::config) client_certificate: Option<&'a Spanned<KeyPair>>,
}

/// Both tables spell the keys out, as serde refuses unknown keys only in a table that is whole.
macro_rules! server_keys {
    ($table:ident) => {
        impl $table {
            pub(in crate::config) fn server(&self) -> ServerKeys<'_> {
                ServerKeys {
                    issuer: self.issuer.as_ref(),
                    token_endpoint: self.token_endpoint.as_ref(),
                    revocation_endpoint: self.revocation_endpoint.as_ref(),
                    client: ClientKeys {
                        client_id: self.client_id.as_ref(),
                        auth_method: self.auth_method.as_ref(),
                        client_secret: self.client_secret.as_ref(),
                        private_key_file: self.private_key_file.as_ref(),
                        key_id: self.key_id.as_ref(),
                        assertion_audience: self.assertion_audience.as_ref(),
                        client_certificate: self.client_certificate.as_ref(),
                    },
                    ca_file: self.ca_file.as_ref(),
                }
            }
        }
    };
}

server_keys!(AuthorizationServer);
server_keys!(UpstreamAuth);

/// A certificate and its key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct KeyPair {
    pub(in crate::config) cert_file: Option<Spanned<String>>,
    pub(in crate::config) key_file: Option<Spanned<String>>,
}

/// `servers.NAME.identity`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Identity {
    pub(in crate::config) headers: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
    pub(in crate::config) jwt: Option<Spanned<IdentityJwt>>,
}

/// `servers.NAME.identity.jwt`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct IdentityJwt {
    pub(in crate::config) header: Option<Spanned<String>>,
    pub(in crate::config) key_file: Option<Spanned<String>>,
    pub(in crate::config) audience: Option<Spanned<String>>,
    pub(in crate::config) lifetime: Option<Spanned<String>>,
    pub(in crate::config) claims: Texts,
}
