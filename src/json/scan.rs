use std::borrow::Cow;
use std::collections::HashSet;

use super::plain::{ascii_run, plain_run};
use super::{Error, ErrorKind, Kind, Limits, Node};

/// Bytes of a text for whose nodes room is made beforehand.
const MOST_RESERVED: usize = 16 * 1024;

/// The node index of exactly one JSON value, in document order.
pub(super) fn index(bytes: &[u8], limits: &Limits) -> Result<Vec<Node>, Error> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Error { kind: ErrorKind::ByteOrderMark, offset: 0 });
    }
    if u32::try_from(bytes.len()).is_err() {
        return Err(Error { kind: ErrorKind::TooLong, offset: 0 });
    }
    let ascii = ascii_run(bytes);
    if let Err(error) = std::str::from_utf8(&bytes[ascii..]) {
        return Err(Error { kind: ErrorKind::Utf8, offset: ascii + error.valid_up_to() });
    }
    // A long text may be one string: what has many nodes grows.
    let nodes = Vec::with_capacity(16 + bytes.len().min(MOST_RESERVED) / 16);
    let mut scan = Scan { bytes, at: 0, nodes, depth: 0, innermost: 0, inside: Kind::Null, left: limits.members };
    match scan.document(limits.depth) {
        Ok(()) => Ok(scan.nodes),
        Err(kind) => Err(Error { kind, offset: scan.at }),
    }
}

/// A scan on the way; when a step fails, `at` is where.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// How many containers are around the current position.
    depth: usize,
    /// Index of the innermost of them. Until a container is closed its `next` is the index of the one around it.
    innermost: u32,
    /// What the innermost of them is.
    inside: Kind,
    left: usize,
}

/// What the grammar allows next.
#[derive(Clone, Copy)]
enum Expect {
    /// A value, or the end of the array just opened.
    FirstItem,
    /// A key, or the end of the object just opened.
    FirstKey,
    /// A key.
    Key,
    /// A comma or the end of the innermost container.
    More,
    /// A value.
    Value,
}

impl Scan<'_> {
    fn document(&mut self, depth: usize) -> Result<(), ErrorKind> {
        let mut expect = Expect::Value;
        loop {
            self.skip_space();
            let byte = self.peek()?;
            expect = match (expect, byte) {
                (Expect::FirstItem, b']') | (Expect::FirstKey, b'}') | (Expect::More, b']' | b'}') => {
                    self.close(byte)?
                }
                (Expect::FirstItem | Expect::Value, _) => self.value(byte, depth)?,
                (Expect::FirstKey | Expect::Key, b'"') => self.key()?,
                (Expect::More, b',') => self.comma(),
                _ => return Err(ErrorKind::Syntax),
            };
            if self.depth == 0 {
                break;
            }
        }
        self.skip_space();
        if self.at < self.bytes.len() { Err(ErrorKind::Trailing) } else { Ok(()) }
    }

    fn peek(&self) -> Result<u8, ErrorKind> {
        self.bytes.get(self.at).copied().ok_or(ErrorKind::End)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn count(&mut self) -> Result<(), ErrorKind> {
        self.left = self.left.checked_sub(1).ok_or(ErrorKind::TooMany)?;
        Ok(())
    }

    fn value(&mut self, byte: u8, depth: usize) -> Result<Expect, ErrorKind> {
        if self.inside == Kind::Array {
            self.count()?;
        }
        match byte {
            b'{' => self.open(Kind::Object, depth),
            b'[' => self.open(Kind::Array, depth),
            b'"' => self.string(Kind::String),
            b't' => self.word(b"true", Kind::Bool),
            b'f' => self.word(b"false", Kind::Bool),
            b'n' => self.word(b"null", Kind::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(ErrorKind::Syntax),
        }
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind, escaped: bool) {
        let next = offset(self.nodes.len()) + 1;
        self.nodes.push(Node { start: offset(start), end: offset(end), next, kind, escaped });
    }

    fn open(&mut self, kind: Kind, depth: usize) -> Result<Expect, ErrorKind> {
        if self.depth >= depth {
            return Err(ErrorKind::TooDeep);
        }
        let (start, around) = (offset(self.at), self.innermost);
        self.innermost = offset(self.nodes.len());
        self.nodes.push(Node { start, end: start, next: around, kind, escaped: false });
        self.inside = kind;
        self.depth += 1;
        self.at += 1;
        Ok(if kind == Kind::Object { Expect::FirstKey } else { Expect::FirstItem })
    }

    fn close(&mut self, byte: u8) -> Result<Expect, ErrorKind> {
        let kind = self.inside;
        if (kind == Kind::Object) != (byte == b'}') {
            return Err(ErrorKind::Syntax);
        }
        self.at += 1;
        let index = self.innermost as usize;
        let (end, next) = (offset(self.at), offset(self.nodes.len()));
        let node = &mut self.nodes[index];
        node.end = end;
        self.innermost = std::mem::replace(&mut node.next, next);
        self.inside = self.nodes[self.innermost as usize].kind;
        self.depth -= 1;
        if kind == Kind::Object
            && let Some(key) = self.duplicate(index)
        {
            self.at = key;
            return Err(ErrorKind::DuplicateKey);
        }
        Ok(Expect::More)
    }

    fn comma(&mut self) -> Expect {
        self.at += 1;
        if self.inside == Kind::Object { Expect::Key } else { Expect::Value }
    }

    fn key(&mut self) -> Result<Expect, ErrorKind> {
        self.count()?;
        self.string(Kind::Key)?;
        self.skip_space();
        if self.peek()? != b':' {
            return Err(ErrorKind::Syntax);
        }
        self.at += 1;
        Ok(Expect::Value)
    }

    fn string(&mut self, kind: Kind) -> Result<Expect, ErrorKind> {
        let start = self.at;
        self.at = plain_run(self.bytes, start + 1);
        // Most strings have no escapes.
        let escaped = self.bytes.get(self.at) != Some(&b'"');
        if escaped {
            self.escaped_string()?;
        }
        self.at += 1;
        self.push(start, self.at, kind, escaped);
        Ok(Expect::More)
    }

    /// Goes on to the quote that ends a string, from where it first is not plain.
    fn escaped_string(&mut self) -> Result<(), ErrorKind> {
        loop {
            match self.peek()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                _ => return Err(ErrorKind::ControlCharacter),
            }
            self.at = plain_run(self.bytes, self.at);
        }
    }

    fn escape(&mut self) -> Result<(), ErrorKind> {
        self.at += 1;
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                let unit = self.unit()?;
                if (0xdc00..0xe000).contains(&unit) {
                    return Err(ErrorKind::LoneSurrogate);
                }
                if (0xd800..0xdc00).contains(&unit) {
                    if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                        return Err(ErrorKind::LoneSurrogate);
                    }
                    self.at += 1;
                    if !(0xdc00..0xe000).contains(&self.unit()?) {
                        return Err(ErrorKind::LoneSurrogate);
                    }
                }
            }
            _ => return Err(ErrorKind::Escape),
        }
        Ok(())
    }

    /// Reads `uXXXX` and steps behind it.
    fn unit(&mut self) -> Result<u32, ErrorKind> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).ok_or(ErrorKind::End)?;
        let unit = hex(digits).ok_or(ErrorKind::Escape)?;
        self.at += 5;
        Ok(unit)
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Expect, ErrorKind> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(ErrorKind::Syntax);
        }
        self.push(self.at, self.at + word.len(), kind, false);
        self.at += word.len();
        Ok(Expect::More)
    }

    fn number(&mut self) -> Result<Expect, ErrorKind> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return Err(ErrorKind::Number),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.push(start, self.at, Kind::Number, false);
        Ok(Expect::More)
    }

    fn digits(&mut self) -> Result<(), ErrorKind> {
        let from = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == from { Err(ErrorKind::Number) } else { Ok(()) }
    }

    /// Where a second member of the same name stands in an object: RFC 8259 section 4 leaves open what that means, so two
    /// parsers may read two messages.
    fn duplicate(&self, object: usize) -> Option<usize> {
        const PAIRWISE: usize = 8;
        let end = self.nodes[object].next as usize;
        let mut few = [&b""[..]; PAIRWISE];
        let (mut at, mut count) = (object + 1, 0);
        while at < end {
            if count == PAIRWISE || self.nodes[at].escaped {
                return self.duplicate_among_many(object);
            }
            let key = self.raw_key(at);
            if few[..count].contains(&key) {
                return Some(self.nodes[at].start as usize);
            }
            few[count] = key;
            count += 1;
            at = self.nodes[at + 1].next as usize;
        }
        None
    }

    fn duplicate_among_many(&self, object: usize) -> Option<usize> {
        let end = self.nodes[object].next as usize;
        let mut seen: HashSet<Cow<'_, [u8]>> = HashSet::new();
        let mut at = object + 1;
        while at < end {
            if !seen.insert(self.key_text(at)) {
                return Some(self.nodes[at].start as usize);
            }
            at = self.nodes[at + 1].next as usize;
        }
        None
    }

    fn raw_key(&self, index: usize) -> &[u8] {
        let node = &self.nodes[index];
        &self.bytes[node.start as usize + 1..node.end as usize - 1]
    }

    fn key_text(&self, index: usize) -> Cow<'_, [u8]> {
        let raw = self.raw_key(index);
        if self.nodes[index].escaped { unescape(raw).into_bytes().into() } else { raw.into() }
    }
}

/// A position as the index keeps it; `index` has refused texts with longer ones.
#[expect(clippy::cast_possible_truncation, reason = "no position is behind the end of a text shorter than 4 GiB")]
const fn offset(at: usize) -> u32 {
    at as u32
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// The text a checked string literal stands for; `inner` is what is between its quotes.
pub(super) fn unescape(inner: &[u8]) -> String {
    let mut out = Vec::with_capacity(inner.len());
    let mut at = 0;
    while at < inner.len() {
        let run = memchr::memchr(b'\\', &inner[at..]).unwrap_or(inner.len() - at);
        out.extend_from_slice(&inner[at..at + run]);
        at += run;
        let Some(letter) = inner.get(at + 1) else { break };
        at += 2;
        let plain = match letter {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let high = inner.get(at..at + 4).and_then(hex).unwrap_or(0xfffd);
                at += 4;
                let scalar = if (0xd800..0xdc00).contains(&high) {
                    let low = inner.get(at + 2..at + 6).and_then(hex).unwrap_or(0xdc00);
                    at += 6;
                    0x1_0000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00)
                } else {
                    high
                };
                let c = char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => *other,
        };
        out.push(plain);
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
