//! Strict JSON as bytes plus spans: what arrives is what is decided on, and unchanged parts are sent byte for byte.
//!
//! A [`Document`] is one JSON text and an index of its nodes in document order. No tree of values is built: numbers keep
//! their spelling, strings their escapes, objects their key order. [`Splice`] writes replacements into the original bytes.

mod canonical;
mod error;
mod fold;
mod keys;
mod literal;
mod plain;
mod scan;
mod splice;

use std::borrow::Cow;

use bytes::Bytes;

pub use canonical::digest;
pub use error::{Error, ErrorKind};
pub use fold::{fold, is_folded_spelling};
pub use splice::{Splice, escaped, quoted};

/// Limits for parsing one document.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The deepest nesting of arrays and objects; at most 64, whatever is set here.
    pub depth: usize,
    /// The most object members and array items in total.
    pub members: usize,
}

impl Limits {
    /// Limits for a request: depth 64, 10,000 members.
    pub const REQUEST: Self = Self { depth: 64, members: 10_000 };
    /// Limits for an answer: depth 64, 250,000 members.
    pub const ANSWER: Self = Self { depth: 64, members: 250_000 };
}

/// The type of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Array,
    Bool,
    Key,
    Null,
    Number,
    Object,
    String,
}

/// One entry of the index: the position of a value or key, and the end of its subtree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Index of the first node after this one's subtree; a key's has its value in it.
    pub(crate) next: u32,
    pub(crate) kind: Kind,
    /// Whether a string or key contains a backslash.
    pub(crate) escaped: bool,
}

impl Node {
    /// Length in bytes, quotes and brackets included.
    const fn length(&self) -> usize {
        self.end.wrapping_sub(self.start) as usize
    }

    const fn span(&self) -> Span {
        Span { start: self.start as usize, end: self.end as usize }
    }
}

/// A half-open byte range of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
}

/// One strictly parsed JSON text (RFC 8259): UTF-8 without BOM, no duplicate key at any depth, no lone surrogate,
/// bounded depth and size, nothing but white space around it.
#[derive(Clone, Debug)]
pub struct Document {
    bytes: Bytes,
    nodes: Vec<Node>,
    /// Whether the text is known to be printable ASCII and white space.
    is_plain: bool,
}

impl Document {
    /// Parses `bytes` as exactly one JSON value. Errs on the first violation, with its kind and byte offset.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self, Error> {
        let (nodes, is_plain) = scan::index(&bytes, limits)?;
        Ok(Self { bytes, nodes, is_plain })
    }

    /// The same with [`Limits::ANSWER`]; gives the bytes back if they are not acceptable.
    pub(crate) fn parse_or_return(bytes: Bytes) -> Result<Self, Bytes> {
        match scan::index(&bytes, &Limits::ANSWER) {
            Ok((nodes, is_plain)) => Ok(Self { bytes, nodes, is_plain }),
            Err(_) => Err(bytes),
        }
    }

    /// The original text.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value { document: self, index: 0 }
    }

    /// The value at a [`Value::place`] of this document.
    pub(crate) fn at(&self, place: Place) -> Value<'_> {
        Value { document: self, index: place.0 }
    }

    /// The value at a JSON Pointer (RFC 6901), if there is one.
    pub fn pointer(&self, pointer: &str) -> Option<Value<'_>> {
        self.root().pointer(pointer)
    }
}

/// The position of a value in its document, for finding it again without borrowing the document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(usize);

/// A value inside a [`Document`].
#[derive(Clone, Copy)]
pub struct Value<'a> {
    document: &'a Document,
    index: usize,
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}@{:?}", self.kind(), self.span())
    }
}

impl<'a> Value<'a> {
    fn node(&self) -> &'a Node {
        &self.document.nodes[self.index]
    }

    /// The type of this value; never [`Kind::Key`].
    pub fn kind(&self) -> Kind {
        self.node().kind
    }

    /// Its position, valid in this document only.
    pub(crate) const fn place(&self) -> Place {
        Place(self.index)
    }

    /// The number of nodes in it, itself and keys included.
    pub(crate) fn nodes(&self) -> usize {
        self.node().next as usize - self.index
    }

    /// Its position in the document, quotes and brackets included.
    pub fn span(&self) -> Span {
        self.node().span()
    }

    /// Its bytes as written.
    pub fn raw(&self) -> &'a [u8] {
        let span = self.span();
        &self.document.bytes[span.start..span.end]
    }

    /// Its bytes as written, sharing the document's memory.
    pub fn raw_bytes(&self) -> Bytes {
        let span = self.span();
        self.document.bytes.slice(span.start..span.end)
    }

    /// The decoded string, borrowed if it has no escapes; `None` for any other type.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        let node = self.node();
        (node.kind == Kind::String).then(|| self.document.text_of(node))
    }

    /// The text between the quotes of a string without escapes; `None` for anything else.
    pub(crate) fn plain_text(&self) -> Option<&'a [u8]> {
        let node = self.node();
        (node.kind == Kind::String && !node.escaped).then(|| self.document.inside(node))
    }

    /// The same, sharing the document's memory.
    pub(crate) fn plain_bytes(&self) -> Option<Bytes> {
        let node = self.node();
        let inner = || self.document.bytes.slice(node.start as usize + 1..node.end as usize - 1);
        (node.kind == Kind::String && !node.escaped).then(inner)
    }

    /// The value of an integer without fraction or exponent; `None` for anything else or if out of range.
    pub fn as_i64(&self) -> Option<i64> {
        if self.kind() != Kind::Number {
            return None;
        }
        let raw = self.raw();
        // The common case: 18 digits cannot overflow.
        if raw.len() < 19 && raw.iter().all(u8::is_ascii_digit) {
            return Some(raw.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')));
        }
        std::str::from_utf8(raw).ok()?.parse().ok()
    }

    /// The boolean; `None` for any other type.
    pub fn as_bool(&self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw() == b"true")
    }

    /// The members of an object in document order; empty for any other type.
    #[inline]
    pub fn members(&self) -> Members<'a> {
        let node = self.node();
        let (at, end) = match node.kind {
            Kind::Object => (self.index + 1, node.next as usize),
            _ => (0, 0),
        };
        Members { document: self.document, at, end }
    }

    /// The items of an array in order; empty for any other type.
    pub fn items(&self) -> Items<'a> {
        let node = self.node();
        let (at, end) = match node.kind {
            Kind::Array => (self.index + 1, node.next as usize),
            _ => (0, 0),
        };
        Items { document: self.document, at, end }
    }

    /// The value of the member with that name; `None` if there is none, or for any other type.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "what is looked for is known where it is asked for, and its length with it"
    )]
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let (document, Members { mut at, end, .. }) = (self.document, self.members());
        // With quotes. Most keys differ in length.
        let length = name.len() + 2;
        while at < end {
            let key = &document.nodes[at];
            if key.length() == length && document.reads(key, name.as_bytes())
                || key.escaped && document.is_escaped_name(key, name.as_bytes())
            {
                return Some(Value { document, index: at + 1 });
            }
            at = key.next as usize;
        }
        None
    }

    /// The value at a JSON Pointer (RFC 6901) relative to this one.
    pub fn pointer(&self, pointer: &str) -> Option<Value<'a>> {
        if pointer.is_empty() {
            return Some(*self);
        }
        let mut at = *self;
        for token in pointer.strip_prefix('/')?.split('/') {
            at = match at.kind() {
                Kind::Array => at.items().nth(token.parse().ok()?)?,
                Kind::Object if token.contains('~') => at.get(&token.replace("~1", "/").replace("~0", "~"))?,
                Kind::Object => at.get(token)?,
                _ => return None,
            };
        }
        Some(at)
    }

    /// Every object in this value, itself included, in document order.
    pub(crate) fn objects(self) -> impl Iterator<Item = Value<'a>> {
        let inside = self.index..self.node().next as usize;
        inside.map(move |index| Value { index, ..self }).filter(|value| value.kind() == Kind::Object)
    }

    /// Whether every number in this value is finite as an IEEE 754 double; larger ones are read differently by different
    /// parsers (RFC 8259 section 6).
    pub fn numbers_fit(&self) -> bool {
        /// Without an exponent, a number of fewer bytes is finite.
        const FEW: usize = 300;
        let document = self.document;
        let numbers =
            document.nodes[self.index..self.node().next as usize].iter().filter(|node| node.kind == Kind::Number);
        numbers.map(|node| &document.bytes[node.start as usize..node.end as usize]).all(|raw| {
            raw.len() < FEW && !raw.iter().any(|byte| byte.eq_ignore_ascii_case(&b'e'))
                || std::str::from_utf8(raw).is_ok_and(|raw| raw.parse::<f64>().is_ok_and(f64::is_finite))
        })
    }

    /// The value as a `serde_json::Value`, for JSON Schema and CEL; never forwarded, since numbers may lose precision.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_slice(self.raw()).unwrap_or(serde_json::Value::Null)
    }
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    key: &'a Node,
    /// The member's value.
    pub value: Value<'a>,
}

impl<'a> Member<'a> {
    /// The decoded key.
    pub fn name(&self) -> Cow<'a, str> {
        self.value.document.text_of(self.key)
    }

    /// Whether the decoded key is `name`.
    pub fn name_is(&self, name: &str) -> bool {
        let (document, name) = (self.value.document, name.as_bytes());
        self.key.length() == name.len() + 2 && document.reads(self.key, name)
            || self.key.escaped && document.is_escaped_name(self.key, name)
    }

    /// Whether the decoded key begins with `prefix`.
    pub(crate) fn name_starts_with(&self, prefix: &str) -> bool {
        match self.plain_name() {
            Some(name) => name.starts_with(prefix.as_bytes()),
            None => self.name().starts_with(prefix),
        }
    }

    /// The key's bytes if it was written without escapes.
    pub fn plain_name(&self) -> Option<&'a [u8]> {
        (!self.key.escaped).then(|| self.value.document.inside(self.key))
    }

    /// Whether the document is known to be printable ASCII and white space.
    pub(crate) const fn is_among_plain(&self) -> bool {
        self.value.document.is_plain
    }

    /// Whether the key was written with escapes.
    pub fn is_escaped(&self) -> bool {
        self.key.escaped
    }

    /// Its position, from the key to the end of the value.
    pub(crate) fn span(&self) -> Span {
        Span { start: self.key_span().start, end: self.value.span().end }
    }

    /// The position of the key, quotes included.
    pub fn key_span(&self) -> Span {
        self.key.span()
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    document: &'a Document,
    at: usize,
    end: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        if self.at >= self.end {
            return None;
        }
        let (key, index) = (&self.document.nodes[self.at], self.at + 1);
        self.at = key.next as usize;
        Some(Member { key, value: Value { document: self.document, index } })
    }
}

/// The items of an array.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    document: &'a Document,
    at: usize,
    end: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.at >= self.end {
            return None;
        }
        let value = Value { document: self.document, index: self.at };
        self.at = value.node().next as usize;
        Some(value)
    }
}

impl Document {
    /// Whether a key of the same length as `name` is written as `name`.
    #[inline]
    fn reads(&self, key: &Node, name: &[u8]) -> bool {
        let start = key.start as usize + 1;
        !key.escaped && self.bytes.get(start..start + name.len()) == Some(name)
    }

    /// Whether the decoded key of a node that was written with escapes is `name`.
    #[cold]
    fn is_escaped_name(&self, key: &Node, name: &[u8]) -> bool {
        /// The length of `\u0041`, the longest escape of one byte.
        const ESCAPE: usize = 6;
        let inner = self.inside(key);
        // The length check avoids decoding a long key for every name that is looked up.
        inner.len() <= name.len() * ESCAPE && literal::unescape(inner).as_bytes() == name
    }

    /// The bytes between the quotes of a string or key.
    #[inline]
    fn inside(&self, node: &Node) -> &[u8] {
        &self.bytes[node.start as usize + 1..node.end as usize - 1]
    }

    /// The text between the quotes of a string or key, decoded.
    fn text_of(&self, node: &Node) -> Cow<'_, str> {
        let inner = self.inside(node);
        if node.escaped {
            return literal::unescape(inner).into();
        }
        // Never lossy: the text was validated as UTF-8, and nodes begin and end at quotes.
        std::str::from_utf8(inner).map_or_else(|_| String::from_utf8_lossy(inner), Cow::Borrowed)
    }
}

#[cfg(test)]
mod tests;
