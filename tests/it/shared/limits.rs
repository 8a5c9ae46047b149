//! Rates of rules are counted by the store, and where it cannot, as the operator says.

use serde_json::json;

use super::{search, setup};
use crate::support::{Mood, Proxy, Store, Upstream, until};

const POLICY: &str = "[[rule]]\nid = \"often\"\ntools = [\"search_*\"]\nlimit = { rate = \"3/h\", burst = 1, per = [\"subject\"] }\n\
                      [[rule]]\nid = \"free\"\ntools = [\"get_*\"]\n";

async fn says(proxy: &Proxy, wanted: &str) {
    until(wanted, async || proxy.admin("/readyz?verbose").await.text().contains(wanted).then_some(())).await;
}

/// The metric follows within a second.
async fn is_up(proxy: &Proxy, metric: &str, there: bool) {
    until(metric, async || (proxy.admin("/metrics").await.text().contains(metric) == there).then_some(())).await;
}

async fn errors(proxy: &Proxy) -> Option<String> {
    let metrics = proxy.admin("/metrics").await;
    let metrics = metrics.text();
    let found = metrics.lines().find(|line| line.starts_with("portcullis_state_errors_total{op=\"limit\"}"));
    found.map(|line| line.rsplit(' ').next().unwrap().to_owned())
}

#[tokio::test]
async fn the_store_counts_and_who_has_to_wait_does_not_ask_it() {
    let (upstream, store) = (Upstream::plain().await, Store::new().await);
    let proxy = setup(&upstream, &store, "prefix = \"acme\"").policy(POLICY).start().await;
    says(&proxy, &format!("state redis {}: ", store.address)).await;
    says(&proxy, "ready").await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    for _ in 0..2 {
        // More than the burst: nobody counts but the store.
        assert_eq!(proxy.ask(&search(&ana)).await.status, 200);
    }
    let heard = store.take();
    assert_eq!(heard.len(), 2, "{heard:?}");
    for said in &heard {
        assert_eq!([&*said[0], &*said[2]], ["EVALSHA", "1"]);
        assert!(said[3].starts_with("acme:rl:crm:often:") && !said[3].contains("ana"), "{said:?}");
        assert_eq!(said[4..], ["1200000000", "1"]);
    }
    store.answer(1_199_500_000);
    upstream.take();
    let refused = proxy.ask(&search(&ana)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1200")), "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], -31429);
    assert_eq!(store.take().len(), 1);
    store.answer(0);
    assert_eq!(proxy.ask(&search(&ana)).await.status, 429, "the wait is known");
    assert!(store.take().is_empty());
    // Another caller has another counter, and a call without a limit asks nothing.
    assert_eq!(proxy.ask(&search(&max)).await.status, 200);
    assert_ne!(store.take()[0][3], heard[0][3]);
    let free = crate::support::Ask::call("2026-07-28", "get_contact", &json!({"id": "c-001"})).token(&ana);
    assert_eq!(proxy.ask(&free).await.status, 200);
    assert!(store.take().is_empty());
    assert_eq!(upstream.take().len(), 2);
    assert_eq!(errors(&proxy).await, None);
    is_up(&proxy, "portcullis_state_up{store=\"redis\"} 1", true).await;
}

#[tokio::test]
async fn a_store_that_refuses_or_is_gone_leaves_each_process_its_own_count_or_none() {
    for on_error in ["local", "deny"] {
        let (upstream, store) = (Upstream::plain().await, Store::new().await);
        let proxy = setup(&upstream, &store, &format!("on_error = \"{on_error}\"")).policy(POLICY).start().await;
        says(&proxy, "ready").await;
        let check = async |token: &str, count: u64| {
            let first = proxy.ask(&search(token)).await;
            let second = proxy.ask(&search(token)).await;
            if on_error == "local" {
                assert_eq!((first.status, second.status), (200, 429), "{count}");
                assert_eq!(upstream.take().len(), 1);
            } else {
                for answer in [&first, &second] {
                    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{count} {answer:?}");
                    assert_eq!(answer.json()["error"]["code"], -31503);
                }
                assert!(upstream.take().is_empty());
            }
            assert_eq!(errors(&proxy).await, Some(count.to_string()));
        };
        store.set(Mood::Error("WRONGTYPE Operation against a key holding the wrong kind of value"));
        check(&proxy.token("ana"), 2).await;
        store.set(Mood::Error("OOM command not allowed when used memory > 'maxmemory'."));
        check(&proxy.token("max"), 4).await;
        says(&proxy, "ready").await;
        store.set(Mood::Closed);
        says(&proxy, "shared state not connected since").await;
        check(&proxy.token("kim"), 6).await;
        assert!(proxy.audit().iter().any(|line| line["error"] == "state_unavailable") == (on_error == "deny"));
        // It comes back, and counts again.
        store.set(Mood::Well);
        until("the store", async || {
            (!proxy.admin("/readyz?verbose").await.text().contains("not connected")).then_some(())
        })
        .await;
        store.take();
        assert_eq!(proxy.ask(&search(&proxy.token("ana"))).await.status, 200);
        assert_eq!(store.take().len(), 1);
    }
}

#[tokio::test]
async fn a_store_that_says_nothing_is_left_alone() {
    let (upstream, store) = (Upstream::plain().await, Store::new().await);
    let proxy = setup(&upstream, &store, "").policy(POLICY).start().await;
    says(&proxy, "ready").await;
    is_up(&proxy, "portcullis_state_up{store=\"redis\"} 1", true).await;
    store.set(Mood::Silent);
    // Whether calls or the heartbeat notice: from then on no call waits for it.
    says(&proxy, "shared state not connected since").await;
    store.take();
    for user in ["ana", "max", "kim"] {
        assert_eq!(proxy.ask(&search(&proxy.token(user))).await.status, 200);
    }
    assert!(store.take().iter().all(|said| said[0] != "EVALSHA"), "nobody asks what does not answer");
    assert_eq!(errors(&proxy).await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_proxy_starts_without_its_store_and_finds_it_later() {
    let upstream = Upstream::plain().await;
    let gone = Store::new().await;
    let (address, tables) = (gone.address, gone.tables(""));
    drop(gone);
    let proxy =
        crate::support::Setup::new(upstream.url()).file("k1", super::KEY).tables(&tables).policy(POLICY).start().await;
    says(&proxy, "shared state not connected since").await;
    says(&proxy, "revocations not known: tokens refused").await;
    let ana = proxy.token("ana");
    // Nobody knows whether the token is revoked.
    assert_eq!((proxy.ask(&search(&ana)).await.status, proxy.admin("/readyz").await.status), (503, 503));
    assert!(upstream.take().is_empty());
    let store = Store::at(address).await;
    is_up(&proxy, "portcullis_state_up{store=\"redis\"} 1", true).await;
    assert_eq!(proxy.admin("/readyz").await.status, 200);
    for _ in 0..2 {
        assert_eq!(proxy.ask(&search(&ana)).await.status, 200, "counted by the store");
    }
    // A reload that changes what names begin with, and one that takes the store away.
    store.take();
    proxy.reload(("timeout = \"2s\"", "timeout = \"2s\"\nprefix = \"other\"")).await;
    until("the other prefix", async || {
        proxy.ask(&search(&ana)).await;
        store.take().iter().any(|said| said[0] == "EVALSHA" && said[3].starts_with("other:rl:")).then_some(())
    })
    .await;
    let text = proxy.folder.read("proxy.toml");
    let table = text.split_once("[state.redis]").unwrap().1.to_owned();
    proxy.reload((&format!("[state.redis]{table}"), "")).await;
    says(&proxy, "state in memory, not shared").await;
    assert_eq!(proxy.ask(&search(&ana)).await.status, 200);
    assert_eq!(proxy.ask(&search(&ana)).await.status, 429, "its own count");
    is_up(&proxy, "portcullis_state_up{", false).await;
}
