//! Dates of birth.

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;

use super::context::{Topic, Word};
use super::{Hint, Hit, Text};

pub(super) const WORDS: &[Word] = &[
    ("birth date", &[Topic::Birth]),
    ("birth", &[Topic::Birth]),
    ("birthdate", &[Topic::Birth]),
    ("birthday", &[Topic::Birth]),
    ("born", &[Topic::Birth]),
    ("cumpleaños", &[Topic::Birth]),
    ("d.o.b", &[Topic::Birth]),
    ("data de nascimento", &[Topic::Birth]),
    ("data di nascita", &[Topic::Birth]),
    ("data urodzenia", &[Topic::Birth]),
    ("date de naissance", &[Topic::Birth]),
    ("date of birth", &[Topic::Birth]),
    ("date_of_birth", &[Topic::Birth]),
    ("dob", &[Topic::Birth]),
    ("fecha de nacimiento", &[Topic::Birth]),
    ("födelsedatum", &[Topic::Birth]),
    ("geb", &[Topic::Birth]),
    ("geboortedatum", &[Topic::Birth]),
    ("geboren", &[Topic::Birth]),
    ("geburtsdatum", &[Topic::Birth]),
    ("geburtstag", &[Topic::Birth]),
    ("nacido", &[Topic::Birth]),
    ("nacimiento", &[Topic::Birth]),
    ("naissance", &[Topic::Birth]),
    ("nascita", &[Topic::Birth]),
    ("nato", &[Topic::Birth]),
    ("né le", &[Topic::Birth]),
    ("née le", &[Topic::Birth]),
    ("дата рождения", &[Topic::Birth]),
    ("出生日期", &[Topic::Birth]),
    ("生年月日", &[Topic::Birth]),
];

/// Stems: every word of [`WORDS`] contains one.
const STEMS: [&str; 18] = [
    "birth", "born", "cumple", "d.o.b", "dob", "föd", "geb", "geboor", "nac", "nais", "nasc", "nato", "né", "urodz",
    "рожд", "出生", "生年", "geburt",
];

/// Searches for the [`stems`].
static SPOKEN: LazyLock<Option<Searcher>> = LazyLock::new(|| Searcher::new(stems()));

/// Every word for birth contains one of these: the stems in lower case, capitalised, and in upper case.
pub(in crate::mask) fn stems() -> Vec<String> {
    let mut patterns = Vec::new();
    for stem in STEMS {
        let mut rest = stem.chars();
        let capital: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
        patterns.extend([stem.to_owned(), capital + rest.as_str(), stem.to_uppercase()]);
    }
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

/// Whether `text` may contain a word for birth, which a date of birth requires; there are false positives.
pub(in crate::mask) fn speaks_of_birth(text: &[u8]) -> bool {
    !text.is_empty() && SPOKEN.as_ref().is_none_or(|stems| stems.find(text).is_some())
}

/// The beginnings of month names in the languages of [`WORDS`].
const MONTHS: [&str; 42] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "jän", "mär", "mai", "okt",
    "dez", "fév", "fev", "avr", "juin", "juil", "aoû", "déc", "ene", "abr", "ago", "dic", "gen", "mag", "giu", "lug",
    "set", "ott", "out", "maj", "mei", "mrt", "sty", "lut", "kwi", "lip",
];

/// The most bytes between day and year, for the name of a month.
const LONGEST_MONTH: usize = 24;

/// Dates next to a word for birth: 1987-05-04, 4.5.1987, 5/4/87, 4 May 1987, May 4, 1987.
pub(in crate::mask) fn date_of_birth(text: &Text<'_>, first: usize) -> Option<Hit> {
    // Most numbers have no other close enough.
    if text.gap(first)?.len() > LONGEST_MONTH {
        return None;
    }
    let hit = numeric(text, first).or_else(|| spelled(text, first))?;
    let free = !text.word_before(hit.start) && !text.word_after(hit.end) && !text.comes_from(hit.start, b"-./");
    (free && text.hint(first, Topic::Birth) == Some(Hint::For)).then_some(hit)
}

fn numeric(text: &Text<'_>, first: usize) -> Option<Hit> {
    let [one, two, three] = *text.runs.get(first..first + 3)? else { return None };
    let gap = text.gap(first)?;
    if gap != text.gap(first + 1)? || !matches!(gap, b"-" | b"/" | b"." | b". ") {
        return None;
    }
    let [one_digits, two_digits, three_digits] = [one, two, three].map(|run| text.digits(run));
    let dated = is_year(one_digits) && is_day(two_digits) && is_day(three_digits)
        || is_day(one_digits) && is_day(two_digits) && (is_year(three_digits) || three_digits.len() == 2);
    dated.then_some(Hit { start: one.start, end: three.end, last: first + 2 })
}

/// A date with the name of the month between day and year, or before the day.
fn spelled(text: &Text<'_>, first: usize) -> Option<Hit> {
    let [day, year] = *text.runs.get(first..first + 2)? else { return None };
    if !is_day(text.digits(day)) || !is_year(text.digits(year)) {
        return None;
    }
    let between = text.whole.get(day.end..year.start).filter(|between| between.len() <= LONGEST_MONTH)?;
    let mut words = between.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let last = first + 1;
    if words.any(is_month) {
        return Some(Hit { start: day.start, end: year.end, last });
    }
    if !matches!(between.trim_start_matches(|c: char| c.is_ascii_lowercase()), ", " | " " | ",") {
        return None;
    }
    let before = text.whole.get(..day.start)?.trim_end_matches([' ', '.']);
    let month = before.len() - before.trim_end_matches(char::is_alphabetic).len();
    let start = before.len() - month;
    is_month(before.get(start..)?).then_some(Hit { start, end: year.end, last })
}

fn is_month(word: &str) -> bool {
    let lower = word.to_lowercase();
    word.chars().count() >= 3 && lower.len() <= 12 && MONTHS.iter().any(|month| lower.starts_with(month))
}

fn is_day(digits: &[u8]) -> bool {
    match digits {
        [one] => *one != b'0',
        [b'0', two] => *two != b'0',
        [b'1' | b'2', _] | [b'3', b'0' | b'1'] => true,
        _ => false,
    }
}

fn is_year(digits: &[u8]) -> bool {
    matches!(digits, [b'1', b'9', _, _] | [b'2', b'0', _, _])
}

#[cfg(test)]
mod tests {
    use super::super::cases::{check_no_numbers, check_numbers, found_numbers};
    use super::{WORDS, date_of_birth, speaks_of_birth};

    #[test]
    fn finds_dates() {
        check_numbers(
            date_of_birth,
            &[
                ("born 1987-05-04.", "1987-05-04"),
                ("DOB: 05/04/1987", "05/04/1987"),
                ("date of birth 4.5.87", "4.5.87"),
                ("Geburtsdatum: 04.05.1987", "04.05.1987"),
                ("born on 4 May 1987 in", "4 May 1987"),
                ("born May 4, 1987", "May 4, 1987"),
                ("née le 4 août 1987", "4 août 1987"),
                ("born on the 4th of May 1987", "4th of May 1987"),
            ],
        );
        for label in ["dateOfBirth", "birthDate", "date_of_birth", "dob"] {
            assert_eq!(found_numbers(date_of_birth, label, "1987-05-04"), ["1987-05-04"], "{label}");
        }
    }

    #[test]
    fn every_word_for_birth_is_heard() {
        for (word, _) in WORDS {
            let mut capital = word.chars();
            let first: String = capital.next().unwrap().to_uppercase().collect();
            for spelled in [(*word).to_owned(), first + capital.as_str(), word.to_uppercase()] {
                assert!(speaks_of_birth(spelled.as_bytes()), "{spelled}");
            }
        }
        assert!(!speaks_of_birth(b"created on 2026-01-05"));
    }

    #[test]
    fn leaves_other_dates() {
        check_no_numbers(
            date_of_birth,
            &[
                "1987-05-04",
                "created 1987-05-04",
                "born in 1987",
                "born 12 of 2019 days",
                "dob 1987-13-45-2",
                "birth 1.2.3",
                "invoice born order 1987-05-04",
                "stillborn 1987-05-04",
                "born 0x1987-05-04",
                "born 10.1987.04.05",
                "[DATE_OF_BIRTH] 1987-05-04",
            ],
        );
    }
}
