//! What a policy promises, and that each promise has its tests: `promises.txt` is held against the tests there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PROMISES: &str = include_str!("promises.txt");

/// Each promise under its heading, with its tests.
fn promises() -> Vec<(String, Vec<&'static str>)> {
    let mut heading = "";
    let mut promises: Vec<(String, Vec<&str>)> = Vec::new();
    for line in PROMISES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(test) = line.strip_prefix("  ") {
            promises.last_mut().expect("a test stands below its promise").1.push(test);
        } else if let Some(words) = line.strip_prefix("== ").and_then(|line| line.strip_suffix(" ==")) {
            heading = words;
        } else {
            promises.push((format!("{heading}: {line}"), Vec::new()));
        }
    }
    promises
}

/// The names of the tests in a file.
fn tests_in(file: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = if file.starts_with("it/") { root.join("tests") } else { root.join("src") };
    let path = path.join(format!("{file}.rs"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (mut tests, mut is_test) = (BTreeSet::new(), false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with("//")) {
            tests.insert(name.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect());
            is_test = false;
        }
    }
    tests
}

#[test]
fn every_promise_has_tests_and_every_test_is_there() {
    let promises = promises();
    assert!(promises.len() >= 100, "{} promises", promises.len());
    let names: BTreeSet<&str> = promises.iter().map(|(promise, _)| promise.as_str()).collect();
    assert_eq!(names.len(), promises.len(), "a promise is made twice");
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (promise, tests) in &promises {
        if tests.is_empty() {
            wrong.push(format!("{promise}: no test"));
        }
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or((test, ""));
            if !known.entry(file).or_insert_with(|| tests_in(file)).contains(name) {
                wrong.push(format!("{promise}: no test {test}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A test that is named after a report is one of those the reports are listed with.
#[test]
fn every_report_that_is_tested_is_listed() {
    let listed: BTreeSet<&str> = promises().into_iter().flat_map(|(_, tests)| tests).collect();
    let missing: Vec<String> = tests_in("it/reported")
        .into_iter()
        .map(|name| format!("it/reported::{name}"))
        .filter(|test| !listed.contains(test.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
