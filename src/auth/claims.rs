//! The rules for a token's claims, as a table: [`super::Verifier::verify`] stops at the first rule that fails,
//! [`super::examine()`] shows them all. No claim is trusted before the signature is verified; a refusal needs no signature.

mod value;

use std::time::Duration;

use super::issuer::Profile;
use super::jws::Header;
use super::{Audiences, Confirmation, VerifyError};
use crate::clock::Timestamp;
use crate::config;
use crate::json::Value;
use value::texts;
pub(super) use value::{actors, first_text, moment, principal, scopes, seconds};

/// The inputs of the rules.
pub(super) struct Facts<'a> {
    pub(super) profile: &'a Profile,
    pub(super) audiences: &'a Audiences,
    pub(super) authentication: &'a config::Authentication,
    /// `None` for an introspection answer about an opaque token.
    pub(super) header: Option<&'a Header>,
    pub(super) claims: Value<'a>,
    pub(super) now: Timestamp,
}

/// One check of a token.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) check: fn(&Facts<'_>) -> Result<(), VerifyError>,
    pub(super) expected: fn(&Facts<'_>) -> String,
    /// The claims it reads.
    pub(super) claims: &'static [&'static str],
}

/// The claims with the token's id, in order.
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
            let lenient = if facts.profile.tokens.strict { "" } else { ", `JWT` or none" };
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
            if facts.profile.tokens.strict {
                "iss, exp, aud, sub, client_id, iat, jti (RFC 9068)".into()
            } else {
                let usual = ["iss", "exp"].into_iter();
                let required = facts.profile.tokens.required_claims.iter().map(String::as_str);
                usual.chain(required).collect::<Vec<_>>().join(", ")
            }
        },
        claims: &[],
    },
    Rule {
        name: "forbidden claims",
        check: forbidden,
        expected: |facts| match facts.profile.tokens.forbidden_claims.as_slice() {
            [] => "none named".into(),
            names => format!("none of {}", names.join(", ")),
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
        name: "lifetime",
        check: lifetime,
        expected: |facts| match facts.profile.tokens.max_lifetime {
            Some(longest) => format!("at most {} s from `iat` to `exp`", longest.as_secs()),
            None => "any".into(),
        },
        claims: &["iat", "exp"],
    },
    Rule {
        name: "audience",
        check: audience,
        expected: |facts| format!("one of {}", facts.audiences.iter().collect::<Vec<_>>().join(", ")),
        claims: &["aud"],
    },
    Rule {
        name: "audience count",
        check: audience_count,
        expected: |facts| match facts.profile.tokens.max_audiences {
            Some(most) => format!("at most {most}"),
            None => "any number".into(),
        },
        claims: &["aud"],
    },
    Rule {
        name: "tenant",
        check: tenant,
        expected: |facts| match facts.profile.tokens.tenants.as_slice() {
            [] => "any".into(),
            tenants => format!("one of {}", tenants.join(", ")),
        },
        claims: &["tid", "org_id", "hd", "env"],
    },
    Rule {
        name: "binding",
        check: |facts| binding(facts).map(drop),
        expected: |_| "no `cnf`, or one with `jkt` or `x5t#S256`; then every request must prove the key".into(),
        claims: &["cnf"],
    },
    Rule {
        name: "subject",
        check: |facts| principal(facts).map(drop),
        expected: |_| "`sub`, or a client id, without control characters".into(),
        claims: &["sub", "oid", "uid", "client_id", "azp", "cid", "appid"],
    },
    Rule {
        name: "delegation",
        check: |facts| actors(facts).map(drop),
        expected: |_| "`act`, if present, names who acts in `sub`".into(),
        claims: &["act"],
    },
    Rule {
        name: "authentication",
        check: |facts| moment(facts, "auth_time").and(first_text(facts, &["acr"])).map(drop),
        expected: |_| "`auth_time` a number and `acr` text, if present".into(),
        claims: &["auth_time", "acr", "amr"],
    },
    Rule {
        name: "authentication class",
        check: strength,
        expected: |facts| match facts.authentication.acr_values.as_slice() {
            [] => "any".into(),
            values => format!("`acr` one of {}", values.join(", ")),
        },
        claims: &["acr"],
    },
    Rule {
        name: "authentication age",
        check: recent,
        expected: |facts| match facts.authentication.max_age {
            Some(age) => format!("`auth_time` at most {} s ago", age.as_secs()),
            None => "any".into(),
        },
        claims: &["auth_time"],
    },
    Rule {
        name: "session",
        check: |facts| first_text(facts, &["sid"]).map(drop),
        expected: |_| "`sid`, if present, is text".into(),
        claims: &["sid"],
    },
    Rule {
        name: "scopes",
        check: |facts| scopes(facts).map(drop),
        expected: |facts| format!("{} as text or list of texts", facts.profile.tokens.scope_claims.join(", ")),
        claims: &["scope", "scp", "roles", "permissions", "groups"],
    },
    Rule {
        name: "token id",
        check: |facts| first_text(facts, TOKEN_ID).map(drop),
        expected: |_| "text, if present".into(),
        claims: TOKEN_ID,
    },
];

/// The algorithm must be on the issuer's list, by exact name (RFC 8725 section 3.1).
fn algorithm(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let Some(header) = facts.header else { return Ok(()) };
    match header.alg {
        Some(alg) if facts.profile.algorithms.contains(&alg) => Ok(()),
        _ => Err(VerifyError::WrongAlgorithm),
    }
}

/// Whether `typ` is that of an access token (RFC 9068 section 2.1: with or without `application/`, in any case).
fn is_at_jwt(header: &Header) -> bool {
    let Some(typ) = &header.typ else { return false };
    ["at+jwt", "application/at+jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name))
}

/// `typ` must be that of an access token or plain `JWT` (RFC 9068 section 4, RFC 8725 section 3.11). An allow list, so that
/// ID-JAGs, `DPoP` proofs, logout tokens, security events and future types are refused.
fn media_type(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let Some(header) = facts.header.filter(|header| !is_at_jwt(header)) else { return Ok(()) };
    match &header.typ {
        _ if facts.profile.tokens.strict => Err(VerifyError::WrongType("`typ` is not `at+jwt`")),
        None => Ok(()),
        Some(typ) if ["jwt", "application/jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name)) => Ok(()),
        Some(_) => Err(VerifyError::WrongType("`typ` is of another kind of JWT")),
    }
}

/// Distinguishes access tokens from ID tokens when `typ` does not (RFC 8725 section 3.12).
fn access_token(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let claims = facts.claims;
    match facts.header {
        None => return introspected(claims),
        Some(header) if is_at_jwt(header) => return Ok(()),
        Some(_) => {}
    }
    if ["nonce", "at_hash", "c_hash"].iter().any(|name| claims.get(name).is_some()) {
        return Err(VerifyError::WrongType("claims of an ID token"));
    }
    purpose(claims)?;
    let client = first_text(facts, &facts.profile.tokens.client_claims)?;
    let names_scope = facts.profile.tokens.scope_claims.iter().map(String::as_str).chain(["scope", "scp", "roles"]);
    if client.is_none() && !names_scope.into_iter().any(|name| claims.get(name).is_some()) {
        return Err(VerifyError::WrongType("no scope and no client claim"));
    }
    // For issuers whose access tokens have the client as audience, this is configured, or that claim is `audience_claim`.
    if facts.profile.tokens.audience_claim.is_none()
        && !facts.profile.tokens.audience_may_be_client
        && let (Some(client), Some(aud)) = (client, claims.get("aud"))
        && texts(aud)?.contains(&client)
    {
        return Err(VerifyError::WrongType("`aud` is the client"));
    }
    Ok(())
}

/// The claims in which issuers mark access tokens: `token_use` (Cognito, Ory) and `typ` (Keycloak; `DPoP` for bound ones).
fn purpose(claims: Value<'_>) -> Result<(), VerifyError> {
    let says = |name, words: &[&str]| {
        let is_one = |said: &str| words.iter().any(|word| said.eq_ignore_ascii_case(word));
        claims.get(name).is_none_or(|value| value.as_str().is_some_and(|said| is_one(&said)))
    };
    if !says("token_use", &["access", "access_token"]) {
        return Err(VerifyError::WrongType("`token_use` is not `access`"));
    }
    let is_bound = claims.get("cnf").is_some();
    if !says("typ", if is_bound { &["Bearer", "DPoP"] } else { &["Bearer"] }) {
        return Err(VerifyError::WrongType("claim `typ` is not `Bearer`"));
    }
    Ok(())
}

/// An introspected token must be an access token (RFC 7662 section 2.2): refresh tokens are active too, and live much longer.
fn introspected(claims: Value<'_>) -> Result<(), VerifyError> {
    purpose(claims)?;
    let Some(said) = claims.get("token_type") else { return Ok(()) };
    let said = said.as_str().ok_or(VerifyError::Malformed("`token_type` is not text"))?.to_ascii_lowercase();
    if said == "n_a" || said.contains("refresh") || said.contains("id_token") {
        return Err(VerifyError::WrongType("`token_type` is not that of an access token"));
    }
    Ok(())
}

/// With the strict profile, all claims required by RFC 9068 section 2.2 must be present.
fn required(facts: &Facts<'_>) -> Result<(), VerifyError> {
    const STRICT: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];
    if facts.profile.tokens.strict
        && facts.header.is_some()
        && STRICT.iter().any(|name| facts.claims.get(name).is_none())
    {
        return Err(VerifyError::Malformed("a claim RFC 9068 requires is missing"));
    }
    if facts.profile.tokens.required_claims.iter().any(|name| facts.claims.get(name).is_none()) {
        return Err(VerifyError::Malformed("a claim this issuer's tokens must have is missing"));
    }
    Ok(())
}

fn forbidden(facts: &Facts<'_>) -> Result<(), VerifyError> {
    if facts.profile.tokens.forbidden_claims.iter().any(|name| facts.claims.get(name).is_some()) {
        return Err(VerifyError::WrongType("a claim this issuer's access tokens do not have"));
    }
    Ok(())
}

/// The lifetime assumed for an opaque token if its issuer does not tell.
const UNSTATED_LIFETIME: Duration = Duration::from_hours(1);

/// `exp`, rounded down to the second.
pub(super) fn expires(facts: &Facts<'_>) -> Result<Timestamp, VerifyError> {
    let exp = match facts.claims.get("exp") {
        None if facts.header.is_none() => return Ok(facts.now.plus(UNSTATED_LIFETIME)),
        exp => exp.ok_or(VerifyError::Malformed("no `exp`"))?,
    };
    Ok(Timestamp::from_unix_seconds(seconds(exp, f64::floor)?))
}

/// `exp` plus leeway must be in the future (RFC 7519 section 4.1.4).
fn expiry(facts: &Facts<'_>) -> Result<(), VerifyError> {
    if facts.now < expires(facts)?.plus(facts.profile.leeway) { Ok(()) } else { Err(VerifyError::Expired) }
}

/// `nbf` or `iat` must not be in the future (RFC 7519 sections 4.1.5 and 4.1.6).
fn past(facts: &Facts<'_>, name: &str) -> Result<(), VerifyError> {
    let Some(value) = facts.claims.get(name) else { return Ok(()) };
    let moment = Timestamp::from_unix_seconds(seconds(value, f64::ceil)?);
    if moment <= facts.now.plus(facts.profile.leeway) { Ok(()) } else { Err(VerifyError::NotYetValid) }
}

/// The lifetime must be within `max_lifetime`, if configured, counted from `iat`, or from now without `iat`.
fn lifetime(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let Some(longest) = facts.profile.tokens.max_lifetime else { return Ok(()) };
    let issued = moment(facts, "iat")?.unwrap_or(facts.now);
    if expires(facts)? <= issued.plus(longest) { Ok(()) } else { Err(VerifyError::TooLong) }
}

/// The number of audiences is limited, since each of them can replay the token to the others (RFC 9700 section 2.3).
fn audience_count(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let (Some(most), Some(aud)) = (facts.profile.tokens.max_audiences, facts.claims.get("aud")) else { return Ok(()) };
    if texts(aud)?.len() <= most { Ok(()) } else { Err(VerifyError::WrongAudience) }
}

/// One element of `aud` must equal an identifier of this server (RFC 8707, RFC 9068 section 4): no prefixes, no origins, no
/// fallback except the claim configured for tokens without `aud`.
fn audience(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let substitute = || facts.profile.tokens.audience_claim.as_deref().and_then(|name| facts.claims.get(name));
    let Some(aud) = facts.claims.get("aud").or_else(substitute) else { return Err(VerifyError::WrongAudience) };
    if texts(aud)?.iter().any(|audience| facts.audiences.accepts(audience)) {
        Ok(())
    } else {
        Err(VerifyError::WrongAudience)
    }
}

/// The tenant must be on the configured list, if any; the first tenant claim that is present counts.
fn tenant(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let tenant = first_text(facts, &facts.profile.tokens.tenant_claims)?;
    let allowed = &facts.profile.tokens.tenants;
    match tenant {
        _ if allowed.is_empty() => Ok(()),
        Some(tenant) if allowed.iter().any(|allowed| **allowed == *tenant) => Ok(()),
        _ => Err(VerifyError::WrongTenant),
    }
}

/// What the token is bound to. Possession is checked with each request ([`super::binding`]).
pub(super) fn binding(facts: &Facts<'_>) -> Result<Option<Confirmation>, VerifyError> {
    facts.claims.get("cnf").map(Confirmation::read).transpose()
}

/// `acr` must be an accepted class of authentication (RFC 9470 section 4). Its age is checked by [`recent_until`].
fn strength(facts: &Facts<'_>) -> Result<(), VerifyError> {
    let accepted = &facts.authentication.acr_values;
    let acr = first_text(facts, &["acr"])?;
    if accepted.is_empty() || acr.is_some_and(|acr| accepted.iter().any(|value| **value == *acr)) {
        Ok(())
    } else {
        Err(too_weak(facts)?)
    }
}

/// The refusal of a weak authentication, with the token's scopes, so that missing scopes can be requested too. They decide
/// nothing, as the signature is not verified yet.
fn too_weak(facts: &Facts<'_>) -> Result<VerifyError, VerifyError> {
    Ok(VerifyError::TooWeak { scopes: scopes(facts)?.into_iter().collect() })
}

/// The time until which the authentication is recent enough; `None` if there is no limit. Errs without `auth_time`.
pub(super) fn recent_until(facts: &Facts<'_>) -> Result<Option<Timestamp>, VerifyError> {
    let Some(max_age) = facts.authentication.max_age else { return Ok(None) };
    let Some(at) = moment(facts, "auth_time")? else { return Err(too_weak(facts)?) };
    Ok(Some(at.plus(max_age).plus(facts.profile.leeway)))
}

fn recent(facts: &Facts<'_>) -> Result<(), VerifyError> {
    match recent_until(facts)? {
        Some(until) if until <= facts.now => Err(too_weak(facts)?),
        _ => Ok(()),
    }
}

/// The most leeway, whatever is configured.
pub(super) const LIMIT_LEEWAY: Duration = Duration::from_mins(5);
