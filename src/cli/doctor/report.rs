//! The steps and their results, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::Streams;

/// Longest text of others that is shown.
const LIMIT_CHARS: usize = 160;
/// The room for a step's name.
const WIDTH: usize = 18;

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Outcome {
    /// As it should be.
    Good,
    /// Cannot be seen from here.
    Unseen,
    /// Some clients mind, or somebody should look.
    Doubtful,
    /// Clients fail here.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Step {
    pub(in crate::cli) name: &'static str,
    pub(in crate::cli) outcome: Outcome,
    pub(in crate::cli) text: String,
    /// What to do about it.
    pub(in crate::cli) fix: Option<String>,
}

/// Steps about one thing.
#[derive(Debug, Default)]
pub(in crate::cli) struct Section {
    pub(in crate::cli) title: String,
    pub(in crate::cli) steps: Vec<Step>,
}

/// All of it, in the order it was looked at.
#[derive(Debug, Default)]
pub(in crate::cli) struct Report {
    pub(in crate::cli) sections: Vec<Section>,
    /// Whether something that was typed did not answer at all.
    pub(in crate::cli) is_away: bool,
}

impl Outcome {
    const fn mark(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Good => ("✓", "\x1b[32m", "ok"),
            Self::Unseen => ("·", "\x1b[2m", "unseen"),
            Self::Doubtful => ("!", "\x1b[33m", "doubtful"),
            Self::Failed => ("✗", "\x1b[31m", "failed"),
        }
    }
}

impl Step {
    pub(in crate::cli) fn good(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Good, text: text.into(), fix: None }
    }

    pub(in crate::cli) fn unseen(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Unseen, text: text.into(), fix: None }
    }

    pub(in crate::cli) fn doubtful(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Doubtful, text: text.into(), fix: Some(fix.into()) }
    }

    /// Writes it as a line of its own, with what to do about it.
    pub(in crate::cli) fn print(&self, streams: &mut Streams<'_>) {
        self.print_in(WIDTH, streams);
    }

    fn print_in(&self, width: usize, streams: &mut Streams<'_>) {
        let (mark, colour, _) = self.outcome.mark();
        let (start, end) = if streams.out_color { (colour, "\x1b[0m") } else { ("", "") };
        streams.print(format_args!("{start}{mark}{end} {:width$}  {}", self.name, self.text));
        if let Some(fix) = &self.fix {
            streams.print(format_args!("  {:width$}  fix: {fix}", ""));
        }
    }

    pub(in crate::cli) fn failed(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed, text: text.into(), fix: Some(fix.into()) }
    }
}

impl Report {
    /// Begins a section; what is added next belongs to it.
    pub(in crate::cli) fn section(&mut self, title: impl Into<String>) {
        self.sections.push(Section { title: title.into(), steps: Vec::new() });
    }

    pub(in crate::cli) fn add(&mut self, step: Step) {
        if self.sections.is_empty() {
            self.section("");
        }
        if let Some(section) = self.sections.last_mut() {
            section.steps.push(step);
        }
    }

    /// How many steps failed.
    pub(in crate::cli) fn failures(&self) -> usize {
        self.sections.iter().flat_map(|section| &section.steps).filter(|step| step.outcome == Outcome::Failed).count()
    }

    pub(in crate::cli) fn text(&self, streams: &mut Streams<'_>) {
        for (at, section) in self.sections.iter().enumerate() {
            if at > 0 {
                streams.print("");
            }
            streams.print(&section.title);
            let names = section.steps.iter().map(|step| step.name.chars().count());
            let width = names.max().unwrap_or_default().max(WIDTH);
            for step in &section.steps {
                step.print_in(width, streams);
            }
        }
        streams.print("");
        match self.failures() {
            0 => streams.print("nothing fails"),
            1 => streams.print("1 step fails"),
            count => streams.print(format_args!("{count} steps fail")),
        }
    }

    pub(in crate::cli) fn json(&self) -> Value {
        let step = |step: &Step| json!({ "name": step.name, "status": step.outcome.mark().2, "text": step.text, "fix": step.fix });
        let section = |section: &Section| json!({ "about": section.title, "steps": section.steps.iter().map(step).collect::<Vec<_>>() });
        json!({
            "schema_version": 1,
            "ok": self.failures() == 0,
            "failed": self.failures(),
            "sections": self.sections.iter().map(section).collect::<Vec<_>>(),
        })
    }
}

/// Text somebody else wrote, as a terminal may show it: cut, and with everything escaped that is not plain ASCII.
pub(in crate::cli) fn foreign(text: &str) -> String {
    let mut shown = String::new();
    for (at, char) in text.chars().enumerate() {
        if at == LIMIT_CHARS {
            shown.push_str("...");
            break;
        }
        if char == ' ' || char.is_ascii_graphic() {
            shown.push(char);
        } else {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(char));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::foreign;

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(foreign("a\u{1b}[2J\u{202e}\nb"), "a\\u{1b}[2J\\u{202e}\\u{a}b");
        assert_eq!(foreign(&"x".repeat(200)), format!("{}...", "x".repeat(160)));
    }
}
