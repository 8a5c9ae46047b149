//! Telephone numbers.

mod countries;

use super::context::{Topic, Word};
use super::{Hint, Hit, Text};
use crate::json::Span;
use countries::is_e164;

pub(super) const WORDS: &[Word] = &[
    ("call", &[Topic::Phone]),
    ("cell", &[Topic::Phone]),
    ("cellphone", &[Topic::Phone]),
    ("cellulare", &[Topic::Phone]),
    ("celular", &[Topic::Phone]),
    ("contact number", &[Topic::Phone]),
    ("dial", &[Topic::Phone]),
    ("fax", &[Topic::Phone]),
    ("gsm", &[Topic::Phone]),
    ("handy", &[Topic::Phone]),
    ("handynummer", &[Topic::Phone]),
    ("landline", &[Topic::Phone]),
    ("mobil", &[Topic::Phone]),
    ("mobile", &[Topic::Phone]),
    ("msisdn", &[Topic::Phone]),
    ("móvil", &[Topic::Phone]),
    ("phone", &[Topic::Phone]),
    ("phonenumber", &[Topic::Phone]),
    ("portable", &[Topic::Phone]),
    ("puhelin", &[Topic::Phone]),
    ("sms", &[Topic::Phone]),
    ("tel", &[Topic::Phone]),
    ("telefax", &[Topic::Phone]),
    ("telefon", &[Topic::Phone]),
    ("telefone", &[Topic::Phone]),
    ("telefonnummer", &[Topic::Phone]),
    ("telefono", &[Topic::Phone]),
    ("telephone", &[Topic::Phone]),
    ("teléfono", &[Topic::Phone]),
    ("tlf", &[Topic::Phone]),
    ("tél", &[Topic::Phone]),
    ("téléphone", &[Topic::Phone]),
    ("whatsapp", &[Topic::Phone]),
    ("Телефон", &[Topic::Phone]),
    ("тел", &[Topic::Phone]),
    ("телефон", &[Topic::Phone]),
    ("手机", &[Topic::Phone]),
    ("电话", &[Topic::Phone]),
    ("電話", &[Topic::Phone]),
    ("전화", &[Topic::Phone]),
];

/// Telephone numbers with `+` and a country code (ITU-T E.164).
pub(in crate::mask) fn phone_abroad(text: &Text<'_>, first: usize) -> Option<Hit> {
    international(text, first).map(|found| hit(text, found))
}

/// Telephone numbers in the North American national format, or in any format after a word for them.
pub(in crate::mask) fn phone_at_home(text: &Text<'_>, first: usize) -> Option<Hit> {
    north_american(text, first).or_else(|| in_context(text, first)).map(|found| hit(text, found))
}

fn hit(text: &Text<'_>, (start, last): (usize, usize)) -> Hit {
    Hit { start, end: with_extension(text, text.runs[last].end), last }
}

/// Whether `gap` may be between the digits of a telephone number.
fn is_gap(gap: Option<&[u8]>) -> bool {
    let is_mark = |byte: &u8| matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')');
    match gap {
        None | Some([] | [b'.', b' ', ..]) => false,
        Some([mark]) => is_mark(mark),
        Some(gap) => gap.len() <= 3 && gap.iter().all(is_mark),
    }
}

/// The numbers that begin with run `first`, shortest first: the index of the last run, and the number of digits.
fn sequences(text: &Text<'_>, first: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut digits = 0;
    (first..text.runs.len())
        .take_while(move |index| *index == first || is_gap(text.gap(index - 1)))
        .map(move |index| {
            digits += text.runs[index].end - text.runs[index].start;
            (index, digits)
        })
        .take_while(move |(_, digits)| *digits <= most)
}

fn ends_here(text: &Text<'_>, last: usize) -> bool {
    let end = text.runs[last].end;
    !text.word_after(end) || with_extension(text, end) > end
}

/// `+44 20 7946 0958`: the longest number with a valid length for its country.
fn international(text: &Text<'_>, first: usize) -> Option<(usize, usize)> {
    const LONGEST: usize = 15;
    let mut start = text.runs[first].start.checked_sub(1)?;
    if text.byte(start) == Some(b'(') {
        start = start.checked_sub(1)?;
    }
    if text.byte(start) != Some(b'+') || text.word_before(start) {
        return None;
    }
    let (mut number, mut best) = (Dialled::default(), None);
    let (mut total, mut end) = (0, start);
    for (last, run) in text.runs.iter().enumerate().skip(first) {
        let digits = text.digits(*run);
        total += digits.len();
        if last > first && !is_gap(text.bytes().get(end..run.start)) || total > LONGEST + 1 {
            break;
        }
        if last == first || digits != b"0" || !is_trunk(text, *run) {
            number.push(digits);
        }
        if number.is_e164() && ends_here(text, last) {
            best = Some(last);
        }
        end = run.end;
    }
    let last = best?;
    let closes = text.gap(first).is_some_and(|gap| gap.starts_with(b")"));
    let opened = closes && text.before(start) == Some(b'(');
    Some((start - usize::from(opened), last))
}

/// Whether `run` is a trunk prefix in parentheses, which is not dialled from abroad: `+44 (0)20`.
fn is_trunk(text: &Text<'_>, run: Span) -> bool {
    text.before(run.start) == Some(b'(') && text.byte(run.end) == Some(b')')
}

/// A number as dialled from abroad: what is needed to look up its country and length.
#[derive(Default)]
struct Dialled {
    /// The first three, read as a number.
    head: u16,
    length: usize,
}

impl Dialled {
    fn push(&mut self, digits: &[u8]) {
        let missing = 3_usize.saturating_sub(self.length);
        for digit in digits.iter().take(missing) {
            self.head = self.head * 10 + u16::from(digit - b'0');
        }
        self.length += digits.len();
    }

    /// Whether it begins with a country code and has a valid length for the country.
    fn is_e164(&self) -> bool {
        is_e164(self.head, self.length)
    }
}

/// `(415) 555-0132`, `415-555-0132`, `1-415-555-0132`; with spaces alone only after a word for it.
fn north_american(text: &Text<'_>, first: usize) -> Option<(usize, usize)> {
    let trunk = usize::from(text.digits(text.runs[first]) == b"1" && is_gap(text.gap(first)));
    let area = first + trunk;
    let runs = text.runs.get(area..area + 3)?;
    if !runs.iter().map(|run| run.end - run.start).eq([3, 3, 4])
        || runs[..2].iter().any(|run| text.digits(*run)[0] < b'2')
    {
        return None;
    }
    let (one, two) = (text.gap(area)?, text.gap(area + 1)?);
    let opened = text.before(runs[0].start) == Some(b'(') && matches!(one, b")" | b") " | b")-" | b").");
    let plain = matches!(one, b"-" | b"." | b" ") && (one == two || one == b" " && two == b"-");
    let start = if trunk == 1 { text.runs[first].start } else { runs[0].start - usize::from(opened) };
    let last = area + 2;
    if !(opened && matches!(two, b"-" | b"." | b" ") || plain)
        || text.word_before(start)
        || text.joined(start)
        || text.goes_on(text.runs[last].end, b"-./")
        || !ends_here(text, last)
    {
        return None;
    }
    let hint = text.hint(first, Topic::Phone);
    let clear = opened || one != b" ";
    (hint != Some(Hint::Against) && (clear || hint == Some(Hint::For))).then_some((start, last))
}

/// Any 7 to 13 digits whose nearest context word is one for telephone numbers.
fn in_context(text: &Text<'_>, first: usize) -> Option<(usize, usize)> {
    const LEAST: usize = 7;
    const MOST: usize = 13;
    let digits_start = text.runs[first].start;
    let start = digits_start - usize::from(text.before(digits_start) == Some(b'('));
    if text.word_before(start) || text.joined(start) || text.comes_from(start, b"-./:,") {
        return None;
    }
    if text.hint(first, Topic::Phone) != Some(Hint::For) {
        return None;
    }
    let whole = |(last, digits): &(usize, usize)| *digits >= LEAST && ends_here(text, *last) && !goes_over(text, *last);
    let (last, _) = sequences(text, first, MOST).filter(whole).last()?;
    let number = text.bytes().get(digits_start..text.runs[last].end)?;
    let clear =
        !is_date(number) && !is_dotted_quad(text, first, last) && !text.in_uuid(digits_start, text.runs[last].end);
    clear.then_some((start, last))
}

/// Whether the number continues as a time, a fraction or a percentage.
fn goes_over(text: &Text<'_>, last: usize) -> bool {
    text.goes_on(text.runs[last].end, b":,") || text.byte(text.runs[last].end) == Some(b'%')
}

fn is_dotted_quad(text: &Text<'_>, first: usize, last: usize) -> bool {
    last == first + 3
        && (first..last).all(|index| text.gap(index) == Some(b"."))
        && text.runs[first..=last].iter().all(|run| run.end - run.start <= 3)
}

/// Whether it is rather a date: `2024-01-05`, `2024-01-05 12`, `05.01.2024`, `1/5/2024`, `20240105`.
fn is_date(number: &[u8]) -> bool {
    let parts: Vec<&[u8]> = number.split(|b| !b.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    let value =
        |part: &[u8]| part.iter().fold(0, |value: u32, b| value.saturating_mul(10).saturating_add(u32::from(b - b'0')));
    let date = |year: &[u8], month: &[u8], day: &[u8]| {
        year.len() == 4
            && (1900..2100).contains(&value(year))
            && (1..=12).contains(&value(month))
            && (1..=31).contains(&value(day))
    };
    match parts[..] {
        [year, month, day, ..] if year.len() == 4 => date(year, month, day),
        [day, month, year, ..] if year.len() == 4 && day.len() <= 2 && month.len() <= 2 => {
            date(year, month, day) || date(year, day, month)
        }
        [packed] if packed.len() == 8 => date(&packed[..4], &packed[4..6], &packed[6..]),
        _ => false,
    }
}

/// The end of an extension such as `x123`, `ext. 123` or `;ext=123` after a number that ends at `end`, else `end`.
fn with_extension(text: &Text<'_>, end: usize) -> usize {
    const MARKS: [&[u8]; 8] = [b";ext=", b" ext. ", b" ext.", b" ext ", b"ext", b" x ", b" x", b"x"];
    let tail = &text.bytes()[end..];
    if !matches!(tail, [b';' | b'e' | b'E' | b'x' | b'X', ..] | [b' ', b'e' | b'E' | b'x' | b'X', ..]) {
        return end;
    }
    for mark in MARKS {
        let Some(head) = tail.get(..mark.len()).filter(|head| head.eq_ignore_ascii_case(mark)) else { continue };
        let digits = tail[head.len()..].iter().take_while(|b| b.is_ascii_digit()).count();
        let behind = end + mark.len() + digits;
        if (1..=7).contains(&digits) && !text.word_after(behind) {
            return behind;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::super::cases::{check_no_numbers, check_numbers, found_numbers};
    use super::{Hit, Text, phone_abroad, phone_at_home};

    fn phone(text: &Text<'_>, first: usize) -> Option<Hit> {
        phone_abroad(text, first).or_else(|| phone_at_home(text, first))
    }

    #[test]
    fn finds_phones() {
        check_numbers(
            phone,
            &[
                ("+14155550132", "+14155550132"),
                ("+1 415 555 0132, then", "+1 415 555 0132"),
                ("+44 (20) 7123 4567", "+44 (20) 7123 4567"),
                ("+44 (0)20 7946 0958", "+44 (0)20 7946 0958"),
                ("(+44) 20 7946 0958", "(+44) 20 7946 0958"),
                ("tel:+33-1-42-68-53-00", "+33-1-42-68-53-00"),
                ("+36 82 473-5672", "+36 82 473-5672"),
                ("+49 30/1234567", "+49 30/1234567"),
                ("(415) 555-0132", "(415) 555-0132"),
                ("(345)584-2208x85269", "(345)584-2208x85269"),
                ("US: 415-555-0132 ext. 12", "415-555-0132 ext. 12"),
                ("415.555.0132", "415.555.0132"),
                ("1-800-555-0199", "1-800-555-0199"),
                ("phone 415 555 0132", "415 555 0132"),
                ("Phone: 4155550132", "4155550132"),
                ("homePhone=020 7946 0958", "020 7946 0958"),
                ("Tel. 030 1234567", "030 1234567"),
                ("call me at (555) 123-4567", "(555) 123-4567"),
                ("téléphone : 06 32 20 71 60", "06 32 20 71 60"),
                ("电话:13812345678", "13812345678"),
                ("order 77, phone 555-0132-11", "555-0132-11"),
            ],
        );
        assert_eq!(found_numbers(phone, "mobile_number", "0632207160"), ["0632207160"]);
    }

    #[test]
    fn leaves_what_only_looks_like_a_phone() {
        check_no_numbers(
            phone,
            &[
                "4155550132",
                "order 415-555-0132",
                "order no. 12345678",
                "SKU 415-555-0132",
                "2024-01-05 12:30:00",
                "2024-01-05T12:30:00+0100",
                "call on 2024-01-05",
                "call 20240105",
                "phone 192.168.1.10",
                "1716239022",
                "timestamp 1716239022",
                "v415.555.0132",
                "550e8400-e29b-41d4-a716-446655440000",
                "phone id 550e8400-e29b-41d4-a716-446655440000",
                "978-3-16-148410-0",
                "1.415.555",
                "+1234567",
                "+1.5e10",
                "3+14155550132",
                "+999 1234 5678",
                "415-555-01324",
                "AB-415-555-0132",
                "12-415-555-0132",
                "hotel 12345678",
                "excellent 12345678",
                "536-22-1234",
                "4111 1111 1111 1111",
                "[PHONE_NUMBER] 12345678",
                "phone ************0132",
            ],
        );
    }
}
