//! Why a message is refused, in text a client may read.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::envelope::{Flaw, RpcId};
use super::{Era, Revision};
use crate::json;

/// A refusal and the id it answers, if one could be read.
#[derive(Clone, Debug)]
pub struct AdmitError {
    /// What was wrong.
    pub refusal: Refusal,
    id: Option<RpcId>,
}

/// What an admitted message would have had to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A response where the era has none (2026-07-28 "Sending Messages to the Server").
    ClientResponse,
    /// `Content-Encoding` on a request.
    ContentCoding,
    /// An envelope, `params` or `_meta` key that a lax parser reads as another one.
    DisguisedKey,
    /// Not a JSON-RPC 2.0 message.
    Envelope(Flaw),
    /// A header that must repeat the body is missing, malformed, repeated or different.
    Header(HeaderFlaw),
    /// Not strict JSON.
    Json(json::ErrorKind),
    /// Not `application/json`, or not in UTF-8.
    MediaType,
    /// A notification with an id.
    NotificationWithId,
    /// A request without an id: it would have an effect and no answer.
    RequestWithoutId,
    /// `_meta` lacks what every request of 2026-07-28 states, or states it as another type.
    RequiredMeta(&'static str),
    /// `params` lacks what a rule is asked about, or it is not a string.
    Subject(&'static str),
    /// The body is over the limit.
    TooLarge,
    /// A request method that the table does not have for this revision and that no rule names.
    UnknownMethod(Era),
    /// A notification that the table does not have for this revision and that no rule names.
    UnknownNotification,
    /// A version outside those the server is configured for.
    UnsupportedVersion {
        /// Which error the client can act on.
        era: Era,
        /// As asked for, if it is short and printable.
        requested: Option<Box<str>>,
        /// What would be accepted.
        supported: Box<[Revision]>,
    },
}

/// What is wrong with a header that repeats the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFlaw {
    /// It says something else.
    Differs(HeaderKind),
    /// Not ASCII, or not what the encoding allows.
    Malformed(HeaderKind),
    /// It must be there.
    Missing(HeaderKind),
    /// It is there more than once.
    Repeated(HeaderKind),
}

/// Which header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HeaderKind {
    Method,
    Name,
    Param,
    Version,
}

/// What kind of answer a refusal gets; `reject.rs` knows the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The client must change the request.
    BadRequest,
    /// Media type, charset or content coding.
    MediaType,
    /// The method does not exist, to a client that is told so by the status.
    NotFound,
    /// An error inside a successful exchange, as the older eras have it.
    Rpc,
    /// Over a limit.
    TooLarge,
}

impl AdmitError {
    pub(super) const fn new(refusal: Refusal, id: Option<RpcId>) -> Self {
        Self { refusal, id }
    }

    /// The same, where a version is not supported with the revisions that are.
    #[must_use]
    pub fn supporting(mut self, known: impl FnOnce(Era) -> Vec<Revision>) -> Self {
        if let Refusal::UnsupportedVersion { era, supported, .. } = &mut self.refusal {
            *supported = known(*era).into();
        }
        self
    }

    /// The id to answer, if one could be read.
    pub const fn id(&self) -> Option<&RpcId> {
        self.id.as_ref()
    }

    /// A fixed word for logs and audit.
    pub const fn kind(&self) -> &'static str {
        match &self.refusal {
            Refusal::ContentCoding | Refusal::MediaType => "media_type",
            Refusal::Header(_) => "header_mismatch",
            Refusal::Json(_) => "not_json",
            Refusal::TooLarge => "body_too_large",
            Refusal::UnknownMethod(_) => "unknown_method",
            Refusal::UnsupportedVersion { .. } => "unsupported_version",
            Refusal::ClientResponse
            | Refusal::DisguisedKey
            | Refusal::Envelope(_)
            | Refusal::NotificationWithId
            | Refusal::RequestWithoutId
            | Refusal::RequiredMeta(_)
            | Refusal::Subject(_)
            | Refusal::UnknownNotification => "invalid_request",
        }
    }

    /// The era the client is told of, where it is known.
    pub const fn era(&self) -> Option<Era> {
        match &self.refusal {
            Refusal::UnknownMethod(era) | Refusal::UnsupportedVersion { era, .. } => Some(*era),
            _ => None,
        }
    }

    /// What kind of answer it gets.
    pub const fn category(&self) -> Category {
        match &self.refusal {
            Refusal::ContentCoding | Refusal::MediaType => Category::MediaType,
            Refusal::TooLarge => Category::TooLarge,
            Refusal::UnknownMethod(Era::Modern) => Category::NotFound,
            Refusal::UnknownMethod(Era::Legacy) => Category::Rpc,
            Refusal::ClientResponse
            | Refusal::DisguisedKey
            | Refusal::Envelope(_)
            | Refusal::Header(_)
            | Refusal::Json(_)
            | Refusal::NotificationWithId
            | Refusal::RequestWithoutId
            | Refusal::RequiredMeta(_)
            | Refusal::Subject(_)
            | Refusal::UnknownNotification
            | Refusal::UnsupportedVersion { .. } => Category::BadRequest,
        }
    }

    /// The JSON-RPC error code (JSON-RPC 2.0 section 5.1; 2026-07-28 "Error Codes").
    pub const fn code(&self) -> i32 {
        match &self.refusal {
            Refusal::Json(_) => -32700,
            Refusal::RequiredMeta(_) | Refusal::Subject(_) => -32602,
            Refusal::UnknownMethod(_) => -32601,
            Refusal::Header(_) => -32020,
            Refusal::UnsupportedVersion { era: Era::Modern, .. } => -32022,
            Refusal::ClientResponse
            | Refusal::ContentCoding
            | Refusal::DisguisedKey
            | Refusal::Envelope(_)
            | Refusal::MediaType
            | Refusal::NotificationWithId
            | Refusal::RequestWithoutId
            | Refusal::TooLarge
            | Refusal::UnknownNotification
            | Refusal::UnsupportedVersion { era: Era::Legacy, .. } => -32600,
        }
    }

    /// What the client is told; never a value it sent.
    pub fn text(&self) -> Cow<'static, str> {
        match &self.refusal {
            Refusal::ClientResponse => "Responses are not accepted in this protocol version".into(),
            Refusal::ContentCoding => "Compressed requests are not accepted".into(),
            Refusal::DisguisedKey => "A key is a disguised spelling of another key".into(),
            Refusal::Envelope(flaw) => flaw.text().into(),
            Refusal::Header(flaw) => flaw.text().into(),
            Refusal::Json(kind) => format!("Parse error: {kind}").into(),
            Refusal::MediaType => "Content-Type must be application/json in UTF-8".into(),
            Refusal::NotificationWithId => "A notification has no id".into(),
            Refusal::RequestWithoutId => "This method needs an id".into(),
            Refusal::RequiredMeta(key) => format!("params._meta lacks a valid {key}").into(),
            Refusal::Subject(pointer) => format!("Invalid params: {pointer} must be a string").into(),
            Refusal::TooLarge => "The message is too large".into(),
            Refusal::UnknownMethod(_) => "Method not found".into(),
            Refusal::UnknownNotification => "Unknown notification".into(),
            // What 2026-07-28 has a member for (`data`).
            Refusal::UnsupportedVersion { era: Era::Legacy, supported, .. } => {
                let supported: Vec<_> = supported.iter().map(|revision| revision.as_str()).collect();
                format!("Unsupported protocol version (supported versions: {})", supported.join(", ")).into()
            }
            Refusal::UnsupportedVersion { .. } => "Unsupported protocol version".into(),
        }
    }

    /// The id to answer with, as it was written.
    pub fn rpc_id(&self) -> Option<&Bytes> {
        self.id.as_ref().map(RpcId::raw)
    }

    /// `error.data` as JSON: for an unsupported version what is supported (2026-07-28 "Version Negotiation").
    pub fn data(&self) -> Option<String> {
        let Refusal::UnsupportedVersion { era: Era::Modern, requested, supported } = &self.refusal else {
            return None;
        };
        let mut data = String::from("{\"supported\":[");
        for (at, revision) in supported.iter().enumerate() {
            if at > 0 {
                data.push(',');
            }
            data.push_str(&json::quoted(revision.as_str()));
        }
        data.push(']');
        if let Some(requested) = requested {
            data.push_str(",\"requested\":");
            data.push_str(&json::quoted(requested));
        }
        data.push('}');
        Some(data)
    }
}

impl fmt::Display for AdmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for AdmitError {}

impl Flaw {
    const fn text(self) -> &'static str {
        match self {
            Self::Batch => "Batches are not accepted",
            Self::Error => "error must hold an integer code and a message",
            Self::Id => "id must be a string of up to 128 bytes or an integer within 2^53",
            Self::Member => "The message has a member that JSON-RPC does not have",
            Self::Method => "method must be a string",
            Self::NotObject => "The message must be an object",
            Self::Params => "params must be an object",
            Self::Result => "result must be an object",
            Self::Shape => "The message must be a request, a notification or a response",
            Self::Version => "jsonrpc must be \"2.0\"",
        }
    }
}

impl HeaderFlaw {
    const fn text(self) -> &'static str {
        use HeaderKind::{Method, Name, Param, Version};
        match self {
            Self::Differs(Method) => "Mcp-Method differs from the method in the body",
            Self::Differs(Name) => "Mcp-Name differs from the name in the body",
            Self::Differs(Param) => "An Mcp-Param header differs from the argument in the body",
            Self::Differs(Version) => "MCP-Protocol-Version differs from the version in the body",
            Self::Malformed(Method) => "Mcp-Method is malformed",
            Self::Malformed(Name) => "Mcp-Name is malformed",
            Self::Malformed(Param) => "An Mcp-Param header is malformed",
            Self::Malformed(Version) => "MCP-Protocol-Version is malformed",
            Self::Missing(Method) => "Mcp-Method is missing",
            Self::Missing(Name) => "Mcp-Name is missing",
            Self::Missing(Param) => "An Mcp-Param header is missing",
            Self::Missing(Version) => "MCP-Protocol-Version is missing",
            Self::Repeated(Method) => "Mcp-Method is repeated",
            Self::Repeated(Name) => "Mcp-Name is repeated",
            Self::Repeated(Param) => "An Mcp-Param header is repeated",
            Self::Repeated(Version) => "MCP-Protocol-Version is repeated",
        }
    }
}
