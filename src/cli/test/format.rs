//! Output formats: one file per format, all drawn from the same [`Run`].

pub(super) mod github;
pub(super) mod json;
pub(super) mod junit;
pub(super) mod tap;
pub(super) mod text;

use super::{Ran, Run};
use crate::config::Problem;
use crate::policy::cases::Verdict;
use crate::trial::Mismatch;

/// `403 scope="crm:read crm:write"` of a step-up.
fn note(ran: &Ran) -> Option<String> {
    let outcome = &ran.outcome;
    (outcome.verdict == Verdict::StepUp).then(|| format!("403 scope=\"{}\"", outcome.scopes.join(" ")))
}

/// A mismatch where it stands: at what may be to blame, else at the expectation.
fn problem(ran: &Ran, mismatch: &Mismatch) -> Problem {
    let message = format!("test \"{}\" fails: {}", ran.case.name, one_line(mismatch));
    match &mismatch.blame {
        Some((why, place)) => Problem::error(&place.source, place.span.clone(), message, why.clone()),
        None => Problem::error(&ran.case.source, mismatch.span.clone(), message, format!("got {}", mismatch.got)),
    }
}

/// The same at the expectation, for tools that show it beside the test.
fn one_line(mismatch: &Mismatch) -> String {
    format!("{} is {}, expected {}", mismatch.what, mismatch.got, mismatch.expected)
}

/// What is missing of the coverage that was asked for.
fn shortfall(run: &Run) -> Option<String> {
    let (coverage, min) = (run.coverage.as_ref()?, run.min?);
    (!coverage.reaches(min)).then(|| format!("coverage is {}, at least {min} is wanted", coverage.percent()))
}
