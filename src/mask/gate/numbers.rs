//! Runs of digits, and which of them could belong to a number somebody looks for.

use super::beside::{
    BEFORE_CORSICA, BLANK, CAPITAL, COLON, DATE, DOT, HEX, KINDS, LETTER, LONGEST_GAP, LONGEST_MONTH, begins_lettered,
    day_before, has_double_colon, is_corsican, is_dated, is_digit, is_dotted, is_lone_date, is_year, joins,
};
use super::coarse::BLOCK;
use super::figure::Figure;
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
///
/// Most numbers are short and stand alone; such a one is never written down.
pub(super) struct Clusters<'t> {
    text: &'t [u8],
    wanted: &'t Wanted,
    births: Births,
    /// Score from which a cluster is looked at.
    least: usize,
    /// The runs of the cluster, if they were written down.
    runs: Vec<Span>,
    /// Digits of the cluster that may go on, and much more if something else speaks for it; 0 if there is none.
    score: usize,
    /// Where it begins.
    start: usize,
    /// How many runs it has.
    count: usize,
    /// Where the last run or date ended, and how long it was.
    behind: usize,
    length: usize,
    /// Where the last run ended that was handed on.
    told: usize,
}

/// What a cluster's score is raised by once more than its digits speaks for it.
const TELLING: usize = 1 << 32;

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

impl<'t> Clusters<'t> {
    pub(super) fn new(label: &str, text: &'t [u8], wanted: &'t Wanted) -> Self {
        let births = match wanted.births {
            false => Births::No,
            true if speaks_of_birth(end_of(label)) => Births::All,
            true => Births::Unknown,
        };
        Self {
            text,
            wanted,
            births,
            least: wanted.digits.unwrap_or(TELLING),
            runs: Vec::new(),
            score: 0,
            start: 0,
            count: 0,
            behind: 0,
            length: usize::MAX,
            told: 0,
        }
    }

    /// Takes in the runs that begin in the block at `at`, where there are `digits` among `figures`; false if `visit` was.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the instructions of the pass over all blocks")]
    pub(super) fn block(
        &mut self,
        at: usize,
        digits: u64,
        figures: u64,
        visit: &mut dyn FnMut(Sight<'_>) -> bool,
    ) -> bool {
        if self.births == Births::Unknown {
            self.ask_for_births();
        }
        let mut rest = self.left_of(at, digits);
        while rest != 0 {
            let first = rest.trailing_zeros();
            if self.is_free(at.wrapping_add(first as usize)) {
                let figure = Figure::of(at, rest, figures);
                if self.is_idle(&figure) {
                    self.open(figure.span, figure.runs, figure.digits, figure.length);
                    rest &= figure.behind;
                    continue;
                }
            }
            let length = (rest >> first).trailing_ones();
            let start = at + first as usize;
            let mut end = start + length as usize;
            if first + length == u64::BITS {
                end += self.text[end..].iter().take_while(|byte| is_digit(**byte)).count();
            }
            if !self.run(Span { start, end }, visit) {
                return false;
            }
            rest = self.left_of(at, rest);
        }
        true
    }

    /// Whether nothing before byte `start` is still open.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    fn is_free(&self, start: usize) -> bool {
        start.wrapping_sub(self.behind) > LONGEST_GAP && self.score < self.least && self.births != Births::All
    }

    /// Whether a figure stands alone among plain text and is short, as most are: nothing beside it could be part of it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    fn is_idle(&self, figure: &Figure) -> bool {
        let Span { start, end } = figure.span;
        let kind = |at: usize| KINDS[usize::from(self.text.get(at).copied().unwrap_or(b' '))];
        let (parted, before) = (start.wrapping_sub(self.behind), kind(start.wrapping_sub(1)));
        let may_be_year = figure.digits == 4 && parted <= LONGEST_MONTH && self.length <= 2;
        figure.is_plain
            && figure.digits < self.least
            && !may_be_year
            && (before | kind(end)) & (HEX | COLON) == 0
            && (figure.digits != 4 || (before | kind(end)) & DOT == 0)
            && before & LETTER == 0
            && (before & BLANK == 0 || kind(start.wrapping_sub(2)) & CAPITAL == 0)
            && !(kind(end) & BLANK != 0 && self.text.get(end.wrapping_add(1)).is_some_and(|byte| is_digit(*byte)))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all numbers")]
    fn open(&mut self, Span { start, end }: Span, count: usize, digits: usize, length: usize) {
        self.runs.clear();
        (self.start, self.count, self.score) = (start, count, digits);
        (self.behind, self.length) = (end, length);
    }

    /// Of a run that began before, or a date, nothing is left.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all blocks")]
    fn left_of(&self, at: usize, digits: u64) -> u64 {
        match self.behind.saturating_sub(at) {
            over @ 0..BLOCK => digits & u64::MAX << over,
            _ => 0,
        }
    }

    /// A key speaks for all numbers below it, however far away; else a word does for those near it.
    #[cold]
    fn ask_for_births(&mut self) {
        self.births = match memchr::memchr(b'"', self.text) {
            None => Births::Near,
            Some(_) if speaks_of_birth(self.text) => Births::All,
            Some(_) => Births::No,
        };
    }

    #[inline(never)]
    fn run(&mut self, run: Span, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let text = self.text;
        let (length, parted) = (run.end - run.start, run.start - self.behind);
        let before = text.get(run.start.wrapping_sub(1)).copied().unwrap_or(b' ');
        let after = text.get(run.end).copied().unwrap_or(b' ');
        let beside = KINDS[usize::from(before)] | KINDS[usize::from(after)];
        if self.score != 0 && joins(&text[self.behind..run.start]) {
            self.join(run);
        } else {
            if self.score >= self.least && !self.flush(visit) {
                return false;
            }
            if length == 4 && before != b':' && after == b'-' && is_lone_date(&text[run.start..]) {
                return self.date(run.start, visit);
            }
            let with_day = length == 4 && parted <= LONGEST_MONTH && self.length <= 2 && self.births == Births::Near;
            self.open(run, 1, length, length);
            if with_day || self.births == Births::All {
                self.score = TELLING;
            }
        }
        (self.behind, self.length) = (run.end, length);
        // Behind most blanks neither capitals stand nor pairs of digits.
        let letter = || KINDS[usize::from(text.get(run.start.wrapping_sub(2)).copied().unwrap_or_default())];
        let may_begin = match KINDS[usize::from(before)] {
            kind if kind & BLANK != 0 => letter() & CAPITAL != 0 || length == 2 && after == b' ',
            kind => kind & LETTER != 0,
        };
        if may_begin && self.wanted.lettered && begins_lettered(text, run) {
            self.score |= TELLING;
        }
        if self.wanted.corsica && self.score == BEFORE_CORSICA && is_corsican(text, run.end) {
            self.score |= TELLING;
        }
        let hardware = beside & (HEX | COLON) != 0 || beside & DOT != 0 && length == 4;
        !hardware || self.look_for_hardware(run, beside, visit)
    }

    /// Takes a run into the open cluster.
    fn join(&mut self, run: Span) {
        self.know_runs();
        self.runs.push(run);
        self.count += 1;
        self.score += run.end - run.start;
        // As many as an address has, or a date.
        if self.count > 3 && self.wanted.addresses || self.count > 2 && self.births == Births::Near {
            self.score |= TELLING;
        }
    }

    /// A date that stands alone.
    fn date(&mut self, start: usize, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        (self.score, self.behind, self.length) = (0, start + DATE, 2);
        let dates = [(0, 4), (5, 7), (8, 10)].map(|(from, to)| Span { start: start + from, end: start + to });
        !(self.births != Births::No && self.is_birth(&dates)) || self.tell(&dates, visit)
    }

    fn tell(&mut self, runs: &[Span], visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        self.told = runs.last().map_or(self.told, |run| run.end);
        visit(Sight::Number(runs))
    }

    /// Tells of an address of a host or of hardware that `run` stands in.
    #[inline(never)]
    fn look_for_hardware(&self, run: Span, beside: u8, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let (hosts, macs) = (self.wanted.addresses, self.wanted.macs);
        !(hosts && has_double_colon(self.text, run) && !visit(Sight::At(Signal::Colons, run.start))
            || macs
                && beside & (HEX | DOT) != 0
                && is_dotted(self.text, run)
                && !visit(Sight::At(Signal::Mac, run.start)))
    }

    /// Writes down the runs of the open cluster, unless they are.
    fn know_runs(&mut self) {
        if self.runs.is_empty() && self.count == 1 {
            self.runs.push(Span { start: self.start, end: self.behind });
        } else if self.runs.is_empty() {
            runs_in(self.text, Span { start: self.start, end: self.behind }, &mut self.runs);
        }
    }

    /// Hands the cluster on, if it could be something.
    #[inline(never)]
    fn flush(&mut self, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        self.score = 0;
        self.know_runs();
        let mut runs = std::mem::take(&mut self.runs);
        let number = self.is_number(&runs);
        let told = self.births != Births::No && self.tells_birth(number, &mut runs) || number;
        let go_on = !told || self.tell(&runs, visit);
        runs.clear();
        self.runs = runs;
        go_on
    }

    /// Whether `runs` could be something else than a date.
    fn is_number(&self, runs: &[Span]) -> bool {
        let Wanted { digits: least, addresses, corsica, lettered, .. } = *self.wanted;
        let digits: usize = runs.iter().map(|run| run.end - run.start).sum();
        let is_dot = |pair: &&[Span]| self.text[pair[0].end..pair[1].start] == *b".";
        least.is_some_and(|least| digits >= least)
            || addresses && runs.len() > 3 && runs.windows(2).filter(is_dot).count() >= 3
            || corsica && digits == BEFORE_CORSICA && is_corsican(self.text, self.behind)
            || lettered && runs.iter().any(|run| begins_lettered(self.text, *run))
    }

    /// Whether `runs`, which may be another `number` as well, could be a date of birth; the day of one that begins with its
    /// year is put before it.
    fn tells_birth(&self, number: bool, runs: &mut Vec<Span>) -> bool {
        if self.births != Births::Near {
            return self.is_birth(runs);
        }
        let year = runs.first().copied().filter(|year| is_year(self.text, *year));
        let day = year.and_then(|year| day_before(self.text, year));
        if let Some(day) = day.filter(|day| day.start >= self.told) {
            runs.insert(0, day);
        }
        !number && (day.is_some() || runs.windows(3).any(is_dated)) && self.is_birth(runs)
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
        self.score < self.least || self.flush(visit)
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
