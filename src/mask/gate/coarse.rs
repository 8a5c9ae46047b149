//! The pass that every byte goes through, written so that it compiles to vector instructions.

/// Bytes looked at together.
pub(super) const BLOCK: usize = 128;

/// How far behind a block bytes are looked at.
const AHEAD: usize = 8;
const LANES: usize = 16;

/// What one block holds.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "signals that are seen independently")]
pub(super) struct Seen {
    /// An `@`.
    pub(super) at: bool,
    pub(super) digits: bool,
    /// Fifteen bytes or more without a blank or a quotation mark; sometimes fewer, never more go unseen.
    pub(super) long: bool,
    /// What disguises begin with.
    pub(super) marks: bool,
}

impl Seen {
    pub(super) const fn is_nothing(self) -> bool {
        !(self.at || self.digits || self.long || self.marks)
    }
}

/// What the block of `text` at `at` holds.
pub(super) fn look(text: &[u8], at: usize) -> Seen {
    if let Some(bytes) = text.get(at..at + BLOCK + AHEAD).and_then(|bytes| bytes.try_into().ok()) {
        return look_at(bytes);
    }
    // Zeros are in no class.
    let mut padded = [0; BLOCK + AHEAD];
    let rest = &text[at..];
    let length = rest.len().min(BLOCK + AHEAD);
    padded[..length].copy_from_slice(&rest[..length]);
    look_at(&padded)
}

fn look_at(bytes: &[u8; BLOCK + AHEAD]) -> Seen {
    let long = is_long(bytes);
    if !is_marked(bytes) {
        return Seen { long, ..Seen::default() };
    }
    Seen { long, ..classes(bytes) }
}

const fn when(seen: bool) -> u8 {
    if seen { u8::MAX } else { 0 }
}

/// Whether any byte is a digit or a mark: lanes, bitwise operators and wrapping arithmetic are what compilers vectorise.
#[inline]
fn is_marked(bytes: &[u8; BLOCK + AHEAD]) -> bool {
    let mut seen = [0_u8; LANES];
    for at in (0..BLOCK).step_by(LANES) {
        for lane in 0..LANES {
            let byte = bytes[at + lane];
            seen[lane] |= when((byte | 0x20) >= 0x7c)
                | when(byte.wrapping_sub(b'0') < 10)
                | when(byte == b'@')
                | when(byte == b'&');
        }
    }
    seen.iter().fold(0, |all, lane| all | lane) != 0
}

/// Which bytes they are.
#[inline]
fn classes(bytes: &[u8; BLOCK + AHEAD]) -> Seen {
    let (mut digits, mut ats, mut marks) = ([0_u8; LANES], [0_u8; LANES], [0_u8; LANES]);
    for at in (0..BLOCK).step_by(LANES) {
        for lane in 0..LANES {
            let byte = bytes[at + lane];
            digits[lane] |= when(byte.wrapping_sub(b'0') < 10);
            ats[lane] |= when(byte == b'@');
            marks[lane] |= when(byte >= 0x80) | when(byte == b'&') | when(byte == b'\\');
        }
    }
    let any = |lanes: [u8; LANES]| lanes.iter().fold(0, |all, lane| all | lane) != 0;
    Seen { at: any(ats), digits: any(digits), long: false, marks: any(marks) }
}

/// Whether twelve bytes from a place divisible by four are all above the quotation mark: true of every fifteen in a row.
#[inline]
fn is_long(bytes: &[u8; BLOCK + AHEAD]) -> bool {
    let mut words = [0_u8; BLOCK];
    for at in 0..BLOCK {
        let least = bytes[at].min(bytes[at + 4]).min(bytes[at + 8]);
        words[at] = when(least > b'"');
    }
    let (quads, _) = words.as_chunks::<4>();
    quads.iter().fold(0_u32, |any, quad| any | u32::from(u32::from_ne_bytes(*quad) == u32::MAX)) != 0
}

/// Where a disguise begins in the block at `at`.
pub(super) fn disguise(text: &[u8], at: usize, seen: Seen) -> Option<usize> {
    let block = &text[at..text.len().min(at + BLOCK)];
    let next = |index: usize, by: usize| text.get(at + index + by).copied().unwrap_or(0);
    let is_hex = |byte: u8| byte.is_ascii_hexdigit();
    let percent = || memchr::memchr_iter(b'%', block).find(|index| is_hex(next(*index, 1)) && is_hex(next(*index, 2)));
    let mark = || {
        block.iter().enumerate().find(|(index, byte)| match byte {
            b'\\' => matches!(next(*index, 1), b'u' | b'\\'),
            b'&' => next(*index, 1) == b'#' || next(*index, 1).is_ascii_lowercase(),
            byte => is_suspicious_lead(**byte),
        })
    };
    let found = if seen.marks { mark().map(|(index, _)| index) } else { None };
    found.or_else(percent).map(|index| at + index)
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
