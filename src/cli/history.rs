//! What `replay` and `learn` have in common: reading an audit file, and reporting what was skipped.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::audit::files;
use super::progress::Progress;
use super::{Exit, Streams};
use crate::audit::history::{Decided, Entry, History};

/// How many bad lines are named one by one.
const NAMED: usize = 5;

/// What was read and what was not.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    /// Lines that could not be read.
    pub(super) bad: u64,
    /// The first of them, with the reason.
    pub(super) first: Vec<(PathBuf, u64, String)>,
}

/// Hands every decision of the file at `path`, of all files in a folder or of a pattern, or of standard input for `-`, to `take`.
pub(super) fn read(path: &Path, streams: &mut Streams<'_>, take: &mut dyn FnMut(Decided)) -> Result<Skipped, Exit> {
    let mut skipped = Skipped::default();
    for path in &files::named(&[path.to_owned()], streams)? {
        let (input, err) = (&mut *streams.input, &mut *streams.err);
        let read = if path.as_os_str() == "-" {
            skipped.through(path, input, 0, err, take)
        } else {
            File::open(path).and_then(|file| {
                let size = file.metadata().map_or(0, |meta| meta.len());
                skipped.through(path, file, size, err, take)
            })
        };
        if let Err(error) = read {
            streams.message(format_args!("error: cannot read {}: {error}", path.display()));
            return Err(Exit::Usage);
        }
    }
    Ok(skipped)
}

impl Skipped {
    fn through(
        &mut self,
        path: &Path,
        input: impl Read,
        size: u64,
        err: &mut dyn Write,
        take: &mut dyn FnMut(Decided),
    ) -> io::Result<()> {
        let mut history = History::new(BufReader::with_capacity(1 << 18, input));
        let mut progress = Progress::new();
        while let Some((number, entry)) = history.next()? {
            match entry {
                Entry::Decided(decided) => take(*decided),
                Entry::Other => {}
                Entry::Bad(reason) => {
                    self.bad += 1;
                    if self.first.len() < NAMED {
                        self.first.push((path.to_owned(), number, reason.into_owned()));
                    }
                }
            }
            progress.show(number, history.bytes(), size, err);
        }
        progress.clear(err);
        Ok(())
    }

    /// Says so on standard error.
    pub(super) fn tell(&self, streams: &mut Streams<'_>) {
        for (path, number, reason) in &self.first {
            streams.message(format_args!("warning: {}:{number}: {reason}", path.display()));
        }
        let more = self.bad - self.first.len() as u64;
        if more > 0 {
            let lines = if more == 1 { "line" } else { "lines" };
            streams.message(format_args!("warning: and {more} more {lines} that could not be read"));
        }
        streams.message("note: it was not verified that the audit file is unchanged");
    }
}
