//! Problems in a file: what is wrong, where, and what to write instead; shown the way a compiler does.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet, normalize_untrusted_str as printable,
};
use serde_json::{Value, json};

/// A file as it was read. Secrets in `text` are to be overwritten, byte for byte, before a [`Problem`] points into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as it was given.
    pub path: PathBuf,
    /// The whole text; empty if it could not be read.
    pub text: String,
    /// Where each line starts, once somebody has asked.
    lines: OnceLock<Box<[usize]>>,
}

impl Source {
    /// A file with what was read of it.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), lines: OnceLock::new() }
    }

    /// Line and column of a byte, both from 1, columns in characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let byte = self.floor(byte);
        let line = self.line(byte);
        let before = self.text.get(self.start(line)..byte).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The number of the line a byte stands on, from 1.
    fn line(&self, byte: usize) -> usize {
        self.starts().partition_point(|start| *start <= byte)
    }

    /// The first byte of a line; the end of the text behind the last.
    fn start(&self, line: usize) -> usize {
        self.starts().get(line - 1).copied().unwrap_or(self.text.len())
    }

    /// Where each line starts; the first always does.
    fn starts(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let breaks = memchr::memchr_iter(b'\n', self.text.as_bytes());
            std::iter::once(0).chain(breaks.map(|at| at + 1)).collect()
        })
    }

    /// The nearest character boundary at or before `byte`.
    fn floor(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }
}

/// Whether a file can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but somebody should look.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the file can be used.
    pub severity: Severity,
    /// A fixed word for the kind of problem, where it has one.
    pub code: Option<&'static str>,
    /// The file it is about.
    pub file: Arc<Source>,
    /// The bytes it is about.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// Stands at the caret; may be empty.
    pub label: String,
    /// What to do about it.
    pub help: Vec<String>,
    /// Text to put instead of some of the file's.
    pub suggestion: Option<Suggestion>,
}

/// A replacement an editor could make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The bytes to replace.
    pub span: Range<usize>,
    /// What to put there.
    pub replacement: String,
    /// Why, in a few words.
    pub title: String,
}

impl Problem {
    /// Something the file cannot be used with.
    pub fn error(file: &Arc<Source>, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(Severity::Error, file, span, message.into(), label.into())
    }

    /// Something somebody should look at.
    pub fn warning(
        file: &Arc<Source>,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, file, span, message.into(), label.into())
    }

    fn new(severity: Severity, file: &Arc<Source>, span: Range<usize>, message: String, label: String) -> Self {
        Self { severity, code: None, file: Arc::clone(file), span, message, label, help: Vec::new(), suggestion: None }
    }

    /// Gives it a fixed word for its kind.
    #[must_use]
    pub const fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Adds a line of advice.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Proposes `replacement` for the bytes of `span`.
    #[must_use]
    pub fn suggest(mut self, span: Range<usize>, replacement: impl Into<String>, title: impl Into<String>) -> Self {
        self.suggestion = Some(Suggestion { span, replacement: replacement.into(), title: title.into() });
        self
    }

    /// What to do about it, in words alone.
    pub(crate) fn advice(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let proposed = self.suggestion.as_ref().map(|Suggestion { replacement, title, .. }| {
            if title.contains(&**replacement) { Cow::from(title) } else { format!("{title} `{replacement}`").into() }
        });
        self.help.iter().map(Cow::from).chain(proposed)
    }

    /// The span, cut to the text and to whole characters.
    fn shown(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.file.floor(span.start);
        start..self.file.floor(span.end).max(start)
    }

    /// The lines a span stands on, where they begin, and the number of the first; all of a text that is not long. Each
    /// snippet of a long one would look for its lines anew.
    fn lines(&self, span: &Range<usize>) -> (&str, usize, usize) {
        const LONG: usize = 64 * 1024;
        let file = &*self.file;
        if file.text.len() <= LONG {
            return (&file.text, 0, 1);
        }
        let first = file.line(span.start);
        let start = file.start(first);
        let end = file.start(file.line(span.end) + 1);
        (file.text.get(start..end).unwrap_or_default(), start, first)
    }

    /// A paragraph with the line and a caret, without a final line break.
    pub fn render(&self, color: bool) -> String {
        let path = self.file.path.to_string_lossy();
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let group = level.primary_title(printable(&self.message));
        let mut group = if self.file.text.is_empty() || (self.label.is_empty() && self.span == (0..0)) {
            group.element(Origin::path(path.clone()))
        } else {
            let label = (!self.label.is_empty()).then(|| printable(&self.label));
            let span = self.shown(&self.span);
            let (lines, start, line) = self.lines(&span);
            let caret = AnnotationKind::Primary.span(span.start - start..span.end - start).label(label);
            group.element(Snippet::source(lines).line_start(line).path(path.clone()).annotation(caret))
        };
        for text in &self.help {
            group = group.element(Level::HELP.message(printable(text)));
        }
        let mut report: Vec<Group<'_>> = vec![group];
        if let Some(suggestion) = &self.suggestion {
            let span = self.shown(&suggestion.span);
            let (lines, start, line) = self.lines(&span);
            let change = Patch::new(span.start - start..span.end - start, suggestion.replacement.as_str());
            let snippet = Snippet::source(lines).line_start(line).path(path).patch(change);
            report.push(Level::HELP.secondary_title(printable(&suggestion.title)).element(snippet));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&report)
    }

    fn to_json(&self) -> Value {
        let (line, column) = self.file.position(self.span.start);
        let (end_line, end_column) = self.file.position(self.span.end);
        let mut problem = json!({
            "severity": self.severity.as_str(),
            "file": self.file.path.to_string_lossy(),
            "line": line, "column": column, "end_line": end_line, "end_column": end_column,
            "start": self.span.start, "end": self.span.end,
            "message": self.message,
            "label": self.label,
            "help": self.help,
            "suggestion": self.suggestion.as_ref().map(|suggestion| json!({
                "start": suggestion.span.start, "end": suggestion.span.end,
                "replacement": suggestion.replacement, "title": suggestion.title,
            })),
        });
        if let Some(code) = self.code {
            problem["code"] = code.into();
        }
        problem
    }

    /// One workflow command that GitHub turns into an annotation on the diff.
    pub fn to_github(&self) -> String {
        let (line, column) = self.file.position(self.span.start);
        let (end_line, end_column) = self.file.position(self.span.end);
        let mut body = self.message.clone();
        if !self.label.is_empty() {
            let _ = write!(body, "\n{}", self.label);
        }
        for text in self.advice() {
            let _ = write!(body, "\nhelp: {text}");
        }
        // GitHub ignores columns of an annotation that spans lines.
        let columns = if line == end_line { format!(",col={column},endColumn={end_column}") } else { String::new() };
        format!(
            "::{} file={},line={line},endLine={end_line}{columns}::{}",
            self.severity.as_str(),
            github_property(&self.file.path.to_string_lossy()),
            github_data(&body),
        )
    }
}

/// Escapes the text after `::` of a workflow command.
fn github_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn github_property(text: &str) -> String {
    github_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Everything found, whatever the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one; the very same problem is kept once.
    pub fn push(&mut self, problem: Problem) {
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Self) {
        for problem in other.0 {
            self.push(problem);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether at least one makes a file unusable.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Them in the order they are shown: files as first met, then by place.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        let mut files: Vec<&Source> = Vec::new();
        for problem in &self.0 {
            if !files.contains(&&*problem.file) {
                files.push(&problem.file);
            }
        }
        let rank = |problem: &Problem| files.iter().position(|file| **file == *problem.file);
        let mut sorted: Vec<&Problem> = self.0.iter().collect();
        sorted.sort_by(|left, right| match rank(left).cmp(&rank(right)) {
            Ordering::Equal => left.span.start.cmp(&right.span.start),
            unequal => unequal,
        });
        sorted.into_iter()
    }

    /// A paragraph each, with carets, and an empty line between; no final line break.
    ///
    /// Of very many the first are shown, errors before warnings: each is shown in its file, which takes time.
    pub fn render(&self, color: bool) -> String {
        const MOST: usize = 100;
        let mut all: Vec<&Problem> = self.iter().collect();
        let more = all.len().saturating_sub(MOST);
        if more > 0 {
            all.sort_by_key(|problem| problem.severity == Severity::Warning);
        }
        let shown = all.iter().take(MOST).map(|problem| problem.render(color));
        let rest = (more > 0).then(|| format!("and {more} more problems; `check --format json` tells them all"));
        shown.chain(rest).collect::<Vec<_>>().join("\n\n")
    }

    /// `{"schema_version": 1, "errors", "warnings", "problems": […]}`.
    pub fn to_json(&self) -> Value {
        json!({
            "schema_version": 1,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "problems": self.iter().map(Problem::to_json).collect::<Vec<_>>(),
        })
    }

    /// One workflow command a line for GitHub; no final line break.
    pub fn to_github(&self) -> String {
        self.iter().map(Problem::to_github).collect::<Vec<_>>().join("\n")
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(all: I) -> Self {
        let mut problems = Self::new();
        all.into_iter().for_each(|problem| problems.push(problem));
        problems
    }
}

/// For logs and errors: without source lines or colour, one line a problem.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.iter().enumerate() {
            let (line, column) = problem.file.position(problem.span.start);
            let break_ = if at == 0 { "" } else { "\n" };
            let path = problem.file.path.display();
            let message = printable(&problem.message);
            write!(f, "{break_}{path}:{line}:{column}: {}: {message}", problem.severity.as_str())?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests;
