//! Counts of what masks found; never the values.

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
    /// Who is told of places too.
    witness: Option<Box<Witness>>,
}

impl Findings {
    /// Nothing found yet.
    pub const fn new() -> Self {
        Self { found: Vec::new(), witness: None }
    }

    /// Nothing found yet; where something is will be written down.
    pub fn witnessed() -> Self {
        Self { found: Vec::new(), witness: Some(Box::default()) }
    }

    /// Where values were found, if that was written down.
    pub fn sightings(&self) -> &[Sighting] {
        self.witness.as_ref().map_or(&[], |witness| &witness.sightings)
    }

    /// What is found from now on is below that pointer.
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
        // Names are shared by those who find: most are known by where they are.
        let place = found(|one, other| std::ptr::eq(one, other)).or_else(|| found(|one, other| one == other))?;
        self.found.get_mut(place)
    }

    fn merge_one(&mut self, finding: Finding) {
        match self.known(&finding.mask, &finding.entity, finding.action, finding.direction) {
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
