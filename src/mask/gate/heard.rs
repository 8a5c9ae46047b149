//! Whether a word for birth is near a date: most dates are of something else, and need no closer look.

use std::sync::LazyLock;

use fearless_simd::prelude::*;
use fearless_simd::{Simd, u8x64};

use crate::mask::recognisers::birth_stems;

/// The bytes of one vector.
const BLOCK: usize = 64;
/// How many bytes of a stem are compared.
const BYTES: usize = 3;

/// Whether a word for birth could be within `reach` bytes before `at`, where a date or its year begins.
pub(super) fn speaks_before<S: Simd>(simd: S, text: &[u8], at: usize, reach: usize) -> bool {
    let mut from = at.saturating_sub(reach);
    while from < at {
        let heard = simd.vectorize(
            #[inline(always)]
            || is_in(simd, text, from),
        );
        if heard {
            return true;
        }
        from += BLOCK;
    }
    false
}

/// For each position in a stem, the groups of stems that have a byte with that low nibble, and with that high nibble, there.
struct Tables {
    low: [[u8; BLOCK]; BYTES],
    high: [[u8; BLOCK]; BYTES],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables { low: [[0; BLOCK]; BYTES], high: [[0; BLOCK]; BYTES] };
    let mut kinds: Vec<u8> = Vec::new();
    for stem in birth_stems() {
        // Stems with the same first letter share a bit, and so do all that begin beyond ASCII.
        let kind = stem.as_bytes()[0].to_ascii_lowercase().min(0x80);
        let known = kinds.iter().position(|known| *known == kind);
        let kind = known.unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        let bit = 1 << (kind % 8);
        for (place, byte) in stem.bytes().take(BYTES).enumerate() {
            for block in (0..BLOCK).step_by(16) {
                tables.low[place][block + usize::from(byte & 0xf)] |= bit;
                tables.high[place][block + usize::from(byte >> 4)] |= bit;
            }
        }
    }
    tables
});

/// Builds the tables.
pub(super) fn prepare() {
    LazyLock::force(&TABLES);
}

/// Whether a stem may begin in the block at `at`; there are false positives.
#[inline(always)]
fn is_in<S: Simd>(simd: S, text: &[u8], at: usize) -> bool {
    const WHOLE: usize = BLOCK + BYTES - 1;
    let rest = text.get(at..).unwrap_or_default();
    let mut padded = [0; WHOLE];
    let bytes: &[u8; WHOLE] = rest.first_chunk().unwrap_or_else(|| {
        if let Some(head) = padded.get_mut(..rest.len()) {
            head.copy_from_slice(rest);
        }
        &padded
    });
    let tables = &*TABLES;
    let mut kinds = u8x64::splat(simd, u8::MAX);
    for place in 0..BYTES {
        let bytes = u8x64::from_slice(simd, &bytes[place..place + BLOCK]);
        let low =
            u8x64::from_slice(simd, &tables.low[place]).swizzle_dyn_within_blocks(bytes & u8x64::splat(simd, 0xf));
        let high = u8x64::from_slice(simd, &tables.high[place]).swizzle_dyn_within_blocks(bytes >> 4);
        kinds = kinds & low & high;
    }
    kinds.simd_gt(u8x64::splat(simd, 0)).any_true()
}
