//! Dynamic client registration (RFC 7591).

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::client::{self, Authentication, Client, Grant, Kind};
use super::error::{Code, OauthError};
use super::{SCOPES, Shared};
use crate::clock::Timestamp;
use crate::demo::web::{self, Body};
use crate::demo::{lock, random_text};
use crate::secret::Secret;

/// The answer of the registration endpoint.
pub(super) fn answer(shared: &Shared, headers: &HeaderMap, body: &Bytes, now: Timestamp) -> Response<Body> {
    let client = match metadata(headers, body).and_then(|metadata| read(&metadata, now)) {
        Ok(client) => lock(&shared.clients).add(client),
        Err(error) => return error.response(),
    };
    web::json(StatusCode::CREATED, &described(&client))
}

fn metadata(headers: &HeaderMap, body: &Bytes) -> Result<Map<String, Value>, OauthError> {
    let refuse = |why| OauthError::new(Code::InvalidClientMetadata, why);
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(refuse("the body must be application/json"));
    }
    serde_json::from_slice(body).map_err(|_| refuse("the body must be a JSON object"))
}

/// A client as it asks to be, within what is offered here (RFC 7591 2 and 3.2.1): ids are ours, unknown grant and
/// response types are left out, and the answer says what was taken.
fn read(metadata: &Map<String, Value>, now: Timestamp) -> Result<Client, OauthError> {
    let redirect_uris = client::redirects(metadata.get("redirect_uris"))?;
    response_types(metadata.get("response_types"))?;
    Ok(Client {
        id: format!("dcr-{}", random_text()?),
        name: client::name(metadata.get("client_name"))?,
        kind: client::kind(metadata.get("application_type"), &redirect_uris)?,
        redirect_uris,
        authentication: authentication(metadata.get("token_endpoint_auth_method"))?,
        grants: grants(metadata.get("grant_types"))?,
        registered: now,
    })
}

/// The methods of `token_endpoint_auth_method`; RFC 7591 2 makes Basic the default.
fn authentication(value: Option<&Value>) -> Result<Authentication, OauthError> {
    let secret = || Ok::<_, Unspecified>(Secret::new(random_text()?));
    match value.map(Value::as_str) {
        None | Some(Some("client_secret_basic")) => Ok(Authentication::Basic(secret()?)),
        Some(Some("client_secret_post")) => Ok(Authentication::Post(secret()?)),
        Some(Some("none")) => Ok(Authentication::None),
        Some(_) => Err(OauthError::new(Code::InvalidClientMetadata, "token_endpoint_auth_method is not supported")),
    }
}

pub(super) fn grants(value: Option<&Value>) -> Result<Vec<Grant>, OauthError> {
    let refuse = |why| OauthError::new(Code::InvalidClientMetadata, why);
    let Some(value) = value else { return Ok(vec![Grant::AuthorizationCode]) };
    let wanted = value.as_array().ok_or(refuse("grant_types must be a list"))?;
    if !wanted.iter().all(Value::is_string) {
        return Err(refuse("grant_types must hold strings"));
    }
    let offered = [Grant::AuthorizationCode, Grant::RefreshToken];
    let taken: Vec<_> = offered.into_iter().filter(|grant| wanted.contains(&json!(grant.as_str()))).collect();
    if taken.contains(&Grant::AuthorizationCode) {
        Ok(taken)
    } else {
        Err(refuse("grant_types must include authorization_code"))
    }
}

pub(super) fn response_types(value: Option<&Value>) -> Result<(), OauthError> {
    let refuse = OauthError::new(Code::InvalidClientMetadata, "response_types must include code");
    match value {
        None => Ok(()),
        Some(Value::Array(types)) if types.contains(&json!("code")) => Ok(()),
        Some(_) => Err(refuse),
    }
}

/// RFC 7591 3.2.1: everything registered, and the secret this once.
fn described(client: &Client) -> Value {
    let (method, secret) = match &client.authentication {
        Authentication::Basic(secret) => ("client_secret_basic", Some(secret)),
        Authentication::None => ("none", None),
        Authentication::Post(secret) => ("client_secret_post", Some(secret)),
    };
    let scopes: Vec<&str> = SCOPES.iter().map(|(name, _)| *name).collect();
    let mut answer = json!({
        "client_id": client.id,
        "client_id_issued_at": client.registered.unix_seconds(),
        "client_name": client.name,
        "application_type": match client.kind { Kind::Native => "native", Kind::Web => "web" },
        "redirect_uris": client.redirect_uris,
        "grant_types": client.grants.iter().map(|grant| grant.as_str()).collect::<Vec<_>>(),
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "scope": scopes.join(" "),
    });
    if let Some(secret) = secret {
        answer["client_secret"] = json!(secret.expose());
        answer["client_secret_expires_at"] = json!(0);
    }
    answer
}
