//! The ids of requests.

use std::fmt;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::clock::Timestamp;

/// The id of a request, with its text: the answer and every line of the audit log have it.
#[derive(Clone, Copy, Debug)]
pub struct RequestId {
    pub(crate) uuid: Uuid,
    text: [u8; Hyphenated::LENGTH],
}

impl RequestId {
    /// As it is written: hexadecimal digits and hyphens.
    pub(crate) const fn text(&self) -> &[u8] {
        &self.text
    }
}

impl From<Uuid> for RequestId {
    fn from(uuid: Uuid) -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        uuid.hyphenated().encode_lower(&mut text);
        Self { uuid, text }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.fmt(f)
    }
}

/// Makes `UUIDv7` request ids; they name, they do not protect, so a counter hashed under a random key is random enough.
#[derive(Debug, Default)]
pub(super) struct RequestIds {
    key: foldhash::quality::RandomState,
    made: u64,
}

impl RequestIds {
    pub(super) fn next(&mut self, now: Timestamp) -> RequestId {
        use std::hash::BuildHasher as _;
        self.made += 1;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.key.hash_one(self.made).to_le_bytes());
        random[8..].copy_from_slice(&self.made.to_le_bytes()[..2]);
        let millis = u64::try_from(now.unix_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().into()
    }
}
