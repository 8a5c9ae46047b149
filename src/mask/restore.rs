//! Restores the values behind pseudonyms and sealed URIs before anything is decided, so that rules and schemas see the values.

use std::sync::Arc;

use super::applied::{SEALED_NAME, SEALED_SCHEME};
use super::engine::Rule;
use super::opaque::{Opaque, Step};
use super::pseudonym::{Keyring, Read, looks_like_one};
use super::{Action, Grant, Masks};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::json::{Kind, Value};
use crate::mcp::{Access, Message, Restored, SubjectKind};
use crate::opened::{Ask, Opened};
use crate::policy::Denial;

/// A pseudonym that does not open for this caller, at a place where a grant expects one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mask `{mask}`: what stands at {place} does not open")]
pub struct RestoreError {
    /// The mask.
    pub mask: Arc<str>,
    /// The place in the arguments, as the policy names it.
    pub place: Box<str>,
}

/// The request with its sealed URIs opened, and with its pseudonyms opened where a grant names tool, argument and entity. Errs
/// if a pseudonym at such a place does not open.
pub fn restore(masks: &Masks, opened: Box<Opened>, now: Timestamp) -> Result<Box<Opened>, RestoreError> {
    let (Some(keys), Some(caller), Ask::Message(message)) = (&masks.keys, opened.caller.principal(), &opened.ask)
    else {
        return Ok(opened);
    };
    let mut opening = Opening { keys, caller, now, restored: Vec::new() };
    opening.uris(message);
    opening.arguments(&masks.result.rules, message)?;
    let restored = opening.restored;
    if restored.is_empty() {
        return Ok(opened);
    }
    let mut opened = opened;
    if let Ask::Message(message) = &mut opened.ask {
        // INVARIANT: replacing one string by another keeps a message valid.
        message.restore(restored).map_err(|_| RestoreError { mask: "".into(), place: "".into() })?;
    }
    Ok(opened)
}

/// A denial with the URI as the caller wrote it: one that is sealed is not revealed.
pub(crate) fn as_written(denial: Denial, written: Option<&str>) -> Denial {
    match (denial, written) {
        (Denial::Hidden { rule, reason, .. }, Some(written)) => Denial::Hidden { name: written.into(), rule, reason },
        (Denial::StepUp { rule, scopes, needs, .. }, Some(written)) => {
            Denial::StepUp { name: written.into(), rule, scopes, needs }
        }
        (denial, _) => denial,
    }
}

struct Opening<'o> {
    keys: &'o Keyring,
    caller: &'o Caller,
    now: Timestamp,
    restored: Vec<Restored>,
}

impl Opening<'_> {
    /// Opens URIs at the places where rules decide on them.
    fn uris(&mut self, message: &Message) {
        let Some(params) = message.params() else { return };
        match message.listed().map(|method| method.access) {
            Some(Access::Subject { kind: SubjectKind::Resource, pointer }) => self.uri(params.pointer(pointer)),
            Some(Access::Completion) => self.uri(params.pointer("/ref/uri")),
            Some(Access::Subscriptions) => {
                let uris = params.pointer("/notifications/resourceSubscriptions");
                uris.iter().flat_map(Value::items).for_each(|uri| self.uri(Some(uri)));
            }
            Some(Access::Free | Access::Named | Access::Subject { .. } | Access::Task) | None => {}
        }
    }

    /// Opens one URI. One that does not open stays as it is: no rule allows it, unless the server has such URIs of its own.
    fn uri(&mut self, value: Option<Value<'_>>) {
        let Some((value, text)) = value.and_then(|value| Some((value, value.as_str()?))) else { return };
        let read = text.strip_prefix(SEALED_SCHEME).and_then(|sealed| Read::new(sealed, SEALED_NAME));
        if let Some(uri) = read.and_then(|read| self.keys.open(self.caller, SEALED_NAME, &read, self.now)) {
            self.put(value, &uri, &text);
        }
    }

    fn put(&mut self, value: Value<'_>, restored: &str, written: &str) {
        self.restored.push(Restored { span: value.span(), value: restored.into(), pseudonym: written.into() });
    }

    fn arguments(&mut self, rules: &[Rule], message: &Message) -> Result<(), RestoreError> {
        let (Some((SubjectKind::Tool, tool)), Some(arguments)) = (message.subject(), message.arguments()) else {
            return Ok(());
        };
        let mut grants = Vec::new();
        for rule in rules.iter().filter(|rule| rule.action == Action::Tokenize) {
            grants.extend(rule.restore.iter().filter(|grant| *grant.tool == *tool).map(|grant| (rule, grant)));
        }
        if grants.is_empty() { Ok(()) } else { self.below(&grants, arguments, &mut Vec::new()) }
    }

    fn below<'d>(
        &mut self,
        grants: &[(&Rule, &Grant)],
        value: Value<'d>,
        path: &mut Vec<Step<'d>>,
    ) -> Result<(), RestoreError> {
        match value.kind() {
            Kind::Array => {
                for (index, item) in value.items().enumerate() {
                    path.push(Step::Item(index));
                    self.below(grants, item, path)?;
                    path.pop();
                }
            }
            Kind::Object => {
                for member in value.members() {
                    path.push(Step::Key(member));
                    self.below(grants, member.value, path)?;
                    path.pop();
                }
            }
            Kind::String => self.string(grants, value, path)?,
            Kind::Bool | Kind::Key | Kind::Null | Kind::Number => {}
        }
        Ok(())
    }

    /// Opens a string that is exactly one pseudonym granted at `path`. Other strings stay as they are.
    fn string(&mut self, grants: &[(&Rule, &Grant)], value: Value<'_>, path: &[Step<'_>]) -> Result<(), RestoreError> {
        let Some(text) = value.as_str() else { return Ok(()) };
        let mut foreign = None;
        for (rule, grant) in grants {
            let Some((place, _)) = grant.args.iter().find(|(_, opaque)| opaque.matches(path)) else { continue };
            for name in grant.names.iter().filter(|name| looks_like_one(&text, name)) {
                let read = Read::new(&text, name).filter(|read| read.tag == rule.tag);
                if let Some(opened) = read.and_then(|read| self.keys.open(self.caller, &rule.id, &read, self.now)) {
                    self.put(value, &opened, &text);
                    return Ok(());
                }
                foreign = Some(RestoreError { mask: rule.id.clone(), place: place.clone() });
            }
        }
        foreign.map_or(Ok(()), Err)
    }
}

impl Grant {
    /// A grant of `names` in arguments of `tool`.
    pub fn new(tool: &str, args: &[&str], names: Vec<Arc<str>>) -> Self {
        let args = args.iter().map(|place| ((*place).into(), Opaque::new(place))).collect();
        Self { tool: tool.into(), args, names }
    }
}
