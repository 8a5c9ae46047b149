//! The client of rmcp, driven by a suite.
//!
//! Usage: `client URL MODE READ WRITE`, where MODE is `legacy` or `modern` and READ and WRITE are `{"name", "arguments"}`.
//! Each line on stdout is one event. After `{"login": URL}` the suite signs the user in and writes the URL the client is
//! called back with. rmcp shows a 403 to the application, which here does what an application should: it asks for the
//! wider scope, lets the user sign in, and calls again.

use std::{env, error::Error, io, time::Duration};

use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient,
    model::{CallToolRequestParams, ProtocolVersion},
    service::{RunningService, ServiceError},
    transport::{
        StreamableHttpClientTransport,
        auth::{AuthClient, AuthorizationCallback, AuthorizationManager, AuthorizationRequest, OAuthState},
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};

const CALLBACK: &str = "http://127.0.0.1:33999/callback";
const LIMIT: Duration = Duration::from_secs(60);

type Failure = Box<dyn Error>;
type Client = RunningService<RoleClient, ()>;

#[tokio::main]
async fn main() {
    let outcome = tokio::time::timeout(LIMIT, drive()).await.unwrap_or_else(|late| Err(late.into()));
    if let Err(error) = outcome {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        say(&json!({ "error": text }));
        std::process::exit(1);
    }
}

async fn drive() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, mode, read, write] = arguments.as_slice() else {
        return Err("usage: client URL MODE READ WRITE".into());
    };
    let challenge = challenged(url, mode).await?;
    let mut state = OAuthState::new(url, None).await?;
    state.start_authorization(AuthorizationRequest::new(CALLBACK).with_challenge(challenge)).await?;
    let back = sign_in(&state.get_authorization_url().await?)?;
    state.handle_callback_url(&back).await?;
    let manager = state.into_authorization_manager().ok_or("the login left no manager")?;
    let http = AuthClient::new(reqwest::Client::builder().timeout(LIMIT).build()?, manager);
    let manager = http.auth_manager.clone();
    let config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
    let transport = StreamableHttpClientTransport::with_client(http, config);
    let client = ().serve_with_lifecycle(transport, lifecycle(mode)?).await?;
    let version = client.peer_info().map(|info| info.protocol_version.to_string());
    say(&json!({ "version": version }));
    let tools = client.list_all_tools().await?;
    say(&json!({ "tools": tools.iter().map(|tool| tool.name.to_string()).collect::<Vec<_>>() }));
    say_result("read", &call(&client, read).await?);
    let result = match call(&client, write).await {
        Err(error) => {
            let challenge = error.auth_challenge().ok_or_else(|| error.to_string())?;
            say(&json!({ "refused": challenge }));
            step_up(&*manager.lock().await, challenge).await?;
            call(&client, write).await?
        }
        Ok(result) => result,
    };
    say_result("write", &result);
    Ok(())
}

/// What the server says to a client without a token.
async fn challenged(url: &str, mode: &str) -> Result<String, Failure> {
    let transport = StreamableHttpClientTransport::from_uri(url);
    match ().serve_with_lifecycle(transport, lifecycle(mode)?).await {
        Ok(_) => Err("the first request was not refused".into()),
        Err(error) => Ok(error.auth_challenge().ok_or_else(|| error.to_string())?.to_owned()),
    }
}

/// A token for the scopes of the challenge as well.
async fn step_up(manager: &AuthorizationManager, challenge: &str) -> Result<(), Failure> {
    let (_, rest) = challenge.split_once(" scope=\"").ok_or("the challenge names no scope")?;
    let (scope, _) = rest.split_once('"').ok_or("the scope has no end")?;
    let back = sign_in(&manager.request_scope_upgrade(scope).await?)?;
    let back = AuthorizationCallback::from_redirect_url(&back)?;
    manager.exchange_code_for_token_with_issuer(&back.code, &back.csrf_token, back.issuer.as_deref()).await?;
    Ok(())
}

fn lifecycle(mode: &str) -> Result<ClientLifecycleMode, Failure> {
    match mode {
        "legacy" => Ok(ClientLifecycleMode::Initialize),
        "modern" => Ok(ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }),
        other => Err(format!("no such mode: {other}").into()),
    }
}

async fn call(client: &Client, call: &str) -> Result<Value, ServiceError> {
    let mut call: Value = serde_json::from_str(call).expect("the suite writes JSON");
    let mut params = CallToolRequestParams::new(call["name"].as_str().unwrap_or_default().to_owned());
    if let Value::Object(arguments) = call["arguments"].take() {
        params = params.with_arguments(arguments);
    }
    client.call_tool(params).await.map(|result| json!(result))
}

/// Lets the suite be the browser.
fn sign_in(url: &str) -> Result<String, io::Error> {
    say(&json!({ "login": url }));
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn say_result(step: &str, result: &Value) {
    let blocks = result["content"].as_array().cloned().unwrap_or_default();
    let words: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    say(&json!({ step: words.join("\n"), "failed": result["isError"] == true }));
}

fn say(event: &Value) {
    println!("{event}");
}
