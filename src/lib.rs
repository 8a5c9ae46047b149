//! An authenticating, policy-deciding, masking reverse proxy for MCP servers that already exist.

pub mod audit;
pub mod auth;
pub mod body;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cors;
pub mod demo;
pub mod instance;
pub mod json;
pub mod mask;
pub mod mcp;
pub mod opened;
pub mod policy;
pub mod proxy;
pub mod reject;
pub mod reply;
pub mod route;
pub mod seal;
pub mod secret;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod trail;
pub mod upstream;
