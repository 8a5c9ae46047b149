//! The stream that the sessions of one client, or of all, share.

use std::sync::Arc;

use super::Channel;
use crate::json::Document;
use crate::mcp::RpcId;

/// A stream, and what it was opened with, to open it again.
#[derive(Debug)]
pub(super) struct Trunk {
    pub(super) hello: Document,
    pub(super) id: RpcId,
    pub(super) is_shared: bool,
    pub(super) open: tokio::sync::Mutex<Option<Greeted>>,
}

/// A stream that is open, and the server's answer to the hello on it.
#[derive(Clone, Debug)]
pub(super) struct Greeted {
    pub(super) channel: Arc<Channel>,
    pub(super) answer: Document,
}

impl Drop for Trunk {
    /// Calls that still run are told by the end of their stream.
    fn drop(&mut self) {
        if let Some(greeted) = self.open.get_mut() {
            greeted.channel.close();
        }
    }
}
