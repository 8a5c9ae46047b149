//! The admin listener: liveness, readiness and metrics. It neither changes state nor shows configuration.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::connection::{self, Desk, Peer, Settings};
use super::drain::Drain;
use super::guard::{HeadLimits, authority};
use super::supervisor::Pulses;
use super::watch::{Patience, Roster};
use crate::clock::Timestamp;
use crate::telemetry::metrics::Metrics;

const PLAIN: &str = "text/plain; charset=utf-8";
/// How long a health check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// The most bytes of a health check's answer that are read.
const CHECK_BYTES: u64 = 4096;

/// Whether the process should receive calls, and if not, why.
pub struct Readiness {
    configuration: Mutex<Option<Box<str>>>,
    listeners: AtomicUsize,
    draining: AtomicBool,
    pulses: Arc<Pulses>,
    issuers: Box<dyn Fn() -> Vec<(Arc<str>, bool)> + Send + Sync>,
    reload_failed: Mutex<Option<Timestamp>>,
    audit: OnceLock<Told>,
    state: OnceLock<Box<dyn Fn() -> String + Send + Sync>>,
}

/// Returns what is wrong with something, if anything is.
type Told = Box<dyn Fn() -> Option<&'static str> + Send + Sync>;

impl Readiness {
    /// A process that is not ready yet. `issuers` returns every issuer, with whether it has had keys, or is not waited for.
    pub fn new(issuers: impl Fn() -> Vec<(Arc<str>, bool)> + Send + Sync + 'static) -> Self {
        Self {
            configuration: Mutex::default(),
            listeners: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            pulses: Arc::default(),
            issuers: Box::new(issuers),
            reload_failed: Mutex::new(None),
            audit: OnceLock::new(),
            state: OnceLock::new(),
        }
    }

    /// Notes that a configuration is in force; `version` has the digests of its policies.
    pub fn set_configured(&self, version: &str) {
        *lock(&self.configuration) = Some(shortened(version).into());
    }

    /// Sets the source of problems with the audit log. They do not affect readiness, since each call tries to write again.
    pub fn set_audit(&self, trouble: impl Fn() -> Option<&'static str> + Send + Sync + 'static) {
        let _ = self.audit.set(Box::new(trouble));
    }

    /// Sets the source of what is said of shared state.
    pub fn set_state(&self, state: impl Fn() -> String + Send + Sync + 'static) {
        let _ = self.state.set(Box::new(state));
    }

    /// Notes that all listeners are bound, `count` of them.
    pub fn set_listening(&self, count: usize) {
        self.listeners.store(count, Relaxed);
    }

    /// Notes that the process is shutting down, which is final.
    pub fn set_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Notes when the last reload failed; `None` if it succeeded. A failure does not affect readiness, as the old
    /// configuration stays in force.
    pub fn set_reload(&self, failed: Option<Timestamp>) {
        let mut since = lock(&self.reload_failed);
        *since = failed.map(|now| since.unwrap_or(now));
    }

    /// Signs of life of the workers.
    pub(crate) const fn pulses(&self) -> &Arc<Pulses> {
        &self.pulses
    }

    /// Whether all conditions of readiness hold.
    pub fn is_ready(&self) -> bool {
        lock(&self.configuration).is_some()
            && self.listeners.load(Relaxed) > 0
            && !self.draining.load(Relaxed)
            && (self.issuers)().iter().all(|(_, had_keys)| *had_keys)
    }

    /// The same on one line, the verdict first.
    pub(crate) fn line(&self) -> String {
        let verdict = if self.is_ready() { "ready" } else { "not ready" };
        format!("{verdict}: {}", self.describe().trim_end().replace('\n', ", "))
    }

    /// One line for each condition, and what else an operator should know.
    fn describe(&self) -> String {
        let mut text = String::new();
        match &*lock(&self.configuration) {
            Some(version) => _ = writeln!(text, "config {version}"),
            None => text.push_str("no config\n"),
        }
        let issuers = (self.issuers)();
        let with_keys = issuers.iter().filter(|(_, had_keys)| *had_keys).count();
        let _ = writeln!(text, "issuers {with_keys}/{}", issuers.len());
        match self.listeners.load(Relaxed) {
            0 => text.push_str("listeners not bound\n"),
            count => _ = writeln!(text, "listeners {count}/{count}"),
        }
        if self.draining.load(Relaxed) {
            text.push_str("draining\n");
        }
        for (issuer, _) in issuers.iter().filter(|(_, had_keys)| !*had_keys) {
            let _ = writeln!(text, "issuer `{issuer}` has no keys yet");
        }
        if let Some(state) = self.state.get() {
            text.push_str(&state());
        }
        if let Some(trouble) = self.audit.get().and_then(|trouble| trouble()) {
            let _ = writeln!(text, "{trouble}");
        }
        if let Some(since) = *lock(&self.reload_failed) {
            let since = since.rfc3339();
            let since = String::from_utf8_lossy(&since);
            let _ = writeln!(text, "reloads fail since {since}");
            text.push_str("the configuration before is in force\n");
        }
        text
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first digits of each digest of a version, as people compare them.
fn shortened(version: &str) -> String {
    let digests = version.split(' ').map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest));
    digests.map(|digest| digest.chars().take(12).collect::<String>()).collect::<Vec<_>>().join("+")
}

/// What the admin listener serves.
#[derive(Debug)]
pub struct Admin {
    /// Accepted host names besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` shows.
    pub readiness: Arc<Readiness>,
}

/// Serves the admin endpoints until connections are aborted, so that `/readyz` says no while calls still finish.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, drain: &Drain) {
    let settings = Settings {
        head: HeadLimits { bytes: 8 * 1024, fields: 50 },
        patience: Patience { header: Duration::from_secs(5), keep_alive: Duration::from_mins(1) },
        streams: 10,
        tls_timeout: Duration::from_secs(5),
    };
    let (roster, never) = (Roster::default(), Drain::new());
    let connections = tokio_util::task::TaskTracker::new();
    let handler =
        move |_: Arc<Peer>, request: Request<hyper::body::Incoming>| std::future::ready(admin.answer(&request));
    let desk = Desk { settings, handler, calls: Arc::default() };
    let places = Arc::new(tokio::sync::Semaphore::new(100));
    let accepting = super::accept::accept(&listener, drain.aborting().cancelled(), |stream, address| {
        let (Ok(place), Ok(local)) = (places.clone().try_acquire_owned(), stream.local_addr()) else { return };
        let peer = Arc::new(Peer::new(address, local));
        let (desk, watch) = (desk.clone(), roster.enrol());
        connections.spawn(async move {
            connection::http1(stream, peer, desk, watch).await;
            drop(place);
        });
    });
    tokio::select! {
        () = accepting => {}
        () = roster.keep(settings.patience, &never) => {}
    }
}

impl Admin {
    /// Answers GET on three paths. Web pages are refused: any request with an `Origin`, and one whose `Host` is a foreign
    /// name, as after DNS rebinding.
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let known = authority(request).is_ok_and(|authority| self.knows(authority));
        if !known {
            return text(StatusCode::MISDIRECTED_REQUEST, "unknown host\n");
        }
        if request.headers().contains_key(header::ORIGIN) {
            return text(StatusCode::FORBIDDEN, "not for browsers\n");
        }
        let path = request.uri().path();
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return text(StatusCode::NOT_FOUND, "not found\n");
        }
        if request.method() != Method::GET {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        match path {
            "/metrics" => reply(StatusCode::OK, Metrics::CONTENT_TYPE, self.metrics.encode()),
            "/readyz" => self.ready(request.uri().query()),
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    fn ready(&self, query: Option<&str>) -> Response<Full<Bytes>> {
        let ready = self.readiness.is_ready();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let verbose = query.is_some_and(|query| query.split('&').any(|key| key == "verbose" || key == "verbose=true"));
        let body = if verbose { self.readiness.describe() } else { String::new() };
        reply(status, PLAIN, body + if ready { "ready\n" } else { "not ready\n" })
    }

    fn knows(&self, authority: &str) -> bool {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let listed = |known: &String| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(authority);
        bare.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(listed)
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    reply(status, PLAIN, body)
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Why a health check failed.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// There is no answer.
    #[error("no answer from {address}: {source}")]
    Connect {
        /// The address requested.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The answer is not a success; its text.
    #[error("{0}")]
    Unhealthy(String),
}

/// Requests `/livez`, or `/readyz` with `ready`, from the admin listener at `address`, and returns the answer's text. Errs
/// if there is no answer, or it is not 200.
pub async fn healthcheck(address: SocketAddr, ready: bool) -> Result<String, HealthcheckError> {
    let answer = tokio::time::timeout(CHECK_TIMEOUT, ask(address, ready));
    let answer = answer.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let answer = answer.map_err(|source| HealthcheckError::Connect { address, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("");
    let body: String = body.trim_end().chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    match status {
        "200" => Ok(body),
        "" => Err(HealthcheckError::Unhealthy("the answer is not HTTP".to_owned())),
        _ => Err(HealthcheckError::Unhealthy(body)),
    }
}

async fn ask(address: SocketAddr, ready: bool) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let path = if ready { "/readyz?verbose" } else { "/livez" };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(CHECK_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
