//! The matches in a text, and the decodings they were found in.

use super::Spot;
use crate::json::Span;
use crate::mask::applied::Applied;
use crate::mask::own::Written;
use crate::mask::shadow::Shadow;

/// A value some rule looks for.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rule: usize,
    pub(super) kind: Kind,
    /// The replacement; `None` if that is the name in brackets, or if nothing is replaced.
    pub(super) written: Option<Box<str>>,
}

/// What a match is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The entity with that index in the plan.
    Entity(usize),
    Pattern,
    /// The restored value with that index.
    Restored(usize),
}

impl Match {
    pub(super) const fn span(&self) -> Span {
        Span { start: self.start, end: self.end }
    }
}

/// The matches in a text.
pub(super) struct Found<'f> {
    pub(super) matches: &'f mut Vec<Match>,
    pub(super) spot: Spot<'f>,
    pub(super) applied: &'f Applied<'f>,
}

impl Found<'_> {
    /// Whether every rule acts here.
    pub(super) fn is_plain(&self) -> bool {
        self.applied.acts_always() && self.spot.left_alone.is_empty()
    }
}

/// Sorts `matches` by position; those of a single search are sorted already.
pub(super) fn put_in_order(matches: &mut [Match]) {
    if !matches.is_sorted_by_key(Match::span) {
        matches.sort_by_key(Match::span);
    }
}

/// Splits off the first of `matches`, which are in order, with all that overlap it or each other.
pub(super) fn first_cluster(matches: &mut [Match]) -> Option<(&mut [Match], &mut [Match])> {
    // Most matches overlap no other.
    if let [found, next, ..] = matches
        && found.end <= next.start
    {
        return matches.split_at_mut_checked(1);
    }
    let mut end = matches.first()?.end;
    let mut count = 1;
    while let Some(next) = matches.get(count).filter(|next| next.start < end) {
        end = end.max(next.end);
        count += 1;
    }
    Some(matches.split_at_mut(count))
}

/// A text with its successive decodings.
pub(super) struct Shown<'t> {
    pub(super) text: &'t str,
    pub(super) shadows: &'t [Shadow],
    /// Hashes and pseudonyms in the last of them, once they were searched for.
    pub(super) keyed: Option<Written>,
}

impl<'t> Shown<'t> {
    pub(super) fn last(&self) -> &'t str {
        self.shadows.last().map_or(self.text, Shadow::text)
    }

    /// The bytes of the text that a span of the last decoding comes from.
    pub(super) fn original(&self, span: Span) -> (usize, usize) {
        let back = |(start, end), shadow: &Shadow| shadow.original(start, end);
        self.shadows.iter().rev().fold((span.start, span.end), back)
    }
}
