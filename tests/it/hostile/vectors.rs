//! Third-party vectors as tokens, as keys and as proofs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::signer::Signer;
use super::{METADATA, Rig, header, header_with};
use crate::support::{Ask, Setup};

const WYCHEPROOF: [&str; 4] = ["json_web_signature", "json_web_key", "json_web_crypto", "json_web_encryption"];

fn corpus(path: &str) -> Option<Value> {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora").join(path);
    let Ok(bytes) = std::fs::read(&full) else {
        println!("skipped: {path} is not there");
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// Tokens by name, and the keys they are said to be good for.
struct Vectors {
    tokens: Vec<(String, String)>,
    keys: Vec<Value>,
}

fn vectors() -> Option<Vectors> {
    let mut found = Vectors { tokens: Vec::new(), keys: Vec::new() };
    for name in WYCHEPROOF {
        for group in corpus(&format!("wycheproof/testvectors_v1/{name}_test.json"))?["testGroups"].as_array().unwrap() {
            for key in ["public", "private"].iter().filter_map(|member| group.get(*member)) {
                let keys = key.get("keys").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![key.clone()]);
                found.keys.extend(keys);
            }
            for test in group["tests"].as_array().unwrap() {
                let given = test.get("jws").or(test.get("jwe")).unwrap();
                let token = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
                found.tokens.push((format!("{name} {}", test["tcId"]), token));
            }
        }
    }
    for folder in ["jws", "jwe", "curve25519", "rfc7797"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/jose-cookbook").join(folder);
        for entry in std::fs::read_dir(path).ok()?.flatten() {
            let Ok(file) = serde_json::from_slice::<Value>(&std::fs::read(entry.path()).unwrap()) else { continue };
            if let Some(token) = file["output"]["compact"].as_str() {
                found.tokens.push((format!("cookbook {}", entry.file_name().display()), token.to_owned()));
            }
            found.keys.extend(file["input"].get("key").filter(|key| key.is_object()).cloned());
        }
    }
    Some(found)
}

/// Without what no issuer would publish.
fn public(key: &Value) -> Value {
    let mut key = key.clone();
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        key.as_object_mut().unwrap().remove(private);
    }
    key
}

/// A field can hold it; what cannot never reaches the proxy as a credential.
fn fits_a_header(token: &str) -> bool {
    !token.is_empty()
        && token.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && token.trim() == token
        && token.len() < 15_000
}

/// None of them says that it is for this server: none opens it, under any of the keys that made them.
#[tokio::test]
async fn published_tokens_open_nothing_under_their_own_keys() {
    let Some(vectors) = vectors() else { return };
    let mut keys: BTreeMap<String, Value> = BTreeMap::new();
    for key in vectors.keys.iter().map(public) {
        keys.insert(key.to_string(), key);
    }
    let keys: Vec<Value> = keys.into_values().collect();
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    for keys in keys.chunks(90) {
        let rig = Rig::new(keys).await;
        for (name, token) in vectors.tokens.iter().filter(|(_, token)| fits_a_header(token)) {
            let answer = rig.proxy.ask(&super::ask(token)).await;
            let challenge = answer.header("www-authenticate").unwrap_or_else(|| panic!("{name}: {answer:?}"));
            let error = if answer.status == 400 { "invalid_request" } else { "invalid_token" };
            assert!(matches!(answer.status, 400 | 401), "{name}: {answer:?}");
            assert!(challenge.contains(METADATA) && challenge.contains(error), "{name}: {challenge}");
            *tally.entry(format!("{}", answer.status)).or_default() += 1;
        }
        assert_eq!((rig.upstream.take().len(), rig.fetches()), (0, 0));
        rig.takes("one of our own", &rig.token(&header(), &json!({}))).await;
    }
    println!("{} tokens under {} keys: {tally:?}", vectors.tokens.len(), keys.len());
    assert!(vectors.tokens.len() > 600 && tally.values().sum::<usize>() > 500, "{tally:?}");
}

/// As proofs of a bound token they prove nothing either.
#[tokio::test]
async fn published_tokens_are_no_proofs() {
    let Some(vectors) = vectors() else { return };
    let rig = Rig::with(&[], |setup: Setup| setup.server("dpop = {}")).await;
    let token = rig.token(&header(), &json!({ "cnf": { "jkt": BASE64URL_NOPAD.encode(&[7; 32]) } }));
    let mut count = 0;
    for (name, proof) in vectors.tokens.iter().filter(|(_, token)| fits_a_header(token)) {
        let ask = Ask::call("2026-07-28", "search_contacts", &json!({}));
        let ask = ask.header("Authorization", &format!("DPoP {token}")).header("DPoP", proof);
        let answer = rig.proxy.ask(&ask).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
        assert!(answer.values("www-authenticate").join(" ").contains("error=\"invalid_dpop_proof\""), "{name}");
        count += 1;
    }
    println!("{count} proofs refused");
    assert_eq!((rig.upstream.take().len(), rig.fetches()), (0, 0));
    assert!(count > 500);
}

/// A key of the corpora that may sign, signs: an access token of ours verifies by it through the whole proxy.
#[tokio::test]
async fn published_keys_verify_tokens_of_ours() {
    let Some(vectors) = vectors() else { return };
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen = Vec::new();
    for key in &vectors.keys {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name).unwrap_or_default().as_bytes()).unwrap_or_default();
        let (signer, alg) = match (text("kty"), text("crv"), text("d")) {
            (Some("EC"), Some("P-256"), Some(_)) => {
                let point = [&[4][..], &bytes("x"), &bytes("y")].concat();
                let pair = EcdsaKeyPair::from_private_key_and_public_key(
                    &ECDSA_P256_SHA256_FIXED_SIGNING,
                    &bytes("d"),
                    &point,
                );
                (pair.ok().map(Signer::Ec), "ES256")
            }
            (Some("OKP"), Some("Ed25519"), Some(_)) => {
                (Ed25519KeyPair::from_seed_unchecked(&bytes("d")).ok().map(Signer::Ed), "EdDSA")
            }
            _ => continue,
        };
        let (Some(signer), false) = (signer, seen.contains(&public(key))) else { continue };
        seen.push(public(key));
        let mut published = public(key);
        for member in ["use", "key_ops", "alg"] {
            published.as_object_mut().unwrap().remove(member);
        }
        published["kid"] = json!("theirs");
        let rig = Rig::new(&[published]).await;
        let token = signer.token(&header_with(&json!({ "alg": alg, "kid": "theirs" })), &rig.claims_with(&json!({})));
        rig.takes(alg, &token).await;
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        bytes[3] ^= 1;
        rig.refuses(alg, &format!("{signed}.{}", BASE64URL_NOPAD.encode(&bytes)), "bad_signature").await;
        *used.entry(alg).or_default() += 1;
    }
    println!("keys that signed: {used:?}");
    assert!(used.contains_key("ES256") && used.contains_key("EdDSA"), "{used:?}");
}
