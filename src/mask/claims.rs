//! Which recognisers are asked about a number: those that could claim it by its first run of digits, until one does.

use super::Entity;
use super::gate::joins;
use super::recognisers::{Claim, NUMBERS, Text};
use crate::json::Span;

/// The recognisers of numbers of one plan.
#[derive(Debug)]
pub(super) struct Claims {
    /// What is asked at a run of digits of each length: a recogniser, and the place of its entity.
    rows: Vec<Vec<(&'static Claim, usize)>>,
}

impl Claims {
    /// Those of the entities that have a `place`.
    pub(super) fn of(place: impl Fn(Entity) -> Option<usize>) -> Self {
        let row = |length: u32| {
            let able = NUMBERS.iter().filter(move |claim| claim.lengths >> length & 1 == 1);
            able.filter_map(|claim| Some((claim, place(claim.entity)?))).collect()
        };
        Self { rows: (0..u32::BITS).map(row).collect() }
    }

    /// Calls `visit` with each number that is claimed and the place of its entity.
    pub(super) fn each(&self, seen: &Text<'_>, mut visit: impl FnMut(Span, usize)) {
        let mut index = 0;
        while let Some(run) = seen.runs.get(index) {
            let (length, digits, beside) = (run.end - run.start, digits_from(seen, index), seen.beside(*run));
            let mut able = self.rows[length.min(self.rows.len() - 1)].iter();
            let claimed = able.find_map(|(claim, entity)| {
                let hit = if claim.may_take(digits, beside) { (claim.find)(seen, index) } else { None };
                Some((hit?, *entity))
            });
            if let Some((hit, entity)) = claimed {
                visit(Span { start: hit.start, end: hit.end }, entity);
                index = hit.last + 1;
            } else {
                index += 1;
            }
        }
    }
}

/// How many digits from run `first` on are close enough to be one number, as far as a recogniser asks.
fn digits_from(seen: &Text<'_>, first: usize) -> usize {
    /// No number needs more.
    const ENOUGH: usize = 16;
    let (mut last, mut digits) = (first, 0);
    while let Some(run) = seen.runs.get(last).filter(|_| digits < ENOUGH) {
        digits += run.end - run.start;
        if !seen.gap(last).is_some_and(joins) {
            break;
        }
        last += 1;
    }
    digits
}
