//! A tool's input schema, compiled (MCP 2026-07-28, "Tools", "Input Schema").
//!
//! The text is the upstream's, so it is bounded before it is compiled, nothing it references is fetched, and its patterns run
//! on an engine with linear time.

mod bounds;
pub(super) mod narrow;
mod plain;

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use jsonschema::{PatternOptions, Validator};
use thiserror::Error;

use crate::json::Value;
use plain::Plain;

/// The most bytes of one schema.
pub(super) const MOST_BYTES: usize = 256 * 1024;
/// The most memory of one compiled pattern, and of its cache at run time.
const PATTERN_BYTES: usize = 1024 * 1024;
/// The longest pointer in a violation, in bytes; the rest is cut off.
const LONGEST_POINTER: usize = 200;

/// A compiled input schema.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    /// A fast path, for simple schemas.
    plain: Option<Plain>,
    /// The deepest nesting of arguments with which checking them stays cheap.
    depth: usize,
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// It references itself for the same value, or branches too much.
    #[error("checking against it would take too long")]
    Costly,
    /// Too large, too deeply nested, or with too many parts.
    #[error("it is too large: {0}")]
    Large(&'static str),
    /// Not JSON that can be read exactly.
    #[error("it is not JSON that can be read exactly")]
    Json,
    /// Not a schema for an object.
    #[error("it is not a schema for an object")]
    Object,
    /// A reference to something outside it.
    #[error("it refers to `{0}`, which is not in it")]
    Reference(Box<str>),
    /// Not a valid schema of its dialect.
    #[error("it does not compile: {0}")]
    Invalid(Box<str>),
}

/// What is wrong with arguments: the place and the keyword, never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON Pointer (RFC 6901) below `arguments`; empty for all of them.
    pub pointer: Box<str>,
    /// The keyword of JSON Schema, as in `maximum`.
    pub word: Box<str>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, word } = self;
        let unknown = matches!(&**word, "additionalProperties" | "unevaluatedProperties");
        match (&**pointer, &**word) {
            ("", _) if unknown => f.write_str("an argument is not known"),
            ("", word) => write!(f, "the arguments do not fit `{word}`"),
            (pointer, _) if unknown => write!(f, "argument {pointer} is not known"),
            (pointer, "required") => write!(f, "argument {pointer} is required"),
            (pointer, word) => write!(f, "argument {pointer} does not fit `{word}`"),
        }
    }
}

impl Schema {
    /// Compiles `schema` in the dialect it declares, else 2020-12 (MCP 2025-11-25, "JSON Schema Usage"). Errs if it is invalid,
    /// too costly, or not for an object.
    pub fn compile(schema: Value<'_>) -> Result<Self, SchemaError> {
        if schema.raw().len() > MOST_BYTES {
            return Err(SchemaError::Large("more than 256 KiB"));
        }
        let schema: serde_json::Value = serde_json::from_slice(schema.raw()).map_err(|_| SchemaError::Json)?;
        Self::of_value(&schema)
    }

    /// The same, for a schema built by the proxy.
    pub fn of_value(schema: &serde_json::Value) -> Result<Self, SchemaError> {
        if !schema.as_object().is_some_and(|object| object.get("type").is_none_or(is_object_type)) {
            return Err(SchemaError::Object);
        }
        Self::build(schema, false)
    }

    /// The same for a value of any type, with everything a client may check, formats included (MCP 2026-07-28, "Output
    /// Schema").
    pub(crate) fn strict(schema: &serde_json::Value) -> Result<Self, SchemaError> {
        Self::build(schema, true)
    }

    fn build(schema: &serde_json::Value, formats: bool) -> Result<Self, SchemaError> {
        let depth = bounds::depth(schema)?;
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
        let options = jsonschema::options().offline().should_validate_formats(formats).with_pattern_options(patterns);
        let validator = options.build(schema).map_err(|error| SchemaError::Invalid(told(&error)))?;
        let plain = Plain::of(schema).filter(|_| depth > 0);
        Ok(Self { validator, plain, depth })
    }

    /// The schema of a tool without one: any object.
    pub fn any() -> Result<Self, SchemaError> {
        Self::of_value(&serde_json::json!({ "type": "object" }))
    }

    /// Checks the `arguments` of a call; missing ones count as an empty object. Errs with the first violation.
    pub fn check(&self, arguments: Option<Value<'_>>) -> Result<(), Violation> {
        let Some(arguments) = arguments else {
            return self.check_value(&serde_json::json!({}));
        };
        if self.plain.as_ref().is_some_and(|plain| plain.fits(arguments)) {
            return Ok(());
        }
        // Fails for numbers that cannot be represented, such as 1e400.
        let value = serde_json::from_slice(arguments.raw()).map_err(|_| violation("", "type"))?;
        self.check_value(&value)
    }

    /// The same, for parsed arguments.
    pub fn check_value(&self, arguments: &serde_json::Value) -> Result<(), Violation> {
        if self.depth < bounds::DEEPEST && bounds::nesting(arguments) > self.depth {
            return Err(violation("", "depth"));
        }
        if self.validator.is_valid(arguments) {
            return Ok(());
        }
        Err(self.validator.validate(arguments).err().map_or_else(|| violation("", "schema"), |error| found(&error)))
    }
}

/// Whether `type` is `"object"`, alone or in a list.
fn is_object_type(kind: &serde_json::Value) -> bool {
    kind == "object" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"))
}

/// A compiler error, without text of the schema, which is the upstream's.
fn told(error: &jsonschema::ValidationError<'_>) -> Box<str> {
    let place = error.instance_path().to_string();
    let place: String = place.chars().filter(|char| !char.is_control()).take(LONGEST_POINTER).collect();
    format!("`{}` at `{place}`", error.kind().keyword()).into()
}

fn violation(pointer: &str, word: &str) -> Violation {
    let end = pointer.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= LONGEST_POINTER);
    let end = end.last().unwrap_or_default();
    Violation { pointer: pointer.get(..end).unwrap_or_default().into(), word: word.into() }
}

/// A violation with its place: that of the argument, also for a missing or an unknown one.
fn found(error: &jsonschema::ValidationError<'_>) -> Violation {
    let mut pointer = error.instance_path().to_string();
    let below = match error.kind() {
        ValidationErrorKind::Required { property } => property.as_str(),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected.first().map(String::as_str),
        _ => None,
    };
    if let Some(below) = below {
        pointer.push('/');
        pointer.push_str(&below.replace('~', "~0").replace('/', "~1"));
    }
    let word = match error.kind() {
        // The schema `false` forbids a property.
        ValidationErrorKind::FalseSchema => last_property(error).unwrap_or("schema"),
        kind => kind.keyword(),
    };
    violation(&pointer, word)
}

/// The keyword a `false` schema is under.
fn last_property(error: &jsonschema::ValidationError<'_>) -> Option<&'static str> {
    let word = error.schema_path().segments().filter_map(|segment| match segment {
        LocationSegment::Property(name) => Some(name.into_owned()),
        LocationSegment::Index(_) => None,
    });
    ["additionalProperties", "unevaluatedProperties", "properties", "propertyNames"]
        .into_iter()
        .find(|known| word.clone().any(|word| word == *known))
}

#[cfg(test)]
mod tests;
