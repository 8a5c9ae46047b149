//! `[audit]`: where decisions are recorded.

use std::path::PathBuf;

use toml::Spanned;

use super::super::{Audit, AuditSink, OnAuditError, raw};
use super::Loader;

/// `audit.sinks[].type`.
#[derive(Clone, Copy)]
enum Type {
    File,
    Stdout,
}

impl Loader<'_> {
    pub(super) fn audit(&mut self, raw: Option<&raw::Audit>) -> Audit {
        let words = [("block", OnAuditError::Block), ("drop", OnAuditError::Drop)];
        let on_error = raw.and_then(|raw| raw.on_error.as_ref());
        let on_error = self.choice("on_error", on_error, &words, &[]).unwrap_or(OnAuditError::Block);
        let sink = raw.and_then(|raw| raw.sinks.as_ref()).and_then(|sinks| self.sinks(sinks));
        let sync = raw.and_then(|raw| raw.sync).unwrap_or(false);
        Audit { sink: sink.unwrap_or(AuditSink::Stdout), on_error, sync }
    }

    fn sinks(&mut self, sinks: &Spanned<Vec<Spanned<raw::Sink>>>) -> Option<AuditSink> {
        match sinks.get_ref().as_slice() {
            [] => {
                let problem = self.error(sinks.span(), "`sinks` is empty", "decisions would not be recorded");
                self.report(problem.help("leave `sinks` out to record to standard output"));
                None
            }
            [only] => self.sink(only),
            [_, second, ..] => {
                let message = "more than one sink is not supported by this version";
                let problem = self.error(second.span(), message, "one too many");
                self.report(problem.help("write to one file and let something else copy it"));
                None
            }
        }
    }

    fn sink(&mut self, sink: &Spanned<raw::Sink>) -> Option<AuditSink> {
        let raw = sink.get_ref();
        let later = ["http", "kafka", "otlp", "syslog"];
        if raw.r#type.is_none() {
            self.missing(&sink.span(), "type", "audit.sinks");
        }
        let kind =
            self.choice("type", raw.r#type.as_ref(), &[("file", Type::File), ("stdout", Type::Stdout)], &later)?;
        match (kind, &raw.path) {
            (Type::File, Some(path)) => Some(AuditSink::File(self.writable(path))),
            (Type::File, None) => {
                self.missing(&sink.span(), "path", "audit.sinks");
                None
            }
            (Type::Stdout, None) => Some(AuditSink::Stdout),
            (Type::Stdout, Some(path)) => {
                let problem = self.error(path.span(), "`path` has no effect with `type = \"stdout\"`", "not used");
                self.report(problem);
                None
            }
        }
    }

    /// A file to append to: its folder must be there.
    fn writable(&mut self, written: &Spanned<String>) -> PathBuf {
        let path = self.path("path", written);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if self.disk.is_some() && (path.is_dir() || folder.is_some_and(|folder| !folder.is_dir())) {
            let (label, help) = if path.is_dir() {
                ("this is a folder", "name a file in it; the file itself is made when needed")
            } else {
                ("its folder does not exist", "create the folder; the file itself is made when needed")
            };
            let message = format!("cannot write `{}`", path.display());
            let problem = self.error(written.span(), message, label);
            self.report(problem.help(help));
        }
        path
    }
}
