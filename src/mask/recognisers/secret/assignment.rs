//! Values that are secrets only by the name before them: `db_password = 9fK2…`, `"api_key": "…"`.

use crate::json::Span;
use crate::mask::recognisers::end_of;

/// The fewest and most bytes of a value; shorter ones are often words.
const SHORTEST: usize = 16;
const LONGEST: usize = 512;
/// The most bytes between a name and its value.
pub(in crate::mask) const BEFORE: usize = 12;

/// Parts of names for secrets, in lower case and without punctuation.
const NAMES: [&[u8]; 13] = [
    b"accesskey",
    b"apikey",
    b"authkey",
    b"bearer",
    b"clientsecret",
    b"credential",
    b"encryptionkey",
    b"passphrase",
    b"passwd",
    b"password",
    b"privatekey",
    b"secret",
    b"token",
];
/// Parts of names for properties of secrets, and for pagination.
const OTHERS: [&[u8]; 22] = [
    b"continuation",
    b"count",
    b"cursor",
    b"endpoint",
    b"expir",
    b"hash",
    b"limit",
    b"length",
    b"manager",
    b"max",
    b"name",
    b"next",
    b"page",
    b"path",
    b"policy",
    b"progress",
    b"public",
    b"sync",
    b"tokenizer",
    b"type",
    b"uri",
    b"url",
];

/// The value at the end of `word`, if it is assigned to a name for a secret, or is under such a JSON key, and looks random.
pub(super) fn value(label: &str, text: &[u8], word: Span) -> Option<Span> {
    // A value is no longer than its word, and an assignment has one of these before it.
    if word.end - word.start < SHORTEST
        || !is_first(word) && memchr::memchr2(b'=', b':', &text[word.start.saturating_sub(BEFORE)..word.end]).is_none()
    {
        return None;
    }
    let trailing = |b: &&u8| matches!(b, b',' | b';' | b'.' | b')' | b'}' | b']' | b'\'' | b'`' | b'\\' | b'>');
    let end = word.end - text[word.start..word.end].iter().rev().take_while(trailing).count();
    let core = text.get(word.start..end)?;
    let padding = core.iter().rev().take_while(|b| **b == b'=').count();
    let part = |b: &&u8| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'+' | b'/' | b'.' | b'~' | b'-');
    let length = core[..core.len() - padding].iter().rev().take_while(part).count();
    let start = end - padding - length;
    let value = &text[start..end];
    if !(SHORTEST..=LONGEST).contains(&value.len()) {
        return None;
    }
    let named = match name_before(text, start) {
        Some(name) => is_secret(name),
        None => start <= 1 && is_secret(end_of(label)),
    };
    (named && is_random(value)).then_some(Span { start, end })
}

/// Whether `word` is at the beginning of a text, or of a JSON string, so that its JSON key can be its name.
pub(in crate::mask) const fn is_first(word: Span) -> bool {
    word.start <= 1
}

/// The name to which `=`, `:` or `=>` assigns the value that begins at `start`.
fn name_before(text: &[u8], start: usize) -> Option<&[u8]> {
    const LONGEST_NAME: usize = 64;
    let head = &text[..start];
    let gap = head.iter().rev().take(BEFORE).take_while(|b| b" \t\"'`=:>\\(".contains(b)).count();
    let (head, gap) = head.split_at(start - gap);
    if !gap.iter().any(|b| matches!(b, b'=' | b':')) {
        return None;
    }
    let part = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let length = head.iter().rev().take(LONGEST_NAME).take_while(part).count();
    head.get(head.len() - length..).filter(|name| !name.is_empty())
}

/// Whether a name is one of secrets.
pub(in crate::mask) fn is_secret(name: &[u8]) -> bool {
    if name.len() < 5 {
        return false;
    }
    let plain: Vec<u8> = name.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    let holds = |word: &[u8]| plain.windows(word.len()).any(|part| part == word);
    NAMES.iter().any(|word| holds(word)) && !OTHERS.iter().any(|word| holds(word)) && !plain.ends_with(b"id")
}

/// Whether a value has digits and letters, and a higher entropy than words.
fn is_random(value: &[u8]) -> bool {
    const LEAST_BITS: f64 = 3.2;
    let mut counts = [0_u32; 256];
    for b in value {
        counts[usize::from(*b)] += 1;
    }
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let length = u32::try_from(value.len()).map_or(f64::MAX, f64::from);
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum();
    digits >= 2 && letters >= 2 && bits >= LEAST_BITS
}

#[cfg(test)]
mod tests {
    use super::value;
    use crate::json::Span;

    fn found<'t>(label: &str, text: &'t str) -> Option<&'t str> {
        let start = text.rfind([' ', '"', '!']).map_or(0, |blank| blank + 1);
        let word = Span { start, end: text.len() };
        value(label, text.as_bytes(), word).and_then(|span| text.get(span.start..span.end))
    }

    #[test]
    fn finds_assigned_values() {
        let cases = [
            ("", "api_key = 9fK2mQx7Lp0ZtR4v"),
            ("", "DB_PASSWORD=9fK2mQx7Lp0ZtR4v=="),
            ("", "\"clientSecret\":\"9fK2mQx7Lp0ZtR4v"),
            ("", "x-auth-token: 9fK2mQx7Lp0ZtR4v,"),
            ("", "secret => 9fK2-mQx7.Lp0Z_tR4v"),
            ("", "https://x.example/?access_token=9fK2mQx7Lp0ZtR4v"),
            ("accessKey", "9fK2mQx7Lp0ZtR4v"),
        ];
        for (label, text) in cases {
            assert!(found(label, text).is_some_and(|value| value.starts_with("9fK2")), "{text}");
        }
    }

    #[test]
    fn leaves_other_values() {
        let cases = [
            ("", "commit = 9fK2mQx7Lp0ZtR4v"),
            ("", "nextPageToken: 9fK2mQx7Lp0ZtR4v"),
            ("", "api_key = your-api-key-goes-here"),
            ("", "password: aaaaaaaaaaaaaaaa11"),
            ("", "secret_name=database-2026-primary"),
            ("", "token 9fK2mQx7Lp0ZtR4v"),
            ("", "max_tokens=1234567890123456"),
            ("", "api_key_id=9fK2mQx7Lp0ZtR4v"),
            ("", "tokenizer: bert-base-uncased-v2-12"),
            ("", "password = short1234"),
            ("cursor", "9fK2mQx7Lp0ZtR4v"),
            ("", "api_key = ${API_KEY_FROM_VAULT_1}"),
        ];
        for (label, text) in cases {
            assert_eq!(found(label, text), None, "{text}");
        }
    }
}
