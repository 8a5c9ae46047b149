//! Answers that a bridge makes in the upstream's place. They take the same path to the client as an upstream's own.

use bytes::Bytes;
use http::StatusCode;

use crate::json::{Document, Splice};
use crate::mcp::Era;
use crate::mcp::handle::TASKS_EXTENSION;
use crate::upstream::{Answer, AnswerBody, Fields};

/// JSON-RPC 2.0, section 5.1.
pub(super) const METHOD_NOT_FOUND: i64 = -32_601;
/// The client did not declare a capability that the request needs (2026-07-28, "Error Codes").
const LACKING_CAPABILITY: i64 = -32_021;

/// An upstream's message, translated to a client's era.
#[derive(Debug)]
pub(super) enum Rewritten {
    /// A different message.
    Anew(Bytes),
    /// The same message with edits.
    Edited(Splice),
    /// The same message with edits to its id and the result members that differ by era only, so that everything else can be
    /// read in the original.
    Framed(Splice),
}

impl Rewritten {
    /// The translated message; `document` is the original.
    pub(super) fn bytes(self, document: &Document) -> Bytes {
        match self {
            Self::Anew(bytes) => bytes,
            Self::Edited(splice) | Self::Framed(splice) => splice.apply(document.bytes()),
        }
    }

    /// The translated message as a body; `document` is the original.
    pub(super) fn body(self, document: Document) -> AnswerBody {
        match self {
            Self::Framed(splice) => AnswerBody::read(document, splice),
            Self::Anew(_) | Self::Edited(_) => AnswerBody::whole(self.bytes(&document)),
        }
    }
}

/// A notification or response was accepted: 202.
pub(super) fn accepted() -> Box<Answer> {
    Answer::bare(StatusCode::ACCEPTED)
}

/// The session has ended: 200.
pub(super) fn ended() -> Box<Answer> {
    Answer::bare(StatusCode::OK)
}

/// There is no such session: 404.
pub(super) fn no_session() -> Box<Answer> {
    Answer::bare(StatusCode::NOT_FOUND)
}

/// The upstream's answer is unusable: 502.
pub(super) fn unusable() -> Box<Answer> {
    Answer::bare(StatusCode::BAD_GATEWAY)
}

/// A limit is reached: 503.
pub(super) fn full() -> Box<Answer> {
    Answer::bare(StatusCode::SERVICE_UNAVAILABLE)
}

/// One message with status 200, as in older revisions even for errors.
pub(super) fn message(message: Bytes) -> Box<Answer> {
    Answer::json(StatusCode::OK, message)
}

/// A body with status 200 and the upstream's header fields, of which only the media type is forwarded.
pub(super) fn older(fields: Fields, body: AnswerBody) -> Box<Answer> {
    Answer::new(StatusCode::OK, fields, body)
}

/// A response to the request `id`; `what` is its `result` or `error` member.
pub(super) fn to(id: &[u8], what: &str) -> Box<Answer> {
    message(format!(r#"{{"jsonrpc":"2.0","id":{},{what}}}"#, String::from_utf8_lossy(id)).into())
}

/// The client's capabilities and information are too long to be kept with its session.
pub(super) fn too_long(id: &[u8]) -> Box<Answer> {
    to(
        id,
        r#""error":{"code":-32602,"message":"The client says more of itself than can be kept; send at most 64 KiB"}"#,
    )
}

/// The request needs a session, and the client has none.
pub(super) fn needs_session(id: &[u8]) -> Box<Answer> {
    to(id, r#""error":{"code":-32600,"message":"This needs a session: begin with initialize"}"#)
}

/// A request about tasks to a server of the other era, whose tasks cannot be translated.
pub(super) fn no_tasks(id: &[u8], era: Era) -> Box<Answer> {
    let text = match era {
        Era::Legacy => "Method not found: the server is of 2026-07-28, and its tasks are not translated",
        Era::Modern => "Method not found: the server is of an older revision, and has no tasks there",
    };
    let mut answer = to(id, &format!(r#""error":{{"code":{METHOD_NOT_FOUND},"message":"{text}"}}"#));
    // In 2026-07-28 an unknown method has status 404.
    if era == Era::Modern {
        answer.status = StatusCode::NOT_FOUND;
    }
    answer
}

/// Task notifications need the tasks extension among the client's capabilities (the extension's "Task Status Notifications").
pub(super) fn needs_tasks(id: &[u8]) -> Box<Answer> {
    let needed = format!(r#"{{"requiredCapabilities":{{"extensions":{{"{TASKS_EXTENSION}":{{}}}}}}}}"#);
    let text = "Missing required client capability";
    let error = format!(r#""error":{{"code":{LACKING_CAPABILITY},"message":"{text}","data":{needed}}}"#);
    let mut answer = to(id, &error);
    answer.status = StatusCode::BAD_REQUEST;
    answer
}

/// The task no longer waits for this input.
pub(super) fn not_waiting(id: &[u8]) -> Box<Answer> {
    to(id, r#""error":{"code":-32602,"message":"What was asked is no longer waited for"}"#)
}

/// The status in 2026-07-28 of an older upstream's answer with `status`: an unknown method has 404, and a missing client
/// capability has 400.
pub(super) fn newer(status: StatusCode, answered: &Document) -> StatusCode {
    let error = answered.root().get("error");
    match error.and_then(|error| error.get("code")?.as_i64()) {
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(LACKING_CAPABILITY) => StatusCode::BAD_REQUEST,
        _ => status,
    }
}

/// An older upstream's error, with its status in 2026-07-28.
pub(super) fn error(answered: &Document, message: Bytes) -> Box<Answer> {
    Answer::json(newer(StatusCode::OK, answered), message)
}

/// The session is lost: 404.
pub(super) fn lost_session() -> Box<Answer> {
    Answer::bare(StatusCode::NOT_FOUND)
}

/// Whether the answer means that the session is lost (2025-11-25, "Session Management").
pub(super) fn has_lost_session(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND
}

/// Whether the status may be about the protocol era: it is not about a credential, a rate limit or a failure.
pub(super) fn may_be_about_eras(answer: &Answer) -> bool {
    answer.status.is_success() || matches!(answer.status.as_u16(), 400 | 404 | 405 | 406 | 415 | 422)
}
