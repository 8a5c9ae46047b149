//! Runs of digits, and which of them could belong to a number somebody looks for.

use super::coarse::{Around, BLOCK, Seen};
use super::{Sight, Signal};
use crate::json::Span;
use crate::mask::Entity;
use crate::mask::recognisers::{end_of, speaks_of_birth};

/// Which numbers matter.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "entities that are wanted independently")]
pub(super) struct Wanted {
    /// Fewest digits of a wanted number; `None` if there is none.
    digits: Option<usize>,
    /// Internet addresses.
    pub(super) addresses: bool,
    births: bool,
    /// French numbers, in which a letter parts the digits of those born in Corsica.
    corsica: bool,
    pub(super) macs: bool,
    /// Bank accounts, insurance numbers and codes that begin with letters.
    lettered: bool,
    pub(super) wallets: bool,
    pub(super) codes: bool,
    pub(super) ibans: bool,
}

impl Wanted {
    pub(super) fn add(&mut self, entity: Entity) {
        let digits = match entity {
            Entity::Crypto => return self.wallets = true,
            Entity::DateOfBirth => return self.births = true,
            Entity::IpAddress => return self.addresses = true,
            Entity::ItFiscalCode => return self.codes = true,
            Entity::IbanCode => {
                (self.lettered, self.ibans) = (true, true);
                8
            }
            Entity::UkNino => return self.lettered = true,
            Entity::EsNif | Entity::PhoneNumber => 7,
            Entity::UsBankNumber => 8,
            Entity::AuTfn | Entity::CaSin | Entity::UsItin | Entity::UsSsn => 9,
            Entity::UkNhs => 10,
            Entity::BrCpf | Entity::DeTaxId | Entity::PlPesel => 11,
            Entity::CreditCard | Entity::InAadhaar => 12,
            Entity::FrNir => {
                self.corsica = true;
                13
            }
            Entity::EmailAddress | Entity::MacAddress | Entity::Secret | Entity::UrlCredentials => return,
        };
        self.digits = Some(self.digits.map_or(digits, |least| least.min(digits)));
    }

    /// Whether no number matters.
    pub(super) const fn is_nothing(&self) -> bool {
        self.digits.is_none() && !self.lettered && !self.addresses && !self.births && !self.macs
    }
}

/// Runs of digits that stand close enough to be one number, one cluster after the other.
pub(super) struct Clusters<'t> {
    text: &'t [u8],
    wanted: &'t Wanted,
    least: usize,
    runs: Vec<Span>,
    digits: usize,
    dots: usize,
    /// Something but the count of digits speaks for the cluster.
    hot: bool,
    /// Where the last run ended.
    behind: usize,
    births: Births,
    /// Short numbers of the block that ends at this byte.
    short: (usize, u64),
    /// Where a block begins that digits of the one before may go on in.
    open: usize,
}

/// Whether numbers may be dates of birth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Births {
    /// What the text stands under says so, or some key in it may.
    All,
    /// Those behind a word for birth.
    Near,
    /// None.
    No,
    /// The text was not asked yet.
    Unknown,
}

/// Bytes of `2026-01-05`.
const DATE: usize = 10;
const LONGEST_GAP: usize = 6;

/// Bytes that may stand between the digits of one number.
const GAPS: [bool; 256] = {
    let mut gaps = [false; 256];
    let among = b" -./()\\t:";
    let mut at = 0;
    while at < among.len() {
        gaps[among[at] as usize] = true;
        at += 1;
    }
    gaps
};

impl<'t> Clusters<'t> {
    pub(super) fn new(label: &str, text: &'t [u8], wanted: &'t Wanted) -> Self {
        let births = match wanted.births {
            false => Births::No,
            true if speaks_of_birth(end_of(label)) => Births::All,
            true => Births::Unknown,
        };
        let least = wanted.digits.unwrap_or(usize::MAX);
        Self {
            text,
            wanted,
            least,
            runs: Vec::new(),
            digits: 0,
            dots: 0,
            hot: false,
            behind: 0,
            births,
            short: (0, 0),
            open: usize::MAX,
        }
    }

    /// Takes in the runs that begin in a block; false if `visit` was.
    pub(super) fn block(&mut self, seen: &Seen, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        if self.births == Births::Unknown {
            self.ask_for_births();
        }
        if self.births == Births::All {
            return self.runs_of(seen, seen.digits, visit);
        }
        let near = seen.digits | seen.around.gaps;
        let mut special = self.special(seen, near);
        while special != 0 {
            // All that stands close enough to be one number.
            let at = special.trailing_zeros();
            let first = at + 1 - (near << (u64::BITS - 1 - at)).leading_ones();
            let length = (near >> first).trailing_ones();
            let cluster = u64::MAX.checked_shr(u64::BITS - length).unwrap_or(0) << first;
            if !self.runs_of(seen, seen.digits & cluster, visit) {
                return false;
            }
            special &= !cluster;
        }
        true
    }

    /// A key speaks for all numbers below it, however far away; else a word does for those near it.
    fn ask_for_births(&mut self) {
        self.births = match memchr::memchr(b'"', self.text) {
            None => Births::Near,
            Some(_) if speaks_of_birth(self.text) => Births::All,
            Some(_) => Births::No,
        };
    }

    /// Where in a block something is that could belong to a number anybody looks for: by what stands around all its digits
    /// at once, as most numbers are short and stand alone.
    fn special(&mut self, seen: &Seen, near: u64) -> u64 {
        let Around { letters, capitals, blanks, points, .. } = seen.around;
        let digits = seen.digits;
        // From the first digit on, but for one or two bytes behind the last; then the first of so many in a row.
        let mut spread = (digits.wrapping_add(near) ^ near) & near | digits;
        for _ in 0..2 {
            spread &= digits | spread >> 1;
        }
        let two = spread & spread >> 1;
        let four = two & two >> 2;
        let long = four & four >> 3;
        let (starts, ends) = (digits & !(digits << 1), digits & !(digits >> 1));
        let beside = letters | points;
        let hardware = starts & points << 1 & beside << 2 | ends & points >> 1 & beside >> 2;
        let worded = starts & letters << 1 | ends & letters >> 1;
        // What lies before the block counts as letters.
        let led = starts & blanks << 1 & digits >> 1;
        let lettered = led & (capitals << 2 | 0b11) & (capitals << 3 | 0b111)
            | led & (letters << 2 | 0b11) & (letters << 3 | 0b111) & blanks >> 2 & digits >> 3;
        let found = long | hardware | worded | lettered | self.at_edges(seen, near);
        found | self.dates(seen.at, digits, starts, spread & !digits)
    }

    /// The digits of what could go on beyond the block.
    fn at_edges(&mut self, seen: &Seen, near: u64) -> u64 {
        /// At so many bytes from an edge, what stands beside a digit may lie beyond it.
        const BESIDE: u64 = 0b111;
        let digits = seen.digits;
        let low = digits & near & !near.wrapping_add(1);
        let high = digits & !u64::MAX.checked_shr(near.leading_ones()).unwrap_or(0);
        let joined = self.open == seen.at || low & BESIDE != 0;
        let next = self.text.get(seen.at + BLOCK).copied().unwrap_or(b'$');
        let continues = high & BESIDE.reverse_bits() != 0 || is_digit(next) || GAPS[usize::from(next)];
        // What follows must know of it.
        if high != 0 && continues {
            self.open = seen.at + BLOCK;
        }
        (if joined { low } else { 0 }) | if continues { high } else { 0 }
    }

    /// Numbers that may be dates of birth: three close together, or a year a short one stands before.
    fn dates(&mut self, at: usize, digits: u64, starts: u64, gaps: u64) -> u64 {
        if self.births == Births::No {
            return 0;
        }
        let close = gaps & (gaps >> 2 | gaps >> 3 | gaps >> 4);
        let short = starts & !(digits >> 2);
        let before = if self.short.0 == at { self.short.1 } else { 0 };
        self.short = (at + BLOCK, short);
        let years = starts & digits >> 1 & digits >> 2 & digits >> 3 & !(digits >> 4);
        if years == 0 {
            return close;
        }
        // A short number up to thirty-one bytes before, or in the second half of the block before.
        let mut reach = short << 1;
        for by in [1, 2, 4, 8, 16] {
            reach |= reach << by;
        }
        let reach = if before >> (BLOCK / 2) == 0 { reach } else { reach | u64::MAX >> (BLOCK / 2) };
        close | years & reach
    }

    /// Takes in the runs that begin with one of `digits`.
    fn runs_of(&mut self, seen: &Seen, mut digits: u64, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        loop {
            // Of a run that began before, or a date, nothing is left.
            let over = self.behind.saturating_sub(seen.at);
            digits = if over < BLOCK { digits & u64::MAX << over } else { 0 };
            if digits == 0 {
                return true;
            }
            let start = digits.trailing_zeros() as usize;
            let mut end = seen.at + start + (digits >> start).trailing_ones() as usize;
            if end == seen.at + BLOCK {
                end += self.text[end..].iter().take_while(|byte| is_digit(**byte)).count();
            }
            if !self.run(Span { start: seen.at + start, end }, visit) {
                return false;
            }
        }
    }

    fn run(&mut self, run: Span, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let text = self.text;
        let gap = &text[self.behind..run.start];
        let joined =
            !self.runs.is_empty() && gap.len() <= LONGEST_GAP && gap.iter().all(|byte| GAPS[usize::from(*byte)]);
        if !joined && !self.flush(visit) {
            return false;
        }
        if !joined && run.end - run.start == 4 && is_date(&text[run.start..]) && !next_joins(text, run.start + DATE) {
            self.behind = run.start + DATE;
            let dates =
                [(0, 4), (5, 7), (8, 10)].map(|(from, to)| Span { start: run.start + from, end: run.start + to });
            return !(self.births != Births::No && self.is_birth(&dates)) || visit(Sight::Number(&dates));
        }
        self.behind = run.end;
        self.digits += run.end - run.start;
        self.dots += usize::from(joined && gap == b".");
        let before = run.start.checked_sub(1).map_or(b' ', |at| text[at]);
        if (is_hardware(before) || text.get(run.end).is_some_and(|byte| is_hardware(*byte)))
            && (self.wanted.addresses && has_double_colon(text, run) && !visit(Sight::At(Signal::Colons, run.start))
                || self.wanted.macs && is_dotted(text, run) && !visit(Sight::At(Signal::Mac, run.start)))
        {
            return false;
        }
        self.hot |= self.wanted.lettered && run.end - run.start >= 2 && begins_lettered(text, run);
        self.runs.push(run);
        true
    }

    /// Hands the cluster on, if it could be something.
    fn flush(&mut self, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        if self.runs.is_empty() {
            return true;
        }
        let corsica = self.wanted.corsica && self.digits == 6 && is_corsican(self.text, self.behind);
        let number = self.digits >= self.least || self.hot || corsica || self.wanted.addresses && self.dots >= 3;
        let mut runs = std::mem::take(&mut self.runs);
        let told = number || self.births != Births::No && self.tells_birth(&mut runs);
        let go_on = !told || visit(Sight::Number(&runs));
        self.runs = runs;
        self.runs.clear();
        (self.digits, self.dots, self.hot) = (0, 0, false);
        go_on
    }

    /// Whether `runs` could be a date of birth, or the year of one; its day is put before it.
    fn tells_birth(&mut self, runs: &mut Vec<Span>) -> bool {
        if self.births != Births::Near {
            return self.is_birth(runs);
        }
        match runs.as_slice() {
            [year] if is_year(self.text, *year) => {
                let Some(day) = day_before(self.text, *year) else { return false };
                runs.insert(0, day);
                self.is_birth(runs)
            }
            [_, _, _, ..] => runs.windows(3).any(is_dated) && self.is_birth(runs),
            _ => false,
        }
    }

    /// Whether a word for birth speaks for `runs`.
    fn is_birth(&self, runs: &[Span]) -> bool {
        /// How far before a number a word for birth can stand.
        const REACH: usize = 64;
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return false };
        match self.births {
            Births::All => true,
            Births::No | Births::Unknown => false,
            Births::Near => speaks_of_birth(&self.text[first.start.saturating_sub(REACH)..last.start]),
        }
    }

    /// Hands the last cluster on.
    pub(super) fn finish(&mut self, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        self.flush(visit)
    }
}

/// Puts the runs of `others` among `runs`, both in order, each once.
pub(super) fn merge(runs: &mut Vec<Span>, others: &[Span]) {
    if others.is_empty() {
        return;
    }
    let mut merged = Vec::with_capacity(runs.len() + others.len());
    let mut rest = others;
    for run in runs.iter() {
        while let Some((other, behind)) = rest.split_first().filter(|(other, _)| *other <= run) {
            if other != run {
                merged.push(*other);
            }
            rest = behind;
        }
        merged.push(*run);
    }
    merged.extend_from_slice(rest);
    *runs = merged;
}

/// Adds the runs of digits in `word` to `runs`.
pub(super) fn runs_in(text: &[u8], word: Span, runs: &mut Vec<Span>) {
    let mut from = word.start;
    while let Some(run) = next_digits(text, from, word.end) {
        from = run.end;
        runs.push(run);
    }
}

/// The first run of ASCII digits that begins at or behind `from` and before `end`.
fn next_digits(text: &[u8], from: usize, end: usize) -> Option<Span> {
    const STEP: usize = 16;
    let mut at = from;
    while at + STEP <= end
        && let Some(step) = text.get(at..at + STEP)
        && !step.iter().fold(false, |any, byte| any | is_digit(*byte))
    {
        at += STEP;
    }
    let start = at + text.get(at..end)?.iter().position(|byte| is_digit(*byte))?;
    let length = text[start..].iter().take_while(|byte| is_digit(**byte)).count();
    Some(Span { start, end: start + length })
}

/// The number of one or two digits that stands alone before `year`, with room for the name of a month between them.
fn day_before(text: &[u8], year: Span) -> Option<Span> {
    /// What can stand between a day and its year.
    const BETWEEN: usize = 24;
    let head = text.get(..year.start)?;
    let gap = head.iter().rev().take(BETWEEN + 1).position(|byte| is_digit(*byte))?;
    let end = year.start - gap;
    let length = head[..end].iter().rev().take(3).take_while(|byte| is_digit(**byte)).count();
    let start = end - length;
    // Another number that joins it makes both part of a longer one.
    let joined = head[..start].iter().rev().take(LONGEST_GAP + 1).take_while(|byte| GAPS[usize::from(**byte)]).count();
    let alone = joined > LONGEST_GAP || start.checked_sub(joined + 1).is_none_or(|at| !is_digit(head[at]));
    (length <= 2 && alone).then_some(Span { start, end })
}

/// Whether `run` has the digits of a year of the last century or this.
fn is_year(text: &[u8], run: Span) -> bool {
    run.end - run.start == 4 && (text[run.start..].starts_with(b"19") || text[run.start..].starts_with(b"20"))
}

/// Whether three runs have as many digits as year, month and day have.
fn is_dated(runs: &[Span]) -> bool {
    let [one, two, three] = runs else { return false };
    let [one, two, three] = [one, two, three].map(|run| run.end - run.start);
    two <= 2 && (one == 4 && three <= 2 || one <= 2 && matches!(three, 2 | 4))
}

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

/// Whether two letters that begin a word stand before `run`, or two capitals and a blank or dash.
fn begins_lettered(text: &[u8], run: Span) -> bool {
    let head = &text[..run.start];
    if !head.last().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b' ' | b'-')) {
        return false;
    }
    let parted = head.strip_suffix(b" ").or_else(|| head.strip_suffix(b"-"));
    let Some((rest, letters)) = parted.unwrap_or(head).split_last_chunk::<2>() else { return false };
    // Blanks part most words from most numbers: then only capitals count, or that the number goes on in pairs.
    let paired = || run.end - run.start == 2 && matches!(text.get(run.end..run.end + 2), Some([b' ', b'0'..=b'9']));
    letters.iter().all(u8::is_ascii_alphabetic)
        && (parted.is_none() || letters.iter().all(u8::is_ascii_uppercase) || paired())
        && (rest.last().is_none_or(|byte| !byte.is_ascii_alphanumeric()) || super::is_escape_end(rest))
}

/// Whether `2A` or `2B` ends or goes on at `end`, with digits behind it.
fn is_corsican(text: &[u8], end: usize) -> bool {
    text[..end].ends_with(b"2")
        && matches!(text.get(end), Some(b'A' | b'B' | b'a' | b'b'))
        && text[end + 1..].iter().find(|byte| **byte != b' ').is_some_and(u8::is_ascii_digit)
}

/// What stands beside digits within addresses of hosts and of hardware.
const fn is_hardware(byte: u8) -> bool {
    matches!(byte, b'a'..=b'f' | b'A'..=b'F' | b':' | b'.')
}

/// Whether `run` stands in a word of hexadecimal digits, colons and dots that has two colons in a row.
fn has_double_colon(text: &[u8], run: Span) -> bool {
    const LONGEST: usize = 45;
    let part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':';
    let tail = text[run.end..].iter().take(LONGEST).take_while(|byte| part(byte)).count();
    let head = text[..run.start].iter().rev().take(LONGEST).take_while(|byte| part(byte)).count();
    (head > 1 || tail > 1) && text[run.start - head..run.end + tail].windows(2).any(|pair| pair == b"::")
}

/// Whether `run` stands in three groups of four hexadecimal digits.
fn is_dotted(text: &[u8], run: Span) -> bool {
    const LENGTH: usize = 14;
    if run.end - run.start > 4 {
        return false;
    }
    let part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'.';
    let tail = text[run.end..].iter().take(LENGTH).take_while(|byte| part(byte)).count();
    let head = text[..run.start].iter().rev().take(LENGTH).take_while(|byte| part(byte)).count();
    let word = &text[run.start - head..run.end + tail];
    word.len() >= LENGTH && word.windows(6).any(|part| part[0] == b'.' && part[5] == b'.')
}

const fn is_digit(byte: u8) -> bool {
    byte.wrapping_sub(b'0') < 10
}
