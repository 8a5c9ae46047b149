//! `[state]`: what processes that serve the same share.

use std::path::PathBuf;
use std::time::Duration;

use super::SecretSource;

/// `[state.redis]`: a Redis or Valkey that several processes share.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where its URL is read from, which may hold a password.
    pub url: SecretSource,
    /// PEM file of certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// What the name of every key begins with.
    pub prefix: String,
    /// How long a request waits for it at most.
    pub timeout: Duration,
    /// How long what it says of revocations is relied on without word from it.
    pub max_stale: Duration,
    /// What happens to rate limits when it cannot be asked.
    pub on_error: OnStoreError,
}

/// `state.redis.on_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreError {
    /// Calls with a rate limit are refused.
    Deny,
    /// Each process counts by itself.
    Local,
}
