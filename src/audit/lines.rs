use std::io::{self, BufRead, Read};

/// The longest line that is read, in bytes. Lines written by the proxy are far shorter.
pub(crate) const LINE: usize = 64 * 1024;

/// The lines of an audit file that are not empty, one in memory at a time, whatever their size.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    number: u64,
    bytes: u64,
}

/// A line was longer than any the proxy writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl<R: BufRead> Lines<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), number: 0, bytes: 0 }
    }

    /// Bytes read so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines read so far, the empty ones too.
    pub(crate) const fn count(&self) -> u64 {
        self.number
    }

    /// The next line that is not empty, without spaces around it; `None` at the end. Errs if the input cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<&[u8], TooLong>>> {
        loop {
            self.buffer.clear();
            let limit = LINE as u64 + 1;
            let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.buffer)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bytes += read as u64;
            if self.buffer.last() != Some(&b'\n') && self.buffer.len() > LINE {
                self.skip_line()?;
                return Ok(Some(Err(TooLong)));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(Some(Ok(self.buffer.trim_ascii())));
            }
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                return Ok(());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(available.len(), |at| at + 1);
            self.input.consume(used);
            self.bytes += used as u64;
            if end.is_some() {
                return Ok(());
            }
        }
    }
}
