//! `[audit]`: where decisions are recorded.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::super::{Audit, AuditSink, OnAuditError, Rotate, Signing, raw};
use super::Loader;
use crate::audit::checkpoint::CheckpointKey;
use crate::audit::subjects::Keys;
use crate::seal;

const DAY: Duration = Duration::from_hours(24);
/// Six months, in days.
const SIX_MONTHS: u32 = 183;

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
        let sinks = raw.and_then(|raw| raw.sinks.as_ref());
        let sink = sinks.and_then(|sinks| self.sinks(sinks)).unwrap_or(AuditSink::Stdout);
        let sync = raw.and_then(|raw| raw.sync).unwrap_or(false);
        let chained = sinks.and_then(|sinks| sinks.get_ref().first()?.get_ref().chain.as_ref());
        // A chain shows accidents, with signatures forgery too: who has a key for them wants it.
        let signs = raw.is_some_and(|raw| raw.signing_key_file.is_some());
        let chain = chained.map_or(signs, |chain| *chain.get_ref());
        let signing = raw.and_then(|raw| self.signing(raw, chain));
        let rotate = raw.and_then(|raw| self.rotate(raw.rotate.as_ref()?));
        let retention = raw.and_then(|raw| self.retention(raw));
        let arguments_key = raw.and_then(|raw| self.arguments_key(raw));
        let subjects_key = raw.and_then(|raw| self.subjects_key(raw));
        let is_masked = |written: &Spanned<String>| written.get_ref() == "masked";
        let masked_arguments = raw.and_then(|raw| raw.arguments.as_ref()).is_some_and(is_masked);
        Audit { sink, on_error, sync, chain, signing, rotate, retention, arguments_key, masked_arguments, subjects_key }
    }

    /// The file of the key that arguments are hashed with, if they are.
    fn arguments_key(&mut self, raw: &raw::Audit) -> Option<PathBuf> {
        let (written, key) = (raw.arguments.as_ref(), raw.arguments_key_file.as_ref());
        let hashed = self.choice("arguments", written, &[("hash", true), ("masked", false), ("none", false)], &[]);
        match (hashed, key) {
            (Some(true), Some(key)) => {
                let file = self.existing("arguments_key_file", key);
                if self.disk.is_some() && file.is_file() {
                    if let Err(error) = seal::hash_key(&file) {
                        let problem = self.error(key.span(), "`arguments_key_file` cannot be used", error.to_string());
                        self.report(problem.help(format!("make one with `openssl rand -hex 32 > {}`", file.display())));
                    }
                    self.exposed("arguments_key_file", key.span(), &file);
                }
                Some(file)
            }
            (Some(true), None) => {
                let span = written.map(Spanned::span).unwrap_or_default();
                let problem =
                    self.error(span, "`arguments = \"hash\"` needs a key", "short arguments could be guessed");
                self.report(problem.help(
                    "make one with `openssl rand -hex 32 > audit-arguments.key`, and write `arguments_key_file = \"audit-arguments.key\"`",
                ));
                None
            }
            (_, Some(key)) if hashed.is_some() || written.is_none() => {
                let message = "`arguments_key_file` has no effect without `arguments = \"hash\"`";
                let problem = self.error(key.span(), message, "not used");
                self.report(problem);
                None
            }
            _ => None,
        }
    }

    /// The file of the keys subjects are told by digests with, if they are.
    fn subjects_key(&mut self, raw: &raw::Audit) -> Option<PathBuf> {
        let (written, key) = (raw.subjects.as_ref(), raw.subjects_key_file.as_ref());
        let keyed = self.choice("subjects", written, &[("keyed", true), ("plain", false)], &[]);
        match (keyed, key) {
            (Some(true), Some(key)) => {
                let file = self.existing("subjects_key_file", key);
                if self.disk.is_some() && file.is_file() {
                    if let Err(error) = Keys::read(&file) {
                        let problem = self.error(key.span(), "`subjects_key_file` cannot be used", error.to_string());
                        self.report(problem.help(format!("make one with `openssl rand -hex 32 > {}`", file.display())));
                    }
                    self.exposed("subjects_key_file", key.span(), &file);
                }
                Some(file)
            }
            (Some(true), None) => {
                let span = written.map(Spanned::span).unwrap_or_default();
                let problem = self.error(span, "`subjects = \"keyed\"` needs a key", "names could be guessed");
                self.report(problem.help(
                    "make one with `openssl rand -hex 32 > audit-subjects.key`, and write `subjects_key_file = \"audit-subjects.key\"`",
                ));
                None
            }
            (_, Some(key)) if keyed.is_some() || written.is_none() => {
                let message = "`subjects_key_file` has no effect without `subjects = \"keyed\"`";
                let problem = self.error(key.span(), message, "not used");
                self.report(problem);
                None
            }
            _ => None,
        }
    }

    fn rotate(&mut self, written: &Spanned<raw::Rotate>) -> Option<Rotate> {
        let raw = written.get_ref();
        let (size, every) = (raw.size.as_ref(), raw.every.as_ref());
        if size.is_none() && every.is_none() {
            let problem =
                self.error(written.span(), "`rotate` says neither `size` nor `every`", "no file is ever full");
            self.report(problem.help("for example `rotate = { size = \"100 MiB\", every = \"1d\" }`"));
            return None;
        }
        let (sizes, periods) = (16 << 10..=1 << 40, Duration::from_mins(1)..=DAY * 30);
        let size = size.and_then(|size| self.size_without_default("size", size, &sizes, "for example \"100 MiB\""));
        let every =
            every.and_then(|every| self.duration_without_default("every", every, &periods, "for example \"1d\""));
        Some(Rotate { size, every })
    }

    fn retention(&mut self, raw: &raw::Audit) -> Option<Duration> {
        let written = raw.retention.as_ref()?;
        let retention =
            self.duration_without_default("retention", written, &(DAY..=DAY * 36_525), "for example \"190d\"");
        if raw.rotate.is_none() {
            let message = "`retention` has no effect without `rotate`";
            let problem = self.error(written.span(), message, "only files the proxy has rotated are deleted");
            self.report(problem.help("for example `rotate = { size = \"100 MiB\", every = \"1d\" }`"));
        }
        // EU AI Act, Art. 19(1) and 26(6): six months at least.
        if retention.is_some_and(|retention| retention < DAY * SIX_MONTHS) {
            let message = format!("`retention` is shorter than six months ({SIX_MONTHS} days)");
            let problem = self.warning(written.span(), message, "records are deleted early");
            self.report(problem.help(
                "the EU AI Act (Art. 19 and 26(6)) has logs of high-risk systems kept for six months at least: write \"190d\"",
            ));
        }
        retention
    }

    fn signing(&mut self, raw: &raw::Audit, chain: bool) -> Option<Signing> {
        let every = Duration::from_secs(1)..=Duration::from_mins(1);
        let every = self.duration("checkpoint", raw.checkpoint.as_ref(), Duration::from_secs(10), &every);
        let Some(written) = &raw.signing_key_file else {
            if let Some(interval) = &raw.checkpoint {
                let problem =
                    self.error(interval.span(), "`checkpoint` has no effect without `signing_key_file`", "not used");
                self.report(
                    problem.help("a checkpoint is a signature: `openssl genpkey -algorithm ed25519 -out audit.pem`"),
                );
            }
            return None;
        };
        if !chain {
            let message = "`signing_key_file` has no effect without `chain`";
            let problem = self.error(written.span(), message, "there is nothing to sign");
            self.report(
                problem.help("chain the lines: `sinks = [{ type = \"file\", path = \"audit.jsonl\", chain = true }]`"),
            );
        }
        let key_file = self.existing("signing_key_file", written);
        if self.disk.is_some() && key_file.is_file() {
            if let Err(error) = CheckpointKey::read(&key_file) {
                let problem = self.error(written.span(), "`signing_key_file` cannot be used", error.to_string());
                let shown = key_file.display();
                self.report(problem.help(format!("make one with `openssl genpkey -algorithm ed25519 -out {shown}`")));
            }
            self.exposed("signing_key_file", written.span(), &key_file);
        }
        Some(Signing { key_file, every })
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
