//! Secrets: keys with vendor prefixes, JSON Web Tokens, private keys, and values assigned to a name for a secret.

mod assignment;
mod shapes;

use std::sync::LazyLock;

use memchr::memmem;

use super::Text;
use crate::json::{Document, Limits, Span};
use crate::mask::literals::{Literal, Presence};
use shapes::{Part, SHAPES, Set, Shape};

/// The beginning of every JSON Web Token: `{"` in base64url.
const JWT: &str = "eyJ";
/// The beginning of every PEM block.
const PEM: &str = "-----BEGIN ";

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::new);

/// The literals that keys contain, longest first, and the search for them.
struct Keys {
    literals: Vec<Literal>,
    search: Presence,
}

impl Keys {
    fn new() -> Self {
        let mut literals: Vec<&str> = SHAPES.iter().map(|shape| shape.literal).chain([JWT]).collect();
        literals.sort_unstable_by_key(|literal| (std::cmp::Reverse(literal.len()), *literal));
        literals.dedup();
        let literals = literals
            .iter()
            .map(|literal| Literal { bytes: literal.as_bytes().to_vec(), starts_word: starts_word(literal) });
        let literals: Vec<Literal> = literals.collect();
        Self { search: Presence::new(&literals), literals }
    }
}

/// Whether no letter or digit may precede `literal`.
fn starts_word(literal: &str) -> bool {
    SHAPES.iter().filter(|shape| shape.literal == literal).all(|shape| shape.before.is_empty())
}

/// The literals: every key and token contains one.
pub(in crate::mask) fn literals() -> &'static [Literal] {
    &KEYS.literals
}

/// Secrets of every kind in `words`, and private keys anywhere in the text.
pub(in crate::mask) fn secrets(text: &Text<'_>, words: &[Span], found: &mut Vec<Span>) {
    let first = found.len();
    each(text, words, |_, span| found.push(span));
    // A key within another is part of it; one that ends after it is not.
    found[first..].sort_unstable_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut behind = 0;
    let mut keep = first;
    for index in first..found.len() {
        if found[index].end > behind {
            behind = found[index].end;
            found[keep] = found[index];
            keep += 1;
        }
    }
    found.truncate(keep);
}

/// Calls `visit` with the kind and span of each secret.
pub(in crate::mask) fn each(text: &Text<'_>, words: &[Span], mut visit: impl FnMut(&'static str, Span)) {
    let (mut runs, mut tokens) = (Runs::new(), Tokens::new());
    for word in words {
        KEYS.search.each_in(&text.bytes()[word.start..word.end], |offset| {
            if let Some((kind, span)) = key_at(text, word.start + offset, &mut runs, &mut tokens) {
                visit(kind, span);
            }
            true
        });
        if let Some(span) = assignment::value(text.label, text.bytes(), *word) {
            visit("assignment", span);
        }
    }
    let mut behind = 0;
    for at in memmem::find_iter(text.bytes(), PEM) {
        if at >= behind
            && let Some(span) = pem(text, at)
        {
            behind = span.end;
            visit("private-key", span);
        }
    }
}

/// The longest key whose literal is at `at`.
fn key_at(text: &Text<'_>, at: usize, runs: &mut Runs, tokens: &mut Tokens) -> Option<(&'static str, Span)> {
    let rest = &text.bytes()[at..];
    if rest.starts_with(JWT.as_bytes()) {
        return tokens.at(text, at).map(|span| ("jwt", span));
    }
    let shapes = SHAPES.iter().filter(|shape| rest.starts_with(shape.literal.as_bytes()));
    let fits = shapes.filter_map(|shape| Some((shape.kind, fit(text, at, shape, runs)?)));
    fits.max_by_key(|(_, span)| span.end)
}

pub(in crate::mask) use assignment::{BEFORE as BEFORE_ASSIGNED, is_first, is_secret};

/// Whether `word` ends with a value that is assigned to a name for a secret, or is under such a JSON key.
pub(in crate::mask) fn is_assigned(label: &str, text: &[u8], word: Span) -> bool {
    assignment::value(label, text, word).is_some()
}

/// The last run of characters of each set, so that text made of many key prefixes is not scanned over and over.
struct Runs {
    seen: [Span; Set::COUNT],
}

impl Runs {
    const fn new() -> Self {
        Self { seen: [Span { start: 0, end: 0 }; Set::COUNT] }
    }

    /// The end of the run of `set` that contains `at`.
    fn end(&mut self, bytes: &[u8], set: Set, at: usize) -> usize {
        let seen = &mut self.seen[set as usize];
        if !(seen.start..seen.end).contains(&at) {
            let length = bytes[at..].iter().take_while(|b| set.has(**b)).count();
            *seen = Span { start: at, end: at + length };
        }
        seen.end
    }
}

/// The span of the key of `shape` whose literal is at `at`.
fn fit(text: &Text<'_>, at: usize, shape: &Shape, runs: &mut Runs) -> Option<Span> {
    let bytes = text.bytes();
    let mut start = at;
    for part in shape.before.iter().rev() {
        start = match part {
            Part::Literal(literal) => {
                start.checked_sub(literal.len()).filter(|from| bytes[*from..].starts_with(literal.as_bytes()))?
            }
            Part::Run(set, least, most) => {
                let length = bytes[..start].iter().rev().take(most + 1).take_while(|b| set.has(**b)).count();
                start.checked_sub(length).filter(|_| (least..=most).contains(&&length))?
            }
        };
    }
    let body = at + shape.literal.len();
    let mut end = body;
    for part in shape.after {
        end = match part {
            Part::Literal(literal) => bytes[end..].starts_with(literal.as_bytes()).then_some(end + literal.len())?,
            Part::Run(set, least, most) => {
                let run_end = runs.end(bytes, *set, end);
                (least..=most).contains(&&(run_end - end)).then_some(run_end)?
            }
        };
    }
    (!text.word_before(start) && !text.word_after(end) && is_random(&bytes[body..end])).then_some(Span { start, end })
}

/// Whether the body of a key has enough different characters; placeholders such as `sk_live_xxxxxxxxxxxx` have few.
fn is_random(body: &[u8]) -> bool {
    const LEAST: u32 = 6;
    const LOOKED_AT: usize = 64;
    let seen = body.iter().take(LOOKED_AT).fold(0_u128, |seen, byte| seen | 1 << (byte & 0x7f));
    seen.count_ones() >= LEAST
}

/// Counts the attempts to read a JSON Web Token within one run of base64url, to bound them.
struct Tokens {
    run: Span,
    attempts: usize,
}

impl Tokens {
    const fn new() -> Self {
        Self { run: Span { start: 0, end: 0 }, attempts: 0 }
    }

    /// A JWS in compact form (RFC 7515 section 3.1), or a JWE of five parts (RFC 7516), whose header is JSON with `alg`.
    fn at(&mut self, text: &Text<'_>, start: usize) -> Option<Span> {
        const ATTEMPTS: usize = 16;
        const PARTS: usize = 5;
        let bytes = text.bytes();
        if !(self.run.start..self.run.end).contains(&start) {
            *self = Self { run: Span { start, end: Runs::new().end(bytes, Set::Url, start) }, attempts: 0 };
        }
        self.attempts += 1;
        let header = self.run.end;
        if self.attempts > ATTEMPTS || bytes.get(header) != Some(&b'.') {
            return None;
        }
        let mut ends = [header; PARTS];
        let mut parts = 1;
        while parts < PARTS && bytes.get(ends[parts - 1]) == Some(&b'.') {
            ends[parts] = Runs::new().end(bytes, Set::Url, ends[parts - 1] + 1);
            parts += 1;
        }
        // A fourth part alone belongs to the sentence after a JWS.
        let end = if parts == PARTS { ends[4] } else { ends[2] };
        let whole = parts >= 3 && ends[1] > header + 1;
        (whole && is_jose_header(&bytes[start..header])).then_some(Span { start, end })
    }
}

fn is_jose_header(encoded: &[u8]) -> bool {
    const LONGEST: usize = 16 * 1024;
    if encoded.len() > LONGEST {
        return true;
    }
    let decoded = data_encoding::BASE64URL_NOPAD.decode(encoded).ok();
    let header = decoded.and_then(|json| Document::parse(json.into(), &Limits::REQUEST).ok());
    header.is_some_and(|header| header.root().get("alg").is_some())
}

/// A PEM or PGP private key block (RFC 7468 section 10); without an end line it extends as far as it looks like base64.
fn pem(text: &Text<'_>, start: usize) -> Option<Span> {
    const LONGEST_LABEL: usize = 64;
    let bytes = text.bytes();
    let label_start = start + b"-----BEGIN ".len();
    let label = bytes[label_start..].iter().take(LONGEST_LABEL).position(|b| *b == b'-')?;
    let label_end = label_start + label;
    let name = bytes.get(label_start..label_end)?;
    let body = label_end + bytes[label_end..].iter().take_while(|b| **b == b'-').count();
    if !name.ends_with(b"PRIVATE KEY") && !name.ends_with(b"PRIVATE KEY BLOCK") {
        return None;
    }
    let end_line = [b"-----END ", name, b"-----"].concat();
    // A block ends before the next begins; this also bounds the search in text made of begin lines.
    let next = memchr::memmem::find(&bytes[body..], PEM.as_bytes()).map_or(bytes.len(), |next| body + next);
    if let Some(found) = memchr::memmem::find(&bytes[body..next], &end_line) {
        return Some(Span { start, end: body + found + end_line.len() });
    }
    let length = bytes[body..next].iter().take_while(|b| Set::Base64.has(**b) || b" \r\n\t\\:,-".contains(b)).count();
    // A begin line alone is only a mention of a key.
    let material = bytes[body..body + length].iter().filter(|b| Set::Base64.has(**b)).count();
    (material >= 32).then_some(Span { start, end: body + length })
}

#[cfg(test)]
mod tests;
