//! `servers.NAME.upstream_auth`: how the proxy authenticates to the upstream.

use std::collections::BTreeMap;
use std::ops::Range;

use http::HeaderName;
use toml::Spanned;

use super::super::suggest::list;
use super::super::{UpstreamAuth, raw};
use super::Loader;

/// `upstream_auth.type`.
#[derive(Clone, Copy)]
pub(super) enum Type {
    Basic,
    Bearer,
    ClientCredentials,
    Header,
    IdJag,
    Mtls,
    None,
    OnBehalfOf,
    TokenExchange,
}

const TYPES: [(&str, Type); 9] = [
    ("basic", Type::Basic),
    ("bearer", Type::Bearer),
    ("client_credentials", Type::ClientCredentials),
    ("header", Type::Header),
    ("id_jag", Type::IdJag),
    ("mtls", Type::Mtls),
    ("none", Type::None),
    ("on_behalf_of", Type::OnBehalfOf),
    ("token_exchange", Type::TokenExchange),
];

/// Types of other versions.
const LATER: [&str; 3] = ["aws_sigv4", "gcp", "jwt_bearer"];

/// An authorization server, and the proxy's identity there.
const SERVER: [&str; 10] = [
    "issuer",
    "token_endpoint",
    "client_id",
    "auth_method",
    "client_secret",
    "private_key_file",
    "key_id",
    "assertion_audience",
    "client_certificate",
    "ca_file",
];

/// Header fields that frame a message, name its target or are written by the proxy itself (RFC 9110 section 7.6.1).
const RESERVED: [&str; 17] = [
    "accept",
    "accept-encoding",
    "connection",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "last-event-id",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
];
const RESERVED_PREFIXES: [&str; 4] = ["content-", "mcp-", "sec-", "trailer"];
/// What says where a request came from, and would be believed.
const FORWARDED: [&str; 6] = ["for", "host", "port", "prefix", "proto", "server"];

/// Whether the proxy, or whatever frames the message, has another use for the field.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.strip_prefix("x-forwarded-").is_some_and(|rest| FORWARDED.contains(&rest))
}

impl Loader<'_> {
    /// `certified` says whether the connections have a certificate of the proxy.
    pub(super) fn upstream_auth(&mut self, auth: &Spanned<raw::UpstreamAuth>, certified: bool) -> Option<UpstreamAuth> {
        let (span, raw) = (auth.span(), auth.get_ref());
        let Some(written) = &raw.r#type else {
            self.missing_here(&span, "type", "\"bearer\"");
            return None;
        };
        if matches!(written.get_ref().as_str(), "passthrough" | "forward") {
            let message = "the caller's own token is never sent to the upstream";
            let problem = self.error(written.span(), message, "not possible");
            let help =
                "it was issued for this proxy; give the proxy a credential of its own: `basic`, `bearer` or `header`";
            self.report(problem.help(help));
            return None;
        }
        let kind = self.choice("type", Some(written), &TYPES, &LATER)?;
        let own: &[&'static str] = match kind {
            Type::Basic => &["username", "password"],
            Type::Bearer => &["token"],
            Type::ClientCredentials => &["audience", "resource", "scopes"],
            Type::Header => &["name", "value"],
            Type::IdJag => &["authorization_server", "audience", "resource", "scopes", "subject_token_type"],
            Type::Mtls | Type::None => &[],
            Type::OnBehalfOf => &["revocation_endpoint", "scopes"],
            Type::TokenExchange => &[
                "revocation_endpoint",
                "audience",
                "resource",
                "scopes",
                "subject_token_type",
                "requested_token_type",
                "actor_token",
                "actor_token_type",
            ],
        };
        let asks = matches!(kind, Type::ClientCredentials | Type::IdJag | Type::OnBehalfOf | Type::TokenExchange);
        let wanted: Vec<&'static str> = if asks { SERVER.iter().chain(own).copied().collect() } else { own.to_vec() };
        self.belongs(raw, written.get_ref(), &wanted);
        if asks {
            return self.grant(kind, &span, raw).map(|grant| UpstreamAuth::Granted(Box::new(grant)));
        }
        match kind {
            Type::Basic => {
                let username = self.needed(&span, "username", raw.username.as_ref(), "\"portcullis\"");
                let password = self.needed(&span, "password", raw.password.as_ref(), "{ file = \"…\" }");
                let username = username.map(|written| self.username(written));
                let password = password.and_then(|secret| self.secret("password", secret));
                Some(UpstreamAuth::Basic { username: username?, password: password? })
            }
            Type::Bearer => {
                let token = self.needed(&span, "token", raw.token.as_ref(), "{ file = \"…\" }")?;
                self.secret("token", token).map(UpstreamAuth::Bearer)
            }
            Type::Header => {
                let name = self.needed(&span, "name", raw.name.as_ref(), "\"X-Api-Key\"");
                let value = self.needed(&span, "value", raw.value.as_ref(), "{ file = \"…\" }");
                let name = name.and_then(|written| self.header_name(written));
                let value = value.and_then(|secret| self.secret("value", secret));
                Some(UpstreamAuth::Header { name: name?, value: value? })
            }
            Type::Mtls if !certified => {
                let problem =
                    self.error(written.span(), "`mtls` shows a certificate, and there is none", "shows nothing");
                let help = "add `upstream_client_certificate = { cert_file = \"…\", key_file = \"…\" }` to the server";
                self.report(problem.help(help));
                None
            }
            _ => Some(UpstreamAuth::None),
        }
    }

    fn needed<'v, T>(
        &mut self,
        span: &Range<usize>,
        key: &'static str,
        written: Option<&'v T>,
        example: &str,
    ) -> Option<&'v T> {
        if written.is_none() {
            self.missing_here(span, key, example);
        }
        written
    }

    pub(super) fn missing_here(&mut self, span: &Range<usize>, key: &'static str, example: &str) {
        if !self.excused.contains(&(span.clone(), key)) {
            let problem =
                self.error(span.clone(), format!("`{key}` is missing in `upstream_auth`"), format!("needs `{key}`"));
            self.report(problem.help(format!("for example `{key} = {example}`")));
        }
    }

    /// A key of another type would be read and ignored.
    fn belongs(&mut self, raw: &raw::UpstreamAuth, kind: &str, wanted: &[&'static str]) {
        let present = [
            ("username", raw.username.as_ref().map(Spanned::span)),
            ("password", raw.password.as_ref().map(Spanned::span)),
            ("token", raw.token.as_ref().map(Spanned::span)),
            ("name", raw.name.as_ref().map(Spanned::span)),
            ("value", raw.value.as_ref().map(Spanned::span)),
            ("issuer", raw.issuer.as_ref().map(Spanned::span)),
            ("token_endpoint", raw.token_endpoint.as_ref().map(Spanned::span)),
            ("revocation_endpoint", raw.revocation_endpoint.as_ref().map(Spanned::span)),
            ("client_id", raw.client_id.as_ref().map(Spanned::span)),
            ("auth_method", raw.auth_method.as_ref().map(Spanned::span)),
            ("client_secret", raw.client_secret.as_ref().map(Spanned::span)),
            ("private_key_file", raw.private_key_file.as_ref().map(Spanned::span)),
            ("key_id", raw.key_id.as_ref().map(Spanned::span)),
            ("assertion_audience", raw.assertion_audience.as_ref().map(Spanned::span)),
            ("client_certificate", raw.client_certificate.as_ref().map(Spanned::span)),
            ("ca_file", raw.ca_file.as_ref().map(Spanned::span)),
            ("audience", raw.audience.as_ref().map(Spanned::span)),
            ("resource", raw.resource.as_ref().map(Spanned::span)),
            ("scopes", raw.scopes.as_ref().map(Spanned::span)),
            ("subject_token_type", raw.subject_token_type.as_ref().map(Spanned::span)),
            ("requested_token_type", raw.requested_token_type.as_ref().map(Spanned::span)),
            ("actor_token", raw.actor_token.as_ref().map(Spanned::span)),
            ("actor_token_type", raw.actor_token_type.as_ref().map(Spanned::span)),
            ("authorization_server", raw.authorization_server.as_ref().map(Spanned::span)),
        ];
        for (key, span) in present {
            if let Some(span) = span.filter(|_| !wanted.contains(&key)) {
                let message = format!("`{key}` has no effect with `type = \"{kind}\"`");
                let problem = self.error(span, message, "not used");
                self.report(match wanted {
                    [] => problem.help(format!("`{kind}` takes no other key")),
                    _ => problem.help(format!("`{kind}` takes {}", list(wanted.iter().copied()))),
                });
            }
        }
    }

    /// A user id of `Basic` (RFC 7617 section 2).
    fn username(&mut self, written: &Spanned<String>) -> String {
        if written.get_ref().contains(':') {
            let problem = self.error(written.span(), "`username` must not hold a colon", "it would end the name early");
            self.report(problem);
        }
        self.text("username", written, 256)
    }

    fn header_name(&mut self, written: &Spanned<String>) -> Option<HeaderName> {
        let name = self.field_name("name", written, "`name = \"X-Api-Key\"`")?;
        let text = name.as_str();
        if is_reserved(text) || text.starts_with("x-forwarded-") {
            let message = format!("`{text}` cannot carry a credential");
            let problem = self.error(written.span(), message, "the proxy writes or drops this field itself");
            self.report(problem.help("for example `name = \"X-Api-Key\"`"));
        }
        Some(name)
    }

    pub(super) fn field_name(&mut self, key: &str, written: &Spanned<String>, example: &str) -> Option<HeaderName> {
        if let Ok(name) = HeaderName::try_from(written.get_ref().as_str()) {
            return Some(name);
        }
        let message = format!("`{key}` must be the name of a header field");
        let problem = self.error(written.span(), message, "not a field name");
        self.report(problem.help(format!("for example {example}")));
        None
    }

    /// `tool_auth`: by the exact names of tools (MCP 2025-11-25, "Tool names").
    pub(super) fn tool_auth(&mut self, raw: &raw::Server, certified: bool) -> BTreeMap<String, UpstreamAuth> {
        let mut all = BTreeMap::new();
        for (name, auth) in raw.tool_auth.iter().flatten() {
            let text = name.get_ref();
            let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
            if text.is_empty() || text.len() > 128 || !fits {
                let problem = self.error(name.span(), "not the name of a tool", "not allowed here");
                self.report(problem.help("names are exact: 1 to 128 ASCII letters, digits and `_-./`"));
            }
            all.extend(self.upstream_auth(auth, certified).map(|auth| (text.clone(), auth)));
        }
        all
    }
}
