//! Dense stretches of values: there, judging each number costs more than giving all of them to the recognisers.

use fearless_simd::Simd;

use super::Sight;
use super::beside::{digits_at, gap_at};
use super::coarse::BLOCK;
use super::numbers::Clusters;
use super::points::Points;
use super::runs::runs_in;
use crate::json::Span;

/// How many bytes at the beginning of a text are treated as dense: a short text that is surveyed mostly contains a value.
const FIRST: usize = 256;
/// How many bytes after the last of several close values are treated as dense.
const STRETCH: usize = 4096;
/// How many runs are reported together.
const TOGETHER: usize = 256;
/// Values are dense if the last few reported numbers end within that many bytes.
const CLOSE: usize = 384;

/// The stretch of a text in which all numbers are collected without being judged.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Where it begins; `None` if it was left.
    from: Option<usize>,
    /// Blocks that begin from here on are after it.
    until: usize,
    /// The ends of the numbers reported last.
    told: [usize; 3],
    stretch: usize,
    points: Points,
}

impl Crowd {
    /// No dense stretch: every number is judged.
    pub(super) const NONE: Self = Self { from: None, until: 0, told: [0; 3], stretch: 0, points: Points::NONE };

    /// The dense stretches of a text, with the usual lengths.
    pub(super) const fn new() -> Self {
        Self::of(FIRST, STRETCH)
    }

    /// The same with other lengths.
    pub(super) const fn of(first: usize, stretch: usize) -> Self {
        Self { from: Some(0), until: first, stretch, ..Self::NONE }
    }

    /// Whether the block at `at` is in a dense stretch.
    pub(super) const fn has(&self, at: usize) -> bool {
        at < self.until
    }

    /// Whether all of `word` is in a dense stretch.
    pub(super) fn has_all(&self, word: Span) -> bool {
        self.from.is_some_and(|from| from <= word.start) && word.end <= self.until
    }

    /// Leaves the stretch, whose last number ended at `end`: a number reported soon after that starts the next. Returns false
    /// if there was none to leave.
    pub(super) const fn leave(&mut self, end: usize) -> bool {
        let left = self.from.take().is_some();
        if left {
            self.told = [end; 3];
        }
        left
    }

    /// Notes that a number that ends at `end` was reported.
    pub(super) fn note(&mut self, end: usize) {
        let [third, second, first] = self.told;
        self.told = [second, first, end];
        if third > 0 && end - third <= CLOSE {
            self.until = end + self.stretch;
        }
    }
}

impl Clusters<'_> {
    /// Collects all `digits` of the block at `at`, and those judged since the last reported number; false if `visit` returned
    /// false.
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
            // The beginning of a number that continues here may have been judged, and dismissed by itself.
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

    /// Whether IPv6 or MAC addresses are wanted, which have colons or dots close together.
    const fn asks_for_points(&self) -> bool {
        self.wanted.addresses || self.wanted.macs
    }

    /// Reports addresses that contain a collected run, from the run `first` on.
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

    /// Collects the rest of the number in which a dense stretch ends, so that the next one is judged from its beginning, and
    /// reports everything collected.
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

    /// Reports what was collected.
    pub(super) fn tell_taken(&mut self, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let go_on = self.taken.is_empty() || visit(Sight::Number(&self.taken));
        self.taken.clear();
        go_on
    }
}
