//! Points that stand close together, as addresses of hosts and of hardware have them.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, u8x64};

use super::coarse::BLOCK;

/// How far a text was looked through for them, and where some stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points {
    until: usize,
    /// Behind the last.
    seen: usize,
}

impl Points {
    /// Not at all.
    pub(super) const NONE: Self = Self { until: 0, seen: 0 };

    /// Whether two colons in a row, or two dots around four bytes, may stand no further from the block at `at` than the longest
    /// address is long; blocks are asked about in order.
    #[inline(always)]
    pub(super) fn are_near<S: Simd>(&mut self, simd: S, text: &[u8], at: usize) -> bool {
        /// Two dots around four bytes must be within what is looked at together.
        const STEP: usize = BLOCK - 5;
        let mut from = self.until.max(at.saturating_sub(BLOCK));
        let until = text.len().min(at.saturating_add(2 * BLOCK));
        while from < until {
            let (colons, dots) = points(simd, text, from);
            if colons & colons >> 1 | dots & dots >> 5 != 0 {
                self.seen = from + BLOCK;
            }
            from += STEP;
        }
        self.until = from;
        self.seen + BLOCK > at && self.seen > 0
    }
}

/// The colons and the dots of the block at `at`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that it is compiled for the instructions of the pass over all blocks")]
fn points<S: Simd>(simd: S, text: &[u8], at: usize) -> (u64, u64) {
    let rest = text.get(at..).unwrap_or_default();
    let mut padded = [0; BLOCK];
    let bytes: &[u8; BLOCK] = rest.first_chunk().unwrap_or_else(|| {
        if let Some(head) = padded.get_mut(..rest.len()) {
            head.copy_from_slice(rest);
        }
        &padded
    });
    let bytes = u8x64::from_slice(simd, bytes);
    let is = |byte: u8| bytes.simd_eq(u8x64::splat(simd, byte)).to_bitmask();
    (is(b':'), is(b'.'))
}
