//! Threats to the key set (K1 to K6).

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::signer::Signer;
use super::{Rig, ask, header, header_with, key_server};
use crate::support::{Ask, Proxy, Setup, Upstream, json_answer, raw_answer};

/// A second server behind an issuer whose metadata says `jwks_uri`, or nothing at all.
async fn beside(metadata: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) -> (Rig, Upstream, String) {
    let origin: Arc<Mutex<String>> = Arc::default();
    let scripted = origin.clone();
    let metadata = Arc::new(metadata);
    let issuer = Upstream::handling(move |heard, mut connection| {
        let document = if heard.line().contains("/.well-known/") { metadata(&scripted.lock().unwrap()) } else { None };
        async move {
            if let Some(document) = document {
                connection.send(json_answer(200, &document.to_string())).await;
                return Some(connection);
            }
            // It takes the request and never answers.
            connection.hung_up().await;
            None
        }
    })
    .await;
    let name = issuer.url().trim_end_matches("/mcp").to_owned();
    origin.lock().unwrap().clone_from(&name);
    let tables = format!(
        "[issuers.other]\nissuer = \"{name}\"\ninsecure_loopback = true\n[servers.other]\npath = \"/other/mcp\"\n\
         upstream = \"{}\"\npolicies = [\"crm.toml\"]\nissuers = [\"other\"]\naudiences = [\"https://gw.test/crm/mcp\"]\n",
        issuer.url()
    );
    let signer = Signer::p256();
    let (published, answer) = key_server(&json!({ "keys": [signer.jwk("k1")] })).await;
    let upstream = Upstream::plain().await;
    let setup = Setup::new(upstream.url()).issuer_keys(&format!("jwks_uri = \"{}\"", published.url())).tables(&tables);
    let proxy = setup.start_without_keys().await;
    (Rig { proxy, upstream, published, answer, signer }, issuer, name)
}

fn to_the_other(token: &str) -> Ask {
    ask(token).target("/other/mcp")
}

/// Metadata of an issuer leads nowhere but to its own host or to a public address.
#[tokio::test]
async fn k1_metadata_leads_nowhere_inside() {
    let (trap, _) = key_server(&json!({ "keys": [] })).await;
    let port = trap.url().rsplit(':').next().unwrap().trim_end_matches("/mcp").to_owned();
    for place in [
        "http://[64:ff9b::a9fe:a9fe]/latest/meta-data".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        format!("http://localhost:{port}/jwks"),
        format!("http://[::1]:{port}/jwks"),
        format!("https://127.0.0.2:{port}/jwks"),
        "file:///etc/passwd".to_owned(),
    ] {
        let uri = place.clone();
        let (rig, issuer, name) = beside(move |origin| Some(json!({ "issuer": origin, "jwks_uri": uri }))).await;
        let token = rig.token(&header(), &json!({ "iss": name }));
        let answer = rig.proxy.ask(&to_the_other(&token)).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (503, None), "{place}: {answer:?}");
        assert!(answer.header("retry-after").is_some() && !answer.text().contains("169.254"), "{place}: {answer:?}");
        assert_eq!(rig.proxy.audit().last().unwrap()["error"], "keys_unavailable", "{place}");
        assert!(issuer.take().iter().all(|heard| heard.line().contains("/.well-known/")), "{place}");
    }
    // And the metadata of somebody else is nobody's.
    let (rig, _, name) =
        beside(|origin| Some(json!({ "issuer": "https://idp-a.test/", "jwks_uri": format!("{origin}/jwks") }))).await;
    let token = rig.token(&header(), &json!({ "iss": name }));
    assert_eq!(rig.proxy.ask(&to_the_other(&token)).await.status, 503);
    assert_eq!(trap.take().len(), 0, "an address inside was asked");
}

/// One connection a caller, as many requests on it as it takes.
async fn many(proxy: &Proxy, tokens: Vec<String>) -> Vec<u16> {
    let mut client = proxy.client().await;
    let mut statuses = Vec::with_capacity(tokens.len());
    for token in tokens {
        client.send(&ask(&token).bytes()).await;
        statuses.push(client.answer().await.unwrap().status);
    }
    statuses
}

/// Five at once and one each thirty seconds, whoever asks and however often.
#[tokio::test]
async fn k2_ten_thousand_unknown_keys_cause_a_handful_of_fetches() {
    const EACH: usize = 2500;
    let rig = Rig::new(&[]).await;
    let good = rig.token(&header(), &json!({}));
    let (claims, signature) = (good.split('.').nth(1).unwrap(), good.rsplit('.').next().unwrap());
    let forged = |at: usize| {
        let head = header_with(&json!({ "kid": format!("x{at}") })).to_string();
        format!("{}.{claims}.{signature}", super::signer::encoded(head))
    };
    let of = |caller: usize| (0..EACH).map(|at| forged(caller * EACH + at)).collect::<Vec<_>>();
    let began = portcullis::clock::monotonic();
    let (a, b, c, d) = tokio::join!(
        many(&rig.proxy, of(0)),
        many(&rig.proxy, of(1)),
        many(&rig.proxy, of(2)),
        many(&rig.proxy, of(3))
    );
    let statuses = [a, b, c, d].concat();
    assert_eq!(statuses.len(), 4 * EACH);
    assert!(statuses.iter().all(|status| *status == 401));
    let fetches = rig.fetches();
    // However slow the machine is, the bucket fills again once in thirty seconds.
    let most = 5 + 1 + began.elapsed().as_secs() / 30;
    assert!((1..=most).contains(&u64::try_from(fetches).unwrap()), "{fetches} fetches, {most} at most");
    println!("10000 unknown kids, {fetches} fetches");
    rig.takes("a known key", &good).await;
    assert_eq!(rig.fetches(), 0);
}

#[tokio::test]
async fn k3_a_hostile_set_never_replaces_a_good_one() {
    let many: Vec<Value> = (0..101).map(|at| Signer::p256().jwk(&format!("m{at}"))).collect();
    let big = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    for (name, answer) in [
        ("too many", json_answer(200, &json!({ "keys": many }).to_string())),
        ("too long", json_answer(200, &big)),
        (
            "gzip",
            raw_answer(200, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", b"\x1f\x8b\x08\x00xxxx"),
        ),
        ("a redirect", raw_answer(302, "Location: http://127.0.0.1:1/jwks\r\n", b"")),
        ("no keys", json_answer(200, r#"{"keys":[]}"#)),
        ("no JSON", json_answer(200, "<html>")),
        ("a key twice over", json_answer(200, r#"{"keys":[],"keys":[]}"#)),
        ("500", raw_answer(500, "", b"")),
    ] {
        let rig = Rig::new(&[]).await;
        rig.publish(answer);
        let unknown = rig.token(&header_with(&json!({ "kid": "other" })), &json!({}));
        let refused = rig.proxy.ask(&ask(&unknown)).await;
        assert_eq!(refused.status, 503, "{name}: nobody can say whether there is such a key: {refused:?}");
        assert_eq!(refused.header("www-authenticate"), None, "{name}");
        assert!(rig.fetches() >= 1, "{name}");
        rig.takes(name, &rig.token(&header(), &json!({ "jti": name }))).await;
    }
    // One bad key does not spoil the others.
    let good = Signer::p256();
    let rig = Rig::new(&[]).await;
    let keys =
        json!({ "keys": [rig.signer.jwk("k1"), { "kty": "EC" }, 7, { "kty": "XX", "kid": "z" }, good.jwk("k2")] });
    rig.publish(json_answer(200, &keys.to_string()));
    let token = good.token(&header_with(&json!({ "kid": "k2" })), &rig.claims_with(&json!({})));
    rig.takes("beside bad ones", &token).await;
}

#[tokio::test]
async fn k4_a_key_that_is_taken_out_takes_its_tokens_with_it() {
    let rig = Rig::new(&[]).await;
    let (next, old) = (Signer::p256(), rig.token(&header(), &json!({})));
    rig.takes("known", &old).await;
    rig.publish(json_answer(200, &json!({ "keys": [next.jwk("k2")] }).to_string()));
    let new = next.token(&header_with(&json!({ "kid": "k2" })), &rig.claims_with(&json!({})));
    rig.takes("the next", &new).await;
    rig.published.take();
    // Known a moment ago, and verified by a key that is no more.
    let answer = rig.proxy.ask(&ask(&old)).await;
    rig.refused("old", &answer, 401, "invalid_token");
    assert_eq!(rig.proxy.audit().last().unwrap()["error"], "unknown_key");
}

#[tokio::test]
async fn k5_an_outage_accepts_nothing_unverified() {
    let rig = Rig::new(&[]).await;
    rig.publish(raw_answer(503, "", b""));
    for at in 0..5 {
        rig.takes("a known key", &rig.token(&header(), &json!({ "jti": at.to_string() }))).await;
    }
    let evil = Signer::p256();
    let answer = rig.proxy.ask(&ask(&evil.token(&header(), &rig.claims_with(&json!({}))))).await;
    rig.refused("forged", &answer, 401, "invalid_token");
    assert_eq!(rig.proxy.audit().last().unwrap()["error"], "bad_signature");
    let unknown = evil.token(&header_with(&json!({ "kid": "k2" })), &rig.claims_with(&json!({})));
    assert_eq!(rig.proxy.ask(&ask(&unknown)).await.status, 503);
    assert_eq!(rig.proxy.audit().last().unwrap()["error"], "keys_unavailable");
    assert_eq!(rig.upstream.take().len(), 0);
}

/// A request of the issuer that never answers waits; those of the other do not.
#[tokio::test]
async fn k6_an_issuer_that_never_answers_holds_up_its_own_alone() {
    let (rig, issuer, name) = beside(|_| None).await;
    let waiting = rig.token(&header(), &json!({ "iss": name }));
    let mut client = rig.proxy.client().await;
    client.send(&to_the_other(&waiting).bytes()).await;
    issuer.wait_for(1).await;
    for at in 0..10 {
        rig.takes("of the other issuer", &rig.token(&header(), &json!({ "jti": at.to_string() }))).await;
    }
    assert_eq!(issuer.take().len(), 1, "one fetch, and it hangs");
}

/// Which keys are believed is a matter of record: each change of them, and each beginning and end of an outage.
#[tokio::test]
async fn what_becomes_of_keys_is_written_down() {
    let rig = Rig::new(&[]).await;
    let told = |nth: usize| {
        let log = rig.proxy.folder.read("audit.jsonl");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut told = lines.filter(|line| line["event"] == "key_refresh").map(|line| line["key_refresh"].clone());
        let (line, next) = (told.nth(nth).unwrap(), told.next());
        assert_eq!(next, None, "no more than {nth}");
        assert_eq!([&line["issuer"], &line["iss"]], [&json!("corp"), &json!(rig.proxy.issuer.url())]);
        line
    };
    let found = |line: &Value| [line["result"].clone(), line["added"].clone(), line["removed"].clone()];
    assert_eq!(found(&told(0)), [json!("changed"), json!(["k1"]), json!([])]);
    let next = Signer::p256();
    let token = |kid: &str| next.token(&header_with(&json!({ "kid": kid })), &rig.claims_with(&json!({})));
    let keys = json_answer(200, &json!({ "keys": [next.jwk("k2")] }).to_string());
    rig.publish(keys.clone());
    rig.takes("the next", &token("k2")).await;
    assert_eq!(found(&told(1)), [json!("changed"), json!(["k2"]), json!(["k1"])]);
    rig.publish(raw_answer(503, "", b""));
    for kid in ["k3", "k4"] {
        assert_eq!(rig.proxy.ask(&ask(&token(kid))).await.status, 503, "{kid}");
    }
    let failed = told(2);
    assert!(failed["result"] == "failed" && failed["reason"].as_str().unwrap().contains("503"), "{failed}");
    rig.publish(keys);
    assert_eq!(rig.proxy.ask(&ask(&token("k5"))).await.status, 401);
    assert_eq!(told(3)["result"], "recovered");
}
