//! Who was let in is asked for again when what they were let in by has changed.

use std::sync::Arc;

use serde_json::json;
use tokio::runtime::Handle;

use super::support::{
    Answer, Fake, ISSUER, NOW, RESOURCE, SECONDS, Signer, acceptance, claims, issuer_config, jwks, server_config,
};
use crate::auth::{Acceptance, Bearer, Caller, Issuer, Listed, Memo, Verifier, VerifyError};
use crate::clock::Timestamp;
use crate::config;

async fn let_in(acceptance: &Acceptance, token: &str) -> Arc<Caller> {
    Verifier::new().verify(&Memo::new(), acceptance, Bearer::new(token.as_bytes()), NOW).await.unwrap()
}

#[tokio::test]
async fn a_newer_configuration_is_asked_whether_it_lets_the_caller_in() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    let keys = jwks(&[signer.jwk("k1")]);
    let usual = acceptance(&issuer_config(ISSUER), &keys);
    let caller = let_in(&usual, &signer.usual("k1")).await;
    let with = |change: &dyn Fn(&mut config::Issuer), keys: &str| {
        let mut config = issuer_config(ISSUER);
        change(&mut config);
        acceptance(&config, keys)
    };
    let server = |change: &dyn Fn(&mut config::Server)| {
        let mut config = server_config("crm", RESOURCE);
        change(&mut config);
        Acceptance::new(&config, usual.issuers.clone())
    };
    let dpop = config::Dpop { required: true, ..config::Dpop::default() };
    let mtls = config::Mtls { required: true, ..config::Mtls::default() };
    for (newer, expected) in [
        (with(&|_| {}, &keys), Ok(())),
        (Acceptance::new(&server_config("crm", RESOURCE), Vec::new()), Err(VerifyError::WrongIssuer)),
        (server(&|server| server.audiences = vec!["another".into()]), Err(VerifyError::WrongAudience)),
        (server(&|server| server.access.dpop = Some(dpop.clone())), Err(VerifyError::NotBound)),
        (server(&|server| server.access.mtls = Some(mtls.clone())), Err(VerifyError::NotBound)),
        (with(&|issuer| issuer.tokens.tenants = vec!["acme".into()], &keys), Err(VerifyError::WrongTenant)),
        (with(&|issuer| issuer.tokens.algorithms = vec!["RS256".into()], &keys), Err(VerifyError::WrongAlgorithm)),
        (with(&|_| {}, &jwks(&[other.jwk("k2")])), Err(VerifyError::UnknownKey)),
        (with(&|_| {}, &jwks(&[other.jwk("k1")])), Err(VerifyError::BadSignature)),
    ] {
        assert_eq!(newer.readmit(&caller, Some(&usual), NOW).map(drop), expected);
    }
    let renamed = with(&|issuer| issuer.tokens.subject_claims = vec!["jti".into()], &keys);
    assert!(
        matches!(renamed.readmit(&caller, Some(&usual), NOW), Err(VerifyError::WrongType(_))),
        "what is sealed to ana"
    );
    let narrower = with(&|issuer| issuer.tokens.scope_claims = vec!["groups".into()], &keys);
    let again = narrower.readmit(&caller, Some(&usual), NOW).unwrap();
    assert!(caller.scopes.has("crm:read") && again.scopes.is_empty());
    let longer = with(&|issuer| issuer.tokens.clock_skew = std::time::Duration::from_mins(5), &keys);
    assert_eq!(longer.readmit(&caller, Some(&usual), NOW).unwrap().until, caller.until, "no longer than it was");
    let other_rules = Acceptance::new(&server_config("crm", RESOURCE), usual.issuers.clone());
    for (acceptance, before) in [(&usual, None), (&other_rules, Some(&usual))] {
        assert!(Arc::ptr_eq(&acceptance.readmit(&caller, before, NOW).unwrap(), &caller), "nothing to look at");
    }
}

#[tokio::test]
async fn a_key_that_goes_takes_who_came_by_it_along_and_an_outage_nobody() {
    let fake = Fake::start().await;
    let (old, new) = (Signer::p256(), Signer::p256());
    fake.set("/.well-known/oauth-authorization-server", fake.metadata(&fake.url("")));
    fake.set("/keys", Answer::ok(jwks(&[old.jwk("old")])));
    let verifier = Verifier::new();
    let epoch = verifier.shared_epoch().clone();
    let issuer = Issuer::start(&issuer_config(&fake.url("")), epoch.clone(), &Handle::current()).unwrap();
    let acceptance = Acceptance::new(&server_config("crm", RESOURCE), vec![issuer]);
    let mut claims = claims();
    claims["iss"] = json!(fake.url(""));
    let of = |signer: &Signer, kid: &str| signer.token(&json!({"alg": "ES256", "kid": kid}), &claims);
    acceptance.issuers[0].settled().await;
    let caller = let_in(&acceptance, &of(&old, "old")).await;
    // Another configuration of the issuer, which has not answered yet: nothing is known against the caller until it has.
    let mut config = issuer_config(&fake.url(""));
    config.cache_ttl *= 2;
    fake.hold();
    let restarted = Issuer::start(&config, epoch, &Handle::current()).unwrap();
    let reloaded = Acceptance::new(&server_config("crm", RESOURCE), vec![restarted.clone()]);
    let kept = reloaded.readmit(&caller, Some(&acceptance), NOW).unwrap();
    assert!(Arc::ptr_eq(&reloaded.readmit(&kept, None, NOW).unwrap(), &kept));
    fake.set("/keys", Answer::ok(jwks(&[new.jwk("new")])));
    fake.release();
    restarted.settled().await;
    assert_eq!(reloaded.readmit(&kept, None, NOW).map(drop), Err(VerifyError::UnknownKey));
    fake.set("/keys", Answer::ok(jwks(&[old.jwk("old"), new.jwk("new")])));
    let_in(&acceptance, &of(&new, "new")).await;
    let again = acceptance.readmit(&caller, None, NOW).unwrap();
    assert_eq!((&again.subject, again.until), (&caller.subject, caller.until));
    let same = acceptance.readmit(&again, None, NOW).unwrap();
    assert!(Arc::ptr_eq(&same, &again), "looked at once for each set of keys");
    fake.set("/keys", Answer::ok(jwks(&[new.jwk("newer")])));
    let_in(&acceptance, &of(&new, "newer")).await;
    assert_eq!(acceptance.readmit(&again, None, NOW).map(drop), Err(VerifyError::UnknownKey));
}

/// A request that began under the list of before must not leave what it found to those under the list of now.
#[tokio::test]
async fn a_verdict_under_another_list_of_what_is_revoked_is_another() {
    let signer = Signer::p256();
    let before = acceptance(&issuer_config(ISSUER), &jwks(&[signer.jwk("k1")]));
    let file = std::env::temp_dir().join(format!("portcullis-readmit-{}", uuid::Uuid::now_v7()));
    std::fs::write(&file, "{\"sub\":\"ana\"}\n").unwrap();
    let listed = Arc::new(Listed::read(&file).unwrap());
    std::fs::remove_file(&file).unwrap();
    let now = before.clone().denying(vec![("corp".into(), listed)]);
    let (verifier, memo, token) = (Verifier::new(), Memo::new(), signer.usual("k1"));
    let ask = async |acceptance: &Acceptance| {
        verifier.verify(&memo, acceptance, Bearer::new(token.as_bytes()), NOW).await.map(drop)
    };
    assert_eq!(ask(&before).await, Ok(()));
    assert_eq!(ask(&now).await, Err(VerifyError::Revoked));
    assert_eq!(ask(&before).await, Ok(()));
    let soon = Timestamp::from_unix_seconds(SECONDS + 1);
    let caller = let_in(&before, &token).await;
    assert_eq!(now.readmit(&caller, None, soon).map(drop), Err(VerifyError::Revoked));
}
