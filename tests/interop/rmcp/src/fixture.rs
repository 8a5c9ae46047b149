//! The server's surface: lists, resources, prompts, completion, subscriptions and the task methods.

mod input;
mod legacy;
mod tasks;
mod tools;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, CompleteRequestParams,
        CompleteResult, ErrorCode, GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult,
        Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, RequestStateCodec, ServerCapabilities,
        ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
        UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{RequestContext, SubscriptionContext},
    task_manager::TaskManager,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// A red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A header and no samples.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

type Context = RequestContext<RoleServer>;

/// What listeners are told.
#[derive(Clone, Copy)]
enum Change {
    Prompts,
    Tools,
}

#[derive(Clone)]
pub struct Fixture {
    changes: broadcast::Sender<Change>,
    state: std::sync::Arc<RequestStateCodec>,
    tasks: TaskManager,
    tools: Vec<Tool>,
}

impl Fixture {
    pub fn new() -> Self {
        Self {
            changes: broadcast::channel(16).0,
            state: std::sync::Arc::new(RequestStateCodec::new(*b"only a fixture: nothing to protect")),
            tasks: TaskManager::new(),
            tools: tools::listed(),
        }
    }
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities: ServerCapabilities = typed(json!({
            "completions": {},
            "extensions": { "io.modelcontextprotocol/tasks": {} },
            "logging": {},
            "prompts": { "listChanged": true },
            "resources": { "listChanged": true, "subscribe": true },
            "tools": { "listChanged": true },
        }));
        ServerConfig::new(capabilities).with_server_info(Implementation::new("interop-fixture", "1.0.0"))
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: Context) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.clone()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: Context) -> Result<CallToolResponse, ErrorData> {
        self.call(request, context).await
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(typed(json!({ "resultType": "complete", "prompts": [
            { "name": "test_simple_prompt", "description": "One message" },
            { "name": "test_prompt_with_arguments", "description": "Two arguments", "arguments": [
                { "name": "arg1", "description": "First", "required": true },
                { "name": "arg2", "description": "Second", "required": true },
            ] },
            { "name": "test_prompt_with_embedded_resource", "description": "Embeds a resource", "arguments": [
                { "name": "resourceUri", "description": "What to embed", "required": true },
            ] },
            { "name": "test_prompt_with_image", "description": "Carries an image" },
            { "name": "test_input_required_result_prompt", "description": "Asks before it answers" },
        ] })))
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, _: Context) -> Result<GetPromptResponse, ErrorData> {
        let argument = |name: &str| {
            let value = request.arguments.as_ref().and_then(|arguments| arguments.get(name));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let messages = match request.name.as_str() {
            "test_simple_prompt" => json!([user_text("This is a simple prompt for testing.")]),
            "test_prompt_with_arguments" => json!([user_text(&format!(
                "Prompt with arguments: arg1='{}', arg2='{}'",
                argument("arg1"),
                argument("arg2")
            ))]),
            "test_prompt_with_embedded_resource" => json!([
                { "role": "user", "content": { "type": "resource", "resource": {
                    "uri": argument("resourceUri"),
                    "mimeType": "text/plain",
                    "text": "Embedded resource content for testing.",
                } } },
                user_text("Please process the embedded resource above."),
            ]),
            "test_prompt_with_image" => json!([
                { "role": "user", "content": { "type": "image", "data": PNG, "mimeType": "image/png" } },
                user_text("Please analyze the image above."),
            ]),
            "test_input_required_result_prompt" => match input::accepted(&request.input_responses, "user_context") {
                None => return Ok(input::required(&[("user_context", input::context())], None).into()),
                Some(content) => json!([user_text(&format!("Context: {content}"))]),
            },
            other => return Err(ErrorData::invalid_params(format!("Unknown prompt: {other}"), None)),
        };
        let result: rmcp::model::GetPromptResult = typed(json!({ "messages": messages, "resultType": "complete" }));
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(typed(json!({ "resultType": "complete", "resources": [
            { "uri": "test://static-text", "name": "static-text", "description": "Text", "mimeType": "text/plain" },
            { "uri": "test://static-binary", "name": "static-binary", "description": "An image", "mimeType": "image/png" },
            { "uri": "test://watched-resource", "name": "watched", "description": "Changes", "mimeType": "text/plain" },
        ] })))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(typed(json!({ "resultType": "complete", "resourceTemplates": [{
            "uriTemplate": "test://template/{id}/data",
            "name": "template",
            "description": "Data by id",
            "mimeType": "application/json",
        }] })))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let content = match (uri, id) {
            ("test://static-text", _) => json!({
                "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource.",
            }),
            ("test://static-binary", _) => json!({ "uri": uri, "mimeType": "image/png", "blob": PNG }),
            ("test://watched-resource", _) => json!({ "uri": uri, "mimeType": "text/plain", "text": "Watched." }),
            (_, Some(id)) => json!({
                "uri": uri,
                "mimeType": "application/json",
                "text": json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") }).to_string(),
            }),
            _ => {
                let data = Some(json!({ "uri": uri }));
                return Err(ErrorData::new(ErrorCode::RESOURCE_NOT_FOUND, "Resource not found", data));
            }
        };
        let result: rmcp::model::ReadResourceResult = typed(json!({ "contents": [content], "resultType": "complete" }));
        Ok(result.into())
    }

    async fn complete(&self, request: CompleteRequestParams, _: Context) -> Result<CompleteResult, ErrorData> {
        let values: Vec<&str> =
            ["paris", "park", "party"].into_iter().filter(|value| value.starts_with(&request.argument.value)).collect();
        Ok(typed(json!({
            "completion": { "values": values, "total": values.len(), "hasMore": false },
            "resultType": "complete",
        })))
    }

    async fn set_level(&self, _: SetLevelRequestParams, context: Context) -> Result<(), ErrorData> {
        self.legacy_only::<rmcp::model::SetLevelRequestMethod>(&context)
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            // What the client did not ask for is refused by the sink; that is the filter at work.
            let _ = match change {
                Ok(Change::Prompts) => context.sink().notify_prompt_list_changed().await,
                Ok(Change::Tools) => context.sink().notify_tool_list_changed().await,
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
        }
    }

    async fn get_task(&self, request: GetTaskParams, _: Context) -> Result<GetTaskResult, ErrorData> {
        self.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(&self, request: UpdateTaskParams, _: Context) -> Result<(), ErrorData> {
        self.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: Context) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&request.task_id)
    }
}

/// `value` as one of rmcp's types; the fixture's documents are constant, so a mismatch is a mistake in this file.
fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a document of the fixture fits rmcp's type")
}

fn user_text(text: &str) -> Value {
    json!({ "role": "user", "content": { "type": "text", "text": text } })
}

/// A tool result of one text block.
fn text(text: impl Into<String>) -> CallToolResult {
    content(json!([{ "type": "text", "text": text.into() }]))
}

/// A tool result of these blocks.
fn content(blocks: Value) -> CallToolResult {
    typed(json!({ "content": blocks, "resultType": "complete" }))
}
