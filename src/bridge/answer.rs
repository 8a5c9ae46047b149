//! Errors a bridge answers in the upstream's place. Clients get them through the same code as an upstream's own.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::json::{Document, Splice};
use crate::mcp::Era;
use crate::mcp::handle::TASKS_EXTENSION;
use crate::upstream::{Answer, AnswerBody};

/// JSON-RPC 2.0, section 5.1.
pub(super) const METHOD_NOT_FOUND: i64 = -32_601;
/// 2026-07-28, "Error Codes": the client did not declare what the request needs.
const LACKING_CAPABILITY: i64 = -32_021;

/// An upstream's message as a client of another era knows it.
#[derive(Debug)]
pub(super) enum Rewritten {
    /// Another message in its place.
    Anew(Bytes),
    /// The same but for this.
    Edited(Splice),
    /// The same but for its id and what each era has its results say of themselves, so that all else is to be read in it as
    /// in the client's.
    Framed(Splice),
}

impl Rewritten {
    /// The message; `document` is what it was.
    pub(super) fn bytes(self, document: &Document) -> Bytes {
        match self {
            Self::Anew(bytes) => bytes,
            Self::Edited(splice) | Self::Framed(splice) => splice.apply(document.bytes()),
        }
    }

    /// The same as a body.
    pub(super) fn body(self, document: Document) -> AnswerBody {
        match self {
            Self::Framed(splice) => AnswerBody::read(document, splice),
            Self::Anew(_) | Self::Edited(_) => AnswerBody::whole(self.bytes(&document)),
        }
    }
}

/// A notification or response was taken.
pub(super) fn accepted() -> Answer {
    Answer::bare(StatusCode::ACCEPTED)
}

/// The session has ended.
pub(super) fn ended() -> Answer {
    Answer::bare(StatusCode::OK)
}

/// There is no such session.
pub(super) fn no_session() -> Answer {
    Answer::bare(StatusCode::NOT_FOUND)
}

/// The upstream said something that is of no use.
pub(super) fn unusable() -> Answer {
    Answer::bare(StatusCode::BAD_GATEWAY)
}

/// There is no room.
pub(super) fn full() -> Answer {
    Answer::bare(StatusCode::SERVICE_UNAVAILABLE)
}

/// One message, as older revisions answer whatever it says.
pub(super) fn message(message: Bytes) -> Answer {
    Answer::json(StatusCode::OK, message)
}

/// The same with the head its upstream gave it, of which nothing but the media type goes further.
pub(super) fn older(headers: HeaderMap, body: AnswerBody) -> Answer {
    Answer { status: StatusCode::OK, headers, body }
}

/// A result or error, `what`, for the request with that id.
pub(super) fn to(id: &[u8], what: &str) -> Answer {
    message(format!(r#"{{"jsonrpc":"2.0","id":{},{what}}}"#, String::from_utf8_lossy(id)).into())
}

/// What a client says of itself is kept as long as its session is, and this is too long for that.
pub(super) fn too_long(id: &[u8]) -> Answer {
    to(
        id,
        r#""error":{"code":-32602,"message":"The client says more of itself than can be kept; send at most 64 KiB"}"#,
    )
}

/// What is asked is about a session, and the client has none of its own.
pub(super) fn needs_session(id: &[u8]) -> Answer {
    to(id, r#""error":{"code":-32600,"message":"This needs a session: begin with initialize"}"#)
}

/// A client asks for a task where the server, which is of another revision, has none it could be told of.
pub(super) fn no_tasks(id: &[u8], era: Era) -> Answer {
    let text = match era {
        Era::Legacy => "Method not found: the server is of 2026-07-28, and its tasks are not translated",
        Era::Modern => "Method not found: the server is of an older revision, and has no tasks there",
    };
    let Answer { headers, body, .. } = to(id, &format!(r#""error":{{"code":{METHOD_NOT_FOUND},"message":"{text}"}}"#));
    // 2026-07-28 has a status of its own for that.
    let status = if era == Era::Modern { StatusCode::NOT_FOUND } else { StatusCode::OK };
    Answer { status, headers, body }
}

/// News of tasks are for clients that can have tasks (the extension's "Task Status Notifications").
pub(super) fn needs_tasks(id: &[u8]) -> Answer {
    let needed = format!(r#"{{"requiredCapabilities":{{"extensions":{{"{TASKS_EXTENSION}":{{}}}}}}}}"#);
    let text = "Missing required client capability";
    let error = format!(r#""error":{{"code":{LACKING_CAPABILITY},"message":"{text}","data":{needed}}}"#);
    Answer { status: StatusCode::BAD_REQUEST, ..to(id, &error) }
}

/// What a task asked before is no longer waited for.
pub(super) fn not_waiting(id: &[u8]) -> Answer {
    to(id, r#""error":{"code":-32602,"message":"What was asked is no longer waited for"}"#)
}

/// The status of what an older upstream answered with that status, as 2026-07-28 answers: a method that is not there, and a
/// capability the client lacks, have statuses of their own.
pub(super) fn newer(status: StatusCode, answered: &Document) -> StatusCode {
    let error = answered.root().get("error");
    match error.and_then(|error| error.get("code")?.as_i64()) {
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(LACKING_CAPABILITY) => StatusCode::BAD_REQUEST,
        _ => status,
    }
}

/// An error an older upstream answered with, as 2026-07-28 answers.
pub(super) fn error(answered: &Document, message: Bytes) -> Answer {
    Answer::json(newer(StatusCode::OK, answered), message)
}

/// What a server says that has lost the session.
pub(super) fn lost_session() -> Answer {
    Answer::bare(StatusCode::NOT_FOUND)
}

/// Whether a server says that it has lost the session (2025-11-25 "Session Management").
pub(super) fn has_lost_session(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND
}

/// Whether the status says nothing about a credential, a rate or a failure, so that it may be about eras.
pub(super) fn may_be_about_eras(answer: &Answer) -> bool {
    answer.status.is_success() || matches!(answer.status.as_u16(), 400 | 404 | 405 | 406 | 415 | 422)
}
