//! Placeholders: well-formed values that belong to nobody.

use crate::json::Span;

/// The domain of placeholder email addresses, which never resolves (RFC 6761 section 6.4).
const DOMAIN: &str = "@redacted.invalid";

/// The placeholder for a format (JSON Schema 2020-12, Validation, section 7.3).
pub(super) fn of_format(format: &str) -> Option<&'static str> {
    Some(match format {
        "date" => "1900-01-01",
        "date-time" => "1900-01-01T00:00:00Z",
        "duration" => "P0D",
        "email" | "idn-email" => "redacted@redacted.invalid",
        "hostname" | "idn-hostname" => "redacted.invalid",
        "ipv4" => "192.0.2.0",
        "ipv6" => "2001:db8:0:0:0:0:0:0",
        "iri" | "uri" => "urn:redacted",
        "iri-reference" | "uri-reference" | "uri-template" | "regex" => "redacted",
        "json-pointer" => "/redacted",
        "relative-json-pointer" => "0/redacted",
        "time" => "00:00:00Z",
        "uuid" => "00000000-0000-0000-0000-000000000000",
        _ => return None,
    })
}

/// Whether `span` of `text` is a placeholder written by a mask, which is not matched again. The test is exact, or a real value
/// could pass in that form.
#[inline]
pub(in crate::mask) fn is_stand_in(text: &str, span: Span) -> bool {
    // All placeholders begin with one of these pairs.
    matches!(text.as_bytes().get(span.start..), Some([b'1', b'9', ..] | [b'2', b'0', ..] | [b'r', b'e', ..]))
        && text.get(span.start..span.end).is_some_and(is_one)
}

fn is_one(value: &str) -> bool {
    let number = value.strip_prefix("redacted").and_then(|rest| rest.strip_suffix(DOMAIN));
    let is_number = |rest: &str| (1..=6).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_digit());
    matches!(value, "1900-01-01" | "192.0.2.0" | "2001:db8:0:0:0:0:0:0")
        || number.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_number))
}

/// `text` truncated or padded to between `least` and `most` characters; `None` if that is impossible.
pub(super) fn of_length(text: &str, least: usize, most: usize) -> Option<String> {
    /// The longest text that is padded.
    const LONGEST: usize = 4096;
    if least > most || least > LONGEST {
        return None;
    }
    let length = text.chars().count();
    let filled = text.chars().chain(std::iter::repeat_n('*', least.saturating_sub(length)));
    Some(filled.take(most).collect())
}

/// `text` with a number that makes it unique.
pub(super) fn numbered(text: &str, number: usize) -> String {
    match text.split_once('@') {
        Some((local, domain)) => format!("{local}-{number}@{domain}"),
        None => format!("{text}_{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_one, numbered, of_format};

    #[test]
    fn knows_its_own_and_nothing_that_only_looks_so() {
        for format in ["date", "email", "ipv4", "ipv6"] {
            assert!(of_format(format).is_some_and(is_one), "{format}");
        }
        assert!(is_one(&numbered("redacted@redacted.invalid", 250_000)));
        for value in [
            "redactedjane.roe@redacted.invalid",
            "redacted-jane@redacted.invalid",
            "redacted-4111111111111111@redacted.invalid",
            "redacted-@redacted.invalid",
            "redacted@example.com@redacted.invalid",
            "192.0.2.01",
        ] {
            assert!(!is_one(value), "{value}");
        }
    }
}
