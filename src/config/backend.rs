//! Where a protected server is, and how many calls it can take.

use std::time::Duration;

use url::Url;

/// `servers.NAME.upstream`.
#[derive(Clone, Debug)]
pub enum Backend {
    /// MCP endpoints over HTTP that stand for each other; the first names them all.
    Http(Vec<Url>),
}

impl Backend {
    /// The host of the first endpoint.
    pub fn host(&self) -> &str {
        match self {
            Self::Http(urls) => urls.first().and_then(Url::host_str).unwrap_or_default(),
        }
    }

    /// Scheme, host and port of the first endpoint.
    pub(crate) fn origin(&self) -> String {
        match self {
            Self::Http(urls) => urls.first().map(|url| url.origin().ascii_serialization()).unwrap_or_default(),
        }
    }

    /// Whether what is sent there is.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Self::Http(urls) => urls.iter().all(|url| url.scheme() == "https"),
        }
    }
}

/// `servers.NAME.concurrency`: bounds on what one endpoint is asked at once.
#[derive(Clone, Copy, Debug)]
pub struct Concurrency {
    /// Calls that are there.
    pub max_in_flight: u32,
    /// Of these, calls of one caller.
    pub per_principal: u32,
    /// Calls that wait for room.
    pub queue: usize,
    /// How long each of them may.
    pub queue_timeout: Duration,
    /// Open streams that are no call's answer.
    pub streams: usize,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            per_principal: 128,
            queue: 1_024,
            queue_timeout: Duration::from_secs(10),
            streams: 10_000,
        }
    }
}

/// `servers.NAME.breaker`: when an endpoint is left alone.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    /// After so many failures in a row.
    pub failures: u32,
    /// For how long at first; twice as long each time it has not come back.
    pub pause: Duration,
    /// And at most.
    pub longest: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

/// `servers.NAME.retries`: what is tried again of which nothing was delivered.
#[derive(Clone, Debug)]
pub struct Retries {
    /// How often.
    pub attempts: u32,
    /// Tools that may be called again besides those whose approved definition says so.
    pub tools: Vec<String>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 1, tools: Vec::new() }
    }
}
