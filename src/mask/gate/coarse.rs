//! The pass that every byte goes through: which classes of bytes a block holds, sixty-four bytes at a time.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u8x64};

use crate::json::Span;

/// Bytes looked at together, one bit of a word each.
pub(super) const BLOCK: usize = 64;
/// Fewest bytes of a long word.
pub(super) const LONG: usize = 15;

/// What one block holds: a bit for each byte, the lowest first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Where it begins.
    pub(super) at: usize,
    /// An `@`.
    pub(super) ats: u64,
    pub(super) digits: u64,
    /// What disguises begin with: `&`, `\` and bytes beyond ASCII.
    pub(super) marks: u64,
    /// Bytes above the quotation mark.
    parts: u64,
}

/// What blocks are handed to.
pub(super) trait Visit {
    /// A block that holds a digit, an `@` or a mark; false to stop.
    fn block(&mut self, seen: &Seen) -> bool;
    /// A word of [`LONG`] bytes or more, once it has ended; false to stop.
    fn word(&mut self, word: Span) -> bool;
}

/// Calls `visit` with every block of `text` that holds something, and with every long word; false if it returned false.
pub(super) fn look(text: &[u8], visit: &mut impl Visit) -> bool {
    dispatch!(Level::new(), simd => each(simd, text, visit))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn each<S: Simd>(simd: S, text: &[u8], visit: &mut impl Visit) -> bool {
    let mut words = Words::default();
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut at = 0;
    for block in blocks {
        let seen = classify(simd, block, at);
        if !handle(&seen, &mut words, visit) {
            return false;
        }
        at += BLOCK;
    }
    // Zeros are in no class.
    let mut padded = [0; BLOCK];
    if let Some(head) = padded.get_mut(..rest.len()) {
        head.copy_from_slice(rest);
    }
    let seen = classify(simd, &padded, at);
    handle(&seen, &mut words, visit)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
fn classify<S: Simd>(simd: S, block: &[u8; BLOCK], at: usize) -> Seen {
    let bytes = u8x64::from_slice(simd, block);
    let splat = |byte: u8| u8x64::splat(simd, byte);
    let parts = bytes.simd_gt(splat(b'"')).to_bitmask();
    let from_zero = bytes - splat(b'0');
    let marks = bytes.simd_ge(splat(0x80)) | bytes.simd_eq(splat(b'&')) | bytes.simd_eq(splat(b'\\'));
    // Digits, the at sign, and the few marks between them.
    if (from_zero.simd_le(splat(b'@' - b'0')) | marks).to_bitmask() == 0 {
        return Seen { at, parts, ..Seen::default() };
    }
    let (ats, digits) = (bytes.simd_eq(splat(b'@')), from_zero.simd_lt(splat(10)));
    Seen { at, ats: ats.to_bitmask(), digits: digits.to_bitmask(), marks: marks.to_bitmask(), parts }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
fn handle(seen: &Seen, words: &mut Words, visit: &mut impl Visit) -> bool {
    (seen.ats | seen.digits | seen.marks == 0 || visit.block(seen)) && words.take(seen, visit)
}

/// The word the last block ended in.
#[derive(Debug, Default)]
struct Words {
    /// How many bytes of it there were.
    open: usize,
}

impl Words {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
    fn take(&mut self, seen: &Seen, visit: &mut impl Visit) -> bool {
        let parts = seen.parts;
        let head = parts.trailing_ones() as usize;
        if head == BLOCK {
            self.open += BLOCK;
            return true;
        }
        let before = self.open;
        self.open = parts.leading_ones() as usize;
        let ends = before + head >= LONG;
        // Fifteen set bits in a row, at the first of them.
        let two = parts & parts >> 1;
        let four = two & two >> 2;
        let eight = four & four >> 4;
        let long = eight & eight >> (LONG - 8);
        !(ends || long != 0) || inner(seen, before, head, long, visit)
    }
}

/// The long words that end in a block, of which the first may have begun `before` bytes earlier.
#[inline(never)]
fn inner(seen: &Seen, before: usize, head: usize, long: u64, visit: &mut impl Visit) -> bool {
    if before + head >= LONG && !visit.word(Span { start: seen.at - before, end: seen.at + head }) {
        return false;
    }
    // The first word is told, and so is what lies before the last byte that is none.
    let mut rest = long & u64::MAX << head;
    while rest != 0 {
        let start = rest.trailing_zeros();
        let length = (seen.parts >> start).trailing_ones();
        if start + length >= u64::BITS {
            return true;
        }
        let (from, to) = (seen.at + start as usize, seen.at + (start + length) as usize);
        if !visit.word(Span { start: from, end: to }) {
            return false;
        }
        rest &= u64::MAX << (start + length);
    }
    true
}

/// Where a disguise begins in a block.
pub(super) fn disguise(text: &[u8], seen: &Seen) -> Option<usize> {
    let next = |at: usize, by: usize| text.get(at + by).copied().unwrap_or(0);
    let mut marks = seen.marks;
    while marks != 0 {
        let at = seen.at + marks.trailing_zeros() as usize;
        let found = match text.get(at)? {
            b'\\' => matches!(next(at, 1), b'u' | b'\\'),
            b'&' => next(at, 1) == b'#' || next(at, 1).is_ascii_lowercase(),
            byte => is_suspicious_lead(*byte),
        };
        if found {
            return Some(at);
        }
        marks &= marks - 1;
    }
    // What hides ASCII behind a percent sign has a decimal digit, which may be the first byte of the next block.
    let from = seen.at.saturating_sub(1);
    let block = text.get(from..text.len().min(seen.at + BLOCK)).filter(|_| seen.digits != 0)?;
    let percent = |at: &usize| next(from + at, 1).is_ascii_hexdigit() && next(from + at, 2).is_ascii_hexdigit();
    memchr::memchr_iter(b'%', block).find(percent).map(|at| from + at)
}

/// Whether a byte is written with `%` somewhere in `text`.
pub(super) fn has_percent(text: &[u8]) -> bool {
    let is_hex = |at: usize| text.get(at).is_some_and(u8::is_ascii_hexdigit);
    memchr::memchr_iter(b'%', text).any(|at| is_hex(at + 1) && is_hex(at + 2))
}

/// Whether a UTF-8 lead byte begins characters that show nothing, separate, or stand for ASCII ones.
///
/// Not among them: most of Latin, Greek, Cyrillic, Hebrew and the CJK ideographs.
const fn is_suspicious_lead(byte: u8) -> bool {
    matches!(byte, 0xc2 | 0xcd | 0xd8..=0xdb | 0xdf..=0xe3 | 0xea | 0xef..)
}
