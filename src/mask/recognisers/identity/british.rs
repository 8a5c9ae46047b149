//! Identity numbers of the United Kingdom.

use super::super::check_digits::{is_repeated, weighted};
use super::super::context::{Topic, Word};
use super::super::{Hint, Hit, Number, Text};

pub(in crate::mask::recognisers) const WORDS: &[Word] = &[
    ("health service", &[Topic::Nhs]),
    ("national health service", &[Topic::Nhs]),
    ("national insurance", &[Topic::Nino]),
    ("national_insurance", &[Topic::Nino]),
    ("nhs", &[Topic::Nhs]),
    ("ni number", &[Topic::Nino]),
    ("nino", &[Topic::Nino]),
];

/// NHS numbers, 401 023 2137: check digit modulo 11. Undivided, or if it could be a telephone number, only next to a word for
/// it.
pub(in crate::mask) fn uk_nhs(text: &Text<'_>, first: usize) -> Option<Hit> {
    let number = Number::<10>::read(text, first, |gap| matches!(gap, b"-" | b" "))?;
    let digits = &number.digits;
    let check = 11 - weighted(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    if check % 11 != u32::from(digits[9] - b'0') || is_repeated(digits) {
        return None;
    }
    let hint = text.hint(first, Topic::Nhs);
    let divided = number.is_grouped(text, &[3, 3, 4]) && text.gap(first) == text.gap(first + 1);
    let american = digits[0] >= b'2' && digits[3] >= b'2' && text.gap(first) == Some(b"-");
    let clear = hint == Some(Hint::For) || divided && !american && hint != Some(Hint::Against);
    (clear && text.is_free(&number.hit)).then_some(number.hit)
}

/// National insurance numbers, AA 12 34 56 B: a prefix that is allocated, six digits, a suffix (HMRC NIM39110).
pub(in crate::mask) fn uk_nino(text: &Text<'_>, first: usize) -> Option<Hit> {
    let run = *text.runs.get(first)?;
    let blank = usize::from(text.before(run.start) == Some(b' '));
    let start = run.start.checked_sub(2 + blank)?;
    let prefix = [text.byte(start)?.to_ascii_uppercase(), text.byte(start + 1)?.to_ascii_uppercase()];
    if !is_given_out(prefix) || text.word_before(start) {
        return None;
    }
    let (mut last, mut digits) = (first, run.end - run.start);
    while digits < 6 && text.gap(last) == Some(b" ") && digits.is_multiple_of(2) {
        last += 1;
        digits += text.runs.get(last).map_or(0, |run| run.end - run.start);
    }
    let end = text.runs.get(last)?.end;
    let suffix = [end, end + usize::from(text.byte(end) == Some(b' '))]
        .into_iter()
        .find(|at| text.byte(*at).is_some_and(|b| matches!(b.to_ascii_uppercase(), b'A'..=b'D')))?;
    if digits != 6 || text.word_after(suffix + 1) {
        return None;
    }
    // `to 123456 a` is no number without a word for it.
    let shouted = text.byte(start).is_some_and(|b| b.is_ascii_uppercase());
    let close = suffix == end && blank == 0;
    let clear = shouted || close || last > first;
    let hint = text.hint(first, Topic::Nino);
    (hint == Some(Hint::For) || clear && hint != Some(Hint::Against)).then_some(Hit { start, end: suffix + 1, last })
}

fn is_given_out(prefix: [u8; 2]) -> bool {
    let [one, two] = prefix;
    one.is_ascii_uppercase()
        && two.is_ascii_uppercase()
        && !matches!(one, b'D' | b'F' | b'I' | b'Q' | b'U' | b'V')
        && !matches!(two, b'D' | b'F' | b'I' | b'O' | b'Q' | b'U' | b'V')
        && !matches!(&prefix, b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ")
}

#[cfg(test)]
mod tests {
    use super::super::super::cases::{check_no_numbers, check_numbers};
    use super::{uk_nhs, uk_nino};

    #[test]
    fn finds_health_service_numbers() {
        check_numbers(
            uk_nhs,
            &[
                ("401-023-2137", "401-023-2137"),
                ("221 395 1837", "221 395 1837"),
                ("NHS number: 0032698674", "0032698674"),
                ("nhs 943 476 5919, seen", "943 476 5919"),
                ("nhs no. 943-476-5919", "943-476-5919"),
            ],
        );
        check_no_numbers(
            uk_nhs,
            &[
                "401-023-2138",
                "943-476-5919",
                "0032698674",
                "order 401-023-2137",
                "221 395 18370",
                "1 221 395 1837",
                "221-395 1837",
                "000 000 0000",
                "phone 221 395 1837",
                "[UK_NHS]",
            ],
        );
    }

    #[test]
    fn finds_insurance_numbers() {
        check_numbers(
            uk_nino,
            &[
                ("AA 12 34 56 B", "AA 12 34 56 B"),
                ("hh 01 02 03 d", "hh 01 02 03 d"),
                ("tw987654a", "tw987654a"),
                ("nino: PR 123612C", "PR 123612C"),
                ("number YZ 61 48 68 B.", "YZ 61 48 68 B"),
                ("JG103759A, JG103760B", "JG103759A|JG103760B"),
            ],
        );
        check_no_numbers(
            uk_nino,
            &[
                "AA 12 34 56 H",
                "AB 12 34 56 1",
                "ab1234561",
                "FQ 00 00 00 C",
                "BG123612A",
                "nt 99 88 77 a",
                "UV 98 76 54 B",
                "XAA123456B",
                "AA1234567B",
                "AA123456BC",
                "order AA123456B",
                "to 123456 a",
                "[UK_NINO]",
            ],
        );
    }
}
