use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

use super::public_key::PublicKey;
use super::strength::{Curve, Weak};
use crate::json::{self, Document, Kind, Value};

/// The most bytes of a key set.
pub(super) const LIMIT_BYTES: usize = 256 * 1024;
/// The most keys of a key set.
const LIMIT_KEYS: usize = 100;
/// The longest `kid`, in bytes; it is only compared.
pub(super) const LIMIT_KID_BYTES: usize = 256;

/// A supported signature algorithm (RFC 7518 section 3.1, RFC 8037, RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    /// The algorithm with exactly that JOSE name; `EdDSA` and `Ed25519` are the same.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            _ => return None,
        })
    }

    /// The JOSE name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    /// The same for signing.
    pub(super) const fn jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Ps384 => jsonwebtoken::Algorithm::PS384,
            Self::Ps512 => jsonwebtoken::Algorithm::PS512,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Rs384 => jsonwebtoken::Algorithm::RS384,
            Self::Rs512 => jsonwebtoken::Algorithm::RS512,
        }
    }

    /// The type of key the algorithm requires.
    const fn family(self) -> Family {
        match self {
            Self::EdDsa => Family::Ed25519,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::Ps256 | Self::Ps384 | Self::Ps512 | Self::Rs256 | Self::Rs384 | Self::Rs512 => Family::Rsa,
        }
    }
}

/// `kty` and `crv` together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Ed25519,
    P256,
    P384,
    Rsa,
}

/// One public key of an issuer.
pub(super) struct Key {
    kid: Option<Box<str>>,
    family: Family,
    /// The only algorithm for this key, if the issuer gives one.
    alg: Option<Algorithm>,
    material: Vec<u8>,
    public: PublicKey,
}

impl Key {
    fn identity(&self) -> (&Option<Box<str>>, Family, Option<Algorithm>, &[u8]) {
        (&self.kid, self.family, self.alg, &self.material)
    }

    /// Parses a single key, such as that in a proof.
    pub(super) fn read(jwk: Value<'_>) -> Result<Self, Dropped> {
        key(jwk)
    }

    pub(super) fn fits(&self, alg: Algorithm) -> bool {
        self.family == alg.family() && self.alg.is_none_or(|only| only == alg)
    }

    /// Whether the key made `signature` over `message` with `alg`. The only place with public-key cryptography.
    pub(super) fn verifies(&self, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.fits(alg) && self.public.verifies(alg, message, signature)
    }
}

/// Why one key of a set is not used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Dropped {
    #[error("`alg` is not a supported signature algorithm of this key type")]
    Algorithm,
    #[error("`deny_kids` names it")]
    Denied,
    #[error("another key has the same `kid`, `kty` and `alg`")]
    Duplicate,
    #[error("a member is missing or malformed")]
    Malformed,
    #[error("private key material is published")]
    Private,
    #[error("`kty` or `crv` is not supported")]
    Type,
    #[error("`use` or `key_ops` is not for verifying signatures")]
    Use,
    #[error(transparent)]
    Weak(#[from] Weak),
}

/// Why a whole key set is refused, so that the previous one stays in use.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum KeySetError {
    #[error("key set is not strict JSON: {0}")]
    Json(#[from] json::Error),
    #[error("key set has no array `keys`")]
    NoKeys,
    #[error("key set has no usable signing key ({0} dropped)")]
    NoneUsable(usize),
    #[error("key set is longer than 256 KiB")]
    TooLong,
    #[error("key set has more than 100 keys")]
    TooMany,
}

/// The usable keys of a JWK set (RFC 7517 section 5).
pub(super) struct KeySet {
    keys: Vec<Arc<Key>>,
    dropped: Vec<(Option<Box<str>>, Dropped)>,
    /// Names of keys that are never used, whatever the issuer publishes.
    denied: Arc<[String]>,
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.keys.iter().map(|key| key.identity()).eq(other.keys.iter().map(|key| key.identity()))
    }
}

/// The keys of a set for a token.
pub(super) enum Selected {
    /// The configuration denies the token's `kid`.
    Denied,
    /// The keys that may have signed it.
    Keys(Vec<Arc<Key>>),
    /// The token has no `kid`, and there is not exactly one compatible key.
    Unclear,
    /// The key with its `kid` must not be used with its algorithm.
    Unfit,
    /// No key has its `kid`.
    Unknown,
}

impl KeySet {
    /// Parses a JWK set, without keys that cannot or must not verify tokens. Errs if no usable key is left.
    pub(super) fn parse(bytes: Bytes) -> Result<Self, KeySetError> {
        if bytes.len() > LIMIT_BYTES {
            return Err(KeySetError::TooLong);
        }
        let document = Document::parse(bytes, &json::Limits { depth: 16, members: 10_000 })?;
        let Some(list) = document.pointer("/keys").filter(|keys| keys.kind() == Kind::Array) else {
            return Err(KeySetError::NoKeys);
        };
        if list.items().count() > LIMIT_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut set = Self { keys: Vec::new(), dropped: Vec::new(), denied: Arc::default() };
        for item in list.items() {
            match key(item) {
                Ok(key) => set.keys.push(Arc::new(key)),
                Err(dropped) => set.dropped.push((kid(item).ok().flatten(), dropped)),
            }
        }
        set.keys.sort_by(|one, other| one.identity().cmp(&other.identity()));
        set.drop_duplicates();
        if set.keys.is_empty() { Err(KeySetError::NoneUsable(set.dropped.len())) } else { Ok(set) }
    }

    /// The set without the keys of these names, whose tokens are refused without asking the issuer again.
    pub(super) fn without(mut self, denied: &Arc<[String]>) -> Self {
        let is_denied = |key: &Arc<Key>| key.kid.as_deref().is_some_and(|kid| denied.iter().any(|name| name == kid));
        for key in self.keys.extract_if(.., |key| is_denied(key)) {
            self.dropped.push((key.kid.clone(), Dropped::Denied));
        }
        self.denied = Arc::clone(denied);
        self
    }

    /// Removes different keys with the same name, between which only their order would decide.
    fn drop_duplicates(&mut self) {
        self.keys.dedup_by(|one, other| one.identity() == other.identity());
        let names: Vec<_> = self.keys.iter().map(|key| (key.kid.clone(), key.family, key.alg)).collect();
        let dropped = &mut self.dropped;
        self.keys.retain(|key| {
            let shared = key.kid.is_some()
                && names.iter().filter(|name| **name == (key.kid.clone(), key.family, key.alg)).count() > 1;
            if shared {
                dropped.push((key.kid.clone(), Dropped::Duplicate));
            }
            !shared
        });
    }

    /// The names of the keys that `other` lacks; keys are compared by their material too.
    pub(super) fn beyond(&self, other: Option<&Self>) -> Vec<Option<Box<str>>> {
        let has =
            |key: &Key| other.is_some_and(|other| other.keys.iter().any(|held| held.identity() == key.identity()));
        self.keys.iter().filter(|key| !has(key)).map(|key| key.kid.clone()).collect()
    }

    /// The number of usable keys.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that are not used, and why.
    pub(super) fn dropped(&self) -> &[(Option<Box<str>>, Dropped)] {
        &self.dropped
    }

    /// The keys for a token with `kid` and `alg` (RFC 8725 section 3.1): by `kid`, or without one the only compatible key.
    pub(super) fn select(&self, kid: Option<&str>, alg: Algorithm) -> Selected {
        let Some(kid) = kid else {
            let keys: Vec<_> = self.keys.iter().filter(|key| key.fits(alg)).cloned().collect();
            return if keys.len() == 1 { Selected::Keys(keys) } else { Selected::Unclear };
        };
        if self.denied.iter().any(|denied| denied == kid) {
            return Selected::Denied;
        }
        let mut named = self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).peekable();
        if named.peek().is_none() {
            return Selected::Unknown;
        }
        let keys: Vec<_> = named.filter(|key| key.fits(alg)).cloned().collect();
        if keys.is_empty() { Selected::Unfit } else { Selected::Keys(keys) }
    }
}

fn kid(item: Value<'_>) -> Result<Option<Box<str>>, Dropped> {
    match item.get("kid").map(|kid| kid.as_str()) {
        None => Ok(None),
        Some(Some(kid)) if kid.len() <= LIMIT_KID_BYTES => Ok(Some(kid.into())),
        Some(_) => Err(Dropped::Malformed),
    }
}

fn key(item: Value<'_>) -> Result<Key, Dropped> {
    let kid = kid(item)?;
    check_use(item)?;
    if ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|name| item.get(name).is_some()) {
        return Err(Dropped::Private);
    }
    let (family, material, public) = public(item)?;
    let alg = match item.get("alg") {
        None => None,
        Some(alg) => {
            let alg = alg.as_str().and_then(|name| Algorithm::parse(&name)).ok_or(Dropped::Algorithm)?;
            if alg.family() != family {
                return Err(Dropped::Algorithm);
            }
            Some(alg)
        }
    };
    Ok(Key { kid, family, alg, material, public })
}

/// Errs on a key that is published for another use (RFC 7517 sections 4.2 and 4.3).
fn check_use(item: Value<'_>) -> Result<(), Dropped> {
    if item.get("use").is_some_and(|purpose| purpose.as_str().as_deref() != Some("sig")) {
        return Err(Dropped::Use);
    }
    if let Some(operations) = item.get("key_ops")
        && !operations.items().any(|operation| operation.as_str().as_deref() == Some("verify"))
    {
        return Err(Dropped::Use);
    }
    Ok(())
}

fn public(item: Value<'_>) -> Result<(Family, Vec<u8>, PublicKey), Dropped> {
    let text = |name| item.get(name).and_then(|value| value.as_str());
    let octets = |name| -> Result<Vec<u8>, Dropped> {
        let text = text(name).ok_or(Dropped::Malformed)?;
        BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| Dropped::Malformed)
    };
    match (text("kty").as_deref(), text("crv").as_deref()) {
        (Some("RSA"), _) => {
            let (n, e) = (octets("n")?, octets("e")?);
            let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
            Ok((Family::Rsa, [n, &[0], e].concat(), PublicKey::rsa(n, e)?))
        }
        (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
            let (x, y) = (octets("x")?, octets("y")?);
            let point = [&[4], &*x, &*y].concat();
            let (family, curve) =
                if curve == "P-256" { (Family::P256, Curve::P256) } else { (Family::P384, Curve::P384) };
            if x.len() != y.len() {
                return Err(Weak::Length.into());
            }
            let public = PublicKey::ec(curve, &point)?;
            Ok((family, point, public))
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x = octets("x")?;
            let public = PublicKey::ed25519(&x)?;
            Ok((Family::Ed25519, x, public))
        }
        _ => Err(Dropped::Type),
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}
