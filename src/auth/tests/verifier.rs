//! What is remembered of a token, and for how long.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use tokio::runtime::Handle;

use super::support::{
    Answer, Fake, ISSUER, NOW, RESOURCE, SECONDS, Signer, acceptance, claims, issuer_config, jwks, server_config,
};
use crate::auth::{Acceptance, Bearer, Caller, Counts, Issuer, Memo, Verifier, VerifyError};
use crate::clock::Timestamp;
use crate::config;

struct Rig {
    verifier: Verifier,
    memo: Memo,
    signer: Signer,
    acceptance: Acceptance,
}

impl Rig {
    fn new() -> Self {
        let signer = Signer::p256();
        let acceptance = acceptance(&issuer_config(ISSUER), &jwks(&[signer.jwk("k1")]));
        Self { verifier: Verifier::new(), memo: Memo::new(), signer, acceptance }
    }

    /// A token that is not valid before that second.
    fn not_before(&self, seconds: i64) -> String {
        let mut claims = claims();
        claims["nbf"] = json!(seconds);
        self.signer.token(&json!({"alg": "ES256", "kid": "k1"}), &claims)
    }

    async fn verify(&self, token: &str) -> Result<Arc<Caller>, VerifyError> {
        self.verify_at(token, NOW).await
    }

    async fn verify_at(&self, token: &str, now: Timestamp) -> Result<Arc<Caller>, VerifyError> {
        self.verifier.verify(&self.memo, &self.acceptance, Bearer::new(token.as_bytes()), now).await
    }
}

#[tokio::test]
async fn a_known_token_is_answered_with_the_same_caller() {
    let rig = Rig::new();
    let token = rig.signer.usual("k1");
    let first = rig.verify(&token).await.unwrap();
    let again = rig.verify(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(rig.memo.counts(), Counts { hits: 1, misses: 1 });
    let other_worker = Memo::new();
    let shared = rig.verifier.verify(&other_worker, &rig.acceptance, Bearer::new(token.as_bytes()), NOW).await.unwrap();
    assert!(Arc::ptr_eq(&first, &shared), "workers share the verdict");
    assert!(rig.verifier.verify(&other_worker, &rig.acceptance, Bearer::new(token.as_bytes()), NOW).await.is_ok());
    assert_eq!(other_worker.counts(), Counts { hits: 1, misses: 1 });
}

#[tokio::test]
async fn a_remembered_token_expires_to_the_nanosecond() {
    let rig = Rig::new();
    let token = rig.signer.usual("k1");
    let end = Timestamp::from_unix_seconds(SECONDS + 660);
    assert!(rig.verify(&token).await.is_ok());
    assert!(rig.verify_at(&token, Timestamp::from_unix_seconds(SECONDS + 659)).await.is_ok());
    assert_eq!(rig.verify_at(&token, end).await.unwrap_err(), VerifyError::Expired);
    let fresh = Memo::new();
    let shared = rig.verifier.verify(&fresh, &rig.acceptance, Bearer::new(token.as_bytes()), end).await;
    assert_eq!(shared.unwrap_err(), VerifyError::Expired, "also from the shared cache");
}

#[tokio::test]
async fn a_new_epoch_voids_every_level() {
    let rig = Rig::new();
    let token = rig.signer.usual("k1");
    let before = rig.verify(&token).await.unwrap();
    let epoch = rig.verifier.epoch();
    rig.verifier.advance();
    assert_eq!(rig.verifier.epoch(), epoch + 1);
    let after = rig.verify(&token).await.unwrap();
    assert!(!Arc::ptr_eq(&before, &after), "verified again");
    assert!(Arc::ptr_eq(&after, &rig.verify(&token).await.unwrap()));
}

#[tokio::test]
async fn refusals_are_not_remembered() {
    let rig = Rig::new();
    let token = rig.not_before(SECONDS + 100);
    assert_eq!(rig.verify(&token).await.unwrap_err(), VerifyError::NotYetValid);
    assert!(rig.verify_at(&token, Timestamp::from_unix_seconds(SECONDS + 100)).await.is_ok());
}

/// A clock that was ahead, and is set right.
#[tokio::test]
async fn what_a_clock_that_was_ahead_let_in_is_looked_at_anew() {
    let rig = Rig::new();
    let token = rig.not_before(SECONDS + 300);
    assert!(rig.verify_at(&token, Timestamp::from_unix_seconds(SECONDS + 400)).await.is_ok());
    for _ in 0..2 {
        assert_eq!(rig.verify(&token).await.unwrap_err(), VerifyError::NotYetValid);
    }
}

/// Two tokens may share every byte the index looks at; the bytes decide.
#[tokio::test]
async fn equal_ends_are_not_equal_tokens() {
    let rig = Rig::new();
    let token = rig.signer.usual("k1");
    rig.verify(&token).await.unwrap();
    let at = token.find('.').unwrap() + 20;
    for other in *b"ABCDEFGH" {
        let mut forged = token.clone().into_bytes();
        forged[at] = other;
        if forged != token.as_bytes() {
            assert!(rig.verify(std::str::from_utf8(&forged).unwrap()).await.is_err());
        }
    }
    assert!(rig.verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_verdict_holds_for_its_route_only() {
    let rig = Rig::new();
    let token = rig.signer.usual("k1");
    rig.verify(&token).await.unwrap();
    let ask = async |acceptance: &Acceptance| {
        rig.verifier.verify(&rig.memo, acceptance, Bearer::new(token.as_bytes()), NOW).await
    };
    let ops = Acceptance::new(&server_config("ops", "https://mcp.example.com/ops/mcp"), rig.acceptance.issuers.clone());
    assert_eq!(ask(&ops).await.unwrap_err(), VerifyError::WrongAudience);
    let mut narrowed = server_config("crm", RESOURCE);
    narrowed.audiences = vec!["another".into()];
    let reloaded = Acceptance::new(&narrowed, rig.acceptance.issuers.clone());
    assert_eq!(
        ask(&reloaded).await.unwrap_err(),
        VerifyError::WrongAudience,
        "same name, no new epoch, other audiences"
    );
    let mut strict = issuer_config(ISSUER);
    strict.tokens.tenants = vec!["acme".into()];
    let tenants = acceptance(&strict, &jwks(&[rig.signer.jwk("k1")]));
    assert_eq!(ask(&tenants).await.unwrap_err(), VerifyError::WrongTenant, "same name, other issuer settings");
}

#[tokio::test]
async fn the_memo_is_bounded_and_keeps_answering() {
    let rig = Rig::new();
    let ed = Signer::ed();
    let acceptance = acceptance(&issuer_config(ISSUER), &jwks(&[ed.jwk("k1")]));
    let mut tokens = Vec::new();
    for number in 0..5000 {
        let mut claims = claims();
        claims["jti"] = json!(number.to_string());
        tokens.push(ed.token(&json!({"alg": "EdDSA", "kid": "k1"}), &claims));
    }
    for round in 0..2 {
        for (number, token) in tokens.iter().enumerate() {
            let caller = rig.verifier.verify(&rig.memo, &acceptance, Bearer::new(token.as_bytes()), NOW).await.unwrap();
            assert_eq!(caller.token_id.as_deref(), Some(&*number.to_string()), "round {round}");
        }
    }
    let counts = rig.memo.counts();
    assert!(counts.hits > 1000 && counts.hits <= 4096, "{counts:?}");
}

/// The key comes with one fetch and the token is verified once, for everyone who waits.
#[tokio::test]
async fn many_requests_with_one_token_make_one_verification() {
    let fake = Fake::start().await;
    let signer = Signer::p256();
    fake.set("/.well-known/oauth-authorization-server", fake.metadata(&fake.url("")));
    fake.set("/keys", Answer::ok(jwks(&[signer.jwk("k1")])));
    fake.hold();
    let verifier = Verifier::new();
    let issuer =
        Issuer::start(&issuer_config(&fake.url("")), verifier.shared_epoch().clone(), &Handle::current()).unwrap();
    let acceptance = Acceptance::new(&server_config("crm", RESOURCE), vec![issuer]);
    let mut claims = claims();
    claims["iss"] = json!(fake.url(""));
    let token = signer.token(&json!({"alg": "ES256", "kid": "k1"}), &claims);
    let memos: Vec<_> = (0..50).map(|_| Memo::new()).collect();
    let asked =
        join_all(memos.iter().map(|memo| verifier.verify(memo, &acceptance, Bearer::new(token.as_bytes()), NOW)));
    let release = async {
        fake.arrival().await;
        fake.release();
    };
    let (callers, ()) = tokio::join!(asked, release);
    let callers: Vec<_> = callers.into_iter().map(Result::unwrap).collect();
    assert!(callers.iter().all(|caller| Arc::ptr_eq(caller, &callers[0])));
    assert_eq!(fake.count("/keys"), 1);
}

/// K4: a removed key dies at the next fetch, however its tokens were remembered.
#[tokio::test]
async fn a_removed_key_takes_its_remembered_tokens_with_it() {
    let fake = Fake::start().await;
    let (old, new) = (Signer::p256(), Signer::p256());
    fake.set("/.well-known/oauth-authorization-server", fake.metadata(&fake.url("")));
    fake.set("/keys", Answer::ok(jwks(&[old.jwk("old")])));
    let (verifier, memo) = (Verifier::new(), Memo::new());
    let issuer =
        Issuer::start(&issuer_config(&fake.url("")), verifier.shared_epoch().clone(), &Handle::current()).unwrap();
    let acceptance = Acceptance::new(&server_config("crm", RESOURCE), vec![issuer]);
    let mut claims = claims();
    claims["iss"] = json!(fake.url(""));
    let of = |signer: &Signer, kid: &str| signer.token(&json!({"alg": "ES256", "kid": kid}), &claims);
    let (old_token, new_token) = (of(&old, "old"), of(&new, "new"));
    let ask =
        async |token: &str| verifier.verify(&memo, &acceptance, Bearer::new(token.as_bytes()), NOW).await.map(drop);
    assert_eq!(ask(&old_token).await, Ok(()));
    assert_eq!(ask(&old_token).await, Ok(()));
    fake.set("/keys", Answer::ok(jwks(&[new.jwk("new")])));
    assert_eq!(ask(&new_token).await, Ok(()), "brings the new set");
    assert_eq!(ask(&old_token).await, Err(VerifyError::UnknownKey));
    fake.set("/keys", Answer::status(500));
    assert_eq!(ask(&new_token).await, Ok(()), "an outage changes nothing for known keys");
    let forged = of(&old, "new");
    let before = fake.count("/keys");
    assert_eq!(ask(&forged).await, Err(VerifyError::BadSignature));
    assert_eq!(fake.count("/keys"), before, "a bad signature fetches nothing");
}

/// Requests run on other runtimes than the one that fetches.
#[test]
fn waiting_works_across_runtimes() {
    let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let signer = Signer::p256();
    let fake = background.block_on(Fake::start());
    fake.set("/.well-known/oauth-authorization-server", fake.metadata(&fake.url("")));
    fake.set("/keys", Answer::ok(jwks(&[signer.jwk("k1")])));
    let verifier = Verifier::new();
    let issuer =
        Issuer::start(&issuer_config(&fake.url("")), verifier.shared_epoch().clone(), background.handle()).unwrap();
    let acceptance = Acceptance::new(&server_config("crm", RESOURCE), vec![issuer]);
    let mut claims = claims();
    claims["iss"] = json!(fake.url(""));
    let token = signer.token(&json!({"alg": "ES256", "kid": "k1"}), &claims);
    let (verifier, acceptance, token) = (&verifier, &acceptance, &token);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let memo = Memo::new();
                let asked = verifier.verify(&memo, acceptance, Bearer::new(token.as_bytes()), NOW);
                assert!(is_send(&asked));
                assert!(size_of_val(&asked) <= 256, "{}", size_of_val(&asked));
                assert!(worker.block_on(asked).is_ok());
            });
        }
    });
    assert_eq!(fake.count("/keys"), 1);
}

/// An endpoint that floods its connection must not keep a worker from its other calls: the worker does none of it.
#[test]
fn tokens_are_asked_about_on_the_runtime_that_fetches() {
    let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fake = background.block_on(Fake::start());
    let active = json!({"active": true, "sub": "ana", "aud": RESOURCE, "client_id": "c", "scope": "crm:read"});
    fake.set("/asked", Answer::ok(active.to_string()));
    let mut config = issuer_config(&fake.url(""));
    let secret = config::SecretSource::Value(crate::secret::Secret::new("s".to_owned()));
    config.introspection = Some(config::Introspection {
        endpoint: fake.url("/asked").parse().unwrap(),
        client: config::OAuthClient { id: "p".into(), auth: config::ClientAuthMethod::Post(secret) },
        when: config::When::Opaque,
        format: config::AnswerFormat::Json,
        cache_ttl: std::time::Duration::from_mins(1),
    });
    let verifier = Verifier::new();
    let issuer = Issuer::start(&config, verifier.shared_epoch().clone(), background.handle()).unwrap();
    let acceptance = Acceptance::new(&server_config("crm", RESOURCE), vec![issuer]);
    // A runtime without sockets.
    let worker = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (memo, token) = (Memo::new(), Bearer::new(b"an-opaque-token-of-ana"));
    let caller = worker.block_on(verifier.verify(&memo, &acceptance, token, NOW));
    let caller = caller.unwrap();
    assert_eq!(&*caller.subject, "ana");
    // What it was told, it knows again: as long as it would ask the same issuer.
    config.introspection = None;
    let unasked = Issuer::start(&config, verifier.shared_epoch().clone(), background.handle()).unwrap();
    let unasked = Acceptance::new(&server_config("crm", RESOURCE), vec![unasked]);
    assert_eq!(acceptance.readmit(&caller, Some(&unasked), NOW).unwrap().scopes, caller.scopes);
    assert_eq!(unasked.readmit(&caller, Some(&acceptance), NOW).map(drop), Err(VerifyError::WrongIssuer));
}

fn is_send<T: Send>(_: &T) -> bool {
    true
}
