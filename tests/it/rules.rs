//! What a rule asks besides names and scopes, as the client and the upstream see it.

use serde_json::{Value, json};

use crate::support::{Answer, Ask, Proxy, Setup, Upstream, json_answer};

const ERAS: [&str; 2] = ["2025-11-25", "2026-07-28"];

async fn started(upstream: &Upstream, policy: &str) -> Proxy {
    upstream.offer(&json!([
        { "name": "pay", "inputSchema": { "type": "object", "properties": { "amount": {}, "owner": {} } } },
        { "name": "wipe", "inputSchema": { "type": "object" } },
    ]));
    Setup::new(upstream.url()).policy(policy).start().await
}

fn text(answer: &Answer) -> String {
    let answer = answer.json();
    let text = &answer["result"]["content"][0]["text"];
    text.as_str().or(answer["error"]["message"].as_str()).unwrap_or_default().to_owned()
}

/// agentgateway #2069: the arguments of a call are decided on, and no value of them comes back.
#[tokio::test]
async fn a_call_is_decided_by_its_arguments_and_claims() {
    let policy = r#"
        [[rule]]
        id = "pay"
        tools = ["pay"]
        when = "claims.sub == 'ana' && args.amount != 13"
        [rule.args]
        owner = { equals = "${claims.sub}" }
        amount = { maximum = 100 }
        [[rule]]
        id = "no-round"
        effect = "deny"
        tools = ["pay"]
        when = "args.amount == 50"
        reason = "Not fifty"
    "#;
    let upstream = Upstream::plain().await;
    let proxy = started(&upstream, policy).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    for revision in ERAS {
        for (arguments, told) in [
            (json!({ "owner": "ana", "amount": 100 }), None),
            (
                json!({ "owner": "ana", "amount": 123_454_321 }),
                Some("(rule pay): argument /amount does not meet maximum"),
            ),
            (json!({ "owner": "max", "amount": 1 }), Some("(rule pay): argument /owner does not meet equals")),
            (json!({ "owner": "ana", "amount": 1, "x": 1 }), Some("argument /x does not meet additional")),
            (json!({ "owner": "ana", "amount": "1" }), Some("Denied by policy")),
            (json!({ "owner": "ana", "amount": 13 }), Some("Denied by policy")),
            (json!({ "owner": "ana", "amount": 50 }), Some("(rule no-round): Not fifty")),
        ] {
            let answer = proxy.ask(&Ask::call(revision, "pay", &arguments).token(&ana)).await;
            let heard = upstream.take();
            let Some(told) = told else {
                assert_eq!(heard[0].json()["params"]["arguments"], arguments, "{answer:?}");
                continue;
            };
            assert!(heard.is_empty(), "{arguments}");
            assert_eq!((answer.status, &answer.json()["result"]["isError"]), (200, &json!(true)), "{arguments}");
            assert!(text(&answer).contains(told), "{arguments}: {}", text(&answer));
            assert!(!text(&answer).contains("123454321"));
        }
        // To others the tool does not exist.
        let answer = proxy.ask(&Ask::call(revision, "pay", &json!({ "owner": "max" })).token(&max)).await;
        assert_eq!(text(&answer), "Unknown tool: pay");
        upstream.take();
    }
}

#[tokio::test]
async fn a_rule_in_shadow_is_recorded_and_does_nothing() {
    let policy = "[[rule]]\nid = \"all\"\ntools = [\"*\"]\n[[rule]]\nid = \"no-wipe\"\neffect = \"deny\"\ntools = [\"wipe\"]\nmode = \"shadow\"\n";
    let upstream = Upstream::plain().await;
    let proxy = started(&upstream, policy).await;
    let token = proxy.token("ana");
    for tool in ["pay", "wipe"] {
        assert_eq!(proxy.ask(&Ask::call("2025-11-25", tool, &json!({})).token(&token)).await.status, 200);
        assert_eq!(upstream.take().len(), 1);
    }
    let shadows: Vec<Value> = proxy.audit().into_iter().map(|line| json!([line["tool"], line["shadow"]])).collect();
    let [pay, wipe] = [json!(["pay", false]), json!(["wipe", true])];
    assert_eq!(shadows, [pay.clone(), pay, wipe.clone(), wipe]);
    let metrics = proxy.admin("/metrics").await;
    let counted = metrics.text().lines().find(|line| line.contains("shadow_deny")).unwrap_or_default();
    assert!(counted.contains("rule=\"no-wipe\"") && counted.ends_with(" 1"), "{counted}");
}

#[tokio::test]
async fn more_calls_than_a_rule_allows_are_told_when_to_come_back() {
    let policy = "[[rule]]\nid = \"some\"\ntools = [\"pay\"]\nlimit = { rate = \"2/hour\", per = \"subject\" }\n[[rule]]\nid = \"rest\"\ntools = [\"*\"]\n";
    let upstream = Upstream::plain().await;
    let proxy = started(&upstream, policy).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let pay = |token: &str| Ask::call("2026-07-28", "pay", &json!({})).token(token);
    for _ in 0..2 {
        assert_eq!(proxy.ask(&pay(&ana)).await.status, 200);
    }
    let refused = proxy.ask(&pay(&ana)).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!(-31429)));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    assert!(text(&refused).starts_with("Too many calls (rule some). Request "), "{}", text(&refused));
    assert_eq!(upstream.take().len(), 2);
    assert_eq!(proxy.ask(&pay(&max)).await.status, 200, "another subject");
    assert_eq!(proxy.ask(&Ask::call("2026-07-28", "wipe", &json!({})).token(&ana)).await.status, 200, "another rule");
}

/// A rule's own `timeout` holds for the calls it allows, and only those.
#[tokio::test]
async fn a_rules_timeout_ends_a_call_its_server_would_wait_for() {
    let policy =
        "[[rule]]\nid = \"soon\"\ntools = [\"pay\"]\ntimeout = \"50ms\"\n[[rule]]\nid = \"rest\"\ntools = [\"*\"]\n";
    let upstream = Upstream::handling(|heard, mut connection| async move {
        if heard.json()["params"]["name"] == "pay" {
            connection.hung_up().await;
            return None;
        }
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[]}}}}"#, heard.id());
        connection.send(json_answer(200, &answer)).await;
        Some(connection)
    })
    .await;
    let proxy = started(&upstream, policy).await;
    let token = proxy.token("ana");
    for revision in ERAS {
        let late = proxy.ask(&Ask::call(revision, "pay", &json!({})).token(&token)).await;
        assert_eq!((late.status, &late.json()["error"]["code"]), (504, &json!(-31504)), "{late:?}");
        let other = proxy.ask(&Ask::call(revision, "wipe", &json!({})).token(&token)).await;
        assert_eq!((other.status, upstream.take().len()), (200, 2), "{other:?}");
    }
}

#[tokio::test]
async fn calls_at_once_are_counted_until_their_answer_has_ended() {
    let policy = "[[rule]]\nid = \"one\"\ntools = [\"*\"]\nlimit = { concurrency = 1 }\n";
    let (upstream, mut driver) = Upstream::driven().await;
    let proxy = Setup::new(upstream.url()).policy(policy).server("schema = \"off\"").start().await;
    let token = proxy.token("ana");
    let call = Ask::call("2025-11-25", "pay", &json!({})).token(&token);
    let mut first = proxy.client().await;
    first.send(&call.bytes()).await;
    upstream.wait_for(1).await;
    assert_eq!(proxy.ask(&call).await.status, 429);
    drop(first);
    driver.hung_up().await;
    let mut second = proxy.client().await;
    second.send(&call.bytes()).await;
    upstream.wait_for(2).await;
}
