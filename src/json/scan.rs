use std::borrow::Cow;
use std::collections::HashSet;

use super::plain::{Ahead, is_plain, plain_blocks};
use super::{Error, ErrorKind, Kind, Limits, Node};

/// Bytes of a text for whose nodes room is made beforehand.
const MOST_RESERVED: usize = 16 * 1024;

/// The node index of exactly one JSON value, in document order, and whether its text is surely ASCII without DEL.
pub(super) fn index(bytes: &[u8], limits: &Limits) -> Result<(Vec<Node>, bool), Error> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Error { kind: ErrorKind::ByteOrderMark, offset: 0 });
    }
    if u32::try_from(bytes.len()).is_err() {
        return Err(Error { kind: ErrorKind::TooLong, offset: 0 });
    }
    let plain = plain_blocks(bytes);
    let is_plain = is_plain(&bytes[plain..]);
    if !is_plain && let Err(error) = std::str::from_utf8(&bytes[plain..]) {
        return Err(Error { kind: ErrorKind::Utf8, offset: plain + error.valid_up_to() });
    }
    // A long text may be one string: what has many nodes grows.
    let nodes = Vec::with_capacity(16 + bytes.len().min(MOST_RESERVED) / 16);
    let ahead = Ahead::of(bytes);
    let mut scan =
        Scan { bytes, ahead, at: 0, nodes, depth: 0, innermost: 0, inside: Kind::Null, left: limits.members };
    match scan.document(limits.depth) {
        Ok(()) => Ok((scan.nodes, is_plain)),
        Err(kind) => Err(Error { kind, offset: scan.at }),
    }
}

/// A scan on the way; when a step fails, `at` is where.
struct Scan<'a> {
    bytes: &'a [u8],
    ahead: Ahead<'a>,
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

#[expect(clippy::inline_always, reason = "the steps of one loop, which read better with names")]
impl Scan<'_> {
    fn document(&mut self, most: usize) -> Result<(), ErrorKind> {
        loop {
            let byte = self.next()?;
            if self.inside == Kind::Array {
                self.count()?;
            }
            match byte {
                b'"' => self.string(Kind::String)?,
                b'{' => {
                    self.open(Kind::Object, most)?;
                    if self.next()? != b'}' {
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.open(Kind::Array, most)?;
                    if self.next()? != b']' {
                        continue;
                    }
                }
                b't' => self.word(b"true", Kind::Bool)?,
                b'f' => self.word(b"false", Kind::Bool)?,
                b'n' => self.word(b"null", Kind::Null)?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => return Err(ErrorKind::Syntax),
            }
            if !self.goes_on()? {
                break;
            }
        }
        match self.next() {
            Ok(_) => Err(ErrorKind::Trailing),
            Err(_) => Ok(()),
        }
    }

    /// Goes behind all that ends here, and the comma, and the key; says whether another value is to come.
    #[inline(always)]
    fn goes_on(&mut self) -> Result<bool, ErrorKind> {
        while self.depth > 0 {
            match (self.next()?, self.inside) {
                (b',', Kind::Object) => {
                    self.at += 1;
                    self.key()?;
                    return Ok(true);
                }
                (b',', _) => {
                    self.at += 1;
                    return Ok(true);
                }
                (b'}', Kind::Object) | (b']', Kind::Array) => self.close()?,
                _ => return Err(ErrorKind::Syntax),
            }
        }
        Ok(false)
    }

    /// The next byte that is no white space, which is where it stands then.
    #[inline(always)]
    fn next(&mut self) -> Result<u8, ErrorKind> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(ErrorKind::End),
            }
        }
    }

    fn peek(&self) -> Result<u8, ErrorKind> {
        self.bytes.get(self.at).copied().ok_or(ErrorKind::End)
    }

    #[inline]
    fn count(&mut self) -> Result<(), ErrorKind> {
        self.left = self.left.checked_sub(1).ok_or(ErrorKind::TooMany)?;
        Ok(())
    }

    #[inline(always)]
    fn push(&mut self, start: usize, end: usize, kind: Kind, escaped: bool) {
        let next = offset(self.nodes.len()) + 1;
        self.nodes.push(Node { start: offset(start), end: offset(end), next, kind, escaped });
    }

    fn open(&mut self, kind: Kind, most: usize) -> Result<(), ErrorKind> {
        if self.depth >= most {
            return Err(ErrorKind::TooDeep);
        }
        let (start, around) = (offset(self.at), self.innermost);
        self.innermost = offset(self.nodes.len());
        self.nodes.push(Node { start, end: start, next: around, kind, escaped: false });
        self.inside = kind;
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), ErrorKind> {
        self.at += 1;
        let index = self.innermost as usize;
        let (end, next) = (offset(self.at), offset(self.nodes.len()));
        let node = &mut self.nodes[index];
        node.end = end;
        self.innermost = std::mem::replace(&mut node.next, next);
        let kind = std::mem::replace(&mut self.inside, self.nodes[self.innermost as usize].kind);
        self.depth -= 1;
        if kind == Kind::Object
            && let Some(key) = self.duplicate(index)
        {
            self.at = key;
            return Err(ErrorKind::DuplicateKey);
        }
        Ok(())
    }

    #[inline(always)]
    fn key(&mut self) -> Result<(), ErrorKind> {
        if self.next()? != b'"' {
            return Err(ErrorKind::Syntax);
        }
        self.count()?;
        self.string(Kind::Key)?;
        if self.next()? != b':' {
            return Err(ErrorKind::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    fn string(&mut self, kind: Kind) -> Result<(), ErrorKind> {
        let start = self.at;
        self.at = self.ahead.plain_run(start + 1);
        // Most strings have no escapes.
        let escaped = self.bytes.get(self.at) != Some(&b'"');
        if escaped {
            self.escaped_string()?;
        }
        self.at += 1;
        self.push(start, self.at, kind, escaped);
        Ok(())
    }

    /// Goes on to the quote that ends a string, from where it first is not plain.
    #[cold]
    #[inline(never)]
    fn escaped_string(&mut self) -> Result<(), ErrorKind> {
        loop {
            match self.peek()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                _ => return Err(ErrorKind::ControlCharacter),
            }
            self.at = self.ahead.plain_run(self.at);
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

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<(), ErrorKind> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(ErrorKind::Syntax);
        }
        self.push(self.at, self.at + word.len(), kind, false);
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), ErrorKind> {
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
        Ok(())
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
        // What they begin with tells nearly all from each other.
        let mut few = [(0, 0); PAIRWISE];
        let (mut at, mut count) = (object + 1, 0);
        while at < end {
            if count == PAIRWISE || self.nodes[at].escaped {
                return self.duplicate_among_many(object);
            }
            let sign = self.sign(at);
            if few[..count].iter().any(|(other, place)| *other == sign && self.raw_key(*place) == self.raw_key(at)) {
                return Some(self.nodes[at].start as usize);
            }
            few[count] = (sign, at);
            count += 1;
            at = self.nodes[at + 1].next as usize;
        }
        None
    }

    /// The first eight bytes of a key and its quote: the same for the same keys.
    #[inline]
    fn sign(&self, index: usize) -> u64 {
        let (start, end) = (self.nodes[index].start as usize + 1, self.nodes[index].end as usize);
        let mut word = [0; 8];
        match self.bytes.get(start..start + 8) {
            Some(bytes) => word.copy_from_slice(bytes),
            None => self.bytes[start..end].iter().zip(&mut word).for_each(|(byte, place)| *place = *byte),
        }
        match end - start {
            length @ 0..8 => u64::from_le_bytes(word) & !(u64::MAX << (8 * length)),
            _ => u64::from_le_bytes(word),
        }
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
