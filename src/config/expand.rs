//! `${NAME}` inside string values, after parsing: what a variable holds can never become a key or a table.

use std::borrow::Cow;
use std::ops::Range;

/// Why a string cannot be expanded; the span is inside the string's content.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpandError {
    /// The name is empty or has characters no variable has.
    #[error("`${{…}}` must hold the name of an environment variable")]
    Name(Range<usize>),
    /// There is no `}`.
    #[error("`${{` is never closed")]
    Open(Range<usize>),
    /// The environment does not have it.
    #[error("the environment variable `{0}` is not set")]
    Unset(String, Range<usize>),
}

/// `text` with every `${NAME}` replaced once and `$${` turned into `${`.
pub(crate) fn expand<'a>(
    text: &'a str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'a, str>, ExpandError> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut at) = (text, 0);
    while let Some((before, after)) = rest.split_once("${") {
        let start = at + before.len();
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            (rest, at) = (after, start + 2);
            continue;
        }
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            return Err(ExpandError::Open(start..text.len()));
        };
        let span = start..start + name.len() + 3;
        if !is_name(name) {
            return Err(ExpandError::Name(span));
        }
        let Some(value) = variable(name) else {
            return Err(ExpandError::Unset(name.to_owned(), span));
        };
        out.push_str(&value);
        (rest, at) = (tail, span.end);
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// Whether `name` is what POSIX allows a portable variable to be called.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{ExpandError, expand};

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("mcp.example.com".to_owned()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn expands_once() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$HOST costs $5", "$HOST costs $5"),
            ("https://${HOST}/x", "https://mcp.example.com/x"),
            ("${HOST}${HOST}", "mcp.example.commcp.example.com"),
            ("${NESTED}", "${HOST}"),
            ("$${HOST} ${HOST}", "${HOST} mcp.example.com"),
        ] {
            assert_eq!(expand(text, &variable).unwrap(), expected);
        }
    }

    #[test]
    fn refuses_what_it_cannot_expand() {
        assert_eq!(expand("é ${HOST", &variable), Err(ExpandError::Open(3..9)));
        assert_eq!(expand("${}", &variable), Err(ExpandError::Name(0..3)));
        assert_eq!(expand("a${HO ST}", &variable), Err(ExpandError::Name(1..9)));
        assert_eq!(expand("${9}", &variable), Err(ExpandError::Name(0..4)));
        assert_eq!(expand("${HOST}${NOT}", &variable), Err(ExpandError::Unset("NOT".to_owned(), 7..13)));
    }
}
