//! Messages that the proxy sends an upstream in a client's place: the refusal of a server request, so that the server does
//! not wait for it, and the end of a session that nobody can use.

use std::sync::Arc;

use bytes::Bytes;

use super::Way;
use crate::mcp::Revision;
use crate::upstream::{self, Outbound};

/// The most refusals of one stream in flight. Each may hold a connection for long: an upstream that sends requests without
/// end must not use up everybody's.
const MOST: usize = 4;

/// The refusals of one stream in flight; the strong count is one more than their number.
#[derive(Debug, Default)]
pub(super) struct Refusals(Option<Arc<()>>);

impl Refusals {
    /// Sends `message` to the upstream, in the session of `way`, in the background; drops it if too many are in flight.
    pub(super) fn tell(&mut self, way: &Way, message: Bytes) {
        let Some(under_way) = self.next() else {
            tracing::debug!(server = %way.route.name, "too many refused server requests, one is not answered");
            return;
        };
        let outbound = upstream::refusal(&way.credential, way.session.as_ref(), way.revision, message);
        send(way, outbound, Some(under_way));
    }

    /// A slot for one refusal; `None` if there is none.
    fn next(&mut self) -> Option<Arc<()>> {
        let held = self.0.get_or_insert_default();
        (Arc::strong_count(held) <= MOST).then(|| Arc::clone(held))
    }
}

/// Ends the session that an upstream opened for an anonymous caller: its id cannot be sealed for anybody, so that it would
/// never be ended.
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
