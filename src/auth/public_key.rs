//! Public keys, ready to verify with: parsed once, when a key set is loaded or a proof brings one, not for every token.

use std::sync::OnceLock;

use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};

use super::keys::Algorithm;
use super::strength::{self, Curve, Weak};

/// A public key that is strong enough.
pub(super) enum PublicKey {
    /// Elliptic curve, with one algorithm.
    Curve(ParsedPublicKey),
    /// RSA, with six algorithms.
    Rsa(Box<Rsa>),
}

/// Modulus and exponent, and the parsed key for each algorithm used so far.
pub(super) struct Rsa {
    components: RsaPublicKeyComponents<Box<[u8]>>,
    parsed: [OnceLock<ParsedPublicKey>; 6],
}

impl PublicKey {
    /// The key with that uncompressed point. Errs if it is weak.
    pub(super) fn ec(curve: Curve, point: &[u8]) -> Result<Self, Weak> {
        strength::ec(curve, point).map(Self::Curve)
    }

    /// The key with those 32 bytes. Errs if it is weak.
    pub(super) fn ed25519(x: &[u8]) -> Result<Self, Weak> {
        strength::ed25519(x)?;
        ParsedPublicKey::new(&ED25519, x).map(Self::Curve).map_err(|_| Weak::Length)
    }

    /// The key with that modulus and exponent. Errs if it is weak.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, Weak> {
        strength::rsa(n, e)?;
        let components = RsaPublicKeyComponents { n: n.into(), e: e.into() };
        Ok(Self::Rsa(Box::new(Rsa { components, parsed: [const { OnceLock::new() }; 6] })))
    }

    /// Whether the key made `signature` over `message`; `alg` must fit the key.
    pub(super) fn verifies(&self, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Curve(key) => key.verify_sig(message, signature).is_ok(),
            Self::Rsa(key) => key.of(alg).is_some_and(|key| key.verify_sig(message, signature).is_ok()),
        }
    }
}

impl Rsa {
    /// The parsed key for an RSA algorithm.
    fn of(&self, alg: Algorithm) -> Option<&ParsedPublicKey> {
        let (place, parameters) = of_rsa(alg)?;
        let parsed = &self.parsed[place];
        if parsed.get().is_none() {
            let _ = parsed.set(self.components.to_parsed_public_key(parameters).ok()?);
        }
        parsed.get()
    }
}

/// The index and parameters of an RSA algorithm (RFC 7518 sections 3.3 and 3.5).
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
