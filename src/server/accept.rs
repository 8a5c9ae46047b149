//! Listening sockets and the accept loop of each.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::liveness;

/// The most connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;
/// The first and the longest pause when the process is out of descriptors or memory.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// One listening socket on `address` for each worker; the kernel spreads connections over them. Port 0 is chosen once for
/// all. Errs if the address cannot be bound.
pub(super) fn bind(address: SocketAddr, workers: usize, only_v6: bool) -> io::Result<Vec<std::net::TcpListener>> {
    if address.port() != 0 {
        // With SO_REUSEPORT a second process of the same user would share the port without an error, so the first attempt is
        // without.
        socket(address, false, only_v6)?;
    }
    let mut sockets = vec![socket(address, workers > 1, only_v6)?];
    let address = sockets.first().map_or(Ok(address), std::net::TcpListener::local_addr)?;
    while sockets.len() < workers {
        sockets.push(socket(address, true, only_v6)?);
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, shared: bool, only_v6: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    liveness::watch(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// How long nobody is told of connections without a place, so that who opens many does not fill the log.
const TELL: Duration = Duration::from_secs(1);

/// The limit of connections of the process.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    most: usize,
    taken: AtomicUsize,
    refused: Mutex<Refused>,
}

/// Connections there was no place for.
#[derive(Debug, Default)]
struct Refused {
    /// Those nobody was told of.
    count: u64,
    /// When somebody was told last.
    told: Option<Instant>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Counts { most, taken: AtomicUsize::new(0), refused: Mutex::default() }))
    }

    /// Counts a connection there is no place for; at most once a second, how many there were since the last time.
    pub(super) fn refuse(&self, now: Instant) -> Option<u64> {
        let mut refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        if refused.told.is_some_and(|told| now.saturating_duration_since(told) < TELL) {
            return None;
        }
        refused.told = Some(now);
        Some(std::mem::take(&mut refused.count))
    }

    /// A permit, released when dropped; `None` if the limit is reached.
    pub(super) fn take(&self) -> Option<Place> {
        let Counts { taken, most, .. } = &*self.0;
        if taken.fetch_add(1, Relaxed) >= *most {
            taken.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Place(self.clone()))
    }
}

/// A permit for one connection.
#[derive(Debug)]
pub(super) struct Place(Places);

impl Drop for Place {
    fn drop(&mut self) {
        (self.0).0.taken.fetch_sub(1, Relaxed);
    }
}

/// Hands every connection to `accepted` until `until` completes, and then those that the kernel has already completed.
pub(super) async fn accept(
    listener: &TcpListener,
    until: impl Future<Output = ()>,
    mut accepted: impl FnMut(TcpStream, SocketAddr),
) {
    let mut until = std::pin::pin!(until);
    let mut pause = PAUSE.0;
    loop {
        let result = tokio::select! {
            biased;
            () = &mut until => break,
            result = listener.accept() => result,
        };
        match result {
            Ok((stream, address)) => {
                pause = PAUSE.0;
                accepted(stream, address);
            }
            Err(error) if of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while let std::task::Poll::Ready(Ok((stream, address))) = listener.poll_accept(&mut context) {
        accepted(stream, address);
    }
}

/// Whether an error of accept(2) concerns only the connection it would have returned.
fn of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied | TimedOut)
}

#[cfg(test)]
mod tests {
    use super::{Places, TELL};
    use crate::clock::monotonic;

    #[test]
    fn of_many_connections_without_a_place_is_told_once_a_second() {
        let (places, now) = (Places::new(1), monotonic());
        let place = places.take();
        assert!(place.is_some() && places.take().is_none());
        assert_eq!(places.refuse(now), Some(1), "at once");
        for _ in 0..1000 {
            assert_eq!(places.refuse(now + TELL / 2), None);
        }
        assert_eq!(places.refuse(now + TELL), Some(1001));
        drop(place);
        assert!(places.take().is_some());
    }
}
