//! What a token must say, as a table: [`super::Verifier::verify`] stops at the first rule that fails, [`super::examine()`]
//! shows them all. None of this is believed before the signature is checked; a refusal needs no signature.

use std::borrow::Cow;
use std::time::Duration;

use super::issuer::Profile;
use super::jws::Header;
use super::{Audiences, VerifyError};
use crate::clock::Timestamp;
use crate::json::{Kind, Value};

/// Everything a rule may look at.
pub(super) struct Facts<'a> {
    pub(super) profile: &'a Profile,
    pub(super) audiences: &'a Audiences,
    pub(super) header: &'a Header,
    pub(super) claims: Value<'a>,
    pub(super) now: Timestamp,
}

/// One check of a token.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) check: fn(&Facts<'_>) -> Result<(), VerifyError>,
    pub(super) expected: fn(&Facts<'_>) -> String,
    /// Claims it looks at.
    pub(super) claims: &'static [&'static str],
}

/// Claims that name the client, in order.
pub(super) const CLIENT: &[&str] = &["client_id", "azp", "cid", "appid"];
/// Claims that name the tenant, in order.
pub(super) const TENANT: &[&str] = &["tid", "org_id", "hd"];
/// Claims that name the token, in order.
pub(super) const TOKEN_ID: &[&str] = &["jti", "uti"];

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "algorithm",
        check: algorithm,
        expected: |facts| {
            let names: Vec<_> = facts.profile.algorithms.iter().map(|alg| alg.name()).collect();
            format!("`alg` one of {}", names.join(", "))
        },
        claims: &[],
    },
    Rule {
        name: "type",
        check: media_type,
        expected: |facts| {
            let lenient = if facts.profile.strict { "" } else { ", `JWT` or none" };
            format!("header `typ` `at+jwt`{lenient}")
        },
        claims: &[],
    },
    Rule {
        name: "access token",
        check: access_token,
        expected: |_| {
            "not an ID token: no `nonce`, `at_hash` or `c_hash`, `token_use` access, `typ` Bearer, a scope or client claim, `aud` unlike the client".into()
        },
        claims: &["nonce", "at_hash", "c_hash", "token_use", "typ", "aud", "client_id", "azp"],
    },
    Rule {
        name: "required claims",
        check: required,
        expected: |facts| {
            if facts.profile.strict {
                "iss, exp, aud, sub, client_id, iat, jti (RFC 9068)".into()
            } else {
                "iss, exp".into()
            }
        },
        claims: &[],
    },
    Rule {
        name: "expiry",
        check: expiry,
        expected: |facts| {
            format!("`exp` after {}, with {} s leeway", facts.now.unix_seconds(), facts.profile.leeway.as_secs())
        },
        claims: &["exp"],
    },
    Rule {
        name: "not before",
        check: |facts| past(facts, "nbf"),
        expected: |facts| {
            format!("no `nbf` after {}, with {} s leeway", facts.now.unix_seconds(), facts.profile.leeway.as_secs())
        },
        claims: &["nbf"],
    },
    Rule {
        name: "issued at",
        check: |facts| past(facts, "iat"),
        expected: |facts| {
            format!("no `iat` after {}, with {} s leeway", facts.now.unix_seconds(), facts.profile.leeway.as_secs())
        },
        claims: &["iat"],
    },
    Rule {
        name: "audience",
        check: audience,
        expected: |facts| format!("one of {}", facts.audiences.iter().collect::<Vec<_>>().join(", ")),
        claims: &["aud"],
    },
    Rule {
        name: "tenant",
        check: tenant,
        expected: |facts| match facts.profile.tenants.as_slice() {
            [] => "any".into(),
            tenants => format!("one of {}", tenants.join(", ")),
        },
        claims: TENANT,
    },
    Rule {
        name: "binding",
        check: binding,
        expected: |_| "no `cnf`: bound tokens are not supported".into(),
        claims: &["cnf"],
    },
    Rule {
        name: "subject",
        check: |facts| principal(facts).map(drop),
        expected: |_| "`sub`, or a client id, without control characters".into(),
        claims: &["sub", "client_id", "azp", "cid", "appid"],
    },
    Rule {
        name: "scopes",
        check: |facts| scopes(facts).map(drop),
        expected: |facts| format!("{} as text or list of texts", facts.profile.scope_claims.join(", ")),
        claims: &["scope", "scp"],
    },
    Rule {
        name: "token id",
        check: |facts| first_text(facts, TOKEN_ID).map(drop),
        expected: |_| "text, if present".into(),
        claims: TOKEN_ID,
    },
];

/// RFC 8725 section 3.1: the issuer's list decides, by exact name.
fn algorithm(facts: &Facts<'_>) -> Result<(), VerifyError> {
    match facts.header.alg {
        Some(alg) if facts.profile.algorithms.contains(&alg) => Ok(()),
        _ => Err(VerifyError::WrongAlgorithm),
    }
}

/// Whether the header says RFC 9068 access token (section 2.1: with or without `application/`, in any case).
fn is_at_jwt(header: &Header) -> bool {
    let Some(typ) = &header.typ else { return false };
    ["at+jwt", "application/at+jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name))
}

/// RFC 9068 section 4 and RFC 8725 section 3.11. An allow-list, so that ID-JAGs, `DPoP` proofs, logout tokens, security
/// events and what comes next are refused by not being on it.
fn media_type(facts: &Facts<'_>) -> Result<(), VerifyError> {
    if is_at_jwt(facts.header) {
        return Ok(());
    }
    match &facts.header.typ {
        _ if facts.profile.strict => Err(VerifyError::WrongType("`typ` is not `at+jwt`")),
        None => Ok(()),
        Some(typ) if ["jwt", "application/jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name)) => Ok(()),
        Some(_) => Err(VerifyError::WrongType("`typ` is of another kind of JWT")),
    }
}

/// What tells an access token from an ID token when the header does not (RFC 8725 section 3.12).
fn access_token(facts: &Facts<'_>) -> Result<(), VerifyError> {
    if is_at_jwt(facts.header) {
        return Ok(());
    }
    let claims = facts.claims;
    if ["nonce", "at_hash", "c_hash"].iter().any(|name| claims.get(name).is_some()) {
        return Err(VerifyError::WrongType("claims of an ID token"));
    }
    if claims.get("token_use").is_some_and(|purpose| purpose.as_str().as_deref() != Some("access")) {
        return Err(VerifyError::WrongType("`token_use` is not `access`"));
    }
    if claims.get("typ").is_some_and(|typ| !typ.as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("bearer"))) {
        return Err(VerifyError::WrongType("claim `typ` is not `Bearer`"));
    }
    let client = first_text(facts, CLIENT)?;
    let names_scope = facts.profile.scope_claims.iter().map(String::as_str).chain(["scope", "scp", "roles"]);
    if client.is_none() && !names_scope.into_iter().any(|name| claims.get(name).is_some()) {
        return Err(VerifyError::WrongType("no scope and no client claim"));
    }
    // An issuer whose access tokens do name the client as audience is configured with that claim as `audience_claim`.
    if facts.profile.audience_claim.is_none()
        && let (Some(client), Some(aud)) = (client, claims.get("aud"))
        && texts(aud)?.contains(&client)
    {
        return Err(VerifyError::WrongType("`aud` is the client"));
    }
    Ok(())
}

/// RFC 9068 section 2.2 to the letter.
fn required(facts: &Facts<'_>) -> Result<(), VerifyError> {
    const STRICT: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];
    if facts.profile.strict && STRICT.iter().any(|name| facts.claims.get(name).is_none()) {
        return Err(VerifyError::Malformed("a claim RFC 9068 requires is missing"));
    }
    Ok(())
}

/// The second `exp` names, rounded down.
pub(super) fn expires(claims: Value<'_>) -> Result<Timestamp, VerifyError> {
    let exp = claims.get("exp").ok_or(VerifyError::Malformed("no `exp`"))?;
    Ok(Timestamp::from_unix_seconds(seconds(exp, f64::floor)?))
}

/// RFC 7519 section 4.1.4.
fn expiry(facts: &Facts<'_>) -> Result<(), VerifyError> {
    if facts.now < expires(facts.claims)?.plus(facts.profile.leeway) { Ok(()) } else { Err(VerifyError::Expired) }
}

/// RFC 7519 sections 4.1.5 and 4.1.6.
fn past(facts: &Facts<'_>, name: &str) -> Result<(), VerifyError> {
    let Some(value) = facts.claims.get(name) else { return Ok(()) };
    let moment = Timestamp::from_unix_seconds(seconds(value, f64::ceil)?);
    if moment <= facts.now.plus(facts.profile.leeway) { Ok(()) } else { Err(VerifyError::NotYetValid) }
}

/// A `NumericDate` (RFC 7519 section 2): a number, not negative, within 2^53. Anything else is an error and never "absent"
/// (CVE-2026-25537).
fn seconds(value: Value<'_>, round: fn(f64) -> f64) -> Result<i64, VerifyError> {
    const LAST: f64 = 9_007_199_254_740_992.0;
    const MALFORMED: VerifyError = VerifyError::Malformed("a time claim is not a number in range");
    if value.kind() != Kind::Number {
        return Err(MALFORMED);
    }
    let number: f64 = std::str::from_utf8(value.raw()).ok().and_then(|raw| raw.parse().ok()).ok_or(MALFORMED)?;
    if !(0.0..=LAST).contains(&number) {
        return Err(MALFORMED);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
    let whole = round(number) as i64;
    Ok(whole)
}

/// RFC 8707 and RFC 9068 section 4: one element equals an identifier of this server. No prefix, no origin, no fallback,
/// except the claim that is configured to stand in for a missing `aud`.
fn audience(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let substitute = || facts.profile.audience_claim.as_deref().and_then(|name| facts.claims.get(name));
    let Some(aud) = facts.claims.get("aud").or_else(substitute) else { return Err(VerifyError::WrongAudience) };
    if texts(aud)?.iter().any(|audience| facts.audiences.accepts(audience)) {
        Ok(())
    } else {
        Err(VerifyError::WrongAudience)
    }
}

/// The tenant must be on the list, if there is one; the first tenant claim present decides.
fn tenant(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let tenant = first_text(facts, TENANT)?;
    let allowed = &facts.profile.tenants;
    match tenant {
        _ if allowed.is_empty() => Ok(()),
        Some(tenant) if allowed.iter().any(|allowed| **allowed == *tenant) => Ok(()),
        _ => Err(VerifyError::WrongTenant),
    }
}

/// RFC 9449 section 7.2 and RFC 8705 section 3: a bound token sent as a plain one is refused.
fn binding(facts: &Facts<'_>) -> Result<(), VerifyError> {
    if facts.claims.get("cnf").is_some() { Err(VerifyError::Bound) } else { Ok(()) }
}

/// Subject and client.
pub(super) fn principal<'a>(facts: &Facts<'a>) -> Result<(Cow<'a, str>, Option<Cow<'a, str>>), VerifyError> {
    let client = first_text(facts, CLIENT)?;
    let subject = first_text(facts, &["sub"])?.or_else(|| client.clone());
    Ok((subject.ok_or(VerifyError::Malformed("neither `sub` nor a client id"))?, client))
}

/// The scopes of all configured claims together: text split at U+0020 only (RFC 6749 section 3.3), or a list.
pub(super) fn scopes<'a>(facts: &Facts<'a>) -> Result<Vec<Cow<'a, str>>, VerifyError> {
    let mut all = Vec::new();
    for name in &facts.profile.scope_claims {
        let Some(value) = facts.claims.get(name) else { continue };
        if let Some(text) = value.as_str() {
            all.extend(text.split(' ').filter(|scope| !scope.is_empty()).map(|scope| Cow::Owned(scope.to_owned())));
        } else {
            all.extend(texts(value)?);
        }
    }
    Ok(all)
}

/// The first of `names` that is present: text, not empty, without control characters.
pub(super) fn first_text<'a>(facts: &Facts<'a>, names: &[&str]) -> Result<Option<Cow<'a, str>>, VerifyError> {
    let Some(value) = names.iter().find_map(|name| facts.claims.get(name)) else { return Ok(None) };
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => Ok(Some(text)),
        _ => Err(VerifyError::Malformed("an identifying claim is not usable text")),
    }
}

/// A string or an array of strings.
fn texts(value: Value<'_>) -> Result<Vec<Cow<'_, str>>, VerifyError> {
    const MALFORMED: VerifyError = VerifyError::Malformed("a claim is neither text nor a list of texts");
    match value.kind() {
        Kind::String => Ok(value.as_str().into_iter().collect()),
        Kind::Array => value.items().map(|item| item.as_str().ok_or(MALFORMED)).collect(),
        _ => Err(MALFORMED),
    }
}

/// Leeway is never more than this, whatever is configured.
pub(super) const LIMIT_LEEWAY: Duration = Duration::from_mins(5);
