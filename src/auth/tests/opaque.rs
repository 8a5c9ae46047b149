//! Tokens that only their issuer can read: how it is asked, by how many at once, and for how long it is believed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::runtime::Handle;

use super::support::{Answer, Fake, NOW, RESOURCE, issuer_config, server_config};
use crate::auth::{Acceptance, Bearer, Caller, Issuer, Memo, Verifier, VerifyError};
use crate::clock::Timestamp;
use crate::config;

const TTL: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

struct Rig {
    fake: Fake,
    verifier: Verifier,
    memo: Memo,
    acceptance: Acceptance,
}

impl Rig {
    /// Every token is active.
    async fn new() -> Self {
        let (fake, verifier) = (Fake::start().await, Verifier::new());
        let active = json!({"active": true, "sub": "ana", "aud": RESOURCE, "client_id": "c", "scope": "crm:read"});
        fake.set("/asked", Answer::ok(active.to_string()));
        let secret = config::SecretSource::Value(crate::secret::Secret::new("s".to_owned()));
        let mut config = issuer_config(&fake.url(""));
        config.introspection = Some(config::Introspection {
            endpoint: fake.url("/asked").parse().unwrap(),
            client: config::OAuthClient { id: "p".into(), auth: config::ClientAuthMethod::Post(secret) },
            when: config::When::Opaque,
            format: config::AnswerFormat::Json,
            cache_ttl: TTL,
        });
        let issuer = Issuer::start(&config, verifier.shared_epoch().clone(), &Handle::current()).unwrap();
        let acceptance = Acceptance::new(&server_config("crm", RESOURCE), vec![issuer]);
        Self { fake, verifier, memo: Memo::new(), acceptance }
    }

    async fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Caller>, VerifyError> {
        self.verifier.verify(&self.memo, &self.acceptance, Bearer::new(token.as_bytes()), now).await
    }
}

const KNOWN: &str = "an-opaque-token-of-ana";

fn others(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("another-opaque-token-{number}")).collect()
}

#[tokio::test]
async fn many_tokens_at_once_are_asked_about_in_turn() {
    let rig = Rig::new().await;
    let others = others(300);
    let callers = join_all(others.iter().map(|token| rig.verify(token, NOW))).await;
    assert!(callers.iter().all(Result::is_ok), "{:?}", callers.iter().find(|caller| caller.is_err()));
    assert_eq!(rig.fake.count("/asked"), 300);
}

#[tokio::test]
async fn made_up_tokens_do_not_keep_those_out_that_were_good() {
    let rig = Rig::new().await;
    assert!(rig.verify(KNOWN, NOW).await.is_ok());
    rig.fake.hold();
    let others = others(300);
    let arrived = async {
        while rig.fake.count("/asked") < 1 + 64 + 1 {
            rig.fake.arrival().await;
        }
    };
    tokio::select! {
        biased;
        _ = join_all(others.iter().map(|token| rig.verify(token, NOW))) => panic!("nothing is answered"),
        result = rig.verify(KNOWN, NOW.plus(TTL)) => panic!("{result:?}"),
        () = arrived => {}
    }
}

#[tokio::test]
async fn an_answer_is_not_believed_for_a_day_because_a_clock_was_a_day_ahead() {
    let rig = Rig::new().await;
    assert!(rig.verify(KNOWN, NOW.plus(DAY)).await.is_ok());
    rig.fake.set("/asked", Answer::ok(json!({"active": false}).to_string()));
    assert!(rig.verify(KNOWN, NOW.plus(DAY)).await.is_ok(), "as long as it is the time it was");
    assert_eq!(rig.verify(KNOWN, NOW).await.unwrap_err(), VerifyError::Inactive);
    let other = Memo::new();
    let elsewhere = rig.verifier.verify(&other, &rig.acceptance, Bearer::new(KNOWN.as_bytes()), NOW).await;
    assert_eq!(elsewhere.unwrap_err(), VerifyError::Inactive, "nor by another worker");
}
