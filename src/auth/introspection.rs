//! Token introspection: asks the issuer about an opaque token, or whether a JWT is still active (RFC 7662, RFC 9701).

mod places;

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::issuer::{Exchange, Issuer, OAuthClient};
use super::jws::Compact;
use super::{Acceptance, Bearer, ClaimsSet, VerifyError, jwt};
use crate::clock::Timestamp;
use crate::config::{AnswerFormat, When};
use crate::json::{Document, Kind, Limits, Value};

pub(super) use places::{Places, Provenance};

/// The most bytes of an answer.
const LIMIT_BYTES: usize = 64 * 1024;
/// The lengths of opaque tokens in bytes; others are refused without asking.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=4096;
/// Limits for parsing an answer.
pub(super) const LIMITS: Limits = Limits { depth: 16, members: 1024 };
/// The `Retry-After` after a failure.
const RETRY: Duration = Duration::from_secs(2);
const SIGNED: &str = "application/token-introspection+jwt";

/// The introspection client for one issuer.
#[derive(Debug)]
pub(super) struct Introspector {
    pub(super) exchange: Exchange,
    pub(super) endpoint: Url,
    pub(super) client: OAuthClient,
    pub(super) when: When,
    pub(super) format: AnswerFormat,
    /// How long an answer is used.
    pub(super) ttl: Duration,
    pub(super) places: Places,
}

/// Whether these bytes could be an opaque token, and are no JWT.
pub(super) fn is_opaque(token: &[u8]) -> bool {
    LENGTHS.contains(&token.len()) && !token.starts_with(b"eyJ")
}

/// Verifies an opaque token by introspection.
pub(super) async fn verify(
    acceptance: &Acceptance,
    issuer: &Arc<Issuer>,
    introspector: &Introspector,
    (bearer, provenance): (Bearer<'_>, Provenance),
    now: Timestamp,
    monotonic: Instant,
) -> Result<jwt::Verified, VerifyError> {
    let answer = introspector.ask(issuer, (bearer, provenance), now, monotonic).await?;
    let claims = answer.claims();
    if claims.get("iss").is_some_and(|iss| iss.as_str().as_deref() != Some(&**issuer.issuer())) {
        return Err(VerifyError::WrongIssuer);
    }
    let facts = jwt::facts(acceptance, issuer, None, claims, now)?;
    let verified = jwt::verified(acceptance, issuer, &facts, (ClaimsSet::new(claims)?, issuer.edition()))?;
    Ok(verified.again_after(now.plus(introspector.ttl)))
}

/// Checks by introspection that a verified JWT is still active; returns until when that counts. Errs if it is not active.
pub(super) async fn confirm(
    issuer: &Arc<Issuer>,
    introspector: &Introspector,
    bearer: Bearer<'_>,
    now: Timestamp,
    monotonic: Instant,
) -> Result<Timestamp, VerifyError> {
    introspector.ask(issuer, (bearer, Provenance::Known), now, monotonic).await?;
    Ok(now.plus(introspector.ttl))
}

/// The issuer's answer about an active token.
struct Answer {
    document: Document,
    signed: bool,
}

impl Answer {
    /// The members about the token; in a signed answer they are within one of its claims.
    fn claims(&self) -> Value<'_> {
        let root = self.document.root();
        if self.signed { root.get("token_introspection").unwrap_or(root) } else { root }
    }
}

impl Introspector {
    /// Sends the request (RFC 7662 section 2). Errs unless the answer has `active: true`.
    async fn ask(
        &self,
        issuer: &Arc<Issuer>,
        (bearer, provenance): (Bearer<'_>, Provenance),
        now: Timestamp,
        monotonic: Instant,
    ) -> Result<Answer, VerifyError> {
        let unavailable = |reason: &'static str| {
            tracing::warn!(issuer = %issuer.name(), reason, "token could not be asked about");
            VerifyError::IntrospectionUnavailable { retry_after: RETRY }
        };
        let Some(_place) = self.places.take(provenance).await else {
            return Err(unavailable("too many questions at once"));
        };
        let token = std::str::from_utf8(bearer.bytes()).map_err(|_| VerifyError::Malformed("not ASCII"))?;
        let (form, headers) = self.question(token, now).map_err(unavailable)?;
        let answer = self.exchange.post_form(&self.endpoint, form, headers, LIMIT_BYTES).await;
        let answer = answer.map_err(unavailable)?;
        let answer = match self.format {
            AnswerFormat::Json => {
                let document = Document::parse(answer.body, &LIMITS);
                Answer { document: document.map_err(|_| unavailable("the answer is not strict JSON"))?, signed: false }
            }
            AnswerFormat::Jwt => {
                let media = answer.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
                if !media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(SIGNED)) {
                    return Err(unavailable("the answer is not signed"));
                }
                let document = self.signed(issuer, &answer.body, now, monotonic).await.map_err(unavailable)?;
                Answer { document, signed: true }
            }
        };
        match answer.claims().get("active").and_then(|active| active.as_bool()) {
            Some(true) => Ok(answer),
            Some(false) => Err(VerifyError::Inactive),
            None => Err(unavailable("the answer does not say whether the token is active")),
        }
    }

    /// The form and the headers of the request.
    fn question(&self, token: &str, now: Timestamp) -> Result<(String, HeaderMap), &'static str> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token");
        let mut headers = HeaderMap::new();
        let media = match self.format {
            AnswerFormat::Json => "application/json",
            AnswerFormat::Jwt => SIGNED,
        };
        headers.insert(ACCEPT, HeaderValue::from_static(media));
        self.client.sign(&mut form, &mut headers, now)?;
        Ok((form.finish(), headers))
    }

    /// Verifies a signed answer (RFC 9701 section 5): of the right type, from the issuer, for the proxy, and recent.
    async fn signed(
        &self,
        issuer: &Arc<Issuer>,
        body: &[u8],
        now: Timestamp,
        monotonic: Instant,
    ) -> Result<Document, &'static str> {
        let compact = Compact::read(body).map_err(|_| "the answer is not a signed JWT")?;
        if !compact.header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("token-introspection+jwt")) {
            return Err("the answer is another kind of JWT");
        }
        let document = compact.claims().map_err(|_| "the answer is not strict JSON")?;
        let claims = document.root();
        let text = |name| claims.get(name).and_then(|value| value.as_str());
        if text("iss").as_deref() != Some(&**issuer.issuer()) {
            return Err("the answer is from another issuer");
        }
        if text("aud").as_deref() != Some(&*self.client.id) {
            return Err("the answer is for another client");
        }
        let leeway = issuer.profile().leeway;
        let iat = claims.get("iat").and_then(|iat| iat.as_i64()).map(Timestamp::from_unix_seconds);
        if !iat.is_some_and(|iat| iat <= now.plus(leeway) && now <= iat.plus(leeway).plus(Duration::from_mins(1))) {
            return Err("the answer was not issued now");
        }
        if claims.get("token_introspection").is_none_or(|inner| inner.kind() != Kind::Object) {
            return Err("the answer has no `token_introspection`");
        }
        let alg = compact.header.alg.filter(|alg| issuer.profile().algorithms.contains(alg));
        let alg = alg.ok_or("the answer is signed with an algorithm that is not accepted")?;
        let keys = issuer.keys(compact.header.kid.as_deref(), alg, monotonic).await;
        let keys = keys.map_err(|_| "the answer's key is not known")?;
        jwt::signed_by_one(&compact, &keys, alg).map_err(|_| "the answer's signature does not verify")?;
        Ok(document)
    }
}
