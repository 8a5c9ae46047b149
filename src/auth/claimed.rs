use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use super::claims::TOKEN_ID;
use super::jws::Compact;
use super::{Acceptance, Bearer, introspection};

/// The bytes of a token's digest that are told: enough to find it again, not enough to guess it.
const TOLD: usize = 4;

/// What a refused token says of itself. Nobody has verified it: anybody can write a token that names a known issuer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// The name in `proxy.toml` of the issuer it names, or of the one that opaque tokens are checked by; `None` for any other.
    pub(crate) issuer: Option<Arc<str>>,
    /// `iss`.
    pub(crate) iss: Option<Box<str>>,
    /// `kid` of its header.
    pub(crate) kid: Option<Box<str>>,
    /// `jti`, else `uti`.
    pub(crate) token_id: Option<Box<str>>,
    /// The first 32 bits of its SHA-256, in hexadecimal.
    pub(crate) digest: Box<str>,
}

impl Claimed {
    /// Reads what can be read of `token`, refused on a route with `acceptance`.
    pub(crate) fn of(acceptance: &Acceptance, token: Bearer<'_>) -> Self {
        let hash = digest::digest(&digest::SHA256, token.bytes());
        let digest = HEXLOWER.encode(hash.as_ref().first_chunk::<TOLD>().map_or(&[][..], |told| told)).into();
        let opaque = || acceptance.asked().filter(|_| introspection::is_opaque(token.bytes()));
        let mut claimed = Self {
            issuer: opaque().map(|(issuer, _)| issuer.name().clone()),
            iss: None,
            kid: None,
            token_id: None,
            digest,
        };
        let Ok(compact) = Compact::read(token.bytes()) else { return claimed };
        claimed.kid.clone_from(&compact.header.kid);
        let Ok(document) = compact.claims() else { return claimed };
        let text = |name: &str| document.root().get(name).and_then(|value| value.as_str()).map(Box::from);
        claimed.iss = text("iss");
        claimed.token_id = TOKEN_ID.iter().find_map(|name| text(name));
        let named = claimed.iss.as_deref().and_then(|iss| acceptance.issuer(iss));
        claimed.issuer = named.map(|issuer| issuer.name().clone());
        claimed
    }
}
