//! Types of `upstream_auth` that request tokens from an authorization server.

use std::ops::Range;
use toml::Spanned;

use super::super::{AuthorizationServer, ClientAuthMethod, Grant, GrantKind, KeyPair, OAuthClient, raw};
use super::Loader;
use super::upstream_auth::Type;

/// RFC 8693 section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// `auth_method`, by its name in `OpenID` Connect Registration and RFC 8705.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Basic,
    Post,
    PrivateKeyJwt,
    Tls,
}

impl Loader<'_> {
    pub(super) fn grant(&mut self, kind: Type, span: &Range<usize>, raw: &raw::UpstreamAuth) -> Option<Grant> {
        let server = self.authorization_server("upstream_auth", span, &raw.server());
        let audiences = raw.audience.as_ref().map(|written| self.texts("audience", written)).unwrap_or_default();
        let resources = raw.resource.as_ref().map(|written| self.targets(written)).unwrap_or_default();
        let scopes = raw.scopes.as_ref().map(|written| self.granted_scopes(written)).unwrap_or_default();
        let subject_token_type =
            self.token_type("subject_token_type", raw.subject_token_type.as_ref()).unwrap_or(ACCESS_TOKEN.to_owned());
        let kind = match kind {
            Type::OnBehalfOf => {
                if raw.scopes.is_none() {
                    self.missing_here(span, "scopes", "[\"api://crm/.default\"]");
                }
                GrantKind::OnBehalfOf
            }
            Type::TokenExchange => {
                if audiences.is_empty() && resources.is_empty() && scopes.is_empty() {
                    let message = "the exchanged token would be for nobody in particular";
                    let problem = self.error(span.clone(), message, "needs `audience`, `resource` or `scopes`");
                    self.report(problem.help("say whom the token is for, for example `audience = \"crm-api\"`"));
                }
                let requested_token_type = self.token_type("requested_token_type", raw.requested_token_type.as_ref());
                GrantKind::TokenExchange { subject_token_type, requested_token_type, actor: self.actor(raw) }
            }
            Type::IdJag => {
                let below = raw.authorization_server.as_ref();
                if below.is_none() {
                    self.missing_here(span, "authorization_server", "{ issuer = \"https://auth.example.com\", … }");
                }
                if raw.resource.is_none() {
                    self.missing_here(span, "resource", "\"https://crm.example.com/mcp\"");
                }
                let below = below?;
                let keys = below.get_ref().server();
                if keys.issuer.is_none() && raw.audience.is_none() {
                    let message = "`authorization_server` has no `issuer`";
                    let problem = self.error(below.span(), message, "whom is the assertion for?");
                    self.report(problem.help("the identity provider writes it into the assertion as `aud`"));
                }
                let server = self.authorization_server("authorization_server", &below.span(), &keys)?;
                GrantKind::IdJag { subject_token_type, server: Box::new(server) }
            }
            _ => GrantKind::ClientCredentials,
        };
        Some(Grant { kind, server: server?, audiences, resources, scopes })
    }

    /// Both or neither (RFC 8693 section 2.1).
    fn actor(&mut self, raw: &raw::UpstreamAuth) -> Option<(super::super::SecretSource, String)> {
        let kind = self.token_type("actor_token_type", raw.actor_token_type.as_ref());
        let Some(token) = &raw.actor_token else {
            if let Some(written) = &raw.actor_token_type {
                let problem = self.error(written.span(), "`actor_token_type` has no effect", "there is no actor");
                self.report(problem.help("add `actor_token = { file = \"…\" }`, or take it out"));
            }
            return None;
        };
        Some((self.secret("actor_token", token)?, kind.unwrap_or(JWT.to_owned())))
    }

    fn authorization_server(
        &mut self,
        table: &str,
        span: &Range<usize>,
        keys: &raw::ServerKeys<'_>,
    ) -> Option<AuthorizationServer> {
        let issuer = keys.issuer.and_then(|written| {
            let url = self.endpoint("issuer", written)?;
            if url.query().is_some() {
                let problem = self.error(written.span(), "`issuer` must not have a query", "an issuer has none");
                self.report(problem);
            }
            Some(written.get_ref().as_str().into())
        });
        let token_endpoint = keys.token_endpoint.and_then(|written| self.endpoint("token_endpoint", written));
        let revocation_endpoint =
            keys.revocation_endpoint.and_then(|written| self.endpoint("revocation_endpoint", written));
        if keys.issuer.is_none() && keys.token_endpoint.is_none() {
            let message = format!("`{table}` names nobody to ask");
            let problem = self.error(span.clone(), message, "needs `issuer` or `token_endpoint`");
            self.report(problem.help("with `issuer` the token endpoint is read from its metadata"));
        }
        let client = self.client(table, span, &keys.client);
        let assertion_audience =
            keys.client.assertion_audience.map(|written| self.text("assertion_audience", written, 1024));
        let ca_file = keys.ca_file.map(|written| self.certificates("ca_file", written));
        Some(AuthorizationServer {
            issuer,
            token_endpoint,
            revocation_endpoint,
            client: client?,
            assertion_audience,
            ca_file,
        })
    }

    /// The proxy as a client of a server it asks.
    pub(super) fn client(
        &mut self,
        table: &str,
        span: &Range<usize>,
        keys: &raw::ClientKeys<'_>,
    ) -> Option<OAuthClient> {
        let id = self.there(table, span, "client_id", keys.client_id);
        let id = id.map(|written| self.text("client_id", written, 256));
        let methods = [
            ("client_secret_basic", Method::Basic),
            ("client_secret_post", Method::Post),
            ("private_key_jwt", Method::PrivateKeyJwt),
            ("self_signed_tls_client_auth", Method::Tls),
            ("tls_client_auth", Method::Tls),
        ];
        let method = match self.choice("auth_method", keys.auth_method, &methods, &[]) {
            Some(method) => method,
            None if keys.private_key_file.is_some() => Method::PrivateKeyJwt,
            None if keys.client_certificate.is_some() => Method::Tls,
            None => Method::Basic,
        };
        self.belonging(method, keys);
        let auth = match method {
            Method::Basic | Method::Post => {
                let secret = self.there(table, span, "client_secret", keys.client_secret)?;
                let secret = self.secret("client_secret", secret)?;
                if method == Method::Post { ClientAuthMethod::Post(secret) } else { ClientAuthMethod::Basic(secret) }
            }
            Method::PrivateKeyJwt => {
                let file = self.there(table, span, "private_key_file", keys.private_key_file)?;
                let key_id = keys.key_id.map(|written| self.text("key_id", written, 256));
                ClientAuthMethod::PrivateKeyJwt { file: self.key_file("private_key_file", file), key_id }
            }
            Method::Tls => {
                let pair = self.there(table, span, "client_certificate", keys.client_certificate)?;
                ClientAuthMethod::Tls(self.key_pair("client_certificate", pair)?)
            }
        };
        Some(OAuthClient { id: id?, auth })
    }

    /// A key of another method would be read and ignored.
    fn belonging(&mut self, method: Method, keys: &raw::ClientKeys<'_>) {
        let of_a_key = method == Method::PrivateKeyJwt;
        for (key, span, used) in [
            ("client_secret", keys.client_secret.map(Spanned::span), matches!(method, Method::Basic | Method::Post)),
            ("private_key_file", keys.private_key_file.map(Spanned::span), of_a_key),
            ("key_id", keys.key_id.map(Spanned::span), of_a_key),
            ("assertion_audience", keys.assertion_audience.map(Spanned::span), of_a_key),
            ("client_certificate", keys.client_certificate.map(Spanned::span), method == Method::Tls),
        ] {
            if let Some(span) = span.filter(|_| !used) {
                let problem = self.error(span, format!("`{key}` has no effect"), "not used by this `auth_method`");
                self.report(problem.help("take it out, or name the `auth_method` it belongs to"));
            }
        }
    }

    /// A certificate the proxy shows as a client, and its key.
    pub(super) fn key_pair(&mut self, table: &str, pair: &Spanned<raw::KeyPair>) -> Option<KeyPair> {
        let (span, raw) = (pair.span(), pair.get_ref());
        let chain = self.there(table, &span, "cert_file", raw.cert_file.as_ref());
        let key = self.there(table, &span, "key_file", raw.key_file.as_ref());
        let cert_file = chain.map(|written| self.chain(written));
        let key_file = key.map(|written| self.key_file("key_file", written));
        if let (Some(chain), Some(file), Some(written)) = (&cert_file, &key_file, key) {
            self.pair(written, chain, file);
        }
        Some(KeyPair { cert_file: cert_file?, key_file: key_file? })
    }

    /// A token type identifier (RFC 8693 section 3).
    fn token_type(&mut self, key: &str, written: Option<&Spanned<String>>) -> Option<String> {
        let written = written?;
        if !written.get_ref().contains(':') {
            let message = format!("`{key}` must be a URI");
            let problem = self.error(written.span(), message, "not a token type");
            self.report(problem.help(format!("for example `{key} = \"{ACCESS_TOKEN}\"`")));
        }
        Some(self.text(key, written, 256))
    }

    /// Absolute URIs without fragment (RFC 8707 section 2).
    fn targets(&mut self, written: &Spanned<Vec<Spanned<String>>>) -> Vec<String> {
        for entry in written.get_ref() {
            let text = entry.get_ref();
            if url::Url::parse(text).is_err() || text.contains('#') {
                let problem =
                    self.error(entry.span(), "`resource` must be an absolute URI", "not one without fragment");
                self.report(problem.help("a name that is no URI goes into `audience`"));
            }
        }
        self.texts("resource", written)
    }

    fn granted_scopes(&mut self, written: &Spanned<Vec<Spanned<String>>>) -> Vec<String> {
        self.scopes("scopes", written.get_ref())
    }
}
