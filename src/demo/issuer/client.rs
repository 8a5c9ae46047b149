//! Clients, and the rules for where their users may be sent back to.

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use url::Url;

use super::error::{Code, OauthError};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// The confidential client that may use `client_credentials`.
pub(super) const SERVICE: &str = "crm-nightly-job";
/// A public client for people who would rather not register: any loopback port, path `/callback`.
pub(super) const PUBLIC: &str = "portcullis-demo";
/// More clients than this push out the oldest registered ones.
const MOST_CLIENTS: usize = 1_000;
const NEVER_OUSTED: Timestamp = Timestamp::from_unix_seconds(i64::MAX);
const MOST_REDIRECTS: usize = 10;
const LONGEST_REDIRECT_BYTES: usize = 2_048;

/// A party that asks for tokens.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) redirect_uris: Vec<String>,
    pub(super) authentication: Authentication,
    pub(super) grants: Vec<Grant>,
    pub(super) registered: Timestamp,
}

/// RFC 7591 / OIDC `application_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs on the user's machine and takes whatever loopback port is free (RFC 8252 7.3).
    Native,
    Web,
}

/// How the client proves who it is at `/token`.
#[derive(Debug)]
pub(super) enum Authentication {
    Basic(Secret<String>),
    None,
    Post(Secret<String>),
}

/// What a client may ask `/token` for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    AuthorizationCode,
    ClientCredentials,
    RefreshToken,
}

impl Grant {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
        }
    }
}

impl Client {
    /// Whether a user may be sent to `uri`: byte for byte one that was registered, but for the port of a native
    /// client's loopback address (OAuth 2.1 2.3.1, RFC 8252 7.3).
    pub(super) fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| registered == uri || (self.kind == Kind::Native && same_but_port(registered, uri)))
    }

    pub(super) fn may(&self, grant: Grant) -> bool {
        self.grants.contains(&grant)
    }
}

fn same_but_port(registered: &str, uri: &str) -> bool {
    let parts = |text: &str| {
        let url = check_redirect(text).ok()?;
        is_loopback(&url)
            .then(|| (url.host_str().map(str::to_owned), url.path().to_owned(), url.query().map(str::to_owned)))
    };
    parts(registered).is_some_and(|registered| parts(uri) == Some(registered))
}

/// What a redirect URI must be (RFC 6749 3.1.2, OAuth 2.1 2.3.1, MCP authorization: `https` or loopback).
pub(super) fn check_redirect(uri: &str) -> Result<Url, OauthError> {
    let refuse = |why| OauthError::new(Code::InvalidRedirectUri, why);
    if uri.len() > LONGEST_REDIRECT_BYTES {
        return Err(refuse("a redirect URI is too long"));
    }
    if uri.bytes().any(|byte| !(0x21..=0x7e).contains(&byte)) {
        return Err(refuse("a redirect URI has characters that are not printable ASCII"));
    }
    let url = Url::parse(uri).map_err(|_| refuse("a redirect URI is not an absolute URL"))?;
    let plain = url.username().is_empty() && url.password().is_none() && !uri.contains(['\\', '*']);
    if !plain {
        return Err(refuse("a redirect URI has user information, a wildcard or a backslash"));
    }
    if url.fragment().is_some() {
        return Err(refuse("a redirect URI has a fragment"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(refuse("a redirect URI must be https, or http on a loopback address")),
    }
}

/// Whether `url` is plain HTTP on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http" && matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// The list in `redirect_uris`, each checked.
pub(super) fn redirects(value: Option<&serde_json::Value>) -> Result<Vec<String>, OauthError> {
    let refuse = |why| OauthError::new(Code::InvalidRedirectUri, why);
    let list = value.and_then(serde_json::Value::as_array).filter(|list| !list.is_empty());
    let list = list.ok_or(refuse("redirect_uris must be a list with at least one entry"))?;
    if list.len() > MOST_REDIRECTS {
        return Err(refuse("redirect_uris has more than ten entries"));
    }
    list.iter()
        .map(|uri| {
            let uri = uri.as_str().ok_or(refuse("redirect_uris must hold strings"))?;
            check_redirect(uri).map(|_| uri.to_owned())
        })
        .collect()
}

/// `application_type`, guessed from the addresses when the client does not say.
pub(super) fn kind(value: Option<&serde_json::Value>, redirects: &[String]) -> Result<Kind, OauthError> {
    match value.map(serde_json::Value::as_str) {
        None => {
            let all_loopback = redirects.iter().all(|uri| Url::parse(uri).is_ok_and(|url| is_loopback(&url)));
            Ok(if all_loopback { Kind::Native } else { Kind::Web })
        }
        Some(Some("native")) => Ok(Kind::Native),
        Some(Some("web")) => Ok(Kind::Web),
        Some(_) => Err(OauthError::new(Code::InvalidClientMetadata, "application_type must be native or web")),
    }
}

/// A name fit for the login page: attacker's text, so short and printable.
pub(super) fn name(value: Option<&serde_json::Value>) -> Result<String, OauthError> {
    let refuse = |why| OauthError::new(Code::InvalidClientMetadata, why);
    let name = match value {
        None => return Ok("A client without a name".to_owned()),
        Some(value) => value.as_str().ok_or(refuse("client_name must be a string"))?.trim(),
    };
    if name.is_empty() || name.chars().count() > 100 {
        return Err(refuse("client_name must have 1 to 100 characters"));
    }
    if name.chars().any(|one| one.is_control() || is_invisible(one)) {
        return Err(refuse("client_name has control or invisible characters"));
    }
    Ok(name.to_owned())
}

/// Characters that reorder or hide what stands beside them.
fn is_invisible(one: char) -> bool {
    matches!(one, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// All clients by id.
#[derive(Debug)]
pub(super) struct Clients(BTreeMap<String, Arc<Client>>);

impl Clients {
    /// Those every run has.
    pub(super) fn preregistered(service_secret: &str) -> Self {
        let service = Client {
            id: SERVICE.to_owned(),
            name: "CRM nightly job".to_owned(),
            kind: Kind::Web,
            redirect_uris: Vec::new(),
            authentication: Authentication::Basic(Secret::new(service_secret.to_owned())),
            grants: vec![Grant::ClientCredentials],
            registered: NEVER_OUSTED,
        };
        let public = Client {
            id: PUBLIC.to_owned(),
            name: "Portcullis demo client".to_owned(),
            kind: Kind::Native,
            redirect_uris: ["http://127.0.0.1/callback", "http://localhost/callback"].map(str::to_owned).to_vec(),
            authentication: Authentication::None,
            grants: vec![Grant::AuthorizationCode, Grant::RefreshToken],
            registered: NEVER_OUSTED,
        };
        Self([service, public].map(|client| (client.id.clone(), Arc::new(client))).into())
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Client>> {
        self.0.get(id).cloned()
    }

    /// Adds or replaces a client; the oldest registered one makes room.
    pub(super) fn add(&mut self, client: Client) -> Arc<Client> {
        if self.0.len() >= MOST_CLIENTS {
            let oldest = self.0.values().min_by_key(|client| client.registered).map(|client| client.id.clone());
            oldest.and_then(|id| self.0.remove(&id));
        }
        let client = Arc::new(client);
        self.0.insert(client.id.clone(), client.clone());
        client
    }
}

/// Compares in constant time.
pub(super) fn same_secret(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
