//! Revocations that processes and others share.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use super::{Op, Shared, StoreError};
use crate::clock::Timestamp;

/// Of two times the later counts, and of two ends; what is no time revokes for ever, and stays.
static REVOKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local held, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
local value, keep = ARGV[1], tonumber(ARGV[2])
if held then
  local time = tonumber(held)
  if not time or time < 1000000000 or time > tonumber(value) then value = held end
  if left == -1 then
    redis.call('SET', KEYS[1], value)
    return 1
  end
  keep = math.max(keep, left)
end
redis.call('SET', KEYS[1], value, 'PX', keep)
return 1",
    )
});

impl Shared {
    /// Whether the revocations are known, so that a token that none names is not revoked.
    pub fn is_current(&self) -> bool {
        self.mirror.is_current()
    }

    /// Whether the revocations have been known once.
    pub fn was_up(&self) -> bool {
        self.mirror.was_filled()
    }

    /// The last time of issue that revocations under any of `names` apply to.
    pub fn last_revoked(&self, names: impl Iterator<Item = String>) -> Option<Timestamp> {
        self.mirror.last(names)
    }

    /// The number of revocations.
    pub fn revocations(&self) -> usize {
        self.mirror.len()
    }

    /// Revokes for every process what was issued until `last`, and remembers it for `keep`. Errs if the store did not take it.
    pub async fn revoke(&self, name: &str, last: Timestamp, keep: Duration) -> Result<(), StoreError> {
        let key = self.mirror.key(name);
        let millis = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 52);
        let written = self.link.ask(self.timeout, |mut connection| async move {
            REVOKE.key(key).arg(last.unix_seconds()).arg(millis).invoke_async::<()>(&mut connection).await
        });
        self.counted(Op::Revoke, written.await)
    }
}
