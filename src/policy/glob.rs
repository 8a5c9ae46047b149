//! Globs over names and URIs: `*`, `**`, `?`, `{a,b}`, and `\` to escape a character.
//!
//! `/` is a separator in URIs only: there `*` and `?` do not match it, and `/**/` also matches a single `/`. Matching simulates
//! all alternatives at once, so its time is bounded by the product of both lengths.

mod cover;
mod parse;

use std::borrow::Cow;
use std::fmt;

use crate::byte_set::ByteSet;
use crate::json::fold;

pub(super) use self::parse::{GlobError, GlobErrorKind};

/// The most tokens of one pattern, folded: folding can turn one character into several.
const TOKENS: usize = 1000;

/// What a glob matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    /// Names, in which `/` is a character like any other.
    None,
    /// URIs, in which `/` separates segments.
    Slash,
}

/// One alternative of a glob, after its braces are expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Without wildcards.
    Exact(Box<str>),
    /// With at least one wildcard.
    Wild(Wild),
}

/// A literal prefix and the rest, which begins with a wildcard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wild {
    /// The literal prefix of every match.
    pub(super) prefix: Box<str>,
    /// The pattern for the rest.
    rest: Rest,
}

/// The part of a pattern after its literal prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rest(Box<[Token]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Char(char),
    /// Any number of characters.
    Many,
    /// Any number of characters except `/`.
    ManyInSegment,
    /// One character.
    One,
    /// One character except `/`.
    OneInSegment,
    /// The next two tokens, or nothing.
    OptionalTwo,
}

impl Pattern {
    /// Parses a glob; braces give several patterns. Errs if it is malformed or too long.
    pub(super) fn parse(text: &str, separator: Separator) -> Result<Vec<Self>, GlobError> {
        let words = parse::words(text, separator)?;
        if words.iter().any(Vec::is_empty) {
            return Err(GlobError { kind: GlobErrorKind::Empty, span: 0..text.len() });
        }
        let patterns: Vec<Self> = words.into_iter().map(Self::from_tokens).collect();
        if patterns.iter().any(|pattern| pattern.folded().tokens() > TOKENS) {
            return Err(GlobError { kind: GlobErrorKind::TooLong, span: 0..text.len() });
        }
        Ok(patterns)
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Exact(_) => 0,
            Self::Wild(wild) => wild.rest.0.len(),
        }
    }

    fn from_tokens(tokens: Vec<Token>) -> Self {
        let literal = |token: &Token| if let Token::Char(char) = token { Some(*char) } else { None };
        let prefix: String = tokens.iter().map_while(literal).collect();
        let rest: Box<[Token]> = tokens.into_iter().skip_while(|token| literal(token).is_some()).collect();
        let prefix = prefix.into_boxed_str();
        if rest.is_empty() { Self::Exact(prefix) } else { Self::Wild(Wild { prefix, rest: Rest(rest) }) }
    }

    /// The pattern for folded names: its literal parts are folded, its wildcards stay.
    pub(super) fn folded(&self) -> Self {
        let wild = match self {
            Self::Exact(name) => return Self::Exact(fold(name).into()),
            Self::Wild(wild) => wild,
        };
        let mut tokens = Vec::new();
        let mut run = wild.prefix.to_string();
        for token in &wild.rest.0 {
            if let Token::Char(char) = token {
                run.push(*char);
            } else {
                tokens.extend(fold(&run).chars().map(Token::Char));
                run.clear();
                tokens.push(*token);
            }
        }
        tokens.extend(fold(&run).chars().map(Token::Char));
        Self::from_tokens(tokens)
    }

    /// Whether all of `name` matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *name,
            Self::Wild(wild) => wild.matches(name),
        }
    }
}

/// One alternative of a glob over names, in the syntax of globs.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wild = match self {
            Self::Exact(name) => return f.write_str(name),
            Self::Wild(wild) => wild,
        };
        f.write_str(&wild.prefix)?;
        wild.rest.0.iter().try_for_each(|token| match token {
            Token::Char(char) => write!(f, "{char}"),
            Token::Many | Token::ManyInSegment => f.write_str("*"),
            Token::One | Token::OneInSegment => f.write_str("?"),
            Token::OptionalTwo => Ok(()),
        })
    }
}

impl Wild {
    /// Whether all of `name` matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        name.strip_prefix(&*self.prefix).is_some_and(|rest| self.rest.matches(rest))
    }

    /// The literal suffix of every match. [`Token::OptionalTwo`] does not change it: what is skipped ends with a `/`, as does
    /// what precedes it.
    pub(super) fn suffix(&self) -> Box<str> {
        let literal = |token: &Token| if let Token::Char(char) = token { Some(*char) } else { None };
        let mut reversed: Vec<char> = self.rest.0.iter().rev().map_while(literal).collect();
        reversed.reverse();
        reversed.into_iter().collect::<String>().into()
    }
}

impl Rest {
    /// Whether all of `text` matches.
    fn matches(&self, text: &str) -> bool {
        match &*self.0 {
            [Token::Many] => true,
            [Token::ManyInSegment] => !text.contains('/'),
            _ => self.simulate(text),
        }
    }

    /// Thompson's simulation: keeps the set of positions in the pattern that the text read so far can lead to.
    fn simulate(&self, text: &str) -> bool {
        let mut current = Places::EMPTY;
        self.enter(&mut current, 0);
        for char in text.chars() {
            let mut next = Places::EMPTY;
            current.for_each(|at| match self.0.get(at) {
                Some(Token::Char(expected)) if *expected == char => self.enter(&mut next, at + 1),
                Some(Token::One) => self.enter(&mut next, at + 1),
                Some(Token::OneInSegment) if char != '/' => self.enter(&mut next, at + 1),
                Some(Token::Many) => self.enter(&mut next, at),
                Some(Token::ManyInSegment) if char != '/' => self.enter(&mut next, at),
                _ => {}
            });
            if next.is_empty() {
                return false;
            }
            current = next;
        }
        current.has(self.0.len())
    }

    /// Adds a position and those reached from it without consuming a character.
    fn enter(&self, places: &mut Places, mut at: usize) {
        while places.insert(at) {
            match self.0.get(at) {
                Some(Token::OptionalTwo) => self.enter(places, at + 3),
                Some(Token::Many | Token::ManyInSegment) => {}
                _ => return,
            }
            at += 1;
        }
    }
}

/// A set of positions in a pattern.
struct Places([u64; Self::WORDS]);

impl Places {
    // INVARIANT: `Pattern::parse` accepts no pattern with more positions than bits.
    const WORDS: usize = TOKENS / 64 + 1;
    const EMPTY: Self = Self([0; Self::WORDS]);

    /// Adds a position; returns whether it is new.
    fn insert(&mut self, at: usize) -> bool {
        let block = &mut self.0[at / 64];
        let bit = 1 << (at % 64);
        let new = *block & bit == 0;
        *block |= bit;
        new
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn for_each(&self, mut visit: impl FnMut(usize)) {
        for (index, word) in self.0.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                visit(index * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

/// A buffer for one folded name.
pub(super) struct Room([u8; 128]);

impl Room {
    /// An empty buffer.
    pub(super) const fn new() -> Self {
        Self([0; 128])
    }

    /// [`fold`] of a name, without surrounding spaces; allocates only for long or non-ASCII names.
    pub(super) fn fold<'a>(&'a mut self, name: &'a str) -> Cow<'a, str> {
        static PLAIN: ByteSet = ByteSet::of(&[b' '..=b'@', b'['..=b'~']);
        let blank = |byte: Option<&u8>| byte == Some(&b' ');
        let bytes = name.as_bytes();
        if PLAIN.has_all(bytes) && !blank(bytes.first()) && !blank(bytes.last()) {
            return Cow::Borrowed(name);
        }
        if !name.is_ascii() || bytes.len() > self.0.len() {
            return Cow::Owned(fold(name).trim().to_owned());
        }
        let mut length = 0;
        for (written, slot) in bytes.iter().filter(|byte| !byte.is_ascii_control()).zip(&mut self.0) {
            *slot = written.to_ascii_lowercase();
            length += 1;
        }
        // Never fails, since only ASCII was written.
        Cow::Borrowed(std::str::from_utf8(&self.0[..length]).unwrap_or(name).trim())
    }
}

#[cfg(test)]
mod tests;
