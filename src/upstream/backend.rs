//! What stands behind one protected server, and those that run.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

use super::replica::{Health, Replicas};
use super::{Answer, BuildError, Outbound, Pool, Upstream, UpstreamError};
use crate::config;

/// What stands behind one protected server: the seam between the pipeline, which speaks Streamable HTTP, and however the
/// server is really reached. It outlives a reload that does not change it.
#[derive(Debug)]
pub struct Backend {
    id: [u8; 32],
    replicas: Replicas,
    origin: Box<str>,
    timeouts: config::Timeouts,
}

impl Backend {
    /// Parses the backend of `server` and reads the files it names; nothing is connected or started.
    pub fn new(server: &config::Server) -> Result<Arc<Self>, BuildError> {
        let config::Backend::Http(urls) = &server.backend;
        let replicas = Replicas::new(server, urls)?;
        let origin = replicas.upstreams().next().ok_or(BuildError::Authority)?.origin().into();
        let id = Self::id_of(server, &replicas);
        Ok(Arc::new(Self { id, replicas, origin, timeouts: server.timeouts.clone() }))
    }

    /// SHA-256 over all that the backend was made from.
    fn id_of(server: &config::Server, replicas: &Replicas) -> [u8; 32] {
        let mut hash = digest::Context::new(&digest::SHA256);
        for upstream in replicas.upstreams() {
            hash.update(upstream.id().as_bytes());
        }
        let config::Server { name, concurrency, breaker, retries, .. } = server;
        hash.update(format!("{name:?} {concurrency:?} {breaker:?} {retries:?}").as_bytes());
        let mut id = [0; 32];
        id.copy_from_slice(hash.finish().as_ref());
        id
    }

    /// SHA-256 over all that it was made from.
    pub(crate) fn id(&self) -> [u8; 32] {
        self.id
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
        self.replicas.upstreams()
    }

    /// How it does, endpoint by endpoint.
    pub(crate) fn health(&self) -> impl Iterator<Item = Health> {
        self.replicas.health()
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
        self.replicas.send(pool, outbound).await
    }
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

    /// Lets go of every backend that is not among `backends`; to be called after a reload.
    pub fn retain(&self, backends: &[Arc<Backend>]) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|known| backends.iter().any(|backend| Arc::ptr_eq(backend, known)));
    }
}
