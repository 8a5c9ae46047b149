//! Where values crowd: to judge each number there costs more than to ask recognisers about all, so all are taken.

use fearless_simd::Simd;

use super::Sight;
use super::beside::{digits_at, gap_at};
use super::coarse::BLOCK;
use super::numbers::Clusters;
use super::points::Points;
use super::runs::runs_in;
use crate::json::Span;

/// Bytes at the beginning of a text whose numbers are taken: short texts that are looked at closely mostly hold a value.
const FIRST: usize = 256;
/// Bytes whose numbers are taken before it is asked again whether values crowd.
const STRETCH: usize = 4096;
/// Numbers that are handed on together.
const TOGETHER: usize = 256;
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
    points: Points,
}

impl Crowd {
    /// None: every number is judged.
    pub(super) const NONE: Self = Self { from: None, until: 0, told: [0; 3], stretch: 0, points: Points::NONE };

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
    /// Takes all `digits` of the block at `at`, and what was judged since the last number that was told of; false if `visit`
    /// was.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the instructions of the pass over all blocks")]
    pub(super) fn take<S: Simd>(
        &mut self,
        simd: S,
        at: usize,
        digits: u64,
        crowd: &mut Crowd,
        visit: &mut dyn FnMut(Sight<'_>) -> bool,
    ) -> bool {
        let text = self.text;
        if crowd.from.is_none() {
            crowd.from = Some(self.told);
            runs_in(text, Span { start: self.told, end: at }, &mut self.taken);
            // Of a number that goes on the beginning may have been judged, which alone was nothing.
            self.judged = self.taken.last().map_or(self.told, |run| run.end);
        }
        let known = self.taken.len();
        let mut rest = self.left_of(at, digits);
        while rest != 0 {
            let bit = rest.trailing_zeros();
            let behind = (rest >> bit).trailing_ones().wrapping_add(bit) as usize;
            let end = at.wrapping_add(behind);
            let end = if behind < BLOCK { end } else { end + digits_at(text, end) };
            self.taken.push(Span { start: at.wrapping_add(bit as usize), end });
            rest &= rest.wrapping_add(rest & rest.wrapping_neg());
        }
        self.note_taken();
        if self.asks_for_points() && crowd.points.are_near(simd, text, at) && !self.tell_of_points(known, visit) {
            return false;
        }
        self.taken.len() < TOGETHER || self.tell_taken(visit)
    }

    /// Whether addresses are looked for that have points close together.
    const fn asks_for_points(&self) -> bool {
        self.wanted.addresses || self.wanted.macs
    }

    /// Tells of addresses that runs stand in which were taken, from that one on.
    #[cold]
    fn tell_of_points(&self, first: usize, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        self.taken.iter().skip(first).all(|run| self.is_in_hardware(*run, visit))
    }

    fn note_taken(&mut self) {
        if let Some(last) = self.taken.last() {
            (self.judged, self.behind, self.told) = (last.end, last.end, last.end);
            if last.end - last.start <= 2 {
                self.day = last.start;
            }
        }
    }

    /// Takes what is left of the number that a crowd ends in, so that the next is judged from its beginning, and hands on all
    /// that was taken.
    pub(super) fn take_rest(&mut self, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let mut end = self.judged;
        while let Some(gap) = gap_at(self.text, end) {
            let start = end + gap;
            end = start + digits_at(self.text, start);
            let run = Span { start, end };
            if !self.is_in_hardware(run, visit) {
                return false;
            }
            self.taken.push(run);
        }
        self.note_taken();
        self.tell_taken(visit)
    }

    /// Hands on what was taken.
    pub(super) fn tell_taken(&mut self, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let go_on = self.taken.is_empty() || visit(Sight::Number(&self.taken));
        self.taken.clear();
        go_on
    }
}
