//! Identity numbers of Spain, Poland, Germany and France.

use super::super::check_digits::{mod11_10, weighted};
use super::super::context::{Topic, Word};
use super::super::{Hint, Hit, Number, Text};

pub(in crate::mask::recognisers) const WORDS: &[Word] = &[
    ("carte vitale", &[Topic::Nir]),
    ("codice fiscale", &[Topic::FiscalCode]),
    ("codice_fiscale", &[Topic::FiscalCode]),
    ("dni", &[Topic::Nif]),
    ("identifikationsnummer", &[Topic::GermanTax]),
    ("idnr", &[Topic::GermanTax]),
    ("insee", &[Topic::Nir]),
    ("nie", &[Topic::Nif]),
    ("nif", &[Topic::Nif]),
    ("nir", &[Topic::Nir]),
    ("pesel", &[Topic::Pesel]),
    ("steuer-id", &[Topic::GermanTax]),
    ("steuer_id", &[Topic::GermanTax]),
    ("steueridentifikationsnummer", &[Topic::GermanTax]),
    ("steuernummer", &[Topic::GermanTax]),
    ("sécurité sociale", &[Topic::Nir]),
    ("sécu", &[Topic::Nir]),
    ("tax code", &[Topic::FiscalCode]),
];

/// Spanish DNI and NIE numbers, 12345678Z and X1234567L: the letter is the remainder modulo 23.
pub(in crate::mask) fn es_nif(text: &Text<'_>, first: usize) -> Option<Hit> {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let run = *text.runs.get(first)?;
    let digits = text.digits(run);
    let foreign = text.before(run.start).and_then(|b| b"XYZ".iter().position(|known| *known == b.to_ascii_uppercase()));
    let prefix = foreign.filter(|_| digits.len() == 7);
    let start = run.start - usize::from(prefix.is_some());
    if !matches!(digits.len(), 7 | 8) || text.word_before(start) || text.joined(start) {
        return None;
    }
    let dash = usize::from(matches!(text.byte(run.end), Some(b'-' | b' ')));
    let letter = text.byte(run.end + dash)?;
    let end = run.end + dash + 1;
    let number = digits.iter().fold(prefix.unwrap_or(0), |number, digit| number * 10 + usize::from(digit - b'0'));
    if LETTERS[number % 23] != letter.to_ascii_uppercase() || text.word_after(end) || text.byte(end) == Some(b'-') {
        return None;
    }
    let hint = text.hint(first, Topic::Nif);
    // After a space the letter may be a word of its own, and seven digits with a lower-case letter may be a hash.
    let clear =
        text.byte(run.end) != Some(b' ') && (letter.is_ascii_uppercase() || digits.len() == 8 || prefix.is_some());
    (hint == Some(Hint::For) || clear && hint != Some(Hint::Against)).then_some(Hit { start, end, last: first })
}

/// Polish PESEL: a date of birth from 1900 to 2099 with the century in the month, and a check digit.
pub(in crate::mask) fn pl_pesel(text: &Text<'_>, first: usize) -> Option<Hit> {
    let number = Number::<11>::read(text, first, |_| false)?;
    let digits = &number.digits;
    let pair = |at: usize| (digits[at] - b'0') * 10 + digits[at + 1] - b'0';
    let month = pair(2) % 20;
    let dated = matches!(month, 1..=12) && pair(2) < 40 && matches!(pair(4), 1..=31);
    let check = weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    let clear = dated && check.is_multiple_of(10) && text.hint(first, Topic::Pesel) != Some(Hint::Against)
        || check.is_multiple_of(10) && text.hint(first, Topic::Pesel) == Some(Hint::For);
    (clear && text.is_free(&number.hit)).then_some(number.hit)
}

/// German tax identification numbers, 12345678903 or 12 345 678 903: among the first ten digits at most one occurs twice or
/// three times, and the last is a check digit (ISO 7064 MOD 11,10).
pub(in crate::mask) fn de_tax_id(text: &Text<'_>, first: usize) -> Option<Hit> {
    let number = Number::<11>::read(text, first, |gap| matches!(gap, b" " | b"/"))?;
    let digits = &number.digits;
    let mut counts = [0_u8; 10];
    for digit in &digits[..10] {
        counts[usize::from(digit - b'0')] += 1;
    }
    let mut repeated = counts.iter().filter(|count| **count > 1);
    let distinct = repeated.next().is_none_or(|count| *count <= 3) && repeated.next().is_none();
    if digits[0] == b'0' || !distinct || !mod11_10(digits) {
        return None;
    }
    let hint = text.hint(first, Topic::GermanTax);
    let written = number.groups == 1 || number.is_grouped(text, &[2, 3, 3, 3]);
    let clear = written && hint != Some(Hint::Against);
    (clear && text.is_free(&number.hit)).then_some(number.hit)
}

/// French NIR, 1 85 05 78 006 084 91: sex, year, month, place, order, and 97 minus the remainder modulo 97. Places in Corsica
/// begin with 2A and 2B.
pub(in crate::mask) fn fr_nir(text: &Text<'_>, first: usize) -> Option<Hit> {
    const LENGTH: usize = 15;
    let start = text.runs.get(first)?.start;
    // Digits after a plus sign are mostly a country code.
    if text.before(start) == Some(b'+') {
        return None;
    }
    let mut characters = [0; LENGTH];
    let (mut count, mut at) = (0, start);
    while count < LENGTH {
        let byte = text.byte(at)?.to_ascii_uppercase();
        match byte {
            b'0'..=b'9' => {}
            b'A' | b'B' if count == 6 && characters[5] == b'2' => {}
            b' ' | b'.' | b'-' if matches!(count, 1 | 3 | 5 | 7 | 10 | 13) && text.before(at) != Some(byte) => {
                at += 1;
                continue;
            }
            _ => return None,
        }
        characters[count] = byte;
        count += 1;
        at += 1;
    }
    let hit = Hit { start, end: at, last: text.last_run(first, at) };
    let whole = !text.word_before(start) && !text.word_after(at);
    let clear = whole && is_registered(&characters) && text.hint(first, Topic::Nir) != Some(Hint::Against);
    (clear && text.is_free(&hit)).then_some(hit)
}

fn is_registered(characters: &[u8; 15]) -> bool {
    let number = |from: usize, to: usize| {
        characters[from..to].iter().fold(0, |number: u64, b| number * 10 + u64::from(b.saturating_sub(b'0') % 10))
    };
    // Corsica counts as 19 and 18.
    let body = match characters[6] {
        b'A' => number(0, 5) * 100_000_000 + 19_000_000 + number(7, 13),
        b'B' => number(0, 5) * 100_000_000 + 18_000_000 + number(7, 13),
        _ => number(0, 13),
    };
    matches!(characters[0], b'1'..=b'4' | b'7' | b'8')
        && matches!(number(3, 5), 1..=12 | 20..=42 | 50..=99)
        && (characters[6].is_ascii_alphabetic() || number(5, 7) > 0)
        && 97 - body % 97 == number(13, 15)
}

#[cfg(test)]
mod tests {
    use super::super::super::cases::{check_no_numbers, check_numbers};
    use super::{de_tax_id, es_nif, fr_nir, pl_pesel};

    #[test]
    fn finds_spanish_numbers() {
        check_numbers(
            es_nif,
            &[
                ("55555555K", "55555555K"),
                ("55555555-K", "55555555-K"),
                ("1111111-G", "1111111-G"),
                ("dni 12345678z.", "12345678z"),
                ("01111111G, 55555555k", "01111111G|55555555k"),
                ("NIE X1111111G", "X1111111G"),
                ("NIF: 12345678 Z", "12345678 Z"),
            ],
        );
        check_no_numbers(
            es_nif,
            &[
                "12345678a",
                "401-023-2138",
                "X1111111A",
                "123456789Z",
                "A12345678Z",
                "12345678ZA",
                "order 12345678Z",
                "12345678 Z",
                "1111111g",
                "4-12345678-Z",
                "[ES_NIF]",
            ],
        );
    }

    #[test]
    fn finds_polish_numbers() {
        check_numbers(
            pl_pesel,
            &[
                ("44051401458", "44051401458"),
                ("My pesel is 44051401458.", "44051401458"),
                ("02070803628", "02070803628"),
                ("74102541123,", "74102541123"),
            ],
        );
        check_no_numbers(
            pl_pesel,
            &[
                "44051401459",
                "85040812345",
                "11-11-11-11114",
                "order 44051401458",
                "phone 44051401458",
                "440514014580",
                "A44051401458",
                "44051401458.5",
                "44991401453",
                "[PL_PESEL]",
            ],
        );
    }

    #[test]
    fn finds_german_numbers() {
        check_numbers(
            de_tax_id,
            &[
                ("86095742719", "86095742719"),
                ("Meine Steuer-ID: 12345678903.", "12345678903"),
                ("IdNr. 98765432106 liegt vor", "98765432106"),
                ("86 095 742 719", "86 095 742 719"),
                ("11123456786", "11123456786"),
            ],
        );
        check_no_numbers(
            de_tax_id,
            &[
                "12345678901",
                "98765432100",
                "02345678901",
                "1234567890",
                "123456789030",
                "11111111111",
                "11112345678",
                "1122345678 5",
                "order 86095742719",
                "A6574261809",
                "[DE_TAX_ID]",
            ],
        );
    }

    #[test]
    fn finds_french_numbers() {
        check_numbers(
            fr_nir,
            &[
                ("273019720932625", "273019720932625"),
                ("1 85 05 78 006 084 91", "1 85 05 78 006 084 91"),
                ("NIR: 295109912611193.", "295109912611193"),
                ("2.73.01.97.209.326.25", "2.73.01.97.209.326.25"),
                ("289122B03385197", "289122B03385197"),
            ],
        );
        check_no_numbers(
            fr_nir,
            &[
                "273019720932626",
                "573019720932625",
                "1850578006084",
                "order 273019720932625",
                "2730197209326250",
                "A273019720932625",
                "273  019720932625",
                "1716239022123456",
                "[FR_NIR]",
            ],
        );
    }
}
