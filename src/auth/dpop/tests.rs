//! Proofs that prove, and one for each way not to.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use http::Method;
use serde_json::{Value, json};

use super::{Expected, ProofError, check, target, thumbprint};
use crate::auth::keys::Algorithm;
use crate::auth::tests::support::Signer;
use crate::clock::Timestamp;
use crate::json::{Document, Limits};

const SECONDS: i64 = 1_767_614_400;
const TARGET: &str = "https://mcp.example.com/crm/mcp";
const TOKEN: &[u8] = b"a.b.c";
const ALL: &[Algorithm] = &[Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

fn print(jwk: &Value) -> [u8; 32] {
    thumbprint(Document::parse(jwk.to_string().into(), &Limits::REQUEST).unwrap().root()).unwrap()
}

fn jwk(signer: &Signer) -> Value {
    let mut jwk = signer.jwk("k");
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

fn header(signer: &Signer) -> Value {
    json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(signer)})
}

fn claims() -> Value {
    let ath = BASE64URL_NOPAD.encode(digest(&SHA256, TOKEN).as_ref());
    json!({"jti": "1", "htm": "POST", "htu": TARGET, "iat": SECONDS, "ath": ath})
}

fn asked(proof: &str, thumbprint: &[u8; 32], now: i64) -> Result<(), ProofError> {
    let expected = Expected {
        method: &Method::POST,
        target: TARGET,
        token: TOKEN,
        thumbprint,
        algorithms: ALL,
        age: Duration::from_mins(1),
        now: Timestamp::from_unix_seconds(now),
    };
    check(proof.as_bytes(), &expected).map(drop).map_err(|error| match error {
        ProofError::Malformed(_) => ProofError::Malformed(""),
        other => other,
    })
}

/// RFC 9449 section 7.1, figure 12, with the token of figure 12 and the thumbprint of section 6.1.
#[test]
fn rfc_9449_example() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let thumbprint = BASE64URL_NOPAD.decode(b"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
    let expected = Expected {
        method: &Method::GET,
        target: "https://resource.example.org/protectedresource",
        token: b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
        thumbprint: thumbprint.as_slice().try_into().unwrap(),
        algorithms: ALL,
        age: Duration::from_mins(1),
        now: Timestamp::from_unix_seconds(1_562_262_618),
    };
    let proved = check(proof.as_bytes(), &expected).unwrap();
    assert_eq!((&*proved.jti, proved.nonce.as_deref()), ("e1j3V_bKic8-LAEB", None));
}

/// RFC 7638 section 3.1.
#[test]
fn rfc_7638_example() {
    let jwk = json!({"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
    assert_eq!(BASE64URL_NOPAD.encode(&print(&jwk)), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

/// RFC 8037 appendix A.3.
#[test]
fn rfc_8037_example() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(BASE64URL_NOPAD.encode(&print(&jwk)), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn every_algorithm_proves_its_own_key() {
    for (signer, alg) in [
        (Signer::p256(), "ES256"),
        (Signer::ed(), "EdDSA"),
        (Signer::ed(), "Ed25519"),
        (Signer::rsa(), "PS256"),
        (Signer::rsa(), "RS256"),
    ] {
        let key = jwk(&signer);
        let proof = signer.token(&json!({"typ": "dpop+jwt", "alg": alg, "jwk": key}), &claims());
        assert_eq!(asked(&proof, &print(&key), SECONDS), Ok(()), "{alg}");
    }
}

fn with(mut base: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        if value == "(remove)" {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

#[test]
fn refuses_what_proves_something_else() {
    const MALFORMED: ProofError = ProofError::Malformed("");
    let signer = Signer::p256();
    let key = print(&jwk(&signer));
    let other = Signer::p256();
    for (change, expected) in [
        (json!({"jti": "(remove)"}), MALFORMED),
        (json!({"jti": ""}), MALFORMED),
        (json!({"jti": 1}), MALFORMED),
        (json!({"jti": "x".repeat(3000)}), MALFORMED),
        (json!({"htm": "GET"}), ProofError::WrongMethod),
        (json!({"htm": "post"}), ProofError::WrongMethod),
        (json!({"htm": "(remove)"}), MALFORMED),
        (json!({"htu": "https://mcp.example.com/ops/mcp"}), ProofError::WrongTarget),
        (json!({"htu": "http://mcp.example.com/crm/mcp"}), ProofError::WrongTarget),
        (json!({"htu": "https://mcp.example.com:8443/crm/mcp"}), ProofError::WrongTarget),
        (json!({"htu": "https://mcp.example.com/crm/mcp/"}), ProofError::WrongTarget),
        (json!({"htu": "https://user@mcp.example.com/crm/mcp"}), ProofError::WrongTarget),
        (json!({"htu": "/crm/mcp"}), ProofError::WrongTarget),
        (json!({"htu": "(remove)"}), MALFORMED),
        (json!({"iat": SECONDS - 61}), ProofError::Untimely),
        (json!({"iat": SECONDS + 61}), ProofError::Untimely),
        (json!({"iat": 0}), ProofError::Untimely),
        (json!({"iat": "1767614400"}), MALFORMED),
        (json!({"iat": 1e300}), MALFORMED),
        (json!({"iat": -1}), MALFORMED),
        (json!({"iat": "(remove)"}), MALFORMED),
        (json!({"ath": "(remove)"}), MALFORMED),
        (json!({"ath": ""}), ProofError::AnotherToken),
        (json!({"ath": BASE64URL_NOPAD.encode(digest(&SHA256, b"a.b.d").as_ref())}), ProofError::AnotherToken),
        (json!({"nonce": 1}), MALFORMED),
    ] {
        let proof = signer.token(&header(&signer), &with(claims(), &change));
        assert_eq!(asked(&proof, &key, SECONDS), Err(expected), "{change}");
    }
    let mut private = jwk(&signer);
    private["d"] = json!("AAAA");
    for (change, expected) in [
        (json!({"typ": "(remove)"}), MALFORMED),
        (json!({"typ": "JWT"}), MALFORMED),
        (json!({"typ": "at+jwt"}), MALFORMED),
        (json!({"alg": "none"}), ProofError::WrongAlgorithm),
        (json!({"alg": "HS256"}), ProofError::WrongAlgorithm),
        (json!({"alg": "ES384"}), ProofError::WrongAlgorithm),
        (json!({"alg": "RS256"}), ProofError::WrongAlgorithm),
        (json!({"jwk": "(remove)"}), MALFORMED),
        (json!({"jwk": "x"}), MALFORMED),
        (json!({"jwk": private}), MALFORMED),
        (json!({"jwk": {"kty": "oct", "k": "AAAA"}}), MALFORMED),
        (json!({"jwk": jwk(&other)}), ProofError::WrongKey),
        (json!({"crit": ["x"]}), MALFORMED),
    ] {
        let proof = signer.token(&with(header(&signer), &change), &claims());
        assert_eq!(asked(&proof, &key, SECONDS), Err(expected), "{change}");
    }
    let forged = other.token(&header(&signer), &claims());
    assert_eq!(asked(&forged, &key, SECONDS), Err(ProofError::BadSignature));
    let good = signer.token(&header(&signer), &claims());
    assert_eq!(asked(&good, &key, SECONDS), Ok(()));
    for proof in [format!("{good}."), format!("{good}.x.y"), format!(" {good}"), String::new(), "x".repeat(9000)] {
        assert_eq!(asked(&proof, &key, SECONDS), Err(MALFORMED));
    }
    let twice = signer.raw(header(&signer).to_string().as_bytes(), br#"{"jti":"1","jti":"2"}"#);
    assert_eq!(asked(&twice, &key, SECONDS), Err(MALFORMED));
    for (now, ok) in [(-60, true), (60, true), (-61, false), (61, false)] {
        assert_eq!(asked(&good, &key, SECONDS + now).is_ok(), ok, "{now}");
    }
}

/// RFC 3986 sections 6.2.2 and 6.2.3.
#[test]
fn targets_are_compared_in_their_normal_form() {
    for (url, expected) in [
        ("https://mcp.example.com/crm/mcp", Some(TARGET)),
        ("HTTPS://MCP.Example.COM:443/crm/mcp", Some(TARGET)),
        ("https://mcp.example.com/crm/mcp?a=b#c", Some(TARGET)),
        ("https://mcp.example.com/crm/%6dcp", Some(TARGET)),
        ("https://mcp.example.com/x/../crm/./mcp", Some(TARGET)),
        ("https://h", Some("https://h/")),
        ("https://h/a%2fb", Some("https://h/a%2Fb")),
        ("https://h/100%", Some("https://h/100%")),
        ("ftp://h/", None),
        ("https://u@h/", None),
        ("https:\\\\h\\a", None),
        ("https://h/a b", None),
        ("https://h/\u{e4}", None),
        ("", None),
    ] {
        assert_eq!(target(url).as_deref(), expected, "{url}");
    }
}
