//! What `proxy.toml.example` says of each key.

use std::collections::HashMap;

use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

/// Values of the example that are nobody's default, by path.
const NO_DEFAULT: &[&str] = &[
    "server.public_url",
    "server.tls.cert_file",
    "server.tls.key_file",
    "admin.listen",
    "issuers.*.issuer",
    "servers.*.path",
    "servers.*.upstream",
    "servers.*.policies",
    "servers.*.issuers",
    "servers.*.audiences",
    "UPSTREAM_AUTH.type",
    "UPSTREAM_AUTH.token",
];

/// Sentences and defaults by dotted path, with `*` for names of the user's choosing.
#[derive(Debug, Default)]
pub(super) struct Notes {
    sentences: HashMap<String, String>,
    defaults: HashMap<String, Value>,
}

impl Notes {
    /// Reads the example: a comment is about the key or table below it, and about those that follow without a comment.
    pub(super) fn read() -> Self {
        let mut notes = Self::default();
        let (mut table, mut comment, mut above) = (String::new(), Vec::new(), String::new());
        for line in EXAMPLE.lines() {
            if let Some(path) = header(line) {
                table = path;
                notes.note(&table, &sentence(&comment));
                (comment, above) = (Vec::new(), String::new());
            } else if let Some((key, value)) = setting(line) {
                let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
                if !comment.is_empty() {
                    above = sentence(&comment);
                    comment = Vec::new();
                }
                notes.note(&path, &above);
                if !line.starts_with('#') && !NO_DEFAULT.contains(&path.as_str()) {
                    notes.defaults.extend(toml_value(value).map(|value| (path, value)));
                }
            } else if let Some(text) = line.strip_prefix("# ").filter(|text| !text.starts_with(' ')) {
                comment.push(text);
            } else if line.is_empty() {
                (comment, above) = (Vec::new(), String::new());
            }
        }
        notes
    }

    /// The first sentence of a path stays: later servers of the example show other kinds.
    fn note(&mut self, path: &str, sentence: &str) {
        if !sentence.is_empty() && !self.sentences.contains_key(path) {
            self.sentences.insert(path.to_owned(), sentence.to_owned());
        }
    }

    pub(super) fn sentence(&self, path: &str) -> Option<&str> {
        // The keys of the upstream's own authorization server are those of the one that is asked first.
        let sentence = self.sentences.get(path);
        sentence.or_else(|| self.sentences.get(&path.replace(".authorization_server", ""))).map(String::as_str)
    }

    pub(super) fn default_of(&self, path: &str) -> Option<&Value> {
        self.defaults.get(path)
    }
}

/// The path of `[a.b]` or `[[a.b]]`, commented or not.
fn header(line: &str) -> Option<String> {
    let inner = line.strip_prefix('#').unwrap_or(line).strip_prefix('[')?.strip_suffix(']')?;
    let (inner, repeated) = match inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => (inner, true),
        None => (inner, false),
    };
    let mut parts: Vec<&str> = inner.split('.').collect();
    if let [first, name, ..] = parts.as_mut_slice()
        && matches!(*first, "issuers" | "servers")
    {
        *name = "*";
    }
    if repeated {
        parts.push("*");
    }
    match parts.as_slice() {
        ["servers", "*", "upstream_auth", rest @ ..] | ["servers", "*", "tool_auth", _, rest @ ..] => {
            Some([&["UPSTREAM_AUTH"], rest].concat().join("."))
        }
        ["servers", "*", "metadata", "languages", _] => Some("servers.*.metadata.languages.*".to_owned()),
        parts => Some(parts.join(".")),
    }
}

/// Key and value of a line that sets something, commented or not.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")?;
    (!key.contains(' ') && !key.is_empty()).then_some((key, value))
}

/// The comment as one sentence, without the dots that join it to its neighbours.
fn sentence(comment: &[&str]) -> String {
    let text = comment.join(" ");
    let text = text.trim_start_matches("... ").trim_end_matches(" ...").trim_end_matches(':');
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A TOML value as JSON; `None` for what is none, such as the header of a table.
pub(super) fn toml_value(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    match table.get("value")? {
        toml::Value::Datetime(moment) => Some(moment.to_string().into()),
        other => serde_json::to_value(other).ok(),
    }
}
