//! The `Mcp-*` headers of 2026-07-28 ("Request Metadata Headers"): read strictly, decoded once, written in one way.

use std::borrow::Cow;

use data_encoding::BASE64;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::{HeaderFlaw, HeaderKind, Refusal};
use crate::json::{Kind, Value};

/// Version of a request.
pub static PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Method of a request.
pub static METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Tool, prompt, resource or task of a request.
pub static NAME: HeaderName = HeaderName::from_static("mcp-name");
/// Session of the older era.
pub static SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Where a stream of the older era resumes.
pub static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What the names of mirrored arguments begin with.
pub const PARAM_PREFIX: &str = "mcp-param-";

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// Largest integer a mirrored argument may hold.
const LARGEST_INTEGER: i64 = (1 << 53) - 1;

/// A mirrored argument, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    /// The whole field name, lower case.
    pub name: HeaderName,
    /// The decoded value.
    pub value: Box<str>,
}

/// Refuses what is not one JSON text in UTF-8 as it stands: another media type or charset, or any content coding.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::ContentCoding);
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) if is_json(one.as_bytes()) => Ok(()),
        _ => Err(Refusal::MediaType),
    }
}

/// Whether a media type is `application/json` with no parameter but `charset=utf-8`.
fn is_json(value: &[u8]) -> bool {
    if value == b"application/json" {
        return true;
    }
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let mut parts = text.split(';').map(str::trim);
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| {
            parameter.split_once('=').is_some_and(|(name, charset)| {
                name.eq_ignore_ascii_case("charset")
                    && (charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("\"utf-8\""))
            })
        })
}

/// The one value of a header without the white space around it; an error if it is there twice or not ASCII.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    kind: HeaderKind,
) -> Result<Option<&'a str>, HeaderFlaw> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeaderFlaw::Repeated(kind));
    }
    text(value, kind).map(Some)
}

fn text(value: &HeaderValue, kind: HeaderKind) -> Result<&str, HeaderFlaw> {
    let text = value.to_str().map_err(|_| HeaderFlaw::Malformed(kind))?;
    Ok(text.trim_matches([' ', '\t']))
}

/// Refuses a header that does not say `expected`; `None` means it must not be there.
pub(super) fn check(
    headers: &HeaderMap,
    name: &HeaderName,
    kind: HeaderKind,
    expected: Option<&str>,
) -> Result<(), HeaderFlaw> {
    let found = single(headers, name, kind)?;
    let (found, expected) = match (found, expected) {
        (None, None) => return Ok(()),
        (None, Some(_)) => return Err(HeaderFlaw::Missing(kind)),
        (Some(_), None) => return Err(HeaderFlaw::Differs(kind)),
        (Some(found), Some(expected)) => (found, expected),
    };
    let found = match kind {
        HeaderKind::Name => decode(found).ok_or(HeaderFlaw::Malformed(kind))?,
        HeaderKind::Method | HeaderKind::Param | HeaderKind::Version => found.into(),
    };
    if found == expected { Ok(()) } else { Err(HeaderFlaw::Differs(kind)) }
}

/// Every `Mcp-Param-*` of a request, decoded; an error if one is there twice or does not decode.
pub(super) fn params(headers: &HeaderMap) -> Result<Vec<ParamHeader>, HeaderFlaw> {
    let mut found = Vec::new();
    for name in headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)) {
        let malformed = HeaderFlaw::Malformed(HeaderKind::Param);
        if name.as_str().len() == PARAM_PREFIX.len() {
            return Err(malformed);
        }
        let value = single(headers, name, HeaderKind::Param)?.and_then(decode).ok_or(malformed)?;
        found.push(ParamHeader { name: name.clone(), value: value.into() });
    }
    Ok(found)
}

/// The text a header value stands for; `None` if it opens like an encoded one and does not decode.
///
/// The markers are compared exactly, and what is inside is decoded once: a decoded value is never looked at again.
pub fn decode(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) else {
        return Some(value.into());
    };
    let bytes = BASE64.decode(inner.as_bytes()).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// A header value that decodes to `text`: as it is where that is safe, else encoded.
pub fn encode_value(text: &str) -> HeaderValue {
    let value = if stands_for_itself(text.as_bytes()) {
        HeaderValue::from_str(text)
    } else {
        HeaderValue::try_from(format!("{OPEN}{}{CLOSE}", BASE64.encode(text.as_bytes())))
    };
    // Both are visible ASCII, which every field value may hold.
    value.unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The same of a JSON string, whose memory the value shares where it can; `None` for anything else.
pub(crate) fn encode_string(value: Value<'_>) -> Option<HeaderValue> {
    let shared = value.plain_bytes().filter(|text| stands_for_itself(text));
    match shared.and_then(|text| HeaderValue::from_maybe_shared(text).ok()) {
        Some(shared) => Some(shared),
        None => Some(encode_value(&value.as_str()?)),
    }
}

/// Whether a text can be a header value as it is, and is not read as an encoded one.
fn stands_for_itself(text: &[u8]) -> bool {
    let is_plain = text.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    let is_padded = text.first() == Some(&b' ') || text.last() == Some(&b' ');
    let looks_encoded = text.starts_with(OPEN.as_bytes()) && text.ends_with(CLOSE.as_bytes());
    is_plain && !is_padded && !looks_encoded
}

/// The header text of an argument that a schema mirrors; `None` for what is never mirrored: null, arrays, objects.
pub fn mirrored(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value.kind() {
        Kind::String => value.as_str(),
        Kind::Bool | Kind::Number => std::str::from_utf8(value.raw()).ok().map(Cow::Borrowed),
        Kind::Array | Kind::Key | Kind::Null | Kind::Object => None,
    }
}

/// Whether a decoded header says what the argument is: strings and booleans exactly, integers by value.
pub(super) fn mirrors(header: &str, value: Value<'_>) -> bool {
    let Some(text) = mirrored(value) else { return false };
    if header == text {
        return value.kind() != Kind::Number || integer(header).is_some();
    }
    value.kind() == Kind::Number && integer(header).is_some_and(|own| integer(&text) == Some(own))
}

/// A decimal integer, perhaps with a fraction of zeros, within 2^53-1; never by way of a float.
fn integer(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let zeros = fraction.is_none_or(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit == b'0'));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let spelled = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: i64 = whole.parse().ok()?;
    (zeros && spelled && (-LARGEST_INTEGER..=LARGEST_INTEGER).contains(&number)).then_some(number)
}

#[cfg(test)]
mod tests;
