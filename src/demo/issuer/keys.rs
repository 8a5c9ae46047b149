//! ES256 keys of one run and what they sign.

use aws_lc_rs::digest;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

/// What becomes of the key that signed until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// It leaves the key set at once.
    Dropped,
    /// It stays in the key set.
    Kept,
}

/// The key set; the last key signs.
#[derive(Debug)]
pub(super) struct Keys {
    retired: Vec<Key>,
    current: Key,
}

/// One key pair.
#[derive(Debug)]
struct Key {
    pair: EcdsaKeyPair,
    x: String,
    y: String,
    id: String,
}

impl Keys {
    pub(super) fn generate() -> Result<Self, Unspecified> {
        Ok(Self { retired: Vec::new(), current: Key::generate()? })
    }

    pub(super) fn rotate(&mut self, retired: Retired) -> Result<(), Unspecified> {
        let old = std::mem::replace(&mut self.current, Key::generate()?);
        match retired {
            Retired::Dropped => self.retired.clear(),
            Retired::Kept => self.retired.push(old),
        }
        Ok(())
    }

    pub(super) fn current_id(&self) -> &str {
        &self.current.id
    }

    /// The public halves (RFC 7517 5).
    pub(super) fn public(&self) -> Value {
        let keys: Vec<Value> = self.retired.iter().chain([&self.current]).map(Key::public).collect();
        json!({ "keys": keys })
    }

    /// A compact JWS over `claims` (RFC 7515 7.1).
    pub(super) fn sign(&self, token_type: &str, claims: &Map<String, Value>) -> Result<String, Unspecified> {
        let header = json!({ "alg": "ES256", "typ": token_type, "kid": self.current.id });
        let encode = |text: String| BASE64URL_NOPAD.encode(text.as_bytes());
        let claims = serde_json::to_string(claims).map_err(|_| Unspecified)?;
        let mut token = format!("{}.{}", encode(header.to_string()), encode(claims));
        let signature = self.current.pair.sign(&SystemRandom::new(), token.as_bytes())?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(signature.as_ref(), &mut token);
        Ok(token)
    }
}

impl Key {
    fn generate() -> Result<Self, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        // SEC 1 2.3.3: 0x04, then both coordinates of 32 bytes.
        let point = pair.public_key().as_ref().strip_prefix(&[4]).ok_or(Unspecified)?;
        let (x, y) = point.split_at_checked(32).ok_or(Unspecified)?;
        let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
        // RFC 7638 3.2: required members in lexical order.
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let id = BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, thumbprint.as_bytes()).as_ref());
        Ok(Self { pair, x, y, id })
    }

    fn public(&self) -> Value {
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": self.x, "y": self.y })
    }
}
