//! The listening side: sockets, TLS, the wire guard, HTTP, drain and the admin listener.
//!
//! Each worker is one thread with its own runtime and sockets; requests on different workers share nothing unless the
//! handler does.

mod accept;
pub mod admin;
mod connection;
pub mod descriptors;
pub mod drain;
mod forwarded;
mod gate;
pub mod guard;
pub(crate) mod liveness;
mod proxy_header;
pub(crate) mod site;
pub(crate) mod supervisor;
pub mod tls;
mod watch;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

pub use connection::Peer;
pub use forwarded::ForwardedError;
pub use gate::Gate;
pub use guard::{AuthorityError, authority_of};

use crate::config;
use connection::{Desk, Settings};
use drain::Drain;
use tls::Tls;
use watch::Roster;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is in use, not this machine's, or not permitted.
    #[error("cannot listen on {address}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A thread or its runtime could not be started.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
}

/// Listening sockets that are not served yet.
#[derive(Debug)]
pub struct Bound {
    addresses: Vec<SocketAddr>,
    settings: Settings,
    gate: Gate,
    /// One row per worker, one socket per address.
    workers: Vec<Vec<std::net::TcpListener>>,
}

/// Binds every address of `[server]`, once for each worker. Errs if one cannot be bound.
pub fn bind(listener: &config::Listener) -> Result<Bound, ServerError> {
    let count = listener.workers.max(1);
    let mut workers: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(count).collect();
    let mut addresses = Vec::new();
    for &address in &listener.listen {
        let failed = |source| ServerError::Bind { address, source };
        let only_v6 = listener.listen.iter().any(|other| other.is_ipv4() && other.port() == address.port());
        let sockets = accept::bind(address, count, only_v6).map_err(failed)?;
        for (at, socket) in sockets.into_iter().enumerate() {
            if at == 0 {
                addresses.push(socket.local_addr().map_err(failed)?);
            }
            workers[at].push(socket);
        }
    }
    let (settings, gate) = (Settings::new(&listener.limits), Gate::new(&listener.limits, &listener.proxies));
    Ok(Bound { addresses, settings, gate, workers })
}

impl Bound {
    /// The addresses it listens on, with the chosen port in place of port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Who may connect, also later.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Starts the workers and returns. `make_handler` is called once on each worker's thread, within its runtime, with the
    /// worker's number; the handler it returns is cloned for every connection. The workers end through `drain`. Errs if a
    /// worker cannot be started.
    pub fn serve<M, H, F, B>(self, tls: Option<&Arc<Tls>>, drain: &Drain, make_handler: M) -> Result<(), ServerError>
    where
        M: Fn(usize) -> H + Clone + Send + 'static,
        H: Fn(Arc<Peer>, Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        for (number, sockets) in self.workers.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(ServerError::Worker)?;
            let worker = Worker {
                settings: self.settings,
                gate: self.gate.clone(),
                tls: tls.cloned(),
                drain: drain.clone(),
                roster: Arc::default(),
                connections: TaskTracker::new(),
            };
            let (make_handler, alive) = (make_handler.clone(), drain.workers().token());
            let run = move || {
                runtime.block_on(async move { worker.run(sockets, make_handler(number)).await });
                drop(runtime);
                drop(alive);
            };
            std::thread::Builder::new().name(format!("worker-{number}")).spawn(run).map_err(ServerError::Worker)?;
        }
        Ok(())
    }
}

/// One worker thread of the server.
struct Worker {
    settings: Settings,
    gate: Gate,
    tls: Option<Arc<Tls>>,
    drain: Drain,
    roster: Arc<Roster>,
    connections: TaskTracker,
}

impl Worker {
    async fn run<H, F, B>(self, sockets: Vec<std::net::TcpListener>, handler: H)
    where
        H: Fn(Arc<Peer>, Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let desk = Desk { settings: self.settings, handler, calls: self.drain.worker() };
        let accepting = sockets.into_iter().map(|socket| self.accept(socket, &desk));
        let served = async {
            futures_util::future::join_all(accepting).await;
            self.connections.close();
            self.connections.wait().await;
        };
        tokio::select! {
            () = served => {}
            () = self.roster.keep(self.settings.patience, &self.drain) => {}
        }
    }

    async fn accept<H, F, B>(&self, socket: std::net::TcpListener, desk: &Desk<H>)
    where
        H: Fn(Arc<Peer>, Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a listener does not work"),
        };
        accept::accept(&listener, self.drain.closing().cancelled(), |stream, address| {
            self.admit(stream, address, desk.clone());
        })
        .await;
    }

    /// Starts serving a connection, or closes it at once.
    fn admit<H, F, B>(&self, stream: TcpStream, address: SocketAddr, desk: Desk<H>)
    where
        H: Fn(Arc<Peer>, Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Some(place) = self.gate.admit(address.ip().to_canonical()) else { return };
        let (Ok(local), Ok(())) = (stream.local_addr(), stream.set_nodelay(true)) else { return };
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let peer = Arc::new(Peer::new(canonical(address), canonical(local)));
        let (tls, watch) = (self.tls.clone(), self.roster.enrol());
        self.connections.spawn(connection::serve(stream, peer, tls, desk, (watch, place)));
    }
}
