//! Reads the tables of a TOML file with spans, and collects every problem instead of stopping at the first.

use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::clock::Timestamp;
use crate::config::suggest::{closest, list};
use crate::config::{Problem, Problems, Source};

/// A string and its span, quotes included.
pub(super) type Text = Spanned<String>;

/// Collects problems and remembers whether one of them was an error.
pub(super) struct Report<'a> {
    problems: &'a mut Problems,
    failed: bool,
}

impl<'a> Report<'a> {
    /// Collects into `problems`.
    pub(super) fn new(problems: &'a mut Problems) -> Self {
        Self { problems, failed: false }
    }

    /// Adds an error, with which the file cannot be used.
    pub(super) fn error(&mut self, problem: Problem) {
        self.failed = true;
        self.problems.push(problem);
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Whether there was an error.
    pub(super) const fn failed(&self) -> bool {
        self.failed
    }
}

/// The keys of a table.
pub(super) struct Keys {
    /// The name of the table in messages.
    pub(super) table: &'static str,
    pub(super) known: &'static [&'static str],
    /// Keys of later versions, which are reported as such.
    pub(super) later: &'static [&'static str],
}

/// One table of a file.
#[derive(Clone)]
pub(super) struct Table<'a> {
    pub(super) source: &'a Arc<Source>,
    pub(super) span: Range<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The top-level table.
    pub(super) fn root(source: &'a Arc<Source>, root: &'a Spanned<DeTable<'a>>) -> Self {
        Self { source, span: 0..0, entries: root.get_ref() }
    }

    /// Reports keys that are not in `keys`.
    pub(super) fn check(&self, keys: &Keys, report: &mut Report<'_>) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if keys.later.contains(&name) {
                report.error(not_supported(self.source, key.span(), name));
            } else if !keys.known.contains(&name) {
                let label = format!("not a key of {}", keys.table);
                let problem = Problem::error(self.source, key.span(), format!("unknown key `{name}`"), label);
                report.error(match closest(name, keys.known.iter().copied()) {
                    Some(near) => problem.suggest(key.span(), near, format!("did you mean `{near}`?")),
                    None => {
                        problem.help(format!("the keys of {} are {}", keys.table, list(keys.known.iter().copied())))
                    }
                });
            }
        }
    }

    /// Every key and its value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Text, &'a Spanned<DeValue<'a>>)> {
        self.entries.iter().map(|(key, value)| (Text::new(key.span(), key.get_ref().to_string()), value))
    }

    /// The value of that key, as written.
    pub(super) fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.get(key)
    }

    /// The string of that key; `None` if it is absent, or wrong or empty, which is reported.
    pub(super) fn text(&self, key: &'static str, report: &mut Report<'_>) -> Option<Text> {
        let value = self.entries.get(key)?;
        self.string(key, value, report)
    }

    /// The strings of that key, at least one and none empty; `None` if it is absent, or wrong, which is reported.
    pub(super) fn texts(&self, key: &'static str, report: &mut Report<'_>) -> Option<Vec<Text>> {
        let value = self.entries.get(key)?;
        self.strings(key, value, report)
    }

    /// The strings of a value, as for [`Self::texts`].
    pub(super) fn strings(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        report: &mut Report<'_>,
    ) -> Option<Vec<Text>> {
        let Some(items) = value.get_ref().as_array() else {
            self.mistyped(key, value, "a list of strings", report);
            return None;
        };
        if items.is_empty() {
            let problem = Problem::error(self.source, value.span(), format!("`{key}` is empty"), "lists nothing");
            report.error(problem.help("take the key out, or list what it is about"));
            return None;
        }
        let texts: Vec<Text> = items.iter().filter_map(|item| self.string(key, item, report)).collect();
        (texts.len() == items.len()).then_some(texts)
    }

    /// The strings of a value, which may be an empty list.
    pub(super) fn any_strings(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        report: &mut Report<'_>,
    ) -> Option<Vec<Text>> {
        if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
            return Some(Vec::new());
        }
        self.strings(key, value, report)
    }

    fn string(&self, key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report<'_>) -> Option<Text> {
        match value.get_ref() {
            DeValue::String(text) if text.is_empty() => {
                let problem = Problem::error(self.source, value.span(), format!("`{key}` holds an empty string"), "");
                report.error(problem.help("take it out, or write what it is about"));
                None
            }
            DeValue::String(text) => Some(Text::new(value.span(), text.to_string())),
            _ => {
                self.mistyped(key, value, "a string", report);
                None
            }
        }
    }

    /// The boolean of that key.
    pub(super) fn flag(&self, key: &'static str, report: &mut Report<'_>) -> Option<Spanned<bool>> {
        let value = self.entries.get(key)?;
        if let Some(flag) = value.get_ref().as_bool() {
            return Some(Spanned::new(value.span(), flag));
        }
        self.mistyped(key, value, "`true` or `false`", report);
        None
    }

    /// The number of that key, at most `most`.
    pub(super) fn count(&self, key: &'static str, most: u8, report: &mut Report<'_>) -> Option<Spanned<u8>> {
        let value = self.entries.get(key)?;
        let number = value.get_ref().as_integer().and_then(|it| u8::from_str_radix(it.as_str(), it.radix()).ok());
        if let Some(number) = number.filter(|number| *number <= most) {
            return Some(Spanned::new(value.span(), number));
        }
        self.mistyped(key, value, &format!("a whole number from 0 to {most}"), report);
        None
    }

    /// The meaning of that key's value.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &Words<T>, report: &mut Report<'_>) -> Option<T> {
        let text = self.text(key, report)?;
        self.meaning(key, &text, words, report)
    }

    /// The meaning of `text` as a value of `key`.
    pub(super) fn meaning<T: Copy>(
        &self,
        key: &str,
        text: &Text,
        words: &Words<T>,
        report: &mut Report<'_>,
    ) -> Option<T> {
        let word = text.get_ref().as_str();
        if let Some((_, meaning)) = words.known.iter().find(|(known, _)| *known == word) {
            return Some(*meaning);
        }
        if words.later.contains(&word) {
            report.error(not_supported(self.source, text.span(), &format!("{key} = \"{word}\"")));
            return None;
        }
        let known = words.known.iter().map(|(known, _)| *known);
        let problem = Problem::error(self.source, text.span(), format!("`{key}` cannot be `{word}`"), "");
        report.error(problem.help(advice(word, known)));
        None
    }

    /// The tables of `[[key]]`, in order.
    pub(super) fn tables(&self, key: &'static str, report: &mut Report<'_>) -> Vec<Self> {
        let Some(value) = self.entries.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.mistyped(key, value, &format!("a list of tables, each under `[[{key}]]`"), report);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref() {
                DeValue::Table(entries) => tables.push(Self { source: self.source, span: item.span(), entries }),
                _ => self.mistyped(key, item, "a table", report),
            }
        }
        tables
    }

    /// The table of `[key]`.
    pub(super) fn table(&self, key: &'static str, report: &mut Report<'_>) -> Option<Self> {
        let value = self.entries.get(key)?;
        if let DeValue::Table(entries) = value.get_ref() {
            return Some(Self { source: self.source, span: value.span(), entries });
        }
        self.mistyped(key, value, &format!("a table under `[{key}]`"), report);
        None
    }

    /// The table that is an entry's value; `None` if the value is none.
    pub(super) fn inner(&self, value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        let DeValue::Table(entries) = value.get_ref() else { return None };
        Some(Self { source: self.source, span: value.span(), entries })
    }

    /// The time of that key, in UTC.
    pub(super) fn moment(&self, key: &'static str, report: &mut Report<'_>) -> Option<Timestamp> {
        let value = self.entries.get(key)?;
        let text = match value.get_ref() {
            DeValue::Datetime(moment) => moment.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => String::new(),
        };
        let time = humantime::parse_rfc3339(&text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        if let Some(time) = time {
            return Some(Timestamp::from_unix_seconds(0).plus(time));
        }
        let problem = Problem::error(self.source, value.span(), format!("`{key}` is not a date and time in UTC"), "");
        report.error(problem.help(format!("write `{key} = 2026-01-05T19:30:00Z`")));
        None
    }

    /// The span of that key.
    pub(super) fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(name, _)| name.span())
    }

    /// Whether the key is present, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// An error about the table as a whole.
    pub(super) fn problem(&self, message: impl Into<String>, label: impl Into<String>) -> Problem {
        Problem::error(self.source, self.span.clone(), message, label)
    }

    fn mistyped(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, report: &mut Report<'_>) {
        let label = format!("this is {}", describe(value.get_ref()));
        let problem = Problem::error(self.source, value.span(), format!("`{key}` must be {wanted}"), label);
        report.error(match value.get_ref() {
            DeValue::String(text) if wanted == "a list of strings" => problem.help(format!("write `[\"{text}\"]`")),
            _ => problem,
        });
    }
}

/// The values a key can have.
pub(super) struct Words<T: 'static> {
    pub(super) known: &'static [(&'static str, T)],
    /// Values of later versions, which are reported as such.
    pub(super) later: &'static [&'static str],
}

/// Why a pattern is invalid, from the last line of the error that `regex` renders.
pub(super) fn unreadable(error: &regex::Error) -> String {
    let drawn = error.to_string();
    let why = drawn.lines().last().and_then(|line| line.strip_prefix("error: "));
    why.map_or_else(
        || "this is not a regular expression".to_owned(),
        |why| format!("this is not a regular expression: {why}"),
    )
}

/// Suggests the closest of `known` to a word that is none of them, or lists them.
pub(super) fn advice<'a>(written: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match closest(written, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", list(known)),
    }
}

fn not_supported(source: &Arc<Source>, span: Range<usize>, what: &str) -> Problem {
    let message = format!("`{what}` is not supported by this version");
    Problem::error(source, span, message, "not supported").help("take it out: what it asks for would not happen")
}

/// The value as JSON, with dates as strings; `None` if a number cannot be represented.
pub(super) fn json_of(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect::<Option<_>>()?,
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(moment) => moment.to_string().into(),
        DeValue::Float(number) => Number::from_f64(number.as_str().parse().ok()?)?.into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Table(entries) => {
            let members =
                entries.iter().map(|(key, value)| Some((key.get_ref().to_string(), json_of(value.get_ref())?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Float(_) | DeValue::Integer(_) => "a number",
        DeValue::String(_) => "a string",
        DeValue::Table(_) => "a table",
    }
}
