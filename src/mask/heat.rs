//! Where in a message something could match, from a single pass of the gate, so that the walk need not scan again.

use crate::json::Span;

/// The blocks of a text in which something could match.
#[derive(Debug)]
pub(super) enum Heat {
    /// Nothing is known: every string must be searched.
    Everywhere,
    /// One bit per block of the text, the lowest first.
    Places(Vec<u64>),
}

impl Heat {
    /// The bytes of a block.
    pub(super) const BLOCK: usize = 128;

    /// A text of `length` bytes in which nothing was found yet.
    pub(super) fn none(length: usize) -> Self {
        Self::Places(vec![0; length.div_ceil(Self::BLOCK).div_ceil(64)])
    }

    /// Marks the block of byte `at`.
    pub(super) fn mark(&mut self, at: usize) {
        let block = at / Self::BLOCK;
        if let Self::Places(words) = self
            && let Some(word) = words.get_mut(block / 64)
        {
            *word |= 1 << (block % 64);
        }
    }

    /// Whether more than three quarters of the blocks before byte `at` are marked, so that going on is not worth it.
    pub(super) fn is_full(&self, at: usize) -> bool {
        let Self::Places(words) = self else { return true };
        let blocks = at / Self::BLOCK;
        let hot: usize = words.iter().take(blocks.div_ceil(64)).map(|word| word.count_ones() as usize).sum();
        hot * 4 > blocks * 3
    }

    /// Whether anything could match within `span`, which is not empty.
    pub(super) fn touches(&self, span: Span) -> bool {
        let Self::Places(words) = self else { return true };
        let (first, last) = (span.start / Self::BLOCK, span.end.saturating_sub(1) / Self::BLOCK);
        let (from, to) = (u64::MAX << (first % 64), u64::MAX >> (63 - last % 64));
        let word = |index: usize| words.get(index).copied().unwrap_or(u64::MAX);
        match (first / 64, last / 64) {
            (one, other) if one == other => word(one) & from & to != 0,
            (one, other) => word(one) & from != 0 || word(other) & to != 0 || (one + 1..other).any(|at| word(at) != 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Heat;
    use crate::json::Span;

    #[test]
    fn touches_exactly_the_spans_that_share_a_block() {
        const BLOCK: usize = Heat::BLOCK;
        for at in [0, 1, 63, 64, 127, 128, 4095, 4096, 8191, 8192, 12_000] {
            let mut heat = Heat::none(12_001);
            heat.mark(at);
            let (start, end) = (at / BLOCK * BLOCK, at / BLOCK * BLOCK + BLOCK);
            for span in
                [(start, start + 1), (end - 1, end), (0, start + 1), (end - 1, 12_001), (0, 12_001), (at, at + 1)]
            {
                assert!(heat.touches(Span { start: span.0, end: span.1.min(12_001) }), "{at} {span:?}");
            }
            for span in [(0, start), (end, 12_001), (start.saturating_sub(1), start)] {
                if span.0 < span.1 {
                    assert!(!heat.touches(Span { start: span.0, end: span.1 }), "{at} {span:?}");
                }
            }
        }
        assert!(Heat::Everywhere.touches(Span { start: 7, end: 8 }));
    }

    #[test]
    fn is_full_where_most_blocks_are_hot() {
        for (step, full) in [(1, true), (2, false), (4, false)] {
            let mut heat = Heat::none(100 * Heat::BLOCK);
            (0..100).step_by(step).for_each(|block| heat.mark(block * Heat::BLOCK));
            assert_eq!(heat.is_full(90 * Heat::BLOCK), full, "every {step}");
        }
        assert!(Heat::Everywhere.is_full(0));
    }
}
