//! Keys of checkpoints: signed lines of the log, which prove every line before them.

use std::fmt;
use std::path::Path;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use thiserror::Error;
use zeroize::Zeroizing;

/// What precedes the key itself in the DER of an Ed25519 public key (RFC 8410 section 4).
const SPKI_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// Why a key cannot be used.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Unread(#[from] std::io::Error),
    /// It has no private key, or one for something else.
    #[error("it has no Ed25519 private key in PEM (PKCS #8)")]
    Private,
    /// It has no public key, or one for something else.
    #[error("it has no Ed25519 public key in PEM")]
    Public,
}

/// The private key that signs checkpoints (Ed25519, RFC 8032).
pub(crate) struct CheckpointKey {
    key: Ed25519KeyPair,
    kid: String,
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl CheckpointKey {
    /// Reads a PEM file with a private key (PKCS #8).
    pub(crate) fn read(file: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&Zeroizing::new(std::fs::read(file)?))
    }

    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Private)?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|_| KeyError::Private)?;
        let kid = thumbprint(key.public_key().as_ref());
        Ok(Self { key, kid })
    }

    /// The JWK thumbprint of the public key (RFC 7638, RFC 8037 section 2).
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.key.sign(bytes).as_ref());
        signature
    }
}

/// A public key that checkpoints are verified with.
#[derive(Debug)]
pub(crate) struct PublicKey {
    raw: [u8; 32],
    kid: String,
}

impl PublicKey {
    /// Reads a PEM file with a public key (RFC 8410), as `openssl pkey -pubout` writes it.
    pub(crate) fn read(file: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&std::fs::read(file)?)
    }

    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::Public)?;
        let raw = der.strip_prefix(SPKI_PREFIX).and_then(|raw| raw.try_into().ok()).ok_or(KeyError::Public)?;
        Ok(Self { raw, kid: thumbprint(&raw) })
    }

    /// The JWK thumbprint of the key (RFC 7638, RFC 8037 section 2).
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn verifies(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.raw).verify(bytes, signature).is_ok()
    }
}

fn thumbprint(raw: &[u8]) -> String {
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, BASE64URL_NOPAD.encode(raw));
    BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, jwk.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::{CheckpointKey, KeyError, PublicKey, thumbprint};
    use crate::audit::tests::keys::{PRIVATE, PUBLIC, key, public};

    #[test]
    fn the_key_id_is_that_of_rfc_8037() {
        assert_eq!(key().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(public().kid(), key().kid());
        assert_eq!(thumbprint(&public().raw), key().kid());
        assert_eq!(format!("{:?}", key()), format!("CheckpointKey {{ kid: {:?}, .. }}", key().kid()));
    }

    #[test]
    fn another_kind_of_key_is_refused() {
        assert!(matches!(PublicKey::from_pem(PRIVATE.as_bytes()), Err(KeyError::Public)));
        assert!(matches!(CheckpointKey::from_pem(PUBLIC.as_bytes()), Err(KeyError::Private)));
        // P-256, by openssl.
        let other = "-----BEGIN PUBLIC KEY-----\n\
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfoG6cBFm7Cq3ZxNdXSNRiQDzHVJk\n\
            2QRAxQlyNcvfMzYu5MtJKD6mDA9SXXkjbwlG6SUHWmyDlJCgzpGRVdFXzw==\n-----END PUBLIC KEY-----\n";
        assert!(matches!(PublicKey::from_pem(other.as_bytes()), Err(KeyError::Public)));
        for nothing in ["", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"] {
            assert!(matches!(PublicKey::from_pem(nothing.as_bytes()), Err(KeyError::Public)), "{nothing}");
            assert!(matches!(CheckpointKey::from_pem(nothing.as_bytes()), Err(KeyError::Private)), "{nothing}");
        }
    }
}
