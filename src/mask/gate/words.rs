//! Words as long as keys are: fifteen bytes or more without a blank or a quotation mark.

use super::numbers::Wanted;
use crate::json::Span;
use crate::mask::literals::Presence;
use crate::mask::recognisers::secret;

const SHORTEST: usize = 15;

/// The long word that goes on at `from`, or the first that begins behind it and before `end`; all words that end before
/// `behind` are known.
pub(super) fn long(text: &[u8], from: usize, end: usize, behind: usize) -> Option<Span> {
    let known = text.get(behind..from).unwrap_or_default();
    let mut start = from - known.iter().rev().take_while(|byte| is_part(**byte)).count();
    while start < end.min(text.len()) {
        let length = text[start..].iter().take_while(|byte| is_part(**byte)).count();
        if length >= SHORTEST {
            return Some(Span { start, end: start + length });
        }
        start += length + 1;
    }
    None
}

const fn is_part(byte: u8) -> bool {
    byte > b'"'
}

/// Whether what every secret begins with stands in or before `word`, or it is a value assigned to a name for one.
pub(super) fn has_secret(label: &str, text: &[u8], word: Span, literals: &Presence) -> bool {
    /// A block begins with words parted by blanks.
    const BEFORE: usize = 48;
    let from = word.start.saturating_sub(BEFORE);
    literals.occur_in(&text[word.start..word.end])
        || memchr::memmem::find(&text[from..word.start], b"-----").is_some()
        || memchr::memmem::find(&text[word.start..word.end], b"-----BEGIN").is_some()
        || secret::is_assigned(label, text, word)
}

/// Whether a wallet, a bank account or a code of letters and digits begins in `word`.
pub(super) fn is_shaped(text: &[u8], word: Span, wanted: &Wanted) -> bool {
    let bytes = &text[word.start..word.end];
    let mut starts = (0..bytes.len()).filter(|at| {
        bytes[*at].is_ascii_alphanumeric()
            && at
                .checked_sub(1)
                .is_none_or(|before| !bytes[before].is_ascii_alphanumeric() || super::is_escape_end(&bytes[..*at]))
    });
    starts.any(|at| {
        let rest = &bytes[at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        wanted.wallets && length >= 14 && matches!(rest, [b'0' | b'1' | b'3' | b'b' | b'B' | b't' | b'T', ..])
            || wanted.ibans && letters == 2 && length >= 15
            || wanted.codes && letters == 6 && length >= 16
    })
}

/// Whether `word` has marks parting hexadecimal digits as in a hardware address.
pub(super) fn has_mac(text: &[u8], word: Span) -> bool {
    let bytes = &text[word.start..word.end];
    bytes.windows(7).any(|part| matches!(part[0], b':' | b'-') && part[3] == part[0] && part[6] == part[0])
}

/// Whether `word` has as many colons as an address of the internet without `::`, which six before a dotted quad are.
pub(super) fn has_colons(text: &[u8], word: Span) -> bool {
    memchr::memchr_iter(b':', &text[word.start..word.end]).count() >= 6
}
