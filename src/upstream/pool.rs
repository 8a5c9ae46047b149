use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use tokio::time::{sleep_until, timeout};

use super::connect::{self, KEEP, spawn};
use super::http1::{self, Connection};
use super::request::Request;
use super::{Answer, Protocol, Upstream, UpstreamError, UpstreamId, http2};
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

    /// Sends `request` to `upstream`, and waits for the head of the answer.
    ///
    /// It is sent at most once, except that a request of which certainly nothing was sent on an idle connection is sent on
    /// a new one. Errs if there is no answer.
    pub(super) async fn send(&self, upstream: &Arc<Upstream>, request: &Request) -> Result<Box<Answer>, Failed> {
        let connections = self.shelf(upstream.id);
        match upstream.protocol {
            Protocol::Http1 => http1::send(upstream, &connections, request).await,
            Protocol::Http2 => Box::pin(http2::send(upstream, &connections, request)).await,
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

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    pub(super) sent: Sent,
}

/// How much of a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing, and sending was not attempted.
    Untried,
    /// Certainly nothing.
    Nothing,
    /// Perhaps all of it.
    Perhaps,
}

impl Failed {
    /// Sending was not attempted.
    pub(super) fn untried(error: UpstreamError) -> Self {
        Self { error, sent: Sent::Untried }
    }

    /// Sending was attempted, and no part of the request was sent.
    pub(super) fn unsent(error: UpstreamError) -> Self {
        Self { error, sent: Sent::Nothing }
    }
}

impl From<UpstreamError> for Failed {
    fn from(error: UpstreamError) -> Self {
        Self { error, sent: Sent::Perhaps }
    }
}

/// The connections to one upstream: for HTTP/1.1 the idle ones, last in first out; for HTTP/2 the one that all requests share.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    connecting: tokio::sync::Mutex<()>,
    idle: Mutex<Idle>,
    shared: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// Idle connections, and since when; the first has been idle the longest.
#[derive(Debug, Default)]
struct Idle {
    connections: Vec<(Instant, Box<Connection>)>,
    /// Whether a task closes them in time.
    is_watched: bool,
}

impl Shelf {
    /// Takes the connection that has been idle for the shortest time.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        lock(&self.idle).connections.pop().map(|(_, connection)| connection)
    }

    /// Returns a connection whose answer has ended. It is closed unless it can take another request, and after [`KEEP`].
    pub(super) fn put(self: &Arc<Self>, mut connection: Box<Connection>) {
        if !connection.renew() {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.connections.len() < IDLE {
            idle.connections.push((clock::monotonic(), connection));
            if !std::mem::replace(&mut idle.is_watched, true) {
                drop(spawn(close_in_time(Arc::downgrade(self))));
            }
        }
    }

    /// Closes what has been idle for [`KEEP`]; returns when the next one has, `None` if there is none.
    fn close_idle(&self) -> Option<Instant> {
        let (now, mut idle) = (clock::monotonic(), lock(&self.idle));
        let late = idle.connections.partition_point(|(since, _)| *since + KEEP <= now);
        idle.connections.drain(..late);
        let next = idle.connections.first().map(|(since, _)| *since + KEEP);
        idle.is_watched = next.is_some();
        next
    }

    /// The shared HTTP/2 connection, and whether it existed before; a new one if it is closed or closing. Errs if that cannot
    /// be opened within the connect timeout.
    pub(super) async fn shared(&self, upstream: &Upstream) -> Result<(SendRequest<Full<Bytes>>, bool), UpstreamError> {
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

    fn open_shared(&self) -> Option<SendRequest<Full<Bytes>>> {
        lock(&self.shared).as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    /// Drops the shared connection if it is closed.
    pub(super) fn forget_closed(&self) {
        let mut shared = lock(&self.shared);
        if shared.as_ref().is_some_and(SendRequest::is_closed) {
            *shared = None;
        }
    }
}

#[cfg(test)]
impl Pool {
    pub(super) fn idle(&self, upstream: &Upstream) -> usize {
        lock(&self.shelf(upstream.id).idle).connections.len()
    }

    /// Replaces the streams of idle connections by `stream`.
    pub(super) fn replace_idle(&self, upstream: &Upstream, stream: fn() -> Box<dyn connect::Stream>) {
        for (_, connection) in &mut lock(&self.shelf(upstream.id).idle).connections {
            **connection = *Connection::new(stream());
        }
    }
}

/// Closes the idle connections of a shelf in time, as long as there are any.
async fn close_in_time(shelf: Weak<Shelf>) {
    let mut next = Some(clock::monotonic() + KEEP);
    while let Some(due) = next {
        sleep_until(due.into()).await;
        next = shelf.upgrade().and_then(|shelf| shelf.close_idle());
    }
}

/// Locks one thread's state: never contended, and consistent even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
