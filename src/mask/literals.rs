//! Search for many literals at once.

use super::gate::is_escape_end;

/// A literal at the beginning of a match, or inside it.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    /// Its bytes, none of which needs escaping in JSON.
    pub(super) bytes: Vec<u8>,
    /// Whether a letter or digit before it excludes a match.
    pub(super) starts_word: bool,
}

/// Finds the literals in a text: the three bytes at each position are hashed, and the literals with that hash are compared.
///
/// With the literals of all kinds of keys this takes a third of the instructions of a packed search.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// For each hash 1 plus the index of its bucket; 0 if there is none.
    table: Vec<u8>,
    buckets: Vec<Vec<Literal>>,
}

impl Presence {
    const BITS: u32 = 13;
    /// Positions checked together: those whose three bytes are within one word of eight.
    const STEP: usize = 6;

    pub(super) fn new(literals: &[Literal]) -> Self {
        let mut presence = Self { table: Vec::new(), buckets: Vec::new() };
        if literals.is_empty() {
            return presence;
        }
        presence.table = vec![0; 1 << Self::BITS];
        for literal in literals {
            // INVARIANT: literals have at least three bytes; a shorter one would not be found.
            if let [a, b, c, ..] = *literal.bytes {
                presence.put(Self::hash(u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0])), literal);
            }
        }
        presence
    }

    fn put(&mut self, hash: usize, literal: &Literal) {
        let bucket = match self.table[hash] {
            0 if self.buckets.len() < usize::from(u8::MAX) => {
                self.buckets.push(Vec::new());
                self.buckets.len()
            }
            // More buckets than a byte can number: the last one takes the rest.
            0 => self.buckets.len(),
            bucket => usize::from(bucket),
        };
        self.table[hash] = u8::try_from(bucket).unwrap_or(u8::MAX);
        self.buckets[bucket - 1].push(literal.clone());
    }

    /// The hash of the three lowest bytes.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a word of three bytes, then a number of 13 bits")]
    const fn hash(word: u64) -> usize {
        ((word as u32 & 0xff_ffff).wrapping_mul(0x9e37_79b1) >> (32 - Self::BITS)) as usize
    }

    pub(super) fn occur_in(&self, text: &[u8]) -> bool {
        self.next_in(text, 0).is_some()
    }

    /// Calls `visit` with the position of each literal until it returns false; returns whether it never did.
    pub(super) fn each_in(&self, text: &[u8], mut visit: impl FnMut(usize) -> bool) -> bool {
        let mut from = 0;
        while let Some(at) = self.next_in(text, from) {
            if !visit(at) {
                return false;
            }
            from = at + 1;
        }
        true
    }

    /// The position of the first literal from `at` on.
    fn next_in(&self, text: &[u8], mut at: usize) -> Option<usize> {
        let table = <&[u8; 1 << Self::BITS]>::try_from(self.table.as_slice()).ok()?;
        while at + 2 < text.len() {
            // The last word of the text overlaps the one before it.
            let from = at.min(text.len().saturating_sub(8));
            let Some(word) = text.get(from..from + 8).and_then(|word| <[u8; 8]>::try_from(word).ok()) else {
                return (at..text.len()).find(|place| self.begins_at(text, *place));
            };
            let word = u64::from_le_bytes(word);
            let any = (0..Self::STEP).fold(0, |any, place| any | table[Self::hash(word >> (8 * place))]);
            let begins =
                |place: &usize| table[Self::hash(word >> (8 * place))] != 0 && self.begins_at(text, from + place);
            if any != 0
                && let Some(place) = (at - from..Self::STEP).find(begins)
            {
                return Some(from + place);
            }
            at = from + Self::STEP;
        }
        None
    }

    fn begins_at(&self, text: &[u8], at: usize) -> bool {
        let rest = &text[at..];
        let [a, b, c, ..] = *rest else { return false };
        let bucket = self.table[Self::hash(u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]))];
        let Some(literals) = usize::from(bucket).checked_sub(1).and_then(|bucket| self.buckets.get(bucket)) else {
            return false;
        };
        literals
            .iter()
            .any(|literal| rest.starts_with(&literal.bytes) && !(literal.starts_word && is_inside_word(text, at)))
    }
}

/// Whether the byte before `at` is a letter or digit that does not end an escape such as `\n`.
fn is_inside_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|index| text[index]) else { return false };
    before.is_ascii_alphanumeric() && !is_escape_end(&text[..at])
}

#[cfg(test)]
mod tests {
    use super::{Literal, Presence};

    #[test]
    fn finds_literals_wherever_they_stand() {
        let literal = |text: &str, starts_word| Literal { bytes: text.as_bytes().to_vec(), starts_word };
        let mut literals: Vec<_> = (0..600).map(|number| literal(&format!("x{number:03}y"), false)).collect();
        literals.extend([literal("EAA", true), literal("AAB-", false), literal("sk-", true), literal("sk-ant-", true)]);
        let presence = Presence::new(&literals);
        for sought in ["x000y", "x255y", "x256y", "x599y", "EAA", "AAB-", "EAAB-", "sk-", "sk-ant-", "fEAAB-"] {
            for before in 0..40 {
                for after in 0..20 {
                    let text = format!("{}{sought}{}", " ".repeat(before), ".".repeat(after));
                    assert!(presence.occur_in(text.as_bytes()), "{sought} between {before} and {after}");
                }
            }
        }
        for other in ["x600y", "x00y", "fEAA", "risk-free", "sk", "x123", "", "E", "EA"] {
            assert!(!presence.occur_in(other.as_bytes()), "{other}");
        }
    }
}
