//! Threats to bound tokens (J21).

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::signer::{Signer, encoded};
use super::{CANARY, Rig, header, header_with, now};
use crate::support::{Ask, Setup};

/// The usual proof of a POST of `token`, with other header members and claims.
fn proof(key: &Signer, token: &str, head: &Value, changes: &Value) -> String {
    let mut header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": public(key) });
    let mut claims = json!({ "jti": uuid::Uuid::now_v7().to_string(), "htm": "POST", "htu": "https://gw.test/crm/mcp",
        "iat": now(), "ath": encoded(digest(&SHA256, token.as_bytes())) });
    for (object, changes) in [(&mut header, head), (&mut claims, changes)] {
        for (name, value) in changes.as_object().unwrap() {
            if value == "(remove)" {
                object.as_object_mut().unwrap().remove(name);
            } else {
                object[name] = value.clone();
            }
        }
    }
    key.token(&header, &claims)
}

fn public(key: &Signer) -> Value {
    let mut jwk = key.jwk("");
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

/// RFC 7638: its members are in order as they are.
fn thumbprint(key: &Signer) -> String {
    encoded(digest(&SHA256, public(key).to_string().as_bytes()))
}

fn shown(token: &str, proofs: &[&str]) -> Ask {
    let ask = Ask::call("2026-07-28", "search_contacts", &json!({})).header("Authorization", &format!("DPoP {token}"));
    proofs.iter().fold(ask, |ask, proof| ask.header("DPoP", proof))
}

#[tokio::test]
async fn j21_a_bound_token_is_nothing_without_its_proof() {
    let rig = Rig::with(&[], |setup: Setup| setup.server("dpop = {}")).await;
    let (key, other, none) = (Signer::p256(), Signer::p256(), json!({}));
    let token = rig.token(&header(), &json!({ "cnf": { "jkt": thumbprint(&key) } }));
    let mut private = public(&key);
    private["d"] = json!(encoded(CANARY));
    let with = |head: &Value, claims: &Value| proof(&key, &token, head, claims);
    for (name, proof) in [
        ("no algorithm", with(&json!({ "alg": "none" }), &none)),
        ("a secret's algorithm", with(&json!({ "alg": "HS256" }), &none)),
        ("another type", with(&json!({ "typ": "JWT" }), &none)),
        ("no key", with(&json!({ "jwk": "(remove)" }), &none)),
        ("a private key", with(&json!({ "jwk": private }), &none)),
        ("a symmetric key", with(&json!({ "jwk": { "kty": "oct", "k": encoded(CANARY) } }), &none)),
        ("another's key", with(&json!({ "jwk": public(&other) }), &none)),
        ("by another", super::proofs::proof(&other, &token, &none, &none)),
        ("something critical", with(&json!({ "crit": ["x"] }), &none)),
        ("another method", with(&none, &json!({ "htm": "GET" }))),
        ("the method in small", with(&none, &json!({ "htm": "post" }))),
        ("another server", with(&none, &json!({ "htu": "https://gw.test/ops/mcp" }))),
        ("another scheme", with(&none, &json!({ "htu": "http://gw.test/crm/mcp" }))),
        ("where it came in", with(&none, &json!({ "htu": format!("http://{}/crm/mcp", rig.proxy.address) }))),
        ("old", with(&none, &json!({ "iat": now() - 120 }))),
        ("early", with(&none, &json!({ "iat": now() + 120 }))),
        ("a time as text", with(&none, &json!({ "iat": now().to_string() }))),
        ("no time", with(&none, &json!({ "iat": "(remove)" }))),
        ("no name", with(&none, &json!({ "jti": "(remove)" }))),
        ("a long name", with(&none, &json!({ "jti": CANARY.repeat(200) }))),
        ("no token", with(&none, &json!({ "ath": "(remove)" }))),
        ("another token", with(&none, &json!({ "ath": encoded(digest(&SHA256, b"x")) }))),
        ("the token itself", token.clone()),
        ("no JWS", CANARY.to_owned()),
    ] {
        rig.refuses_ask(name, &shown(&token, &[&proof]), 401, "invalid_dpop_proof", "bad_proof").await;
    }
    let good = with(&none, &none);
    let [one, two] = [with(&none, &none), with(&none, &none)];
    rig.refuses_ask("none", &shown(&token, &[]), 401, "invalid_dpop_proof", "bad_proof").await;
    rig.refuses_ask("two", &shown(&token, &[&one, &two]), 401, "invalid_dpop_proof", "bad_proof").await;
    assert_eq!(rig.proxy.ask(&shown(&token, &[&good])).await.status, 200);
    rig.upstream.take();
    rig.refuses_ask("again", &shown(&token, &[&good]), 401, "invalid_dpop_proof", "bad_proof").await;
    // The downgrade, both ways, and bindings nobody can check.
    rig.refuses("as a plain token", &token, "wrong_binding").await;
    let plain = rig.token(&header(), &json!({}));
    let of_plain = proof(&key, &plain, &none, &none);
    rig.refuses_ask("a plain one as bound", &shown(&plain, &[&of_plain]), 401, "invalid_token", "wrong_binding").await;
    for cnf in [json!({ "kid": CANARY }), json!({ "jkt": CANARY }), json!({}), json!(null), json!({ "x5t#S256": "x" })]
    {
        let token = rig.token(&header_with(&json!({})), &json!({ "cnf": cnf }));
        rig.refuses(&cnf.to_string(), &token, "wrong_binding").await;
    }
    let certified = rig.token(&header(), &json!({ "cnf": { "x5t#S256": encoded([7; 32]) } }));
    rig.refuses("without its certificate", &certified, "wrong_binding").await;
    let spoofed = super::ask(&certified).header("Client-Cert", ":AAAA:");
    rig.refuses_ask("a certificate anybody can write", &spoofed, 401, "invalid_token", "wrong_binding").await;
}
