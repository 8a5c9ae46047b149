//! From a name to the rules that list it, in time that does not grow with the number of rules.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::slice;

use foldhash::HashMap;

use super::candidates::{Candidates, RuleIndex};
use super::glob::{Pattern, Wild};
use super::scopes::Demand;

/// Rules by name: exact names hashed, globs by their literal prefix or, if longer, their literal suffix.
#[derive(Debug)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Candidates>,
    starts: Affixes,
    ends: Affixes,
}

impl Index {
    /// Whether it lists nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.starts.sorted.is_empty() && self.ends.sorted.is_empty()
    }

    /// The rules that list `name`; a rule may occur more than once.
    pub(super) fn find<'a>(&'a self, name: &'a str) -> Found<'a> {
        Found { name, exact: self.exact.get(name), starts: self.starts.find(name), ends: self.ends.find(name) }
    }
}

/// The rules that list one name: those that list it exactly, then those with a glob that matches.
#[derive(Debug)]
pub(super) struct Found<'a> {
    name: &'a str,
    exact: Option<&'a Candidates>,
    starts: Globs<'a>,
    ends: Globs<'a>,
}

impl<'a> Iterator for Found<'a> {
    type Item = &'a Candidates;

    fn next(&mut self) -> Option<&'a Candidates> {
        self.exact.take().or_else(|| self.starts.next(self.name)).or_else(|| self.ends.next(self.name))
    }
}

/// One end of a name.
#[derive(Clone, Copy, Debug)]
enum Side {
    End,
    Start,
}

impl Side {
    /// Compares texts from this side inward.
    fn order(self, left: &str, right: &str) -> Ordering {
        match self {
            Self::End => left.bytes().rev().cmp(right.bytes().rev()),
            Self::Start => left.cmp(right),
        }
    }

    /// Whether `name` has `affix` on this side.
    fn has(self, name: &str, affix: &str) -> bool {
        match self {
            Self::End => name.ends_with(affix),
            Self::Start => name.starts_with(affix),
        }
    }
}

/// Globs by their literal text on one side.
#[derive(Debug)]
struct Affixes {
    side: Side,
    /// In the order of [`Side::order`].
    sorted: Vec<Affix>,
}

/// A literal text and its globs.
#[derive(Debug)]
struct Affix {
    text: Box<str>,
    /// The index of the longest other affix of this affix.
    parent: Option<usize>,
    globs: Vec<(Wild, Candidates)>,
}

impl Affixes {
    fn build(side: Side, globs: HashMap<Box<str>, BTreeMap<Wild, Vec<RuleIndex>>>, demands: &[&Demand]) -> Self {
        let mut texts: Vec<_> = globs.into_iter().collect();
        texts.sort_unstable_by(|(left, _), (right, _)| side.order(left, right));
        let mut sorted: Vec<Affix> = Vec::with_capacity(texts.len());
        for (text, globs) in texts {
            let mut parent = sorted.len().checked_sub(1);
            while let Some(at) = parent.filter(|at| !side.has(&text, &sorted[*at].text)) {
                parent = sorted[at].parent;
            }
            let globs = globs.into_iter().map(|(glob, rules)| (glob, Candidates::new(rules, demands))).collect();
            sorted.push(Affix { text, parent, globs });
        }
        Self { side, sorted }
    }

    fn find(&self, name: &str) -> Globs<'_> {
        // Take the last affix that is not after `name` in order. Every affix of `name` is also an affix of that one, since
        // whatever is between the two in order has the smaller one as its affix. So one search finds all.
        let behind = self.sorted.partition_point(|affix| self.side.order(&affix.text, name).is_le());
        Globs { affixes: self, affix: behind.checked_sub(1), left: [].iter() }
    }
}

/// The globs whose literal text is an affix of a name, the longest text first.
#[derive(Debug)]
struct Globs<'a> {
    affixes: &'a Affixes,
    /// The next text to try.
    affix: Option<usize>,
    /// Those of the last text that are not tried yet.
    left: slice::Iter<'a, (Wild, Candidates)>,
}

impl<'a> Globs<'a> {
    /// The rules of the next glob that matches.
    fn next(&mut self, name: &str) -> Option<&'a Candidates> {
        loop {
            if let Some((_, rules)) = self.left.find(|(glob, _)| glob.matches(name)) {
                return Some(rules);
            }
            let affix = &self.affixes.sorted[self.affix?];
            self.affix = affix.parent;
            if self.affixes.side.has(name, &affix.text) {
                self.left = affix.globs.iter();
            }
        }
    }
}

/// Builds an [`Index`].
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    exact: HashMap<Box<str>, Vec<RuleIndex>>,
    starts: HashMap<Box<str>, BTreeMap<Wild, Vec<RuleIndex>>>,
    ends: HashMap<Box<str>, BTreeMap<Wild, Vec<RuleIndex>>>,
}

impl IndexBuilder {
    /// Adds a pattern of a rule. Rules must come in file order.
    pub(super) fn add(&mut self, pattern: Pattern, rule: RuleIndex) {
        let rules = match pattern {
            Pattern::Exact(name) => self.exact.entry(name).or_default(),
            Pattern::Wild(glob) => {
                let suffix = glob.suffix();
                let globs = if suffix.len() > glob.prefix.len() {
                    self.ends.entry(suffix)
                } else {
                    self.starts.entry(glob.prefix.clone())
                };
                globs.or_default().entry(glob).or_default()
            }
        };
        if rules.last() != Some(&rule) {
            rules.push(rule);
        }
    }

    /// The finished index; `demands` has the scopes of all rules.
    pub(super) fn build(self, demands: &[&Demand]) -> Index {
        let exact = self.exact.into_iter().map(|(name, rules)| (name, Candidates::new(rules, demands))).collect();
        Index {
            exact,
            starts: Affixes::build(Side::Start, self.starts, demands),
            ends: Affixes::build(Side::End, self.ends, demands),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::candidates::{Candidates, RuleIndex};
    use super::super::glob::{Pattern, Separator};
    use super::super::scopes::Demand;
    use super::IndexBuilder;

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
            let demand = Demand::default();
            let index = builder.build(&vec![&demand; globs.len()]);
            let mut found: Vec<RuleIndex> = index.find(&name).flat_map(Candidates::all).copied().collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
