//! Tokens, key sets and proofs made to get past a check, through the whole proxy: each is refused with the right challenge,
//! recorded by its reason, without an echo of what it said, and without making the proxy fetch anything.

mod keys;
mod proofs;
mod signer;
mod tokens;
mod vectors;

use std::sync::{Arc, Mutex};

use portcullis::clock::Timestamp;
use serde_json::{Map, Value, json};

pub(crate) use self::signer::Signer;
use crate::support::{Answer, Ask, Proxy, Setup, Upstream, json_answer, token_of, until};

const METADATA: &str = "resource_metadata=\"https://gw.test/.well-known/oauth-protected-resource/crm/mcp\"";
/// Stands in claims, key ids and header members; whoever sees it sees what a stranger wrote.
const CANARY: &str = "canary-7f3a9c";

fn ask(token: &str) -> Ask {
    Ask::call("2026-07-28", "search_contacts", &json!({})).token(token)
}

/// A proxy whose issuer's keys are the test's own, and are counted when they are fetched.
struct Rig {
    proxy: Proxy,
    upstream: Upstream,
    /// Where the keys are.
    published: Upstream,
    answer: Arc<Mutex<Vec<u8>>>,
    signer: Signer,
}

impl Rig {
    async fn new(others: &[Value]) -> Self {
        Self::with(others, |setup| setup).await
    }

    async fn with(others: &[Value], change: impl Fn(Setup) -> Setup) -> Self {
        let signer = Signer::p256();
        let keys = [&[signer.jwk("k1")], others].concat();
        let (published, answer) = key_server(&json!({ "keys": keys })).await;
        let upstream = Upstream::plain().await;
        let setup = Setup::new(upstream.url()).issuer_keys(&format!("jwks_uri = \"{}\"", published.url()));
        let proxy = change(setup).start().await;
        published.take();
        Self { proxy, upstream, published, answer, signer }
    }

    fn publish(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn claims(&self) -> Map<String, Value> {
        let mut claims = token_of(&self.proxy.issuer, "ana");
        claims.insert("note".into(), json!(CANARY));
        claims
    }

    /// The usual claims with changes; `(remove)` takes one away.
    fn claims_with(&self, changes: &Value) -> Value {
        let mut claims = Value::Object(self.claims());
        for (name, value) in changes.as_object().unwrap() {
            if value == "(remove)" {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }

    fn token(&self, header: &Value, changes: &Value) -> String {
        self.signer.token(header, &self.claims_with(changes))
    }

    /// The token in exactly these texts.
    fn raw(&self, header: &str, claims: &[u8]) -> String {
        self.signer.raw(header.as_bytes(), claims)
    }

    fn fetches(&self) -> usize {
        self.published.take().len()
    }

    /// What holds for a token that is refused before anything is fetched for it.
    async fn refuses(&self, name: &str, token: &str, reason: &str) {
        self.refuses_ask(name, &ask(token), 401, "invalid_token", reason).await;
        self.proxy.assert_not_kept(token).await;
    }

    async fn refuses_ask(&self, name: &str, ask: &Ask, status: u16, error: &str, reason: &str) {
        let before = self.proxy.audit().len();
        let answer = self.proxy.ask(ask).await;
        self.refused(name, &answer, status, error);
        let lines = until("the record", async || {
            let lines = self.proxy.audit();
            (lines.len() > before).then_some(lines)
        })
        .await;
        let line = lines.last().unwrap();
        assert_eq!((lines.len(), line["error"].as_str()), (before + 1, Some(reason)), "{name}: {line}");
        assert!(!line.to_string().contains(CANARY), "{name}: {line}");
        assert_eq!(self.fetches(), 0, "{name} made the proxy fetch keys");
    }

    fn refused(&self, name: &str, answer: &Answer, status: u16, error: &str) {
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        let challenge = answer.values("www-authenticate").join(" | ");
        assert!(
            challenge.contains(METADATA) && challenge.contains(&format!("error=\"{error}\"")),
            "{name}: {challenge}"
        );
        let said = format!("{challenge} {}", answer.text());
        assert!(!said.contains(CANARY), "{name}: {said}");
        for claim in ["aud", "iss", "exp", "nbf", "jti", "kid", "cnf"] {
            assert!(!said.contains(&format!("`{claim}`")) && !said.contains(&format!("\"{claim}\"")), "{name}: {said}");
        }
        assert_eq!(self.upstream.take().len(), 0, "{name} went up");
    }

    /// What is left of the good: the rows above were refused for what they say.
    async fn takes(&self, name: &str, token: &str) {
        let answer = self.proxy.ask(&ask(token)).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(self.upstream.take().len(), 1, "{name}");
    }
}

/// Answers every request with what the hand says, the keys at first.
async fn key_server(keys: &Value) -> (Upstream, Arc<Mutex<Vec<u8>>>) {
    let answer = Arc::new(Mutex::new(json_answer(200, &keys.to_string())));
    let scripted = answer.clone();
    (Upstream::answering(move |_| scripted.lock().unwrap().clone()).await, answer)
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt", "kid": "k1" })
}

/// The usual header with changes.
fn header_with(changes: &Value) -> Value {
    let mut header = header();
    for (name, value) in changes.as_object().unwrap() {
        header[name] = value.clone();
    }
    header
}

fn now() -> i64 {
    Timestamp::now().unix_seconds()
}
