//! Public keys, ready to verify with: parsed once, when a key set is loaded or a proof brings one, not for every token.

use std::sync::OnceLock;

use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};

use super::keys::Algorithm;
use super::strength::{self, Curve, Weak};

/// The public part of a key that is worth trusting.
pub(super) enum PublicKey {
    /// Of a curve, which has one algorithm.
    Curve(ParsedPublicKey),
    /// Of RSA, which has six.
    Rsa(Box<Rsa>),
}

/// Modulus and exponent, and the key for each algorithm that was asked for.
pub(super) struct Rsa {
    components: RsaPublicKeyComponents<Box<[u8]>>,
    parsed: [OnceLock<ParsedPublicKey>; 6],
}

impl PublicKey {
    /// The key of that uncompressed point.
    pub(super) fn ec(curve: Curve, point: &[u8]) -> Result<Self, Weak> {
        strength::ec(curve, point).map(Self::Curve)
    }

    /// The key of those 32 bytes.
    pub(super) fn ed25519(x: &[u8]) -> Result<Self, Weak> {
        strength::ed25519(x)?;
        ParsedPublicKey::new(&ED25519, x).map(Self::Curve).map_err(|_| Weak::Length)
    }

    /// The key of that modulus and exponent.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, Weak> {
        strength::rsa(n, e)?;
        let components = RsaPublicKeyComponents { n: n.into(), e: e.into() };
        Ok(Self::Rsa(Box::new(Rsa { components, parsed: [const { OnceLock::new() }; 6] })))
    }

    /// Whether the key made `signature` over `message`; `alg` fits the key.
    pub(super) fn verifies(&self, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Curve(key) => key.verify_sig(message, signature).is_ok(),
            Self::Rsa(key) => key.of(alg).is_some_and(|key| key.verify_sig(message, signature).is_ok()),
        }
    }
}

impl Rsa {
    /// The key for that algorithm of RSA.
    fn of(&self, alg: Algorithm) -> Option<&ParsedPublicKey> {
        let (place, parameters) = of_rsa(alg)?;
        let parsed = &self.parsed[place];
        if parsed.get().is_none() {
            let _ = parsed.set(self.components.to_parsed_public_key(parameters).ok()?);
        }
        parsed.get()
    }
}

/// Each algorithm of RSA with its place (RFC 7518 sections 3.3 and 3.5).
fn of_rsa(alg: Algorithm) -> Option<(usize, &'static RsaParameters)> {
    Some(match alg {
        Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Es384 => return None,
        Algorithm::Ps256 => (0, &RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => (1, &RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => (2, &RSA_PSS_2048_8192_SHA512),
        Algorithm::Rs256 => (3, &RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => (4, &RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => (5, &RSA_PKCS1_2048_8192_SHA512),
    })
}
