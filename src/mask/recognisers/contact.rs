//! How to reach a person.

use std::sync::LazyLock;

use super::{Hint, Text, Word, Words};
use crate::json::Span;

/// E-mail addresses (RFC 5321 section 4.1.2, RFC 6531): a dot-atom or quoted local part and a domain with a top level.
///
/// `user@localhost` and address literals are not taken for e-mail; nor are `git@host:path` and file names like `icon@2x.png`.
pub(in crate::mask) fn emails(text: &Text<'_>, found: &mut Vec<Span>) {
    let mut behind = 0;
    for at in memchr::memchr_iter(b'@', text.bytes()) {
        let (Some(start), Some(end)) = (local_start(text, at, behind), domain_end(text, at + 1)) else { continue };
        let local = text.bytes().get(start..at).unwrap_or_default();
        if local == b"git"
            && text.byte(end) == Some(b':')
            && text.byte(end + 1).is_some_and(|b| b.is_ascii_alphabetic())
        {
            continue;
        }
        found.push(Span { start, end });
        behind = end;
    }
}

/// Where the local part before the `@` at `at` begins.
fn local_start(text: &Text<'_>, at: usize, behind: usize) -> Option<usize> {
    let head = text.whole.get(behind..at)?;
    if let Some(quoted) = head.strip_suffix('"') {
        const LONGEST: usize = 64;
        let open = quoted.rfind('"').filter(|open| quoted.len() - open <= LONGEST && !quoted.ends_with('\\'))?;
        return Some(behind + open);
    }
    let local = head.trim_end_matches(|c: char| c.is_alphanumeric() || ".+-_'~".contains(c));
    let mut start = behind + local.len();
    let rest = |start: usize| text.bytes().get(start..at).unwrap_or_default();
    // What ends an escape or a percent-encoded byte before the address is not part of it.
    if text.before(start) == Some(b'\\') && rest(start).first().is_some_and(|b| b"nrtbf".contains(b)) {
        start += 1;
    } else if text.before(start) == Some(b'%')
        && rest(start).iter().take(2).filter(|b| b.is_ascii_hexdigit()).count() == 2
    {
        start += 2;
    }
    start += rest(start).iter().take_while(|b| b".'~".contains(b)).count();
    (start < at && text.before(at) != Some(b'.')).then_some(start)
}

/// Where the domain that begins at `start` ends; RFC 5321 section 4.5.3.1.2 bounds it to 255 bytes.
fn domain_end(text: &Text<'_>, start: usize) -> Option<usize> {
    const LONGEST: usize = 255;
    let tail = text.whole.get(start..)?;
    let tail = tail.get(..tail.floor_char_boundary(LONGEST))?;
    let length =
        tail.find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-' || is_mark(c))).unwrap_or(tail.len());
    let mut domain = tail.get(..length)?;
    loop {
        domain = domain.trim_end_matches(['.', '-']);
        let (rest, last) = domain.rsplit_once('.')?;
        if is_top_level(last) && rest.split('.').all(is_label) && !is_file(rest, last) {
            return Some(start + domain.len());
        }
        domain = rest;
    }
}

/// Vowel signs of scripts whose letters do not stand alone.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{0900}'..='\u{0dff}' | '\u{0e30}'..='\u{0e4e}')
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
}

fn is_top_level(label: &str) -> bool {
    is_label(label)
        && label.chars().nth(1).is_some()
        && (label.chars().all(|c| c.is_alphabetic() || is_mark(c))
            || label.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("xn--")))
}

/// `icon@2x.png`, `pkg@1.0.beta`: a file or a version, not a host.
fn is_file(rest: &str, last: &str) -> bool {
    const EXTENSIONS: [&str; 20] = [
        "avif", "bmp", "css", "dll", "exe", "gif", "html", "ico", "jpeg", "jpg", "js", "json", "log", "pdf", "png",
        "svg", "txt", "webp", "xml", "yaml",
    ];
    let numbers = rest.split('.').take_while(|label| label.bytes().all(|b| b.is_ascii_digit())).count();
    numbers >= 2 || EXTENSIONS.iter().any(|extension| last.eq_ignore_ascii_case(extension))
}

static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(&TABLE));

const TABLE: [Word; 76] = [
    ("account", Hint::Against),
    ("amount", Hint::Against),
    ("build", Hint::Against),
    ("call", Hint::For),
    ("case", Hint::Against),
    ("cell", Hint::For),
    ("cellphone", Hint::For),
    ("cellulare", Hint::For),
    ("celular", Hint::For),
    ("contact number", Hint::For),
    ("created", Hint::Against),
    ("customer", Hint::Against),
    ("date", Hint::Against),
    ("dial", Hint::For),
    ("epoch", Hint::Against),
    ("fax", Hint::For),
    ("gsm", Hint::For),
    ("gtin", Hint::Against),
    ("handy", Hint::For),
    ("handynummer", Hint::For),
    ("id", Hint::Against),
    ("invoice", Hint::Against),
    ("isbn", Hint::Against),
    ("issue", Hint::Against),
    ("item", Hint::Against),
    ("landline", Hint::For),
    ("matricule", Hint::Against),
    ("mobil", Hint::For),
    ("mobile", Hint::For),
    ("model", Hint::Against),
    ("msisdn", Hint::For),
    ("móvil", Hint::For),
    ("order", Hint::Against),
    ("part", Hint::Against),
    ("phone", Hint::For),
    ("phonenumber", Hint::For),
    ("po", Hint::Against),
    ("portable", Hint::For),
    ("price", Hint::Against),
    ("product", Hint::Against),
    ("puhelin", Hint::For),
    ("qty", Hint::Against),
    ("ref", Hint::Against),
    ("reference", Hint::Against),
    ("serial", Hint::Against),
    ("sku", Hint::Against),
    ("sms", Hint::For),
    ("tel", Hint::For),
    ("telefax", Hint::For),
    ("telefon", Hint::For),
    ("telefone", Hint::For),
    ("telefonnummer", Hint::For),
    ("telefono", Hint::For),
    ("telephone", Hint::For),
    ("teléfono", Hint::For),
    ("ticket", Hint::Against),
    ("time", Hint::Against),
    ("timestamp", Hint::Against),
    ("tlf", Hint::For),
    ("total", Hint::Against),
    ("tracking", Hint::Against),
    ("transaction", Hint::Against),
    ("tél", Hint::For),
    ("téléphone", Hint::For),
    ("uuid", Hint::Against),
    ("version", Hint::Against),
    ("whatsapp", Hint::For),
    ("year", Hint::Against),
    ("zip", Hint::Against),
    ("Телефон", Hint::For),
    ("тел", Hint::For),
    ("телефон", Hint::For),
    ("手机", Hint::For),
    ("电话", Hint::For),
    ("電話", Hint::For),
    ("전화", Hint::For),
];

/// How far a word may stand before a number to speak for it.
const REACH: usize = 32;

/// Telephone numbers: `+` and a country code (ITU-T E.164), the North American national form, or any form beside a word for them.
pub(in crate::mask) fn phones(text: &Text<'_>, found: &mut Vec<Span>) {
    let mut index = 0;
    while index < text.runs.len() {
        let number =
            international(text, index).or_else(|| north_american(text, index)).or_else(|| in_context(text, index));
        if let Some((start, last)) = number {
            found.push(Span { start, end: with_extension(text, text.runs[last].end) });
            index = last + 1;
        } else {
            index += 1;
        }
    }
}

/// What may stand between the digits of one telephone number.
fn is_gap(gap: Option<&[u8]>) -> bool {
    gap.is_some_and(|gap| {
        !gap.is_empty()
            && gap.len() <= 3
            && gap.iter().all(|b| b" -./()".contains(b))
            && !(gap.starts_with(b". ") || gap.ends_with(b" (") && gap.starts_with(b"."))
    })
}

/// The numbers that begin with run `first`, shortest first: the last run, and how many digits until there.
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

/// `+44 20 7946 0958`: the longest form whose length fits its country.
fn international(text: &Text<'_>, first: usize) -> Option<(usize, usize)> {
    const LONGEST: usize = 15;
    let mut start = text.runs[first].start.checked_sub(1)?;
    if text.byte(start) == Some(b'(') {
        start = start.checked_sub(1)?;
    }
    if text.byte(start) != Some(b'+') || text.word_before(start) {
        return None;
    }
    let fits = |last: usize| {
        let mut number = text.runs[first..=last].iter().enumerate().flat_map(|(place, run)| {
            // `+44 (0)20`: the trunk prefix in parentheses is not dialled from abroad.
            let trunk = place > 0
                && text.before(run.start) == Some(b'(')
                && text.digits(*run) == b"0"
                && text.byte(run.end) == Some(b')');
            if trunk { &[] } else { text.digits(*run) }
        });
        is_e164(&mut number)
    };
    let (last, _) =
        sequences(text, first, LONGEST + 1).filter(|(last, _)| ends_here(text, *last) && fits(*last)).last()?;
    let closes = text.gap(first).is_some_and(|gap| gap.starts_with(b")"));
    let opened = closes && text.before(start) == Some(b'(');
    Some((start - usize::from(opened), last))
}

/// A country code and as many digits as numbers there have.
fn is_e164(digits: &mut dyn Iterator<Item = &u8>) -> bool {
    let mut number: u64 = 0;
    let mut length: u32 = 0;
    for digit in digits {
        number = number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        length += 1;
    }
    (1..=3).any(|code_length: u32| {
        let Some(rest) = length.checked_sub(code_length) else { return false };
        let code = number / 10_u64.saturating_pow(rest);
        let known =
            COUNTRIES.binary_search_by_key(&code, |(code, _, _)| u64::from(*code)).ok().map(|index| COUNTRIES[index]);
        let north_american = || matches!(number / 1_000_000_000 % 10, 2..);
        known.is_some_and(|(code, least, most)| {
            (u32::from(least)..=u32::from(most)).contains(&rest) && (code != 1 || north_american())
        })
    })
}

/// `(415) 555-0132`, `415-555-0132`, `1-415-555-0132`; with blanks alone only beside a word for it.
fn north_american(text: &Text<'_>, first: usize) -> Option<(usize, usize)> {
    let trunk = usize::from(text.digits(text.runs[first]) == b"1" && is_gap(text.gap(first)));
    let area = first + trunk;
    let runs = text.runs.get(area..area + 3)?;
    if !runs.iter().map(|run| run.end - run.start).eq([3, 3, 4]) || text.digits(runs[0])[0] < b'2' {
        return None;
    }
    let (one, two) = (text.gap(area)?, text.gap(area + 1)?);
    let opened = text.before(runs[0].start) == Some(b'(') && one.starts_with(b")");
    let plain = matches!(one, b"-" | b"." | b" ") && (one == two || one == b" " && two == b"-");
    let start = if trunk == 1 { text.runs[first].start } else { runs[0].start - usize::from(opened) };
    let last = area + 2;
    if !(opened && matches!(two, b"-" | b"." | b" ") || plain)
        || text.word_before(start)
        || joined(text, start)
        || text.goes_on(text.runs[last].end, b"-./")
        || !ends_here(text, last)
    {
        return None;
    }
    let hint = text.hint(start, REACH, &WORDS);
    let clear = opened || one != b" ";
    (hint != Some(Hint::Against) && (clear || hint == Some(Hint::For))).then_some((start, last))
}

/// Whether a number or code goes over into what begins at `start`.
fn joined(text: &Text<'_>, start: usize) -> bool {
    matches!(text.before(start), Some(b'-' | b'.' | b'/' | b'_' | b'#'))
        && start.checked_sub(2).is_some_and(|at| text.byte(at).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

/// Any 7 to 13 digits behind a word that announces them and no nearer word that claims them.
fn in_context(text: &Text<'_>, first: usize) -> Option<(usize, usize)> {
    const LEAST: usize = 7;
    const MOST: usize = 13;
    let digits_start = text.runs[first].start;
    let start = digits_start - usize::from(text.before(digits_start) == Some(b'('));
    if text.word_before(start) || joined(text, start) || text.comes_from(start, b"-./:,") {
        return None;
    }
    let whole = |(last, digits): &(usize, usize)| *digits >= LEAST && ends_here(text, *last) && !goes_over(text, *last);
    let (last, _) = sequences(text, first, MOST).filter(whole).last()?;
    let number = text.bytes().get(digits_start..text.runs[last].end)?;
    let clear =
        !is_date(number) && !is_dotted_quad(text, first, last) && !text.in_uuid(digits_start, text.runs[last].end);
    (clear && text.hint(start, REACH, &WORDS) == Some(Hint::For)).then_some((start, last))
}

/// A time, a fraction or a further part of a code.
fn goes_over(text: &Text<'_>, last: usize) -> bool {
    text.goes_on(text.runs[last].end, b":,") || text.byte(text.runs[last].end) == Some(b'%')
}

fn is_dotted_quad(text: &Text<'_>, first: usize, last: usize) -> bool {
    last == first + 3
        && (first..last).all(|index| text.gap(index) == Some(b"."))
        && text.runs[first..=last].iter().all(|run| run.end - run.start <= 3)
}

/// `2024-01-05`, `2024-01-05 12`, `05.01.2024`, `1/5/2024`, `20240105`.
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

/// The end of `x123`, `ext. 123` or `;ext=123` behind a number that ends at `end`, else `end`.
fn with_extension(text: &Text<'_>, end: usize) -> usize {
    const MARKS: [&[u8]; 8] = [b";ext=", b" ext. ", b" ext.", b" ext ", b"ext", b" x ", b" x", b"x"];
    let tail = &text.bytes()[end..];
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

/// Country codes in use with the fewest and most digits of a national number (ITU-T E.164 and its operational bulletins).
#[rustfmt::skip]
const COUNTRIES: [(u16, u8, u8); 215] = [
    (1, 10, 10), (7, 10, 14), (20, 8, 10), (27, 5, 10), (30, 10, 12), (31, 5, 11), (32, 8, 9), (33, 9, 9),
    (34, 9, 9), (36, 8, 9), (39, 6, 12), (40, 6, 9), (41, 9, 12), (43, 4, 13), (44, 7, 10), (45, 8, 8), (46, 6, 12),
    (47, 5, 8), (48, 6, 10), (49, 4, 13), (51, 8, 9), (52, 10, 10), (53, 6, 10), (54, 10, 11), (55, 8, 11),
    (56, 9, 11), (57, 8, 11), (58, 10, 10), (60, 8, 10), (61, 5, 12), (62, 7, 13), (63, 6, 13), (64, 5, 10),
    (65, 8, 11), (66, 8, 13), (81, 8, 13), (82, 5, 13), (84, 7, 10), (86, 7, 12), (90, 7, 13), (91, 8, 13),
    (92, 8, 12), (93, 9, 9), (94, 9, 9), (95, 6, 10), (98, 4, 10), (211, 9, 9), (212, 9, 9), (213, 8, 9),
    (216, 8, 8), (218, 9, 9), (220, 7, 7), (221, 9, 9), (222, 8, 8), (223, 8, 8), (224, 8, 9), (225, 10, 10),
    (226, 8, 8), (227, 8, 8), (228, 8, 8), (229, 8, 10), (230, 7, 10), (231, 7, 9), (232, 8, 8), (233, 8, 9),
    (234, 10, 12), (235, 8, 8), (236, 8, 8), (237, 8, 9), (238, 7, 7), (239, 7, 7), (240, 9, 9), (241, 7, 8),
    (242, 9, 9), (243, 7, 10), (244, 9, 9), (245, 7, 9), (246, 7, 7), (247, 5, 6), (248, 7, 7), (249, 9, 9),
    (250, 8, 9), (251, 9, 9), (252, 6, 9), (253, 8, 8), (254, 7, 10), (255, 9, 9), (256, 9, 9), (257, 8, 8),
    (258, 8, 9), (260, 9, 9), (261, 9, 9), (262, 9, 9), (263, 5, 10), (264, 8, 9), (265, 7, 9), (266, 8, 8),
    (267, 7, 10), (268, 8, 9), (269, 7, 7), (290, 4, 5), (291, 7, 7), (297, 7, 7), (298, 6, 6), (299, 6, 6),
    (350, 8, 8), (351, 9, 9), (352, 4, 11), (353, 7, 10), (354, 7, 9), (355, 6, 9), (356, 8, 8), (357, 8, 8),
    (358, 5, 12), (359, 6, 12), (370, 8, 8), (371, 8, 8), (372, 7, 10), (373, 8, 8), (374, 8, 8), (375, 6, 11),
    (376, 6, 9), (377, 8, 9), (378, 8, 10), (380, 9, 10), (381, 6, 12), (382, 8, 9), (383, 8, 12), (385, 7, 9),
    (386, 5, 8), (387, 8, 9), (389, 8, 8), (420, 9, 12), (421, 6, 9), (423, 7, 9), (500, 5, 5), (501, 7, 11),
    (502, 8, 11), (503, 7, 11), (504, 8, 11), (505, 8, 8), (506, 8, 10), (507, 7, 11), (508, 6, 9), (509, 8, 8),
    (590, 9, 9), (591, 8, 9), (592, 7, 7), (593, 8, 11), (594, 9, 9), (595, 6, 11), (596, 9, 9), (597, 6, 7),
    (598, 4, 12), (599, 7, 8), (670, 7, 8), (672, 6, 6), (673, 7, 7), (674, 7, 7), (675, 7, 8), (676, 5, 7),
    (677, 5, 7), (678, 5, 7), (679, 7, 11), (680, 7, 7), (681, 6, 9), (682, 5, 5), (683, 4, 7), (685, 5, 10),
    (686, 5, 8), (687, 6, 6), (688, 5, 7), (689, 6, 9), (690, 4, 7), (691, 7, 7), (692, 7, 7), (800, 8, 8),
    (808, 8, 8), (850, 8, 10), (852, 5, 11), (853, 7, 8), (855, 8, 10), (856, 8, 10), (870, 9, 12), (878, 12, 12),
    (880, 6, 10), (881, 9, 10), (882, 7, 12), (883, 8, 12), (886, 7, 11), (888, 11, 11), (960, 7, 10), (961, 7, 8),
    (962, 8, 9), (963, 8, 9), (964, 8, 10), (965, 7, 8), (966, 9, 10), (967, 7, 9), (968, 7, 9), (970, 8, 10),
    (971, 5, 12), (972, 7, 12), (973, 8, 8), (974, 7, 11), (975, 7, 8), (976, 8, 10), (977, 8, 11), (979, 9, 9),
    (992, 9, 9), (993, 8, 8), (994, 9, 9), (995, 9, 9), (996, 9, 10), (998, 9, 9),
];

#[cfg(test)]
mod tests {
    use super::super::cases::{check, check_none, found};
    use super::{COUNTRIES, TABLE, emails, phones};

    #[test]
    fn finds_emails() {
        check(
            emails,
            &[
                ("ana@example.com", "ana@example.com"),
                ("mail <ana.b+tag@mail.example.co.uk>, thanks", "ana.b+tag@mail.example.co.uk"),
                ("mailto:ana@example.com?subject=x", "ana@example.com"),
                ("https://x/?to=ana@example.com&y=1", "ana@example.com"),
                ("'ana@example.com' o'brien@example.ie.", "ana@example.com|o'brien@example.ie"),
                ("Łókaść@email.com", "Łókaść@email.com"),
                ("user@xn--80ak6aa92e.com", "user@xn--80ak6aa92e.com"),
                ("test@example.भारत", "test@example.भारत"),
                ("a\\nana@example.com", "ana@example.com"),
                ("%3Cana@example.com%3E", "ana@example.com"),
                ("ana@163.com", "ana@163.com"),
                ("ana@example.com.2024", "ana@example.com"),
                ("\"john doe\"@example.com", "\"john doe\"@example.com"),
                ("tok_email_ana@example.com", "tok_email_ana@example.com"),
                ("a@b.com;c@d.org", "a@b.com|c@d.org"),
                ("user_name@EXAMPLE.COM", "user_name@EXAMPLE.COM"),
            ],
        );
    }

    #[test]
    fn leaves_what_only_looks_like_an_email() {
        check_none(
            emails,
            &[
                "user@localhost",
                "@handle",
                "@types/node@18.2.1",
                "lodash@4.17.21",
                "pkg@1.0.0-rc.beta",
                "icon@2x.png",
                "git@github.com:org/repo",
                "a @ b.com",
                "a@.com",
                "a@-b.com",
                "something@@somewhere",
                "info@presidio.",
                "x@127.0.0.1",
                "@app.route",
                "5 @ 3.50",
                "a@b",
                "a@b.c",
                "[EMAIL_ADDRESS]",
                "************@example.com",
            ],
        );
    }

    #[test]
    fn finds_phones() {
        check(
            phones,
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
        assert_eq!(found(phones, "mobile_number", "0632207160"), ["0632207160"]);
    }

    #[test]
    fn leaves_what_only_looks_like_a_phone() {
        check_none(
            phones,
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

    #[test]
    fn the_tables_are_in_order() {
        assert!(COUNTRIES.is_sorted_by(|one, other| one.0 < other.0));
        assert!(TABLE.iter().all(|(word, _)| !word.is_empty()));
    }
}
