//! Counts of what masks found, without the values.

use std::sync::Arc;

use super::Direction;
use super::engine::Rule;
use super::opaque::Step;
use super::witness::{Sighting, Witness};
use crate::json::Span;

/// How often one mask found one kind of value in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The mask.
    pub mask: Arc<str>,
    /// The entity or label.
    pub entity: Arc<str>,
    /// What was done: the action of the mask, or `shown` if the caller may see the value.
    pub action: &'static str,
    /// The direction of the message.
    pub direction: Direction,
    /// How often.
    pub count: u32,
}

/// What the masks found in one message, in the order first found. Allocates nothing while empty.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
    /// Records positions too, if wanted.
    witness: Option<Box<Witness>>,
}

impl Findings {
    /// Nothing found yet.
    pub const fn new() -> Self {
        Self { found: Vec::new(), witness: None }
    }

    /// Nothing found yet; positions will be recorded.
    pub fn witnessed() -> Self {
        Self { found: Vec::new(), witness: Some(Box::default()) }
    }

    /// The positions of the values found; empty if they are not recorded.
    pub fn sightings(&self) -> &[Sighting] {
        self.witness.as_ref().map_or(&[], |witness| &witness.sightings)
    }

    /// Makes the paths of further sightings relative to that pointer.
    pub fn below(&mut self, pointer: &str) {
        if let Some(witness) = &mut self.witness {
            witness.below(pointer);
        }
    }

    pub(super) fn look_at(&mut self, path: &[Step<'_>]) {
        if let Some(witness) = &mut self.witness {
            witness.look_at(path);
        }
    }

    pub(super) fn enter(&mut self) {
        if let Some(witness) = &mut self.witness {
            witness.enter();
        }
    }

    pub(super) fn leave(&mut self) {
        if let Some(witness) = &mut self.witness {
            witness.leave();
        }
    }

    pub(super) fn add(
        &mut self,
        rule: &Rule,
        entity: &Arc<str>,
        action: &'static str,
        direction: Direction,
        span: Span,
    ) {
        if let Some(witness) = &mut self.witness {
            witness.saw(span, entity, &rule.id, action);
        }
        if let Some(known) = self.known(&rule.id, entity, action, direction) {
            known.count = known.count.saturating_add(1);
            return;
        }
        let (mask, entity) = (rule.id.clone(), entity.clone());
        self.found.push(Finding { mask, entity, action, direction, count: 1 });
    }

    fn known(&mut self, mask: &str, entity: &str, action: &str, direction: Direction) -> Option<&mut Finding> {
        let found = |alike: fn(&str, &str) -> bool| {
            self.found.iter().position(|known| {
                alike(&known.entity, entity)
                    && alike(&known.mask, mask)
                    && known.direction == direction
                    && alike(known.action, action)
            })
        };
        // Names are shared allocations, so comparing addresses is usually enough.
        let place = found(|one, other| std::ptr::eq(one, other)).or_else(|| found(|one, other| one == other))?;
        self.found.get_mut(place)
    }

    fn merge_one(&mut self, finding: Finding) {
        match self.known(&finding.mask, &finding.entity, finding.action, finding.direction) {
            Some(known) => known.count = known.count.saturating_add(finding.count),
            None => self.found.push(finding),
        }
    }

    /// Adds the counts of another part of the same call.
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
