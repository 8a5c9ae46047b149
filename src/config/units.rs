//! Durations and sizes as people write them.

use std::time::Duration;

/// A text that is not a quantity, and what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnitError {
    #[error("not a duration")]
    Duration,
    #[error("the number has no unit")]
    DurationWithoutUnit,
    #[error("this is not a rate")]
    Rate,
    #[error("not a percentage")]
    Share,
    #[error("not a size")]
    Size,
}

impl UnitError {
    /// How to write it.
    pub(crate) const fn help(self) -> &'static str {
        match self {
            Self::Duration | Self::DurationWithoutUnit => {
                "write a number and a unit, for example \"250ms\", \"30s\", \"5m\", \"1h 30m\" or \"7d\""
            }
            Self::Rate => "write calls and a unit, as in \"5/min\"; units are `s`, `min`, `h` and `day`",
            Self::Share => "write a number from 0 to 100 and a percent sign, for example \"10%\" or \"0.5%\"",
            Self::Size => "write a whole number and a unit, for example \"512 B\", \"64 KiB\", \"1 MiB\" or \"1 GiB\"",
        }
    }
}

/// Reads `"30s"` or `"1h 30m"`.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UnitError::DurationWithoutUnit);
    }
    humantime::parse_duration(text).map_err(|_| UnitError::Duration)
}

/// Largest number of calls of a rate.
pub(crate) const MOST_CALLS: u32 = 1_000_000;

/// Reads `"5/min"`: so many calls in that time.
pub(crate) fn rate(text: &str) -> Result<(u32, Duration), UnitError> {
    let (calls, unit) = text.split_once('/').ok_or(UnitError::Rate)?;
    let time = match unit.trim() {
        "s" | "sec" | "second" => Duration::from_secs(1),
        "m" | "min" | "minute" => Duration::from_mins(1),
        "h" | "hour" => Duration::from_hours(1),
        "d" | "day" => Duration::from_hours(24),
        _ => return Err(UnitError::Rate),
    };
    match calls.trim().parse() {
        Ok(calls) if (1..=MOST_CALLS).contains(&calls) => Ok((calls, time)),
        _ => Err(UnitError::Rate),
    }
}

/// Reads `"10%"` as `0.1`.
pub(crate) fn share(text: &str) -> Result<f64, UnitError> {
    let number = text.trim().strip_suffix('%').ok_or(UnitError::Share)?.trim_end();
    // `f64` also reads words and exponents.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = number.parse().map_err(|_| UnitError::Share)?;
    if plain && (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err(UnitError::Share) }
}

/// Reads `"1 MiB"` or `"1048576"` as bytes.
pub(crate) fn size(text: &str) -> Result<usize, UnitError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(UnitError::Size)?;
    let number: usize = number.parse().map_err(|_| UnitError::Size)?;
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        _ => return Err(UnitError::Size),
    };
    number.checked_mul(factor).ok_or(UnitError::Size)
}

/// `1 MiB`, exact: the largest unit that leaves a whole number.
pub(crate) fn show_size(bytes: usize) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// `5m`, `1h 30m`.
pub(crate) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Duration, UnitError, duration, rate, share, show_size, size};

    #[test]
    fn reads_durations() {
        for (text, millis) in [("250ms", 250), ("30s", 30_000), (" 5m ", 300_000), ("1h 30m", 5_400_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("30"), Err(UnitError::DurationWithoutUnit));
        for text in ["", "s", "-1s", "1.5x", "30 bananas", "٣s", "99999999999999999999s"] {
            assert_eq!(duration(text), Err(UnitError::Duration), "{text}");
        }
    }

    #[test]
    fn reads_rates() {
        for (text, read) in
            [("5/min", (5, 60)), ("1 / s", (1, 1)), ("1000000/day", (1_000_000, 86_400)), ("2/h", (2, 3600))]
        {
            assert_eq!(rate(text), Ok((read.0, Duration::from_secs(read.1))), "{text}");
        }
        for text in ["", "5", "5/", "/min", "0/min", "-1/min", "1.5/min", "1000001/s", "5/week", "5/min/min"] {
            assert_eq!(rate(text), Err(UnitError::Rate), "{text}");
        }
    }

    #[test]
    fn reads_shares() {
        for (text, read) in [("0%", 0.0), ("100%", 1.0), (" 50 % ", 0.5), ("0.5%", 0.005), ("012.50%", 0.125)] {
            assert_eq!(share(text), Ok(read), "{text}");
        }
        for text in ["", "%", "10", "0.1", "100.1%", "-1%", "+1%", "1e1%", "inf%", "NaN%", "1%%", ".%"] {
            assert_eq!(share(text), Err(UnitError::Share), "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("512 B", 512), ("64KiB", 65_536), ("1 mib", 1 << 20), ("2 MB", 2_000_000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5 MiB", "1 M", "1 MiB!", "99999999999999999999", "99999999999999999 GiB"] {
            assert_eq!(size(text), Err(UnitError::Size), "{text}");
        }
    }

    #[test]
    fn shows_sizes_exactly() {
        for (bytes, text) in [(0, "0 B"), (1000, "1000 B"), (1 << 20, "1 MiB"), (1536, "1536 B"), (3 << 30, "3 GiB")] {
            assert_eq!(show_size(bytes), text);
            assert_eq!(size(text), Ok(bytes));
        }
    }
}
