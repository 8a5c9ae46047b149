//! A mask plan applied to one message: which masks act, what they leave alone, and what their replacements are keyed by.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use super::actions::replacement;
use super::engine::{Plan, Rule};
use super::fit::{Fitted, Shape};
use super::opaque::{Opaque, Step};
use super::places::Uris;
use super::pseudonym::{Keyed, Keyring, Read};
use super::view::{Mode, View};
use super::{Action, Direction};
use crate::json::Span;
use crate::mcp::Restored;

/// The scheme of sealed URIs.
pub(super) const SEALED_SCHEME: &str = "sealed:";
/// The entity name of sealed URIs, and the mask id in the derivation of their keys.
pub(super) const SEALED_NAME: &str = "URI";

/// The state of a plan for one message.
#[derive(Debug, Default)]
pub(super) struct Applied<'v> {
    view: View<'v>,
    keys: Option<&'v Keyring>,
    /// The mode of each rule; empty if all act.
    modes: Vec<Mode>,
    /// The places rules leave alone, by rule index.
    fields: Vec<(usize, &'v Opaque)>,
    /// The values restored in the request, each with the rule and name it is masked by in the answer.
    restored: Vec<(usize, Arc<str>, &'v Restored)>,
    /// Replacements to use where the usual ones violate the schema.
    fitted: Fitted,
    /// How many bytes of request text have been searched for values so far.
    looked: Cell<usize>,
}

/// The most bytes of request text searched per message: a long request and an answer with many values would take seconds
/// otherwise.
const MOST_LOOKED: usize = 64 << 20;

impl<'v> Applied<'v> {
    pub(super) fn new(plan: &'v Plan, view: &View<'v>, keys: Option<&'v Keyring>) -> Self {
        let mut applied = Self { view: *view, keys, ..Self::default() };
        if plan.conditional {
            applied.modes = plan.rules.iter().map(|rule| rule.applies.mode(view)).collect();
            let fields = plan.rules.iter().enumerate();
            applied.fields =
                fields.flat_map(|(index, rule)| rule.applies.fields(view).map(move |field| (index, field))).collect();
        }
        if plan.direction == Direction::Result {
            let restored = view.said.iter().flat_map(|said| said.restored());
            applied.restored = restored.filter_map(|restored| applied.rule_of(plan, restored)).collect();
        }
        applied
    }

    /// The same, with replacements that fit a schema.
    pub(super) fn fitted(self, fitted: Fitted) -> Self {
        Self { fitted, ..self }
    }

    /// The schema of the data in messages of `direction`.
    pub(super) fn shape(&self, direction: Direction) -> Option<&'v Shape> {
        self.view.tool?.shape(direction)
    }

    /// Whether the schema of the data names a member `name`.
    pub(super) fn names_key(&self, direction: Direction, name: &str) -> bool {
        self.shape(direction).is_some_and(|shape| shape.names(name))
    }

    /// The JSON literal to write at `span`, whose value is `text`, if the usual replacement violates the schema.
    pub(super) fn literal(&self, span: Span, text: &str, outermost: bool) -> Option<&str> {
        self.fitted.literal(span, text, outermost)
    }

    /// The rule that masks a restored value in the answer, with the entity.
    fn rule_of(&self, plan: &Plan, restored: &'v Restored) -> Option<(usize, Arc<str>, &'v Restored)> {
        let wrote = |rule: &Rule| {
            if restored.pseudonym.starts_with(SEALED_SCHEME) {
                return (rule.places.uris == Uris::Seal).then(|| SEALED_NAME.into());
            }
            if rule.action != Action::Tokenize {
                return None;
            }
            let names = rule.names();
            let is_its =
                |name: &&Arc<str>| Read::new(&restored.pseudonym, name).is_some_and(|read| read.tag == rule.tag);
            names.iter().find(is_its).cloned()
        };
        let (index, name) = plan.rules.iter().enumerate().find_map(|(index, rule)| Some((index, wrote(rule)?)))?;
        (self.mode(index) != Mode::Shows).then_some((index, name, restored))
    }

    /// Whether every rule acts.
    pub(super) const fn acts_always(&self) -> bool {
        self.modes.is_empty()
    }

    pub(super) fn mode(&self, rule: usize) -> Mode {
        self.modes.get(rule).copied().unwrap_or(Mode::Acts)
    }

    /// Whether every text must be searched, even if the gate finds nothing in it.
    pub(super) fn looks_closer(&self) -> bool {
        !self.restored.is_empty()
    }

    /// Calls `visit` with every occurrence of a restored value in `text`: its span, the rule that masks it, its index among the
    /// restored values, and its pseudonym.
    pub(super) fn restored_in(&self, text: &str, mut visit: impl FnMut(Span, usize, usize, &str)) {
        for (place, (rule, _, restored)) in self.restored.iter().enumerate() {
            for at in memchr::memmem::find_iter(text.as_bytes(), restored.value.as_bytes()) {
                visit(Span { start: at, end: at + restored.value.len() }, *rule, place, &restored.pseudonym);
            }
        }
    }

    /// The entity of the restored value with that index.
    pub(super) fn restored_name(&self, place: usize) -> Option<&Arc<str>> {
        self.restored.get(place).map(|(_, name, _)| name)
    }

    /// Whether `span` of the request is a restored value, which is not masked on its way up.
    pub(super) fn spares(&self, direction: Direction, span: Span) -> bool {
        direction == Direction::Arguments && self.view.said.is_some_and(|said| said.spares(span))
    }

    /// The rules that leave the value at `path` of the data alone.
    pub(super) fn left_alone(&self, path: &[Step<'_>]) -> Cow<'static, [usize]> {
        if self.fields.is_empty() {
            return Cow::Borrowed(&[]);
        }
        self.fields.iter().filter(|(_, field)| field.matches(path)).map(|(rule, _)| *rule).collect()
    }

    /// What `rule` writes for a value; `None` for actions that replace nothing.
    pub(super) fn written(&self, rule: &Rule, name: &str, value: &str) -> Option<String> {
        let keyed = Keyed { mask: &rule.id, name, text: value, now: self.view.now };
        let written = match rule.action {
            Action::Hash { share } => self.keys.and_then(|keys| keys.hash(share, self.view.caller, &keyed)),
            Action::Tokenize => self.pseudonym(&keyed),
            Action::Block | Action::Mask { .. } | Action::Redact | Action::Report => None,
        };
        written.or_else(|| replacement(&rule.action, name, value))
    }

    /// The pseudonym of a value. `None` for what the caller wrote itself, which would reveal whose pseudonym it is, and beyond
    /// the caller's rate limit.
    fn pseudonym(&self, value: &Keyed<'_>) -> Option<String> {
        if let Some((_, _, restored)) = self.restored.iter().find(|(_, _, restored)| *restored.value == *value.text) {
            return Some(restored.pseudonym.to_string());
        }
        let (keys, caller) = (self.keys?, self.view.caller?);
        if self.is_said(value.text) {
            return None;
        }
        let pseudonym = keys.seal(caller, value)?;
        keys.pace.gives(caller, &pseudonym, self.view.now).then_some(pseudonym)
    }

    /// Whether the caller wrote that itself. Also true once [`MOST_LOOKED`] is used up.
    fn is_said(&self, value: &str) -> bool {
        let Some(said) = self.view.said else { return false };
        self.looked.set(self.looked.get().saturating_add(said.length()));
        self.looked.get() > MOST_LOOKED || said.holds(value)
    }

    /// A URI, sealed as a whole. `None` without a caller, or if it is too long.
    pub(super) fn sealed_uri(&self, uri: &str) -> Option<String> {
        let keyed = Keyed { mask: SEALED_NAME, name: SEALED_NAME, text: uri, now: self.view.now };
        // There are keys wherever requests are served; without them a trial shows that the URI would be sealed.
        let Some(keys) = self.keys else { return Some(format!("{SEALED_SCHEME}[{SEALED_NAME}]")) };
        let sealed = keys.seal(self.view.caller?, &keyed)?;
        Some(format!("{SEALED_SCHEME}{sealed}"))
    }

    /// The value behind a pseudonym of `mask`, if it opens for the caller now.
    pub(super) fn opens(&self, mask: &str, read: &Read<'_>) -> Option<String> {
        self.keys?.open(self.view.caller?, mask, read, self.view.now)
    }
}
