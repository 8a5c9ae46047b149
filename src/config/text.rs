//! Text files written by people: UTF-8, with an error that says where a file is not.

use std::io;
use std::path::Path;

/// Why bytes are not text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum NotText {
    /// Another encoding of Unicode, as some editors and shells write it.
    #[error("is {0}, not UTF-8")]
    Encoded(&'static str),
    /// A byte no text has, in this line.
    #[error("has a NUL byte in line {0}")]
    Nul(usize),
    /// Not UTF-8 from this line and byte on.
    #[error("is not UTF-8 in line {line}")]
    Other {
        /// Counted from 1.
        line: usize,
        /// Counted from 0.
        at: usize,
    },
}

impl NotText {
    /// What to do about it.
    pub(crate) fn help(&self, path: &Path) -> String {
        match self {
            Self::Encoded(name) => format!("save it as UTF-8, as by `iconv -f {name} -t UTF-8 {}`", path.display()),
            Self::Nul(_) | Self::Other { .. } => "save it as UTF-8".to_owned(),
        }
    }
}

/// The text of `bytes`; they come back where they are none.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<String, (NotText, Vec<u8>)> {
    if let Some(name) = marked(&bytes) {
        return Err((NotText::Encoded(name), bytes));
    }
    if let Some(at) = memchr::memchr(0, &bytes) {
        let wrong = unmarked(&bytes).map_or_else(|| NotText::Nul(line(&bytes, at)), NotText::Encoded);
        return Err((wrong, bytes));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        (NotText::Other { line: line(&bytes, at), at }, bytes)
    })
}

/// As [`std::fs::read_to_string`], with an error that names the encoding.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    decode(std::fs::read(path)?).map_err(|(wrong, _)| {
        let told = format!("it {wrong}: {}", wrong.help(path));
        io::Error::new(io::ErrorKind::InvalidData, told)
    })
}

/// What the mark at the front says (Unicode 16, table 2-4); the one of UTF-8 is no other encoding.
fn marked(bytes: &[u8]) -> Option<&'static str> {
    const MARKS: [(&[u8], &str); 4] = [
        (&[0xff, 0xfe, 0, 0], "UTF-32"),
        (&[0, 0, 0xfe, 0xff], "UTF-32"),
        (&[0xff, 0xfe], "UTF-16"),
        (&[0xfe, 0xff], "UTF-16"),
    ];
    MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)).map(|(_, name)| *name)
}

/// What text without a mark is most likely written in: every other byte of ASCII in UTF-16 is NUL.
fn unmarked(bytes: &[u8]) -> Option<&'static str> {
    let nuls = |from: usize| bytes.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, half) = (nuls(0), nuls(1), bytes.len() / 2);
    match (even * 2 > half, odd * 2 > half) {
        (false, true) => Some("UTF-16LE"),
        (true, false) => Some("UTF-16BE"),
        _ => None,
    }
}

/// The line the byte at `at` stands in, counted from 1.
fn line(bytes: &[u8], at: usize) -> usize {
    bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::{NotText, decode};

    fn wide(text: &str, mark: &[u8], unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.iter().copied().chain(text.encode_utf16().flat_map(unit)).collect()
    }

    #[test]
    fn names_the_encoding() {
        let text = "[[rule]]\nid = \"größe\"\n";
        let cases = [
            (text.as_bytes().to_vec(), Ok(text.to_owned())),
            (wide(text, &[0xff, 0xfe], u16::to_le_bytes), Err(NotText::Encoded("UTF-16"))),
            (wide(text, &[0xfe, 0xff], u16::to_be_bytes), Err(NotText::Encoded("UTF-16"))),
            (wide(text, &[], u16::to_le_bytes), Err(NotText::Encoded("UTF-16LE"))),
            (wide(text, &[], u16::to_be_bytes), Err(NotText::Encoded("UTF-16BE"))),
            (vec![0xff, 0xfe, 0, 0, b'a', 0, 0, 0], Err(NotText::Encoded("UTF-32"))),
            (b"id = 1\nx\0y = 2\n".to_vec(), Err(NotText::Nul(2))),
            (b"a = 1\nb = \"\xe9\"\n".to_vec(), Err(NotText::Other { line: 2, at: 11 })),
            (Vec::new(), Ok(String::new())),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(bytes.clone()).map_err(|(wrong, _)| wrong), expected, "{bytes:?}");
        }
    }
}
