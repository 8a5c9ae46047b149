//! Single claims as typed values: an unreadable claim is an error, never "absent" (CVE-2026-25537).

use std::borrow::Cow;

use super::Facts;
use crate::auth::VerifyError;
use crate::clock::Timestamp;
use crate::json::{Kind, Value};

/// The most nested actors (RFC 8693 section 4.1).
const LIMIT_ACTORS: usize = 8;

/// A `NumericDate` in seconds (RFC 7519 section 2): a number from 0 to 2^53. Errs on anything else (CVE-2026-25537).
pub(in crate::auth) fn seconds(value: Value<'_>, round: fn(f64) -> f64) -> Result<i64, VerifyError> {
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

/// Subject and client. An application's own token may have only the client, which is then the subject.
pub(in crate::auth) fn principal<'a>(facts: &Facts<'a>) -> Result<(Cow<'a, str>, Option<Cow<'a, str>>), VerifyError> {
    let tokens = &facts.profile.tokens;
    let client = first_text(facts, &tokens.client_claims)?;
    let subject = first_text(facts, &tokens.subject_claims)?.or_else(|| client.clone());
    Ok((subject.ok_or(VerifyError::Malformed("neither `sub` nor a client id"))?, client))
}

/// The scopes of all configured claims: a string split at U+0020 only (RFC 6749 section 3.3), or a list. Roles and the like get
/// their configured prefix, with which no scope can begin.
pub(in crate::auth) fn scopes<'a>(facts: &Facts<'a>) -> Result<Vec<Cow<'a, str>>, VerifyError> {
    let tokens = &facts.profile.tokens;
    let mut all = Vec::new();
    for name in &tokens.scope_claims {
        let Some(value) = facts.claims.get(name) else { continue };
        if let Some(text) = value.as_str() {
            all.extend(text.split(' ').filter(|scope| !scope.is_empty()).map(|scope| Cow::Owned(scope.to_owned())));
        } else {
            all.extend(texts(value)?);
        }
    }
    if tokens.scope_prefixes.is_empty() {
        return Ok(all);
    }
    all.retain(|scope| !tokens.scope_prefixes.iter().any(|(_, prefix)| scope.starts_with(prefix.as_str())));
    for (claim, prefix) in &tokens.scope_prefixes {
        let Some(value) = nested(facts.claims, claim) else { continue };
        all.extend(texts(value)?.into_iter().map(|name| Cow::Owned(format!("{prefix}{name}"))));
    }
    Ok(all)
}

/// The claim of that name, or a nested one such as `realm_access.roles`.
fn nested<'a>(claims: Value<'a>, name: &str) -> Option<Value<'a>> {
    claims.get(name).or_else(|| name.split('.').try_fold(claims, |value, part| value.get(part)))
}

/// The time in a claim, rounded down to the second.
pub(in crate::auth) fn moment(facts: &Facts<'_>, name: &str) -> Result<Option<Timestamp>, VerifyError> {
    let Some(value) = facts.claims.get(name) else { return Ok(None) };
    seconds(value, f64::floor).map(|seconds| Some(Timestamp::from_unix_seconds(seconds)))
}

/// The actors, the current one first (RFC 8693 section 4.1).
pub(in crate::auth) fn actors<'a>(facts: &Facts<'a>) -> Result<Vec<Cow<'a, str>>, VerifyError> {
    const MALFORMED: VerifyError = VerifyError::Malformed("`act` does not name who acts");
    let mut actors = Vec::new();
    let mut next = facts.claims.get("act");
    while let Some(act) = next {
        let name = ["sub", "client_id"].iter().find_map(|name| act.get(name)).and_then(|name| name.as_str());
        let name = name.filter(|name| is_name(name)).ok_or(MALFORMED)?;
        if actors.len() == LIMIT_ACTORS {
            return Err(VerifyError::Malformed("`act` is nested too deeply"));
        }
        actors.push(name);
        next = act.get("act");
    }
    Ok(actors)
}

/// The first of `names` that is present, which must be a string, not empty, without control characters.
pub(in crate::auth) fn first_text<'a>(
    facts: &Facts<'a>,
    names: &[impl AsRef<str>],
) -> Result<Option<Cow<'a, str>>, VerifyError> {
    let Some(value) = names.iter().find_map(|name| facts.claims.get(name.as_ref())) else { return Ok(None) };
    match value.as_str() {
        Some(text) if is_name(&text) => Ok(Some(text)),
        _ => Err(VerifyError::Malformed("an identifying claim is not usable text")),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// A string or an array of strings.
pub(super) fn texts(value: Value<'_>) -> Result<Vec<Cow<'_, str>>, VerifyError> {
    const MALFORMED: VerifyError = VerifyError::Malformed("a claim is neither text nor a list of texts");
    match value.kind() {
        Kind::String => Ok(value.as_str().into_iter().collect()),
        Kind::Array => value.items().map(|item| item.as_str().ok_or(MALFORMED)).collect(),
        _ => Err(MALFORMED),
    }
}
