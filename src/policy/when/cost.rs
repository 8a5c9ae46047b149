//! The most an expression may cost, in nanoseconds, as a function of the length of the lists it iterates over.

use std::ops::Add;

/// The most nanoseconds of an evaluation with every value at its cap.
pub(super) const MOST: u64 = 50_000;
/// An expression must be able to handle lists of at least this length.
const FEWEST: usize = 4;

/// A node of the expression: a lookup or a call.
pub(super) const NODE: u64 = 80;
/// One iteration of a comprehension, without its body.
pub(super) const ROUND: u64 = 600;
/// Searching a string at its cap.
pub(super) const TEXT: u64 = 3_000;
/// Matching a string at its cap with a pattern.
pub(super) const MATCH: u64 = 20_000;
/// Comparing two values at their caps, or searching a list for one.
pub(super) const COMPARE: u64 = 8_000;
/// Copying a value at its cap.
pub(super) const COPY: u64 = 20_000;

/// `once + per_item * n + per_pair * n * n` for lists of `n` items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    once: u64,
    per_item: u64,
    per_pair: u64,
}

impl Cost {
    pub(super) const fn once(nanoseconds: u64) -> Self {
        Self { once: nanoseconds, per_item: 0, per_pair: 0 }
    }

    /// A comprehension with that body over a list of length `n`.
    pub(super) const fn over_list(self) -> Self {
        let once = self.once.saturating_add(ROUND);
        // There are no higher powers, as comprehensions are nested at most once.
        Self { once: 0, per_item: once, per_pair: self.per_item }
    }

    /// A comprehension with that body over a literal list.
    pub(super) const fn times(self, count: u64) -> Self {
        let once = self.once.saturating_add(ROUND).saturating_mul(count);
        Self { once, per_item: self.per_item.saturating_mul(count), per_pair: self.per_pair.saturating_mul(count) }
    }

    const fn at(self, length: u64) -> u64 {
        let items = self.per_item.saturating_mul(length);
        let pairs = self.per_pair.saturating_mul(length).saturating_mul(length);
        self.once.saturating_add(items).saturating_add(pairs)
    }

    /// The longest list, up to `cap`, with which it stays within [`MOST`]; `None` if that is shorter than [`FEWEST`].
    pub(super) fn longest(self, cap: usize) -> Option<usize> {
        (FEWEST..=cap).rev().find(|length| self.at(*length as u64) <= MOST)
    }

    /// The cost with lists of length [`FEWEST`], in whole microseconds.
    pub(super) fn microseconds(self) -> u64 {
        self.at(FEWEST as u64) / 1000
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            once: self.once.saturating_add(other.once),
            per_item: self.per_item.saturating_add(other.per_item),
            per_pair: self.per_pair.saturating_add(other.per_pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cost;

    #[test]
    fn lists_are_as_long_as_time_allows() {
        assert_eq!(Cost::once(500).longest(256), Some(256));
        assert_eq!(Cost::once(400).over_list().longest(256), Some(50));
        assert_eq!(Cost::once(400).over_list().over_list().longest(256), Some(6));
        assert_eq!(Cost::once(400).times(10).longest(256), Some(256));
        assert_eq!(Cost::once(50_001).longest(256), None);
        assert_eq!(Cost::once(u64::MAX).over_list().over_list().times(9).longest(256), None);
    }
}
