//! Masking: values that must not pass are replaced in a message, and every other byte stays as it was.
//!
//! [`Masks::rewrite`] first scans cheaply whether a value could contain anything a mask looks for. Only then it walks the
//! value, decodes disguised text, validates each candidate, and records replacements for the changed spans alone.
//! Everything is text unless an [`Opaque`] pattern says otherwise, so an unknown field is masked, not leaked.

mod actions;
mod applied;
mod asks;
mod blob;
mod claims;
mod doubt;
mod engine;
mod findings;
mod fit;
mod gate;
mod heat;
mod literals;
mod masked;
mod opaque;
mod own;
mod pace;
mod pattern;
mod places;
mod pseudonym;
mod quality;
mod recognisers;
mod restore;
mod said;
mod sanitize;
mod shadow;
mod spec;
mod told;
mod view;
mod walk;
mod witness;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::json::{Span, Splice, Value};
use applied::Applied;
pub use asks::Asks;
pub use doubt::{Doubt, doubts};
use engine::{Edit, Plan, Rule, Sought, Spot, apply};
pub use findings::{Finding, Findings};
pub use fit::Shape;
use fit::{Outcome, fit, part};
pub(crate) use masked::drop_foreign_meta;
pub use masked::{Masked, mask};
pub use opaque::Opaque;
use own::Own;
pub use pace::Pace;
pub use places::{Blobs, Places, Treatment, Uris};
pub use pseudonym::Keyring;
pub use quality::{Counts, Label, Labelled, Quality};
pub use recognisers::Validator;
pub(crate) use restore::as_written;
pub use restore::{RestoreError, restore};
pub use said::Said;
pub use sanitize::sanitize;
pub use spec::{Action, Direction, Directions, Entity, Grant, Share, Spec, SpecError, What};
pub(crate) use told::told;
pub use view::{Applies, Except, View};
use walk::Walk;
pub use witness::Sighting;

/// The refusal of a message that must not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blocked: message contained {entity} (rule {mask})")]
pub struct Blocked {
    /// The mask that refused it.
    pub mask: Arc<str>,
    /// The entity or label that was found; never the value.
    pub entity: Arc<str>,
    /// Why it is refused.
    pub cause: Cause,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A mask with `action = "block"` matched, or one that refuses values in that kind of place.
    Matched,
    /// So many messages of the caller were blocked that it must wait this long.
    Often(Duration),
    /// JSON or base64 is nested in strings more deeply than masks look.
    TooDeep,
}

/// The compiled masks of one server.
#[derive(Debug)]
pub struct Masks {
    arguments: Plan,
    result: Plan,
    /// The keys of hashes and pseudonyms; without them `[ENTITY]` is written instead.
    keys: Option<Keyring>,
    identity: Arc<()>,
}

impl Masks {
    /// Compiles the masks of a policy, in file order. Errs with everything that is wrong with them.
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
        spec::check_tags(&rules, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let own = Arc::new(Own::of(&rules));
        let plan = |direction: Direction| {
            let applied = rules.iter().filter(|(on, _)| on.has(direction)).map(|(_, rule)| rule.clone());
            Plan::new(direction, applied.collect(), own.clone())
        };
        Ok(Self::of(plan))
    }

    /// The same masks, with keys for hashes and pseudonyms.
    #[must_use]
    pub fn keyed(self, keys: Keyring) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// No masks.
    pub fn none() -> Self {
        Self::of(|direction| Plan::new(direction, Vec::new(), Arc::default()))
    }

    fn of(plan: impl Fn(Direction) -> Plan) -> Self {
        let [arguments, result] = [Direction::Arguments, Direction::Result].map(plan);
        Self { arguments, result, keys: None, identity: Arc::default() }
    }

    /// An allocation that identifies these compiled masks, for caches of results that depend on them.
    pub(crate) const fn identity(&self) -> &Arc<()> {
        &self.identity
    }

    /// The action of the mask with that id.
    pub fn action_of(&self, id: &str) -> Option<&Action> {
        let mut rules = self.result.rules.iter().chain(&self.arguments.rules);
        rules.find(|rule| *rule.id == *id).map(|rule| &rule.action)
    }

    /// Whether any mask looks for that entity or label in `direction`.
    pub fn seeks(&self, direction: Direction, name: &str) -> bool {
        self.plan(direction).rules.iter().any(|rule| rule.names().iter().any(|known| **known == *name))
    }

    /// How long the caller must wait because too many of its messages were blocked.
    pub(super) fn pause(&self, caller: &Caller, now: Timestamp) -> Option<Duration> {
        self.keys.as_ref()?.pace.pause(caller, now)
    }

    /// What the caller says in `message`, if masking its answer depends on that.
    pub(super) fn listen(&self, message: &crate::mcp::Message) -> Option<Said> {
        let matters =
            !message.restored().is_empty() || self.result.rules.iter().any(|rule| rule.action == Action::Tokenize);
        matters.then(|| Said::of(message))
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

    /// Masks everything in `value` except the opaque `places` below it: replacements go to `splice`, counts to `findings`.
    ///
    /// Errs if the message must be refused.
    pub fn rewrite(
        &self,
        view: &View<'_>,
        direction: Direction,
        value: Value<'_>,
        places: &'static [&'static str],
        splice: &mut Splice,
        findings: &mut Findings,
    ) -> Result<(), Blocked> {
        self.rewrite_but(view, direction, value, || opaque::compiled(places), splice, findings)
    }

    /// The same, with patterns that are only compiled if the gate opens.
    fn rewrite_but<'o>(
        &self,
        view: &View<'_>,
        direction: Direction,
        value: Value<'_>,
        opaque: impl FnOnce() -> &'o [Opaque],
        splice: &mut Splice,
        findings: &mut Findings,
    ) -> Result<(), Blocked> {
        let plan = self.plan(direction);
        if plan.is_empty() || !view.brings_back() && !plan.gate.opens(value.raw()) {
            return Ok(());
        }
        let applied = Applied::new(plan, view, self.keys.as_ref());
        let edits = match part(direction, value) {
            Some(part) if view.tool.is_some() => fitting(plan, applied, (value, part), opaque(), findings),
            _ => Walk::new(plan, &applied, findings).value(value, opaque()),
        };
        let edits = edits.inspect_err(|_| self.note_blocked(view))?;
        splice.reserve(edits.len());
        for edit in edits {
            let text = match edit.text {
                Cow::Borrowed(name) => Bytes::from_static(name.as_bytes()),
                Cow::Owned(text) => text.into(),
            };
            splice.replace(Span { start: edit.start, end: edit.end }, text);
        }
        Ok(())
    }

    fn note_blocked(&self, view: &View<'_>) {
        if let (Some(keys), Some(caller)) = (&self.keys, view.caller) {
            keys.pace.blocked(caller, view.now);
        }
    }

    /// The spans and entities of the values in a plain text, by the masks for results.
    pub fn locate(&self, text: &str) -> Vec<(Span, &str)> {
        self.plan(Direction::Result).located(text, &Applied::default())
    }

    /// Masks one text: the value of a header, or a message of the proxy that quotes text of others. Errs if it must be refused.
    pub fn text<'t>(
        &self,
        view: &View<'_>,
        direction: Direction,
        text: &'t str,
        findings: &mut Findings,
    ) -> Result<Cow<'t, str>, Blocked> {
        let plan = self.plan(direction);
        if plan.is_empty() || !plan.gate.opens(text.as_bytes()) {
            return Ok(text.into());
        }
        let applied = Applied::new(plan, view, self.keys.as_ref());
        let edits = Walk::new(plan, &applied, findings).text(text, Spot::default(), 0);
        let mut edits = edits.inspect_err(|_| self.note_blocked(view))?;
        edits.sort_by_key(|edit| edit.start);
        Ok(if edits.is_empty() { text.into() } else { apply(text, &edits).into() })
    }
}

/// The edits that mask `value` so that its `part` stays valid under the tool's schema, if there is one.
fn fitting(
    plan: &Plan,
    applied: Applied<'_>,
    (value, part): (Value<'_>, Value<'_>),
    opaque: &[Opaque],
    findings: &mut Findings,
) -> Result<Vec<Edit>, Blocked> {
    let mut seen = findings.clone();
    let edits = Walk::new(plan, &applied, &mut seen).value(value, opaque);
    let before = std::mem::replace(findings, seen);
    let edits = edits?;
    let Some(shape) = applied.shape(plan.direction).filter(|_| !edits.is_empty()) else { return Ok(edits) };
    match fit(shape, part, &edits) {
        Outcome::Fits => Ok(edits),
        Outcome::Instead(fitted) => {
            *findings = before;
            Walk::new(plan, &applied.fitted(fitted), findings).value(value, opaque)
        }
        Outcome::Nothing => Err(plan.unfit()),
    }
}

#[cfg(test)]
mod tests;
