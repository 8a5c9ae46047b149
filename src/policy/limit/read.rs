use std::time::Duration;

use super::{Per, Spec};
use crate::config::{Problem, units};
use crate::policy::table::{Keys, Report, Table, Text, Words};

pub(in crate::policy) const LIMIT: Keys =
    Keys { table: "`limit`", known: &["rate", "burst", "concurrency", "per"], later: &[] };

/// Whose calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Client,
    Subject,
    Tool,
}

const PER: Words<Whose> =
    Words { known: &[("subject", Whose::Subject), ("client", Whose::Client), ("tool", Whose::Tool)], later: &[] };

/// The largest number in a limit, and the longest `timeout`.
const MOST: u32 = units::MOST_CALLS;
const LONGEST: Duration = Duration::from_hours(1);

/// Reads a rule's `limit`; `None` if something in it is wrong, which goes to `report`.
pub(in crate::policy) fn read(table: &Table<'_>, report: &mut Report<'_>) -> Option<Spec> {
    table.check(&LIMIT, report);
    if !table.has("rate") && !table.has("concurrency") {
        let problem = table.problem("a limit must say of what", "");
        report.error(problem.help("add `rate = \"5/min\"`, `concurrency = 2`, or both"));
        return None;
    }
    let rate = table.text("rate", report).map(|text| rate(&text, table, report));
    let burst = number(table, "burst", report);
    let concurrency = number(table, "concurrency", report);
    let per = per(table, report);
    if table.has("burst") && !table.has("rate") {
        report.error(table.problem("`burst` belongs to a `rate`", "").help("add `rate = \"5/min\"`"));
    }
    let rate = match rate {
        Some(rate) => {
            let (calls, time) = rate?;
            Some((calls, time, burst.unwrap_or(calls)))
        }
        None => None,
    };
    Some(Spec { rate, concurrency, per: per? })
}

/// Reads a rule's `timeout`.
pub(in crate::policy) fn timeout(table: &Table<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let text = table.text("timeout", report)?;
    match units::duration(text.get_ref()) {
        Ok(time) if time >= Duration::from_millis(1) && time <= LONGEST => return Some(time),
        Ok(_) => {
            let problem = Problem::error(table.source, text.span(), "a `timeout` is between 1 ms and 1 h", "");
            report.error(problem);
        }
        Err(error) => {
            let problem = Problem::error(table.source, text.span(), format!("`timeout`: {error}"), "");
            report.error(problem.help(error.help()));
        }
    }
    None
}

/// Reads a rate such as `"5/min"`.
fn rate(text: &Text, table: &Table<'_>, report: &mut Report<'_>) -> Option<(u32, Duration)> {
    units::rate(text.get_ref())
        .map_err(|error| {
            report.error(Problem::error(table.source, text.span(), error.to_string(), "").help(error.help()));
        })
        .ok()
}

fn number(table: &Table<'_>, key: &'static str, report: &mut Report<'_>) -> Option<u32> {
    let value = table.value(key)?;
    let number = value.get_ref().as_integer().and_then(|it| u32::from_str_radix(it.as_str(), it.radix()).ok());
    if let Some(number) = number.filter(|number| (1..=MOST).contains(number)) {
        return Some(number);
    }
    let message = format!("`{key}` must be a whole number from 1 to {MOST}");
    report.error(Problem::error(table.source, value.span(), message, ""));
    None
}

/// Reads `per`, one word or several. Without it all calls of the rule are counted together.
fn per(table: &Table<'_>, report: &mut Report<'_>) -> Option<Per> {
    let Some(value) = table.value("per") else { return Some(Per::default()) };
    let texts = if value.get_ref().is_str() { vec![table.text("per", report)?] } else { table.texts("per", report)? };
    let mut per = Per::default();
    for text in texts {
        match table.meaning("per", &text, &PER, report)? {
            Whose::Client => per.client = true,
            Whose::Subject => per.subject = true,
            Whose::Tool => per.tool = true,
        }
    }
    Some(per)
}
