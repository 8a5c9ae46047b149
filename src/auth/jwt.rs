use std::sync::Arc;
use std::time::Instant;

use super::cache::After;
use super::claims::{self, Facts, RULES};
use super::introspection::{self, Provenance};
use super::issuer::Issuer;
use super::jws::{Compact, Header};
use super::keys::{Algorithm, Key};
use super::over::Over;
use super::{Acceptance, Bearer, Caller, ClaimsSet, Particulars, VerifyError};
use crate::clock::Timestamp;
use crate::config::When;
use crate::json::{Document, Value};

/// A caller, and how long its token is accepted.
pub(super) struct Verified {
    pub(super) caller: Arc<Caller>,
    /// The first of: `exp` plus leeway, the end of a recent enough authentication, the end of an introspection answer.
    pub(super) until: Timestamp,
    pub(super) after: After,
}

impl Verified {
    /// The same, to be verified again after `moment`.
    pub(super) fn again_after(self, moment: Timestamp) -> Self {
        if moment < self.until { Self { until: moment, after: After::VerifiedAgain, ..self } } else { self }
    }
}

/// Verifies a token: format, issuer, claims, key, signature, revocation, in that order. May wait for the issuer.
pub(super) async fn verify(
    acceptance: &Acceptance,
    (token, provenance): (&Arc<[u8]>, Provenance),
    now: Timestamp,
    monotonic: Instant,
) -> Result<Verified, VerifyError> {
    let bearer = Bearer::new(token);
    if introspection::is_opaque(bearer.bytes())
        && let Some((issuer, asked)) = acceptance.asked()
    {
        return introspection::verify(acceptance, issuer, asked, (bearer, provenance), now, monotonic).await;
    }
    let compact = Compact::read(bearer.bytes())?;
    let document = compact.claims()?;
    let issuer = issuer(acceptance, &document)?;
    let facts = facts(acceptance, issuer, Some(&compact.header), document.root(), now)?;
    let alg = compact.header.alg.ok_or(VerifyError::WrongAlgorithm)?;
    let edition = issuer.edition();
    let keys = issuer.keys(compact.header.kid.as_deref(), alg, monotonic).await?;
    signed_by_one(&compact, &keys, alg)?;
    let claims = ClaimsSet::of_token(facts.claims, Arc::clone(token))?;
    let verified = verified(acceptance, issuer, &facts, (claims, edition))?;
    match issuer.introspector().filter(|asked| asked.when == When::Always) {
        None => Ok(verified),
        Some(asked) => Ok(verified.again_after(introspection::confirm(issuer, asked, bearer, now, monotonic).await?)),
    }
}

/// Repeats the checks of an accepted caller for `acceptance`, which may be newer, with the current keys and without requests to
/// the issuer. The result is valid no longer than before.
pub(super) fn again(
    acceptance: &Acceptance,
    known: &Caller,
    now: Timestamp,
    monotonic: Instant,
) -> Result<Caller, VerifyError> {
    let again = match known.claims.token() {
        Some(token) => read_again(acceptance, known, token, (now, monotonic))?,
        None => told_again(acceptance, known, now)?,
    };
    let (until, over) = if known.until < again.until { (known.until, known.over) } else { (again.until, again.over) };
    Ok(Caller { until, over, ..again })
}

fn read_again(
    acceptance: &Acceptance,
    known: &Caller,
    token: &[u8],
    (now, monotonic): (Timestamp, Instant),
) -> Result<Caller, VerifyError> {
    let compact = Compact::read(token)?;
    let document = compact.claims()?;
    let issuer = issuer(acceptance, &document)?;
    let facts = facts(acceptance, issuer, Some(&compact.header), document.root(), now)?;
    let alg = compact.header.alg.ok_or(VerifyError::WrongAlgorithm)?;
    let edition = issuer.edition();
    let keys = issuer.keys_held(compact.header.kid.as_deref(), alg, monotonic)?;
    signed_by_one(&compact, &keys, alg)?;
    caller(issuer, &facts, (known.claims.clone(), edition))
}

/// The same for an opaque token, by its introspection answer.
fn told_again(acceptance: &Acceptance, known: &Caller, now: Timestamp) -> Result<Caller, VerifyError> {
    let asked = acceptance.asked().filter(|(issuer, _)| *issuer.issuer() == known.issuer);
    let (issuer, _) = asked.ok_or(VerifyError::WrongIssuer)?;
    let document = Document::parse(known.claims.told(), &introspection::LIMITS);
    let document = document.map_err(|_| VerifyError::Malformed("not strict JSON"))?;
    let facts = facts(acceptance, issuer, None, document.root(), now)?;
    caller(issuer, &facts, (known.claims.clone(), issuer.edition()))
}

/// The facts of a token that satisfies all rules.
pub(super) fn facts<'a>(
    acceptance: &'a Acceptance,
    issuer: &'a Issuer,
    header: Option<&'a Header>,
    claims: Value<'a>,
    now: Timestamp,
) -> Result<Facts<'a>, VerifyError> {
    let facts = Facts {
        profile: issuer.profile(),
        audiences: &acceptance.audiences,
        authentication: &acceptance.authentication,
        header,
        claims,
        now,
    };
    for rule in RULES {
        (rule.check)(&facts)?;
    }
    Ok(facts)
}

/// The caller of a verified token. Errs if it is revoked.
pub(super) fn verified(
    acceptance: &Acceptance,
    issuer: &Issuer,
    facts: &Facts<'_>,
    claims: (ClaimsSet, u32),
) -> Result<Verified, VerifyError> {
    let caller = caller(issuer, facts, claims)?;
    if acceptance.revokes(&caller) {
        return Err(VerifyError::Revoked);
    }
    Ok(Verified { until: caller.until, after: After::Refused, caller: Arc::new(caller) })
}

/// The accepted issuer with exactly the token's `iss`, determined before any key is selected (CVE-2024-53861).
pub(super) fn issuer<'a>(acceptance: &'a Acceptance, claims: &Document) -> Result<&'a Arc<Issuer>, VerifyError> {
    let iss = claims.root().get("iss").ok_or(VerifyError::Malformed("no `iss`"))?;
    let iss = iss.as_str().ok_or(VerifyError::Malformed("`iss` is not text"))?;
    acceptance.issuer(&iss).ok_or(VerifyError::WrongIssuer)
}

/// Checks the signature against `keys`. A bad signature is final and never causes a fetch.
pub(super) fn signed_by_one(compact: &Compact<'_>, keys: &[Arc<Key>], alg: Algorithm) -> Result<(), VerifyError> {
    if keys.iter().any(|key| compact.is_signed_by(key, alg)) { Ok(()) } else { Err(VerifyError::BadSignature) }
}

/// The caller of these claims, with the edition of the issuer's keys they were verified with.
fn caller(issuer: &Issuer, facts: &Facts<'_>, (claims, edition): (ClaimsSet, u32)) -> Result<Caller, VerifyError> {
    let (subject, client) = claims::principal(facts)?;
    let text = |names: &[&str]| claims::first_text(facts, names).map(|text| text.map(Box::from));
    let tenant = claims::first_text(facts, &facts.profile.tokens.tenant_claims)?;
    let expires = claims::expires(facts)?;
    let end = expires.plus(facts.profile.leeway);
    let (until, over) = match claims::recent_until(facts)? {
        Some(recent) if recent < end => (recent, Over::TooWeak),
        _ => (end, Over::Expired),
    };
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
        until,
        over,
        token_id: text(claims::TOKEN_ID)?,
        issued: claims::moment(facts, "iat")?,
        particulars: particulars.any(),
        expressed: crate::policy::Expressed::default(),
        fragment: std::sync::OnceLock::new(),
        key_id: facts.header.and_then(|header| header.kid.as_deref()).map(|kid| lexicon.text(kid)),
        anonymous: false,
        edition,
    })
}
