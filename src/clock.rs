//! The only reader of clocks. Everything else takes the time as an argument.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment of wall-clock time, in nanoseconds since 1970-01-01T00:00:00Z; for claims, audit and `now`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than every other moment.
    pub const NEVER: Self = Self(i64::MAX);

    /// The moment of the call.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The moment that many whole seconds after the epoch; saturates at the year 2262.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Whole seconds since the epoch.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Whole milliseconds since the epoch.
    pub const fn unix_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The moment `duration` later.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How long it is from `self` to `later`; zero if `later` is not later.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_nanos(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds, 24 bytes.
    pub fn rfc3339(self) -> [u8; 24] {
        // Mostly it is asked for the second it was asked for last.
        let second = self.unix_seconds().max(0);
        let mut text = match LATEST.get() {
            (latest, text) if latest == second => text,
            _ => Self::from_unix_seconds(second).written(),
        };
        LATEST.set((second, text));
        let millis = u32::try_from(self.unix_millis().max(0) - second * 1000).unwrap_or(0);
        [text[20], text[21]] = PAIRS[millis as usize / 10 % 100];
        text[22] = b'0' + (millis % 10).to_le_bytes()[0];
        text
    }

    /// RFC 3339, with the milliseconds left at zero.
    fn written(self) -> [u8; 24] {
        const DAY: u64 = 86_400_000;
        let millis = u64::try_from(self.unix_millis()).unwrap_or(0);
        // Both fit: the last moment there is lies in the year 2262.
        let days = u32::try_from(millis / DAY).unwrap_or(0);
        let in_day = u32::try_from(millis % DAY).unwrap_or(0);
        let (year, month, day) = civil(days);
        let mut out = *b"0000-00-00T00:00:00.000Z";
        let mut put = |from: usize, number: u32| {
            [out[from], out[from + 1]] = PAIRS[number as usize % 100];
        };
        put(0, year / 100);
        put(2, year % 100);
        put(5, month);
        put(8, day);
        put(11, in_day / 3_600_000);
        put(14, in_day / 60_000 % 60);
        put(17, in_day / 1000 % 60);
        out
    }
}

thread_local! {
    /// The second whose text was made last, and that text.
    static LATEST: Cell<(i64, [u8; 24])> = const { Cell::new((i64::MIN, [0; 24])) };
}

/// The two digits of every number below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1_u8;
    }
    pairs
};

/// Year, month and day of a count of days since the epoch (Hinnant's `civil_from_days`).
const fn civil(days: u32) -> (u32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + (month <= 2) as u32, month, of_year - (153 * shifted_month + 2) / 5 + 1)
}

/// A reading of the monotonic clock, for everything that measures.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Timestamp;

    #[test]
    fn prints_rfc3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_614_400, "2026-01-05T12:00:00.000Z"),
            (4_102_444_799, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(std::str::from_utf8(&Timestamp::from_unix_seconds(seconds).rfc3339()).unwrap(), text);
        }
        // Other moments of the same second, the next one, and what is before the epoch.
        let noon = Timestamp::from_unix_seconds(1_767_614_400);
        for (millis, end) in [(7, "00.007Z"), (999, "00.999Z"), (0, "00.000Z"), (1_070, "01.070Z"), (59_999, "59.999Z")]
        {
            let text = noon.plus(Duration::from_millis(millis)).rfc3339();
            assert_eq!(std::str::from_utf8(&text).unwrap(), format!("2026-01-05T12:00:{end}"));
        }
        assert_eq!(&Timestamp::from_unix_seconds(-1).rfc3339(), b"1970-01-01T00:00:00.000Z");
    }
}
