//! Email addresses.

use super::Text;
use crate::json::Span;

/// Email addresses (RFC 5321 section 4.1.2), with Unicode letters (RFC 6531).
///
/// Not `user@localhost` and address literals, `git@host:path`, and file names such as `icon@2x.png`.
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

/// The beginning of the local part before the `@` at `at`, not before `behind`.
fn local_start(text: &Text<'_>, at: usize, behind: usize) -> Option<usize> {
    let head = text.whole.get(behind..at)?;
    if let Some(quoted) = head.strip_suffix('"') {
        const LONGEST: usize = 64;
        let open = quoted.rfind('"').filter(|open| quoted.len() - open <= LONGEST && !quoted.ends_with('\\'))?;
        return Some(behind + open);
    }
    let mut start = behind + local_length(head);
    let rest = |start: usize| text.bytes().get(start..at).unwrap_or_default();
    // The letter of an escape, or the digits of a percent-encoded byte, before the address are no part of it.
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

/// The position in `head` where the longest local part at its end begins.
fn local_length(head: &str) -> usize {
    match head.as_bytes().iter().rposition(|byte| PARTS[usize::from(*byte)] & LOCAL == 0) {
        None => 0,
        Some(at) if head.as_bytes()[at].is_ascii() => at + 1,
        Some(_) => head.trim_end_matches(|c: char| c.is_alphanumeric() || ".+-_'~".contains(c)).len(),
    }
}

/// The parts of an address each ASCII character can be in.
const PARTS: [u8; 256] = {
    let (mut parts, mut byte) = ([0; 256], 0);
    while byte < u8::MAX {
        parts[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER | LOCAL | DOMAIN,
            b'0'..=b'9' | b'.' | b'-' => LOCAL | DOMAIN,
            b'+' | b'_' | b'\'' | b'~' => LOCAL,
            _ => 0,
        };
        byte += 1;
    }
    parts
};
const LOCAL: u8 = 1;
const DOMAIN: u8 = 2;
const LETTER: u8 = 4;

/// The length of the longest run of domain characters at the beginning of `tail`.
fn domain_length(tail: &str) -> usize {
    match tail.as_bytes().iter().position(|byte| PARTS[usize::from(*byte)] & DOMAIN == 0) {
        None => tail.len(),
        Some(at) if tail.as_bytes()[at].is_ascii() => at,
        Some(_) => {
            tail.find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-' || is_mark(c))).unwrap_or(tail.len())
        }
    }
}

/// The longest domain, in bytes (RFC 5321 section 4.5.3.1.2).
const LONGEST: usize = 255;

/// The end of the domain that begins at `start`.
pub(super) fn domain_end(text: &Text<'_>, start: usize) -> Option<usize> {
    match plain_length(text.bytes().get(start..)?) {
        Some(length) => Some(start + length),
        None => labelled_end(text, start),
    }
}

/// The same, label by label.
pub(super) fn labelled_end(text: &Text<'_>, start: usize) -> Option<usize> {
    let tail = text.whole.get(start..)?;
    let tail = tail.get(..tail.floor_char_boundary(LONGEST))?;
    let mut domain = tail.get(..domain_length(tail))?;
    loop {
        domain = domain.trim_end_matches(['.', '-']);
        let (rest, last) = domain.rsplit_once('.')?;
        if is_top_level(last) && rest.split('.').all(is_label) && !is_file(rest, last) {
            return Some(start + domain.len());
        }
        domain = rest;
    }
}

/// The length of the domain at the beginning of `tail`, in the common case: ASCII letters, digits and single marks, and a last
/// label of letters. `None` for others, which are examined label by label.
fn plain_length(tail: &[u8]) -> Option<usize> {
    const LONGEST_LABEL: usize = 63;
    let part = |at: usize| tail.get(at).map_or(0, |byte| PARTS[usize::from(*byte)]);
    // The beginning of the last label, and whether it is all letters.
    let (mut label, mut is_letters, mut length) = (0, part(0) & LETTER != 0, 0);
    while part(length) & DOMAIN != 0 {
        if part(length) & LETTER == 0 {
            let (mark, next) = (tail[length], part(length + 1));
            if mark == b'.' && next & DOMAIN == 0 {
                break;
            }
            if matches!(mark, b'.' | b'-') && matches!(tail.get(length + 1), Some(b'.' | b'-')) {
                return None;
            }
            is_letters = mark == b'.';
            label = if is_letters { length + 1 } else { label };
        }
        length += 1;
    }
    let is_ascii = |at: usize| tail.get(at).is_none_or(u8::is_ascii);
    let is_plain = part(0) & LETTER != 0
        && is_letters
        && (1..=LONGEST_LABEL).contains(&label.saturating_sub(1))
        && (2..=LONGEST_LABEL).contains(&length.saturating_sub(label))
        && is_ascii(length)
        && is_ascii(length + 1)
        && !EXTENSIONS.contains(&spelled(&tail[label..length]));
    is_plain.then_some(length)
}

/// Whether a character is a vowel sign or other combining mark of the scripts of India, Thailand or Laos.
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

/// Whether a domain is rather a file or a version, as in `icon@2x.png` and `pkg@1.0.beta`.
fn is_file(rest: &str, last: &str) -> bool {
    let is_number = |label: &&str| label.bytes().all(|b| b.is_ascii_digit());
    rest.starts_with(|c: char| c.is_ascii_digit()) && rest.split('.').take_while(is_number).count() >= 2
        || EXTENSIONS.contains(&spelled(last.as_bytes()))
}

/// File name extensions.
const EXTENSIONS: [u64; 20] = [
    spelled(b"avif"),
    spelled(b"bmp"),
    spelled(b"css"),
    spelled(b"dll"),
    spelled(b"exe"),
    spelled(b"gif"),
    spelled(b"html"),
    spelled(b"ico"),
    spelled(b"jpeg"),
    spelled(b"jpg"),
    spelled(b"js"),
    spelled(b"json"),
    spelled(b"log"),
    spelled(b"pdf"),
    spelled(b"png"),
    spelled(b"svg"),
    spelled(b"txt"),
    spelled(b"webp"),
    spelled(b"xml"),
    spelled(b"yaml"),
];

/// A word of up to eight bytes in lower case as one number; 0 for longer ones.
const fn spelled(word: &[u8]) -> u64 {
    let (mut number, mut at) = (0, 0);
    while at < word.len() && word.len() <= 8 {
        number = number << 8 | word[at].to_ascii_lowercase() as u64;
        at += 1;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::super::cases::{check, check_none};
    use super::emails;

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
}
