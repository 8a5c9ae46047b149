//! Sends the caller's identity to an upstream: in plain headers, and in a short-lived JWT signed by the proxy.
//!
//! No header of a client is copied upstream, so a header of these names is always set by the proxy.

use std::fmt::Write as _;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::GrantError;
use crate::auth::{Caller, SigningKey, StartError};
use crate::clock::Timestamp;
use crate::config;

/// The most bytes of a header value.
const LIMIT_BYTES: usize = 4096;

/// The identity headers of one server.
pub struct Identity {
    headers: Vec<(HeaderName, String)>,
    signer: Option<Signer>,
}

struct Signer {
    header: HeaderName,
    key: SigningKey,
    /// `iss`: the proxy's public origin.
    issuer: String,
    config: config::IdentityJwt,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// The identity headers of one caller.
pub(crate) type Told = Arc<[(HeaderName, HeaderValue)]>;

impl Identity {
    /// Reads the signing key; `None` if no identity is configured. `issuer` is the proxy's public origin. Errs if the key
    /// cannot be used.
    pub(crate) fn new(config: &config::Identity, issuer: &str) -> Result<Option<Self>, StartError> {
        let signer = config.jwt.as_ref().map(|jwt| Signer::new(jwt, issuer)).transpose()?;
        let headers = config.headers.clone();
        Ok((!headers.is_empty() || signer.is_some()).then_some(Self { headers, signer }))
    }

    /// The public JWK (RFC 7517) that verifies the JWT; `None` without a JWT.
    pub(crate) fn key(&self) -> Option<&Value> {
        self.signer.as_ref().map(|signer| signer.key.jwk())
    }

    /// The headers for `caller`; none for an anonymous one. Errs if the JWT cannot be signed.
    pub(crate) fn told(&self, caller: &Caller, now: Timestamp) -> Result<Told, GrantError> {
        if caller.anonymous {
            return Ok(Arc::default());
        }
        let mut fields = Vec::with_capacity(self.headers.len() + 1);
        for (name, claim) in &self.headers {
            let Some(text) = caller.claims.get(claim).and_then(text) else { continue };
            let value = HeaderValue::from_str(&text).ok().filter(|value| value.len() <= LIMIT_BYTES);
            let mut value = value.ok_or(GrantError::Unusable { reason: "identity" })?;
            value.set_sensitive(true);
            fields.push((name.clone(), value));
        }
        if let Some(signer) = &self.signer {
            fields.push((signer.header.clone(), signer.statement(caller, now)?));
        }
        Ok(fields.into())
    }
}

impl Signer {
    fn new(config: &config::IdentityJwt, issuer: &str) -> Result<Self, StartError> {
        let key = SigningKey::read(&config.key_file, "portcullis-identity+jwt")?;
        Ok(Self { header: config.header.clone(), key, issuer: issuer.to_owned(), config: config.clone() })
    }

    fn statement(&self, caller: &Caller, now: Timestamp) -> Result<HeaderValue, GrantError> {
        let unusable = GrantError::Unusable { reason: "identity" };
        let repeated =
            self.config.claims.iter().filter_map(|name| Some((name.clone(), caller.claims.get(name)?.clone())));
        let mut claims: Map<String, Value> = repeated.collect();
        let own = json!({
            "iss": self.issuer, "aud": self.config.audience, "sub": caller.subject, "sub_iss": caller.issuer,
            "iat": now.unix_seconds(), "exp": now.plus(self.config.lifetime).unix_seconds(),
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        claims.extend(own.as_object().cloned().unwrap_or_default());
        if let Some(client) = &caller.client_id {
            claims.insert("client_id".to_owned(), (&**client).into());
        }
        if let Some(act) = caller.claims.get("act") {
            claims.insert("act".to_owned(), act.clone());
        }
        let signed = self.key.sign(&claims).ok_or_else(|| unusable.clone())?;
        let mut value = HeaderValue::try_from(signed).map_err(|_| unusable)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// A claim as a header value: lists joined with commas, and ambiguous characters percent-encoded. `None` for objects and null.
fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(encoded(text, false)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| Some(encoded(item.as_str()?, true))).collect();
            items.map(|items| items.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn encoded(text: &str, listed: bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut written, byte| {
        if byte.is_ascii_graphic() && byte != b'%' && !(listed && byte == b',') {
            written.push(char::from(byte));
        } else {
            let _ = write!(written, "%{byte:02X}");
        }
        written
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{encoded, text};

    #[test]
    fn writes_claims_so_that_none_can_be_read_as_another() {
        for (claim, expected) in [
            (json!("ana"), Some("ana")),
            (json!("ana,max"), Some("ana,max")),
            (json!(["ana", "max"]), Some("ana,max")),
            (json!(["ana,max"]), Some("ana%2Cmax")),
            (json!("a b\r\nX-Evil: 1"), Some("a%20b%0D%0AX-Evil:%201")),
            (json!("Zoë%"), Some("Zo%C3%AB%25")),
            (json!(7), Some("7")),
            (json!(true), Some("true")),
            (json!({ "a": 1 }), None),
            (json!([1]), None),
            (json!(null), None),
        ] {
            assert_eq!(text(&claim).as_deref(), expected, "{claim}");
        }
    }

    proptest! {
        #[test]
        fn every_text_has_a_spelling_of_its_own(one in "\\PC{0,12}", other in "\\PC{0,12}") {
            prop_assert!(encoded(&one, true).bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
            prop_assert_eq!(encoded(&one, true) == encoded(&other, true), one == other);
        }
    }
}
