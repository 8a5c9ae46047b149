//! The pass that every byte goes through: which classes of bytes a block holds, sixty-four bytes at a time.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, mask8x64, u8x64};

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
    /// What disguises begin with: `&`, `\`, `%` and bytes beyond ASCII.
    pub(super) marks: u64,
    /// A semicolon.
    parted: bool,
    /// What stands around the digits, if there are any.
    pub(super) around: Around,
}

/// What stands around the digits of a block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around {
    /// What may stand between the digits of one number; none is missing, a few are too many.
    pub(super) gaps: u64,
    pub(super) letters: u64,
    pub(super) capitals: u64,
    /// Blanks and dashes.
    pub(super) blanks: u64,
    /// Colons and dots.
    pub(super) points: u64,
}

/// What blocks are handed to.
pub(super) trait Visit {
    /// A block that holds a digit, an `@` or a mark; false to stop.
    fn block(&mut self, seen: &Seen) -> bool;
    /// A word of [`LONG`] bytes or more, once it has ended; false to stop.
    fn word(&mut self, word: Span) -> bool;
}

/// What the pass saw of a whole text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    /// Whether a visit returned false, so that the rest was not looked at.
    pub(super) stopped: bool,
    /// Whether there was a quotation mark.
    pub(super) quoted: bool,
    /// Whether there was a semicolon.
    pub(super) parted: bool,
}

/// Calls `visit` with every block of `text` that holds something, and with every long word.
pub(super) fn look(text: &[u8], visit: &mut impl Visit) -> Passed {
    dispatch!(Level::new(), simd => each(simd, text, visit))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn each<S: Simd>(simd: S, text: &[u8], visit: &mut impl Visit) -> Passed {
    let mut pass = Pass { simd, quoted: false, parted: false, words: Words::default() };
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut at = 0;
    for block in blocks {
        if !pass.take(block, at, visit) {
            return Passed { stopped: true, quoted: true, parted: true };
        }
        at += BLOCK;
    }
    // Zeros are in no class.
    let mut padded = [0; BLOCK];
    if let Some(head) = padded.get_mut(..rest.len()) {
        head.copy_from_slice(rest);
    }
    let stopped = !pass.take(&padded, at, visit);
    Passed { stopped, quoted: pass.quoted, parted: pass.parted }
}

/// What is carried from block to block.
struct Pass<S: Simd> {
    simd: S,
    /// Whether there was a quotation mark.
    quoted: bool,
    /// Whether there was a semicolon.
    parted: bool,
    words: Words,
}

impl<S: Simd> Pass<S> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
    fn take(&mut self, block: &[u8; BLOCK], at: usize, visit: &mut impl Visit) -> bool {
        let glance = Glance::at(self.simd, block);
        self.quoted |= glance.quoted;
        (!glance.telling || self.classify(block, at, visit)) && self.words.take(at, glance.parts, visit)
    }

    /// Outside the loop, which would else keep the whole block in registers.
    #[inline(never)]
    fn classify(&mut self, block: &[u8; BLOCK], at: usize, visit: &mut impl Visit) -> bool {
        let simd = self.simd;
        let seen = simd.vectorize(
            #[inline(always)]
            || classify(simd, block, at),
        );
        self.parted |= seen.parted;
        seen.ats | seen.digits | seen.marks == 0 || visit.block(&seen)
    }
}

/// What is asked of every block.
struct Glance {
    /// Bytes above the quotation mark.
    parts: u64,
    quoted: bool,
    /// Whether there is a digit, an `@`, a mark, or a byte between those.
    telling: bool,
}

impl Glance {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
    fn at<S: Simd>(simd: S, block: &[u8; BLOCK]) -> Self {
        let bytes = u8x64::from_slice(simd, block);
        let splat = |byte: u8| u8x64::splat(simd, byte);
        let parts = bytes.simd_gt(splat(b'"')).to_bitmask();
        let quoted = bytes.simd_eq(splat(b'"')).any_true();
        // Digits, the at sign, and the few marks between them.
        let middle = (bytes - splat(b'0')).simd_le(splat(b'@' - b'0'));
        Self { parts, quoted, telling: (middle | marks(simd, bytes)).any_true() }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
fn marks<S: Simd>(simd: S, bytes: u8x64<S>) -> mask8x64<S> {
    let splat = |byte: u8| u8x64::splat(simd, byte);
    bytes.simd_ge(splat(0x80)) | bytes.simd_eq(splat(b'&')) | bytes.simd_eq(splat(b'\\'))
}

/// All that a block holds.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
fn classify<S: Simd>(simd: S, block: &[u8; BLOCK], at: usize) -> Seen {
    let bytes = u8x64::from_slice(simd, block);
    let splat = |byte: u8| u8x64::splat(simd, byte);
    let digits = (bytes - splat(b'0')).simd_lt(splat(10)).to_bitmask();
    Seen {
        at,
        ats: bytes.simd_eq(splat(b'@')).to_bitmask(),
        digits,
        marks: (marks(simd, bytes) | bytes.simd_eq(splat(b'%'))).to_bitmask(),
        parted: bytes.simd_eq(splat(b';')).any_true(),
        around: if digits == 0 { Around::default() } else { around(simd, block) },
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all bytes")]
fn around<S: Simd>(simd: S, block: &[u8; BLOCK]) -> Around {
    let bytes = u8x64::from_slice(simd, block);
    let small = ((bytes | u8x64::splat(simd, 0x20)) - u8x64::splat(simd, b'a')).simd_lt(u8x64::splat(simd, 26));
    let capitals = (bytes - u8x64::splat(simd, b'A')).simd_lt(u8x64::splat(simd, 26));
    let blanks = bytes.simd_eq(u8x64::splat(simd, b' ')) | bytes.simd_eq(u8x64::splat(simd, b'-'));
    let points = bytes.simd_eq(u8x64::splat(simd, b':')) | bytes.simd_eq(u8x64::splat(simd, b'.'));
    // Brackets, dot, slash, and three marks between them that are no gaps.
    let marks = (bytes - u8x64::splat(simd, b'(')).simd_lt(u8x64::splat(simd, b'/' - b'(' + 1));
    let escapes = bytes.simd_eq(u8x64::splat(simd, b'\\')) | bytes.simd_eq(u8x64::splat(simd, b't'));
    let gaps = blanks | points | marks | escapes;
    Around {
        gaps: gaps.to_bitmask(),
        letters: small.to_bitmask(),
        capitals: capitals.to_bitmask(),
        blanks: blanks.to_bitmask(),
        points: points.to_bitmask(),
    }
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
    fn take(&mut self, at: usize, parts: u64, visit: &mut impl Visit) -> bool {
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
        !(ends || long != 0) || inner(at, parts, before, long, visit)
    }
}

/// The long words that end in the block at `at`, of which the first may have begun `before` bytes earlier.
#[inline(never)]
fn inner(at: usize, parts: u64, before: usize, long: u64, visit: &mut impl Visit) -> bool {
    let head = parts.trailing_ones() as usize;
    if before + head >= LONG && !visit.word(Span { start: at - before, end: at + head }) {
        return false;
    }
    // The first word is told, and so is what lies before the last byte that is none.
    let mut rest = long & u64::MAX << head;
    while rest != 0 {
        let start = rest.trailing_zeros();
        let length = (parts >> start).trailing_ones();
        if start + length >= u64::BITS {
            return true;
        }
        let (from, to) = (at + start as usize, at + (start + length) as usize);
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
    let is_percent = |at: &usize| {
        text.get(*at) == Some(&b'%') && next(*at, 1).is_ascii_hexdigit() && next(*at, 2).is_ascii_hexdigit()
    };
    let mut marks = seen.marks;
    while marks != 0 {
        let at = seen.at + marks.trailing_zeros() as usize;
        let found = match text.get(at)? {
            b'\\' => matches!(next(at, 1), b'u' | b'\\'),
            b'&' => next(at, 1) == b'#' || next(at, 1).is_ascii_lowercase(),
            b'%' => is_percent(&at),
            byte => is_suspicious_lead(*byte),
        };
        if found {
            return Some(at);
        }
        marks &= marks - 1;
    }
    // What hides ASCII behind a percent sign has a decimal digit, which may be one of the first bytes of the next block.
    if seen.digits.trailing_zeros() > 1 {
        return None;
    }
    [2, 1].into_iter().filter_map(|back| seen.at.checked_sub(back)).find(is_percent)
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
