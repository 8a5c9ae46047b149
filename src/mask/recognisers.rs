//! Finding values by shape and proving them by check digits, ranges and context; one file a family.
//!
//! A recogniser is given a whole text and offers byte ranges; it must not match a replacement this crate writes.

pub(super) mod contact;
pub(super) mod identity;
pub(super) mod network;
pub(super) mod payment;
pub(super) mod secret;

use aho_corasick::AhoCorasick;

use crate::json::Span;

/// A text with what all recognisers of numbers start from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// The text, which is UTF-8.
    pub(super) whole: &'a str,
    /// The JSON key the text stands under; empty if none.
    pub(super) label: &'a str,
    /// Its runs of ASCII digits in order.
    pub(super) runs: &'a [Span],
}

/// What a word near a number says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// It is what the recogniser looks for.
    For,
    /// It is something else.
    Against,
}

/// A word and what it says.
pub(super) type Word = (&'static str, Hint);

impl<'a> Text<'a> {
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.whole.as_bytes()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes().get(at).copied()
    }

    pub(super) fn before(&self, at: usize) -> Option<u8> {
        self.byte(at.checked_sub(1)?)
    }

    /// Whether a letter, digit or part of a multi-byte letter stands right before `at`.
    pub(super) fn word_before(&self, at: usize) -> bool {
        let head = self.whole.get(..at).unwrap_or_default();
        head.chars().next_back().is_some_and(char::is_alphanumeric)
    }

    /// Whether a letter or digit stands at `at`.
    pub(super) fn word_after(&self, at: usize) -> bool {
        let tail = self.whole.get(at..).unwrap_or_default();
        tail.chars().next().is_some_and(char::is_alphanumeric)
    }

    /// Whether `mark` and then a digit follow at `at`, as in a fraction or a longer number.
    pub(super) fn goes_on(&self, at: usize, marks: &[u8]) -> bool {
        self.byte(at).is_some_and(|mark| marks.contains(&mark)) && self.byte(at + 1).is_some_and(|b| b.is_ascii_digit())
    }

    /// Whether a digit and then a mark stand before `at`.
    pub(super) fn comes_from(&self, at: usize, marks: &[u8]) -> bool {
        self.before(at).is_some_and(|mark| marks.contains(&mark))
            && at.checked_sub(2).and_then(|index| self.byte(index)).is_some_and(|b| b.is_ascii_digit())
    }

    /// What stands between digit run `index` and the next; `None` behind the last.
    pub(super) fn gap(&self, index: usize) -> Option<&'a [u8]> {
        let (run, next) = (self.runs.get(index)?, self.runs.get(index + 1)?);
        self.bytes().get(run.end..next.start)
    }

    pub(super) fn digits(&self, run: Span) -> &'a [u8] {
        self.bytes().get(run.start..run.end).unwrap_or_default()
    }

    /// Whether `start..end` lies in a UUID or a longer hexadecimal word with dashes.
    pub(super) fn in_uuid(&self, start: usize, end: usize) -> bool {
        const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
        let part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
        let head = self.bytes()[..start].iter().rev().take(36).take_while(|b| part(b)).count();
        let tail = self.bytes()[end..].iter().take(36).take_while(|b| part(b)).count();
        let word = &self.bytes()[start - head..end + tail];
        word.split(|byte| *byte == b'-').map(<[u8]>::len).eq(GROUPS)
    }

    /// What the nearest known word within `reach` bytes before `at`, on the same line, says; else what the label says.
    ///
    /// Nothing before a `]` is looked at: the names in our own replacements must not speak for their neighbours.
    pub(super) fn hint(&self, at: usize, reach: usize, words: &Words) -> Option<Hint> {
        /// Bytes of a key that are looked at, from its end; each number asks again.
        const LABEL: usize = 128;
        let window = &self.bytes()[at.saturating_sub(reach)..at];
        let label = self.label.as_bytes();
        let cut = window.iter().rposition(|b| matches!(b, b'\n' | b']')).map_or(0, |index| index + 1);
        words.nearest(&window[cut..]).or_else(|| words.nearest(&label[label.len().saturating_sub(LABEL)..]))
    }
}

/// The words a recogniser listens to.
#[derive(Debug)]
pub(super) struct Words {
    table: &'static [Word],
    /// `None` only for a table too large to search for, which none is.
    search: Option<AhoCorasick>,
}

impl Words {
    pub(super) fn new(table: &'static [Word]) -> Self {
        let search = AhoCorasick::builder().ascii_case_insensitive(true).build(table.iter().map(|(word, _)| word)).ok();
        Self { table, search }
    }

    /// The hint of the word that ends last in `text`, of equal ones the longest; none inside a longer word.
    fn nearest(&self, text: &[u8]) -> Option<Hint> {
        let found = self.search.as_ref()?.find_overlapping_iter(text);
        let whole = found.filter(|word| starts_word(text, word.start()) && ends_word(text, word.end()));
        let best = whole.max_by_key(|word| (word.end(), word.len()))?;
        self.table.get(best.pattern().as_usize()).map(|(_, hint)| *hint)
    }
}

fn starts_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|index| text[index]) else { return true };
    // `homePhone` has the word `phone`.
    !before.is_ascii_alphabetic() || (before.is_ascii_lowercase() && text[at].is_ascii_uppercase())
}

fn ends_word(text: &[u8], at: usize) -> bool {
    let plural = usize::from(text.get(at).is_some_and(|b| b.eq_ignore_ascii_case(&b's')));
    [at, at + plural].iter().any(|end| text.get(*end).is_none_or(|b| !b.is_ascii_alphabetic()))
        || text.get(at).is_some_and(u8::is_ascii_uppercase)
}

/// Puts the runs of ASCII digits of `bytes` into `runs`.
pub(super) fn digit_runs(bytes: &[u8], runs: &mut Vec<Span>) {
    const BLOCK: usize = 32;
    runs.clear();
    let mut at = 0;
    while at < bytes.len() {
        let block = &bytes[at..bytes.len().min(at + BLOCK)];
        if !block.iter().fold(false, |any, b| any | b.is_ascii_digit()) {
            at += block.len();
            continue;
        }
        let Some(first) = block.iter().position(u8::is_ascii_digit) else { continue };
        let start = at + first;
        let end = start + bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        runs.push(Span { start, end });
        at = end;
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::{Text, digit_runs};
    use crate::json::Span;

    /// Runs one recogniser over `text` and shows what it found.
    pub(crate) fn found<'a>(find: fn(&Text<'_>, &mut Vec<Span>), label: &str, text: &'a str) -> Vec<&'a str> {
        let (mut runs, mut spans) = (Vec::new(), Vec::new());
        digit_runs(text.as_bytes(), &mut runs);
        find(&Text { whole: text, label, runs: &runs }, &mut spans);
        spans.into_iter().map(|span| text.get(span.start..span.end).unwrap()).collect()
    }

    /// Checks that of each `(text, values)` exactly the values, split at `|`, are found.
    pub(crate) fn check(find: fn(&Text<'_>, &mut Vec<Span>), cases: &[(&str, &str)]) {
        for (text, values) in cases {
            let wanted: Vec<&str> = values.split('|').filter(|value| !value.is_empty()).collect();
            assert_eq!(found(find, "", text), wanted, "{text}");
        }
    }

    /// Checks that nothing is found.
    pub(crate) fn check_none(find: fn(&Text<'_>, &mut Vec<Span>), cases: &[&str]) {
        for text in cases {
            assert_eq!(found(find, "", text), Vec::<&str>::new(), "{text}");
        }
    }
}
