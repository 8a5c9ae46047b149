use serde_json::{Value as Json, json};

use super::sample::sample;
use crate::json::Splice;
use crate::mask::tests::{document, entities};
use crate::mask::{Action, Direction, Entity, Findings, Masks, View};
use crate::policy::tools::Tools;

/// The masked form of data with the schema `schema`, wherever a message has it; `None` if it is refused.
fn masked(schema: &Json, data: &Json) -> Option<Json> {
    let masks = Masks::compile(vec![entities("m", &Entity::ALL, Action::Redact)]).unwrap();
    let definition = json!({ "name": "x", "inputSchema": schema, "outputSchema": schema }).to_string();
    let tool = Tools::default().tool(document(&definition).root()).unwrap();
    let view = View { tool: Some(&tool), ..View::default() };
    let validator = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    let mut seen: Option<Option<Json>> = None;
    let result =
        |data: &Json| json!({ "content": [{ "type": "text", "text": data.to_string() }], "structuredContent": data });
    let message = [
        (Direction::Arguments, json!({ "name": "x", "arguments": data }), "/arguments"),
        (Direction::Result, result(data), "/structuredContent"),
        (Direction::Result, json!({ "result": result(data) }), "/result/structuredContent"),
    ];
    for (direction, message, place) in message {
        let document = document(&message.to_string());
        let (mut splice, mut findings) = (Splice::new(), Findings::new());
        let done = masks.rewrite(&view, direction, document.root(), &[], &mut splice, &mut findings);
        let got = done.ok().map(|()| {
            let whole: Json = serde_json::from_slice(&splice.apply(document.bytes())).unwrap();
            let data = whole.pointer(place).unwrap();
            assert!(validator.is_valid(data), "{schema} {data}");
            let text = whole.pointer(&place.replace("structuredContent", "content/0/text")).and_then(Json::as_str);
            if let (Direction::Result, Some(text)) = (direction, text) {
                let copy: Json = serde_json::from_str(text).unwrap();
                assert!(copy == *data, "the copies differ");
            }
            assert!(!findings.is_empty());
            data.clone()
        });
        if let Some(before) = &seen {
            assert_eq!(before, &got, "{direction:?}");
        }
        seen = Some(got);
    }
    seen.unwrap()
}

/// The same for the only member of an object.
fn member(schema: &Json, value: &Json) -> Option<Json> {
    let schema =
        json!({ "type": "object", "properties": { "v": schema }, "required": ["v"], "additionalProperties": false });
    masked(&schema, &json!({ "v": value })).map(|data| data["v"].clone())
}

#[test]
fn a_place_gets_what_its_schema_takes() {
    const CARD: u64 = 4_111_111_111_111_111;
    let mail = "ana@example.com";
    let stand_in = Some(json!("redacted@redacted.invalid"));
    let cases: Vec<(Json, Json, Option<Json>)> = vec![
        (json!({ "type": "string" }), json!(mail), Some(json!("[EMAIL_ADDRESS]"))),
        (json!({ "type": "string", "format": "email" }), json!(mail), stand_in.clone()),
        (json!({ "type": "string", "maxLength": 6 }), json!("a@b.io"), Some(json!("[EMAIL"))),
        (
            json!({ "type": "string", "minLength": 20 }),
            json!("anastasia@example.com"),
            Some(json!("[EMAIL_ADDRESS]*****")),
        ),
        (
            json!({ "type": "string", "pattern": "^[0-9]{3}-[0-9]{2}-[0-9]{4}$" }),
            json!("536-22-1234"),
            Some(json!("000-00-0000")),
        ),
        (
            json!({ "type": "string", "pattern": "^[a-z]+@[a-z.]+$", "minLength": 12 }),
            json!("anna@example.com"),
            Some(json!("xxxxxxxxxxxxx@xxxxxxxxxxxxx")),
        ),
        (json!({ "enum": [mail, "bo@example.com"] }), json!(mail), Some(json!(mail))),
        (json!({ "const": mail }), json!(mail), Some(json!(mail))),
        (
            json!({ "anyOf": [{ "type": "null" }, { "type": "string", "pattern": "^a(?:na)@example\\.com$" }] }),
            json!(mail),
            Some(Json::Null),
        ),
        (json!({ "anyOf": [{ "type": "integer" }, { "type": "string", "format": "email" }] }), json!(mail), stand_in),
        (json!({ "type": "string", "format": "ipv4" }), json!("10.1.2.3"), Some(json!("192.0.2.0"))),
        (json!({ "type": "integer", "minimum": 1000 }), json!(CARD), Some(json!(1000))),
        (json!({ "type": "integer", "exclusiveMinimum": 0 }), json!(CARD), Some(json!(1))),
        (json!({ "type": "integer" }), json!(CARD), Some(json!(0))),
        // Only the value itself would be valid.
        (json!({ "type": "string", "pattern": "^ana@example\\.com$" }), json!(mail), None),
    ];
    for (schema, value, wanted) in cases {
        let got = member(&schema, &value);
        assert_eq!(got, wanted, "{schema} {value}");
    }
}

#[test]
fn whole_documents_stay_what_they_are() {
    let schema = json!({ "type": "object", "$defs": { "mail": { "type": "string", "format": "email" } }, "properties": {
        "rows": { "type": "array", "items": { "type": "object", "additionalProperties": false, "properties": {
            "mail": { "$ref": "#/$defs/mail" }, "ssn": { "type": "string", "pattern": "^\\d{3}-\\d{2}-\\d{4}$" }, "n": { "type": "integer" } } } },
        "to": { "type": "array", "uniqueItems": true, "items": { "$ref": "#/$defs/mail" } },
        "ana@example.com": { "type": "string" } }, "required": ["ana@example.com"] });
    let rows: Vec<Json> = (0..500)
        .map(|n| json!({ "mail": format!("u{n}@example.com"), "ssn": format!("536-22-{n:04}"), "n": n }))
        .collect();
    let data = json!({ "rows": rows[1..], "to": ["a@example.com", "b@example.com"], "ana@example.com": "x", "free": "c@example.com" });
    let got = masked(&schema, &data).unwrap();
    let row = |n: usize| json!({ "mail": "redacted@redacted.invalid", "ssn": "000-00-0000", "n": n });
    assert_eq!(got["rows"][0], row(1));
    assert_eq!(got["rows"][498], row(499));
    assert_eq!(got["to"], json!(["redacted@redacted.invalid", "redacted-2@redacted.invalid"]));
    // Names of members in the schema stay; everything else is masked as usual.
    assert_eq!((&got["ana@example.com"], &got["free"]), (&json!("x"), &json!("[EMAIL_ADDRESS]")));
}

#[test]
fn samples_are_what_their_pattern_takes() {
    let patterns = [
        "^[A-Z]{2}\\d{6}$",
        "^(foo|bar)-[a-f0-9]{8}$",
        "^\\+[1-9]\\d{1,14}$",
        "^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$",
        "^\\p{L}+ \\p{L}+$",
        "^.{5,10}$",
        "x*",
        "^[\\w.-]+$",
    ];
    for pattern in patterns {
        let regex = regex::Regex::new(pattern).unwrap();
        for more in [0, 3, 20] {
            let sample = sample(pattern, more).unwrap();
            assert!(regex.is_match(&sample), "{pattern} {sample:?}");
        }
    }
    assert_eq!(sample("(?=x)y", 0), None);
    assert_eq!(sample("[a-z]{5000}", 0), None);
}
