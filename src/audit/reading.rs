//! What is the same wherever records are read.

use crate::clock::Timestamp;

/// The moment an RFC 3339 text names, from 1970 on.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let time = humantime::parse_rfc3339(text).ok()?;
    Some(Timestamp::from_unix_seconds(0).plus(time.duration_since(std::time::UNIX_EPOCH).ok()?))
}
