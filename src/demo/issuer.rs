//! The demo's authorization server, on loopback only: code flow with PKCE, dynamic registration, refresh tokens, client
//! credentials, and a login page with two fictitious users.

mod authorize;
mod client;
mod document;
mod error;
mod form;
mod grants;
mod keys;
mod metadata;
mod mint;
mod page;
mod register;
mod token;
mod users;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use self::client::Clients;
use self::grants::Grants;
use self::keys::Keys;
pub use self::keys::Retired;
pub use self::mint::MintError;
pub use self::users::{SCOPES, USERS, User};
use crate::clock::Timestamp;
use crate::demo::web::{self, Body, Fault, Faults};
use crate::demo::{lock, random_text};
use crate::secret::Secret;

/// The largest body any endpoint reads.
const BODY_LIMIT_BYTES: usize = 16 * 1024;

/// What an issuer is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Identifiers tokens may be issued for (RFC 8707). The first is the default; with none, any absolute URL is taken
    /// and every request must name one.
    pub resources: Vec<String>,
    /// How the user logs in.
    pub login: Login,
    /// Whether a client may be a document at the URL that is its id.
    pub client_documents: ClientDocuments,
    /// Lifetime of access tokens.
    pub token_lifetime: Duration,
    /// Lifetime of authorization codes.
    pub code_lifetime: Duration,
    /// `max-age` of the key set.
    pub keys_max_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resources: Vec::new(),
            login: Login::Page,
            client_documents: ClientDocuments::Refused,
            token_lifetime: Duration::from_hours(1),
            code_lifetime: Duration::from_mins(1),
            keys_max_age: Duration::from_mins(5),
        }
    }
}

/// How `/authorize` learns who the user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// `login_hint` names the user, without a page; for tests.
    Hint,
    /// The user picks on a page.
    Page,
}

/// Whether Client ID Metadata Documents are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientDocuments {
    /// `https` and loopback `http` client ids are fetched.
    Fetched,
    /// They are refused as unknown clients.
    Refused,
}

/// A running issuer. It ends with the runtime it was started on.
#[derive(Clone, Debug)]
pub struct Issuer(Arc<Shared>);

/// The state shared by all requests to one issuer.
#[derive(Debug)]
struct Shared {
    url: String,
    settings: Settings,
    keys: Mutex<Keys>,
    clients: Mutex<Clients>,
    grants: Mutex<Grants>,
    mint_secret: Secret<String>,
    service_secret: Secret<String>,
    key_fetches: AtomicU64,
    faults: Faults,
}

/// An issuer that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No key or secret could be made.
    #[error("cannot make the issuer's keys")]
    Keys(#[from] aws_lc_rs::error::Unspecified),
    /// The listener has no address.
    #[error("cannot read the issuer's address")]
    Listener(#[from] io::Error),
}

impl Issuer {
    /// Starts answering `listener` on the current runtime, with keys and secrets of this run.
    pub fn start(listener: TcpListener, settings: Settings) -> Result<Self, StartError> {
        let service_secret = random_text()?;
        let shared = Arc::new(Shared {
            url: format!("http://{}", listener.local_addr()?),
            settings,
            keys: Mutex::new(Keys::generate()?),
            clients: Mutex::new(Clients::preregistered(&service_secret)),
            grants: Mutex::new(Grants::default()),
            mint_secret: Secret::new(random_text()?),
            service_secret: Secret::new(service_secret),
            key_fetches: AtomicU64::new(0),
            faults: Faults::new(),
        });
        let answering = shared.clone();
        web::serve(listener, shared.faults.clone(), move |request: Request<Incoming>| {
            // Counted before any fault, so that tests can count tries while the issuer is away.
            if request.uri().path() == "/jwks" {
                answering.key_fetches.fetch_add(1, Ordering::Relaxed);
            }
            answer(answering.clone(), request)
        });
        Ok(Self(shared))
    }

    /// The issuer identifier, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The secret `POST /mint` asks for.
    pub fn mint_secret(&self) -> &Secret<String> {
        &self.0.mint_secret
    }

    /// Id and secret of the confidential client that may use `client_credentials`.
    pub fn service_client(&self) -> (&'static str, &Secret<String>) {
        (client::SERVICE, &self.0.service_secret)
    }

    /// An access token for one of [`USERS`]; no scopes means all the user holds without being asked.
    pub fn mint(&self, user: &str, scopes: &[&str], audiences: &[&str]) -> Result<String, MintError> {
        mint::for_user(&self.0, user, scopes, audiences, Timestamp::now())
    }

    /// Exactly these claims, signed as an access token.
    pub fn mint_claims(&self, claims: &serde_json::Map<String, serde_json::Value>) -> Result<String, MintError> {
        Ok(lock(&self.0.keys).sign("at+jwt", claims)?)
    }

    /// Exactly these claims, signed with the header `typ` given.
    pub fn mint_typed(
        &self,
        token_type: &str,
        claims: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, MintError> {
        Ok(lock(&self.0.keys).sign(token_type, claims)?)
    }

    /// Signs with a new key from now on.
    pub fn rotate(&self, retired: Retired) -> Result<(), StartError> {
        Ok(lock(&self.0.keys).rotate(retired)?)
    }

    /// The id of the key that signs now.
    pub fn key_id(&self) -> String {
        lock(&self.0.keys).current_id().to_owned()
    }

    /// How often the key set was asked for, answered or not; not while [`Fault::Down`].
    pub fn key_fetches(&self) -> u64 {
        self.0.key_fetches.load(Ordering::Relaxed)
    }

    /// Switches a fault on, or off.
    pub fn set_fault(&self, fault: Fault) {
        self.0.faults.set(fault);
    }
}

impl Shared {
    /// The configured identifier that `resource` means, or `resource` itself when any is taken; the default without one.
    fn audience(&self, resource: Option<&str>) -> Option<String> {
        let known = &self.settings.resources;
        match resource {
            None => known.first().cloned(),
            Some(resource) if known.is_empty() => is_resource(resource).then(|| resource.to_owned()),
            Some(resource) => known.iter().find(|one| same_resource(one, resource)).cloned(),
        }
    }
}

/// RFC 8707 2: an absolute URL without fragment.
fn is_resource(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.has_host() && url.fragment().is_none())
}

/// Clients add or drop one slash at the end and spell scheme and host as they like.
fn same_resource(one: &str, other: &str) -> bool {
    let normal = |text: &str| {
        let url = url::Url::parse(text).ok().filter(|url| url.fragment().is_none())?;
        Some(url.as_str().strip_suffix('/').unwrap_or(url.as_str()).to_owned())
    };
    normal(one).is_some_and(|one| normal(other) == Some(one))
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let route = (head.uri.path().to_owned(), head.method.clone());
    let open = is_open(&route.0);
    // Pages of other origins may use the open endpoints, but only under our own name.
    let mut seen = head.headers.clone();
    if open {
        seen.remove(header::ORIGIN);
    }
    if !web::is_local(&seen) {
        return web::empty(StatusCode::MISDIRECTED_REQUEST);
    }
    let Some(body) = web::read(body, BODY_LIMIT_BYTES).await else {
        return web::empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let mut response = dispatch(&shared, &route.1, &route.0, head.uri.query(), &head.headers, &body).await;
    let headers = response.headers_mut();
    if open {
        cross_origin(headers);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn dispatch(
    shared: &Arc<Shared>,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response<Body> {
    match (method.as_str(), path) {
        ("GET", "/.well-known/oauth-authorization-server") => metadata::oauth(shared),
        ("GET", "/.well-known/openid-configuration") => metadata::openid(shared),
        ("GET", "/jwks") => metadata::keys(shared),
        ("GET", "/authorize") => authorize::ask(shared, query.unwrap_or_default(), Timestamp::now()).await,
        ("POST", "/login") => authorize::decide(shared, headers, body, Timestamp::now()),
        ("POST", "/token") => token::answer(shared, headers, body, Timestamp::now()),
        ("POST", "/register") => register::answer(shared, headers, body, Timestamp::now()),
        ("POST", "/mint") => mint::answer(shared, headers, body, Timestamp::now()),
        ("GET", "/") => page::home(shared),
        ("OPTIONS", path) if is_open(path) => web::empty(StatusCode::NO_CONTENT),
        (_, "/authorize" | "/login" | "/mint" | "/") => web::empty(StatusCode::METHOD_NOT_ALLOWED),
        (_, path) if is_open(path) => web::empty(StatusCode::METHOD_NOT_ALLOWED),
        _ => web::empty(StatusCode::NOT_FOUND),
    }
}

/// Endpoints that browser clients call across origins; none of them uses cookies.
fn is_open(path: &str) -> bool {
    matches!(path, "/jwks" | "/token" | "/register") || path.starts_with("/.well-known/")
}

fn cross_origin(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    let allowed = HeaderValue::from_static("authorization, content-type, accept, mcp-protocol-version");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
}
