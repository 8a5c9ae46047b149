//! How the proxy authenticates to an upstream. The caller's own token never gets this far.

use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, header};
use thiserror::Error;

use super::identity::Told;
use crate::config::{SecretSource, UpstreamAuth};
use crate::secret::Secret;

/// The header field that authenticates the proxy, ready to be copied into each request.
#[derive(Clone, Debug)]
pub struct Credential {
    field: Option<(HeaderName, HeaderValue)>,
    /// Headers about the caller, sent besides the credential.
    told: Option<Told>,
}

impl Credential {
    /// No credential.
    pub const NONE: Self = Self { field: None, told: None };

    /// Builds the header field for `auth`; `resolve` reads the secret that it names. [`Self::NONE`] for a token that is
    /// requested from an authorization server later.
    ///
    /// Errs if the secret cannot be read or cannot be sent in a header, or the header's name is reserved.
    pub fn new<E>(
        auth: &UpstreamAuth,
        resolve: impl FnOnce(&SecretSource) -> Result<Secret<String>, E>,
    ) -> Result<Self, CredentialError<E>> {
        let secret = |source: &SecretSource| resolve(source).map_err(CredentialError::Unavailable);
        let (name, value) = match auth {
            // A token from an authorization server is requested with the call, and may differ by caller.
            UpstreamAuth::Granted(_) | UpstreamAuth::None => return Ok(Self::NONE),
            UpstreamAuth::Basic { username, password } => (header::AUTHORIZATION, basic(username, &secret(password)?)),
            UpstreamAuth::Bearer(token) => (header::AUTHORIZATION, bearer(&secret(token)?)),
            UpstreamAuth::Header { name, value } => {
                if is_reserved(name) {
                    return Err(CredentialError::Reserved(name.clone()));
                }
                (name.clone(), Some(secret(value)?))
            }
        };
        let text = value.ok_or(CredentialError::Unusable)?;
        if text.expose().is_empty() {
            return Err(CredentialError::Unusable);
        }
        let mut value = HeaderValue::from_str(text.expose()).map_err(|_| CredentialError::Unusable)?;
        value.set_sensitive(true);
        Ok(Self { field: Some((name, value)), told: None })
    }

    /// `Authorization: Bearer` with a token that an authorization server issued; `None` if a header cannot carry it.
    pub(super) fn granted(token: &Secret<String>) -> Option<Self> {
        let mut value = HeaderValue::from_str(bearer(token)?.expose()).ok()?;
        value.set_sensitive(true);
        Some(Self { field: Some((header::AUTHORIZATION, value)), told: None })
    }

    /// The token of [`Self::granted`], for its revocation.
    pub(super) fn token(&self) -> Option<Secret<String>> {
        let (_, value) = self.field.as_ref()?;
        value.to_str().ok()?.strip_prefix("Bearer ").map(|token| Secret::new(token.to_owned()))
    }

    /// Whether there is no credential.
    pub const fn is_none(&self) -> bool {
        self.field.is_none()
    }

    /// Each header field; what is told of the caller takes the place of a credential of the same name.
    pub(super) fn each_field(&self, write: &mut impl FnMut(&HeaderName, &HeaderValue)) {
        let told = self.told.as_deref().unwrap_or_default();
        if let Some((name, value)) = &self.field
            && told.iter().all(|(other, _)| other != name)
        {
            write(name, value);
        }
        for (name, value) in told {
            write(name, value);
        }
    }

    /// This credential with `told`, the headers about one caller.
    pub(super) fn telling(&self, told: Told) -> Self {
        Self { field: self.field.clone(), told: Some(told) }
    }
}

/// `Bearer` and a token of visible ASCII characters; `None` for others. RFC 6750 section 2.1 allows fewer characters, but
/// not every API key keeps to it.
fn bearer(token: &Secret<String>) -> Option<Secret<String>> {
    let token = token.expose();
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| Secret::new(format!("Bearer {token}")))
}

/// The `Basic` credentials (RFC 7617 section 2); `None` if the name has a colon, or either has a control character.
fn basic(username: &str, password: &Secret<String>) -> Option<Secret<String>> {
    if username.contains(':') || username.chars().chain(password.expose().chars()).any(char::is_control) {
        return None;
    }
    let pair = Secret::new(format!("{username}:{}", password.expose()));
    let encoded = Secret::new(BASE64.encode(pair.expose().as_bytes()));
    Some(Secret::new(format!("Basic {}", encoded.expose())))
}

/// Whether the field frames the message or is set by the proxy.
fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [HeaderName; 11] = [
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    RESERVED.contains(name) || name.as_str().starts_with("mcp-") || name.as_str() == "last-event-id"
}

/// Why a credential cannot be built; the text never contains the secret.
#[derive(Debug, Error)]
pub enum CredentialError<E> {
    /// The header frames the message or is set by the proxy.
    #[error("`{0}` cannot carry a credential")]
    Reserved(HeaderName),
    /// The secret could not be read.
    #[error("the secret cannot be read")]
    Unavailable(#[source] E),
    /// The secret is empty or has characters that its header field must not contain.
    #[error("the secret is empty or does not fit into a header field")]
    Unusable,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderName, HeaderValue};

    use super::{Credential, CredentialError};
    use crate::config::{SecretSource, UpstreamAuth};
    use crate::secret::Secret;

    fn source() -> SecretSource {
        SecretSource::Env("UNUSED".to_owned())
    }

    fn build(auth: &UpstreamAuth, secret: &str) -> Result<Credential, CredentialError<Infallible>> {
        Credential::new(auth, |_| Ok(Secret::new(secret.to_owned())))
    }

    fn written(credential: &Credential) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = Vec::new();
        credential.each_field(&mut |name, value| fields.push((name.clone(), value.clone())));
        fields
    }

    #[test]
    fn writes_the_field_each_kind_asks_for() {
        let basic = UpstreamAuth::Basic { username: "Aladdin".to_owned(), password: source() };
        let header = UpstreamAuth::Header { name: HeaderName::from_static("x-api-key"), value: source() };
        for (auth, secret, name, expected) in [
            (&UpstreamAuth::Bearer(source()), "t0ken", "authorization", "Bearer t0ken"),
            // The example of RFC 7617 section 2.
            (&basic, "open sesame", "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            (&header, "a b", "x-api-key", "a b"),
        ] {
            let credential = build(auth, secret).unwrap();
            let fields = written(&credential);
            let [(written, value)] = &*fields else { panic!("{fields:?}") };
            assert_eq!((written.as_str(), value.as_bytes()), (name, expected.as_bytes()));
            assert!(value.is_sensitive());
            assert!(!format!("{credential:?}{fields:?}").contains(secret), "printed");
        }
        assert!(written(&build(&UpstreamAuth::None, "").unwrap()).is_empty());
    }

    #[test]
    fn what_is_told_of_the_caller_comes_with_it() {
        let told = [("x-user", "ana"), ("authorization", "other")];
        let told = told.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let credential = build(&UpstreamAuth::Bearer(source()), "t0ken").unwrap();
        assert_eq!(written(&credential.telling(told.clone().into())), told);
        let credential = Credential::NONE.telling(told.clone().into());
        assert_eq!(written(&credential), told);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let basic = |name: &str| UpstreamAuth::Basic { username: name.to_owned(), password: source() };
        let header = |name: &'static str| UpstreamAuth::Header { name: HeaderName::from_static(name), value: source() };
        for (auth, secret) in [
            (UpstreamAuth::Bearer(source()), ""),
            (UpstreamAuth::Bearer(source()), "two words"),
            (UpstreamAuth::Bearer(source()), "line\nbreak"),
            (basic("a:b"), "x"),
            (basic("a"), "x\u{7f}"),
            (header("x-api-key"), ""),
            (header("x-api-key"), "a\r\nx-evil: 1"),
        ] {
            assert!(matches!(build(&auth, secret), Err(CredentialError::Unusable)), "{auth:?}");
        }
        for name in ["host", "content-length", "transfer-encoding", "mcp-session-id", "mcp-param-x", "last-event-id"] {
            assert!(matches!(build(&header(name), "x"), Err(CredentialError::Reserved(_))), "{name}");
        }
    }

    #[test]
    fn says_that_a_secret_is_missing() {
        let error = Credential::new(&UpstreamAuth::Bearer(source()), |_| Err("gone")).unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable("gone")));
    }
}
