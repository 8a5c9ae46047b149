//! Threats to the token (J1 to J23).

use portcullis::demo::Fault;
use serde_json::{Value, json};

use super::signer::{Signer, encoded};
use super::{CANARY, Rig, ask, header, header_with, key_server, now};
use crate::support::{Ask, Setup, token_of};

#[tokio::test]
async fn j1_no_algorithm_is_none() {
    let rig = Rig::new(&[]).await;
    let good = rig.token(&header(), &json!({}));
    let claims = good.split('.').nth(1).unwrap();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let head = encoded(header_with(&json!({ "alg": alg })).to_string());
        for signature in ["", good.rsplit('.').next().unwrap()] {
            rig.refuses(
                alg,
                &format!("{head}.{claims}.{signature}"),
                if signature.is_empty() { "malformed" } else { "bad_signature" },
            )
            .await;
        }
    }
    rig.takes("as it should be", &good).await;
}

#[tokio::test]
async fn j2_a_public_key_is_no_secret() {
    let rsa = Signer::rsa();
    let rig =
        Rig::new(&[rsa.jwk("rsa"), json!({ "kty": "oct", "k": encoded("secret"), "kid": "oct", "alg": "HS256" })])
            .await;
    let hmac = |kid: &str, key: &[u8]| {
        let header = header_with(&json!({ "alg": "HS256", "kid": kid }));
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(Value::Object(rig.claims()).to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        format!("{signed}.{}", encoded(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
    };
    let jwk = rsa.jwk("rsa");
    let modulus = data_encoding::BASE64URL_NOPAD.decode(jwk["n"].as_str().unwrap().as_bytes()).unwrap();
    for (name, token) in [
        ("the modulus", hmac("rsa", &modulus)),
        ("its text", hmac("rsa", jwk["n"].as_str().unwrap().as_bytes())),
        ("the JWK", hmac("rsa", jwk.to_string().as_bytes())),
        ("a published secret", hmac("oct", b"secret")),
        ("nothing", hmac("k1", b"")),
    ] {
        rig.refuses(name, &token, "bad_signature").await;
    }
    rig.takes(
        "RS256",
        &rsa.token(&header_with(&json!({ "alg": "RS256", "kid": "rsa" })), &rig.claims_with(&json!({}))),
    )
    .await;
}

#[tokio::test]
async fn j3_the_algorithm_is_the_keys_own() {
    let rsa = Signer::rsa();
    let mut pinned = rsa.jwk("pinned");
    pinned["alg"] = json!("PS256");
    let rig = Rig::new(&[pinned]).await;
    let claims = rig.claims_with(&json!({}));
    let with = |alg: &str, kid: &str| rsa.token(&header_with(&json!({ "alg": alg, "kid": kid })), &claims);
    for (name, token) in [
        ("RS256 of a PS256 key", with("RS256", "pinned")),
        ("RS256 of an EC key", with("RS256", "k1")),
        ("ES256 of an RSA key", rig.token(&header_with(&json!({ "kid": "pinned" })), &json!({}))),
        ("EdDSA of an EC key", rig.token(&header_with(&json!({ "alg": "EdDSA" })), &json!({}))),
        ("ES384 of a P-256 key", rig.token(&header_with(&json!({ "alg": "ES384" })), &json!({}))),
    ] {
        rig.refuses(name, &token, "bad_signature").await;
    }
    rig.takes("PS256", &with("PS256", "pinned")).await;
}

/// What is published for something else verifies nothing; its tokens are of an unknown key, which one fetch confirms.
#[tokio::test]
async fn j4_keys_for_something_else_sign_nothing() {
    let (encrypting, wrapping) = (Signer::p256(), Signer::p256());
    let mut keys = [encrypting.jwk("enc"), wrapping.jwk("wrap")];
    keys[0]["use"] = json!("enc");
    keys[1]["key_ops"] = json!(["encrypt", "wrapKey"]);
    let rig = Rig::new(&keys).await;
    for (signer, kid) in [(&encrypting, "enc"), (&wrapping, "wrap")] {
        let token = signer.token(&header_with(&json!({ "kid": kid })), &rig.claims_with(&json!({})));
        let answer = rig.proxy.ask(&ask(&token)).await;
        rig.refused(kid, &answer, 401, "invalid_token");
        assert_eq!(rig.proxy.audit().last().unwrap()["error"], "unknown_key");
        assert!(rig.fetches() <= 1);
    }
}

#[tokio::test]
async fn j5_a_key_id_is_looked_up_and_nothing_else() {
    let rig = Rig::new(&[]).await;
    let long = "k".repeat(257);
    for (at, kid) in
        ["../../dev/null", "k1' OR '1'='1", "k1\r\nX-Evil: 1", "https://evil.test/k1", "K1", "k1\0", CANARY]
            .into_iter()
            .enumerate()
    {
        let token = rig.token(&header_with(&json!({ "kid": kid })), &json!({}));
        let answer = rig.proxy.ask(&ask(&token)).await;
        // The budget of looking for unknown keys is five at once; a token beyond it is refused all the same.
        rig.refused(kid, &answer, 401, "invalid_token");
        let mut line = rig.proxy.audit().pop().unwrap();
        assert_eq!(line["error"], "unknown_key", "{at} {kid:?}");
        // What it says of itself stands apart, as one string.
        let said = line.as_object_mut().unwrap().remove("unverified").unwrap();
        assert!(said["kid"].is_string(), "{said}");
        assert!(!line.to_string().contains("evil") && !line.to_string().contains(CANARY), "{line}");
    }
    assert!(rig.fetches() <= 5);
    for kid in [json!(long), json!(1), json!(null), json!(["k1"])] {
        rig.refuses("kid", &rig.token(&header_with(&json!({ "kid": kid })), &json!({})), "malformed").await;
    }
}

#[tokio::test]
async fn j6_keys_and_places_in_the_header_are_ignored() {
    let rig = Rig::new(&[]).await;
    let evil = Signer::p256();
    let (trap, _) = key_server(&json!({ "keys": [evil.jwk("k1")] })).await;
    for member in [
        json!({ "jku": trap.url() }),
        json!({ "x5u": trap.url() }),
        json!({ "jwk": evil.jwk("k1") }),
        json!({ "x5c": [encoded(CANARY)] }),
        json!({ "x5t#S256": CANARY }),
    ] {
        let header = header_with(&member);
        rig.refuses(&member.to_string(), &evil.token(&header, &rig.claims_with(&json!({}))), "bad_signature").await;
        rig.takes(&member.to_string(), &rig.token(&header, &json!({}))).await;
    }
    assert_eq!(trap.take().len(), 0, "somewhere a stranger named was asked");
}

#[tokio::test]
async fn j7_what_is_critical_must_be_understood() {
    let rig = Rig::new(&[]).await;
    for member in [
        json!({ "crit": ["exp-policy"], "exp-policy": CANARY }),
        json!({ "crit": [] }),
        json!({ "crit": "b64" }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "b64": true }),
        json!({ "zip": "DEF" }),
    ] {
        rig.refuses(&member.to_string(), &rig.token(&header_with(&member), &json!({})), "malformed").await;
    }
}

#[tokio::test]
async fn j8_members_are_there_once() {
    let rig = Rig::new(&[]).await;
    let (good, head) = (Value::Object(rig.claims()).to_string(), header().to_string());
    let inside = good.strip_suffix('}').unwrap();
    for claims in [
        format!("{inside},\"scope\":\"crm:read crm:write\"}}"),
        format!("{inside},\"s\\u0063ope\":\"crm:write\"}}"),
        format!("{inside},\"sub\":\"max\"}}"),
        format!("{inside},\"aud\":\"https://gw.test/crm/mcp\"}}"),
        format!("{inside},\"x\":{{\"a\":1,\"a\":2}}}}"),
    ] {
        rig.refuses(&claims, &rig.raw(&head, claims.as_bytes()), "malformed").await;
    }
    for head in [
        r#"{"alg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","alg":"none","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","\u006bid":"k2"}"#,
    ] {
        rig.refuses(head, &rig.raw(head, good.as_bytes()), "malformed").await;
    }
}

/// Two issuers whose keys have the same id: each signs for itself alone.
#[tokio::test]
async fn j9_an_issuer_signs_for_itself_alone() {
    let theirs = Signer::p256();
    let (published, _) = key_server(&json!({ "keys": [theirs.jwk("k1")] })).await;
    let other = Setup::new_issuer().await;
    let tables = format!(
        "[issuers.other]\nissuer = \"{}\"\ninsecure_loopback = true\njwks_uri = \"{}\"\n[servers.both]\npath = \"/both/mcp\"\n\
         upstream = \"UPSTREAM\"\npolicies = [\"both.toml\"]\nissuers = [\"corp\", \"other\"]\naudiences = [\"https://gw.test/crm/mcp\"]\n",
        other.url(),
        published.url()
    );
    let upstream = crate::support::Upstream::plain().await;
    let rig = Rig::with(&[], |setup| {
        setup
            .file("both.toml", "[[rule]]\nid = \"all\"\ntools = [\"**\"]\nissuer = [\"corp\", \"other\"]\n")
            .tables(&tables.replace("UPSTREAM", &upstream.url()))
    })
    .await;
    let claims = |iss: &Value| rig.claims_with(&json!({ "iss": iss }));
    let (ours, at_theirs) = (json!(rig.proxy.issuer.url()), json!(other.url()));
    let both = |token: &str| ask(token).target("/both/mcp");
    for (name, token) in [
        ("one", rig.signer.token(&header(), &claims(&ours))),
        ("the other", theirs.token(&header(), &claims(&at_theirs))),
    ] {
        assert_eq!(rig.proxy.ask(&both(&token)).await.status, 200, "{name}");
        assert_eq!(upstream.take().len(), 1);
    }
    let evil = format!("https://evil.test/?{}", other.url());
    for (name, token, reason) in [
        ("theirs in our name", theirs.token(&header(), &claims(&ours)), "bad_signature"),
        ("ours in their name", rig.signer.token(&header(), &claims(&at_theirs)), "bad_signature"),
        ("a name with ours in it", rig.signer.token(&header(), &claims(&json!(evil))), "wrong_issuer"),
        ("a slash more", rig.signer.token(&header(), &claims(&json!(format!("{}/", other.url())))), "wrong_issuer"),
        ("a list", rig.signer.token(&header(), &claims(&json!([ours]))), "malformed"),
        ("none", rig.signer.token(&header(), &rig.claims_with(&json!({ "iss": "(remove)" }))), "malformed"),
    ] {
        let answer = rig.proxy.ask(&both(&token)).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
        assert_eq!(rig.proxy.audit().last().unwrap()["error"], reason, "{name}");
        assert_eq!(upstream.take().len(), 0, "{name}");
    }
}

#[tokio::test]
async fn j10_a_token_is_for_this_server() {
    let rig = Rig::new(&[]).await;
    for aud in [
        json!("https://gw.test/ops/mcp"),
        json!("https://gw.test/crm/mcp/admin"),
        json!("https://gw.test/crm"),
        json!("https://gw.test"),
        json!("https://gw.test/CRM/mcp"),
        json!("xhttps://gw.test/crm/mcp"),
        json!("*"),
        json!(""),
        json!([]),
        json!(["account", "https://gw.test/ops/mcp"]),
        json!("(remove)"),
    ] {
        rig.refuses(&aud.to_string(), &rig.token(&header(), &json!({ "aud": aud })), "wrong_audience").await;
    }
    for aud in [json!(null), json!(1), json!({ "a": "https://gw.test/crm/mcp" }), json!(["https://gw.test/crm/mcp", 1])]
    {
        rig.refuses(&aud.to_string(), &rig.token(&header(), &json!({ "aud": aud })), "malformed").await;
    }
    rig.takes("one of two", &rig.token(&header(), &json!({ "aud": ["account", "https://gw.test/crm/mcp"] }))).await;
}

#[tokio::test]
async fn j11_other_tokens_are_no_access_tokens() {
    let rig = Rig::new(&[]).await;
    for typ in [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "oauth-id-jag+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "JOSE",
        "",
    ] {
        rig.refuses(typ, &rig.token(&header_with(&json!({ "typ": typ })), &json!({})), "wrong_type").await;
    }
    let plain = header_with(&json!({ "typ": "JWT" }));
    for (name, claims) in [
        ("an ID token's nonce", json!({ "nonce": CANARY })),
        ("an ID token's hash", json!({ "at_hash": CANARY })),
        ("token_use", json!({ "token_use": "id" })),
        ("a refresh token", json!({ "typ": "Refresh" })),
        ("for its own client", json!({ "client_id": "https://gw.test/crm/mcp" })),
    ] {
        rig.refuses(name, &rig.token(&plain, &claims), "wrong_type").await;
    }
    rig.takes("plain", &rig.token(&plain, &json!({}))).await;
}

#[tokio::test]
async fn j12_a_claim_of_another_type_is_not_an_absent_one() {
    let rig = Rig::new(&[]).await;
    for change in [
        json!({ "exp": "4102444800" }),
        json!({ "exp": null }),
        json!({ "exp": [4_102_444_800_i64] }),
        json!({ "exp": true }),
        json!({ "exp": "(remove)" }),
        json!({ "nbf": "0" }),
        json!({ "nbf": null }),
        json!({ "iat": {} }),
        json!({ "sub": ["ana"] }),
        json!({ "sub": null }),
        json!({ "client_id": 7 }),
        json!({ "jti": 1 }),
        json!({ "scope": { "crm:read": true } }),
        json!({ "scope": 1 }),
    ] {
        rig.refuses(&change.to_string(), &rig.token(&header(), &change), "malformed").await;
    }
}

#[tokio::test]
async fn j13_times_do_not_overflow() {
    let rig = Rig::new(&[]).await;
    let good = Value::Object(rig.claims()).to_string();
    let exp = rig.claims()["exp"].to_string();
    for text in
        ["1e999", "-1e999", "1e300", "-1", "9223372036854775807", "18446744073709551615", "99999999999999999999999999"]
    {
        let claims = good.replace(&format!("\"exp\":{exp}"), &format!("\"exp\":{text}"));
        assert_ne!(claims, good);
        rig.refuses(text, &rig.raw(&header().to_string(), claims.as_bytes()), "malformed").await;
    }
    for (change, reason) in [
        (json!({ "exp": 0 }), "expired"),
        (json!({ "exp": 0.5 }), "expired"),
        (json!({ "exp": now() - 61 }), "expired"),
        (json!({ "nbf": now() + 120 }), "not_yet_valid"),
        (json!({ "iat": now() + 120 }), "not_yet_valid"),
        (json!({ "nbf": 9_007_199_254_740_991_i64 }), "not_yet_valid"),
    ] {
        let token = rig.token(&header(), &change);
        rig.refuses_ask(&change.to_string(), &ask(&token), 401, "invalid_token", reason).await;
    }
}

#[tokio::test]
async fn j14_degenerate_signatures_verify_nothing() {
    let rig = Rig::new(&[]).await;
    let good = rig.token(&header(), &json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let bytes = data_encoding::BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &bytes[..32], &[0x02, 0x20], &bytes[32..]].concat();
    for (name, forged) in [
        ("zero", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("r is zero", [vec![0; 32], bytes[32..].to_vec()].concat()),
        ("short", bytes[..63].to_vec()),
        ("long", [bytes.clone(), vec![0]].concat()),
        ("DER", der),
    ] {
        rig.refuses(name, &format!("{signed}.{}", encoded(forged)), "bad_signature").await;
    }
}

/// Under a key of small order a signature for everything can be made without knowing any secret.
#[tokio::test]
async fn j15_small_order_keys_are_not_loaded() {
    let identity = |kid: &str, x: [u8; 32]| json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(x), "kid": kid });
    let mut one = [0; 32];
    one[0] = 1;
    let rig = Rig::new(&[identity("one", one), identity("zero", [0; 32])]).await;
    for kid in ["one", "zero"] {
        let head = header_with(&json!({ "alg": "EdDSA", "kid": kid }));
        let signed = format!("{}.{}", encoded(head.to_string()), encoded(Value::Object(rig.claims()).to_string()));
        let forged = format!("{signed}.{}", encoded([one, [0; 32]].concat()));
        let answer = rig.proxy.ask(&ask(&forged)).await;
        rig.refused(kid, &answer, 401, "invalid_token");
        assert_eq!(rig.proxy.audit().last().unwrap()["error"], "unknown_key", "{kid}");
    }
    assert!(rig.fetches() <= 2);
}

#[tokio::test]
async fn j16_weak_rsa_keys_are_not_loaded() {
    let rsa = Signer::rsa();
    let strong = rsa.jwk("strong");
    let with = |kid: &str, n: Value, e: &str| json!({ "kty": "RSA", "kid": kid, "n": n, "e": e });
    let short = encoded([vec![0xc1; 127], vec![0x01]].concat());
    let keys = [
        with("short", json!(short), "AQAB"),
        with("one", strong["n"].clone(), "AQ"),
        with("three", strong["n"].clone(), "Aw"),
        with("even", strong["n"].clone(), "AQAA"),
        strong.clone(),
    ];
    let rig = Rig::new(&keys).await;
    for kid in ["short", "one", "three", "even"] {
        let token = rsa.token(&header_with(&json!({ "alg": "RS256", "kid": kid })), &rig.claims_with(&json!({})));
        let answer = rig.proxy.ask(&ask(&token)).await;
        rig.refused(kid, &answer, 401, "invalid_token");
        assert_eq!(rig.proxy.audit().last().unwrap()["error"], "unknown_key", "{kid}");
    }
    assert!(rig.fetches() <= 4);
    rig.takes(
        "strong",
        &rsa.token(&header_with(&json!({ "alg": "RS256", "kid": "strong" })), &rig.claims_with(&json!({}))),
    )
    .await;
}

#[tokio::test]
async fn j17_a_token_has_one_shape() {
    let rig = Rig::new(&[]).await;
    let good = rig.token(&header(), &json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let [h, c, s] = parts[..] else { panic!() };
    let nested = encoded(&good);
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    for (name, token) in [
        ("two segments", format!("{h}.{c}")),
        ("four segments", format!("{good}.x")),
        ("a JWE's five", format!("{good}.x.y")),
        ("dots", ".".repeat(8000)),
        ("empty claims", format!("{h}..{s}")),
        ("unused bits", format!("{h}.{c}.{}B", &s[..s.len() - 1])),
        ("another alphabet", format!("{h}.{c}.{}+", &s[..s.len() - 1])),
        ("a token in a token", rig.raw(&header().to_string(), nested.as_bytes())),
        ("no object", rig.raw(&header().to_string(), b"[]")),
        (
            "a mark before it",
            rig.raw(&header().to_string(), format!("\u{feff}{}", Value::Object(rig.claims())).as_bytes()),
        ),
        ("not UTF-8", rig.raw(&header().to_string(), b"{\"sub\":\"\xff\"}")),
        ("deep", rig.raw(&header().to_string(), deep.as_bytes())),
        ("an opaque one", CANARY.to_owned()),
    ] {
        rig.refuses(name, &token, "malformed").await;
    }
    for (name, value) in [
        ("padding inside", format!("Bearer {h}=.{c}.{s}")),
        ("a space inside", format!("Bearer {h} .{c}.{s}")),
        ("too long", format!("Bearer {h}.{c}.{}", "A".repeat(17_000))),
        ("no token", "Bearer".to_owned()),
        ("two", format!("Bearer {good}, Bearer {good}")),
    ] {
        let ask = Ask::call("2026-07-28", "search_contacts", &json!({})).header("Authorization", &value);
        rig.refuses_ask(name, &ask, 400, "invalid_request", "malformed").await;
    }
}

#[tokio::test]
async fn j18_names_are_bytes() {
    let rig = Rig::with(&[], |setup| {
        setup.file("revoked.jsonl", "{\"sub\":\"ana\"}\n").issuer_keys("revocation_file = \"revoked.jsonl\"")
    })
    .await;
    let good = Value::Object(rig.claims()).to_string();
    for sub in ["\\ud800", "\\udfff", "ana\\u0000", "a\\nb", "a\\u0085b", ""] {
        let claims = good.replace("\"sub\":\"ana\"", &format!("\"sub\":\"{sub}\""));
        rig.refuses(sub, &rig.raw(&header().to_string(), claims.as_bytes()), "malformed").await;
    }
    // The one on the list, and those who look like her.
    rig.refuses("ana", &rig.token(&header(), &json!({})), "revoked").await;
    for sub in ["Ana", "ana ", "\u{430}na", "an\u{ff41}", "ana\u{301}"] {
        rig.takes(sub, &rig.token(&header(), &json!({ "sub": sub }))).await;
    }
}

/// A scope is granted by its own bytes between blanks; what is nearly one grants nothing, and the challenge says what would.
#[tokio::test]
async fn j19_scopes_are_split_at_blanks_and_compared_whole() {
    let rig = Rig::new(&[]).await;
    for (at, scope) in [
        "crm:read,crm:write",
        "crm:read\tcrm:write",
        "crm:read\u{a0}crm:write",
        "crm:read\ncrm:write",
        "crm:write:all",
        "crm:writes",
        "CRM:WRITE",
        "crm:",
        "*",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        // Somebody else each time: who is asked for the same scopes twice is not asked again.
        let token = rig.token(&header(), &json!({ "sub": format!("user-{at}"), "scope": scope }));
        let ask = Ask::call("2026-07-28", "update_contact", &json!({ "id": "c-001", "fields": {} })).token(&token);
        let answer = rig.proxy.ask(&ask).await;
        // A separator no scope may hold makes it no token, or grants nothing.
        assert!(answer.status == 403 || answer.status == 401, "{scope:?}: {answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        if answer.status == 403 {
            assert!(
                challenge.contains("error=\"insufficient_scope\"") && challenge.contains("crm:write"),
                "{challenge}"
            );
        }
        assert_eq!(rig.upstream.take().len(), 0, "{scope:?}");
        assert_eq!(rig.fetches(), 0);
    }
    let both = rig.token(&header(), &json!({ "scope": "crm:read  crm:write" }));
    let ask = Ask::call("2026-07-28", "update_contact", &json!({ "id": "c-001", "fields": {} })).token(&both);
    assert_eq!(rig.proxy.ask(&ask).await.status, 200);
}

#[tokio::test]
async fn j20_there_is_one_credential_and_it_is_in_the_header() {
    let rig = Rig::new(&[]).await;
    let good = rig.token(&header(), &json!({}));
    let bare = || Ask::call("2026-07-28", "search_contacts", &json!({}));
    for (name, ask) in [
        ("two fields", ask(&good).header("Authorization", &format!("Bearer {good}"))),
        ("a list", bare().header("Authorization", &format!("Bearer {good},Bearer {good}"))),
        ("in the query", bare().target(&format!("/crm/mcp?access_token={good}"))),
        ("in the query too", ask(&good).target(&format!("/crm/mcp?access_token={good}"))),
        ("in the query, spelled", bare().target(&format!("/crm/mcp?x=1&access%5Ftoken={good}"))),
    ] {
        rig.refuses_ask(name, &ask, 400, "invalid_request", "malformed").await;
        rig.proxy.assert_not_kept(&good).await;
    }
    for (name, ask) in [
        ("a cookie", bare().header("Cookie", &format!("access_token={good}"))),
        ("a header of one's own", bare().header("X-Access-Token", &good)),
        ("for a proxy", bare().header("Proxy-Authorization", &format!("Bearer {good}"))),
        ("forwarded", bare().header("X-Forwarded-Access-Token", &good)),
    ] {
        let answer = rig.proxy.ask(&ask).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
        assert!(!answer.header("www-authenticate").unwrap().contains("error="), "{name}: no credentials at all");
        assert_eq!(rig.upstream.take().len(), 0, "{name}");
    }
}

#[tokio::test]
async fn j22_a_stolen_token_ends_with_its_revocation() {
    let rig =
        Rig::with(&[], |setup| setup.file("revoked.jsonl", "").issuer_keys("revocation_file = \"revoked.jsonl\""))
            .await;
    let token = rig.token(&header(), &json!({ "jti": "stolen" }));
    rig.takes("before", &token).await;
    rig.proxy.folder.write("revoked.jsonl", "{\"jti\":\"stolen\"}\n");
    rig.proxy.signal(portcullis::server::drain::Signal::Reload).await;
    crate::support::until("the revocation", async || (rig.proxy.ask(&ask(&token)).await.status == 401).then_some(()))
        .await;
    rig.upstream.take();
    rig.published.take();
    rig.refuses("after", &token, "revoked").await;
    rig.takes("another", &rig.token(&header(), &json!({ "jti": "own" }))).await;
}

#[tokio::test]
async fn j23_encrypted_tokens_are_refused_before_any_cryptography() {
    let rig = Rig::new(&[]).await;
    for head in [
        json!({ "alg": "dir", "enc": "A256GCM" }),
        json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "kid": "k1" }),
        json!({ "alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_147_483_647, "p2s": CANARY }),
        json!({ "alg": "dir", "enc": "A256GCM", "zip": "DEF" }),
    ] {
        let token = format!(
            "{}.{}.{}.{}.{}",
            encoded(head.to_string()),
            encoded("k"),
            encoded("iv"),
            encoded("c"),
            encoded("t")
        );
        rig.refuses(&head.to_string(), &token, "malformed").await;
    }
}

/// What somebody without the issuer's key can send leaves nothing of itself in the log, at its most talkative.
#[tokio::test]
async fn nothing_of_a_token_is_in_the_log() {
    let upstream = crate::support::Upstream::plain().await;
    let (folder, issuer) = Setup::new(upstream.url()).write("127.0.0.1:0", "127.0.0.1:0").await;
    let mut process = crate::support::Process::serve_at(&folder, "trace").await;
    let mut claims = token_of(&issuer, "ana");
    claims.insert("note".into(), json!(CANARY));
    claims.insert("sub".into(), json!(format!("{CANARY}-subject")));
    let good = issuer.mint_claims(&claims).unwrap();
    claims.insert("exp".into(), json!(1));
    let expired = issuer.mint_claims(&claims).unwrap();
    let forged = Signer::p256().token(&header_with(&json!({ "kid": CANARY })), &Value::Object(claims));
    assert_eq!(process.ask(&ask(&good)).await.status, 200);
    for token in [&expired, &forged, &format!("{CANARY}.x.y")] {
        assert_eq!(process.ask(&ask(token)).await.status, 401);
    }
    assert_eq!(process.ask(&ask(&good).target(&format!("/crm/mcp?access_token={good}"))).await.status, 400);
    issuer.set_fault(Fault::Garbage);
    assert_eq!(process.ask(&ask(&issuer.mint("max", &[], &["https://gw.test/crm/mcp"]).unwrap())).await.status, 200);
    process.signal("TERM");
    let log = process.log_to_the_end().await;
    assert!(log.contains("listening") || log.contains("drain"), "{log}");
    assert!(!log.contains(CANARY), "{log}");
    for token in [&good, &expired, &forged] {
        for part in token.split('.') {
            assert!(!log.contains(part), "{part} in the log");
        }
    }
}
