//! Standard output, and whether everything written to it has arrived.

use std::io::{self, ErrorKind, Write};

/// A writer that remembers the first error: commands print without looking, as a reader may go away at any time.
#[derive(Debug)]
pub(super) struct Results<W> {
    out: W,
    lost: Option<io::Error>,
}

impl<W: Write> Results<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out, lost: None }
    }

    /// The first error. A closed pipe is none, as its reader needs no more.
    pub(super) fn lost(mut self) -> Option<io::Error> {
        let flushed = self.flush();
        self.lost.or(flushed.err()).filter(|error| error.kind() != ErrorKind::BrokenPipe)
    }

    fn remember<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            if kind != ErrorKind::Interrupted {
                self.lost.get_or_insert(error);
            }
            kind.into()
        })
    }
}

impl<W: Write> Write for Results<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.remember(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.remember(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, and then fails.
    struct Disk {
        room: usize,
        kind: ErrorKind,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            if taken == 0 { Err(self.kind.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_does_not_fit_is_lost_and_a_reader_that_left_loses_nothing() {
        for (room, kind, expected) in [
            (7, ErrorKind::StorageFull, None),
            (6, ErrorKind::StorageFull, Some(ErrorKind::StorageFull)),
            (0, ErrorKind::StorageFull, Some(ErrorKind::StorageFull)),
            (6, ErrorKind::BrokenPipe, None),
        ] {
            let mut results = Results::new(Disk { room, kind });
            let _ = results.write_all(b"results");
            assert_eq!(results.lost().map(|error| error.kind()), expected, "{room} {kind}");
        }
    }
}
