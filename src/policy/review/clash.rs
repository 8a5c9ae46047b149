//! Whether a rule's condition on an argument can be met by any value the tool's input schema allows.
//!
//! Keywords that are not understood here are taken to allow everything, so that whatever is reported really clashes.

use serde_json::{Map, Value as Json};

use super::disjoint::are_disjoint;
use crate::policy::args::{Argument, Equals, Number, Scalar, Word};
use crate::policy::schema::Schema;

/// The most cases of a schema that are examined, and the deepest nesting of references.
const CASES: usize = 64;
const DEEP: usize = 16;

/// How a rule's argument fits a schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// There is no such argument; the names there are.
    Absent(Vec<String>),
    /// A condition that no allowed value can meet: its index, and what the schema requires.
    Clash(usize, String),
    /// The conditions can be met, or that cannot be decided.
    Fits,
}

/// One case of a schema: subschemas that must all hold.
type Case<'a> = Vec<&'a Map<String, Json>>;

/// What a case says about a property.
enum Member<'a> {
    /// It does not exist: others are named, and no more are allowed.
    Absent,
    /// The schemas for it.
    Named(Vec<&'a Json>),
    /// Undecided.
    Open,
}

/// Compares the conditions on `argument` with the input schema `root`.
pub(super) fn look(root: &Json, argument: &Argument) -> Fit {
    let schema = Schemas(root);
    let Some(mut cases) = schema.cases(&[root]) else { return Fit::Fits };
    let mut required = true;
    for name in argument.path() {
        let known: Vec<String> = cases.iter().flat_map(|case| names(case)).collect();
        required = required && cases.iter().all(|case| requires(case, name));
        let mut below = Vec::new();
        let mut open = false;
        for case in &cases {
            match member(case, name) {
                Member::Absent => {}
                Member::Named(schemas) => match schema.cases(&schemas) {
                    Some(more) => below.extend(more),
                    None => return Fit::Fits,
                },
                Member::Open => open = true,
            }
        }
        if open || below.len() > CASES {
            return Fit::Fits;
        }
        if below.is_empty() && cases.iter().all(|case| matches!(member(case, name), Member::Absent)) {
            return Fit::Absent(known);
        }
        cases = below;
    }
    let words: Vec<&Word> = argument.words().collect();
    if let Some(at) = words.iter().position(|word| matches!(word, Word::Forbidden)) {
        return if required { Fit::Clash(at, "the schema requires it".into()) } else { Fit::Fits };
    }
    let found: Option<Vec<(usize, String)>> = cases.iter().map(|case| schema.clash(case, &words)).collect();
    match found {
        None => Fit::Fits,
        // For an optional value, the case other than `null` is the better explanation.
        Some(clashes) => {
            let telling = clashes.iter().zip(&cases).find(|(_, case)| types(case) != NULL).map(|(clash, _)| clash);
            let (at, why) =
                telling.or(clashes.first()).cloned().unwrap_or((0, "the schema lets nothing be there".into()));
            Fit::Clash(at, why)
        }
    }
}

/// The names of a case's properties.
fn names(case: &Case<'_>) -> Vec<String> {
    let properties = case.iter().filter_map(|part| part.get("properties")?.as_object());
    properties.flat_map(Map::keys).cloned().collect()
}

fn requires(case: &Case<'_>, name: &str) -> bool {
    let required = case.iter().filter_map(|part| part.get("required")?.as_array()).flatten();
    required.into_iter().any(|one| one == name)
}

fn member<'a>(case: &Case<'a>, name: &str) -> Member<'a> {
    let named: Vec<&Json> = case.iter().filter_map(|part| part.get("properties")?.get(name)).collect();
    if !named.is_empty() {
        return Member::Named(named);
    }
    let says = |key: &str| case.iter().any(|part| part.contains_key(key));
    let closed = |part: &&Map<String, Json>| part.get("additionalProperties") == Some(&Json::Bool(false));
    let elsewhere = ["patternProperties", "$dynamicRef", "$recursiveRef", "dependentSchemas", "if", "not"];
    if elsewhere.into_iter().any(says) {
        return Member::Open;
    }
    match (case.iter().any(closed), says("additionalProperties"), says("properties")) {
        (true, _, _) | (false, false, true) => Member::Absent,
        (false, _, _) => Member::Open,
    }
}

/// The schemas of one document.
struct Schemas<'a>(&'a Json);

impl<'a> Schemas<'a> {
    /// The cases of schemas that must all hold; `None` if there are too many, empty if they allow nothing.
    fn cases(&self, schemas: &[&'a Json]) -> Option<Vec<Case<'a>>> {
        self.product(schemas, 0)
    }

    fn product(&self, schemas: &[&'a Json], depth: usize) -> Option<Vec<Case<'a>>> {
        let mut all: Vec<Case<'a>> = vec![Vec::new()];
        for schema in schemas {
            let more = self.of_one(schema, depth)?;
            all = all.iter().flat_map(|one| more.iter().map(|other| [one.as_slice(), other].concat())).collect();
            if all.len() > CASES {
                return None;
            }
        }
        Some(all)
    }

    fn of_one(&self, schema: &'a Json, depth: usize) -> Option<Vec<Case<'a>>> {
        let members = match schema {
            Json::Bool(false) => return Some(Vec::new()),
            Json::Object(members) if depth < DEEP => members,
            Json::Object(_) => return None,
            _ => return Some(vec![Vec::new()]),
        };
        let mut together: Vec<&'a Json> = Vec::new();
        if let Some(reference) = members.get("$ref").and_then(Json::as_str) {
            let local = reference.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/'));
            together.push(self.0.pointer(local?)?);
        }
        together.extend(members.get("allOf").and_then(Json::as_array).into_iter().flatten());
        let mut cases = self.product(&together, depth + 1)?;
        for key in ["anyOf", "oneOf"] {
            let Some(options) = members.get(key).and_then(Json::as_array) else { continue };
            let mut either = Vec::new();
            for option in options {
                either.extend(self.of_one(option, depth + 1)?);
            }
            cases = cases.iter().flat_map(|one| either.iter().map(|other| [one.as_slice(), other].concat())).collect();
            if cases.len() > CASES {
                return None;
            }
        }
        Some(cases.into_iter().map(|case| [&[members], case.as_slice()].concat()).collect())
    }

    /// The first condition that no value of that case can meet.
    fn clash(&self, case: &Case<'a>, words: &[&Word]) -> Option<(usize, String)> {
        let types = types(case);
        for (at, word) in words.iter().enumerate() {
            if wanted(word) & types == 0 {
                return Some((at, format!("the schema wants {}", told(types))));
            }
        }
        self.no_value_of_the_rule(case, words)
            .or_else(|| no_value_of_the_schema(case, words))
            .or_else(|| beyond_bounds(case, types, words))
            .or_else(|| no_common_text(case, words))
    }

    /// `equals` or `enum` if the schema allows none of its values.
    fn no_value_of_the_rule(&self, case: &Case<'a>, words: &[&Word]) -> Option<(usize, String)> {
        let at = words.iter().position(|word| matches!(word, Word::Equals(Equals::Value(_)) | Word::Enum(_)))?;
        let values = match words[at] {
            Word::Equals(Equals::Value(value)) => std::slice::from_ref(value),
            Word::Enum(values) => values,
            _ => return None,
        };
        let value = Json::Array(case.iter().map(|part| Json::Object((*part).clone())).collect());
        let mut whole = Map::from_iter([
            ("type".to_owned(), "object".into()),
            ("properties".to_owned(), serde_json::json!({ "value": { "allOf": value } })),
        ]);
        for key in ["$defs", "$schema", "definitions"] {
            whole.extend(self.0.get(key).map(|known| (key.to_owned(), known.clone())));
        }
        let schema = Schema::of_value(&Json::Object(whole)).ok()?;
        let fits = |value: &Scalar| schema.check_value(&serde_json::json!({ "value": value.to_json() })).is_ok();
        if values.iter().any(fits) {
            return None;
        }
        let why = match options(case) {
            Some(options) => format!("the schema wants {}", listed(&options)),
            None if values.len() == 1 => "the schema does not allow this value".into(),
            None => "the schema allows none of these".into(),
        };
        Some((at, why))
    }
}

const NULL: u8 = 1;
const BOOL: u8 = 2;
const NUMBER: u8 = 4;
const FRACTION: u8 = 8;
const TEXT: u8 = 16;
const OBJECT: u8 = 32;
const ARRAY: u8 = 64;
const ANY: u8 = 127;

/// The JSON types by their names in a schema. Integers are a part of numbers.
const TYPES: [(&str, u8); 7] = [
    ("null", NULL),
    ("boolean", BOOL),
    ("number", NUMBER | FRACTION),
    ("integer", NUMBER),
    ("string", TEXT),
    ("object", OBJECT),
    ("array", ARRAY),
];

/// The types a case allows.
fn types(case: &Case<'_>) -> u8 {
    let of = |name: &Json| TYPES.iter().find(|(known, _)| name == known).map_or(ANY, |(_, bits)| *bits);
    let of_part = |part: &&Map<String, Json>| match part.get("type") {
        None => ANY,
        Some(Json::Array(names)) => names.iter().map(of).fold(0, |sum, bits| sum | bits),
        Some(name) => of(name),
    };
    case.iter().map(of_part).fold(ANY, |left, bits| left & bits)
}

/// The types that can meet a condition.
fn wanted(word: &Word) -> u8 {
    let of = |value: &Scalar| match value {
        Scalar::Bool(_) => BOOL,
        Scalar::Number(number) if number.value().fract() == 0.0 => NUMBER,
        Scalar::Number(_) => FRACTION,
        Scalar::Text(_) => TEXT,
    };
    match word {
        Word::Enum(values) => values.iter().map(of).fold(0, |sum, bits| sum | bits),
        Word::Equals(Equals::Value(value)) => of(value),
        Word::Equals(Equals::Template(_)) => BOOL | NUMBER | FRACTION | TEXT,
        Word::Forbidden | Word::Required => ANY,
        Word::Maximum(_) | Word::Minimum(_) => NUMBER | FRACTION,
        Word::MaxLength(_) | Word::MinLength(_) | Word::Pattern(_) => TEXT,
    }
}

/// The types in words, as in `text or null`.
fn told(types: u8) -> String {
    let kinds = [
        (TEXT, "text"),
        (NUMBER | FRACTION, "a number"),
        (NUMBER, "a whole number"),
        (BOOL, "true or false"),
        (OBJECT, "an object"),
        (ARRAY, "a list"),
        (NULL, "null"),
    ];
    let mut left = types;
    let mut names = Vec::new();
    for (bits, name) in kinds {
        if left & bits == bits {
            names.push(name);
            left &= !bits;
        }
    }
    if names.is_empty() { "nothing".into() } else { names.join(" or ") }
}

/// The values a case lists, if it does.
fn options(case: &Case<'_>) -> Option<Vec<Json>> {
    case.iter().find_map(|part| match (part.get("const"), part.get("enum")) {
        (Some(only), _) => Some(vec![only.clone()]),
        (None, Some(Json::Array(all))) => Some(all.clone()),
        (None, _) => None,
    })
}

/// The first options, as truncated JSON.
fn listed(options: &[Json]) -> String {
    let shown: Vec<String> =
        options.iter().take(5).map(|one| one.to_string().chars().take(40).collect::<String>()).collect();
    let more = if options.len() > shown.len() { ", …" } else { "" };
    format!("one of {}{more}", shown.join(", "))
}

/// A condition of those that together exclude all values the case lists.
fn no_value_of_the_schema(case: &Case<'_>, words: &[&Word]) -> Option<(usize, String)> {
    let options = options(case)?;
    let fails = |value: &Json| words.iter().position(|word| !word.may_be(value));
    let first: Option<Vec<usize>> = options.iter().map(fails).collect();
    let at = first?.into_iter().max().unwrap_or_default();
    Some((at, format!("the schema wants {}", listed(&options))))
}

/// The narrowest value of a keyword in the case, by `better`.
fn bound(case: &Case<'_>, key: &str, better: fn(f64, f64) -> f64) -> Option<f64> {
    case.iter().filter_map(|part| part.get(key)?.as_f64()).reduce(better)
}

/// A bound with which the rule's range of numbers or lengths and the schema's have nothing in common.
fn beyond_bounds(case: &Case<'_>, types: u8, words: &[&Word]) -> Option<(usize, String)> {
    let lowest = bound(case, "minimum", f64::max);
    let highest = bound(case, "maximum", f64::min);
    let over = bound(case, "exclusiveMinimum", f64::max);
    let under = bound(case, "exclusiveMaximum", f64::min);
    let shortest = bound(case, "minLength", f64::max);
    let longest = bound(case, "maxLength", f64::min);
    let wholes = types & FRACTION == 0;
    let said = |word: &str, value: f64| format!("the schema has `{word}` {value}");
    for (at, word) in words.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "compared with what JSON can say of a length")]
        let clash = match word {
            Word::Maximum(bound) => {
                let bound = whole(*bound, wholes, f64::floor);
                lowest
                    .filter(|floor| bound < *floor)
                    .map(|floor| said("minimum", floor))
                    .or_else(|| over.filter(|floor| bound <= *floor).map(|floor| said("exclusiveMinimum", floor)))
            }
            Word::Minimum(bound) => {
                let bound = whole(*bound, wholes, f64::ceil);
                highest.filter(|ceiling| bound > *ceiling).map(|ceiling| said("maximum", ceiling)).or_else(|| {
                    under.filter(|ceiling| bound >= *ceiling).map(|ceiling| said("exclusiveMaximum", ceiling))
                })
            }
            Word::MaxLength(length) => {
                shortest.filter(|floor| (*length as f64) < *floor).map(|floor| said("minLength", floor))
            }
            Word::MinLength(length) => {
                longest.filter(|ceiling| (*length as f64) > *ceiling).map(|ceiling| said("maxLength", ceiling))
            }
            _ => None,
        };
        if let Some(why) = clash {
            return Some((at, why));
        }
    }
    None
}

/// The bound, rounded inward to an integer if only integers are allowed.
fn whole(bound: Number, wholes: bool, round: fn(f64) -> f64) -> f64 {
    if wholes { round(bound.value()) } else { bound.value() }
}

/// A pattern whose matches begin or end differently than those of the schema's.
fn no_common_text(case: &Case<'_>, words: &[&Word]) -> Option<(usize, String)> {
    let theirs: Vec<&str> = case.iter().filter_map(|part| part.get("pattern")?.as_str()).collect();
    for (at, word) in words.iter().enumerate() {
        let Word::Pattern(own) = word else { continue };
        if let Some(other) = theirs.iter().find(|other| are_disjoint(own.as_str(), other)) {
            let other: String = other.chars().take(80).collect();
            return Some((at, format!("the schema has `pattern` {}", Json::String(other))));
        }
    }
    None
}
