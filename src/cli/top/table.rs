//! The picture as lines of text.

use std::cmp::Ordering;
use std::time::Duration;

use super::picture::{Issuer, Measured, Picture};

/// Which rows are shown, and how they are sorted.
#[derive(Default)]
pub(super) struct Order {
    /// Only rows with this text in a name.
    pub(super) filter: String,
    /// The column, from the left.
    pub(super) column: usize,
}

/// The number of columns to sort by: those of both tables.
pub(super) const COLUMNS: usize = 6;

/// One line, and how it looks in colour.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) look: Look,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    /// The head of a table.
    Head,
    /// Somebody should look at it.
    Bad,
}

impl Look {
    /// The sequence that begins it, if any.
    pub(super) const fn start(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Head => "\x1b[1m",
            Self::Bad => "\x1b[33m",
        }
    }
}

/// Everything, one table below the other. With `is_sorted_by` the head of the column it is sorted by is marked.
pub(super) fn render(picture: &Picture, order: &Order, is_sorted_by: bool) -> Vec<Line> {
    let mut lines = vec![process(picture)];
    if picture.process.reload_failed {
        lines.push(bad("the last reload failed: the configuration before it is in force"));
    }
    if picture.process.audit_dropped > 0.0 {
        lines.push(bad(format!("{} audit lines were not written", count(picture.process.audit_dropped))));
    }
    lines.push(plain(""));
    let heads = ["SERVER", "CALLS/S", "P50", "P99", "403", "DENIED", "401", "MASKED", "STREAMS", "UPSTREAM"];
    let named = |one: &Measured| {
        let tool = if one.tool == "_OTHER" { "(not called)" } else { &one.tool };
        format!("{}/{tool}", one.server)
    };
    // A server is shown with any of its tools.
    let has = |server: &str| picture.tools.iter().any(|one| one.server == server && named(one).contains(&order.filter));
    let mut servers = rows(&picture.servers, order, |one| one.server.clone(), has);
    lines.append(&mut table(&heads, &mut servers, is_sorted_by.then_some(order.column), |one, name| {
        let upstream = match one.up {
            Some(true) => "up".to_owned(),
            Some(false) => "down".to_owned(),
            None => "-".to_owned(),
        };
        let (counts, streams) = ([one.unauthorized, one.masked].map(count), count(one.streams));
        let [unauthorized, masked] = counts;
        shared(name, one).into_iter().chain([unauthorized, masked, streams, upstream]).collect()
    }));
    let mut tools = rows(&picture.tools, order, named, |_| false);
    if !tools.is_empty() {
        lines.push(plain(""));
        let heads = ["TOOL", "CALLS/S", "P50", "P99", "403", "DENIED", "FAILED"];
        lines.append(&mut table(&heads, &mut tools, is_sorted_by.then_some(order.column), |one, name| {
            shared(name, one).into_iter().chain([count(one.failed)]).collect()
        }));
    }
    lines.push(plain(""));
    lines.extend(picture.issuers.iter().map(issuer));
    lines.extend(picture.certificates.iter().map(|(name, days)| {
        let look = if *days < 14.0 { Look::Bad } else { Look::Plain };
        Line { text: format!("certificate {name}: {} days left", count(*days)), look }
    }));
    lines
}

fn process(picture: &Picture) -> Line {
    let process = &picture.process;
    let rate: f64 = picture.servers.iter().map(|one| one.rate).sum();
    let text = format!(
        "portcullis {}   config {}   up {}   {} calls/s   {} active",
        process.version,
        process.config,
        lasted(process.up_seconds),
        per_second(rate),
        count(process.active)
    );
    Line { text, look: Look::Head }
}

fn issuer(one: &Issuer) -> Line {
    let (look, age) = match one.age_seconds {
        None => (Look::Bad, "never fetched".to_owned()),
        Some(age) => (Look::Plain, format!("fetched {} ago", lasted(age))),
    };
    let keys = if count(one.keys) == "1" { "key" } else { "keys" };
    let text =
        format!("issuer {}: {} {keys}, {age}, {} failed fetches", one.name, count(one.keys), count(one.failures));
    Line { text, look: if one.keys < 1.0 { Look::Bad } else { look } }
}

/// The columns that both tables begin with.
fn shared(name: &str, one: &Measured) -> [String; COLUMNS] {
    let [p50, p99] = [one.p50, one.p99].map(bound);
    [name.to_owned(), per_second(one.rate), p50, p99, count(one.step_up), count(one.denied)]
}

/// The rows whose name has the filter's text, sorted: names forwards, numbers from the largest.
fn rows<'m>(
    all: &'m [Measured],
    order: &Order,
    name: impl Fn(&Measured) -> String,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<(String, &'m Measured)> {
    let named = all.iter().map(|one| (name(one), one));
    let mut rows: Vec<_> = named.filter(|(name, _)| name.contains(&order.filter) || is_wanted(name)).collect();
    let number = |one: &Measured| match order.column {
        1 => one.rate,
        2 => one.p50.unwrap_or(-1.0),
        3 => one.p99.unwrap_or(-1.0),
        4 => one.step_up,
        5 => one.denied,
        _ => 0.0,
    };
    rows.sort_by(|(name, one), (other_name, other)| {
        let by_number = number(other).partial_cmp(&number(one)).unwrap_or(Ordering::Equal);
        by_number.then_with(|| name.cmp(other_name))
    });
    rows
}

/// Heads and rows in columns; numbers stand to the right.
fn table(
    heads: &[&str],
    rows: &mut Vec<(String, &Measured)>,
    marked: Option<usize>,
    cells: impl Fn(&Measured, &str) -> Vec<String>,
) -> Vec<Line> {
    let heads = heads.iter().enumerate();
    // The mark has a place in every head, so that columns stay where they are.
    let head = |(at, head): (usize, &&str)| match marked {
        Some(marked) if marked == at => format!("{head}*"),
        Some(_) => format!("{head} "),
        None => (*head).to_owned(),
    };
    let heads: Vec<String> = heads.map(head).collect();
    let bodies: Vec<(bool, Vec<String>)> =
        rows.drain(..).map(|(name, one)| (one.up == Some(false), cells(one, &name))).collect();
    let width = |at: usize| {
        let cells = bodies.iter().map(|(_, cells)| cells).chain([&heads]);
        cells.filter_map(|cells| cells.get(at)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate();
        let padded: Vec<String> = cells
            .map(|(at, (cell, width))| if at == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") })
            .collect();
        padded.join("  ")
    };
    let mut lines = vec![Line { text: line(&heads), look: Look::Head }];
    lines.extend(
        bodies
            .iter()
            .map(|(is_bad, cells)| Line { text: line(cells), look: if *is_bad { Look::Bad } else { Look::Plain } }),
    );
    lines
}

fn plain(text: impl Into<String>) -> Line {
    Line { text: text.into(), look: Look::Plain }
}

fn bad(text: impl Into<String>) -> Line {
    Line { text: text.into(), look: Look::Bad }
}

fn count(value: f64) -> String {
    format!("{value:.0}")
}

fn per_second(rate: f64) -> String {
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// The bound of a histogram that a share of the calls is below.
fn bound(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds.is_infinite() => ">300s".to_owned(),
        Some(seconds) if seconds < 1.0 => format!("<{:.0}ms", seconds * 1000.0),
        Some(seconds) => format!("<{seconds:.0}s"),
    }
}

/// A time in its two largest units.
fn lasted(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.floor()).unwrap_or_default();
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
