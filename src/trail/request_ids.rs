//! The ids of requests.

use uuid::Uuid;

use crate::clock::Timestamp;

/// Makes `UUIDv7` request ids; they name, they do not protect, so a counter hashed under a random key is random enough.
#[derive(Debug, Default)]
pub(super) struct RequestIds {
    key: foldhash::quality::RandomState,
    made: u64,
}

impl RequestIds {
    pub(super) fn next(&mut self, now: Timestamp) -> Uuid {
        use std::hash::BuildHasher as _;
        self.made += 1;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.key.hash_one(self.made).to_le_bytes());
        random[8..].copy_from_slice(&self.made.to_le_bytes()[..2]);
        uuid::Builder::from_unix_timestamp_millis(u64::try_from(now.unix_millis()).unwrap_or(0), &random).into_uuid()
    }
}
