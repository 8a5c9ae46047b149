//! Writes JSON values as YAML 1.1 and 1.2, for people: no line is longer than what it says, and longer texts stand as they are.

use std::fmt::Write as _;

use serde_json::Value;

/// Words that are not strings in one version of YAML or the other.
const WORDS: [&str; 9] = ["false", "n", "no", "null", "off", "on", "true", "y", "yes"];

/// A document, its last line ended.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    for line in lines(value) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The lines of a value that stands by itself.
fn lines(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().flat_map(item).collect(),
        Value::Object(members) if !members.is_empty() => {
            members.iter().flat_map(|(name, value)| member(name, value)).collect()
        }
        value => vec![scalar(value)],
    }
}

fn item(value: &Value) -> Vec<String> {
    let mut lines = lines(value);
    for (at, line) in lines.iter_mut().enumerate() {
        if !line.is_empty() {
            line.insert_str(0, if at == 0 { "- " } else { "  " });
        }
    }
    lines
}

fn member(name: &str, value: &Value) -> Vec<String> {
    let name = string(name);
    let indented = |lines: Vec<String>| {
        lines.into_iter().map(|line| if line.is_empty() { line } else { format!("  {line}") }).collect::<Vec<_>>()
    };
    let (head, below) = match value {
        Value::Array(items) if !items.is_empty() => (format!("{name}:"), lines(value)),
        Value::Object(members) if !members.is_empty() => (format!("{name}:"), indented(lines(value))),
        Value::String(text) if is_block(text) => {
            let (mark, text) = block(text);
            (format!("{name}: {mark}"), indented(text.split('\n').map(ToOwned::to_owned).collect()))
        }
        value => (format!("{name}: {}", scalar(value)), Vec::new()),
    };
    std::iter::once(head).chain(below).collect()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        value => value.to_string(),
    }
}

/// Whether a text reads better as lines of its own, and can be written so.
fn is_block(text: &str) -> bool {
    text.contains(['\n', '"', '\\']) && text.chars().any(|char| char != '\n') && text.chars().all(is_plain_in_block)
}

fn is_plain_in_block(char: char) -> bool {
    matches!(char, '\n' | '\t' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}')
}

/// The mark of a literal block, and its lines without the last line break.
fn block(text: &str) -> (String, &str) {
    // Spaces at the start would be taken for the block's indentation.
    let indentation = if text.starts_with([' ', '\n', '\t']) { "2" } else { "" };
    match text.strip_suffix('\n') {
        None => (format!("|{indentation}-"), text),
        Some(body) if body.ends_with('\n') => (format!("|{indentation}+"), body),
        Some(body) => (format!("|{indentation}"), body),
    }
}

/// A text on one line.
fn string(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte))
        && !WORDS.contains(&&*text.to_ascii_lowercase());
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            char if is_plain_in_block(char) && char != '\t' => quoted.push(char),
            // Writing to a string does not fail.
            char => _ = write!(quoted, "\\U{:08x}", u32::from(char)),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::document;

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        let value =
            json!({ "a": "yes", "b": "No", "c": "1", "d": "x: y", "e": "", "f": "v1.2/x-y", "on": 1, "g": " x" });
        let expected = "a: \"yes\"\nb: \"No\"\nc: \"1\"\nd: \"x: y\"\ne: \"\"\nf: v1.2/x-y\ng: \" x\"\n\"on\": 1\n";
        assert_eq!(document(&value), expected);
        assert_eq!(
            document(&json!("a\u{7}\u{85}\u{feff}\tb#")),
            "\"a\\U00000007\\U00000085\\U0000feff\\U00000009b#\"\n"
        );
    }

    #[test]
    fn lists_and_tables_are_indented() {
        let value = json!({ "a": [{ "b": 1, "c": ["d", []] }, "e"], "f": {}, "g": { "h": null } });
        assert_eq!(document(&value), "a:\n- b: 1\n  c:\n  - d\n  - []\n- e\nf: {}\ng:\n  h: null\n");
    }

    #[test]
    fn texts_stand_as_they_are() {
        let value = json!({ "a": { "b": "x = 1\n\n  y\n" }, "c": " z\n", "d": "e \"f\"", "g": "h\n\n", "i": "\n", "j": "k\r\n" });
        let expected = "a:\n  b: |\n    x = 1\n\n      y\nc: |2\n   z\nd: |-\n  e \"f\"\ng: |+\n  h\n\ni: \"\\n\"\n\
            j: \"k\\U0000000d\\n\"\n";
        assert_eq!(document(&value), expected);
    }
}
