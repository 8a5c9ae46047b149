//! The methods both eras share.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::data::Contact;
use super::rpc::{self, INVALID_PARAMS, METHOD_NOT_FOUND, Revision, RpcError};
use super::tools::Called;
use super::{Answers, Shared, catalog, tools};
use crate::demo::lock;

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Reply {
    /// Contacts, one by one.
    Export(Vec<Contact>),
    /// A result.
    Result(Value),
}

/// Carries out `method`.
pub(super) fn answer(
    shared: &Arc<Shared>,
    revision: Revision,
    method: &str,
    params: &Map<String, Value>,
) -> Result<Reply, RpcError> {
    if method == "tools/call" {
        return call(shared, revision, params);
    }
    let store = lock(&shared.store);
    let result = match method {
        "tools/list" => json!({ "tools": tools::list(revision) }),
        "resources/list" => catalog::resources(&store, params)?,
        "resources/templates/list" => catalog::templates(),
        "resources/read" => catalog::read(&store, params, revision)?,
        "prompts/list" => catalog::prompts(),
        "prompts/get" => catalog::prompt(&store, params)?,
        "completion/complete" => catalog::complete(&store, params)?,
        _ => return Err(RpcError::new(METHOD_NOT_FOUND, "Method not found")),
    };
    Ok(Reply::Result(result))
}

fn call(shared: &Arc<Shared>, revision: Revision, params: &Map<String, Value>) -> Result<Reply, RpcError> {
    let invalid = |why: &str| RpcError::new(INVALID_PARAMS, why);
    let name = params.get("name").and_then(Value::as_str).ok_or(invalid("name is missing"))?;
    let tool = tools::find(name).ok_or_else(|| RpcError::new(INVALID_PARAMS, format!("Unknown tool: {name}")))?;
    let none = Map::new();
    let arguments = match params.get("arguments") {
        None => &none,
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return Err(invalid("arguments must be an object")),
    };
    let called = tool.call(&mut lock(&shared.store), arguments);
    Ok(match called {
        Called::Export(contacts) => Reply::Export(contacts),
        Called::Done(outcome) => {
            for change in &outcome.changes {
                shared.announce(change);
            }
            Reply::Result(outcome.result(revision))
        }
    })
}

/// What every revision says about this server.
pub(super) fn capabilities() -> Value {
    json!({
        "tools": { "listChanged": true },
        "resources": { "subscribe": true, "listChanged": true },
        "prompts": {},
        "completions": {},
        "logging": {},
    })
}

/// Name and version.
pub(super) fn server_info() -> Value {
    json!({ "name": "sample-crm", "title": "Sample CRM", "version": env!("CARGO_PKG_VERSION") })
}

/// For the model.
pub(super) const INSTRUCTIONS: &str =
    "A sample CRM with made-up people. Search first, then read a contact by its id. Questions: crm@example.com.";

/// Whether this server answers the request with an event stream though it need not.
pub(super) fn prefers_stream(shared: &Shared, method: &str, params: &Map<String, Value>) -> bool {
    let tool = || params.get("name").and_then(Value::as_str).and_then(tools::find);
    match shared.settings.answers {
        Answers::Json => false,
        Answers::Mixed => method == "tools/call" && tool().is_some_and(|tool| tool.streams),
        Answers::Stream => true,
    }
}

/// `message` as a stream of one event.
pub(super) fn one_event(
    revision: Revision,
    id: Option<&str>,
    message: &Value,
) -> http::Response<crate::demo::web::Body> {
    let event = rpc::event(revision, id, message);
    crate::demo::web::events(futures_util::stream::iter([event]))
}
