//! Deletes rotated files whose time is over: whole files, the oldest first, each only once the log says so.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chain::{Link, show};
use super::lines::LINE;
use super::rotated::{self, Rotated};
use super::sink::{self, Tail};
use super::{Audit, Event, Fragment, Record, escape};
use crate::clock::Timestamp;

/// How long the files of a log are kept, and what is known of them.
#[derive(Debug)]
pub(super) struct Retention {
    /// The file that is written.
    path: PathBuf,
    keep: Duration,
    /// Files whose deletion is recorded and failed.
    recorded: BTreeSet<PathBuf>,
}

impl Retention {
    pub(super) const fn new(path: PathBuf, keep: Duration) -> Self {
        Self { path, keep, recorded: BTreeSet::new() }
    }

    /// Deletes every file whose time is over `now`; returns how many were. Errs with the first that cannot be: later ones stay,
    /// so that what is left has no hole.
    pub(super) fn sweep(&mut self, audit: &Audit, now: Timestamp) -> io::Result<u64> {
        let mut deleted = 0;
        for old in rotated::all(&fs::canonicalize(&self.path)?)? {
            if old.until.plus(self.keep) >= now {
                break;
            }
            if !self.recorded.contains(&old.path) {
                self.record(audit, &old, now)?;
                self.recorded.insert(old.path.clone());
            }
            fs::remove_file(&old.path)?;
            tracing::info!(path = %old.path.display(), "audit file was deleted, as `audit.retention` says");
            self.recorded.remove(&old.path);
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Writes that the file will be deleted, with what is needed to know that nothing else is missing: its lines' numbers and
    /// the hash of the last.
    fn record(&self, audit: &Audit, old: &Rotated, now: Timestamp) -> io::Result<()> {
        let about = Fragment(self.about(old)?.into());
        let mut record = Record::new(Event::FileDeleted, now, uuid::Uuid::now_v7());
        record.about = Some(&about);
        audit.record_for_sure(&record)
    }

    fn about(&self, old: &Rotated) -> io::Result<Vec<u8>> {
        let file = File::open(&old.path)?;
        let bytes = file.metadata()?.len();
        let (_, tail) = sink::read_tail(&file)?;
        let mut out = b",\"deleted\":{\"file\":".to_vec();
        escape::own(&mut out, &old.path.file_name().unwrap_or_default().to_string_lossy());
        out.extend_from_slice(format!(",\"bytes\":{bytes},\"until\":\"").as_bytes());
        out.extend_from_slice(&old.until.rfc3339());
        out.push(b'"');
        if let Some(first) = first_number(&file) {
            out.extend_from_slice(format!(",\"first_seq\":{first}").as_bytes());
        }
        if let Tail::Chained(last, hash) = tail {
            out.extend_from_slice(format!(",\"last_seq\":{last},\"last_hash\":\"{}\"", show(&hash)).as_bytes());
        }
        let days = self.keep.as_secs() / 86_400;
        out.extend_from_slice(format!(",\"kept_days\":{days}}}").as_bytes());
        Ok(out)
    }
}

/// The number of the first chained line.
fn first_number(file: &File) -> Option<u64> {
    let mut line = Vec::new();
    BufReader::new(file.take(LINE as u64)).read_until(b'\n', &mut line).ok()?;
    Some(Link::read(line.strip_suffix(b"\n")?)?.sequence)
}

/// Where rotated files of this log would be, if there can be any.
pub(super) fn of(config: &crate::config::Audit) -> Option<Retention> {
    let path: &Path = match &config.sink {
        crate::config::AuditSink::File(path) => path,
        crate::config::AuditSink::Stdout => return None,
    };
    Some(Retention::new(path.to_owned(), config.retention?))
}
