//! What `check` reports about policies: each file, rules that are probably mistaken, and tests that fail.

use std::path::Path;
use std::sync::Arc;

use super::report::{Step, counted, tally, worst};
use super::{Config, Findings, Problem, Problems, Severity, Snapshot};
use crate::config::{Server, Source};
use crate::policy::lock::Lock;
use crate::policy::{self, Offer, Offered, Policy};
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
    file(&config.source().path, found, findings);
    for server in config.servers.values() {
        if let Some(lock) = &server.tools.lock {
            file(lock, found, findings);
        }
        let route = snapshot.and_then(|snapshot| snapshot.route(&server.path));
        let mut of_server: Problems = found.clone();
        let mut suite = None;
        if let Some(route) = &route {
            let mut review = route.policy.review();
            if !route.policy.opens_something()
                && let Some(first) = config.policy_files(server).first()
            {
                review.push(closed(first, &server.name));
            }
            of_server.append(review.clone());
            findings.problems.append(review);
            of_server.append(with_lock(config, server, &route.policy, findings));
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
            let notes = summary.and(route.as_ref()).map_or_else(Vec::new, |route| notes(&route.policy, &file));
            let step = Step { worst, notes, ..Step::new(written.display().to_string(), text) };
            if !findings.steps.contains(&step) {
                findings.steps.push(step);
            }
        }
    }
}

/// A server none of whose rules lets anything pass.
fn closed(first: &Path, server: &str) -> Problem {
    let message = format!("no rule allows anything: every call of `{server}` is denied");
    let problem = Problem::warning(&Arc::new(Source::new(first, "")), 0..0, message, "");
    problem.help(format!("write an allow rule, or begin with `portcullis tools {server} --scaffold`"))
}

/// The line of a file that is no policy, where something is wrong with it.
fn file(path: &Path, found: &Problems, findings: &mut Findings) {
    let own: Problems = found.iter().filter(|problem| problem.file.path == path).cloned().collect();
    if own.is_empty() {
        return;
    }
    let step = Step { worst: worst(&own), ..Step::new(path.display().to_string(), tally(&own)) };
    match findings.steps.iter_mut().find(|known| known.subject == step.subject) {
        Some(known) if step.worst == Some(Severity::Error) => *known = step,
        Some(known) => known.worst = step.worst,
        None => findings.steps.push(step),
    }
}

/// What the rules of a file depend on that a list does not know.
fn notes(policy: &Policy, file: &Path) -> Vec<String> {
    let untold: Vec<String> =
        policy.untold_in_lists(file).into_iter().map(|(id, looks)| format!("`{id}` ({})", looks.join(", "))).collect();
    if untold.is_empty() {
        return Vec::new();
    }
    vec![format!("lists cannot evaluate these and show their tools: {}", untold.join(", "))]
}

/// Compares the policy of a server with the definitions in its lock file.
fn with_lock(config: &Config, server: &Server, policy: &Policy, findings: &mut Findings) -> Problems {
    let lock = server.tools.lock.as_ref().and_then(|path| Lock::load(path, &server.name).ok());
    let Some(lock) = lock else { return Problems::new() };
    compare(config, server, policy, &lock.offered(), &format!("the lock file of `{}`", server.name), findings)
}

/// Compares a policy with tools there are. `serve` would start all the same, so that no finding is a reason to refuse.
pub(super) fn compare(
    config: &Config,
    server: &Server,
    policy: &Policy,
    tools: &[Offered],
    whose: &str,
    findings: &mut Findings,
) -> Problems {
    let offer = Offer { tools, whose };
    let mut found = policy.compare(offer);
    found.append(policy::load(&config.policy_files(server), &mut Problems::new()).compare_masks(offer));
    for problem in found.iter() {
        let of = if problem.severity == Severity::Error { &mut findings.failures } else { &mut findings.problems };
        of.push(problem.clone());
    }
    found
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
