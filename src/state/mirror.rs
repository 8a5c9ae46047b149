//! What the store says is revoked, as it is there: a copy in memory, so that no request has to ask.
//!
//! The copy is filled when a connection is made. From then on the store announces every key below the prefix that anybody changes
//! (`CLIENT TRACKING`, mode `BCAST`), and what it announced is read again. Answers and announcements come in order on one
//! connection, so the copy is as new as the last question that was answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisResult, Value};

use crate::auth::Epoch;
use crate::clock::{self, Timestamp};

/// The most revocations that are kept: about 40 MB.
const MOST: usize = 200_000;
/// So many keys are asked for at once.
const PAGE: usize = 500;
/// Values below it are no times, but what people write for "yes".
const PLAUSIBLE: i64 = 1_000_000_000;
/// Values above it are in milliseconds.
const MILLIS: i64 = 100_000_000_000;
/// Revoked whenever the token was issued.
const ALWAYS: Timestamp = Timestamp::NEVER;

/// The revocations of the store.
#[derive(Debug)]
pub(super) struct Mirror {
    /// `PREFIX:rev:`.
    prefix: String,
    /// The last time of issue that a revocation applies to, by the name of its key after the prefix.
    held: Mutex<HashMap<Box<str>, Timestamp>>,
    /// When the store was last asked something that it answered; `None` before.
    heard: Mutex<Option<Instant>>,
    /// Whether the copy is not older than it may be.
    current: AtomicBool,
    oldest: Duration,
    /// Moves when something is revoked.
    epoch: Epoch,
}

/// Why the copy cannot be made.
pub(super) enum MirrorError {
    Store(redis::RedisError),
    TooMany,
}

impl From<redis::RedisError> for MirrorError {
    fn from(error: redis::RedisError) -> Self {
        Self::Store(error)
    }
}

impl Mirror {
    pub(super) fn new(prefix: &str, oldest: Duration, epoch: Epoch) -> Self {
        let (held, heard, current) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self { prefix: format!("{prefix}:rev:"), held, heard, current, oldest, epoch }
    }

    /// The name of the key for a revocation.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether what is not here is not revoked.
    pub(super) fn is_current(&self) -> bool {
        self.current.load(Ordering::Acquire)
    }

    /// Whether it was filled once.
    pub(super) fn was_filled(&self) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The number of revocations.
    pub(super) fn len(&self) -> usize {
        self.held().len()
    }

    /// The last time of issue that the first of `names` which is revoked applies to, of all the latest.
    pub(super) fn last(&self, names: impl Iterator<Item = String>) -> Option<Timestamp> {
        let held = self.held();
        names.filter_map(|name| held.get(name.as_str()).copied()).max()
    }

    /// Begins to follow the store: what it announces from now on is to be given to [`Mirror::follow`].
    pub(super) async fn load(&self, connection: &mut MultiplexedConnection) -> Result<(), MirrorError> {
        let begun = clock::monotonic();
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(&self.prefix);
        tracking.query_async::<()>(connection).await?;
        let (mut found, mut cursor) = (HashMap::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.prefix)).arg("COUNT").arg(PAGE);
            let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
            for (name, last) in self.read(connection, &keys).await? {
                if let Some(last) = last {
                    found.insert(name, last);
                }
            }
            if found.len() > MOST {
                return Err(MirrorError::TooMany);
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let is_news = {
            let mut held = self.held();
            let is_news = found.iter().any(|(name, last)| held.get(name).is_none_or(|known| known < last));
            *held = found;
            is_news
        };
        self.tell(is_news);
        self.heard_at(begun);
        Ok(())
    }

    /// Reads again what was announced. Errs if that is not possible, and when everything is to be read anew.
    pub(super) async fn follow(
        &self,
        connection: &mut MultiplexedConnection,
        announced: Vec<PushInfo>,
    ) -> Result<(), MirrorError> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for push in announced.into_iter().filter(|push| push.kind == PushKind::Invalidate) {
            match push.data.into_iter().next() {
                Some(Value::Array(names)) => keys.extend(names.into_iter().filter_map(|name| match name {
                    Value::BulkString(name) => Some(name),
                    _ => None,
                })),
                // All keys are gone.
                Some(Value::Nil) => self.held().clear(),
                _ => {}
            }
        }
        let mut is_news = false;
        for page in keys.chunks(PAGE) {
            let read = self.read(connection, page).await?;
            let mut held = self.held();
            for (name, last) in read {
                match last {
                    Some(last) => is_news |= held.insert(name, last).is_none_or(|known| known < last),
                    None => _ = held.remove(&name),
                }
            }
            if held.len() > MOST {
                return Err(MirrorError::TooMany);
            }
        }
        self.tell(is_news);
        Ok(())
    }

    /// Asks for the values of keys; those that are gone have none.
    async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &[Vec<u8>],
    ) -> RedisResult<Vec<(Box<str>, Option<Timestamp>)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("MGET");
        for key in keys {
            get.arg(key);
        }
        let values: Vec<Option<Vec<u8>>> = get.query_async(connection).await?;
        let mut read = Vec::new();
        for (key, value) in keys.iter().zip(values) {
            let time = match value {
                Some(value) => Some(last(&value)),
                // A key that holds no text is there all the same.
                None if redis::cmd("EXISTS").arg(key).query_async::<u8>(connection).await? > 0 => Some(ALWAYS),
                None => None,
            };
            let name = String::from_utf8_lossy(key);
            read.extend(name.strip_prefix(&self.prefix).map(|name| (Box::from(name), time)));
        }
        Ok(read)
    }

    /// Notes that the store answered what it was asked at `asked`.
    pub(super) fn heard_at(&self, asked: Instant) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        self.current.store(true, Ordering::Release);
    }

    /// Looks whether the copy has become too old by `now`; then nobody may rely on it, and whoever did is to look again.
    pub(super) fn grow_old(&self, now: Instant) {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = heard.is_none_or(|heard| now.saturating_duration_since(heard) > self.oldest);
        if is_old && self.current.swap(false, Ordering::AcqRel) {
            tracing::error!("revocations of the shared store are not known: tokens are refused");
            self.epoch.advance();
        }
    }

    /// What keeps the copy from being relied on is looked at this often.
    pub(super) fn interval(&self) -> Duration {
        (self.oldest / 4).min(Duration::from_secs(1))
    }

    fn tell(&self, is_news: bool) {
        if is_news {
            // INVARIANT: after the entries are visible, so that no earlier verdict is found in the new epoch.
            self.epoch.advance();
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Box<str>, Timestamp>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a value says: a time in seconds or milliseconds; anything else revokes whenever the token was issued.
fn last(value: &[u8]) -> Timestamp {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<i64>().ok());
    match number {
        Some(seconds) if (PLAUSIBLE..=MILLIS).contains(&seconds) => Timestamp::from_unix_seconds(seconds),
        Some(millis) if millis > MILLIS => Timestamp::from_unix_seconds(millis / 1000),
        _ => ALWAYS,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ALWAYS, Mirror, last};
    use crate::auth::Epoch;
    use crate::clock::{Timestamp, monotonic};

    #[test]
    fn what_is_no_time_revokes_for_ever() {
        let at = Timestamp::from_unix_seconds(1_767_614_400);
        for (value, expected) in [
            ("1767614400", at),
            (" 1767614400\n", at),
            ("1767614400123", at),
            ("1", ALWAYS),
            ("0", ALWAYS),
            ("-1767614400", ALWAYS),
            ("", ALWAYS),
            ("yes", ALWAYS),
            ("1767614400.5", ALWAYS),
            ("99999999999999999999", ALWAYS),
        ] {
            assert_eq!(last(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(last(b"\xff"), ALWAYS);
    }

    #[test]
    fn a_copy_is_relied_on_for_as_long_as_it_may_be_old() {
        let (epoch, second) = (Epoch::default(), Duration::from_secs(1));
        let mirror = Mirror::new("p", 30 * second, epoch.clone());
        let now = monotonic();
        assert!(!mirror.is_current(), "nothing was read yet");
        mirror.heard_at(now);
        mirror.grow_old(now + 30 * second);
        assert!(mirror.is_current());
        mirror.grow_old(now + 31 * second);
        assert!(!mirror.is_current());
        assert_eq!(epoch.now(), 1, "streams and verdicts are looked at again");
        mirror.heard_at(now + 40 * second);
        assert!(mirror.is_current());
    }
}
