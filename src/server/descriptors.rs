//! File descriptors: how many the process may have open, and how many its connections need.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files, sockets and pipes of the process's own.
const OWN: u64 = 256;

/// Lets the process have a file for each connection and one for what the upstream is asked because of it, as far as the
/// system allows; says so where not even all connections have one.
pub fn provide(connections: usize) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let connections = connections as u64;
    let given = wanted(connections, soft, hard);
    let limit = if given > soft && setrlimit(Resource::RLIMIT_NOFILE, given, hard).is_ok() { given } else { soft };
    if limit < connections + OWN {
        tracing::warn!(limit, connections, "fewer files may be open than `server.limits.connections` takes");
    }
}

/// The limit to ask for: never less than there is, as programs that are started inherit it never more than is of use.
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
