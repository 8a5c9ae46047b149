//! Raises the limit of open file descriptors to what the connections need.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors for the process's own files, sockets and pipes.
const OWN: u64 = 256;

/// Raises the limit to two descriptors for each connection, its own and one toward the upstream, as far as the system
/// allows. Warns if there is not even one for each.
pub fn provide(connections: usize) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let connections = connections as u64;
    let given = wanted(connections, soft, hard);
    let limit = if given > soft && setrlimit(Resource::RLIMIT_NOFILE, given, hard).is_ok() { given } else { soft };
    if limit < connections + OWN {
        tracing::warn!(limit, connections, "fewer files may be open than `server.limits.connections` takes");
    }
}

/// The limit to set: not below the present one, and, as started programs inherit it, not above what is needed.
fn wanted(connections: u64, soft: u64, hard: u64) -> u64 {
    connections.saturating_mul(2).saturating_add(OWN).min(hard).max(soft)
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn no_more_is_asked_for_than_is_of_use_and_no_less_than_there_is() {
        for (connections, soft, hard, expected) in [
            (10_000, 1_024, 1_048_576, 20_256),
            (10_000, 1_024, 4_096, 4_096),
            (10_000, 1_024, 1_024, 1_024),
            (10, 1_024, 4_096, 1_024),
            (u64::MAX, 1_024, u64::MAX, u64::MAX),
        ] {
            assert_eq!(wanted(connections, soft, hard), expected, "{connections} {soft} {hard}");
        }
    }
}
