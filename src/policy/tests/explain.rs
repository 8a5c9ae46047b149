//! The first unmet condition of every rule, and its place.

use serde_json::{Value as Json, json};

use super::{AT, policy};
use crate::auth::Caller;
use crate::json::{Document, Limits};
use crate::mcp::SubjectKind;
use crate::policy::{Holds, Operation, RuleTrace};

const RULES: &str = r#"
[[rule]]
id = "other"
tools = ["put_*"]
[[rule]]
id = "scoped"
tools = ["get_*"]
scopes = ["a", "b"]
scopes_any = ["c", "d"]
[[rule]]
id = "args"
tools = ["get_*"]
scopes = ["a"]
[rule.args]
owner = { equals = "${claims.email}", max_length = 9 }
[[rule]]
id = "method"
effect = "deny"
tools = ["GET_*"]
methods = ["completion/complete"]
[[rule]]
id = "issuer"
tools = ["*"]
issuer = ["partner"]
[[rule]]
id = "prompts"
prompts = ["*"]
[[rule]]
id = "tasks"
methods = ["tasks/get"]
"#;

fn traces(arguments: &str) -> Vec<RuleTrace> {
    let Json::Object(claims) = json!({"scope": "a", "email": "a@b"}) else { panic!() };
    let caller = Caller::unverified("corp", claims);
    let document = Document::parse(arguments.to_owned().into(), &Limits::REQUEST).unwrap();
    let operation = Operation { method: "tools/call", kind: Some(SubjectKind::Tool), name: "get_x" };
    policy(RULES).explain(&caller, &operation, &AT.with_arguments(Some(document.root()))).rules
}

#[test]
fn says_of_every_rule_what_it_misses_and_where() {
    let found: Vec<String> = traces(r#"{"owner":"other"}"#)
        .iter()
        .map(|trace| {
            let unmet = trace.first_unmet().unwrap();
            let (line, _) = trace.source.position(unmet.span.start);
            assert!(!trace.matches);
            format!("{} {} {:?} {line} {}", trace.id, unmet.key, unmet.holds, unmet.detail)
        })
        .collect();
    assert_eq!(
        found,
        [
            "other tools No 4 does not list `get_x`",
            "scoped scopes No 8 missing b",
            "args args No 15 /owner does not meet equals: it differs",
            "method methods No 20 does not list `tools/call`",
            "issuer issuer No 24 the token is from `corp`",
            "prompts tools No 25 lists no tools",
            "tasks methods No 30 is about methods that have no subject",
        ]
    );
}

#[test]
fn tells_a_rule_that_matches_from_one_that_lacks_scopes() {
    let traces = traces(r#"{"owner":"a@b"}"#);
    assert!(traces[2].matches && traces[2].first_unmet().is_none());
    assert!(traces[1].lacks_only_scopes() && !traces[0].lacks_only_scopes());
    assert_eq!(traces[1].conditions.iter().filter(|condition| condition.holds == Holds::No).count(), 2);
}
