//! The lists that say which test shows what: each line names a test that is there and runs.

use std::collections::BTreeSet;
use std::path::Path;

const SPECIFICATIONS: &str = include_str!("index/specifications.txt");
const THREATS: &str = include_str!("index/threats.txt");

/// What is shown, the file and the test.
fn rows(list: &'static str) -> Vec<[&'static str; 3]> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (rest, test) = line.rsplit_once(' ').unwrap();
            let (what, file) = rest.trim().rsplit_once(' ').unwrap();
            [what.trim(), file, test]
        })
        .collect()
}

/// Whether the file has a test of that name, which nothing keeps from running.
fn is_there(file: &str, test: &str) -> bool {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let start = |line: &str| line.strip_prefix("async ").unwrap_or(line).starts_with(&format!("fn {test}("));
    let Some(at) = lines.iter().position(|line| start(line)) else { return false };
    let attributes: Vec<&&str> = lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).collect();
    attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        && !attributes.iter().any(|line| line.trim_start_matches("#[").starts_with("ignore"))
}

#[test]
fn every_listed_test_is_there() {
    for [what, file, test] in [rows(SPECIFICATIONS), rows(THREATS)].concat() {
        assert!(is_there(file, test), "{what}: no test `{test}` in {file}");
    }
    assert!(!is_there("tests/it/index.rs", "is_there") && !is_there("tests/it/index.rs", "nothing"));
}

#[test]
fn every_specification_has_a_test_of_its_name() {
    const ALL: &[&str] = &[
        "RFC 6749",
        "RFC 6750",
        "RFC 7009",
        "RFC 7515",
        "RFC 7516",
        "RFC 7517",
        "RFC 7518",
        "RFC 7519",
        "RFC 7523",
        "RFC 7662",
        "RFC 8037",
        "RFC 8414",
        "RFC 8417",
        "RFC 8693",
        "RFC 8705",
        "RFC 8707",
        "RFC 8725",
        "RFC 8935",
        "RFC 8936",
        "RFC 9068",
        "RFC 9112",
        "RFC 9440",
        "RFC 9449",
        "RFC 9470",
        "RFC 9701",
        "RFC 9728",
        "RFC 9864",
        "ID-JAG",
        "MCP",
        "OpenID Connect",
        "W3C",
    ];
    let rows = rows(SPECIFICATIONS);
    let listed: BTreeSet<&str> = rows.iter().map(|[what, ..]| *what).collect();
    let missing: Vec<&&str> = ALL.iter().filter(|what| !listed.contains(**what)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for [what, _, test] in rows {
        let name = what.to_lowercase().replace([' ', '-'], "_");
        assert!(test.starts_with(&name), "{test} is not named after {what}");
    }
}

#[test]
fn every_threat_to_tokens_and_keys_has_a_test() {
    let rows = rows(THREATS);
    let listed: BTreeSet<&str> = rows.iter().map(|[what, ..]| *what).collect();
    let all = (1..=23).map(|at| format!("J{at}")).chain((1..=6).map(|at| format!("K{at}")));
    for threat in all {
        assert!(listed.contains(threat.as_str()), "{threat}");
    }
    let tests: BTreeSet<&str> = rows.iter().map(|[_, _, test]| *test).collect();
    assert_eq!(tests.len(), rows.len(), "one test each");
}
