//! Where lines go.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::chain::{Hash, Link, is_torn};

/// How much of a file is read from its end for its last line.
const TAIL_BYTES: u64 = 128 * 1024;

#[derive(Debug)]
pub(super) enum Sink {
    #[cfg(test)]
    Fake(std::sync::Arc<std::sync::Mutex<super::tests::Fake>>),
    File {
        file: File,
        path: PathBuf,
    },
    Stdout(File),
}

impl Sink {
    /// Writes until everything is written or an error occurs; returns how many bytes were written.
    pub(super) fn write_whole(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
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
    pub(super) fn cut(&mut self, count: u64) -> io::Result<()> {
        match self {
            #[cfg(test)]
            Self::Fake(fake) => super::lock(fake).cut(count),
            Self::File { file, .. } => file.set_len(file.metadata()?.len().saturating_sub(count)),
            Self::Stdout(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
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
pub(super) fn claim(file: &File, path: &Path) {
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        tracing::warn!(path = %path.display(), "another process records into this file too: give each one of its own");
    }
}

/// Whether the file was unlinked. Some file systems report no links for any file, so the path is looked up as well.
pub(super) fn is_removed(file: &File, path: &Path) -> bool {
    file.metadata().is_ok_and(|about| about.nlink() == 0) && !is_named(file, path)
}

/// Whether the path leads to this file.
pub(super) fn is_named(file: &File, path: &Path) -> bool {
    let id = |about: io::Result<Metadata>| about.ok().map(|about| (about.dev(), about.ino()));
    let there = id(std::fs::metadata(path));
    there.is_some() && there == id(file.metadata())
}

/// Has the disk have the names of the folder in which the file is.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Whether the file is `/dev/null`.
pub(super) fn is_null(file: &File) -> bool {
    let device = |about: io::Result<Metadata>| about.ok().filter(|about| about.file_type().is_char_device());
    let null = device(std::fs::metadata("/dev/null"));
    device(file.metadata()).is_some_and(|about| null.is_some_and(|null| about.rdev() == null.rdev()))
}

/// How a file ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tail {
    /// With a chained line: its `seq` and its hash.
    Chained(u64, Hash),
    /// It has no line.
    Empty,
    /// With a line that is not chained.
    Unchained,
}

/// Opens the file, or creates it accessible to its owner only; tells whether it ends inside a line, and its last whole line.
pub(super) fn open_file(path: &Path) -> io::Result<(File, bool, Tail)> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let (torn, tail) = read_tail(&file)?;
    Ok((file, torn, tail))
}

pub(super) fn read_tail(file: &File) -> io::Result<(bool, Tail)> {
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
    let Some(last) = lines.next() else { return Ok((torn, Tail::Empty)) };
    Ok((torn, Link::read(last).map_or(Tail::Unchained, |link| Tail::Chained(link.sequence, link.hash))))
}
