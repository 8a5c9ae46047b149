//! An upper bound on the work a schema can cause, computed before it is compiled.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::SchemaError;

/// Arguments are never deeper: a request is refused before.
pub(super) const DEEPEST: usize = 64;
/// Most objects, arrays and truth values in one schema.
const MOST_PARTS: usize = 5_000;
/// Most members of an `enum`.
const MOST_OPTIONS: usize = 10_000;
/// Most schemas one value of the arguments, and what is below it on one path, may be checked against.
const MOST_STEPS: u64 = 10_000;
/// Deepest nesting of the schema itself.
const MOST_NESTING: usize = 64;

/// Keywords whose schema is about the same value.
const SAME: [&str; 6] = ["not", "if", "then", "else", "propertyNames", "contentSchema"];
/// The same, in a list.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose schema is about what is below.
const BELOW: [&str; 6] =
    ["additionalItems", "additionalProperties", "contains", "items", "unevaluatedItems", "unevaluatedProperties"];

/// How deep arguments may nest so that checking them takes no more than a bounded number of steps.
///
/// A schema that refers to itself in more than one place doubles the work with every level of the arguments. It may, as
/// long as the levels are few.
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

/// How deep a value nests.
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
        // Options are no schemas.
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

/// The address of a schema within its document, which does not move while it is looked at.
type Place = *const Value;

struct Walk<'a> {
    root: &'a Value,
    anchors: HashMap<&'a str, Vec<&'a Value>>,
    steps: HashMap<(Place, usize), u64>,
    /// Schemas being counted for the same value.
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

    /// Most schemas looked at for one value with `depth` levels below it, along the costliest path.
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

    /// What is about the same value.
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

    /// What is about one value below: of the named ones only one can be meant, of the others each.
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

    /// What a reference leads to; a dynamic one may lead to any schema of that name.
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

/// A URI fragment as a JSON Pointer (RFC 6901 section 6).
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
