//! `[issuers.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::super::{Issuer, raw, walk};
use super::Loader;
use super::address::is_loopback;

/// Signature algorithms (RFC 7518, RFC 8037) that can be asked for; the first four are accepted by default.
const ALGORITHMS: [&str; 9] = ["RS256", "PS256", "ES256", "EdDSA", "RS384", "RS512", "PS384", "PS512", "ES384"];
const DEFAULT_ALGORITHMS: usize = 4;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

impl Loader<'_> {
    pub(super) fn issuers(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<raw::Issuer>>,
        loopback: bool,
    ) -> BTreeMap<Arc<str>, Issuer> {
        if raw.is_empty() {
            self.missing(&(0..0), "issuers", "");
        }
        let mut all: BTreeMap<Arc<str>, Issuer> = BTreeMap::new();
        for (name, table) in raw {
            self.name("an issuer", name);
            let Some(issuer) = self.issuer(name.get_ref(), table, loopback) else { continue };
            if let Some(other) = all.values().find(|other| other.issuer == issuer.issuer) {
                let span = table.get_ref().issuer.as_ref().map(Spanned::span).unwrap_or_default();
                let problem = self.error(span, format!("`{}` already is this issuer", other.name), "the same `iss`");
                self.report(problem.help("keys and settings of a token are chosen by its `iss` alone"));
            }
            all.insert(Arc::clone(&issuer.name), issuer);
        }
        all
    }

    fn issuer(&mut self, name: &str, table: &Spanned<raw::Issuer>, loopback: bool) -> Option<Issuer> {
        let raw = table.get_ref();
        if raw.issuer.is_none() {
            self.missing(&table.span(), "issuer", &format!("issuers.{name}"));
        }
        let identifier = raw.issuer.as_ref().and_then(|written| self.identifier(written, raw, loopback));
        let jwks_uri = raw.jwks_uri.as_ref().and_then(|written| {
            let url = self.url("jwks_uri", written)?;
            if url.scheme() == "http" && !is_loopback(&url) {
                self.plain(
                    "jwks_uri",
                    written.span(),
                    "keys could be exchanged on the way",
                    "http is for loopback only",
                );
            }
            Some(url)
        });
        let keys = raw.jwks.as_ref();
        let written = |key: fn(&raw::Jwks) -> Option<&Spanned<String>>| keys.and_then(key);
        let minute = 60 * SECOND;
        Some(Issuer {
            jwks_uri,
            algorithms: self.algorithms(raw.algorithms.as_ref()),
            scope_claims: match &raw.scope_claim {
                Some(written) => self.texts("scope_claim", written),
                None => vec!["scope".to_owned(), "scp".to_owned()],
            },
            clock_skew: self.duration("clock_skew", raw.clock_skew.as_ref(), minute, &(Duration::ZERO..=5 * minute)),
            strict: raw.strict.unwrap_or(false),
            tenants: raw.tenants.as_ref().map(|written| self.texts("tenants", written)).unwrap_or_default(),
            audience_claim: raw.audience_claim.as_ref().map(|written| self.text("audience_claim", written, 128)),
            cache_ttl: self.duration(
                "cache_ttl",
                written(|jwks| jwks.cache_ttl.as_ref()),
                10 * minute,
                &(minute..=DAY),
            ),
            min_refresh_interval: self.duration(
                "min_refresh_interval",
                written(|jwks| jwks.min_refresh_interval.as_ref()),
                30 * SECOND,
                &(SECOND..=60 * minute),
            ),
            max_stale: self.duration(
                "max_stale",
                written(|jwks| jwks.max_stale.as_ref()),
                DAY,
                &(Duration::ZERO..=30 * DAY),
            ),
            ca_file: raw.ca_file.as_ref().map(|written| self.certificates("ca_file", written)),
            insecure_loopback: raw.insecure_loopback.as_ref().is_some_and(|flag| *flag.get_ref()),
            name: name.into(),
            issuer: identifier?,
        })
    }

    /// The issuer identifier (RFC 8414 section 2): compared byte by byte, so kept as it is written.
    fn identifier(&mut self, written: &Spanned<String>, raw: &raw::Issuer, loopback: bool) -> Option<Arc<str>> {
        let url = self.url("issuer", written)?;
        let asked = raw.insecure_loopback.as_ref().filter(|flag| *flag.get_ref());
        if url.query().is_some() {
            let problem = self.error(written.span(), "`issuer` must not have a query", "an issuer has none");
            self.report(problem);
        }
        match (url.scheme(), asked) {
            ("https", Some(asked)) => {
                let problem = self.warning(asked.span(), "`insecure_loopback` has no effect", "the issuer is https");
                self.report(problem.help("take it out"));
            }
            ("http", _) if !is_loopback(&url) => {
                self.plain("issuer", written.span(), "keys could be exchanged on the way", "http is for loopback only");
            }
            ("http", None) => {
                let help = "for a development issuer on this machine write `insecure_loopback = true`";
                self.plain("issuer", written.span(), "every program on this machine could pose as it", help);
            }
            ("http", Some(asked)) if !loopback => {
                let message = "`insecure_loopback` is for listeners on loopback only";
                let problem = self.error(asked.span(), message, "the proxy listens beyond this machine");
                self.report(problem.help("use an https issuer, or listen on `127.0.0.1`"));
            }
            _ => {}
        }
        Some(written.get_ref().as_str().into())
    }

    fn algorithms(&mut self, written: Option<&Spanned<Vec<Spanned<String>>>>) -> Vec<String> {
        let Some(written) = written else {
            return ALGORITHMS[..DEFAULT_ALGORITHMS].iter().map(ToString::to_string).collect();
        };
        let all = self.texts("algorithms", written);
        for entry in written.get_ref().iter().filter(|entry| !ALGORITHMS.contains(&entry.get_ref().as_str())) {
            let name = entry.get_ref().to_ascii_uppercase();
            let problem = if name == "NONE" {
                self.error(entry.span(), "`none` is not a signature", "anyone could write a token")
            } else if name.starts_with("HS") {
                let label = "whoever can check such a token could also make one";
                self.error(entry.span(), "algorithms with a shared secret are refused", label)
            } else {
                let problem = self.error(entry.span(), "unknown or unsupported algorithm", "not accepted");
                problem.help(walk::advice(entry.get_ref(), ALGORITHMS))
            };
            self.report(problem);
        }
        all
    }
}
