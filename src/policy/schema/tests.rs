use serde_json::json;

use super::{Schema, SchemaError};
use crate::json::{Document, Limits};

fn compiled(schema: &str) -> Result<Schema, SchemaError> {
    let document = Document::parse(schema.to_owned().into(), &Limits::ANSWER).unwrap();
    Schema::compile(document.root())
}

fn said(schema: &str, arguments: &str) -> String {
    let document = Document::parse(arguments.to_owned().into(), &Limits::REQUEST).unwrap();
    match compiled(schema).unwrap().check(Some(document.root())) {
        Ok(()) => "ok".to_owned(),
        Err(violation) => {
            assert!(!violation.to_string().contains("s3cr3t"), "{violation}");
            format!("{} {}", violation.pointer, violation.word)
        }
    }
}

const CONTACT: &str = r#"{"type":"object","required":["id"],"additionalProperties":false,"properties":{
    "id":{"type":"string","pattern":"^c-\\d+$"},"amount":{"type":"integer","maximum":10000},
    "status":{"enum":["lead","customer"]},"notes":{"type":"string","maxLength":5},
    "at":{"type":"object","properties":{"zip/code":{"type":"string","minLength":4}}}}}"#;

#[test]
fn names_pointer_and_word_and_never_the_value() {
    for (arguments, expected) in [
        (r#"{"id":"c-7","amount":10000,"status":"lead","notes":"short"}"#, "ok"),
        (r#"{"id":"c-7","amount":10.0}"#, "ok"),
        ("{}", "/id required"),
        (r#"{"id":"c-7","amount":10001}"#, "/amount maximum"),
        (r#"{"id":"c-7","amount":"5"}"#, "/amount type"),
        (r#"{"id":"c-7","amount":1.5}"#, "/amount type"),
        (r#"{"id":"c-7","amount":1e400}"#, " type"),
        (r#"{"id":"c-7","status":"s3cr3t"}"#, "/status enum"),
        (r#"{"id":"c-7","notes":"s3cr3t text"}"#, "/notes maxLength"),
        (r#"{"id":"c-\u0667"}"#, "/id pattern"),
        (r#"{"id":"c-7\n"}"#, "/id pattern"),
        (r#"{"id":"c-7","at":{"zip/code":"1"}}"#, "/at/zip~1code minLength"),
        (r#"{"id":"c-7","other":"s3cr3t"}"#, "/other additionalProperties"),
        (r#"{"id":null}"#, "/id type"),
        (r#""c-7""#, " type"),
        ("[]", " type"),
    ] {
        assert_eq!(said(CONTACT, arguments), expected, "{arguments}");
    }
    let none = compiled(CONTACT).unwrap().check(None).unwrap_err();
    assert_eq!((&*none.pointer, none.to_string().as_str()), ("/id", "argument /id is required"));
    assert_eq!(compiled(r#"{"type":"object"}"#).unwrap().check(None), Ok(()));
}

#[test]
fn honours_the_dialect_a_schema_declares() {
    let draft7 = r##"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","definitions":{"n":{"type":"number","exclusiveMinimum":0}},
        "properties":{"n":{"$ref":"#/definitions/n"},"pair":{"type":"array","items":[{"type":"string"},{"type":"number"}]}}}"##;
    let draft4 = r#"{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","properties":{"n":{"minimum":0,"exclusiveMinimum":true}}}"#;
    let new = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"pair":{"prefixItems":[{"type":"string"}],"items":false}},
        "dependentRequired":{"a":["b"]}}"#;
    for (schema, arguments, expected) in [
        (draft7, r#"{"n":0}"#, "/n exclusiveMinimum"),
        (draft7, r#"{"pair":["a","b"]}"#, "/pair/1 type"),
        (draft7, r#"{"pair":["a",1,2]}"#, "ok"),
        (draft4, r#"{"n":0}"#, "/n exclusiveMinimum"),
        (draft4, r#"{"n":1}"#, "ok"),
        (new, r#"{"pair":["a","b"]}"#, "/pair/1 items"),
        (new, r#"{"a":1}"#, "/b required"),
    ] {
        let said = said(schema, arguments);
        assert!(
            said == expected || said.split(' ').next() == expected.split(' ').next() && expected.ends_with("items"),
            "{arguments}: {said}"
        );
    }
}

#[test]
fn refuses_what_is_no_schema_it_could_check_against() {
    let many: Vec<String> = (0..6_000).map(|n| format!(r#""p{n}":{{}}"#)).collect();
    let large = format!(r#"{{"type":"object","description":"{}"}}"#, "x".repeat(300_000));
    // Each level references the next one twice: a few hundred bytes, 2^20 steps.
    let levels: Vec<String> = (0..20)
        .map(|n| format!(r##""l{n}":{{"anyOf":[{{"$ref":"#/$defs/l{m}"}},{{"$ref":"#/$defs/l{m}"}}]}}"##, m = n + 1))
        .collect();
    let doubling =
        format!(r##"{{"type":"object","$defs":{{{},"l20":{{"not":{{}}}}}},"$ref":"#/$defs/l0"}}"##, levels.join(","));
    for (schema, expected) in [
        (r#"{"type":"string"}"#, "object"),
        (r#"{"type":["string","null"]}"#, "object"),
        ("[]", "object"),
        ("true", "object"),
        ("null", "object"),
        (r#"{"type":"object","properties":{"a":{"type":"strin"}}}"#, "compile"),
        (r#"{"type":"object","properties":{"a":{"pattern":"("}}}"#, "compile"),
        (r#"{"type":"object","properties":{"a":{"pattern":"(?=a)b"}}}"#, "compile"),
        (r#"{"type":"object","properties":{"a":{"pattern":"(a)\\1"}}}"#, "compile"),
        (r#"{"type":"object","properties":{"a":{"pattern":"(?:a{1000}){1000}"}}}"#, "compile"),
        (r#"{"type":"object","required":"a"}"#, "compile"),
        (r#"{"type":"object","$ref":"https://evil.example/schema.json"}"#, "refers"),
        (r#"{"type":"object","$ref":"file:///etc/passwd"}"#, "refers"),
        (r##"{"type":"object","$ref":"#/$defs/none"}"##, "refers"),
        (r##"{"type":"object","$ref":"#"}"##, "too long"),
        (
            r##"{"type":"object","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##,
            "too long",
        ),
        (&doubling, "too long"),
        (&format!(r#"{{"type":"object","properties":{{{}}}}}"#, many.join(",")), "parts"),
        (&large, "256 KiB"),
    ] {
        let error = compiled(schema).unwrap_err().to_string();
        assert!(error.contains(expected), "{schema:.100}: {error}");
    }
    let nested = (0..40).fold(json!({}), |inner, _| json!({ "type": "object", "properties": { "a": inner } }));
    assert!(Schema::of_value(&nested).unwrap_err().to_string().contains("nested"));
    // An unknown dialect is not read as another one.
    assert!(compiled(r#"{"$schema":"https://evil.example/dialect","type":"object"}"#).is_err());
}

#[test]
fn a_schema_that_refers_to_itself_is_checked_as_deep_as_that_is_cheap() {
    let tree = r##"{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}},"name":{"type":"string"}}}"##;
    assert_eq!(said(tree, r#"{"children":[{"children":[{"name":7}]}]}"#), "/children/0/children/0/name type");
    assert_eq!(compiled(tree).unwrap().depth, 64);
    let twice = r##"{"type":"object","properties":{"a":{"anyOf":[{"$ref":"#"},{"allOf":[{"$ref":"#"},{"required":["b"]}]}]}},"additionalProperties":false}"##;
    let schema = compiled(twice).unwrap();
    assert!((5..20).contains(&schema.depth), "{}", schema.depth);
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
    assert_eq!(schema.check_value(&nested(4)), Ok(()));
    let deep = schema.check_value(&nested(40)).unwrap_err();
    assert_eq!((&*deep.pointer, &*deep.word), ("", "depth"));
}

#[test]
fn long_names_are_cut_at_a_character() {
    let name = "ä".repeat(300);
    let document = Document::parse(format!(r#"{{"{name}":1}}"#).into(), &Limits::REQUEST).unwrap();
    let schema = compiled(r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#).unwrap();
    let violation = schema.check(Some(document.root())).unwrap_err();
    assert!(violation.pointer.len() <= 200 && violation.pointer.starts_with("/ä"), "{violation:?}");
}

/// The published tests of JSON Schema 2020-12 and draft 7, for schemas a tool could have.
#[test]
fn agrees_with_the_published_tests() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/json-schema");
    if !folder.is_dir() {
        eprintln!("skipped: no {}", folder.display());
        return;
    }
    let (mut agreed, mut disagreed, mut refused) = (0, Vec::new(), 0);
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.display().to_string();
            if path.extension().is_none_or(|extension| extension != "json")
                || name.contains("optional")
                || name.contains("remotes")
            {
                continue;
            }
            let Ok(groups) = serde_json::from_slice::<Vec<serde_json::Value>>(&std::fs::read(&path).unwrap()) else {
                continue;
            };
            for group in &groups {
                let (Some(tests), Some(schema)) = (group["tests"].as_array(), group.get("schema")) else { continue };
                let dialect = if name.contains("draft7") {
                    "http://json-schema.org/draft-07/schema#"
                } else {
                    "https://json-schema.org/draft/2020-12/schema"
                };
                // Any schema is allowed for a property, but only one for objects at the top.
                let mut schema = schema.clone();
                if let Some(members) = schema.as_object_mut() {
                    members.entry("$schema").or_insert(json!(dialect));
                }
                if !schema.is_object() || schema.get("type").is_some_and(|kind| kind != "object") {
                    continue;
                }
                let Ok(compiled) = Schema::of_value(&schema) else {
                    refused += tests.len();
                    continue;
                };
                for test in tests {
                    let valid = test["valid"].as_bool().unwrap();
                    if compiled.check_value(&test["data"]).is_ok() == valid {
                        agreed += 1;
                    } else {
                        disagreed.push(format!("{name}: {} / {}", group["description"], test["description"]));
                    }
                }
            }
        }
    }
    eprintln!("{agreed} agreed, {} not, {refused} of schemas that are refused", disagreed.len());
    assert!(agreed >= 1_800, "{agreed}");
    assert!(disagreed.is_empty(), "{disagreed:#?}");
}
