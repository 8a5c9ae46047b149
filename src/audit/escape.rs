use std::borrow::Cow;

use super::Sanitize;

/// Hexadecimal digits.
pub(super) const HEX: &[u8; 16] = b"0123456789abcdef";
/// The most bytes of one text in a record, before escaping, [`MORE`] included.
const TEXT_BYTES: usize = 200;
const MORE: &str = "…";

/// Appends text from the proxy itself or from an issuer as a JSON string: truncated and escaped.
pub(super) fn own(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let text = capped(text);
    if text.0.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.extend_from_slice(text.0.as_bytes());
    } else {
        text.0.chars().for_each(|c| escaped(out, c));
    }
    out.extend_from_slice(text.1.as_bytes());
    out.push(b'"');
}

/// Appends text from a caller or upstream as a JSON string: sanitised first, unless it is clearly a name.
pub(super) fn foreign(out: &mut Vec<u8>, text: &str, sanitize: Sanitize) {
    if is_name(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        own(out, &sanitize(text));
    }
}

/// Appends text of any length as a JSON string, and `more` after it.
pub(super) fn whole(out: &mut Vec<u8>, text: &str, more: &'static str) {
    out.push(b'"');
    text.chars().for_each(|c| escaped(out, c));
    out.extend_from_slice(more.as_bytes());
    out.push(b'"');
}

/// Text of a record as a terminal may show it: what could be taken for more than itself is escaped.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unseen(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// The beginning of `text` that fits, and [`MORE`] if something was cut off.
fn capped(text: &str) -> (&str, &str) {
    if text.len() <= TEXT_BYTES {
        return (text, "");
    }
    (text.get(..text.floor_char_boundary(TEXT_BYTES - MORE.len())).unwrap_or_default(), MORE)
}

#[expect(clippy::needless_bitwise_bool, reason = "lazy operators branch, and branches are not vectorised")]
const fn is_plain(byte: u8) -> bool {
    (byte.wrapping_sub(b' ') < 0x7f - b' ') & (byte != b'"') & (byte != b'\\')
}

/// Whether `text` is short words of letters with few digits, in which no recogniser can find anything and nothing needs
/// escaping. Keys, addresses, card numbers and identity numbers have many digits, dots or colons, or long words with digits
/// or capitals.
pub(super) fn is_name(text: &[u8]) -> bool {
    if text.is_empty() || text.len() > 64 {
        return false;
    }
    let class = |byte: &u8| CLASSES[usize::from(*byte)];
    // INVARIANT: at most 64 bytes are counted, so that no count overflows its byte.
    let [digits, capitals, dots, colons, _, others, ..] = text.iter().map(class).sum::<u64>().to_le_bytes();
    let longest = || text.split(|byte| class(byte) & SEPARATORS != 0).map(<[u8]>::len).max().unwrap_or(0);
    let is_wordy = text.len() <= 15
        || match longest() {
            0..=15 => true,
            16..=32 => digits == 0 && capitals <= 6,
            _ => false,
        };
    others == 0 && digits <= 5 && colons <= 1 && (dots <= 2 || digits == 0) && is_wordy
}

/// For each byte a count of one, in the byte of the sum that counts its class. Lower case letters are not counted.
const CLASSES: [u64; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte as usize] = match byte {
            b'0'..=b'9' => 1,
            b'A'..=b'Z' => 1 << 8,
            b'.' => 1 << 16,
            b':' => 1 << 24,
            b'_' | b'-' | b'/' => 1 << 32,
            b'a'..=b'z' => 0,
            _ => OTHER,
        };
        byte += 1_u8;
    }
    classes
};
const OTHER: u64 = 1 << 40;
/// The classes of characters that end a word.
const SEPARATORS: u64 = 1 << 16 | 1 << 24 | 1 << 32;

/// Appends one character, escaped if a terminal, an editor or a line reader could interpret it: control characters, line
/// separators, bidirectional controls, invisible and tag characters.
fn escaped(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        _ if is_unseen(c) => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(*unit >> shift & 15)]));
            }
        }
        _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{foreign, is_name, own};

    fn owned(text: &str) -> String {
        let mut out = Vec::new();
        own(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_what_could_be_taken_for_more_than_itself() {
        for (text, line) in [
            ("", r#""""#),
            ("crm-read", r#""crm-read""#),
            ("nope\n{\"decision\":\"allow\"}\u{1b}[31m\u{2028}", r#""nope\n{\"decision\":\"allow\"}\u001b[31m\u2028""#),
            ("a\r\tb\\c", r#""a\r\tb\\c""#),
            ("\0\u{7f}\u{85}\u{9b}", r#""\u0000\u007f\u0085\u009b""#),
            ("\u{202e}txt.exe\u{2066}\u{200f}\u{61c}", r#""\u202etxt.exe\u2066\u200f\u061c""#),
            ("\u{feff}\u{200b}\u{ad}\u{e0041}", r#""\ufeff\u200b\u00ad\udb40\udc41""#),
            ("Grüße, 世界 🦀", r#""Grüße, 世界 🦀""#),
        ] {
            assert_eq!(owned(text), line);
            assert_eq!(serde_json::from_str::<String>(line).unwrap(), text);
        }
    }

    #[test]
    fn caps_at_a_character() {
        assert_eq!(owned(&"a".repeat(200)).len(), 202);
        for text in ["a".repeat(201), "é".repeat(150), "🦀".repeat(9999), format!("a{}", "世".repeat(100))] {
            let line: String = serde_json::from_str(&owned(&text)).unwrap();
            assert!(line.len() <= 200 && line.len() > 195 && line.ends_with('…'), "{line}");
            assert!(text.starts_with(line.trim_end_matches('…')));
        }
    }

    #[test]
    fn every_character_survives() {
        for c in (0..=0x0010_ffff).filter_map(char::from_u32) {
            let mut text = [0; 4];
            let text: &str = c.encode_utf8(&mut text);
            assert_eq!(serde_json::from_str::<String>(&owned(text)).unwrap(), text);
        }
    }

    #[test]
    fn only_plain_names_are_not_sanitised() {
        for name in
            ["get_contact", "tools/call", "claude-code", "2.1.258", "com.example/list", "getCustomerInformation"]
        {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for other in [
            "",
            "a b",
            "ana@example.com",
            "nämé",
            "10.2.3.4",
            "fe80::1",
            "123-45-6789",
            "4111111111111111",
            "4111-1111-1111-1111",
            "DE89370400440532013000",
            "QQ123456C",
            "AKIAIOSFODNNSAMPLEXX",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_abcdefghijklmnopqrstuvwxyzabcdefghij",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.x",
            "a/\u{1b}",
            "a\"b",
            &"a_".repeat(33),
        ] {
            assert!(!is_name(other.as_bytes()), "{other}");
            let mut out = Vec::new();
            foreign(&mut out, other, |_| Cow::Borrowed("[\"]"));
            assert_eq!(out, br#""[\"]""#);
        }
    }
}
