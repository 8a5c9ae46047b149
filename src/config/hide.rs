//! Overwrites secrets in a file's text before any of its lines is shown; byte for byte, so that spans remain valid.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys whose strings are secrets, known to this version or not.
const SECRET_KEYS: [&str; 9] =
    ["api_key", "client_secret", "key", "passphrase", "password", "private_key", "secret", "token", "value"];

/// Tables whose strings are all secrets.
const SECRET_TABLES: [&str; 1] = ["otlp_headers"];

/// User and password of a URL. Without the pattern all of a text would be hidden.
static USERINFO: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"://([^/\s"'?#]+)@"#).ok());

/// A string under a secret's key, or what looks like one where the file does not parse.
static ASSIGNMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let quoted = r#"(?:"""(?s:.*?)(?:"""|\z)|'''(?s:.*?)(?:'''|\z)|"[^"\n]*|'[^'\n]*|[^\s{\["'][^\n]*)"#;
    Regex::new(&format!(r#"["']?\b(?:{})["']?[ \t]*=[ \t]*({quoted})"#, SECRET_KEYS.join("|"))).ok()
});

/// `text` without the secrets of `root`, which was parsed from it.
pub(super) fn secrets(text: &str, root: &DeTable<'_>) -> String {
    let mut spans: Vec<Range<usize>> = Vec::new();
    strings_of(root, &mut spans);
    overwrite(text, &spans)
}

/// `text` without what may be secrets, for a file that is not TOML.
pub(super) fn likely_secrets(text: &str) -> String {
    overwrite(text, &matches(ASSIGNMENT.as_ref(), text))
}

/// What the first group of `pattern` matches; everything, where there is no pattern.
fn matches(pattern: Option<&Regex>, text: &str) -> Vec<Range<usize>> {
    match pattern {
        Some(pattern) => {
            pattern.captures_iter(text).filter_map(|found| found.get(1)).map(|found| found.range()).collect()
        }
        None => Vec::from([Range { start: 0, end: text.len() }]),
    }
}

fn strings_of(table: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Table(table) if SECRET_TABLES.contains(&key.get_ref().as_ref()) => {
                table.values().for_each(|value| below(value, true, spans));
            }
            _ => below(value, SECRET_KEYS.contains(&key.get_ref().as_ref()), spans),
        }
    }
}

fn below(value: &Spanned<DeValue<'_>>, secret: bool, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().for_each(|item| below(item, secret, spans)),
        DeValue::Table(table) => strings_of(table, spans),
        _ if secret => spans.push(value.span()),
        _ => {}
    }
}

fn overwrite(text: &str, spans: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in spans.iter().cloned().chain(matches(USERINFO.as_ref(), text)) {
        // Line breaks and quotes stay, to keep lines and strings recognisable; a character is hidden whole.
        for byte in bytes.get_mut(span).into_iter().flatten() {
            if !matches!(*byte, b'\n' | b'\r' | b'"' | b'\'') {
                *byte = b'*';
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::{likely_secrets, secrets};

    #[test]
    fn hides_what_must_not_be_shown() {
        for (text, expected) in [
            ("token = { value = \"s3cr3t\" }\n", "token = { value = \"******\" }\n"),
            ("token = \"s3é\"\nupstream = \"a\"", "token = \"****\"\nupstream = \"a\""),
            ("password = ['a', 'b']", "password = ['*', '*']"),
            ("token = { file = \"/run/x\" }", "token = { file = \"/run/x\" }"),
            ("token = 1234", "token = ****"),
            ("value = \"\"\"\na\nb\"\"\"\nx = 1", "value = \"\"\"\n*\n*\"\"\"\nx = 1"),
            ("upstream = \"http://ana:pw@host/x@y\"", "upstream = \"http://******@host/x@y\""),
        ] {
            let (root, errors) = DeTable::parse_recoverable(text);
            assert!(errors.is_empty());
            assert_eq!(secrets(text, root.get_ref()), expected);
        }
    }

    #[test]
    fn hides_in_files_that_do_not_parse() {
        for (text, expected) in [
            ("token = { value = \"s3cr3t }\n[x]", "token = { value = \"********\n[x]"),
            ("password = s3cr3t\nx", "password = ******\nx"),
            ("\"token\"='s3cr3t\nx", "\"token\"='******\nx"),
            ("value = \"\"\"\nabc\nd", "value = \"\"\"\n***\n*"),
            ("u = \"http://ana:pw@host/", "u = \"http://******@host/"),
        ] {
            assert_eq!(likely_secrets(text), expected);
        }
    }
}
