//! `portcullis test`: runs the `[[test]]` tables of policy files.

mod coverage;
mod format;
mod select;
mod watch;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use regex::Regex;

use self::coverage::{Coverage, Percent};
use super::{Exit, Global, Streams};
use crate::config::Problems;
use crate::policy::cases::Case;
use crate::trial::{Outcome, Suite};

pub(super) use self::select::{files_in, suites_of};

/// Arguments of `test`.
#[derive(Args, Clone, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis test                                         the policies of proxy.toml, server by server
  portcullis test policies/                               each file of a folder by itself
  portcullis test --run 'step.up' --watch                 some of them, again whenever a file changes
  portcullis test --coverage --min 100 --format github    in CI: annotations on the diff",
    after_help = "A test that states a decision and the rule that makes it fails when either changes.\n\
                  Exit codes: 0 all passed, 1 one failed or too little is covered, 2 wrong arguments, 78 a policy is refused"
)]
pub struct Test {
    /// Policy files, folders of them, or a proxy.toml, instead of --config.
    #[arg(value_name = "PATHS")]
    paths: Vec<PathBuf>,
    /// Run only tests whose name matches.
    #[arg(long, value_name = "REGEX")]
    run: Option<Regex>,
    /// List the rules and masks that no test covers.
    #[arg(long)]
    coverage: bool,
    /// Fail if coverage is below this percentage.
    #[arg(long, value_name = "PERCENT")]
    min: Option<Percent>,
    /// Run again whenever a file changes.
    #[arg(long)]
    watch: bool,
    /// How to print the results.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// `JUnit` XML, for CI servers.
    #[value(help = "JUnit XML, for CI servers")]
    Junit,
    /// The Test Anything Protocol, version 14.
    Tap,
    /// Workflow commands that GitHub shows on the diff.
    Github,
}

/// Everything that was run.
struct Run {
    suites: Vec<(Suite, Vec<Ran>)>,
    coverage: Option<Coverage>,
    min: Option<Percent>,
    color: bool,
}

/// One case and how it came out.
struct Ran {
    case: Case,
    outcome: Outcome,
}

impl Ran {
    fn passed(&self) -> bool {
        self.outcome.mismatches.is_empty()
    }
}

impl Test {
    /// Runs and prints.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        if self.watch { watch::watch(self, global, streams) } else { self.once(global, streams) }
    }

    fn once(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let mut problems = Problems::new();
        let suites = match suites_of(&self.paths, global, &mut problems) {
            Ok(suites) => suites,
            Err(message) => {
                streams.message(format_args!("error: {message}"));
                return Exit::Usage;
            }
        };
        streams.problems(&problems);
        if problems.has_errors() {
            return Exit::Config;
        }
        let run = self.outcome(suites, streams.out_color);
        match self.format {
            Format::Text => format::text::print(&run, global, streams),
            Format::Json => streams.print(format::json::render(&run)),
            Format::Junit => streams.print(format::junit::render(&run)),
            Format::Tap => streams.print(format::tap::render(&run)),
            Format::Github => format::github::print(&run, streams),
        }
        if run.cases().next().is_none() {
            let what = if self.run.is_some() { "no test has such a name" } else { "there is no [[test]] to run" };
            streams.message(format_args!("error: {what}"));
            return Exit::No;
        }
        if run.passed() { Exit::Done } else { Exit::No }
    }

    fn outcome(&self, suites: Vec<Suite>, color: bool) -> Run {
        let wanted = |case: &Case| self.run.as_ref().is_none_or(|run| run.is_match(&case.name));
        let mut coverage = (self.coverage || self.min.is_some()).then(Coverage::default);
        let suites: Vec<(Suite, Vec<Ran>)> = suites
            .into_iter()
            .map(|mut suite| {
                let cases = std::mem::take(&mut suite.cases);
                let run = |case: Case| Ran { outcome: suite.run(&case), case };
                let ran: Vec<Ran> = cases.into_iter().filter(wanted).map(run).collect();
                if let Some(coverage) = &mut coverage {
                    coverage.add(&suite, ran.iter().map(|ran| &ran.outcome));
                }
                (suite, ran)
            })
            .collect();
        Run { suites, coverage, min: self.min, color }
    }
}

impl Run {
    fn cases(&self) -> impl Iterator<Item = &Ran> {
        self.suites.iter().flat_map(|(_, ran)| ran)
    }

    fn failed(&self) -> usize {
        self.cases().filter(|ran| !ran.passed()).count()
    }

    /// Whether so much is covered as was asked for.
    fn covered_enough(&self) -> bool {
        match (&self.coverage, self.min) {
            (Some(coverage), Some(min)) => coverage.reaches(min),
            _ => true,
        }
    }

    fn passed(&self) -> bool {
        self.failed() == 0 && self.covered_enough()
    }
}
