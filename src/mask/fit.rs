//! Replacements that conform to the tool's schema (MCP 2025-06-18, "Structured Content": clients validate it).
//!
//! The usual replacement may have the wrong format, be too short or not be in an enumeration. If the tool's schema then rejects
//! data it accepted before, other replacements its place allows are tried for each changed value; if none fits, the message
//! is refused.

mod place;
mod sample;
mod stand_in;

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::Direction;
use super::engine::{Edit, apply};
use crate::json::{Document, Kind, Limits, Span, Value};
use crate::policy::schema::Schema;
use place::{candidates, places};
pub(super) use stand_in::is_stand_in;

/// The most candidates validated for one message.
const TRIALS: usize = 256;

/// The schema of a tool's arguments or structured content.
#[derive(Debug)]
pub struct Shape {
    schema: Schema,
    source: Json,
    /// The names of properties anywhere in the schema.
    names: HashSet<Box<str>>,
}

impl Shape {
    /// Compiles a schema; `None` if it cannot be used.
    pub(crate) fn new(source: Json) -> Option<Self> {
        let schema = Schema::strict(&source).ok()?;
        let mut names = HashSet::new();
        gather(&source, &mut names);
        Some(Self { schema, source, names })
    }

    /// Whether the schema has a property of that name, which is then no secret.
    pub(super) fn names(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn takes(&self, value: &Json) -> bool {
        self.schema.check_value(value).is_ok()
    }
}

fn gather(schema: &Json, names: &mut HashSet<Box<str>>) {
    match schema {
        Json::Array(items) => items.iter().for_each(|item| gather(item, names)),
        Json::Object(members) => {
            let properties = members.get("properties").and_then(Json::as_object);
            names.extend(
                properties.into_iter().flat_map(|properties| properties.keys()).map(|name| name.as_str().into()),
            );
            members.values().for_each(|member| gather(member, names));
        }
        Json::Bool(_) | Json::Null | Json::Number(_) | Json::String(_) => {}
    }
}

/// The data in the params or the result of a message that the schema describes.
pub(super) fn part(direction: Direction, value: Value<'_>) -> Option<Value<'_>> {
    match direction {
        Direction::Arguments => value.get("arguments"),
        Direction::Result => value.get("structuredContent").or_else(|| value.pointer("/result/structuredContent")),
    }
}

/// JSON literals that replace values whose usual replacement violates the schema.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    part: Option<Span>,
    /// By the position of the value.
    at: HashMap<usize, String>,
    /// By the value, for its copies outside the data.
    of: HashMap<Box<str>, String>,
}

impl Fitted {
    /// The replacement for a value that is a whole literal at `span`; `outermost` if that is in the message itself, not in JSON
    /// embedded in a string.
    pub(super) fn literal(&self, span: Span, text: &str, outermost: bool) -> Option<&str> {
        let inside = outermost && self.part.is_some_and(|part| part.start <= span.start && span.end <= part.end);
        let literal = if inside { self.at.get(&span.start) } else { self.of.get(text) };
        literal.map(String::as_str)
    }
}

/// The result of validating masked data.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is as valid as before.
    Fits,
    /// It is valid with these instead of the usual replacements.
    Instead(Fitted),
    /// No replacements make it valid.
    Nothing,
}

/// A changed value.
struct Leaf {
    start: usize,
    /// Its JSON Pointer (RFC 6901) in the data before and after masking, which can differ in masked keys.
    before: String,
    after: String,
    /// The original value: a decoded string, or a number as written.
    text: Box<str>,
}

/// Validates `part` with those of the message's `edits` that are within it.
pub(super) fn fit(shape: &Shape, part: Value<'_>, edits: &[Edit]) -> Outcome {
    let span = part.span();
    let mut inside: Vec<Edit> = edits
        .iter()
        .filter(|edit| span.start <= edit.start && edit.end <= span.end)
        .map(|edit| Edit { start: edit.start - span.start, end: edit.end - span.start, text: edit.text.clone() })
        .collect();
    if inside.is_empty() {
        return Outcome::Fits;
    }
    inside.sort_by_key(|edit| edit.start);
    let Ok(raw) = std::str::from_utf8(part.raw()) else { return Outcome::Nothing };
    let Ok(masked) = Document::parse(apply(raw, &inside).into(), &Limits::ANSWER) else { return Outcome::Nothing };
    // Data that serde_json cannot read was not valid before either.
    let (Ok(before), Ok(after)) = (serde_json::from_str::<Json>(raw), serde_json::from_slice(masked.bytes())) else {
        return Outcome::Fits;
    };
    if shape.takes(&after) || !shape.takes(&before) {
        return Outcome::Fits;
    }
    let mut leaves = Vec::new();
    compare(part, masked.root(), (String::new(), String::new()), &mut leaves);
    Trial { shape, before, after, left: TRIALS, known: HashMap::new() }.run(span, &leaves)
}

/// Collects every scalar that differs.
fn compare(before: Value<'_>, after: Value<'_>, at: (String, String), leaves: &mut Vec<Leaf>) {
    let below = |(before, after): &(String, String), one: &str, other: &str| {
        let step = |path: &str, name: &str| format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        (step(before, one), step(after, other))
    };
    match before.kind() {
        Kind::Array => {
            for (index, (one, other)) in before.items().zip(after.items()).enumerate() {
                let name = index.to_string();
                compare(one, other, below(&at, &name, &name), leaves);
            }
        }
        Kind::Object => {
            for (one, other) in before.members().zip(after.members()) {
                compare(one.value, other.value, below(&at, &one.name(), &other.name()), leaves);
            }
        }
        Kind::Number | Kind::String if before.raw() != after.raw() => {
            let written = || String::from_utf8_lossy(before.raw());
            let text = before.as_str().unwrap_or_else(written).into_owned().into();
            leaves.push(Leaf { start: before.span().start, before: at.0, after: at.1, text });
        }
        Kind::Bool | Kind::Key | Kind::Null | Kind::Number | Kind::String => {}
    }
}

/// The search for replacements.
struct Trial<'s> {
    shape: &'s Shape,
    before: Json,
    after: Json,
    left: usize,
    /// Replacements chosen before, by schema and usual replacement: rows of a table are alike.
    known: HashMap<(Vec<usize>, String), Json>,
}

impl Trial<'_> {
    fn run(mut self, part: Span, leaves: &[Leaf]) -> Outcome {
        let mut fitted = Fitted { part: Some(part), ..Fitted::default() };
        for leaf in leaves {
            let Some(written) = self.after.pointer(&leaf.after).cloned() else { return Outcome::Nothing };
            let Some(chosen) = self.choose(leaf, &written) else { return Outcome::Nothing };
            if chosen != written {
                self.write(leaf, chosen, &mut fitted);
            }
        }
        if !self.shape.takes(&self.after) {
            self.tell_apart(leaves, &mut fitted);
        }
        if self.shape.takes(&self.after) { Outcome::Instead(fitted) } else { Outcome::Nothing }
    }

    fn write(&mut self, leaf: &Leaf, chosen: Json, fitted: &mut Fitted) {
        fitted.at.insert(leaf.start, chosen.to_string());
        fitted.of.insert(leaf.text.clone(), chosen.to_string());
        if let Some(place) = self.after.pointer_mut(&leaf.after) {
            *place = chosen;
        }
    }

    /// The first replacement with which the data is valid when everything else is as before masking.
    fn choose(&mut self, leaf: &Leaf, written: &Json) -> Option<Json> {
        let schemas = places(&self.shape.source, &leaf.before);
        let alike = (schemas.iter().map(|schema| std::ptr::from_ref(*schema) as usize).collect(), written.to_string());
        let original = self.before.pointer(&leaf.before)?.clone();
        if let Some(known) = self.known.get(&alike) {
            return Some(known.clone());
        }
        for candidate in std::iter::once(written.clone()).chain(candidates(&schemas, &original, written)) {
            self.left = self.left.checked_sub(1)?;
            *self.before.pointer_mut(&leaf.before)? = candidate.clone();
            let fits = self.shape.takes(&self.before);
            *self.before.pointer_mut(&leaf.before)? = original.clone();
            if fits {
                // A listed value stays; the next value at such a place may not be listed.
                if candidate != original {
                    self.known.insert(alike, candidate.clone());
                }
                return Some(candidate);
            }
        }
        None
    }

    /// Numbers equal replacements of different values under one parent, for `uniqueItems`.
    fn tell_apart(&mut self, leaves: &[Leaf], fitted: &mut Fitted) {
        let mut seen: HashMap<(&str, String), (&str, usize)> = HashMap::new();
        let mut numbers: HashMap<&str, String> = HashMap::new();
        for leaf in leaves {
            let parent = leaf.after.rsplit_once('/').map_or("", |(parent, _)| parent);
            let Some(Json::String(written)) = self.after.pointer(&leaf.after).cloned() else { continue };
            let (first, count) = seen.entry((parent, written.clone())).or_insert((&leaf.text, 0));
            if *first != &*leaf.text || *count == 0 {
                *count += 1;
            }
            if *count > 1 {
                let numbered =
                    numbers.entry(&leaf.text).or_insert_with(|| stand_in::numbered(&written, *count)).clone();
                self.write(leaf, numbered.into(), fitted);
            }
        }
    }
}

#[cfg(test)]
mod tests;
