//! Revisions 2025-03-26 to 2025-11-25: `initialize`, sessions, the GET stream.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use http::header::{HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::export::{self, Logs};
use super::methods::{self, Reply};
use super::rpc::{self, INVALID_PARAMS, INVALID_REQUEST, Message, Revision, RpcError};
use super::{Priming, Shared, accepts, listen};
use crate::demo::web::{self, Body};
use crate::demo::{lock, random_text};

/// The oldest session makes room for the next.
const MOST_SESSIONS: usize = 1_000;
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// What one client agreed on.
#[derive(Debug)]
struct Session {
    revision: Revision,
    logs: Logs,
    subscriptions: BTreeSet<String>,
    /// Exports that can be cancelled, by request id.
    running: HashMap<String, Arc<Notify>>,
}

/// Sessions by id. Ids begin with a counter, so the first is the oldest.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<String, Session>,
    count: u64,
}

impl Sessions {
    fn begin(&mut self, revision: Revision) -> Option<String> {
        if self.by_id.len() >= MOST_SESSIONS {
            self.by_id.pop_first();
        }
        self.count += 1;
        let id = format!("{:08x}-{}", self.count, random_text().ok()?);
        let session =
            Session { revision, logs: Logs::Unwanted, subscriptions: BTreeSet::new(), running: HashMap::new() };
        self.by_id.insert(id.clone(), session);
        Some(id)
    }

    pub(super) fn subscribes(&self, session: &str, uri: &str) -> bool {
        self.by_id.get(session).is_some_and(|session| session.subscriptions.contains(uri))
    }

    pub(super) fn forget(&mut self) {
        self.by_id.clear();
    }
}

/// One POST of an older client.
pub(super) fn post(shared: &Arc<Shared>, headers: &HeaderMap, message: Value) -> Response<Body> {
    if is_initialize(&message) {
        return initialize(shared, message);
    }
    let (session, revision) = match session(shared, headers) {
        Ok(found) => found,
        Err(refused) => return refused.response(),
    };
    match message {
        Value::Array(batch) if revision == Revision::V2025_03_26 => answer_batch(shared, &session, batch),
        message => answer_one(shared, &session, revision, message),
    }
}

/// The GET stream.
pub(super) fn listen(shared: &Arc<Shared>, headers: &HeaderMap) -> Response<Body> {
    if !accepts(headers, "text/event-stream") {
        return web::empty(StatusCode::NOT_ACCEPTABLE);
    }
    match session(shared, headers) {
        Ok((session, revision)) => listen::of_session(shared, session, revision),
        Err(refused) => refused.response(),
    }
}

/// DELETE.
pub(super) fn end(shared: &Arc<Shared>, headers: &HeaderMap) -> Response<Body> {
    match session(shared, headers) {
        Ok((session, _)) => {
            lock(&shared.sessions).by_id.remove(&session);
            shared.hub.end_session(&session);
            web::empty(StatusCode::NO_CONTENT)
        }
        Err(refused) => refused.response(),
    }
}

fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    web::json(status, &RpcError::new(INVALID_REQUEST, why).message(None))
}

/// Why a request belongs to no session (MCP transports, session management).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoSession {
    NotNamed,
    Unknown,
    Version,
}

impl NoSession {
    fn response(self) -> Response<Body> {
        match self {
            Self::NotNamed => refuse(StatusCode::BAD_REQUEST, "Mcp-Session-Id is missing"),
            Self::Unknown => refuse(StatusCode::NOT_FOUND, "Session not found"),
            Self::Version => refuse(StatusCode::BAD_REQUEST, "Unsupported protocol version"),
        }
    }
}

/// The session the request belongs to.
fn session(shared: &Shared, headers: &HeaderMap) -> Result<(String, Revision), NoSession> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("mcp-protocol-version").is_some_and(|version| Revision::parse(version).is_none()) {
        return Err(NoSession::Version);
    }
    let id = text("mcp-session-id").ok_or(NoSession::NotNamed)?;
    let revision = lock(&shared.sessions).by_id.get(id).map(|session| session.revision);
    Ok((id.to_owned(), revision.ok_or(NoSession::Unknown)?))
}

fn is_initialize(message: &Value) -> bool {
    message.get("method") == Some(&json!("initialize"))
}

/// MCP lifecycle: the version asked for if it is known, else the newest of this era.
fn initialize(shared: &Shared, message: Value) -> Response<Body> {
    let (id, params) = match Message::read(message) {
        Ok(Message::Request { id, params, .. }) => (id, params),
        Ok(_) => return refuse(StatusCode::BAD_REQUEST, "initialize must be a request"),
        Err(error) => return web::json(StatusCode::BAD_REQUEST, &error.message(None)),
    };
    let Some(asked) = params.get("protocolVersion").and_then(Value::as_str) else {
        let error = RpcError::new(INVALID_PARAMS, "protocolVersion is missing");
        return web::json(StatusCode::OK, &error.message(Some(&id)));
    };
    let revision = Revision::parse(asked).filter(|revision| *revision < Revision::V2026_07_28);
    let revision = revision.unwrap_or(Revision::V2025_11_25);
    let result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": methods::capabilities(),
        "serverInfo": methods::server_info(),
        "instructions": methods::INSTRUCTIONS,
    });
    let session = lock(&shared.sessions).begin(revision).and_then(|id| HeaderValue::try_from(id).ok());
    let Some(session) = session else { return web::empty(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut response = web::json(StatusCode::OK, &rpc::result(&id, &result));
    response.headers_mut().insert("mcp-session-id", session);
    response
}

fn answer_one(shared: &Arc<Shared>, session: &str, revision: Revision, message: Value) -> Response<Body> {
    let id = message.get("id").cloned();
    let (id, method, params) = match Message::read(message) {
        Ok(Message::Request { id, method, params }) => (id, method, params),
        Ok(Message::Notification { method, params }) => {
            notified(shared, session, &method, &params);
            return web::empty(StatusCode::ACCEPTED);
        }
        Ok(Message::Response) => return web::empty(StatusCode::ACCEPTED),
        Err(error) => return web::json(StatusCode::BAD_REQUEST, &error.message(id.as_ref())),
    };
    let message = match answer(shared, session, revision, &method, &params) {
        Ok(Reply::Export(contacts)) => {
            let asked = exported(shared, session, revision, id, &params, contacts);
            return export::answer(shared, asked, |result| result);
        }
        Ok(Reply::Result(result)) => rpc::result(&id, &result),
        Err(error) => error.message(Some(&id)),
    };
    if methods::prefers_stream(shared, &method, &params) {
        let primed = shared.settings.priming == Priming::On && revision == Revision::V2025_11_25;
        return methods::one_event(revision, primed.then_some("answer-1"), &message);
    }
    web::json(StatusCode::OK, &message)
}

/// 2025-03-26 only: all answers in one array, exports without their progress.
fn answer_batch(shared: &Arc<Shared>, session: &str, batch: Vec<Value>) -> Response<Body> {
    let revision = Revision::V2025_03_26;
    let mut answers = Vec::new();
    if batch.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "a batch must not be empty");
    }
    for message in batch {
        let id = message.get("id").cloned();
        match Message::read(message) {
            Ok(Message::Request { id, method, params }) => {
                answers.push(match answer(shared, session, revision, &method, &params) {
                    Ok(Reply::Result(result)) => rpc::result(&id, &result),
                    Ok(Reply::Export(_)) => RpcError::new(INVALID_REQUEST, "no exports in a batch").message(Some(&id)),
                    Err(error) => error.message(Some(&id)),
                });
            }
            Ok(Message::Notification { method, params }) => notified(shared, session, &method, &params),
            Ok(Message::Response) => {}
            Err(error) => answers.push(error.message(id.as_ref())),
        }
    }
    if answers.is_empty() { web::empty(StatusCode::ACCEPTED) } else { web::json(StatusCode::OK, &json!(answers)) }
}

fn answer(
    shared: &Arc<Shared>,
    session: &str,
    revision: Revision,
    method: &str,
    params: &Map<String, Value>,
) -> Result<Reply, RpcError> {
    let done = || Ok(Reply::Result(json!({})));
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let invalid = |why: &str| RpcError::new(INVALID_PARAMS, why);
    match method {
        "ping" => done(),
        "logging/setLevel" => {
            let level = text("level").filter(|level| LEVELS.contains(level)).ok_or(invalid("level is not known"))?;
            let logs = if matches!(level, "debug" | "info") { Logs::Wanted } else { Logs::Unwanted };
            in_session(shared, session, |session| session.logs = logs);
            done()
        }
        "resources/subscribe" => {
            let uri = text("uri").ok_or(invalid("uri is missing"))?.to_owned();
            in_session(shared, session, |session| session.subscriptions.insert(uri));
            done()
        }
        "resources/unsubscribe" => {
            let uri = text("uri").ok_or(invalid("uri is missing"))?;
            in_session(shared, session, |session| session.subscriptions.remove(uri));
            done()
        }
        _ => methods::answer(shared, revision, method, params),
    }
}

fn in_session<T>(shared: &Shared, session: &str, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
    lock(&shared.sessions).by_id.get_mut(session).map(act)
}

fn notified(shared: &Shared, session: &str, method: &str, params: &Map<String, Value>) {
    let id = params.get("requestId").map(Value::to_string);
    if let ("notifications/cancelled", Some(id)) = (method, id)
        && let Some(Some(running)) = in_session(shared, session, |session| session.running.remove(&id))
    {
        running.notify_one();
    }
}

fn exported(
    shared: &Shared,
    session: &str,
    revision: Revision,
    id: Value,
    params: &Map<String, Value>,
    contacts: Vec<super::data::Contact>,
) -> export::Asked {
    let cancelled = Arc::new(Notify::new());
    let logs = in_session(shared, session, |session| {
        // Those whose stream is gone can no longer be cancelled.
        session.running.retain(|_, running| Arc::strong_count(running) > 1);
        session.running.insert(id.to_string(), cancelled.clone());
        session.logs
    });
    let progress_token = params.get("_meta").and_then(|meta| meta.get("progressToken")).cloned();
    let logs = logs.unwrap_or(Logs::Unwanted);
    export::Asked { id, revision, contacts, progress_token, logs, cancelled: Some(cancelled) }
}
