//! The client of rmcp as a program that signs in as itself, driven by a suite.
//!
//! Usage: `machine URL MODE ISSUER CLIENT SHOWN CALL`, where MODE is `legacy` or `modern`, CLIENT is `post` or `signed`, SHOWN
//! its secret or the file of its private key, and CALL is `{"name", "arguments"}`. Each line on stdout is one event: `version`,
//! `said` and, when something failed, `error`.

use std::{env, error::Error, time::Duration};

use rmcp::{
    ClientLifecycleMode, ClientServiceExt,
    model::{CallToolRequestParams, ProtocolVersion},
    transport::{
        StreamableHttpClientTransport,
        auth::{AuthClient, ClientCredentialsConfig, JwtSigningAlgorithm, OAuthState},
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() {
    let outcome = tokio::time::timeout(LIMIT, drive()).await.unwrap_or_else(|late| Err(late.into()));
    if let Err(error) = outcome {
        println!("{}", json!({ "error": error.to_string() }));
        std::process::exit(1);
    }
}

async fn drive() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, mode, issuer, client, shown, call] = arguments.as_slice() else {
        return Err("usage: machine URL MODE ISSUER CLIENT SHOWN CALL".into());
    };
    let mut state = OAuthState::new(url, None).await?;
    state.authenticate_client_credentials(credentials(url, issuer, client, shown)?).await?;
    let manager = state.into_authorization_manager().ok_or("signing in left no manager")?;
    let http = AuthClient::new(reqwest::Client::builder().timeout(LIMIT).build()?, manager);
    let config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
    let transport = StreamableHttpClientTransport::with_client(http, config);
    let client = ().serve_with_lifecycle(transport, lifecycle(mode)?).await?;
    let version = client.peer_info().map(|info| info.protocol_version.to_string());
    println!("{}", json!({ "version": version }));
    let mut call: Value = serde_json::from_str(call)?;
    let mut params = CallToolRequestParams::new(call["name"].as_str().unwrap_or_default().to_owned());
    if let Value::Object(arguments) = call["arguments"].take() {
        params = params.with_arguments(arguments);
    }
    let result = json!(client.call_tool(params).await?);
    println!("{}", json!({ "said": result["content"][0]["text"] }));
    Ok(())
}

fn credentials(url: &str, issuer: &str, client: &str, shown: &str) -> Result<ClientCredentialsConfig, Failure> {
    let (client_id, scopes, resource) = (client.to_owned(), vec!["use".to_owned()], Some(url.to_owned()));
    Ok(if client == "signed" {
        ClientCredentialsConfig::PrivateKeyJwt {
            client_id,
            signing_key: std::fs::read(shown)?,
            signing_algorithm: JwtSigningAlgorithm::ES256,
            token_endpoint_audience: Some(issuer.to_owned()),
            scopes,
            resource,
        }
    } else {
        ClientCredentialsConfig::ClientSecret { client_id, client_secret: shown.to_owned(), scopes, resource }
    })
}

fn lifecycle(mode: &str) -> Result<ClientLifecycleMode, Failure> {
    match mode {
        "legacy" => Ok(ClientLifecycleMode::Initialize),
        "modern" => Ok(ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }),
        other => Err(format!("no such mode: {other}").into()),
    }
}
