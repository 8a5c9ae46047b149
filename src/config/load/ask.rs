//! `issuers.NAME.introspection` and `signals`: what an issuer is asked and what it reports.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use url::Url;

use super::super::{AnswerFormat, Introspection, Signals, When, raw};
use super::Loader;
use super::address::is_loopback;

const SECOND: Duration = Duration::from_secs(1);

impl Loader<'_> {
    pub(super) fn introspection(&mut self, table: &Spanned<raw::Introspection>) -> Option<Introspection> {
        let (span, raw) = (table.span(), table.get_ref());
        let endpoint = self.there("introspection", &span, "endpoint", raw.endpoint.as_ref());
        let client = self.client("introspection", &span, &raw.client());
        let range = SECOND..=Duration::from_mins(10);
        let words = [("always", When::Always), ("opaque", When::Opaque)];
        let formats = [("json", AnswerFormat::Json), ("jwt", AnswerFormat::Jwt)];
        Some(Introspection {
            when: self.choice("when", raw.when.as_ref(), &words, &[]).unwrap_or(When::Opaque),
            format: self.choice("response", raw.response.as_ref(), &formats, &[]).unwrap_or(AnswerFormat::Json),
            cache_ttl: self.duration("cache_ttl", raw.cache_ttl.as_ref(), Duration::from_mins(1), &range),
            endpoint: endpoint.and_then(|written| self.endpoint("endpoint", written))?,
            client: client?,
        })
    }

    pub(super) fn signals(&mut self, table: &Spanned<raw::Signals>) -> Option<Signals> {
        let (span, raw) = (table.span(), table.get_ref());
        let audience = self.there("signals", &span, "audience", raw.audience.as_ref());
        if raw.push_path.is_none() && raw.poll_endpoint.is_none() {
            let problem = self.error(span.clone(), "`signals` has no way in", "needs `push_path` or `poll_endpoint`");
            self.report(problem);
        }
        let push = raw.push_path.as_ref().and_then(|path| {
            self.canonical_path(path);
            let token = self.there("signals", &span, "push_token", raw.push_token.as_ref())?;
            Some((path.get_ref().clone(), self.secret("push_token", token)?))
        });
        let poll = raw.poll_endpoint.as_ref().and_then(|written| {
            let endpoint = self.endpoint("poll_endpoint", written)?;
            let token = raw.poll_token.as_ref().and_then(|token| self.secret("poll_token", token));
            Some((endpoint, token))
        });
        for (key, written, owner) in [
            ("push_token", raw.push_token.as_ref().map(Spanned::span), raw.push_path.is_some()),
            ("poll_token", raw.poll_token.as_ref().map(Spanned::span), raw.poll_endpoint.is_some()),
        ] {
            if let Some(span) = written.filter(|_| !owner) {
                let problem = self.error(span, format!("`{key}` has no effect"), "nothing uses it");
                self.report(problem);
            }
        }
        let day = Duration::from_hours(24);
        let interval = SECOND..=Duration::from_hours(1);
        let keep = Duration::from_mins(5)..=30 * day;
        Some(Signals {
            transmitter: raw.transmitter.as_ref().and_then(|written| {
                self.endpoint("transmitter", written)?;
                Some(written.get_ref().as_str().into())
            }),
            jwks_uri: raw.jwks_uri.as_ref().and_then(|written| self.endpoint("jwks_uri", written)),
            push,
            poll,
            poll_interval: self.duration("poll_interval", raw.poll_interval.as_ref(), 30 * SECOND, &interval),
            keep: self.duration("keep", raw.keep.as_ref(), day, &keep),
            audience: self.text("audience", audience?, 1024),
        })
    }

    pub(super) fn there<'v, T>(
        &mut self,
        table: &str,
        span: &Range<usize>,
        key: &'static str,
        written: Option<&'v T>,
    ) -> Option<&'v T> {
        if written.is_none() && !self.excused.contains(&(span.clone(), key)) {
            let message = format!("`{key}` is missing in `{table}`");
            let problem = self.error(span.clone(), message, format!("needs `{key}`"));
            self.report(problem);
        }
        written
    }

    /// An endpoint that secrets are sent to.
    pub(super) fn endpoint(&mut self, key: &str, written: &Spanned<String>) -> Option<Url> {
        let url = self.url(key, written)?;
        if url.scheme() == "http" && !is_loopback(&url) {
            self.plain(key, written.span(), "tokens could be read on the way", "http is for loopback only");
        }
        Some(url)
    }
}
