//! Identity numbers of India and Australia.

use super::super::check_digits::{is_repeated, verhoeff, weighted};
use super::super::context::{Topic, Word};
use super::super::{Hit, Number, Text};

pub(in crate::mask::recognisers) const WORDS: &[Word] = &[
    ("aadhaar", &[Topic::Aadhaar]),
    ("aadhar", &[Topic::Aadhaar]),
    ("tax file", &[Topic::Tfn]),
    ("tax file number", &[Topic::Tfn]),
    ("tfn", &[Topic::Tfn]),
    ("uidai", &[Topic::Aadhaar]),
    ("आधार", &[Topic::Aadhaar]),
];

/// Indian Aadhaar numbers, 3998 7654 3211: Verhoeff's check digit; undivided only next to a word for them.
pub(in crate::mask) fn in_aadhaar(text: &Text<'_>, first: usize) -> Option<Hit> {
    let number = Number::<12>::read(text, first, |gap| matches!(gap, b"-" | b" " | b":"))?;
    let digits = &number.digits;
    if digits[0] < b'2' || !verhoeff(digits) || digits.iter().eq(digits.iter().rev()) {
        return None;
    }
    text.decide(&number, first, Topic::Aadhaar, &[4, 4, 4])
}

/// Australian tax file numbers, 876 543 210: weighted sum modulo 11; undivided only next to a word for them.
pub(in crate::mask) fn au_tfn(text: &Text<'_>, first: usize) -> Option<Hit> {
    let number = Number::<9>::read(text, first, |gap| matches!(gap, b"-" | b" "))?;
    if !weighted(&number.digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) || is_repeated(&number.digits) {
        return None;
    }
    text.decide(&number, first, Topic::Tfn, &[3, 3, 3])
}

#[cfg(test)]
mod tests {
    use super::super::super::cases::{check_no_numbers, check_numbers};
    use super::{au_tfn, in_aadhaar};

    #[test]
    fn finds_indian_numbers() {
        check_numbers(
            in_aadhaar,
            &[
                ("3123 4567 8909", "3123 4567 8909"),
                ("3998-7654-3211", "3998-7654-3211"),
                ("3998:7654:3211", "3998:7654:3211"),
                ("My Aadhaar number is 400123456787 with", "400123456787"),
                ("aadhaar 312345678909", "312345678909"),
            ],
        );
        check_no_numbers(
            in_aadhaar,
            &[
                "123456789012",
                "1234 5678 9012",
                "3123 4567 8908",
                "312345678909",
                "order 3123 4567 8909",
                "3123 4567 8909 1234",
                "1111 3123 4567 8909",
                "3123-4567 8909",
                "A3123 4567 8909",
                "[IN_AADHAAR]",
            ],
        );
    }

    #[test]
    fn finds_australian_numbers() {
        check_numbers(
            au_tfn,
            &[
                ("876 543 210", "876 543 210"),
                ("tfn 876543210", "876543210"),
                ("Tax file number: 812 239 321", "812 239 321"),
                ("TFN 112474082, 565051603", "112474082|565051603"),
            ],
        );
        check_no_numbers(
            au_tfn,
            &[
                "824 753 557",
                "824753557",
                "876543210",
                "5282475355632",
                "52824753556AF",
                "51 824 753 5564",
                "123 456\n789",
                "order 876 543 210",
                "1 876 543 210",
                "[AU_TFN] 876543210",
            ],
        );
    }
}
