//! A server for the MCP conformance suite, written on rmcp: every tool, prompt and resource the suite's scenarios call,
//! for the revisions with `initialize` and for 2026-07-28. `PORT` chooses the port (0: any); one line says where it is.

use std::{env, error::Error, sync::Arc};

use portcullis_interop_rmcp::fixture::Fixture;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let fixture = Fixture::new();
    let service = StreamableHttpService::new(
        move || Ok(fixture.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default().with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*"]),
    );
    let router = axum::Router::new().nest_service("/mcp", service);
    let port: u16 = env::var("PORT").map_or(Ok(0), |text| text.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
