//! Credentials in URLs.

use memchr::memmem;

use super::Text;
use crate::json::Span;

/// User and password before the host of a URL (RFC 3986 section 3.2.1), but not a user alone or a placeholder.
pub(in crate::mask) fn credentials(text: &Text<'_>, found: &mut Vec<Span>) {
    /// The most bytes of an authority that are searched.
    const LONGEST: usize = 2048;
    let bytes = text.bytes();
    for scheme in memmem::find_iter(bytes, b"://") {
        let start = scheme + b"://".len();
        let rest = &bytes[start..bytes.len().min(start + LONGEST)];
        let length = rest.iter().position(|b| is_end(*b)).unwrap_or(rest.len());
        let Some(at) = rest[..length].iter().rposition(|b| *b == b'@') else { continue };
        let named = scheme.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric());
        let Some(colon) = rest[..at].iter().position(|b| *b == b':') else { continue };
        let password = &rest[colon + 1..at];
        let host = rest.get(at + 1).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'[' || *b >= 0x80);
        if named && host && !is_placeholder(password) {
            found.push(Span { start, end: start + at });
        }
    }
}

/// Whether a byte ends an authority, or cannot be in a password there.
const fn is_end(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'{' | b'}' | b'`' | b'\\' | b'|')
}

fn is_placeholder(password: &[u8]) -> bool {
    password.is_empty()
        || password.iter().all(|b| matches!(b, b'*' | b'x' | b'X' | b'.'))
        || password.starts_with(b"[") && password.ends_with(b"]")
}

#[cfg(test)]
mod tests {
    use super::super::cases::{check, check_none};
    use super::credentials;

    #[test]
    fn finds_credentials() {
        check(
            credentials,
            &[
                ("postgres://app:s3cret@db.internal:5432/x", "app:s3cret"),
                ("https://user:p@ss@example.com/", "user:p@ss"),
                ("redis://:hunter2@10.0.0.1", ":hunter2"),
                ("see ftp://ana:pw@example.com, ok", "ana:pw"),
                ("amqp://a:b@[::1]/ mongodb+srv://c:d@host", "a:b|c:d"),
            ],
        );
    }

    #[test]
    fn leaves_what_only_looks_like_them() {
        check_none(
            credentials,
            &[
                "https://example.com/",
                "https://ana@example.com/",
                "https://example.com:8080/@user:x",
                "https://example.com/?q=a:b@c",
                "postgres://app:***@db/x",
                "postgres://app:[SECRET]@db/x",
                "postgres://${USER}:${PASS}@db/x",
                "postgres://<user>:<password>@db",
                "mailto:ana@example.com",
                "user:password@host",
                "://a:b@c",
                "[URL_CREDENTIALS]",
            ],
        );
    }
}
