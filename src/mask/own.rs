//! Recognises replacements that masks wrote, so that they are not taken for values: bracketed names, hashes, pseudonyms.

use std::collections::HashSet;
use std::sync::Arc;

use super::applied::Applied;
use super::engine::{Rule, Sought};
use super::pseudonym::{HASH_DIGITS, MaskTag, PREFIX, Read, is_symbol};
use super::{Action, Directions, Entity};
use crate::json::Span;

/// The replacements the masks of a server may write, in both directions.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Names in brackets.
    tokens: Vec<String>,
    /// Names that precede a hash, with the colon.
    hashed: Vec<String>,
    /// Masks that write pseudonyms, with their tags and names.
    pseudonyms: Vec<(Arc<str>, MaskTag, Vec<Arc<str>>)>,
}

impl Own {
    /// The replacements of `rules`, and every entity in brackets.
    pub(super) fn of(rules: &[(Directions, Rule)]) -> Self {
        let labels = rules.iter().filter_map(|(_, rule)| match &rule.what {
            Sought::Entities(_) => None,
            Sought::Pattern { label, .. } => Some(label.as_ref()),
        });
        let names: HashSet<&str> = Entity::ALL.iter().map(|entity| entity.name()).chain(labels).collect();
        let mut own = Self { tokens: names.into_iter().map(|name| format!("[{name}]")).collect(), ..Self::default() };
        for (_, rule) in rules {
            match rule.action {
                Action::Hash { .. } => own.hashed.extend(rule.names().iter().map(|name| format!("{name}:"))),
                Action::Tokenize => own.pseudonyms.push((rule.id.clone(), rule.tag, rule.names())),
                Action::Block | Action::Mask { .. } | Action::Redact | Action::Report => {}
            }
        }
        own.hashed.sort_unstable();
        own.hashed.dedup();
        own
    }

    /// Whether any mask writes hashes or pseudonyms.
    pub(super) const fn is_keyed(&self) -> bool {
        !self.hashed.is_empty() || !self.pseudonyms.is_empty()
    }

    /// A match at `span`, widened to whole bracketed names it cuts; `None` inside one.
    pub(super) fn beside_tokens(&self, text: &str, span: Span) -> Option<Span> {
        let bytes = text.as_bytes();
        let mut taken = span;
        for token in &self.tokens {
            let from = span.start.saturating_sub(token.len());
            let window = &bytes[from..bytes.len().min(span.end + token.len())];
            for at in memchr::memmem::find_iter(window, token.as_bytes()) {
                taken = beside(Span { start: from + at, end: from + at + token.len() }, span, taken)?;
            }
        }
        Some(taken)
    }

    /// The hashes and pseudonyms in `text`. A hash is recognised by its form, as it cannot be verified; a pseudonym by opening.
    pub(super) fn keyed_in(&self, text: &str, applied: &Applied<'_>) -> Written {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        for name in &self.hashed {
            for at in memchr::memmem::find_iter(bytes, name.as_bytes()) {
                let rest = &bytes[at + name.len()..];
                let digits = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
                let goes_on = rest.get(digits).is_some_and(u8::is_ascii_alphanumeric);
                if digits == HASH_DIGITS && !goes_on {
                    found.push(Span { start: at, end: at + name.len() + digits });
                }
            }
        }
        if !self.pseudonyms.is_empty() {
            for at in memchr::memmem::find_iter(bytes, PREFIX.as_bytes()) {
                let end = at + bytes[at..].iter().take_while(|byte| is_symbol(**byte)).count();
                if text.get(at..end).is_some_and(|word| self.opens(word, applied)) {
                    found.push(Span { start: at, end });
                }
            }
        }
        Written::new(found)
    }

    fn opens(&self, word: &str, applied: &Applied<'_>) -> bool {
        self.pseudonyms.iter().any(|(mask, tag, names)| {
            let mut reads = names.iter().filter_map(|name| Read::new(word, name)).filter(|read| read.tag == *tag);
            reads.any(|read| applied.opens(mask, &read).is_some())
        })
    }
}

/// The spans of replacements in a text, in order.
#[derive(Debug)]
pub(super) struct Written {
    spans: Vec<Span>,
    /// The length of the longest.
    longest: usize,
}

impl Written {
    fn new(mut spans: Vec<Span>) -> Self {
        spans.sort_unstable_by_key(|span| span.start);
        let longest = spans.iter().map(|span| span.end - span.start).max().unwrap_or(0);
        Self { spans, longest }
    }

    /// Those that overlap `span`, and perhaps some that do not.
    pub(super) fn touching(&self, span: Span) -> impl Iterator<Item = Span> {
        let from = self.spans.partition_point(|own| own.start + self.longest <= span.start);
        let to = self.spans.partition_point(|own| own.start < span.end);
        self.spans.get(from..to).unwrap_or_default().iter().copied()
    }
}

/// `taken`, which covers the match `span`, widened to the replacement `own` if the match cuts it; `None` inside it.
pub(super) fn beside(own: Span, span: Span, taken: Span) -> Option<Span> {
    if own.start <= span.start && span.end <= own.end {
        return None;
    }
    if own.start < span.end && span.start < own.end {
        return Some(Span { start: taken.start.min(own.start), end: taken.end.max(own.end) });
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Written;
    use crate::json::Span;

    proptest! {
        #[test]
        fn none_that_is_touched_is_left_out(places in proptest::collection::vec((0_usize..60, 1_usize..9), 0..12), start in 0_usize..60, length in 1_usize..9) {
            let spans: Vec<Span> = places.iter().map(|(start, length)| Span { start: *start, end: start + length }).collect();
            let span = Span { start, end: start + length };
            let touched = |own: &Span| own.start < span.end && span.start < own.end;
            let mut wanted: Vec<Span> = spans.iter().filter(|own| touched(own)).copied().collect();
            let mut told: Vec<Span> = Written::new(spans).touching(span).filter(touched).collect();
            wanted.sort_unstable_by_key(|own| (own.start, own.end));
            told.sort_unstable_by_key(|own| (own.start, own.end));
            prop_assert_eq!(told, wanted);
        }
    }
}
