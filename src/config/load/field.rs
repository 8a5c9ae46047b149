//! Fields that occur in several tables: bounded quantities, choices, paths, names.

use std::io::ErrorKind;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::super::problem::Problem;
use super::super::units::{self, show_duration, show_size};
use super::super::{keys, walk};
use super::Loader;

impl Loader<'_> {
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Problem {
        Problem::error(&self.file, span, message, label)
    }

    pub(super) fn warning(&self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Problem {
        Problem::warning(&self.file, span, message, label)
    }

    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports that `key` is missing in the table at `span`, unless something already reported explains it.
    pub(super) fn missing(&mut self, span: &Range<usize>, key: &'static str, table: &str) {
        if self.excused.contains(&(span.clone(), key)) {
            return;
        }
        let problem = if table.is_empty() {
            self.error(span.clone(), format!("`[{key}]` is missing"), "")
        } else {
            self.error(span.clone(), format!("`{key}` is missing in `[{table}]`"), format!("needs `{key}`"))
        };
        let problem = match example(key, table) {
            Some(example) if table.is_empty() => problem.help(format!("write `{example}` and its keys below")),
            Some(example) => problem.help(format!("for example `{key} = {example}`")),
            None => problem,
        };
        self.report(problem);
    }

    /// A duration inside `range`.
    pub(super) fn duration(
        &mut self,
        key: &str,
        written: Option<&Spanned<String>>,
        default: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Duration {
        let read = written
            .map(|written| self.duration_without_default(key, written, range, &is_default(show_duration(default))));
        read.flatten().unwrap_or(default)
    }

    /// The same for a key that has no default; `help` is for one out of range.
    pub(super) fn duration_without_default(
        &mut self,
        key: &str,
        written: &Spanned<String>,
        range: &RangeInclusive<Duration>,
        help: &str,
    ) -> Option<Duration> {
        match units::duration(written.get_ref()) {
            Ok(duration) if range.contains(&duration) => return Some(duration),
            Ok(_) => {
                let bounds = format!("{} to {}", show_duration(*range.start()), show_duration(*range.end()));
                self.out_of_range(key, written.span(), &bounds, help);
            }
            Err(error) => {
                let problem = self.error(written.span(), format!("`{key}` is not a duration"), error.to_string());
                self.report(problem.help(error.help()));
            }
        }
        None
    }

    /// A number per time, as in `"5/min"`.
    pub(super) fn rate(&mut self, written: Option<&Spanned<String>>) -> Option<(u32, Duration)> {
        let written = written?;
        let error = match units::rate(written.get_ref()) {
            Ok(rate) => return Some(rate),
            Err(error) => error,
        };
        let problem = self.error(written.span(), error.to_string(), "");
        self.report(problem.help(error.help()));
        None
    }

    /// A number of bytes inside `range`.
    pub(super) fn size(
        &mut self,
        key: &str,
        written: Option<&Spanned<String>>,
        default: usize,
        range: &RangeInclusive<usize>,
    ) -> usize {
        let read =
            written.map(|written| self.size_without_default(key, written, range, &is_default(show_size(default))));
        read.flatten().unwrap_or(default)
    }

    /// The same for a key that has no default; `help` is for one out of range.
    pub(super) fn size_without_default(
        &mut self,
        key: &str,
        written: &Spanned<String>,
        range: &RangeInclusive<usize>,
        help: &str,
    ) -> Option<usize> {
        match units::size(written.get_ref()) {
            Ok(size) if range.contains(&size) => return Some(size),
            Ok(_) => {
                let bounds = format!("{} to {}", show_size(*range.start()), show_size(*range.end()));
                self.out_of_range(key, written.span(), &bounds, help);
            }
            Err(error) => {
                let problem = self.error(written.span(), format!("`{key}` is not a size"), error.to_string());
                self.report(problem.help(error.help()));
            }
        }
        None
    }

    /// A whole number inside `range`.
    pub(super) fn whole<T>(
        &mut self,
        key: &str,
        written: Option<&Spanned<i64>>,
        default: T,
        range: &RangeInclusive<T>,
    ) -> T
    where
        T: Copy + PartialOrd + TryFrom<i64> + std::fmt::Display,
    {
        let Some(written) = written else { return default };
        match T::try_from(*written.get_ref()) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let bounds = format!("{} to {}", range.start(), range.end());
                self.out_of_range(key, written.span(), &bounds, &is_default(default));
                default
            }
        }
    }

    fn out_of_range(&mut self, key: &str, span: Range<usize>, bounds: &str, help: &str) {
        let problem = self.error(span, format!("`{key}` is out of range"), format!("allowed is {bounds}"));
        self.report(problem.help(help));
    }

    /// One of a few words; `later` are those of other versions.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        written: Option<&Spanned<String>>,
        known: &[(&'static str, T)],
        later: &[&str],
    ) -> Option<T> {
        let written = written?;
        let text = written.get_ref().as_str();
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let problem = if later.contains(&text) {
            self.error(
                written.span(),
                format!("`{key} = \"{text}\"` is not supported by this version"),
                "not supported",
            )
            .help(format!("supported are {}", super::super::suggest::list(known.iter().map(|(word, _)| *word))))
        } else {
            let help = walk::advice(text, known.iter().map(|(word, _)| *word));
            self.error(written.span(), format!("unknown value for `{key}`"), "not one of the known words").help(help)
        };
        self.report(problem);
        None
    }

    /// A path, taken from the folder of `proxy.toml`.
    pub(super) fn path(&mut self, key: &str, written: &Spanned<String>) -> PathBuf {
        if written.get_ref().is_empty() || written.get_ref().contains('\0') {
            let problem = self.error(written.span(), format!("`{key}` is not a path"), "empty");
            self.report(problem);
        }
        self.directory.join(written.get_ref())
    }

    /// A path to a file that must be there.
    pub(super) fn existing(&mut self, key: &str, written: &Spanned<String>) -> PathBuf {
        let path = self.path(key, written);
        self.readable(key, written, &path);
        path
    }

    /// A path to a policy file, which must be there unless it is about to be written.
    pub(super) fn policy(&mut self, written: &Spanned<String>) {
        let path = self.path("policies", written);
        let to_come = self.disk.is_some_and(|disk| disk.policies_to_come);
        // A broken link, or a folder that cannot be entered, is more than a file that is not there yet.
        let missing = || path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        if !(to_come && missing()) {
            self.readable("policies", written, &path);
        }
    }

    fn readable(&mut self, key: &str, written: &Spanned<String>, path: &Path) {
        if self.disk.is_some() && !written.get_ref().is_empty() {
            let reason = match std::fs::metadata(path) {
                Ok(meta) if meta.is_file() => std::fs::File::open(path).err().map(|error| error.to_string()),
                Ok(_) => Some("it is not a file".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = reason {
                let problem = self.error(written.span(), format!("`{key}`: cannot read `{}`", path.display()), reason);
                let relative = Path::new(written.get_ref()).is_relative();
                self.report(if relative {
                    problem.help("relative paths start at the folder of this file")
                } else {
                    problem
                });
            }
        }
    }

    /// Names people choose for issuers and servers; they appear in logs, metrics and audit lines.
    pub(super) fn name(&mut self, what: &str, name: &Spanned<String>) {
        let text = name.get_ref();
        let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if text.is_empty() || text.len() > 64 || !fits {
            let problem = self.error(name.span(), format!("not a name for {what}"), "not allowed here");
            self.report(problem.help("names are 1 to 64 ASCII letters, digits, `-` and `_`"));
        }
    }

    /// Text that is shown or compared: not empty, no control characters, at most `limit` bytes.
    pub(super) fn text(&mut self, key: &str, written: &Spanned<String>, limit: usize) -> String {
        let text = written.get_ref();
        let label = if text.trim().is_empty() {
            "empty"
        } else if text.chars().any(char::is_control) {
            "control characters are not allowed"
        } else if text.len() > limit {
            "too long"
        } else {
            return text.clone();
        };
        let problem = self.error(written.span(), format!("`{key}` cannot be used"), label);
        self.report(problem);
        text.clone()
    }

    /// Texts, each once; an empty list is refused where it would mean "nothing" or, worse, "anything".
    pub(super) fn texts(&mut self, key: &str, written: &Spanned<Vec<Spanned<String>>>) -> Vec<String> {
        if written.get_ref().is_empty() {
            let problem = self.error(written.span(), format!("`{key}` is empty"), "needs at least one entry");
            self.report(problem.help(format!("leave `{key}` out for its default")));
        }
        self.distinct(key, written.get_ref())
    }

    /// Texts, each once.
    pub(super) fn distinct(&mut self, key: &str, written: &[Spanned<String>]) -> Vec<String> {
        let mut all: Vec<String> = Vec::with_capacity(written.len());
        for entry in written {
            let text = self.text(key, entry, 1024);
            if all.contains(&text) {
                let problem = self.error(entry.span(), format!("`{key}` names this twice"), "already in the list");
                self.report(problem);
            }
            all.push(text);
        }
        all
    }
}

fn is_default(value: impl std::fmt::Display) -> String {
    format!("the default is {value}")
}

/// The table's example for the key of a table written `[a.b]`, names of the user's choosing included.
fn example(key: &str, table: &str) -> Option<&'static str> {
    let mut schema = &keys::PROXY;
    let mut words = table.split('.').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        schema = match schema.find(word)?.kind {
            keys::Kind::Named(below) => {
                words.next();
                below
            }
            keys::Kind::Table(below) | keys::Kind::Tables(below) => below,
            _ => return None,
        };
    }
    schema.find(key).map(|key| key.example)
}
