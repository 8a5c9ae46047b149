use std::sync::Arc;

use serde_json::{Map, Value};

use super::claims::{Facts, TOKEN_ID, first_text, scopes};
use super::issuer::Profile;
use super::{Audiences, Caller, Particulars, Scopes, VerifyError};
use crate::clock::Timestamp;
use crate::config;
use crate::config::profiles::GENERIC;
use crate::json::{Document, Limits};

impl Caller {
    /// A caller with these claims, unverified, for `explain`, `test` and `replay`. It is never used for a request.
    pub fn unverified(issuer_name: &str, claims: Map<String, Value>) -> Self {
        let text = |names: &[&str]| names.iter().find_map(|name| claims.get(*name)?.as_str()).map(Box::<str>::from);
        let client_id = text(GENERIC.client_claim);
        let time = |name: &str| claims.get(name).and_then(Value::as_i64).map(Timestamp::from_unix_seconds);
        let actors = std::iter::successors(claims.get("act"), |act| act.get("act")).take(8);
        let expires = claims.get("exp").and_then(Value::as_i64).map_or(Timestamp::NEVER, Timestamp::from_unix_seconds);
        Self {
            issuer: text(&["iss"]).unwrap_or_default().into(),
            issuer_name: Arc::from(issuer_name),
            tenant: text(GENERIC.tenant_claim),
            subject: text(&["sub"]).or_else(|| client_id.clone()).unwrap_or_default(),
            client_id: client_id.map(Into::into),
            scopes: plain_scopes(&claims),
            expires,
            until: expires,
            over: super::Over::Expired,
            token_id: text(TOKEN_ID),
            issued: time("iat"),
            particulars: Particulars {
                actors: actors.filter_map(|act| act.get("sub")?.as_str()).map(Box::from).collect(),
                confirmation: None,
                session_id: text(&["sid"]),
            }
            .any(),
            key_id: None,
            anonymous: false,
            edition: 0,
            expressed: crate::policy::Expressed::default(),
            fragment: std::sync::OnceLock::new(),
            claims: claims.into(),
        }
    }
}

impl Caller {
    /// The same, with the claims read as in a token of that issuer: its profile tells which claims are identity and scopes.
    /// Errs if they cannot be read.
    pub(crate) fn stated(issuer: &config::Issuer, mut claims: Map<String, Value>) -> Result<Self, VerifyError> {
        claims.entry("iss").or_insert_with(|| (*issuer.issuer).into());
        let written = Value::Object(claims.clone()).to_string();
        let document = Document::parse(written.into(), &Limits::REQUEST)
            .map_err(|_| VerifyError::Malformed("claims that are nested too deeply, or too many"))?;
        let tokens = issuer.tokens.clone();
        let facts = Facts {
            profile: &Profile { algorithms: Vec::new(), leeway: tokens.clock_skew, tokens },
            audiences: &Audiences::new([]),
            authentication: &config::Authentication::default(),
            header: None,
            claims: document.root(),
            now: Timestamp::NEVER,
        };
        let tokens = &facts.profile.tokens;
        let client = first_text(&facts, &tokens.client_claims)?;
        // A test may leave out the subject.
        let subject = first_text(&facts, &tokens.subject_claims)?.or_else(|| client.clone()).unwrap_or_default();
        Ok(Self {
            tenant: first_text(&facts, &tokens.tenant_claims)?.map(Box::from),
            subject: subject.into(),
            client_id: client.map(Into::into),
            scopes: scopes(&facts)?.into_iter().collect(),
            ..Self::unverified(&issuer.name, claims)
        })
    }
}

/// The scopes in `scope` (RFC 8693 section 4.2), else in `scp`: a string separated by spaces, or a list.
fn plain_scopes(claims: &Map<String, Value>) -> Scopes {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Scopes::default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::auth::Caller;

    #[test]
    fn reads_claims_as_those_of_a_token() {
        for (claims, expected) in [
            (json!({"sub": "ana", "scope": "a b", "azp": "cli", "iss": "https://i"}), "https://i ana cli a b"),
            (json!({"client_id": "svc", "scp": ["b", "a", 7]}), " svc svc a b"),
            (json!({}), "  - "),
        ] {
            let Value::Object(claims) = claims else { panic!() };
            let caller = Caller::unverified("corp", claims);
            let scopes: Vec<&str> = caller.scopes.iter().collect();
            let client = caller.client_id.as_deref().unwrap_or("-");
            assert_eq!(format!("{} {} {client} {}", caller.issuer, caller.subject, scopes.join(" ")), expected);
        }
    }
}
