use unicode_normalization::UnicodeNormalization as _;

/// `text` as a lenient parser might read it: NFKC, lower case, without control, format and zero-width characters.
///
/// U+017F and U+212A become `s` and `k`, as in parsers that match keys case-insensitively (CVE-2026-27896).
pub fn fold(text: &str) -> String {
    text.nfkc().filter(|c| !is_ignorable(*c)).flat_map(char::to_lowercase).nfkc().collect()
}

/// Whether `key` is another spelling of `reserved`, an ASCII name: equal after folding both, not equal as bytes.
pub fn is_folded_spelling(key: &str, reserved: &str) -> bool {
    if key == reserved {
        return false;
    }
    if key.is_ascii() && !key.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return key.eq_ignore_ascii_case(reserved);
    }
    fold(key) == reserved.to_ascii_lowercase()
}

/// Invisible characters that some parsers drop: controls, format characters, variation selectors, tags.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::{fold, is_folded_spelling};

    #[test]
    fn sees_through_disguised_spellings() {
        for key in ["Name", "NAME", "na\u{200b}me", "name\0", "ｎａｍｅ", "n\u{ad}ame"] {
            assert!(is_folded_spelling(key, "name"), "{key:?}");
        }
        assert!(is_folded_spelling("param\u{17f}", "params"));
        assert!(is_folded_spelling("to\u{212a}en", "token"));
        assert!(is_folded_spelling("protocolversion", "protocolVersion"));
    }

    #[test]
    fn leaves_other_words_alone() {
        for key in ["name", "names", "nam", "título"] {
            assert!(!is_folded_spelling(key, "name"), "{key:?}");
        }
        assert_eq!(fold("Straße"), "straße");
    }
}
