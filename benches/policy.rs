//! Decisions over many rules, and loading them, on one thread: `cargo bench --bench policy`.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to go on with")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use divan::{Bencher, black_box};
use portcullis::auth::Caller;
use portcullis::clock::Timestamp;
use portcullis::config::{self, Problems};
use portcullis::json::{Document, Limits};
use portcullis::mcp::{self, SubjectKind};
use portcullis::policy::schema::Schema;
use portcullis::policy::tools::Tools;
use portcullis::policy::{self, Context, Decision, Operation, Policy};
use portcullis::{cli, reply};
use serde_json::{Value, json};

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

/// Five properties as a tool has them, and arguments that fit.
#[divan::bench]
fn input_schema_of_five_properties(bencher: Bencher<'_, '_>) {
    let schema = Document::parse(schema().to_string().into(), &Limits::ANSWER).unwrap();
    let schema = Schema::compile(schema.root()).unwrap();
    let arguments = Document::parse(ARGUMENTS.into(), &Limits::REQUEST).unwrap();
    assert_eq!(schema.check(Some(arguments.root())), Ok(()));
    bencher.bench_local(|| schema.check(black_box(Some(arguments.root()))));
}

fn schema() -> Value {
    json!({
        "type": "object", "required": ["id"], "additionalProperties": false,
        "properties": {
            "id": { "type": "integer", "minimum": 1 },
            "owner": { "type": "string", "maxLength": 100 },
            "amount": { "type": "integer", "minimum": 0, "maximum": 1_000_000 },
            "status": { "type": "string", "enum": ["lead", "customer", "lost"] },
            "notes": { "type": "string", "pattern": "^[a-z ]*$" },
        },
    })
}

/// Two hundred tools of some 600 bytes: half of them are hidden from this caller, the other half narrowed.
#[divan::bench]
fn list_of_two_hundred_tools(bencher: Bencher<'_, '_>) {
    let tool = |at: usize| {
        json!({
            "name": format!("{}_{at}", if at.is_multiple_of(2) { "get" } else { "put" }), "title": "A tool",
            "description": "Finds contacts by name, company or e-mail address, the newest first, as many as are asked for. ".repeat(2),
            "inputSchema": schema(),
        })
    };
    let result = json!({ "tools": (0..200).map(tool).collect::<Vec<_>>() }).to_string();
    let result = Document::parse(result.into(), &Limits::ANSWER).unwrap();
    let rules = "[[rule]]\nid = \"get\"\ntools = [\"get_*\"]\nscopes = [\"s7000\"]\n[rule.args]\namount = { maximum = 100 }\n\
                 [[rule]]\nid = \"put\"\ntools = [\"put_*\"]\nscopes = [\"w\"]\nstep_up = false\n\
                 [[mask]]\nid = \"pii\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\", \"CREDIT_CARD\", \"SECRET\"]\n";
    let mut problems = Problems::default();
    let mut loaded = policy::load(&[file("list.toml", rules)], &mut problems);
    let masks = loaded.compile_masks(&mut problems).unwrap();
    let tools = Tools::new(&config::Tools::default(), None, "127.0.0.1", true);
    let (caller, method) = (caller(), mcp::find("tools/list").unwrap());
    let context = Context::at(Timestamp::now());
    let shown = || reply::shown_list((&loaded.policy, &tools, &masks), &caller, &context, method, black_box(&result));
    let list: Value = serde_json::from_slice(&shown().unwrap()).unwrap();
    let list = list["tools"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]["inputSchema"]["properties"]["amount"]["maximum"]), (100, &json!(100)));
    bencher.bench_local(shown);
}

/// A thousand cases in one file, loaded, run and printed as `portcullis test` does.
#[divan::bench(sample_count = 10)]
fn test_of_a_thousand_cases(bencher: Bencher<'_, '_>) {
    let mut text = "[[rule]]\nid = \"get\"\ntools = [\"get_*\"]\nscopes = [\"r\"]\nwhen = \"args.n < 5000\"\n\
                    [[mask]]\nid = \"pii\"\non = [\"arguments\", \"result\"]\nentities = [\"EMAIL_ADDRESS\", \"SECRET\"]\n"
        .to_owned();
    for at in 0..1000 {
        let _ = write!(
            text,
            "[[test]]\nname = \"case {at}\"\nscopes = [\"r\"]\ncall = {{ tool = \"get_{at}\", args = {{ n = {at} }} }}\n\
             result = \"mail ana@example.com\"\nexpect = {{ decision = \"allow\", rule = \"get\", result = \"mail [EMAIL_ADDRESS]\" }}\n"
        );
    }
    let path = file("cases.toml", &text);
    let cli = cli::Cli::parse_from(["portcullis".as_ref(), "test".as_ref(), path.as_os_str()]);
    bencher.bench_local(|| {
        let (mut input, mut out, mut err) = (&b""[..], Vec::new(), Vec::new());
        let streams = &mut cli::Streams {
            input: &mut input,
            out: &mut out,
            err: &mut err,
            out_color: false,
            err_color: false,
            can_ask: false,
        };
        assert_eq!(cli::run(black_box(&cli), streams), cli::Exit::Done, "{}", String::from_utf8_lossy(&out));
    });
}

/// Ten thousand rules, a thousand different expressions among them.
#[divan::bench(sample_count = 10)]
fn load_with_expressions(bencher: Bencher<'_, '_>) {
    let when = |at: usize| format!("when = \"claims.department == 'sales' && args.amount < {}\"", at % 1000);
    let path = file("load.toml", &rules(when));
    bencher.bench_local(|| load(black_box(&path)));
}
