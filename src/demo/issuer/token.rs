//! `/token`: codes, refresh tokens and client credentials become access tokens (OAuth 2.1 section 3.2).

use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::client::{self, Authentication, Client, Grant};
use super::error::{Code, OauthError};
use super::form::Form;
use super::mint::{self, Subject};
use super::{SCOPES, Shared, users};
use crate::clock::Timestamp;
use crate::demo::lock;
use crate::demo::web::{self, Body};

/// The answer of the token endpoint.
pub(super) fn answer(shared: &Shared, headers: &HeaderMap, body: &Bytes, now: Timestamp) -> Response<Body> {
    match token(shared, headers, body, now) {
        Ok(token) => web::json(StatusCode::OK, &token),
        Err(error) => error.response(),
    }
}

fn token(shared: &Shared, headers: &HeaderMap, body: &Bytes, now: Timestamp) -> Result<Value, OauthError> {
    let form = Form::posted(headers, body)?;
    form.each_once()?;
    let client = authenticate(shared, headers, &form)?;
    let allowed = |grant| {
        let refuse = OauthError::new(Code::UnauthorizedClient, "the client may not use this grant");
        if client.may(grant) { Ok(()) } else { Err(refuse) }
    };
    match form.value("grant_type") {
        Some("authorization_code") => {
            allowed(Grant::AuthorizationCode).and_then(|()| code(shared, &client, &form, now))
        }
        Some("refresh_token") => allowed(Grant::RefreshToken).and_then(|()| refresh(shared, &client, &form, now)),
        Some("client_credentials") => {
            allowed(Grant::ClientCredentials).and_then(|()| service(shared, &client, &form, now))
        }
        Some(_) => Err(OauthError::new(Code::UnsupportedGrantType, "grant_type is not supported")),
        None => Err(OauthError::new(Code::InvalidRequest, "grant_type is missing")),
    }
}

/// The client that asks, by exactly the method it registered (RFC 6749 2.3).
fn authenticate(shared: &Shared, headers: &HeaderMap, form: &Form) -> Result<Arc<Client>, OauthError> {
    let basic = headers.get(header::AUTHORIZATION).map(|value| {
        value
            .to_str()
            .ok()
            .and_then(basic_credentials)
            .ok_or(OauthError::new(Code::InvalidClient, "Basic was malformed"))
    });
    let basic = basic.transpose()?;
    let posted = form.value("client_secret");
    if basic.is_some() && posted.is_some() {
        return Err(OauthError::new(Code::InvalidRequest, "the client authenticated in two ways"));
    }
    let id = match (&basic, form.value("client_id")) {
        (Some((basic, _)), Some(id)) if basic != id => {
            return Err(OauthError::new(Code::InvalidRequest, "client_id was given twice, differently"));
        }
        (Some((id, _)), _) => id.as_str(),
        (None, Some(id)) => id,
        (None, None) => return Err(OauthError::new(Code::InvalidClient, "client_id is missing")),
    };
    let refuse = OauthError::new(Code::InvalidClient, "the client is unknown or its secret is wrong");
    let Some(client) = lock(&shared.clients).find(id) else { return Err(refuse) };
    let proven = match (&client.authentication, basic, posted) {
        (Authentication::None, None, None) => true,
        (Authentication::Basic(secret), Some((_, given)), None) => client::same_secret(secret.expose(), &given),
        (Authentication::Post(secret), None, Some(given)) => client::same_secret(secret.expose(), given),
        _ => false,
    };
    if proven { Ok(client) } else { Err(refuse) }
}

/// Id and secret, each form-encoded before Base64 (RFC 6749 2.3.1).
fn basic_credentials(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = String::from_utf8(BASE64.decode(encoded.trim_start().as_bytes()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| {
        let pair = format!("={text}");
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    scheme.eq_ignore_ascii_case("basic").then_some((plain(id)?, plain(secret)?))
}

fn code(shared: &Shared, client: &Client, form: &Form, now: Timestamp) -> Result<Value, OauthError> {
    let invalid = |why| OauthError::new(Code::InvalidGrant, why);
    let code = form.value("code").ok_or(OauthError::new(Code::InvalidRequest, "code is missing"))?;
    let verifier = form.value("code_verifier");
    let verifier = verifier.ok_or(OauthError::new(Code::InvalidRequest, "code_verifier is missing"))?;
    let mut grants = lock(&shared.grants);
    let redeemed = grants.redeem(code, now)?;
    if redeemed.allowed.client.id != client.id {
        return Err(invalid("the code was issued to another client"));
    }
    // OAuth 2.1 dropped redirect_uri here; older clients send it and then mean it (RFC 6749 4.1.3).
    if form.value("redirect_uri").is_some_and(|uri| uri != redeemed.asked.redirect_uri) {
        return Err(invalid("redirect_uri is not the one the code was sent to"));
    }
    if !is_verifier(verifier) || !client::same_secret(&challenge(verifier), &redeemed.asked.challenge) {
        return Err(invalid("code_verifier does not match the challenge"));
    }
    same_target(shared, form, &redeemed.allowed.audience)?;
    let allowed = redeemed.allowed;
    let subject = Subject::User(allowed.user, &client.id);
    let token = mint::access_token(shared, subject, &allowed.scopes, &[allowed.audience.as_str()], now)?;
    let mut answer = mint::token_answer(shared, &token, &allowed.scopes);
    if client.may(Grant::RefreshToken) {
        answer["refresh_token"] = json!(grants.start_family(&redeemed.family, allowed, now)?);
    }
    Ok(answer)
}

/// RFC 7636 4.1: 43 to 128 unreserved characters.
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// RFC 7636 4.2, S256.
fn challenge(verifier: &str) -> String {
    BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref())
}

fn same_target(shared: &Shared, form: &Form, audience: &str) -> Result<(), OauthError> {
    match form.value("resource") {
        Some(resource) if shared.audience(Some(resource)).as_deref() != Some(audience) => {
            Err(OauthError::new(Code::InvalidTarget, "resource is not the one that was authorized"))
        }
        _ => Ok(()),
    }
}

fn refresh(shared: &Shared, client: &Client, form: &Form, now: Timestamp) -> Result<Value, OauthError> {
    let missing = OauthError::new(Code::InvalidRequest, "refresh_token is missing");
    let token = form.value("refresh_token").ok_or(missing)?;
    let mut grants = lock(&shared.grants);
    let allowed = grants.refreshable(token, now)?;
    if allowed.client.id != client.id {
        return Err(OauthError::new(Code::InvalidGrant, "the refresh token was issued to another client"));
    }
    same_target(shared, form, &allowed.audience)?;
    let scopes = narrowed(form.value("scope"), &allowed.scopes)?;
    let next = grants.rotate(token)?;
    let subject = Subject::User(allowed.user, &client.id);
    let token = mint::access_token(shared, subject, &scopes, &[allowed.audience.as_str()], now)?;
    let mut answer = mint::token_answer(shared, &token, &scopes);
    answer["refresh_token"] = json!(next);
    Ok(answer)
}

/// A refresh may ask for less, never for more (RFC 6749 6).
fn narrowed(requested: Option<&str>, granted: &[&'static str]) -> Result<Vec<&'static str>, OauthError> {
    let Some(requested) = requested else { return Ok(granted.to_vec()) };
    if requested.split(' ').any(|scope| !granted.contains(&scope)) {
        return Err(OauthError::new(Code::InvalidScope, "the login did not allow that scope"));
    }
    Ok(granted.iter().copied().filter(|scope| requested.split(' ').any(|wanted| wanted == *scope)).collect())
}

fn service(shared: &Shared, client: &Client, form: &Form, now: Timestamp) -> Result<Value, OauthError> {
    let all: Vec<&str> = SCOPES.iter().map(|(name, _)| *name).collect();
    let scopes = users::limit(&users::known_scopes(form.value("scope"))?, &all);
    let unknown = OauthError::new(Code::InvalidTarget, "resource is missing or not one of this demo");
    let audience = shared.audience(form.value("resource")).ok_or(unknown)?;
    let token = mint::access_token(shared, Subject::Client(&client.id), &scopes, &[audience.as_str()], now)?;
    Ok(mint::token_answer(shared, &token, &scopes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn verifiers_have_43_to_128_unreserved_characters() {
        for (text, good) in [
            ("a".repeat(43), true),
            ("a".repeat(128), true),
            ("a".repeat(42), false),
            ("a".repeat(129), false),
            (format!("{}+", "a".repeat(42)), false),
        ] {
            assert_eq!(is_verifier(&text), good, "{text}");
        }
    }

    #[test]
    fn basic_credentials_are_form_encoded_inside() {
        let value = format!("basic {}", BASE64.encode(b"a%3Ab:c+d%25"));
        assert_eq!(basic_credentials(&value), Some(("a:b".to_owned(), "c d%".to_owned())));
        for bad in ["Basic", "Basic !", "Bearer YTpi", &format!("Basic {}", BASE64.encode(b"no colon"))] {
            assert_eq!(basic_credentials(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_refresh_narrows_but_never_widens() {
        assert_eq!(narrowed(None, &["crm:read", "crm:write"]).unwrap(), ["crm:read", "crm:write"]);
        assert_eq!(narrowed(Some("crm:write"), &["crm:read", "crm:write"]).unwrap(), ["crm:write"]);
        assert_eq!(narrowed(Some("crm:read crm:write"), &["crm:read"]).unwrap_err().code, Code::InvalidScope);
    }
}
