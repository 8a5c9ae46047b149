//! Finding values by shape and proving them by check digits, ranges and context; one file a family.
//!
//! A recogniser is given a whole text and offers byte ranges; it must not match a replacement this crate writes. Those of
//! numbers are asked at one run of digits after the other, in the order of [`NUMBERS`]; the first that claims it has it.

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

/// A recogniser of numbers: what begins with, or around, the digit run of that index.
pub(super) type Find = fn(&Text<'_>, usize) -> Option<Hit>;

/// A recogniser of numbers, and where it is worth asking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) entity: Entity,
    /// Lengths of the first run of digits, one bit each; one of 31 digits or more counts as 31.
    pub(super) lengths: u32,
    /// Fewest digits from there on that are close enough to be one number; 0 where letters part them.
    pub(super) least: usize,
    beside: Beside,
    pub(super) find: Find,
}

impl Claim {
    /// Whether so many digits from a run on are enough.
    pub(super) const fn has_enough(&self, digits: usize) -> bool {
        digits >= self.least
    }

    /// Whether that byte may stand right before a run.
    pub(super) const fn may_follow(&self, byte: u8) -> bool {
        self.beside.before & kind(byte) != 0
    }

    /// Whether a blank or dash behind a letter may stand right before a run.
    pub(super) const fn may_be_parted(&self) -> bool {
        self.beside.before & PARTED != 0
    }

    /// Whether that byte may stand right behind a run.
    pub(super) const fn may_precede(&self, byte: u8) -> bool {
        self.beside.behind & kind(byte) != 0
    }
}

const fn claim(entity: Entity, lengths: u32, least: usize, beside: Beside, find: Find) -> Claim {
    Claim { entity, lengths, least, beside, find }
}

/// What claims numbers, strongest proof first.
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

/// Kinds of bytes a recogniser allows right before and right behind a run of digits, one bit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    before: u8,
    behind: u8,
}

const LETTER: u8 = 1;
const BLANK: u8 = 2;
const DASH: u8 = 4;
/// A plus sign, or the bracket that may stand behind it.
const SIGN: u8 = 8;
const DOT: u8 = 16;
const OTHER: u8 = 32;
/// Before digits: a blank or dash behind a letter.
const PARTED: u8 = 64;
const ANY: u8 = LETTER | BLANK | DASH | SIGN | DOT | OTHER | PARTED;
/// Digits right behind a letter are part of a word.
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

/// Whether a byte is an ASCII letter or digit, from a table: of words, every byte is asked.
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

/// Whether so many letters and digits stand in a row somewhere in `bytes`.
pub(super) fn has_word_of(length: usize, bytes: &[u8]) -> bool {
    let mut start = 0;
    while let Some(part) = bytes.get(start..start + length) {
        // Behind the last byte that is none the next can begin.
        match part.iter().rposition(|byte| !is_part(*byte)) {
            None => return true,
            Some(other) => start += other + 1,
        }
    }
    false
}

/// Makes what all recognisers share, so that no message has to wait for it.
pub(super) fn prepare() {
    context::prepare();
}

/// A text with what all recognisers of numbers start from.
#[derive(Debug)]
pub(super) struct Text<'a> {
    /// The text, which is UTF-8.
    pub(super) whole: &'a str,
    /// The JSON key the text stands under; empty if none.
    pub(super) label: &'a str,
    /// Its runs of ASCII digits in order.
    pub(super) runs: &'a [Span],
    context: Context,
}

/// What a recogniser of numbers found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The last run of digits in it.
    pub(super) last: usize,
}

/// A number of `N` digits, however they are grouped.
struct Number<const N: usize> {
    digits: [u8; N],
    first: usize,
    groups: usize,
    hit: Hit,
}

impl<const N: usize> Number<N> {
    /// The number that begins with run `first`, between whose groups `joins` allows what stands there; no part of a word.
    fn read(text: &Text<'_>, first: usize, joins: impl Fn(&[u8]) -> bool) -> Option<Self> {
        // Most have more digits, or fewer: they are counted before they are read.
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

    /// Whether its groups have these lengths, and the same stands between all but the last two.
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

    /// Whether a letter, digit or part of a multi-byte letter stands right before `at`.
    #[inline]
    pub(super) fn word_before(&self, at: usize) -> bool {
        self.before(at).is_some_and(|byte| is_part(byte) || !byte.is_ascii() && self.letter_before(at))
    }

    #[cold]
    fn letter_before(&self, at: usize) -> bool {
        let head = self.whole.get(..at).unwrap_or_default();
        head.chars().next_back().is_some_and(char::is_alphanumeric)
    }

    /// Whether a letter or digit stands at `at`.
    #[inline]
    pub(super) fn word_after(&self, at: usize) -> bool {
        self.byte(at).is_some_and(|byte| is_part(byte) || !byte.is_ascii() && self.letter_at(at))
    }

    #[cold]
    fn letter_at(&self, at: usize) -> bool {
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
        const LENGTH: usize = 36;
        let part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
        let head = self.bytes()[..start].iter().rev().take(36).take_while(|b| part(b)).count();
        let tail = self.bytes()[end..].iter().take(36).take_while(|b| part(b)).count();
        let word = &self.bytes()[start - head..end + tail];
        word.len() == LENGTH && word.split(|byte| *byte == b'-').map(<[u8]>::len).eq(GROUPS)
    }

    /// Whether a number or code goes over into what begins at `start`.
    fn joined(&self, start: usize) -> bool {
        matches!(self.before(start), Some(b'-' | b'.' | b'/' | b'_' | b'#'))
            && start
                .checked_sub(2)
                .is_some_and(|at| self.byte(at).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'-'))
    }

    /// Whether no number, sum or code goes over into `hit`, or on behind it.
    fn is_free(&self, hit: &Hit) -> bool {
        let blank = self.bytes()[hit.start..hit.end].contains(&b' ');
        let marks: &[u8] = if blank { b"-./:, " } else { b"-./:," };
        !self.comes_from(hit.start, marks)
            && !self.goes_on(hit.end, marks)
            && !matches!(self.before(hit.start), Some(b'$' | b'#' | b'+'))
            && self.byte(hit.end) != Some(b'%')
    }

    /// A number proved by one check digit: taken in groups of these lengths unless a word is against it, else only beside
    /// a word for it, because one in ten numbers has a right check digit.
    fn decide<const N: usize>(&self, number: &Number<N>, first: usize, topic: Topic, groups: &[usize]) -> Option<Hit> {
        let divided = number.is_grouped(self, groups);
        let plausible = divided || number.groups == 1;
        let hint = self.hint(first, topic);
        let clear = divided && hint != Some(Hint::Against) || plausible && hint == Some(Hint::For);
        (clear && self.is_free(&number.hit)).then_some(number.hit)
    }

    /// The last run of digits that begins before `end`, counted from run `first`.
    fn last_run(&self, first: usize, end: usize) -> usize {
        let count = self.runs[first..].iter().take_while(|run| run.start < end).count();
        first + count.saturating_sub(1)
    }

    /// What the words before run `first`, or else the label, say about `topic`.
    fn hint(&self, first: usize, topic: Topic) -> Option<Hint> {
        let at = self.runs.get(first)?.start;
        self.context.hint(self.bytes(), self.label, at, topic)
    }

    /// The part of the label whose words count.
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

    /// Asks `find` at every run of digits that nothing claimed before.
    pub(crate) fn numbers(find: Find, text: &Text<'_>, spans: &mut Vec<Span>) {
        let mut index = 0;
        while index < text.runs.len() {
            let hit = find(text, index);
            spans.extend(hit.map(|hit| Span { start: hit.start, end: hit.end }));
            index = hit.map_or(index, |hit| hit.last) + 1;
        }
    }

    /// What [`found`] is for other recognisers.
    pub(crate) fn found_numbers<'a>(find: Find, label: &str, text: &'a str) -> Vec<&'a str> {
        let (mut runs, mut spans) = (Vec::new(), Vec::new());
        digit_runs(text.as_bytes(), &mut runs);
        numbers(find, &Text::new(text, label, &runs), &mut spans);
        spans.into_iter().map(|span| text.get(span.start..span.end).unwrap_or_default()).collect()
    }

    /// What [`check`] is for other recognisers.
    pub(crate) fn check_numbers(find: Find, cases: &[(&str, &str)]) {
        for (text, values) in cases {
            let wanted: Vec<&str> = values.split('|').filter(|value| !value.is_empty()).collect();
            assert_eq!(found_numbers(find, "", text), wanted, "{text}");
        }
    }

    /// What [`check_none`] is for other recognisers.
    pub(crate) fn check_no_numbers(find: Find, cases: &[&str]) {
        for text in cases {
            assert_eq!(found_numbers(find, "", text), Vec::<&str>::new(), "{text}");
        }
    }
}
