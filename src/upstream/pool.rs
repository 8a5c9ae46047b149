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

/// Most idle connections kept for one upstream by one worker.
const IDLE: usize = 512;

/// So few that looking through them is quicker than hashing an id.
type Shelves = Vec<(UpstreamId, Arc<Shelf>)>;

/// The connections of one worker thread, by upstream; they outlive a reload that does not change their upstream. A clone is
/// another hold on the same ones.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    shelves: Arc<Mutex<Shelves>>,
}

impl Pool {
    /// No connections yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `request` to `upstream` and waits for the head of the answer.
    ///
    /// Target and `Host` are the upstream's, whatever the request says. It is sent at most once, except that a request
    /// that certainly did not leave on a kept connection is sent on a new one.
    pub async fn send(&self, upstream: &Arc<Upstream>, request: Request<Full<Bytes>>) -> Result<Answer, UpstreamError> {
        self.try_send(upstream, Box::new(request)).await.map_err(|failed| failed.error)
    }

    /// The same; where nothing of the request has left, it comes back.
    pub(super) async fn try_send(
        &self,
        upstream: &Arc<Upstream>,
        mut request: Box<Request<Full<Bytes>>>,
    ) -> Result<Answer, Failed> {
        upstream.address(&mut request);
        let connections = self.shelf(upstream.id);
        match upstream.protocol {
            Protocol::Http1 => exchange::http1(upstream, &connections, request).await,
            Protocol::Http2 => Box::pin(exchange::http2(upstream, &connections, request)).await,
        }
    }

    /// Closes the idle connections of every upstream that is not among `upstreams`; to be called after a reload.
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

/// The connections to one upstream that wait for a request, last in first out; of HTTP/2 the one all requests share.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    connecting: tokio::sync::Mutex<()>,
    idle: Mutex<Vec<Connection>>,
    shared: Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

impl Shelf {
    /// An idle connection that is still open, as far as is known.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        loop {
            let connection = idle.pop()?;
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
    }

    /// Takes back a connection whose answer has ended. It is closed unless hyper waits for the next request on it: a
    /// request not yet fully sent, bytes behind the answer, or `Connection: close` all mean that it does not.
    pub(super) fn put(&self, connection: Connection) {
        if !connection.sender.is_ready() {
            return;
        }
        connection.deadline.arm(clock::monotonic(), KEEP);
        let mut idle = lock(&self.idle);
        // The longest unused lie at the bottom.
        if idle.len() >= IDLE || idle.first().is_some_and(|oldest| oldest.sender.is_closed()) {
            idle.retain(|connection| !connection.sender.is_closed());
        }
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }

    /// The shared HTTP/2 connection and whether it was there before; a new one if it is gone or going away.
    pub(super) async fn shared(
        &self,
        upstream: &Upstream,
    ) -> Result<(http2::SendRequest<Full<Bytes>>, bool), UpstreamError> {
        if let Some(sender) = self.open_shared() {
            return Ok((sender, true));
        }
        // Waiting for another's attempt counts toward the same limit, so that many waiters all give up in time.
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

    /// Forgets the shared connection if it is closed.
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

    /// Ends idle connections at the next turn of the runtime, so that one may be taken before it is seen to be closed.
    pub(super) fn end_idle(&self, upstream: &Upstream) {
        lock(&self.shelf(upstream.id).idle).iter().for_each(Connection::end);
    }
}

/// A lock of one thread's state: never waited for, and whole even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
