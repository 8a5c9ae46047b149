//! How far a command has come with a long file.

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use crate::clock;

/// How often the progress is written.
const EVERY: Duration = Duration::from_millis(250);

/// A progress line, rewritten in place; only on a terminal.
pub(super) struct Progress {
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let next = std::io::stderr().is_terminal().then(|| clock::monotonic() + EVERY);
        Self { next, shown: false }
    }

    pub(super) fn show(&mut self, lines: u64, bytes: u64, size: u64, err: &mut dyn Write) {
        // Reading the clock for every line would cost more than the line.
        let Some(next) = self.next.filter(|_| lines.is_multiple_of(1024)) else { return };
        let now = clock::monotonic();
        if now < next {
            return;
        }
        self.next = Some(now + EVERY);
        self.shown = true;
        let part = (bytes * 100).checked_div(size).map_or_else(String::new, |percent| format!("{percent} %, "));
        let _ = write!(err, "\r\x1b[K{part}{lines} lines");
        let _ = err.flush();
    }

    pub(super) fn clear(&self, err: &mut dyn Write) {
        if self.shown {
            let _ = write!(err, "\r\x1b[K");
        }
    }
}
