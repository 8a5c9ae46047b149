//! How far a text goes on without anything a scan must stop at: many bytes at a time.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u8x64};

/// Bytes looked at together in long texts.
const BLOCK: usize = 64;

/// The first position at or behind `at` whose byte is a quote, a backslash or a control character.
///
/// Keys and words end within the first few bytes; of a long text many are looked at together.
#[inline]
pub(super) fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    /// Words of eight bytes before a string is a long one.
    const SHORT: usize = 4;
    for _ in 0..SHORT {
        let Some(word) = word_at(bytes, at) else { break };
        if let Some(place) = first_special(word) {
            return at + place;
        }
        at += 8;
    }
    long_run(bytes, at)
}

#[inline(never)]
fn long_run(bytes: &[u8], mut at: usize) -> usize {
    match bytes.get(at..) {
        Some(rest) if rest.len() >= BLOCK => match dispatch!(Level::new(), simd => first_in_blocks(simd, rest)) {
            Some(place) => return at + place,
            None => at += rest.len() / BLOCK * BLOCK,
        },
        _ => {}
    }
    while let Some(word) = word_at(bytes, at) {
        if let Some(place) = first_special(word) {
            return at + place;
        }
        at += 8;
    }
    while at < bytes.len() && !is_special(bytes[at]) {
        at += 1;
    }
    at
}

/// How many bytes at the beginning of `bytes` surely are ASCII.
pub(super) fn ascii_run(bytes: &[u8]) -> usize {
    dispatch!(Level::new(), simd => ascii_blocks(simd, bytes)) * BLOCK
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn first_in_blocks<S: Simd>(simd: S, bytes: &[u8]) -> Option<usize> {
    let splat = |byte: u8| u8x64::splat(simd, byte);
    for (index, block) in bytes.as_chunks::<BLOCK>().0.iter().enumerate() {
        let block = u8x64::from_slice(simd, block);
        let special = block.simd_eq(splat(b'"')) | block.simd_eq(splat(b'\\')) | block.simd_lt(splat(0x20));
        if special.any_true() {
            return Some(index * BLOCK + special.to_bitmask().trailing_zeros() as usize);
        }
    }
    None
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn ascii_blocks<S: Simd>(simd: S, bytes: &[u8]) -> usize {
    let blocks = bytes.as_chunks::<BLOCK>().0;
    let is_plain = |block: &[u8; BLOCK]| !u8x64::from_slice(simd, block).simd_ge(u8x64::splat(simd, 0x80)).any_true();
    blocks.iter().position(|block| !is_plain(block)).unwrap_or(blocks.len())
}

const fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(chunk.try_into().ok()?))
}

/// The first of the eight bytes of `word` that is special.
const fn first_special(word: u64) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let slash = word ^ (ONES * b'\\' as u64);
    // A byte below the constant borrows from its own high bit; bytes with the high bit set are masked out by `!word`.
    let found = ((quote.wrapping_sub(ONES) & !quote)
        | (slash.wrapping_sub(ONES) & !slash)
        | (word.wrapping_sub(ONES * 0x20) & !word))
        & HIGHS;
    if found == 0 { None } else { Some(found.trailing_zeros() as usize / 8) }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, ascii_run, is_special, plain_run};

    #[test]
    fn stops_at_the_first_special_byte_wherever_it_stands() {
        for special in [b'"', b'\\', b'\n', 0, 0x1f] {
            for place in 0..200 {
                let mut text = [b'a'; 260];
                (text[place], text[230]) = (special, b'"');
                for from in 0..=place {
                    assert_eq!(plain_run(&text, from), place, "{special} at {place} from {from}");
                }
            }
        }
        for length in 0..200 {
            assert_eq!(plain_run(&[b'~'; 200][..length], 0), length);
        }
        let others: Vec<u8> = (0..=u8::MAX).filter(|byte| !is_special(*byte)).collect();
        assert_eq!(plain_run(&others, 0), others.len());
    }

    #[test]
    fn ascii_ends_before_the_block_of_the_first_other_byte() {
        for place in 0..300 {
            let mut text = [0x7f; 300];
            text[place] = 0x80;
            let run = ascii_run(&text);
            assert!(
                run <= place && run.is_multiple_of(BLOCK) && (place - run < BLOCK || run == 300 / BLOCK * BLOCK),
                "{place}"
            );
        }
        assert_eq!(ascii_run(&[b'a'; 130]), 128);
    }
}
