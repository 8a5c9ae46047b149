//! Records the positions of values, for the command line; the proxy itself keeps only counts.

use std::fmt::Write as _;
use std::sync::Arc;

use super::opaque::Step;
use crate::json::Span;

/// The position of a value that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// JSON Pointer (RFC 6901) of the string it is in, empty for a plain text; `#` continues in a document within a string.
    pub path: String,
    /// Its position in the decoded string, in bytes.
    pub span: Span,
    /// The entity or label.
    pub entity: Arc<str>,
    /// The mask that found it.
    pub mask: Arc<str>,
    /// What was done with it.
    pub action: &'static str,
}

/// Records sightings.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    /// The paths of the documents around the current one.
    outer: Vec<String>,
    path: String,
    /// The pointer the outermost paths are relative to.
    root: String,
    pub(super) sightings: Vec<Sighting>,
}

impl Witness {
    /// Notes the string, key or number that is searched next.
    pub(super) fn look_at(&mut self, path: &[Step<'_>]) {
        self.path = pointer(path);
    }

    /// Makes paths relative to that pointer.
    pub(super) fn below(&mut self, pointer: &str) {
        pointer.clone_into(&mut self.root);
    }

    /// Enters a document in the current string.
    pub(super) fn enter(&mut self) {
        self.outer.push(std::mem::take(&mut self.path));
    }

    /// Leaves the document entered last.
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
