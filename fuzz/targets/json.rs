//! The scan of JSON beside `serde_json`: the same texts pass, but for what the scan refuses on purpose, and mean the same.

#![cfg_attr(feature = "libfuzzer", no_main)]

#[macro_use]
mod driver;

use std::fmt;

use bytes::Bytes;
use portcullis::json::{Document, ErrorKind, Kind, Limits, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Map;

/// A value none of whose objects has a key twice.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = serde_json::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if all.insert(name, members.next_value_seed(Self)?).is_some() {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(all.into())
    }
}

fn strict(input: &[u8]) -> Result<serde_json::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(input);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

/// The same value, by the nodes of the index.
fn rebuilt(value: Value<'_>) -> serde_json::Value {
    match value.kind() {
        Kind::Array => value.items().map(rebuilt).collect(),
        Kind::Object => value
            .members()
            .map(|member| (member.name().into_owned(), rebuilt(member.value)))
            .collect::<Map<_, _>>()
            .into(),
        Kind::String => value.as_str().into(),
        Kind::Bool => value.as_bool().into(),
        Kind::Key | Kind::Null | Kind::Number => value.to_value(),
    }
}

fn scan(input: &[u8]) {
    let limits = Limits { depth: 64, members: 10_000 };
    match (Document::parse(Bytes::copy_from_slice(input), &limits), strict(input)) {
        (Ok(document), Ok(value)) => assert_eq!(rebuilt(document.root()), value),
        // RFC 8259 section 6 leaves it to the reader how large a number may be.
        (Ok(_), Err(error)) => assert!(error.to_string().contains("number out of range"), "{error}"),
        (Err(error), theirs) => {
            assert!(error.offset <= input.len());
            let is_bound = matches!(error.kind, ErrorKind::TooDeep | ErrorKind::TooMany);
            assert!(theirs.is_err() || is_bound, "{error}");
        }
    }
}

target!(
    scan,
    [
        b"{".as_slice(),
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"a\":",
        b"\"b\":",
        b"\"\\u0061\":",
        b"{\"a\":1,\"b\":[true,null],\"c\":{\"a\":\"\"}}",
        b"{\"a\":1,\"b\":{\"a\":2},\"a\":3}",
        b"[{\"a\":1,\"\\u0061\":2}]",
        b"\"a long text that is more than a block of sixty-four bytes and goes on \\\" behind an escape\"",
        b"\"\\ud83d\\ude00\"",
        b"\"\\ud83d",
        b"-0.5e+1",
        b"01",
        b"1e999",
        b"false",
        b"\n",
        b" ",
        "\"é\u{1f600}\"".as_bytes(),
        b"\"\\n",
        b"\"",
        b"\x01",
        b"\xff",
        "\u{feff}".as_bytes(),
    ]
);
