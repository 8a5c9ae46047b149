//! For programs: one object.

use serde_json::{Value, json};

use super::super::{Percent, Ran, Run};

/// Everything that was run.
pub(in crate::cli::test) fn render(run: &Run) -> Value {
    let tests: Vec<Value> =
        run.suites.iter().flat_map(|(suite, ran)| ran.iter().map(|ran| case(ran, suite.server.as_deref()))).collect();
    let coverage = run.coverage.as_ref().map(|coverage| {
        let missed: Vec<Value> = coverage
            .missed()
            .map(|(kind, place)| {
                let (line, column) = place.source.position(place.span.start);
                let file = place.source.path.to_string_lossy();
                json!({ "kind": kind, "id": place.id, "file": file, "line": line, "column": column })
            })
            .collect();
        json!({
            "percent": coverage.percent().as_f64(),
            "min": run.min.map(Percent::as_f64),
            "rules": { "covered": coverage.rules.covered, "total": coverage.rules.total() },
            "masks": { "covered": coverage.masks.covered, "total": coverage.masks.total() },
            "missed": missed,
        })
    });
    json!({
        "schema_version": 1,
        "ok": run.passed() && !tests.is_empty(),
        "passed": run.cases().count() - run.failed(),
        "failed": run.failed(),
        "tests": tests,
        "coverage": coverage,
    })
}

fn case(ran: &Ran, server: Option<&str>) -> Value {
    let source = &ran.case.source;
    let (line, column) = source.position(ran.case.span.start);
    let mismatches: Vec<Value> = ran
        .outcome
        .mismatches
        .iter()
        .map(|mismatch| {
            let (line, column) = source.position(mismatch.span.start);
            let blame = mismatch.blame.as_ref().map(|(why, place)| {
                let (line, column) = place.source.position(place.span.start);
                json!({ "why": why, "file": place.source.path.to_string_lossy(), "line": line, "column": column })
            });
            json!({
                "what": mismatch.what, "expected": mismatch.expected, "got": mismatch.got,
                "line": line, "column": column, "blame": blame,
            })
        })
        .collect();
    json!({
        "name": ran.case.name,
        "server": server,
        "file": source.path.to_string_lossy(),
        "line": line, "column": column,
        "ok": ran.passed(),
        "decision": ran.outcome.verdict.as_str(),
        "rule": ran.outcome.rule,
        "scopes": &*ran.outcome.scopes,
        "masks": ran.outcome.masks,
        "mismatches": mismatches,
    })
}
