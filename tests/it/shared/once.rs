//! What may be used once is used once in all processes, and not at all where the store cannot say so.

use serde_json::{Value, json};

use super::{search, setup};
use crate::possession::{Key, bound, with_proof};
use crate::support::{Answer, Ask, Mood, Proxy, Store, Upstream, json_answer, until};

async fn two(upstream: &Upstream, store: &Store) -> (Proxy, Proxy) {
    let first = setup(upstream, store, "").start().await;
    let second = setup(upstream, store, "").issuer(&first.issuer).start().await;
    for proxy in [&first, &second] {
        is_up(proxy).await;
    }
    store.take();
    (first, second)
}

pub(super) async fn is_up(proxy: &Proxy) {
    until("the store", async || {
        let metrics = proxy.admin("/metrics").await;
        metrics.text().contains("portcullis_state_up{store=\"redis\"} 1").then_some(())
    })
    .await;
}

fn unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], -31503);
}

#[tokio::test]
async fn rfc_9449_a_proof_that_one_process_took_is_refused_by_the_other() {
    let (upstream, store) = (Upstream::plain().await, Store::new().await);
    let (first, second) = two(&upstream, &store).await;
    let key = Key::new();
    let token = bound(&first, &json!({"jkt": key.thumbprint()}));
    let proof = key.proof(&token, &json!({}));
    assert_eq!(first.ask(&with_proof(&token, &proof)).await.status, 200);
    let replayed = second.ask(&with_proof(&token, &proof)).await;
    assert_eq!(replayed.status, 401, "{replayed:?}");
    assert!(replayed.values("www-authenticate")[1].contains("error=\"invalid_dpop_proof\""));
    let heard = store.take();
    assert_eq!(heard.len(), 2, "{heard:?}");
    for said in &heard {
        assert!(said[1].starts_with("portcullis:jti:") && !said[1].contains("ana"), "{said:?}");
        assert_eq!(said[3..5], ["NX", "EX"]);
        // As long as the proof is good, and a minute for clocks that differ.
        let seconds: u64 = said[5].parse().unwrap();
        assert!((60..=125).contains(&seconds), "{said:?}");
    }
    // The same process refuses it without a question; a bearer token asks nothing.
    assert_eq!(first.ask(&with_proof(&token, &proof)).await.status, 401);
    assert_eq!(first.ask(&search(&first.token("ana"))).await.status, 200);
    assert!(store.take().is_empty());
    assert_eq!(second.ask(&with_proof(&token, &key.proof(&token, &json!({})))).await.status, 200);
    assert_eq!(upstream.take().len(), 3);
}

#[tokio::test]
async fn a_proof_that_nobody_can_vouch_for_opens_nothing() {
    let (upstream, store) = (Upstream::plain().await, Store::new().await);
    let proxy = setup(&upstream, &store, "on_error = \"local\"").start().await;
    is_up(&proxy).await;
    let key = Key::new();
    let token = bound(&proxy, &json!({"jkt": key.thumbprint()}));
    store.set(Mood::Error("OOM command not allowed when used memory > 'maxmemory'."));
    unavailable(&proxy.ask(&with_proof(&token, &key.proof(&token, &json!({})))).await);
    assert!(upstream.take().is_empty());
    store.set(Mood::Well);
    assert_eq!(proxy.ask(&with_proof(&token, &key.proof(&token, &json!({})))).await.status, 200);
    let metrics = proxy.admin("/metrics").await;
    assert!(metrics.text().contains("portcullis_state_errors_total{op=\"proof\"} 1"), "{}", metrics.text());
}

/// A server that asks before it does anything.
async fn asking() -> Upstream {
    Upstream::answering(|heard| {
        let message = heard.json();
        let result = match message["params"].get("requestState") {
            Some(_) => json!({ "content": [] }),
            None => json!({ "resultType": "input_required", "requestState": "up-state" }),
        };
        json_answer(200, &json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string())
    })
    .await
}

fn with_state(token: &str, state: Option<&Value>) -> Ask {
    let mut params = json!({ "name": "search_contacts", "arguments": {} });
    if let Some(state) = state {
        params["requestState"] = state.clone();
    }
    Ask::modern("tools/call", &params).token(token)
}

#[tokio::test]
async fn a_state_that_one_process_took_is_refused_by_the_other() {
    let (upstream, store) = (asking().await, Store::new().await);
    let (first, second) = two(&upstream, &store).await;
    let ana = first.token("ana");
    let asked = async |proxy: &Proxy| {
        let answer = proxy.ask(&with_state(&ana, None)).await;
        upstream.take();
        answer.message()["result"]["requestState"].clone()
    };
    let state = asked(&first).await;
    assert!(state.is_string());
    // Whichever process made it: the keys are the same.
    assert_eq!(second.ask(&with_state(&ana, Some(&state))).await.status, 200);
    assert_eq!(upstream.take()[0].json()["params"]["requestState"], "up-state");
    let again = first.ask(&with_state(&ana, Some(&state))).await;
    assert_eq!(again.json()["error"]["code"], -32602, "{again:?}");
    assert!(again.text().contains("used before") && upstream.take().is_empty());
    let heard = store.take();
    assert!(heard.len() == 2 && heard.iter().all(|said| said[1].starts_with("portcullis:spent:")), "{heard:?}");
    // Nobody can say whether this one was used; later it can be.
    let state = asked(&second).await;
    store.set(Mood::Error("WRONGTYPE Operation against a key holding the wrong kind of value"));
    unavailable(&second.ask(&with_state(&ana, Some(&state))).await);
    assert!(upstream.take().is_empty());
    store.set(Mood::Well);
    assert_eq!(second.ask(&with_state(&ana, Some(&state))).await.status, 200);
    assert_eq!(upstream.take().len(), 1);
}
