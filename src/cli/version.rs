//! `portcullis version`: what this binary is.

use clap::Args;
use serde_json::json;

use super::{Exit, Streams};
use crate::mcp::Revision;

/// What a script may ask for before it relies on it; a version that can do more names more.
const FEATURES: [&str; 17] = [
    "audit-file",
    "bridging",
    "dpop",
    "healthcheck",
    "http-sse",
    "http2",
    "introspection",
    "masking",
    "metrics",
    "mutual-tls",
    "reload",
    "sealed-sessions",
    "shared-signals",
    "stdio",
    "step-up",
    "tls",
    "token-exchange",
];

/// Arguments of `version`.
#[derive(Args, Debug)]
#[command(before_long_help = "Examples:
  portcullis version                               for people
  portcullis version --json | jq -r '.mcp[-1]'     the newest protocol revision spoken toward clients")]
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
        let revisions = Revision::SERVED.map(Revision::as_str);
        if self.json {
            streams.print(json!({
                "schema_version": 1,
                "version": version,
                "commit": commit,
                "mcp": revisions,
                "crypto": "aws-lc-rs",
                "features": FEATURES,
            }));
        } else {
            streams.print(format_args!("portcullis {version} ({})", commit.unwrap_or("commit not recorded")));
            streams.print(format_args!("mcp       {}", revisions.join(" ")));
            streams.print("crypto    aws-lc-rs");
            streams.print(format_args!("features  {}", FEATURES.join(" ")));
        }
        Exit::Done
    }
}
