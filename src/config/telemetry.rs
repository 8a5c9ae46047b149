//! `[telemetry]`: how log lines look, and where traces go.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use url::Url;

/// `[telemetry]`.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where spans go; `None` if tracing is off.
    pub traces: Option<Traces>,
}

/// `telemetry.log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// JSON lines.
    Json,
    /// For people.
    Pretty,
}

/// Where spans go and which are sent, from `proxy.toml` or OpenTelemetry's environment variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The URL that batches are posted to.
    pub endpoint: Url,
    /// Sent with every batch, marked as sensitive.
    pub headers: HeaderMap,
    /// `service.name`.
    pub service_name: String,
    /// Further resource attributes.
    pub attributes: BTreeMap<String, String>,
    /// Which requests are sampled.
    pub sampling: Sampling,
    /// The timeout of a batch.
    pub timeout: Duration,
}

/// Which requests are sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The share of traces, from 0 to 1.
    pub share: f64,
    /// Whether the sampled flag of a caller decides, if there is one.
    pub follows_caller: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { share: 1.0, follows_caller: false }
    }
}
