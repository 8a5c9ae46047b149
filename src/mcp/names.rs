//! Names that can be matched by a pattern, and names that may only be compared with an exact one.

use super::SubjectKind;
use crate::byte_set::ByteSet;

/// Whether a rule's pattern must not decide about this name, because two parsers or two eyes could read it differently.
pub fn is_odd(kind: SubjectKind, name: &str) -> bool {
    match kind {
        SubjectKind::Prompt | SubjectKind::Tool => !is_plain_name(name),
        SubjectKind::Resource => !is_canonical_uri(name),
        SubjectKind::ResourceTemplate => name.len() > LONGEST_URI || !is_canonical_uri(&without_braces(name)),
    }
}

/// 1 to 128 letters, digits, `_`, `.`, `-` and `/`.
fn is_plain_name(name: &str) -> bool {
    static PLAIN: ByteSet = ByteSet::of(&[b'-'..=b'9', b'A'..=b'Z', b'_'..=b'_', b'a'..=b'z']);
    (1..=128).contains(&name.len()) && PLAIN.has_all(name.as_bytes())
}

/// Longest URI; what is longer is no identifier to the masks and would be rewritten after it was decided on.
const LONGEST_URI: usize = 2048;

/// Visible characters RFC 3986 leaves out, and the mark of a fragment.
const NEVER_IN_A_URI: &[u8] = b"\\#\"<>{}|^`";

/// Whether a URI has the one spelling every resolver agrees on (RFC 3986 section 6.2.2): lower-case scheme, visible ASCII,
/// no dot or empty segment, backslash, userinfo or fragment, and nothing percent-encoded that need not be.
fn is_canonical_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    let mut letters = scheme.bytes();
    uri.len() <= LONGEST_URI
        && letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_graphic() && !NEVER_IN_A_URI.contains(&byte))
        && has_canonical_path(rest)
        && has_canonical_escapes(rest)
}

fn has_canonical_path(rest: &str) -> bool {
    let before_query = rest.split_once('?').map_or(rest, |(path, _)| path);
    let (authority, path) = match before_query.strip_prefix("//") {
        Some(hier) => hier.find('/').map_or((hier, ""), |at| hier.split_at(at)),
        None => ("", before_query),
    };
    if authority.contains('@') || authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return false;
    }
    let segments = path.strip_prefix('/').unwrap_or(path);
    let mut rest = segments.split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        if segment == "." || segment == ".." || segment.is_empty() && !last {
            return false;
        }
    }
    true
}

/// Every `%` begins an upper-case escape of a byte that is neither unreserved nor a separator.
fn has_canonical_escapes(text: &str) -> bool {
    let mut pieces = text.split('%');
    pieces.next();
    pieces.all(|piece| {
        let Some(digits) = piece.as_bytes().get(..2) else { return false };
        let upper = |digit: &u8| digit.is_ascii_digit() || (b'A'..=b'F').contains(digit);
        let byte = std::str::from_utf8(digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        digits.iter().all(upper)
            && byte.is_some_and(|byte| {
                !byte.is_ascii_alphanumeric()
                    && !byte.is_ascii_control()
                    && !matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'\\')
            })
    })
}

/// A template with each expression replaced by one plain character, so that the fixed parts can be judged.
fn without_braces(template: &str) -> String {
    let mut depth = 0_usize;
    let mut out = String::with_capacity(template.len());
    for c in template.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => {
                depth = 0;
                out.push('x');
            }
            _ if depth > 0 => {}
            _ => out.push(c),
        }
    }
    if depth > 0 {
        out.push('{');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{SubjectKind, is_odd};

    #[test]
    fn tool_names_that_could_be_misread_are_odd() {
        for name in ["search_customers", "crm.read/v1", "a", "A-1"] {
            assert!(!is_odd(SubjectKind::Tool, name), "{name}");
        }
        for name in ["", "a b", "run_sql ", "ｒｕｎ", "run\u{200b}sql", "run:sql", "a\0", &"x".repeat(129)] {
            assert!(is_odd(SubjectKind::Tool, name), "{name:?}");
        }
    }

    #[test]
    fn uris_with_a_second_spelling_are_odd() {
        for uri in [
            "crm://customers/42",
            "file:///etc/hosts",
            "test://static-text",
            "embedded:info",
            "https://a.test/b?c=%20d",
            "https://a.test/b/",
            "urn:isbn:0451450523",
            "https://a.test:8443/",
        ] {
            assert!(!is_odd(SubjectKind::Resource, uri), "{uri}");
        }
        for uri in [
            "",
            "crm",
            "CRM://customers",
            "1crm://a",
            "crm:",
            "crm://a/../b",
            "crm://a/./b",
            "crm://a//b",
            "crm://a/..",
            "crm:..",
            "crm://a\\b",
            "crm://u@a/b",
            "crm://A/b",
            "crm://a/b#c",
            "crm://a/%2e%2e/b",
            "crm://a/%2E",
            "crm://a/%2F",
            "crm://a/%5C",
            "crm://a/%41",
            "crm://a/%c3%a9",
            "crm://a/%00",
            "crm://a/%4",
            "crm://a/%",
            "crm://a/ b",
            "crm://a/é",
            "crm://a/\n",
        ] {
            assert!(is_odd(SubjectKind::Resource, uri), "{uri:?}");
        }
        assert!(!is_odd(SubjectKind::Resource, "crm://a/%C3%A9"));
        let long = format!("crm://a/{}", "b".repeat(2040));
        assert!(!is_odd(SubjectKind::Resource, &long));
        assert!(is_odd(SubjectKind::Resource, &format!("{long}b")));
    }

    #[test]
    fn templates_are_judged_by_their_fixed_parts() {
        assert!(!is_odd(SubjectKind::ResourceTemplate, "test://template/{id}/data"));
        assert!(!is_odd(SubjectKind::ResourceTemplate, "file:///{path}{?a,b}"));
        assert!(is_odd(SubjectKind::ResourceTemplate, "test://template/../{id}"));
        assert!(is_odd(SubjectKind::ResourceTemplate, "test://{id"));
        assert!(is_odd(SubjectKind::ResourceTemplate, &format!("test://{{{}}}", "a".repeat(2048))));
    }
}
