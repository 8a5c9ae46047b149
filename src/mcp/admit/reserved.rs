//! Keys the proxy or a peer gives a meaning to. A disguised spelling of one is refused where it could be taken for it.

use crate::mcp::disguise::Reserved;

/// Members of `params`, of any method and revision.
pub(super) const PARAMS: Reserved = Reserved::of(&[
    "_meta",
    "name",
    "arguments",
    "uri",
    "cursor",
    "argument",
    "capabilities",
    "clientInfo",
    "content",
    "context",
    "inputResponses",
    "level",
    "message",
    "mode",
    "notifications",
    "progress",
    "progressToken",
    "protocolVersion",
    "reason",
    "ref",
    "requestId",
    "requestState",
    "task",
    "taskId",
    "total",
]);

/// Members of `_meta`, `ref`, `notifications`, `clientInfo` and capabilities.
pub(super) const NESTED: Reserved = Reserved::of(&[
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/related-task",
    "io.modelcontextprotocol/serverInfo",
    "io.modelcontextprotocol/subscriptionId",
    "progressToken",
    "traceparent",
    "tracestate",
    "baggage",
    "elicitation",
    "experimental",
    "extensions",
    "name",
    "promptsListChanged",
    "resourceSubscriptions",
    "resourcesListChanged",
    "roots",
    "sampling",
    "taskIds",
    "tasks",
    "toolsListChanged",
    "type",
    "uri",
    "version",
]);

/// Members of a client's result or error.
pub(super) const RESULT: Reserved = Reserved::of(&[
    "_meta",
    "action",
    "code",
    "content",
    "data",
    "message",
    "model",
    "role",
    "roots",
    "stopReason",
    "task",
]);
