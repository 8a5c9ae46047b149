//! MAC addresses.

use super::Text;
use crate::json::Span;

/// MAC addresses (IEEE 802): six pairs with `:` or `-` between them, or three groups of four with dots; neither broadcast nor
/// all zeros.
pub(in crate::mask) fn macs(text: &Text<'_>, found: &mut Vec<Span>) {
    let mut behind = 0;
    for at in memchr::memchr3_iter(b':', b'-', b'.', text.bytes()) {
        let hit = if text.byte(at) == Some(b'.') { groups(text, at, 4, 3) } else { groups(text, at, 2, 6) };
        if let Some(span) = hit.filter(|span| span.start >= behind) {
            behind = span.end;
            found.push(span);
        }
    }
}

/// An address of `count` groups of `length` hexadecimal digits, of which the first ends at `mark`.
fn groups(text: &Text<'_>, mark: usize, length: usize, count: usize) -> Option<Span> {
    let parting = text.byte(mark)?;
    let second = mark + 1 + length;
    // Most marks fail here.
    if text.byte(second) != Some(parting) {
        return None;
    }
    let start = mark.checked_sub(length)?;
    let end = start + count * (length + 1) - 1;
    let address = text.bytes().get(start..end)?;
    let shaped = address.chunks(length + 1).all(|group| {
        let (digits, rest) = group.split_at(length.min(group.len()));
        digits.iter().all(u8::is_ascii_hexdigit) && matches!(rest, [] | [_]) && rest.iter().all(|b| *b == parting)
    });
    let outside = |at: Option<u8>| at.is_some_and(|b| b == parting || matches!(b, b':' | b'-'));
    let goes_on = outside(text.byte(end)) && text.byte(end + 1).is_some_and(|b| b.is_ascii_hexdigit());
    let comes_from = text.before(start) == Some(parting);
    if !shaped || text.word_before(start) || text.word_after(end) || goes_on || comes_from {
        return None;
    }
    let mut digits = address.iter().filter(|b| b.is_ascii_hexdigit()).map(u8::to_ascii_lowercase);
    let first = digits.next()?;
    let placeholder = digits.all(|b| b == first) && matches!(first, b'0' | b'f');
    (!placeholder).then_some(Span { start, end })
}

#[cfg(test)]
mod tests {
    use super::super::cases::{check, check_none};
    use super::macs;

    #[test]
    fn finds_addresses() {
        check(
            macs,
            &[
                ("My MAC address is 00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5E"),
                ("AA-BB-CC-DD-EE-FF, 0d-B3-4a-6A-d9-cF.", "AA-BB-CC-DD-EE-FF|0d-B3-4a-6A-d9-cF"),
                ("Cisco MAC: 0012.3456.789A", "0012.3456.789A"),
                ("aabb.ccdd.eeff", "aabb.ccdd.eeff"),
                ("mac=00:11:22:33:44:55", "00:11:22:33:44:55"),
            ],
        );
    }

    #[test]
    fn leaves_what_only_looks_like_one() {
        check_none(
            macs,
            &[
                "00:1A:2B:3C:4D",
                "ZZ:ZZ:ZZ:ZZ:ZZ:ZZ",
                "FF:FF:FF:FF:FF:FF",
                "00:00:00:00:00:00",
                "10:2F:33-AC-29-C3",
                "12:34:56",
                "2026-01-05-10-20-30",
                "01:23:45:67:89:ab:cd:ef",
                "550e8400-e29b-41d4-a716-446655440000",
                "x00:1A:2B:3C:4D:5E",
                "00:1A:2B:3C:4D:5E1",
                "1234.5678",
                "0012.3456.789A.bcde",
                "[MAC_ADDRESS]",
            ],
        );
    }
}
