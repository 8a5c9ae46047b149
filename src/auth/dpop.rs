//! `DPoP`: the proof that whoever sends a token holds the key it is bound to (RFC 9449 section 4.3).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use http::Method;
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use url::Url;

use super::claims::seconds;
use super::jws::Compact;
use super::keys::{Algorithm, Key};
use crate::clock::Timestamp;
use crate::json::{Kind, Value};

/// The longest proof, in bytes.
const LIMIT_BYTES: usize = 8 * 1024;
/// The longest `jti`, `htm` and `htu`, in bytes.
const LIMIT_TEXT: usize = 2048;

/// Why a proof is refused. `Display` is for the log and has nothing of the proof's content.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProofError {
    /// `ath` is not the hash of the token.
    #[error("`ath` does not match the token")]
    AnotherToken,
    /// The signature is not of the key in the header.
    #[error("signature does not verify")]
    BadSignature,
    /// No `DPoP` field.
    #[error("no proof")]
    Missing,
    /// Not a well-formed proof.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// `jti` was used before.
    #[error("used before")]
    Replayed,
    /// More than one `DPoP` field.
    #[error("more than one proof")]
    Repeated,
    /// `iat` is too old or in the future.
    #[error("`iat` is too far from the current time")]
    Untimely,
    /// The algorithm is not accepted, or does not fit the key.
    #[error("algorithm is not accepted")]
    WrongAlgorithm,
    /// The key is not the one the token is bound to.
    #[error("key is not the one the token is bound to")]
    WrongKey,
    /// `htm` is not the method of the request.
    #[error("`htm` does not match the request's method")]
    WrongMethod,
    /// `htu` is not the address of this server.
    #[error("`htu` does not match the request's URL")]
    WrongTarget,
}

/// What a proof must be for.
pub(super) struct Expected<'a> {
    pub(super) method: &'a Method,
    /// The public address of the server, as [`target`] writes it.
    pub(super) target: &'a str,
    pub(super) token: &'a [u8],
    /// `cnf.jkt` of the token.
    pub(super) thumbprint: &'a [u8; 32],
    pub(super) algorithms: &'a [Algorithm],
    /// The most `iat` may be in the past or in the future.
    pub(super) age: Duration,
    pub(super) now: Timestamp,
}

/// A valid proof of possession, of which `jti` and nonce are still to be checked.
pub(super) struct Proved {
    pub(super) jti: Box<str>,
    pub(super) nonce: Option<Box<str>>,
    /// When the proof is too old.
    pub(super) until: Timestamp,
}

/// Checks a proof, with the expensive signature last: one for another key, request or time costs only hashes.
pub(super) fn check(proof: &[u8], expected: &Expected<'_>) -> Result<Proved, ProofError> {
    if proof.len() > LIMIT_BYTES {
        return Err(ProofError::Malformed("longer than 8 KiB"));
    }
    let compact = Compact::read(proof).map_err(|_| ProofError::Malformed("not one compact JWS"))?;
    if !compact.header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt")) {
        return Err(ProofError::Malformed("`typ` is not `dpop+jwt`"));
    }
    let alg = compact.header.alg.filter(|alg| expected.algorithms.contains(alg)).ok_or(ProofError::WrongAlgorithm)?;
    let jwk = compact.header_document().root().get("jwk").filter(|jwk| jwk.kind() == Kind::Object);
    let jwk = jwk.ok_or(ProofError::Malformed("header has no `jwk`"))?;
    // Private keys, weak keys, keys for encryption and shared secrets are refused.
    let key = Key::read(jwk).map_err(|_| ProofError::Malformed("`jwk` is not a usable public key"))?;
    if !key.fits(alg) {
        return Err(ProofError::WrongAlgorithm);
    }
    let thumbprint = thumbprint(jwk).ok_or(ProofError::Malformed("`jwk` has no thumbprint"))?;
    if !bool::from(thumbprint.ct_eq(expected.thumbprint)) {
        return Err(ProofError::WrongKey);
    }
    let claims = compact.claims().map_err(|_| ProofError::Malformed("claims are not strict JSON"))?;
    let proved = said(claims.root(), expected)?;
    if compact.is_signed_by(&key, alg) { Ok(proved) } else { Err(ProofError::BadSignature) }
}

/// The claims of a proof (RFC 9449 section 4.2).
fn said(claims: Value<'_>, expected: &Expected<'_>) -> Result<Proved, ProofError> {
    let text = |name| claims.get(name).and_then(|value| value.as_str()).filter(|text| text.len() <= LIMIT_TEXT);
    let (jti, htm, htu) = (text("jti"), text("htm"), text("htu"));
    let (Some(jti), Some(htm), Some(htu)) = (jti.filter(|jti| !jti.is_empty()), htm, htu) else {
        return Err(ProofError::Malformed("no usable `jti`, `htm` or `htu`"));
    };
    let iat = claims.get("iat").ok_or(ProofError::Malformed("no `iat`"))?;
    let iat = seconds(iat, f64::floor).map_err(|_| ProofError::Malformed("`iat` is not a time"))?;
    if *htm != *expected.method.as_str() {
        return Err(ProofError::WrongMethod);
    }
    if *htu != *expected.target && target(&htu).as_deref() != Some(expected.target) {
        return Err(ProofError::WrongTarget);
    }
    let (iat, now) = (Timestamp::from_unix_seconds(iat), expected.now);
    let until = iat.plus(expected.age);
    // In whole seconds, as `iat` often is.
    if until < Timestamp::from_unix_seconds(now.unix_seconds()) || iat > now.plus(expected.age) {
        return Err(ProofError::Untimely);
    }
    let ath = text("ath").ok_or(ProofError::Malformed("no `ath`"))?;
    let wanted = BASE64URL_NOPAD.encode(digest(&SHA256, expected.token).as_ref());
    if !bool::from(wanted.as_bytes().ct_eq(ath.as_bytes())) {
        return Err(ProofError::AnotherToken);
    }
    let nonce = match claims.get("nonce") {
        None => None,
        Some(_) => Some(text("nonce").ok_or(ProofError::Malformed("`nonce` is not usable text"))?.into()),
    };
    Ok(Proved { jti: jti.into(), nonce, until: until.plus(Duration::from_secs(1)) })
}

/// The SHA-256 thumbprint of a public key (RFC 7638 section 3, RFC 8037 section 2), over its required members in order.
pub(super) fn thumbprint(jwk: Value<'_>) -> Option<[u8; 32]> {
    let text = |name| jwk.get(name).and_then(|value| value.as_str());
    let members: &[&str] = match &*text("kty")? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let mut canonical = String::with_capacity(256);
    for (at, name) in members.iter().enumerate() {
        let value = text(name)?;
        // None of them needs escaping.
        if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return None;
        }
        canonical.extend([if at == 0 { "{\"" } else { ",\"" }, name, "\":\"", &value, "\""]);
    }
    canonical.push('}');
    digest(&SHA256, canonical.as_bytes()).as_ref().try_into().ok()
}

/// A URL in the form in which `htu` is compared: without query and fragment, normalised by RFC 3986 sections 6.2.2 and 6.2.3.
/// `None` if it is not a plain http or https URL.
pub(super) fn target(url: &str) -> Option<String> {
    // The parser would silently drop or convert these.
    if url.bytes().any(|byte| byte <= b' ' || byte == b'\\' || byte >= 0x7f) {
        return None;
    }
    let url = Url::parse(url).ok()?;
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    let path = unescaped(url.path());
    plain.then(|| format!("{}{path}", url.origin().ascii_serialization()))
}

const fn hex(digit: u8) -> char {
    (if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }) as char
}

/// Decodes percent-encoded unreserved characters, and puts the digits of the others in upper case.
fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            Some(byte) => out.extend(['%', hex(byte >> 4), hex(byte & 15)]),
            None => out.push('%'),
        }
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
