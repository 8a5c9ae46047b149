//! Words as long as keys are: fifteen bytes or more without a blank or a quotation mark.

use super::wanted::Wanted;
use crate::json::Span;
use crate::mask::literals::Presence;
use crate::mask::recognisers::{has_word_of, identity, secret};

/// What PEM blocks begin with.
pub(super) const DASHES: &[u8] = b"-----";

/// Whether what every secret begins with stands in or before `word`, or it is a value assigned to a name for one; `dashes`
/// tells whether there could be a PEM block.
pub(super) fn has_secret(label: &str, text: &[u8], word: Span, literals: &Presence, dashes: bool) -> bool {
    /// A block begins with words parted by blanks.
    const BEFORE: usize = 48;
    let from = word.start.saturating_sub(BEFORE);
    literals.occur_in(&text[word.start..word.end])
        || secret::is_assigned(label, text, word)
        || dashes
            && (memchr::memmem::find(&text[from..word.start], DASHES).is_some()
                || memchr::memmem::find(&text[word.start..word.end], b"-----BEGIN").is_some())
}

/// Whether a wallet, a bank account or a code of letters and digits begins in `word`.
pub(super) fn is_shaped(text: &[u8], word: Span, wanted: &Wanted) -> bool {
    const SHORTEST: usize = 14;
    let bytes = &text[word.start..word.end];
    if !has_word_of(SHORTEST, bytes) {
        return false;
    }
    let mut start = 0;
    while start + SHORTEST <= bytes.len() {
        let rest = &bytes[start..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if length >= SHORTEST && has_shape(rest, length, wanted) {
            return true;
        }
        // What an escape ends with is no part of the word behind it.
        let escaped = rest.get(length) == Some(&b'\\') && rest.get(length + 1).is_some_and(u8::is_ascii_alphanumeric);
        if escaped && bytes.len() > start + length + 2 && has_shape_from(&bytes[start + length + 2..], wanted) {
            return true;
        }
        start += length + 1;
    }
    false
}

fn has_shape_from(rest: &[u8], wanted: &Wanted) -> bool {
    has_shape(rest, rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count(), wanted)
}

/// Whether so many letters and digits at the beginning of `rest` could be a wallet, an account or a code.
fn has_shape(rest: &[u8], length: usize, wanted: &Wanted) -> bool {
    let letters = || rest.iter().take(7).take_while(|byte| byte.is_ascii_alphabetic()).count();
    wanted.wallets && length >= 14 && matches!(rest, [b'0' | b'1' | b'3' | b'b' | b'B' | b't' | b'T', ..])
        || wanted.ibans && length >= 15 && letters() == 2
        || wanted.codes && rest.get(..length).is_some_and(identity::is_fiscal_code)
}

/// Colons, and colons and dashes, in `word`; a very long one counts as having many.
pub(super) fn marks(text: &[u8], word: Span) -> (u8, u8) {
    let bytes = &text[word.start..word.end];
    if bytes.len() > usize::from(u8::MAX) {
        return (u8::MAX, u8::MAX);
    }
    bytes.iter().fold((0, 0), |(colons, marks): (u8, u8), byte| {
        let colon = u8::from(*byte == b':');
        (colons.wrapping_add(colon), marks.wrapping_add(colon | u8::from(*byte == b'-')))
    })
}

/// Whether `word` has marks parting hexadecimal digits as in a hardware address.
pub(super) fn has_mac(text: &[u8], word: Span) -> bool {
    let bytes = &text[word.start..word.end];
    memchr::memchr2_iter(b':', b'-', bytes)
        .any(|at| bytes.get(at + 3) == Some(&bytes[at]) && bytes.get(at + 6) == Some(&bytes[at]))
}

/// Whether `word` has as many colons as an address of the internet without `::`, which six before a dotted quad are.
pub(super) fn has_colons(text: &[u8], word: Span) -> bool {
    memchr::memchr_iter(b':', &text[word.start..word.end]).nth(5).is_some()
}
