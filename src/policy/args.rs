//! A rule's `[rule.args]`: conditions on the arguments of a call, with keywords of JSON Schema.

mod check;
mod read;
mod word;

use std::collections::BTreeMap;
use std::ops::Range;

pub(super) use self::check::Unmet;
pub(super) use self::read::read;
pub use self::word::{Equals, Number, Scalar, Template, Word};

/// A rule's conditions on arguments, by argument in file order.
#[derive(Debug)]
pub struct Args {
    arguments: Box<[Argument]>,
    additional: bool,
    named: Level,
}

/// The conditions on one argument.
#[derive(Debug)]
pub struct Argument {
    /// Its path, as names from the outside in.
    path: Box<[Box<str>]>,
    /// The path as a JSON Pointer (RFC 6901).
    pointer: Box<str>,
    /// Each keyword with its span in the file.
    words: Box<[(Word, Range<usize>)]>,
}

/// The names of a rule's arguments, as a tree.
#[derive(Debug, Default)]
struct Level(BTreeMap<Box<str>, Level>);

impl Args {
    fn new(arguments: Vec<Argument>, additional: bool) -> Self {
        let mut named = Level::default();
        for argument in &arguments {
            let mut level = &mut named;
            for name in &argument.path {
                level = level.0.entry(name.clone()).or_default();
            }
        }
        Self { arguments: arguments.into(), additional, named }
    }

    /// Every argument with conditions.
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    /// Whether a condition depends on the caller's claims.
    pub(crate) fn has_template(&self) -> bool {
        let is_template = |word: &Word| matches!(word, Word::Equals(Equals::Template(_)));
        self.arguments.iter().any(|argument| argument.words().any(is_template))
    }

    /// Whether arguments are allowed that neither the rule nor the tool's schema names.
    pub const fn additional(&self) -> bool {
        self.additional
    }
}

impl Argument {
    /// A top-level argument without conditions.
    pub(in crate::policy) fn bare(name: &str) -> Self {
        let pointer = format!("/{}", read::token(name));
        Self { path: [name.into()].into(), pointer: pointer.into(), words: Box::default() }
    }

    /// Its path, as names from the outside in.
    pub fn path(&self) -> &[Box<str>] {
        &self.path
    }

    /// Its path, as a JSON Pointer below `arguments`.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Its conditions.
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        self.words.iter().map(|(word, _)| word)
    }

    /// Its conditions, each with its span in the file.
    pub fn places(&self) -> &[(Word, Range<usize>)] {
        &self.words
    }

    /// Whether a call without it does not meet its conditions.
    pub fn is_required(&self) -> bool {
        self.words().any(|word| matches!(word, Word::Equals(_) | Word::Required))
    }
}
