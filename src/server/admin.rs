//! The admin endpoints: liveness, readiness and metrics for everybody who can connect; what shows the configuration or changes
//! the process only on the Unix socket, or for who has the token.

mod client;
mod readiness;
mod socket;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

pub use self::client::{Answer, HealthcheckError, Place, healthcheck};
pub use self::readiness::Readiness;
pub use self::socket::Socket;
use super::connection::{self, Desk, Peer, Settings};
use super::drain::Drain;
use super::guard::{HeadLimits, authority};
use super::watch::{Patience, Roster};
use crate::config::SecretSource;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The most connections of each kind.
const CONNECTIONS: usize = 100;

/// What the admin endpoints show and do.
pub struct Admin {
    /// Accepted host names besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` shows.
    pub readiness: Arc<Readiness>,
    /// What an operator can see and do beyond that.
    pub control: Control,
}

/// What an operator can see of the process and do to it.
pub struct Control {
    /// The configuration in force, as JSON without secrets.
    pub config: Box<dyn Fn() -> String + Send + Sync>,
    /// What `/-/drain` begins.
    pub drain: Drain,
    /// Loads the configuration again, and returns what has changed, or errs with what is wrong.
    pub reload: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
    /// What opens this over TCP, read for each request; without one, nothing does.
    pub token: Option<SecretSource>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// By TCP, which everybody on the machine can open.
    Network,
    /// By the socket, which only its owner can open.
    Socket,
}

/// Serves the listener's endpoints until connections are aborted, so that `/readyz` says no while calls still finish.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, drain: &Drain) {
    let hall = Hall::new(admin, Door::Network);
    let accepting = super::accept::accept(&listener, drain.aborting().cancelled(), |stream, address| {
        let Ok(local) = stream.local_addr() else { return };
        hall.enter(stream, Peer::new(address, local));
    });
    hall.keep(accepting).await;
}

/// Serves the socket's endpoints as long.
pub async fn serve_socket(listener: UnixListener, admin: Arc<Admin>, drain: &Drain) {
    let hall = Hall::new(admin, Door::Socket);
    let nowhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let accepting = async {
        loop {
            let accepted = tokio::select! {
                () = drain.aborting().cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => hall.enter(stream, Peer::new(nowhere, nowhere)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections of the admin socket");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    };
    hall.keep(accepting).await;
}

/// The connections that came in by one door.
struct Hall {
    admin: Arc<Admin>,
    connections: tokio_util::task::TaskTracker,
    door: Door,
    places: Arc<tokio::sync::Semaphore>,
    roster: Roster,
    settings: Settings,
}

impl Hall {
    fn new(admin: Arc<Admin>, door: Door) -> Self {
        let settings = Settings {
            head: HeadLimits { bytes: 8 * 1024, fields: 50 },
            patience: Patience { header: Duration::from_secs(5), keep_alive: Duration::from_mins(1) },
            streams: 10,
            tls_timeout: Duration::from_secs(5),
        };
        let (connections, places) =
            (tokio_util::task::TaskTracker::new(), Arc::new(tokio::sync::Semaphore::new(CONNECTIONS)));
        Self { admin, connections, door, places, roster: Roster::default(), settings }
    }

    fn enter(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let (admin, door) = (Arc::clone(&self.admin), self.door);
        let handler = move |_: Arc<Peer>, request: Request<hyper::body::Incoming>| {
            std::future::ready(admin.answer(&request, door))
        };
        let desk = Desk { settings: self.settings, handler, calls: Arc::default() };
        let watch = self.roster.enrol();
        self.connections.spawn(async move {
            connection::http1(stream, Arc::new(peer), desk, watch).await;
            drop(place);
        });
    }

    /// Enforces timeouts until nobody is accepted any more.
    async fn keep(&self, accepting: impl Future<Output = ()>) {
        let never = Drain::new();
        tokio::select! {
            () = accepting => {}
            () = self.roster.keep(self.settings.patience, &never) => {}
        }
    }
}

impl Admin {
    /// Answers one request. Web pages are refused: any request with an `Origin`, and one whose `Host` is a foreign name, as
    /// after DNS rebinding.
    fn answer<B>(&self, request: &Request<B>, door: Door) -> Response<Full<Bytes>> {
        let known = authority(request).is_ok_and(|authority| self.knows(authority));
        if !known {
            return text(StatusCode::MISDIRECTED_REQUEST, "unknown host\n");
        }
        if request.headers().contains_key(header::ORIGIN) {
            return text(StatusCode::FORBIDDEN, "not for browsers\n");
        }
        let path = request.uri().path();
        let (is_guarded, method) = match path {
            "/livez" | "/readyz" | "/metrics" => (false, Method::GET),
            "/config" => (true, Method::GET),
            "/-/drain" | "/-/log" | "/-/reload" => (true, Method::POST),
            _ => return text(StatusCode::NOT_FOUND, "not found\n"),
        };
        if is_guarded && let Some(refused) = self.refused(request, door) {
            return refused;
        }
        if *request.method() != method {
            let only = if method == Method::GET { "GET" } else { "POST" };
            let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, format!("only {only}\n"));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(only));
            return response;
        }
        match path {
            "/config" => reply(StatusCode::OK, JSON, (self.control.config)()),
            "/metrics" => reply(StatusCode::OK, Metrics::CONTENT_TYPE, self.metrics.encode()),
            "/readyz" => self.ready(request.uri().query()),
            "/-/drain" => self.drain(),
            "/-/log" => log(request.uri().query()),
            "/-/reload" => match (self.control.reload)() {
                Ok(changes) => reply(StatusCode::OK, PLAIN, changes),
                Err(problems) => reply(StatusCode::UNPROCESSABLE_ENTITY, PLAIN, problems),
            },
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    /// The answer to who may not see or change anything. Without a token, TCP does not have these paths.
    fn refused<B>(&self, request: &Request<B>, door: Door) -> Option<Response<Full<Bytes>>> {
        if door == Door::Socket {
            return None;
        }
        let Some(source) = &self.control.token else { return Some(text(StatusCode::NOT_FOUND, "not found\n")) };
        let token = source.resolve().inspect_err(|error| tracing::warn!(%error, "admin token cannot be read")).ok();
        let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
        let shown = values.next().and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let matches = shown.zip(token).is_some_and(|(shown, token)| shown.ct_eq(token.expose().as_bytes()).into());
        if matches && values.next().is_none() {
            return None;
        }
        let mut response = text(StatusCode::UNAUTHORIZED, "the admin token is missing or another\n");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(response)
    }

    fn drain(&self) -> Response<Full<Bytes>> {
        self.control.drain.begin();
        text(StatusCode::ACCEPTED, "draining\n")
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

/// Sets the level or filter of the log that the query names.
fn log(query: Option<&str>) -> Response<Full<Bytes>> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let (Some((key, level)), None) = (pairs.next(), pairs.next()) else {
        return text(StatusCode::BAD_REQUEST, "write the level as in /-/log?level=debug\n");
    };
    if key != "level" {
        return text(StatusCode::BAD_REQUEST, "write the level as in /-/log?level=debug\n");
    }
    match logs::set_filter(&level) {
        Ok(()) => {
            tracing::warn!(level = &*level, "log level changed");
            reply(StatusCode::OK, PLAIN, format!("log level {level}\n"))
        }
        Err(error) => reply(StatusCode::BAD_REQUEST, PLAIN, format!("{error}\n")),
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
