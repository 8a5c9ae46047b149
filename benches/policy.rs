//! Decisions over many rules, and loading them, on one thread: `cargo bench --bench policy`.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to go on with")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use divan::{Bencher, black_box};
use portcullis::auth::Caller;
use portcullis::clock::Timestamp;
use portcullis::config::Problems;
use portcullis::json::{Document, Limits};
use portcullis::mcp::SubjectKind;
use portcullis::policy::{self, Context, Decision, Operation, Policy};
use serde_json::json;

const RULES: usize = 10_000;
const CALL: Operation<'static> = Operation { method: "tools/call", kind: Some(SubjectKind::Tool), name: "update" };
const ARGUMENTS: &str = r#"{"id":7,"owner":"ana@example.com","amount":120,"status":"lead","notes":"call back"}"#;

fn main() {
    divan::main();
}

/// Every rule lists the same tool, each under a scope of its own.
fn rules(more: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for at in 0..RULES {
        let _ = write!(text, "[[rule]]\nid = \"r{at}\"\ntools = [\"update\"]\nscopes = [\"s{at}\"]\n{}\n", more(at));
    }
    text
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn load(path: &Path) -> Policy {
    let mut problems = Problems::default();
    let loaded = policy::load(&[path.to_owned()], &mut problems);
    assert_eq!(loaded.policy.len(), RULES, "{}", problems.render(false));
    loaded.policy
}

fn caller() -> Caller {
    let claims = json!({
        "iss": "https://login.example.com", "sub": "ana", "email": "ana@example.com", "department": "sales",
        "groups": ["crm", "emea"], "scope": "s7000 openid profile",
    });
    Caller::unverified("corp", claims.as_object().unwrap().clone())
}

fn decide(bencher: Bencher<'_, '_>, policy: &Policy) {
    let (caller, document) = (caller(), Document::parse(ARGUMENTS.into(), &Limits::REQUEST).unwrap());
    let context = Context::at(Timestamp::now()).with_arguments(Some(document.root()));
    let decision = policy.decide(&caller, &CALL, &context);
    assert!(matches!(decision, Decision::Allow { .. }), "{decision:?}");
    bencher.bench_local(|| policy.decide(black_box(&caller), black_box(&CALL), black_box(&context)));
}

#[divan::bench]
fn scopes_decide(bencher: Bencher<'_, '_>) {
    decide(bencher, &load(&file("scopes.toml", &rules(|_| String::new()))));
}

#[divan::bench]
fn arguments_decide(bencher: Bencher<'_, '_>) {
    let args = "[rule.args]\nowner = { equals = \"${claims.email}\" }\namount = { maximum = 10000 }\nstatus = { enum = [\"lead\", \"customer\"] }\nadditional = true";
    decide(bencher, &load(&file("args.toml", &rules(|_| args.to_owned()))));
}

#[divan::bench]
fn an_expression_decides(bencher: Bencher<'_, '_>) {
    let when = "when = \"(claims.department == 'sales' || 'crm-admins' in claims.groups) && args.amount < 10000\"";
    decide(bencher, &load(&file("when.toml", &rules(|_| when.to_owned()))));
}

/// Ten thousand rules, a thousand different expressions among them.
#[divan::bench(sample_count = 10)]
fn load_with_expressions(bencher: Bencher<'_, '_>) {
    let when = |at: usize| format!("when = \"claims.department == 'sales' && args.amount < {}\"", at % 1000);
    let path = file("load.toml", &rules(when));
    bencher.bench_local(|| load(black_box(&path)));
}
