use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};

use super::{Member, Span, Value};

/// Replacements to be written into a document's bytes.
#[derive(Debug, Default)]
pub struct Splice {
    edits: Vec<(Span, Bytes)>,
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

    /// Puts `text` where `span` stands; spans must not overlap and may come in any order.
    pub fn replace(&mut self, span: Span, text: impl Into<Bytes>) {
        self.edits.push((span, text.into()));
    }

    /// How many replacements there are.
    pub(crate) const fn len(&self) -> usize {
        self.edits.len()
    }

    /// Takes in those of another text, each where `place` says its span is in this one.
    pub(crate) fn extend(&mut self, other: Self, place: impl Fn(Span) -> Span) {
        self.edits.extend(other.edits.into_iter().map(|(span, text)| (place(span), text)));
    }

    /// Takes the items marked `false` out of their array, commas included; all items of one array, in order.
    pub fn remove_items(&mut self, items: &[(Value<'_>, bool)]) {
        self.remove(items.iter().map(|(item, keep)| (item.span(), *keep)));
    }

    /// Takes the members marked `false` out of their object, commas included; all members of one object, in order.
    pub fn remove_members(&mut self, members: &[(Member<'_>, bool)]) {
        self.remove(members.iter().map(|(member, keep)| (member.span(), *keep)));
    }

    /// Takes the members of `object` that `keep` refuses out, and puts `added`, names and JSON texts, in front.
    pub(crate) fn rewrite_object(
        &mut self,
        object: Value<'_>,
        keep: impl Fn(&str) -> bool,
        added: &[(&str, impl AsRef<[u8]>)],
    ) {
        let length = added.iter().map(|(name, value)| name.len() + value.as_ref().len() + 4).sum();
        let mut text = Vec::with_capacity(length);
        for (at, (name, value)) in added.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(quoted(name).as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_ref());
        }
        self.put_in_front(object, keep, text);
    }

    /// The same with members that are written already.
    pub(crate) fn put_in_front(&mut self, object: Value<'_>, keep: impl Fn(&str) -> bool, mut added: Vec<u8>) {
        let some_stay = self.remove(object.members().map(|member| (member.span(), keep(&member.name()))));
        if added.is_empty() {
            return;
        }
        if some_stay {
            added.push(b',');
        }
        let start = object.span().start + 1;
        self.replace(Span { start, end: start }, added);
    }

    /// A removed part takes the comma before it along, or the one behind it where nothing before it stays; says whether any
    /// stays.
    fn remove(&mut self, parts: impl Iterator<Item = (Span, bool)>) -> bool {
        let (mut kept_before, mut previous_end, mut leading) = (false, 0, None);
        for (span, keep) in parts {
            if keep {
                if let Some(start) = leading.take() {
                    self.replace(Span { start, end: span.start }, Bytes::new());
                }
                kept_before = true;
            } else if kept_before {
                self.replace(Span { start: previous_end, end: span.end }, Bytes::new());
            } else {
                leading = leading.or(Some(span.start));
            }
            previous_end = span.end;
        }
        if let Some(start) = leading {
            self.replace(Span { start, end: previous_end }, Bytes::new());
        }
        kept_before
    }

    /// The bytes with all replacements made; the same bytes where there are none.
    ///
    /// Of overlapping replacements the first by position stays and the others are dropped.
    pub fn apply(mut self, bytes: &Bytes) -> Bytes {
        if self.edits.is_empty() {
            return bytes.clone();
        }
        self.edits.sort_by_key(|(span, _)| *span);
        let mut at = 0;
        self.edits.retain(|(span, _)| {
            let stays = span.start >= at;
            at = if stays { span.end } else { at };
            stays
        });
        let (gone, grown) = self
            .edits
            .iter()
            .fold((0, 0), |(gone, grown), (span, text)| (gone + (span.end - span.start), grown + text.len()));
        let mut out = BytesMut::with_capacity(bytes.len().saturating_sub(gone) + grown);
        let mut at = 0;
        for (span, text) in &self.edits {
            out.extend_from_slice(&bytes[at..span.start]);
            out.extend_from_slice(text);
            at = span.end;
        }
        out.extend_from_slice(&bytes[at..]);
        out.freeze()
    }
}

/// `text` as a JSON string literal, quotes included; U+0085, U+2028 and U+2029 are escaped, so that no line-framed peer splits it.
pub fn quoted(text: &str) -> String {
    ["\"", &escaped(text), "\""].concat()
}

/// The same without the quotes.
pub fn escaped(text: &str) -> Cow<'_, str> {
    // Nearly every text is written as it is.
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
