//! Numbers a state gives to a person.

use std::sync::LazyLock;

use super::{Hint, Text, Word, Words};
use crate::json::Span;

static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(&TABLE));

const TABLE: [Word; 12] = [
    ("account", Hint::Against),
    ("invoice", Hint::Against),
    ("order", Hint::Against),
    ("phone", Hint::Against),
    ("soc sec", Hint::For),
    ("social", Hint::For),
    ("social security", Hint::For),
    ("social_security", Hint::For),
    ("socialsecurity", Hint::For),
    ("ss#", Hint::For),
    ("ssn", Hint::For),
    ("zip", Hint::Against),
];

/// US social security numbers: area, group and serial in range; without the two separators only beside a word for them.
pub(in crate::mask) fn us_ssns(text: &Text<'_>, found: &mut Vec<Span>) {
    let mut index = 0;
    while index < text.runs.len() {
        if let Some(last) = ssn_from(text, index) {
            found.push(Span { start: text.runs[index].start, end: text.runs[last].end });
            index = last + 1;
        } else {
            index += 1;
        }
    }
}

/// The last run of the number that begins with run `first`.
fn ssn_from(text: &Text<'_>, first: usize) -> Option<usize> {
    const REACH: usize = 40;
    let start = text.runs[first].start;
    if text.word_before(start) || text.comes_from(start, b"-./") {
        return None;
    }
    let mut digits = [0; 9];
    let mut total = 0;
    let mut last = first;
    while total < digits.len() {
        let more = text.digits(*text.runs.get(last)?);
        if total > 0 && !is_gap(text.gap(last - 1)?) {
            return None;
        }
        digits.get_mut(total..total + more.len())?.copy_from_slice(more);
        total += more.len();
        last += 1;
    }
    last -= 1;
    let end = text.runs[last].end;
    if text.word_after(end) || text.goes_on(end, b"-./") || !is_issued(&digits) {
        return None;
    }
    let delimited = text.runs[first..=last].iter().map(|run| run.end - run.start).eq([3, 2, 4])
        && text.gap(first) == text.gap(first + 1);
    (delimited || last - first <= 1 && text.hint(start, REACH, &WORDS) == Some(Hint::For)).then_some(last)
}

fn is_gap(gap: &[u8]) -> bool {
    matches!(gap, b"-" | b" " | b"." | b" - ")
}

/// Area 000, 666 and 900 to 999, group 00 and serial 0000 are never issued (SSA, POMS RM 10201.035).
fn is_issued(digits: &[u8; 9]) -> bool {
    let [a, b, c, group @ .., _, _, _, _] = digits;
    let area = [*a, *b, *c];
    area != *b"000" && area != *b"666" && *a != b'9' && *group != *b"00" && digits[5..] != *b"0000"
}

#[cfg(test)]
mod tests {
    use super::super::cases::{check, check_none, found};
    use super::us_ssns;

    #[test]
    fn finds_numbers() {
        check(
            us_ssns,
            &[
                ("536-22-1234", "536-22-1234"),
                ("SSN 123-45-6789.", "123-45-6789"),
                ("536 22 1234", "536 22 1234"),
                ("536.22.1234", "536.22.1234"),
                ("536 - 22 - 1234", "536 - 22 - 1234"),
                ("ssn: 536221234", "536221234"),
                ("social security number 536-221234", "536-221234"),
                ("(078-05-1123)", "078-05-1123"),
                ("536-22-1234, 536-22-1235", "536-22-1234|536-22-1235"),
            ],
        );
        assert_eq!(found(us_ssns, "ssn", "536221234"), ["536221234"]);
        assert_eq!(found(us_ssns, "employeeSsn", "536221234"), ["536221234"]);
    }

    #[test]
    fn leaves_what_only_looks_like_one() {
        check_none(
            us_ssns,
            &[
                "000-22-1234",
                "666-22-1234",
                "900-22-1234",
                "536-00-1234",
                "536-22-0000",
                "693-09.4444",
                "536221234",
                "order 536221234",
                "1-536-22-1234",
                "536-22-1234-5",
                "536-22-12345",
                "A536-22-1234",
                "2024-05-1123",
                "12-34-5678",
                "lesson 536221234",
                "536/22/1234",
                "[US_SSN] 536221234",
            ],
        );
    }
}
