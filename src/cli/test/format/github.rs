//! Workflow commands that GitHub shows on the diff.

use super::super::super::Streams;
use super::super::{Coverage, Run};
use super::{problem, shortfall};
use crate::config::{Problem, Problems};

/// One annotation a mismatch; with coverage asked for, one a rule or mask no case has reached.
pub(in crate::cli::test) fn print(run: &Run, streams: &mut Streams<'_>) {
    let failures = run.cases().flat_map(|ran| ran.outcome.mismatches.iter().map(|mismatch| problem(ran, mismatch)));
    let mut problems: Problems = failures.collect();
    let missed = run.coverage.iter().flat_map(Coverage::missed);
    for (kind, place) in missed {
        let message = format!("no test reaches the {kind} `{}`", place.id);
        problems.push(Problem::warning(&place.source, place.span.clone(), message, ""));
    }
    if !problems.is_empty() {
        streams.print(problems.to_github());
    }
    if let Some(text) = shortfall(run) {
        streams.print(format_args!("::error::{}", text.replace('%', "%25")));
    }
}
