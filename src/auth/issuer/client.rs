//! The proxy's own client authentication at an authorization server.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::Identity;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::json;
use zeroize::Zeroizing;

use super::StartError;
use crate::auth::keys::Algorithm;
use crate::clock::Timestamp;
use crate::config::{self, ClientAuthMethod};
use crate::secret::Secret;

/// The lifetime of a client assertion (RFC 7523 section 3).
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);

/// The proxy's client authentication at an authorization server (RFC 6749 section 2.3.1, RFC 7523 section 2.2).
pub(in crate::auth) enum ClientAuth {
    Basic(Secret<String>),
    PrivateKeyJwt {
        key: EncodingKey,
        algorithm: Algorithm,
        key_id: Option<String>,
        audience: String,
    },
    Post(Secret<String>),
    /// Mutual TLS (RFC 8705 section 2): the connection has the certificate, and the form only the client id.
    Tls,
}

/// The proxy as a client of an authorization server.
pub(in crate::auth) struct OAuthClient {
    pub(in crate::auth) id: String,
    pub(in crate::auth) auth: ClientAuth,
}

impl std::fmt::Debug for OAuthClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthClient").field("id", &self.id).finish_non_exhaustive()
    }
}

impl OAuthClient {
    /// Reads the secret or key of `config`; `audience` is that of assertions. Errs if it cannot be read.
    pub(super) fn new(config: &config::OAuthClient, audience: &str) -> Result<Self, StartError> {
        let auth = match &config.auth {
            ClientAuthMethod::Basic(secret) => ClientAuth::Basic(secret.resolve()?),
            ClientAuthMethod::Post(secret) => ClientAuth::Post(secret.resolve()?),
            ClientAuthMethod::Tls(_) => ClientAuth::Tls,
            ClientAuthMethod::PrivateKeyJwt { file, key_id } => {
                let (key, algorithm) = private_key(file)?;
                ClientAuth::PrivateKeyJwt { key, algorithm, key_id: key_id.clone(), audience: audience.to_owned() }
            }
        };
        Ok(Self { id: config.id.clone(), auth })
    }

    /// Adds the proxy's credential to the form or to the headers.
    pub(in crate::auth) fn sign(
        &self,
        form: &mut url::form_urlencoded::Serializer<'_, String>,
        headers: &mut HeaderMap,
        now: Timestamp,
    ) -> Result<(), &'static str> {
        const UNUSABLE: &str = "the proxy's own credential cannot be written";
        match &self.auth {
            ClientAuth::Basic(secret) => {
                // Both are form-encoded before they are joined (RFC 6749 section 2.3.1).
                let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Secret::new(format!("{}:{}", encoded(&self.id), encoded(secret.expose())));
                let value = format!("Basic {}", BASE64.encode(pair.expose().as_bytes()));
                let mut value = HeaderValue::try_from(value).map_err(|_| UNUSABLE)?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            ClientAuth::Tls => {
                form.append_pair("client_id", &self.id);
            }
            ClientAuth::Post(secret) => {
                form.append_pair("client_id", &self.id).append_pair("client_secret", secret.expose());
            }
            ClientAuth::PrivateKeyJwt { key, algorithm, key_id, audience } => {
                let mut header = Header::new(algorithm.jose());
                header.kid.clone_from(key_id);
                let claims = json!({
                    "iss": self.id, "sub": self.id, "aud": audience, "jti": uuid::Uuid::new_v4().to_string(),
                    "iat": now.unix_seconds(), "exp": now.plus(ASSERTION_LIFETIME).unix_seconds(),
                });
                let assertion = jsonwebtoken::encode(&header, &claims, key).map_err(|_| UNUSABLE)?;
                form.append_pair("client_id", &self.id)
                    .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .append_pair("client_assertion", &assertion);
            }
        }
        Ok(())
    }
}

/// The same, for signing anything else.
pub(crate) fn signing_key(file: &Path) -> Result<(EncodingKey, jsonwebtoken::Algorithm), StartError> {
    private_key(file).map(|(key, algorithm)| (key, algorithm.jose()))
}

/// A PEM private key and the algorithm it signs with.
fn private_key(file: &Path) -> Result<(EncodingKey, Algorithm), StartError> {
    let pem = std::fs::read(file).map_err(|source| StartError::KeyFileUnread { path: file.to_owned(), source })?;
    let kinds = [
        (EncodingKey::from_ec_pem(&pem), Algorithm::Es256),
        (EncodingKey::from_ed_pem(&pem), Algorithm::EdDsa),
        (EncodingKey::from_rsa_pem(&pem), Algorithm::Rs256),
    ];
    let usable = kinds.into_iter().find_map(|(key, algorithm)| {
        let key = key.ok()?;
        // A test signature, so that a key with another curve is noticed now.
        jsonwebtoken::encode(&Header::new(algorithm.jose()), &json!({}), &key).ok()?;
        Some((key, algorithm))
    });
    usable.ok_or_else(|| StartError::KeyFile { path: file.to_owned() })
}

/// A client certificate and its key, in PEM.
pub(crate) fn certificate(files: &config::KeyPair) -> Result<Zeroizing<Vec<u8>>, StartError> {
    let mut pem = Zeroizing::new(Vec::new());
    for path in [&files.cert_file, &files.key_file] {
        let read = std::fs::read(path).map_err(|source| StartError::KeyFileUnread { path: path.clone(), source })?;
        pem.extend_from_slice(&Zeroizing::new(read));
        pem.push(b'\n');
    }
    Ok(pem)
}

/// The same for the HTTP client; `None` for other client authentication methods.
pub(super) fn identity(auth: &ClientAuthMethod) -> Result<Option<Identity>, StartError> {
    let ClientAuthMethod::Tls(files) = auth else { return Ok(None) };
    let unusable = |_| StartError::KeyPair { path: files.cert_file.clone() };
    Identity::from_pem(&certificate(files)?).map(Some).map_err(unusable)
}

/// A digest of the current secret or key of a client authentication method; empty if it cannot be read.
pub(crate) fn secrets(auth: &ClientAuthMethod) -> Vec<u8> {
    let bytes = match auth {
        ClientAuthMethod::Basic(secret) | ClientAuthMethod::Post(secret) => {
            secret.resolve().map(|secret| digest(&SHA256, secret.expose().as_bytes())).ok()
        }
        ClientAuthMethod::PrivateKeyJwt { file, .. } => std::fs::read(file).map(|bytes| digest(&SHA256, &bytes)).ok(),
        ClientAuthMethod::Tls(files) => certificate(files).map(|pem| digest(&SHA256, &pem)).ok(),
    };
    bytes.map(|digest| digest.as_ref().to_vec()).unwrap_or_default()
}
