//! `portcullis check`: everything `serve` would refuse, and what somebody should look at, before it starts.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Exit, Global, Streams};
use crate::clock::Timestamp;
use crate::config::certificate::Certificate;
use crate::config::{self, Config, Problems, Severity};

/// Arguments of `check`.
#[derive(Args, Debug, Default)]
#[command(
    after_help = "Exit codes: 0 nothing to complain about, 1 warnings with --deny-warnings, 78 serve would refuse"
)]
pub struct Check {
    /// Configuration files to check instead of the one of --config.
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Ask no issuer and no upstream.
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
}

/// One line of what was done.
struct Step {
    subject: String,
    text: String,
    /// The worst that was found there.
    worst: Option<Severity>,
}

impl Step {
    fn new(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { subject: subject.into(), text: text.into(), worst: None }
    }

    const fn mark(&self) -> &'static str {
        match self.worst {
            None => "✓",
            Some(Severity::Warning) => "!",
            Some(Severity::Error) => "✗",
        }
    }

    const fn status(&self) -> &'static str {
        match self.worst {
            None => "ok",
            Some(severity) => severity.as_str(),
        }
    }

    /// Green, yellow or red.
    const fn colour(&self) -> &'static str {
        match self.worst {
            None => "\x1b[32m",
            Some(Severity::Warning) => "\x1b[33m",
            Some(Severity::Error) => "\x1b[31m",
        }
    }
}

impl Check {
    /// Checks and prints.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let mut files: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        if files.is_empty() {
            files.push(&global.config);
        }
        let (mut steps, mut problems) = (Vec::new(), Problems::new());
        for file in files {
            self.file(file, &mut steps, &mut problems);
        }
        match self.format {
            Format::Text => text(global, &steps, &problems, streams),
            Format::Json => streams.print(json(&steps, &problems)),
            Format::Github if problems.is_empty() => {}
            Format::Github => streams.print(problems.to_github()),
        }
        if problems.has_errors() {
            Exit::Config
        } else if self.deny_warnings && !problems.is_empty() {
            Exit::No
        } else {
            Exit::Done
        }
    }

    fn file(&self, path: &Path, steps: &mut Vec<Step>, problems: &mut Problems) {
        let name = path.display().to_string();
        match config::load(path) {
            Ok((config, warnings)) => {
                let text =
                    format!("{}, {}", counted(config.servers.len(), "server"), counted(config.issuers.len(), "issuer"));
                steps.push(Step { worst: worst(&warnings), ..Step::new(name, text) });
                problems.append(warnings);
                self.parts(&config, steps, problems);
            }
            Err(found) => {
                let text = tally(&found);
                steps.push(Step { worst: worst(&found), ..Step::new(name, text) });
                problems.append(found);
            }
        }
    }

    /// What a configuration that loads is made of.
    fn parts(&self, config: &Config, steps: &mut Vec<Step>, problems: &mut Problems) {
        policies(config, steps, problems);
        certificate(config, steps);
        if !self.offline {
            remote(config, steps, problems);
        }
    }
}

/// The policy files of every server; what is wrong with them joins the same problems.
fn policies(config: &Config, steps: &mut Vec<Step>, _problems: &mut Problems) {
    let mut files: Vec<&PathBuf> = config.servers.values().flat_map(|server| &server.policies).collect();
    files.sort();
    files.dedup();
    steps.extend(files.into_iter().map(|file| Step::new(file.display().to_string(), "found")));
}

/// Issuers and upstreams, asked over the network; one that cannot be reached is a warning.
fn remote(_config: &Config, _steps: &mut Vec<Step>, _problems: &mut Problems) {}

fn certificate(config: &Config, steps: &mut Vec<Step>) {
    let Some(tls) = &config.server.tls else { return };
    let Ok(certificate) = Certificate::read(&tls.cert_file) else { return };
    let days = certificate.days_left(Timestamp::now());
    let text = if days < 0 {
        format!("{}, expired", certificate.name)
    } else {
        format!("{}, {} left", certificate.name, counted(usize::try_from(days).unwrap_or(usize::MAX), "day"))
    };
    let worst = (days < Certificate::SOON_DAYS).then_some(Severity::Warning);
    steps.push(Step { worst, ..Step::new("tls", text) });
}

fn worst(problems: &Problems) -> Option<Severity> {
    match (problems.has_errors(), problems.is_empty()) {
        (true, _) => Some(Severity::Error),
        (false, false) => Some(Severity::Warning),
        (false, true) => None,
    }
}

/// `1 error, 2 warnings`.
fn tally(problems: &Problems) -> String {
    let counts = [(problems.count(Severity::Error), "error"), (problems.count(Severity::Warning), "warning")];
    let parts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, noun)| counted(count, noun)).collect();
    parts.join(", ")
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn text(global: &Global, steps: &[Step], problems: &Problems, streams: &mut Streams<'_>) {
    if !problems.is_empty() {
        let rendered = problems.render(streams.err_color);
        streams.message(format_args!("{rendered}\n"));
    }
    if global.quiet {
        return;
    }
    let width = steps.iter().map(|step| step.subject.chars().count()).max().unwrap_or_default().max(20);
    for step in steps {
        let (start, end) = if streams.out_color { (step.colour(), "\x1b[0m") } else { ("", "") };
        streams.print(format_args!("{start}{}{end} {:width$}  {}", step.mark(), step.subject, step.text));
    }
}

fn json(steps: &[Step], problems: &Problems) -> Value {
    let mut report = problems.to_json();
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| json!({ "subject": step.subject, "status": step.status(), "text": step.text }))
        .collect();
    if let Value::Object(report) = &mut report {
        report.insert("ok".to_owned(), Value::Bool(!problems.has_errors()));
        report.insert("steps".to_owned(), Value::Array(steps));
    }
    report
}
