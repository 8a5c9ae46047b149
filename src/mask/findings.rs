//! What masks found, counted; never the values.

use std::sync::Arc;

use super::Direction;
use super::engine::Rule;

/// How often one mask found one kind of value in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The mask.
    pub mask: Arc<str>,
    /// The entity or label.
    pub entity: Arc<str>,
    /// What was done about it: the action of the mask, or `shown` where the caller may see it.
    pub action: &'static str,
    /// Which way the message went.
    pub direction: Direction,
    /// How often.
    pub count: u32,
}

/// What the masks found in one message, in the order first found; holds no memory while empty.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    /// Nothing found yet.
    pub const fn new() -> Self {
        Self { found: Vec::new() }
    }

    pub(super) fn add(&mut self, rule: &Rule, entity: &Arc<str>, action: &'static str, direction: Direction) {
        let finding = Finding { mask: rule.id.clone(), entity: entity.clone(), action, direction, count: 1 };
        self.merge_one(finding);
    }

    fn merge_one(&mut self, finding: Finding) {
        let same = |known: &&mut Finding| {
            known.mask == finding.mask
                && known.entity == finding.entity
                && known.action == finding.action
                && known.direction == finding.direction
        };
        match self.found.iter_mut().find(same) {
            Some(known) => known.count = known.count.saturating_add(finding.count),
            None => self.found.push(finding),
        }
    }

    /// Adds what was found elsewhere in the same call.
    pub fn merge(&mut self, other: Self) {
        other.found.into_iter().for_each(|finding| self.merge_one(finding));
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Everything found.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.found.iter()
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
