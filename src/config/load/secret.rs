//! Where secrets are read from, and whether they are there.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::super::expand::is_name;
use super::super::secret_source::{Exposure, exposure};
use super::super::{SecretSource, raw};
use super::Loader;
use crate::secret::Secret;

impl Loader<'_> {
    /// Exactly one source; on disk, one that yields a secret now.
    pub(super) fn secret(&mut self, key: &str, raw: &Spanned<raw::Secret>) -> Option<SecretSource> {
        let (span, raw) = (raw.span(), raw.get_ref());
        let mut sources: Vec<(Range<usize>, SecretSource)> = Vec::new();
        if let Some(name) = &raw.credential {
            self.credential(name);
            sources.push((name.span(), SecretSource::Credential(name.get_ref().clone())));
        }
        if let Some(name) = &raw.env {
            if !is_name(name.get_ref()) {
                let problem =
                    self.error(name.span(), "`env` must be the name of an environment variable", "not a name");
                self.report(problem.help("for example `{ env = \"CRM_TOKEN\" }`"));
            }
            sources.push((name.span(), SecretSource::Env(name.get_ref().clone())));
        }
        if let Some(written) = &raw.file {
            sources.push((written.span(), SecretSource::File(self.path("file", written))));
        }
        if let Some(value) = &raw.value {
            let problem =
                self.warning(value.span(), format!("`{key}` stands in this file"), "everyone who reads it has it");
            self.report(problem.help("use `{ file = \"…\" }`, `{ env = \"…\" }` or `{ credential = \"…\" }`"));
            sources.push((value.span(), SecretSource::Value(Secret::new(value.get_ref().clone()))));
        }
        let one = "`file`, `env`, `credential` or `value`";
        if sources.len() > 1 {
            let problem = self.error(span, format!("`{key}` has more than one source"), format!("keep one of {one}"));
            self.report(problem);
            return None;
        }
        let Some((at, source)) = sources.pop() else {
            let excused = self.excused.iter().any(|(table, _)| *table == span);
            if !excused {
                let problem = self.error(span, format!("`{key}` has no source"), format!("needs {one}"));
                self.report(problem.help(format!("for example `{key} = {{ file = \"/run/secrets/{key}\" }}`")));
            }
            return None;
        };
        self.resolved(key, at, &source);
        Some(source)
    }

    fn credential(&mut self, name: &Spanned<String>) {
        let text = name.get_ref();
        if text.is_empty() || text.contains(['/', '\0']) || matches!(text.as_str(), "." | "..") {
            let problem = self.error(name.span(), "`credential` must be the name of a file", "not a file's name");
            self.report(problem.help("it is looked up in `$CREDENTIALS_DIRECTORY`, which systemd sets"));
        }
    }

    fn resolved(&mut self, key: &str, at: Range<usize>, source: &SecretSource) {
        // A value can be checked without looking anywhere.
        if self.disk.is_none() && !matches!(source, SecretSource::Value(_)) {
            return;
        }
        let variable = |name: &str| (self.variable)(name).map(OsString::from);
        if let Err(error) = source.resolve_with(&variable) {
            let problem = self.error(at, format!("`{key}` cannot be read"), error.to_string());
            self.report(problem);
        } else if let SecretSource::File(path) = source {
            let path = path.clone();
            self.exposed(key, at, &path);
        }
    }

    /// Complains about a mode that lets every user of the machine at a secret.
    pub(super) fn exposed(&mut self, key: &str, at: Range<usize>, path: &Path) {
        let shown = path.display();
        let problem = match exposure(path) {
            Some(Exposure::Readable) => {
                self.warning(at, format!("`{key}`: every user can read `{shown}`"), "readable by others")
            }
            Some(Exposure::Writable) => {
                self.error(at, format!("`{key}`: every user can change `{shown}`"), "writable by others")
            }
            None => return,
        };
        self.report(problem.help(format!("run `chmod 600 {shown}`")));
    }
}
