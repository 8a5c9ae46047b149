//! What `check` says of policies: each file, rules that are not meant as they stand, and tests that fail.

use std::path::Path;

use super::report::{Step, counted, tally, worst};
use super::{Config, Findings, Problem, Problems, Severity, Snapshot};
use crate::trial::Suite;

/// Tests of one file.
#[derive(Clone, Copy, Default)]
struct Tests {
    passed: usize,
    failed: usize,
}

/// One line for each policy file; with an error somewhere there is no snapshot to count from, and nothing to test.
pub(super) fn review(config: &Config, snapshot: Option<&Snapshot>, found: &Problems, findings: &mut Findings) {
    findings.problems.append(found.clone());
    for server in config.servers.values() {
        let route = snapshot.and_then(|snapshot| snapshot.route(&server.path));
        let mut of_server: Problems = found.clone();
        let mut suite = None;
        if let Some(route) = &route {
            let review = route.policy.review();
            of_server.append(review.clone());
            findings.problems.append(review);
            suite = Suite::of_server(config, server, &mut Problems::new());
        }
        if let Some(suite) = &suite {
            suite.check_cases(&mut findings.problems);
        }
        for (written, file) in server.policies.iter().zip(config.policy_files(server)) {
            let own: Problems = of_server.iter().filter(|problem| problem.file.path == file).cloned().collect();
            let tests = suite.as_ref().map_or_else(Tests::default, |suite| tests(suite, &file, &mut findings.failures));
            let summary = route.as_ref().and_then(|route| route.policy_files.iter().find(|known| *known.path == file));
            let text = match summary {
                Some(file) => {
                    let rules = format!("{}, {}", counted(file.rules, "rule"), counted(file.masks, "mask"));
                    format!("{rules}{}", tests.told())
                }
                None if own.is_empty() => "nothing wrong in it".to_owned(),
                None => tally(&own),
            };
            let worst = if tests.failed > 0 { Some(Severity::Error) } else { worst(&own) };
            let step = Step { worst, ..Step::new(written.display().to_string(), text) };
            if !findings.steps.contains(&step) {
                findings.steps.push(step);
            }
        }
    }
}

/// Runs the tests of one file under the rules of all files of its server.
fn tests(suite: &Suite, file: &Path, failures: &mut Problems) -> Tests {
    let mut tests = Tests::default();
    for case in suite.cases.iter().filter(|case| case.source.path == file) {
        let outcome = suite.run(case);
        if outcome.mismatches.is_empty() {
            tests.passed += 1;
            continue;
        }
        tests.failed += 1;
        for mismatch in outcome.mismatches {
            let message = format!("the test \"{}\" fails", case.name);
            let label = format!("{} is {}", mismatch.what, mismatch.got);
            let problem = Problem::error(&case.source, mismatch.span, message, label).code("test-failure");
            let why = mismatch.blame.map_or_else(|| "`portcullis test` shows more".to_owned(), |(why, _)| why);
            failures.push(problem.help(why));
        }
    }
    tests
}

impl Tests {
    /// `, 6 tests passed`; nothing where there are none.
    fn told(self) -> String {
        match self {
            Self { passed: 0, failed: 0 } => String::new(),
            Self { passed, failed: 0 } => format!(", {} passed", counted(passed, "test")),
            Self { passed, failed } => format!(", {} of {} failed", failed, counted(passed + failed, "test")),
        }
    }
}
