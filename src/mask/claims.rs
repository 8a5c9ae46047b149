//! Which recognisers examine a number: those that could match by its length and surroundings, until one does.

use super::Entity;
use super::gate::joins;
use super::recognisers::{Claim, NUMBERS, Text};
use crate::json::Span;

/// The recognisers of numbers of one plan, with tables of bit sets that tell which of them a run of digits could be for.
#[derive(Debug)]
pub(super) struct Claims {
    /// Each with the index of its entity, strongest proof first.
    able: Vec<(&'static Claim, usize)>,
    /// By the length of the run.
    lengths: [u32; u32::BITS as usize],
    /// By the number of digits from the run on.
    digits: [u32; ENOUGH + 1],
    /// By the bytes immediately before and after it.
    before: [u32; 256],
    behind: [u32; 256],
    /// Those that allow a letter and then a space or dash before it.
    parted: u32,
}

/// The byte assumed beyond the edges of a text.
const EDGE: u8 = b'\n';

/// All byte values.
const BYTES: [u8; 256] = {
    let (mut bytes, mut byte) = ([0; 256], u8::MAX);
    while byte > 0 {
        bytes[byte as usize] = byte;
        byte -= 1;
    }
    bytes
};

/// No recogniser requires more digits.
const ENOUGH: usize = 16;

impl Claims {
    /// The recognisers of the entities for which `place` gives an index.
    pub(super) fn of(place: impl Fn(Entity) -> Option<usize>) -> Self {
        let able: Vec<_> = NUMBERS.iter().filter_map(|claim| Some((claim, place(claim.entity)?))).collect();
        let those = |takes: &dyn Fn(&Claim) -> bool| {
            able.iter().enumerate().fold(0, |bits, (bit, (claim, _))| bits | u32::from(takes(claim)) << bit)
        };
        Self {
            lengths: std::array::from_fn(|length| those(&|claim| claim.lengths >> length & 1 == 1)),
            digits: std::array::from_fn(|digits| those(&|claim| claim.has_enough(digits))),
            before: BYTES.map(|byte| those(&|claim| claim.may_follow(byte))),
            behind: BYTES.map(|byte| those(&|claim| claim.may_precede(byte))),
            parted: those(&Claim::may_be_parted),
            able,
        }
    }

    /// The recognisers that allow the bytes immediately before and after `run`.
    fn beside(&self, bytes: &[u8], run: Span) -> u32 {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(EDGE);
        let before = byte(run.start.wrapping_sub(1));
        let is_parted = matches!(before, b' ' | b'-') && byte(run.start.wrapping_sub(2)).is_ascii_alphabetic();
        let before = if is_parted { self.parted } else { self.before[usize::from(before)] };
        before & self.behind[usize::from(byte(run.end))]
    }

    /// Calls `visit` with each number a recogniser claims, and the index of its entity.
    pub(super) fn each(&self, seen: &Text<'_>, mut visit: impl FnMut(Span, usize)) {
        let mut index = 0;
        while let Some(run) = seen.runs.get(index) {
            let length = (run.end - run.start).min(self.lengths.len() - 1);
            let mut able = self.lengths[length] & self.beside(seen.bytes(), *run);
            // The digits of the following runs are only counted if that decides something.
            if able & !self.digits[length.min(ENOUGH)] != 0 {
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

/// The number of digits from run `first` on that are close enough to be one number; counted up to [`ENOUGH`].
fn digits_from(seen: &Text<'_>, first: usize) -> usize {
    let Some((run, behind)) = seen.runs.get(first..).and_then(<[Span]>::split_first) else { return 0 };
    let (mut digits, mut end) = (run.end.wrapping_sub(run.start), run.end);
    for run in behind {
        if digits >= ENOUGH || !seen.bytes().get(end..run.start).is_some_and(joins) {
            break;
        }
        digits = digits.wrapping_add(run.end.wrapping_sub(run.start));
        end = run.end;
    }
    digits.min(ENOUGH)
}
