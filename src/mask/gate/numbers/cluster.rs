//! Reads a cluster: runs of digits close enough to be one number, from the first to the last.

use super::super::beside::{
    BEFORE_CORSICA, COLON, DATE, DOT, HEX, KINDS, before_corsican, begins_lettered, day_before, digits_at,
    digits_before, gap_at, gap_before, has_double_colon, is_corsican, is_dated, is_dotted, is_lone_date, is_year,
};
use super::super::coarse::BLOCK;
use super::super::wanted::Wanted;
use super::super::window::Window;
use super::super::{Sight, Signal};
use super::{Births, Clusters};
use crate::json::Span;
use crate::mask::recognisers::speaks_of_birth;

impl Clusters<'_> {
    /// Reads a cluster that is a whole `row` of `window`, without a date of birth or a date that stands alone.
    pub(super) fn read_row(
        &mut self,
        window: &Window,
        row: u64,
        is_sure: bool,
        visit: &mut dyn FnMut(Sight<'_>) -> bool,
    ) -> bool {
        let mut rest = window.digits & row;
        if !self.read_before(window.place(rest), visit) {
            return false;
        }
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        let mut go_on = true;
        while rest != 0 {
            let behind = rest.wrapping_add(rest & rest.wrapping_neg());
            let start = window.place(rest);
            let end = start + (behind.trailing_zeros() - rest.trailing_zeros()) as usize;
            let run = Span { start, end };
            go_on = go_on && self.is_in_hardware(run, visit);
            runs.push(run);
            (self.judged, self.behind) = (end, end);
            rest &= behind;
        }
        self.note_day(&runs);
        go_on = go_on && (!(is_sure || self.is_number(&runs)) || self.tell(&runs, visit));
        self.runs = runs;
        go_on
    }

    /// Notes the last of `runs` if it may be the day before a year.
    fn note_day(&mut self, runs: &[Span]) {
        if let Some(last) = runs.last().filter(|last| last.end - last.start <= 2) {
            self.day = last.start;
        }
    }

    /// Reads the digits before the `A` or `B` of a Corsican department that the digits at `start` follow.
    fn read_before(&mut self, start: usize, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        if !self.wanted.corsica {
            return true;
        }
        let letter = before_corsican(self.text, start).filter(|letter| *letter > self.told);
        letter.is_none_or(|letter| self.read(self.first_of(letter - 1), visit))
    }

    /// The beginning of the cluster that contains byte `at`.
    pub(super) fn first_of(&self, at: usize) -> usize {
        let mut start = at - digits_before(self.text, at);
        while let gap @ 1.. = gap_before(self.text, start) {
            start -= gap;
            start -= digits_before(self.text, start);
        }
        start
    }

    /// Reads the cluster that begins at `start`, and reports it if it could be a value. Dates before the first other run are
    /// reported by themselves.
    pub(super) fn read(&mut self, start: usize, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        if !self.read_before(start, visit) {
            return false;
        }
        let text = self.text;
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        let (mut at, mut go_on) = (start, true);
        loop {
            let length = digits_at(text, at);
            let mut end = at + length;
            go_on = go_on && self.is_in_hardware(Span { start: at, end }, visit);
            if runs.is_empty() && length == 4 && is_lone_date(&text[at..]) && !text[..at].ends_with(b":") {
                go_on = go_on && self.date(at, visit);
                end = at + DATE;
            } else {
                runs.push(Span { start: at, end });
            }
            (self.judged, self.behind) = (end, end);
            let Some(gap) = gap_at(text, end) else { break };
            at = end + gap;
        }
        self.note_day(&runs);
        go_on = go_on && self.tell_of(&mut runs, visit);
        self.runs = runs;
        go_on
    }

    /// Reports a date that stands alone, if it could be of birth.
    fn date(&mut self, start: usize, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let dates = [(0, 4), (5, 7), (8, 10)].map(|(from, to)| Span { start: start + from, end: start + to });
        self.day = dates[2].start;
        !self.is_birth(&dates) || self.tell(&dates, visit)
    }

    fn tell(&mut self, runs: &[Span], visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        self.told = runs.last().map_or(self.told, |run| run.end);
        visit(Sight::Number(runs))
    }

    /// Reports IPv6 and MAC addresses that contain a judged run of `window`.
    pub(super) fn look_for_hardware(&self, window: &Window, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let mut rest = window.judged();
        while rest != 0 {
            let at = window.at + rest.trailing_zeros() as usize;
            let start = at - digits_before(self.text, at);
            let end = at + digits_at(self.text, at);
            if !self.is_in_hardware(Span { start, end }, visit) {
                return false;
            }
            rest = match end - window.at {
                behind @ 0..BLOCK => rest & u64::MAX << behind,
                _ => 0,
            };
        }
        true
    }

    /// Reports an IPv6 or MAC address that contains `run`; false if `visit` returned false.
    #[inline]
    pub(in crate::mask::gate) fn is_in_hardware(&self, run: Span, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let kind = |at: usize| self.text.get(at).map_or(0, |byte| KINDS[usize::from(*byte)]);
        let beside = kind(run.start.wrapping_sub(1)) | kind(run.end);
        let is_part = beside & (HEX | COLON) != 0 || beside & DOT != 0 && run.end - run.start == 4;
        !is_part || self.tell_of_hardware(run, beside, visit)
    }

    #[inline(never)]
    fn tell_of_hardware(&self, run: Span, beside: u8, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let (hosts, macs) = (self.wanted.addresses, self.wanted.macs);
        !(hosts && has_double_colon(self.text, run) && !visit(Sight::At(Signal::Colons, run.start))
            || macs
                && beside & (HEX | DOT) != 0
                && is_dotted(self.text, run)
                && !visit(Sight::At(Signal::Mac, run.start)))
    }

    /// Reports a cluster if it could be a value.
    #[inline(never)]
    fn tell_of(&mut self, runs: &mut Vec<Span>, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        if runs.is_empty() {
            return true;
        }
        let number = self.is_number(runs);
        let told = matches!(self.births, Births::All | Births::Near) && self.tells_birth(number, runs) || number;
        !told || self.tell(runs, visit)
    }

    /// Whether `runs` could be something other than a date.
    fn is_number(&self, runs: &[Span]) -> bool {
        let Wanted { digits: least, addresses, corsica, lettered, .. } = *self.wanted;
        let digits: usize = runs.iter().map(|run| run.end - run.start).sum();
        let is_dot = |pair: &&[Span]| self.text[pair[0].end..pair[1].start] == *b".";
        least.is_some_and(|least| digits >= least)
            || addresses && runs.len() > 3 && runs.windows(2).filter(is_dot).count() >= 3
            || corsica && self.is_beside_corsica(runs, digits)
            || lettered && runs.iter().any(|run| begins_lettered(self.text, *run))
    }

    /// Whether the `A` or `B` of a Corsican department is before or after `runs`.
    fn is_beside_corsica(&self, runs: &[Span], digits: usize) -> bool {
        runs.first().is_some_and(|first| before_corsican(self.text, first.start).is_some())
            || digits == BEFORE_CORSICA && runs.last().is_some_and(|last| is_corsican(self.text, last.end))
    }

    /// Whether `runs`, which may be another `number` as well, could be a date of birth. If they begin with a year whose day is
    /// before it, the day is inserted.
    fn tells_birth(&self, number: bool, runs: &mut Vec<Span>) -> bool {
        let year = runs.first().copied().filter(|year| is_year(self.text, *year));
        let day = year.and_then(|year| day_before(self.text, year));
        if let Some(day) = day.filter(|day| day.start >= self.told) {
            runs.insert(0, day);
        }
        // `May 4 1987`, where the month precedes both.
        let ends_dated = |pair: &[Span]| pair[0].end - pair[0].start <= 2 && is_year(self.text, pair[1]);
        let is_dated = || day.is_some() || runs.windows(3).any(is_dated) || runs.windows(2).any(ends_dated);
        let dated = self.births == Births::All || !number && is_dated();
        dated && self.is_birth(runs)
    }

    /// Whether a word for birth precedes or is within `runs`, or their key is one.
    fn is_birth(&self, runs: &[Span]) -> bool {
        /// How many bytes before a number a word for birth may be.
        const REACH: usize = 64;
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return false };
        match self.births {
            Births::All => true,
            Births::No | Births::Unknown => false,
            Births::Near => speaks_of_birth(&self.text[first.start.saturating_sub(REACH)..last.start]),
        }
    }
}
