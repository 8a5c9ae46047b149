//! What an upstream is told of the caller, and that no client can say it in the proxy's stead.

use jsonwebtoken::{DecodingKey, Validation, jwk};
use serde_json::{Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream, token_of};

const IDENTITY: &str = "[servers.crm.identity]\nheaders = { X-Forwarded-User = \"sub\", X-Forwarded-Groups = \"groups\", X-Absent = \"absent\" }\n\
    [servers.crm.identity.jwt]\nkey_file = \"identity.pem\"\naudience = \"https://crm.internal\"\nclaims = [\"email\", \"department\"]\n";

async fn telling(upstream: &Upstream) -> Proxy {
    let pair = rcgen::KeyPair::generate().unwrap();
    Setup::new(upstream.url()).file("identity.pem", pair.serialize_pem()).tables(IDENTITY).start().await
}

/// A client that says itself who it is, in every way it can think of.
fn forging(ask: Ask) -> Ask {
    let names = ["X-Forwarded-User", "x-forwarded-groups", "X-Portcullis-Identity", "X-Absent", "X-Forwarded-Email"];
    names.iter().fold(ask, |ask, name| ask.header(name, "mallory"))
}

fn listing(token: &str) -> Ask {
    forging(Ask::modern("tools/list", &json!({})).token(token))
}

#[tokio::test]
async fn the_upstream_is_told_who_calls_by_the_proxy_alone() {
    let upstream = Upstream::plain().await;
    upstream.offer(&json!([{ "name": "search_contacts", "inputSchema": { "type": "object" } }]));
    let proxy = telling(&upstream).await;
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("groups".into(), json!(["sales", "a,b"]));
    claims.insert("email".into(), json!("ana@example.com"));
    claims.insert("act".into(), json!({ "sub": "agent" }));
    let ana = proxy.mint(&claims);
    assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
    let call = Ask::call("2026-07-28", "search_contacts", &json!({})).token(&ana);
    assert_eq!(proxy.ask(&forging(call)).await.status, 200);
    let mut ids = Vec::new();
    // The proxy's own question what tools there are tells it too.
    let heard: Vec<_> = upstream.take().into_iter().chain(upstream.listings()).collect();
    assert_eq!(heard.len(), 3);
    for heard in heard {
        assert_eq!(heard.header("x-forwarded-user").as_deref(), Some("ana"));
        assert_eq!(heard.header("x-forwarded-groups").as_deref(), Some("sales,a%2Cb"));
        assert_eq!((heard.header("x-absent"), heard.header("x-forwarded-email")), (None, None));
        assert!(!heard.head.contains("mallory") && !heard.head.contains(&ana), "{}", heard.head);
        let statement = heard.header("x-portcullis-identity").unwrap();
        let claims = verified(&proxy, &statement).await;
        assert_eq!(claims["sub"], "ana");
        assert_eq!(claims["sub_iss"], json!(proxy.issuer.url()));
        assert_eq!(claims["client_id"], "it");
        assert_eq!(claims["act"], json!({ "sub": "agent" }));
        assert_eq!(claims["email"], "ana@example.com");
        assert!(claims.get("department").is_none() && claims.get("scope").is_none());
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
        ids.push(claims["jti"].clone());
        proxy.assert_not_kept(&statement).await;
        // It opens nothing here.
        assert_eq!(proxy.ask(&Ask::modern("tools/list", &json!({})).token(&statement)).await.status, 401);
    }
    ids.sort_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 3, "each is another");
}

/// The claims of a statement, checked as an upstream would.
async fn verified(proxy: &Proxy, statement: &str) -> Value {
    let answer = proxy.ask_raw("/.well-known/portcullis/jwks.json").await;
    let keys: jwk::JwkSet = serde_json::from_value(answer).unwrap();
    let header = jsonwebtoken::decode_header(statement).unwrap();
    assert_eq!(header.typ.as_deref(), Some("portcullis-identity+jwt"));
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    assert_eq!(key.common.public_key_use, Some(jwk::PublicKeyUse::Signature));
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&["https://crm.internal"]);
    validation.set_issuer(&["https://gw.test"]);
    jsonwebtoken::decode::<Value>(statement, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
}

#[tokio::test]
async fn nothing_is_told_unless_it_is_asked_for_and_nothing_of_who_is_nobody() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    assert_eq!(proxy.ask(&listing(&proxy.token("ana"))).await.status, 200);
    let heard = upstream.take();
    assert!(!heard[0].head.contains("mallory") && heard[0].header("x-forwarded-user").is_none());
    let pair = rcgen::KeyPair::generate().unwrap();
    let policy = "[[rule]]\nid = \"public\"\ntools = [\"see\"]\nanonymous = true\n";
    let setup = Setup::new(upstream.url()).file("identity.pem", pair.serialize_pem()).tables(IDENTITY);
    let proxy = setup.policy(policy).start().await;
    assert_eq!(proxy.ask(&forging(Ask::modern("tools/list", &json!({})))).await.status, 200);
    let names = upstream.take()[0].names();
    assert!(!names.iter().any(|name| name.starts_with("x-")), "{names:?}");
}

#[tokio::test]
async fn a_claim_that_is_no_header_is_spelled_so_that_it_is_one() {
    let upstream = Upstream::plain().await;
    let proxy = telling(&upstream).await;
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("groups".into(), json!("Zoë\r\nX-Evil: 1"));
    assert_eq!(proxy.ask(&listing(&proxy.mint(&claims))).await.status, 200);
    let heard = upstream.take();
    assert_eq!(heard[0].header("x-forwarded-groups").as_deref(), Some("Zo%C3%AB%0D%0AX-Evil:%201"));
    assert!(heard[0].header("x-evil").is_none());
    claims.insert("groups".into(), json!("x".repeat(5000)));
    assert_eq!(proxy.ask(&listing(&proxy.mint(&claims))).await.status, 502);
    assert!(upstream.take().is_empty(), "a call that would not say who makes it is not made");
}
