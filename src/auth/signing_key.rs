//! A private key of the proxy's own, and the public key its signatures are verified with.

use std::path::Path;

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use serde_json::Value;

use super::{StartError, private_key};

/// Signs JWTs with one explicit type (RFC 8725 section 3.11), so that they cannot be used as access tokens.
pub(crate) struct SigningKey {
    key: EncodingKey,
    head: Header,
    jwk: Value,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("jwk", &self.jwk).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a PEM private key; `kid` is its thumbprint (RFC 7638). Errs if it cannot be read or used.
    pub(crate) fn read(file: &Path, typ: &str) -> Result<Self, StartError> {
        let (key, algorithm) = private_key(file)?;
        let unusable = |_| StartError::KeyFile { path: file.to_owned() };
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).map_err(unusable)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
        jwk.common.key_id = Some(kid.clone());
        let mut jwk = serde_json::to_value(jwk).unwrap_or_default();
        jwk["use"] = "sig".into();
        let mut head = Header::new(algorithm);
        (head.kid, head.typ) = (Some(kid), Some(typ.to_owned()));
        Ok(Self { key, head, jwk })
    }

    /// The public key (RFC 7517).
    pub(crate) const fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// A signed JWT with these claims, in compact form; `None` if they cannot be serialised.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        jsonwebtoken::encode(&self.head, claims, &self.key).ok()
    }
}
