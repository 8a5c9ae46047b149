//! For people.

use std::path::Path;

use super::super::super::{Global, Streams};
use super::super::{Ran, Run};
use super::{note, problem, shortfall};

/// Longest name a column is made wide for.
const WIDEST: usize = 60;

/// Prints every case, with what is wrong below those that failed.
pub(in crate::cli::test) fn print(run: &Run, global: &Global, streams: &mut Streams<'_>) {
    let mut shown: Option<(&Path, Option<&str>)> = None;
    let width = run.cases().map(|ran| ran.case.name.chars().count()).max().unwrap_or_default().min(WIDEST);
    for (suite, ran) in &run.suites {
        for ran in ran {
            let file: &Path = &ran.case.source.path;
            let server = suite.server.as_deref();
            if global.quiet && ran.passed() {
                continue;
            }
            if shown != Some((file, server)) {
                let server = server.map(|name| format!("   server {name}")).unwrap_or_default();
                streams.print(format_args!("{}{server}", file.display()));
                shown = Some((file, suite.server.as_deref()));
            }
            case(ran, width, run.color, streams);
        }
    }
    coverage(run, streams);
    let failed = run.failed();
    let passed = run.cases().count() - failed;
    if !global.quiet || failed > 0 {
        streams.print(if failed == 0 {
            format!("{passed} passed")
        } else {
            format!("{passed} passed, {failed} failed")
        });
    }
    if let Some(shortfall) = shortfall(run) {
        streams.message(format_args!("error: {shortfall}"));
    }
}

fn case(ran: &Ran, width: usize, color: bool, streams: &mut Streams<'_>) {
    let paint = |text: &'static str, code: &str| if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() };
    let name = &ran.case.name;
    if ran.passed() {
        let rule = ran.outcome.rule.as_deref().unwrap_or("-");
        let note = note(ran).map(|note| format!("   {note}")).unwrap_or_default();
        streams.print(format_args!("  {}    {name:width$}  {rule}{note}", paint("ok", "32")));
        return;
    }
    streams.print(format_args!("  {}  {name}", paint("FAIL", "31")));
    for mismatch in &ran.outcome.mismatches {
        let what = mismatch.what;
        let indent = " ".repeat(what.len());
        streams.print(format_args!("        {what}  expected  {}", mismatch.expected));
        streams.print(format_args!("        {indent}       got  {}", mismatch.got));
        if let Some((why, _)) = &mismatch.blame {
            streams.print(format_args!("        {why}"));
        }
        // Its first line says again what stands above.
        for line in problem(ran, mismatch).render(color).lines().skip(1) {
            streams.print(format_args!("       {line}"));
        }
    }
}

fn coverage(run: &Run, streams: &mut Streams<'_>) {
    let Some(coverage) = &run.coverage else { return };
    for (kind, place) in coverage.missed() {
        let (line, column) = place.source.position(place.span.start);
        let file = place.source.path.display();
        streams.print(format_args!("  not covered  {kind} {:24}  {file}:{line}:{column}", place.id));
    }
    let [rules, masks] =
        [&coverage.rules, &coverage.masks].map(|counted| format!("{} of {}", counted.covered, counted.total()));
    streams.print(format_args!("coverage {}   {rules} rules, {masks} masks", coverage.percent()));
}
