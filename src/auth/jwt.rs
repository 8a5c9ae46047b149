use std::sync::Arc;
use std::time::Instant;

use super::cache::Over;
use super::claims::{self, Facts, RULES};
use super::issuer::Issuer;
use super::jws::Compact;
use super::keys::{Algorithm, Key};
use super::{Acceptance, Bearer, Caller, ClaimsSet, Particulars, VerifyError, introspection};
use crate::clock::Timestamp;
use crate::config::When;
use crate::json::Document;

/// A caller, and the moment until which the token that names it is good.
pub(super) struct Verified {
    pub(super) caller: Arc<Caller>,
    /// `exp` and leeway, the end of a recent enough authentication, or of what the issuer said when asked.
    pub(super) until: Timestamp,
    /// What is wrong with it from then on; `None` if that has to be found out again.
    pub(super) after: Option<Over>,
}

impl Verified {
    /// The same, to be asked about again after `moment`.
    pub(super) fn again_after(self, moment: Timestamp) -> Self {
        if moment < self.until { Self { until: moment, after: None, ..self } } else { self }
    }
}

/// Checks a token from nothing: shape, issuer, rules, key, signature, revocation, in that order. May wait for the issuer.
pub(super) async fn verify(
    acceptance: &Acceptance,
    token: &Arc<[u8]>,
    now: Timestamp,
    monotonic: Instant,
) -> Result<Verified, VerifyError> {
    let bearer = Bearer::new(token);
    if introspection::is_opaque(bearer.bytes())
        && let Some((issuer, asked)) = acceptance.asked()
    {
        return introspection::verify(acceptance, issuer, asked, bearer, now, monotonic).await;
    }
    let compact = Compact::read(bearer.bytes())?;
    let document = compact.claims()?;
    let issuer = issuer(acceptance, &document)?;
    let facts = Facts {
        profile: issuer.profile(),
        audiences: &acceptance.audiences,
        authentication: &acceptance.authentication,
        header: Some(&compact.header),
        claims: document.root(),
        now,
    };
    for rule in RULES {
        (rule.check)(&facts)?;
    }
    let alg = compact.header.alg.ok_or(VerifyError::WrongAlgorithm)?;
    let keys = issuer.keys(compact.header.kid.as_deref(), alg, monotonic).await?;
    signed_by_one(&compact, &keys, alg)?;
    let claims = ClaimsSet::of_token(facts.claims, Arc::clone(token))?;
    let verified = verified(acceptance, issuer, &facts, claims)?;
    match issuer.introspector().filter(|asked| asked.when == When::Always) {
        None => Ok(verified),
        Some(asked) => Ok(verified.again_after(introspection::confirm(issuer, asked, bearer, now, monotonic).await?)),
    }
}

/// What a token that holds makes of its facts, unless it is revoked.
pub(super) fn verified(
    acceptance: &Acceptance,
    issuer: &Issuer,
    facts: &Facts<'_>,
    claims: ClaimsSet,
) -> Result<Verified, VerifyError> {
    let caller = caller(issuer, facts, claims)?;
    if acceptance.revokes(&caller) {
        return Err(VerifyError::Revoked);
    }
    let expires = caller.expires.plus(facts.profile.leeway);
    let after = if caller.until < expires { Over::TooWeak } else { Over::Expired };
    Ok(Verified { until: caller.until, after: Some(after), caller: Arc::new(caller) })
}

/// The accepted issuer whose name is exactly `iss`, before any key is looked at (CVE-2024-53861).
pub(super) fn issuer<'a>(acceptance: &'a Acceptance, claims: &Document) -> Result<&'a Arc<Issuer>, VerifyError> {
    let iss = claims.root().get("iss").ok_or(VerifyError::Malformed("no `iss`"))?;
    let iss = iss.as_str().ok_or(VerifyError::Malformed("`iss` is not text"))?;
    acceptance.issuer(&iss).ok_or(VerifyError::WrongIssuer)
}

/// A bad signature is final: it never makes the proxy fetch anything.
pub(super) fn signed_by_one(compact: &Compact<'_>, keys: &[Arc<Key>], alg: Algorithm) -> Result<(), VerifyError> {
    if keys.iter().any(|key| compact.is_signed_by(key, alg)) { Ok(()) } else { Err(VerifyError::BadSignature) }
}

fn caller(issuer: &Issuer, facts: &Facts<'_>, claims: ClaimsSet) -> Result<Caller, VerifyError> {
    let (subject, client) = claims::principal(facts)?;
    let text = |names: &[&str]| claims::first_text(facts, names).map(|text| text.map(Box::from));
    let tenant = claims::first_text(facts, &facts.profile.tokens.tenant_claims)?;
    let expires = claims::expires(facts)?;
    let until = expires.plus(facts.profile.leeway);
    let lexicon = issuer.lexicon();
    let particulars = Particulars {
        actors: claims::actors(facts)?.into_iter().map(Box::from).collect(),
        confirmation: claims::binding(facts)?,
        session_id: text(&["sid"])?,
    };
    Ok(Caller {
        issuer: Arc::clone(issuer.issuer()),
        issuer_name: Arc::clone(issuer.name()),
        tenant: tenant.map(Box::from),
        subject: subject.into(),
        client_id: client.map(|client| lexicon.text(&client)),
        scopes: lexicon.scopes(claims::scopes(facts)?.into_iter().collect()),
        claims,
        expires,
        until: claims::recent_until(facts)?.map_or(until, |recent| recent.min(until)),
        token_id: text(claims::TOKEN_ID)?,
        issued: claims::moment(facts, "iat")?,
        particulars: particulars.any(),
        expressed: crate::policy::Expressed::default(),
        fragment: std::sync::OnceLock::new(),
        key_id: facts.header.and_then(|header| header.kid.as_deref()).map(|kid| lexicon.text(kid)),
        anonymous: false,
    })
}
