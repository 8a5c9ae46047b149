//! The Test Anything Protocol, version 14.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::super::{Ran, Run};
use super::shortfall;
use crate::trial::Mismatch;

/// A plan, and a line a case; the diagnostics are YAML, of which JSON is a part.
pub(in crate::cli::test) fn render(run: &Run) -> String {
    let lines: Vec<&Ran> = run.cases().collect();
    let shortfall = shortfall(run);
    let mut out = format!("TAP version 14\n1..{}", lines.len() + usize::from(run.min.is_some()));
    for (number, ran) in lines.iter().enumerate() {
        let ok = if ran.passed() { "ok" } else { "not ok" };
        let _ = write!(out, "\n{ok} {} - {}", number + 1, escaped(&ran.case.name));
        if let Some(diagnostic) = diagnostic(ran) {
            let _ = write!(out, "\n  ---\n{diagnostic}\n  ...");
        }
    }
    if run.min.is_some() {
        let (ok, text) = shortfall.as_ref().map_or(("ok", "coverage"), |text| ("not ok", text));
        let _ = write!(out, "\n{ok} {} - {}", lines.len() + 1, escaped(text));
    }
    out
}

/// What differs, in the one block a case may have: readers take the last of several for all there is.
fn diagnostic(ran: &Ran) -> Option<String> {
    let (first, rest) = ran.outcome.mismatches.split_first()?;
    let (line, column) = ran.case.source.position(first.span.start);
    let at = format!("{}:{line}:{column}", ran.case.source.path.display());
    let (message, expected, actual) = if rest.is_empty() {
        (first.what.to_owned(), json!(first.expected), json!(first.got))
    } else {
        let all = &ran.outcome.mismatches;
        let each =
            |text: fn(&Mismatch) -> &str| all.iter().map(|one| (one.what, text(one))).collect::<BTreeMap<_, _>>();
        let names: Vec<&str> = all.iter().map(|one| one.what).collect();
        (names.join(", "), json!(each(|one| &one.expected)), json!(each(|one| &one.got)))
    };
    let message = json!(message);
    Some(format!("  message: {message}\n  expected: {expected}\n  actual: {actual}\n  at: {}", json!(at)))
}

/// `#` begins a directive, and a line break another line.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('#', "\\#");
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
