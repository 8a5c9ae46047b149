//! The bytes around digits, and what they make of the digits.

use crate::json::Span;

/// The length of `2026-01-05`.
pub(super) const DATE: usize = 10;
/// The digits of a French NIR before the `A` or `B` of a Corsican department.
pub(super) const BEFORE_CORSICA: usize = 6;
pub(super) const LONGEST_GAP: usize = 6;
/// The most bytes between a day and its year, for the name of a month.
pub(super) const LONGEST_MONTH: usize = 24;

/// The classes of a byte next to digits or between them.
pub(super) const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < u8::MAX {
        kinds[byte as usize] = match byte {
            b' ' | b'-' => GAP | BLANK,
            b'.' => GAP | DOT,
            b':' => GAP | COLON,
            b'/' | b'(' | b')' | b'\\' | b'\t' => GAP,
            b't' => GAP | LETTER,
            b'A'..=b'F' => LETTER | HEX | CAPITAL,
            b'G'..=b'Z' => LETTER | CAPITAL,
            b'a'..=b'f' => LETTER | HEX,
            b'g'..=b's' | b'u'..=b'z' => LETTER,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};
/// Allowed between the digits of one number.
pub(super) const GAP: u8 = 1;
pub(super) const LETTER: u8 = 2;
/// A letter that is a hexadecimal digit.
pub(super) const HEX: u8 = 4;
pub(super) const DOT: u8 = 8;
pub(super) const COLON: u8 = 16;
/// A space or a dash.
pub(super) const BLANK: u8 = 32;
pub(super) const CAPITAL: u8 = 64;

/// Whether the digits on both sides of `gap` could belong to one number.
#[inline]
pub(in crate::mask) fn joins(gap: &[u8]) -> bool {
    match gap {
        [byte] => is_gap(*byte),
        _ => gap.len() <= LONGEST_GAP && gap.iter().all(|byte| is_gap(*byte)),
    }
}

/// The number of digits from `at` on.
pub(super) fn digits_at(text: &[u8], at: usize) -> usize {
    text[at..].iter().take_while(|byte| is_digit(**byte)).count()
}

/// The number of digits immediately before `end`.
pub(super) fn digits_before(text: &[u8], end: usize) -> usize {
    text[..end].iter().rev().take_while(|byte| is_digit(**byte)).count()
}

/// The length of the gap that begins at `end`, if digits of the same number follow it.
pub(super) fn gap_at(text: &[u8], end: usize) -> Option<usize> {
    let rest = &text[end..];
    let gap = rest.iter().take(LONGEST_GAP + 1).take_while(|byte| is_gap(**byte)).count();
    (gap <= LONGEST_GAP && rest.get(gap).copied().is_some_and(is_digit)).then_some(gap)
}

/// The length of the gap that ends at `start`, if digits of the same number precede it; otherwise 0.
pub(super) fn gap_before(text: &[u8], start: usize) -> usize {
    let head = &text[..start];
    let gap = head.iter().rev().take(LONGEST_GAP + 1).take_while(|byte| is_gap(**byte)).count();
    let parted = gap <= LONGEST_GAP && head[..start - gap].last().copied().is_some_and(is_digit);
    if parted { gap } else { 0 }
}

const fn is_gap(byte: u8) -> bool {
    KINDS[byte as usize] & GAP != 0
}

/// The run of one or two digits before `year`, at most the name of a month away.
pub(super) fn day_before(text: &[u8], year: Span) -> Option<Span> {
    let head = text.get(..year.start)?;
    let gap = head.iter().rev().take(LONGEST_MONTH + 1).position(|byte| is_digit(*byte))?;
    let end = year.start - gap;
    let length = head[..end].iter().rev().take(3).take_while(|byte| is_digit(**byte)).count();
    (length <= 2).then_some(Span { start: end - length, end })
}

/// Whether `run` is a year from 1900 to 2099.
pub(super) fn is_year(text: &[u8], run: Span) -> bool {
    run.end - run.start == 4 && (text[run.start..].starts_with(b"19") || text[run.start..].starts_with(b"20"))
}

/// Whether three runs have the lengths of year, month and day, or of day, month and year.
pub(super) fn is_dated(runs: &[Span]) -> bool {
    let [one, two, three] = runs else { return false };
    let [one, two, three] = [one, two, three].map(|run| run.end - run.start);
    two <= 2 && (one == 4 && three <= 2 || one <= 2 && matches!(three, 2 | 4))
}

/// Whether `text` begins with a calendar date of 1900 to 2099, as `2026-01-05`, that is no part of a longer number. Digits
/// that only look like one could be a telephone number.
pub(super) fn is_lone_date(text: &[u8]) -> bool {
    let Some((date, behind)) = text.split_first_chunk::<DATE>() else { return false };
    let [b'1' | b'2', second, _, _, b'-', digits @ ..] = date else { return false };
    let [month @ .., b'-', day_tens, day_ones] = digits else { return false };
    let is_month = matches!(month, [b'0', b'1'..=b'9'] | [b'1', b'0'..=b'2']);
    let is_day =
        matches!([*day_tens, *day_ones], [b'0', b'1'..=b'9'] | [b'1' | b'2', b'0'..=b'9'] | [b'3', b'0' | b'1']);
    matches!((date[0], *second), (b'1', b'9') | (b'2', b'0'))
        && is_month
        && is_day
        && !behind.first().is_some_and(|byte| byte.is_ascii_hexdigit() || b"-./(".contains(byte))
        && !behind.starts_with(b"::")
}

/// Whether `run` follows two letters that are a whole word, as in `AB12`, `AB 12` or, with pairs of digits, `ab 12 34`.
pub(super) fn begins_lettered(text: &[u8], run: Span) -> bool {
    let head = &text[..run.start];
    let is_beside = |byte: &u8| KINDS[usize::from(*byte)] & (LETTER | BLANK) != 0;
    if run.end - run.start < 2 || !head.last().is_some_and(is_beside) {
        return false;
    }
    let parted = head.strip_suffix(b" ").or_else(|| head.strip_suffix(b"-"));
    let Some((rest, letters)) = parted.unwrap_or(head).split_last_chunk::<2>() else { return false };
    // Most words and numbers are separated by a space: then only capitals count, or digits that continue in pairs.
    let paired = || run.end - run.start == 2 && matches!(text.get(run.end..run.end + 2), Some([b' ', b'0'..=b'9']));
    letters.iter().all(u8::is_ascii_alphabetic)
        && (parted.is_none() || letters.iter().all(u8::is_ascii_uppercase) || paired())
        && (rest.last().is_none_or(|byte| !byte.is_ascii_alphanumeric()) || super::is_escape_end(rest))
}

/// Whether the letter of `2A` or `2B` is at `end`, with digits after it.
pub(super) fn is_corsican(text: &[u8], end: usize) -> bool {
    text[..end].ends_with(b"2")
        && text.get(end).copied().is_some_and(is_corsican_letter)
        && text[end + 1..].iter().take(LONGEST_GAP + 1).find(|byte| !is_gap(**byte)).is_some_and(u8::is_ascii_digit)
}

/// The position of the letter of `2A` or `2B` before the digits at `start`.
pub(super) fn before_corsican(text: &[u8], start: usize) -> Option<usize> {
    let head = &text[..start];
    let gap = head.iter().rev().take(LONGEST_GAP).take_while(|byte| is_gap(**byte)).count();
    let letter = (start - gap).checked_sub(1)?;
    (text.get(letter).copied().is_some_and(is_corsican_letter) && text[..letter].ends_with(b"2")).then_some(letter)
}

const fn is_corsican_letter(byte: u8) -> bool {
    matches!(byte, b'A' | b'B' | b'a' | b'b')
}

/// Whether `run` is in a word of hexadecimal digits and colons with two colons in a row.
pub(super) fn has_double_colon(text: &[u8], run: Span) -> bool {
    const LONGEST: usize = 45;
    let doubled = |bytes: &mut dyn Iterator<Item = &u8>| {
        let mut before = 0;
        let mut word = bytes.take(LONGEST).take_while(|byte| byte.is_ascii_hexdigit() || **byte == b':');
        word.any(|byte| std::mem::replace(&mut before, *byte) == b':' && *byte == b':')
    };
    doubled(&mut text[run.end..].iter()) || doubled(&mut text[..run.start].iter().rev())
}

/// Whether `run` is in a word of hexadecimal digits and dots with two dots around four bytes.
pub(super) fn is_dotted(text: &[u8], run: Span) -> bool {
    const LENGTH: usize = 14;
    if run.end - run.start > 4 {
        return false;
    }
    let part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'.';
    let tail = text[run.end..].iter().take(LENGTH).take_while(|byte| part(byte)).count();
    let head = text[..run.start].iter().rev().take(LENGTH).take_while(|byte| part(byte)).count();
    let word = &text[run.start - head..run.end + tail];
    word.len() >= LENGTH && word.windows(6).any(|part| part[0] == b'.' && part[5] == b'.')
}

pub(super) const fn is_digit(byte: u8) -> bool {
    byte.wrapping_sub(b'0') < 10
}
