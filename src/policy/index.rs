//! From a name to the rules that list it, in a time that does not grow with the number of rules.

use std::collections::{BTreeMap, HashMap};
use std::iter;

use super::glob::{Pattern, Rest};

/// Place of a rule in its policy, in file order.
pub(super) type RuleIndex = u32;

/// Rules by name: exact names hashed, globs by their literal start.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Vec<RuleIndex>>,
    /// Sorted by text.
    starts: Vec<Start>,
}

/// A literal start and the globs that have it.
#[derive(Debug)]
struct Start {
    text: Box<str>,
    /// The longest other start this one starts with.
    parent: Option<usize>,
    rests: Vec<(Rest, Vec<RuleIndex>)>,
}

impl Index {
    /// Whether it lists nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.starts.is_empty()
    }

    /// The rules that list `name`, in slices each in file order; a rule may be in several.
    pub(super) fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [RuleIndex]> {
        // Every start of `name` is also a start of the last text not behind it: a text between the two in order
        // begins with the smaller. So one search finds them all.
        let last = self.starts.partition_point(|start| *start.text <= *name).checked_sub(1);
        let starts = iter::successors(last, |at| self.starts[*at].parent).map(|at| &self.starts[at]);
        let wild = starts.flat_map(move |start| {
            let rest = name.strip_prefix(&*start.text);
            let rests = rest.map(|rest| start.rests.iter().filter(move |(glob, _)| glob.matches(rest)));
            rests.into_iter().flatten().map(|(_, rules)| rules.as_slice())
        });
        self.exact.get(name).map(Vec::as_slice).into_iter().chain(wild)
    }
}

/// An index in the making.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    exact: HashMap<Box<str>, Vec<RuleIndex>>,
    wild: BTreeMap<Box<str>, BTreeMap<Rest, Vec<RuleIndex>>>,
}

impl IndexBuilder {
    /// Adds a pattern of a rule; rules come in file order.
    pub(super) fn add(&mut self, pattern: Pattern, rule: RuleIndex) {
        let rules = match pattern {
            Pattern::Exact(name) => self.exact.entry(name).or_default(),
            Pattern::Wild(wild) => self.wild.entry(wild.prefix).or_default().entry(wild.rest).or_default(),
        };
        if rules.last() != Some(&rule) {
            rules.push(rule);
        }
    }

    /// The finished index.
    pub(super) fn build(self) -> Index {
        let mut starts: Vec<Start> = Vec::with_capacity(self.wild.len());
        for (text, rests) in self.wild {
            let mut parent = starts.len().checked_sub(1);
            while let Some(at) = parent.filter(|at| !text.starts_with(&*starts[*at].text)) {
                parent = starts[at].parent;
            }
            starts.push(Start { text, parent, rests: rests.into_iter().collect() });
        }
        Index { exact: self.exact, starts }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::glob::{Pattern, Separator};
    use super::{IndexBuilder, RuleIndex};

    proptest! {
        #[test]
        fn finds_what_trying_every_glob_finds(
            globs in prop::collection::vec("[ab*?]{1,5}", 0..40),
            name in "[ab]{0,6}",
        ) {
            let mut builder = IndexBuilder::default();
            let mut expected: Vec<RuleIndex> = Vec::new();
            for (rule, glob) in (0..).zip(&globs) {
                for pattern in Pattern::parse(glob, Separator::None).unwrap() {
                    if pattern.matches(&name) {
                        expected.push(rule);
                    }
                    builder.add(pattern, rule);
                }
            }
            let index = builder.build();
            let mut found: Vec<RuleIndex> = index.find(&name).flatten().copied().collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
