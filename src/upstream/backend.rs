//! The backend of one protected server, and the set of those that run.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

use super::replica::{Health, Replicas};
use super::stdio::Stdio;
use super::transport::Http;
use super::{Answer, BuildError, Outbound, Pool, Upstream, UpstreamError};
use crate::config;

/// What stands behind one protected server: the seam between the pipeline, which speaks Streamable HTTP, and however the
/// server is really reached. It outlives a reload that does not change it.
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
    /// Parses the backend of `server` and reads the files it names; nothing is connected or started.
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

    /// SHA-256 over all that the backend was made from.
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
                    // Secrets print masked.
                    command.env.values().for_each(|value| hash.update(value.expose().as_bytes()));
                }
            }
        }
        let config::Server { name, concurrency, breaker, retries, .. } = server;
        hash.update(format!("{name:?} {concurrency:?} {breaker:?} {retries:?}").as_bytes());
        finished(hash)
    }

    /// SHA-256 over where its sessions are, if that is not in the backend itself.
    fn place_of(server: &config::Server) -> Option<[u8; 32]> {
        let config::Backend::Http(urls) = &server.backend else { return None };
        let mut hash = digest::Context::new(&digest::SHA256);
        // Secrets print masked.
        let config::Server { transport, sessions, upstream_auth, .. } = server;
        hash.update(format!("{urls:?} {transport:?} {sessions:?} {upstream_auth:?}").as_bytes());
        (*transport != config::Transport::Sse).then(|| finished(hash))
    }

    /// SHA-256 over where its sessions are: whatever else a reload changes, they are still there.
    pub(crate) fn place(&self) -> [u8; 32] {
        self.place
    }

    /// Scheme, host and port of the first endpoint: what sealed values are bound to.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The timeouts toward it.
    pub fn timeouts(&self) -> &config::Timeouts {
        &self.timeouts
    }

    /// Its endpoints over HTTP.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let replicas = match &self.reached {
            Reached::Http(http) => Some(&*http.replicas),
            Reached::Stdio(_) => None,
        };
        replicas.into_iter().flat_map(Replicas::upstreams)
    }

    /// How it does, endpoint by endpoint; of programs, how all processes do.
    pub(crate) fn health(&self) -> Vec<Health> {
        match &self.reached {
            Reached::Http(http) => http.replicas.health().collect(),
            Reached::Stdio(stdio) => {
                let (in_flight, waiting, phase) = stdio.health();
                vec![Health { origin: self.origin.as_ref().into(), in_flight, waiting, phase }]
            }
        }
    }

    /// How many processes run; `None` for what is reached over HTTP.
    pub(crate) fn processes(&self) -> Option<usize> {
        match &self.reached {
            Reached::Http(_) => None,
            Reached::Stdio(stdio) => Some(stdio.processes()),
        }
    }

    /// How much of what was said since this was last asked nobody was told, by a fixed word.
    pub(crate) fn losses(&self) -> Vec<(&'static str, u64)> {
        match &self.reached {
            Reached::Http(http) => http.sse.losses().take().into_iter().filter(|(_, count)| *count > 0).collect(),
            Reached::Stdio(stdio) => stdio.losses.take(),
        }
    }

    /// Ends what has had nothing to do for long.
    pub(crate) fn tidy(&self) {
        match &self.reached {
            Reached::Http(http) => http.tidy(),
            Reached::Stdio(stdio) => stdio.tidy(),
        }
    }

    /// Ends what was started.
    pub(crate) async fn shut_down(&self) {
        match &self.reached {
            Reached::Http(http) => http.sse.shut_down(),
            Reached::Stdio(stdio) => stdio.shut_down().await,
        }
    }

    /// Makes sure that it is there, without asking anything of it.
    pub async fn reach(&self) -> Result<(), UpstreamError> {
        for upstream in self.upstreams() {
            upstream.reach().await?;
        }
        Ok(())
    }

    /// Sends `outbound` and waits for the head of the answer.
    ///
    /// Before it leaves there must be room for it. It is delivered at most once.
    pub(crate) async fn send(&self, pool: &Pool, outbound: Outbound) -> Result<Answer, UpstreamError> {
        match &self.reached {
            Reached::Http(http) => http.send(pool, outbound).await,
            // In a box: it waits for more, and has room for it.
            Reached::Stdio(stdio) => Box::pin(stdio.send(outbound)).await,
        }
    }
}

fn finished(hash: digest::Context) -> [u8; 32] {
    let mut id = [0; 32];
    id.copy_from_slice(hash.finish().as_ref());
    id
}

/// Whether a program can be started, as far as can be seen without starting it.
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

/// The backends that run, whatever configuration they were first named in.
#[derive(Debug, Default)]
pub struct Backends(Mutex<Vec<Arc<Backend>>>);

impl Backends {
    /// The backend of `server`: the one that runs, or a new one.
    pub fn get_or_make(&self, server: &config::Server) -> Result<Arc<Backend>, BuildError> {
        let made = Backend::new(server)?;
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = running.iter().find(|known| known.id == made.id) {
            return Ok(Arc::clone(known));
        }
        running.push(Arc::clone(&made));
        Ok(made)
    }

    /// Ends every process that was started for any of them, and waits until they have ended.
    pub async fn shut_down(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for backend in running {
            backend.shut_down().await;
        }
    }

    /// Ends what has had nothing to do for long; to be called now and then.
    pub fn tidy(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for backend in running {
            backend.tidy();
        }
    }

    /// Lets go of every backend that is not among `backends`; to be called after a reload.
    pub fn retain(&self, backends: &[Arc<Backend>]) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|known| backends.iter().any(|backend| Arc::ptr_eq(backend, known)));
    }
}
