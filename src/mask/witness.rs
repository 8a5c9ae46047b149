//! Records where values were found, for the command line; the proxy itself keeps only counts.

use std::fmt::Write as _;
use std::sync::Arc;

use super::opaque::Step;
use crate::json::Span;

/// A value that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// RFC 6901 pointer of the string it stands in, empty for a plain text; `#` goes on inside a document in a string.
    pub path: String,
    /// Where it stands in the decoded string, in bytes.
    pub span: Span,
    /// The entity or label.
    pub entity: Arc<str>,
    /// The mask that found it.
    pub mask: Arc<str>,
    /// What was done about it.
    pub action: &'static str,
}

/// Writes sightings down.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    /// The documents around the present one.
    outer: Vec<String>,
    path: String,
    /// What the outermost paths go on from.
    root: String,
    pub(super) sightings: Vec<Sighting>,
}

impl Witness {
    /// A string, key or number is looked at.
    pub(super) fn look_at(&mut self, path: &[Step<'_>]) {
        self.path = pointer(path);
    }

    /// Paths begin below that pointer.
    pub(super) fn below(&mut self, pointer: &str) {
        pointer.clone_into(&mut self.root);
    }

    /// A document in the string looked at is entered.
    pub(super) fn enter(&mut self) {
        self.outer.push(std::mem::take(&mut self.path));
    }

    /// The document entered last is left.
    pub(super) fn leave(&mut self) {
        self.path = self.outer.pop().unwrap_or_default();
    }

    pub(super) fn saw(&mut self, span: Span, entity: &Arc<str>, mask: &Arc<str>, action: &'static str) {
        let mut path = self.root.clone();
        for outer in &self.outer {
            path.push_str(outer);
            path.push('#');
        }
        path.push_str(&self.path);
        self.sightings.push(Sighting { path, span, entity: entity.clone(), mask: mask.clone(), action });
    }
}

fn pointer(path: &[Step<'_>]) -> String {
    let mut pointer = String::new();
    for step in path {
        match step {
            // Writing to a `String` cannot fail.
            Step::Item(index) => drop(write!(pointer, "/{index}")),
            Step::Key(member) => {
                pointer.push('/');
                pointer.push_str(&member.name().replace('~', "~0").replace('/', "~1"));
            }
        }
    }
    pointer
}
