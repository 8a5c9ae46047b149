//! The backend of one protected server, and the set of those that run.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

use super::replica::{Health, Replicas};
use super::stdio::Stdio;
use super::transport::Http;
use super::{Answer, BuildError, Outbound, Pool, Upstream, UpstreamError};
use crate::config;

/// The backend of one protected server. The pipeline speaks Streamable HTTP; a backend translates that to the server's
/// real transport. It is kept across a reload that does not change its configuration.
#[derive(Debug)]
pub struct Backend {
    id: [u8; 32],
    place: [u8; 32],
    reached: Reached,
    origin: Box<str>,
    timeouts: config::Timeouts,
}

/// How a server is reached.
#[derive(Debug)]
enum Reached {
    Http(Box<Http>),
    Stdio(Stdio),
}

impl Backend {
    /// Parses the backend of `server` and reads the files that it names; nothing is connected or started.
    ///
    /// Errs if a URL or a file cannot be used, or a program cannot be started as configured.
    pub fn new(server: &config::Server) -> Result<Arc<Self>, BuildError> {
        let (reached, origin) = match &server.backend {
            config::Backend::Command(command) => {
                check(command)?;
                (Reached::Stdio(Stdio::new(server, command)), format!("stdio:{}", server.name).into())
            }
            config::Backend::Http(urls) => {
                let http = Http::new(server, urls)?;
                let origin = http.replicas.upstreams().next().ok_or(BuildError::Authority)?.origin().into();
                (Reached::Http(Box::new(http)), origin)
            }
        };
        let id = Self::id_of(server, &reached);
        let place = Self::place_of(server).unwrap_or(id);
        Ok(Arc::new(Self { id, place, reached, origin, timeouts: server.timeouts.clone() }))
    }

    /// SHA-256 over everything that the backend is made from.
    fn id_of(server: &config::Server, reached: &Reached) -> [u8; 32] {
        let mut hash = digest::Context::new(&digest::SHA256);
        match reached {
            Reached::Http(http) => {
                http.replicas.upstreams().for_each(|upstream| hash.update(upstream.id().as_bytes()));
                let (kind, idle) = (server.transport, server.session_idle);
                hash.update(format!("{kind:?} {:?} {idle:?}", server.sessions).as_bytes());
            }
            Reached::Stdio(_) => {
                hash.update(format!("{:?} {:?}", server.backend, server.timeouts).as_bytes());
                if let config::Backend::Command(command) = &server.backend {
                    // `Debug` prints secrets masked, so their values are hashed too, each behind its length.
                    for value in command.env.values() {
                        let value = value.expose();
                        hash.update(&value.len().to_le_bytes());
                        hash.update(value.as_bytes());
                    }
                }
            }
        }
        let config::Server { name, concurrency, breaker, retries, .. } = server;
        hash.update(format!("{name:?} {concurrency:?} {breaker:?} {retries:?}").as_bytes());
        finished(hash)
    }

    /// SHA-256 over what decides where sessions are kept; `None` if the backend itself keeps them.
    fn place_of(server: &config::Server) -> Option<[u8; 32]> {
        let config::Backend::Http(urls) = &server.backend else { return None };
        let mut hash = digest::Context::new(&digest::SHA256);
        // `Debug` prints secrets masked.
        let config::Server { transport, sessions, upstream_auth, .. } = server;
        hash.update(format!("{urls:?} {transport:?} {sessions:?} {upstream_auth:?}").as_bytes());
        (*transport != config::Transport::Sse).then(|| finished(hash))
    }

    /// SHA-256 over what decides where sessions are kept: they survive a reload that changes anything else.
    pub(crate) fn place(&self) -> [u8; 32] {
        self.place
    }

    /// Scheme, host and port of the first endpoint, or `stdio:` and the server's name; sealed values are bound to it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The timeouts toward the server.
    pub fn timeouts(&self) -> &config::Timeouts {
        &self.timeouts
    }

    /// Whether it is reached over HTTP.
    pub(crate) const fn is_http(&self) -> bool {
        matches!(self.reached, Reached::Http(_))
    }

    /// The transport it was last spoken to by, for people.
    pub(crate) fn transport(&self) -> &'static str {
        match &self.reached {
            Reached::Http(http) => http.transport(),
            Reached::Stdio(_) => "a program",
        }
    }

    /// The HTTP endpoints; none for a program.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let replicas = match &self.reached {
            Reached::Http(http) => Some(&*http.replicas),
            Reached::Stdio(_) => None,
        };
        replicas.into_iter().flat_map(Replicas::upstreams)
    }

    /// Load and breaker state of each endpoint; for a program, one entry for all processes.
    pub(crate) fn health(&self) -> Vec<Health> {
        match &self.reached {
            Reached::Http(http) => http.replicas.health().collect(),
            Reached::Stdio(stdio) => {
                let (in_flight, waiting, phase) = stdio.health();
                vec![Health { origin: self.origin.as_ref().into(), in_flight, waiting, phase }]
            }
        }
    }

    /// How many processes run; `None` for a server reached over HTTP.
    pub(crate) fn processes(&self) -> Option<usize> {
        match &self.reached {
            Reached::Http(_) => None,
            Reached::Stdio(stdio) => Some(stdio.processes()),
        }
    }

    /// How many of the server's messages were dropped since the last call, by reason.
    pub(crate) fn losses(&self) -> Vec<(&'static str, u64)> {
        match &self.reached {
            Reached::Http(http) => http.sse.losses().take().into_iter().filter(|(_, count)| *count > 0).collect(),
            Reached::Stdio(stdio) => stdio.losses.take(),
        }
    }

    /// Ends processes and sessions that have been idle too long.
    pub(crate) fn tidy(&self) {
        match &self.reached {
            Reached::Http(http) => http.tidy(),
            Reached::Stdio(stdio) => stdio.tidy(),
        }
    }

    /// Ends processes and streams.
    pub(crate) async fn shut_down(&self) {
        match &self.reached {
            Reached::Http(http) => http.sse.shut_down(),
            Reached::Stdio(stdio) => stdio.shut_down().await,
        }
    }

    /// Connects to each HTTP endpoint without sending a request; errs if one cannot be reached. Programs are not started.
    pub async fn reach(&self) -> Result<(), UpstreamError> {
        for upstream in self.upstreams() {
            upstream.reach().await?;
        }
        Ok(())
    }

    /// Sends `outbound`, once the concurrency limit admits it, and waits for the head of the answer. It is delivered at most
    /// once.
    pub(crate) async fn send(&self, pool: &Pool, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
        match &self.reached {
            Reached::Http(http) => http.send(pool, outbound).await,
            // Boxed to keep the future small: this one is large.
            Reached::Stdio(stdio) => Box::pin(stdio.send(outbound)).await,
        }
    }
}

fn finished(hash: digest::Context) -> [u8; 32] {
    let mut id = [0; 32];
    id.copy_from_slice(hash.finish().as_ref());
    id
}

/// Errs if it is evident without starting the program that it cannot be started.
fn check(command: &config::Command) -> Result<(), BuildError> {
    if let Some(directory) = command.cwd.as_ref().filter(|directory| !directory.is_dir()) {
        return Err(BuildError::Directory { path: directory.clone() });
    }
    let own = nix::unistd::geteuid();
    if command.user.is_some_and(|user| user.uid != own.as_raw() && !own.is_root()) {
        return Err(BuildError::User);
    }
    let start = command.cwd.clone().unwrap_or_default();
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there = if command.program.contains('/') {
        start.join(&command.program).is_file()
    } else {
        std::env::split_paths(&folders).any(|folder| folder.join(&command.program).is_file())
    };
    if is_there { Ok(()) } else { Err(BuildError::Program(command.program.clone())) }
}

/// The running backends, across reloads of the configuration.
#[derive(Debug, Default)]
pub struct Backends(Mutex<Vec<Arc<Backend>>>);

impl Backends {
    /// The running backend of `server` if its configuration is unchanged, otherwise a new one. Errs like [`Backend::new`].
    pub fn get_or_make(&self, server: &config::Server) -> Result<Arc<Backend>, BuildError> {
        let made = Backend::new(server)?;
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = running.iter().find(|known| known.id == made.id) {
            return Ok(Arc::clone(known));
        }
        running.push(Arc::clone(&made));
        Ok(made)
    }

    /// Ends the processes and streams of all backends, and waits until the processes have ended.
    pub async fn shut_down(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for backend in running {
            backend.shut_down().await;
        }
    }

    /// Ends processes and sessions that have been idle too long; to be called periodically.
    pub fn tidy(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for backend in running {
            backend.tidy();
        }
    }

    /// Drops every backend that is not in `backends`; to be called after a reload.
    pub fn retain(&self, backends: &[Arc<Backend>]) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|known| backends.iter().any(|backend| Arc::ptr_eq(backend, known)));
    }
}

#[cfg(test)]
mod tests {
    use super::Backend;
    use crate::config;
    use crate::secret::Secret;
    use crate::upstream::tests::server;

    /// One whose id stays is not started anew at a reload.
    #[test]
    fn another_value_of_any_secret_is_another_backend() {
        let id = |values: [&str; 2]| {
            let env = ["A", "B"].map(String::from).into_iter().zip(values.map(|value| Secret::new(value.to_owned())));
            let command =
                config::Command { program: "sh".to_owned(), env: env.collect(), ..config::Command::default() };
            let server = config::Server {
                backend: config::Backend::Command(Box::new(command)),
                ..server("http://127.0.0.1:1/mcp")
            };
            Backend::new(&server).unwrap().id
        };
        assert_eq!(id(["one", "two"]), id(["one", "two"]));
        for other in [["onet", "wo"], ["on", "etwo"], ["one", "tow"], ["", "onetwo"]] {
            assert_ne!(id(["one", "two"]), id(other), "{other:?}");
        }
    }
}
