//! Charts as SVG, in shades that can be told apart on paper.

use std::fmt::Write as _;

use super::timeline::Intervals;
use crate::clock::Timestamp;

/// What bars are of, from the bottom: their name and their shade.
pub(super) const SERIES: [(&str, &str); 3] =
    [("allowed", "#8fb4d8"), ("denied or step-up", "#a8332a"), ("refused", "#4d4d4d")];

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 170.0;
/// Room for numbers on the left, and for times below.
const LEFT: f64 = 58.0;
const BELOW: f64 = 22.0;

/// Bars over time.
pub(super) fn bars(intervals: &Intervals) -> String {
    let most = intervals.moments.iter().map(|moment| moment.all()).max().unwrap_or(0);
    let top = rounded(most);
    let slot = (WIDTH - LEFT) / float(intervals.moments.len() as u64);
    let high = |count: u64| float(count) / float(top) * (HEIGHT - 8.0);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Calls over time\">\n", HEIGHT + BELOW);
    for share in [0, 1, 2] {
        let count = top * share / 2;
        let y = HEIGHT - high(count);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"grid\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            grouped(count)
        );
    }
    let wide = (slot * 0.8).min(46.0);
    for (at, moment) in intervals.moments.iter().enumerate() {
        let x = LEFT + slot * float(at as u64) + (slot - wide) / 2.0;
        let mut y = HEIGHT;
        for (count, (name, shade)) in [moment.allowed, moment.denied, moment.refused].into_iter().zip(SERIES) {
            if count > 0 {
                // What is there at all is seen.
                let height = high(count).max(1.0);
                y -= height;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{height:.1}\" fill=\"{shade}\">\
                     <title>{}: {} {name}</title></rect>",
                    begin(intervals, at),
                    grouped(count)
                );
            }
        }
    }
    let every = intervals.moments.len().div_ceil(6).max(1);
    for at in (0..intervals.moments.len()).step_by(every) {
        let x = LEFT + slot * (float(at as u64) + 0.5);
        let anchor = if at == 0 && slot < 120.0 { "start" } else { "middle" };
        let x = if anchor == "start" { LEFT } else { x };
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            HEIGHT + 16.0,
            begin(intervals, at)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// One bar lying down, whose parts are `counts` of at most `most`.
pub(super) fn bar(counts: [u64; 3], most: u64) -> String {
    let mut svg = "<svg viewBox=\"0 0 160 12\" class=\"bar\" aria-hidden=\"true\">".to_owned();
    let mut x = 0.0;
    for (count, (_, shade)) in counts.into_iter().zip(SERIES) {
        if count > 0 {
            let wide = (float(count) / float(most.max(1)) * 160.0).max(1.0);
            let _ = write!(svg, "<rect x=\"{x:.1}\" y=\"1\" width=\"{wide:.1}\" height=\"10\" fill=\"{shade}\"/>");
            x += wide;
        }
    }
    svg.push_str("</svg>");
    svg
}

/// When an interval begins, as precise as it is long.
fn begin(intervals: &Intervals, at: usize) -> String {
    let start = intervals.start.unix_seconds();
    let start = start.saturating_add(i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(intervals.seconds));
    let text = String::from_utf8_lossy(&Timestamp::from_unix_seconds(start).rfc3339()).into_owned();
    let (date, clock) = (text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
    if intervals.seconds >= 86_400 { date.to_owned() } else { format!("{} {clock}", date.get(5..).unwrap_or_default()) }
}

/// How long an interval is, in words.
pub(super) fn length(seconds: i64) -> String {
    let (count, unit) = match seconds {
        86_400.. => (seconds / 86_400, "day"),
        3600.. => (seconds / 3600, "hour"),
        _ => (seconds / 60, "minute"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

/// The next number of one digit and zeros, even so that its half is whole.
fn rounded(most: u64) -> u64 {
    let mut unit: u64 = 1;
    while most / unit >= 20 {
        unit = unit.saturating_mul(10);
    }
    most.div_ceil(unit * 2).max(1).saturating_mul(unit * 2)
}

/// `21 804`, with spaces at which no line breaks.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "a length on paper")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{grouped, length, rounded};

    #[test]
    fn numbers_read_well() {
        for (most, top) in [(0, 2), (1, 2), (3, 4), (17, 18), (21, 40), (199, 200), (1234, 1400), (98_765, 100_000)] {
            assert_eq!(rounded(most), top, "{most}");
        }
        for (number, text) in [(0, "0"), (999, "999"), (21_804, "21\u{a0}804"), (1_000_000, "1\u{a0}000\u{a0}000")] {
            assert_eq!(grouped(number), text);
        }
        for (seconds, text) in [(60, "1 minute"), (10_800, "3 hours"), (86_400, "1 day"), (604_800, "7 days")] {
            assert_eq!(length(seconds), text);
        }
    }
}
