use super::keys::Keys;
use super::literal::{escape, fail, number};
use super::plain::{Ahead, is_plain, plain_blocks};
use super::{Error, ErrorKind, Kind, Limits, Node};

/// The most bytes of a text for which capacity for nodes is reserved.
const MOST_RESERVED: usize = 16 * 1024;

/// The node index of exactly one JSON value, in document order, and whether the text is known to be ASCII without DEL.
pub(super) fn index(bytes: &[u8], limits: &Limits) -> Result<(Vec<Node>, bool), Error> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return fail(ErrorKind::ByteOrderMark, 0);
    }
    if u32::try_from(bytes.len()).is_err() {
        return fail(ErrorKind::TooLong, 0);
    }
    let plain = plain_blocks(bytes);
    let is_plain = is_plain(&bytes[plain..]);
    if !is_plain && let Err(error) = std::str::from_utf8(&bytes[plain..]) {
        return fail(ErrorKind::Utf8, plain + error.valid_up_to());
    }
    let mut scan = Scan {
        bytes,
        ahead: Ahead::of(bytes),
        // A long text may be a single string; if it has many nodes, the vector grows.
        nodes: Vec::with_capacity(16 + bytes.len().min(MOST_RESERVED) / 16),
        keys: Keys::default(),
        depth: 0,
        innermost: 0,
        inside: Kind::Null,
        left: limits.members,
    };
    scan.document(limits.depth.min(Keys::DEPTH))?;
    Ok((scan.nodes, is_plain))
}

/// The state of a scan. Each step takes the position where it begins and returns the position where it ends.
struct Scan<'a> {
    bytes: &'a [u8],
    ahead: Ahead<'a>,
    nodes: Vec<Node>,
    /// The keys of the open objects.
    keys: Keys,
    /// The number of open containers.
    depth: usize,
    /// Node index of the innermost open container. Until a container is closed its `next` is the index of its parent.
    innermost: u32,
    /// The type of the innermost open container.
    inside: Kind,
    /// How many more members and items are allowed.
    left: usize,
}

#[expect(clippy::inline_always, reason = "the steps of one loop, which read better with names")]
impl Scan<'_> {
    fn document(&mut self, most: usize) -> Result<(), Error> {
        let mut at = 0;
        loop {
            let (here, byte) = self.next(at)?;
            if self.inside == Kind::Array {
                self.count(here)?;
            }
            at = match byte {
                b'"' => self.string(here, Kind::String)?,
                b'{' => {
                    self.open(here, Kind::Object, most)?;
                    let (first, byte) = self.next(here + 1)?;
                    if byte != b'}' {
                        at = self.key(first, byte)?;
                        continue;
                    }
                    first
                }
                b'[' => {
                    self.open(here, Kind::Array, most)?;
                    let (first, byte) = self.next(here + 1)?;
                    if byte != b']' {
                        at = first;
                        continue;
                    }
                    first
                }
                b't' => self.word(here, b"true", Kind::Bool)?,
                b'f' => self.word(here, b"false", Kind::Bool)?,
                b'n' => self.word(here, b"null", Kind::Null)?,
                b'-' | b'0'..=b'9' => self.number(here)?,
                _ => return fail(ErrorKind::Syntax, here),
            };
            match self.goes_on(at)? {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
    }

    /// Skips closing brackets, the comma and the key; returns where the next value begins, or `None` at the end of the text.
    #[inline(always)]
    fn goes_on(&mut self, mut at: usize) -> Result<Option<usize>, Error> {
        while self.depth > 0 {
            let (here, byte) = self.next(at)?;
            at = here + 1;
            match (byte, self.inside) {
                (b',', Kind::Object) => {
                    let (key, byte) = self.next(at)?;
                    return self.key(key, byte).map(Some);
                }
                (b',', _) => return Ok(Some(at)),
                (b'}', Kind::Object) | (b']', Kind::Array) => self.close(at)?,
                _ => return fail(ErrorKind::Syntax, here),
            }
        }
        match self.bytes[at..].iter().position(|byte| !is_blank(*byte)) {
            None => Ok(None),
            Some(blanks) => fail(ErrorKind::Trailing, at + blanks),
        }
    }

    /// The next byte that is not white space, and its position.
    #[inline(always)]
    fn next(&self, mut at: usize) -> Result<(usize, u8), Error> {
        loop {
            match self.bytes.get(at) {
                Some(byte) if is_blank(*byte) => at += 1,
                Some(byte) => return Ok((at, *byte)),
                None => return fail(ErrorKind::End, at),
            }
        }
    }

    /// Counts the member or item at `at`.
    #[inline(always)]
    fn count(&mut self, at: usize) -> Result<(), Error> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return fail(ErrorKind::TooMany, at),
        }
        Ok(())
    }

    #[inline(always)]
    fn push(&mut self, start: usize, end: usize, kind: Kind, escaped: bool) {
        // That of a key is put right when its value turns out to be a container.
        let next = offset(self.nodes.len() + if kind == Kind::Key { 2 } else { 1 });
        self.nodes.push(Node { start: offset(start), end: offset(end), next, kind, escaped });
    }

    #[inline(always)]
    fn open(&mut self, at: usize, kind: Kind, most: usize) -> Result<(), Error> {
        if self.depth >= most {
            return fail(ErrorKind::TooDeep, at);
        }
        let (start, around) = (offset(at), self.innermost);
        self.innermost = offset(self.nodes.len());
        self.nodes.push(Node { start, end: start, next: around, kind, escaped: false });
        self.inside = kind;
        self.keys.enter(self.depth);
        self.depth += 1;
        Ok(())
    }

    /// Closes the innermost container, which ends before `at`.
    #[inline(always)]
    fn close(&mut self, at: usize) -> Result<(), Error> {
        let index = self.innermost as usize;
        let (end, next) = (offset(at), offset(self.nodes.len()));
        let node = &mut self.nodes[index];
        node.end = end;
        self.innermost = std::mem::replace(&mut node.next, next);
        self.inside = self.nodes[self.innermost as usize].kind;
        if self.inside == Kind::Object && index > 0 {
            self.nodes[index - 1].next = next;
        }
        self.depth -= 1;
        self.keys.leave(self.depth, self.bytes, &self.nodes, index)
    }

    #[inline(always)]
    fn key(&mut self, at: usize, byte: u8) -> Result<usize, Error> {
        if byte != b'"' {
            return fail(ErrorKind::Syntax, at);
        }
        self.count(at)?;
        let behind = self.string(at, Kind::Key)?;
        self.keys.take(self.bytes, &self.nodes, self.innermost as usize)?;
        match self.next(behind)? {
            (colon, b':') => Ok(colon + 1),
            (other, _) => fail(ErrorKind::Syntax, other),
        }
    }

    #[inline(always)]
    fn string(&mut self, start: usize, kind: Kind) -> Result<usize, Error> {
        let mut end = self.ahead.plain_run(start + 1);
        // Most strings have no escapes.
        let escaped = self.bytes.get(end) != Some(&b'"');
        if escaped {
            end = self.escaped_string(end)?;
        }
        self.push(start, end + 1, kind, escaped);
        Ok(end + 1)
    }

    /// The position of a string's closing quote, given the position of its first special byte.
    #[cold]
    #[inline(never)]
    fn escaped_string(&mut self, mut at: usize) -> Result<usize, Error> {
        loop {
            at = match self.bytes.get(at) {
                None => return fail(ErrorKind::End, at),
                Some(b'"') => return Ok(at),
                Some(b'\\') => escape(self.bytes, at)?,
                Some(_) => return fail(ErrorKind::ControlCharacter, at),
            };
            at = self.ahead.plain_run(at);
        }
    }

    fn word(&mut self, at: usize, word: &[u8], kind: Kind) -> Result<usize, Error> {
        if !self.bytes[at..].starts_with(word) {
            return fail(ErrorKind::Syntax, at);
        }
        self.push(at, at + word.len(), kind, false);
        Ok(at + word.len())
    }

    fn number(&mut self, at: usize) -> Result<usize, Error> {
        let end = number(self.bytes, at)?;
        self.push(at, end, Kind::Number, false);
        Ok(end)
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// A position as stored in the index, which refuses texts of 4 GiB and more.
#[expect(clippy::cast_possible_truncation, reason = "no position is behind the end of a text shorter than 4 GiB")]
const fn offset(at: usize) -> u32 {
    at as u32
}
