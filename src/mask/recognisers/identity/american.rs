//! Identity numbers of the United States, Canada and Brazil.

use super::super::check_digits::{is_repeated, luhn, weighted};
use super::super::context::{Topic, Word};
use super::super::{Hint, Hit, Number, Text};

pub(in crate::mask::recognisers) const WORDS: &[Word] = &[
    ("cadastro de pessoas físicas", &[Topic::Cpf]),
    ("cpf", &[Topic::Cpf]),
    ("contribuinte", &[Topic::Cpf]),
    ("individual taxpayer", &[Topic::Itin]),
    ("itin", &[Topic::Itin]),
    ("nas", &[Topic::Sin]),
    ("numéro d'assurance sociale", &[Topic::Sin]),
    ("sin", &[Topic::Sin]),
    ("soc sec", &[Topic::Ssn]),
    ("social", &[Topic::Ssn]),
    ("social insurance", &[Topic::Sin]),
    ("social insurance number", &[Topic::Sin]),
    ("social security", &[Topic::Ssn]),
    ("social_security", &[Topic::Ssn]),
    ("socialsecurity", &[Topic::Ssn]),
    ("ss#", &[Topic::Ssn]),
    ("ssn", &[Topic::Ssn]),
    ("tax", &[Topic::Itin, Topic::GermanTax, Topic::Tfn, Topic::Nif, Topic::Cpf]),
    ("tax id", &[Topic::Itin, Topic::GermanTax, Topic::Tfn, Topic::Nif, Topic::Cpf]),
    ("tax_id", &[Topic::Itin, Topic::GermanTax, Topic::Tfn, Topic::Nif, Topic::Cpf]),
    ("taxid", &[Topic::Itin, Topic::GermanTax, Topic::Tfn, Topic::Nif, Topic::Cpf]),
    ("taxpayer", &[Topic::Itin, Topic::Cpf]),
    ("taxpayer id", &[Topic::Itin, Topic::Cpf]),
    ("tin", &[Topic::Itin, Topic::GermanTax, Topic::Tfn, Topic::Nif, Topic::Cpf]),
];

/// US social security numbers: area, group and serial in range; undivided only next to a word for them.
pub(in crate::mask) fn us_ssn(text: &Text<'_>, first: usize) -> Option<Hit> {
    nine_digits(text, first, Topic::Ssn, is_issued)
}

/// US individual taxpayer identification numbers, which begin with 9; undivided only next to a word for them.
pub(in crate::mask) fn us_itin(text: &Text<'_>, first: usize) -> Option<Hit> {
    nine_digits(text, first, Topic::Itin, |digits| {
        let group = (digits[3] - b'0') * 10 + digits[4] - b'0';
        digits[0] == b'9' && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
    })
}

/// A number of the form 123-45-6789.
fn nine_digits(text: &Text<'_>, first: usize, topic: Topic, is_valid: fn(&[u8; 9]) -> bool) -> Option<Hit> {
    let number = Number::<9>::read(text, first, |gap| matches!(gap, b"-" | b" " | b"." | b" - "))?;
    if !is_valid(&number.digits) || text.comes_from(number.hit.start, b"-./") || text.goes_on(number.hit.end, b"-./") {
        return None;
    }
    let divided = number.is_grouped(text, &[3, 2, 4]);
    // Nothing else is written like that.
    if divided && text.gap(first) == Some(b"-") {
        return Some(number.hit);
    }
    let hint = text.hint(first, topic);
    let clear = divided && hint != Some(Hint::Against) || number.groups <= 2 && hint == Some(Hint::For);
    clear.then_some(number.hit)
}

/// Whether a social security number may be issued: area 000, 666 and 900 to 999, group 00 and serial 0000 never are (SSA, POMS
/// RM 10201.035), nor are two numbers printed on sample cards.
fn is_issued(digits: &[u8; 9]) -> bool {
    let [a, b, c, group @ .., _, _, _, _] = digits;
    let area = [*a, *b, *c];
    area != *b"000"
        && area != *b"666"
        && *a != b'9'
        && *group != *b"00"
        && digits[5..] != *b"0000"
        && !matches!(digits, b"078051120" | b"219099999")
}

/// Canadian social insurance numbers, 123-456-782 or 123 456 782, by the Luhn check; undivided only next to a word for them.
pub(in crate::mask) fn ca_sin(text: &Text<'_>, first: usize) -> Option<Hit> {
    let number = Number::<9>::read(text, first, |gap| matches!(gap, b"-" | b" "))?;
    let digits = &number.digits;
    if matches!(digits[0], b'0' | b'8') || !luhn(digits) || is_repeated(digits) {
        return None;
    }
    text.decide(&number, first, Topic::Sin, &[3, 3, 3])
}

/// Brazilian CPF numbers, 123.456.789-09 or undivided: two check digits modulo 11.
pub(in crate::mask) fn br_cpf(text: &Text<'_>, first: usize) -> Option<Hit> {
    let number = Number::<11>::read(text, first, |gap| matches!(gap, b"." | b"-" | b" "))?;
    let digits = &number.digits;
    let check = |count: usize| {
        let weights: Vec<u32> = (2..=11).rev().skip(10 - count).collect();
        let rest = weighted(&digits[..count], &weights) * 10 % 11 % 10;
        u32::from(digits[count] - b'0') == rest
    };
    if is_repeated(digits) || !check(9) || !check(10) {
        return None;
    }
    let divided = number.is_grouped(text, &[3, 3, 3, 2])
        && text.gap(first) == Some(b".")
        && text.gap(first + 1) == Some(b".")
        && matches!(text.gap(first + 2), Some(b"-" | b"."));
    let hint = text.hint(first, Topic::Cpf);
    let clear = divided || number.groups == 1 && hint != Some(Hint::Against) || hint == Some(Hint::For);
    (clear && text.is_free(&number.hit)).then_some(number.hit)
}

#[cfg(test)]
mod tests {
    use super::super::super::cases::{check_no_numbers, check_numbers, found_numbers};
    use super::{br_cpf, ca_sin, us_itin, us_ssn};

    #[test]
    fn finds_social_security_numbers() {
        check_numbers(
            us_ssn,
            &[
                ("536-22-1234", "536-22-1234"),
                ("SSN 123-45-6789.", "123-45-6789"),
                ("536 22 1234", "536 22 1234"),
                ("536.22.1234", "536.22.1234"),
                ("536 - 22 - 1234", "536 - 22 - 1234"),
                ("ssn: 536221234", "536221234"),
                ("social security number 536-221234", "536-221234"),
                ("my ssn is 07805-1121", "07805-1121"),
                ("(078-05-1123)", "078-05-1123"),
                ("536-22-1234, 536-22-1235", "536-22-1234|536-22-1235"),
            ],
        );
        assert_eq!(found_numbers(us_ssn, "ssn", "536221234"), ["536221234"]);
        assert_eq!(found_numbers(us_ssn, "employeeSsn", "536221234"), ["536221234"]);
    }

    #[test]
    fn leaves_what_only_looks_like_a_social_security_number() {
        check_no_numbers(
            us_ssn,
            &[
                "000-22-1234",
                "666-22-1234",
                "900-22-1234",
                "536-00-1234",
                "536-22-0000",
                "078-05-1120",
                "693-09.4444",
                "536221234",
                "order 536221234",
                "part 536 22 1234",
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

    #[test]
    fn finds_taxpayer_numbers() {
        check_numbers(
            us_itin,
            &[
                ("911-70-1234", "911-70-1234"),
                ("911-53-1234", "911-53-1234"),
                ("itin 911701234", "911701234"),
                ("my taxpayer id is 911-701234", "911-701234"),
                ("tax id: 91170-1234", "91170-1234"),
                ("ITIN: 999 88 1234", "999 88 1234"),
            ],
        );
        check_no_numbers(
            us_itin,
            &[
                "911-89-1234",
                "911-49-1234",
                "811-70-1234",
                "911701234",
                "order 911701234",
                "911-70-12345",
                "911-70.1234",
                "my tax id 911-89-1234",
                "1-911-70-1234",
                "[US_ITIN]",
            ],
        );
    }

    #[test]
    fn finds_social_insurance_numbers() {
        check_numbers(
            ca_sin,
            &[
                ("130-692-544", "130-692-544"),
                ("my SIN is 130 692 544.", "130 692 544"),
                ("mon NAS: 258933688", "258933688"),
                ("social insurance number 550090112", "550090112"),
                ("347-677-452, 731-530-150", "347-677-452|731-530-150"),
            ],
        );
        check_no_numbers(
            ca_sin,
            &[
                "130-692-545",
                "046 454 286",
                "812 345 678",
                "111-111-111",
                "130-692 544",
                "130692544",
                "order 130-692-544",
                "revenue 130 692 544",
                "$130 692 544",
                "130 692 544 000",
                "12 130 692 544",
                "130-692-544-1",
                "A130-692-544",
                "[CA_SIN] 130692544",
            ],
        );
    }

    #[test]
    fn finds_brazilian_numbers() {
        check_numbers(
            br_cpf,
            &[
                ("529.982.247-25", "529.982.247-25"),
                ("CPF 52998224725.", "52998224725"),
                ("06383244167", "06383244167"),
                ("cpf: 529 982 247 25", "529 982 247 25"),
                ("(529.982.247-25)", "529.982.247-25"),
            ],
        );
        check_no_numbers(
            br_cpf,
            &[
                "529.982.247-26",
                "52998224724",
                "111.111.111-11",
                "529.982.247-251",
                "1.529.982.247-25",
                "529 982 247 25",
                "order 52998224725",
                "v529.982.247-25",
                "13812345678",
                "529,982,247,25",
                "[BR_CPF]",
            ],
        );
    }
}
