//! Check digits, as the issuing bodies define them.
//!
//! Every function takes ASCII digits without separators, `iban` and MOD 97 upper-case letters too.

/// A check that a policy can require of the matches of its own pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validator {
    /// ISO 7064 MOD 97-10, as in IBANs (ISO 13616-1): with the first four characters moved to the end.
    Iban,
    /// ISO/IEC 7812-1 annex B, as in payment cards.
    Luhn,
    /// ISO 7064 MOD 11,10, as in the German tax number.
    Mod11,
    /// ISO 7064 MOD 97-10 over the characters in order.
    Mod97,
    /// Verhoeff's dihedral check, as in Aadhaar.
    Verhoeff,
}

impl Validator {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Iban, Self::Luhn, Self::Mod11, Self::Mod97, Self::Verhoeff];

    /// Its name in policies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iban => "iban",
            Self::Luhn => "luhn",
            Self::Mod11 => "mod11_10",
            Self::Mod97 => "mod97",
            Self::Verhoeff => "verhoeff",
        }
    }

    /// The check with that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name)
    }

    /// Whether the letters and digits of `value` pass, without separators.
    ///
    /// For numeric checks only the digits count, so that `EMP-4539 1488` is checked as `45391488`.
    pub(in crate::mask) fn accepts(self, value: &str) -> bool {
        let letters = matches!(self, Self::Iban | Self::Mod97);
        let kept = |b: &u8| if letters { b.is_ascii_alphanumeric() } else { b.is_ascii_digit() };
        let characters: Vec<u8> = value.bytes().filter(kept).map(|b| b.to_ascii_uppercase()).collect();
        match self {
            Self::Iban => iban(&characters),
            Self::Luhn => characters.len() > 1 && luhn(&characters),
            Self::Mod11 => characters.len() > 1 && mod11_10(&characters),
            Self::Mod97 => characters.len() > 2 && further97(0, &characters) % 97 == 1,
            Self::Verhoeff => characters.len() > 1 && verhoeff(&characters),
        }
    }
}

/// The Luhn check (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u8]) -> bool {
    let (head, eights) = digits.as_rchunks();
    let mut first = [b'0'; 8];
    first.iter_mut().rev().zip(head.iter().rev()).for_each(|(place, digit)| *place = *digit);
    let sum = eights.iter().fold(luhn_sum(first), |sum, eight| sum.wrapping_add(luhn_sum(*eight)));
    sum.is_multiple_of(10)
}

/// The Luhn sum of eight digits: every second one, from the last but one, is doubled and its digits are added.
const fn luhn_sum(digits: [u8; 8]) -> u64 {
    const fn each(number: u16) -> u64 {
        number as u64 * 0x0001_0001_0001_0001
    }
    let digits = u64::from_be_bytes(digits) & each(0x0f0f);
    let (plain, doubled) = (digits & each(0xff), digits >> 8 & each(0xff));
    // From five on the double has two digits, whose sum is nine less.
    let over = doubled.wrapping_add(each(0x80 - 5)) >> 7 & each(1);
    let sums = plain.wrapping_add(doubled << 1).wrapping_sub(over.wrapping_mul(9));
    sums.wrapping_mul(each(1)) >> 48
}

/// ISO 13616-1: remainder 1 with the first four characters moved to the end; check digits run from 02 to 98.
pub(super) fn iban(characters: &[u8]) -> bool {
    let Some((head, body)) = characters.split_at_checked(4) else { return false };
    let check = &head[2..];
    if matches!(check, b"00" | b"01" | b"99") || !check.iter().all(u8::is_ascii_digit) {
        return false;
    }
    further97(further97(0, body), head) % 97 == 1
}

/// A number congruent modulo 97 to `number` followed by the upper-case letters and digits, where `A` is 10.
fn further97(number: u64, characters: &[u8]) -> u64 {
    let (eights, rest) = characters.as_chunks();
    let number = eights.iter().fold(number, |number, eight| match eight_digits(*eight) {
        Some(value) => (number % 97).wrapping_mul(100_000_000).wrapping_add(value),
        None => pairs97(number, eight),
    });
    pairs97(number, rest)
}

/// The value of eight characters if all of them are digits.
const fn eight_digits(characters: [u8; 8]) -> Option<u64> {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let word = u64::from_le_bytes(characters);
    // The first term sets the high bit of a byte below the digits, the second that of a byte above them.
    if (word.wrapping_sub(each(b'0')) | word.wrapping_add(each(0x7f - b'9')) | word) & each(0x80) != 0 {
        return None;
    }
    // Combine pairs of digits, then fours, then all eight.
    let two = (word & each(0xf)).wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let four = two.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    Some(four.wrapping_mul(10_000 << 32 | 1) >> 32)
}

/// The same as [`further97`], two characters at a time.
fn pairs97(number: u64, characters: &[u8]) -> u64 {
    /// Numbers below this can take four more digits without overflow.
    const FULL: u64 = u64::MAX / 100_000;
    let parts = |c: u8| if c.is_ascii_uppercase() { (b'A' - 10, 100) } else { (b'0', 10) };
    let further = |number: u64, value: u64, scale: u64| {
        let rest = if number < FULL { number } else { number % 97 };
        rest.wrapping_mul(scale).wrapping_add(value)
    };
    // Pairs shorten the chain of dependent operations.
    let (pairs, last) = characters.as_chunks();
    let number = pairs.iter().fold(number, |number, [one, two]| {
        let ((one_zero, one_scale), (two_zero, two_scale)) = (parts(*one), parts(*two));
        let [one, two] = [one.wrapping_sub(one_zero), two.wrapping_sub(two_zero)].map(u64::from);
        further(number, one.wrapping_mul(two_scale).wrapping_add(two), two_scale.wrapping_mul(one_scale))
    });
    last.iter().fold(number, |number, c| {
        let (zero, scale) = parts(*c);
        further(number, u64::from(c.wrapping_sub(zero)), scale)
    })
}

/// ISO 7064 MOD 11,10; the last digit is the check digit.
pub(super) fn mod11_10(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else { return false };
    let product = body.iter().fold(10, |product: u32, digit| {
        let sum = (product + value(*digit)) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == value(*check)
}

/// The weighted sum of digits.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| value(*digit) * weight).sum()
}

/// Verhoeff's check: multiplication in the dihedral group of order ten.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTED: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let times = |a: u8, b: u8| {
        let (turn, rest) = (a / 5, b / 5);
        let sum = if turn == 0 { a % 5 + b % 5 } else { a % 5 + 5 - b % 5 };
        sum % 5 + 5 * (turn ^ rest)
    };
    let product = digits.iter().rev().enumerate().fold(0, |product, (place, digit)| {
        let permuted = (0..place % 8).fold(digit - b'0', |digit, _| PERMUTED[usize::from(digit)]);
        times(product, permuted)
    });
    product == 0
}

/// Whether all digits are the same.
pub(super) fn is_repeated(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

const fn value(digit: u8) -> u32 {
    digit.wrapping_sub(b'0') as u32
}

#[cfg(test)]
mod tests {
    use super::Validator;

    #[test]
    fn accepts_right_numbers_only() {
        let cases = [
            (Validator::Luhn, "4111 1111 1111 1111", "4111 1111 1111 1112"),
            (Validator::Luhn, "79927398713", "79927398710"),
            (Validator::Luhn, "ACME-18", "ACME-19"),
            (Validator::Iban, "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 33"),
            (Validator::Mod97, "3214282912345698765432161182", "3214282912345698765432161183"),
            (Validator::Mod11, "86095742719", "86095742710"),
            (Validator::Mod11, "36574261809", "36574261890"),
            (Validator::Verhoeff, "2363", "2364"),
            (Validator::Verhoeff, "3998 7654 3211", "3998 7654 3212"),
            (Validator::Luhn, "0000", "7"),
        ];
        for (check, right, wrong) in cases {
            assert!(check.accepts(right), "{} {right}", check.name());
            assert!(!check.accepts(wrong), "{} {wrong}", check.name());
        }
    }

    #[test]
    fn every_check_notices_a_changed_digit() {
        let numbers = [
            (Validator::Luhn, "4111111111111111"),
            (Validator::Iban, "DE89370400440532013000"),
            (Validator::Mod11, "86095742719"),
            (Validator::Verhoeff, "399876543211"),
        ];
        for (check, number) in numbers {
            for place in 0..number.len() {
                for digit in b'0'..=b'9' {
                    let mut changed = number.as_bytes().to_vec();
                    if !changed[place].is_ascii_digit() || changed[place] == digit {
                        continue;
                    }
                    changed[place] = digit;
                    let changed = String::from_utf8(changed).unwrap();
                    assert!(!check.accepts(&changed), "{} {changed}", check.name());
                }
            }
        }
    }

    #[test]
    fn names_lead_back() {
        for check in Validator::ALL {
            assert_eq!(Validator::parse(check.name()), Some(check));
            assert!(!check.accepts("") && !check.accepts("abc"));
        }
        assert_eq!(Validator::parse("crc32"), None);
    }
}
