//! Attribute and event names: those of OpenTelemetry's semantic conventions, and our own under `portcullis.`. The conventions
//! for MCP are still in development (semantic-conventions-genai, "MCP").

pub(super) const CLIENT_ADDRESS: &str = "client.address";
pub(super) const CLIENT_PORT: &str = "client.port";
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const EXECUTE_TOOL: &str = "execute_tool";
pub(super) const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub(super) const HTTP_RESPONSE_STATUS: &str = "http.response.status_code";
pub(super) const HTTP_ROUTE: &str = "http.route";
pub(super) const INSTANCE: &str = "service.instance.id";
pub(super) const METHOD: &str = "mcp.method.name";
pub(super) const NETWORK_PROTOCOL: &str = "network.protocol.name";
pub(super) const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
pub(super) const NETWORK_TRANSPORT: &str = "network.transport";
pub(super) const OPERATION: &str = "gen_ai.operation.name";
pub(super) const PROMPT: &str = "gen_ai.prompt.name";
pub(super) const PROTOCOL_VERSION: &str = "mcp.protocol.version";
pub(super) const RPC_ID: &str = "jsonrpc.request.id";
pub(super) const RPC_STATUS: &str = "rpc.response.status_code";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";
pub(super) const SERVICE_NAME: &str = "service.name";
pub(super) const SERVICE_VERSION: &str = "service.version";
pub(super) const SESSION: &str = "mcp.session.id";
pub(super) const TOOL: &str = "gen_ai.tool.name";
pub(super) const USER_AGENT: &str = "user_agent.original";

pub(super) const REQUEST_ID: &str = "portcullis.request_id";
pub(super) const SERVER: &str = "portcullis.server";

/// The event for a policy decision.
pub(super) const DECIDED: &str = "policy.decision";
pub(super) const DECISION: &str = "portcullis.policy.decision";
pub(super) const POLICY_VERSION: &str = "portcullis.policy.version";
pub(super) const RULE: &str = "portcullis.policy.rule";
pub(super) const SHADOW: &str = "portcullis.policy.shadow";

/// The event for the findings of a mask in one direction.
pub(super) const MASKED: &str = "mask.applied";
pub(super) const MASK: &str = "portcullis.mask.id";
pub(super) const MASK_ACTION: &str = "portcullis.mask.action";
pub(super) const MASK_COUNT: &str = "portcullis.mask.count";
pub(super) const MASK_DIRECTION: &str = "portcullis.mask.direction";
pub(super) const MASK_ENTITY: &str = "portcullis.mask.entity";
