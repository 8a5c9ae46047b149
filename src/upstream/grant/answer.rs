//! The response of a token endpoint: a usable token, or why there is none.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};

use super::GrantError;
use crate::auth::{Asked, exchange};
use crate::json::{Document, Kind, Limits, Value};
use crate::secret::Secret;

/// The most bytes of a token.
const LIMIT_TOKEN: usize = 16 * 1024;
/// Lifetime of a token without `expires_in`, which RFC 6749 section 5.1 only recommends.
const UNSAID: Duration = Duration::from_mins(1);
/// Longest time that a token is cached.
const LONGEST: Duration = Duration::from_hours(24);
/// Pause after a failure without `Retry-After`, and the longest `Retry-After` that is honoured.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// The most bytes of a claims challenge that is forwarded.
const LIMIT_CLAIMS: usize = 2048;

/// The kind of token expected.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// A bearer access token.
    AccessToken,
    /// The same from a token exchange, with an `issued_token_type` (RFC 8693 section 2.2.1), which must be the requested one
    /// if there is one.
    Exchanged(Option<&'a str>),
    /// An assertion for another authorization server, of this type. It is not an access token: `token_type` is `N_A`.
    Assertion(&'a str),
}

/// An issued token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) value: Secret<String>,
    pub(super) lifetime: Duration,
    /// Whether fewer scopes were granted than requested.
    pub(super) narrowed: bool,
}

/// Reads a token response. `scopes` are those that were requested. Errs if it is an error response or has no usable token.
pub(super) fn read(asked: Asked, wanted: Wanted<'_>, scopes: &[String]) -> Result<Token, GrantError> {
    let Asked { status, answer } = asked;
    match status {
        200 => {}
        300..=399 => return Err(unusable("redirect")),
        429 => return Err(unavailable("too_many_requests", &answer.headers)),
        500.. => return Err(unavailable("server_error", &answer.headers)),
        400..=499 => return Err(refused(status, &answer)),
        _ => return Err(unusable("status")),
    }
    if !is_json(&answer.headers) {
        return Err(unusable("content_type"));
    }
    let document =
        Document::parse(answer.body, &Limits { depth: 16, members: 1024 }).map_err(|_| unusable("not_json"))?;
    let root = document.root();
    if root.kind() != Kind::Object {
        return Err(unusable("not_json"));
    }
    let value = root.get("access_token").and_then(|token| token.as_str()).ok_or(unusable("no_access_token"))?;
    let value = Secret::new(value.into_owned());
    let fits = (1..=LIMIT_TOKEN).contains(&value.expose().len());
    if !fits || !value.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable("access_token"));
    }
    types(root, wanted)?;
    Ok(Token { value, lifetime: lifetime(root.get("expires_in"))?, narrowed: is_narrowed(root, scopes) })
}

/// Errs if the token is not of the wanted type: one of an unknown type must not be used (RFC 6749 section 7.1; RFC 8693
/// section 2.2.1).
fn types(root: Value<'_>, wanted: Wanted<'_>) -> Result<(), GrantError> {
    let text = |name| root.get(name).and_then(|value| value.as_str());
    let (token_type, issued) = match wanted {
        Wanted::AccessToken => ("bearer", None),
        Wanted::Exchanged(asked) => ("bearer", Some(asked)),
        Wanted::Assertion(asked) => ("n_a", Some(Some(asked))),
    };
    if !text("token_type").is_some_and(|found| found.eq_ignore_ascii_case(token_type)) {
        return Err(unusable("token_type"));
    }
    let Some(asked) = issued else { return Ok(()) };
    let found = text("issued_token_type").ok_or(unusable("issued_token_type"))?;
    let fits = match asked {
        Some(asked) => *found == *asked,
        // Tokens of other types cannot be used as bearer tokens (RFC 8693 section 3).
        None => {
            matches!(&*found, "urn:ietf:params:oauth:token-type:access_token" | "urn:ietf:params:oauth:token-type:jwt")
        }
    };
    if fits { Ok(()) } else { Err(unusable("issued_token_type")) }
}

/// The lifetime by `expires_in`, in seconds (RFC 6749 section 5.1); some servers send a string. Errs if it is not a whole
/// number.
fn lifetime(expires_in: Option<Value<'_>>) -> Result<Duration, GrantError> {
    let Some(value) = expires_in else { return Ok(UNSAID) };
    let seconds = value.as_i64().or_else(|| {
        let text = value.as_str()?;
        let digits = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().ok() } else { None }
    });
    match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        None | Some(0) => Err(unusable("expires_in")),
        Some(seconds) => Ok(Duration::from_secs(seconds).min(LONGEST)),
    }
}

/// Whether fewer scopes were granted than requested. Without `scope` in the response all were granted (RFC 6749 section 5.1).
fn is_narrowed(root: Value<'_>, asked: &[String]) -> bool {
    let Some(granted) = root.get("scope").and_then(|scope| scope.as_str()) else { return false };
    !asked.iter().all(|scope| granted.split(' ').any(|granted| granted == scope))
}

/// The error of an error response (RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 8707 section 2, `OpenID` Connect
/// Core 1.0 section 3.1.2.6).
fn refused(status: u16, answer: &exchange::Answer) -> GrantError {
    let limits = Limits { depth: 16, members: 1024 };
    let document = is_json(&answer.headers).then(|| Document::parse(answer.body.clone(), &limits).ok()).flatten();
    let Some(document) = document else {
        return if status == 401 { unusable("invalid_client") } else { unusable("status") };
    };
    let root = document.root();
    let text = |name| root.get(name).and_then(|value| value.as_str());
    // Entra reports a missing consent in its own member `suberror` besides `invalid_grant`.
    let code = text("suberror").filter(|code| matches!(&**code, "consent_required")).or_else(|| text("error"));
    match code.as_deref().unwrap_or_default() {
        "invalid_grant" => GrantError::Token,
        "access_denied" => GrantError::Forbidden { reason: "access_denied" },
        "consent_required" => GrantError::Forbidden { reason: "consent_required" },
        "invalid_scope" => GrantError::Forbidden { reason: "invalid_scope" },
        "interaction_required" => GrantError::Interaction { reason: "interaction_required", claims: claims(root) },
        "login_required" => GrantError::Interaction { reason: "login_required", claims: claims(root) },
        "temporarily_unavailable" => unavailable("temporarily_unavailable", &answer.headers),
        "server_error" => unavailable("server_error", &answer.headers),
        "invalid_client" => unusable("invalid_client"),
        "invalid_request" => unusable("invalid_request"),
        "invalid_target" => unusable("invalid_target"),
        "unauthorized_client" => unusable("unauthorized_client"),
        "unsupported_grant_type" => unusable("unsupported_grant_type"),
        _ if status == 401 => unusable("invalid_client"),
        _ => unusable("other_error"),
    }
}

/// The claims challenge to forward, base64url of the JSON object for the `claims` request parameter, byte for byte; `None` if
/// it is absent, not an object or too long.
fn claims(root: Value<'_>) -> Option<Arc<str>> {
    let claims = root.get("claims")?.as_str()?;
    let document = Document::parse(claims.as_bytes().to_vec().into(), &Limits { depth: 8, members: 64 }).ok()?;
    let fits = claims.len() <= LIMIT_CLAIMS && document.root().kind() == Kind::Object;
    fits.then(|| BASE64URL_NOPAD.encode(claims.as_bytes()).into())
}

/// Whether the media type is `application/json` (RFC 6749 section 5.1).
fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

fn unavailable(reason: &'static str, headers: &HeaderMap) -> GrantError {
    let said = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    GrantError::Unavailable { reason, retry_after: said.unwrap_or(PAUSE).clamp(PAUSE, LONGEST_PAUSE) }
}

const fn unusable(reason: &'static str) -> GrantError {
    GrantError::Unusable { reason }
}

/// The error for a request without an answer; `said` is one of the constants of [`exchange`].
pub(super) fn unanswered(said: &'static str) -> GrantError {
    let unavailable = |reason| GrantError::Unavailable { reason, retry_after: PAUSE };
    match said {
        exchange::SLOW => unavailable("timeout"),
        exchange::BROKEN => unavailable("broken"),
        exchange::CODED => unusable("content_coding"),
        exchange::TOO_LONG => unusable("too_large"),
        exchange::UNREACHABLE => unavailable("unreachable"),
        exchange::UNDISCOVERED => unavailable("undiscovered"),
        _ => unusable("own_credential"),
    }
}

#[cfg(test)]
mod tests;
