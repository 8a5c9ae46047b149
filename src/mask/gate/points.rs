//! Colons and dots close together, as in IPv6 and MAC addresses.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, u8x64};

use super::coarse::BLOCK;

/// How far a text was searched for them, and where they were found last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points {
    until: usize,
    /// The end of the block with the last ones.
    seen: usize,
}

impl Points {
    /// Nothing searched yet.
    pub(super) const NONE: Self = Self { until: 0, seen: 0 };

    /// Whether two colons in a row, or two dots around four bytes, may be within the length of an address from the block at
    /// `at`. To be called for blocks in order.
    #[inline(always)]
    pub(super) fn are_near<S: Simd>(&mut self, simd: S, text: &[u8], at: usize) -> bool {
        /// Blocks overlap so that two dots around four bytes are always within one.
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
