//! Detects connections whose peer has vanished without closing them.
//!
//! A machine that lost power or its route sends nothing, and a stream may rightly be silent for hours. So the kernel probes
//! the peer (TCP keep-alive), and closes a connection whose data is not acknowledged.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a connection may be silent before the first probe, the interval of probes, and how many may fail.
const SILENT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_secs(15);
const TIMES: u32 = 4;
/// How long sent data may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_mins(2);

/// Makes a socket, and connections accepted from it, notice a vanished peer within two minutes.
pub(crate) fn watch(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENT).with_interval(PAUSE).with_retries(TIMES))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[test]
    fn what_is_accepted_is_watched_as_what_accepts_is() {
        let sockets = crate::server::accept::bind(([127, 0, 0, 1], 0).into(), 1, false).unwrap();
        let listener = sockets.first().unwrap();
        listener.set_nonblocking(false).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), SILENT);
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), PAUSE);
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), TIMES);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
        drop(client);
    }
}
