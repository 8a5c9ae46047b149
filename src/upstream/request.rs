//! A request to an upstream, before it is written in either version of HTTP.

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use http_body_util::Full;

use super::{Credential, Upstream};
use crate::mcp::Revision;
use crate::mcp::headers::{PROTOCOL_VERSION, SESSION_ID};
use crate::telemetry::traces::TRACEPARENT;

static BOTH_TYPES: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
static EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
static IDENTITY: HeaderValue = HeaderValue::from_static("identity");
static JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request without its target: that, `Host` and the framing are the endpoint's and the connection's.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) head: Head,
    pub(super) content: Bytes,
}

/// Method and header fields, as parts: they are written straight into a connection's buffer.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) credential: Credential,
    /// The session id at the upstream.
    pub(super) session: Option<HeaderValue>,
    /// The revision, if a header states it.
    pub(super) revision: Option<Revision>,
    /// Further header fields: those that mirror the message, or `Last-Event-ID`.
    pub(super) further: Vec<(HeaderName, HeaderValue)>,
    pub(super) traceparent: Option<Box<HeaderValue>>,
}

impl Request {
    /// The head as HTTP/1.1 has it (RFC 9112), appended to `out`. All parts are values that `http` has checked, so none
    /// can hold a line break.
    pub(super) fn write_head(&self, upstream: &Upstream, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.method.as_str().as_bytes());
        out.extend_from_slice(&upstream.target_and_host);
        self.head.each_field(|name, value| {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            out.reserve(name.len() + value.len() + 4);
            for part in [b"\r\n", name, b": ", value] {
                out.extend_from_slice(part);
            }
        });
        // A method that usually has content states that there is none (RFC 9110 section 8.6).
        if self.head.method == Method::POST || !self.content.is_empty() {
            out.extend_from_slice(b"\r\ncontent-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(self.content.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// The request for an HTTP/2 connection.
    pub(super) fn to_http2(&self, upstream: &Upstream) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(self.content.clone()));
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = upstream.uri.clone();
        *request.version_mut() = http::Version::HTTP_2;
        self.head.each_field(|name, value| {
            request.headers_mut().append(name, value.clone());
        });
        request
    }
}

impl Head {
    /// These fields with another method.
    pub(super) fn with(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Each header field, in the order they are sent.
    fn each_field(&self, mut write: impl FnMut(&HeaderName, &HeaderValue)) {
        write(&ACCEPT_ENCODING, &IDENTITY);
        self.credential.each_field(&mut write);
        if let Some(session) = &self.session {
            write(&SESSION_ID, session);
        }
        if self.method == Method::POST {
            write(&ACCEPT, &BOTH_TYPES);
            write(&CONTENT_TYPE, &JSON);
        } else if self.method == Method::GET {
            write(&ACCEPT, &EVENT_STREAM);
        }
        if let Some(revision) = self.revision {
            write(&PROTOCOL_VERSION, &HeaderValue::from_static(revision.as_str()));
        }
        self.further.iter().for_each(|(name, value)| write(name, value));
        if let Some(traceparent) = &self.traceparent {
            write(&TRACEPARENT, traceparent);
        }
    }
}

#[cfg(test)]
impl Request {
    /// A POST request without further header fields.
    pub(super) fn post(content: &'static [u8]) -> Self {
        let credential = Credential::NONE;
        let further = Vec::new();
        let head = Head { method: Method::POST, credential, session: None, revision: None, further, traceparent: None };
        Self { head, content: Bytes::from_static(content) }
    }
}
