use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};

use super::{Member, Span, Value};

/// A list of replacements in a document's bytes.
#[derive(Clone, Debug, Default)]
pub struct Splice {
    edits: Vec<Edit>,
}

/// One replacement.
#[derive(Clone, Debug)]
struct Edit {
    span: Span,
    text: Bytes,
    /// Whether this removes a member or item, and therefore a comma.
    is_part: bool,
}

impl Splice {
    /// No replacements yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is to be replaced.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Reserves capacity for that many more replacements.
    pub fn reserve(&mut self, count: usize) {
        self.edits.reserve(count);
    }

    /// Replaces `span` with `text`, in any order; for overlapping spans see [`Splice::apply`].
    pub fn replace(&mut self, span: Span, text: impl Into<Bytes>) {
        self.edits.push(Edit { span, text: text.into(), is_part: false });
    }

    /// The number of replacements.
    pub(crate) const fn len(&self) -> usize {
        self.edits.len()
    }

    /// Adds the replacements of another text, with their spans mapped into this one by `place`.
    pub(crate) fn extend(&mut self, other: Self, place: impl Fn(Span) -> Span) {
        self.edits.extend(other.edits.into_iter().map(|edit| Edit { span: place(edit.span), ..edit }));
    }

    /// Removes the items marked `false` from their array, commas included. Takes all items of one array, in order.
    pub fn remove_items(&mut self, items: &[(Value<'_>, bool)]) {
        self.remove(items.iter().map(|(item, keep)| (item.span(), *keep)));
    }

    /// Removes the members marked `false` from their object, commas included. Takes all members of one object, in order.
    pub fn remove_members(&mut self, members: &[(Member<'_>, bool)]) {
        self.remove(members.iter().map(|(member, keep)| (member.span(), *keep)));
    }

    /// Removes the members of `object` that `keep` refuses, and inserts `added`, names and JSON texts, at its beginning.
    pub(crate) fn rewrite_object(
        &mut self,
        object: Value<'_>,
        keep: impl Fn(&Member<'_>) -> bool,
        added: &[(&str, impl AsRef<[u8]>)],
    ) {
        self.put_in_front(object, keep, written(added.iter().map(|(name, value)| (*name, value.as_ref()))));
    }

    /// The same with members already rendered.
    pub(crate) fn put_in_front(&mut self, object: Value<'_>, keep: impl Fn(&Member<'_>) -> bool, added: Vec<u8>) {
        let some_stay = self.remove(object.members().map(|member| (member.span(), keep(&member))));
        self.insert(object, added, some_stay);
    }

    /// Inserts members, names and JSON texts, at the beginning of `object`.
    pub(crate) fn add_members<'a>(
        &mut self,
        object: Value<'_>,
        added: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    ) {
        self.insert(object, written(added), object.members().next().is_some());
    }

    fn insert(&mut self, object: Value<'_>, mut added: Vec<u8>, has_more: bool) {
        if added.is_empty() {
            return;
        }
        if has_more {
            added.push(b',');
        }
        let start = object.span().start + 1;
        self.replace(Span { start, end: start }, added);
    }

    /// Adds the removal of every part marked `false`; returns whether any part stays.
    fn remove(&mut self, parts: impl Iterator<Item = (Span, bool)>) -> bool {
        let mut some_stay = false;
        for (span, keep) in parts {
            some_stay |= keep;
            if !keep {
                self.edits.push(Edit { span, text: Bytes::new(), is_part: true });
            }
        }
        some_stay
    }

    /// The bytes with all replacements applied; the same bytes if there are none.
    ///
    /// Of overlapping replacements the first by position is applied and the others are dropped.
    pub fn apply(mut self, bytes: &Bytes) -> Bytes {
        if self.edits.is_empty() {
            return bytes.clone();
        }
        if !self.edits.is_sorted_by(|edit, next| edit.span.end <= next.span.start && edit.span <= next.span) {
            self.put_in_order();
        }
        self.cut(bytes);
        let (gone, grown) = self.edits.iter().fold((0, 0), |(gone, grown), Edit { span, text, .. }| {
            (gone + (span.end - span.start), grown + text.len())
        });
        let mut out = BytesMut::with_capacity(bytes.len().saturating_sub(gone) + grown);
        let mut at = 0;
        for Edit { span, text, .. } in &self.edits {
            out.extend_from_slice(&bytes[at..span.start]);
            out.extend_from_slice(text);
            at = span.end;
        }
        out.extend_from_slice(&bytes[at..]);
        out.freeze()
    }

    fn put_in_order(&mut self) {
        self.edits.sort_by_key(|edit| edit.span);
        let mut at = 0;
        self.edits.retain(|Edit { span, .. }| {
            let stays = span.start >= at;
            at = if stays { span.end } else { at };
            stays
        });
    }

    /// Extends each run of adjacent removals by one comma: the one before it, or the one after it if nothing before it stays.
    fn cut(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < self.edits.len() {
            if !self.edits[at].is_part {
                at += 1;
                continue;
            }
            let parts = self.edits[at..].windows(2).take_while(|pair| {
                let [part, next] = pair else { return false };
                next.is_part && bytes[part.span.end..next.span.start].trim_ascii() == b","
            });
            let last = at + parts.count();
            let (start, end) = (self.edits[at].span.start, self.edits[last].span.end);
            let (before, behind) = (bytes[..start].trim_ascii_end(), bytes[end..].trim_ascii_start());
            let span = match (before, behind) {
                ([kept @ .., b','], _) => Span { start: kept.trim_ascii_end().len(), end },
                (_, [b',', rest @ ..]) => Span { start, end: bytes.len() - rest.trim_ascii_start().len() },
                _ => Span { start, end },
            };
            // The first removes the whole run, the others nothing more.
            self.edits[at].span = span;
            for edit in &mut self.edits[at + 1..=last] {
                edit.span = Span { start: span.end, end: span.end };
            }
            at = last + 1;
        }
    }
}

/// Renders members separated by commas, with capacity for one more comma.
fn written<'a>(members: impl Iterator<Item = (&'a str, &'a [u8])> + Clone) -> Vec<u8> {
    let length = members.clone().map(|(name, value)| name.len() + value.len() + 4).sum();
    let mut text = Vec::with_capacity(length);
    for (name, value) in members {
        if !text.is_empty() {
            text.push(b',');
        }
        text.push(b'"');
        text.extend_from_slice(escaped(name).as_bytes());
        text.extend_from_slice(b"\":");
        text.extend_from_slice(value);
    }
    text
}

/// `text` as a JSON string literal, quotes included. U+0085, U+2028 and U+2029 are escaped too, since a peer that frames
/// messages by lines might split there.
pub fn quoted(text: &str) -> String {
    ["\"", &escaped(text), "\""].concat()
}

/// The same without the quotes.
pub fn escaped(text: &str) -> Cow<'_, str> {
    // Nearly every text needs no escapes.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '\u{7f}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.into()
}
