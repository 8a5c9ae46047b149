//! JSON-RPC messages and protocol revisions, as much as one small server needs.

use bytes::Bytes;
use serde_json::{Map, Value, json};

pub(super) const PARSE_ERROR: i64 = -32700;
pub(super) const INVALID_REQUEST: i64 = -32600;
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
pub(super) const INVALID_PARAMS: i64 = -32602;
/// Not found, up to 2025-11-25.
pub(super) const RESOURCE_NOT_FOUND: i64 = -32002;
pub(super) const HEADER_MISMATCH: i64 = -32020;
pub(super) const UNSUPPORTED_VERSION: i64 = -32022;

/// The protocol revisions spoken here, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Revision {
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl Revision {
    const ALL: [Self; 4] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }
}

/// One message from a client.
#[derive(Debug)]
pub(super) enum Message {
    Notification { method: String, params: Map<String, Value> },
    Request { id: Value, method: String, params: Map<String, Value> },
    Response,
}

impl Message {
    /// JSON-RPC 2.0 4 and 5; an id is a string or an integer, never null.
    pub(super) fn read(message: Value) -> Result<Self, RpcError> {
        let Value::Object(mut message) = message else { return Err(invalid("a message must be an object")) };
        if message.get("jsonrpc") != Some(&json!("2.0")) {
            return Err(invalid("jsonrpc must be \"2.0\""));
        }
        let id = message.remove("id");
        if id.as_ref().is_some_and(|id| !(id.is_string() || id.is_i64() || id.is_u64())) {
            return Err(invalid("an id must be a string or an integer"));
        }
        let Some(method) = message.remove("method") else {
            let is_response = id.is_some() && (message.contains_key("result") || message.contains_key("error"));
            return if is_response { Ok(Self::Response) } else { Err(invalid("method is missing")) };
        };
        let Value::String(method) = method else { return Err(invalid("method must be a string")) };
        let params = match message.remove("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(invalid("params must be an object")),
        };
        Ok(match id {
            Some(id) => Self::Request { id, method, params },
            None => Self::Notification { method, params },
        })
    }
}

fn invalid(why: &str) -> RpcError {
    RpcError::new(INVALID_REQUEST, why)
}

/// What goes into `error`.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct RpcError {
    pub(super) code: i64,
    message: String,
    data: Option<Value>,
}

impl RpcError {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(super) fn with_data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The whole message; without an id when none could be read.
    pub(super) fn message(&self, id: Option<&Value>) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        let mut message = json!({ "jsonrpc": "2.0", "error": error });
        if let Some(id) = id {
            message["id"] = id.clone();
        }
        message
    }
}

/// The answer to `id`.
pub(super) fn result(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// A message nobody answers.
pub(super) fn notification(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// `message` as one server-sent event, spelled as servers of that revision mostly do.
pub(super) fn event(revision: Revision, id: Option<&str>, message: &Value) -> Bytes {
    let name = if revision < Revision::V2026_07_28 { "event: message\n" } else { "" };
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    Bytes::from(format!("{name}{id}data: {message}\n\n"))
}
