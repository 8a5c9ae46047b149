//! A client that asks for a revision that is not spoken is told which are: those of this server, as far as it has said so.

use serde_json::{Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream, json_answer};

const ALL: [&str; 4] = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];

/// The refusal of a version of the newer era that does not exist yet.
async fn of_later(proxy: &Proxy, token: &str) -> Value {
    let ask = Ask::modern("tools/list", &json!({})).with("MCP-Protocol-Version", "2099-01-01").token(token);
    let body = String::from_utf8(ask.body).unwrap().replace("2026-07-28", "2099-01-01").into();
    let answer = proxy.ask(&Ask { body, ..ask }).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32022)));
    answer.json()["error"]["data"]["supported"].clone()
}

/// The same of the older era, where only the text can say it.
async fn of_earlier(proxy: &Proxy, token: &str) -> String {
    let ask = Ask::legacy("tools/list", &json!({})).with("MCP-Protocol-Version", "1999-01-01").token(token);
    let answer = proxy.ask(&ask).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32600)));
    let text = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    text.strip_prefix("Unsupported protocol version (supported versions: ").unwrap().trim_end_matches(')').to_owned()
}

#[tokio::test]
async fn no_more_is_named_than_discovery_advertises() {
    // To the proxy's own `server/discover` it says that it speaks 2026-07-28.
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    assert_eq!(of_later(&proxy, &token).await, json!(ALL), "nothing is known yet");
    proxy.ask(&Ask::modern("tools/list", &json!({})).token(&token)).await;
    assert_eq!(of_later(&proxy, &token).await, json!(["2026-07-28"]));
    assert_eq!(of_earlier(&proxy, &token).await, ALL.join(", "), "older clients are translated for");
}

#[tokio::test]
async fn where_nothing_is_translated_it_is_what_the_server_has_settled_on() {
    let upstream = Upstream::answering(|heard| {
        let result = match heard.json()["method"].as_str() {
            Some("server/discover") => json!({ "resultType": "complete", "supportedVersions": ["2026-07-28", "2027-01-01"],
                "capabilities": {}, "ttlMs": 0, "cacheScope": "private" }),
            _ => json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": { "name": "up", "version": "1" } }),
        };
        json_answer(200, &json!({ "jsonrpc": "2.0", "id": heard.json()["id"], "result": result }).to_string())
    })
    .await;
    let proxy = Setup::new(upstream.url()).server("era = \"pass\"").start().await;
    let token = proxy.token("ana");
    assert_eq!(of_earlier(&proxy, &token).await, ALL.join(", "));
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} });
    assert_eq!(proxy.ask(&Ask::legacy("initialize", &params).token(&token)).await.status, 200);
    assert_eq!(of_earlier(&proxy, &token).await, "2025-06-18");
    let discovered = proxy.ask(&Ask::modern("server/discover", &json!({})).token(&token)).await;
    assert_eq!(discovered.json()["result"]["supportedVersions"], json!(["2026-07-28", "2027-01-01"]));
    assert_eq!(of_later(&proxy, &token).await, json!(["2026-07-28"]));
    assert_eq!(of_earlier(&proxy, &token).await, "2025-06-18, 2026-07-28");
    // Refused here: none of the versions went up.
    assert_eq!(upstream.take().len(), 2);
}
