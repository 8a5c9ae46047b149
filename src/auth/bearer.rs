use std::fmt;

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u8x64};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::CredentialError;
use crate::secret::Secret;

const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The longest token, in bytes.
pub(super) const LIMIT_BYTES: usize = 16 * 1024;
/// Bytes of a token looked at together.
const BLOCK: usize = 64;

/// A presented token. `Debug` does not reveal it.
#[derive(Clone, Copy)]
pub struct Bearer<'a>(&'a [u8]);

impl<'a> Bearer<'a> {
    /// A token from elsewhere than a request, such as a file given to a command.
    pub const fn new(token: &'a [u8]) -> Self {
        Self(token)
    }

    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// A copy of the token that is wiped when dropped. Presented tokens are ASCII.
    pub(crate) fn secret(self) -> Secret<String> {
        Secret::new(String::from_utf8_lossy(self.0).into_owned())
    }
}

impl fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(***)")
    }
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    #[default]
    Bearer,
    /// RFC 9449 section 7.1.
    Dpop,
}

/// The `DPoP` proof sent with a token.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// No proof.
    Missing,
    /// Exactly one, not parsed yet.
    One(&'a [u8]),
    /// More than one.
    Several,
}

impl fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(***)")
    }
}

/// The credential in a request.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// A bearer token.
    Bearer(Bearer<'a>),
    /// A `DPoP` token with its proof of possession.
    Proved {
        /// The token.
        token: Bearer<'a>,
        /// The `DPoP` field.
        proof: Proof<'a>,
    },
    /// No supported credential: none at all, or another authentication scheme.
    Nothing,
}

impl<'a> Presented<'a> {
    /// The token, if there is one.
    pub const fn token(&self) -> Option<Bearer<'a>> {
        match self {
            Self::Bearer(token) | Self::Proved { token, .. } => Some(*token),
            Self::Nothing => None,
        }
    }

    /// The scheme it came with.
    pub const fn scheme(&self) -> Scheme {
        match self {
            Self::Bearer(_) | Self::Nothing => Scheme::Bearer,
            Self::Proved { .. } => Scheme::Dpop,
        }
    }
}

/// The credential of a request: at most one `Authorization` field, `Bearer` or `DPoP` (RFC 6750 section 2.1), never the query
/// (MCP 2026-07-28, Authorization, "Access Token Usage"). Errs if it is malformed, repeated, or in the query.
pub fn credential<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<Presented<'a>, CredentialError> {
    if query.is_some_and(names_access_token) {
        return Err(CredentialError::InQuery);
    }
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(Presented::Nothing) };
    if fields.next().is_some() {
        return Err(CredentialError::Repeated);
    }
    read(field.as_bytes(), headers)
}

/// Parses `auth-scheme [ 1*SP token68 ]` (RFC 9110 section 11.4), with the scheme in any case.
fn read<'a>(field: &'a [u8], headers: &'a HeaderMap) -> Result<Presented<'a>, CredentialError> {
    let end = memchr::memchr(b' ', field).unwrap_or(field.len());
    let (scheme, rest) = field.split_at(end);
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer");
    if !is_bearer && !scheme.eq_ignore_ascii_case(b"dpop") {
        let is_scheme = !scheme.is_empty() && scheme.iter().all(|byte| is_tchar(*byte));
        return if is_scheme { Ok(Presented::Nothing) } else { Err(CredentialError::Malformed) };
    }
    let token = &rest[rest.iter().take_while(|byte| **byte == b' ').count()..];
    if token.len() > LIMIT_BYTES {
        return Err(CredentialError::TooLong);
    }
    if !is_token68(token) {
        return Err(CredentialError::Malformed);
    }
    let token = Bearer(token);
    Ok(if is_bearer { Presented::Bearer(token) } else { Presented::Proved { token, proof: proof(headers) } })
}

/// The `DPoP` field, of which there must be one (RFC 9449 section 4.3, 1).
fn proof(headers: &HeaderMap) -> Proof<'_> {
    let mut fields = headers.get_all(DPOP).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Proof::Missing,
        (Some(proof), None) => Proof::One(proof.as_bytes()),
        (Some(_), Some(_)) => Proof::Several,
    }
}

/// Whether a byte is a `tchar` (RFC 9110 section 5.6.2).
const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Whether it is a `token68` (RFC 9110 section 11.2).
fn is_token68(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &token[..token.len() - padding];
    !body.is_empty() && dispatch!(Level::new(), simd => are_token68(simd, body))
}

/// Whether all of `bytes` are letters, digits, `-`, `.`, `_`, `~`, `+` and `/`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn are_token68<S: Simd>(simd: S, bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut padded = [b'a'; BLOCK];
    padded[..rest.len()].copy_from_slice(rest);
    let mut others = others_in(simd, &padded);
    for block in blocks {
        others |= others_in(simd, block);
    }
    others == 0
}

/// A bit for each byte that is none of those.
#[inline(always)]
#[expect(clippy::inline_always, reason = "each level of vector instructions has a copy of its own")]
fn others_in<S: Simd>(simd: S, block: &[u8; BLOCK]) -> u64 {
    let splat = |byte: u8| u8x64::splat(simd, byte);
    let bytes = u8x64::from_slice(simd, block);
    let letters = ((bytes | splat(0x20)) - splat(b'a')).simd_lt(splat(26));
    // In ASCII `-`, `.` and `/` are immediately before the digits.
    let digits = (bytes - splat(b'-')).simd_le(splat(b'9' - b'-'));
    let marks = bytes.simd_eq(splat(b'_')) | bytes.simd_eq(splat(b'~')) | bytes.simd_eq(splat(b'+'));
    !(letters | digits | marks).to_bitmask()
}

/// Whether a query parameter decodes to `access_token`, with either separator in use.
fn names_access_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        url::form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name.trim().eq_ignore_ascii_case("access_token"))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{LIMIT_BYTES, Presented, credential, is_token68};
    use crate::auth::CredentialError;

    fn read(fields: &[&str], query: Option<&str>) -> Result<Option<String>, CredentialError> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("authorization", HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        Ok(match credential(&headers, query)? {
            Presented::Bearer(token) => Some(String::from_utf8(token.bytes().to_vec()).unwrap()),
            Presented::Proved { .. } | Presented::Nothing => None,
        })
    }

    #[test]
    fn reads_one_bearer_field() {
        for field in ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "BEARER   a.b-c_d~e+f/g=="] {
            assert_eq!(read(&[field], Some("x=1&token=2")), Ok(Some("a.b-c_d~e+f/g==".into())), "{field}");
        }
        assert_eq!(read(&[], None), Ok(None));
    }

    #[test]
    fn other_schemes_are_no_credentials() {
        for field in ["Basic YTpi", "DPoPx a.b.c", "Negotiate", "Bearerx a", "Digest username=\"a\", realm=\"b\""] {
            assert_eq!(read(&[field], None), Ok(None), "{field}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_token() {
        let malformed = [
            "",
            " ",
            "Bearer",
            "Bearer ",
            "Bearer   ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a, Bearer b",
            "Bearer\ta",
            "Bearer \ta",
            "Bearer =",
            "Bearer a=b",
            "Bearer a\u{a0}",
            "Bearer é",
            "Bearer a\tb",
            "Bearer,Bearer a",
            "\"Bearer\" a",
            "Bearer a;b",
        ];
        for field in malformed {
            assert_eq!(read(&[field], None), Err(CredentialError::Malformed), "{field:?}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"], None), Err(CredentialError::Repeated));
        assert_eq!(read(&["Bearer a", "Basic YTpi"], None), Err(CredentialError::Repeated));
        assert_eq!(read(&[&format!("Bearer {}", "a".repeat(LIMIT_BYTES + 1))], None), Err(CredentialError::TooLong));
        assert!(read(&[&format!("Bearer {}", "a".repeat(LIMIT_BYTES))], None).is_ok());
    }

    #[test]
    fn every_byte_of_a_token_is_looked_at() {
        for length in [1, 63, 64, 65, 127, 128, 200] {
            for (place, byte) in (0..length).flat_map(|place| (0..=u8::MAX).map(move |byte| (place, byte))) {
                let mut token = vec![b'a'; length];
                token[place] = byte;
                let is_part = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
                let is_padding = byte == b'=' && place == length - 1 && length > 1;
                assert_eq!(is_token68(&token), is_part || is_padding, "{byte:x} at {place} of {length}");
            }
        }
    }

    #[test]
    fn refuses_tokens_in_the_query_also_beside_a_valid_header() {
        for query in [
            "access_token=a",
            "x=1&access_token=",
            "access_token",
            "x;access_token=a",
            "access%5Ftoken=a",
            "%61ccess_token=a",
            "ACCESS_TOKEN=a",
            "+access_token=a",
        ] {
            assert_eq!(read(&["Bearer a"], Some(query)), Err(CredentialError::InQuery), "{query}");
            assert_eq!(read(&["Bearer a", "Bearer b"], Some(query)), Err(CredentialError::InQuery), "{query}");
            assert_eq!(read(&[], Some(query)), Err(CredentialError::InQuery), "{query}");
        }
        for query in ["", "my_access_token=a", "x=access_token", "access_token_hint=a"] {
            assert_eq!(read(&["Bearer a"], Some(query)), Ok(Some("a".into())), "{query}");
        }
    }

    #[test]
    fn a_token_never_prints() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer hush"));
        assert!(!format!("{:?}", credential(&headers, None)).contains("hush"));
    }
}
