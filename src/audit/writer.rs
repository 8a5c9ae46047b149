use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::{AuditSink, OnAuditError};

/// The most capacity kept between batches.
const KEPT_BYTES: usize = 256 * 1024;

/// Appends to the sink. Lines get their `seq` here, so that the numbers follow the order in the file.
#[derive(Debug)]
pub(super) struct Writer {
    /// The offset at which each line of `batch` ends.
    ends: Vec<usize>,
    batch: Vec<u8>,
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

/// A batch that was not written completely.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) error: io::Error,
    /// How many of its lines, counted from the front, are in the log.
    pub(super) lines: usize,
}

impl Partial {
    fn removed() -> Self {
        Self { error: io::Error::new(io::ErrorKind::NotFound, "the file was removed"), lines: 0 }
    }
}

impl Writer {
    pub(super) fn open(sink: &AuditSink, sync: bool) -> io::Result<Self> {
        let (sink, torn) = match sink {
            AuditSink::File(path) => {
                let (file, torn) = open_file(path)?;
                claim(&file, path);
                (Sink::File { file, path: path.clone() }, torn)
            }
            // A separate handle, since the one of the standard library is buffered.
            AuditSink::Stdout => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                if is_null(&file) {
                    tracing::warn!("decisions are recorded nowhere: standard output is closed, or `/dev/null`");
                }
                (Sink::Stdout(file), false)
            }
        };
        Ok(Self { ends: Vec::new(), batch: Vec::new(), sequence: 1, sink, sync, torn, gone: false })
    }

    #[cfg(test)]
    pub(super) fn fake(fake: std::sync::Arc<std::sync::Mutex<super::tests::Fake>>) -> Self {
        let sink = Sink::Fake(fake);
        Self { ends: Vec::new(), batch: Vec::new(), sequence: 1, sink, sync: false, torn: false, gone: false }
    }

    #[cfg(test)]
    pub(super) fn set_sync(&mut self) {
        self.sync = true;
    }

    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File { file, path } = &mut self.sink {
            let (newer, torn) = open_file(path)?;
            // It may be the same file, which cannot be locked twice.
            let _ = file.unlock();
            claim(&newer, path);
            (*file, self.torn, self.gone) = (newer, torn, false);
        }
        Ok(())
    }

    /// Creates the file again if somebody removed it: nobody would ever read what is written to an unlinked file. As long as
    /// that fails, writes fail too. `None` if there was nothing to do.
    pub(super) fn tend(&mut self) -> Option<io::Result<()>> {
        let Sink::File { file, path } = &self.sink else { return None };
        if !self.gone && !is_removed(file, path) {
            return None;
        }
        let path = path.clone();
        let is_new = !std::mem::replace(&mut self.gone, true);
        let reopened = self.reopen();
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
        self.assemble(lines, ends);
        let result = if self.gone { Err(Partial::removed()) } else { self.write_batch() };
        let numbers = match (&result, on_error) {
            (Err(partial), OnAuditError::Block) => partial.lines,
            (Err(_), OnAuditError::Drop) | (Ok(_), _) => ends.len(),
        };
        self.sequence += numbers as u64;
        self.batch.clear();
        self.batch.shrink_to(KEPT_BYTES);
        result
    }

    /// Completes the lines with their numbers and newlines.
    fn assemble(&mut self, lines: &[u8], ends: &[usize]) {
        self.batch.clear();
        self.ends.clear();
        if self.torn {
            self.batch.push(b'\n');
        }
        let mut start = 0;
        let mut number = itoa::Buffer::new();
        for (sequence, &end) in (self.sequence..).zip(ends) {
            self.batch.extend_from_slice(&lines[start..end]);
            self.batch.extend_from_slice(b",\"seq\":");
            self.batch.extend_from_slice(number.format(sequence).as_bytes());
            self.batch.extend_from_slice(b"}\n");
            self.ends.push(self.batch.len());
            start = end;
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
        if whole < written {
            // INVARIANT: only this process appends to the file, and only under the lock: it ends with what was just written.
            self.torn = self.sink.cut((written - whole) as u64).is_err() || (whole == 0 && self.torn);
        } else if whole > 0 {
            self.torn = false;
        }
        Err(Partial { error, lines })
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

/// Opens the file, or creates it accessible to its owner only, and tells whether it ends inside a line.
fn open_file(path: &Path) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let about = file.metadata()?;
    let mut last = [b'\n'];
    if about.is_file() && about.len() > 0 {
        file.read_exact_at(&mut last, about.len() - 1)?;
    }
    Ok((file, last != [b'\n']))
}
