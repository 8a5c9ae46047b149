use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::chain::{Chain, Hash, Link, is_torn};
use super::checkpoint::CheckpointKey;
use super::record::{self, Record};
use super::{Event, escape};
use crate::clock::{self, Timestamp};
use crate::config::{self, AuditSink, OnAuditError};

/// The most capacity kept between batches.
const KEPT_BYTES: usize = 256 * 1024;
/// How much of a file is read from its end for its last line.
const TAIL_BYTES: u64 = 128 * 1024;

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
}

#[derive(Debug)]
enum Sink {
    #[cfg(test)]
    Fake(std::sync::Arc<std::sync::Mutex<super::tests::Fake>>),
    File {
        file: File,
        path: PathBuf,
    },
    Stdout(File),
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
                (file, torn, tail) = open_file(path)?;
                claim(&file, path);
                Sink::File { file, path: path.clone() }
            }
            // A separate handle, since the one of the standard library is buffered.
            AuditSink::Stdout => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                if is_null(&file) {
                    tracing::warn!("decisions are recorded nowhere: standard output is closed, or `/dev/null`");
                }
                Sink::Stdout(file)
            }
        };
        let mut writer = Self::new(sink, config.chain.then(Chain::default), signer, instance);
        (writer.sync, writer.torn) = (config.sync, torn);
        writer.go_on_after(tail, None);
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
        let (newer, torn, tail) = open_file(&path)?;
        if let Sink::File { file, .. } = &mut self.sink {
            // It may be the same file, which cannot be locked twice.
            let _ = file.unlock();
            claim(&newer, &path);
            *file = newer;
        }
        (self.torn, self.gone) = (torn, false);
        self.go_on_after(tail, Some(now));
        Ok(())
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
        let Sink::File { file, path } = &self.sink else { return None };
        if !self.gone && !is_removed(file, path) {
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

impl Sink {
    /// Writes until everything is written or an error occurs; returns how many bytes were written.
    fn write_whole(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.write(&bytes[written..]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            #[cfg(test)]
            Self::Fake(fake) => super::lock(fake).write(bytes),
            Self::File { file, .. } | Self::Stdout(file) => file.write(bytes),
        }
    }

    /// Cuts off the last `count` bytes. Errs for standard output, which cannot be truncated.
    fn cut(&mut self, count: u64) -> io::Result<()> {
        match self {
            #[cfg(test)]
            Self::Fake(fake) => super::lock(fake).cut(count),
            Self::File { file, .. } => file.set_len(file.metadata()?.len().saturating_sub(count)),
            Self::Stdout(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self {
            #[cfg(test)]
            Self::Fake(fake) => super::lock(fake).sync(),
            Self::File { file, .. } => file.sync_data(),
            // A pipe or terminal has nothing to sync.
            Self::Stdout(_) => Ok(()),
        }
    }
}

/// Locks the file for this process, with a warning if another has it: what that one appends could be cut off together with a
/// line that did not fit.
fn claim(file: &File, path: &Path) {
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        tracing::warn!(path = %path.display(), "another process records into this file too: give each one of its own");
    }
}

/// Whether the file was unlinked. Some file systems report no links for any file, so the path is looked up as well.
fn is_removed(file: &File, path: &Path) -> bool {
    let is_named = |about: &Metadata| {
        std::fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (about.dev(), about.ino()))
    };
    file.metadata().is_ok_and(|about| about.nlink() == 0 && !is_named(&about))
}

/// Whether the file is `/dev/null`.
fn is_null(file: &File) -> bool {
    let device = |about: io::Result<Metadata>| about.ok().filter(|about| about.file_type().is_char_device());
    let null = device(std::fs::metadata("/dev/null"));
    device(file.metadata()).is_some_and(|about| null.is_some_and(|null| about.rdev() == null.rdev()))
}

impl Signer {
    fn read(signing: &config::Signing) -> io::Result<Self> {
        let key = CheckpointKey::read(&signing.key_file).map_err(io::Error::other)?;
        Ok(Self { key, every: signing.every, pending: false, last: clock::monotonic() })
    }
}

/// How a file ends.
#[derive(Clone, Copy, Debug)]
enum Tail {
    /// With a chained line: its `seq` and its hash.
    Chained(u64, Hash),
    /// It has no line.
    Empty,
    /// With a line that is not chained.
    Unchained,
}

/// Opens the file, or creates it accessible to its owner only; tells whether it ends inside a line, and its last whole line.
fn open_file(path: &Path) -> io::Result<(File, bool, Tail)> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let (torn, tail) = read_tail(&file)?;
    Ok((file, torn, tail))
}

fn read_tail(file: &File) -> io::Result<(bool, Tail)> {
    let about = file.metadata()?;
    if !about.is_file() || about.len() == 0 {
        return Ok((false, Tail::Empty));
    }
    let count = about.len().min(TAIL_BYTES);
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
    file.read_exact_at(&mut bytes, about.len() - count)?;
    let torn = bytes.last() != Some(&b'\n');
    // What a write that failed has left is no line.
    let mut lines = bytes.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !is_torn(line));
    let link = lines.next().and_then(Link::read);
    Ok((torn, link.map_or(Tail::Unchained, |link| Tail::Chained(link.sequence, link.hash))))
}
