//! Compares the parsed file with the table of keys, so that every unknown, mistyped and unsupported key is reported at once and
//! not only the first; refused keys are removed, and short forms expanded.

use std::borrow::Cow;
use std::collections::HashSet;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::expand::{ExpandError, expand};
use super::keys::{Key, Kind, SECRET, Table};
use super::problem::{Problem, Problems, Source};
use super::suggest::{closest, list};

/// One comparison.
pub(super) struct Walk<'a> {
    pub(super) file: &'a Arc<Source>,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: &'a mut Problems,
    /// Keys, by the span of their table, whose absence is explained by a problem already reported.
    pub(super) excused: HashSet<(Range<usize>, &'static str)>,
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Place<'a> {
    schema: &'static Table,
    /// `servers.crm`; empty at the top.
    path: &'a str,
}

impl Place<'_> {
    fn header(self) -> String {
        if self.path.is_empty() { "the top level".to_owned() } else { format!("`[{}]`", self.path) }
    }

    fn below(self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl Walk<'_> {
    /// Compares the whole file.
    pub(super) fn file(&mut self, root: &mut Spanned<DeTable<'_>>, schema: &'static Table) {
        let span = root.span();
        self.table(root.get_mut(), &span, Place { schema, path: "" });
    }

    fn table(&mut self, table: &mut DeTable<'_>, span: &Range<usize>, place: Place<'_>) {
        for (key, mut value) in mem::replace(table, DeTable::new()) {
            let Some(known) = place.schema.find(key.get_ref()) else {
                self.unknown(&key, table, span, place);
                continue;
            };
            if self.value(known, &mut value, &place.below(known.name)) {
                table.insert(key, value);
            } else {
                self.excused.insert((span.clone(), known.name));
            }
        }
    }

    fn unknown(&mut self, key: &Spanned<Cow<'_, str>>, table: &DeTable<'_>, span: &Range<usize>, place: Place<'_>) {
        let name: &str = key.get_ref();
        if let Some(later) = place.schema.later.iter().find(|later| **later == name) {
            self.excused.insert((span.clone(), later));
            let problem = Problem::error(
                self.file,
                key.span(),
                format!("`{}` is not supported by this version", place.below(name)),
                "not supported",
            );
            self.problems.push(problem.help("take it out: what it asks for would not happen"));
            return;
        }
        let problem = Problem::error(
            self.file,
            key.span(),
            format!("unknown key `{name}`"),
            format!("not a key of {}", place.header()),
        );
        let synonym = place.schema.synonyms.iter().find(|(synonym, _)| *synonym == name).map(|(_, key)| *key);
        let near = synonym.or_else(|| closest(name, place.schema.keys.iter().map(|key| key.name)));
        let problem = match near {
            Some(near) if table.get(near).is_none() => {
                if let Some(known) = place.schema.find(near) {
                    self.excused.insert((span.clone(), known.name));
                }
                let title = if synonym.is_some() { "the key is called" } else { "did you mean" };
                let mark = if synonym.is_some() { "" } else { "?" };
                problem.suggest(key.span(), near, format!("{title} `{near}`{mark}"))
            }
            _ => problem.help(format!("the keys of {} are {}", place.header(), place.schema.names())),
        };
        self.problems.push(problem);
    }

    /// Whether the value may stay.
    fn value(&mut self, key: &'static Key, value: &mut Spanned<DeValue<'_>>, path: &str) -> bool {
        let span = value.span();
        match (key.kind, value.get_mut()) {
            (Kind::Flag, DeValue::Boolean(_)) => true,
            (Kind::Whole, DeValue::Integer(number)) if whole(number).is_some() => true,
            (Kind::Duration | Kind::Moment | Kind::Size | Kind::Text | Kind::TextOrTexts, DeValue::String(text)) => {
                let fits = self.string(text, &span);
                if fits && matches!(key.kind, Kind::TextOrTexts) {
                    let mut list = DeArray::new();
                    list.push(Spanned::new(span, DeValue::String(mem::take(text))));
                    *value.get_mut() = DeValue::Array(list);
                }
                fits
            }
            (Kind::Size, DeValue::Integer(number)) if whole(number).is_some() => {
                let text = whole(number).unwrap_or_default().to_string();
                *value.get_mut() = DeValue::String(Cow::Owned(text));
                true
            }
            (Kind::Moment, DeValue::Datetime(moment)) => {
                let text = moment.to_string();
                *value.get_mut() = DeValue::String(Cow::Owned(text));
                true
            }
            (Kind::Texts | Kind::TextOrTexts, DeValue::Array(items)) => self.texts(key, items, path),
            (Kind::Table(schema), DeValue::Table(table)) => {
                self.table(table, &span, Place { schema, path });
                true
            }
            (Kind::Secret, DeValue::Table(table)) => {
                self.table(table, &span, Place { schema: &SECRET, path });
                true
            }
            (Kind::Map, DeValue::Table(table)) => self.map(key, table, path),
            (Kind::Named(schema), DeValue::Table(table)) => {
                self.named(key, table, Place { schema, path });
                true
            }
            (Kind::Tables(schema), DeValue::Array(items)) => self.tables(key, items, Place { schema, path }),
            (_, other) => {
                let found = describe(other);
                self.mistyped(key, span, found, path);
                false
            }
        }
    }

    /// One string of a list or map.
    fn text(&mut self, key: &'static Key, value: &mut Spanned<DeValue<'_>>, path: &str) -> bool {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) => self.string(text, &span),
            other => {
                let found = describe(other);
                self.mistyped(key, span, found, path);
                false
            }
        }
    }

    /// Strings with keys of the user's choosing.
    fn map(&mut self, key: &'static Key, table: &mut DeTable<'_>, path: &str) -> bool {
        let mut fits = true;
        for (_, value) in table.iter_mut() {
            fits &= self.text(key, value, path);
        }
        fits
    }

    /// Tables with names of the user's choosing.
    fn named(&mut self, key: &'static Key, table: &mut DeTable<'_>, place: Place<'_>) {
        for (name, mut value) in mem::replace(table, DeTable::new()) {
            let (span, path) = (value.span(), place.below(name.get_ref()));
            if let DeValue::Table(inner) = value.get_mut() {
                self.table(inner, &span, Place { path: &path, ..place });
                table.insert(name, value);
                continue;
            }
            // Named tables are at the top, whose span is empty.
            self.excused.insert((0..0, key.name));
            let problem = Problem::error(
                self.file,
                name.span(),
                format!("`{path}` must be a table"),
                format!("this is {}", describe(value.get_ref())),
            );
            let problem = problem.help(format!("every one has a name and a table of its own: `{}`", key.example));
            self.problems.push(problem);
        }
    }

    fn tables(&mut self, key: &'static Key, items: &mut DeArray<'_>, place: Place<'_>) -> bool {
        let mut fits = true;
        for item in items.iter_mut() {
            let span = item.span();
            match item.get_mut() {
                DeValue::Table(table) => self.table(table, &span, place),
                other => {
                    let found = describe(other);
                    self.mistyped(key, span, found, place.path);
                    fits = false;
                }
            }
        }
        fits
    }

    fn texts(&mut self, key: &'static Key, items: &mut DeArray<'_>, path: &str) -> bool {
        let mut fits = true;
        for item in items.iter_mut() {
            fits &= self.text(key, item, path);
        }
        fits
    }

    /// Expands variables in place.
    fn string(&mut self, text: &mut Cow<'_, str>, span: &Range<usize>) -> bool {
        let expanded = match expand(text, self.variable) {
            Ok(Cow::Borrowed(_)) => return true,
            Ok(Cow::Owned(expanded)) => expanded,
            Err(error) => {
                self.unexpanded(text, span, &error);
                return false;
            }
        };
        *text = Cow::Owned(expanded);
        true
    }

    fn unexpanded(&mut self, text: &str, span: &Range<usize>, error: &ExpandError) {
        let (ExpandError::Name(at) | ExpandError::Open(at) | ExpandError::Unset(_, at)) = error;
        // Inside a plain one-line string content and source agree byte for byte; else the whole value is shown.
        let plain = span.len() == text.len() + 2;
        let span = if plain { span.start + 1 + at.start..span.start + 1 + at.end } else { span.clone() };
        let (label, help) = match error {
            ExpandError::Unset(..) => ("not set", "set it, or write `$${` where a plain `${` is meant"),
            ExpandError::Name(_) | ExpandError::Open(_) => {
                ("not a variable", "write `${NAME}`, or `$${` where a plain `${` is meant")
            }
        };
        self.problems.push(Problem::error(self.file, span, error.to_string(), label).help(help));
    }

    fn mistyped(&mut self, key: &'static Key, span: Range<usize>, found: &str, path: &str) {
        let message = format!("`{path}` must be {}", key.kind.wanted());
        let problem = Problem::error(self.file, span, message, format!("this is {found}"));
        let help = match key.kind {
            Kind::Secret => format!(
                "write `{0} = {{ file = \"…\" }}`, `{0} = {{ env = \"…\" }}` or `{0} = {{ credential = \"…\" }}`",
                key.name
            ),
            Kind::Named(_) => format!("every one has a name and a table of its own: `{}`", key.example),
            Kind::Table(_) if key.example.starts_with('[') => format!("write `{}` above its keys", key.example),
            _ => format!("for example `{} = {}`", key.name, key.example),
        };
        self.problems.push(problem.help(help));
    }
}

fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Integer(number) if whole(number).is_none() => "a number that is too large",
        DeValue::Integer(_) => "a whole number",
        DeValue::String(_) => "a string",
        DeValue::Table(_) => "a table",
    }
}

/// The closest of `known` to a name that is none of them, as advice.
pub(super) fn advice<'a>(written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match closest(written, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", list(known)),
    }
}
