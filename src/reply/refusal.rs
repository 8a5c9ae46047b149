//! What the proxy tells an upstream in a client's place: that a server's request is refused, so that the server does not
//! wait for it, and that a session has ended which nobody could use.

use std::sync::Arc;

use bytes::Bytes;

use super::Way;
use crate::mcp::Revision;
use crate::upstream::{self, Outbound};

/// Most refusals of one stream under way at once. Each holds a connection for as long as the upstream likes: one that asks
/// without end must not use up those of everybody else.
const MOST: usize = 4;

/// The refusals of one stream that are under way, counted by who holds them.
#[derive(Debug, Default)]
pub(super) struct Refusals(Option<Arc<()>>);

impl Refusals {
    /// Sends `message` to the upstream, in the session of `way`, without waiting for what it says to that; not at all
    /// where it has not taken the ones before.
    pub(super) fn tell(&mut self, way: &Way, message: Bytes) {
        let Some(under_way) = self.next() else {
            tracing::debug!(server = %way.route.name, "too many refused server requests, one is not answered");
            return;
        };
        let outbound = upstream::refusal(&way.credential, way.session.as_ref(), way.revision, message);
        send(way, outbound, Some(under_way));
    }

    /// A place among them, if there is one.
    fn next(&mut self) -> Option<Arc<()>> {
        let held = self.0.get_or_insert_default();
        (Arc::strong_count(held) <= MOST).then(|| Arc::clone(held))
    }
}

/// Ends the session an upstream opened for who is nobody: it can be sealed to no one, and would lie there for ever.
pub(super) fn end_session(way: &Way) {
    let session = way.session.as_ref().and_then(|session| session.upstream_id.as_deref());
    if let Some(session) = session {
        send(way, upstream::ending(&way.credential, session, Revision::V2025_11_25), None);
    }
}

#[expect(clippy::disallowed_methods, reason = "ends with the upstream's timeouts; nothing waits for it")]
fn send(way: &Way, outbound: Outbound, under_way: Option<Arc<()>>) {
    let (worker, route) = (way.worker.clone(), way.route.clone());
    tokio::spawn(async move {
        if let Err(error) = route.backend.send(&worker.pool, outbound).await {
            tracing::debug!(server = %route.name, %error, "the upstream could not be told");
        }
        drop(under_way);
    });
}

#[cfg(test)]
mod tests {
    use super::{MOST, Refusals};

    #[test]
    fn only_a_few_are_under_way_at_once() {
        let mut refusals = Refusals::default();
        let mut held: Vec<_> = std::iter::from_fn(|| refusals.next()).take(100).collect();
        assert_eq!(held.len(), MOST);
        held.pop();
        assert!(refusals.next().is_some());
    }
}
