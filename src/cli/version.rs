//! `portcullis version`: what this binary is.

use clap::Args;
use serde_json::json;

use super::{Exit, Streams};

/// Revisions of the Model Context Protocol spoken toward clients.
const REVISIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];

/// Arguments of `version`.
#[derive(Args, Debug)]
pub struct Version {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Version {
    /// Prints it.
    pub fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let version = env!("CARGO_PKG_VERSION");
        let commit = option_env!("PORTCULLIS_COMMIT");
        if self.json {
            streams.print(json!({
                "schema_version": 1,
                "version": version,
                "commit": commit,
                "mcp": REVISIONS,
                "crypto": "aws-lc-rs",
                "features": [],
            }));
        } else {
            streams.print(format_args!("portcullis {version} ({})", commit.unwrap_or("commit not recorded")));
            streams.print(format_args!("mcp {}", REVISIONS.join(" ")));
            streams.print("crypto aws-lc-rs");
        }
        Exit::Done
    }
}
