use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use tokio::time::timeout;

use super::connect::{self, Connection, KEEP};
use super::http::{self as exchange, Failed};
use super::{Answer, Protocol, Upstream, UpstreamError, UpstreamId};
use crate::clock;

/// The most idle connections that one worker keeps for one upstream.
const IDLE: usize = 512;

/// A list, since there are so few that searching it is faster than hashing an id.
type Shelves = Vec<(UpstreamId, Arc<Shelf>)>;

/// The connections of one worker thread, by upstream; kept across a reload that does not change their upstream. A clone shares
/// the same connections.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    shelves: Arc<Mutex<Shelves>>,
}

impl Pool {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `request` to `upstream` and waits for the head of the answer.
    ///
    /// The request's target and `Host` are replaced by the upstream's. It is sent at most once, except that a request of which
    /// certainly nothing was sent on an idle connection is sent on a new one. Errs if there is no answer.
    pub async fn send(
        &self,
        upstream: &Arc<Upstream>,
        request: Request<Full<Bytes>>,
    ) -> Result<Box<Answer>, UpstreamError> {
        self.try_send(upstream, Box::new(request)).await.map_err(|failed| failed.error)
    }

    /// Like [`Self::send`]; the error has the request, if no part of it was sent.
    pub(super) async fn try_send(
        &self,
        upstream: &Arc<Upstream>,
        mut request: Box<Request<Full<Bytes>>>,
    ) -> Result<Box<Answer>, Failed> {
        upstream.address(&mut request);
        let connections = self.shelf(upstream.id);
        match upstream.protocol {
            Protocol::Http1 => exchange::http1(upstream, &connections, request).await,
            Protocol::Http2 => Box::pin(exchange::http2(upstream, &connections, request)).await,
        }
    }

    /// Closes the idle connections of every upstream that is not in `upstreams`; to be called after a reload.
    pub fn retain(&self, upstreams: &[Arc<Upstream>]) {
        lock(&self.shelves).retain(|(id, _)| upstreams.iter().any(|upstream| upstream.id == *id));
    }

    fn shelf(&self, id: UpstreamId) -> Arc<Shelf> {
        let mut shelves = lock(&self.shelves);
        if let Some((_, shelf)) = shelves.iter().find(|(known, _)| *known == id) {
            return Arc::clone(shelf);
        }
        let empty = Arc::default();
        shelves.push((id, Arc::clone(&empty)));
        empty
    }
}

/// The connections to one upstream: for HTTP/1.1 the idle ones, last in first out; for HTTP/2 the one that all requests share.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    connecting: tokio::sync::Mutex<()>,
    idle: Mutex<Vec<Connection>>,
    shared: Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

impl Shelf {
    /// Takes an idle connection that is not known to be closed.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        loop {
            let connection = idle.pop()?;
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
    }

    /// Returns a connection whose answer has ended. It is closed unless hyper is ready for another request on it, which it is
    /// not after an incompletely sent request, extra bytes after the answer, or `Connection: close`.
    pub(super) fn put(&self, connection: Connection) {
        if !connection.sender.is_ready() {
            return;
        }
        connection.deadline.arm(clock::monotonic(), KEEP);
        let mut idle = lock(&self.idle);
        // The connections at the front have been idle the longest.
        if idle.len() >= IDLE || idle.first().is_some_and(|oldest| oldest.sender.is_closed()) {
            idle.retain(|connection| !connection.sender.is_closed());
        }
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }

    /// The shared HTTP/2 connection, and whether it existed before; a new one if it is closed or closing. Errs if that cannot
    /// be opened within the connect timeout.
    pub(super) async fn shared(
        &self,
        upstream: &Upstream,
    ) -> Result<(http2::SendRequest<Full<Bytes>>, bool), UpstreamError> {
        if let Some(sender) = self.open_shared() {
            return Ok((sender, true));
        }
        // The wait for another request's attempt is limited too, so that many waiters do not queue up.
        let limit = upstream.timeouts.connect;
        let Ok(_turn) = timeout(limit, self.connecting.lock()).await else {
            return Err(UpstreamError::ConnectTimeout(limit));
        };
        if let Some(sender) = self.open_shared() {
            return Ok((sender, true));
        }
        let sender = connect::http2(upstream).await?;
        *lock(&self.shared) = Some(sender.clone());
        Ok((sender, false))
    }

    fn open_shared(&self) -> Option<http2::SendRequest<Full<Bytes>>> {
        lock(&self.shared).as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    /// Drops the shared connection if it is closed.
    pub(super) fn forget_closed(&self) {
        let mut shared = lock(&self.shared);
        if shared.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *shared = None;
        }
    }
}

#[cfg(test)]
impl Pool {
    pub(super) fn idle(&self, upstream: &Upstream) -> usize {
        lock(&self.shelf(upstream.id).idle).len()
    }

    /// Aborts idle connections; that takes effect at the runtime's next turn, so one may be taken before it is seen as closed.
    pub(super) fn end_idle(&self, upstream: &Upstream) {
        lock(&self.shelf(upstream.id).idle).iter().for_each(Connection::end);
    }
}

/// Locks one thread's state: never contended, and consistent even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
