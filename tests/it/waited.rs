//! Calls that were decided and then wait: whoever would not be let in any more by the time they are sent is refused, and the
//! upstream hears nothing of it.

use std::sync::Arc;

use portcullis::clock::Timestamp;
use portcullis::server::drain::Signal;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::exchange::ACCESS_TOKEN;
use crate::revoked::{push, push_setup, set};
use crate::support::{Answer, Ask, LASTS, Proxy, Setup, Upstream, json_answer, token_of, until, within};

const OPEN: &str = "[[rule]]
id = \"any\"
tools = [\"*\"]

[[rule]]
id = \"asks\"
methods = [\"elicitation/create\"]
";
const ONE: &str = "concurrency = { max_in_flight = 1 }\nschema = \"off\"";

/// A server that answers one request for each permit.
async fn holding(answer: fn(&Value) -> Value) -> (Upstream, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let taken = permits.clone();
    let upstream = Upstream::handling(move |heard, mut connection| {
        let permits = taken.clone();
        async move {
            permits.acquire().await.unwrap().forget();
            // What is asked of a token endpoint is a form.
            let asked = serde_json::from_slice(&heard.body).unwrap_or_default();
            connection.send(json_answer(200, &answer(&asked).to_string())).await;
            Some(connection)
        }
    })
    .await;
    (upstream, permits)
}

/// A result; of a tool that asks, only once it has been answered.
fn done(asked: &Value) -> Value {
    let params = &asked["params"];
    let mut result = json!({ "content": [] });
    if params["name"] == "ask" && params.get("requestState").is_none() {
        let question =
            json!({ "mode": "form", "message": "?", "requestedSchema": { "type": "object", "properties": {} } });
        result = json!({ "resultType": "input_required", "requestState": "up-state",
            "inputRequests": { "k": { "method": "elicitation/create", "params": question } } });
    }
    json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result })
}

fn token(_: &Value) -> Value {
    json!({ "access_token": "issued", "token_type": "Bearer", "expires_in": 300, "issued_token_type": ACCESS_TOKEN })
}

fn call(token: &str) -> Ask {
    Ask::call("2025-11-25", "search_contacts", &json!({})).token(token)
}

async fn begin(proxy: &Proxy, ask: Ask) -> JoinHandle<Answer> {
    let mut client = proxy.client().await;
    client.send(&ask.bytes()).await;
    tokio::spawn(async move { client.answer().await.unwrap() })
}

async fn waits(proxy: &Proxy) {
    until("a call that waits", async || {
        let metrics = proxy.admin("/metrics").await;
        metrics
            .text()
            .lines()
            .any(|line| line.starts_with("portcullis_upstream_queue{") && line.ends_with(" 1"))
            .then_some(())
    })
    .await;
}

/// Ways for a caller to be let in no more, while its call waits.
const WAYS: [&str; 4] = ["signal", "list", "key", "time"];

fn setup(upstream: &Upstream) -> Setup {
    let keys = "revocation_file = \"revoked.jsonl\"\njwks = { deny_kids = [\"x\"] }";
    push_setup(upstream).policy(OPEN).server(ONE).file("revoked.jsonl", "").issuer_keys(keys)
}

/// A token that is let in now, and for `seconds` where time is to end it.
fn token_for(proxy: &Proxy, way: &str, seconds: i64) -> String {
    let mut claims = token_of(&proxy.issuer, "ana");
    if way == "time" {
        // With the leeway of a minute.
        claims.insert("exp".into(), json!(Timestamp::now().unix_seconds() - 60 + seconds));
    }
    proxy.mint(&claims)
}

async fn end(proxy: &Proxy, way: &str, token: &str) {
    match way {
        "signal" => {
            let subject = json!({ "format": "iss_sub", "iss": proxy.issuer.url(), "sub": "ana" });
            assert_eq!(push(proxy, &set(proxy, &subject, &json!({}))).await.status, 202);
        }
        "list" => {
            proxy.folder.write("revoked.jsonl", "{\"sub\":\"ana\"}\n");
            proxy.signal(Signal::Reload).await;
        }
        "key" => {
            let head = token.split('.').next().unwrap();
            let head = data_encoding::BASE64URL_NOPAD.decode(head.as_bytes()).unwrap();
            let kid = serde_json::from_slice::<Value>(&head).unwrap()["kid"].clone();
            proxy.reload(("deny_kids = [\"x\"]", &format!("deny_kids = [{kid}]"))).await;
        }
        _ => {}
    }
    // It would not be let in any more.
    let listing = Ask::legacy("tools/list", &json!({})).token(token).header("Mcp-Session-Id", "none");
    until("the end of it", async || (proxy.ask(&listing).await.status == 401).then_some(())).await;
}

/// The answer, and what is written and counted of it.
async fn is_refused(proxy: &Proxy, answer: &Answer, way: &str) {
    let error = match way {
        "time" => "expired",
        "key" => "unknown_key",
        _ => "revoked",
    };
    assert_eq!(answer.status, 401, "{way}: {answer:?}");
    assert_eq!(answer.json()["error"]["code"], -31401, "{way}");
    assert_eq!(answer.json()["id"], 7, "{way}");
    assert!(answer.header("www-authenticate").unwrap().contains("error=\"invalid_token\""), "{way}: {answer:?}");
    let id = answer.header("x-request-id").unwrap();
    let lines: Vec<_> = proxy.audit().into_iter().filter(|line| line["request_id"] == id).collect();
    let [call, end] = &lines[..] else { panic!("{way}: {lines:?}") };
    assert_eq!((&call["event"], &call["decision"]), (&json!("call"), &json!("allow")), "{way}");
    assert_eq!((&end["event"], &end["error"], &end["http"]), (&json!("end"), &json!(error), &json!(401)), "{way}");
    let counted = format!("portcullis_errors_total{{server=\"crm\",reason=\"{error}\"}} ");
    let metrics = proxy.admin("/metrics").await;
    assert!(metrics.text().contains(&counted), "{way}: {}", metrics.text());
}

#[tokio::test]
async fn who_is_let_in_no_more_does_not_come_out_of_the_queue() {
    for way in WAYS {
        let (upstream, permits) = holding(done).await;
        let proxy = setup(&upstream).start().await;
        let first = begin(&proxy, call(&proxy.token("max"))).await;
        upstream.wait_for(1).await;
        let token = token_for(&proxy, way, LASTS);
        let second = begin(&proxy, call(&token)).await;
        waits(&proxy).await;
        end(&proxy, way, &token).await;
        permits.add_permits(2);
        // Of a key that is denied the other call is none the worse: it was sent before.
        assert_eq!(within("the first", first).await.unwrap().status, 200);
        is_refused(&proxy, &within("the second", second).await.unwrap(), way).await;
        assert_eq!(upstream.take().len(), 1, "{way}");
    }
}

#[tokio::test]
async fn who_is_let_in_no_more_is_not_called_for_with_a_token_that_comes_late() {
    for way in WAYS {
        let mut tries = 0;
        while !is_refused_with_a_late_token(way).await {
            tries += 1;
            assert!(way == "time" && tries < 5, "{way}: {tries} tries");
        }
    }
}

/// Whether the answer of the authorization server came in time: the proxy waits five seconds for it, of which the token has
/// to be over for some, which a machine that is busy with something else may not see.
async fn is_refused_with_a_late_token(way: &str) -> bool {
    let (server, permits) = holding(token).await;
    let upstream = Upstream::plain().await;
    let auth = format!(
        "upstream_auth = {{ type = \"token_exchange\", token_endpoint = \"http://{}/token\", client_id = \"gate\", client_secret = {{ file = \"client-secret\" }}, audience = \"crm-api\" }}",
        server.address
    );
    let proxy = setup(&upstream).file("client-secret", "s").server(&auth).start().await;
    let token = token_for(&proxy, way, 3);
    let mut waiting = begin(&proxy, call(&token)).await;
    tokio::select! {
        () = server.wait_for(1) => {}
        _ = &mut waiting => return false,
    }
    end(&proxy, way, &token).await;
    permits.add_permits(8);
    let answer = within("the answer", waiting).await.unwrap();
    assert_eq!(upstream.take().len(), 0, "{way}");
    if answer.status == 503 {
        return false;
    }
    is_refused(&proxy, &answer, way).await;
    true
}

#[tokio::test]
async fn what_a_refused_call_would_have_used_up_is_as_good_as_before() {
    let (upstream, permits) = holding(done).await;
    let proxy = setup(&upstream).start().await;
    let token = |id: &str| {
        let mut claims = token_of(&proxy.issuer, "ana");
        claims.insert("jti".into(), json!(id));
        proxy.mint(&claims)
    };
    let (stolen, other) = (token("stolen"), token("other"));
    let ask = |token: &str, state: Option<&Value>| {
        let mut params = json!({ "name": "ask", "arguments": {} });
        if let Some(state) = state {
            params["requestState"] = state.clone();
            params["inputResponses"] = json!({ "k": { "action": "accept", "content": {} } });
        }
        Ask::modern("tools/call", &params).token(token)
    };
    permits.add_permits(1);
    let state = proxy.ask(&ask(&stolen, None)).await.message()["result"]["requestState"].clone();
    assert!(state.is_string());
    let first = begin(&proxy, call(&proxy.token("max"))).await;
    upstream.wait_for(2).await;
    let second = begin(&proxy, ask(&stolen, Some(&state))).await;
    waits(&proxy).await;
    proxy.folder.write("revoked.jsonl", "{\"jti\":\"stolen\"}\n");
    proxy.signal(Signal::Reload).await;
    let listing = Ask::modern("tools/list", &json!({})).token(&stolen);
    until("the end of it", async || (proxy.ask(&listing).await.status == 401).then_some(())).await;
    permits.add_permits(2);
    assert_eq!(within("the first", first).await.unwrap().status, 200);
    is_refused(&proxy, &within("the second", second).await.unwrap(), "list").await;
    upstream.take();
    let answer = proxy.ask(&ask(&other, Some(&state))).await;
    assert!(answer.message().get("result").is_some(), "{answer:?}");
    assert_eq!(upstream.take()[0].json()["params"]["requestState"], "up-state");
}
