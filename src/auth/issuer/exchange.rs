//! What the proxy asks of an issuer besides its keys: requests under the same rules, and the proxy's own credential there.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, StatusCode};
use serde_json::json;
use url::Url;

use super::StartError;
use super::reader::{self, Patience};
use crate::auth::keys::Algorithm;
use crate::clock::Timestamp;
use crate::config;
use crate::secret::Secret;

/// How long a client assertion is good for (RFC 7523 section 3; at most 5 minutes).
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);

/// An HTTP client for one issuer's endpoints, all of them written in `proxy.toml`.
#[derive(Clone, Debug)]
pub(in crate::auth) struct Exchange {
    client: Client,
    patience: Patience,
}

/// An answer of 200.
pub(in crate::auth) struct Answer {
    pub(in crate::auth) headers: HeaderMap,
    pub(in crate::auth) body: Bytes,
}

impl Exchange {
    pub(super) fn new(
        config: &config::Issuer,
        endpoints: &[&Url],
        ca: Option<&[u8]>,
        patience: Patience,
    ) -> Result<Self, StartError> {
        for url in endpoints {
            reader::transport(url, config.insecure_loopback)
                .map_err(|reason| StartError::Location { url: (*url).clone(), reason })?;
        }
        let hosts = endpoints.iter().filter_map(|url| url.host_str().map(str::to_owned)).collect();
        let plain = endpoints.iter().all(|url| url.scheme() == "http");
        Ok(Self { client: reader::client(hosts, ca, None, plain, patience)?, patience })
    }

    /// Posts a form; `None` accepts anything but says why not in a fixed word.
    pub(in crate::auth) async fn post_form(
        &self,
        url: &Url,
        form: String,
        headers: HeaderMap,
        limit: usize,
    ) -> Result<Answer, &'static str> {
        let request = self.client.post(url.clone()).headers(headers);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        self.send(request, limit).await
    }

    /// Posts JSON with a bearer token.
    pub(in crate::auth) async fn post_json(
        &self,
        url: &Url,
        token: Option<&Secret<String>>,
        body: Bytes,
        limit: usize,
    ) -> Result<Bytes, &'static str> {
        let mut request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/json");
        request = request.header(ACCEPT, "application/json").body(body);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        Ok(self.send(request, limit).await?.body)
    }

    async fn send(&self, request: reqwest::RequestBuilder, limit: usize) -> Result<Answer, &'static str> {
        let asked = async {
            let mut response = request
                .send()
                .await
                .map_err(|error| if error.is_timeout() { "no answer in time" } else { "cannot be reached" })?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err("the proxy's own credential is refused");
                }
                _ => return Err("another status than 200"),
            }
            if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
                return Err("a content coding nobody asked for");
            }
            let mut body = BytesMut::new();
            while let Some(chunk) = response.chunk().await.map_err(|_| "the answer broke off")? {
                if body.len() + chunk.len() > limit {
                    return Err("the answer is too long");
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { headers: std::mem::take(response.headers_mut()), body: body.freeze() })
        };
        tokio::time::timeout(self.patience.fetch, asked).await.unwrap_or(Err("no answer in time"))
    }
}

/// How the proxy shows itself to an authorization server (RFC 6749 section 2.3.1, RFC 7523 section 2.2).
pub(in crate::auth) enum ClientAuth {
    Basic(Secret<String>),
    PrivateKeyJwt { key: EncodingKey, algorithm: Algorithm, key_id: Option<String>, audience: String },
    Post(Secret<String>),
}

/// An identity at the authorization server.
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
    /// Reads secret or key of `config`; `audience` is what assertions are for.
    pub(super) fn new(config: &config::OAuthClient, audience: &str) -> Result<Self, StartError> {
        let auth = match &config.auth {
            config::ClientAuthMethod::Basic(secret) => ClientAuth::Basic(secret.resolve()?),
            config::ClientAuthMethod::Post(secret) => ClientAuth::Post(secret.resolve()?),
            config::ClientAuthMethod::PrivateKeyJwt { file, key_id } => {
                let (key, algorithm) = private_key(file)?;
                ClientAuth::PrivateKeyJwt { key, algorithm, key_id: key_id.clone(), audience: audience.to_owned() }
            }
        };
        Ok(Self { id: config.id.clone(), auth })
    }

    /// Adds the proxy's own credential to a form or to the headers.
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
                let mut value = reqwest::header::HeaderValue::try_from(value).map_err(|_| UNUSABLE)?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
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
        // A key of another curve is noticed now, not when it is needed.
        jsonwebtoken::encode(&Header::new(algorithm.jose()), &json!({}), &key).ok()?;
        Some((key, algorithm))
    });
    usable.ok_or_else(|| StartError::KeyFile { path: file.to_owned() })
}

/// A digest of the secrets and keys an issuer is asked with, as they are now; empty where they cannot be read.
pub(super) fn secrets(config: &config::Issuer) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA256, digest};
    let bytes = match config.introspection.as_ref().map(|asked| &asked.client.auth) {
        Some(config::ClientAuthMethod::Basic(secret) | config::ClientAuthMethod::Post(secret)) => {
            secret.resolve().map(|secret| digest(&SHA256, secret.expose().as_bytes())).ok()
        }
        Some(config::ClientAuthMethod::PrivateKeyJwt { file, .. }) => {
            std::fs::read(file).map(|bytes| digest(&SHA256, &bytes)).ok()
        }
        None => None,
    };
    bytes.map(|digest| digest.as_ref().to_vec()).unwrap_or_default()
}
