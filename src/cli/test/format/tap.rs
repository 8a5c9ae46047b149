//! The Test Anything Protocol, version 14.

use std::fmt::Write as _;

use serde_json::json;

use super::super::{Ran, Run};
use super::shortfall;

/// A plan, and a line a case; the diagnostics are YAML, of which JSON is a part.
pub(in crate::cli::test) fn render(run: &Run) -> String {
    let lines: Vec<&Ran> = run.cases().collect();
    let shortfall = shortfall(run);
    let mut out = format!("TAP version 14\n1..{}", lines.len() + usize::from(run.min.is_some()));
    for (number, ran) in lines.iter().enumerate() {
        let ok = if ran.passed() { "ok" } else { "not ok" };
        let _ = write!(out, "\n{ok} {} - {}", number + 1, escaped(&ran.case.name));
        for mismatch in &ran.outcome.mismatches {
            let (line, column) = ran.case.source.position(mismatch.span.start);
            let at = format!("{}:{line}:{column}", ran.case.source.path.display());
            let _ = write!(
                out,
                "\n  ---\n  message: {}\n  expected: {}\n  actual: {}\n  at: {}\n  ...",
                json!(mismatch.what),
                json!(mismatch.expected),
                json!(mismatch.got),
                json!(at),
            );
        }
    }
    if run.min.is_some() {
        let (ok, text) = shortfall.as_ref().map_or(("ok", "coverage"), |text| ("not ok", text));
        let _ = write!(out, "\n{ok} {} - {}", lines.len() + 1, escaped(text));
    }
    out
}

/// `#` begins a directive, and a line break another line.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('#', "\\#");
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
