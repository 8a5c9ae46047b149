//! Which recognisers are asked about a number: those that could claim it by its first run of digits, until one does.

use super::Entity;
use super::gate::joins;
use super::recognisers::{Claim, KINDS, NUMBERS, Text};
use crate::json::Span;

/// The recognisers of numbers of one plan, and which of them are worth asking: one bit each, of all that a run of digits shows.
#[derive(Debug)]
pub(super) struct Claims {
    /// Each with the place of its entity, strongest proof first.
    able: Vec<(&'static Claim, usize)>,
    /// By the length of the run.
    lengths: [u32; u32::BITS as usize],
    /// By the digits from there on.
    digits: [u32; ENOUGH + 1],
    /// By the kinds of bytes right before and right behind it.
    before: [u32; KINDS],
    behind: [u32; KINDS],
}

/// No number needs more digits.
const ENOUGH: usize = 16;

impl Claims {
    /// Those of the entities that have a `place`.
    pub(super) fn of(place: impl Fn(Entity) -> Option<usize>) -> Self {
        let able: Vec<_> = NUMBERS.iter().filter_map(|claim| Some((claim, place(claim.entity)?))).collect();
        let those = |takes: &dyn Fn(&Claim) -> bool| {
            able.iter().enumerate().fold(0, |bits, (bit, (claim, _))| bits | u32::from(takes(claim)) << bit)
        };
        Self {
            lengths: std::array::from_fn(|length| those(&|claim| claim.lengths >> length & 1 == 1)),
            digits: std::array::from_fn(|digits| those(&|claim| claim.has_enough(digits))),
            before: std::array::from_fn(|kind| those(&|claim| claim.may_follow(kind))),
            behind: std::array::from_fn(|kind| those(&|claim| claim.may_precede(kind))),
            able,
        }
    }

    /// Calls `visit` with each number that is claimed and the place of its entity.
    pub(super) fn each(&self, seen: &Text<'_>, mut visit: impl FnMut(Span, usize)) {
        let mut index = 0;
        while let Some(run) = seen.runs.get(index) {
            let ((before, behind), length) = (seen.beside(*run), (run.end - run.start).min(self.lengths.len() - 1));
            let mut able = self.lengths[length] & self.before[before] & self.behind[behind];
            if able != 0 {
                able &= self.digits[digits_from(seen, index)];
            }
            let mut last = index;
            while able != 0 {
                let (claim, entity) = self.able[able.trailing_zeros() as usize];
                if let Some(hit) = (claim.find)(seen, index) {
                    visit(Span { start: hit.start, end: hit.end }, entity);
                    last = hit.last;
                    break;
                }
                able &= able - 1;
            }
            index = last + 1;
        }
    }
}

/// How many digits from run `first` on are close enough to be one number, as far as a recogniser asks.
fn digits_from(seen: &Text<'_>, first: usize) -> usize {
    let (mut last, mut digits) = (first, 0);
    while let Some(run) = seen.runs.get(last).filter(|_| digits < ENOUGH) {
        digits += run.end - run.start;
        if !seen.gap(last).is_some_and(joins) {
            break;
        }
        last += 1;
    }
    digits.min(ENOUGH)
}
