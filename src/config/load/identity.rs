//! `identity`: what the upstream is told about the caller.

use std::time::Duration;

use http::HeaderName;
use toml::Spanned;

use super::super::{Identity, IdentityJwt, UpstreamAuth, raw};
use super::Loader;
use super::upstream_auth::is_reserved;

const SECOND: Duration = Duration::from_secs(1);

impl Loader<'_> {
    pub(super) fn identity(&mut self, raw: &raw::Server) -> Identity {
        let Some(table) = &raw.identity else { return Identity::default() };
        let (span, written) = (table.span(), table.get_ref());
        if written.headers.is_none() && written.jwt.is_none() {
            let problem = self.error(span, "`identity` says nothing", "needs `headers` or `jwt`");
            self.report(problem.help("for example `identity = { headers = { X-Forwarded-User = \"sub\" } }`"));
        }
        let mut headers = Vec::new();
        for (name, claim) in written.headers.iter().flatten() {
            let claim = self.text("headers", claim, 128);
            headers.extend(self.identity_header(name, &headers).map(|name| (name, claim)));
        }
        let jwt = written.jwt.as_ref().and_then(|jwt| {
            let (span, written) = (jwt.span(), jwt.get_ref());
            let key = self.there("identity.jwt", &span, "key_file", written.key_file.as_ref());
            let audience = self.there("identity.jwt", &span, "audience", written.audience.as_ref());
            let header = match &written.header {
                Some(header) => self.identity_header(header, &headers),
                None => Some(HeaderName::from_static("x-portcullis-identity")),
            };
            let range = 5 * SECOND..=300 * SECOND;
            let lifetime = self.duration("lifetime", written.lifetime.as_ref(), 60 * SECOND, &range);
            let claims = written.claims.as_ref().map(|claims| self.repeated_claims(claims)).unwrap_or_default();
            let key_file = key.map(|written| self.key_file("key_file", written));
            let audience = audience.map(|written| self.text("audience", written, 1024));
            Some(IdentityJwt { header: header?, key_file: key_file?, audience: audience?, lifetime, claims })
        });
        Identity { headers, jwt }
    }

    /// A claim must not stand where the upstream looks for the proxy's credential.
    pub(super) fn one_meaning<'a>(
        &mut self,
        raw: &raw::Server,
        identity: &Identity,
        shown: impl Iterator<Item = &'a UpstreamAuth>,
    ) {
        let told: Vec<_> = identity.headers.iter().map(|(name, _)| name).collect();
        let signed = identity.jwt.as_ref().map(|jwt| &jwt.header);
        for auth in shown {
            let UpstreamAuth::Header { name, .. } = auth else { continue };
            if told.contains(&name) || signed == Some(name) {
                let span = raw.identity.as_ref().map(Spanned::span).unwrap_or_default();
                let message = format!("`{name}` would carry both a credential and an identity");
                let problem = self.error(span, message, "`upstream_auth` writes this field too");
                self.report(problem.help("give one of them another field"));
            }
        }
    }

    /// A field the proxy does not write for another reason.
    fn identity_header(&mut self, written: &Spanned<String>, taken: &[(HeaderName, String)]) -> Option<HeaderName> {
        let name = self.field_name("headers", written, "`X-Forwarded-User`")?;
        if matches!(name.as_str(), "authorization" | "cookie") || is_reserved(name.as_str()) {
            let message = format!("`{name}` cannot carry an identity");
            let problem = self.error(written.span(), message, "this field means something else");
            self.report(problem.help("for example `X-Forwarded-User`"));
        } else if taken.iter().any(|(other, _)| *other == name) {
            let problem = self.error(written.span(), format!("`{name}` is written twice"), "already in use");
            self.report(problem);
        }
        Some(name)
    }

    /// Claims the statement has of its own are not overwritten.
    fn repeated_claims(&mut self, written: &Spanned<Vec<Spanned<String>>>) -> Vec<String> {
        const OWN: [&str; 9] = ["act", "aud", "client_id", "exp", "iat", "iss", "jti", "nbf", "sub"];
        for entry in written.get_ref().iter().filter(|entry| OWN.contains(&entry.get_ref().as_str())) {
            let message = format!("`{}` is not repeated", entry.get_ref());
            let problem = self.error(entry.span(), message, "the statement has one of its own");
            self.report(problem);
        }
        self.texts("claims", written)
    }
}
