//! `JUnit` XML, for CI servers.

use std::fmt::Write as _;

use super::super::{Ran, Run};
use super::{problem, shortfall};

/// One `testsuite` a policy file, one `testcase` a case.
pub(in crate::cli::test) fn render(run: &Run) -> String {
    let shortfall = shortfall(run);
    let (mut tests, mut failures) = (run.cases().count(), run.failed());
    tests += usize::from(run.min.is_some());
    failures += usize::from(shortfall.is_some());
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"portcullis\" tests=\"{tests}\" failures=\"{failures}\">"
    );
    for (suite, ran) in &run.suites {
        for file in &suite.files {
            let of_file: Vec<&Ran> = ran.iter().filter(|ran| ran.case.source.path == file.path).collect();
            if of_file.is_empty() {
                continue;
            }
            let failed = of_file.iter().filter(|ran| !ran.passed()).count();
            let name = attribute(&file.path.to_string_lossy());
            let _ = write!(out, "\n  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\">", of_file.len());
            for ran in of_file {
                case(&mut out, ran);
            }
            out.push_str("\n  </testsuite>");
        }
    }
    if run.min.is_some() {
        let failed = usize::from(shortfall.is_some());
        let _ = write!(
            out,
            "\n  <testsuite name=\"coverage\" tests=\"1\" failures=\"{failed}\">\n    <testcase name=\"coverage\""
        );
        match &shortfall {
            Some(text) => {
                let text = attribute(text);
                let _ = write!(out, ">\n      <failure message=\"{text}\"/>\n    </testcase>");
            }
            None => out.push_str("/>"),
        }
        out.push_str("\n  </testsuite>");
    }
    out.push_str("\n</testsuites>");
    out
}

fn case(out: &mut String, ran: &Ran) {
    let (line, _) = ran.case.source.position(ran.case.span.start);
    let file = attribute(&ran.case.source.path.to_string_lossy());
    let name = attribute(&ran.case.name);
    let _ = write!(out, "\n    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\"");
    if ran.passed() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    for mismatch in &ran.outcome.mismatches {
        let message = attribute(&super::one_line(mismatch));
        let text = content(&problem(ran, mismatch).render(false));
        let _ = write!(out, "\n      <failure message=\"{message}\" type=\"{}\">{text}</failure>", mismatch.what);
    }
    out.push_str("\n    </testcase>");
}

/// Text between tags: without what XML 1.0 cannot hold (section 2.2).
fn content(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' => out.push(char),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ if char.is_control() => out.push('\u{fffd}'),
            _ => out.push(char),
        }
    }
    out
}

/// Text between quotes.
fn attribute(text: &str) -> String {
    content(text).replace('"', "&quot;").replace(['\t', '\n'], " ")
}
