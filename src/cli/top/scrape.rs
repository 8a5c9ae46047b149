//! The text format of `OpenMetrics`, as far as the proxy writes it.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::cli::doctor::report::foreign;

/// Metrics at one moment.
pub(super) struct Scrape {
    pub(super) at: Instant,
    series: BTreeMap<String, Vec<Series>>,
}

/// One line: a value and its labels.
pub(super) struct Series {
    labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Series {
    /// A label's value, as a terminal may show it; empty if there is none.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}

impl Scrape {
    /// Reads what is readable; anything else is left out.
    pub(super) fn parse(text: &str, at: Instant) -> Self {
        let mut series: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, one)) = read(line) {
                series.entry(name.to_owned()).or_default().push(one);
            }
        }
        Self { at, series }
    }

    /// All series of that name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Series> {
        self.series.get(name).into_iter().flatten()
    }

    /// The value of the first series of that name.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.all(name).next().map(|series| series.value)
    }
}

fn read(line: &str) -> Option<(&str, Series)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at_checked(end)?;
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.trim_start_matches(',').to_owned(), foreign(&value)));
            rest = after;
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, Series { labels, value }))
}

/// The text up to the closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, char) in text.char_indices() {
        match (escaped, char) {
            (true, 'n') => value.push('\n'),
            (false, '\\') => {}
            (false, '"') => return Some((value, text.get(at + 1..)?)),
            (_, other) => value.push(other),
        }
        escaped = !escaped && char == '\\';
    }
    None
}
