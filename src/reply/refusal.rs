//! A server's request that the policy refuses is answered in the client's stead, so that the server does not wait for it.

use bytes::Bytes;

use super::Way;
use crate::upstream;

/// Sends `message` to the upstream, in the session of `way`, without waiting for what it says to that.
#[expect(clippy::disallowed_methods, reason = "ends with the upstream's timeouts; nothing waits for it")]
pub(super) fn tell(way: &Way, message: Bytes) {
    let outbound = upstream::refusal(&way.route, way.session.as_ref(), way.revision, message);
    let (worker, route) = (way.worker.clone(), way.route.clone());
    tokio::spawn(async move {
        if let Err(error) = worker.pool.send(&route.upstream, outbound.into_request()).await {
            tracing::debug!(server = %route.name, %error, "a refused server request could not be answered");
        }
    });
}
