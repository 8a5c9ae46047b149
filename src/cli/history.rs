//! What `replay` and `learn` have in common: reading an audit file, and reporting what was skipped.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

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
    pub(super) first: Vec<(u64, String)>,
}

/// Hands every decision of the file at `path`, or of standard input for `-`, to `take`.
pub(super) fn read(path: &Path, streams: &mut Streams<'_>, take: &mut dyn FnMut(Decided)) -> Result<Skipped, Exit> {
    let (input, err) = (&mut *streams.input, &mut *streams.err);
    let read = if path.as_os_str() == "-" {
        through(input, 0, err, take)
    } else {
        File::open(path).and_then(|file| {
            let size = file.metadata().map_or(0, |meta| meta.len());
            through(file, size, err, take)
        })
    };
    read.map_err(|error| {
        streams.message(format_args!("error: cannot read {}: {error}", path.display()));
        Exit::Usage
    })
}

fn through(input: impl Read, size: u64, err: &mut dyn Write, take: &mut dyn FnMut(Decided)) -> io::Result<Skipped> {
    let mut history = History::new(BufReader::with_capacity(1 << 18, input));
    let mut skipped = Skipped::default();
    let mut progress = Progress::new();
    while let Some((number, entry)) = history.next()? {
        match entry {
            Entry::Decided(decided) => take(*decided),
            Entry::Other => {}
            Entry::Bad(reason) => {
                skipped.bad += 1;
                if skipped.first.len() < NAMED {
                    skipped.first.push((number, reason.into_owned()));
                }
            }
        }
        progress.show(number, history.bytes(), size, err);
    }
    progress.clear(err);
    Ok(skipped)
}

impl Skipped {
    /// Says so on standard error.
    pub(super) fn tell(&self, path: &Path, streams: &mut Streams<'_>) {
        for (number, reason) in &self.first {
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
