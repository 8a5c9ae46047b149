//! Third-party signature vectors, with their keys as JWK sets.

use std::path::PathBuf;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

use super::Compact;
use crate::auth::keys::{Algorithm, Key, KeySet, Selected};

const ALL: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// A file of `../shared/corpora`, if they are there.
fn corpus(path: &str) -> Option<Value> {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora").join(path);
    let Ok(bytes) = std::fs::read(&full) else {
        println!("skipped: {path} is not there");
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// A JWK or JWK set as an issuer would publish it: without private members.
fn published(keys: &Value) -> String {
    let list = keys.get("keys").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![keys.clone()]);
    let public = |mut key: Value| {
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            key.as_object_mut().unwrap().remove(private);
        }
        key
    };
    json!({"keys": list.into_iter().map(public).collect::<Vec<_>>()}).to_string()
}

/// Whether `token` is accepted under `keys`, with every algorithm of this proxy allowed.
fn accepts(keys: &str, token: &str) -> bool {
    let Ok(set) = KeySet::parse(keys.to_owned().into()) else { return false };
    let Ok(compact) = Compact::read(token.as_bytes()) else { return false };
    let Some(alg) = compact.header.alg.filter(|alg| ALL.contains(&alg.name())) else { return false };
    let Selected::Keys(keys) = set.select(compact.header.kid.as_deref(), alg) else { return false };
    keys.iter().any(|key| compact.is_signed_by(key, alg))
}

fn cases(file: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let groups = file["testGroups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["tests"].as_array().unwrap().iter().map(move |test| (group, test)))
}

#[test]
fn wycheproof_signatures() {
    // Valid ones refused on purpose: HMAC, ES512 (called ES521 there), a key pinned to another `alg`, stray characters.
    const REFUSED: [u64; 6] = [346, 347, 350, 351, 372, 373];
    for (name, expected) in
        [("json_web_signature", [355, 32, 14]), ("json_web_key", [21, 1, 4]), ("json_web_crypto", [77, 2, 4])]
    {
        let Some(file) = corpus(&format!("wycheproof/testvectors_v1/{name}_test.json")) else { return };
        let [mut invalid, mut accepted, mut refused] = [0; 3];
        for (group, test) in cases(&file) {
            let keys = published(group.get("public").unwrap_or(&group["private"]));
            // The JSON serialisations and the encrypted ones are given as they would be sent.
            let given = test.get("jws").or(test.get("jwe")).unwrap();
            let token = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
            let is_accepted = accepts(&keys, &token);
            let id = test["tcId"].as_u64().unwrap();
            if test["result"] == "invalid" {
                assert!(!is_accepted, "{name} {id} {}", test["comment"]);
                invalid += 1;
            } else if is_accepted {
                accepted += 1;
            } else {
                let header = token.split('.').next().unwrap();
                let hmac =
                    BASE64URL_NOPAD.decode(header.as_bytes()).is_ok_and(|h| String::from_utf8_lossy(&h).contains("HS"));
                let hmac = hmac || test.get("jwe").is_some();
                assert!(
                    hmac || (name == "json_web_signature" && REFUSED.contains(&id)),
                    "{name} {id} {}",
                    test["comment"]
                );
                println!("{name}: refused valid {id} {}", test["comment"]);
                refused += 1;
            }
        }
        println!("{name}: {invalid} invalid refused, {accepted} valid accepted, {refused} valid refused");
        assert_eq!([invalid, accepted, refused], expected, "{name}");
    }
}

#[test]
fn wycheproof_encryption() {
    let Some(file) = corpus("wycheproof/testvectors_v1/json_web_encryption_test.json") else { return };
    let mut count = 0;
    for (_, test) in cases(&file) {
        let token = test["jwe"].as_str().unwrap();
        assert!(Compact::read(token.as_bytes()).is_err(), "{}", test["tcId"]);
        count += 1;
    }
    println!("json_web_encryption: {count} refused unread");
    assert_eq!(count, 139);
}

/// Raw signatures over raw messages, brought to the same function as those of tokens.
#[test]
fn wycheproof_primitives() {
    let files = [
        ("ecdsa_secp256r1_sha256_p1363", Algorithm::Es256, "publicKeyJwk"),
        ("ed25519", Algorithm::EdDsa, "publicKeyJwk"),
        ("rsa_signature_2048_sha256", Algorithm::Rs256, "keyJwk"),
        ("rsa_pss_2048_sha256_mgf1_32", Algorithm::Ps256, "publicKeyJwk"),
    ];
    for (name, alg, member) in files {
        let Some(file) = corpus(&format!("wycheproof/testvectors_v1/{name}_test.json")) else { return };
        let [mut refused, mut accepted, mut without_key] = [0; 3];
        for (group, test) in cases(&file) {
            let bytes = |name: &str| HEXLOWER.decode(test[name].as_str().unwrap().as_bytes()).unwrap();
            let key = group.get(member).and_then(|jwk| key(jwk, alg));
            let is_accepted = key.as_ref().is_some_and(|key| key.verifies(alg, &bytes("msg"), &bytes("sig")));
            match test["result"].as_str().unwrap() {
                "valid" if key.is_some() => assert!(is_accepted, "{name} {test}"),
                "invalid" => assert!(!is_accepted, "{name} {test}"),
                _ => {}
            }
            without_key += usize::from(key.is_none());
            *(if is_accepted { &mut accepted } else { &mut refused }) += 1;
        }
        println!("{name}: {accepted} accepted, {refused} refused, {without_key} of them for their key");
        assert!(accepted > 0);
    }
}

fn key(jwk: &Value, alg: Algorithm) -> Option<std::sync::Arc<Key>> {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y", "n", "e"].contains(&name.as_str()));
    match KeySet::parse(published(&jwk).into()).ok()?.select(None, alg) {
        Selected::Keys(keys) => keys.into_iter().next(),
        _ => None,
    }
}

#[test]
fn jose_cookbook() {
    // File, and whether its compact form is accepted.
    for (name, accepted) in [
        ("jws/4_1.rsa_v15_signature", true),
        ("jws/4_2.rsa-pss_signature", true),
        ("jws/4_3.ecdsa_signature", false),
        ("jws/4_4.hmac-sha2_integrity_protection", false),
        ("curve25519/jws", true),
        ("rfc7797/4.2.hmac-sha2_b64_false", false),
        ("rfc7797/hmac-sha2_b64_false", false),
    ] {
        let Some(file) = corpus(&format!("jose-cookbook/{name}.json")) else { return };
        let Some(token) = file["output"]["compact"].as_str() else {
            println!("{name}: no compact form");
            assert!(!accepted);
            continue;
        };
        let keys = published(&file["input"]["key"]);
        assert_eq!(accepts(&keys, token), accepted, "{name}");
        println!("{name}: {}", if accepted { "accepted" } else { "refused" });
    }
    for (name, usable) in [
        ("3_1.ec_public_key", false),
        ("3_2.ec_private_key", false),
        ("3_3.rsa_public_key", true),
        ("3_4.rsa_private_key", false),
        ("3_5.symmetric_key_mac_computation", false),
    ] {
        let Some(key) = corpus(&format!("jose-cookbook/jwk/{name}.json")) else { return };
        assert_eq!(KeySet::parse(json!({"keys": [key]}).to_string().into()).is_ok(), usable, "{name}");
    }
    for number in 1..=13 {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/jose-cookbook/jwe");
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let prefix = format!("5_{number}.");
        let file = entries.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).unwrap();
        let file: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
        if let Some(token) = file["output"]["compact"].as_str() {
            assert!(Compact::read(token.as_bytes()).is_err(), "5_{number}");
        }
    }
}
