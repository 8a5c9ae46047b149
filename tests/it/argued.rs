//! What the record tells of arguments: a keyed hash of what the client wrote, and only where that is asked for.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream, json_answer};

const KEY: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";
const HASH: &str = "sinks = [{ type = \"file\", path = \"audit.jsonl\" }]\narguments = \"hash\"\n\
                    arguments_key_file = \"arguments.key\"\n";

/// By the rule in README and nothing of the proxy's own.
fn by_hand(text: &str) -> String {
    let tag = sign(&Key::new(HMAC_SHA256, &KEY), text.as_bytes());
    format!("hmac-sha256:{}", HEXLOWER.encode(tag.as_ref()))
}

fn hashes(proxy: &Proxy) -> Vec<Value> {
    proxy.audit().iter().map(|line| line["args_hash"].clone()).collect()
}

#[tokio::test]
async fn arguments_are_hashed_as_they_were_written_and_never_told() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).audit(HASH).file("arguments.key", HEXLOWER.encode(&KEY)).start().await;
    let token = proxy.token("ana");
    // Spaces, order and escapes count.
    let odd = "{ \"query\" : \"caf\\u00e9\",\"limit\":3 }";
    let plain = Ask::call("2026-07-28", "search_contacts", &json!({ "query": "x" }));
    let body = String::from_utf8(plain.body.clone()).unwrap().replace("{\"query\":\"x\"}", odd);
    let odd_call = Ask { body: body.into(), ..plain };
    proxy.ask(&odd_call.token(&token)).await;
    assert_eq!(hashes(&proxy), [by_hand(odd), by_hand(odd)]);
    let heard = upstream.take().pop().unwrap();
    assert_eq!(heard.json()["params"]["arguments"], json!({ "query": "café", "limit": 3 }));
    // A refusal has one too; what has no arguments has none.
    proxy.ask(&Ask::call("2026-07-28", "delete_contact", &json!({ "id": "secret-7" })).token(&token)).await;
    proxy.ask(&Ask::modern("tools/list", &json!({})).token(&token)).await;
    assert_eq!(hashes(&proxy)[2..], [json!(by_hand("{\"id\":\"secret-7\"}")), Value::Null, Value::Null]);
    let text = proxy.folder.read("audit.jsonl");
    assert!(!text.contains("caf") && !text.contains("secret-7"), "{text}");

    let proxy = Setup::new(upstream.url()).start().await;
    proxy.ask(&Ask::call("2026-07-28", "search_contacts", &json!({ "query": "x" })).token(&proxy.token("ana"))).await;
    assert_eq!(hashes(&proxy), [Value::Null, Value::Null]);
}

const MASKED: &str = "sinks = [{ type = \"file\", path = \"audit.jsonl\" }]\narguments = \"masked\"\n";

/// What the upstream got, but for what nobody should read in a record; of what was refused, nothing.
#[tokio::test]
async fn masked_arguments_are_told_of_allowed_calls_alone() {
    let policy = "[[rule]]\nid = \"use\"\ntools = [\"search_*\"]\n\
                  [[mask]]\nid = \"names\"\non = [\"arguments\"]\npattern = \"Lopez\"\nlabel = \"NAME\"\naction = \"redact\"\n";
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).policy(policy).audit(MASKED).start().await;
    let token = proxy.token("ana");
    let arguments = json!({ "query": "Lopez", "mail": "ana@example.com", "password": "hunter2", "limit": 3 });
    proxy.ask(&Ask::call("2026-07-28", "search_contacts", &arguments).token(&token)).await;
    let got = upstream.take().pop().unwrap().json()["params"]["arguments"].clone();
    assert_eq!((&got["mail"], &got["password"]), (&arguments["mail"], &arguments["password"]), "no mask is for these");
    let lines = proxy.audit();
    let told: Value = serde_json::from_str(lines[0]["args"].as_str().unwrap()).unwrap();
    assert_eq!(told["query"], got["query"]);
    assert_ne!(told["query"], "Lopez");
    assert_eq!(
        (&told["mail"], &told["password"], &told["limit"]),
        (&json!("[EMAIL_ADDRESS]"), &json!("[SECRET]"), &json!(3))
    );
    assert_eq!((&lines[1]["event"], &lines[1]["args"]), (&json!("end"), &Value::Null), "once for a call");

    let long = json!({ "query": "y ".repeat(20_000) });
    proxy.ask(&Ask::call("2026-07-28", "search_contacts", &long).token(&token)).await;
    let line = &proxy.audit()[2];
    assert!(line["args"].as_str().unwrap().ends_with('…'));
    assert_eq!(line["args_bytes"], long.to_string().len());

    proxy.ask(&Ask::call("2026-07-28", "delete_contact", &json!({ "id": "unseen-7" })).token(&token)).await;
    proxy.ask(&Ask::modern("tools/list", &json!({})).token(&token)).await;
    let lines = proxy.audit();
    assert_eq!(lines[4]["decision"], "deny");
    assert!(lines[4..].iter().all(|line| line["args"].is_null() && line["args_hash"].is_null()));
    let text = proxy.folder.read("audit.jsonl");
    assert!(["unseen-7", "hunter2", "Lopez", "ana@"].iter().all(|word| !text.contains(word)), "{text}");
}

/// What was put back for the upstream is in no hash: who holds the key could try addresses on it.
#[tokio::test]
async fn a_pseudonym_is_hashed_and_not_what_it_stands_for() {
    let policy = "[[rule]]\nid = \"use\"\ntools = [\"*\"]\n\
                  [[mask]]\nid = \"contacts\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"tokenize\"\n\
                  restore = [{ tool = \"send_mail\", args = [\"/to\"], entities = [\"EMAIL_ADDRESS\"] }]\n";
    let upstream = Upstream::answering(|heard| {
        let result = json!({ "content": [], "structuredContent": { "mail": "ana.lopez@example.com" } });
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await;
    let setup = Setup::new(upstream.url()).policy(policy).audit(HASH).file("arguments.key", KEY);
    let proxy = setup.start().await;
    let token = proxy.token("ana");
    let call = |tool: &str, arguments: &Value| Ask::call("2026-07-28", tool, arguments).token(&token);
    let seen = proxy.ask(&call("get_contact", &json!({}))).await.message();
    let arguments = json!({ "to": seen["result"]["structuredContent"]["mail"] });
    upstream.take();
    proxy.ask(&call("send_mail", &arguments)).await;
    assert_eq!(upstream.take().pop().unwrap().json()["params"]["arguments"], json!({ "to": "ana.lopez@example.com" }));
    assert_eq!(hashes(&proxy)[2..], [by_hand(&arguments.to_string()), by_hand(&arguments.to_string())]);
}
