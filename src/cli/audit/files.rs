use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use super::super::progress::Progress;
use super::super::{Exit, Streams};
use crate::audit::lines::Lines;
use crate::audit::set;

/// How many bad lines are named one by one.
const NAMED: u64 = 20;

/// An audit file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AuditFile {
    /// As it was named.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// The SHA-256 of the bytes that were read, in hexadecimal.
    pub(super) sha256: String,
    /// Lines that are records.
    pub(super) records: u64,
    /// Lines that are none.
    pub(super) bad: u64,
}

/// The files that the arguments stand for: a folder or a pattern is all of its files, the oldest first. Says what is wrong.
pub(in crate::cli) fn named(arguments: &[PathBuf], streams: &mut Streams<'_>) -> Result<Vec<PathBuf>, Exit> {
    let mut all = Vec::new();
    for argument in arguments {
        match set::files(argument) {
            Ok(files) => all.extend(files),
            Err(error) => {
                streams.message(format_args!("error: cannot read {}: {error}", argument.display()));
                return Err(Exit::Usage);
            }
        }
    }
    Ok(all)
}

/// What becomes of a line: the outer error ends everything, the inner one says why the line is no record.
pub(super) type Taken = io::Result<Result<(), Cow<'static, str>>>;

/// Reads audit files line by line, `-` being standard input. Lines that are no records are named on standard error.
pub(super) fn read(
    paths: &[PathBuf],
    streams: &mut Streams<'_>,
    take: &mut dyn FnMut(&[u8], &mut dyn Write) -> Taken,
) -> Result<Vec<AuditFile>, Exit> {
    let mut files = Vec::new();
    for path in paths {
        let mut file = AuditFile { name: path.display().to_string(), ..AuditFile::default() };
        match one(path, streams, take, &mut file) {
            Ok(()) => {}
            // Nobody reads on.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Exit::Done),
            Err(error) => {
                streams.message(format_args!("error: cannot read {}: {error}", file.name));
                return Err(Exit::Usage);
            }
        }
        let more = file.bad.saturating_sub(NAMED);
        if more > 0 {
            let lines = if more == 1 { "line that is no record" } else { "lines that are no records" };
            streams.message(format_args!("warning: {}: {more} more {lines}", file.name));
        }
        files.push(file);
    }
    Ok(files)
}

fn one(
    path: &Path,
    streams: &mut Streams<'_>,
    take: &mut dyn FnMut(&[u8], &mut dyn Write) -> Taken,
    about: &mut AuditFile,
) -> io::Result<()> {
    let mut file;
    let (input, size): (&mut dyn Read, u64) = if path.as_os_str() == "-" {
        (&mut *streams.input, 0)
    } else {
        file = File::open(path)?;
        let size = file.metadata().map_or(0, |about| about.len());
        (&mut file, size)
    };
    let mut digested = Digested { input, digest: digest::Context::new(&digest::SHA256) };
    let mut lines = Lines::new(BufReader::with_capacity(1 << 18, &mut digested));
    let mut progress = Progress::new();
    while let Some(line) = lines.next()? {
        let taken = match line {
            Ok(line) => take(line, streams.out)?,
            Err(_) => Err("longer than 64 KiB".into()),
        };
        match taken {
            Ok(()) => about.records += 1,
            Err(reason) => {
                about.bad += 1;
                if about.bad <= NAMED {
                    let _ = writeln!(streams.err, "warning: {}:{}: {reason}", about.name, lines.count());
                }
            }
        }
        progress.show(lines.count(), lines.bytes(), size, streams.err);
    }
    progress.clear(streams.err);
    about.bytes = lines.bytes();
    about.sha256 = HEXLOWER.encode(digested.digest.finish().as_ref());
    Ok(())
}

/// Input whose digest is taken on the way.
struct Digested<'i> {
    input: &'i mut dyn Read,
    digest: digest::Context,
}

impl Read for Digested<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

/// Says how many lines are no records, if any; then the answer is no.
pub(super) fn exit(files: &[AuditFile], streams: &mut Streams<'_>) -> Exit {
    let bad: u64 = files.iter().map(|file| file.bad).sum();
    if bad == 0 {
        return Exit::Done;
    }
    let records: u64 = files.iter().map(|file| file.records).sum();
    let lines = if bad == 1 { "line is no record" } else { "lines are no records" };
    let others = if records == 1 { "1 is one".to_owned() } else { format!("{records} are") };
    streams.message(format_args!("error: {bad} {lines} of Portcullis, {others}"));
    Exit::No
}
