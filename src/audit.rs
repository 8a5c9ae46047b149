//! The audit log: one JSON line per decision, written before the decision takes effect, and one when the request has ended.
//!
//! One [`Audit`] serves the process; each worker thread renders its lines into its own [`Lane`] and writes those of one
//! event loop turn together. A line counts as written when write(2) has returned for all of it, so that killing the process
//! after an answer loses nothing. A caller that gets an [`AuditError`] must not go on with the call.

mod chain;
pub(crate) mod checkpoint;
mod claimed;
mod configured;
mod escape;
mod event;
pub(crate) mod export;
mod failures;
pub(crate) mod follow;
pub(crate) mod history;
mod lane;
pub(crate) mod lines;
pub(crate) mod probe;
pub(crate) mod reading;
mod record;
mod recorded;
mod refreshed;
pub(crate) mod report;
mod retention;
mod revoked;
pub(crate) mod rotated;
mod rotation;
pub(crate) mod set;
mod sink;
pub(crate) mod subjects;
pub(crate) mod summary;
mod told;
pub(crate) mod verify;
pub(crate) mod whose;
mod writer;

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use thiserror::Error;

use crate::clock::Timestamp;
use crate::config::{self, OnAuditError};
use crate::seal;

pub(crate) use configured::{By, Changes, Versions, configured};
pub use event::Event;
pub use lane::{Lane, Ticket};
pub use record::{Arguments, Client, Decision, ErrorCode, Fragment, Masked, Policy, Record, Session, Subject, Target};
pub(crate) use record::{render_anonymous, render_credential};
pub use recorded::{Recorded, decided};
pub(crate) use recorded::{drifted, ended, failed_login};
pub(crate) use refreshed::{Refresh, refreshed};
pub(crate) use revoked::revoked;

use failures::Failures;
use retention::Retention;
use subjects::Subjects;
use writer::Writer;

/// Redacts personal data and secrets in text written by a caller or upstream, with every recogniser, for use in a record.
pub type Sanitize = fn(&str) -> Cow<'_, str>;

/// The audit log of the process, shared by all workers.
#[derive(Debug)]
pub struct Audit {
    /// The key that arguments are hashed with; `None` if nothing of them is recorded.
    arguments_key: Option<hmac::Key>,
    counts: Counters,
    /// How long rotated files are kept; `None` for ever.
    retention: Option<Mutex<Retention>>,
    failing: AtomicBool,
    failures: Mutex<Failures>,
    /// `,"instance":"…"`, at the end of every record.
    instance: Vec<u8>,
    on_error: OnAuditError,
    sanitize: Sanitize,
    /// What names of callers are told by; `None` if they are told as they are.
    subjects: Option<Box<Subjects>>,
    /// Whether masked arguments are told.
    tells_arguments: bool,
    /// The Unix second from which a summary of counted failures is due; `i64::MAX` when there are none.
    summary_from: AtomicI64,
    /// Lines that wait for the writer, or are being written.
    waiting: AtomicUsize,
    writer: Mutex<Writer>,
}

#[derive(Debug, Default)]
struct Counters {
    deleted: AtomicU64,
    dropped: AtomicU64,
    suppressed: AtomicU64,
    unwritten: AtomicU64,
    written: AtomicU64,
}

/// Numbers of lines and files since the start of the process, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rotated files that were deleted.
    pub deleted: u64,
    /// How often the file was rotated.
    pub rotated: u64,
    /// Not written, and the call continued (`on_error = "drop"`).
    pub dropped: u64,
    /// Failures before authentication that were counted instead of written one by one.
    pub suppressed: u64,
    /// Not written, and the call was refused (`on_error = "block"`).
    pub unwritten: u64,
    /// Written.
    pub written: u64,
}

/// The log cannot be written, so whatever was to be recorded must not happen.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the audit log cannot be written")]
pub struct AuditError;

impl Audit {
    /// Opens the configured sink; `instance` names this process in every record. Errs if a file cannot be opened or created.
    pub fn open(config: &config::Audit, instance: &str, sanitize: Sanitize) -> io::Result<Arc<Self>> {
        let mut rendered = b",\"instance\":".to_vec();
        escape::own(&mut rendered, instance);
        let writer = Writer::open(config, &rendered)?;
        let retention = retention::of(config).map(Mutex::new);
        let arguments_key =
            config.arguments_key.as_deref().map(seal::hash_key).transpose().map_err(io::Error::other)?;
        let subjects = config.subjects_key.as_deref().map(Subjects::open).transpose().map_err(io::Error::other)?;
        let subjects = subjects.map(Box::new);
        Ok(Arc::new(Self {
            arguments_key,
            retention,
            subjects,
            tells_arguments: config.masked_arguments,
            ..Self::with(writer, config.on_error, rendered, sanitize)
        }))
    }

    fn with(writer: Writer, on_error: OnAuditError, instance: Vec<u8>, sanitize: Sanitize) -> Self {
        Self {
            arguments_key: None,
            counts: Counters::default(),
            retention: None,
            failing: AtomicBool::new(false),
            failures: Mutex::new(Failures::default()),
            instance,
            on_error,
            sanitize,
            subjects: None,
            tells_arguments: false,
            summary_from: AtomicI64::new(i64::MAX),
            waiting: AtomicUsize::new(0),
            writer: Mutex::new(writer),
        }
    }

    /// Opens the file again, after log rotation renamed it; on an error the old one stays in use.
    pub fn reopen(&self, now: Timestamp) -> io::Result<()> {
        lock(&self.writer).reopen(now)
    }

    /// Creates the file again if somebody removed it, and writes a checkpoint if one is due; to be called periodically.
    pub(crate) fn tend(&self, now: Timestamp) {
        let mut writer = lock(&self.writer);
        if let Some(tended) = writer.tend(now) {
            self.failing.store(tended.is_err(), Ordering::Relaxed);
        }
        if writer.is_checkpoint_due() {
            self.sign(&mut writer, now);
        }
    }

    /// Deletes rotated files whose time is over, each after a line that says so; to be called periodically, and not by who
    /// answers calls: it reads and deletes files. Returns whether there was anything to do.
    pub(crate) fn sweep(&self, now: Timestamp) -> io::Result<u64> {
        let Some(retention) = &self.retention else { return Ok(0) };
        let deleted = lock(retention).sweep(self, now)?;
        self.counts.deleted.fetch_add(deleted, Ordering::Relaxed);
        Ok(deleted)
    }

    /// Whether [`Self::sweep`] can ever have anything to do.
    pub(crate) const fn sweeps(&self) -> bool {
        self.retention.is_some()
    }

    /// Writes a line on which something depends that cannot be undone: whatever `on_error` says, the disk has it or this errs.
    fn record_for_sure(&self, record: &Record<'_>) -> io::Result<()> {
        let mut line = Vec::new();
        self.render(&mut line, record);
        let mut writer = lock(&self.writer);
        let written = writer.append(&line, &[line.len()], OnAuditError::Block).map_err(|partial| partial.error);
        self.counts.written.fetch_add(u64::from(written.is_ok()), Ordering::Relaxed);
        self.note(written.as_ref().err());
        written.and_then(|_| writer.sync())
    }

    /// Writes a last checkpoint, if checkpoints are configured.
    pub(crate) fn end(&self, now: Timestamp) {
        self.sign(&mut lock(&self.writer), now);
    }

    fn sign(&self, writer: &mut Writer, now: Timestamp) {
        if let Some(signed) = writer.checkpoint(now) {
            self.counts.written.fetch_add(u64::from(signed.is_ok()), Ordering::Relaxed);
            self.note(signed.err().map(|partial| partial.error).as_ref());
        }
    }

    /// Notes whether a write failed; a change is logged.
    fn note(&self, error: Option<&io::Error>) {
        if self.failing.swap(error.is_some(), Ordering::Relaxed) != error.is_some() {
            match error {
                None => tracing::info!("audit log is written again"),
                Some(error) => tracing::error!(%error, "audit log cannot be written"),
            }
        }
    }

    /// A message for the operator while the log cannot be written; `None` otherwise.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        let told = match self.on_error {
            OnAuditError::Block => "audit cannot be written: calls are refused",
            OnAuditError::Drop => "audit cannot be written: calls go on unrecorded",
        };
        self.is_failing().then_some(told)
    }

    /// What is recorded of arguments, which are `text` as the client wrote them.
    pub(crate) fn arguments(&self, text: &[u8]) -> Option<Arguments> {
        let tag = hmac::sign(self.arguments_key.as_ref()?, text);
        tag.as_ref().first_chunk().copied().map(Arguments)
    }

    /// Whether anything is.
    pub(crate) const fn records_arguments(&self) -> bool {
        self.arguments_key.is_some()
    }

    /// Renders the `subject` member of a record, once per caller.
    pub fn subject(&self, subject: &Subject<'_>) -> Fragment {
        match &self.subjects {
            Some(subjects) => subjects.render(subject),
            None => record::render_subject(subject),
        }
    }

    /// Renders the `client` member of a record, once per connection.
    pub fn client(&self, client: &Client<'_>) -> Fragment {
        let address = client.address;
        let address = if self.subjects.is_some() { subjects::network(address) } else { address.to_string() };
        record::render_client(client, &address, self.sanitize)
    }

    /// Renders the members that all lines of one call share, once per call: those of the fields `server` to `policy`.
    pub fn about(&self, record: &Record<'_>) -> Fragment {
        record::render_about(record, self.sanitize)
    }

    /// The numbers of lines written and not written.
    pub fn counts(&self) -> Counts {
        let Counters { deleted, dropped, suppressed, unwritten, written } = &self.counts;
        let [deleted, dropped, suppressed, unwritten, written] =
            [deleted, dropped, suppressed, unwritten, written].map(|count| count.load(Ordering::Relaxed));
        Counts { deleted, rotated: lock(&self.writer).rotations(), dropped, suppressed, unwritten, written }
    }

    /// The `seq` of the newest line.
    pub(crate) fn sequence(&self) -> u64 {
        lock(&self.writer).sequence()
    }

    /// The number of lines that wait to be written, by all workers together; more than a few where the disk is slow.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the last write failed.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Appends `record` as a line without its closing: the [`Writer`] adds `seq`, the brace and the newline.
    fn render(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        record::render(out, record, self.sanitize);
        out.extend_from_slice(&self.instance);
    }

    /// Writes `lines`, which end at the offsets `ends`. Returns how many of them, counted from the front, are to be treated as
    /// written: with `on_error = "drop"` all are.
    fn write(&self, lines: &[u8], ends: &[usize]) -> usize {
        self.waiting.fetch_add(ends.len(), Ordering::Relaxed);
        let result = lock(&self.writer).append(lines, ends, self.on_error);
        self.waiting.fetch_sub(ends.len(), Ordering::Relaxed);
        let written = *result.as_ref().unwrap_or_else(|partial| &partial.lines);
        let missing = (ends.len() - written) as u64;
        self.counts.written.fetch_add(written as u64, Ordering::Relaxed);
        self.note(result.as_ref().err().map(|partial| &partial.error));
        match self.on_error {
            OnAuditError::Block => {
                self.counts.unwritten.fetch_add(missing, Ordering::Relaxed);
                written
            }
            OnAuditError::Drop => {
                self.counts.dropped.fetch_add(missing, Ordering::Relaxed);
                ends.len()
            }
        }
    }

    /// Whether this failure gets a line of its own; if not, it has been counted.
    fn admits_failure(&self, record: &Record<'_>) -> bool {
        let mut failures = lock(&self.failures);
        if failures.admit(record) {
            return true;
        }
        self.counts.suppressed.fetch_add(1, Ordering::Relaxed);
        self.summary_from.store(record.time.unix_seconds().saturating_add(1), Ordering::Relaxed);
        false
    }

    /// Appends a summary line for each kind of counted failure, without its closing, and calls `mark` after each.
    fn summarise(&self, out: &mut Vec<u8>, now: Timestamp, mut mark: impl FnMut(&[u8])) {
        self.summary_from.store(i64::MAX, Ordering::Relaxed);
        for summary in lock(&self.failures).take() {
            record::render_summary(out, &summary, now);
            out.extend_from_slice(&self.instance);
            mark(out);
        }
    }

    fn is_summary_due(&self, now: Timestamp) -> bool {
        self.summary_from.load(Ordering::Relaxed) <= now.unix_seconds()
    }
}

/// Locks a mutex, poisoned or not: the data is consistent even after a panic, since an unfinished line is discarded.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
