//! Which tokens open a server, and what happens to it while its issuer changes keys or is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use portcullis::clock::Timestamp;
use portcullis::demo::Fault;
use portcullis::demo::issuer::Retired;
use serde_json::{Map, Value, json};

use crate::revoked::push_setup;
use crate::support::{Answer, Ask, LASTS, Setup, Upstream, token_of, until, within};

fn ask(token: &str) -> Ask {
    Ask::call("2026-07-28", "search_contacts", &json!({})).token(token)
}

/// The segments of a token with another header or signature.
fn forged(token: &str, header: Option<&Value>, signature: Option<&[u8]>) -> String {
    let mut parts: Vec<String> = token.split('.').map(ToOwned::to_owned).collect();
    if let Some(header) = header {
        parts[0] = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
    }
    if let Some(signature) = signature {
        parts[2] = BASE64URL_NOPAD.encode(signature);
    }
    parts.join(".")
}

fn hs256(token: &str, key: &[u8], kid: &str) -> String {
    let head = forged(token, Some(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid })), None);
    let signed = head.rsplit_once('.').unwrap().0;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    format!("{signed}.{}", BASE64URL_NOPAD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()).as_ref()))
}

fn refused(answer: &Answer, text: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenge = format!(
        "Bearer resource_metadata=\"https://gw.test/.well-known/oauth-protected-resource/crm/mcp\", \
         error=\"invalid_token\", scope=\"crm:read\", error_description=\"{text}\""
    );
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    assert_eq!(answer.json(), json!({ "jsonrpc": "2.0", "error": { "code": -31401, "message": text } }));
}

#[tokio::test]
async fn only_tokens_of_this_issuer_for_this_server_and_now_open_it() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let stranger = Setup::new_issuer().await;
    let now = Timestamp::now().unix_seconds();
    let good = token_of(&proxy.issuer, "ana");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims.insert(name.to_owned(), value);
        proxy.mint(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.remove(name);
        proxy.mint(&claims)
    };
    let token = proxy.token("ana");
    let kid = proxy.issuer.key_id();
    let mut signature = BASE64URL_NOPAD.decode(token.rsplit_once('.').unwrap().1.as_bytes()).unwrap();
    signature[7] ^= 1;
    let foreign = "The access token is not valid for this server";
    let rows: Vec<(&str, String, &str)> = vec![
        ("expired", with("exp", json!(now - 3600)), "The access token expired"),
        ("not yet", with("nbf", json!(now + 3600)), "The access token is not valid yet"),
        ("a sibling's", with("aud", json!("https://gw.test/wiki/mcp")), foreign),
        ("a longer audience", with("aud", json!("https://gw.test/crm/mcp/admin")), foreign),
        ("the origin alone", with("aud", json!("https://gw.test")), foreign),
        ("another case", with("aud", json!("https://gw.test/CRM/mcp")), foreign),
        ("no audience", without("aud"), foreign),
        ("an object as audience", with("aud", json!({ "a": "https://gw.test/crm/mcp" })), foreign),
        ("another issuer's name", with("iss", json!(stranger.url())), foreign),
        ("a longer issuer", with("iss", json!(format!("{}/", proxy.issuer.url()))), foreign),
        ("no issuer", without("iss"), foreign),
        ("an id token", proxy.issuer.mint_typed("logout+jwt", &good).unwrap(), foreign),
        ("text as expiry", with("exp", json!("4102444800")), foreign),
        ("no expiry", without("exp"), foreign),
        ("huge expiry", with("exp", json!(1e300)), foreign),
        ("bound to a key", with("cnf", json!({ "jkt": "x" })), foreign),
        ("changed signature", forged(&token, None, Some(&signature)), foreign),
        ("empty signature", forged(&token, None, Some(&[])), foreign),
        ("zero signature", forged(&token, None, Some(&[0; 64])), foreign),
        ("none", forged(&token, Some(&json!({ "alg": "none", "typ": "at+jwt", "kid": kid })), Some(&[])), foreign),
        ("nOnE", forged(&token, Some(&json!({ "alg": "nOnE", "kid": kid })), Some(&[])), foreign),
        ("HS256 over the key id", hs256(&token, kid.as_bytes(), &kid), foreign),
        ("RS256", forged(&token, Some(&json!({ "alg": "RS256", "kid": kid })), None), foreign),
        ("critical", forged(&token, Some(&json!({ "alg": "ES256", "kid": kid, "crit": ["x"] })), None), foreign),
        ("five parts", format!("{token}.a.b"), foreign),
        ("two parts", token.rsplit_once('.').unwrap().0.to_owned(), foreign),
    ];
    for (name, token, text) in rows {
        let answer = proxy.ask(&ask(&token)).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
        assert_eq!(answer.json()["error"]["message"], text, "{name}");
        refused(&answer, text);
        proxy.assert_not_kept(&token).await;
    }
    assert_eq!(upstream.take().len(), 0);
    for (name, token) in [
        ("as it is", token),
        ("one of several", with("aud", json!(["https://other.test", "https://gw.test/crm/mcp"]))),
        ("a slash more", with("aud", json!("https://gw.test/crm/mcp/"))),
        ("within the leeway", with("exp", json!(now - 30))),
    ] {
        assert_eq!(proxy.ask(&ask(&token)).await.status, 200, "{name}");
    }
    assert_eq!(upstream.take().len(), 4);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let stranger = Setup::new_issuer().await;
    let before = proxy.issuer.key_fetches();
    let token = stranger.mint_claims(&token_of(&proxy.issuer, "ana")).unwrap();
    for _ in 0..5 {
        refused(&proxy.ask(&ask(&token)).await, "The access token is not valid for this server");
    }
    assert_eq!(proxy.issuer.key_fetches(), before + 1);
    // A flood of made-up keys costs a handful of fetches (threats K2).
    let good = proxy.token("ana");
    for at in 0..40 {
        let token = forged(&good, Some(&json!({ "alg": "ES256", "typ": "at+jwt", "kid": format!("x{at}") })), None);
        assert_eq!(proxy.ask(&ask(&token)).await.status, 401);
    }
    assert!(proxy.issuer.key_fetches() <= before + 6, "{} fetches", proxy.issuer.key_fetches() - before);
    assert_eq!(proxy.ask(&ask(&good)).await.status, 200);
    assert_eq!(upstream.take().len(), 1);
}

#[tokio::test]
async fn an_issuer_that_is_away_stops_nobody_whose_key_is_known() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    for fault in [Fault::Down, Fault::Error, Fault::Garbage] {
        proxy.issuer.set_fault(fault);
        let unseen = proxy.token("ana");
        assert_eq!(proxy.ask(&ask(&unseen)).await.status, 200, "{fault:?}");
    }
    assert_eq!(upstream.take().len(), 3);
}

#[tokio::test]
async fn an_issuer_that_never_answered_is_not_the_callers_fault() {
    let upstream = Upstream::plain().await;
    let issuer = Setup::new_issuer().await;
    issuer.set_fault(Fault::Down);
    let proxy = Setup::new(upstream.url()).issuer(&issuer).start_without_keys().await;
    let token = proxy.token("ana");
    let answer = proxy.ask(&ask(&token)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(
        answer.text(),
        r#"{"jsonrpc":"2.0","error":{"code":-31503,"message":"Access tokens cannot be checked at the moment"}}"#
    );
    let ready = proxy.admin("/readyz?verbose").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("issuer `corp` has no keys yet"), "{ready:?}");
    assert_eq!(proxy.admin("/livez").await.status, 200);
    assert_eq!(upstream.take().len(), 0);
    issuer.set_fault(Fault::None);
    until("keys", async || (proxy.ask(&ask(&token)).await.status == 200).then_some(())).await;
    assert_eq!(proxy.admin("/readyz").await.status, 200);
}

#[tokio::test]
async fn keys_change_under_load_and_nobody_is_turned_away() {
    let upstream = Upstream::plain().await;
    let proxy = Arc::new(Setup::new(upstream.url()).start().await);
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let old = proxy.token("ana");
    let callers: Vec<_> = (0..4)
        .map(|at| {
            let (proxy, done, answered, old) = (proxy.clone(), done.clone(), answered.clone(), old.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let token = if at % 2 == 0 { old.clone() } else { proxy.token("max") };
                    assert_eq!(proxy.ask(&ask(&token)).await.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        proxy.issuer.rotate(Retired::Kept).unwrap();
        let wanted = answered.load(Ordering::Relaxed) + 40;
        until("calls", async || (answered.load(Ordering::Relaxed) >= wanted).then_some(())).await;
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        within("callers", caller).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_taken_out_of_the_set_dies_with_all_it_signed() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let old = proxy.token("ana");
    assert_eq!(proxy.ask(&ask(&old)).await.status, 200);
    proxy.issuer.rotate(Retired::Dropped).unwrap();
    // The new key makes the proxy fetch the set, which no longer has the old one.
    assert_eq!(proxy.ask(&ask(&proxy.token("max"))).await.status, 200);
    refused(&proxy.ask(&ask(&old)).await, "The access token is not valid for this server");
    assert_eq!(upstream.take().len(), 2);
}

#[tokio::test]
async fn a_known_token_dies_at_its_expiry() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let mut claims: Map<String, Value> = token_of(&proxy.issuer, "ana");
    // Of the leeway of a minute a little is left.
    let exp = Timestamp::now().unix_seconds() - 60 + LASTS;
    claims.insert("exp".to_owned(), json!(exp));
    let token = proxy.mint(&claims);
    assert_eq!(proxy.ask(&ask(&token)).await.status, 200);
    let dead = Timestamp::from_unix_seconds(exp).plus(Duration::from_mins(1));
    until("the expiry", async || (Timestamp::now() >= dead).then_some(())).await;
    refused(&proxy.ask(&ask(&token)).await, "The access token expired");
}

/// A client that writes head and body apart, as most in Python do, goes on over the connection it was refused on.
#[tokio::test]
async fn a_refusal_leaves_the_connection_as_it_says() {
    let upstream = Upstream::plain().await;
    let proxy = push_setup(&upstream).server("sse_path = \"/crm/mcp/sse\"").start().await;
    let ask = |path| Ask::legacy("tools/list", &json!({})).target(path);
    for (ask, status) in [
        (ask("/crm/mcp"), 401),
        (ask("/crm/mcp/sse"), 401),
        // The stream it names is nobody's.
        (ask("/crm/mcp/sse?stream=x").token(&proxy.token("ana")), 404),
        (ask("/signals/corp"), 400),
        // What is answered whatever the body says.
        (Ask { method: "GET", ..ask("/.well-known/oauth-protected-resource/crm/mcp") }, 200),
        (Ask { method: "OPTIONS", ..ask("/crm/mcp") }, 204),
    ] {
        let bytes = ask.bytes();
        let (head, body) = bytes.split_at(bytes.len() - ask.body.len());
        for _ in 0..20 {
            let mut client = proxy.client().await;
            client.send(head).await;
            tokio::task::yield_now().await;
            client.send(body).await;
            for again in [false, true] {
                if again {
                    client.send(&bytes).await;
                }
                let answer = client.answer().await.expect("the connection was closed without a word");
                assert_eq!((answer.status, answer.header("connection")), (status, None));
            }
        }
        let mut client = proxy.client().await;
        client.send(head).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_ends_its_connection_as_it_says() {
    let upstream = Upstream::plain().await;
    let limits = "[server.limits]\nrequest_bytes = \"64KiB\"\n";
    let proxy = Setup::new(upstream.url()).tables(limits).start().await;
    let ask = Ask::legacy("tools/list", &json!({})).token(&proxy.token("ana"));
    let bytes = ask.bytes();
    let head = String::from_utf8(bytes[..bytes.len() - ask.body.len()].to_vec()).unwrap();
    let length = format!("Content-Length: {}\r\n", ask.body.len());
    let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for (framing, body) in [
        ("Content-Length: 1000000\r\n", String::new()),
        ("Content-Length: 1000000\r\n", " ".repeat(200_000)),
        ("Transfer-Encoding: chunked\r\n", piece.repeat(2)),
    ] {
        let mut client = proxy.client().await;
        client.send(head.replace(&length, framing).as_bytes()).await;
        client.send(body.as_bytes()).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")), "{framing}");
    }
    assert_eq!(upstream.take().len(), 0);
}
