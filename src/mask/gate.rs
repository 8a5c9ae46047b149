//! The one cheap scan: decides that a text holds nothing any mask could match, before anything is parsed or allocated.

use super::Entity;
use super::heat::Heat;
use super::literals::{Literal, Presence};

/// Bytes looked at together; the loop over one block is branch-free, so that it compiles to vector instructions.
const BLOCK: usize = Heat::BLOCK;

/// Something a recogniser could start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// An `@`.
    At,
    /// Colons as in an IPv6 address.
    Colons,
    /// Enough digits close together for the shortest number looked for.
    Digits,
    /// Spellings that hide characters: `\u`, `%41`, `&#64;`, zero-width and compatibility characters.
    Disguise,
    /// A dot between two digits, three times close together.
    Dots,
}

/// A set of signals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signals(u8);

impl Signals {
    fn add(&mut self, signal: Signal, seen: bool) {
        self.0 |= u8::from(seen) << signal as u8;
    }

    pub(super) const fn has(self, signal: Signal) -> bool {
        self.0 & 1 << signal as u8 != 0
    }

    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn but(self, signal: Signal) -> Self {
        Self(self.0 & !(1 << signal as u8))
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What one block holds.
#[derive(Clone, Copy, Default)]
struct Block {
    digits: u8,
    /// Bits of what else was seen, one of the `HAS_` constants each.
    seen: u8,
}

const HAS_AT: u8 = 1;
/// A colon that ends no JSON key.
const HAS_COLON: u8 = 2;
/// A dot behind a digit.
const HAS_DOT: u8 = 4;
/// What disguises begin with.
const HAS_MARK: u8 = 8;

/// Which signals matter for the entities of one plan.
#[derive(Debug, Default)]
pub(super) struct Gate {
    wanted: Signals,
    /// Fewest digits a wanted number has.
    digits: Option<u8>,
    /// Bank accounts, whose digits letters may part, are wanted.
    ibans: bool,
    /// A pattern without a literal prefix must see every string.
    open: bool,
    literals: Presence,
}

impl Gate {
    /// A gate for `entities`; `literals` are prefixes of which any match begins with one, `open` turns the gate off.
    pub(super) fn new(entities: impl Iterator<Item = Entity>, literals: &[Literal], open: bool) -> Self {
        let mut gate = Self { open, literals: Presence::new(literals), ..Self::default() };
        gate.wanted.add(Signal::Disguise, true);
        for entity in entities {
            match entity {
                Entity::CreditCard => gate.digits_from(12),
                Entity::EmailAddress => gate.wanted.add(Signal::At, true),
                Entity::IbanCode => {
                    gate.ibans = true;
                    gate.digits_from(8);
                }
                Entity::IpAddress => {
                    gate.wanted.add(Signal::Colons, true);
                    gate.wanted.add(Signal::Dots, true);
                }
                Entity::PhoneNumber => gate.digits_from(7),
                Entity::Secret => {}
                Entity::UsSsn => gate.digits_from(9),
            }
        }
        gate
    }

    fn digits_from(&mut self, count: u8) {
        self.wanted.add(Signal::Digits, true);
        self.digits = Some(self.digits.map_or(count, |least| least.min(count)));
    }

    /// Whether anything in `text`, plain or as JSON source, could match; false means it is clean.
    pub(super) fn opens(&self, text: &[u8]) -> bool {
        self.open || self.signals(text).meets(self.wanted) || self.literals.occur_in(text)
    }

    /// Where in `text` a string could stand for which the gate opens: a string that touches no such place is clean.
    ///
    /// Whatever opens the gate for a string begins within it, in the block that shows it.
    pub(super) fn heat(&self, text: &[u8]) -> Heat {
        if self.open {
            return Heat::Everywhere;
        }
        let mut heat = Heat::none(text.len());
        let numbers = self.wanted.has(Signal::Digits) && self.holds_number(text, self.least_digits());
        let wanted = if numbers { self.wanted } else { self.wanted.but(Signal::Digits) };
        self.each_block(text, |at, signals| {
            if signals.meets(wanted) {
                heat.mark(at);
            }
        });
        self.literals.each_in(text, |at| heat.mark(at));
        heat
    }

    /// One pass over `text`.
    pub(super) fn signals(&self, text: &[u8]) -> Signals {
        let mut seen = Signals::default();
        self.each_block(text, |_, signals| seen = seen.with(signals));
        if seen.has(Signal::Digits) && !self.holds_number(text, self.least_digits()) {
            return seen.but(Signal::Digits);
        }
        seen
    }

    fn least_digits(&self) -> usize {
        usize::from(self.digits.unwrap_or(u8::MAX))
    }

    /// Calls `visit` with the place of each block and what it shows; digits as soon as there are enough of them.
    fn each_block(&self, text: &[u8], mut visit: impl FnMut(usize, Signals)) {
        /// Fewest colons of an address without `::`: six before a dotted quad.
        const COLONS: u8 = 6;
        const DOTS: u8 = 3;
        let least = self.digits.unwrap_or(u8::MAX);
        let mut before = Counts::default();
        for at in (0..text.len()).step_by(BLOCK) {
            let block = match (block_at(text, at), block_at(text, at + 1)) {
                (Some(first), Some(second)) => look(first, second),
                _ => look_at_tail(&text[at..]),
            };
            let mut signals = Signals::default();
            signals.add(Signal::At, block.seen & HAS_AT != 0);
            signals.add(Signal::Disguise, block.seen & HAS_MARK != 0 && is_disguised(text, at));
            let mut counts = Counts { digits: block.digits, ..Counts::default() };
            if block.seen & (HAS_COLON | HAS_DOT) != 0 || at == 0 && text[0] == b':' {
                counts.look_closer(text, at);
            }
            // What is looked for is shorter than a block, so it stands in two neighbours.
            signals.add(Signal::Colons, counts.colon_pair || counts.colons + before.colons >= COLONS);
            signals.add(Signal::Dots, counts.dots + before.dots >= DOTS);
            signals.add(Signal::Digits, counts.digits + before.digits >= least);
            before = counts;
            visit(at, signals);
        }
    }

    /// Whether `least` digits stand in one sequence, or two letters and two digits begin a word as in a bank account.
    ///
    /// Dates are the most common digits in messages, and no number looked for is written like one.
    fn holds_number(&self, text: &[u8], least: usize) -> bool {
        const LONGEST_GAP: usize = 6;
        let (mut at, mut behind, mut digits) = (0, 0, 0);
        while let Some(run) = next_digits(text, at) {
            let gap = &text[behind..run.start];
            let joined = digits > 0 && gap.len() <= LONGEST_GAP && gap.iter().all(|b| b" -./()\\t".contains(b));
            digits = if joined { digits + run.len() } else { run.len() };
            if !joined && is_date(&text[run.start..]) {
                at = run.start + DATE;
                behind = at;
                digits = if next_joins(text, at) { 8 } else { 0 };
                if digits < least {
                    continue;
                }
                return true;
            }
            if digits >= least || self.ibans && run.len() >= 2 && begins_account(&text[..run.start]) {
                return true;
            }
            at = run.end;
            behind = at;
        }
        false
    }
}

/// The run of ASCII digits at or behind `at`.
fn next_digits(text: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    const STEP: usize = 16;
    let mut from = at;
    while let Some(step) = text.get(from..from + STEP)
        && !step.iter().fold(false, |any, byte| any | is_digit(*byte))
    {
        from += STEP;
    }
    let start = from + text.get(from..)?.iter().position(|byte| is_digit(*byte))?;
    let end = start + text[start..].iter().take_while(|byte| is_digit(**byte)).count();
    Some(start..end)
}

/// Bytes of `2026-01-05`.
const DATE: usize = 10;

fn is_date(text: &[u8]) -> bool {
    let shape = text.get(..DATE).is_some_and(|date| {
        let (mut digits, mut marks) = (0, 0);
        for (index, byte) in date.iter().enumerate() {
            digits += usize::from(is_digit(*byte));
            marks += usize::from(*byte == b'-' && (index == 4 || index == 7));
        }
        digits == 8 && marks == 2
    });
    shape && (text.starts_with(b"19") || text.starts_with(b"20"))
}

/// Whether what follows a date could make it part of a longer number.
fn next_joins(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(|byte| is_digit(*byte) || b"-./(".contains(byte))
}

/// Whether `head` ends with two letters that begin a word, or with two capitals and a blank or dash.
fn begins_account(head: &[u8]) -> bool {
    let parted = head.strip_suffix(b" ").or_else(|| head.strip_suffix(b"-"));
    let Some((rest, letters)) = parted.unwrap_or(head).split_last_chunk::<2>() else { return false };
    let country =
        letters.iter().all(|b| if parted.is_some() { b.is_ascii_uppercase() } else { b.is_ascii_alphabetic() });
    country && (rest.last().is_none_or(|byte| !byte.is_ascii_alphanumeric()) || is_escape_end(rest))
}

/// Whether `text` ends with an escape of two characters, like `\n`.
pub(super) fn is_escape_end(text: &[u8]) -> bool {
    text.len() >= 2 && text[text.len() - 2] == b'\\'
}

fn block_at(text: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    text.get(at..at + BLOCK)?.try_into().ok()
}

/// The last bytes, filled up with zeros, which are in no class.
fn look_at_tail(tail: &[u8]) -> Block {
    let mut padded = [0; BLOCK + 1];
    let length = tail.len().min(BLOCK + 1);
    padded[..length].copy_from_slice(&tail[..length]);
    let mut blocks = [[0; BLOCK]; 2];
    for (shift, block) in blocks.iter_mut().enumerate() {
        block.copy_from_slice(&padded[shift..shift + BLOCK]);
    }
    look(&blocks[0], &blocks[1])
}

/// Classes of `first`'s bytes; `second` are the bytes behind each.
///
/// Lanes, bitwise operators and wrapping additions (a block holds 64 bytes) are what lets this become vector instructions.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "lazy operators branch, and branches are not vectorised")]
fn look(first: &[u8; BLOCK], second: &[u8; BLOCK]) -> Block {
    const LANES: usize = 16;
    let when = |seen: bool, bit: u8| if seen { bit } else { 0 };
    let (mut digits, mut seen) = ([0_u8; LANES], [0_u8; LANES]);
    for at in (0..BLOCK).step_by(LANES) {
        for lane in 0..LANES {
            let (a, b) = (first[at + lane], second[at + lane]);
            let escape = (a == b'\\') & ((b == b'u') | (b == b'\\'));
            let mark = escape | (((a == b'%') | (a == b'&')) & (b != b' ')) | (a >= 0x80);
            digits[lane] = digits[lane].wrapping_add(when(is_digit(a), 1));
            seen[lane] |= when(a == b'@', HAS_AT)
                | when((b == b':') & (a != b'"'), HAS_COLON)
                | when((b == b'.') & is_digit(a), HAS_DOT)
                | when(mark, HAS_MARK);
        }
    }
    let mut block = Block::default();
    for lane in 0..LANES {
        block.digits = block.digits.wrapping_add(digits[lane]);
        block.seen |= seen[lane];
    }
    block
}

/// What stands in one block, counted.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Two colons beside a hexadecimal digit.
    colon_pair: bool,
    /// Colons between hexadecimal digits.
    colons: u8,
    digits: u8,
    /// Dots between digits.
    dots: u8,
}

impl Counts {
    /// Counts colons and dots whose left neighbour is in the block at `at`; a block holds 64.
    fn look_closer(&mut self, text: &[u8], at: usize) {
        let end = text.len().min(at + BLOCK + 1);
        for mark in memchr::memchr2_iter(b':', b'.', &text[at..end]).map(|offset| at + offset) {
            let before = mark.checked_sub(1).and_then(|before| text.get(before)).copied().unwrap_or(0);
            let after = text.get(mark + 1).copied().unwrap_or(0);
            if text[mark] == b'.' {
                self.dots += u8::from(is_digit(before) && is_digit(after));
            } else {
                self.colons += u8::from(is_hex(before) && is_hex(after));
                self.colon_pair |= before == b':' && is_hex(after) || is_hex(before) && after == b':';
            }
        }
    }
}

/// Whether a disguise begins in the block at `at`.
fn is_disguised(text: &[u8], at: usize) -> bool {
    let end = text.len().min(at + BLOCK);
    (at..end).any(|index| {
        let next = |by: usize| text.get(index + by).copied().unwrap_or(0);
        match text[index] {
            b'\\' => matches!(next(1), b'u' | b'\\'),
            b'%' => is_hex(next(1)) && is_hex(next(2)),
            b'&' => next(1) == b'#' || next(1).is_ascii_lowercase(),
            byte => is_suspicious_lead(byte),
        }
    })
}

#[inline]
const fn is_digit(byte: u8) -> bool {
    byte.wrapping_sub(b'0') < 10
}

const fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

/// Whether a UTF-8 lead byte begins characters that show nothing, separate, or stand for ASCII ones.
///
/// Not among them: most of Latin, Greek, Cyrillic, Hebrew and the CJK ideographs.
const fn is_suspicious_lead(byte: u8) -> bool {
    matches!(byte, 0xc2 | 0xcd | 0xd8..=0xdb | 0xdf..=0xe3 | 0xea | 0xef..)
}

#[cfg(test)]
mod tests {
    use super::super::literals::Literal;
    use super::Gate;
    use crate::mask::Entity;

    fn gate() -> Gate {
        let literals = [Literal { bytes: b"ghp_".to_vec(), starts_word: true }];
        Gate::new(Entity::ALL.into_iter(), &literals, false)
    }

    #[test]
    fn opens_for_what_could_match_at_any_offset() {
        let cases = [
            "a@b",
            "1.2.3.4",
            "::1",
            "fe80::1",
            "684D:1111:222:3333:4444:5555:6:77",
            "0:0:0:0:0:FFFF:129.144.52.38",
            "4111 1111 1111 1111",
            "4111\\t1111\\t1111\\t1111",
            "MT84MALT011ABCDEFG3H5MTLCAST001S",
            "2026-01-05-4111",
            "4 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1",
            "\\u0040",
            "\\\\n",
            "%40",
            "&#64;",
            "&commat;",
            "\u{200b}",
            "\u{ad}",
            "\u{a0}",
            "\u{2011}",
            "４１",
            "٤",
            "ghp_",
            "\\nghp_",
        ];
        let gate = gate();
        for case in cases {
            for before in 0..140 {
                let text = format!("{}{case}{}", "-".repeat(before), " ".repeat(before % 7));
                assert!(gate.opens(text.as_bytes()), "{case} at {before}");
            }
        }
    }

    #[test]
    fn stays_shut_for_clean_text() {
        let cases = [
            r#"{"content":[{"type":"text","text":"Quarterly revenue: up 12.5 %, see page 3; R&D grew."}],"id":123456}"#,
            "Straße, naïve, Ωμέγα, Привет, שלום, 漢字",
            "take the task-list: it is 10:30",
            r#"{"created":"2026-01-05T12:00:00Z","updated":"2026-01-06 08:30","id":123456,"page":12}"#,
            "xghp_",
        ];
        for case in cases {
            assert!(!gate().opens(case.as_bytes()), "{case}");
        }
    }

    #[test]
    fn is_open_when_a_pattern_has_no_literal() {
        assert!(Gate::new(std::iter::empty(), &[], true).opens(b"x"));
        assert!(!Gate::new(std::iter::empty(), &[], false).opens(b"a@b.com 4111111111111111"));
    }
}
