//! A tool's input schema, narrowed to what the caller's rules allow, for the list a model reads.
//!
//! The published schema is never wider than the upstream's, and never narrower than what some rule would allow: the rules
//! themselves decide about calls.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::policy::args::{Args, Argument, Equals, Scalar, Word};

/// The upstream's `schema` narrowed by the conditions of `rules`, each of which alone would allow the call. `None` if there are
/// no rules, or it cannot be narrowed.
pub(in crate::policy) fn narrowed(schema: &Value, rules: &[&Args], claims: &Map<String, Value>) -> Option<Value> {
    let mut narrowed = schema.as_object().filter(|_| !rules.is_empty())?.clone();
    // A property that a rule mentions would count as evaluated.
    if narrowed.contains_key("unevaluatedProperties") {
        return None;
    }
    let mut asked: Vec<(Map<String, Value>, Vec<Value>)> = Vec::new();
    for rule in rules {
        let one = constraints(schema, rule, claims);
        if !asked.contains(&one) {
            asked.push(one);
        }
    }
    if rules.iter().all(|rule| !rule.additional()) {
        close(&mut narrowed, rules);
    }
    if let [(properties, required)] = asked.as_slice() {
        merge(&mut narrowed, properties);
        require(&mut narrowed, required);
    } else {
        let cases = asked.into_iter().map(|(properties, required)| {
            let mut case = Map::new();
            if !properties.is_empty() {
                case.insert("properties".into(), Value::Object(properties));
            }
            if !required.is_empty() {
                case.insert("required".into(), Value::Array(required));
            }
            Value::Object(case)
        });
        let cases = json!({ "anyOf": cases.collect::<Vec<_>>() });
        conjoin(&mut narrowed, cases);
    }
    Some(Value::Object(narrowed))
}

/// The conditions of a rule at one level of the arguments.
#[derive(Default)]
struct Level {
    words: Option<Value>,
    must: bool,
    below: BTreeMap<Box<str>, Level>,
}

/// The conditions of one rule, as the `properties` and `required` of a schema.
fn constraints(schema: &Value, rule: &Args, claims: &Map<String, Value>) -> (Map<String, Value>, Vec<Value>) {
    let mut root = Level::default();
    for argument in rule.arguments() {
        let (words, must) = words(argument, default(schema, argument.path()), claims);
        let mut level = &mut root;
        for name in argument.path() {
            level = level.below.entry(name.clone()).or_default();
            // A required argument makes its parents required.
            level.must |= must;
        }
        level.words = Some(words);
    }
    root.parts()
}

impl Level {
    fn parts(self) -> (Map<String, Value>, Vec<Value>) {
        let required = self.below.iter().filter(|(_, level)| level.must).map(|(name, _)| json!(name)).collect();
        let properties = self.below.into_iter().map(|(name, level)| (name.into(), level.schema()));
        (properties.collect(), required)
    }

    fn schema(mut self) -> Value {
        let words = self.words.take().unwrap_or_else(|| json!({}));
        let Value::Object(mut schema) = words else { return words };
        let (properties, required) = self.parts();
        if !properties.is_empty() {
            schema.insert("properties".into(), Value::Object(properties));
        }
        if !required.is_empty() {
            schema.insert("required".into(), Value::Array(required));
        }
        Value::Object(schema)
    }
}

/// The conditions on one argument as a schema, and whether it is required, because its absence would not meet the rule.
fn words(argument: &Argument, default: Option<&Value>, claims: &Map<String, Value>) -> (Value, bool) {
    let mut written = Map::new();
    let mut must = argument.is_required();
    for word in argument.words() {
        match word {
            Word::Forbidden => return (Value::Bool(false), false),
            Word::Required => {}
            Word::Equals(Equals::Value(value)) => put(&mut written, "const", value.to_json()),
            Word::Equals(Equals::Template(template)) => match template.fill(claims) {
                Some(value) => put(&mut written, "const", value.to_json()),
                // Nothing equals a missing claim.
                None => return (Value::Bool(false), true),
            },
            Word::Enum(values) => put(&mut written, "enum", values.iter().map(Scalar::to_json).collect()),
            Word::Maximum(bound) => put(&mut written, "maximum", bound.to_json()),
            Word::Minimum(bound) => put(&mut written, "minimum", bound.to_json()),
            Word::MaxLength(bound) => put(&mut written, "maxLength", json!(bound)),
            Word::MinLength(least) => put(&mut written, "minLength", json!(least)),
            Word::Pattern(pattern) => put(&mut written, "pattern", json!(pattern.as_str())),
        }
    }
    let written = Value::Object(written);
    if let Some(default) = default {
        let broken = super::Schema::of_value(&json!({ "type": "object", "properties": { "d": written } }))
            .is_ok_and(|schema| schema.check_value(&json!({ "d": default })).is_err());
        must |= broken;
    }
    (written, must)
}

fn put(keywords: &mut Map<String, Value>, key: &str, value: Value) {
    keywords.insert(key.into(), value);
}

fn default<'a>(schema: &'a Value, path: &[Box<str>]) -> Option<&'a Value> {
    path.iter().try_fold(schema, |at, name| at.get("properties")?.get(&**name))?.get("default")
}

/// Forbids properties that neither the schema nor a rule names.
fn close(schema: &mut Map<String, Value>, rules: &[&Args]) {
    let open = schema.get("additionalProperties").is_none_or(|more| *more == Value::Bool(true));
    if !open || schema.contains_key("patternProperties") || schema.contains_key("$ref") || !is_plain(schema) {
        return;
    }
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        for name in rules.iter().flat_map(|rule| rule.arguments()).filter_map(|argument| argument.path().first()) {
            properties.entry(name.to_string()).or_insert_with(|| json!({}));
        }
    }
    schema.insert("additionalProperties".into(), Value::Bool(false));
}

/// Whether the schema names its properties directly, without combinators.
fn is_plain(schema: &Map<String, Value>) -> bool {
    !["allOf", "anyOf", "oneOf", "if", "dependentSchemas", "unevaluatedProperties"]
        .iter()
        .any(|key| schema.contains_key(*key))
}

/// Adds constraints to the properties of a schema.
fn merge(schema: &mut Map<String, Value>, constraints: &Map<String, Value>) {
    if constraints.is_empty() {
        return;
    }
    if schema.contains_key("$ref") {
        return conjoin(schema, json!({ "properties": constraints }));
    }
    let others = schema.get("additionalProperties").cloned();
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else { return };
    for (name, constraint) in constraints {
        match (properties.get_mut(name), constraint) {
            // In older dialects siblings of `$ref` are ignored.
            (Some(Value::Object(known)), Value::Object(constraint)) if !known.contains_key("$ref") => {
                narrow(known, constraint);
            }
            (Some(Value::Object(known)), Value::Object(constraint)) => {
                conjoin(known, Value::Object(constraint.clone()));
            }
            (Some(Value::Bool(false)), _) => {}
            (None, _) => {
                // For a property the upstream does not name, its `additionalProperties` applies too.
                let known = match &others {
                    None | Some(Value::Bool(true)) => constraint.clone(),
                    Some(Value::Bool(false)) => Value::Bool(false),
                    Some(others) => json!({ "allOf": [others, constraint] }),
                };
                properties.insert(name.clone(), known);
            }
            (Some(_), _) => {
                properties.insert(name.clone(), constraint.clone());
            }
        }
    }
}

/// Adds keywords to a property's schema: if both have one the narrower, or both if that cannot be decided.
fn narrow(known: &mut Map<String, Value>, constraint: &Map<String, Value>) {
    let mut rest = Map::new();
    for (key, value) in constraint {
        let both = known.get(key).cloned();
        match (key.as_str(), both) {
            ("properties", _) => {
                if let Some(inner) = value.as_object() {
                    merge(known, inner);
                }
            }
            ("required", _) => require(known, value.as_array().map(Vec::as_slice).unwrap_or_default()),
            (_, None) => put(known, key, value.clone()),
            ("maximum" | "maxLength", Some(other)) => put(known, key, lower(value, &other).clone()),
            ("minimum" | "minLength", Some(other)) => {
                let less = lower(value, &other) == value;
                put(known, key, if less { other } else { value.clone() });
            }
            ("enum", Some(Value::Array(other))) => {
                let common = other.iter().filter(|one| value.as_array().is_some_and(|mine| mine.contains(one)));
                put(known, key, common.cloned().collect());
            }
            (_, Some(other)) if other == *value => {}
            _ => put(&mut rest, key, value.clone()),
        }
    }
    if !rest.is_empty() {
        conjoin(known, Value::Object(rest));
    }
}

fn lower<'a>(one: &'a Value, other: &'a Value) -> &'a Value {
    match (one.as_f64(), other.as_f64()) {
        (Some(left), Some(right)) if right < left => other,
        _ => one,
    }
}

fn require(schema: &mut Map<String, Value>, names: &[Value]) {
    if names.is_empty() {
        return;
    }
    let required = schema.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        for name in names {
            if !required.contains(name) {
                required.push(name.clone());
            }
        }
    }
}

/// Adds a schema that must hold as well.
fn conjoin(schema: &mut Map<String, Value>, also: Value) {
    if let Some(reference) = schema.remove("$ref") {
        // In older dialects siblings of `$ref` are ignored.
        schema.insert("allOf".into(), json!([{ "$ref": reference }, also]));
        return;
    }
    match schema.get_mut("allOf") {
        Some(Value::Array(all)) => all.push(also),
        _ => match also {
            Value::Object(also) if also.keys().all(|key| !schema.contains_key(key)) => schema.extend(also),
            also => {
                schema.insert("allOf".into(), json!([also]));
            }
        },
    }
}

#[cfg(test)]
mod tests;
