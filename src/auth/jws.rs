use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;

use super::VerifyError;
use super::bearer::LIMIT_BYTES;
use super::keys::{Algorithm, Key, LIMIT_KID_BYTES};
use crate::json::{Document, Kind, Limits, Value};

/// Limits for parsing a header and a claims set.
const LIMITS: Limits = Limits { depth: 32, members: 4096 };

/// A JWS in compact serialisation (RFC 7515 section 7.1), parsed but not verified.
pub(super) struct Compact<'a> {
    pub(super) header: Header,
    pub(super) payload: Bytes,
    header_document: Document,
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// The JOSE header, as far as it is used: `jku`, `x5u`, `jwk` and `x5c` never select a key (RFC 8725 section 3.10).
pub(super) struct Header {
    pub(super) alg_name: Box<str>,
    /// `None` for algorithms that are never accepted: `none`, HMAC, encryption, anything unknown.
    pub(super) alg: Option<Algorithm>,
    pub(super) kid: Option<Box<str>>,
    pub(super) typ: Option<Box<str>>,
}

impl<'a> Compact<'a> {
    /// Parses `token`: bounded size, three segments, strict base64url without padding, other characters and trailing bits.
    pub(super) fn read(token: &'a [u8]) -> Result<Self, VerifyError> {
        if token.len() > LIMIT_BYTES {
            return Err(VerifyError::Malformed("longer than 16 KiB"));
        }
        let Ok(text) = std::str::from_utf8(token) else { return Err(VerifyError::Malformed("not ASCII")) };
        let mut segments = text.splitn(4, '.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(VerifyError::Malformed("not three segments"));
        };
        if signature.is_empty() {
            return Err(VerifyError::Malformed("no signature"));
        }
        let signature = decode(signature)?;
        let payload_bytes = decode(payload)?.into();
        let header_document = object(decode(header)?.into())?;
        let header_value = Header::read(header_document.root())?;
        let signed = &token[..header.len() + 1 + payload.len()];
        Ok(Self { header: header_value, payload: payload_bytes, header_document, signed, signature })
    }

    /// The claims set (RFC 7519 section 7.2).
    pub(super) fn claims(&self) -> Result<Document, VerifyError> {
        object(self.payload.clone())
    }

    /// The whole JOSE header.
    pub(super) const fn header_document(&self) -> &Document {
        &self.header_document
    }

    /// Whether `key` made the signature.
    pub(super) fn is_signed_by(&self, key: &Key, alg: Algorithm) -> bool {
        key.verifies(alg, self.signed, &self.signature)
    }
}

impl Header {
    fn read(header: Value<'_>) -> Result<Self, VerifyError> {
        // No extensions are supported (RFC 7515 section 4.1.11). RFC 7797 and RFC 7516 section 4.1.3 change the meaning of the
        // signed bytes.
        if ["crit", "b64", "zip"].iter().any(|name| header.get(name).is_some()) {
            return Err(VerifyError::Malformed("header has `crit`, `b64` or `zip`"));
        }
        let alg_name = text(header, "alg")?.ok_or(VerifyError::Malformed("header has no `alg`"))?;
        let kid = text(header, "kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > LIMIT_KID_BYTES) {
            return Err(VerifyError::Malformed("`kid` is longer than 256 bytes"));
        }
        Ok(Self { alg: Algorithm::parse(&alg_name), alg_name, kid, typ: text(header, "typ")? })
    }
}

fn text(header: Value<'_>, name: &str) -> Result<Option<Box<str>>, VerifyError> {
    match header.get(name) {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text.into())),
            None => Err(VerifyError::Malformed("a header member is not a string")),
        },
    }
}

fn decode(segment: &str) -> Result<Vec<u8>, VerifyError> {
    BASE64URL_NOPAD.decode(segment.as_bytes()).map_err(|_| VerifyError::Malformed("not strict base64url"))
}

/// Parses a strict JSON object: with a duplicate name two parsers could read two tokens (RFC 7515 section 4).
fn object(bytes: Bytes) -> Result<Document, VerifyError> {
    let document = Document::parse(bytes, &LIMITS).map_err(|_| VerifyError::Malformed("not strict JSON"))?;
    if document.root().kind() == Kind::Object { Ok(document) } else { Err(VerifyError::Malformed("not an object")) }
}

#[cfg(test)]
mod tests;
