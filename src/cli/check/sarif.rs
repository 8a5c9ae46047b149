//! SARIF 2.1.0 (OASIS), for code scanning services.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::config::{Problem, Problems, Severity};

/// What a problem without a word of its own is filed under.
const OTHER: &str = "configuration";

/// One run with a result for each problem.
pub(super) fn render(problems: &Problems) -> Value {
    let rules: BTreeSet<&str> = problems.iter().map(rule).collect();
    let rules: Vec<Value> = rules.into_iter().map(|id| json!({ "id": id })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "portcullis", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": problems.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn rule(problem: &Problem) -> &'static str {
    problem.code.unwrap_or(OTHER)
}

fn result(problem: &Problem) -> Value {
    let mut text = problem.message.clone();
    let label = Some(Cow::from(&problem.label)).filter(|label| !label.is_empty());
    for part in label.into_iter().chain(problem.advice()) {
        text.push_str("; ");
        text.push_str(&part);
    }
    let (line, column) = problem.file.position(problem.span.start);
    let (end_line, end_column) = problem.file.position(problem.span.end);
    json!({
        "ruleId": rule(problem),
        "level": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": { "text": text },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&problem.file.path.to_string_lossy()) },
                "region": {
                    "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
                },
            },
        }],
    })
}

/// A path as a URI reference (RFC 3986 section 3.3).
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
