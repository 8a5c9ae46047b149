//! Tokens of the shapes well-known issuers give them, under `profile = "…"` and nothing else.

use std::path::Path;

use serde_json::{Value, json};

use super::support::{NOW, SECONDS, Signer, issuer_config, jwks, server_config, tokens};
use super::tokens::verify_at;
use crate::auth::{Acceptance, Epoch, Issuer, Outcome, examine};
use crate::config::profiles::PROFILES;

/// A fixture's claims with what every token has.
fn complete(claims: &Value, issuer: &str) -> Value {
    let mut claims = claims.clone();
    for value in claims.as_object_mut().unwrap().values_mut() {
        if value == "$IAT" {
            *value = json!(SECONDS - 10);
        }
    }
    claims["iss"] = json!(issuer);
    claims["exp"] = json!(SECONDS + 600);
    claims
}

#[tokio::test]
async fn every_profile_reads_its_issuers_tokens_and_no_others() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/tests/profiles");
    let signer = Signer::rsa();
    let mut checked = 0;
    for profile in PROFILES {
        let path = folder.join(format!("{}.json", profile.name));
        let fixture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let issuer = fixture["issuer"].as_str().unwrap();
        let mut config = issuer_config(issuer);
        config.tokens = tokens(profile.name);
        let mut server = server_config("crm", "https://mcp.example.com/crm/mcp");
        server.audiences = vec![fixture["audience"].as_str().unwrap().to_owned()];
        let issuer_of = Issuer::loaded(&config, &jwks(&[signer.jwk("k1")]), &Epoch::default());
        let acceptance = Acceptance::new(&server, vec![issuer_of]);
        for case in fixture["cases"].as_array().unwrap() {
            let name = format!("{}: {}", profile.name, case["name"]);
            let token = signer.token(&case["header"], &complete(&case["claims"], issuer));
            let result = verify_at(&acceptance, &token, NOW).await;
            let failed =
                examine(token.as_bytes(), &acceptance, NOW).into_iter().find_map(|check| match check.outcome {
                    Outcome::Failed(error) => Some(error.result()),
                    Outcome::Passed => None,
                });
            assert_eq!(failed, case["refused"].as_str(), "{name} {result:?}");
            match result {
                Err(error) => assert_eq!(error.result(), case["refused"], "{name}: {error}"),
                Ok(caller) => {
                    let found = json!({"subject": caller.subject, "client": caller.client_id.as_deref(), "tenant": caller.tenant,
                        "scopes": caller.scopes.iter().collect::<Vec<_>>(), "token_id": caller.token_id});
                    assert_eq!(found, case["caller"], "{name}");
                }
            }
            checked += 1;
        }
    }
    assert!(checked >= 40, "{checked}");
}

#[tokio::test]
async fn knobs_override_the_profile() {
    let mut config = issuer_config(super::support::ISSUER);
    config.tokens.scope_prefixes =
        vec![("roles".into(), "role:".into()), ("realm_access.roles".into(), "realm:".into())];
    config.tokens.forbidden_claims = vec!["idp".into()];
    config.tokens.max_audiences = Some(2);
    config.tokens.max_lifetime = Some(std::time::Duration::from_mins(20));
    let signer = Signer::p256();
    let acceptance = super::support::acceptance(&config, &jwks(&[signer.jwk("k1")]));
    let ask = async |changes: Value| {
        let claims = super::tokens::with(super::support::claims(), &changes);
        verify_at(&acceptance, &signer.token(&super::tokens::header(), &claims), NOW).await
    };
    let caller = ask(json!({"roles": ["crm:admin", "x y"], "realm_access": {"roles": ["r"]},
        "scope": "crm:read role:forged realm:forged"}))
    .await
    .unwrap();
    assert_eq!(caller.scopes.iter().collect::<Vec<_>>(), ["crm:read", "realm:r", "role:crm:admin", "role:x y"]);
    assert!(!caller.scopes.has("crm:admin"), "a role named like a scope gives nothing");
    for (changes, result) in [
        (json!({"idp": "x"}), "wrong_type"),
        (json!({"aud": ["a", "b", super::support::RESOURCE]}), "wrong_audience"),
        (json!({"exp": SECONDS + 3600}), "wrong_type"),
        (json!({"iat": "(remove)", "exp": SECONDS + 1201}), "wrong_type"),
        (json!({"roles": 1}), "malformed"),
        (json!({"realm_access": {"roles": {"a": 1}}}), "malformed"),
        (json!({"act": {}}), "malformed"),
        (json!({"act": "x"}), "malformed"),
        (json!({"act": {"sub": ""}}), "malformed"),
        (json!({"act": {"sub": "a", "act": {"sub": 1}}}), "malformed"),
        (json!({"auth_time": "1"}), "malformed"),
        (json!({"acr": 1}), "malformed"),
        (json!({"sid": ["x"]}), "malformed"),
    ] {
        assert_eq!(ask(changes.clone()).await.unwrap_err().result(), result, "{changes}");
    }
    let caller = ask(json!({"act": {"sub": "agent", "act": {"client_id": "first"}}, "sid": "s", "acr": "gold",
        "auth_time": SECONDS - 60}))
    .await
    .unwrap();
    assert_eq!(caller.actors().iter().map(|actor| &**actor).collect::<Vec<_>>(), ["agent", "first"]);
    assert_eq!((caller.session_id(), caller.claims["acr"].as_str()), (Some("s"), Some("gold")));
    let deep = (0..9).fold(json!({"sub": "a"}), |inner, _| json!({"sub": "a", "act": inner}));
    assert_eq!(ask(json!({"act": deep})).await.unwrap_err().result(), "malformed");
}
