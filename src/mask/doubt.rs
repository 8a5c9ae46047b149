//! Near misses: text that looks like a value but is none, with the reason it was left alone.

use crate::json::Span;

/// A near miss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Its position, in bytes.
    pub span: Span,
    /// The entity it looks like.
    pub entity: &'static str,
    /// Why it is no match.
    pub reason: &'static str,
}

/// Numbers in `text` as long as a card number that do not overlap one of `found`.
pub fn doubts(text: &str, found: &[Span]) -> Vec<Doubt> {
    let bytes = text.as_bytes();
    let mut doubts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = number_end(bytes, at);
        let span = Span { start: at, end };
        let touched = found.iter().any(|found| found.start < end && at < found.end);
        let digits: Vec<u8> =
            bytes[at..end].iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').collect();
        if !touched && (13..=19).contains(&digits.len()) && stands_alone(text, span) {
            let reason = if luhn(&digits) { "no such card is issued" } else { "Luhn failed" };
            doubts.push(Doubt { span, entity: "CREDIT_CARD", reason });
        }
        at = end;
    }
    doubts
}

/// The end of a run of digits with single spaces or dashes between them.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    loop {
        end += bytes[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        match bytes.get(end..end + 2) {
            Some([b' ' | b'-', next]) if next.is_ascii_digit() => end += 1,
            _ => return end,
        }
    }
}

fn stands_alone(text: &str, span: Span) -> bool {
    let before = text.get(..span.start).and_then(|head| head.chars().next_back());
    let after = text.get(span.end..).and_then(|tail| tail.chars().next());
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

/// The Luhn check (ISO/IEC 7812-1, annex B).
fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let digits = digits.iter().rev().enumerate();
    let sum: u32 = digits.map(|(at, digit)| u32::from(if at % 2 == 1 { doubled(*digit) } else { *digit })).sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::doubts;
    use crate::json::Span;

    #[test]
    fn tells_why_numbers_were_left_alone() {
        let text = "order 1234567812345678, x1234567812345678, 12, 4111 1111 1111 1111";
        let found = [Span { start: 47, end: 66 }];
        let shown: Vec<_> = doubts(text, &found).iter().map(|doubt| (doubt.span.start, doubt.reason)).collect();
        assert_eq!(shown, [(6, "Luhn failed")]);
        assert_eq!(doubts("9999999999999995", &[])[0].reason, "no such card is issued");
    }
}
