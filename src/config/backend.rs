//! Where a protected server is, and how many calls it can take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::secret::Secret;

/// `servers.NAME.upstream`.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A program that is started, and spoken to over its standard input and output.
    Command(Box<Command>),
    /// MCP endpoints over HTTP that stand for each other; the first names them all.
    Http(Vec<Url>),
}

impl Backend {
    /// The host of the first endpoint.
    pub fn host(&self) -> &str {
        match self {
            Self::Command(_) => "",
            Self::Http(urls) => urls.first().and_then(Url::host_str).unwrap_or_default(),
        }
    }

    /// Scheme, host and port of the first endpoint; nothing for a program.
    pub(crate) fn origin(&self) -> String {
        match self {
            Self::Command(_) => String::new(),
            Self::Http(urls) => urls.first().map(|url| url.origin().ascii_serialization()).unwrap_or_default(),
        }
    }

    /// Whether what is sent there is.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Self::Command(_) => false,
            Self::Http(urls) => urls.iter().all(|url| url.scheme() == "https"),
        }
    }
}

/// `servers.NAME.command`, and the keys about it.
#[derive(Clone, Debug)]
pub struct Command {
    /// What is started, looked for in `PATH` if it is only a name.
    pub program: String,
    /// What it is started with.
    pub arguments: Vec<String>,
    /// Its environment, besides `PATH`, `HOME` and `LANG`.
    pub env: BTreeMap<String, Secret<String>>,
    /// The folder it starts in; the proxy's own by default.
    pub cwd: Option<PathBuf>,
    /// Who it runs as; the proxy's own user by default.
    pub user: Option<User>,
    /// Who shares a process.
    pub sessions: Sharing,
    /// The most processes.
    pub processes: usize,
    /// How long a process may have nothing to do.
    pub idle: Duration,
    /// How long one that is to end may take, before it is told to and again before it is made to.
    pub grace: Duration,
    /// What one process may use.
    pub limits: ChildLimits,
}

impl Default for Command {
    fn default() -> Self {
        Self {
            program: String::new(),
            arguments: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            sessions: Sharing::default(),
            processes: 64,
            idle: Duration::from_mins(10),
            grace: Duration::from_secs(2),
            limits: ChildLimits::default(),
        }
    }
}

/// A user of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// `servers.NAME.sessions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody: nobody is asked anything, and nobody sees what is not an answer to them.
    All,
    /// Nobody: each session of each client has a process.
    Client,
    /// The sessions of one caller with one client, as far as that can do the same.
    #[default]
    Principal,
}

/// `servers.NAME.session_idle`: how long nobody may have used a session at the upstream before it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionIdle {
    /// One the proxy has opened itself, for clients that have none of their own.
    pub own: Duration,
    /// A client's own; never, where nothing is said.
    pub clients: Option<Duration>,
    /// One at a server of HTTP+SSE, which has a stream.
    pub streams: Duration,
}

impl Default for SessionIdle {
    fn default() -> Self {
        Self { own: Duration::from_mins(10), clients: None, streams: Duration::from_mins(30) }
    }
}

/// What `servers.NAME.stdio` says a process may use; absent is whatever the proxy itself may.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct ChildLimits {
    pub memory_bytes: Option<u64>,
    pub open_files: Option<u64>,
    pub tasks: Option<u64>,
    pub cpu_seconds: Option<u64>,
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
