//! Straightforward versions of recognisers, and tests that the optimised ones find the same.

use proptest::prelude::*;

use super::check_digits::{Validator, luhn};
use super::payment::{self, ISSUERS};
use super::{Number, Text, contact, has_word_of};
use crate::json::Span;

fn runs(text: &str) -> Vec<Span> {
    let mut runs: Vec<Span> = Vec::new();
    for (at, _) in text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        match runs.last_mut().filter(|run| run.end == at) {
            Some(run) => run.end = at + 1,
            None => runs.push(Span { start: at, end: at + 1 }),
        }
    }
    runs
}

/// An IBAN of `length` characters, reduced modulo 97 digit by digit.
fn iban_end(text: &str, start: usize, length: usize) -> Option<usize> {
    let (mut characters, mut gap, mut end) = (String::new(), 0, start);
    for c in text.get(start..)?.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-')) {
        if characters.len() == length {
            break;
        }
        end += 1;
        gap = if c.is_ascii_alphanumeric() { 0 } else { gap + 1 };
        if gap > 2 {
            return None;
        }
        characters.extend(c.is_ascii_alphanumeric().then_some(c.to_ascii_uppercase()));
    }
    let moved = characters.get(4..)?.chars().chain(characters.chars().take(4));
    let rest = moved.flat_map(|c| c.to_digit(36).unwrap().to_string().into_bytes());
    let rest = rest.fold(0, |rest: u32, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    let check = characters.get(2..4)?;
    let proved = check.bytes().all(|b| b.is_ascii_digit()) && !matches!(check, "00" | "01" | "99") && rest == 1;
    let whole = !text.get(end..)?.starts_with(char::is_alphanumeric);
    (characters.len() == length && whole && proved).then_some(end)
}

/// The longest card number that begins with run `first`: every number of runs is tried.
fn card(text: &Text<'_>, first: usize) -> Option<usize> {
    let start = text.runs[first].start;
    if text.word_before(start) || text.comes_from(start, b".,") || text.before(start) == Some(b'+') {
        return None;
    }
    let fits = |last: &usize| {
        let runs = &text.runs[first..=*last];
        let digits: Vec<u8> = runs.iter().flat_map(|run| text.digits(*run)).copied().collect();
        let groups: Vec<usize> = runs.iter().map(|run| run.end - run.start).collect();
        let head = digits.iter().take(6).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        let end = runs.last().map_or(start, |run| run.end);
        (first..*last).all(|run| payment::is_card_gap(text.gap(run)))
            && (12..=19).contains(&digits.len())
            && ISSUERS
                .iter()
                .any(|(low, high, lengths)| (*low..=*high).contains(&head) && lengths.contains(&digits.len()))
            && luhn(&digits)
            && payment::is_printed_like_a_card(&groups, || payment::stands_alone(text, first, *last))
            && !text.word_after(end)
            && !text.goes_on(end, b".")
            && !text.in_uuid(start, end)
    };
    (first..text.runs.len().min(first + 19)).rev().find(fits)
}

/// The digits of a nine-digit number from run `first` on.
fn nine(text: &Text<'_>, first: usize, joins: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let count = (1..=text.runs.len() - first)
        .find(|count| text.runs[first..first + count].iter().map(|run| run.end - run.start).sum::<usize>() >= 9)?;
    let runs = &text.runs[first..first + count];
    let digits: Vec<u8> = runs.iter().flat_map(|run| text.digits(*run)).copied().collect();
    let joined = (first..first + count - 1).all(|run| text.gap(run).is_some_and(&joins));
    let whole = !text.word_before(runs[0].start) && !text.word_after(runs[count - 1].end);
    (digits.len() == 9 && joined && whole).then_some(digits)
}

/// `digits` followed by their Luhn digit.
fn proved(digits: &str) -> String {
    (0..10).map(|check| format!("{digits}{check}")).find(|number| luhn(number.as_bytes())).unwrap()
}

fn number() -> impl Strategy<Value = String> {
    let heads = ["4", "41", "51", "5018", "34", "3782", "6011", "36", "2221", "1800", "0", "9792"];
    prop_oneof![
        4 => (prop::sample::select(heads.to_vec()), "[0-9]{8,15}").prop_map(|(head, rest)| proved(&format!("{head}{rest}"))),
        1 => "[0-9]{9}",
        1 => "[0-9]{1,20}",
    ]
}

/// A number in groups as numbers are printed, or nearly so, with possible surroundings.
fn grouped() -> impl Strategy<Value = String> {
    let groups =
        [&[4, 4, 4, 4, 3][..], &[4, 6, 5], &[19], &[2; 10], &[1; 19], &[3, 2, 4], &[3, 3, 3], &[8, 8], &[6, 13]];
    let gaps = ["-", " ", ".", " - ", "\t", "/", "", "--", ", "];
    let beside = ["", " ", "a", ".", "-", "+", "é", "1.", "5,", "%", "d", ":", "(", "550e8400-"];
    let select = |from: &'static [&'static str]| prop::sample::select(from);
    let (groups, gaps) = (prop::sample::select(groups.to_vec()), prop::sample::select(gaps.to_vec()));
    let before = prop::sample::select(beside.to_vec());
    let behind = prop_oneof![prop::sample::select(beside.to_vec()), select(&[".5", ".x", "-1111", "-446655440000"])];
    (number(), groups, gaps, before, behind).prop_map(|(number, groups, gap, before, behind)| {
        let (mut text, mut rest) = (before.to_owned(), number.as_str());
        for length in groups {
            if let Some((group, behind)) = rest.split_at_checked(*length) {
                text = text + group + if behind.is_empty() { "" } else { gap };
                rest = behind;
            }
        }
        text + rest + behind
    })
}

/// An IBAN, mostly with the right check digits, in groups or not, with possible surroundings.
fn account() -> impl Strategy<Value = (String, usize, usize)> {
    let countries = ["DE", "gb", "NO", "FR", "Mt", "SN"];
    let parts = ("[A-Z0-9]{11,28}", 0_u8..100, prop::bool::weighted(0.8), "[ -]{0,3}", 1_usize..6, "[ .,a1é-]?");
    (prop::sample::select(countries.to_vec()), parts).prop_map(|(country, (body, any, right, gap, group, behind))| {
        let with = |check: u8| format!("{country}{check:02}{body}");
        let length = with(0).len();
        let check = (2..99).find(|check| right && iban_end(&with(*check), 0, length).is_some()).unwrap_or(any);
        let mut text = String::new();
        for (at, c) in with(check).chars().enumerate() {
            text.push(c);
            text.push_str(if at % group == group - 1 && at + 1 < length { &gap } else { "" });
        }
        (text + &behind, length, 0)
    })
}

/// The Luhn check, digit by digit.
fn is_luhn(digits: &str) -> bool {
    let values = digits.bytes().rev().map(|digit| u32::from(digit - b'0'));
    let sums =
        values.enumerate().map(|(place, value)| if place % 2 == 0 { value } else { value * 2 / 10 + value * 2 % 10 });
    sums.sum::<u32>() % 10 == 0
}

fn domain() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        4 => "[a-z0-9]{1,6}",
        1 => "[a-zA-Z0-9-]{0,4}",
        1 => prop::sample::select(&["png", "HTML", "xn--80ak6aa92e", "com", "x", "भारत", "é", "2x", "co", "a--b"][..]).prop_map(str::to_owned),
        1 => "[a-z]{60,66}",
    ];
    let marks = prop::sample::select(&["", ".", "..", "-", ".-", "_", " ", "/", "é", ","][..]);
    (prop::collection::vec(label, 1..7), marks).prop_map(|(labels, marks)| labels.join(".") + marks)
}

#[test]
fn sees_a_long_word_wherever_it_stands() {
    for before in 0..40 {
        for length in 12..16 {
            let text = ".".repeat(before % 7) + &"-a".repeat(before) + "." + &"x".repeat(length) + "._y";
            assert_eq!(has_word_of(14, text.as_bytes()), length >= 14, "{text}");
        }
    }
    assert!(!has_word_of(14, b"") && has_word_of(14, b"abcdefghijklmn"));
}

proptest! {
    #[test]
    fn accounts_end_where_they_would((text, length, start) in account(), other in 15_usize..35) {
        let seen = Text::new(&text, "", &[]);
        for length in [length, other] {
            prop_assert_eq!(payment::iban_end(&seen, start, length), iban_end(&text, start, length), "{} of {:?}", length, text);
        }
    }

    #[test]
    fn digits_are_summed_up_as_one_would(digits in "[0-9]{0,40}", any in prop::bool::ANY) {
        let digits = if any { digits } else { proved(&digits) };
        prop_assert_eq!(luhn(digits.as_bytes()), is_luhn(&digits), "{}", digits);
    }

    #[test]
    fn remainders_are_those_of_the_whole_number(number in "[0-9A-Za-z]{0,60}", only_digits in "[0-9]{3,60}") {
        for text in [number, only_digits] {
            let value = |c: char| c.to_digit(36).unwrap();
            let rest = text.chars().map(value).fold(0, |rest, value| (rest * if value > 9 { 100 } else { 10 } + value) % 97);
            prop_assert_eq!(Validator::Mod97.accepts(&text), text.len() > 2 && rest == 1, "{}", text);
        }
    }

    #[test]
    fn cards_are_those_that_would_be_found(numbers in prop::collection::vec(grouped(), 1..4)) {
        let text = numbers.concat();
        let runs = runs(&text);
        let seen = Text::new(&text, "", &runs);
        for first in 0..runs.len() {
            prop_assert_eq!(payment::card(&seen, first).map(|hit| hit.last), card(&seen, first), "run {} of {:?}", first, text);
        }
    }

    #[test]
    fn numbers_have_the_digits_that_are_there(numbers in prop::collection::vec(grouped(), 1..4)) {
        let text = numbers.concat();
        let runs = runs(&text);
        let seen = Text::new(&text, "", &runs);
        let joins = |gap: &[u8]| matches!(gap, b"-" | b" " | b" - ");
        for first in 0..runs.len() {
            let read = Number::<9>::read(&seen, first, joins).map(|number| number.digits.to_vec());
            prop_assert_eq!(read, nine(&seen, first, joins), "run {} of {:?}", first, text);
        }
    }

    #[test]
    fn domains_end_where_their_labels_do(text in domain()) {
        let seen = Text::new(&text, "", &[]);
        prop_assert_eq!(contact::domain_end(&seen, 0), contact::labelled_end(&seen, 0), "{:?}", text);
    }
}
