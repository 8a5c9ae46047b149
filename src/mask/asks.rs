//! Conditions on a match beyond its form: a word nearby, a check digit, and an allow list.

use super::Validator;
use super::recognisers::Words;
use crate::json::Span;

/// Further conditions of one mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// One of these words must precede a match of a pattern, on its line or in its JSON key. Empty: no condition.
    pub near: Vec<String>,
    /// The check a match of a pattern must pass.
    pub validate: Option<Validator>,
    /// Values that are left alone, compared without ASCII case.
    pub allow: Vec<String>,
}

/// The same conditions, compiled.
#[derive(Debug)]
pub(super) struct Asked {
    near: Option<Words<()>>,
    validate: Option<Validator>,
    allow: Vec<String>,
}

impl Asked {
    pub(super) fn new(asks: &Asks) -> Self {
        let near = (!asks.near.is_empty()).then(|| Words::new(asks.near.iter().map(|word| (word, ()))));
        Self { near, validate: asks.validate, allow: asks.allow.clone() }
    }

    /// Whether the allow list is empty.
    pub(super) const fn allows_nothing(&self) -> bool {
        self.allow.is_empty()
    }

    /// Whether the value at `span` of `text` is on the allow list.
    #[inline]
    pub(super) fn lets_pass(&self, text: &str, span: Span) -> bool {
        let value = || text.get(span.start..span.end).unwrap_or_default();
        !self.allow.is_empty() && self.allow.iter().any(|allowed| allowed.eq_ignore_ascii_case(value()))
    }

    /// Whether a pattern's match at `span` of `text`, under the JSON key `label`, meets the conditions.
    pub(super) fn takes(&self, text: &str, span: Span, label: &str) -> bool {
        let near = self.near.as_ref().is_none_or(|words| words.stand_before(text.as_bytes(), span.start, label));
        let valid = |check: &Validator| text.get(span.start..span.end).is_some_and(|value| check.accepts(value));
        near && self.validate.as_ref().is_none_or(valid)
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Asks, Validator};
    use crate::json::Span;

    #[test]
    fn asks_for_words_checks_and_exceptions() {
        let asked = |near: &[&str], validate, allow: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            Asked::new(&Asks { near: owned(near), validate, allow: owned(allow) })
        };
        let takes = |asked: &Asked, text: &str, label: &str| {
            let start = text.find(|c: char| c.is_ascii_digit()).unwrap();
            asked.takes(text, Span { start, end: text.len() }, label)
        };
        let badge = asked(&["badge", "staff no"], None, &[]);
        assert!(
            takes(&badge, "badge 12345", "")
                && takes(&badge, "Staff No: 12345", "")
                && takes(&badge, "12345", "badgeId")
        );
        assert!(
            !takes(&badge, "12345", "") && !takes(&badge, "badge\n12345", "") && !takes(&badge, "badger 12345", "")
        );
        let checked = asked(&[], Some(Validator::Luhn), &[]);
        assert!(takes(&checked, "4111111111111111", "") && !takes(&checked, "4111111111111112", ""));
        let known = asked(&[], None, &["support@example.com"]);
        let lets_pass = |text: &str| known.lets_pass(text, Span { start: 0, end: text.len() });
        assert!(lets_pass("Support@Example.com") && !lets_pass("support@example.com.evil"));
    }
}
