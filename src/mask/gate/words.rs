//! Words as long as keys: fifteen bytes or more without spaces, control characters and quotation marks.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, u8x64};
use memchr::memmem;

use super::coarse::BLOCK;
use super::wanted::Wanted;
use crate::json::Span;
use crate::mask::literals::Presence;
use crate::mask::recognisers::{has_word_of, identity, is_part, secret};

/// The beginning of a PEM block.
const DASHES: &[u8] = b"-----";

/// A search for five dashes in a row, prepared once: preparing it costs more than most searches.
#[derive(Debug)]
pub(super) struct Dashes(memmem::Finder<'static>);

impl Default for Dashes {
    fn default() -> Self {
        Self(memmem::Finder::new(DASHES))
    }
}

impl Dashes {
    pub(super) fn are_in(&self, text: &[u8]) -> bool {
        self.0.find(text).is_some()
    }
}

/// Whether `word` contains a literal of a secret key, or a PEM block begins in it or shortly before it; `dashes` tells whether
/// the text can have any. Values assigned to a name are checked elsewhere.
pub(super) fn has_secret(text: &[u8], word: Span, literals: &Presence, dashes: bool) -> bool {
    /// The label of a block has spaces, so its dashes may be before `word`.
    const BEFORE: usize = 48;
    let from = word.start.saturating_sub(BEFORE);
    literals.occur_in(&text[word.start..word.end])
        || dashes
            && (memmem::find(&text[from..word.start], DASHES).is_some()
                || memmem::find(&text[word.start..word.end], b"-----BEGIN").is_some())
}

/// Whether `word` contains what could be a wallet address, an IBAN or a fiscal code.
pub(super) fn is_shaped(text: &[u8], word: Span, wanted: &Wanted) -> bool {
    let letters = |run: &[u8]| run.iter().take(7).take_while(|byte| byte.is_ascii_alphabetic()).count();
    any_run_of(14, &text[word.start..word.end], |run| {
        wanted.wallets && run.len() >= 14 && matches!(run, [b'0' | b'1' | b'3' | b'b' | b'B' | b't' | b'T', ..])
            || wanted.ibans && run.len() >= 15 && letters(run) == 2
            || wanted.codes && identity::is_fiscal_code(run)
    })
}

/// Whether `word` contains a fiscal code.
pub(super) fn has_code(text: &[u8], word: Span) -> bool {
    any_run_of(16, &text[word.start..word.end], identity::is_fiscal_code)
}

/// Whether `is_sought` is true for a run of at least `shortest` letters and digits in `bytes`.
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
        // The letter of an escape is no part of the word after it.
        let is_escaped =
            bytes.get(behind) == Some(&b'\\') && bytes.get(behind + 1).is_some_and(u8::is_ascii_alphanumeric);
        if is_escaped && is_sought(run(behind + 2)) {
            return true;
        }
        start = behind + 1;
    }
    false
}

/// Quickly computed properties of a word; for a long one there may be false positives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance {
    pub(super) colons: u8,
    /// Colons and dashes.
    pub(super) marks: u8,
    /// Whether any byte is from `@` on: letters, a few marks, and everything beyond ASCII.
    pub(super) letters: bool,
    /// Whether it may be assigned to a name: a `:` or `=` is in it, or shortly before it.
    pub(super) assigns: bool,
    pub(super) rows: Rows,
}

/// Whether the word has certain lengths of consecutive letters and digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// At least 14, as in the shortest IBAN or wallet address.
    pub(super) fourteen: bool,
    /// Exactly 16, as in a fiscal code.
    pub(super) sixteen: bool,
}

/// Computes the properties of `word`.
pub(super) fn glance<S: Simd>(simd: S, text: &[u8], word: Span) -> Glance {
    let from = word.start.saturating_sub(secret::BEFORE_ASSIGNED);
    if word.end - from > BLOCK {
        let marks = u8::MAX;
        let rows = Rows { fourteen: true, sixteen: true };
        return Glance { colons: marks, marks, letters: true, assigns: true, rows };
    }
    simd.vectorize(
        #[inline(always)]
        || near_glance(simd, text, from, word),
    )
}

/// The same for a word within a block from byte `from` on.
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that it is compiled for the instructions of the pass over all blocks")]
fn near_glance<S: Simd>(simd: S, text: &[u8], from: usize, word: Span) -> Glance {
    let mut padded = [0; BLOCK];
    let rest = text.get(from..).unwrap_or_default();
    let bytes: &[u8; BLOCK] = rest.first_chunk().unwrap_or_else(|| {
        if let Some(head) = padded.get_mut(..rest.len()) {
            head.copy_from_slice(rest);
        }
        &padded
    });
    let bytes = u8x64::from_slice(simd, bytes);
    let splat = |byte: u8| u8x64::splat(simd, byte);
    let near = u64::MAX >> ((BLOCK - (word.end - from)) % BLOCK);
    let own = near & u64::MAX << (word.start - from);
    let is = |byte: u8| bytes.simd_eq(splat(byte));
    let count = |bits: u64| bits.count_ones().to_le_bytes()[0];
    let (colons, dashes) = (is(b':').to_bitmask(), is(b'-').to_bitmask());
    let letters = ((bytes | splat(0x20)) - splat(b'a')).simd_le(splat(25));
    let parts = (letters | (bytes - splat(b'0')).simd_le(splat(9))).to_bitmask() & own;
    let two = parts & parts >> 1;
    let four = two & two >> 2;
    let eight = four & four >> 4;
    let sixteen = eight & eight >> 8;
    // The letter of an escape is no part of the word after it.
    let is_escaped = is(b'\\').to_bitmask() & own != 0;
    let alone = sixteen & !(parts << 1) & !(parts >> 16);
    Glance {
        colons: count(colons & own),
        marks: count((colons | dashes) & own),
        letters: bytes.simd_ge(splat(b'@')).to_bitmask() & own != 0,
        assigns: (colons | is(b'=').to_bitmask()) & near != 0,
        rows: Rows { fourteen: eight & eight >> 6 != 0, sixteen: alone != 0 || is_escaped && sixteen != 0 },
    }
}

/// Whether `word` has separators spaced as in a MAC address.
pub(super) fn has_mac(text: &[u8], word: Span) -> bool {
    let bytes = &text[word.start..word.end];
    memchr::memchr2_iter(b':', b'-', bytes)
        .any(|at| bytes.get(at + 3) == Some(&bytes[at]) && bytes.get(at + 6) == Some(&bytes[at]))
}

/// Whether `word` has six colons, the fewest of an IPv6 address without `::`: those before a dotted quad.
pub(super) fn has_colons(text: &[u8], word: Span) -> bool {
    memchr::memchr_iter(b':', &text[word.start..word.end]).nth(5).is_some()
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::{BLOCK, glance, has_code, secret};
    use crate::json::Span;

    #[test]
    fn sees_marks_and_rows_wherever_they_stand() {
        let code = "RSSMRA85T10A562S";
        let texts = [
            ":",
            "-",
            ":-",
            "1",
            "a:",
            "7-9",
            "\u{e9}",
            "-;9,:.",
            "ab-cd=",
            "0123456789abcd.",
            code,
            "x\\nRSSMRA85T10A562S:",
        ];
        for (length, text) in (1..140).flat_map(|length| texts.map(|text| (length, text))) {
            let word: String = text.chars().cycle().take(length).collect();
            for before in ["", " ", "a = ", "is it: \"", &" -".repeat(40)] {
                let text = format!("{before}{word} {word}:");
                let span = Span { start: before.len(), end: before.len() + word.len() };
                let seen = dispatch!(Level::new(), simd => glance(simd, text.as_bytes(), span));
                let is_near = span.end - span.start.saturating_sub(secret::BEFORE_ASSIGNED) <= BLOCK;
                let count = |mark: char| u8::try_from(word.matches(mark).count()).unwrap();
                let row = word.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap();
                let near = text.as_bytes()[span.start.saturating_sub(secret::BEFORE_ASSIGNED)..span.end].iter();
                let told = [
                    (seen.marks >= 6, count(':') + count('-') >= 6),
                    (seen.colons >= 6, count(':') >= 6),
                    (seen.letters, word.bytes().any(|byte| byte >= b'@')),
                    (seen.assigns, near.clone().any(|byte| matches!(byte, b'=' | b':'))),
                    (seen.rows.fourteen, row >= 14),
                ];
                assert!(told.iter().all(|(seen, is)| seen == is || !is_near && *seen), "{told:?} in {text}");
                assert!(seen.rows.sixteen || !has_code(text.as_bytes(), span), "{text}");
            }
        }
    }
}
