//! The subschemas for one place in the data, and candidate values for it.

use serde_json::{Number, Value as Json};

use super::sample::sample;
use super::stand_in::{of_format, of_length};

/// The most subschemas examined for one place.
const MOST: usize = 200;

/// Every subschema of `root` that may apply to the value at `pointer`, in any of the alternatives.
pub(super) fn places<'s>(root: &'s Json, pointer: &str) -> Vec<&'s Json> {
    let mut here = with_applied(root, vec![root]);
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let below = here.iter().flat_map(|schema| step(schema, &name)).collect();
        here = with_applied(root, below);
    }
    here
}

/// `schemas` with those they reference and combine, recursively.
fn with_applied<'s>(root: &'s Json, mut schemas: Vec<&'s Json>) -> Vec<&'s Json> {
    let mut at = 0;
    while let Some(schema) = schemas.get(at).copied().filter(|_| schemas.len() < MOST) {
        at += 1;
        let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
        let single = ["then", "else"].into_iter().filter_map(|word| schema.get(word));
        let referred = schema.get("$ref").and_then(Json::as_str).and_then(|to| root.pointer(to.strip_prefix('#')?));
        for further in lists.chain(single).chain(referred) {
            if !schemas.iter().any(|known| std::ptr::eq(*known, further)) {
                schemas.push(further);
            }
        }
    }
    schemas
}

/// The subschemas of `schema` for a member or item of its value.
fn step<'s>(schema: &'s Json, name: &str) -> Vec<&'s Json> {
    if let Some(property) = schema.get("properties").and_then(|properties| properties.get(name)) {
        return vec![property];
    }
    let prefix = || schema.get("prefixItems")?.as_array()?.get(name.parse::<usize>().ok()?);
    if let Some(item) = prefix() {
        return vec![item];
    }
    let patterns = schema.get("patternProperties").and_then(Json::as_object);
    let others = ["additionalProperties", "items", "unevaluatedProperties", "unevaluatedItems"];
    let others = others.into_iter().filter_map(|word| schema.get(word).filter(|schema| schema.is_object()));
    patterns.into_iter().flat_map(|patterns| patterns.values()).chain(others).collect()
}

/// Candidates to replace `original` under these schemas when `written` is not valid; the plainest first.
pub(super) fn candidates(schemas: &[&Json], original: &Json, written: &Json) -> Vec<Json> {
    let mut found: Vec<Json> = Vec::new();
    let listed = |schema: &&Json| -> bool {
        schema.get("const") == Some(original)
            || schema.get("enum").and_then(Json::as_array).is_some_and(|options| options.contains(original))
    };
    // Whoever sees the schema knows the values it lists.
    let shown = schemas.iter().any(listed);
    if shown {
        found.push(original.clone());
    }
    if original.is_number() {
        found.extend(numbers(schemas));
    } else if let Some(written) = written.as_str() {
        found.extend(texts(schemas, written).into_iter().map(Json::from));
    }
    let may_be_null = |schema: &&&Json| {
        let kind = schema.get("type");
        kind.is_some_and(|kind| {
            kind == "null" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"))
        })
    };
    if schemas.iter().any(|schema| may_be_null(&schema)) {
        found.push(Json::Null);
    }
    // A pattern may match only the original.
    found.retain(|candidate| candidate != original || shown);
    found
}

fn texts(schemas: &[&Json], written: &str) -> Vec<String> {
    let count = |word: &str, most: bool| {
        let all = schemas.iter().filter_map(|schema| usize::try_from(schema.get(word)?.as_u64()?).ok());
        if most { all.min() } else { all.max() }
    };
    let (least, most) = (count("minLength", false).unwrap_or(0), count("maxLength", true).unwrap_or(usize::MAX));
    let formats = schemas.iter().filter_map(|schema| of_format(schema.get("format")?.as_str()?)).map(str::to_owned);
    let patterns = schemas.iter().filter_map(|schema| schema.get("pattern")?.as_str());
    let samples =
        patterns.flat_map(|pattern| [0, least, most.min(least.saturating_add(8))].map(|more| sample(pattern, more)));
    let mut found: Vec<String> = formats.chain(samples.flatten()).collect();
    let fitted = std::iter::once(written).chain(found.iter().map(String::as_str));
    let fitted: Vec<String> = fitted.filter_map(|text| of_length(text, least, most)).collect();
    found.extend(fitted);
    found.extend([String::new(), "x".to_owned()]);
    found.dedup();
    found
}

fn numbers(schemas: &[&Json]) -> Vec<Json> {
    let bounds = |word: &'static str, by: i64| {
        schemas.iter().filter_map(move |schema| {
            let bound = schema.get(word)?;
            let whole = bound.as_i64().and_then(|bound| bound.checked_add(by)).map(Json::from);
            #[expect(clippy::cast_precision_loss, reason = "one or none")]
            let part = || Number::from_f64(bound.as_f64()? + by as f64).map(Json::from);
            whole.or_else(part)
        })
    };
    bounds("minimum", 0)
        .chain(bounds("exclusiveMinimum", 1))
        .chain(bounds("multipleOf", 0))
        .chain(bounds("maximum", 0))
        .chain(bounds("exclusiveMaximum", -1))
        .collect()
}
