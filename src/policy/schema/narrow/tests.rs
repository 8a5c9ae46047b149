use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::narrowed;
use crate::json::{Document, Limits};
use crate::mcp::SubjectKind;
use crate::policy::schema::Schema;
use crate::policy::tests::{AT, caller, policy};
use crate::policy::{Annotations, Context, Decision, Definition, Operation};

fn claims() -> Map<String, Value> {
    json!({ "email": "ana@example.com" }).as_object().unwrap().clone()
}

fn rules(args: &[&str]) -> String {
    let rule =
        |(at, args): (usize, &&str)| format!("[[rule]]\nid = \"r{at}\"\ntools = [\"pay\"]\n[rule.args]\n{args}\n");
    args.iter().enumerate().map(rule).collect()
}

fn published(schema: &Value, args: &[&str]) -> Value {
    let policy = policy(&rules(args));
    let mut caller = caller("");
    caller.claims = claims().into();
    let asked = policy.narrowing(&caller, "pay", &AT);
    let asked: Vec<_> = asked.into_iter().map(|args| &**args).collect();
    narrowed(schema, &asked, &caller.claims).unwrap()
}

#[test]
fn publishes_the_narrower_of_both() {
    let schema = json!({ "type": "object", "required": ["id"], "properties": {
        "id": { "type": "string" }, "amount": { "type": "number", "maximum": 500, "default": 300 },
        "status": { "enum": ["lead", "customer", "lost"] }, "owner": { "type": "string" },
        "at": { "type": "object", "properties": { "zip": { "$ref": "#/$defs/zip" } } } }, "$defs": { "zip": { "type": "string" } } });
    for (args, pointer, expected) in [
        ("amount = { maximum = 1000 }", "/properties/amount/maximum", json!(500)),
        ("amount = { maximum = 400 }", "/properties/amount/maximum", json!(400)),
        // The default is 300: a call without the argument would not meet the rule.
        ("amount = { maximum = 100 }", "/required", json!(["id", "amount"])),
        ("amount = { maximum = 400 }", "/required", json!(["id"])),
        ("status = { enum = [\"lead\", \"new\"] }", "/properties/status/enum", json!(["lead"])),
        ("owner = { equals = \"${claims.email}\" }", "/properties/owner/const", json!("ana@example.com")),
        ("owner = { equals = \"${claims.email}\" }", "/required", json!(["id", "owner"])),
        ("owner = { forbidden = true }", "/properties/owner", json!(false)),
        ("owner = { pattern = '^a' }", "/properties/owner/pattern", json!("^a")),
        ("\"at.zip\" = { max_length = 5 }", "/properties/at/properties/zip/allOf/1/maxLength", json!(5)),
        ("extra = { required = true }", "/properties/extra", json!({})),
        ("extra = { required = true }", "/additionalProperties", json!(false)),
        ("additional = true\nid = { min_length = 1 }", "/additionalProperties", Value::Null),
    ] {
        let published = published(&schema, &[args]);
        assert_eq!(published.pointer(pointer).cloned().unwrap_or_default(), expected, "{args}: {published}");
    }
    let two = published(&schema, &["amount = { maximum = 100 }", "owner = { equals = \"bob\" }"]);
    assert_eq!(two["anyOf"].as_array().unwrap().len(), 2, "{two}");
    let same = published(&schema, &["amount = { maximum = 400 }", "amount = { maximum = 400 }"]);
    assert_eq!((same.get("anyOf"), &same["properties"]["amount"]["maximum"]), (None, &json!(400)));
}

#[test]
fn a_rule_without_arguments_leaves_the_schema_alone() {
    let text =
        rules(&["amount = { maximum = 1 }"]) + "[[rule]]\nid = \"free\"\ntools = [\"pay\"]\nscopes = [\"big\"]\n";
    let policy = policy(&text);
    // More scopes could allow it, so nothing narrower may be published.
    assert!(policy.narrowing(&caller(""), "pay", &AT).is_empty());
    let silent = crate::policy::tests::policy(&text.replace("scopes =", "step_up = false\nscopes ="));
    assert_eq!(silent.narrowing(&caller(""), "pay", &AT).len(), 1);
}

fn any_args() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "n = { maximum = 5 }",
        "n = { minimum = 2, maximum = 8 }\ns = { max_length = 2 }",
        "s = { equals = \"ab\" }",
        "s = { enum = [\"a\", \"ab\"] }\nadditional = true",
        "s = { forbidden = true }",
        "\"o.n\" = { maximum = 3 }",
        "\"o.s\" = { equals = \"a\" }\nadditional = true",
        "x = { required = true }",
        "s = { pattern = \"^a\" }",
    ])
}

fn any_schema() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({ "type": "object" }),
        json!({ "type": "object", "properties": { "n": { "type": "integer", "default": 7 }, "s": { "type": "string", "maxLength": 3 } } }),
        json!({ "type": "object", "additionalProperties": false, "properties": { "n": { "maximum": 6 }, "s": { "enum": ["a", "abc"] },
            "o": { "type": "object", "properties": { "n": { "$ref": "#/$defs/n" }, "s": { "default": "b" } } } }, "$defs": { "n": { "type": "number" } } }),
        json!({ "type": "object", "anyOf": [{ "required": ["n"] }, { "required": ["s"] }], "properties": { "n": {}, "s": {}, "o": {}, "x": {} } }),
    ])
}

fn any_arguments() -> impl Strategy<Value = Value> {
    let number = || prop::option::of(0..10_i64);
    let text = || prop::option::of(prop::sample::select(vec!["a", "ab", "abc", "b"]));
    (number(), text(), number(), text(), any::<[bool; 3]>()).prop_map(|(n, s, inner, below, [o, x, odd])| {
        let mut all = Map::new();
        n.map(|n| all.insert("n".into(), if odd { json!(n.to_string()) } else { json!(n) }));
        s.map(|s| all.insert("s".into(), json!(s)));
        if o {
            let mut object = Map::new();
            inner.map(|n| object.insert("n".into(), json!(n)));
            below.map(|s| object.insert("s".into(), json!(s)));
            all.insert("o".into(), Value::Object(object));
        }
        if x {
            all.insert("x".into(), json!(1));
        }
        Value::Object(all)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a rule allows and the upstream accepts is valid under the published schema, and whatever is valid under that is
    /// valid under the upstream's.
    #[test]
    fn is_never_wider_than_the_upstreams_nor_narrower_than_the_rules(
        args in prop::collection::vec(any_args(), 1..4),
        schema in any_schema(),
        arguments in any_arguments(),
    ) {
        let shown = published(&schema, &args);
        let (wide, narrow) = (Schema::of_value(&schema).unwrap(), Schema::of_value(&shown).unwrap());
        let policy = policy(&rules(&args));
        let document = Document::parse(arguments.to_string().into(), &Limits::REQUEST).unwrap();
        let definition = Definition { schema: Some(&schema), annotations: Some(Annotations::WORST) };
        let context = Context { definition, ..AT }.with_arguments(Some(document.root()));
        let mut caller = caller("");
        caller.claims = claims().into();
        let operation = Operation { method: "tools/call", kind: Some(SubjectKind::Tool), name: "pay" };
        let allowed = matches!(policy.decide(&caller, &operation, &context), Decision::Allow { .. });
        let (upstream, published) = (wide.check_value(&arguments), narrow.check_value(&arguments));
        if published.is_ok() {
            prop_assert!(upstream.is_ok(), "wider: {shown} {arguments}");
        }
        if allowed && upstream.is_ok() {
            prop_assert!(published.is_ok(), "narrower: {shown} {arguments} {published:?}");
        }
    }
}
