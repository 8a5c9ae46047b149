//! What the tests talk with: a proxy in this process, an upstream that records, a client that writes bytes.

mod ask;
mod check;
mod folder;
mod process;
mod proxy;
mod store;
mod upstream;
mod wire;

use std::time::Duration;

pub(crate) use ask::Ask;
pub(crate) use folder::Folder;
pub(crate) use process::Process;
pub(crate) use proxy::{Proxy, Setup, decisions, token_of};
pub(crate) use store::{Mood, Store};
pub(crate) use upstream::{Connection, Driver, Heard, Upstream, events, json_answer, raw_answer};
pub(crate) use wire::{Answer, Client};

/// The policy the product ships for the sample CRM.
pub(crate) const CRM_POLICY: &str = include_str!("../../policies/crm.toml");

/// Longest wait for anything. Nothing asserts that it takes less; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds that are left of a token which is to expire within a test: enough to begin with, on a machine that is busy
/// with something else.
pub(crate) const LASTS: i64 = 8;

/// What `future` gives; a test whose event never comes fails here and not by hanging.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Asks again until `probe` gives something, for states that have no event of their own.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, asking).await
}
