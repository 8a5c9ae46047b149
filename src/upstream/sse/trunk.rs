//! The stream of one session, or the one that all sessions share.

use std::sync::Arc;

use super::Channel;
use crate::json::Document;
use crate::mcp::RpcId;

/// A stream, and the `initialize` request to reopen it with.
#[derive(Debug)]
pub(super) struct Trunk {
    pub(super) hello: Document,
    pub(super) id: RpcId,
    pub(super) is_shared: bool,
    pub(super) open: tokio::sync::Mutex<Option<Greeted>>,
}

/// An open stream, and the server's answer to `initialize` on it.
#[derive(Clone, Debug)]
pub(super) struct Greeted {
    pub(super) channel: Arc<Channel>,
    pub(super) answer: Document,
}

impl Drop for Trunk {
    /// Closes the stream, which ends calls that are still pending.
    fn drop(&mut self) {
        if let Some(greeted) = self.open.get_mut() {
            greeted.channel.close();
        }
    }
}
