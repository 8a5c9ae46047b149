//! A fast path to "valid": arguments of scalar values under a schema that uses only the common keywords.
//!
//! Whatever is not certain here is left to the validator, which also says what is wrong.

use serde_json::Value as Json;

use crate::json::{Kind, Value};

/// The most properties, as they are searched one by one.
const PROPERTIES: usize = 32;

/// A schema of an object of scalars, without relations between them.
#[derive(Debug)]
pub(super) struct Plain {
    properties: Box<[Property]>,
    /// The number of required ones.
    required: usize,
    /// Whether other properties are allowed.
    open: bool,
}

#[derive(Debug)]
struct Property {
    name: Box<str>,
    required: bool,
    must_be: Scalar,
}

#[derive(Debug)]
enum Scalar {
    Bool,
    /// From the first to the second, inclusive.
    Integer(i64, i64),
    /// A length in code points, and the values of `enum`, if any.
    String {
        least: u64,
        most: u64,
        of: Option<Box<[Box<str>]>>,
    },
}

impl Plain {
    /// Compiles the schema, if it uses only keywords supported here, which mean the same in every draft.
    pub(super) fn of(schema: &Json) -> Option<Self> {
        let schema = schema.as_object()?;
        let known =
            |word: &str| matches!(word, "$schema" | "type" | "properties" | "required" | "additionalProperties");
        if !schema.keys().all(|word| known(word) || is_remark(word)) || schema.get("type")? != "object" {
            return None;
        }
        let required = match schema.get("required") {
            None => Vec::new(),
            Some(names) => names.as_array()?.iter().map(Json::as_str).collect::<Option<Vec<_>>>()?,
        };
        let properties = match schema.get("properties") {
            None => Vec::new(),
            Some(properties) => {
                let read = |(name, property): (&String, &Json)| {
                    let required = required.contains(&name.as_str());
                    Some(Property { name: name.as_str().into(), required, must_be: Scalar::of(property)? })
                };
                properties.as_object()?.iter().map(read).collect::<Option<Vec<_>>>()?
            }
        };
        let open = match schema.get("additionalProperties") {
            None => true,
            Some(open) => open.as_bool()?,
        };
        let known = required.iter().all(|name| properties.iter().any(|property| *property.name == **name));
        if !known || properties.len() > PROPERTIES {
            return None;
        }
        let required = properties.iter().filter(|property| property.required).count();
        Some(Self { properties: properties.into(), required, open })
    }

    /// Whether `arguments` are certainly valid.
    pub(super) fn fits(&self, arguments: Value<'_>) -> bool {
        let mut required = 0;
        let fit = arguments.kind() == Kind::Object
            && arguments.members().all(|member| {
                let Some(name) = member.plain_name() else { return false };
                match self.properties.iter().find(|property| property.name.as_bytes() == name) {
                    Some(property) => {
                        required += usize::from(property.required);
                        property.must_be.fits(member.value)
                    }
                    None => self.open && is_single(member.value),
                }
            });
        fit && required == self.required
    }
}

impl Scalar {
    fn of(schema: &Json) -> Option<Self> {
        let schema = schema.as_object()?;
        let only =
            |words: &[&str]| schema.keys().all(|word| word == "type" || words.contains(&&**word) || is_remark(word));
        let bound = |word: &str, free| schema.get(word).map_or(Some(free), Json::as_i64);
        let length = |word: &str, free| schema.get(word).map_or(Some(free), Json::as_u64);
        match schema.get("type")?.as_str()? {
            "boolean" if only(&[]) => Some(Self::Bool),
            "integer" if only(&["minimum", "maximum"]) => {
                Some(Self::Integer(bound("minimum", i64::MIN)?, bound("maximum", i64::MAX)?))
            }
            "string" if only(&["minLength", "maxLength", "enum"]) => {
                let of = match schema.get("enum") {
                    None => None,
                    Some(words) => {
                        Some(words.as_array()?.iter().map(|word| Some(word.as_str()?.into())).collect::<Option<_>>()?)
                    }
                };
                Some(Self::String { least: length("minLength", 0)?, most: length("maxLength", u64::MAX)?, of })
            }
            _ => None,
        }
    }

    fn fits(&self, value: Value<'_>) -> bool {
        match self {
            Self::Bool => value.kind() == Kind::Bool,
            Self::Integer(least, most) => value.as_i64().is_some_and(|number| (*least..=*most).contains(&number)),
            Self::String { least, most, of } => {
                let Some(text) = value.plain_text() else { return false };
                // A code point takes one to four bytes.
                let bytes = text.len() as u64;
                bytes / 4 >= *least
                    && bytes <= *most
                    && of.as_ref().is_none_or(|words| words.iter().any(|word| word.as_bytes() == text))
            }
        }
    }
}

/// Whether a keyword is an annotation without effect on validity.
fn is_remark(word: &str) -> bool {
    matches!(word, "title" | "description" | "default" | "examples") || word.starts_with("x-")
}

/// Whether it is a scalar that every parser reads as the same value.
fn is_single(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::Bool | Kind::Null | Kind::String => true,
        Kind::Number => value.as_i64().is_some(),
        Kind::Array | Kind::Key | Kind::Object => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Schema;
    use super::Plain;
    use crate::json::{Document, Limits};

    fn document(text: &str) -> Document {
        Document::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::REQUEST).unwrap()
    }

    #[test]
    fn takes_the_short_way_for_what_most_tools_ask() {
        let schema = json!({
            "type": "object", "title": "search", "additionalProperties": false, "required": ["query"],
            "properties": {
                "query": {"type": "string", "description": "free text", "maxLength": 8},
                "limit": {"type": "integer", "minimum": 0, "maximum": 50, "x-mcp-header": "Limit"},
                "order": {"type": "string", "enum": ["newest", "oldest"]},
                "all": {"type": "boolean"},
            },
        });
        let plain = Plain::of(&schema).unwrap();
        for fits in [r#"{"query":"tickets"}"#, r#"{"query":"","limit":50,"order":"newest","all":false}"#] {
            assert!(plain.fits(document(fits).root()), "{fits}");
        }
        for unsure in [
            r#"{"query":"ticketsss"}"#,
            r#"{"query":"t\u0069"}"#,
            r#"{"qu\u0065ry":"t"}"#,
            r#"{"query":"t","limit":51}"#,
            r#"{"query":"t","limit":1.0}"#,
            r#"{"query":"t","limit":"1"}"#,
            r#"{"query":"t","order":"best"}"#,
            r#"{"query":"t","other":1}"#,
            r#"{"limit":1}"#,
            "[]",
        ] {
            assert!(!plain.fits(document(unsure).root()), "{unsure}");
        }
    }

    #[test]
    fn leaves_what_it_does_not_know_to_the_validator() {
        for schema in [
            json!({"type": "object", "minProperties": 1}),
            json!({"type": "object", "required": ["unlisted"]}),
            json!({"type": ["object", "null"]}),
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^a"}}}),
            json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 0.5}}}),
            json!({"type": "object", "properties": {"a": {"type": "number"}}}),
            json!({"type": "object", "properties": {"a": true}}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
        ] {
            assert!(Plain::of(&schema).is_none(), "{schema}");
        }
    }

    fn scalar() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            Just(json!({"type": "boolean"})),
            (-3..3_i64, -3..3_i64)
                .prop_map(|(least, most)| json!({"type": "integer", "minimum": least, "maximum": most})),
            (0..4_u64, 0..6_u64)
                .prop_map(|(least, most)| json!({"type": "string", "minLength": least, "maxLength": most})),
            Just(json!({"type": "string", "enum": ["a", "é"], "description": "x"})),
        ]
    }

    proptest! {
        #[test]
        fn its_yes_is_the_validators(
            one in scalar(), two in scalar(), open in any::<bool>(), both in any::<bool>(),
            values in prop::collection::vec(
                prop_oneof![Just("true"), Just("-2"), Just("2"), Just("2.0"), Just("\"a\""), Just("\"é\""), Just("\"aé𝄞aaaa\""),
                    Just("null"), Just("[]"), Just("1e400"), Just("\"\"")], 3),
            named in 0..8_usize,
        ) {
            let required: &[&str] = if both { &["one", "two"] } else { &["one"] };
            let schema = json!({
                "type": "object", "properties": {"one": one, "two": two}, "required": required, "additionalProperties": open,
            });
            let names = ["one", "two", "three"].iter().enumerate().filter(|(at, _)| named >> at & 1 == 1);
            let members: Vec<_> = names.map(|(at, name)| format!("\"{name}\":{}", values[at])).collect();
            let document = document(&format!("{{{}}}", members.join(",")));
            if Plain::of(&schema).unwrap().fits(document.root()) {
                let full = Schema { plain: None, ..Schema::of_value(&schema).unwrap() };
                prop_assert_eq!(full.check(Some(document.root())), Ok(()));
            }
        }
    }
}
