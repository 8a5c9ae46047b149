//! A figure as a block shows it: digits and the marks between them, told from the bits of both.

use crate::json::Span;

/// Digits and the marks between them, as far as one block shows.
pub(super) struct Figure {
    pub(super) span: Span,
    pub(super) runs: usize,
    pub(super) digits: usize,
    /// Of its run of digits, if it has only one; else at least so many.
    pub(super) length: usize,
    /// Whether it ends within the block, has single marks within, and no more runs than a sum of money.
    pub(super) is_plain: bool,
    /// What of the block is behind it.
    pub(super) behind: u64,
}

impl Figure {
    /// The figure of the block at `at` that begins with the first of `digits`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    pub(super) fn of(at: usize, digits: u64, figures: u64) -> Self {
        let first = digits.trailing_zeros();
        let marked = (figures >> first).trailing_ones();
        let shown = digits >> first & (u64::MAX >> ((u64::BITS - marked) % u64::BITS));
        let width = u64::BITS - shown.leading_zeros();
        let marks = !shown & (u64::MAX >> (u64::BITS - width));
        let runs = (shown & !(shown << 1)).count_ones() as usize;
        let start = at.wrapping_add(first as usize);
        let count = shown.count_ones() as usize;
        let three = shown & shown >> 1 & shown >> 2;
        // Of two one could be a year, and three a date, but for one of three digits.
        let few = runs == 1 || three & shown >> 3 == 0 && (runs == 2 || runs == 3 && three != 0);
        Self {
            span: Span { start, end: start.wrapping_add(width as usize) },
            runs,
            digits: count,
            length: if runs == 1 { count } else { 1 },
            is_plain: first.wrapping_add(marked) < u64::BITS && few && marks & marks >> 1 == 0,
            behind: (u64::MAX << first).checked_shl(width).unwrap_or_default(),
        }
    }
}
