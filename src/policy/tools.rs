//! Which of a server's tools may be shown and called, and what is known about each definition seen.

mod drift;
mod form;
mod texts;
mod tool;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use foldhash::HashMap;
use serde_json::{Map, Value as Json};

use self::drift::Drifts;
pub(crate) use self::form::{Form, Looked};
use self::texts::{Suspicion, Texts};
pub(crate) use self::tool::TaskSupport;
pub use self::tool::Tool;
use super::Descriptions;
use super::args::Args;
use super::lint::Setting;
use super::lint::definition::{Findings, look};
use super::lock::{Drift, Lock};
use super::schema::Violation;
use crate::clock::monotonic;
use crate::config::{self, LintMode, OnDrift, SchemaMode};
use crate::json::{Document, Limits, Value};

/// The most definitions remembered per server; beyond it everything remembered is dropped.
const MOST: usize = 4_096;
/// The most bytes of remembered definitions.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How the tools of one server are checked. Results for a definition are kept with its exact text, so that they are computed
/// once.
#[derive(Debug, Default)]
pub struct Tools {
    schema: SchemaMode,
    on_drift: OnDrift,
    lint: LintMode,
    lock: Option<Lock>,
    /// The upstream's host, to which links in definitions are allowed.
    host: Box<str>,
    /// Whether a rule has conditions on arguments.
    narrows: bool,
    /// The policy's titles and descriptions.
    descriptions: Descriptions,
    known: Mutex<Known>,
    drifts: Drifts,
    texts: Texts,
}

#[derive(Debug, Default)]
struct Known {
    /// The definitions seen, by name, each text once.
    tools: HashMap<Box<str>, Vec<Arc<Tool>>>,
    /// The definition that lists showed last, by name, and since when.
    listed: HashMap<Box<str>, (Arc<Tool>, Instant)>,
    count: usize,
    bytes: usize,
}

/// Why a call is refused because of the tool's definition.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// The arguments are not valid under the input schema.
    #[error("{0}")]
    Arguments(Violation),
    /// The definition is not the approved one.
    #[error("its definition is not the approved one")]
    Changed,
    /// The definition cannot be used, so the tool is not listed either.
    #[error("its definition cannot be used")]
    Definition,
}

impl Tools {
    /// The checks configured in `[servers.NAME]`, with the definitions of its lock file.
    pub fn new(config: &config::Tools, lock: Option<Lock>, host: &str, narrows: bool) -> Self {
        let config::Tools { schema, on_drift, lint, .. } = *config;
        Self { schema, on_drift, lint, lock, host: host.into(), narrows, ..Self::default() }
    }

    /// The same with titles and descriptions of the policy.
    pub fn describing(self, descriptions: Descriptions) -> Self {
        Self { descriptions, ..self }
    }

    /// The same with other approved definitions, and nothing remembered yet.
    pub(crate) fn approving(&self, lock: Lock) -> Self {
        let Self { schema, on_drift, lint, narrows, .. } = *self;
        let (host, descriptions) = (self.host.clone(), self.descriptions.clone());
        Self { schema, on_drift, lint, narrows, lock: Some(lock), host, descriptions, ..Self::default() }
    }

    /// Whether calls depend on the upstream's definitions.
    pub fn minds(&self) -> bool {
        self.schema != SchemaMode::Off || self.lock.is_some() || self.lint != LintMode::Warn || self.narrows
    }

    /// Whether a call is refused if its tool's definition is unknown.
    pub fn insists(&self) -> bool {
        self.schema == SchemaMode::Enforce || self.quarantines() || self.lint == LintMode::Hide
    }

    /// Whether rules have conditions on arguments, which lists show.
    pub const fn narrows(&self) -> bool {
        self.narrows
    }

    /// The approved definitions, if there is a lock.
    pub const fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// The approved definition of that name as a tool, in place of the upstream's where there is no upstream.
    pub(crate) fn approved(&self, name: &str) -> Option<Arc<Tool>> {
        let canonical = self.lock.as_ref()?.definition(name)?;
        let document = Document::parse(Bytes::copy_from_slice(canonical.as_bytes()), &Limits::ANSWER).ok()?;
        self.tool(document.root())
    }

    fn quarantines(&self) -> bool {
        self.lock.is_some() && self.on_drift != OnDrift::Warn
    }

    /// The number of tools last seen with a definition that is not the approved one, and the definitions among them first seen
    /// since the last call of this; `None` if nothing changed.
    pub(crate) fn take_drifts(&self) -> Option<(usize, BTreeMap<Box<str>, Drift>)> {
        self.drifts.take()
    }

    /// The checked definition for an item of `tools/list`; `None` for one that cannot be read or has no name.
    pub fn tool(&self, item: Value<'_>) -> Option<Arc<Tool>> {
        let name = item.get("name")?.as_str()?;
        {
            let known = lock(&self.known);
            let seen = known.tools.get(&*name).and_then(|seen| seen.iter().find(|tool| tool.raw() == item.raw()));
            if let Some(tool) = seen {
                if self.lock.is_some() {
                    self.drifts.note(tool, false);
                }
                return Some(tool.clone());
            }
        }
        let setting = Setting { host: &self.host, others: &[] };
        let tool = Arc::new(Tool::read(&name, item, self.lock.as_ref(), &self.descriptions, &setting)?);
        tell(&tool);
        if self.lock.is_some() {
            self.drifts.note(&tool, true);
        }
        if lock(&self.known).keep(&tool) && self.lock.is_none() {
            // Without a lock neither of the two is approved, so this is only logged.
            tracing::warn!(tool = %crate::mask::sanitize(&tool.name), "a tool's definition is another one than before");
        }
        Some(tool)
    }

    /// The definition of that name that lists showed last, else the one seen last.
    pub(crate) fn seen(&self, name: &str) -> Option<Arc<Tool>> {
        let known = lock(&self.known);
        let listed = known.listed.get(name).map(|(tool, _)| tool);
        listed.or_else(|| known.tools.get(name)?.last()).cloned()
    }

    /// Notes that a list showed this definition.
    pub(crate) fn listed(&self, tool: &Arc<Tool>) {
        let mut known = lock(&self.known);
        if known.listed.get(&tool.name).is_none_or(|(last, _)| !Arc::ptr_eq(last, tool)) {
            known.listed.insert(tool.name.clone(), (tool.clone(), monotonic()));
        }
    }

    /// Notes that the upstream sent this definition to the proxy itself. With a lock, a definition that differs from what
    /// others get, or got before, is in doubt.
    pub(crate) fn told(&self, tool: &Arc<Tool>) {
        if self.lock.is_some() {
            self.listed(tool);
        }
    }

    /// Since when lists show another definition: one of the two is outdated, or the upstream sends different definitions to
    /// different callers.
    pub(crate) fn doubted_since(&self, tool: &Arc<Tool>) -> Option<Instant> {
        let known = lock(&self.known);
        known.listed.get(&tool.name).filter(|(last, _)| !Arc::ptr_eq(last, tool)).map(|(_, since)| *since)
    }

    /// Since when lists show their current definition of that name.
    pub(crate) fn listed_since(&self, name: &str) -> Option<Instant> {
        lock(&self.known).listed.get(name).map(|(_, since)| *since)
    }

    /// Whether clients may see and call the tool, by its definition alone.
    pub fn shows(&self, tool: &Tool) -> bool {
        let usable = self.schema != SchemaMode::Enforce || tool.schema().is_ok();
        let approved = tool.drift().is_none() || !self.quarantines();
        tool.can_be_called() && usable && approved && self.passes(tool.findings())
    }

    fn passes(&self, findings: &Findings) -> bool {
        match self.lint {
            LintMode::Hide => !findings.is_suspicious(),
            LintMode::Strip => !findings.stuck,
            LintMode::Warn => true,
        }
    }

    /// The form in which lists show the definition.
    pub(crate) fn shown(&self, tool: &Tool, rules: &[&Arc<Args>], claims: &Map<String, Json>) -> Arc<Form> {
        let stripped = if self.lint == LintMode::Strip { tool.findings().stripped.as_ref() } else { None };
        tool.form(stripped.or_else(|| tool.described()), rules, claims)
    }

    /// A definition of a prompt or resource as it may be shown: `None` if not at all, the same bytes if nothing is removed.
    pub(crate) fn text(&self, raw: Bytes) -> Option<Bytes> {
        let known = self.texts.known(&raw);
        if known == Some(Suspicion::None) {
            return Some(raw);
        }
        let document = Document::parse(raw, &Limits::ANSWER).ok()?;
        let findings = look(&document, &Setting { host: &self.host, others: &[] });
        if known.is_none() {
            self.texts.note(document.bytes(), findings.is_suspicious());
        }
        if findings.is_suspicious() && known.is_none() {
            tracing::warn!(found = %findings.told(), "suspicious text for a model");
        }
        match self.lint {
            LintMode::Strip => self.passes(&findings).then(|| findings.stripped.unwrap_or(document.bytes().clone())),
            LintMode::Hide | LintMode::Warn => self.passes(&findings).then(|| document.bytes().clone()),
        }
    }

    /// Checks a call against the tool's definition. Errs if it must be refused.
    pub fn check(&self, tool: &Tool, arguments: Option<Value<'_>>) -> Result<(), Refused> {
        if tool.drift().is_some() && self.quarantines() {
            return Err(self.unapproved());
        }
        if !self.passes(tool.findings()) {
            return Err(Refused::Definition);
        }
        if self.schema == SchemaMode::Off {
            return Ok(());
        }
        let checked = match tool.schema() {
            Ok(schema) => schema.check(arguments).map_err(Refused::Arguments),
            Err(_) => Err(Refused::Definition),
        };
        match (checked, self.schema) {
            (Err(refused), SchemaMode::Report) => {
                let (tool, refused) = (crate::mask::sanitize(&tool.name), refused.to_string());
                tracing::warn!(%tool, refused = %crate::mask::sanitize(&refused), "call does not fit the input schema");
                Ok(())
            }
            (checked, _) => checked,
        }
    }

    /// Checks a call of a tool that the upstream does not list. Errs if there is a lock, as such a tool is not the approved
    /// one.
    pub fn unlisted(&self) -> Result<(), Refused> {
        if self.quarantines() { Err(self.unapproved()) } else { Ok(()) }
    }

    fn unapproved(&self) -> Refused {
        if self.on_drift == OnDrift::Hide { Refused::Definition } else { Refused::Changed }
    }
}

impl Known {
    /// Remembers a definition; returns whether another one of that name is known.
    fn keep(&mut self, tool: &Arc<Tool>) -> bool {
        if self.count >= MOST || self.bytes + tool.raw().len() > MOST_BYTES {
            *self = Self::default();
        }
        self.count += 1;
        self.bytes += tool.raw().len();
        let same_name = self.tools.entry(tool.name.clone()).or_default();
        same_name.push(tool.clone());
        same_name.len() > 1
    }
}

/// Locks a mutex, poisoned or not: the data is consistent even after a panic, as entries are only added whole.
fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs warnings about a definition, once per definition.
fn tell(tool: &Tool) {
    let name = crate::mask::sanitize(&tool.name);
    if let Some(drift) = tool.drift() {
        tracing::warn!(tool = %name, drift = drift.as_str(), "tool definition is not the approved one");
    }
    if tool.findings().is_suspicious() {
        tracing::warn!(tool = %name, found = %tool.findings().told(), "suspicious text in a tool definition");
    }
}
