//! `[rule.args]`: which arguments meet it, which do not, and which are unknown.

use serde_json::{Value as Json, json};

use super::{AT, loaded, policy, words};
use crate::auth::Caller;
use crate::json::{Document, Limits};
use crate::mcp::SubjectKind;
use crate::policy::{Annotations, Arguments, Context, Decision, Definition, Operation, Policy};

const CALL: Operation<'static> = Operation { method: "tools/call", kind: Some(SubjectKind::Tool), name: "x" };

fn ana(scopes: &str) -> Caller {
    let Json::Object(claims) = json!({"sub": "ana", "email": "ana@example.com", "limit": 100, "scope": scopes}) else {
        panic!()
    };
    Caller::unverified("corp", claims)
}

fn decide(policy: &Policy, caller: &Caller, arguments: &str, schema: Option<&Json>) -> Decision {
    let document = (arguments != "-").then(|| Document::parse(arguments.to_owned().into(), &Limits::REQUEST).unwrap());
    let context = Context {
        definition: Definition { schema, annotations: Some(Annotations::WORST) },
        ..AT.with_arguments(document.as_ref().map(Document::root))
    };
    policy.decide(caller, &CALL, &context)
}

/// The conditions of a rule, arguments, and the result in an allow rule and in a deny rule: `y`es, `n`o or `u`nknown.
const WORDS: &[(&str, &[(&str, char)])] = &[
    (
        "a = { equals = 5 }",
        &[
            (r#"{"a":5}"#, 'y'),
            (r#"{"a":5.0}"#, 'y'),
            (r#"{"a":6}"#, 'n'),
            (r#"{"a":"5"}"#, 'u'),
            (r#"{"a":true}"#, 'u'),
            (r#"{"a":null}"#, 'u'),
            (r#"{"a":[5]}"#, 'u'),
            (r#"{"a":9007199254740993}"#, 'u'),
            ("{}", 'u'),
            ("-", 'u'),
            (r#"{"A":5}"#, 'u'),
            (r#"{"a":5,"A":6}"#, 'u'),
            (r#"{"ａ":5}"#, 'u'),
        ],
    ),
    ("a = { equals = true }", &[(r#"{"a":true}"#, 'y'), (r#"{"a":false}"#, 'n'), (r#"{"a":1}"#, 'u')]),
    (
        "a = { equals = \"${claims.email}\" }",
        &[
            (r#"{"a":"ana@example.com"}"#, 'y'),
            (r#"{"a":"an\u0061@example.com"}"#, 'y'),
            (r#"{"a":"Ana@example.com"}"#, 'n'),
            (r#"{"a":["ana@example.com"]}"#, 'u'),
        ],
    ),
    ("a = { equals = \"${claims.missing}\" }", &[(r#"{"a":""}"#, 'n'), (r#"{"a":null}"#, 'n'), ("{}", 'n')]),
    ("a = { equals = \"${claims.limit}\" }", &[(r#"{"a":100}"#, 'y'), (r#"{"a":"100"}"#, 'u')]),
    ("a = { equals = \"n-${claims.limit}\" }", &[(r#"{"a":"n-100"}"#, 'y'), (r#"{"a":"n-10"}"#, 'n')]),
    (
        "a = { enum = [\"lead\", 5] }",
        &[
            (r#"{"a":"lead"}"#, 'y'),
            (r#"{"a":5}"#, 'y'),
            (r#"{"a":"5"}"#, 'n'),
            (r#"{"a":6}"#, 'n'),
            (r#"{"a":true}"#, 'u'),
            ("{}", 'y'),
        ],
    ),
    (
        "a = { minimum = 1, maximum = 10000 }",
        &[
            (r#"{"a":1}"#, 'y'),
            (r#"{"a":10000}"#, 'y'),
            (r#"{"a":1e4}"#, 'y'),
            (r#"{"a":10000.5}"#, 'n'),
            (r#"{"a":0}"#, 'n'),
            (r#"{"a":10000.00000000000000000001}"#, 'u'),
            (r#"{"a":1e400}"#, 'u'),
            (r#"{"a":"5"}"#, 'u'),
            ("{}", 'y'),
        ],
    ),
    (
        "a = { min_length = 2, max_length = 3 }",
        &[
            (r#"{"a":"ab"}"#, 'y'),
            (r#"{"a":"äöü"}"#, 'y'),
            (r#"{"a":"a"}"#, 'n'),
            (r#"{"a":"abcd"}"#, 'n'),
            (r#"{"a":[1,2]}"#, 'u'),
            ("{}", 'y'),
        ],
    ),
    (
        "a = { pattern = '^[a-z]+$' }",
        &[(r#"{"a":"abc"}"#, 'y'), (r#"{"a":"abc\n"}"#, 'n'), (r#"{"a":"Abc"}"#, 'n'), (r#"{"a":7}"#, 'u')],
    ),
    ("a = { required = true }", &[(r#"{"a":null}"#, 'y'), ("{}", 'n'), ("-", 'n'), (r#"{"A":1}"#, 'u')]),
    ("a = { required = true, maximum = 5 }", &[(r#"{"a":5}"#, 'y'), ("{}", 'n')]),
    ("a = { forbidden = true }", &[(r#"{"a":1}"#, 'n'), ("{}", 'y'), ("-", 'y'), (r#"{"A":1}"#, 'u')]),
    (
        "\"/f/o\" = { equals = \"x\" }",
        &[
            (r#"{"f":{"o":"x"}}"#, 'y'),
            (r#"{"f":{"o":"y"}}"#, 'n'),
            (r#"{"f":{}}"#, 'u'),
            ("{}", 'u'),
            (r#"{"f":"{\"o\":\"x\"}"}"#, 'u'),
            (r#"{"f":[{"o":"x"}]}"#, 'u'),
            (r#"{"f":null}"#, 'u'),
            (r#"{"f":{"o":"x"},"F":{}}"#, 'u'),
        ],
    ),
    (
        "f.o = { maximum = 5 }\nf.p = { maximum = 5 }",
        &[
            (r#"{"f":{"o":5,"p":5}}"#, 'y'),
            (r#"{"f":{"o":5,"p":6}}"#, 'n'),
            // An absent argument would be allowed, but not one the tool may find elsewhere.
            (r#"{"f":{}}"#, 'y'),
            (r#"{"f":"{\"o\":6}"}"#, 'u'),
            (r#"{"f":[{"o":6}]}"#, 'u'),
        ],
    ),
    ("\"f.o\" = { maximum = 5 }", &[(r#"{"f":{"o":5}}"#, 'y'), (r#"{"f":{"o":6}}"#, 'n')]),
    ("\"/a~1b/c~0d\" = { maximum = 5 }", &[(r#"{"a/b":{"c~d":5}}"#, 'y'), (r#"{"a/b":{"c~d":6}}"#, 'n')]),
    // A condition that is not met decides, whatever else is unknown.
    ("a = { equals = 5 }\nb = { equals = 5 }", &[(r#"{"a":"x","b":6}"#, 'n'), (r#"{"a":"x","b":5}"#, 'u')]),
];

#[test]
fn unknown_never_allows_and_always_denies() {
    for (args, cases) in WORDS {
        let allow = policy(&format!("[[rule]]\nid = \"r\"\ntools = [\"x\"]\n[rule.args]\nadditional = true\n{args}"));
        let deny = policy(&format!(
            "[[rule]]\nid = \"r\"\neffect = \"deny\"\ntools = [\"x\"]\n[rule.args]\n{args}\n[[rule]]\nid = \"all\"\ntools = [\"x\"]"
        ));
        let caller = ana("");
        for (arguments, expected) in *cases {
            let found = match (
                matches!(decide(&allow, &caller, arguments, None), Decision::Allow { .. }),
                matches!(decide(&deny, &caller, arguments, None), Decision::Deny { .. }),
            ) {
                (true, true) => 'y',
                (false, false) => 'n',
                (false, true) => 'u',
                (true, false) => '!',
            };
            assert_eq!(found, *expected, "{args} with {arguments}");
        }
    }
}

#[test]
fn arguments_nobody_names_are_refused() {
    let rule = "[[rule]]\nid = \"r\"\ntools = [\"x\"]\n[rule.args]\na = { maximum = 5 }\n\"/f/o\" = { maximum = 5 }\n";
    let (closed, open) = (policy(rule), policy(&format!("{rule}additional = true")));
    let schema = json!({"properties": {"a": {}, "b": {}, "f": {"properties": {"o": {}, "p": {}}}}});
    for (arguments, without, with) in [
        (r#"{"a":1}"#, true, true),
        ("-", true, true),
        (r#"{"a":1,"b":1}"#, false, true),
        (r#"{"a":1,"c":1}"#, false, false),
        (r#"{"a":1,"f":{"o":1}}"#, true, true),
        (r#"{"a":1,"f":{"o":1,"p":1}}"#, false, true),
        (r#"{"a":1,"f":{"o":1,"q":1}}"#, false, false),
    ] {
        let caller = ana("");
        let allows =
            |policy: &Policy, schema| matches!(decide(policy, &caller, arguments, schema), Decision::Allow { .. });
        assert_eq!(allows(&closed, None), without, "{arguments}");
        assert_eq!(allows(&closed, Some(&schema)), with, "{arguments}");
        assert!(allows(&open, None), "{arguments}");
    }
    // An extra argument never evades a deny.
    let deny = policy(
        "[[rule]]\nid = \"no\"\neffect = \"deny\"\ntools = [\"x\"]\n[rule.args]\na = { equals = 1 }\n[[rule]]\nid = \"all\"\ntools = [\"x\"]",
    );
    assert_eq!(words(decide(&deny, &ana(""), r#"{"a":1,"junk":1}"#, None)), "deny no");
}

#[test]
fn an_absent_argument_is_the_default_of_the_schema() {
    let rule = policy("[[rule]]\nid = \"r\"\ntools = [\"x\"]\n[rule.args]\na = { maximum = 5 }");
    for (schema, allowed) in [
        (json!({"properties": {"a": {"default": 4}}}), true),
        (json!({"properties": {"a": {"default": 6}}}), false),
        (json!({"properties": {"a": {"default": "4"}}}), false),
        (json!({"properties": {"a": {}}}), true),
    ] {
        let decision = decide(&rule, &ana(""), "{}", Some(&schema));
        assert_eq!(matches!(decision, Decision::Allow { .. }), allowed, "{schema}");
    }
}

/// A denial for an argument names rule, pointer and keyword, but not the value; missing scopes come first.
#[test]
fn a_refused_argument_is_named_without_its_value() {
    let rule = policy(
        "[[rule]]\nid = \"w\"\ntools = [\"x\"]\nscopes = [\"s\"]\n[rule.args]\namount = { maximum = 5 }\nowner = { equals = \"${claims.email}\" }",
    );
    let refused = |arguments: &str| match decide(&rule, &ana("s"), arguments, None) {
        Decision::Deny { rule: None, hidden: false, argument: Some(argument), .. } => {
            format!("{} {} {}", argument.rule, argument.pointer, argument.word)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(r#"{"amount":6,"owner":"ana@example.com"}"#), "w /amount maximum");
    assert_eq!(refused(r#"{"amount":5,"owner":"max@example.com"}"#), "w /owner equals");
    assert_eq!(refused(r#"{"amount":5}"#), "w /owner equals");
    assert_eq!(refused(r#"{"owner":"ana@example.com","x\u0000":1}"#), "w /x\0 additional");
    let fits = r#"{"amount":5,"owner":"ana@example.com"}"#;
    assert_eq!(words(decide(&rule, &ana("s"), fits, None)), "allow w");
    assert_eq!(words(decide(&rule, &ana(""), fits, None)), "step_up w s | s");
    // More scopes would not help here, so they are not requested.
    assert_eq!(words(decide(&rule, &ana(""), r#"{"amount":6}"#, None)), "deny -");
}

/// agentgateway #2069: a condition on arguments must hold at the call, and must not hide the tool in lists.
#[test]
fn a_rule_on_arguments_could_match_when_tools_are_listed() {
    let texts = "[[rule]]\nid = \"a\"\ntools = [\"x\"]\n[rule.args]\na = { maximum = 5 }\n[[rule]]\nid = \"d\"\neffect = \"deny\"\ntools = [\"x\"]\n[rule.args]\na = { minimum = 3, required = true }";
    let policy = loaded(&[texts]).policy;
    let caller = ana("");
    assert!(policy.lists(&caller, SubjectKind::Tool, "x", &AT));
    assert_eq!(words(decide(&policy, &caller, r#"{"a":1}"#, None)), "allow a");
    assert_eq!(words(decide(&policy, &caller, r#"{"a":4}"#, None)), "deny d");
    assert_eq!(words(decide(&policy, &caller, r#"{"a":6}"#, None)), "deny d");
    // Unknown arguments never allow and always deny.
    let unknown = Context { arguments: Arguments::Unknown, ..AT };
    assert_eq!(words(policy.decide(&caller, &CALL, &unknown)), "deny d");
    assert_eq!(policy.ways(&caller, SubjectKind::Tool, "x", &AT).len(), 1);
}

#[test]
fn what_a_definition_may_decide_is_told() {
    for (conditions, minds) in [
        ("", false),
        ("scopes = [\"a\"]", false),
        ("when = \"client.id == 'cli'\"", false),
        ("when = \"args.a == 5\"", false),
        ("[rule.args]\na = { required = true }", true),
        ("when = \"tool.annotations.readOnlyHint\"", true),
        ("mode = \"shadow\"\nwhen = \"tool.name == 'x'\"", true),
    ] {
        let rules = "[[rule]]\nid = \"other\"\ntools = [\"y\"]\n[[rule]]\nid = \"r\"\ntools = [\"x\"]\n";
        let policy = policy(&format!("{rules}{conditions}"));
        assert_eq!(policy.minds_definitions(), minds, "{conditions}");
    }
}
