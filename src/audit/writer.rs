use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::{AuditSink, OnAuditError};

/// Memory kept between batches.
const KEPT_BYTES: usize = 256 * 1024;

/// The end of the log. Lines get their number here, so that numbers follow the order in the file.
#[derive(Debug)]
pub(super) struct Writer {
    /// Where each line of `batch` ends.
    ends: Vec<usize>,
    batch: Vec<u8>,
    /// Number of the next line.
    sequence: u64,
    sink: Sink,
    sync: bool,
    /// Whether the last thing in the sink may be a part of a line.
    torn: bool,
    /// Whether the file was removed, and no other could be made yet.
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

/// How far a batch got.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) error: io::Error,
    /// Lines that are in the log, from the front.
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
            // A handle of our own: the standard library's would hold lines back.
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
            // It may be the same file, which nobody can claim twice.
            let _ = file.unlock();
            claim(&newer, path);
            (*file, self.torn, self.gone) = (newer, torn, false);
        }
        Ok(())
    }

    /// Makes the file anew if somebody has removed it: what is written into one without a name nobody will read. Nothing
    /// can be written as long as that fails. Says how it went, where there was something to do.
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

    /// Writes lines that end at `ends` in one write; on an error the lines that fitted stay and the rest is cut off.
    ///
    /// A number is used up by a line that is dropped, which shows the gap, and not by one whose call is refused.
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

    /// Puts numbers and line ends to the lines.
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
        // What could not be synced may be lost, however much of it was taken.
        let lines = if self.sync { 0 } else { self.ends.partition_point(|&end| end <= written) };
        let whole = lines.checked_sub(1).map_or(0, |last| self.ends[last]);
        if whole < written {
            // INVARIANT: only this process adds to the file, and only under the lock: its end is what was just written.
            self.torn = self.sink.cut((written - whole) as u64).is_err() || (whole == 0 && self.torn);
        } else if whole > 0 {
            self.torn = false;
        }
        Err(Partial { error, lines })
    }
}

impl Sink {
    /// Writes until all is written or an error comes; says how much was.
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

    /// Takes the last `count` bytes back, where that can be done.
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

/// Marks the file as this process's. What another one adds could be cut off with a line that did not fit.
fn claim(file: &File, path: &Path) {
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        tracing::warn!(path = %path.display(), "another process records into this file too: give each one of its own");
    }
}

/// Whether the file has lost its name: some file systems say so of all.
fn is_removed(file: &File, path: &Path) -> bool {
    let is_named = |about: &Metadata| {
        std::fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (about.dev(), about.ino()))
    };
    file.metadata().is_ok_and(|about| about.nlink() == 0 && !is_named(&about))
}

/// Whether what is written there is gone.
fn is_null(file: &File) -> bool {
    let device = |about: io::Result<Metadata>| about.ok().filter(|about| about.file_type().is_char_device());
    let null = device(std::fs::metadata("/dev/null"));
    device(file.metadata()).is_some_and(|about| null.is_some_and(|null| about.rdev() == null.rdev()))
}

/// The file, made readable by its owner only, and whether it ends inside a line.
fn open_file(path: &Path) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let about = file.metadata()?;
    let mut last = [b'\n'];
    if about.is_file() && about.len() > 0 {
        file.read_exact_at(&mut last, about.len() - 1)?;
    }
    Ok((file, last != [b'\n']))
}
