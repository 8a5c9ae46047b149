//! Event streams: a splitter whose events do not depend on how the bytes were cut, and an encoder that cannot be made to
//! write a second field.

mod encode;

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;

pub use encode::{EventName, KEEP_ALIVE, Line, Outgoing};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One block of an event stream.
///
/// A block without `data` dispatches nothing to a reader, but its `id` and `retry` count (WHATWG HTML 9.2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The data lines, joined by LF; `None` where there was none, empty for a priming event.
    pub data: Option<Bytes>,
    /// The event's name as sent; `None` or empty means `message`.
    pub event: Option<Bytes>,
    /// The last id of the block; an empty one resets.
    pub id: Option<Bytes>,
    /// Milliseconds to wait before reconnecting.
    pub retry: Option<u64>,
}

impl Event {
    /// What the event is to a client, or `None` for a name MCP does not have.
    pub fn name(&self) -> Option<EventName> {
        match self.event.as_deref().unwrap_or_default() {
            b"" | b"message" => Some(EventName::Message),
            b"endpoint" => Some(EventName::Endpoint),
            _ => None,
        }
    }
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SseError {
    /// A block is longer than the limit.
    #[error("event is longer than {0} bytes")]
    TooLong(usize),
}

/// Cuts a byte stream into events (WHATWG HTML 9.2.5 and 9.2.6).
///
/// What is behind the last blank line when the stream ends is no event and is dropped with the splitter.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    /// The rest of the latest chunk, as long as no block has had to be carried over.
    chunk: Bytes,
    /// The unfinished block and what came behind it, if it spans chunks.
    carry: BytesMut,
    /// Where the search for the end of the current line goes on.
    searched: usize,
    /// Where the current line begins.
    line: usize,
    /// Bytes of the block's finished lines, each with one terminator, however it was cut.
    size: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was read, and a byte order mark may come.
    Start,
    Reading,
    /// The last byte was a CR that ended a line; an LF belongs to it.
    AfterReturn,
    Failed,
}

impl Splitter {
    /// A splitter that gives up on blocks longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, chunk: Bytes::new(), carry: BytesMut::new(), searched: 0, line: 0, size: 0, state: State::Start }
    }

    /// Takes the next bytes of the stream. Nothing is copied while blocks end where chunks end.
    pub fn feed(&mut self, mut chunk: Bytes) {
        if self.state == State::Failed {
            return;
        }
        if self.state == State::AfterReturn && !chunk.is_empty() {
            self.state = State::Reading;
            if chunk.first() == Some(&b'\n') {
                chunk.advance(1);
            }
        }
        if !self.chunk.is_empty() {
            self.carry.extend_from_slice(&std::mem::take(&mut self.chunk));
        }
        if self.carry.is_empty() {
            self.chunk = chunk;
        } else {
            self.carry.extend_from_slice(&chunk);
        }
    }

    /// Whether bytes of an unfinished block are held.
    pub fn is_mid_event(&self) -> bool {
        !self.rest().is_empty()
    }

    /// The next whole event, or `None` until more is fed.
    pub fn next_event(&mut self) -> Option<Result<Event, SseError>> {
        loop {
            let is_open = match self.state {
                State::AfterReturn | State::Reading => true,
                State::Failed => false,
                State::Start => self.skip_mark(),
            };
            if !is_open {
                return None;
            }
            match self.next_block() {
                Ok(Some(block)) => {
                    if let Some(event) = parse(&block) {
                        return Some(Ok(event));
                    }
                }
                Ok(None) => return None,
                Err(error) => {
                    self.state = State::Failed;
                    self.chunk.clear();
                    self.carry.clear();
                    return Some(Err(error));
                }
            }
        }
    }

    fn rest(&self) -> &[u8] {
        if self.carry.is_empty() { &self.chunk } else { &self.carry }
    }

    fn cut(&mut self, at: usize) -> Bytes {
        if self.carry.is_empty() { self.chunk.split_to(at) } else { self.carry.split_to(at).freeze() }
    }

    /// Drops one leading byte order mark; false while it cannot be told.
    fn skip_mark(&mut self) -> bool {
        let rest = self.rest();
        if rest.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(rest) {
            return false;
        }
        if rest.starts_with(BYTE_ORDER_MARK) {
            self.cut(BYTE_ORDER_MARK.len());
        }
        self.state = State::Reading;
        true
    }

    /// The lines up to the next blank one.
    fn next_block(&mut self) -> Result<Option<Bytes>, SseError> {
        loop {
            let rest = self.rest();
            let found = rest.get(self.searched..).and_then(|bytes| memchr::memchr2(b'\r', b'\n', bytes));
            let Some(end) = found.map(|at| at + self.searched) else {
                self.searched = rest.len();
                self.check(self.size + self.searched - self.line)?;
                return Ok(None);
            };
            let after = match (rest.get(end), rest.get(end + 1)) {
                (Some(b'\r'), Some(b'\n')) => end + 2,
                (Some(b'\r'), None) => {
                    self.state = State::AfterReturn;
                    end + 1
                }
                _ => end + 1,
            };
            let length = end - self.line;
            self.searched = after;
            if length > 0 {
                self.size += length + 1;
                self.line = after;
                self.check(self.size)?;
                continue;
            }
            let block = self.cut(after);
            (self.searched, self.line, self.size) = (0, 0, 0);
            return Ok(Some(block));
        }
    }

    fn check(&self, size: usize) -> Result<(), SseError> {
        if size > self.limit { Err(SseError::TooLong(self.limit)) } else { Ok(()) }
    }
}

/// Reads the fields of one block; `None` if it holds nothing but comments and unknown fields.
fn parse(block: &Bytes) -> Option<Event> {
    let mut event = Event::default();
    let mut more: Option<BytesMut> = None;
    let mut at = 0;
    while at < block.len() {
        let end = memchr::memchr2(b'\r', b'\n', &block[at..]).map_or(block.len(), |found| at + found);
        let line = &block[at..end];
        let colon = memchr::memchr(b':', line);
        let name = &line[..colon.unwrap_or(line.len())];
        let from = colon.map_or(end, |colon| at + colon + 1);
        let from = from + usize::from(colon.is_some() && block[from..end].first() == Some(&b' '));
        let value = || block.slice(from..end);
        match name {
            b"data" => append(&mut event.data, &mut more, value()),
            b"event" => event.event = Some(value()),
            b"id" if memchr::memchr(0, &block[from..end]).is_none() => event.id = Some(value()),
            b"retry" => event.retry = digits(&block[from..end]).or(event.retry),
            _ => {}
        }
        // The LF of a CRLF reads as an empty line here, which is no field.
        at = end + 1;
    }
    if let Some(joined) = more {
        event.data = Some(joined.freeze());
    }
    let says_something = event.data.is_some() || event.id.is_some() || event.retry.is_some();
    says_something.then_some(event)
}

fn append(data: &mut Option<Bytes>, more: &mut Option<BytesMut>, line: Bytes) {
    let Some(first) = data else {
        *data = Some(line);
        return;
    };
    let joined = more.get_or_insert_with(|| BytesMut::from(&first[..]));
    joined.extend_from_slice(b"\n");
    joined.extend_from_slice(&line);
}

/// A number of ASCII digits alone; what does not fit counts as very long.
fn digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.is_empty())?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
