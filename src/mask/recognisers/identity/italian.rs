//! Italian fiscal codes.

use super::super::{Hit, Text, has_word_of};
use crate::json::Span;

const LENGTH: usize = 16;
/// The letters of surname and name, before the year.
const NAME: usize = 6;

/// Italian fiscal codes, RSSMRA85T10A562S: names, year, month letter, day plus 40 for women, place, check character.
pub(in crate::mask) fn it_fiscal_code(text: &Text<'_>, first: usize) -> Option<Hit> {
    let start = text.runs.get(first)?.start.checked_sub(NAME)?;
    let end = start + LENGTH;
    is_code_at(text, start).then(|| Hit { start, end, last: text.last_run(first, end) })
}

/// Fiscal codes in `words` whose year is in letters, RSSMRAQRCMNFNLRG, which therefore do not start from a run of digits.
pub(in crate::mask) fn it_fiscal_codes_in_letters(text: &Text<'_>, words: &[Span], found: &mut Vec<Span>) {
    for word in words.iter().filter(|word| has_word_of(LENGTH, &text.bytes()[word.start..word.end])) {
        let mut start = word.start;
        for run in text.bytes()[word.start..word.end].split(|byte| !byte.is_ascii_alphanumeric()) {
            if run.get(NAME).is_some_and(u8::is_ascii_alphabetic) && run.len() == LENGTH && is_code_at(text, start) {
                found.push(Span { start, end: start + LENGTH });
            }
            start += run.len() + 1;
        }
    }
}

fn is_code_at(text: &Text<'_>, start: usize) -> bool {
    let code = text.bytes().get(start..start + LENGTH);
    code.is_some_and(is_fiscal_code) && !text.word_before(start) && !text.word_after(start + LENGTH)
}

/// Whether `code` has the form of a fiscal code.
///
/// The check character must be right only if the year is in letters, since `code` could then be a word. A mistyped code still
/// reveals name and date of birth.
pub(in crate::mask) fn is_fiscal_code(code: &[u8]) -> bool {
    let Ok(code) = <[u8; LENGTH]>::try_from(code) else { return false };
    let code = code.map(|b| b.to_ascii_uppercase());
    // Letters replace digits where two persons would have the same code.
    let digit = |at: usize| match code[at] {
        b @ b'0'..=b'9' => Some(b - b'0'),
        b => b"LMNPQRSTUV".iter().position(|known| *known == b).and_then(|value| u8::try_from(value).ok()),
    };
    let (Some(tens), Some(ones)) = (digit(9), digit(10)) else { return false };
    code[..NAME].iter().all(u8::is_ascii_uppercase)
        && digit(6).is_some()
        && digit(7).is_some()
        && b"ABCDEHLMPRST".contains(&code[8])
        && matches!(tens * 10 + ones, 1..=31 | 41..=71)
        && code[11].is_ascii_uppercase()
        && (12..15).all(|at| digit(at).is_some())
        && code[15].is_ascii_uppercase()
        && (code[NAME].is_ascii_digit() || is_checked(&code))
}

/// Whether the last character is the right check character (decree of 23 December 1976, article 7).
fn is_checked(code: &[u8; LENGTH]) -> bool {
    /// The values of digits, and of letters from A on, in odd places.
    const ODD: [u8; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let value = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A') % 26 };
    let sum = code[..LENGTH - 1].iter().enumerate().fold(0, |sum: u32, (at, byte)| {
        let value = value(*byte);
        sum + u32::from(if at % 2 == 0 { ODD[usize::from(value)] } else { value })
    });
    sum % 26 == u32::from(value(code[LENGTH - 1]))
}

#[cfg(test)]
mod tests {
    use super::super::super::Text;
    use super::super::super::cases::{check_no_numbers, check_numbers};
    use super::{it_fiscal_code, it_fiscal_codes_in_letters};
    use crate::json::Span;

    #[test]
    fn finds_italian_codes() {
        check_numbers(
            it_fiscal_code,
            &[
                ("MRTNTN23M02D969P", "MRTNTN23M02D969P"),
                ("RSSMRA45C12F20RX", "RSSMRA45C12F20RX"),
                ("cf: mrtntn23m02d969p;", "mrtntn23m02d969p"),
                ("AAAAAA00B11C333Y and AAAAAA00B11C333N", "AAAAAA00B11C333Y|AAAAAA00B11C333N"),
                ("CNTCHR83T41D969D", "CNTCHR83T41D969D"),
            ],
        );
        check_no_numbers(
            it_fiscal_code,
            &[
                "AAAAAA - 00B11C333N",
                "A55AAA00B11C333N",
                "CSTNGL22I10D086I",
                "CNTCHR83T32D969H",
                "CNTCHR83F31D969H",
                "XMRTNTN23M02D969P",
                "MRTNTN23M02D969PX",
                "MRTNTN23M02D9695",
                "[IT_FISCAL_CODE]",
            ],
        );
    }

    #[test]
    fn finds_codes_in_letters() {
        let found = |text: &str| {
            let mut spans = Vec::new();
            let word = Span { start: 0, end: text.len() };
            it_fiscal_codes_in_letters(&Text::new(text, "", &[]), &[word], &mut spans);
            spans.into_iter().map(|span| text.get(span.start..span.end).unwrap().to_owned()).collect::<Vec<_>>()
        };
        for code in ["RSSMRAQRCMNFNLRG", "rssmraqrcmnfnlrg"] {
            assert_eq!(found(code), [code]);
            assert_eq!(found(&format!("(cf={code}),")), [code]);
        }
        let others = [
            "RSSMRAQRCMNFNLRH",
            "RSSMRAQRFMNFNLRG",
            "XRSSMRAQRCMNFNLRG",
            "RSSMRAQRCMNFNLRGX",
            "characterization",
            "counterplottings",
            "RSSMRA_QRCMNFNLRG",
        ];
        for other in others {
            assert!(found(other).is_empty(), "{other}");
        }
    }
}
