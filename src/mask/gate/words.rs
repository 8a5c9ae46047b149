//! Words as long as keys are: fifteen bytes or more without a blank or a quotation mark.

use super::wanted::Wanted;
use crate::json::Span;
use crate::mask::literals::Presence;
use crate::mask::recognisers::{has_word_of, identity, is_part, secret};

/// What PEM blocks begin with.
pub(super) const DASHES: &[u8] = b"-----";

/// Whether what every secret begins with stands in or before `word`, or it is a value assigned to a name for one; `dashes`
/// tells whether there could be a PEM block.
pub(super) fn has_secret(label: &str, text: &[u8], word: Span, literals: &Presence, dashes: bool) -> bool {
    /// A block begins with words parted by blanks.
    const BEFORE: usize = 48;
    let from = word.start.saturating_sub(BEFORE);
    literals.occur_in(&text[word.start..word.end])
        || secret::is_assigned(label, text, word)
        || dashes
            && (memchr::memmem::find(&text[from..word.start], DASHES).is_some()
                || memchr::memmem::find(&text[word.start..word.end], b"-----BEGIN").is_some())
}

/// Whether a wallet, a bank account or a code of letters and digits begins in `word`.
pub(super) fn is_shaped(text: &[u8], word: Span, wanted: &Wanted) -> bool {
    let letters = |run: &[u8]| run.iter().take(7).take_while(|byte| byte.is_ascii_alphabetic()).count();
    any_run_of(14, &text[word.start..word.end], |run| {
        wanted.wallets && run.len() >= 14 && matches!(run, [b'0' | b'1' | b'3' | b'b' | b'B' | b't' | b'T', ..])
            || wanted.ibans && run.len() >= 15 && letters(run) == 2
            || wanted.codes && identity::is_fiscal_code(run)
    })
}

/// Whether a code of letters and digits is in `word`.
pub(super) fn has_code(text: &[u8], word: Span) -> bool {
    any_run_of(16, &text[word.start..word.end], identity::is_fiscal_code)
}

/// Whether `is_sought` is true of a run of letters and digits in `bytes`, of `shortest` at least.
fn any_run_of(shortest: usize, bytes: &[u8], is_sought: impl Fn(&[u8]) -> bool) -> bool {
    if !has_word_of(shortest, bytes) {
        return false;
    }
    let run = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        &rest[..rest.iter().take_while(|byte| is_part(**byte)).count()]
    };
    let mut start = 0;
    while start + shortest <= bytes.len() {
        let own = run(start);
        if own.len() >= shortest && is_sought(own) {
            return true;
        }
        let behind = start + own.len();
        // What an escape ends with is no part of the word behind it.
        let is_escaped =
            bytes.get(behind) == Some(&b'\\') && bytes.get(behind + 1).is_some_and(u8::is_ascii_alphanumeric);
        if is_escaped && is_sought(run(behind + 2)) {
            return true;
        }
        start = behind + 1;
    }
    false
}

/// What a glance at a word shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance {
    pub(super) colons: u8,
    /// Colons and dashes.
    pub(super) marks: u8,
    /// Whether any byte is a letter, or one of the marks that stand among letters in ASCII, or beyond ASCII.
    pub(super) letters: bool,
}

/// A glance at `word`; a very long one counts as having many marks.
pub(super) fn glance(text: &[u8], word: Span) -> Glance {
    /// A bit beyond ASCII, or that letters have.
    const LETTERS: u64 = each(0xc0);
    let bytes = &text[word.start..word.end];
    if bytes.len() > usize::from(u8::MAX) {
        return Glance { colons: u8::MAX, marks: u8::MAX, letters: true };
    }
    let (steps, rest) = bytes.as_chunks();
    let rest = rest.iter().rev().fold(0, |step, byte| step << 8 | u64::from(*byte));
    let (mut colons, mut dashes, mut any) = (0_u64, 0_u64, 0);
    for step in steps.iter().map(|step| u64::from_le_bytes(*step)).chain([rest]) {
        // No byte of these comes to more than there are steps.
        colons = colons.wrapping_add(zeros(step ^ each(b':')));
        dashes = dashes.wrapping_add(zeros(step ^ each(b'-')));
        any |= step;
    }
    let sum = |bytes: u64| bytes.wrapping_mul(each(1)).to_be_bytes()[0];
    let colons = sum(colons);
    Glance { colons, marks: colons.wrapping_add(sum(dashes)), letters: any & LETTERS != 0 }
}

/// That byte eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// One in each byte of `word` that is nought.
const fn zeros(word: u64) -> u64 {
    const LOW: u64 = each(0x7f);
    !((word & LOW).wrapping_add(LOW) | word | LOW) >> 7
}

/// Whether `word` has marks parting hexadecimal digits as in a hardware address.
pub(super) fn has_mac(text: &[u8], word: Span) -> bool {
    let bytes = &text[word.start..word.end];
    memchr::memchr2_iter(b':', b'-', bytes)
        .any(|at| bytes.get(at + 3) == Some(&bytes[at]) && bytes.get(at + 6) == Some(&bytes[at]))
}

/// Whether `word` has as many colons as an address of the internet without `::`, which six before a dotted quad are.
pub(super) fn has_colons(text: &[u8], word: Span) -> bool {
    memchr::memchr_iter(b':', &text[word.start..word.end]).nth(5).is_some()
}

#[cfg(test)]
mod tests {
    use super::glance;
    use crate::json::Span;

    #[test]
    fn counts_marks_wherever_they_stand() {
        for length in 0..80 {
            for text in [":", "-", ":-", "1", "a:", "7-9", "\u{e9}", "-;9,:."] {
                let text: String = text.chars().cycle().take(length).collect();
                let count = |mark: char| u8::try_from(text.matches(mark).count()).unwrap();
                let seen = glance(text.as_bytes(), Span { start: 0, end: text.len() });
                assert_eq!((seen.colons, seen.marks), (count(':'), count(':') + count('-')), "{text}");
                assert_eq!(seen.letters, text.bytes().any(|byte| byte >= b'@'), "{text}");
            }
        }
    }
}
