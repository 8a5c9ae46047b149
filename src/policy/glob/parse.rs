//! Parses a glob into its alternatives, each a list of tokens.

use std::ops::Range;

use thiserror::Error;

use super::{Separator, Token};

/// The longest glob, in bytes.
pub(super) const LENGTH: usize = 512;
/// The most alternatives of one glob.
pub(super) const ALTERNATIVES: usize = 64;

/// The alternatives of a glob. Errs if it is malformed, too long, or has too many.
pub(super) fn words(text: &str, separator: Separator) -> Result<Vec<Vec<Token>>, GlobError> {
    Parser { text, at: 0, separator }.words()
}

/// Why a text is no glob, and at which bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct GlobError {
    pub(in crate::policy) kind: GlobErrorKind,
    pub(in crate::policy) span: Range<usize>,
}

/// What can be wrong with a glob.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(in crate::policy) enum GlobErrorKind {
    #[error("`[` has no meaning in a glob")]
    Bracket,
    #[error("a glob must not be empty")]
    Empty,
    #[error("`\\` stands before nothing")]
    Escape,
    #[error("`!` has no meaning in a glob")]
    Negation,
    #[error("braces inside braces")]
    Nested,
    #[error("braces around a single word")]
    Single,
    #[error("the glob is too long")]
    TooLong,
    #[error("the braces stand for more than {ALTERNATIVES} words")]
    TooMany,
    #[error("`{{` without `}}`")]
    Unclosed,
    #[error("`}}` without `{{`")]
    Unopened,
}

impl GlobErrorKind {
    /// What to write instead.
    pub(in crate::policy) const fn help(self) -> &'static str {
        match self {
            Self::Bracket => {
                "there are no character classes: list the words as `{a,b}`, or write `\\[` for the bracket"
            }
            Self::Empty => "write `*` in names or `**` in URIs for everything",
            Self::Escape => "write `\\\\` for a backslash",
            Self::Negation => "write a rule with `effect = \"deny\"`, or `\\!` for the character",
            Self::Nested => "write the inner words out",
            Self::Single => "write `\\{` and `\\}` for the characters, or `*` for what a template leaves open",
            Self::TooLong | Self::TooMany => "write several globs",
            Self::Unclosed => "close it, or write `\\{` for the character",
            Self::Unopened => "write `\\}` for the character",
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    separator: Separator,
}

impl Parser<'_> {
    fn words(mut self) -> Result<Vec<Vec<Token>>, GlobError> {
        if self.text.len() > LENGTH {
            return Err(GlobError { kind: GlobErrorKind::TooLong, span: 0..self.text.len() });
        }
        let mut words = vec![Vec::new()];
        while let Some(char) = self.peek() {
            let start = self.at;
            match char {
                '{' => words = self.group(&words)?,
                '}' => return Err(self.error(GlobErrorKind::Unopened, start)),
                '!' if start == 0 => return Err(self.error(GlobErrorKind::Negation, start)),
                _ => {
                    let token = self.token()?;
                    for word in &mut words {
                        word.push(token);
                    }
                }
            }
        }
        if self.separator == Separator::Slash {
            words.iter_mut().for_each(open_directories);
        }
        Ok(words)
    }

    /// Reads `{a,b}`: every alternative so far, followed by each of these.
    fn group(&mut self, words: &[Vec<Token>]) -> Result<Vec<Vec<Token>>, GlobError> {
        let start = self.at;
        self.at += 1;
        let mut alternatives = vec![Vec::new()];
        loop {
            match self.peek() {
                None => return Err(GlobError { kind: GlobErrorKind::Unclosed, span: start..self.text.len() }),
                Some('{') => return Err(self.error(GlobErrorKind::Nested, self.at)),
                Some(',') => {
                    self.at += 1;
                    alternatives.push(Vec::new());
                }
                Some('}') => break,
                Some(_) => {
                    let token = self.token()?;
                    alternatives.last_mut().into_iter().for_each(|word| word.push(token));
                }
            }
        }
        self.at += 1;
        let span = start..self.at;
        if alternatives.len() < 2 {
            return Err(GlobError { kind: GlobErrorKind::Single, span });
        }
        if words.len() * alternatives.len() > ALTERNATIVES {
            return Err(GlobError { kind: GlobErrorKind::TooMany, span });
        }
        Ok(words
            .iter()
            .flat_map(|word| alternatives.iter().map(move |alternative| [word.as_slice(), alternative].concat()))
            .collect())
    }

    fn token(&mut self) -> Result<Token, GlobError> {
        let start = self.at;
        let separates = self.separator == Separator::Slash;
        Ok(match self.next() {
            Some('*') => {
                let mut run = 1;
                while self.peek() == Some('*') {
                    self.at += 1;
                    run += 1;
                }
                if separates && run == 1 { Token::ManyInSegment } else { Token::Many }
            }
            Some('?') if separates => Token::OneInSegment,
            Some('?') => Token::One,
            Some('[') => return Err(self.error(GlobErrorKind::Bracket, start)),
            Some('\\') => Token::Char(self.next().ok_or_else(|| self.error(GlobErrorKind::Escape, start))?),
            Some(char) => Token::Char(char),
            None => return Err(self.error(GlobErrorKind::Empty, start)),
        })
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..).and_then(|rest| rest.chars().next())
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn error(&self, kind: GlobErrorKind, start: usize) -> GlobError {
        GlobError { kind, span: start..(start + 1).min(self.text.len()) }
    }
}

/// Makes `/**/` match a single `/` too, as in other implementations of globs; deny rules rely on that.
fn open_directories(word: &mut Vec<Token>) {
    const DIRECTORIES: [Token; 3] = [Token::Char('/'), Token::Many, Token::Char('/')];
    let mut at = 0;
    while at + 3 <= word.len() {
        if word[at..at + 3] == DIRECTORIES {
            word.insert(at + 1, Token::OptionalTwo);
            at += 2;
        }
        at += 1;
    }
}
