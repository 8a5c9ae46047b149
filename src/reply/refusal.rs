//! A server's request that the policy refuses is answered in the client's stead, so that the server does not wait for it.

use std::sync::Arc;

use bytes::Bytes;

use super::Way;
use crate::upstream;

/// Most refusals of one stream under way at once. Each holds a connection for as long as the upstream likes: one that asks
/// without end must not use up those of everybody else.
const MOST: usize = 4;

/// The refusals of one stream that are under way, counted by who holds them.
#[derive(Debug, Default)]
pub(super) struct Refusals(Option<Arc<()>>);

impl Refusals {
    /// Sends `message` to the upstream, in the session of `way`, without waiting for what it says to that; not at all
    /// where it has not taken the ones before.
    #[expect(clippy::disallowed_methods, reason = "ends with the upstream's timeouts; nothing waits for it")]
    pub(super) fn tell(&mut self, way: &Way, message: Bytes) {
        let Some(under_way) = self.next() else {
            tracing::debug!(server = %way.route.name, "too many refused server requests, one is not answered");
            return;
        };
        let outbound = upstream::refusal(&way.route, way.session.as_ref(), way.revision, message);
        let (worker, route) = (way.worker.clone(), way.route.clone());
        tokio::spawn(async move {
            if let Err(error) = worker.pool.send(&route.upstream, outbound.into_request()).await {
                tracing::debug!(server = %route.name, %error, "a refused server request could not be answered");
            }
            drop(under_way);
        });
    }

    /// A place among them, if there is one.
    fn next(&mut self) -> Option<Arc<()>> {
        let held = self.0.get_or_insert_default();
        (Arc::strong_count(held) <= MOST).then(|| Arc::clone(held))
    }
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
