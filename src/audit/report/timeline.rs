use std::collections::BTreeMap;

use crate::clock::Timestamp;

/// The most intervals kept; beyond that they become wider.
const KEPT: usize = 4096;
/// The most intervals shown.
const SHOWN: i64 = 72;
/// How long an interval can be, in seconds, each a multiple of the one before: from a minute to a year of 52 weeks.
const WIDTHS: [i64; 11] = [60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_419_200, 31_449_600];
/// A Monday at midnight: weeks begin there.
const MONDAY: i64 = 345_600;

/// Counts over time, in intervals as narrow as memory allows.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    counts: BTreeMap<i64, Moment>,
    width: usize,
}

/// What happened in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) allowed: u64,
    /// Denied, or asked for more scopes.
    pub(super) denied: u64,
    pub(super) refused: u64,
}

impl Moment {
    pub(super) const fn all(self) -> u64 {
        self.allowed + self.denied + self.refused
    }

    const fn add(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.denied += other.denied;
        self.refused += other.refused;
    }
}

/// Intervals of one length without a gap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Intervals {
    /// When the first begins.
    pub(super) start: Timestamp,
    /// How long each is, in seconds.
    pub(super) seconds: i64,
    pub(super) moments: Vec<Moment>,
}

impl Timeline {
    pub(super) fn at(&mut self, time: Timestamp) -> &mut Moment {
        let at = time.unix_seconds();
        while self.counts.len() >= KEPT && self.width + 1 < WIDTHS.len() {
            self.width += 1;
            self.counts = widened(&self.counts, WIDTHS[self.width]);
        }
        self.counts.entry(begin(at, WIDTHS[self.width])).or_default()
    }

    /// The intervals to show: few enough to be told apart.
    pub(super) fn intervals(&self) -> Option<Intervals> {
        let (first, last) = (*self.counts.keys().next()?, *self.counts.keys().next_back()?);
        let fits = |width: i64| (begin(last, width) - begin(first, width)) / width < SHOWN;
        let width = WIDTHS[self.width..].iter().copied().find(|width| fits(*width));
        let width = width.unwrap_or(WIDTHS[WIDTHS.len() - 1]);
        let counts = widened(&self.counts, width);
        let start = begin(first, width);
        let at = |index: i64| counts.get(&(start + index * width)).copied().unwrap_or_default();
        let moments = (0..=(begin(last, width) - start) / width).map(at).collect();
        Some(Intervals { start: Timestamp::from_unix_seconds(start), seconds: width, moments })
    }
}

const fn begin(at: i64, width: i64) -> i64 {
    (at - MONDAY).div_euclid(width) * width + MONDAY
}

fn widened(counts: &BTreeMap<i64, Moment>, width: i64) -> BTreeMap<i64, Moment> {
    let mut wider: BTreeMap<i64, Moment> = BTreeMap::new();
    for (at, moment) in counts {
        wider.entry(begin(*at, width)).or_default().add(*moment);
    }
    wider
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Timeline, WIDTHS};
    use crate::clock::Timestamp;

    #[test]
    fn intervals_are_as_wide_as_the_period_wants() {
        // 2026-11-22T12:00:00Z, a Sunday.
        let noon = 1_795_348_800;
        for (last, seconds, count) in [
            (0, 60, 1),
            (59, 60, 1),
            (3600, 60, 61),
            (86_400, 3600, 25),
            (7 * 86_400, 10_800, 57),
            (30 * 86_400, 43_200, 61),
            (190 * 86_400, 604_800, 29),
            (3 * 365 * 86_400, 2_419_200, 41),
            (30 * 365 * 86_400, 31_449_600, 31),
        ] {
            let mut timeline = Timeline::default();
            timeline.at(Timestamp::from_unix_seconds(noon)).allowed += 1;
            timeline.at(Timestamp::from_unix_seconds(noon + last)).denied += 2;
            let intervals = timeline.intervals().unwrap();
            assert_eq!((intervals.seconds, intervals.moments.len()), (seconds, count), "{last}");
            assert!(intervals.start.unix_seconds() <= noon);
            assert_eq!(intervals.moments.iter().map(|moment| moment.all()).sum::<u64>(), 3);
        }
        assert_eq!(Timeline::default().intervals(), None);
    }

    #[test]
    fn memory_is_bounded_and_no_count_is_lost() {
        let mut timeline = Timeline::default();
        for minute in 0..100_000 {
            timeline.at(Timestamp::from_unix_seconds(minute * 60)).refused += 1;
        }
        assert!(timeline.counts.len() <= KEPT);
        let intervals = timeline.intervals().unwrap();
        assert!(intervals.moments.len() <= 72);
        assert_eq!(intervals.moments.iter().map(|moment| moment.refused).sum::<u64>(), 100_000);
        assert!(WIDTHS.windows(2).all(|pair| pair[1] % pair[0] == 0), "each holds whole ones");
    }
}
