//! Policies compared with the tools that exist.

use serde_json::{Value, json};

use super::policy;
use crate::config::Problems;
use crate::policy::load::from_texts;
use crate::policy::{Offer, Offered};

fn tools(all: &Value) -> Vec<Offered> {
    let all = all.as_object().unwrap();
    all.iter().map(|(name, schema)| Offered { name: name.clone(), schema: Some(schema.clone()) }).collect()
}

fn told(problems: &Problems) -> Vec<String> {
    let one = |problem: &crate::config::Problem| {
        let place = problem.file.text.get(problem.span.clone()).unwrap();
        format!("{} [{place}] {} ({}; {})", problem.severity.as_str(), problem.message, problem.label, problem.help[0])
    };
    problems.iter().map(one).collect()
}

fn compared(tools: &[Offered], rules: &str) -> Vec<String> {
    told(&policy(rules).compare(Offer { tools, whose: "the upstream" }))
}

/// Checks a rule over one tool `t`, whose argument `a` has that schema: the conditions and the problem; empty for none.
const WORDS: &[(&str, &str, &str)] = &[
    // Types.
    (r#"{"type":"string"}"#, "equals = 5", "`equals`: the schema wants text"),
    (r#"{"type":"integer"}"#, "equals = \"5\"", "`equals`: the schema wants a whole number"),
    (r#"{"type":"integer"}"#, "equals = 5", ""),
    (r#"{"type":"integer"}"#, "equals = 5.5", "`equals`: the schema wants a whole number"),
    (r#"{"type":"number"}"#, "equals = 5.5", ""),
    (r#"{"type":"boolean"}"#, "maximum = 5", "`maximum`: the schema wants true or false"),
    (r#"{"type":"object"}"#, "min_length = 5", "`min_length`: the schema wants an object"),
    (r#"{"type":"array"}"#, "pattern = 'x'", "`pattern`: the schema wants a list"),
    (r#"{"type":["string","null"]}"#, "max_length = 5", ""),
    (r#"{"type":["integer","null"]}"#, "max_length = 5", "`max_length`: the schema wants a whole number or null"),
    (r#"{"type":"array"}"#, "equals = \"${claims.x}\"", "`equals`: the schema wants a list"),
    (r#"{"type":"string"}"#, "equals = \"${claims.x}\"", ""),
    (r#"{"type":"string"}"#, "enum = [1, \"x\"]", ""),
    (r#"{"type":"object"}"#, "required = true", ""),
    // Values.
    (r#"{"enum":["a","b"]}"#, "enum = [\"b\", \"c\"]", ""),
    (r#"{"enum":["a","b"]}"#, "enum = [\"c\", \"d\"]", "`enum`: the schema wants one of \"a\", \"b\""),
    (r#"{"enum":["a","b"]}"#, "equals = \"c\"", "`equals`: the schema wants one of \"a\", \"b\""),
    (r#"{"const":"a"}"#, "equals = \"b\"", "`equals`: the schema wants one of \"a\""),
    (r#"{"const":"a"}"#, "equals = \"a\"", ""),
    (r#"{"enum":["a","b"]}"#, "pattern = '^[x-z]'", "`pattern`: the schema wants one of \"a\", \"b\""),
    (r#"{"enum":["a","bb"]}"#, "min_length = 2", ""),
    (r#"{"enum":[1,2,3]}"#, "minimum = 4", "`minimum`: the schema wants one of 1, 2, 3"),
    (r#"{"type":"string","maxLength":2}"#, "equals = \"abc\"", "`equals`: the schema does not allow this value"),
    (r#"{"type":"string","pattern":"^a"}"#, "enum = [\"b\", \"c\"]", "`enum`: the schema allows none of these"),
    (r#"{"type":"number","multipleOf":10}"#, "equals = 5", "`equals`: the schema does not allow this value"),
    // Ranges.
    (r#"{"type":"integer","minimum":10}"#, "maximum = 9", "`maximum`: the schema has `minimum` 10"),
    (r#"{"type":"integer","minimum":10}"#, "maximum = 10", ""),
    (r#"{"type":"number","exclusiveMinimum":10}"#, "maximum = 10", "`maximum`: the schema has `exclusiveMinimum` 10"),
    (r#"{"type":"integer","maximum":10}"#, "minimum = 11", "`minimum`: the schema has `maximum` 10"),
    (r#"{"type":"integer","maximum":10}"#, "minimum = 10.5", "`minimum`: the schema has `maximum` 10"),
    (r#"{"type":"number","exclusiveMaximum":10}"#, "minimum = 10", "`minimum`: the schema has `exclusiveMaximum` 10"),
    (r#"{"type":"string","minLength":5}"#, "max_length = 4", "`max_length`: the schema has `minLength` 5"),
    (r#"{"type":"string","maxLength":5}"#, "min_length = 6", "`min_length`: the schema has `maxLength` 5"),
    (r#"{"type":"string","maxLength":5}"#, "min_length = 5", ""),
    // Patterns.
    (r#"{"type":"string","pattern":"^us-"}"#, "pattern = '^emea'", "`pattern`: the schema has `pattern` \"^us-\""),
    (r#"{"type":"string","pattern":"^us-"}"#, "pattern = 'emea'", ""),
    (r#"{"type":"string","pattern":"(?=x)"}"#, "pattern = '^emea'", ""),
    // Combinators, references and unsupported keywords.
    (r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, "pattern = 'x'", ""),
    (
        r#"{"anyOf":[{"type":"null"},{"type":"integer"}]}"#,
        "pattern = 'x'",
        "`pattern`: the schema wants a whole number",
    ),
    (r#"{"oneOf":[{"const":"a"},{"const":"b"}]}"#, "equals = \"b\"", ""),
    (r#"{"oneOf":[{"const":"a"},{"const":"b"}]}"#, "equals = \"c\"", "`equals`: the schema wants one of \"a\""),
    (
        r#"{"allOf":[{"type":"string"},{"maxLength":3}]}"#,
        "min_length = 4",
        "`min_length`: the schema has `maxLength` 3",
    ),
    (r##"{"$ref":"#/$defs/status"}"##, "equals = \"lead\"", ""),
    (r##"{"$ref":"#/$defs/status"}"##, "equals = \"boss\"", "`equals`: the schema wants one of \"lead\", \"customer\""),
    (r##"{"$ref":"#/$defs/loop"}"##, "equals = \"x\"", ""),
    (r##"{"$ref":"#/$defs/nothing"}"##, "equals = \"x\"", ""),
    (r#"{"$ref":"https://example.com/x"}"#, "equals = \"x\"", ""),
    ("true", "equals = \"x\"", ""),
    ("false", "equals = \"x\"", "`equals`: the schema lets nothing be there"),
    ("false", "forbidden = true", ""),
    (r#"{"type":"strong"}"#, "maximum = 1", ""),
];

#[test]
fn words_are_held_against_the_schema() {
    for (property, words, expected) in WORDS {
        let property: Value = serde_json::from_str(property).unwrap();
        let schema = json!({
            "type": "object", "properties": { "a": property },
            "$defs": { "status": { "enum": ["lead", "customer"] }, "loop": { "$ref": "#/$defs/loop" } },
        });
        let rule = format!("[[rule]]\nid = \"r\"\ntools = [\"t\"]\n[rule.args]\na = {{ {words} }}\n");
        let found = compared(&tools(&json!({ "t": schema })), &rule);
        let expected = match expected.split_once(": ") {
            None => Vec::new(),
            Some((word, why)) => vec![format!(
                "error [{words}] {word} of /a in the rule `r` contradicts the input schema of `t` ({why}; no call can meet both: ask for what the tool takes, or take it out)"
            )],
        };
        assert_eq!(found, expected, "{property} {words}");
    }
}

#[test]
fn arguments_that_no_tool_takes_are_found() {
    let object = |properties: Value, more: Value| {
        let mut schema = json!({ "type": "object", "properties": properties });
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    let nested = object(json!({ "filter": object(json!({ "region": {} }), json!({})) }), json!({}));
    let all = tools(&json!({
        "put": object(json!({ "owner": { "type": "string" }, "amount": {} }), json!({})),
        "set": object(json!({ "owner": { "type": "string" } }), json!({ "required": ["owner"] })),
        "any": { "type": "object" },
        "open": object(json!({ "x": {} }), json!({ "additionalProperties": true })),
        "odd": object(json!({ "x": {} }), json!({ "patternProperties": { "^a": {} } })),
        "none": object(json!({}), json!({ "additionalProperties": false })),
        "deep": nested,
    }));
    for (rule, expected) in [
        ("tools = [\"put\"]\nargs = { owner = { max_length = 9 } }", &[][..]),
        (
            "tools = [\"put\"]\nargs = { ownr = { max_length = 9 } }",
            &[
                "error [max_length = 9] the tool `put` has no argument /ownr, which the rule `r` is about (there is no such argument; did you mean `owner`?)",
            ],
        ),
        (
            "tools = [\"none\"]\nargs = { x = { forbidden = true } }",
            &[
                "error [forbidden = true] the tool `none` has no argument /x, which the rule `r` is about (there is no such argument; give the tools that have it a rule of their own)",
            ],
        ),
        ("tools = [\"any\", \"open\", \"odd\"]\nargs = { ax = { equals = 1 } }", &[]),
        // One of several tools has it: conditions on present values do not affect the others.
        ("tools = [\"put\", \"set\"]\nargs = { amount = { maximum = 9 } }", &[]),
        (
            "tools = [\"put\", \"set\"]\nargs = { amount = { equals = 9 } }",
            &[
                "warning [equals = 9] the tool `set` has no argument /amount, which the rule `r` is about (it allows no call without; give the tools that have it a rule of their own)",
            ],
        ),
        (
            "effect = \"deny\"\ntools = [\"put\", \"set\"]\nargs = { amount = { minimum = 9 } }",
            &[
                "warning [minimum = 9] the tool `set` has no argument /amount, which the rule `r` is about (it denies every call without; add `required = true` where only calls that name it are meant, or list fewer tools)",
            ],
        ),
        ("effect = \"deny\"\ntools = [\"put\", \"set\"]\nargs = { amount = { minimum = 9, required = true } }", &[]),
        ("tools = [\"deep\"]\nargs = { filter.region = { equals = \"x\" } }", &[]),
        (
            "tools = [\"deep\"]\nargs = { filter.regoin = { equals = \"x\" } }",
            &[
                "error [equals = \"x\"] the tool `deep` has no argument /filter/regoin, which the rule `r` is about (there is no such argument; did you mean `region`?)",
            ],
        ),
        (
            "tools = [\"set\"]\nargs = { owner = { forbidden = true } }",
            &[
                "error [forbidden = true] `forbidden` of /owner in the rule `r` contradicts the input schema of `set` (the schema requires it; no call can meet both: ask for what the tool takes, or take it out)",
            ],
        ),
        ("tools = [\"put\"]\nargs = { owner = { forbidden = true } }", &[]),
        (
            "tools = [\"put\"]\nwhen = \"args.amuont < 5\"",
            &[
                "warning [when = \"args.amuont < 5\"] the tool `put` has no argument `amuont`, which `when` of the rule `r` looks at (always unknown; `portcullis explain` shows what becomes of it; name an argument there is)",
            ],
        ),
        ("tools = [\"put\", \"any\"]\nwhen = \"has(args.zone) && args.amount < 5\"", &[]),
    ] {
        assert_eq!(compared(&all, &format!("[[rule]]\nid = \"r\"\n{rule}\n")), expected, "{rule}");
    }
}

#[test]
fn globs_that_list_nothing_are_found() {
    let all = tools(&json!({ "get_contact": {}, "search": {}, "Delete_x": {} }));
    let missing =
        "warning [\"serch\"] the upstream has no tool that `serch` lists (lists nothing; did you mean `search`?)";
    let gone = "(lists nothing; `portcullis tools SERVER` shows what there is; take out what is gone)";
    for (rule, expected) in [
        ("tools = [\"get_*\", \"search\", \"*\"]", vec![]),
        ("tools = [\"serch\"]", vec![missing.to_owned()]),
        ("tools = [\"get_*\", \"serch\"]", vec![missing.to_owned()]),
        (
            "tools = [\"put_*\"]",
            vec![format!("warning [\"put_*\"] the upstream has no tool that `put_*` lists {gone}")],
        ),
        (
            "tools = ['{get,put}_*']",
            vec![format!("warning [tools = ['{{get,put}}_*']] the upstream has no tool that `put_*` lists {gone}")],
        ),
        // A deny rule matches any spelling; an allow rule does not.
        ("effect = \"deny\"\ntools = [\"delete_*\"]", vec![]),
        (
            "tools = [\"delete_*\"]",
            vec!["warning [\"delete_*\"] the upstream has no tool that `delete_*` lists (lists nothing; did you mean `Delete_x`?)".to_owned()],
        ),
        ("resources = [\"a:b\"]", vec![]),
        ("prompts = [\"nothing\"]", vec![]),
    ] {
        assert_eq!(compared(&all, &format!("[[rule]]\nid = \"r\"\n{rule}\n")), expected, "{rule}");
    }
    let covered = policy(
        "[[rule]]\nid = \"r\"\ntools = [\"get_*\"]\n[[rule]]\nid = \"d\"\neffect = \"deny\"\ntools = [\"search\"]",
    );
    assert_eq!(covered.uncovered(&all), ["Delete_x", "search"]);
}

#[test]
fn masks_for_tools_that_are_not_there_are_found() {
    let all = tools(&json!({ "get_contact": {}, "send": {} }));
    let mask = "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\n";
    for (rest, expected) in [
        ("", vec![]),
        ("tools = [\"get_*\"]", vec![]),
        ("tools = [\"GET_*\"]", vec![]),
        (
            "tools = [\"put_*\"]",
            vec![
                "warning [\"m\"] the mask `m` is for tools of which the upstream has none (it never applies; name tools there are, or leave `tools` out to mask all)",
            ],
        ),
        ("tools = [\"put_*\"]\nresources = [\"a:b\"]", vec![]),
        ("action = \"tokenize\"\nrestore = [{ tool = \"send\", args = [\"/to\"] }]", vec![]),
        (
            "action = \"tokenize\"\nrestore = [{ tool = \"sent\", args = [\"/to\"] }]",
            vec![
                "warning [\"m\"] the mask `m` restores for a tool the upstream does not have (there is no `sent`; did you mean `send`?)",
            ],
        ),
    ] {
        let mut problems = Problems::new();
        let loaded = from_texts(&[&format!("{mask}{rest}\n")], &mut problems);
        assert!(problems.is_empty(), "{}", problems.render(false));
        assert_eq!(told(&loaded.compare_masks(Offer { tools: &all, whose: "the upstream" })), expected, "{rest}");
    }
}

#[test]
fn hostile_schemas_take_no_time() {
    // Nested combinators, each with a reference to itself.
    let mut deep = json!({ "type": "string" });
    for _ in 0..40 {
        deep = json!({ "anyOf": [deep.clone(), { "allOf": [{ "$ref": "#" }] }] });
    }
    let wide: Vec<Value> = (0..1000).map(|at| json!({ "anyOf": [{ "const": at }, { "const": -at }] })).collect();
    let rule = "[[rule]]\nid = \"r\"\ntools = [\"*\"]\nargs = { a = { equals = \"x\" } }\n";
    for property in [deep, json!({ "allOf": wide }), json!({ "pattern": "(a|b)*".repeat(5000) })] {
        let all = tools(&json!({ "t": { "type": "object", "properties": { "a": property } } }));
        assert_eq!(compared(&all, rule), [""; 0]);
    }
}

proptest::proptest! {
    /// If a contradiction is reported, no value meets both.
    #[test]
    fn what_contradicts_is_met_by_nothing(
        property in proptest::sample::select(vec![
            json!({ "type": "string" }), json!({ "type": "integer", "minimum": 2, "maximum": 5 }), json!({ "enum": ["a", "bb", 3] }),
            json!({ "type": "string", "minLength": 2, "pattern": "^a" }), json!({ "anyOf": [{ "type": "null" }, { "type": "number" }] }),
            json!({ "type": ["boolean", "string"], "maxLength": 1 }), json!({ "not": { "type": "string" } }),
        ]),
        words in proptest::sample::select(vec![
            "equals = \"a\"", "equals = 3", "equals = true", "enum = [\"bb\", 5]", "minimum = 4", "maximum = 1.5", "min_length = 2",
            "max_length = 1", "pattern = '^b'", "pattern = 'a$'", "minimum = 2.5, maximum = 3.5", "min_length = 1, pattern = '^a'",
        ]),
    ) {
        let schema = json!({ "type": "object", "properties": { "a": property } });
        let rule = format!("[[rule]]\nid = \"r\"\ntools = [\"t\"]\n[rule.args]\na = {{ {words} }}\n");
        let policy = policy(&rule);
        let clashes = !policy.compare(Offer { tools: &tools(&json!({ "t": schema })), whose: "x" }).is_empty();
        let compiled = crate::policy::schema::Schema::of_value(&schema).unwrap();
        for value in [json!("a"), json!("b"), json!("aa"), json!("ba"), json!("bb"), json!(1), json!(1.5), json!(3), json!(4), json!(5), json!(true), json!(null)] {
            let arguments = json!({ "a": value });
            let document = crate::json::Document::parse(arguments.to_string().into(), &crate::json::Limits::REQUEST).unwrap();
            let context = super::AT.with_arguments(Some(document.root()));
            let allowed = matches!(
                policy.decide(&super::caller(""), &super::operation("tool t"), &context),
                crate::policy::Decision::Allow { .. }
            );
            let passes = allowed && compiled.check_value(&arguments).is_ok();
            proptest::prop_assert!(!(clashes && passes), "{} {} {}", property, words, value);
        }
    }
}
