//! Recognisers: find values by their form and validate them by check digits, ranges and context; one file per family.
//!
//! A recogniser gets a whole text and returns byte ranges; it must not match a replacement this crate writes. Those of numbers
//! are tried at each run of digits, in the order of [`NUMBERS`]; the first match wins.

mod birth;
mod check_digits;
pub(super) mod contact;
mod context;
pub(super) mod hardware;
pub(super) mod identity;
pub(super) mod network;
mod payment;
mod phone;
pub(super) mod secret;
pub(super) mod url;
mod wallet;

use super::Entity;
use crate::json::Span;
pub(super) use birth::{speaks_of_birth, stems as birth_stems};
pub use check_digits::Validator;
use context::{Context, Hint, Topic};
pub(super) use context::{Words, end_of};

/// A recogniser of numbers: the match that begins with, or around, the run of digits with that index.
pub(super) type Find = fn(&Text<'_>, usize) -> Option<Hit>;

/// A recogniser of numbers, and when it is worth trying.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) entity: Entity,
    /// The possible lengths of the first run of digits, one bit each; 31 stands for 31 digits or more.
    pub(super) lengths: u32,
    /// The fewest digits in runs close enough to be one number, from the first run on; 0 if letters may separate them.
    pub(super) least: usize,
    beside: Beside,
    pub(super) find: Find,
}

impl Claim {
    /// Whether that many digits from a run on are enough.
    pub(super) const fn has_enough(&self, digits: usize) -> bool {
        digits >= self.least
    }

    /// Whether that byte may immediately precede a run.
    pub(super) const fn may_follow(&self, byte: u8) -> bool {
        self.beside.before & kind(byte) != 0
    }

    /// Whether a letter and then a space or dash may immediately precede a run.
    pub(super) const fn may_be_parted(&self) -> bool {
        self.beside.before & PARTED != 0
    }

    /// Whether that byte may immediately follow a run.
    pub(super) const fn may_precede(&self, byte: u8) -> bool {
        self.beside.behind & kind(byte) != 0
    }
}

const fn claim(entity: Entity, lengths: u32, least: usize, beside: Beside, find: Find) -> Claim {
    Claim { entity, lengths, least, beside, find }
}

/// The recognisers of numbers, strongest proof first.
#[rustfmt::skip]
pub(super) static NUMBERS: [Claim; 21] = [
    claim(Entity::IbanCode, from(2, 31), 0, Beside { before: LETTER | PARTED, behind: ANY }, payment::iban),
    claim(Entity::IpAddress, from(1, 3), 4, Beside { before: ANY & !LETTER, behind: DOT }, network::v4_address),
    claim(Entity::ItFiscalCode, of(&[2]), 0, Beside { before: LETTER, behind: LETTER }, identity::it_fiscal_code),
    claim(Entity::UkNino, of(&[2, 4, 6]), 6, Beside { before: LETTER | PARTED, behind: ANY }, identity::uk_nino),
    claim(Entity::Crypto, from(1, 31), 0, Beside { before: ANY, behind: LETTER }, wallet::wallet),
    claim(Entity::FrNir, of(&[1, 6, 13, 15]), 6, NO_WORD, identity::fr_nir),
    claim(Entity::CreditCard, of(&[1, 2, 4, 6, 8]) | from(12, 19), 12, NO_WORD, payment::card),
    claim(Entity::PhoneNumber, from(1, 15), 5, Beside { before: SIGN, behind: ANY }, phone::phone_abroad),
    claim(Entity::EsNif, of(&[7, 8]), 7, Beside { before: ANY, behind: LETTER | BLANK | DASH }, identity::es_nif),
    claim(Entity::BrCpf, of(&[3, 11]), 11, NO_WORD, identity::br_cpf),
    claim(Entity::PlPesel, of(&[11]), 11, NO_WORD, identity::pl_pesel),
    claim(Entity::DeTaxId, of(&[2, 11]), 11, NO_WORD, identity::de_tax_id),
    claim(Entity::InAadhaar, of(&[4, 12]), 12, NO_WORD, identity::in_aadhaar),
    claim(Entity::DateOfBirth, of(&[1, 2, 4]), 0, Beside { before: ANY, behind: ANY }, birth::date_of_birth),
    claim(Entity::UsSsn, of(&[3, 5, 9]), 9, NO_WORD, identity::us_ssn),
    claim(Entity::UsItin, of(&[3, 5, 9]), 9, NO_WORD, identity::us_itin),
    claim(Entity::CaSin, of(&[3, 9]), 9, NO_WORD, identity::ca_sin),
    claim(Entity::AuTfn, of(&[3, 9]), 9, NO_WORD, identity::au_tfn),
    claim(Entity::UkNhs, of(&[3, 10]), 10, NO_WORD, identity::uk_nhs),
    claim(Entity::PhoneNumber, from(1, 13), 7, NO_WORD, phone::phone_at_home),
    claim(Entity::UsBankNumber, from(8, 17), 8, NO_WORD, payment::us_bank_number),
];

/// The kinds of bytes a recogniser allows immediately before and after a run of digits, one bit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    before: u8,
    behind: u8,
}

const LETTER: u8 = 1;
const BLANK: u8 = 2;
const DASH: u8 = 4;
/// A plus sign, or the opening bracket that may follow it.
const SIGN: u8 = 8;
const DOT: u8 = 16;
const OTHER: u8 = 32;
/// Before digits: a letter and then a space or dash.
const PARTED: u8 = 64;
const ANY: u8 = LETTER | BLANK | DASH | SIGN | DOT | OTHER | PARTED;
/// No letter before: digits immediately after a letter are part of a word.
const NO_WORD: Beside = Beside { before: ANY & !LETTER, behind: ANY };

/// The kind of a byte.
const fn kind(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' => LETTER,
        b' ' => BLANK,
        b'-' => DASH,
        b'+' | b'(' => SIGN,
        b'.' => DOT,
        _ => OTHER,
    }
}

const fn from(least: u32, most: u32) -> u32 {
    (u32::MAX >> (31 - most)) & !((1 << least) - 1)
}

const fn of(lengths: &[u32]) -> u32 {
    let (mut set, mut at) = (0, 0);
    while at < lengths.len() {
        set |= 1 << lengths[at];
        at += 1;
    }
    set
}

/// Whether a byte is an ASCII letter or digit, from a table, as this is evaluated for every byte of a word.
pub(super) const fn is_part(byte: u8) -> bool {
    PARTS[byte as usize]
}

const PARTS: [bool; 256] = {
    let (mut parts, mut byte) = ([false; 256], 0);
    while byte < u8::MAX {
        parts[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    parts
};

/// Whether `bytes` contains that many consecutive letters and digits.
pub(super) fn has_word_of(length: usize, bytes: &[u8]) -> bool {
    let mut start = 0;
    while let Some(part) = bytes.get(start..start + length) {
        // The next run can begin after the last other byte.
        match part.iter().rposition(|byte| !is_part(*byte)) {
            None => return true,
            Some(other) => start += other + 1,
        }
    }
    false
}

/// Builds the tables all recognisers share, so that no message has to wait for it.
pub(super) fn prepare() {
    context::prepare();
}

/// A text with its runs of digits, the input of recognisers.
#[derive(Debug)]
pub(super) struct Text<'a> {
    /// The text, which is UTF-8.
    pub(super) whole: &'a str,
    /// The JSON key the text is under; empty if none.
    pub(super) label: &'a str,
    /// Its runs of ASCII digits, in order, except those the gate ruled out.
    pub(super) runs: &'a [Span],
    context: Context,
}

/// A match of a recogniser of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The index of the last run of digits in it.
    pub(super) last: usize,
}

/// A number of `N` digits in any groups.
struct Number<const N: usize> {
    digits: [u8; N],
    first: usize,
    groups: usize,
    hit: Hit,
}

impl<const N: usize> Number<N> {
    /// The number that begins with run `first`, with gaps between its groups that `joins` allows; no part of a word.
    fn read(text: &Text<'_>, first: usize, joins: impl Fn(&[u8]) -> bool) -> Option<Self> {
        // Most numbers have another length, so the digits are counted before they are copied.
        let (mut total, mut last) = (0, first);
        let start = text.runs.get(first)?.start;
        loop {
            let run = text.runs.get(last)?;
            total += run.end - run.start;
            if total >= N {
                break;
            }
            if !joins(text.gap(last)?) {
                return None;
            }
            last += 1;
        }
        if total > N {
            return None;
        }
        let end = text.runs.get(last)?.end;
        if text.word_before(start) || text.word_after(end) {
            return None;
        }
        let mut digits = [0; N];
        let read = text.bytes().get(start..end)?.iter().filter(|byte| byte.is_ascii_digit());
        digits.iter_mut().zip(read).for_each(|(place, digit)| *place = *digit);
        Some(Self { digits, first, groups: last - first + 1, hit: Hit { start, end, last } })
    }

    /// Whether its groups have these lengths and, if there are at most three, the same separator between them.
    fn is_grouped(&self, text: &Text<'_>, lengths: &[usize]) -> bool {
        let runs = text.runs.get(self.first..=self.hit.last).unwrap_or_default();
        runs.iter().map(|run| run.end - run.start).eq(lengths.iter().copied())
            && (lengths.len() > 3 || (self.first + 1..self.hit.last).all(|gap| text.gap(gap) == text.gap(self.first)))
    }
}

impl<'a> Text<'a> {
    pub(super) fn new(whole: &'a str, label: &'a str, runs: &'a [Span]) -> Self {
        Self { whole, label, runs, context: Context::default() }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.whole.as_bytes()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes().get(at).copied()
    }

    pub(super) fn before(&self, at: usize) -> Option<u8> {
        self.byte(at.checked_sub(1)?)
    }

    /// Whether a letter or digit immediately precedes `at`.
    #[inline]
    pub(super) fn word_before(&self, at: usize) -> bool {
        self.before(at).is_some_and(|byte| is_part(byte) || !byte.is_ascii() && self.letter_before(at))
    }

    #[cold]
    fn letter_before(&self, at: usize) -> bool {
        let head = self.whole.get(..at).unwrap_or_default();
        head.chars().next_back().is_some_and(char::is_alphanumeric)
    }

    /// Whether a letter or digit is at `at`.
    #[inline]
    pub(super) fn word_after(&self, at: usize) -> bool {
        self.byte(at).is_some_and(|byte| is_part(byte) || !byte.is_ascii() && self.letter_at(at))
    }

    #[cold]
    fn letter_at(&self, at: usize) -> bool {
        let tail = self.whole.get(at..).unwrap_or_default();
        tail.chars().next().is_some_and(char::is_alphanumeric)
    }

    /// Whether one of `marks` and then a digit are at `at`, as in a fraction or a longer number.
    pub(super) fn goes_on(&self, at: usize, marks: &[u8]) -> bool {
        self.byte(at).is_some_and(|mark| marks.contains(&mark)) && self.byte(at + 1).is_some_and(|b| b.is_ascii_digit())
    }

    /// Whether a digit and then one of `marks` precede `at`.
    pub(super) fn comes_from(&self, at: usize, marks: &[u8]) -> bool {
        self.before(at).is_some_and(|mark| marks.contains(&mark))
            && at.checked_sub(2).and_then(|index| self.byte(index)).is_some_and(|b| b.is_ascii_digit())
    }

    /// The bytes between run `index` and the next; `None` after the last.
    pub(super) fn gap(&self, index: usize) -> Option<&'a [u8]> {
        let (run, next) = (self.runs.get(index)?, self.runs.get(index + 1)?);
        self.bytes().get(run.end..next.start)
    }

    pub(super) fn digits(&self, run: Span) -> &'a [u8] {
        self.bytes().get(run.start..run.end).unwrap_or_default()
    }

    /// Whether `start..end` is in a UUID (RFC 9562 section 4).
    pub(super) fn in_uuid(&self, start: usize, end: usize) -> bool {
        const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
        const LENGTH: usize = 36;
        let part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
        let head = self.bytes()[..start].iter().rev().take(36).take_while(|b| part(b)).count();
        let tail = self.bytes()[end..].iter().take(36).take_while(|b| part(b)).count();
        let word = &self.bytes()[start - head..end + tail];
        word.len() == LENGTH && word.split(|byte| *byte == b'-').map(<[u8]>::len).eq(GROUPS)
    }

    /// Whether what begins at `start` continues a number or code before it.
    fn joined(&self, start: usize) -> bool {
        matches!(self.before(start), Some(b'-' | b'.' | b'/' | b'_' | b'#'))
            && start
                .checked_sub(2)
                .is_some_and(|at| self.byte(at).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'-'))
    }

    /// Whether `hit` is no part of a longer number, amount or code.
    fn is_free(&self, hit: &Hit) -> bool {
        let blank = self.bytes()[hit.start..hit.end].contains(&b' ');
        let marks: &[u8] = if blank { b"-./:, " } else { b"-./:," };
        !self.comes_from(hit.start, marks)
            && !self.goes_on(hit.end, marks)
            && !matches!(self.before(hit.start), Some(b'$' | b'#' | b'+'))
            && self.byte(hit.end) != Some(b'%')
    }

    /// Accepts a number with one valid check digit: in groups of these lengths unless a word speaks against it, undivided only
    /// next to a word for it, because one in ten numbers has a valid check digit by chance.
    fn decide<const N: usize>(&self, number: &Number<N>, first: usize, topic: Topic, groups: &[usize]) -> Option<Hit> {
        let divided = number.is_grouped(self, groups);
        let plausible = divided || number.groups == 1;
        let hint = self.hint(first, topic);
        let clear = divided && hint != Some(Hint::Against) || plausible && hint == Some(Hint::For);
        (clear && self.is_free(&number.hit)).then_some(number.hit)
    }

    /// The index of the last run that begins before `end`, from run `first` on.
    fn last_run(&self, first: usize, end: usize) -> usize {
        let count = self.runs[first..].iter().take_while(|run| run.start < end).count();
        first + count.saturating_sub(1)
    }

    /// The hint of the words before run `first`, or else of the label, about `topic`.
    fn hint(&self, first: usize, topic: Topic) -> Option<Hint> {
        let at = self.runs.get(first)?.start;
        self.context.hint(self.bytes(), self.label, at, topic)
    }

    /// The part of the label that is searched for words.
    fn label_end(&self) -> &'a [u8] {
        context::end_of(self.label)
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) mod cases {
    use super::{Find, Text};
    use crate::json::Span;

    /// Puts the runs of ASCII digits of `bytes` into `runs`.
    fn digit_runs(bytes: &[u8], runs: &mut Vec<Span>) {
        let mut at = 0;
        while let Some(first) = bytes[at..].iter().position(u8::is_ascii_digit) {
            let start = at + first;
            at = start + bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
            runs.push(Span { start, end: at });
        }
    }

    /// Runs one recogniser over `text` and shows what it found.
    pub(crate) fn found<'a>(find: fn(&Text<'_>, &mut Vec<Span>), label: &str, text: &'a str) -> Vec<&'a str> {
        let (mut runs, mut spans) = (Vec::new(), Vec::new());
        digit_runs(text.as_bytes(), &mut runs);
        find(&Text::new(text, label, &runs), &mut spans);
        spans.into_iter().map(|span| text.get(span.start..span.end).unwrap_or_default()).collect()
    }

    /// Checks that in each `(text, values)` exactly the values, separated by `|`, are found.
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

    /// Tries `find` at every run of digits that is no part of an earlier match.
    pub(crate) fn numbers(find: Find, text: &Text<'_>, spans: &mut Vec<Span>) {
        let mut index = 0;
        while index < text.runs.len() {
            let hit = find(text, index);
            spans.extend(hit.map(|hit| Span { start: hit.start, end: hit.end }));
            index = hit.map_or(index, |hit| hit.last) + 1;
        }
    }

    /// [`found`] for a recogniser of numbers.
    pub(crate) fn found_numbers<'a>(find: Find, label: &str, text: &'a str) -> Vec<&'a str> {
        let (mut runs, mut spans) = (Vec::new(), Vec::new());
        digit_runs(text.as_bytes(), &mut runs);
        numbers(find, &Text::new(text, label, &runs), &mut spans);
        spans.into_iter().map(|span| text.get(span.start..span.end).unwrap_or_default()).collect()
    }

    /// [`check`] for a recogniser of numbers.
    pub(crate) fn check_numbers(find: Find, cases: &[(&str, &str)]) {
        for (text, values) in cases {
            let wanted: Vec<&str> = values.split('|').filter(|value| !value.is_empty()).collect();
            assert_eq!(found_numbers(find, "", text), wanted, "{text}");
        }
    }

    /// [`check_none`] for a recogniser of numbers.
    pub(crate) fn check_no_numbers(find: Find, cases: &[&str]) {
        for text in cases {
            assert_eq!(found_numbers(find, "", text), Vec::<&str>::new(), "{text}");
        }
    }
}
