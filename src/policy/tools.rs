//! What a server's tools must be to be shown and called, and what is known of each definition it was seen with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::schema::{Schema, SchemaError, Violation};
use crate::config::{self, SchemaMode};
use crate::json::{Document, Limits, Value};
use crate::mcp::mirror::{InvalidMirror, Mirror, mirrors};

/// Most definitions remembered of one server; with more the least is lost that is known of them.
const MOST: usize = 4_096;
/// Most memory the remembered texts take.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How the tools of one server are looked at. What is found out about a definition is kept with its exact text, so that
/// it is found out once.
#[derive(Debug, Default)]
pub struct Tools {
    schema: SchemaMode,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By name the definitions seen, each text once.
    tools: HashMap<Box<str>, Vec<Arc<Tool>>>,
    count: usize,
    bytes: usize,
}

/// One definition of a tool, exactly as an upstream wrote it.
#[derive(Debug)]
pub struct Tool {
    /// Its name.
    pub name: Box<str>,
    /// The item of `tools/list`, in memory of its own.
    document: Document,
    mirrors: Result<Arc<[Mirror]>, InvalidMirror>,
    schema: OnceLock<Result<Schema, SchemaError>>,
    value: OnceLock<Option<serde_json::Value>>,
}

impl Tools {
    /// As `[servers.NAME]` says.
    pub fn new(config: &config::Tools) -> Self {
        Self { schema: config.schema, known: Mutex::default() }
    }

    /// How arguments are held against input schemas.
    pub const fn schema(&self) -> SchemaMode {
        self.schema
    }

    /// Whether calls depend on what the upstream says of its tools.
    pub fn minds(&self) -> bool {
        self.schema != SchemaMode::Off
    }

    /// Whether a call is refused where that is not known.
    pub fn insists(&self) -> bool {
        self.schema == SchemaMode::Enforce
    }

    /// What is known of an item of `tools/list`; `None` for one without a name.
    pub fn tool(&self, item: Value<'_>) -> Option<Arc<Tool>> {
        let name = item.get("name")?.as_str()?;
        {
            let known = lock(&self.known);
            let seen = known.tools.get(&*name).and_then(|seen| seen.iter().find(|tool| tool.raw() == item.raw()));
            if let Some(tool) = seen {
                return Some(tool.clone());
            }
        }
        let tool = Arc::new(Tool::read(&name, item)?);
        lock(&self.known).keep(&tool);
        Some(tool)
    }

    /// Whether clients may see the tool and call it, by its definition alone.
    pub fn shows(&self, tool: &Tool) -> bool {
        tool.mirrors.is_ok() && (self.schema != SchemaMode::Enforce || tool.schema().is_ok())
    }

    /// Holds the arguments of a call against the tool's input schema.
    pub fn check(&self, tool: &Tool, arguments: Option<Value<'_>>) -> Result<(), Refused> {
        if self.schema == SchemaMode::Off {
            return Ok(());
        }
        let checked = match tool.schema() {
            Ok(schema) => schema.check(arguments).map_err(Refused::Arguments),
            Err(_) => Err(Refused::Definition),
        };
        match (checked, self.schema) {
            (Err(refused), SchemaMode::Report) => {
                tracing::warn!(tool = %crate::mask::sanitize(&tool.name), %refused, "call does not fit the input schema");
                Ok(())
            }
            (checked, _) => checked,
        }
    }
}

/// Why a call is refused on account of the tool's definition.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// The arguments do not fit.
    #[error("{0}")]
    Arguments(Violation),
    /// The definition cannot be used; the tool is not listed either.
    #[error("its input schema cannot be used")]
    Definition,
}

impl Known {
    fn keep(&mut self, tool: &Arc<Tool>) {
        if self.count >= MOST || self.bytes + tool.raw().len() > MOST_BYTES {
            *self = Self::default();
        }
        self.count += 1;
        self.bytes += tool.raw().len();
        self.tools.entry(tool.name.clone()).or_default().push(tool.clone());
    }
}

impl Tool {
    fn read(name: &str, item: Value<'_>) -> Option<Self> {
        let document = Document::parse(Bytes::copy_from_slice(item.raw()), &Limits::ANSWER).ok()?;
        let mirrors = document.root().get("inputSchema").map_or(Ok(Vec::new()), mirrors).map(Into::into);
        Some(Self { name: name.into(), document, mirrors, schema: OnceLock::new(), value: OnceLock::new() })
    }

    /// The definition as it was written.
    pub fn raw(&self) -> &[u8] {
        self.document.bytes()
    }

    /// The arguments that headers must repeat, if there are any (2026-07-28, "Custom Parameter Headers").
    pub fn mirrors(&self) -> Option<&Arc<[Mirror]>> {
        self.mirrors.as_ref().ok().filter(|mirrors| !mirrors.is_empty())
    }

    /// The input schema as it was written; `None` where there is none that can be read.
    pub fn schema_value(&self) -> Option<&serde_json::Value> {
        let value = self.value.get_or_init(|| {
            self.document.root().get("inputSchema").and_then(|schema| serde_json::from_slice(schema.raw()).ok())
        });
        value.as_ref()
    }

    /// The compiled input schema; compiled at the first call of this.
    pub fn schema(&self) -> Result<&Schema, &SchemaError> {
        let schema = self
            .schema
            .get_or_init(|| self.document.root().get("inputSchema").map_or_else(Schema::any, Schema::compile));
        schema.as_ref()
    }
}

/// What is locked is whole even after a panic: entries are only ever added whole.
fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
