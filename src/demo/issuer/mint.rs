//! Access tokens (RFC 9068), and the endpoint of `portcullis token mint`.

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::error::{Code, OauthError};
use super::users::{self, User};
use super::{SCOPES, Shared, client};
use crate::clock::Timestamp;
use crate::demo::web::{self, Body};
use crate::demo::{lock, random_text};

/// A token that was not minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Nobody has that name.
    #[error("no user `{0}`; there are ana and max")]
    UnknownUser(String),
    /// The user cannot grant that scope.
    #[error("{user} cannot grant `{scope}`")]
    Scope {
        /// Who.
        user: &'static str,
        /// Which scope.
        scope: String,
    },
    /// No randomness or signature could be had.
    #[error("cannot sign a token")]
    Signature(#[from] aws_lc_rs::error::Unspecified),
}

/// Whom a token speaks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    /// The client itself.
    Client(&'a str),
    /// A user, through a client.
    User(&'static User, &'a str),
}

/// A signed access token.
pub(super) fn access_token(
    shared: &Shared,
    subject: Subject<'_>,
    scopes: &[&str],
    audiences: &[&str],
    now: Timestamp,
) -> Result<String, aws_lc_rs::error::Unspecified> {
    let (sub, client_id) = match subject {
        Subject::Client(id) => (id, id),
        Subject::User(user, client_id) => (user.name, client_id),
    };
    let mut claims = Map::new();
    let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    claim("iss", json!(shared.url));
    claim("sub", json!(sub));
    // RFC 7519 section 4.1.3: a single audience may be a string.
    claim("aud", if let [one] = audiences { json!(one) } else { json!(audiences) });
    claim("client_id", json!(client_id));
    claim("scope", json!(scopes.join(" ")));
    claim("jti", json!(random_text()?));
    claim("iat", json!(now.unix_seconds()));
    claim("exp", json!(now.plus(shared.settings.token_lifetime).unix_seconds()));
    if let Subject::User(user, _) = subject {
        claim("email", json!(user.email));
        claim("name", json!(user.display_name));
        claim("department", json!(user.department));
    }
    lock(&shared.keys).sign("at+jwt", &claims)
}

/// A token for `user` without a login; no scopes means those held without being asked.
pub(super) fn for_user(
    shared: &Shared,
    user: &str,
    scopes: &[&str],
    audiences: &[&str],
    now: Timestamp,
) -> Result<String, MintError> {
    let user = users::find(user).ok_or_else(|| MintError::UnknownUser(user.to_owned()))?;
    if let Some(scope) = scopes.iter().find(|scope| !user.grantable.contains(scope)) {
        return Err(MintError::Scope { user: user.name, scope: (*scope).to_owned() });
    }
    let scopes = if scopes.is_empty() { user.scopes } else { scopes };
    Ok(access_token(shared, Subject::User(user, client::PUBLIC), scopes, audiences, now)?)
}

/// `POST /mint {"user", "scope"?, "audience"?}` with the run's secret as bearer token.
pub(super) fn answer(shared: &Shared, headers: &HeaderMap, body: &Bytes, now: Timestamp) -> Response<Body> {
    mint(shared, headers, body, now).unwrap_or_else(|error| error.response())
}

fn mint(shared: &Shared, headers: &HeaderMap, body: &Bytes, now: Timestamp) -> Result<Response<Body>, OauthError> {
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    // No page has business here, whatever it knows.
    let from_page = headers.contains_key(header::ORIGIN);
    if from_page || !presented.is_some_and(|secret| client::same_secret(secret, shared.mint_secret.expose())) {
        return Err(OauthError::new(Code::InvalidToken, "the secret of this run is needed"));
    }
    let invalid = |why| OauthError::new(Code::InvalidRequest, why);
    let wanted: Value = serde_json::from_slice(body).map_err(|_| invalid("the body must be JSON"))?;
    let text =
        |name: &str| wanted.get(name).map(|value| value.as_str().ok_or(invalid("members must be strings"))).transpose();
    let user = text("user")?.ok_or(invalid("user is missing"))?;
    let user = users::find(user).ok_or(invalid("no such user; there are ana and max"))?;
    let scopes = match text("scope")? {
        None => user.scopes.to_vec(),
        Some(scopes) => known(scopes, user)?,
    };
    let unknown = OauthError::new(Code::InvalidTarget, "audience is not a resource of this demo");
    let audiences = match text("audience")? {
        Some(audience) => vec![shared.audience(Some(audience)).ok_or(unknown)?],
        None => shared.settings.resources.clone(),
    };
    let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
    let token = access_token(shared, Subject::User(user, client::PUBLIC), &scopes, &audiences, now)?;
    Ok(web::json(StatusCode::OK, &token_answer(shared, &token, &scopes)))
}

/// Unlike a client at `/authorize`, who types a scope wants exactly that scope.
fn known(scopes: &str, user: &User) -> Result<Vec<&'static str>, OauthError> {
    let refuse = || OauthError::new(Code::InvalidScope, "the user cannot grant that scope");
    let known = |wanted: &str| SCOPES.iter().map(|(name, _)| *name).find(|name| *name == wanted);
    scopes
        .split_ascii_whitespace()
        .map(|wanted| known(wanted).filter(|name| user.grantable.contains(name)).ok_or_else(refuse))
        .collect()
}

/// The successful answer of RFC 6749 5.1.
pub(super) fn token_answer(shared: &Shared, access_token: &str, scopes: &[&str]) -> Value {
    json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": shared.settings.token_lifetime.as_secs(),
        "scope": scopes.join(" "),
    })
}
