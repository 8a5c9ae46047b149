//! `[[describe]]`: the operator's title and description in place of the upstream's.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::lint;
use super::lock::Lock;
use super::table::{Keys, Report, Table, Text};
use crate::config::{Problem, Problems, Source};
use crate::json::{Document, Kind, Span, Splice, Value, quoted};

pub(super) const DESCRIBE: Keys =
    Keys { table: "`[[describe]]`", known: &["tool", "title", "description"], later: &["args", "prompt", "resource"] };

/// The longest title and description, in bytes.
const TITLE: usize = 200;
const DESCRIPTION: usize = 8 * 1024;

/// One `[[describe]]`.
#[derive(Clone, Debug)]
pub(super) struct Describe {
    tool: Text,
    words: Words,
}

/// The texts for one tool; where one is missing, the upstream's stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    title: Option<Box<str>>,
    description: Option<Box<str>>,
}

/// The texts for the tools of one server, by tool name.
#[derive(Clone, Debug, Default)]
pub struct Descriptions(HashMap<Box<str>, Words>);

/// The place of each in its file.
pub(super) type Places = Vec<(Box<str>, Arc<Source>, Range<usize>)>;

impl Describe {
    /// Reads one table; `None` if it names no tool. Problems go to `report`.
    pub(super) fn read(table: &Table<'_>, report: &mut Report<'_>) -> Option<Self> {
        table.check(&DESCRIBE, report);
        if !table.has("tool") {
            let problem = table.problem("a `[[describe]]` must say of which tool", "");
            report.error(problem.help("add `tool = \"get_contact\"`, the tool's exact name"));
        }
        let tool = table.text("tool", report);
        let title = words(table, "title", TITLE, report);
        let description = words(table, "description", DESCRIPTION, report);
        if !table.has("title") && !table.has("description") {
            let problem = table.problem("a `[[describe]]` must say something", "");
            report.error(problem.help("add a `title`, a `description` or both"));
        }
        let tool = tool?;
        if tool.get_ref().contains(['*', '?', '{', '[']) {
            let problem = Problem::error(table.source, tool.span(), "a `[[describe]]` is of one tool", "not a pattern");
            report.error(problem.help("write the tool's exact name"));
        }
        Some(Self { tool, words: Words { title, description } })
    }
}

impl Describe {
    /// What it says, wherever it stands.
    pub(super) fn said(&self) -> String {
        format!("{:?}{:?}", self.tool.get_ref(), self.words)
    }
}

fn words(table: &Table<'_>, key: &'static str, most: usize, report: &mut Report<'_>) -> Option<Box<str>> {
    let text = table.text(key, report)?;
    let words = text.get_ref().as_str();
    if words.len() > most {
        let message = format!("this `{key}` is longer than {most} bytes");
        report.error(Problem::error(table.source, text.span(), message, "every caller's model reads it"));
    }
    let found: Vec<String> = lint::find(words, &lint::Setting::default())
        .iter()
        .filter(|kind| kind.is_suspicious())
        .map(ToString::to_string)
        .collect();
    if !found.is_empty() {
        let message = format!("this `{key}` has {}", found.join(", "));
        let problem = Problem::warning(table.source, text.span(), message, "");
        report.warning(problem.help("it goes through the server's `lint` like the upstream's own words"));
    }
    Some(words.into())
}

/// Merges the descriptions of all files. A second one for the same tool is a problem.
pub(super) fn compile<'f>(
    files: impl Iterator<Item = (&'f Arc<Source>, &'f [Describe])>,
    report: &mut Report<'_>,
) -> (Descriptions, Places) {
    let (mut all, mut places) = (Descriptions::default(), Places::new());
    for (source, described) in files {
        for one in described {
            let name: Box<str> = one.tool.get_ref().as_str().into();
            if all.0.contains_key(&name) {
                let message = format!("the tool `{}` is described twice", name.escape_debug());
                let problem = Problem::error(source, one.tool.span(), message, "which of the two is meant?");
                report.error(problem.help("take one of them out"));
                continue;
            }
            places.push((name.clone(), Arc::clone(source), one.tool.span()));
            all.0.insert(name, one.words.clone());
        }
    }
    (all, places)
}

/// Warns of descriptions of tools that are not in the lock, which clients never see.
pub(super) fn check_lock(places: &Places, lock: &Lock, problems: &mut Problems) {
    for (name, source, span) in places {
        if lock.definition(name).is_some() {
            continue;
        }
        let message = format!("no tool `{}` is in the server's lock", name.escape_debug());
        let problem = Problem::warning(source, span.clone(), message, "nobody will read this");
        problems.push(problem.help(crate::policy::table::advice(name, lock.names())));
    }
}

impl Descriptions {
    /// The definition with the texts for its tool; `None` if there are none.
    pub(super) fn over(&self, name: &str, definition: &Document) -> Option<Bytes> {
        let words = self.0.get(name)?;
        let root = definition.root();
        let mut splice = Splice::new();
        let mut more = String::new();
        for (key, text) in [("title", &words.title), ("description", &words.description)] {
            let Some(text) = text else { continue };
            match root.get(key) {
                Some(value) => splice.replace(value.span(), quoted(text)),
                None => more.extend([&quoted(key), ":", &quoted(text), ","]),
            }
        }
        // Older clients show the `title` in the annotations.
        if let (Some(title), Some(shown)) = (&words.title, root.get("annotations").and_then(titled)) {
            splice.replace(shown.span(), quoted(title));
        }
        if !more.is_empty() {
            // A definition has at least a name, so that something follows the comma.
            let inside = root.span().start + 1;
            splice.replace(Span { start: inside, end: inside }, more);
        }
        Some(splice.apply(definition.bytes()))
    }
}

fn titled(annotations: Value<'_>) -> Option<Value<'_>> {
    annotations.get("title").filter(|title| title.kind() == Kind::String)
}

#[cfg(test)]
mod tests {
    use super::{Descriptions, Words};
    use crate::json::{Document, Limits};

    #[test]
    fn words_stand_in_place_of_the_upstreams_and_everything_else_stays() {
        let words = |title: Option<&str>, description: Option<&str>| Words {
            title: title.map(Into::into),
            description: description.map(Into::into),
        };
        for (before, words, after) in [
            (
                r#"{"name":"a","description":"evil"}"#,
                words(None, Some("good \"x\"")),
                r#"{"name":"a","description":"good \"x\""}"#,
            ),
            (r#"{ "name":"a" }"#, words(Some("T"), Some("D")), r#"{"title":"T","description":"D", "name":"a" }"#),
            (
                r#"{"title":null,"annotations":{"title":"Evil","readOnlyHint":true},"name":"a"}"#,
                words(Some("T"), None),
                r#"{"title":"T","annotations":{"title":"T","readOnlyHint":true},"name":"a"}"#,
            ),
            (
                r#"{"name":"a","description":{"x":["evil"]},"inputSchema":{"description":"kept"}}"#,
                words(None, Some("D")),
                r#"{"name":"a","description":"D","inputSchema":{"description":"kept"}}"#,
            ),
        ] {
            let all = Descriptions([("a".into(), words)].into_iter().collect());
            let document = Document::parse(before.to_owned().into(), &Limits::ANSWER).unwrap();
            assert_eq!(all.over("a", &document).unwrap(), after);
            assert_eq!(all.over("b", &document), None);
        }
    }
}
