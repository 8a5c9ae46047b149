//! The one cheap scan: decides that a text holds nothing any mask could match, before anything is parsed or allocated.

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, MatchKind, packed};

use super::Entity;

/// Bytes looked at together; the loop over one block is branch-free, so that it compiles to vector instructions.
const BLOCK: usize = 64;

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
}

/// What one block holds.
#[derive(Clone, Copy, Default)]
struct Block {
    at: u8,
    /// Colons between hexadecimal digits.
    colons: u8,
    /// Two colons beside a hexadecimal digit.
    colon_pairs: u8,
    digits: u8,
    disguise: u8,
    dots: u8,
}

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
    literals: Literals,
}

impl Gate {
    /// A gate for `entities`; `literals` are prefixes of which any match begins with one, `open` turns the gate off.
    pub(super) fn new(entities: impl Iterator<Item = Entity>, literals: &[Literal], open: bool) -> Self {
        let mut gate = Self { open, literals: Literals::new(literals), ..Self::default() };
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

    /// One pass over `text`.
    pub(super) fn signals(&self, text: &[u8]) -> Signals {
        /// Fewest colons of an address without `::`: six before a dotted quad.
        const COLONS: u8 = 6;
        const DOTS: u8 = 3;
        let least = self.digits.unwrap_or(u8::MAX);
        let mut signals = Signals::default();
        let mut digits = false;
        let mut before = Block::default();
        for at in (0..text.len()).step_by(BLOCK) {
            let block = match (block_at(text, at), block_at(text, at + 1), block_at(text, at + 2)) {
                (Some(first), Some(second), Some(third)) => look(first, second, third),
                _ => look_at_tail(&text[at..]),
            };
            signals.add(Signal::At, block.at != 0);
            signals.add(Signal::Disguise, block.disguise != 0);
            // What is looked for is shorter than a block, so it stands in two neighbours.
            signals.add(Signal::Colons, block.colon_pairs != 0 || block.colons + before.colons >= COLONS);
            signals.add(Signal::Dots, block.dots + before.dots >= DOTS);
            digits |= block.digits + before.digits >= least;
            before = block;
        }
        signals.add(Signal::Digits, digits && self.holds_number(text, usize::from(least)));
        signals
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
fn is_escape_end(text: &[u8]) -> bool {
    text.len() >= 2 && text[text.len() - 2] == b'\\'
}

fn block_at(text: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    text.get(at..at + BLOCK)?.try_into().ok()
}

/// The last bytes, filled up with zeros, which are in no class.
fn look_at_tail(tail: &[u8]) -> Block {
    let mut padded = [0; BLOCK + 2];
    let length = tail.len().min(BLOCK + 2);
    padded[..length].copy_from_slice(&tail[..length]);
    let mut blocks = [[0; BLOCK]; 3];
    for (shift, block) in blocks.iter_mut().enumerate() {
        block.copy_from_slice(&padded[shift..shift + BLOCK]);
    }
    look(&blocks[0], &blocks[1], &blocks[2])
}

/// Classes of `first`'s bytes given the two bytes behind each.
///
/// Additions wrap, as an overflow check would keep the loop from being vectorised; a block holds 64 bytes.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "lazy operators branch, and branches are not vectorised")]
fn look(first: &[u8; BLOCK], second: &[u8; BLOCK], third: &[u8; BLOCK]) -> Block {
    let mut out = Block::default();
    for index in 0..BLOCK {
        let (a, b, c) = (first[index], second[index], third[index]);
        out.digits = out.digits.wrapping_add(u8::from(is_digit(a)));
        out.dots = out.dots.wrapping_add(u8::from(is_digit(a) & (b == b'.') & is_digit(c)));
        out.at |= u8::from(a == b'@');
        out.colons = out.colons.wrapping_add(u8::from(is_hex(a) & (b == b':') & is_hex(c)));
        out.colon_pairs |= u8::from((b == b':') & (((a == b':') & is_hex(c)) | (is_hex(a) & (c == b':'))));
        let escape = (a == b'\\') & ((b == b'u') | (b == b'\\'));
        let percent = (a == b'%') & is_hex(b) & is_hex(c);
        let entity = (a == b'&') & ((b == b'#') | (b.wrapping_sub(b'a') < 26));
        out.disguise |= u8::from(escape | percent | entity | is_suspicious_lead(a));
    }
    out
}

#[inline]
const fn is_digit(byte: u8) -> bool {
    byte.wrapping_sub(b'0') < 10
}

#[inline]
const fn is_hex(byte: u8) -> bool {
    is_digit(byte) | ((byte | 0x20).wrapping_sub(b'a') < 6)
}

/// Whether a UTF-8 lead byte begins characters that show nothing, separate, or stand for ASCII ones.
///
/// Not among them: most of Latin, Greek, Cyrillic, Hebrew and the CJK ideographs.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "part of a vectorised loop")]
const fn is_suspicious_lead(byte: u8) -> bool {
    (byte == 0xc2)
        | (byte == 0xcd)
        | (byte.wrapping_sub(0xd8) < 4)
        | (byte == 0xdf)
        | (byte.wrapping_sub(0xe0) < 4)
        | (byte == 0xea)
        | (byte >= 0xef)
}

/// A literal that a match begins with or stands behind.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    /// Its bytes, none of which JSON may escape.
    pub(super) bytes: Vec<u8>,
    /// Whether a letter or digit before it rules a match out.
    pub(super) starts_word: bool,
}

/// A search for many literals at once.
#[derive(Debug, Default)]
pub(super) struct Literals {
    shelves: Vec<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    search: Search,
    literals: Vec<Literal>,
}

#[derive(Debug)]
enum Search {
    Automaton(AhoCorasick),
    /// Teddy, for processors that have the instructions.
    Packed(Searcher),
}

impl Literals {
    /// Teddy takes up to 64 literals; more go to further searchers.
    const SHELF: usize = 60;

    pub(super) fn new(literals: &[Literal]) -> Self {
        let shelves = literals
            .chunks(Self::SHELF)
            .filter_map(|chunk| Some(Shelf { search: Search::new(chunk)?, literals: chunk.to_vec() }))
            .collect();
        Self { shelves }
    }

    fn occur_in(&self, text: &[u8]) -> bool {
        let mut found = false;
        self.each(text, |_, _| {
            found = true;
            false
        });
        found
    }

    /// Calls `visit` with literal number and position until it returns false.
    pub(super) fn each(&self, text: &[u8], mut visit: impl FnMut(usize, usize) -> bool) {
        for (number, shelf) in self.shelves.iter().enumerate() {
            let check = |id: usize, at: usize| {
                if shelf.literals[id].starts_word && is_inside_word(text, at) {
                    return true;
                }
                visit(number * Self::SHELF + id, at)
            };
            if !shelf.search.each(text, check) {
                return;
            }
        }
    }
}

/// Whether the byte before `at` is a letter or digit that is not the end of an escape like `\n`.
fn is_inside_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|index| text[index]) else { return false };
    before.is_ascii_alphanumeric() && !is_escape_end(&text[..at])
}

impl Search {
    fn new(literals: &[Literal]) -> Option<Self> {
        let patterns = literals.iter().map(|literal| literal.bytes.as_slice());
        let packed = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostFirst)
            .builder()
            .extend(patterns.clone())
            .build();
        if let Some(searcher) = packed {
            return Some(Self::Packed(searcher));
        }
        // INVARIANT: building fails only for patterns longer together than 2 GiB.
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(patterns).ok().map(Self::Automaton)
    }

    fn each(&self, text: &[u8], mut visit: impl FnMut(usize, usize) -> bool) -> bool {
        match self {
            Self::Automaton(search) => search.find_iter(text).all(|m| visit(m.pattern().as_usize(), m.start())),
            Self::Packed(search) => search.find_iter(text).all(|m| visit(m.pattern().as_usize(), m.start())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Gate, Literal};
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
