//! A figure: digits that are no part of a larger number, with the few bytes around them that tell what they could be.
//!
//! Most figures are short and surrounded by plain words. They are dismissed without branches, by the digit bits of their block
//! and a few bytes next to them; only what is left is examined in a [`Window`](super::window::Window).

use super::beside::{BLANK, CAPITAL, COLON, DOT, HEX, KINDS, LETTER, LONGEST_GAP, LONGEST_MONTH};

/// The number of bytes examined before the first digit, and in total.
const BEFORE: usize = 8;
const AROUND: usize = 32;
/// The longest figure that can be dismissed here, in bytes.
const LONGEST: usize = 16;

/// For each width, the bits set in letters but not in digits and most punctuation, for that many of sixteen bytes.
const LETTERS: [[u64; 2]; LONGEST + 1] = {
    let (mut letters, mut width) = ([[0; 2]; LONGEST + 1], 1);
    while width <= LONGEST {
        letters[width] = letters[width - 1];
        letters[width][(width - 1) / 8] |= 0xc0 << ((width - 1) % 8 * 8);
        width += 1;
    }
    letters
};

/// A letter immediately before the digits.
const GLUED: u8 = 1;
/// A capital and then one byte before them.
const CODE: u8 = 2;
/// A hexadecimal letter immediately after them.
const HEXED: u8 = 4;
/// A colon or dot next to them, and a hexadecimal letter, colon or dot beyond it.
const POINT: u8 = 8;
/// A dot next to four digits.
const FOUR: u8 = 16;
/// A letter and then a space or dash before two digits that others follow.
const PAIR: u8 = 32;

/// The context of codes.
pub(super) const CODES: u8 = GLUED | CODE | PAIR;
/// The context of MAC and IP addresses.
pub(super) const ADDRESSES: u8 = GLUED | HEXED | POINT | FOUR;

/// The context bits of a byte next to the digits.
const NEXT: [u8; 256] = {
    let (mut next, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let kind = KINDS[byte];
        next[byte] = given(kind & LETTER, GLUED)
            | given(kind & HEX, HEXED)
            | given(kind & (COLON | DOT), POINT)
            | given(kind & DOT, FOUR)
            | given(kind & BLANK, PAIR);
        byte += 1;
    }
    next
};

/// The context bits of a byte one further away.
const SECOND: [u8; 256] = {
    let (mut second, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let kind = KINDS[byte];
        second[byte] =
            given(kind & CAPITAL, CODE) | given(kind & (HEX | COLON | DOT), POINT) | given(kind & LETTER, PAIR);
        byte += 1;
    }
    second
};

const fn given(kind: u8, bit: u8) -> u8 {
    if kind == 0 { 0 } else { bit }
}

/// A group of digits with no other digit within [`LONGEST_GAP`] of it; the lowest bit is the first digit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    digits: u64,
    /// The number of bytes until another figure may begin.
    pub(super) length: u32,
}

/// Which properties of a figure matter, as masks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// All bits set if many digits matter.
    pub(super) long: u64,
    /// The bits of [`CODES`] and [`ADDRESSES`] that matter.
    pub(super) beside: u8,
    /// All bits set if dates matter.
    pub(super) births: u64,
}

/// The verdict on a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing wanted.
    Idle,
    /// Nothing wanted, provided it is a date as in 2026-01-05 and no date of birth.
    Date,
    /// Undecided: more of the text must be examined.
    Unclear,
}

impl Figure {
    /// The figure that begins with the lowest bit of `digits`, which has one bit for each byte.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    pub(super) const fn of(digits: u64) -> Self {
        let length = within_gap(digits).trailing_ones();
        Self { digits: digits & u64::MAX >> (u64::BITS.wrapping_sub(length) % u64::BITS), length }
    }

    /// The number of bytes from the first digit to the last.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    pub(super) const fn width(self) -> u32 {
        u64::BITS.wrapping_sub(self.digits.leading_zeros())
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    const fn starts(self) -> u64 {
        self.digits & !(self.digits << 1)
    }

    /// The first bits of runs of one or two digits.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    pub(super) const fn days(self) -> u64 {
        self.starts() & !(self.digits >> 1 & self.digits >> 2)
    }

    /// The verdict on the figure at byte `first` of `text`; `near` tells whether a day precedes it closely enough for a year.
    ///
    /// There are no early exits: branches on most of these properties would be mispredicted.
    #[inline(always)]
    pub(super) fn kind(self, text: &[u8], first: usize, asked: &Asked, near: bool) -> Kind {
        /// `2026-01-05`.
        const DATE: u64 = 0b11_0110_1111;
        let around: Option<&[u8; AROUND]> = text.get(first.wrapping_sub(BEFORE)..).and_then(|rest| rest.first_chunk());
        let Some(around) = around else { return Kind::Unclear };
        let dated = self.is_dated(near) & asked.births;
        let beside = self.beside(around) & asked.beside;
        let many = u64::from(self.digits.count_ones() >= 7) | u64::from(self.starts().count_ones() >= 4);
        let long = many | u64::from(self.digits >> LONGEST != 0);
        if dated | u64::from(beside) | self.between(around) | long & asked.long == 0 {
            return Kind::Idle;
        }
        if self.digits == DATE && beside == 0 { Kind::Date } else { Kind::Unclear }
    }

    /// Letters between its digits, or colons if there are two bytes in a row that are no digits.
    #[inline(always)]
    fn between(self, around: &[u8; AROUND]) -> u64 {
        const fn each(byte: u8) -> u64 {
            u64::from_ne_bytes([byte; 8])
        }
        let width = (self.width() as usize).min(LONGEST);
        let word = |at: usize| u64::from_le_bytes(around.as_chunks().0.get(at).copied().unwrap_or_default());
        let (one, two) = (word(1), word(2));
        let letters = one & LETTERS[width][0] | two & LETTERS[width][1];
        let marks = !self.digits & u64::MAX >> (u64::BITS.wrapping_sub(self.width()) % u64::BITS);
        if marks & marks >> 1 == 0 {
            return letters;
        }
        // A byte that is zero borrows from its highest bit.
        let colon = |word: u64| (word ^ each(b':')).wrapping_sub(each(1)) & !(word ^ each(b':')) & each(0x80);
        letters | colon(one) | colon(two)
    }

    /// The context bits that could make a code or an address of it.
    #[inline(always)]
    fn beside(self, around: &[u8; AROUND]) -> u8 {
        const PAIRS: u64 = 0b1011;
        let end = BEFORE.wrapping_add(self.width() as usize);
        let byte = |at: usize| usize::from(around[at % AROUND]);
        let (before, behind) = (NEXT[byte(BEFORE - 1)], NEXT[byte(end)]);
        let (second, further) = (SECOND[byte(BEFORE - 2)], SECOND[byte(end.wrapping_add(1))]);
        // A colon or dot next to the digits, and what follows it.
        let points = (before & second | behind & further) & POINT;
        let dots = if self.digits & 0b1_1111 == 0b1111 { (before | behind) & FOUR } else { 0 };
        let paired = self.digits & 0b1111 == PAIRS && around[BEFORE + 2] == b' ';
        let paired = if paired { before & second & PAIR } else { 0 };
        before & GLUED | second & CODE | behind & HEXED | points | dots | paired
    }

    /// Whether it has a year after a day, or three runs as in a date.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    const fn is_dated(self, near: bool) -> u64 {
        let (own, starts, days) = (self.digits, self.starts(), self.days());
        let years = starts & own >> 1 & own >> 2 & own >> 3 & !(own >> 4);
        let months = days & (starts << 2 | starts << 3 | starts << 4 | starts << 5 | starts << 6);
        let threes = starts & (months << 2 | months << 3 | months << 4);
        years & if near { u64::MAX } else { !1 } | threes
    }
}

/// `digits`, and after each the bytes that can be a gap.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
const fn within_gap(digits: u64) -> u64 {
    const { assert!(LONGEST_GAP == 6, "one, one more, two more and three more") };
    let two = digits | digits << 1;
    let four = two | two << 2;
    four | four << 3
}

/// The most bytes from the beginning of a day to the beginning of its year.
pub(super) const AFTER_DAY: usize = LONGEST_MONTH + 2;
