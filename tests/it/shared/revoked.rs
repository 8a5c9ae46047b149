//! What one process learns is revoked, or anybody writes into the store, is refused by all.

use serde_json::json;

use super::once::is_up;
use super::{KEY, search, setup};
use crate::revoked::{push, push_setup, set, token_with};
use crate::support::{Mood, Proxy, Store, Upstream, until};

async fn answers(proxy: &Proxy, token: &str, status: u16) {
    until(&format!("{status}"), async || (proxy.ask(&search(token)).await.status == status).then_some(())).await;
}

#[tokio::test]
async fn what_one_process_is_told_is_refused_by_the_other() {
    let (upstream, store) = (Upstream::plain().await, Store::new().await);
    let first = push_setup(&upstream).file("k1", KEY).tables(&store.tables("")).start().await;
    let second = setup(&upstream, &store, "").issuer(&first.issuer).start().await;
    for proxy in [&first, &second] {
        is_up(proxy).await;
    }
    let token = token_with(&first, "ana", &json!({"sid": "laptop"}));
    let other = token_with(&first, "ana", &json!({"sid": "phone"}));
    for proxy in [&first, &second] {
        assert_eq!(proxy.ask(&search(&token)).await.status, 200);
    }
    let subject = json!({"format": "complex", "session": {"format": "opaque", "id": "laptop"}});
    // Where the store does not take it, the transmitter is to send it again.
    let event = set(&first, &subject, &json!({}));
    store.set(Mood::Error("OOM command not allowed when used memory > 'maxmemory'."));
    assert_eq!(push(&first, &event).await.status, 503);
    assert_eq!(first.ask(&search(&token)).await.status, 401, "here it is in force");
    assert_eq!(second.ask(&search(&token)).await.status, 200);
    store.set(Mood::Well);
    assert_eq!(push(&first, &event).await.status, 202);
    answers(&second, &token, 401).await;
    let refused = second.ask(&search(&token)).await;
    assert!(refused.header("www-authenticate").unwrap().contains("error=\"invalid_token\""), "{refused:?}");
    for proxy in [&first, &second] {
        assert_eq!(proxy.ask(&search(&other)).await.status, 200, "another session");
    }
    let key = format!("portcullis:rev:{}:sid:laptop", first.issuer.url());
    let until: i64 = store.get(&key).unwrap().parse().unwrap();
    assert!((until - portcullis::clock::Timestamp::now().unix_seconds()).abs() < 300);
    // Who starts later knows it from its first request on.
    let third = setup(&upstream, &store, "").issuer(&first.issuer).start().await;
    is_up(&third).await;
    assert_eq!(third.ask(&search(&token)).await.status, 401);
    assert_eq!(third.ask(&search(&other)).await.status, 200);
}

#[tokio::test]
async fn anybody_may_revoke_in_the_store_and_take_it_back() {
    let (upstream, store) = (Upstream::plain().await, Store::new().await);
    let proxy = setup(&upstream, &store, "").start().await;
    is_up(&proxy).await;
    let iss = proxy.issuer.url().to_owned();
    let now = portcullis::clock::Timestamp::now().unix_seconds();
    let token = token_with(&proxy, "ana", &json!({"jti": "t1", "sid": "laptop", "iat": now - 100}));
    assert_eq!(proxy.ask(&search(&token)).await.status, 200);
    for (name, value) in [
        ("jti:t1", "1"),
        ("sid:laptop", ""),
        ("sub:ana", "yes"),
        ("all", &*(now - 100).to_string()),
        ("sub:ana", &format!("{now}000")),
    ] {
        let key = format!("portcullis:rev:{iss}:{name}");
        store.put(&key, Some(value));
        answers(&proxy, &token, 401).await;
        store.put(&key, None);
        answers(&proxy, &token, 200).await;
    }
    for name in [format!("{iss}:sub:max"), format!("{iss}:jti:t"), "https://other:sub:ana".to_owned()] {
        store.put(&format!("portcullis:rev:{name}"), Some("1"));
    }
    store.put(&format!("portcullis:rev:{iss}:all"), Some(&(now - 101).to_string()));
    until("all four", async || proxy.admin("/readyz?verbose").await.text().contains("(4 revoked)").then_some(())).await;
    assert_eq!(proxy.ask(&search(&token)).await.status, 200);
}

#[tokio::test]
async fn without_word_from_the_store_tokens_open_nothing_after_a_while() {
    let upstream = Upstream::handling(|_, mut connection| async move {
        connection.begin_stream().await;
        connection.hung_up().await;
        None
    })
    .await;
    let store = Store::new().await;
    let proxy = setup(&upstream, &store, "max_stale = \"1s\"").start().await;
    is_up(&proxy).await;
    let ana = proxy.token("ana");
    let mut client = proxy.client().await;
    client.send(&crate::support::Ask::call("2026-07-28", "export_contacts", &json!({})).token(&ana).bytes()).await;
    upstream.wait_for(1).await;
    store.set(Mood::Silent);
    answers(&proxy, &proxy.token("max"), 503).await;
    let refused = proxy.ask(&search(&proxy.token("kim"))).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], -31503);
    // What was open ends too.
    assert!(crate::support::within("the end", client.answer()).await.is_some());
    assert_eq!(proxy.admin("/readyz").await.status, 200, "it was known once");
    store.set(Mood::Well);
    until("the store", async || {
        let told = proxy.admin("/readyz?verbose").await;
        (!told.text().contains("not known")).then_some(())
    })
    .await;
}
