//! The context of a digit: 64 bytes classified by what numbers are written with, one bit each.
//!
//! Every question about the numbers of a window is answered for all of them at once, by shifting those bits, so that numbers
//! nobody wants, which most are, cost no data-dependent branches. The answers are where a value could be: sometimes too much,
//! never too little.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, u8x64};

use super::beside::{LONGEST_GAP, LONGEST_MONTH};

/// The bytes around a digit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Where it begins.
    pub(super) at: usize,
    /// The end of the judged bytes: from the digit on, as long as the context of each is within the window.
    pub(super) end: usize,
    /// The judged bytes.
    fresh: u64,
    pub(super) digits: u64,
    /// Bytes that may be between the digits of one number.
    gaps: u64,
    letters: u64,
    capitals: u64,
    blanks: u64,
    /// Colons and dots.
    points: u64,
}

/// The length of a window, in bytes.
const LENGTH: usize = 64;
/// The context before and after a digit, in bytes: enough for a MAC address such as `0011.2233.4455`.
const AROUND: usize = 14;
/// The number of bytes judged at a time.
pub(super) const JUDGED: usize = LENGTH - 2 * AROUND;

/// The gap byte for each low nibble, four times; a tab has the nibble of `)`, and is tested separately.
const GAPS: [u8; LENGTH] = {
    let mut gaps = [0x80; LENGTH];
    let all = b" -.:/()\\t";
    let mut at = 0;
    while at < LENGTH {
        let mut gap = 0;
        while gap < all.len() {
            if all[gap] as usize % 16 == at % 16 {
                gaps[at] = all[gap];
            }
            gap += 1;
        }
        at += 1;
    }
    gaps
};

impl Window {
    /// The window around the digit at `first`.
    ///
    /// Compiled apart from the questions about its bits: otherwise the compiler keeps the bits in vector lanes, and shifts them
    /// one by one.
    #[inline]
    pub(super) fn around<S: Simd>(simd: S, text: &[u8], first: usize) -> Self {
        let at = first.saturating_sub(AROUND);
        simd.vectorize(
            #[inline(always)]
            || match text.get(at..).and_then(|rest| rest.first_chunk()) {
                Some(bytes) => Self::of(simd, bytes, at, first),
                None => Self::of(simd, &padded(text, at), at, first),
            },
        )
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the instructions of the pass over all blocks")]
    fn of<S: Simd>(simd: S, bytes: &[u8; LENGTH], at: usize, first: usize) -> Self {
        let bytes = u8x64::from_slice(simd, bytes);
        let splat = |byte: u8| u8x64::splat(simd, byte);
        let is = |byte: u8| bytes.simd_eq(splat(byte));
        let letters = ((bytes | splat(0x20)) - splat(b'a')).simd_le(splat(25));
        let capitals = letters & (bytes & splat(0x20)).simd_eq(splat(0));
        let gaps = u8x64::from_slice(simd, &GAPS).swizzle_dyn_within_blocks(bytes & splat(0x0f)).simd_eq(bytes);
        Self {
            at,
            end: first.wrapping_add(JUDGED),
            fresh: (u64::MAX >> (LENGTH - JUDGED)) << (first.wrapping_sub(at) % LENGTH),
            digits: (bytes - splat(b'0')).simd_le(splat(9)).to_bitmask(),
            gaps: (gaps | is(b'\t')).to_bitmask(),
            letters: letters.to_bitmask(),
            capitals: capitals.to_bitmask(),
            blanks: is(b' ').to_bitmask(),
            points: (is(b':') | is(b'.')).to_bitmask(),
        }
    }

    /// The judged bytes and those before them.
    pub(super) const fn passed(&self) -> u64 {
        u64::MAX >> self.fresh.leading_zeros()
    }

    /// The judged digits.
    pub(super) const fn judged(&self) -> u64 {
        self.digits & self.fresh
    }

    /// The position in the text of the lowest of `bits`.
    pub(super) const fn place(&self, bits: u64) -> usize {
        self.at.wrapping_add(bits.trailing_zeros() as usize)
    }

    /// The first digit of each run.
    #[inline]
    const fn starts(&self) -> u64 {
        self.digits & !(self.digits << 1)
    }

    /// Digits and the gaps after them, as far as they may be within one number: every number is in a row of these bits.
    #[inline]
    const fn rows(&self) -> u64 {
        const { assert!(LONGEST_GAP == 6, "two, two more and two more") };
        let one = self.gaps & self.digits << 1;
        let two = one | self.gaps & one << 1;
        let pairs = self.gaps & self.gaps << 1;
        let four = two | pairs & two << 2;
        self.digits | four | pairs & four << 2
    }

    /// What could be more than isolated short numbers.
    #[inline]
    pub(super) const fn hints(&self) -> Hints {
        let rows = self.rows();
        let (starts, pairs) = (self.starts(), self.digits & self.digits >> 1);
        let joined = starts & rows << 1;
        let two = rows & rows << 1;
        let four = two & two << 2;
        let fours = starts & pairs & pairs >> 2;
        let (dates, days) = (fours & pairs >> 5 & pairs >> 8, starts & !(pairs >> 1));
        let paired = joined & pairs << 3 & self.blanks << 1;
        // The parts of a date are not separated by spaces alone.
        let parts = joined & (!(self.blanks << 1) | self.points << 2);
        Hints {
            long: self.judged() & four & four << 3,
            lettered: starts & (self.letters << 1 | self.capitals << 2) | paired,
            points: self.points & (self.points << 1 | self.points << 5),
            dates,
            years: fours & !(self.digits >> 4),
            days,
            threes: parts & (parts << 2 | parts << 3 | parts << 4),
            joined,
            rows,
        }
    }

    /// The same as [`Hints::long`], without the dates that begin with a bit of `dates`.
    pub(super) const fn long_beside(&self, dates: u64) -> u64 {
        let two = dates | dates << 1;
        let four = two | two << 2;
        let rows = self.rows() & !(four | four << 4 | two << 8);
        let two = rows & rows << 1;
        let four = two & two << 2;
        self.judged() & four & four << 3
    }

    /// Judged digits of runs that follow two letters as in `AB12`, `AB 12` or, with pairs of digits, `ab 12 34`.
    pub(super) const fn lettered(&self) -> u64 {
        let digits = self.digits & self.digits << 1;
        let letters = self.letters & self.letters << 1;
        let capitals = self.capitals & self.capitals << 1;
        let glued = digits & letters << 2;
        let parted = digits & self.gaps << 2 & capitals << 3 & !(self.capitals << 5);
        let paired = self.digits & self.blanks << 1 & digits << 2 & self.gaps << 4 & letters << 5;
        self.judged() & (glued | parted | paired)
    }

    /// Separators as in IPv6 and MAC addresses: two colons or dots in a row, or around four letters or digits.
    pub(super) const fn points(&self) -> u64 {
        let parts = self.letters | self.digits;
        let apart = self.points & self.points << 5 & parts << 1 & parts << 6;
        self.points & self.points << 1 | apart
    }
}

/// Quickly computed properties of the digits of a window, one bit each; mostly zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hints {
    /// Judged digits with at least six bytes of the same row before them.
    pub(super) long: u64,
    /// First digits of runs that follow letters as in a code.
    pub(super) lettered: u64,
    /// Colons and dots close together.
    pub(super) points: u64,
    /// First digits of four, two and two digits with one byte between.
    pub(super) dates: u64,
    /// First digits of runs of four digits.
    pub(super) years: u64,
    /// First digits of runs of one or two digits.
    pub(super) days: u64,
    /// First digits of the third of three runs close together.
    pub(super) threes: u64,
    /// First digits of runs that may continue a number.
    pub(super) joined: u64,
    /// Digits and the gaps after them: every number is in a row of these bits.
    pub(super) rows: u64,
}

impl Hints {
    /// The bytes of the row that contains byte `bit`, and whether all of it is within the window.
    #[inline]
    pub(super) const fn row_of(&self, bit: u32) -> (u64, bool) {
        let behind = (self.rows >> bit).trailing_ones() + bit;
        let before = (self.rows << (u64::BITS - 1 - bit)).leading_ones();
        let start = bit + 1 - before;
        let row = (u64::MAX << start) & (u64::MAX >> (u64::BITS - behind));
        (row, start > 0 && behind < u64::BITS)
    }

    /// The years after a day of the window, at most the name of a month away.
    #[inline]
    pub(super) const fn years_behind_days(&self) -> u64 {
        const { assert!(LONGEST_MONTH == 24, "two bytes of a day, and 24 more") };
        let two = self.days | self.days << 1;
        let four = two | two << 2;
        let eight = four | four << 4;
        let sixteen = eight | eight << 8;
        self.years & (sixteen | sixteen << 9) << 2
    }
}

/// The bytes from `at` on, padded with zeros, which are in no class.
fn padded(text: &[u8], at: usize) -> [u8; LENGTH] {
    let (mut padded, rest) = ([0; LENGTH], text.get(at..).unwrap_or_default());
    if let Some(head) = padded.get_mut(..rest.len()) {
        head.copy_from_slice(rest);
    }
    padded
}
