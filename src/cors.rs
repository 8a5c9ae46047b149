//! Browsers: which origins may call, and what they may see (Fetch, "CORS protocol"; MCP, "Security Warning" on `Origin`).

use std::collections::HashSet;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::body::Body;

/// Request headers a browser client may send, besides any `mcp-param-*`.
const ALLOWED: &str = "authorization, dpop, content-type, accept, mcp-protocol-version, mcp-session-id, mcp-method, \
                       mcp-name, last-event-id, traceparent, tracestate, baggage";
const EXPOSED: &str = "www-authenticate, mcp-session-id, mcp-protocol-version, retry-after, x-request-id, dpop-nonce";

/// The origins a browser may call from, compared as bytes.
#[derive(Debug, Default)]
pub struct Origins(HashSet<Box<[u8]>>);

/// What a request's `Origin` said.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// Not sent: not a browser.
    Absent,
    /// On the list.
    Allowed(&'a HeaderValue),
    /// Not on the list, `null`, or sent twice.
    Refused,
}

impl<'o> FromIterator<&'o str> for Origins {
    fn from_iter<T: IntoIterator<Item = &'o str>>(origins: T) -> Self {
        Self(origins.into_iter().map(|origin| origin.as_bytes().into()).collect())
    }
}

impl Origins {
    /// Looks up the request's `Origin`.
    pub fn check<'a>(&self, headers: &'a HeaderMap) -> Origin<'a> {
        let mut values = headers.get_all(ORIGIN).iter();
        match (values.next(), values.next()) {
            (None, _) => Origin::Absent,
            (Some(origin), None) if self.0.contains(origin.as_bytes()) => Origin::Allowed(origin),
            _ => Origin::Refused,
        }
    }
}

/// Lets an allowed origin's page read the answer.
pub fn expose(origin: Origin<'_>, headers: &mut HeaderMap) {
    if let Origin::Allowed(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

/// The answer to a preflight: no authentication, as browsers send none with it.
pub fn preflight(request: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(request));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    response
}

/// The fixed list and every well-formed `mcp-param-*` that was asked for.
fn allowed_headers(request: &HeaderMap) -> HeaderValue {
    let mut allowed = ALLOWED.to_owned();
    let asked = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    for name in asked.flat_map(|names| names.split(',')).map(|name| name.trim().to_ascii_lowercase()).take(64) {
        let well_formed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if well_formed && name.starts_with("mcp-param-") && name.len() <= 128 {
            allowed.push_str(", ");
            allowed.push_str(&name);
        }
    }
    HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static(ALLOWED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_origins_are_allowed() {
        let origins: Origins = ["http://localhost:6274"].into_iter().collect();
        for (sent, allowed) in [
            ("http://localhost:6274", true),
            ("http://localhost:62740", false),
            ("https://localhost:6274", false),
            ("http://localhost:6274.evil.test", false),
            ("HTTP://localhost:6274", false),
            ("null", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(sent).unwrap())]);
            assert_eq!(matches!(origins.check(&headers), Origin::Allowed(_)), allowed, "{sent}");
        }
        let mut twice = HeaderMap::new();
        twice.append(ORIGIN, HeaderValue::from_static("http://localhost:6274"));
        twice.append(ORIGIN, HeaderValue::from_static("http://localhost:6274"));
        assert!(matches!(origins.check(&twice), Origin::Refused));
        assert!(matches!(origins.check(&HeaderMap::new()), Origin::Absent));
    }

    #[test]
    fn preflight_allows_parameter_headers_that_were_asked_for() {
        let asked = HeaderValue::from_static("content-type, Mcp-Param-Region, x-evil, mcp-param-a b");
        let response = preflight(&HeaderMap::from_iter([(ACCESS_CONTROL_REQUEST_HEADERS, asked)]));
        let allowed = response.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        assert!(allowed.ends_with("baggage, mcp-param-region"), "{allowed}");
    }
}
