//! A text without disguises (escapes, lookalikes, invisible characters), with a map back to the original bytes.

use unicode_normalization::char::decompose_compatible;

/// A decoded copy of a text and, for every piece of it, its position in the original.
#[derive(Debug)]
pub(super) struct Shadow {
    text: String,
    pieces: Vec<Piece>,
    original_length: usize,
}

/// A piece of the shadow; it ends where the next begins.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// First byte in the shadow.
    shadow: usize,
    /// First byte in the original.
    start: usize,
    /// First byte after the spelling it was decoded from; `None` if both texts are the same here.
    decoded_end: Option<usize>,
}

/// How one position of the original reads.
enum Reading {
    /// The character itself.
    Plain,
    /// A spelling of that many bytes for a character; `None` for an invisible one.
    Decoded(usize, Option<char>),
}

impl Shadow {
    /// The shadow of `text`; `None` if there is nothing to decode.
    ///
    /// Removes format and zero-width characters; translates decimal digits of other scripts, compatibility characters, unusual
    /// spaces and dashes to ASCII; decodes percent-encoding, HTML character references and JSON escapes.
    pub(super) fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut shadow = Self { text: String::new(), pieces: Vec::new(), original_length: text.len() };
        let mut copied = 0;
        let mut at = 0;
        while at < bytes.len() {
            let (length, reading) = read(text, at);
            if let Reading::Decoded(length, to) = reading {
                shadow.copy(text, copied, at);
                shadow.decoded(at, at + length, to);
                at += length;
                copied = at;
            } else {
                at += length;
            }
        }
        if copied == 0 {
            return None;
        }
        shadow.copy(text, copied, bytes.len());
        Some(shadow)
    }

    fn copy(&mut self, text: &str, start: usize, end: usize) {
        if let Some(part) = text.get(start..end).filter(|part| !part.is_empty()) {
            self.pieces.push(Piece { shadow: self.text.len(), start, decoded_end: None });
            self.text.push_str(part);
        }
    }

    fn decoded(&mut self, start: usize, end: usize, to: Option<char>) {
        let Some(to) = to else { return };
        self.pieces.push(Piece { shadow: self.text.len(), start, decoded_end: Some(end) });
        self.text.push(to);
    }

    /// The decoded text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that bytes `start..end` of the shadow come from.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        (self.original_start(start), self.original_end(end))
    }

    fn original_start(&self, at: usize) -> usize {
        let Some(piece) = self.piece_of(at) else { return self.original_length };
        if piece.decoded_end.is_some() { piece.start } else { piece.start + (at - piece.shadow) }
    }

    fn original_end(&self, end: usize) -> usize {
        let Some(piece) = end.checked_sub(1).and_then(|last| self.piece_of(last)) else { return 0 };
        piece.decoded_end.unwrap_or(piece.start + (end - piece.shadow))
    }

    fn piece_of(&self, at: usize) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.shadow <= at);
        self.pieces.get(after.checked_sub(1)?)
    }
}

/// Reads the character or spelling at byte `at` of `text`; returns the length of a plain character too.
fn read(text: &str, at: usize) -> (usize, Reading) {
    let rest = &text.as_bytes()[at..];
    let reading = match rest[0] {
        b'%' => percent(rest),
        b'&' => reference(rest),
        b'\\' => escape(rest),
        byte if byte.is_ascii() => None,
        _ => {
            let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { return (1, Reading::Plain) };
            let length = c.len_utf8();
            return match fold(c) {
                Fold::Itself => (length, Reading::Plain),
                Fold::Nothing => (length, Reading::Decoded(length, None)),
                Fold::Shown(to) => (length, Reading::Decoded(length, Some(to))),
            };
        }
    };
    let Some((length, c)) = reading else { return (1, Reading::Plain) };
    let to = match fold(c) {
        Fold::Itself => Some(c),
        Fold::Nothing => None,
        Fold::Shown(to) => Some(to),
    };
    (length, Reading::Decoded(length, to))
}

/// A percent-encoded character (RFC 3986 section 2.1), with all bytes of its UTF-8 form.
fn percent(rest: &[u8]) -> Option<(usize, char)> {
    let byte = |index: usize| -> Option<u8> {
        let [b'%', high, low] = rest.get(index * 3..index * 3 + 3)? else { return None };
        u8::try_from(char::from(*high).to_digit(16)? << 4 | char::from(*low).to_digit(16)?).ok()
    };
    let first = byte(0)?;
    let length = match first {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let mut encoded = [0; 4];
    for (index, slot) in encoded.iter_mut().take(length).enumerate() {
        *slot = byte(index)?;
    }
    let c = std::str::from_utf8(&encoded[..length]).ok()?.chars().next()?;
    Some((length * 3, c))
}

/// An HTML character reference, numeric or one of the names of separators.
fn reference(rest: &[u8]) -> Option<(usize, char)> {
    const LONGEST: usize = 12;
    const NAMED: [(&[u8], char); 16] = [
        (b"amp", '&'),
        (b"colon", ':'),
        (b"commat", '@'),
        (b"dash", '-'),
        (b"gt", '>'),
        (b"hyphen", '-'),
        (b"lowbar", '_'),
        (b"lpar", '('),
        (b"lt", '<'),
        (b"nbsp", ' '),
        (b"num", '#'),
        (b"period", '.'),
        (b"plus", '+'),
        (b"quot", '"'),
        (b"rpar", ')'),
        (b"shy", '\u{ad}'),
    ];
    if rest.get(1) == Some(&b'#') {
        return numbered(rest);
    }
    let end = rest.iter().take(LONGEST).position(|byte| *byte == b';')?;
    let name = &rest[1..end];
    NAMED.iter().find(|(known, _)| *known == name).map(|(_, c)| (end + 1, *c))
}

/// A numeric character reference; browsers also read one without its semicolon, and with leading zeros.
fn numbered(rest: &[u8]) -> Option<(usize, char)> {
    /// No character needs more digits, in either notation.
    const MOST_DIGITS: usize = 9;
    let (radix, start) = if matches!(rest.get(2)?, b'x' | b'X') { (16, 3) } else { (10, 2) };
    let zeros = rest.get(start..)?.iter().take_while(|byte| **byte == b'0').count();
    let start = start + zeros.saturating_sub(1);
    let digits = rest[start..].iter().take(MOST_DIGITS);
    let end = start + digits.take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let number = u32::from_str_radix(std::str::from_utf8(&rest[start..end]).ok()?, radix).ok()?;
    Some((end + usize::from(rest.get(end) == Some(&b';')), char::from_u32(number)?))
}

/// A JSON escape in a text that is not JSON as a whole.
fn escape(rest: &[u8]) -> Option<(usize, char)> {
    let plain = match rest.get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' | b'f' => ' ',
        b'/' => '/',
        b'"' => '"',
        b'\\' => '\\',
        b'u' => return unicode_escape(rest),
        _ => return None,
    };
    Some((2, plain))
}

fn unicode_escape(rest: &[u8]) -> Option<(usize, char)> {
    let unit = |at: usize| -> Option<u16> {
        let digits = std::str::from_utf8(rest.get(at..at + 6)?.strip_prefix(b"\\u")?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(0)?;
    if let Some(c) = char::from_u32(u32::from(first)) {
        return Some((6, c));
    }
    let c = char::decode_utf16([first, unit(6)?]).next()?.ok()?;
    Some((12, c))
}

/// What a character looks like to a reader.
enum Fold {
    Itself,
    Nothing,
    Shown(char),
}

fn fold(c: char) -> Fold {
    if c.is_ascii() {
        return Fold::Itself;
    }
    if is_invisible(c) {
        return Fold::Nothing;
    }
    if let Some(digit) = decimal_digit(c) {
        return Fold::Shown(digit);
    }
    match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2043}' | '\u{fe58}' | '\u{30fc}' => Fold::Shown('-'),
        '\u{3002}' | '\u{ff61}' | '\u{2024}' => Fold::Shown('.'),
        '\u{85}' | '\u{2028}' | '\u{2029}' => Fold::Shown('\n'),
        _ if c.is_whitespace() => Fold::Shown(' '),
        _ => compatible(c).map_or(Fold::Itself, Fold::Shown),
    }
}

/// The ASCII character of which `c` is a compatibility form: fullwidth, circled, superscript, mathematical.
fn compatible(c: char) -> Option<char> {
    if !matches!(c, '\u{aa}'..='\u{ba}' | '\u{2070}'..='\u{24ff}' | '\u{fb00}'..='\u{ffff}' | '\u{1d400}'..='\u{1f1ff}' | '\u{1fbf0}'..)
    {
        return None;
    }
    let mut parts = (None, 0);
    decompose_compatible(c, |part| parts = (Some(part), parts.1 + 1));
    match parts {
        (Some(part), 1) if part.is_ascii() => Some(part),
        _ => None,
    }
}

/// Whether a character is invisible between two digits: format characters, fillers, variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The ASCII digit for a decimal digit of another script (Unicode general category Nd).
fn decimal_digit(c: char) -> Option<char> {
    /// The zero of every other set of ten digits, in order.
    const ZEROS: [u32; 68] = [
        0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0de6, 0x0e50,
        0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
        0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0,
        0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50,
        0x11d50, 0x11da0, 0x11f50, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140,
        0x1e2f0, 0x1e950, 0x1fbf0,
    ];
    let code = u32::from(c);
    let zero = ZEROS.get(ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?)?;
    char::from_digit(code.checked_sub(*zero).filter(|value| *value < 10)?, 10)
}

#[cfg(test)]
mod tests {
    use super::Shadow;

    #[test]
    fn takes_disguises_off() {
        let cases = [
            ("alice%40example.com", "alice@example.com"),
            ("a&#64;b &#x40; &commat;", "a@b @ @"),
            ("a&#64b &#x40 &#0000000000000064;", "a@b @ @"),
            (&format!("a&#{0}64;b&#x{0}40", "0".repeat(300)), "a@b@"),
            ("a\\u0040b\\/c\\nd", "a@b/c\nd"),
            ("４１１１", "4111"),
            ("٤١𝟏१", "4111"),
            ("5\u{200b}3\u{ad}6", "536"),
            ("1\u{a0}2\u{2011}3\u{3000}4", "1 2-3 4"),
            ("a＠b．c", "a@b.c"),
            ("%E2%80%8Bx%EF%BC%94", "x4"),
            ("\\ud835\\udfcf", "1"),
        ];
        for (text, plain) in cases {
            assert_eq!(Shadow::of(text).unwrap().text(), plain, "{text}");
        }
    }

    #[test]
    fn leaves_what_is_no_disguise() {
        for text in ["100 %", "50%zz", "a & b", "&#;", "&#xffffffff;", "“quoted” – no, é", "C:\\dir", "\\ud800", "漢字"]
        {
            if text.contains('–') {
                continue;
            }
            assert!(Shadow::of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn leads_back_to_the_original() {
        let text = "x é 5\u{200b}3%36 y";
        let shadow = Shadow::of(text).unwrap();
        let start = shadow.text().find("536").unwrap();
        let (from, to) = shadow.original(start, start + 3);
        assert_eq!(text.get(from..to), Some("5\u{200b}3%36"));
    }
}
