//! `[issuers.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use url::Url;

use super::super::profiles::{self, GENERIC, PROFILES, Profile};
use super::super::{Discovery, Issuer, OnStart, Tokens, raw, walk};
use super::Loader;
use super::address::is_loopback;

/// Signature algorithms (RFC 7518, RFC 8037) that can be asked for.
const ALGORITHMS: [&str; 9] = ["RS256", "PS256", "ES256", "EdDSA", "RS384", "RS512", "PS384", "PS512", "ES384"];

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
        let jwks_uri = raw.jwks_uri.as_ref().and_then(|written| self.jwks_uri(written, raw));
        let profile = self.profile(raw);
        let kinds = [("auto", Discovery::Auto), ("oauth", Discovery::OAuth), ("openid", Discovery::OpenId)];
        let discovery = self.choice("discovery", raw.discovery.as_ref(), &kinds, &[]);
        let tokens = self.tokens(raw, profile);
        let none = raw::Jwks::default();
        let keys = raw.jwks.as_ref().unwrap_or(&none);
        let minute = 60 * SECOND;
        let starts = [("serve", OnStart::Serve), ("wait", OnStart::Wait)];
        Some(Issuer {
            jwks_uri,
            discovery: discovery.unwrap_or(profile.discovery),
            tokens,
            cache_ttl: self.duration("cache_ttl", keys.cache_ttl.as_ref(), 10 * minute, &(minute..=DAY)),
            min_refresh_interval: self.duration(
                "min_refresh_interval",
                keys.min_refresh_interval.as_ref(),
                30 * SECOND,
                &(SECOND..=60 * minute),
            ),
            max_stale: self.duration("max_stale", keys.max_stale.as_ref(), DAY, &(Duration::ZERO..=30 * DAY)),
            deny_kids: keys
                .deny_kids
                .as_ref()
                .map(|kids| self.distinct("deny_kids", kids.get_ref()))
                .unwrap_or_default(),
            on_start: self.choice("on_start", keys.on_start.as_ref(), &starts, &[]).unwrap_or(OnStart::Wait),
            introspection: raw.introspection.as_ref().and_then(|written| self.introspection(written)),
            revocation_file: raw.revocation_file.as_ref().map(|written| self.existing("revocation_file", written)),
            signals: raw.signals.as_ref().and_then(|written| self.signals(written)),
            ca_file: raw.ca_file.as_ref().map(|written| self.certificates("ca_file", written)),
            insecure_loopback: raw.insecure_loopback.as_ref().is_some_and(|flag| *flag.get_ref()),
            name: name.into(),
            issuer: identifier?,
        })
    }

    fn jwks_uri(&mut self, written: &Spanned<String>, raw: &raw::Issuer) -> Option<Url> {
        let url = self.url("jwks_uri", written)?;
        if url.scheme() == "http" && !is_loopback(&url) {
            let help = "http is for loopback only";
            self.plain("jwks_uri", written.span(), "keys could be exchanged on the way", help);
        } else if url.scheme() == "http" && raw.insecure_loopback.is_none() {
            let help = "for keys from this machine write `insecure_loopback = true`";
            self.plain("jwks_uri", written.span(), "every program on this machine could hand out keys", help);
        }
        Some(url)
    }

    fn profile(&mut self, raw: &raw::Issuer) -> &'static Profile {
        let known: Vec<_> = PROFILES.iter().map(|profile| (profile.name, profile.name)).collect();
        let written = raw.profile.as_ref();
        let profile = self.choice("profile", written, &known, &[]).and_then(profiles::find).unwrap_or(&GENERIC);
        let is_eased = raw.introspection.is_some() || raw.required_claims.is_some();
        if let (Some(written), "google", false) = (written, profile.name, is_eased) {
            let message = "no token of Google is accepted";
            let label = "its access tokens are opaque, and ID tokens are refused";
            let problem = self.warning(written.span(), message, label);
            self.report(problem.help("put a broker such as Keycloak between, and name that as the issuer"));
        }
        profile
    }

    /// What the profile says, with what the file says in its place.
    fn tokens(&mut self, raw: &raw::Issuer, profile: &Profile) -> Tokens {
        let minute = 60 * SECOND;
        let max_lifetime = raw
            .max_lifetime
            .as_ref()
            .map(|written| self.duration("max_lifetime", Some(written), DAY, &(minute..=30 * DAY)));
        let max_audiences =
            raw.max_audiences.as_ref().map(|written| self.whole("max_audiences", Some(written), 1, &(1..=64)));
        Tokens {
            algorithms: self.algorithms(raw.algorithms.as_ref(), profile),
            strict: raw.strict.unwrap_or(profile.strict),
            clock_skew: self.duration("clock_skew", raw.clock_skew.as_ref(), minute, &(Duration::ZERO..=5 * minute)),
            max_lifetime,
            scope_claims: self.claims("scope_claim", raw.scope_claim.as_ref(), profile.scope_claim),
            scope_prefixes: self.prefixes(raw),
            client_claims: self.claims("client_claim", raw.client_claim.as_ref(), profile.client_claim),
            subject_claims: self.claims("subject_claim", raw.subject_claim.as_ref(), profile.subject_claim),
            tenant_claims: self.claim_list("tenant_claim", raw.tenant_claim.as_ref(), profile.tenant_claim),
            tenants: raw.tenants.as_ref().map(|written| self.texts("tenants", written)).unwrap_or_default(),
            audience_claim: match &raw.audience_claim {
                Some(written) => Some(self.text("audience_claim", written, 128)),
                None => profile.audience_claim.map(ToOwned::to_owned),
            },
            audience_may_be_client: raw.audience_may_be_client.unwrap_or(profile.audience_may_be_client),
            max_audiences,
            required_claims: self.claim_list("required_claims", raw.required_claims.as_ref(), profile.required_claims),
            forbidden_claims: self.claim_list(
                "forbidden_claims",
                raw.forbidden_claims.as_ref(),
                profile.forbidden_claims,
            ),
        }
    }

    fn claims(&mut self, key: &str, written: Option<&Spanned<Vec<Spanned<String>>>>, usual: &[&str]) -> Vec<String> {
        match written {
            Some(written) => self.texts(key, written),
            None => usual.iter().map(ToString::to_string).collect(),
        }
    }

    /// The same where an empty list means none.
    fn claim_list(
        &mut self,
        key: &str,
        written: Option<&Spanned<Vec<Spanned<String>>>>,
        usual: &[&str],
    ) -> Vec<String> {
        match written {
            Some(written) => self.distinct(key, written.get_ref()),
            None => usual.iter().map(ToString::to_string).collect(),
        }
    }

    /// Without a prefix a role would be a scope of the same name.
    fn prefixes(&mut self, raw: &raw::Issuer) -> Vec<(String, String)> {
        let Some(written) = &raw.scope_prefixes else { return Vec::new() };
        let mut all: Vec<(String, String)> = Vec::new();
        for (claim, prefix) in written {
            let text = prefix.get_ref();
            if text.is_empty() || !text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                let label = "needs a word of printable ASCII without `\"` and `\\`";
                let problem = self.error(prefix.span(), "not a prefix for scopes", label);
                self.report(problem.help("for example `scope_prefixes = { roles = \"role:\" }`"));
            } else if all.iter().any(|(_, other)| other == text) {
                let problem = self.error(prefix.span(), "two claims have this prefix", "which one would be meant?");
                self.report(problem);
            }
            all.push((claim.get_ref().clone(), text.clone()));
        }
        all
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
            ("https", Some(asked)) if !asks_plainly(raw) => {
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

    fn algorithms(&mut self, written: Option<&Spanned<Vec<Spanned<String>>>>, profile: &Profile) -> Vec<String> {
        let Some(written) = written else {
            return profile.algorithms.iter().map(ToString::to_string).collect();
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

/// Whether anything beside the issuer itself is asked over plain http.
fn asks_plainly(raw: &raw::Issuer) -> bool {
    let introspection = raw.introspection.as_ref().and_then(|asked| asked.get_ref().endpoint.as_ref());
    let signals = raw.signals.as_ref().map(Spanned::get_ref);
    let signals = signals.map_or([None; 3], |signals| {
        [&signals.transmitter, &signals.jwks_uri, &signals.poll_endpoint].map(Option::as_ref)
    });
    let all = [raw.jwks_uri.as_ref(), introspection].into_iter().chain(signals).flatten();
    all.map(Spanned::get_ref).any(|url| url.starts_with("http:"))
}
