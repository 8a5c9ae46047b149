//! One tool definition, exactly as the upstream wrote it, and what was derived from it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::form::Form;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use crate::json::{Document, Limits, Splice, Value};
use crate::mask::{Direction, Shape};
use crate::mcp::mirror::{InvalidMirror, Mirror, mirrors};
use crate::policy::args::Args;
use crate::policy::lint::Setting;
use crate::policy::lint::definition::{Findings, look};
use crate::policy::lock::{Drift, Lock, canonical, fingerprint};
use crate::policy::schema::narrow::narrowed;
use crate::policy::schema::{MOST_BYTES, Schema, SchemaError};
use crate::policy::{Annotations, Descriptions};

/// The most narrowed forms kept per definition.
const FORMS: usize = 64;

/// Whether calls of a tool may or must run as tasks (2025-11-25, "Tasks").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskSupport {
    Forbidden,
    Optional,
    Required,
}

/// One definition.
#[derive(Debug)]
pub struct Tool {
    /// Its name.
    pub name: Box<str>,
    /// The item of `tools/list`, in its own memory.
    document: Document,
    /// The same with titles and descriptions of the policy, if there are any.
    described: Option<Bytes>,
    drift: Option<Drift>,
    /// The digest of the definition, where there is a lock.
    fingerprint: Option<Arc<str>>,
    annotations: Annotations,
    findings: Findings,
    mirrors: Result<Arc<[Mirror]>, InvalidMirror>,
    schema: OnceLock<Result<Schema, SchemaError>>,
    value: OnceLock<Option<Json>>,
    /// The schemas for masked arguments and masked results.
    shapes: [OnceLock<Option<Shape>>; 2],
    /// Narrowed forms by the rules that narrow them, except where the rules depend on the caller's claims.
    forms: Mutex<Vec<Narrowed>>,
}

/// The rules that narrow a definition, and the result.
type Narrowed = (Vec<Arc<Args>>, Arc<Form>);

impl Tool {
    /// Reads an item of `tools/list`; `None` if it cannot be parsed.
    pub(super) fn read(
        name: &str,
        item: Value<'_>,
        lock: Option<&Lock>,
        descriptions: &Descriptions,
        setting: &Setting<'_>,
    ) -> Option<Self> {
        let document = Document::parse(Bytes::copy_from_slice(item.raw()), &Limits::ANSWER).ok()?;
        let root = document.root();
        let mirrors = root.get("inputSchema").map_or(Ok(Vec::new()), mirrors).map(Into::into);
        let compared = lock.map(|lock| (lock, canonical(root)));
        let drift = compared.as_ref().and_then(|(lock, canonical)| lock.drift(name, canonical));
        let fingerprint = compared.map(|(_, canonical)| fingerprint(&canonical).to_string().into());
        let pinned = lock.is_some() && drift.is_none();
        let annotations = if pinned { Annotations::stated(root) } else { Annotations::WORST };
        let described = descriptions.over(name, &document);
        // Only what is shown needs to be linted.
        let findings = match &described {
            Some(shown) => look(&Document::parse(shown.clone(), &Limits::ANSWER).ok()?, setting),
            None => look(&document, setting),
        };
        Some(Self {
            name: name.into(),
            described,
            drift,
            fingerprint,
            annotations,
            findings,
            mirrors,
            schema: OnceLock::new(),
            value: OnceLock::new(),
            shapes: [OnceLock::new(), OnceLock::new()],
            forms: Mutex::default(),
            document,
        })
    }

    /// The definition as the upstream wrote it.
    pub fn raw(&self) -> &[u8] {
        self.document.bytes()
    }

    /// The definition with the policy's title and description, if it has any.
    pub(super) const fn described(&self) -> Option<&Bytes> {
        self.described.as_ref()
    }

    /// How it differs from the approved one; `None` if it does not, or there is no lock.
    pub const fn drift(&self) -> Option<Drift> {
        self.drift
    }

    /// The digest of the definition as a lock has them; `None` where there is no lock.
    pub(crate) const fn fingerprint(&self) -> Option<&Arc<str>> {
        self.fingerprint.as_ref()
    }

    /// The lint findings in its texts.
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Whether calls run as tasks (2025-11-25, `execution.taskSupport`).
    pub(crate) fn task_support(&self) -> TaskSupport {
        let stated = self.document.pointer("/execution/taskSupport").and_then(|stated| stated.as_str());
        match stated.as_deref() {
            Some("optional") => TaskSupport::Optional,
            Some("required") => TaskSupport::Required,
            _ => TaskSupport::Forbidden,
        }
    }

    /// Its annotations if the definition is the approved one, else the worst.
    pub const fn annotations(&self) -> Annotations {
        self.annotations
    }

    /// Whether the header annotations in its schema are valid; otherwise the tool must not be listed (2026-07-28, "Custom
    /// Parameter Headers").
    pub const fn can_be_called(&self) -> bool {
        self.mirrors.is_ok()
    }

    /// The arguments that headers must mirror, if there are any.
    pub fn mirrors(&self) -> Option<&Arc<[Mirror]>> {
        self.mirrors.as_ref().ok().filter(|mirrors| !mirrors.is_empty())
    }

    /// The input schema as written; `None` if there is none or it cannot be read.
    pub fn schema_value(&self) -> Option<&Json> {
        let value = self.value.get_or_init(|| {
            self.document.root().get("inputSchema").and_then(|schema| serde_json::from_slice(schema.raw()).ok())
        });
        value.as_ref()
    }

    /// The input schema, compiled at the first call. Errs if it cannot be used.
    pub fn schema(&self) -> Result<&Schema, &SchemaError> {
        let compile = || self.document.root().get("inputSchema").map_or_else(Schema::any, Schema::compile);
        self.schema.get_or_init(compile).as_ref()
    }

    /// The schema of the arguments or the structured content; `None` if there is none or it cannot be used.
    pub(crate) fn shape(&self, direction: Direction) -> Option<&Shape> {
        let [arguments, result] = &self.shapes;
        let (known, name) = match direction {
            Direction::Arguments => (arguments, "inputSchema"),
            Direction::Result => (result, "outputSchema"),
        };
        let read = || {
            let schema = self.document.root().get(name).filter(|schema| schema.raw().len() <= MOST_BYTES)?;
            Shape::new(serde_json::from_slice(schema.raw()).ok()?)
        };
        known.get_or_init(read).as_ref()
    }

    /// The definition, or `stripped` in its place, with the input schema narrowed by `rules`.
    pub(super) fn form(&self, stripped: Option<&Bytes>, rules: &[&Arc<Args>], claims: &Map<String, Json>) -> Arc<Form> {
        let of_caller = rules.iter().any(|args| args.has_template());
        let same = |known: &[Arc<Args>]| {
            known.len() == rules.len() && known.iter().zip(rules).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        if !of_caller {
            let forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, form)) = forms.iter().find(|(known, _)| same(known)) {
                return form.clone();
            }
        }
        let form = Arc::new(Form::of(self.narrowed(stripped, rules, claims).or_else(|| stripped.cloned())));
        if !of_caller {
            let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
            if forms.len() < FORMS {
                forms.push((rules.iter().map(|args| Arc::clone(args)).collect(), form.clone()));
            }
        }
        form
    }

    fn narrowed(&self, stripped: Option<&Bytes>, rules: &[&Arc<Args>], claims: &Map<String, Json>) -> Option<Bytes> {
        if rules.is_empty() {
            return None;
        }
        let base = match stripped {
            Some(stripped) => &Document::parse(stripped.clone(), &Limits::ANSWER).ok()?,
            None => &self.document,
        };
        let schema = base.root().get("inputSchema")?;
        let rules: Vec<&Args> = rules.iter().map(|args| &***args).collect();
        let narrowed = match stripped {
            Some(_) => narrowed(&serde_json::from_slice(schema.raw()).ok()?, &rules, claims)?,
            None => narrowed(self.schema_value()?, &rules, claims)?,
        };
        let mut splice = Splice::new();
        splice.replace(schema.span(), narrowed.to_string());
        Some(splice.apply(base.bytes()))
    }
}
