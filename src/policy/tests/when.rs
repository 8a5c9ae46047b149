//! CEL: what is true, false and unknown, and what is refused when a file is read, with which messages.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value as Json, json};

use super::{AT, policy};
use crate::auth::Caller;
use crate::config::Problems;
use crate::json::{Document, Limits};
use crate::mcp::SubjectKind;
use crate::policy::load::from_texts;
use crate::policy::{Annotations, Arguments, Context, Decision, Definition, Operation, Policy, Untrusted};

const CALL: Operation<'static> = Operation { method: "tools/call", kind: Some(SubjectKind::Tool), name: "delete_x" };

fn ana() -> Caller {
    let claims = json!({
        "sub": "ana", "department": "sales", "groups": ["a", "crm-admins"], "client_id": "cli", "level": 3,
        "https://x/y": {"z": true},
    });
    let Json::Object(claims) = claims else { panic!() };
    Caller::unverified("corp", claims)
}

fn rules(when: &str) -> (Policy, Policy) {
    let when = when.replace('\\', "\\\\").replace('"', "\\\"");
    let allow = format!("[[rule]]\nid = \"r\"\ntools = [\"*\"]\nwhen = \"{when}\"");
    let deny = format!(
        "[[rule]]\nid = \"r\"\neffect = \"deny\"\ntools = [\"*\"]\nwhen = \"{when}\"\n[[rule]]\nid = \"all\"\ntools = [\"*\"]"
    );
    (policy(&allow), policy(&deny))
}

/// The result, `y`es, `n`o or `u`nknown, derived from an allow rule and a deny rule.
fn found(when: &str, context: &Context<'_>) -> char {
    let (allow, deny) = rules(when);
    let caller = ana();
    match (
        matches!(allow.decide(&caller, &CALL, context), Decision::Allow { .. }),
        matches!(deny.decide(&caller, &CALL, context), Decision::Deny { .. }),
    ) {
        (true, true) => 'y',
        (false, false) => 'n',
        (false, true) => 'u',
        (true, false) => '!',
    }
}

const CASES: &[(&str, &str, char)] = &[
    ("claims.department == 'sales' || 'crm-admins' in claims.groups", "{}", 'y'),
    ("claims.department == 'hr'", "{}", 'n'),
    ("claims.missing == 'x'", "{}", 'u'),
    ("has(claims.missing) && claims.missing == 'x'", "{}", 'n'),
    ("claims.missing == 'x' || claims.department == 'sales'", "{}", 'y'),
    ("claims.missing == 'x' && claims.department == 'hr'", "{}", 'n'),
    ("claims['https://x/y'].z", "{}", 'y'),
    ("claims.department", "{}", 'u'),
    ("claims.level >= 3", "{}", 'y'),
    ("claims.level + 1 == 4", "{}", 'y'),
    ("claims.level / 0 == 1", "{}", 'u'),
    ("claims.groups[7] == 'x'", "{}", 'u'),
    ("args.amount < 100", r#"{"amount":5}"#, 'y'),
    ("args.amount < 100", r#"{"amount":5.5}"#, 'y'),
    ("args.amount < 100", r#"{"amount":500}"#, 'n'),
    ("args.amount < 100", r#"{"amount":"5"}"#, 'u'),
    ("args.amount < 100", "{}", 'u'),
    ("args.amount < 100", "-", 'u'),
    ("args.amount < 100", r#"{"amount":5,"Amount":500}"#, 'u'),
    ("!has(args.amount)", r#"{"Amount":500}"#, 'u'),
    ("args.amount > 9007199254740991", r#"{"amount":9007199254740993}"#, 'u'),
    ("!has(args.amount)", "-", 'y'),
    ("size(args) == 0", "{}", 'y'),
    ("'a' in args", r#"{"a":null}"#, 'y'),
    ("args['a'] == null", r#"{"a":null}"#, 'y'),
    ("args.path.startsWith('/projects/') && !args.path.contains('..')", r#"{"path":"/projects/x"}"#, 'y'),
    ("args.path.startsWith('/projects/') && !args.path.contains('..')", r#"{"path":"/projects/../etc"}"#, 'n'),
    ("args.to.matches('^[a-z]+@example[.]com$')", r#"{"to":"kim@example.com"}"#, 'y'),
    ("matches(args.to, '^[a-z]+@example[.]com$')", r#"{"to":"kim@example.com.evil"}"#, 'n'),
    ("args.to.matches('x')", r#"{"to":["x"]}"#, 'u'),
    ("args.to.all(a, a.endsWith('@example.com'))", r#"{"to":["a@example.com","b@example.com"]}"#, 'y'),
    ("args.to.all(a, a.endsWith('@example.com'))", r#"{"to":["a@example.com","b@evil.com"]}"#, 'n'),
    ("args.to.exists(a, a == claims.sub)", r#"{"to":["max","ana"]}"#, 'y'),
    ("args.rows.exists(r, r.cells.exists(c, c == 7))", r#"{"rows":[{"cells":[1]},{"cells":[2,7]}]}"#, 'y'),
    ("args.to.exists_one(a, a == 'x')", r#"{"to":["x","x"]}"#, 'n'),
    ("tool.name == 'delete_x' && tool.annotations.destructiveHint && !tool.annotations.readOnlyHint", "{}", 'y'),
    ("request.method == 'tools/call' && server == 'crm'", "{}", 'y'),
    ("client.ip == '10.1.2.3' && client.id == 'cli'", "{}", 'y'),
    ("now.hour == 12 && now.weekday == 1 && now.unix == 1767614400", "{}", 'y'),
    ("now.hour < 8 || now.hour >= 18", "{}", 'n'),
    ("['a', 'b'].exists(x, x in claims.groups)", "{}", 'y'),
    ("true ? claims.level == 3 : false", "{}", 'y'),
];

#[test]
fn unknown_never_allows_and_always_denies() {
    for (when, arguments, expected) in CASES {
        let document = (*arguments != "-").then(|| Document::parse((*arguments).into(), &Limits::REQUEST).unwrap());
        let context = Context {
            ip: Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))),
            server: "crm",
            ..AT.with_arguments(document.as_ref().map(Document::root))
        };
        assert_eq!(found(when, &context), *expected, "{when} with {arguments}");
    }
}

#[test]
fn values_beyond_the_caps_are_unknown() {
    let with = |arguments: String, when: &str| {
        let document = Document::parse(arguments.into(), &Limits::REQUEST).unwrap();
        found(when, &AT.with_arguments(Some(document.root())))
    };
    assert_eq!(with(format!(r#"{{"a":"{}"}}"#, "x".repeat(8192)), "size(args.a) > 1"), 'y');
    assert_eq!(with(format!(r#"{{"a":"{}"}}"#, "x".repeat(8193)), "size(args.a) > 1"), 'u');
    let list = |items: usize| format!(r#"{{"a":[{}0],"b":1}}"#, "0,".repeat(items - 1));
    assert_eq!(with(list(256), "0 in args.a"), 'y');
    assert_eq!(with(list(257), "0 in args.a"), 'u');
    // Only what an expression reads counts.
    assert_eq!(with(list(5000), "args.b == 1"), 'y');
    assert_eq!(with(list(5000), "size(args) == 2"), 'u');
    // An expression that iterates over a list may get a lower limit on it.
    assert_eq!(with(list(20), "args.a.all(x, x == 0)"), 'y');
    assert_eq!(with(list(256), "args.a.all(x, x == 0)"), 'u');
}

/// toolhive #4129: annotations are known when tools are listed, and the same as at the call.
#[test]
fn annotations_are_the_worst_case_until_a_lock_says_otherwise() {
    let locked = Annotations { destructive: false, read_only: true, ..Annotations::WORST };
    let known = Context { definition: Definition { schema: None, annotations: Some(locked) }, ..AT };
    let (policy, _) = rules("tool.annotations.readOnlyHint");
    let caller = ana();
    for (context, allowed) in [(&AT, false), (&known, true)] {
        assert_eq!(matches!(policy.decide(&caller, &CALL, context), Decision::Allow { .. }), allowed);
        assert_eq!(policy.lists(&caller, SubjectKind::Tool, "delete_x", context), allowed);
    }
    let (_, deny) = rules("tool.annotations.destructiveHint");
    assert!(matches!(deny.decide(&caller, &CALL, &AT), Decision::Deny { .. }));
    assert!(matches!(deny.decide(&caller, &CALL, &known), Decision::Allow { .. }));
}

#[test]
fn what_a_client_says_of_itself_only_denies() {
    let said = Untrusted {
        name: Some("evil".into()),
        headers: vec![("user-agent".into(), "curl".into())],
        ..Untrusted::default()
    };
    let context = Context { untrusted: Some(&said), ..AT };
    for (when, expected) in [
        ("untrusted.name == 'evil'", true),
        ("untrusted.headers['user-agent'].startsWith('curl')", true),
        ("untrusted.name == 'good'", false),
        // A missing value is unknown, and unknown denies.
        ("untrusted.version == '1'", true),
        ("has(untrusted.version) && untrusted.version == '1'", false),
    ] {
        let text = format!(
            "[[rule]]\nid = \"r\"\neffect = \"deny\"\ntools = [\"*\"]\nwhen = \"{when}\"\n[[rule]]\nid = \"all\"\ntools = [\"*\"]"
        );
        let denied = matches!(policy(&text).decide(&ana(), &CALL, &context), Decision::Deny { .. });
        assert_eq!(denied, expected, "{when}");
    }
}

/// What depends on the call is unknown when tools are listed; what does not is known.
#[test]
fn lists_show_what_some_call_could_do() {
    let document = Document::parse(r#"{"a":5}"#.into(), &Limits::REQUEST).unwrap();
    let context = AT.with_arguments(Some(document.root()));
    for (when, as_allow, as_deny) in [
        ("args.a > 100", true, true),
        ("now.hour == 3", true, true),
        ("now.hour == 12", true, true),
        ("claims.department == 'hr' && args.a > 100", false, true),
        ("claims.department == 'sales' || args.a > 100", true, false),
        ("claims.department == 'sales'", true, false),
        ("claims.missing == 'x'", true, true),
    ] {
        let (allow, deny) = rules(when);
        assert_eq!(allow.lists(&ana(), SubjectKind::Tool, "delete_x", &context), as_allow, "{when}");
        assert_eq!(deny.lists(&ana(), SubjectKind::Tool, "delete_x", &context), as_deny, "{when}");
    }
    let unknown = Context { arguments: Arguments::Unknown, ..AT };
    assert_eq!(found("args.a > 100", &unknown), 'u');
}

#[test]
fn explains_why_an_expression_cannot_be_told() {
    let text = "[[rule]]\nid = \"r\"\ntools = [\"*\"]\nwhen = \"claims.missing == 'x' && args.a < 5\"";
    let document = Document::parse(r#"{"a":"secret"}"#.into(), &Limits::REQUEST).unwrap();
    let explained = policy(text).explain(&ana(), &CALL, &AT.with_arguments(Some(document.root())));
    let unmet = explained.rules[0].first_unmet().unwrap();
    assert_eq!(unmet.key, "when");
    assert!(!unmet.detail.contains("secret"), "{}", unmet.detail);
}

/// An expression, and what its problem must contain. Columns are those in `when = '''…'''`, which starts at 11.
const REFUSED: &[(&str, &[&str])] = &[
    ("claim.department == 'x'", &[":4:11", "there is no `claim`", "did you mean `claims`?"]),
    ("claims.x = 'y'", &[":4:20", "`=` cannot stand here", "compare with `==`"]),
    ("claims.x and claims.y", &[":4:20", "`and` cannot stand here", "write `&&`"]),
    ("not claims.x", &["write `!` for not"]),
    ("claims.x == ", &["ends too early"]),
    ("claims.x == 'abc", &["a string is not closed"]),
    ("(claims.x", &["ends too early"]),
    ("claims.x)", &[":4:19", "`)` cannot stand here"]),
    ("has(claims)", &["`has` asks for a field"]),
    ("claims.g.exists(1, true)", &["the first argument names the item"]),
    ("size(claims.g)", &["neither true nor false"]),
    ("'x'", &["neither true nor false"]),
    ("claims.level + 1", &["neither true nor false"]),
    ("clams.exists(x, x)", &["there is no `clams`"]),
    ("claims.g.length() > 1", &[":4:20", "  ^^^^^^\n", "there is no function `length`"]),
    ("claims.g.map(x, x)[0]", &["cannot make lists"]),
    ("claims.g.filter(x, x == 1) == []", &["cannot make lists"]),
    ("{'a': 1}.a == 1", &["cannot make objects"]),
    ("Foo{a: 1} == 1", &["cannot make objects"]),
    ("args.?a == 1", &["cannot stand here"]),
    ("now.minute == 1", &[":4:15", "  ^^^^^^\n", "`now` has no `minute`", "known are `unix`, `hour` and `weekday`"]),
    ("client.name == 'x'", &["`client` has no `name`"]),
    ("tool.annotations.readonlyHint", &["no annotation `readonlyHint`", "did you mean `readOnlyHint`?"]),
    ("untrusted.name == 'x'", &["an allow rule cannot look at `untrusted`", "effect = \"deny\""]),
    ("args.a.matches(args.b)", &["takes a pattern written out"]),
    ("args.a.matches('(')", &["not a regular expression: unclosed group"]),
    ("args.a.matches('(?:a{1,1000}){1,1000}')", &["more than 1 MiB"]),
    ("args.a.all(claims, true)", &["`claims` is a name already"]),
    (
        "args.a.exists(x, args.b.exists(y, args.c.exists(z, x == y && y == z)))",
        &["within one another once", "several rules"],
    ),
    ("args.a.all(x, args.b.matches('a'))", &["this could take", "an expression may take 50"]),
    ("args.a.all(x, x in args.b) && args.b.all(y, y in args.a)", &["this could take"]),
    ("99999999999999999999 == 1", &["too large"]),
];

#[test]
fn refuses_expressions_with_place_and_advice() {
    for (when, expected) in REFUSED {
        let text = format!("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nwhen = '''{when}'''");
        let shown = refused(&text);
        for part in *expected {
            assert!(shown.contains(part), "no {part:?} for\n{when}\nin\n{shown}");
        }
        for foreign in ["ANTLR", "expecting", "<EOF>", "token recognition", "IDENTIFIER", "ExprContext"] {
            assert!(!shown.contains(foreign), "{foreign} in {shown}");
        }
    }
}

#[test]
fn one_fault_is_one_problem() {
    for (when, expected) in [("claims.x = 'y'", 1), ("claims.x = claims.y", 1), ("claims.x = 'y' && claims.z = 'y'", 2)]
    {
        let shown = refused(&format!("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nwhen = '''{when}'''"));
        assert_eq!(shown.matches("error: ").count(), expected, "{shown}");
        assert_eq!(shown.matches("compare with `==`").count(), expected, "{shown}");
    }
}

fn refused(text: &str) -> String {
    let mut problems = Problems::new();
    let loaded = from_texts(&[text], &mut problems);
    assert!(problems.has_errors(), "{text:.200}");
    assert!(loaded.policy.is_empty());
    problems.render(false)
}

/// Expressions known to cost parsers of this language much time, memory or stack (cel-rust #306 used a gigabyte for 125 bytes).
/// Each is refused, if possible by its size alone, without the parser.
#[test]
fn survives_expressions_made_to_exhaust() {
    let nested = |open: &str, inside: &str, close: &str, times: usize| {
        format!("{}{inside}{}", open.repeat(times), close.repeat(times))
    };
    let hostile = [
        "x".repeat(64 * 1024),
        "[".repeat(125),
        "(".repeat(4000),
        "{".repeat(4000),
        "[{(".repeat(1300),
        "{1:".repeat(1300),
        nested("(", "1", ")", 2000),
        nested("[", "1", "]", 2000),
        nested("a[", "0", "]", 1300),
        nested("size(", "1", ")", 600),
        nested("claims.g.all(x,", "1", ")", 240),
        format!("{}true", "!".repeat(4000)),
        format!("{}1 == 1", "- ".repeat(2000)),
        format!("{}true", "true?true:".repeat(400)),
        format!("{}true", "a?".repeat(2000)),
        format!("claims{}", ".b".repeat(2000)),
        format!("claims{}", "[0]".repeat(1300)),
        format!("1{} == 1", "+1".repeat(2000)),
        "@".repeat(4000),
        "'".repeat(4001),
        "\"\\".repeat(2000),
        ",".repeat(4000),
        "a ".repeat(2000),
        "\u{1F600}".repeat(1000),
        "\u{0}".repeat(4000),
        "/*".repeat(2000),
        "0x".repeat(2000),
        "r'''".repeat(1000),
    ];
    for text in hostile {
        let quoted = serde_json::to_string(&text).unwrap().replace("\\u0000", "\\u0001");
        refused(&format!("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nwhen = {quoted}"));
    }
    // Long but simple expressions are fine.
    let (plain, _) = rules(&vec!["claims.level == 3"; 80].join(" && "));
    assert!(matches!(plain.decide(&ana(), &CALL, &AT), Decision::Allow { .. }));
}
