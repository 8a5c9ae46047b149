//! An authenticating, policy-deciding, masking reverse proxy for MCP servers that already exist.

pub mod audit;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod json;
pub mod mask;
pub mod mcp;
pub mod seal;
pub mod policy;
pub mod secret;
pub mod server;
pub mod telemetry;
pub mod upstream;
