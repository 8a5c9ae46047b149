//! Text in base64: `blob` and `data` members and data URLs, decoded, masked and encoded again.

use data_encoding::BASE64;

use super::Blocked;

/// What goes before base64 in a data URL (RFC 2397).
const MARK: &[u8] = b";base64,";

/// The printable text strict base64 (RFC 4648 section 4) stands for; `None` for anything else.
pub(super) fn decode(encoded: &str) -> Option<String> {
    const HEAD: usize = 64;
    if encoded.is_empty() || !encoded.len().is_multiple_of(4) {
        return None;
    }
    // Pictures and sound show in their first bytes; they need not be decoded whole.
    if let Some(head) = encoded.as_bytes().get(..HEAD)
        && !BASE64.decode(head).is_ok_and(|head| head.iter().all(|byte| is_printable(*byte)))
        && encoded.len() > HEAD
    {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()?;
    text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')).then_some(text)
}

const fn is_printable(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || matches!(byte, b'\t' | b'\n' | b'\r')
}

/// `text` in base64.
pub(super) fn encode(text: &str) -> String {
    BASE64.encode(text.as_bytes())
}

/// `text` with the data URLs in it that hold text rewritten by `rewrite`; `None` if none changed.
pub(super) fn data_urls(
    text: &str,
    mut rewrite: impl FnMut(&str) -> Result<Option<String>, Blocked>,
) -> Result<Option<String>, Blocked> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    for mark in memchr::memmem::find_iter(bytes, MARK) {
        let start = mark + MARK.len();
        let length =
            bytes[start..].iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')).count();
        let Some(decoded) = text.get(start..start + length).filter(|_| has_scheme(&bytes[..mark])).and_then(decode)
        else {
            continue;
        };
        if let Some(rewritten) = rewrite(&decoded)? {
            out.push_str(text.get(copied..start).unwrap_or_default());
            out.push_str(&encode(&rewritten));
            copied = start + length;
        }
    }
    if copied == 0 {
        return Ok(None);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Ok(Some(out))
}

/// Whether `head` ends with `data:` and a media type.
fn has_scheme(head: &[u8]) -> bool {
    const LONGEST_TYPE: usize = 128;
    let near = &head[head.len().saturating_sub(LONGEST_TYPE)..];
    let word = near.iter().rposition(u8::is_ascii_whitespace).map_or(near, |at| &near[at..]);
    memchr::memmem::find(&word.to_ascii_lowercase(), b"data:").is_some()
}

#[cfg(test)]
mod tests {
    use super::{data_urls, decode, encode};

    #[test]
    fn decodes_only_printable_text() {
        assert_eq!(decode(&encode("ana@example.com\n")).as_deref(), Some("ana@example.com\n"));
        assert_eq!(decode(&encode(&"ña ".repeat(60))), Some("ña ".repeat(60)));
        for refused in
            ["", "abc", "YW5h=A==", "YW5hQGV4YW1wbGUuY29t!", "AAAA", "/9j/4AAQSkZJRg==", "YW5hQGV4YW1wbGUuY29"]
        {
            assert_eq!(decode(refused), None, "{refused}");
        }
    }

    #[test]
    fn rewrites_data_urls_in_place() {
        let text = format!("![x](data:text/plain;base64,{}) y;base64,{}", encode("abc"), encode("abc"));
        let wanted = format!("![x](data:text/plain;base64,{}) y;base64,{}", encode("ABC"), encode("abc"));
        assert_eq!(data_urls(&text, |decoded| Ok(Some(decoded.to_uppercase()))).unwrap(), Some(wanted));
        assert_eq!(data_urls(&text, |_| Ok(None)).unwrap(), None);
    }
}
