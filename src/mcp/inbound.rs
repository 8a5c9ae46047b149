//! Admission of what an upstream sends, as strict as that of what a client sends.

use std::borrow::Cow;

use bytes::Bytes;
use thiserror::Error;

use super::Revision;
use super::disguise::Reserved;
use super::envelope::{Envelope, Flaw, MessageShape, RpcId};
use super::methods::{self, Method};
use crate::json::{self, Document, Limits, Member, Value};

/// Members of a result or error, of its items, and of what a server sends unasked, that a client acts on.
const RESERVED: Reserved = Reserved::of(&[
    "_meta",
    "cacheScope",
    "capabilities",
    "completion",
    "content",
    "contents",
    "cursor",
    "inputRequests",
    "instructions",
    "isError",
    "messages",
    "nextCursor",
    "prompts",
    "protocolVersion",
    "requestState",
    "resourceTemplates",
    "resources",
    "resultType",
    "roots",
    "serverInfo",
    "structuredContent",
    "supportedVersions",
    "task",
    "taskId",
    "tasks",
    "tools",
    "ttlMs",
]);

/// Members of a notification's or server request's params.
const RESERVED_PARAMS: Reserved = Reserved::of(&[
    "_meta",
    "content",
    "data",
    "elicitationId",
    "error",
    "inputRequests",
    "level",
    "logger",
    "message",
    "messages",
    "mode",
    "notifications",
    "progress",
    "progressToken",
    "reason",
    "requestId",
    "requestedSchema",
    "result",
    "systemPrompt",
    "taskId",
    "tools",
    "uri",
    "url",
]);

/// Members of an item of a list, and of an entry of `inputRequests`.
const RESERVED_ITEM: Reserved =
    Reserved::of(&["inputSchema", "method", "name", "outputSchema", "params", "uri", "uriTemplate"]);

/// A message from an upstream, admitted.
#[derive(Debug)]
pub enum Inbound {
    /// Something the server tells.
    Notification {
        /// The message.
        document: Document,
        /// Its row.
        method: &'static Method,
    },
    /// Something the server asks of the client; never in 2026-07-28.
    Request {
        /// The message.
        document: Document,
        /// Its row.
        method: &'static Method,
        /// Chosen by the server.
        id: RpcId,
    },
    /// The answer to what was asked.
    Response {
        /// The message.
        document: Document,
    },
}

impl Inbound {
    /// The message.
    pub fn document(&self) -> &Document {
        match self {
            Self::Notification { document, .. } | Self::Request { document, .. } | Self::Response { document } => {
                document
            }
        }
    }

    /// The message, to be kept.
    pub(crate) fn into_document(self) -> Document {
        match self {
            Self::Notification { document, .. } | Self::Request { document, .. } | Self::Response { document } => {
                document
            }
        }
    }

    /// `result`, of a response that has one.
    pub fn result(&self) -> Option<Value<'_>> {
        self.document().root().get("result")
    }

    /// `error`, of a response that has one.
    pub fn error(&self) -> Option<Value<'_>> {
        self.document().root().get("error")
    }

    /// `params`, of a request or notification.
    pub fn params(&self) -> Option<Value<'_>> {
        self.document().root().get("params")
    }
}

/// Why a message of an upstream does not go on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InboundError {
    /// An answer to something that was not asked.
    #[error("answer to another request")]
    ForeignId,
    /// A key that a lax parser reads as another one.
    #[error("a key is a disguised spelling of another key")]
    DisguisedKey,
    /// Not a JSON-RPC 2.0 message.
    #[error("not a JSON-RPC message: {0:?}")]
    Envelope(Flaw),
    /// Not strict JSON.
    #[error("not strict JSON: {0}")]
    Json(json::ErrorKind),
    /// Something other than the answer where only the answer may stand.
    #[error("a message that is not the answer")]
    NotAnAnswer,
    /// A request in an era whose servers send none, or one nobody knows.
    #[error("a request servers do not send")]
    Request,
    /// A notification nobody knows: dropped and counted, not an error of the exchange.
    #[error("unknown notification")]
    UnknownNotification,
}

impl InboundError {
    /// Whether the message is only left out and the exchange goes on.
    pub fn is_dropped(self) -> bool {
        self == Self::UnknownNotification
    }
}

/// Reads a whole JSON body as the answer to `asked`.
pub fn admit_reply(body: Bytes, asked: &RpcId) -> Result<Inbound, InboundError> {
    match read(body)? {
        (document, MessageShape::Response { .. }) => answer(document, asked),
        (_, MessageShape::Notification | MessageShape::Request { .. }) => Err(InboundError::NotAnAnswer),
    }
}

/// Reads the data of one event of a stream: the answer to `asked`, or what a server of that revision may send besides.
///
/// `asked` is `None` on streams that answer nothing.
pub fn admit_streamed(data: Bytes, asked: Option<&RpcId>, revision: Revision) -> Result<Inbound, InboundError> {
    let (document, shape) = read(data)?;
    match shape {
        MessageShape::Response { .. } => answer(document, asked.ok_or(InboundError::ForeignId)?),
        MessageShape::Notification => {
            let method = sent(&document, revision).ok_or(InboundError::UnknownNotification)?;
            Ok(Inbound::Notification { document, method })
        }
        MessageShape::Request { id } => {
            let method = sent(&document, revision).ok_or(InboundError::Request)?;
            Ok(Inbound::Request { document, method, id })
        }
    }
}

/// Takes what is read already as the answer, whoever has seen to it that it is one to what was asked.
pub(crate) fn admit_answer(document: Document) -> Result<Inbound, InboundError> {
    match shape(&document)? {
        MessageShape::Response { .. } => Ok(Inbound::Response { document }),
        MessageShape::Notification | MessageShape::Request { .. } => Err(InboundError::NotAnAnswer),
    }
}

/// Reads a message by its envelope, whatever it is.
pub(crate) fn read(bytes: Bytes) -> Result<(Document, MessageShape), InboundError> {
    let document = Document::parse(bytes, &Limits::ANSWER).map_err(|error| InboundError::Json(error.kind))?;
    let shape = shape(&document)?;
    Ok((document, shape))
}

/// What a message is by its envelope.
pub(crate) fn shape(document: &Document) -> Result<MessageShape, InboundError> {
    let envelope = Envelope::read(document, false).map_err(|(flaw, _)| InboundError::Envelope(flaw))?;
    refuse_disguises(&envelope)?;
    envelope.shape().map_err(InboundError::Envelope)
}

fn refuse_disguises(envelope: &Envelope<'_>) -> Result<(), InboundError> {
    // INVARIANT: what is asked about by its plain name is not written otherwise by then.
    let is_disguised = envelope
        .result
        .is_some_and(|result| RESERVED.is_disguised_in(result) || result.members().any(holds_disguised_keys))
        || envelope.params.is_some_and(|params| RESERVED_PARAMS.is_disguised_in(params));
    if is_disguised { Err(InboundError::DisguisedKey) } else { Ok(()) }
}

/// Whether a member of a result has items in which a key is disguised.
fn holds_disguised_keys(member: Member<'_>) -> bool {
    let is_disguised = |item| RESERVED_ITEM.is_disguised_in(item);
    match member.plain_name() {
        Some(b"prompts" | b"resourceTemplates" | b"resources" | b"tools") => member.value.items().any(is_disguised),
        Some(b"inputRequests") => member.value.members().any(|request| is_disguised(request.value)),
        Some(_) | None => false,
    }
}

/// The asked id with the same JSON type (JSON-RPC 2.0 section 5), or somebody else's answer.
fn answer(document: Document, asked: &RpcId) -> Result<Inbound, InboundError> {
    let is_it = document.root().get("id").is_some_and(|id| asked.is(id));
    if is_it { Ok(Inbound::Response { document }) } else { Err(InboundError::ForeignId) }
}

/// The row of a method that a server of that revision may send in that shape.
fn sent(document: &Document, revision: Revision) -> Option<&'static Method> {
    let root = document.root();
    let name: Cow<'_, str> = root.get("method")?.as_str()?;
    let method = methods::find(&name)?;
    let is_request = root.get("id").is_some();
    let fits = is_request == (method.shape == methods::Shape::Request);
    (fits && method.is_in(revision) && method.is_from_server(revision)).then_some(method)
}

#[cfg(test)]
mod tests;
