//! `[state]`: the store that several processes share.

use std::ffi::OsString;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::super::state::{OnStoreError, Redis};
use super::super::{Sealing, SecretSource, raw};
use super::Loader;
use crate::state::Address;

const PREFIX: &str = "portcullis";
const PREFIX_BYTES: usize = 64;
const TIMEOUT: Duration = Duration::from_millis(100);
const MAX_STALE: Duration = Duration::from_secs(30);

impl Loader<'_> {
    pub(super) fn state(&mut self, raw: Option<&Spanned<raw::State>>, sealing: &Sealing) -> Option<Redis> {
        let table = raw?;
        let Some(redis) = &table.get_ref().redis else {
            self.missing(&table.span(), "redis", "state");
            return None;
        };
        let (span, raw) = (redis.span(), redis.get_ref());
        if raw.url.is_none() {
            self.missing(&span, "url", "state.redis");
        }
        if sealing.keys.is_empty() {
            let message = "`[state]` without `[[sealing.keys]]`";
            let problem = self.error(table.span(), message, "sessions of one process do not open in another");
            self.report(problem.help("give all processes the same keys: `openssl rand -hex 32 > sealing-k1`"));
        }
        let url = raw.url.as_ref().and_then(|written| Some((self.secret("url", written)?, written.span())));
        let ca_file = raw.ca_file.as_ref().map(|written| self.certificates("ca_file", written));
        if let Some((source, at)) = &url {
            self.store(source, at, raw.ca_file.as_ref());
        }
        let prefix = raw.prefix.as_ref().map_or_else(|| PREFIX.to_owned(), |written| self.prefix(written));
        let bounds = Duration::from_millis(5)..=Duration::from_secs(5);
        let timeout = self.duration("timeout", raw.timeout.as_ref(), TIMEOUT, &bounds);
        let words = [("local", OnStoreError::Local), ("deny", OnStoreError::Deny)];
        let on_error = self.choice("on_error", raw.on_error.as_ref(), &words, &[]).unwrap_or(OnStoreError::Local);
        let bounds = Duration::from_secs(1)..=Duration::from_hours(24);
        let max_stale = self.duration("max_stale", raw.max_stale.as_ref(), MAX_STALE, &bounds);
        Some(Redis { url: url?.0, ca_file, prefix, timeout, max_stale, on_error })
    }

    /// Looks at the URL, where there is one to look at.
    fn store(&mut self, source: &SecretSource, at: &Range<usize>, ca_file: Option<&Spanned<String>>) {
        if self.disk.is_none() && !matches!(source, SecretSource::Value(_)) {
            return;
        }
        let variable = |name: &str| (self.variable)(name).map(OsString::from);
        // A source that yields nothing has been reported.
        let Ok(url) = source.resolve_with(&variable) else { return };
        let address = match Address::read(&url) {
            Ok(address) => address,
            Err(error) => {
                let problem = self.error(at.clone(), "`url` is no address of a store", error.to_string());
                self.report(problem.help("for example `rediss://user:password@redis.internal:6379/0`"));
                return;
            }
        };
        if address.is_exposed() {
            let label = "whoever is in between can read and change it";
            let problem = self.warning(at.clone(), "the store is reached without TLS", label);
            self.report(problem.help("write `rediss://`"));
        }
        if let Some(written) = ca_file.filter(|_| !address.is_encrypted()) {
            let problem = self.error(written.span(), "`ca_file` has no effect", "the store is reached without TLS");
            self.report(problem.help("take it out, or write `rediss://` in the URL"));
        }
    }

    /// What key names begin with: nothing that a pattern could mean more by.
    fn prefix(&mut self, written: &Spanned<String>) -> String {
        let text = written.get_ref();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:{}".contains(&byte);
        if text.is_empty() || text.len() > PREFIX_BYTES || !text.bytes().all(fits) {
            let problem = self.error(written.span(), "`prefix` cannot be used", "not what key names may begin with");
            self.report(problem.help("write 1 to 64 ASCII letters, digits, `-`, `_`, `.`, `:`, `{` and `}`"));
        }
        text.clone()
    }
}
