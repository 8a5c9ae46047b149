//! What dashboard and alerts ask for is what this version exports.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::alerts::ALERTS;
use super::grafana::panels::ROWS;
use crate::telemetry::metrics::tests::every_family;

/// What is known of a series.
struct Series {
    kind: String,
    /// Every label, with the values it was seen with.
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// Every series the binary exports, by name.
fn exported() -> BTreeMap<String, Series> {
    let text = every_family();
    let kinds: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let label = Regex::new("([a-z_]+)=\"([^\"]*)\"").unwrap();
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = ["_total", "_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        let kind = kinds.get(name).or_else(|| kinds.get(family?)).unwrap_or_else(|| panic!("{name} has no type"));
        let known =
            all.entry(name.to_owned()).or_insert_with(|| Series { kind: (*kind).to_owned(), labels: BTreeMap::new() });
        for found in label.captures_iter(labels) {
            known.labels.entry(found[1].to_owned()).or_default().insert(found[2].to_owned());
        }
    }
    all
}

/// The labels that what an expression gives may have. Panics if it asks for what is not exported, or not so.
fn labels_of(expr: &str, exported: &BTreeMap<String, Series>) -> BTreeSet<String> {
    let clause = Regex::new(r"\b(by|on) \(([a-z_, ]*)\)").unwrap();
    let selector =
        Regex::new(r"([a-z_]*\()?((?:mcp|http|portcullis|process)_[a-z_]+)(?:\{([^}]*)\})?(\[[^\]]*\])?").unwrap();
    let matcher = Regex::new("([a-z_]+)(=~|!~|!=|=)\"([^\"]*)\"").unwrap();
    let mut known: BTreeSet<String> = ["instance", "job"].map(ToOwned::to_owned).into();
    let mut seen = 0;
    for found in selector.captures_iter(&clause.replace_all(expr, "")) {
        let name = &found[2];
        let series = exported.get(name).unwrap_or_else(|| panic!("`{name}` is not exported: {expr}"));
        seen += 1;
        let function = found.get(1).map_or("", |function| function.as_str());
        let counts = series.kind == "counter" || series.kind == "histogram";
        let fits = match (found.get(4).is_some(), function) {
            (true, "rate(" | "increase(") => counts,
            (true, "changes(" | "min_over_time(") => !counts,
            (range, _) => !range && !counts,
        };
        assert!(fits, "`{name}` is a {}: {expr}", series.kind);
        for found in matcher.captures_iter(found.get(3).map_or("", |selector| selector.as_str())) {
            let values = series.labels.get(&found[1]).unwrap_or_else(|| panic!("`{}` of `{name}`: {expr}", &found[1]));
            assert!(&found[2] != "=" || values.contains(&found[3]), "`{}` of `{name}`: {expr}", &found[3]);
        }
        known.extend(series.labels.keys().cloned());
    }
    assert!(seen > 0, "{expr}");
    assert!(!expr.contains("histogram_quantile") || known.contains("le"), "{expr}");
    let mut grouped = BTreeSet::new();
    for found in clause.captures_iter(expr) {
        for label in found[2].split(", ") {
            assert!(known.contains(label), "no `{label}` in {expr}");
            if &found[1] == "by" {
                grouped.insert(label.to_owned());
            }
        }
    }
    if grouped.is_empty() { known } else { grouped }
}

#[test]
fn the_dashboard_shows_what_is_exported() {
    let exported = exported();
    let legend = Regex::new(r"\{\{([a-z_]+)\}\}").unwrap();
    for panel in ROWS.iter().flat_map(|row| row.panels) {
        for (expr, name) in panel.queries {
            let labels = labels_of(expr, &exported);
            for found in legend.captures_iter(name) {
                assert!(labels.contains(&found[1]), "{}: no `{}` in {expr}", panel.title, &found[1]);
            }
        }
    }
}

#[test]
fn alerts_watch_what_is_exported() {
    let exported = exported();
    let label = Regex::new(r"\$labels\.([a-z_]+)").unwrap();
    let mut names = BTreeSet::new();
    for alert in &ALERTS {
        assert!(names.insert(alert.name), "{}", alert.name);
        let labels = labels_of(alert.expr, &exported);
        for found in label.captures_iter(&format!("{} {}", alert.summary, alert.description)) {
            assert!(labels.contains(&found[1]), "{}: no `{}`", alert.name, &found[1]);
        }
    }
}

/// Each thing that is counted for a reason is on the dashboard, or wakes somebody.
#[test]
fn nothing_that_is_exported_is_forgotten() {
    let queries = ROWS.iter().flat_map(|row| row.panels).flat_map(|panel| panel.queries);
    let asked: Vec<&str> = queries.map(|(expr, _)| *expr).chain(ALERTS.iter().map(|alert| alert.expr)).collect();
    // The audit's number is for who looks after its files, the other for who looks into one process.
    let left = ["portcullis_audit_sequence", "process_virtual_memory_bytes"];
    for name in exported().keys() {
        let name = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(left.contains(&name) || asked.iter().any(|expr| expr.contains(name)), "`{name}` is shown nowhere");
    }
}
