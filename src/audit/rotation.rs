use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::reading::moment;
use crate::clock::Timestamp;
use crate::config::Rotate;

/// What comes to a line when it is written: its number, links and newline.
const CLOSING: usize = 200;
/// What the checkpoint that ends a file needs.
const CHECKPOINT: usize = 1024;
/// How a line begins, up to its time.
const BEGIN: &[u8] = b"{\"v\":1,\"time\":\"";

/// When the file that is written is full.
#[derive(Debug)]
pub(super) struct Rotation {
    limits: Rotate,
    /// Bytes in the file.
    bytes: usize,
    /// The time of its first line, or when it was made.
    since: Timestamp,
    count: u64,
    /// Whether the last attempt failed, and whether the next one is to wait.
    failing: bool,
    waits: bool,
}

impl Rotation {
    /// For the file that is open, if it is one: devices and pipes are never full.
    pub(super) fn of(limits: Rotate, file: &File, now: Timestamp) -> io::Result<Option<Self>> {
        if !file.metadata()?.is_file() {
            tracing::warn!("`audit.rotate` has no effect: the audit goes to no regular file");
            return Ok(None);
        }
        let mut rotation = Self { limits, bytes: 0, since: now, count: 0, failing: false, waits: false };
        rotation.begin(file, now)?;
        Ok(Some(rotation))
    }

    /// Another file is written from now on.
    pub(super) fn begin(&mut self, file: &File, now: Timestamp) -> io::Result<()> {
        let mut start = [0; BEGIN.len() + 24];
        let read = file.read_at(&mut start, 0)?;
        let time = start[..read].strip_prefix(BEGIN).and_then(|time| moment(std::str::from_utf8(time).ok()?));
        self.since = time.unwrap_or(now);
        self.bytes = length(file)?;
        Ok(())
    }

    /// Whether lines of together so many bytes are too much for the file, which has some.
    pub(super) fn is_full(&self, bytes: usize, lines: usize) -> bool {
        let after = self.bytes.saturating_add(bytes).saturating_add(lines.saturating_mul(CLOSING) + CHECKPOINT);
        self.bytes > 0 && !self.waits && self.limits.size.is_some_and(|size| after > size)
    }

    /// Whether the period of the file's first line is over; to be asked periodically.
    pub(super) fn is_over(&mut self, now: Timestamp) -> bool {
        self.waits = false;
        let over = self.limits.every.is_some_and(|every| {
            let period =
                |time: Timestamp| time.unix_seconds() / i64::try_from(every.as_secs().max(1)).unwrap_or(i64::MAX);
            period(now) > period(self.since)
        });
        self.bytes > 0 && over
    }

    /// So many bytes were written, or an unknown number.
    pub(super) fn wrote(&mut self, bytes: Option<usize>, file: &File) {
        match bytes {
            Some(bytes) => self.bytes += bytes,
            None => self.bytes = length(file).unwrap_or(self.bytes),
        }
    }

    /// A rotation was tried; what changes is logged.
    pub(super) fn tried(&mut self, path: &Path, result: &io::Result<()>) {
        match result {
            Ok(()) => self.count += 1,
            Err(error) if !self.failing => {
                tracing::error!(path = %path.display(), %error, "audit file cannot be rotated, and grows");
            }
            Err(_) => {}
        }
        (self.failing, self.waits) = (result.is_err(), result.is_err());
    }

    /// How often it was done.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

fn length(file: &File) -> io::Result<usize> {
    Ok(usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX))
}
