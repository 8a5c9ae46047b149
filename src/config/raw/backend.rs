use serde::Deserialize;
use toml::Spanned;

/// `servers.NAME.concurrency`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Concurrency {
    pub(in crate::config) max_in_flight: Option<Spanned<i64>>,
    pub(in crate::config) per_principal: Option<Spanned<i64>>,
    pub(in crate::config) queue: Option<Spanned<i64>>,
    pub(in crate::config) queue_timeout: Option<Spanned<String>>,
    pub(in crate::config) streams: Option<Spanned<i64>>,
}

/// `servers.NAME.breaker`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Breaker {
    pub(in crate::config) failures: Option<Spanned<i64>>,
    pub(in crate::config) pause: Option<Spanned<String>>,
    pub(in crate::config) longest: Option<Spanned<String>>,
}

/// `servers.NAME.retries`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Retries {
    pub(in crate::config) attempts: Option<Spanned<i64>>,
    pub(in crate::config) tools: Option<Vec<Spanned<String>>>,
}

/// `servers.NAME.stdio`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Stdio {
    pub(in crate::config) processes: Option<Spanned<i64>>,
    pub(in crate::config) idle: Option<Spanned<String>>,
    pub(in crate::config) grace: Option<Spanned<String>>,
    pub(in crate::config) memory: Option<Spanned<String>>,
    pub(in crate::config) open_files: Option<Spanned<i64>>,
    pub(in crate::config) tasks: Option<Spanned<i64>>,
    pub(in crate::config) cpu_seconds: Option<Spanned<i64>>,
}
