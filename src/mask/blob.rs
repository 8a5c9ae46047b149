//! Text in base64: `blob` and `data` members and data URLs, decoded, masked and encoded again.

use std::sync::LazyLock;

use data_encoding::{BASE64, BASE64_NOPAD, Encoding};

use super::Blocked;

/// The mark before base64 in a data URL (RFC 2397), without the semicolon.
const MARK: &[u8] = b"base64,";

/// The length of the mark at the beginning of `text`, if it is there: in any case and after spaces, as browsers read it
/// (Fetch standard, "data: URL processor").
pub(super) fn mark_length(text: &[u8]) -> Option<usize> {
    let spaces = text.iter().take_while(|byte| **byte == b' ').count();
    let mark = text.get(spaces..spaces + MARK.len())?;
    mark.eq_ignore_ascii_case(MARK).then_some(spaces + MARK.len())
}

/// The printable text that is encoded in base64 (RFC 4648 sections 4 and 5); `None` for anything else.
///
/// As lenient as any decoder: characters of neither alphabet, such as line breaks, are skipped, and padding may be missing.
pub(super) fn decode(encoded: &str) -> Option<String> {
    const HEAD: usize = 64;
    // Images and audio are recognised by their first bytes, without decoding them whole.
    let head: Vec<u8> = symbols(encoded).take(HEAD).collect();
    if !lax(&head)?.iter().all(|byte| is_printable(*byte)) {
        return None;
    }
    let text = String::from_utf8(lax(&symbols(encoded).collect::<Vec<_>>())?).ok()?;
    (!text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))).then_some(text)
}

/// The characters of either alphabet, translated to the standard one.
fn symbols(encoded: &str) -> impl Iterator<Item = u8> {
    encoded.bytes().filter_map(|byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        byte if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') => Some(byte),
        _ => None,
    })
}

/// Decodes `symbols`, ignoring trailing bits.
fn lax(symbols: &[u8]) -> Option<Vec<u8>> {
    static ENCODING: LazyLock<Option<Encoding>> = LazyLock::new(|| {
        let mut specification = BASE64_NOPAD.specification();
        specification.check_trailing_bits = false;
        specification.encoding().ok()
    });
    // A single character left over encodes no whole byte.
    let whole = symbols.len() - usize::from(symbols.len() % 4 == 1);
    ENCODING.as_ref()?.decode(&symbols[..whole]).ok()
}

const fn is_printable(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || matches!(byte, b'\t' | b'\n' | b'\r')
}

/// `text` in base64.
pub(super) fn encode(text: &str) -> String {
    BASE64.encode(text.as_bytes())
}

/// `text` with its data URLs that contain text rewritten by `rewrite`; `None` if none changed. Errs if `rewrite` does.
pub(super) fn data_urls(
    text: &str,
    mut rewrite: impl FnMut(&str) -> Result<Option<String>, Blocked>,
) -> Result<Option<String>, Blocked> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    for mark in memchr::memchr_iter(b';', bytes) {
        let Some(start) = mark_length(&bytes[mark + 1..]).map(|length| mark + 1 + length) else { continue };
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

/// Whether `head` ends with `data:` and a media type, whose parameters may follow spaces.
fn has_scheme(head: &[u8]) -> bool {
    const LONGEST_TYPE: usize = 128;
    let near = &head[head.len().saturating_sub(LONGEST_TYPE)..];
    let is_break = |at: &usize| near[*at].is_ascii_whitespace() && !near[..*at].trim_ascii_end().ends_with(b";");
    let word = (0..near.len()).rev().find(is_break).map_or(near, |at| &near[at..]);
    memchr::memmem::find(&word.to_ascii_lowercase(), b"data:").is_some()
}

#[cfg(test)]
mod tests {
    use super::{data_urls, decode, encode};

    #[test]
    fn decodes_only_printable_text() {
        assert_eq!(decode(&encode("ana@example.com\n")).as_deref(), Some("ana@example.com\n"));
        assert_eq!(decode(&encode(&"ña ".repeat(60))), Some("ña ".repeat(60)));
        for refused in ["", "=", "a", "abc", "AAAA", "/9j/4AAQSkZJRg==", "a picture's caption"] {
            assert_eq!(decode(refused), None, "{refused}");
        }
    }

    /// Python's `encodebytes` inserts line breaks, and decoders accept the other variants too.
    #[test]
    fn decodes_whatever_some_reader_does() {
        let text = "mail ana@example.com, ana@example.org or ana@example.net about it ~~~ ???";
        let strict = encode(text);
        let (head, tail) = strict.split_at(40);
        let spellings = [
            format!("{head}\n{tail}\n"),
            format!("{head}\r\n {tail}"),
            format!("{head}!{tail}"),
            strict.trim_end_matches('=').to_owned(),
            strict.replace('+', "-").replace('/', "_"),
        ];
        for spelling in spellings {
            assert_eq!(decode(&spelling).as_deref(), Some(text), "{spelling}");
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
