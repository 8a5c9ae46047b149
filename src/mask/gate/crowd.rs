//! Where values crowd: to judge each number there costs more than to ask recognisers about all, so all are taken.

use super::Sight;
use super::beside::{digits_at, gap_at};
use super::coarse::BLOCK;
use super::numbers::Clusters;
use super::runs::runs_in;
use crate::json::Span;

/// Bytes at the beginning of a text whose numbers are taken: short texts that are looked at closely mostly hold a value.
const FIRST: usize = 256;
/// Bytes whose numbers are taken before it is asked again whether values crowd.
const STRETCH: usize = 4096;
/// Bytes among which as many numbers as are remembered were told of, if values crowd.
const CLOSE: usize = 384;

/// The stretch of a text in which all numbers are taken.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Where it begins, if it was not left.
    from: Option<usize>,
    /// The first byte behind it that a block may begin with.
    until: usize,
    /// Where the numbers ended that were told of last.
    told: [usize; 3],
    stretch: usize,
}

impl Crowd {
    /// None: every number is judged.
    pub(super) const NONE: Self = Self { from: None, until: 0, told: [0; 3], stretch: 0 };

    /// A text whose numbers are taken as far as values crowd.
    pub(super) const fn new() -> Self {
        Self::of(FIRST, STRETCH)
    }

    /// The same with other lengths of what is taken.
    pub(super) const fn of(first: usize, stretch: usize) -> Self {
        Self { from: Some(0), until: first, stretch, ..Self::NONE }
    }

    /// Whether the numbers of the block at `at` are taken.
    pub(super) const fn has(&self, at: usize) -> bool {
        at < self.until
    }

    /// Whether all digits of `word` are taken.
    pub(super) fn has_all(&self, word: Span) -> bool {
        self.from.is_some_and(|from| from <= word.start) && word.end <= self.until
    }

    /// Notes that numbers are judged again, the last of which ended at `end`: one that is told of not far behind goes on
    /// with the crowd. False if they were not taken before.
    pub(super) const fn leave(&mut self, end: usize) -> bool {
        let left = self.from.take().is_some();
        if left {
            self.told = [end; 3];
        }
        left
    }

    /// Notes that a number was told of that ends at `end`.
    pub(super) fn note(&mut self, end: usize) {
        let [third, second, first] = self.told;
        self.told = [second, first, end];
        if third > 0 && end - third <= CLOSE {
            self.until = end + self.stretch;
        }
    }
}

impl Clusters<'_> {
    /// Hands on all `digits` of the block at `at`, and what was judged since the last number that was told of.
    pub(super) fn take(
        &mut self,
        at: usize,
        digits: u64,
        crowd: &mut Crowd,
        visit: &mut dyn FnMut(Sight<'_>) -> bool,
    ) -> bool {
        let text = self.text;
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        if crowd.from.is_none() {
            crowd.from = Some(self.told);
            runs_in(text, Span { start: self.told, end: at }, &mut runs);
            // Of a number that goes on the beginning may have been judged, which alone was nothing.
            self.judged = runs.last().map_or(self.told, |run| run.end);
        }
        let mut rest = self.left_of(at, digits);
        while rest != 0 {
            let bit = rest.trailing_zeros();
            let behind = (rest >> bit).trailing_ones() as usize + bit as usize;
            let end = at + behind;
            let end = if behind < BLOCK { end } else { end + digits_at(text, end) };
            runs.push(Span { start: at + bit as usize, end });
            rest &= rest.wrapping_add(rest & rest.wrapping_neg());
        }
        self.tell_taken(runs, visit)
    }

    /// Hands on what is left of the number that a crowd ends in, so that the next is judged from its beginning.
    pub(super) fn take_rest(&mut self, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        let mut end = self.judged;
        while let Some(gap) = gap_at(self.text, end) {
            let start = end + gap;
            end = start + digits_at(self.text, start);
            runs.push(Span { start, end });
        }
        self.tell_taken(runs, visit)
    }

    fn tell_taken(&mut self, runs: Vec<Span>, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let mut go_on = true;
        if let Some(last) = runs.last() {
            (self.judged, self.behind, self.told) = (last.end, last.end, last.end);
            self.note_day(&runs);
            go_on = runs.iter().all(|run| self.is_in_hardware(*run, visit)) && visit(Sight::Number(&runs));
        }
        self.runs = runs;
        go_on
    }
}
