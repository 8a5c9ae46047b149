//! An upper bound on the work a schema can cause, computed before it is compiled.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::SchemaError;

/// The deepest nesting of arguments; requests that nest deeper are refused before.
pub(super) const DEEPEST: usize = 64;
/// The most objects and arrays in one schema.
const MOST_PARTS: usize = 5_000;
/// The most items of an array, such as an `enum`.
const MOST_OPTIONS: usize = 10_000;
/// The most subschemas that a value of the arguments, with the values on one path below it, may be checked against.
const MOST_STEPS: u64 = 10_000;
/// The deepest nesting of the schema itself.
const MOST_NESTING: usize = 64;

/// Keywords whose schema applies to the same value.
const SAME: [&str; 6] = ["not", "if", "then", "else", "propertyNames", "contentSchema"];
/// The same, with a list of schemas.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose schema applies to the members or items.
const BELOW: [&str; 6] =
    ["additionalItems", "additionalProperties", "contains", "items", "unevaluatedItems", "unevaluatedProperties"];

/// The deepest nesting of arguments with which checking them takes at most [`MOST_STEPS`]. Errs if the schema is too large, has
/// references to outside, or allows hardly any nesting.
///
/// A schema that references itself in two places doubles the work with every level of the arguments, which is acceptable for
/// few levels.
pub(super) fn depth(root: &Value) -> Result<usize, SchemaError> {
    let mut parts = 0;
    count(root, 0, &mut parts)?;
    let mut walk = Walk { root, anchors: HashMap::new(), steps: HashMap::new(), open: Vec::new() };
    walk.note_anchors(root);
    for depth in 1..=DEEPEST {
        if walk.steps(root, depth)? > MOST_STEPS {
            return if depth > 4 { Ok(depth - 1) } else { Err(SchemaError::Costly) };
        }
    }
    Ok(DEEPEST)
}

/// The depth of a value; 0 for a scalar.
pub(super) fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(nesting).max().unwrap_or_default(),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => 0,
    }
}

fn count(value: &Value, depth: usize, parts: &mut usize) -> Result<(), SchemaError> {
    if depth > MOST_NESTING {
        return Err(SchemaError::Large("nested more than 64 deep"));
    }
    let below: &mut dyn Iterator<Item = &Value> = match value {
        Value::Array(items) if items.len() > MOST_OPTIONS => return Err(SchemaError::Large("too many options")),
        // Scalars in an `enum` are no schemas.
        Value::Array(items) => &mut items.iter().filter(|item| item.is_object() || item.is_array()),
        Value::Object(members) => &mut members.values(),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => return Ok(()),
    };
    *parts += 1;
    if *parts > MOST_PARTS {
        return Err(SchemaError::Large("more than 5,000 parts"));
    }
    for value in below {
        count(value, depth + 1, parts)?;
    }
    Ok(())
}

/// The address of a schema, which identifies it while the document is borrowed.
type Place = *const Value;

struct Walk<'a> {
    root: &'a Value,
    anchors: HashMap<&'a str, Vec<&'a Value>>,
    steps: HashMap<(Place, usize), u64>,
    /// The schemas being counted, to detect cycles.
    open: Vec<(Place, usize)>,
}

impl<'a> Walk<'a> {
    fn note_anchors(&mut self, value: &'a Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.note_anchors(item)),
            Value::Object(members) => {
                for key in ["$anchor", "$dynamicAnchor", "$id", "id"] {
                    if let Some(name) = members.get(key).and_then(Value::as_str) {
                        self.anchors.entry(name.trim_start_matches('#')).or_default().push(value);
                    }
                }
                members.values().for_each(|value| self.note_anchors(value));
            }
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The most subschemas applied to a value with `depth` levels below it, along the costliest path.
    fn steps(&mut self, schema: &'a Value, depth: usize) -> Result<u64, SchemaError> {
        let Value::Object(members) = schema else { return Ok(1) };
        let place = (std::ptr::from_ref(schema), depth);
        if let Some(known) = self.steps.get(&place) {
            return Ok(*known);
        }
        if self.open.contains(&place) {
            return Err(SchemaError::Costly);
        }
        self.open.push(place);
        let mut steps = 1_u64.saturating_add(self.same(members, depth)?);
        if depth > 0 {
            steps = steps.saturating_add(self.below(members, depth - 1)?);
        }
        self.open.pop();
        self.steps.insert(place, steps);
        Ok(steps)
    }

    /// The steps of subschemas that apply to the same value.
    fn same(&mut self, members: &'a Map<String, Value>, depth: usize) -> Result<u64, SchemaError> {
        let mut sum = 0_u64;
        for (key, value) in members {
            let key = key.as_str();
            if SAME.contains(&key) {
                sum = sum.saturating_add(self.steps(value, depth)?);
            } else if SAME_LISTS.contains(&key) {
                for one in value.as_array().into_iter().flatten() {
                    sum = sum.saturating_add(self.steps(one, depth)?);
                }
            } else if matches!(key, "dependentSchemas" | "dependencies") {
                for one in value.as_object().into_iter().flat_map(Map::values) {
                    sum = sum.saturating_add(self.steps(one, depth)?);
                }
            } else if matches!(key, "$ref" | "$dynamicRef" | "$recursiveRef") {
                for one in self.referred(value)? {
                    sum = sum.saturating_add(self.steps(one, depth)?);
                }
            }
        }
        Ok(sum)
    }

    /// The steps of subschemas that apply to one member or item: the costliest of the named ones, and all of the others.
    fn below(&mut self, members: &'a Map<String, Value>, depth: usize) -> Result<u64, SchemaError> {
        let (mut sum, mut named) = (0_u64, 0);
        for (key, value) in members {
            match (key.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    for one in properties.values() {
                        named = named.max(self.steps(one, depth)?);
                    }
                }
                ("prefixItems" | "items", Value::Array(items)) => {
                    for one in items {
                        named = named.max(self.steps(one, depth)?);
                    }
                }
                ("patternProperties", Value::Object(patterns)) => {
                    for one in patterns.values() {
                        sum = sum.saturating_add(self.steps(one, depth)?);
                    }
                }
                (key, value) if BELOW.contains(&key) => sum = sum.saturating_add(self.steps(value, depth)?),
                _ => {}
            }
        }
        Ok(sum.saturating_add(named))
    }

    /// The targets of a reference; a dynamic one may lead to any schema with that anchor.
    fn referred(&self, reference: &Value) -> Result<Vec<&'a Value>, SchemaError> {
        let text = reference.as_str().unwrap_or_default();
        let outside = || SchemaError::Reference(text.chars().filter(|char| !char.is_control()).take(100).collect());
        if let Some(fragment) = text.strip_prefix('#') {
            if fragment.is_empty() {
                return Ok(vec![self.root]);
            }
            if fragment.starts_with('/') {
                let pointer = percent_decoded(fragment).ok_or_else(outside)?;
                return self.root.pointer(&pointer).map(|found| vec![found]).ok_or_else(outside);
            }
        }
        self.anchors.get(text.trim_start_matches('#')).cloned().ok_or_else(outside)
    }
}

/// The JSON Pointer in a URI fragment (RFC 6901 section 6).
fn percent_decoded(fragment: &str) -> Option<String> {
    if !fragment.contains('%') {
        return Some(fragment.to_owned());
    }
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}
