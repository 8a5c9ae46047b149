//! State that several processes share, and what is left of it where the store is slow, wrong, or not there.

mod limits;
mod once;
mod revoked;

use crate::support::{Ask, Setup, Store, Upstream};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn setup(upstream: &Upstream, store: &Store, more: &str) -> Setup {
    Setup::new(upstream.url()).file("k1", KEY).tables(&store.tables(more))
}

fn search(token: &str) -> Ask {
    Ask::call("2026-07-28", "search_contacts", &serde_json::json!({})).token(token)
}
