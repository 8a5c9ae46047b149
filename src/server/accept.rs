//! Listening sockets and the accept loop of each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

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
