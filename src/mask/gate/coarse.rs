//! The pass over every byte: which classes of bytes each block of 64 contains.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u8x64};

use crate::json::Span;

/// The bytes of a block: one bit of a word each.
pub(super) const BLOCK: usize = 64;
/// The fewest bytes of a long word.
pub(super) const LONG: usize = 15;

/// The marks of one block: a bit for each byte, the lowest for the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// Where the block begins.
    pub(super) at: usize,
    pub(super) ats: u64,
    /// Bytes that disguises begin with: `&`, `\`, `%` and all beyond ASCII.
    pub(super) disguises: u64,
    pub(super) quotes: u64,
    /// Quotation marks behind which `blob` or `data` could stand.
    pub(super) labels: u64,
    pub(super) semicolons: u64,
}

/// Receives what the pass finds; each method returns false to stop.
pub(super) trait Visit {
    /// The digits of the block at `at`, of which there is at least one, and those of the next block.
    fn digits<S: Simd>(&mut self, simd: S, at: usize, digits: (u64, u64)) -> bool;
    /// The marks of a block that has any; called before its digits.
    fn marks(&mut self, marks: &Marks) -> bool;
    /// A word of [`LONG`] bytes or more; called once it has ended.
    fn word<S: Simd>(&mut self, simd: S, word: Span) -> bool;
}

/// Calls `visit` with the digits and marks of every block of `text`, and with every long word; returns false if `visit` did.
pub(super) fn look(text: &[u8], visit: &mut impl Visit) -> bool {
    dispatch!(Level::new(), simd => each(simd, text, visit))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn each<S: Simd>(simd: S, text: &[u8], visit: &mut impl Visit) -> bool {
    let mut pass = Pass { simd, digits: 0, words: Words::default() };
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut at = 0;
    for block in blocks {
        if !pass.take(block, at, visit) {
            return false;
        }
        at += BLOCK;
    }
    // The padding is in no class.
    let mut padded = [0; BLOCK];
    if let Some(head) = padded.get_mut(..rest.len()) {
        head.copy_from_slice(rest);
    }
    pass.take(&padded, at, visit) && (pass.digits == 0 || pass.count(at, (pass.digits, 0), visit))
}

/// The state carried from block to block.
struct Pass<S: Simd> {
    simd: S,
    /// The digits of the last block.
    digits: u64,
    words: Words,
}

impl<S: Simd> Pass<S> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
    fn take(&mut self, block: &[u8; BLOCK], at: usize, visit: &mut impl Visit) -> bool {
        let glance = Glance::at(self.simd, block);
        let digits = std::mem::replace(&mut self.digits, glance.digits);
        (!glance.marked || self.mark(block, at, visit))
            && (digits == 0 || self.count(at.wrapping_sub(BLOCK), (digits, glance.digits), visit))
            && self.words.take(self.simd, at, glance.parts, visit)
    }

    #[inline(never)]
    fn count(&mut self, at: usize, digits: (u64, u64), visit: &mut impl Visit) -> bool {
        let simd = self.simd;
        simd.vectorize(
            #[inline(always)]
            || visit.digits(simd, at, digits),
        )
    }

    /// Not inlined, or the loop would keep the whole block in registers.
    #[inline(never)]
    fn mark(&mut self, block: &[u8; BLOCK], at: usize, visit: &mut impl Visit) -> bool {
        let simd = self.simd;
        let marks = simd.vectorize(
            #[inline(always)]
            || marks(simd, block, at),
        );
        visit.marks(&marks)
    }
}

/// What is computed for every block.
struct Glance {
    /// Bytes of words: all above the quotation mark.
    parts: u64,
    digits: u64,
    /// Whether any of the bytes of [`Marks`] is in the block.
    marked: bool,
}

impl Glance {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
    fn at<S: Simd>(simd: S, block: &[u8; BLOCK]) -> Self {
        let bytes = u8x64::from_slice(simd, block);
        let splat = |byte: u8| u8x64::splat(simd, byte);
        let parts = bytes.simd_gt(splat(b'"')).to_bitmask();
        let digits = (bytes - splat(b'0')).simd_lt(splat(10)).to_bitmask();
        // No two marks have the same low nibble, so the nibble selects the only mark a byte can be.
        let mark = u8x64::from_slice(simd, &MARKS).swizzle_dyn_within_blocks(bytes & splat(0x0f));
        let marked = (mark.simd_eq(bytes) | bytes.simd_ge(splat(0x80))).any_true();
        Self { parts, digits, marked }
    }
}

/// The mark for each low nibble, four times; a byte beyond ASCII where there is none.
const MARKS: [u8; BLOCK] = {
    let mut marks = [0x80; BLOCK];
    let all = b"\"%&;@\\";
    let mut at = 0;
    while at < BLOCK {
        let mut mark = 0;
        while mark < all.len() {
            if all[mark] as usize % 16 == at % 16 {
                marks[at] = all[mark];
            }
            mark += 1;
        }
        at += 1;
    }
    marks
};

#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
fn marks<S: Simd>(simd: S, block: &[u8; BLOCK], at: usize) -> Marks {
    let bytes = u8x64::from_slice(simd, block);
    let is = |byte: u8| bytes.simd_eq(u8x64::splat(simd, byte));
    let disguises = is(b'&') | is(b'\\') | is(b'%') | bytes.simd_ge(u8x64::splat(simd, 0x80));
    let (quotes, letters) = (is(b'"').to_bitmask(), (is(b'b') | is(b'd')).to_bitmask());
    Marks {
        at,
        ats: is(b'@').to_bitmask(),
        disguises: disguises.to_bitmask(),
        quotes,
        // What follows the last byte is not in the block.
        labels: quotes & (letters >> 1 | 1 << (BLOCK - 1)),
        semicolons: is(b';').to_bitmask(),
    }
}

/// The word that continues from the last block.
#[derive(Debug, Default)]
struct Words {
    /// Its length so far.
    open: usize,
}

impl Words {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
    fn take<S: Simd>(&mut self, simd: S, at: usize, parts: u64, visit: &mut impl Visit) -> bool {
        let head = parts.trailing_ones() as usize;
        if head == BLOCK {
            self.open += BLOCK;
            return true;
        }
        let before = self.open;
        self.open = parts.leading_ones() as usize;
        let ends = before + head >= LONG;
        // The first bit of each fifteen set bits in a row.
        let two = parts & parts >> 1;
        let four = two & two >> 2;
        let eight = four & four >> 4;
        let long = eight & eight >> (LONG - 8);
        !(ends || long != 0) || inner(simd, at, parts, (before, long), visit)
    }
}

/// The long words that end in the block at `at`, of which the first may have begun `before` bytes earlier.
#[inline(never)]
fn inner<S: Simd>(simd: S, at: usize, parts: u64, (before, long): (usize, u64), visit: &mut impl Visit) -> bool {
    let head = parts.trailing_ones() as usize;
    if before + head >= LONG && !visit.word(simd, Span { start: at - before, end: at + head }) {
        return false;
    }
    // The word at the beginning is reported above; the one at the end continues in the next block.
    let mut rest = long & u64::MAX << head;
    while rest != 0 {
        let start = rest.trailing_zeros();
        let length = (parts >> start).trailing_ones();
        if start + length >= u64::BITS {
            return true;
        }
        let (from, to) = (at + start as usize, at + (start + length) as usize);
        if !visit.word(simd, Span { start: from, end: to }) {
            return false;
        }
        rest &= u64::MAX << (start + length);
    }
    true
}

/// The position of the first disguise in a block.
pub(super) fn disguise(text: &[u8], marks: &Marks) -> Option<usize> {
    let next = |at: usize, by: usize| text.get(at + by).copied().unwrap_or(0);
    let mut rest = marks.disguises;
    while rest != 0 {
        let at = marks.at + rest.trailing_zeros() as usize;
        let found = match text.get(at)? {
            b'\\' => matches!(next(at, 1), b'u' | b'\\'),
            b'&' => next(at, 1) == b'#' || next(at, 1).is_ascii_lowercase(),
            b'%' => next(at, 1).is_ascii_hexdigit() && next(at, 2).is_ascii_hexdigit(),
            byte => is_suspicious_lead(*byte),
        };
        if found {
            return Some(at);
        }
        rest &= rest - 1;
    }
    None
}

/// Whether a UTF-8 lead byte is that of invisible characters, separators, or characters equivalent to ASCII ones.
///
/// The lead bytes of most of Latin, Greek, Cyrillic, Hebrew and the CJK ideographs are not.
const fn is_suspicious_lead(byte: u8) -> bool {
    matches!(byte, 0xc2 | 0xcd | 0xd8..=0xdb | 0xdf..=0xe3 | 0xea | 0xef..)
}
