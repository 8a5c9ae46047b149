//! Approved tool definitions: `SERVER.lock`, one line per tool, with its whole definition and a hash over it.
//!
//! A definition that is not the approved one may say anything to a model (OWASP MCP Top 10, "rug pull"). The file has the text
//! of the definition so that a change can be read, in a review of the file and in `tools --verify`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::{Annotations, Offered};
use crate::config::{Problem, Problems, Source, text};
use crate::json::{Document, Kind, Limits, Value, quoted};

/// The members of a definition that are approved, in the order they are hashed.
const PARTS: [&str; 6] = ["annotations", "description", "inputSchema", "name", "outputSchema", "title"];
/// The largest lock file, in bytes.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// SHA-256 over a definition in canonical form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The approved definitions of one server.
#[derive(Clone, Debug, Default)]
pub struct Lock {
    tools: BTreeMap<Box<str>, Pinned>,
}

#[derive(Clone, Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    canonical: Box<str>,
    annotations: Annotations,
}

impl Pinned {
    fn of(canonical: String) -> Self {
        let stated = Document::parse(Bytes::copy_from_slice(canonical.as_bytes()), &Limits::ANSWER);
        let annotations = stated.map_or(Annotations::WORST, |document| Annotations::stated(document.root()));
        Self { fingerprint: fingerprint(&canonical), canonical: canonical.into(), annotations }
    }
}

/// How a definition differs from the approved ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// No definition of that name was approved.
    Added,
    /// Another definition was approved.
    Changed,
}

impl Drift {
    /// Its name in logs and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
        }
    }
}

/// An error in a lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockError {
    /// Its byte offset in the file.
    pub at: usize,
    /// What is wrong.
    pub message: &'static str,
}

/// A member of a definition that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `description`, `inputSchema`, …
    pub part: &'static str,
    /// The approved value, as JSON; `None` if it is new.
    pub before: Option<String>,
    /// The current value, as JSON; `None` if it was removed.
    pub after: Option<String>,
}

/// The canonical form of a definition: its approved members, with keys sorted and without white space (similar to RFC 8785, but
/// numbers stay as written, so that no change of spelling is overlooked).
pub fn canonical(definition: Value<'_>) -> String {
    let mut out = String::with_capacity(definition.raw().len());
    let mut before = '{';
    for part in PARTS {
        let Some(value) = definition.get(part) else { continue };
        out.push(before);
        before = ',';
        out.push_str(&quoted(part));
        out.push(':');
        write_canonical(value, &mut out);
    }
    if before == '{' {
        out.push('{');
    }
    out.push('}');
    out
}

fn write_canonical(value: Value<'_>, out: &mut String) {
    match value.kind() {
        Kind::Object => {
            let mut members: Vec<_> = value.members().map(|member| (member.name(), member.value)).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&visible(&name));
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (at, item) in value.items().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Kind::String => out.push_str(&visible(&value.as_str().unwrap_or_default())),
        Kind::Bool | Kind::Key | Kind::Null | Kind::Number => out.push_str(&String::from_utf8_lossy(value.raw())),
    }
}

/// A JSON string with everything beyond ASCII escaped, so that nothing is hidden from a reviewer.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for char in quoted(text).chars() {
        if char.is_ascii() {
            out.push(char);
        } else {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// The hash of a definition in canonical form.
pub fn fingerprint(canonical: &str) -> Fingerprint {
    let hash = digest(&SHA256, canonical.as_bytes());
    Fingerprint(hash.as_ref().first_chunk().copied().unwrap_or_default())
}

impl Lock {
    /// Parses a lock file. Errs with everything that is wrong with it.
    pub fn read(text: &str) -> Result<Self, Vec<LockError>> {
        let (mut lock, mut errors, mut at) = (Self::default(), Vec::new(), 0);
        for line in text.split_inclusive('\n') {
            let start = at;
            at += line.len();
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(message) = lock.line(line.trim_end()) {
                errors.push(LockError { at: start, message });
            }
        }
        if errors.is_empty() { Ok(lock) } else { Err(errors) }
    }

    /// Loads the lock file of a server. Errs with everything that is wrong with it, each at its place.
    pub fn load(path: &Path, server: &str) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let read = std::fs::metadata(path).and_then(|meta| match meta.len() {
            length if length > MOST_BYTES => Err(std::io::Error::other("it is larger than 64 MiB")),
            _ => text::read(path),
        });
        let text = match read {
            Ok(text) => text,
            Err(error) => {
                let source = Arc::new(Source::new(path, String::new()));
                let problem = Problem::error(&source, 0..0, format!("cannot read the lock file: {error}"), "");
                problems.push(problem.help(format!("write it with `portcullis tools {server} --lock`")));
                return Err(problems);
            }
        };
        Self::read(&text).map_err(|errors| {
            let source = Arc::new(Source::new(path, text.clone()));
            for error in errors {
                let problem = Problem::error(&source, error.at..error.at + 1, error.message, "");
                problems
                    .push(problem.help(format!(
                        "write it again with `portcullis tools {server} --lock`, and read what changes"
                    )));
            }
            problems
        })
    }

    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let document = Document::parse(Bytes::copy_from_slice(line.as_bytes()), &Limits::ANSWER)
            .map_err(|_| "this line is not a JSON object")?;
        let root = document.root();
        let known = |name: &str| matches!(name, "definition" | "sha256" | "tool");
        if root.kind() != Kind::Object || !root.members().all(|member| known(&member.name())) {
            return Err("this line has something else than `tool`, `sha256` and `definition`");
        }
        let text = |key| root.get(key).and_then(|value| value.as_str()).ok_or("this line has no `tool` or no `sha256`");
        let (tool, hash) = (text("tool")?, text("sha256")?);
        let definition = root.get("definition").ok_or("this line has no `definition`")?;
        if definition.get("name").and_then(|name| name.as_str()).as_deref() != Some(&*tool) {
            return Err("`tool` and the definition's `name` are not the same");
        }
        let canonical = canonical(definition);
        let pinned = Pinned::of(canonical);
        if pinned.fingerprint.to_string() != format!("sha256:{hash}") {
            return Err("`sha256` is not the hash of the definition: one of them was changed by hand");
        }
        match self.tools.insert(tool.into(), pinned) {
            None => Ok(()),
            Some(_) => Err("this tool is there twice"),
        }
    }

    /// The text of the lock file.
    pub fn write(&self, server: &str) -> String {
        let mut out = format!(
            "# The tool definitions of `{server}` that were approved, one a line. Written by `portcullis tools {server} --lock`;\n\
             # approve a change with `portcullis tools {server} --approve TOOL` after reading it.\n"
        );
        for (tool, pinned) in &self.tools {
            let hash = HEXLOWER.encode(&pinned.fingerprint.0);
            let (tool, definition) = (visible(tool), &pinned.canonical);
            let _ = writeln!(out, "{{\"tool\":{tool},\"sha256\":\"{hash}\",\"definition\":{definition}}}");
        }
        out
    }

    /// Approves a definition, replacing any other of that name.
    pub fn approve(&mut self, name: &str, canonical: String) {
        self.tools.insert(name.into(), Pinned::of(canonical));
    }

    /// Removes the approval of a name; returns whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.tools.remove(name).is_some()
    }

    /// All approved names.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.tools.keys().map(|name| &**name)
    }

    /// The annotations of the approved definition of that name.
    pub fn annotations(&self, name: &str) -> Option<Annotations> {
        self.tools.get(name).map(|pinned| pinned.annotations)
    }

    /// The name and fingerprint of each definition.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = (&str, Fingerprint)> {
        self.tools.iter().map(|(name, pinned)| (&**name, pinned.fingerprint))
    }

    /// The approved definition of that name, in canonical form.
    pub fn definition(&self, name: &str) -> Option<&str> {
        self.tools.get(name).map(|pinned| &*pinned.canonical)
    }

    /// The approved tools, for comparison with a policy.
    pub(crate) fn offered(&self) -> Vec<Offered> {
        let schema = |canonical: &str| {
            serde_json::from_str::<serde_json::Value>(canonical).ok()?.as_object_mut()?.remove("inputSchema")
        };
        let tools = self.tools.iter();
        tools.map(|(name, pinned)| Offered { name: name.to_string(), schema: schema(&pinned.canonical) }).collect()
    }

    /// The number of approved definitions.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether none is approved.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// How a definition differs from the approved one of that name; `None` if it does not.
    pub fn drift(&self, name: &str, canonical: &str) -> Option<Drift> {
        match self.tools.get(name) {
            None => Some(Drift::Added),
            Some(pinned) if *pinned.canonical == *canonical => None,
            Some(_) => Some(Drift::Changed),
        }
    }

    /// The members of a definition that differ from the approved one.
    pub fn changes(&self, name: &str, canonical: &str) -> Vec<Change> {
        let parts =
            |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap_or_default();
        let before = self.tools.get(name).map(|pinned| parts(&pinned.canonical)).unwrap_or_default();
        let after = parts(canonical);
        let told = |value: Option<&serde_json::Value>| value.map(ToString::to_string);
        PARTS
            .into_iter()
            .filter(|part| before.get(*part) != after.get(*part))
            .map(|part| Change { part, before: told(before.get(part)), after: told(after.get(part)) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Change, Drift, Lock, canonical, fingerprint};
    use crate::json::{Document, Limits};

    fn canon(text: &str) -> String {
        canonical(Document::parse(text.to_owned().into(), &Limits::ANSWER).unwrap().root())
    }

    #[test]
    fn order_space_and_escapes_are_not_part_of_a_definition_and_everything_else_is() {
        let one = r#"{"name":"a","description":"x\u00e9","inputSchema":{"type":"object","properties":{"b":{},"a":{"maximum":1.0}}}}"#;
        let same = "{ \"inputSchema\": {\"properties\":{\"a\":{\"maximum\":1.0},\"b\":{}}, \"type\":\"object\"}, \"name\":\"\\u0061\", \"icons\":[], \"_meta\":{\"x\":1}, \"description\":\"xé\" }";
        assert_eq!(canon(one), canon(same));
        assert_eq!(
            canon(one),
            r#"{"description":"x\u00e9","inputSchema":{"properties":{"a":{"maximum":1.0},"b":{}},"type":"object"},"name":"a"}"#
        );
        for other in [
            one.replace("x\\u00e9", "x\\u00e8"),
            one.replace("1.0", "1.1"),
            one.replace(r#""b":{}"#, r#""c":{}"#),
            one.replace(r#"{"name":"a""#, r#"{"name":"a","title":"T""#),
            one.replace(r#"{"name":"a""#, r#"{"name":"a","annotations":{"readOnlyHint":true}"#),
            one.replace(r#"{"name":"a""#, r#"{"name":"a","outputSchema":{}"#),
        ] {
            assert_ne!(fingerprint(&canon(one)), fingerprint(&canon(&other)), "{other}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_change_by_hand_is_noticed() {
        let mut lock = Lock::default();
        let (a, b) = (r#"{"name":"a","description":"one"}"#, "{\"name\":\"b\\u202e\",\"title\":\"\u{202e}t\"}");
        lock.approve("a", canon(a));
        lock.approve("b\u{202e}", canon(b));
        let text = lock.write("crm");
        assert!(text.is_ascii() && text.lines().count() == 4, "{text}");
        let read = Lock::read(&text).unwrap();
        assert_eq!((read.len(), read.write("crm")), (2, text.clone()));
        assert_eq!(read.drift("a", &canon(a)), None);
        assert_eq!(read.drift("a", &canon(&a.replace("one", "two"))), Some(Drift::Changed));
        assert_eq!(read.drift("c", "{}"), Some(Drift::Added));
        let change = Change { part: "description", before: Some("\"one\"".into()), after: Some("\"two\"".into()) };
        assert_eq!(read.changes("a", &canon(&a.replace("one", "two"))), [change]);
        for (broken, message) in [
            (text.replace("\"one\"", "\"two\""), "not the hash"),
            (format!("{text}{}", text.lines().nth(2).unwrap()), "twice"),
            (text.replace("\"sha256\"", "\"sha\""), "something else"),
            (text.replace("\"tool\":\"a\"", "\"tool\":\"z\""), "not the same"),
            (format!("{text}not json\n"), "JSON object"),
            (format!("{text}{{\"tool\":\"x\",\"sha256\":\"\"}}\n"), "no `definition`"),
        ] {
            let errors = Lock::read(&broken).unwrap_err();
            assert!(errors[0].message.contains(message), "{message}: {errors:?}");
        }
        assert_eq!(Lock::read("").unwrap().len(), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = Lock::read(&text);
        }

        #[test]
        fn a_definition_is_always_its_own(description in "\\PC{0,40}", key in "\\PC{0,8}") {
            let definition = serde_json::json!({ "name": "t", "description": description, "inputSchema": { key: 1 } });
            let text = canon(&definition.to_string());
            let mut lock = Lock::default();
            lock.approve("t", text.clone());
            prop_assert_eq!(Lock::read(&lock.write("s")).unwrap().drift("t", &text), None);
        }
    }
}
