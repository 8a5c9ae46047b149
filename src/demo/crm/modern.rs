//! Revision 2026-07-28: no sessions, everything in each request, headers that must agree with the body.

use std::sync::Arc;

use data_encoding::BASE64;
use http::header::HeaderMap;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::data::Contact;
use super::export::{self, Logs};
use super::listen::{self, Filter};
use super::methods::{self, Reply};
use super::rpc::{
    self, HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Message, Revision, RpcError,
    UNSUPPORTED_VERSION,
};
use super::{Shared, tools};
use crate::demo::web::{self, Body};

const REVISION: Revision = Revision::V2026_07_28;
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// Whether the headers name this revision.
pub(super) fn is_named(headers: &HeaderMap) -> bool {
    headers.get("mcp-protocol-version").is_some_and(|version| version == REVISION.as_str())
}

/// Whether a POST is meant for this era: its body says a version, or its headers say this one or a later one.
pub(super) fn is_meant(headers: &HeaderMap, message: &Value) -> bool {
    let named = headers.get("mcp-protocol-version").and_then(|version| version.to_str().ok());
    message.pointer("/params/_meta").and_then(|meta| meta.get(VERSION_KEY)).is_some()
        || named
            .is_some_and(|version| version >= REVISION.as_str() && message.get("method") != Some(&json!("initialize")))
}

/// One POST.
pub(super) fn post(shared: &Arc<Shared>, headers: &HeaderMap, message: Value) -> Response<Body> {
    let id = message.get("id").filter(|id| id.is_string() || id.is_i64() || id.is_u64()).cloned();
    let (id, method, params) = match Message::read(message) {
        Ok(Message::Request { id, method, params }) => (id, method, params),
        Ok(Message::Notification { .. }) => return web::empty(StatusCode::ACCEPTED),
        Ok(Message::Response) => {
            let error = RpcError::new(INVALID_REQUEST, "responses are not sent in this revision");
            return web::json(StatusCode::BAD_REQUEST, &error.message(None));
        }
        Err(error) => return web::json(StatusCode::BAD_REQUEST, &error.message(id.as_ref())),
    };
    if let Err(error) = check(headers, &method, &params) {
        return web::json(StatusCode::BAD_REQUEST, &error.message(Some(&id)));
    }
    answer(shared, id, &method, &params)
}

/// The order the conformance suite can tell apart: `_meta`, headers, version.
fn check(headers: &HeaderMap, method: &str, params: &Map<String, Value>) -> Result<(), RpcError> {
    let missing = |what: &str| RpcError::new(INVALID_PARAMS, format!("_meta lacks {what}"));
    let meta = params.get("_meta").and_then(Value::as_object).ok_or_else(|| missing(VERSION_KEY))?;
    let version = meta.get(VERSION_KEY).and_then(Value::as_str).ok_or_else(|| missing(VERSION_KEY))?;
    if !meta.get(CAPABILITIES_KEY).is_some_and(Value::is_object) {
        return Err(missing(CAPABILITIES_KEY));
    }
    agrees(headers, "MCP-Protocol-Version", Some(version), Coding::Plain)?;
    agrees(headers, "Mcp-Method", Some(method), Coding::Plain)?;
    if let Some(name) = named(method, params) {
        agrees(headers, "Mcp-Name", Some(name), Coding::Sentinel)?;
    }
    if method == "tools/call" {
        mirrored(headers, params)?;
    }
    if version != REVISION.as_str() {
        let data = json!({ "supported": [REVISION.as_str()], "requested": version });
        return Err(RpcError::new(UNSUPPORTED_VERSION, "Unsupported protocol version").with_data(data));
    }
    Ok(())
}

/// What `Mcp-Name` must say.
fn named<'a>(method: &str, params: &'a Map<String, Value>) -> Option<&'a str> {
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return None,
    };
    params.get(member).and_then(Value::as_str)
}

/// Every parameter with `x-mcp-header` must be in its header, as text.
fn mirrored(headers: &HeaderMap, params: &Map<String, Value>) -> Result<(), RpcError> {
    let tool = params.get("name").and_then(Value::as_str).and_then(tools::find);
    for param in tool.map(|tool| tool.params).unwrap_or_default() {
        let Some(header) = param.header else { continue };
        let value = params.get("arguments").and_then(|arguments| arguments.get(param.name));
        let value = value.and_then(Value::as_str);
        agrees(headers, &format!("Mcp-Param-{header}"), value, Coding::Sentinel)?;
    }
    Ok(())
}

/// Whether a header may carry Base64 between `=?base64?` and `?=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Sentinel,
}

/// The header must be there once and equal `wanted`, or not be there when nothing is wanted.
fn agrees(headers: &HeaderMap, name: &str, wanted: Option<&str>, coding: Coding) -> Result<(), RpcError> {
    let mismatch = |why: &str| RpcError::new(HEADER_MISMATCH, format!("Header mismatch: {name} {why}"));
    let mut values = headers.get_all(name).iter();
    let (value, second) = (values.next(), values.next());
    let (value, wanted) = match (value, second, wanted) {
        (None, _, None) => return Ok(()),
        (None, _, Some(_)) => return Err(mismatch("is missing")),
        (_, Some(_), _) => return Err(mismatch("is there twice")),
        (Some(_), _, None) => return Err(mismatch("has no counterpart in the body")),
        (Some(value), None, Some(wanted)) => (value, wanted),
    };
    let value = value.to_str().map_err(|_| mismatch("is not ASCII"))?.trim_matches([' ', '\t']);
    let encoded = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let same = match encoded.filter(|_| coding == Coding::Sentinel) {
        Some(encoded) => BASE64.decode(encoded.as_bytes()).map_err(|_| mismatch("is not Base64"))? == wanted.as_bytes(),
        None => value == wanted,
    };
    if same { Ok(()) } else { Err(mismatch("does not match the body")) }
}

fn answer(shared: &Arc<Shared>, id: Value, method: &str, params: &Map<String, Value>) -> Response<Body> {
    let reply = match method {
        "server/discover" => Ok(Reply::Result(discovered())),
        "subscriptions/listen" => match Filter::read(params) {
            Some(filter) => return listen::of_subscription(shared, id, filter),
            None => Err(RpcError::new(INVALID_PARAMS, "notifications is missing or malformed")),
        },
        _ => methods::answer(shared, REVISION, method, params),
    };
    let message = match reply {
        Ok(Reply::Export(contacts)) => {
            return export::answer(shared, exported(id, params, contacts), complete);
        }
        Ok(Reply::Result(result)) => rpc::result(&id, &cached(method, complete(result))),
        Err(error) => {
            let unknown = error.code == METHOD_NOT_FOUND;
            let status = if unknown { StatusCode::NOT_FOUND } else { StatusCode::OK };
            return web::json(status, &error.message(Some(&id)));
        }
    };
    if methods::prefers_stream(shared, method, params) {
        return methods::one_event(REVISION, None, &message);
    }
    web::json(StatusCode::OK, &message)
}

fn discovered() -> Value {
    json!({
        "supportedVersions": [REVISION.as_str()],
        "capabilities": methods::capabilities(),
        "instructions": methods::INSTRUCTIONS,
    })
}

/// What every result of this revision has.
fn complete(mut result: Value) -> Value {
    result["resultType"] = json!("complete");
    result["_meta"] = json!({ "io.modelcontextprotocol/serverInfo": methods::server_info() });
    result
}

/// The six methods whose results say how long they keep.
fn cached(method: &str, mut result: Value) -> Value {
    let (milliseconds, scope) = match method {
        "server/discover" | "tools/list" | "prompts/list" | "resources/templates/list" => (300_000, "public"),
        "resources/list" => (30_000, "public"),
        "resources/read" => (5_000, "private"),
        _ => return result,
    };
    result["ttlMs"] = json!(milliseconds);
    result["cacheScope"] = json!(scope);
    result
}

fn exported(id: Value, params: &Map<String, Value>, contacts: Vec<Contact>) -> export::Asked {
    let meta = |name: &str| params.get("_meta").and_then(|meta| meta.get(name)).cloned();
    let level = meta("io.modelcontextprotocol/logLevel");
    let wanted = level.as_ref().and_then(Value::as_str).is_some_and(|level| matches!(level, "debug" | "info"));
    let logs = if wanted { Logs::Wanted } else { Logs::Unwanted };
    export::Asked { id, revision: REVISION, contacts, progress_token: meta("progressToken"), logs, cancelled: None }
}
