//! `[sealing]`: keys for the sealed state that clients carry.

use std::time::UNIX_EPOCH;

use toml::Spanned;

use super::super::{Sealing, SealingKey, raw};
use super::Loader;
use crate::clock::Timestamp;

impl Loader<'_> {
    pub(super) fn sealing(&mut self, raw: Option<&raw::Sealing>) -> Sealing {
        let mut keys: Vec<SealingKey> = Vec::new();
        for entry in raw.and_then(|raw| raw.keys.as_ref()).into_iter().flatten() {
            let Some(key) = self.sealing_key(entry) else { continue };
            if keys.iter().any(|other| other.id == key.id) {
                let span = entry.get_ref().id.as_ref().map(Spanned::span).unwrap_or_default();
                let problem = self.error(span, format!("two keys are called `{}`", key.id), "already taken");
                self.report(problem.help("what is sealed names its key by this id"));
            }
            keys.push(key);
        }
        Sealing { keys }
    }

    fn sealing_key(&mut self, entry: &Spanned<raw::SealingKey>) -> Option<SealingKey> {
        let (span, raw) = (entry.span(), entry.get_ref());
        for (key, present) in [("id", raw.id.is_some()), ("file", raw.file.is_some())] {
            if !present {
                self.missing(&span, key, "sealing.keys");
            }
        }
        if let Some(id) = &raw.id {
            let text = id.get_ref();
            if text.is_empty() || text.len() > 4 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                let problem = self.error(id.span(), "not a key id", "must be 1 to 4 printable ASCII characters");
                self.report(problem.help("for example `id = \"k1\"`"));
            }
        }
        let file = raw.file.as_ref().map(|written| self.existing("file", written));
        let seal_from = self.moment("seal_from", raw.seal_from.as_ref());
        let open_until = self.moment("open_until", raw.open_until.as_ref());
        if let (Some(from), Some(until), Some(written)) = (seal_from, open_until, &raw.open_until)
            && until <= from
        {
            let problem = self.error(written.span(), "`open_until` is not after `seal_from`", "never usable");
            self.report(problem);
        }
        let key = SealingKey { id: raw.id.as_ref()?.get_ref().clone(), file: file?, seal_from, open_until };
        if let Some(written) = raw.file.as_ref().filter(|_| self.disk.is_some() && key.file.is_file()) {
            if let Err(error) = key.read() {
                let problem = self.error(written.span(), "`file` is not a sealing key", error.to_string());
                let shown = key.file.display();
                self.report(problem.help(format!("make one with `openssl rand -hex 32 > {shown}`")));
            }
            self.exposed("file", written.span(), &key.file);
        }
        Some(key)
    }

    /// A moment in UTC (RFC 3339).
    fn moment(&mut self, key: &str, written: Option<&Spanned<String>>) -> Option<Timestamp> {
        let written = written?;
        let time =
            humantime::parse_rfc3339(written.get_ref()).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        if time.is_none() {
            let problem = self.error(written.span(), format!("`{key}` is not a moment in UTC"), "must end with `Z`");
            self.report(problem.help(format!("for example `{key} = 2026-12-01T00:00:00Z`")));
        }
        time.map(|time| Timestamp::from_unix_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)))
    }
}
