//! Payment cards (ISO/IEC 7812) and bank accounts (ISO 13616).

use super::check_digits::{self, luhn};
use super::context::{Topic, Word};
use super::{Hint, Hit, Text, is_part};

const SHORTEST_CARD: usize = 12;
const LONGEST_CARD: usize = 19;

pub(super) const WORDS: &[Word] = &[
    ("account", &[Topic::Bank]),
    ("acct", &[Topic::Bank]),
    ("bank", &[Topic::Bank]),
    ("bank account", &[Topic::Bank]),
    ("banking", &[Topic::Bank]),
    ("card", &[Topic::Card]),
    ("checking", &[Topic::Bank]),
    ("debit", &[Topic::Bank, Topic::Card]),
    ("routing", &[Topic::Bank]),
    ("savings", &[Topic::Bank]),
];

/// Payment card numbers: 12 to 19 digits, plain or in the groups printed on cards, of a known issuer, with a valid Luhn digit.
pub(in crate::mask) fn card(text: &Text<'_>, first: usize) -> Option<Hit> {
    let last = card_from(text, first)?;
    Some(Hit { start: text.runs[first].start, end: text.runs[last].end, last })
}

/// The index of the last run of the longest card number that begins with run `first`.
fn card_from(text: &Text<'_>, first: usize) -> Option<usize> {
    let start = text.runs[first].start;
    if text.word_before(start) || text.comes_from(start, b".,") || text.before(start) == Some(b'+') {
        return None;
    }
    let mut digits = [0; LONGEST_CARD];
    let mut lengths = [0; LONGEST_CARD];
    let (mut total, mut issued) = (0, None);
    let (mut best, mut end) = (None, start);
    for (count, run) in text.runs[first..].iter().enumerate() {
        let more = text.digits(*run);
        if count > 0 && !is_card_gap(text.bytes().get(end..run.start)) {
            break;
        }
        let Some(places) = digits.get_mut(total..total + more.len()) else { break };
        places.iter_mut().zip(more).for_each(|(place, digit)| *place = *digit);
        total += more.len();
        lengths[count] = more.len();
        end = run.end;
        if total < SHORTEST_CARD {
            continue;
        }
        let last = first + count;
        if issued.get_or_insert_with(|| lengths_issued(&digits)).contains(&total)
            && is_printed_like_a_card(&lengths[..=count], || stands_alone(text, first, last))
            && !text.word_after(run.end)
            && !text.goes_on(run.end, b".")
            && luhn(&digits[..total])
            && !text.in_uuid(start, run.end)
        {
            best = Some(last);
        }
    }
    best
}

/// Whether `gap` may be between the groups of a card number: one to three spaces, tabs, dashes and dots, of which at most one
/// is a dash or dot.
pub(super) fn is_card_gap(gap: Option<&[u8]>) -> bool {
    let is_mark = |byte: &u8| matches!(byte, b' ' | b'\t' | b'-' | b'.');
    match gap {
        None => false,
        Some([mark]) => is_mark(mark),
        Some(gap) => {
            gap.len() <= 3
                && gap.iter().all(is_mark)
                && gap.iter().filter(|byte| matches!(byte, b'-' | b'.')).count() <= 1
        }
    }
}

/// Whether no further digits join runs `first..=last` on either side.
pub(super) fn stands_alone(text: &Text<'_>, first: usize, last: usize) -> bool {
    let joined_before = first.checked_sub(1).is_some_and(|before| is_card_gap(text.gap(before)));
    !joined_before && !is_card_gap(text.gap(last))
}

/// Whether the groups have lengths in use. Groups of one or two digits count only if the number `stands_alone`, as columns of
/// figures look the same.
pub(super) fn is_printed_like_a_card(groups: &[usize], stands_alone: impl Fn() -> bool) -> bool {
    let Some((last, rest)) = groups.split_last() else { return false };
    match groups {
        [_] | [4, 6, 4 | 5] | [6, 13] | [8, 8] | [4, 3 | 4, 3 | 4, 3..=5] => true,
        [1 | 2, ..] => rest.iter().all(|length| *length == groups[0]) && *last <= groups[0] && stands_alone(),
        [4, ..] => rest.iter().all(|length| *length == 4) && *last <= 4,
        _ => false,
    }
}

/// Issuer ranges by their first six digits, inclusive, with the lengths they issue.
pub(super) const ISSUERS: [(u32, u32, &[usize]); 27] = [
    (100_000, 199_999, &[15]),                             // UATP; JCB 1800
    (213_100, 213_199, &[15]),                             // JCB
    (220_000, 220_499, &[16, 17, 18, 19]),                 // Mir
    (222_100, 272_099, &[16]),                             // Mastercard
    (300_000, 305_999, &[14, 16, 17, 18, 19]),             // Diners Club
    (309_500, 309_599, &[14, 16, 17, 18, 19]),             // Diners Club
    (340_000, 349_999, &[15]),                             // American Express
    (350_000, 359_999, &[16, 17, 18, 19]),                 // JCB
    (360_000, 369_999, &[14, 15, 16, 17, 18, 19]),         // Diners Club
    (370_000, 379_999, &[15]),                             // American Express
    (380_000, 399_999, &[14, 16, 17, 18, 19]),             // Diners Club
    (400_000, 499_999, &[13, 16, 19]),                     // Visa
    (500_000, 509_999, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro, Verve, Elo
    (510_000, 559_999, &[16]),                             // Mastercard
    (560_000, 599_999, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (600_000, 600_999, &[16]),                             // RuPay
    (601_100, 601_199, &[16, 17, 18, 19]),                 // Discover
    (604_000, 609_999, &[13, 16, 19]),                     // RuPay, Hipercard, Cabal
    (620_000, 629_999, &[14, 15, 16, 17, 18, 19]),         // UnionPay
    (630_000, 639_999, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro, InstaPayment
    (644_000, 659_999, &[16, 17, 18, 19]),                 // Discover, RuPay, Troy
    (660_000, 669_999, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (670_000, 679_999, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (810_000, 817_199, &[16, 17, 18, 19]),                 // UnionPay
    (817_200, 829_999, &[16]),                             // RuPay
    (860_000, 860_099, &[16]),                             // Humo, Uzcard
    (979_200, 979_299, &[16]),                             // Troy
];

/// The lengths of cards with the first six digits of `digits`.
fn lengths_issued(digits: &[u8; LONGEST_CARD]) -> &'static [usize] {
    let head = digits.iter().take(6).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let range = ISSUERS[..ISSUERS.partition_point(|(low, ..)| *low <= head)].last();
    range.filter(|(_, high, _)| head <= *high).map_or(&[], |(_, _, lengths)| lengths)
}

/// IBANs (ISO 13616-1): country, the length for it, and remainder 1 modulo 97; spaces and dashes between characters are
/// skipped.
pub(in crate::mask) fn iban(text: &Text<'_>, first: usize) -> Option<Hit> {
    let run = text.runs.get(first)?;
    // `DE89`, sometimes printed `DE 89`.
    let back = if text.before(run.start)?.is_ascii_alphabetic() { 2 } else { 3 };
    let start = run.start.checked_sub(back)?;
    // After a word of two letters it is some other number, unless it is long or continues in pairs.
    let (length, paired) = (run.end - run.start, || text.goes_on(run.end, b" "));
    if back == 3 && text.byte(start)?.is_ascii_lowercase() && length < 7 && !(length == 2 && paired()) {
        return None;
    }
    let end = iban_from(text, start)?;
    Some(Hit { start, end, last: text.last_run(first, end) })
}

/// US bank account numbers: 8 to 17 digits after a word for them.
pub(in crate::mask) fn us_bank_number(text: &Text<'_>, first: usize) -> Option<Hit> {
    let run = *text.runs.get(first)?;
    let hit = Hit { start: run.start, end: run.end, last: first };
    let alone = !text.word_before(run.start) && !text.word_after(run.end) && text.is_free(&hit);
    let clear = (8..=17).contains(&(run.end - run.start)) && alone && text.hint(first, Topic::Bank) == Some(Hint::For);
    clear.then_some(hit)
}

/// The end of the longest IBAN that begins at `start`.
fn iban_from(text: &Text<'_>, start: usize) -> Option<usize> {
    let [first, second] = text.bytes().get(start..start + 2)? else { return None };
    if !first.is_ascii_alphabetic() || !second.is_ascii_alphabetic() || text.word_before(start) {
        return None;
    }
    lengths([*first, *second]).filter_map(|length| iban_end(text, start, length)).max()
}

/// The end of the IBAN of `length` characters that begins at `start`, if it is valid.
pub(super) fn iban_end(text: &Text<'_>, start: usize, length: usize) -> Option<usize> {
    const LONGEST: usize = 34;
    const LONGEST_GAP: usize = 2;
    let mut characters = [0; LONGEST];
    let characters = characters.get_mut(..length)?;
    let (mut count, mut at) = (0, start);
    loop {
        let rest = text.bytes().get(at..)?;
        let part = rest.iter().take(length - count).take_while(|byte| is_part(**byte)).count();
        characters[count..count + part].copy_from_slice(&rest[..part]);
        (count, at) = (count + part, at + part);
        if count == length {
            break;
        }
        let gap = rest[part..].iter().take(LONGEST_GAP + 1).take_while(|byte| matches!(byte, b' ' | b'-')).count();
        if gap == 0 || gap > LONGEST_GAP {
            return None;
        }
        at += gap;
    }
    characters.make_ascii_uppercase();
    (!text.word_after(at) && check_digits::iban(characters)).then_some(at)
}

fn lengths(country: [u8; 2]) -> impl Iterator<Item = usize> {
    let wanted = country.map(|letter| letter.to_ascii_uppercase());
    let first = COUNTRIES.get(place_of(wanted)).map_or(IBANS.len(), |first| usize::from(*first));
    let alike = IBANS[first..].iter().take_while(move |(country, _)| country.as_bytes() == wanted);
    alike.map(|(_, length)| *length)
}

/// For each pair of letters the index in [`IBANS`] where the country begins.
static COUNTRIES: [u8; 26 * 26] = {
    let mut countries = [0; 26 * 26];
    let mut at = IBANS.len();
    while at > 0 {
        at -= 1;
        let [first, second] = IBANS[at].0.as_bytes() else { unreachable!() };
        countries[place_of([*first, *second])] = at.to_le_bytes()[0];
    }
    countries
};

/// The index of two capitals in [`COUNTRIES`].
const fn place_of([first, second]: [u8; 2]) -> usize {
    first.wrapping_sub(b'A') as usize * 26 + second.wrapping_sub(b'A') as usize
}

/// Countries and lengths of the ISO 13616 registry, and of territories and countries that use IBANs without being in it.
const IBANS: [(&str, usize); 128] = [
    ("AA", 16),
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AO", 25),
    ("AT", 20),
    ("AX", 18),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BF", 27),
    ("BF", 28),
    ("BG", 22),
    ("BH", 22),
    ("BI", 16),
    ("BI", 27),
    ("BJ", 28),
    ("BL", 27),
    ("BR", 29),
    ("BY", 28),
    ("CF", 27),
    ("CG", 27),
    ("CH", 21),
    ("CI", 28),
    ("CM", 27),
    ("CR", 22),
    ("CV", 25),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("DZ", 24),
    ("DZ", 26),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GA", 27),
    ("GB", 22),
    ("GE", 22),
    ("GF", 27),
    ("GI", 23),
    ("GL", 18),
    ("GP", 27),
    ("GQ", 27),
    ("GR", 27),
    ("GT", 28),
    ("GW", 25),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IR", 26),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KM", 27),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MA", 28),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MF", 27),
    ("MG", 27),
    ("MK", 19),
    ("ML", 28),
    ("MN", 20),
    ("MQ", 27),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("MZ", 25),
    ("NC", 27),
    ("NE", 28),
    ("NI", 28),
    ("NI", 32),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PF", 27),
    ("PK", 24),
    ("PL", 28),
    ("PM", 27),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RE", 27),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SN", 28),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TD", 27),
    ("TF", 27),
    ("TG", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("WF", 27),
    ("XK", 20),
    ("YE", 30),
];

#[cfg(test)]
mod tests {
    use super::super::cases::{check_no_numbers, check_numbers};
    use super::{IBANS, card, iban, us_bank_number};

    #[test]
    fn finds_cards() {
        check_numbers(
            card,
            &[
                ("4111111111111111", "4111111111111111"),
                ("card 4111 1111 1111 1111.", "4111 1111 1111 1111"),
                ("4111-1111-1111-1111", "4111-1111-1111-1111"),
                ("4111 - 1111 - 1111 - 1111", "4111 - 1111 - 1111 - 1111"),
                ("3782 822463 10005", "3782 822463 10005"),
                ("3056 930902 5904", "3056 930902 5904"),
                ("6759649826438453", "6759649826438453"),
                ("5000000000000000005", "5000000000000000005"),
                ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
                ("2024 4111 1111 1111 1111 77", "4111 1111 1111 1111"),
                ("4012888888881881 4012-8888-8888-1881", "4012888888881881|4012-8888-8888-1881"),
                ("(5555555555554444)", "5555555555554444"),
                ("pan=4222222222222,", "4222222222222"),
                ("{'n':'2223003122003222'}", "2223003122003222"),
            ],
        );
    }

    #[test]
    fn leaves_what_only_looks_like_a_card() {
        check_no_numbers(
            card,
            &[
                "1234567812345678",
                "4111111111111112",
                "order 9999999999999995",
                "0.4111111111111111",
                "4111111111111111.5",
                "a4111111111111111",
                "4111111111111111b",
                "41111111111111114111",
                "d4111111-1111-1111-1111-111111111111",
                "00000000-0000-4111-1111-111111111111",
                "1700000000000",
                "1716239022123456",
                "1716239022123456789",
                "2024-01-05 12:30:00.123456",
                "41 11\n11 11 11 11 11 11",
                "4111/1111/1111/1111",
                "7 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
                "978-3-16-148410-0",
                "0000000000000000",
                "************1111",
                "[CREDIT_CARD]",
            ],
        );
    }

    #[test]
    fn finds_ibans() {
        check_numbers(
            iban,
            &[
                ("GB82WEST12345698765432", "GB82WEST12345698765432"),
                ("IBAN: DE89 3704 0044 0532 0130 00, BIC X", "DE89 3704 0044 0532 0130 00"),
                ("gb82west12345698765432", "gb82west12345698765432"),
                ("NO9386011117947", "NO9386011117947"),
                ("in PT 50 0035 0651 0052 4681 8305 2", "PT 50 0035 0651 0052 4681 8305 2"),
                ("AL47-2121-1009-0000-0002-3569-8741", "AL47-2121-1009-0000-0002-3569-8741"),
                ("VG96 VPVG 0000 0123 4567 8901 X", "VG96 VPVG 0000 0123 4567 8901"),
                ("MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"),
                ("to=FR1420041010050500013M02606&x", "FR1420041010050500013M02606"),
                ("NO9386011117947 NO9386011117947", "NO9386011117947|NO9386011117947"),
            ],
        );
    }

    #[test]
    fn leaves_what_only_looks_like_an_iban() {
        check_no_numbers(
            iban,
            &[
                "GB81WEST12345698765432",
                "GB82WEST1234569876543",
                "GB82WEST123456987654321",
                "XGB82WEST12345698765432",
                "ZZ82WEST12345698765432",
                "GB82/WEST/1234/5698/7654/32",
                "GB82   WEST 1234 5698 7654 32",
                "DE00370400440532013000",
                "PO12345678901234567890",
                "SE-2024-00012345",
                "[IBAN_CODE]",
            ],
        );
    }

    #[test]
    fn finds_accounts_beside_a_word_for_them() {
        check_numbers(
            us_bank_number,
            &[
                ("my bank account number is 912803456", "912803456"),
                ("acct: 945456787654.", "945456787654"),
                ("checking 12345678901234567", "12345678901234567"),
                ("routing 021000021, account 123456789", "021000021|123456789"),
            ],
        );
        check_no_numbers(
            us_bank_number,
            &[
                "945456787654",
                "account 1234567",
                "account 123456789012345678",
                "account, order 12345678",
                "phone 912803456",
                "account A912803456",
                "account 912803456-1",
                "accountant 912803456",
                "[US_BANK_NUMBER] 912803456",
            ],
        );
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(IBANS.is_sorted_by(|one, other| one < other));
        assert!(IBANS.iter().all(|(_, length)| (15..=34).contains(length)));
    }
}
