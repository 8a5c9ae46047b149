//! `servers.NAME.upstream_auth`: how the proxy shows itself to the upstream.

use std::ops::Range;

use http::HeaderName;
use toml::Spanned;

use super::super::suggest::list;
use super::super::{UpstreamAuth, raw};
use super::Loader;

/// `upstream_auth.type`.
#[derive(Clone, Copy)]
enum Type {
    Basic,
    Bearer,
    Header,
    None,
}

const TYPES: [(&str, Type); 4] =
    [("basic", Type::Basic), ("bearer", Type::Bearer), ("header", Type::Header), ("none", Type::None)];

/// Types of other versions.
const LATER: [&str; 8] =
    ["aws_sigv4", "client_credentials", "gcp", "id_jag", "jwt_bearer", "mtls", "on_behalf_of", "token_exchange"];

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
const RESERVED_PREFIXES: [&str; 5] = ["content-", "mcp-", "sec-", "trailer", "x-forwarded-"];

impl Loader<'_> {
    pub(super) fn upstream_auth(&mut self, auth: &Spanned<raw::UpstreamAuth>) -> Option<UpstreamAuth> {
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
        let wanted: &[&'static str] = match kind {
            Type::Basic => &["username", "password"],
            Type::Bearer => &["token"],
            Type::Header => &["name", "value"],
            Type::None => &[],
        };
        self.belongs(raw, written.get_ref(), wanted);
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
            Type::None => Some(UpstreamAuth::None),
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

    fn missing_here(&mut self, span: &Range<usize>, key: &'static str, example: &str) {
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
        ];
        for (key, span) in present {
            if let Some(span) = span.filter(|_| !wanted.contains(&key)) {
                let message = format!("`{key}` has no effect with `type = \"{kind}\"`");
                let problem = self.error(span, message, "not used");
                self.report(problem.help(format!("`{kind}` takes {}", list(wanted.iter().copied()))));
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
        let Ok(name) = HeaderName::try_from(written.get_ref().as_str()) else {
            let problem = self.error(written.span(), "`name` must be the name of a header field", "not a field name");
            self.report(problem.help("for example `name = \"X-Api-Key\"`"));
            return None;
        };
        let text = name.as_str();
        if RESERVED.contains(&text) || RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            let message = format!("`{text}` cannot carry a credential");
            let problem = self.error(written.span(), message, "the proxy writes or drops this field itself");
            self.report(problem.help("for example `name = \"X-Api-Key\"`"));
        }
        Some(name)
    }
}
