//! Masking: what must not pass is taken out of a message, and every other byte stays as it was.
//!
//! [`Masks::rewrite`] asks one cheap scan whether a value could hold anything a rule looks for. Only if so it walks the
//! value, decodes what stands in disguise, proves each candidate, and notes replacements for the changed spans alone.
//! Everything is text unless an [`Opaque`] pattern says otherwise, so a field nobody knew of is masked, not leaked.

mod actions;
mod blob;
mod engine;
mod findings;
mod gate;
mod heat;
mod literals;
mod masked;
mod opaque;
mod pattern;
mod recognisers;
mod sanitize;
mod shadow;
mod spec;
mod walk;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use crate::json::{Span, Splice, Value};
use engine::{Plan, Rule, Sought, apply};
pub use findings::{Finding, Findings};
pub(crate) use masked::drop_foreign_meta;
pub use masked::{Masked, mask};
pub use opaque::Opaque;
pub use sanitize::sanitize;
pub use spec::{Action, Direction, Directions, Entity, Spec, SpecError, What};
use walk::Walk;

/// A message that must not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blocked: message contained {entity} (rule {mask})")]
pub struct Blocked {
    /// The mask that refuses it.
    pub mask: Arc<str>,
    /// What was found; never the value.
    pub entity: Arc<str>,
    /// Why it is refused.
    pub cause: Cause,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A mask with `action = "block"` matched.
    Matched,
    /// JSON within JSON goes deeper than is looked into.
    TooDeep,
}

/// The compiled masks of one server.
#[derive(Debug)]
pub struct Masks {
    arguments: Plan,
    result: Plan,
}

impl Masks {
    /// Compiles the masks of a policy in file order; the error lists everything that is wrong with them.
    pub fn compile(specs: Vec<Spec>) -> Result<Self, Vec<SpecError>> {
        const MOST_PATTERNS: usize = 200;
        let mut errors = Vec::new();
        let mut ids = HashSet::new();
        let mut rules: Vec<(Directions, Rule)> = Vec::new();
        for spec in specs {
            if !ids.insert(spec.id.clone()) {
                errors.push(SpecError::new(
                    &spec.id,
                    "another mask has this id",
                    "give every mask of a server an id of its own",
                ));
            }
            match spec::rule(&spec) {
                Ok(rule) => rules.push((spec.on, rule)),
                Err(found) => errors.extend(found),
            }
        }
        let mut patterns = rules.iter().filter(|(_, rule)| matches!(rule.what, Sought::Pattern { .. }));
        if let Some((_, rule)) = patterns.nth(MOST_PATTERNS) {
            errors.push(SpecError::new(&rule.id, "more than 200 patterns", "join patterns of one label with `|`"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let tokens = tokens(&rules);
        let plan = |direction: Direction| {
            let applied = rules.iter().filter(|(on, _)| on.has(direction)).map(|(_, rule)| rule.clone());
            Plan::new(direction, applied.collect(), tokens.clone())
        };
        Ok(Self { arguments: plan(Direction::Arguments), result: plan(Direction::Result) })
    }

    /// Whether there is nothing to mask in either direction.
    pub fn is_empty(&self) -> bool {
        self.arguments.is_empty() && self.result.is_empty()
    }

    /// Whether there is nothing to mask in `direction`.
    pub fn is_empty_for(&self, direction: Direction) -> bool {
        self.plan(direction).is_empty()
    }

    fn plan(&self, direction: Direction) -> &Plan {
        match direction {
            Direction::Arguments => &self.arguments,
            Direction::Result => &self.result,
        }
    }

    /// Masks everything in `value` but for the `opaque` places below it: replacements go to `splice`, counts to `findings`.
    ///
    /// On an error the message must be refused; what is in `splice` then is of no use.
    pub fn rewrite(
        &self,
        direction: Direction,
        value: Value<'_>,
        places: &'static [&'static str],
        splice: &mut Splice,
        findings: &mut Findings,
    ) -> Result<(), Blocked> {
        self.rewrite_but(direction, value, || opaque::compiled(places), splice, findings)
    }

    /// The same, with patterns that are only asked for where the gate opens.
    fn rewrite_but<'o>(
        &self,
        direction: Direction,
        value: Value<'_>,
        opaque: impl FnOnce() -> &'o [Opaque],
        splice: &mut Splice,
        findings: &mut Findings,
    ) -> Result<(), Blocked> {
        let plan = self.plan(direction);
        if plan.is_empty() || !plan.gate.opens(value.raw()) {
            return Ok(());
        }
        for edit in Walk::new(plan, findings).value(value, opaque())? {
            splice.replace(Span { start: edit.start, end: edit.end }, edit.text);
        }
        Ok(())
    }

    /// Masks one text: what a header carried, or a message of our own about foreign words.
    pub fn text<'t>(
        &self,
        direction: Direction,
        text: &'t str,
        findings: &mut Findings,
    ) -> Result<Cow<'t, str>, Blocked> {
        let plan = self.plan(direction);
        if plan.is_empty() || !plan.gate.opens(text.as_bytes()) {
            return Ok(text.into());
        }
        let mut edits = Walk::new(plan, findings).text(text, "", 0)?;
        edits.sort_by_key(|edit| edit.start);
        Ok(if edits.is_empty() { text.into() } else { apply(text, &edits).into() })
    }
}

/// All replacements that may stand in a text: those of the entities and of the policy's own labels.
fn tokens(rules: &[(Directions, Rule)]) -> Arc<[String]> {
    let labels = rules.iter().filter_map(|(_, rule)| match &rule.what {
        Sought::Entities(_) => None,
        Sought::Pattern { label, .. } => Some(label.as_ref()),
    });
    let names: HashSet<&str> = Entity::ALL.iter().map(|entity| entity.name()).chain(labels).collect();
    names.into_iter().map(|name| format!("[{name}]")).collect()
}

#[cfg(test)]
mod tests;
