//! `/authorize` and the form of the login page: from a request to a code (OAuth 2.1 section 4.1).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::client::{Client, Grant};
use super::error::{Code, OauthError};
use super::form::Form;
use super::grants::Asked;
use super::users::{self, User};
use super::{ClientDocuments, Login, Shared, document, page};
use crate::clock::Timestamp;
use crate::demo::lock;
use crate::demo::web::{self, Body};

/// A request that is refused before the login page.
enum Refusal {
    /// The client or redirect URI is unknown: the user is not redirected (OAuth 2.1 section 4.1.2.1).
    Here(OauthError),
    /// The error is returned to the client.
    There(Return, OauthError),
}

/// Where the browser goes back to.
struct Return {
    redirect_uri: String,
    state: Option<String>,
}

/// The login page, or in tests the code at once.
pub(super) async fn ask(shared: &Arc<Shared>, query: &str, now: Timestamp) -> Response<Body> {
    let form = Form::parse(query.as_bytes());
    let asked = match read(shared, &form, now).await {
        Ok(asked) => asked,
        Err(Refusal::Here(error)) => return page::error(StatusCode::BAD_REQUEST, error.description),
        Err(Refusal::There(back, error)) => return back.refuse(shared, &error),
    };
    if let (Login::Hint, Some(user)) = (shared.settings.login, form.value("login_hint").and_then(users::find)) {
        return allow(shared, asked, user, now);
    }
    let name = lock(&shared.grants).open_login(asked.clone(), now);
    match name {
        Ok(name) => page::login(shared, &asked, &name),
        Err(_) => page::error(StatusCode::INTERNAL_SERVER_ERROR, "no randomness could be had"),
    }
}

/// The user's choice on the page.
pub(super) fn decide(shared: &Shared, headers: &HeaderMap, body: &Bytes, now: Timestamp) -> Response<Body> {
    let same_site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
    if !(same_site && headers.get(header::ORIGIN).is_none_or(|origin| is_own(shared, origin))) {
        return page::error(StatusCode::FORBIDDEN, "this was not sent by the login page");
    }
    let form = match Form::posted(headers, body).and_then(|form| form.each_once().map(|()| form)) {
        Ok(form) => form,
        Err(error) => return page::error(StatusCode::BAD_REQUEST, error.description),
    };
    let asked = form.value("login").and_then(|name| lock(&shared.grants).close_login(name, now));
    let Some(asked) = asked else {
        return page::error(StatusCode::BAD_REQUEST, "this page has expired or was used: start again in your client");
    };
    match form.value("user").map(users::find) {
        Some(Some(user)) => allow(shared, asked, user, now),
        Some(None) => page::error(StatusCode::BAD_REQUEST, "nobody has that name"),
        None => {
            let back = Return { redirect_uri: asked.redirect_uri, state: asked.state };
            back.refuse(shared, &OauthError::new(Code::AccessDenied, "the user said no"))
        }
    }
}

/// Whether a page of this listener sent this, under whichever loopback name it was opened; other names do not get
/// this far.
fn is_own(shared: &Shared, origin: &HeaderValue) -> bool {
    let port = |text: &str| text.rsplit_once(':').map(|(_, port)| port.to_owned());
    origin.to_str().ok().and_then(port) == port(&shared.url)
}

async fn read(shared: &Arc<Shared>, form: &Form, now: Timestamp) -> Result<Asked, Refusal> {
    let here = |code, why| Refusal::Here(OauthError::new(code, why));
    if ["client_id", "redirect_uri"].iter().any(|name| form.is_repeated(name)) {
        return Err(here(Code::InvalidRequest, "client_id or redirect_uri was given twice"));
    }
    let id = form.value("client_id").ok_or_else(|| here(Code::InvalidRequest, "client_id is missing"))?;
    let client = client(shared, id, now).await.map_err(Refusal::Here)?;
    if !client.may(Grant::AuthorizationCode) {
        return Err(here(Code::UnauthorizedClient, "the client does not log users in"));
    }
    let redirect_uri = redirect(&client, form.value("redirect_uri"))
        .ok_or_else(|| here(Code::InvalidRequest, "redirect_uri is not one of the client's"))?;
    let back = Return { redirect_uri, state: form.value("state").map(str::to_owned) };
    match terms(shared, form) {
        Ok((challenge, scopes, audience)) => {
            let Return { redirect_uri, state } = back;
            Ok(Asked { client, redirect_uri, state, challenge, scopes, audience })
        }
        Err(error) => Err(Refusal::There(back, error)),
    }
}

/// The registered client of that id, or the one its document describes.
async fn client(shared: &Arc<Shared>, id: &str, now: Timestamp) -> Result<Arc<Client>, OauthError> {
    let fetched = shared.settings.client_documents == ClientDocuments::Fetched && document::is_document(id);
    if fetched {
        let client = document::fetch(id, now).await?;
        return Ok(lock(&shared.clients).add(client));
    }
    let unknown =
        OauthError::new(Code::InvalidClient, "the client is unknown: it may have registered in an earlier run");
    lock(&shared.clients).find(id).ok_or(unknown)
}

/// The address asked for if it is the client's; the only one it has when it asks for none.
fn redirect(client: &Client, asked: Option<&str>) -> Option<String> {
    match (asked, client.redirect_uris.as_slice()) {
        (Some(uri), _) => client.may_redirect_to(uri).then(|| uri.to_owned()),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// PKCE challenge, scopes and audience, in the order a client would want to hear about them.
fn terms(shared: &Shared, form: &Form) -> Result<(String, Vec<&'static str>, String), OauthError> {
    let invalid = |why| OauthError::new(Code::InvalidRequest, why);
    form.each_once()?;
    if form.value("request").is_some() || form.value("request_uri").is_some() {
        return Err(OauthError::new(Code::RequestNotSupported, "request objects are not supported"));
    }
    match form.value("response_type") {
        Some("code") => {}
        Some(_) => return Err(OauthError::new(Code::UnsupportedResponseType, "only response_type=code is supported")),
        None => return Err(invalid("response_type is missing")),
    }
    if form.value("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("only response_mode=query is supported"));
    }
    if form.value("prompt") == Some("none") {
        return Err(OauthError::new(Code::LoginRequired, "nobody stays logged in here"));
    }
    // RFC 7636 4.3: a missing method means `plain`, which is refused as well.
    if form.value("code_challenge_method") != Some("S256") {
        return Err(invalid("code_challenge_method must be S256"));
    }
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let challenge = form
        .value("code_challenge")
        .filter(|challenge| challenge.len() == 43 && challenge.bytes().all(is_base64url))
        .ok_or(invalid("code_challenge must be 43 base64url characters"))?;
    let scopes = users::known_scopes(form.value("scope"))?;
    let unknown = OauthError::new(Code::InvalidTarget, "resource is missing or not one of this demo");
    let audience = shared.audience(form.value("resource")).ok_or(unknown)?;
    Ok((challenge.to_owned(), scopes, audience))
}

fn allow(shared: &Shared, asked: Asked, user: &'static User, now: Timestamp) -> Response<Body> {
    let back = Return { redirect_uri: asked.redirect_uri.clone(), state: asked.state.clone() };
    let scopes = users::limit(&asked.scopes, user.grantable);
    if scopes.is_empty() {
        return back.refuse(shared, &OauthError::new(Code::InvalidScope, "the user holds none of the scopes"));
    }
    let expires = now.plus(shared.settings.code_lifetime);
    let code = lock(&shared.grants).issue_code(asked, user, scopes, expires);
    match code {
        Ok(code) => back.redirect(shared, &[("code", &code)]),
        Err(error) => back.refuse(shared, &error.into()),
    }
}

impl Return {
    fn refuse(&self, shared: &Shared, error: &OauthError) -> Response<Body> {
        self.redirect(shared, &[("error", error.code.as_str()), ("error_description", error.description)])
    }

    /// To the client with the answer, its `state`, and who answers (RFC 9207 2).
    fn redirect(&self, shared: &Shared, answer: &[(&str, &str)]) -> Response<Body> {
        let state = self.state.iter().map(|state| ("state", state.as_str()));
        let pairs = answer.iter().copied().chain(state).chain([("iss", shared.url.as_str())]);
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let separator = if self.redirect_uri.contains('?') { '&' } else { '?' };
        let Ok(location) = HeaderValue::try_from(format!("{}{separator}{query}", self.redirect_uri)) else {
            return page::error(StatusCode::BAD_REQUEST, "the client's address cannot be used");
        };
        let mut response = web::empty(StatusCode::SEE_OTHER);
        response.headers_mut().insert(header::LOCATION, location);
        response
    }
}
