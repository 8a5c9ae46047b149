//! Memory that is used again from text to text: what stands in it is positions, and none outlives its text.

use super::found::Match;
use crate::json::Span;
use crate::mask::gate::Survey;

/// What is noted of one text.
#[derive(Debug, Default)]
pub(in crate::mask) struct Scratch {
    pub(super) survey: Survey,
    pub(super) spans: Vec<Span>,
    pub(super) urls: Vec<Span>,
    /// Values that are no numbers, in order, each with the place of its entity.
    pub(super) words: Vec<(Span, usize)>,
    pub(super) matches: Vec<Match>,
}
