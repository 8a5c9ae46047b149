//! Credentials that show by their own spelling: vendor-prefixed keys, JSON Web Tokens, private keys.

mod shapes;

use std::sync::LazyLock;

use super::Text;
use crate::json::{Document, Limits, Span};
use crate::mask::gate::{Literal, Literals};
use shapes::{Part, SHAPES, Set, Shape};

/// What every JSON Web Token begins with: `{"` in base64url.
const JWT: &str = "eyJ";
/// What every PEM block begins with.
const PEM: &str = "-----BEGIN ";

static SEARCH: LazyLock<Search> = LazyLock::new(Search::new);

/// The search for all literals, and the literals by their numbers in it.
struct Search {
    literals: Vec<&'static str>,
    search: Literals,
}

impl Search {
    fn new() -> Self {
        let mut literals: Vec<&str> = SHAPES.iter().map(|shape| shape.literal).chain([JWT, PEM]).collect();
        // Of literals that begin alike the first wins, so longer ones come first.
        literals.sort_unstable_by_key(|literal| (std::cmp::Reverse(literal.len()), *literal));
        literals.dedup();
        let search = literals
            .iter()
            .map(|literal| Literal { bytes: literal.as_bytes().to_vec(), starts_word: starts_word(literal) });
        Self { search: Literals::new(&search.collect::<Vec<_>>()), literals }
    }
}

/// Whether no letter or digit may stand before `literal`.
fn starts_word(literal: &str) -> bool {
    literal != PEM && SHAPES.iter().filter(|shape| shape.literal == literal).all(|shape| shape.before.is_empty())
}

/// The literals one of which every secret holds.
pub(in crate::mask) fn literals() -> impl Iterator<Item = Literal> {
    SEARCH
        .literals
        .iter()
        .map(|literal| Literal { bytes: literal.as_bytes().to_vec(), starts_word: starts_word(literal) })
}

/// Secrets of every kind.
pub(in crate::mask) fn secrets(text: &Text<'_>, found: &mut Vec<Span>) {
    let first = found.len();
    each(text, |_, span| found.push(span));
    // Literals are found shelf by shelf; a key within a key is part of it.
    found[first..].sort_unstable_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut behind = 0;
    let mut keep = first;
    for index in first..found.len() {
        if found[index].start >= behind {
            behind = found[index].end;
            found[keep] = found[index];
            keep += 1;
        }
    }
    found.truncate(keep);
}

/// Calls `visit` with the kind and place of each secret.
fn each(text: &Text<'_>, mut visit: impl FnMut(&'static str, Span)) {
    let mut tokens = Tokens::default();
    let mut behind = 0;
    SEARCH.search.each(text.bytes(), |id, at| {
        let secret = match SEARCH.literals[id] {
            PEM if at < behind => None,
            PEM => pem(text, at).map(|span| ("private-key", span)),
            JWT => tokens.at(text, at).map(|span| ("jwt", span)),
            literal => {
                let shapes = SHAPES.iter().filter(|shape| shape.literal == literal);
                let fits = shapes.filter_map(|shape| Some((shape.kind, fit(text, at, shape)?)));
                fits.max_by_key(|(_, span)| span.end)
            }
        };
        if let Some((kind, span)) = secret {
            if kind == "private-key" {
                behind = span.end;
            }
            visit(kind, span);
        }
        true
    });
}

/// The place of a key of `shape` whose literal stands at `at`.
fn fit(text: &Text<'_>, at: usize, shape: &Shape) -> Option<Span> {
    let mut start = at;
    for part in shape.before.iter().rev() {
        start = match part {
            Part::Literal(literal) => {
                start.checked_sub(literal.len()).filter(|from| text.bytes()[*from..].starts_with(literal.as_bytes()))?
            }
            Part::Run(set, least, most) => {
                let length = text.bytes()[..start].iter().rev().take(most + 1).take_while(|b| set.has(**b)).count();
                start.checked_sub(length).filter(|_| (least..=most).contains(&&length))?
            }
        };
    }
    let mut end = at + shape.literal.len();
    for part in shape.after {
        end = match part {
            Part::Literal(literal) => {
                text.bytes()[end..].starts_with(literal.as_bytes()).then_some(end + literal.len())?
            }
            Part::Run(set, least, most) => {
                let length = text.bytes()[end..].iter().take(most + 1).take_while(|b| set.has(**b)).count();
                (least..=most).contains(&&length).then_some(end + length)?
            }
        };
    }
    let body = &text.bytes()[at + shape.literal.len()..end];
    let bounded = !text.word_before(start) && !text.word_after(end);
    (bounded && (shape.after.is_empty() || is_random(body))).then_some(Span { start, end })
}

/// Placeholders like `sk_live_xxxxxxxxxxxx` use few different characters.
fn is_random(body: &[u8]) -> bool {
    const LEAST: u32 = 6;
    let seen = body.iter().fold(0_u128, |seen, byte| seen | 1 << (byte & 0x7f));
    seen.count_ones() >= LEAST
}

/// Attempts at JSON Web Tokens, bounded so that text made of their beginnings costs no more than other text.
#[derive(Default)]
struct Tokens {
    /// End of the run of base64url that was looked at last.
    run_end: usize,
    attempts: usize,
}

impl Tokens {
    /// A JWS in compact form (RFC 7515 section 3.1), or a JWE of five parts (RFC 7516), whose header is JSON with `alg`.
    fn at(&mut self, text: &Text<'_>, start: usize) -> Option<Span> {
        const ATTEMPTS: usize = 16;
        if start >= self.run_end {
            self.run_end = run_end(text.bytes(), start);
            self.attempts = 0;
        }
        self.attempts += 1;
        if self.attempts > ATTEMPTS {
            return None;
        }
        let ends = part_ends(text.bytes(), self.run_end);
        let payload = *ends.get(1)?;
        let end = *ends.get(4).or(ends.get(2))?;
        (payload > self.run_end + 1 && is_jose_header(&text.bytes()[start..self.run_end]))
            .then_some(Span { start, end })
    }
}

fn run_end(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|b| Set::Url.has(**b)).count()
}

/// Where the parts of a token end whose first ends at `header`: up to five, parted by dots.
fn part_ends(bytes: &[u8], header: usize) -> Vec<usize> {
    let mut ends = vec![header];
    while let Some(end) = ends.last().copied()
        && ends.len() < 5
        && bytes.get(end) == Some(&b'.')
    {
        ends.push(run_end(bytes, end + 1));
    }
    ends
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

/// A PEM or PGP private key block (RFC 7468 section 10); one without its end line goes as far as it looks like base64.
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
    // A header line alone is how people write about keys.
    let material = bytes[body..body + length].iter().filter(|b| Set::Base64.has(**b)).count();
    (material >= 32).then_some(Span { start, end: body + length })
}

#[cfg(test)]
mod tests;
