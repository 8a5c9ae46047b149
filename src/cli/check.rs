//! `portcullis check`: everything `serve` would refuse, and what deserves a look, without starting anything.

mod policies;
mod remote;
mod report;
mod sarif;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tokio::runtime::{Builder, Runtime};

use self::report::{Step, counted, tally, worst};
use super::{Exit, Global, Streams};
use crate::audit::probe;
use crate::auth::{Issuers, Verifier};
use crate::clock::Timestamp;
use crate::config::certificate::Certificate;
use crate::config::{self, AuditSink, Config, Problem, Problems, Severity};
use crate::seal::Seals;
use crate::server::tls::{self, Tls};
use crate::snapshot::{Kept, Snapshot};
use crate::state::Stores;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Grants;

/// Arguments of `check`.
#[derive(Args, Debug, Default)]
#[command(
    before_long_help = "Examples:
  portcullis check                                  proxy.toml here, everything it names, issuers and upstreams
  portcullis check --offline -D --format github     in CI, without a network
  portcullis check staging.toml production.toml     several files at once",
    after_help = "Exit codes: 0 serve would start, 1 a policy test fails, a rule does not fit the server's tools, or\n\
                  there are warnings with --deny-warnings, 78 serve would refuse"
)]
pub struct Check {
    /// Configuration files to check instead of --config.
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Contact no issuer and no upstream.
    #[arg(long)]
    offline: bool,
    /// Fail on warnings too.
    #[arg(short = 'D', long)]
    deny_warnings: bool,
    /// How to print what was found.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// Workflow commands that GitHub shows on the diff.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// What was done so far, and what was found.
#[derive(Default)]
struct Findings {
    steps: Vec<Step>,
    problems: Problems,
    /// Tests of policies that fail: nothing `serve` would mind.
    failures: Problems,
}

impl Check {
    /// Checks one file without the network, and prints what is wrong only if something is.
    pub(super) fn quietly(file: &Path, streams: &mut Streams<'_>) -> Exit {
        let check = Self { offline: true, ..Self::default() };
        let Some(findings) = check.findings(&[file]) else { return Exit::Internal };
        let exit = check.exit(&findings);
        if exit != Exit::Done {
            streams.problems(&findings.problems);
            streams.problems(&findings.failures);
        }
        exit
    }

    /// Checks and prints.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let mut files: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        if files.is_empty() {
            files.push(&global.config);
        }
        let Some(findings) = self.findings(&files) else { return Exit::Internal };
        let exit = self.exit(&findings);
        let Findings { steps, mut problems, failures } = findings;
        problems.append(failures);
        match self.format {
            Format::Text => report::text(global, &steps, &problems, streams),
            Format::Json => streams.print(report::json(&steps, &problems)),
            Format::Github if problems.is_empty() => {}
            Format::Github => streams.print(problems.to_github()),
            Format::Sarif => streams.print(sarif::render(&problems)),
        }
        exit
    }

    fn findings(&self, files: &[&Path]) -> Option<Findings> {
        tls::install_default();
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let mut findings = Findings::default();
        for file in files {
            self.file(file, &runtime, &mut findings);
        }
        Some(findings)
    }

    fn exit(&self, Findings { problems, failures, .. }: &Findings) -> Exit {
        if problems.has_errors() {
            Exit::Config
        } else if !failures.is_empty() || self.deny_warnings && !problems.is_empty() {
            Exit::No
        } else {
            Exit::Done
        }
    }

    fn file(&self, path: &Path, runtime: &Runtime, findings: &mut Findings) {
        let name = path.display().to_string();
        match config::load(path) {
            Ok((config, warnings)) => {
                let text =
                    format!("{}, {}", counted(config.servers.len(), "server"), counted(config.issuers.len(), "issuer"));
                findings.steps.push(Step { worst: worst(&warnings), ..Step::new(name, text) });
                findings.problems.append(warnings);
                self.parts(&config, runtime, findings);
            }
            Err(found) => {
                let text = tally(&found);
                findings.steps.push(Step { worst: worst(&found), ..Step::new(name, text) });
                findings.problems.append(found);
            }
        }
    }

    /// What a configuration that loads is made of.
    fn parts(&self, config: &Config, runtime: &Runtime, findings: &mut Findings) {
        let Ok(seals) = Seals::random() else { return };
        // Issuers fetch on this runtime, so they do nothing until it is driven.
        let issuers = Arc::new(Issuers::new(runtime.handle().clone(), Verifier::new().shared_epoch().clone()));
        let grants = Arc::new(Grants::new(
            runtime.handle().clone(),
            Arc::new(Metrics::new("", "")),
            crate::auth::Epoch::default(),
        ));
        let stores = Arc::new(Stores::new(
            runtime.handle().clone(),
            Arc::new(Metrics::new("", "")),
            crate::auth::Epoch::default(),
        ));
        let kept = Kept {
            issuers: Arc::clone(&issuers),
            backends: Arc::default(),
            grants,
            random_seals: Arc::new(seals),
            bridges: Arc::default(),
            pace: Arc::default(),
            limits: Arc::default(),
            stores,
        };
        let built = Snapshot::build(config, &kept, 1);
        let snapshot = match built {
            Ok((snapshot, warnings)) => {
                policies::review(config, Some(&snapshot), &warnings, findings);
                Some(snapshot)
            }
            Err(problems) => {
                policies::review(config, None, &problems, findings);
                None
            }
        };
        certificate(config, findings);
        log(config, findings);
        findings.steps.extend(state(config, self.offline));
        if let (Some(snapshot), false) = (snapshot, self.offline) {
            runtime.block_on(remote::ask(config, &issuers, &snapshot, findings));
        }
    }
}

/// The certificate as `serve` reads it, and for how long it is good.
fn certificate(config: &Config, findings: &mut Findings) {
    let Some(files) = &config.server.tls else { return };
    if let Err(error) = Tls::load(files) {
        findings.steps.push(Step { worst: Some(Severity::Error), ..Step::new("tls", "cannot be served") });
        findings.problems.push(error.problem(config, files));
        return;
    }
    let Ok(certificate) = Certificate::read(&files.cert_file) else { return };
    let days = certificate.days_left(Timestamp::now());
    let text = if days < 0 {
        format!("{}, expired", certificate.name)
    } else {
        format!("{}, {} left", certificate.name, counted(usize::try_from(days).unwrap_or(usize::MAX), "day"))
    };
    let worst = (days < Certificate::SOON_DAYS).then_some(Severity::Warning);
    findings.steps.push(Step { worst, ..Step::new("tls", text) });
}

/// What other processes share; where the store is asked, that is said later.
fn state(config: &Config, offline: bool) -> Option<Step> {
    match &config.state {
        None => Some(Step::new("state", "in memory: rate limits, used proofs and states, revocations are not shared")),
        Some(_) if offline => Some(Step::new(
            "state",
            "redis: rate limits, used proofs and states, revocations are shared; it was not asked",
        )),
        Some(_) => None,
    }
}

/// Whether the audit log could be written by who runs this.
fn log(config: &Config, findings: &mut Findings) {
    if let Some(problem) = probe::problem(config) {
        let text = if let AuditSink::File(_) = &config.audit.sink { "cannot be written" } else { "goes to no file" };
        findings.steps.push(Step { worst: Some(problem.severity), ..Step::new("audit", text) });
        findings.problems.push(problem);
    } else if let AuditSink::File(_) = &config.audit.sink {
        findings.steps.push(Step::new("audit", "can be written"));
    }
}
