//! IP addresses.

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use super::context::Words;
use super::{Hint, Hit, Text};
use crate::json::Span;

static WORDS: LazyLock<Words<Hint>> = LazyLock::new(|| Words::new(TABLE.into_iter()));

const TABLE: [(&str, Hint); 21] = [
    ("address", Hint::For),
    ("build", Hint::Against),
    ("chapter", Hint::Against),
    ("client", Hint::For),
    ("driver", Hint::Against),
    ("firmware", Hint::Against),
    ("from", Hint::For),
    ("gateway", Hint::For),
    ("host", Hint::For),
    ("ip", Hint::For),
    ("ipv4", Hint::For),
    ("oid", Hint::Against),
    ("release", Hint::Against),
    ("rev", Hint::Against),
    ("revision", Hint::Against),
    ("section", Hint::Against),
    ("server", Hint::For),
    ("to", Hint::For),
    ("ver", Hint::Against),
    ("version", Hint::Against),
    ("versions", Hint::Against),
];

/// IPv6 addresses with their prefix length or zone.
pub(in crate::mask) fn v6_addresses(text: &Text<'_>, found: &mut Vec<Span>) {
    v6(text, found);
}

/// IPv4 addresses with their prefix length, but not versions or parts of longer dotted numbers.
pub(in crate::mask) fn v4_address(text: &Text<'_>, first: usize) -> Option<Hit> {
    let Span { start, end } = v4_from(text, first)?;
    Some(Hit { start, end, last: text.last_run(first, end) })
}

/// The address in dotted decimal notation (RFC 3986 section 3.2.2, `IPv4address`) that begins with run `first`.
fn v4_from(text: &Text<'_>, first: usize) -> Option<Span> {
    const REACH: usize = 16;
    let runs = text.runs.get(first..first + 4)?;
    let is_dot = |pair: &[Span]| pair[1].start - pair[0].end == 1 && text.byte(pair[0].end) == Some(b'.');
    if !runs.windows(2).all(is_dot) || !runs.iter().all(|run| is_octet(text.digits(*run))) {
        return None;
    }
    let (start, end) = (runs[0].start, runs[3].end);
    if text.word_before(start) || text.comes_from(start, b".") || is_followed(text, end) || is_product(text, start, end)
    {
        return None;
    }
    let said = WORDS.nearest_before(text.bytes(), start, REACH).1.or_else(|| WORDS.nearest(text.label_end()));
    if said == Some(Hint::Against) {
        return None;
    }
    Some(Span { start, end: with_prefix(text, end, 32) })
}

fn is_octet(digits: &[u8]) -> bool {
    matches!(digits, [_] | [b'1'..=b'9', _] | [b'1', _, _] | [b'2', b'0'..=b'4', _] | [b'2', b'5', b'0'..=b'5'])
}

/// Whether an address continues with a letter, another number, or a name as in `.in-addr.arpa` and `.tar.gz`.
fn is_followed(text: &Text<'_>, end: usize) -> bool {
    text.word_after(end)
        || text.byte(end) == Some(b'.')
            && text.byte(end + 1).is_some_and(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

/// Whether it is the version of a product, as in `Chrome/120.0.0.0` and `libfoo-1.2.3.4-x86`.
fn is_product(text: &Text<'_>, start: usize, end: usize) -> bool {
    let named = start.checked_sub(2).and_then(|at| text.byte(at)).is_some_and(|b| b.is_ascii_alphabetic());
    match text.before(start) {
        Some(b'/') => named && text.bytes()[start..end].ends_with(b".0"),
        Some(b'-') => named && text.byte(end) == Some(b'-'),
        _ => false,
    }
}

/// Addresses in the text representation of RFC 4291 section 2.2, with at least one digit, to exclude paths such as `abc::def`.
fn v6(text: &Text<'_>, found: &mut Vec<Span>) {
    let bytes = text.bytes();
    let part = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let mut behind = 0;
    for colon in memchr::memchr_iter(b':', bytes) {
        if colon < behind {
            continue;
        }
        let start = colon - bytes[behind..colon].iter().rev().take_while(|b| part(b)).count();
        let end = colon + bytes[colon..].iter().take_while(|b| part(b)).count();
        behind = end;
        if let Some(span) = v6_in(text, start, end) {
            found.push(span);
        }
    }
}

/// The address in the run `start..end` of hexadecimal digits, colons and dots.
fn v6_in(text: &Text<'_>, start: usize, end: usize) -> Option<Span> {
    const LONGEST: usize = 45;
    let word = text.whole.get(start..end)?;
    // A sentence may end after an address, or go on with a colon.
    let trimmed = word.trim_end_matches('.');
    let trimmed = if trimmed.ends_with("::") { trimmed } else { trimmed.trim_end_matches([':', '.']) };
    let end = start + trimmed.len();
    if trimmed.len() > LONGEST || text.word_before(start) || text.word_after(end) || text.byte(end) == Some(b'_') {
        return None;
    }
    let address: Ipv6Addr = trimmed.parse().ok()?;
    let hardware = trimmed.split(':').all(|group| group.len() == 2) && trimmed.len() == 23;
    if address.is_unspecified() || hardware || !trimmed.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Span { start, end: with_prefix(text, with_zone(text, end), 128) })
}

/// The end of a zone such as `%eth0` (RFC 4007 section 11) after an address that ends at `end`, else `end`.
fn with_zone(text: &Text<'_>, end: usize) -> usize {
    if text.byte(end) != Some(b'%') {
        return end;
    }
    let zone = text.bytes()[end + 1..].iter().take(16).take_while(|b| b.is_ascii_alphanumeric() || **b == b'-').count();
    if zone == 0 { end } else { end + 1 + zone }
}

/// The end of a prefix length such as `/24` (RFC 4632 section 3.1), at most `most`, after `end`, else `end`.
fn with_prefix(text: &Text<'_>, end: usize, most: u32) -> usize {
    if text.byte(end) != Some(b'/') {
        return end;
    }
    let digits = text.bytes()[end + 1..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    let behind = end + 1 + digits;
    let length: Option<u32> = text.whole.get(end + 1..behind).and_then(|digits| digits.parse().ok());
    if length.is_some_and(|length| length <= most) && !text.word_after(behind) { behind } else { end }
}

#[cfg(test)]
mod tests {
    use super::super::Text;
    use super::super::cases::{check, check_none, found, found_numbers, numbers};
    use super::{v4_address, v6_addresses};
    use crate::json::Span;

    fn addresses(text: &Text<'_>, found: &mut Vec<Span>) {
        v6_addresses(text, found);
        let sixes = found.clone();
        numbers(v4_address, text, found);
        found.retain(|span| !sixes.iter().any(|six| six.start < span.end && span.start < six.end && six != span));
    }

    #[test]
    fn finds_addresses() {
        check(
            addresses,
            &[
                ("192.168.0.1", "192.168.0.1"),
                ("at 10.0.0.1:8080, 172.16.0.1.", "10.0.0.1|172.16.0.1"),
                ("(127.0.0.1)", "127.0.0.1"),
                ("http://10.1.2.3/x", "10.1.2.3"),
                ("root@10.1.2.3", "10.1.2.3"),
                ("10.0.0.0/8 and 10.0.0.0/99", "10.0.0.0/8|10.0.0.0"),
                ("localhost/127.0.0.1:80", "127.0.0.1"),
                ("server version from 10.0.0.7", "10.0.0.7"),
                ("2001:db8::1.", "2001:db8::1"),
                ("[fe80::1%eth0]:80", "fe80::1%eth0"),
                ("ip ::1, ::ffff:10.0.0.1", "::1|::ffff:10.0.0.1"),
                ("2001:db8::/32", "2001:db8::/32"),
                ("684D:1111:222:3333:4444:5555:6:77", "684D:1111:222:3333:4444:5555:6:77"),
                ("fe80::1: unreachable", "fe80::1"),
            ],
        );
    }

    #[test]
    fn leaves_what_only_looks_like_one() {
        check_none(
            addresses,
            &[
                "v1.2.3.4",
                "version 1.2.3.4",
                "Version: 10.0.19041.1",
                "firmware 10.2.3.4",
                "1.2.3.4.5",
                "1.3.6.1.4.1",
                "256.1.1.1",
                "01.2.3.4",
                "1.2.3",
                "Chrome/120.0.0.0 Safari",
                "libfoo-1.2.3.4-x86_64",
                "foo-1.2.3.4.tar.gz",
                "4.3.2.1.in-addr.arpa",
                "12:34:56",
                "aa:bb:cc:dd:ee:ff",
                "01:23:45:67:89:ab:cd:ef",
                "std::cout, abc::def, a::b",
                "::",
                "2001::db8::1",
                "12345:db8::1",
                "x2001:db8::1",
                "1:2:3:4",
                "2024-01-05T12:30:00",
                "[IP_ADDRESS]",
            ],
        );
        assert!(
            found(addresses, "version", "1.2.3.4").is_empty()
                && found_numbers(v4_address, "host", "1.2.3.4") == ["1.2.3.4"]
        );
    }
}
