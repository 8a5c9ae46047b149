//! Keys of the test's own.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// Something that signs tokens.
pub(crate) enum Signer {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

pub(super) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

impl Signer {
    pub(crate) fn ed25519() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(super) fn p256() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                json!({ "kty": "EC", "crv": "P-256", "x": encoded(&point[..32]), "y": encoded(&point[32..]), "kid": kid })
            }
            Self::Ed(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key()), "kid": kid }),
            Self::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({ "kty": "RSA", "n": encoded(n.big_endian_without_leading_zero()),
                    "e": encoded(e.big_endian_without_leading_zero()), "kid": kid })
            }
        }
    }

    /// With the algorithm the header names, where the key knows it.
    pub(super) fn raw(&self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let (message, random) = (signed.as_bytes(), SystemRandom::new());
        let signature = match self {
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key) => {
                let is_pss = header.windows(5).any(|part| part == b"PS256");
                let mut signature = vec![0; key.public_modulus_len()];
                if is_pss {
                    key.sign(&RSA_PSS_SHA256, &random, message, &mut signature).unwrap();
                } else {
                    key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                }
                signature
            }
        };
        format!("{signed}.{}", encoded(signature))
    }

    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }
}
