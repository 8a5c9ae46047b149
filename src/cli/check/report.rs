//! How the result of a check is shown: one line per step, and the problems above it.

use serde_json::{Value, json};

use super::super::{Global, Streams};
use crate::config::{Problems, Severity};

/// One line of what was done.
#[derive(PartialEq, Eq)]
pub(super) struct Step {
    pub(super) subject: String,
    pub(super) text: String,
    /// The worst that was found there.
    pub(super) worst: Option<Severity>,
    /// What else is to be known, a line each.
    pub(super) notes: Vec<String>,
}

impl Step {
    pub(super) fn new(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { subject: subject.into(), text: text.into(), worst: None, notes: Vec::new() }
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

/// For people: problems to standard error, steps to standard output.
pub(super) fn text(global: &Global, steps: &[Step], problems: &Problems, streams: &mut Streams<'_>) {
    streams.problems(problems);
    if global.quiet {
        return;
    }
    let width = steps.iter().map(|step| step.subject.chars().count()).max().unwrap_or_default().max(20);
    for step in steps {
        let (start, end) = if streams.out_color { (step.colour(), "\x1b[0m") } else { ("", "") };
        streams.print(format_args!("{start}{}{end} {:width$}  {}", step.mark(), step.subject, step.text));
        for note in &step.notes {
            streams.print(format_args!("  {:width$}  {note}", ""));
        }
    }
}

/// For programs: one object.
pub(super) fn json(steps: &[Step], problems: &Problems) -> Value {
    let mut report = problems.to_json();
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            let mut told = json!({ "subject": step.subject, "status": step.status(), "text": step.text });
            if !step.notes.is_empty() {
                told["notes"] = json!(step.notes);
            }
            told
        })
        .collect();
    if let Value::Object(report) = &mut report {
        report.insert("ok".to_owned(), Value::Bool(!problems.has_errors()));
        report.insert("steps".to_owned(), Value::Array(steps));
    }
    report
}
/// The worst of `problems`.
pub(super) fn worst(problems: &Problems) -> Option<Severity> {
    match (problems.has_errors(), problems.is_empty()) {
        (true, _) => Some(Severity::Error),
        (false, false) => Some(Severity::Warning),
        (false, true) => None,
    }
}

/// `1 error, 2 warnings`.
pub(super) fn tally(problems: &Problems) -> String {
    let counts = [(problems.count(Severity::Error), "error"), (problems.count(Severity::Warning), "warning")];
    let parts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, noun)| counted(count, noun)).collect();
    parts.join(", ")
}

/// `1 rule`, `2 rules`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
