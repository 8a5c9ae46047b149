//! Opaque tokens, and tokens that are asked about although they can be read (RFC 7662, RFC 9701).

use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use portcullis::clock::Timestamp;
use portcullis::demo::issuer::Issuer;
use serde_json::{Map, Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream, json_answer, raw_answer, token_of, until};

const OPAQUE: &str = "2YotnFZFEjr1zCsicMWpAA-opaque";

fn ask(token: &str) -> Ask {
    Ask::call("2026-07-28", "search_contacts", &json!({})).token(token)
}

/// What an authorization server says next, raw.
type Script = Arc<Mutex<Vec<u8>>>;

/// An endpoint that says what it is told to.
async fn endpoint() -> (Upstream, Script) {
    let script: Script = Arc::default();
    let scripted = script.clone();
    (Upstream::answering(move |_| scripted.lock().unwrap().clone()).await, script)
}

fn says(script: &Script, answer: &Value) {
    *script.lock().unwrap() = json_answer(200, &answer.to_string());
}

fn setup(upstream: &Upstream, asked: &Upstream, keys: &str) -> Setup {
    Setup::new(upstream.url()).file("secret", "s3cr3t+/").tables(&format!(
        "[issuers.corp.introspection]\nendpoint = \"{}\"\nclient_id = \"gate way\"\n{keys}\n",
        asked.url()
    ))
}

const BASIC: &str = "client_secret = { file = \"secret\" }";

fn active(issuer: &Issuer) -> Map<String, Value> {
    let mut claims = token_of(issuer, "ana");
    claims.insert("active".into(), json!(true));
    claims
}

#[tokio::test]
async fn rfc_7662_an_opaque_token_is_asked_about_once() {
    let (upstream, (asked, script)) = (Upstream::plain().await, endpoint().await);
    let proxy = setup(&upstream, &asked, BASIC).start().await;
    proxy.keep_secret(OPAQUE.to_owned());
    says(&script, &json!(active(&proxy.issuer)));
    let mut clients = tokio::task::JoinSet::new();
    let proxy = Arc::new(proxy);
    for _ in 0..5 {
        let proxy = proxy.clone();
        clients.spawn(async move { proxy.ask(&ask(OPAQUE)).await.status });
    }
    assert_eq!(clients.join_all().await, [200; 5]);
    let heard = asked.take();
    assert_eq!(heard.len(), 1, "five requests, one question");
    assert_eq!(heard[0].text(), format!("token={OPAQUE}&token_type_hint=access_token"));
    let basic = format!("Basic {}", BASE64.encode(b"gate+way:s3cr3t%2B%2F"));
    assert_eq!(heard[0].header("authorization"), Some(basic));
    assert_eq!(heard[0].header("accept"), Some("application/json".to_owned()));
    assert_eq!(upstream.take().len(), 5);
    let line = proxy.audit().into_iter().find(|line| line["event"] == "call").unwrap();
    assert_eq!((&line["subject"]["sub"], &line["subject"]["client_id"]), (&json!("ana"), &json!("it")));
    proxy.assert_not_kept(OPAQUE).await;
}

#[tokio::test]
async fn rfc_7662_only_active_is_active_and_silence_is_nobodys_fault() {
    let (upstream, (asked, script)) = (Upstream::plain().await, endpoint().await);
    let proxy = setup(&upstream, &asked, BASIC).start().await;
    let with = |name: &str, value: Value| {
        let mut claims = active(&proxy.issuer);
        claims.insert(name.into(), value);
        json!(claims)
    };
    let now = Timestamp::now().unix_seconds();
    let refused = [
        json!({"active": false}),
        with("aud", json!("https://gw.test/wiki/mcp")),
        with("iss", json!("https://evil.example")),
        with("exp", json!(now - 3600)),
        with("nbf", json!(now + 3600)),
        with("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})),
        with("sub", json!(7)),
        // Active, and no access token (Ory, Keycloak, Duende): what a client renews its token with lives longer.
        with("token_use", json!("refresh_token")),
        with("typ", json!("Refresh")),
        with("token_type", json!("refresh_token")),
        with("token_type", json!("N_A")),
    ];
    for (at, answer) in refused.iter().enumerate() {
        says(&script, answer);
        let token = format!("{OPAQUE}-{at}");
        let said = proxy.ask(&ask(&token)).await;
        assert_eq!(said.status, 401, "{answer}");
        assert!(said.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    }
    // What is not active is not asked about again at once.
    let count = asked.take().len();
    assert_eq!(count, refused.len());
    assert_eq!(proxy.ask(&ask(&format!("{OPAQUE}-0"))).await.status, 401);
    assert_eq!(asked.take().len(), 0);
    let broken = [
        json_answer(500, "{}"),
        json_answer(401, "{}"),
        json_answer(200, "{"),
        json_answer(200, "{\"active\":\"true\"}"),
        json_answer(200, "{\"active\":false,\"active\":true}"),
        json_answer(200, "[]"),
        raw_answer(302, "Location: http://127.0.0.1:1/\r\n", b""),
        json_answer(200, &format!("{{\"active\":true,\"x\":\"{}\"}}", "x".repeat(70_000))),
        b"garbage\r\n\r\n".to_vec(),
    ];
    for answer in broken {
        script.lock().unwrap().clone_from(&answer);
        let said = proxy.ask(&ask(&format!("{OPAQUE}-broken"))).await;
        assert_eq!(said.status, 503, "{}", String::from_utf8_lossy(&answer[..40.min(answer.len())]));
        assert!(said.header("retry-after").is_some() && said.header("www-authenticate").is_none());
        assert_eq!(asked.take().len(), 1);
    }
    // Nothing that cannot be a token, or that was meant to be read, is asked about.
    for token in ["short", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d", &"x".repeat(5000)] {
        assert_eq!(proxy.ask(&ask(token)).await.status, 401, "{token}");
    }
    assert_eq!(asked.take().len(), 0);
    assert_eq!(upstream.take().len(), 0);
}

/// What authorization servers call an access token, in three members.
#[tokio::test]
async fn an_access_token_is_one_by_any_name() {
    let (upstream, (asked, script)) = (Upstream::plain().await, endpoint().await);
    let proxy = setup(&upstream, &asked, BASIC).start().await;
    let names = [
        ("token_use", "access_token"),
        ("token_use", "access"),
        ("typ", "Bearer"),
        ("token_type", "Bearer"),
        ("token_type", "access_token"),
        ("token_type", "urn:pingidentity.com:oauth2:validated_token"),
    ];
    for (at, (member, name)) in names.into_iter().enumerate() {
        let mut claims = active(&proxy.issuer);
        claims.insert(member.into(), json!(name));
        says(&script, &json!(claims));
        assert_eq!(proxy.ask(&ask(&format!("{OPAQUE}-{at}"))).await.status, 200, "{member}: {name}");
    }
}

#[tokio::test]
async fn an_answer_is_believed_for_its_time_only() {
    let (upstream, (asked, script)) = (Upstream::plain().await, endpoint().await);
    let proxy = setup(&upstream, &asked, &format!("{BASIC}\ncache_ttl = \"1s\"")).start().await;
    says(&script, &json!(active(&proxy.issuer)));
    assert_eq!(proxy.ask(&ask(OPAQUE)).await.status, 200);
    says(&script, &json!({"active": false}));
    until("the end of the answer", async || (proxy.ask(&ask(OPAQUE)).await.status == 401).then_some(())).await;
    assert_eq!(asked.take().len(), 2);
}

#[tokio::test]
async fn a_token_that_can_be_read_is_asked_about_where_that_is_wanted() {
    let (upstream, (asked, script)) = (Upstream::plain().await, endpoint().await);
    let proxy = setup(&upstream, &asked, &format!("{BASIC}\nwhen = \"always\"")).start().await;
    says(&script, &json!({"active": true}));
    let token = proxy.token("ana");
    assert_eq!(proxy.ask(&ask(&token)).await.status, 200);
    assert_eq!(asked.take().len(), 1);
    says(&script, &json!({"active": false}));
    assert_eq!(proxy.ask(&ask(&proxy.token("max"))).await.status, 401);
    // What is not even well signed is no question.
    let mut forged = proxy.token("ana");
    forged.replace_range(forged.len() - 4.., "AAAA");
    asked.take();
    assert_eq!(proxy.ask(&ask(&forged)).await.status, 401);
    assert_eq!(asked.take().len(), 0);
}

const TYPE: &str = "token-introspection+jwt";

async fn signed(proxy: &Proxy, script: &Script, typ: &str, changes: &Value) -> u16 {
    let mut claims = json!({"iss": proxy.issuer.url(), "aud": "gate way", "iat": Timestamp::now().unix_seconds(),
        "token_introspection": active(&proxy.issuer)});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let jwt = proxy.issuer.mint_typed(typ, claims.as_object().unwrap()).unwrap();
    *script.lock().unwrap() = raw_answer(200, "Content-Type: application/token-introspection+jwt\r\n", jwt.as_bytes());
    proxy.ask(&ask(&format!("{OPAQUE}-{}", uuid::Uuid::now_v7()))).await.status
}

#[tokio::test]
async fn rfc_9701_a_signed_answer_is_from_the_issuer_for_us_and_of_now() {
    let (upstream, (asked, script)) = (Upstream::plain().await, endpoint().await);
    let proxy = setup(&upstream, &asked, &format!("{BASIC}\nresponse = \"jwt\"")).start().await;
    assert_eq!(signed(&proxy, &script, TYPE, &json!({})).await, 200);
    assert_eq!(asked.take()[0].header("accept"), Some("application/token-introspection+jwt".to_owned()));
    assert_eq!(signed(&proxy, &script, TYPE, &json!({"token_introspection": {"active": false}})).await, 401);
    for changes in [
        json!({"iss": "https://evil.example"}),
        json!({"aud": "another"}),
        json!({"iat": 1}),
        json!({"iat": Timestamp::now().unix_seconds() + 3600}),
        json!({"token_introspection": null}),
        json!({"token_introspection": {}}),
    ] {
        assert_eq!(signed(&proxy, &script, TYPE, &changes).await, 503, "{changes}");
    }
    assert_eq!(signed(&proxy, &script, "at+jwt", &json!({})).await, 503);
    says(&script, &json!(active(&proxy.issuer)));
    assert_eq!(proxy.ask(&ask(OPAQUE)).await.status, 503, "plain JSON is not enough");
    // It is never itself an access token.
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("token_introspection".into(), json!({"active": true}));
    let token = proxy.issuer.mint_typed(TYPE, &claims).unwrap();
    assert_eq!(proxy.ask(&ask(&token)).await.status, 401);
    assert_eq!(upstream.take().len(), 1);
}

#[tokio::test]
async fn rfc_7523_the_proxy_signs_its_own_assertions() {
    let (upstream, (asked, script)) = (Upstream::plain().await, endpoint().await);
    let pair = rcgen::KeyPair::generate().unwrap();
    let keys = "auth_method = \"private_key_jwt\"\nprivate_key_file = \"client.pem\"\nkey_id = \"k9\"";
    let proxy = setup(&upstream, &asked, keys).file("client.pem", pair.serialize_pem()).start().await;
    says(&script, &json!(active(&proxy.issuer)));
    for at in 0..2 {
        assert_eq!(proxy.ask(&ask(&format!("{OPAQUE}-{at}"))).await.status, 200);
    }
    let mut seen = std::collections::BTreeSet::new();
    for heard in asked.take() {
        assert_eq!(heard.header("authorization"), None);
        let form: std::collections::BTreeMap<_, _> =
            url::form_urlencoded::parse(heard.text().as_bytes()).into_owned().collect();
        assert_eq!(form["client_id"], "gate way");
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let decoded = portcullis::auth::decode(form["client_assertion"].as_bytes()).unwrap();
        let (header, claims): (Value, Value) =
            (serde_json::from_str(&decoded.header).unwrap(), serde_json::from_str(&decoded.claims).unwrap());
        assert_eq!((&header["alg"], &header["kid"]), (&json!("ES256"), &json!("k9")));
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("gate way"), &json!("gate way")));
        assert_eq!(claims["aud"], proxy.issuer.url());
        assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 300);
        assert!(seen.insert(claims["jti"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen.len(), 2);
    let post = setup(&upstream, &asked, &format!("{BASIC}\nauth_method = \"client_secret_post\"")).start().await;
    says(&script, &json!(active(&post.issuer)));
    assert_eq!(post.ask(&ask(OPAQUE)).await.status, 200);
    assert!(asked.take()[0].text().contains("client_id=gate+way&client_secret=s3cr3t%2B%2F"));
}
