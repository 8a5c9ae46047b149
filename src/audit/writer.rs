use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::chain::Chain;
use super::checkpoint::CheckpointKey;
use super::record::{self, Record};
use super::rotation::Rotation;
use super::sink::{self, Sink, Tail};
use super::{Event, escape, rotated};
use crate::clock::{self, Timestamp};
use crate::config::{self, AuditSink, OnAuditError};

/// The most capacity kept between batches.
const KEPT_BYTES: usize = 256 * 1024;

/// Appends to the sink. Lines get their `seq` and their link in the chain here, so that both follow the order in the file.
#[derive(Debug)]
pub(super) struct Writer {
    /// The offset at which each line of `batch` ends.
    ends: Vec<usize>,
    batch: Vec<u8>,
    /// `None` if lines are not chained.
    chain: Option<Chain>,
    /// `None` if there are no checkpoints.
    signer: Option<Signer>,
    /// `,"instance":"…"`, for the writer's own lines.
    instance: Vec<u8>,
    /// The line with which a new file continues the chain, if it is not written yet.
    opened: Option<Vec<u8>>,
    /// The `seq` of the next line.
    sequence: u64,
    sink: Sink,
    sync: bool,
    /// Whether the sink may end with an incomplete line.
    torn: bool,
    /// Whether the file was removed and could not be created again yet.
    gone: bool,
    /// When the file is full; `None` if it never is.
    rotation: Option<Rotation>,
}

/// What signs checkpoints.
#[derive(Debug)]
struct Signer {
    key: CheckpointKey,
    every: Duration,
    /// Whether lines were written after the last checkpoint.
    pending: bool,
    /// When the last checkpoint was written.
    last: Instant,
}

/// A batch that was not written completely.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) error: io::Error,
    /// How many of its lines, counted from the front, count as written.
    pub(super) lines: usize,
    /// How many are in the log: more, if what came too much could not be cut off again.
    left: usize,
}

impl Partial {
    fn removed() -> Self {
        Self { error: io::Error::new(io::ErrorKind::NotFound, "the file was removed"), lines: 0, left: 0 }
    }
}

impl Writer {
    /// Opens the configured sink; its chain goes on where the file ends. Errs if the file or the key cannot be used.
    pub(super) fn open(config: &config::Audit, instance: &[u8]) -> io::Result<Self> {
        let signer = config.signing.as_ref().map(Signer::read).transpose()?;
        let mut tail = Tail::Empty;
        let mut torn = false;
        let sink = match &config.sink {
            AuditSink::File(path) => {
                let file;
                (file, torn, tail) = sink::open_file(path)?;
                sink::claim(&file, path);
                Sink::File { file, path: path.clone() }
            }
            // A separate handle, since the one of the standard library is buffered.
            AuditSink::Stdout => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                if sink::is_null(&file) {
                    tracing::warn!("decisions are recorded nowhere: standard output is closed, or `/dev/null`");
                }
                Sink::Stdout(file)
            }
        };
        let mut writer = Self::new(sink, config.chain.then(Chain::default), signer, instance);
        (writer.sync, writer.torn) = (config.sync, torn);
        let AuditSink::File(path) = &config.sink else {
            if config.rotate.is_some() {
                tracing::warn!("`audit.rotate` has no effect: the audit goes to no file");
            }
            return Ok(writer);
        };
        let now = Timestamp::now();
        let before = if matches!(tail, Tail::Empty) { rotated::last_line(path)? } else { None };
        // The process ended after it had rotated the file, and before it wrote a line to the next.
        if let Some(before) = before.filter(|_| writer.chain.is_some()) {
            writer.go_on_after(before, None);
            writer.go_on_after(Tail::Empty, Some(now));
        } else {
            writer.go_on_after(tail, None);
        }
        if let (Some(rotate), Sink::File { file, .. }) = (config.rotate, &writer.sink) {
            writer.rotation = Rotation::of(rotate, file, now)?;
        }
        Ok(writer)
    }

    fn new(sink: Sink, chain: Option<Chain>, signer: Option<Signer>, instance: &[u8]) -> Self {
        Self {
            ends: Vec::new(),
            batch: Vec::new(),
            chain,
            signer,
            instance: instance.to_vec(),
            opened: None,
            sequence: 1,
            sink,
            sync: false,
            torn: false,
            gone: false,
            rotation: None,
        }
    }

    #[cfg(test)]
    pub(super) fn fake(fake: std::sync::Arc<std::sync::Mutex<super::tests::Fake>>) -> Self {
        Self::new(Sink::Fake(fake), None, None, b",\"instance\":\"test/0\"")
    }

    /// The same with a chain, and a checkpoint whenever one is asked for.
    #[cfg(test)]
    pub(super) fn chained(self, key: CheckpointKey) -> Self {
        let signer = Signer { key, every: Duration::ZERO, pending: false, last: clock::monotonic() };
        Self { chain: Some(Chain::default()), signer: Some(signer), ..self }
    }

    /// The `seq` of the last line.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence - 1
    }

    #[cfg(test)]
    pub(super) fn set_sync(&mut self) {
        self.sync = true;
    }

    /// Opens the file again, after its name was given to another. A checkpoint ends the old one.
    pub(super) fn reopen(&mut self, now: Timestamp) -> io::Result<()> {
        let Sink::File { path, .. } = &self.sink else { return Ok(()) };
        let path = path.clone();
        if !self.gone {
            let _ = self.checkpoint(now);
        }
        self.take_up(&path, now)
    }

    /// Goes on in the file that has the name now, which may be a new one.
    fn take_up(&mut self, path: &Path, now: Timestamp) -> io::Result<()> {
        let (newer, torn, tail) = sink::open_file(path)?;
        if let Some(rotation) = &mut self.rotation {
            rotation.begin(&newer, now)?;
        }
        if let Sink::File { file, .. } = &mut self.sink {
            // It may be the same file, which cannot be locked twice.
            let _ = file.unlock();
            sink::claim(&newer, path);
            *file = newer;
        }
        (self.torn, self.gone) = (torn, false);
        self.go_on_after(tail, Some(now));
        Ok(())
    }

    /// Gives the file a name of its own, and goes on in a new one. If that fails the file stays in use, and is tried again after
    /// the next [`Self::tend`].
    fn rotate(&mut self, now: Timestamp) {
        let rotated = self.try_rotate(now);
        if let (Some(rotation), Sink::File { path, .. }) = (&mut self.rotation, &self.sink) {
            rotation.tried(path, &rotated);
        }
    }

    /// A crash leaves either the old name or, after the rename, no file or an empty one: then the next start goes on after
    /// the last line of the newest rotated file.
    fn try_rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let Sink::File { file, path } = &self.sink else { return Ok(()) };
        let path = path.clone();
        if !sink::is_named(file, &path) {
            // Somebody else has rotated or removed it.
            return self.reopen(now);
        }
        let named = fs::canonicalize(&path)?;
        let full = rotated::next(&named, now)?;
        let _ = self.checkpoint(now);
        fs::rename(&named, &full)?;
        if let Err(error) = self.take_up(&path, now) {
            // Lines still go to the old file: under its old name they are found.
            fs::rename(&full, &named)?;
            return Err(error);
        }
        if self.sync {
            sink::sync_folder(&named)?;
        }
        Ok(())
    }

    /// How often a file was rotated since the start.
    pub(super) fn rotations(&self) -> u64 {
        self.rotation.as_ref().map_or(0, Rotation::count)
    }

    /// Has the disk have what was written.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.sink.sync()
    }

    /// Has the chain go on after the last line of the file. An empty file begins with a line that continues the chain, `now`;
    /// without a line to go on after, or a time, a new chain begins.
    fn go_on_after(&mut self, tail: Tail, now: Option<Timestamp>) {
        self.opened = None;
        let Some(chain) = &mut self.chain else { return };
        match (tail, now) {
            (Tail::Chained(sequence, hash), _) => {
                *chain = Chain::after(Some(hash));
                self.sequence = sequence.saturating_add(1);
            }
            (Tail::Empty, Some(now)) if chain.head().is_some() => self.opened = Some(self.own(Event::Opened, now, "")),
            (Tail::Empty, _) => {}
            (Tail::Unchained, _) => tracing::warn!(
                "the audit file ends with lines that are not chained, which cannot be verified: give it another name and send SIGHUP"
            ),
        }
    }

    /// Creates the file again if somebody removed it: nobody would ever read what is written to an unlinked file. As long as
    /// that fails, writes fail too. `None` if there was nothing to do.
    pub(super) fn tend(&mut self, now: Timestamp) -> Option<io::Result<()>> {
        if self.rotation.as_mut().is_some_and(|rotation| rotation.is_over(now)) && !self.gone {
            self.rotate(now);
        }
        let Sink::File { file, path } = &self.sink else { return None };
        if !self.gone && !sink::is_removed(file, path) {
            return None;
        }
        let path = path.clone();
        let is_new = !std::mem::replace(&mut self.gone, true);
        let reopened = self.reopen(now);
        match &reopened {
            Ok(()) => tracing::warn!(path = %path.display(), "audit file was removed, and is made anew"),
            Err(error) if is_new => {
                tracing::error!(path = %path.display(), %error, "audit file was removed, and cannot be made anew");
            }
            Err(_) => {}
        }
        Some(reopened)
    }

    /// Writes lines that end at the offsets `ends` in one write. On an error the lines that fitted stay and the rest is cut.
    ///
    /// A dropped line uses up a number, so that the gap shows; a line whose call is refused does not.
    pub(super) fn append(&mut self, lines: &[u8], ends: &[usize], on_error: OnAuditError) -> Result<usize, Partial> {
        if self.rotation.as_ref().is_some_and(|rotation| rotation.is_full(lines.len(), ends.len())) && !self.gone {
            self.rotate(Timestamp::now());
        }
        let result = self.put(lines, ends, on_error, false);
        if let (Some(signer), Ok(1..) | Err(Partial { left: 1.., .. })) = (&mut self.signer, &result) {
            signer.pending = true;
        }
        result
    }

    /// Whether a checkpoint is due: lines were written since the last, and that was long enough ago.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        let due = |signer: &Signer| signer.pending && clock::monotonic().duration_since(signer.last) >= signer.every;
        self.signer.as_ref().is_some_and(due)
    }

    /// Writes a checkpoint, if lines were written since the last; `None` if there was nothing to sign.
    pub(super) fn checkpoint(&mut self, now: Timestamp) -> Option<Result<(), Partial>> {
        let signer = self.signer.as_ref().filter(|signer| signer.pending && self.chain.is_some())?;
        let line = self.own(Event::Checkpoint, now, signer.key.kid());
        let result = self.put(&line, &[line.len()], OnAuditError::Block, true).map(drop);
        if let (Some(signer), true) = (&mut self.signer, result.is_ok()) {
            (signer.pending, signer.last) = (false, clock::monotonic());
        }
        Some(result)
    }

    /// A line of the writer's own without its closing; `kid` names the key that signs it.
    fn own(&self, event: Event, now: Timestamp, kid: &str) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        record::render(&mut line, &Record::new(event, now, Uuid::now_v7()), |text| text.into());
        if !kid.is_empty() {
            line.extend_from_slice(b",\"kid\":");
            escape::own(&mut line, kid);
        }
        line.extend_from_slice(&self.instance);
        line
    }

    /// Like [`Self::append`]; `sign` makes the last line a checkpoint.
    fn put(&mut self, lines: &[u8], ends: &[usize], on_error: OnAuditError, sign: bool) -> Result<usize, Partial> {
        let opened = usize::from(self.opened.is_some());
        self.assemble(lines, ends, sign);
        let result = if self.gone { Err(Partial::removed()) } else { self.write_batch() };
        let written = *result.as_ref().unwrap_or_else(|partial| &partial.left);
        if let Some(chain) = &mut self.chain {
            chain.commit(written);
        }
        if written > 0 {
            self.opened = None;
        }
        let numbers = match (&result, on_error) {
            (Err(_), OnAuditError::Drop) => ends.len() + opened.min(written),
            (Err(_), OnAuditError::Block) | (Ok(_), _) => written,
        };
        self.sequence += numbers as u64;
        if let (Some(rotation), Sink::File { file, .. }) = (&mut self.rotation, &self.sink) {
            rotation.wrote(result.is_ok().then_some(self.batch.len()), file);
        }
        self.batch.clear();
        self.batch.shrink_to(KEPT_BYTES);
        result.map(|lines| lines - opened).map_err(|partial| {
            let lines = partial.lines.saturating_sub(opened);
            Partial { lines, ..partial }
        })
    }

    /// Completes the lines with their numbers, links and newlines.
    fn assemble(&mut self, lines: &[u8], ends: &[usize], sign: bool) {
        let Self { batch, chain, signer, .. } = self;
        batch.clear();
        self.ends.clear();
        if self.torn {
            batch.push(b'\n');
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let callers = starts.zip(ends).map(|(start, &end)| &lines[start..end]);
        let mut number = itoa::Buffer::new();
        for (sequence, line) in (self.sequence..).zip(self.opened.as_deref().into_iter().chain(callers)) {
            let start = batch.len();
            batch.extend_from_slice(line);
            batch.extend_from_slice(b",\"seq\":");
            batch.extend_from_slice(number.format(sequence).as_bytes());
            match chain {
                None => batch.push(b'}'),
                Some(chain) => {
                    let is_last = self.ends.len() == ends.len() - usize::from(self.opened.is_none());
                    let key = signer.as_ref().filter(|_| sign && is_last).map(|signer| &signer.key);
                    chain.close(batch, start, key);
                }
            }
            batch.push(b'\n');
            self.ends.push(batch.len());
        }
    }

    fn write_batch(&mut self) -> Result<usize, Partial> {
        let (written, result) = self.sink.write_whole(&self.batch);
        let result = result.and_then(|()| if self.sync { self.sink.sync() } else { Ok(()) });
        let Err(error) = result else {
            self.torn = false;
            return Ok(self.ends.len());
        };
        // Without a sync anything may be lost, however much the kernel accepted.
        let lines = if self.sync { 0 } else { self.ends.partition_point(|&end| end <= written) };
        let whole = lines.checked_sub(1).map_or(0, |last| self.ends[last]);
        let mut left = lines;
        // INVARIANT: only this process appends to the file, and only under the lock: it ends with what was just written.
        if whole < written && self.sink.cut((written - whole) as u64).is_err() {
            self.torn = true;
            // The last of them may lack nothing but its newline.
            left = self.ends.partition_point(|&end| end - 1 <= written);
        } else if whole > 0 {
            self.torn = false;
        }
        Err(Partial { error, lines, left })
    }
}

impl Signer {
    fn read(signing: &config::Signing) -> io::Result<Self> {
        let key = CheckpointKey::read(&signing.key_file).map_err(io::Error::other)?;
        Ok(Self { key, every: signing.every, pending: false, last: clock::monotonic() })
    }
}
