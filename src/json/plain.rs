//! Finds the next byte a scan must stop at, and checks for ASCII, with vector instructions.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u8x64};

/// Bytes of one vector operation.
const BLOCK: usize = 64;

/// Blocks classified in advance.
const BLOCKS: usize = 8;
const WINDOW: usize = BLOCK * BLOCKS;

/// A text, with the special bytes of the window classified last.
pub(super) struct Ahead<'a> {
    bytes: &'a [u8],
    /// Where the window begins.
    base: usize,
    /// A bit for each byte of the window that is a quote, a backslash or a control character, or after the end of the text.
    special: [u64; BLOCKS],
}

impl<'a> Ahead<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0, special: special_at(bytes, 0) }
    }

    /// The first position from `at` on whose byte is a quote, a backslash or a control character, or the end.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the inmost step of a scan")]
    pub(super) fn plain_run(&mut self, at: usize) -> usize {
        let behind = at.wrapping_sub(self.base);
        match self.special.get(behind / BLOCK) {
            Some(special) if special >> (behind % BLOCK) != 0 => {
                at.wrapping_add((special >> (behind % BLOCK)).trailing_zeros() as usize)
            }
            _ => self.beyond(at),
        }
    }

    #[inline(never)]
    fn beyond(&mut self, at: usize) -> usize {
        let behind = at.wrapping_sub(self.base);
        let mut block = behind / BLOCK + 1;
        if behind >= WINDOW {
            (self.base, self.special) = (at, special_at(self.bytes, at));
            block = 0;
        }
        if let Some(more) = self.special[block..].iter().position(|special| *special != 0) {
            let block = block + more;
            return self.base + block * BLOCK + self.special[block].trailing_zeros() as usize;
        }
        long_run(self.bytes, self.base + WINDOW)
    }
}

/// Which of the [`WINDOW`] bytes from `at` on are special.
fn special_at(bytes: &[u8], at: usize) -> [u64; BLOCKS] {
    let rest = bytes.get(at..).unwrap_or_default();
    dispatch!(Level::new(), simd => special_in_blocks(simd, rest))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn special_in_blocks<S: Simd>(simd: S, bytes: &[u8]) -> [u64; BLOCKS] {
    let mut special = [u64::MAX; BLOCKS];
    let (blocks, last) = bytes.as_chunks();
    for (special, block) in special.iter_mut().zip(blocks) {
        *special = special_in(simd, block);
    }
    if let Some(special) = special.get_mut(blocks.len()) {
        let mut padded = [0; BLOCK];
        padded[..last.len()].copy_from_slice(last);
        *special = special_in(simd, &padded);
    }
    special
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

/// The length of a prefix of `bytes` that is ASCII without DEL, in whole blocks.
pub(super) fn plain_blocks(bytes: &[u8]) -> usize {
    dispatch!(Level::new(), simd => count_plain(simd, bytes)) * BLOCK
}

/// Whether `bytes` is shorter than a block and all ASCII without DEL.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    bytes.len() < BLOCK && bytes.iter().fold(0, |all, byte| all | *byte | byte.wrapping_add(1)) < 0x80
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn first_in_blocks<S: Simd>(simd: S, bytes: &[u8]) -> Option<usize> {
    bytes.as_chunks().0.iter().enumerate().find_map(|(index, block)| match special_in(simd, block) {
        0 => None,
        special => Some(index * BLOCK + special.trailing_zeros() as usize),
    })
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn special_in<S: Simd>(simd: S, block: &[u8; BLOCK]) -> u64 {
    let splat = |byte: u8| u8x64::splat(simd, byte);
    let block = u8x64::from_slice(simd, block);
    (block.simd_eq(splat(b'"')) | block.simd_eq(splat(b'\\')) | block.simd_lt(splat(0x20))).to_bitmask()
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn count_plain<S: Simd>(simd: S, bytes: &[u8]) -> usize {
    let blocks = bytes.as_chunks::<BLOCK>().0;
    let is_plain = |block: &[u8; BLOCK]| !u8x64::from_slice(simd, block).simd_ge(u8x64::splat(simd, 0x7f)).any_true();
    blocks.iter().position(|block| !is_plain(block)).unwrap_or(blocks.len())
}

const fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(chunk.try_into().ok()?))
}

/// The index of the first special byte of the eight in `word`.
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
    use super::{Ahead, BLOCK, is_plain, is_special, plain_blocks};

    fn plain_run(bytes: &[u8], at: usize) -> usize {
        Ahead::of(bytes).plain_run(at)
    }

    #[test]
    fn stops_at_the_first_special_byte_wherever_it_stands() {
        for special in [b'"', b'\\', b'\n', 0, 0x1f] {
            for place in 0..200 {
                let mut text = [b'a'; 260];
                (text[place], text[230]) = (special, b'"');
                let mut ahead = Ahead::of(&text);
                for from in 0..=place {
                    assert_eq!(plain_run(&text, from), place, "{special} at {place} from {from}");
                    // Whatever was looked at before.
                    assert_eq!(ahead.plain_run(from), place, "{special} at {place} from {from} after others");
                }
                assert_eq!(ahead.plain_run(place + 1), 230.max(place + 1));
            }
        }
        for length in 0..200 {
            for from in 0..=length {
                assert_eq!(plain_run(&[b'~'; 200][..length], from), length);
            }
        }
        let others: Vec<u8> = (0..=u8::MAX).filter(|byte| !is_special(*byte)).collect();
        assert_eq!(plain_run(&others, 0), others.len());
    }

    #[test]
    fn plain_text_ends_before_the_block_of_the_first_other_byte() {
        for (place, other) in (0..300).flat_map(|place| [(place, 0x7f), (place, 0x80), (place, 0xff)]) {
            let mut text = [b'~'; 300];
            text[place] = other;
            let run = plain_blocks(&text);
            assert_eq!(is_plain(&text[256..]), place < 256, "{other:x} at {place}");
            assert!(
                run <= place && run.is_multiple_of(BLOCK) && (place - run < BLOCK || run == 300 / BLOCK * BLOCK),
                "{place}"
            );
        }
        assert_eq!(plain_blocks(&[b'a'; 130]), 128);
        assert!(is_plain(b"") && !is_plain(&[b'a'; BLOCK]));
    }
}
