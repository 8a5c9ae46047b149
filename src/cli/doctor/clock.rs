//! Whether clocks agree: tokens carry times.

use http::HeaderMap;
use http::header::DATE;

use super::report::{Step, foreign};
use crate::clock::Timestamp;

/// What the proxy allows by default, and half of it.
const LEEWAY_SECONDS: i64 = 60;
const CLOSE_SECONDS: i64 = 30;

/// Compares the `Date` of an answer that came between two moments with the clock of this machine.
pub(super) fn compared(headers: &HeaderMap, before: Timestamp, after: Timestamp) -> Step {
    const NAME: &str = "clock";
    let Some(text) = headers.get(DATE).and_then(|date| date.to_str().ok()) else {
        return Step::unseen(NAME, "no Date in its answers");
    };
    let Some(theirs) = read(text) else {
        return Step::doubtful(
            NAME,
            format!("`{}` is no date", foreign(text)),
            "send Date as RFC 9110 section 5.6.7 has it",
        );
    };
    // `Date` has whole seconds, and a cache may have stored the answer for longer.
    let (early, late) = (before.unix_seconds() - 1, after.unix_seconds());
    let (off, word) = if theirs < early { (early - theirs, "behind") } else { ((theirs - late).max(0), "ahead") };
    match off {
        0..=CLOSE_SECONDS => Step::good(NAME, format!("within {CLOSE_SECONDS} s of this machine's")),
        ..=LEEWAY_SECONDS => {
            Step::doubtful(NAME, format!("{off} s {word} of this machine's"), "keep clocks by NTP; the leeway is 60 s")
        }
        _ => Step::failed(
            NAME,
            format!("{off} s {word} of this machine's: tokens look expired, or not valid yet"),
            "keep clocks by NTP on both sides",
        ),
    }
}

/// Seconds since the epoch of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7); nobody sends the obsolete forms.
fn read(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = *words else { return None };
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let number = |text: &str| text.parse::<u16>().ok().map(i64::from);
    let [hour, minute, second] = *time.split(':').map(number).collect::<Option<Vec<i64>>>()? else { return None };
    Some(days(number(year)?, month, number(day)?) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since the epoch (Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use http::header::DATE;
    use http::{HeaderMap, HeaderValue};

    use super::super::report::Outcome;
    use super::{compared, read};
    use crate::clock::Timestamp;

    #[test]
    fn reads_the_date_of_http() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37 1994", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_the_leeway_fails() {
        let at = |offset: i64| Timestamp::from_unix_seconds(784_111_777 + offset);
        let headers: HeaderMap =
            [(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"))].into_iter().collect();
        for (now, outcome) in [
            (at(0), Outcome::Good),
            (at(31), Outcome::Good),
            (at(-30), Outcome::Good),
            (at(45), Outcome::Doubtful),
            (at(-45), Outcome::Doubtful),
            (at(90), Outcome::Failed),
            (at(-90), Outcome::Failed),
        ] {
            assert_eq!(compared(&headers, now, now).outcome, outcome, "{now:?}");
        }
        assert_eq!(compared(&HeaderMap::new(), at(0), at(0)).outcome, Outcome::Unseen);
    }
}
