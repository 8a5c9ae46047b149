//! Places that are never masked: ids, cursors, tokens, names that rules decide on.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::json::{Kind, Member, Value};

/// The longest opaque text, in bytes; a longer one is no identifier.
const LONGEST: usize = 2048;

/// Members that are numbers or booleans in every revision: a string there is not the protocol's.
pub(super) const WITHOUT_TEXT: [&str; 13] = [
    "code",
    "hasMore",
    "isError",
    "maxTokens",
    "maximum",
    "minimum",
    "pollInterval",
    "priority",
    "progress",
    "size",
    "total",
    "ttl",
    "ttlMs",
];

/// A pattern of JSON Pointers (RFC 6901) relative to the walked value: `*` matches one token, `**` at the end any number of
/// them, and `**` in the middle the path from a JSON Schema to a subschema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque {
    tokens: Box<[Token]>,
    /// Whether the value is sealed for the client, and opaque at any length: it is opened or refused on its way up, and sealed
    /// on its way down.
    sealed: bool,
    /// Whether the place may have a string.
    text: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Any,
    AnyNumber,
    Name(Box<str>),
}

/// The patterns of the method table, compiled when first needed and kept: the table is static, and so are they.
static COMPILED: RwLock<Option<HashMap<usize, &'static [Opaque]>>> = RwLock::new(None);

/// The compiled form of a row of the method table.
pub(super) fn compiled(places: &'static [&'static str]) -> &'static [Opaque] {
    if places.is_empty() {
        return &[];
    }
    // Rows are static slices, so that address and length identify them.
    let row = places.as_ptr() as usize ^ places.len().rotate_left(48);
    let known = COMPILED.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = known.as_ref().and_then(|known| known.get(&row)) {
        return compiled;
    }
    drop(known);
    let compiled: Box<[Opaque]> = places.iter().map(|place| Opaque::new(place)).collect();
    let mut known = COMPILED.write().unwrap_or_else(PoisonError::into_inner);
    known.get_or_insert_default().entry(row).or_insert_with(|| Box::leak(compiled))
}

/// One step of a path into a document.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Item(usize),
    Key(Member<'a>),
}

impl Opaque {
    /// Compiles a pattern of the method table, like `/content/*/type`; the empty pattern is the walked value itself.
    pub fn new(pattern: &str) -> Self {
        let tokens = pattern.split('/').skip(1).map(|token| match token {
            "*" => Token::Any,
            "**" => Token::AnyNumber,
            name => Token::Name(name.replace("~1", "/").replace("~0", "~").into()),
        });
        let sealed = matches!(pattern, "/cursor" | "/nextCursor" | "/requestState");
        let text = !pattern.rsplit('/').next().is_some_and(|name| WITHOUT_TEXT.contains(&name));
        Self { tokens: tokens.collect(), sealed, text }
    }

    /// Whether `path` leads to a place of this pattern.
    pub(super) fn matches(&self, path: &[Step<'_>]) -> bool {
        // The common case: the last name differs.
        if let (Some(last @ Token::Name(_)), Some(step)) = (self.tokens.last(), path.last())
            && !last.admits(step)
        {
            return false;
        }
        // The usual wildcard matching: on a mismatch the last `**` takes one more step.
        let (mut step, mut token) = (0, 0);
        let mut retry: Option<(usize, usize, Inside)> = None;
        while step < path.len() {
            match self.tokens.get(token) {
                Some(Token::AnyNumber) => {
                    if token + 1 == self.tokens.len() {
                        return true;
                    }
                    retry = Some((step, token, Inside::Schema));
                    token += 1;
                    continue;
                }
                Some(wanted) if wanted.admits(&path[step]) => {
                    step += 1;
                    token += 1;
                    continue;
                }
                _ => {}
            }
            let Some((mut from, at, mut inside)) = retry else { return false };
            // A keyword counts only directly in a schema: steps to the next subschema are taken together.
            loop {
                let Some(over) = path.get(from) else { return false };
                inside = inside.below(over);
                from += 1;
                match inside {
                    Inside::Data => return false,
                    Inside::Names => {}
                    Inside::Schema => break,
                }
            }
            retry = Some((from, at, inside));
            (step, token) = (from, at + 1);
        }
        self.tokens[token..].iter().all(|rest| *rest == Token::AnyNumber)
    }
}

/// The meaning of a place inside a JSON Schema (JSON Schema 2020-12, Core, section 10).
#[derive(Clone, Copy)]
enum Inside {
    /// Plain data, whatever its members are called.
    Data,
    /// An object of schemas by names the author chose.
    Names,
    /// A schema, or a list of them.
    Schema,
}

impl Inside {
    /// The meaning one step further.
    fn below(self, step: &Step<'_>) -> Self {
        const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
        const NAMES: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
        match (self, step) {
            (Self::Data, _) => Self::Data,
            (Self::Schema, Step::Key(member)) if DATA.iter().any(|name| member.name_is(name)) => Self::Data,
            (Self::Schema, Step::Key(member)) if NAMES.iter().any(|name| member.name_is(name)) => Self::Names,
            (Self::Names | Self::Schema, _) => Self::Schema,
        }
    }
}

impl Token {
    fn admits(&self, step: &Step<'_>) -> bool {
        match (self, step) {
            (Self::Any | Self::AnyNumber, _) => true,
            (Self::Name(name), Step::Key(member)) => member.name_is(name),
            (Self::Name(name), Step::Item(index)) => name.parse() == Ok(*index),
        }
    }
}

/// Whether `value` at `path` is opaque. Objects, arrays and long texts never are.
pub(super) fn covers(patterns: &[Opaque], path: &[Step<'_>], value: Value<'_>) -> bool {
    let fits = |pattern: &Opaque| match value.kind() {
        Kind::String if pattern.sealed => true,
        Kind::String if !pattern.text => false,
        Kind::Array | Kind::Key | Kind::Object => false,
        Kind::Bool | Kind::Null | Kind::Number => true,
        // The length counts decoded: a name that rules decided on must not be masked because of its escapes.
        Kind::String => value.raw().len() <= LONGEST + 2 || value.as_str().is_some_and(|text| text.len() <= LONGEST),
    };
    patterns.iter().any(|pattern| pattern.matches(path) && fits(pattern))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Opaque, Step, covers};
    use crate::json::{Document, Limits, Value};

    /// Whether the place at `keys` of a document made of them is opaque.
    fn matches(pattern: &'static str, keys: &[&str]) -> bool {
        let (mut text, mut tail) = (String::new(), String::new());
        for key in keys {
            let (open, close) = if *key == "0" { ("[".to_owned(), "]") } else { (format!("{{\"{key}\":"), "}") };
            text.push_str(&open);
            tail.insert_str(0, close);
        }
        let document = Document::parse(Bytes::from(format!("{text}\"x\"{tail}")), &Limits::REQUEST).unwrap();
        let (mut path, mut value): (Vec<Step<'_>>, Value<'_>) = (Vec::new(), document.root());
        while let Some(inner) = value.items().next().or_else(|| value.members().next().map(|member| member.value)) {
            path.push(value.members().next().map_or(Step::Item(0), Step::Key));
            value = inner;
        }
        covers(&[Opaque::new(pattern)], &path, value)
    }

    #[test]
    fn matches_pointers_with_wildcards() {
        let cases: &[(&'static str, &[&str], bool)] = &[
            ("/cursor", &["cursor"], true),
            ("/cursor", &["x"], false),
            ("/cursor", &["cursor", "x"], false),
            ("/content/*/type", &["content", "0", "type"], true),
            ("/content/*/type", &["content", "0", "text"], false),
            ("/content/*/type", &["content", "0", "a", "type"], false),
            ("/content/0/type", &["content", "0", "type"], true),
            ("/content/1/type", &["content", "0", "type"], false),
            ("/**/id", &["id"], true),
            ("/**/id", &["a", "b", "id"], true),
            ("/**/id", &["a", "b", "ids"], false),
            ("/a/**/b/**/c", &["a", "b", "x", "b", "c"], true),
            ("/s/**/const/**", &["s", "const", "x"], true),
            ("/s/**/const/**", &["s", "properties", "p", "items", "0", "const"], true),
            ("/s/**/const/**", &["s", "properties", "const", "description"], false),
            ("/s/**/const/**", &["s", "properties", "properties", "const", "x"], true),
            ("/s/**/const/**", &["s", "properties", "const", "const", "x"], true),
            ("/s/**/const/**", &["s", "default", "const", "x"], false),
            ("/s/**/type", &["s", "examples", "0", "type"], false),
            ("/s/**/type", &["s", "$defs", "examples", "anyOf", "0", "type"], true),
            ("/s/**/properties/*", &["s", "properties", "p"], true),
            ("/a/**/b/**/c", &["a", "x", "c"], false),
            ("/a/**", &["a", "x", "y"], true),
            ("/a/**", &["b"], false),
            ("", &[], true),
            ("/a~1b", &["a/b"], true),
        ];
        for (pattern, path, wanted) in cases {
            assert_eq!(matches(pattern, path), *wanted, "{pattern} {path:?}");
        }
    }

    #[test]
    fn only_small_leaves_are_opaque() {
        let (escaped, long) = (r"\u0078".repeat(2048), "x".repeat(2049));
        let long = format!(r#"{{"a":"{}","b":"{long}","c":{{}},"d":1,"e":"{escaped}"}}"#, "x".repeat(2048));
        let document = Document::parse(Bytes::from(long), &Limits::REQUEST).unwrap();
        let covered: Vec<bool> = document
            .root()
            .members()
            .map(|member| covers(&[Opaque::new("/*")], &[Step::Key(member)], member.value))
            .collect();
        assert_eq!(covered, [true, false, false, true, true]);
    }

    #[test]
    fn text_is_opaque_only_where_the_protocol_has_text() {
        let source =
            r#"{"code":"jane@example.com","isError":"jane@example.com","ttlMs":"jane@example.com","type":"text"}"#;
        let document = Document::parse(Bytes::from(source), &Limits::REQUEST).unwrap();
        let patterns = ["/code", "/isError", "/ttlMs", "/type"].map(Opaque::new);
        let covered = document.root().members().map(|member| covers(&patterns, &[Step::Key(member)], member.value));
        assert_eq!(covered.collect::<Vec<_>>(), [false, false, false, true]);
    }
}
