//! Rate limits that several processes count together (generic cell rate algorithm), by the clock of the store.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use super::{Op, Shared, StoreError, name_of};

/// So many calls, evenly over time, of which a burst may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// From one call to the next.
    pub interval: Duration,
    /// How many may come at once.
    pub burst: u32,
}

/// One key holds when the next call would be due if all came evenly, in microseconds of the store's clock. The answer is how
/// long to wait, in microseconds; 0 if the call was counted.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = redis.call('GET', KEYS[1])
local due = now
if held then
  due = tonumber(held)
  if not due then return redis.error_reply('NOTIME the key holds no time') end
  due = math.min(math.max(due, now), now + interval * burst)
end
local next = due + interval
local wait = next - interval * burst - now
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
return 0",
    )
});

impl Shared {
    /// Counts one call of `key` by `quota`, together with all other processes; `rule` says whose the quota is. Returns how
    /// long to wait if it exceeds the quota. Errs if the store did not count it.
    pub async fn count(&self, rule: &str, key: &[u8], quota: Quota) -> Result<Result<(), Duration>, StoreError> {
        let micros = u64::try_from(quota.interval.as_micros()).unwrap_or(u64::MAX).max(1);
        let (written, burst) = ([micros.to_be_bytes(), u64::from(quota.burst).to_be_bytes()].concat(), quota.burst);
        // Another quota counts anew, as it does in one process.
        let name = format!("{}:rl:{rule}:{}", self.prefix, name_of(&[&written, key]));
        let counted = self.link.ask(self.timeout, |mut connection| async move {
            COUNT.key(name).arg(micros).arg(burst).invoke_async::<u64>(&mut connection).await
        });
        let wait = self.counted(Op::Limit, counted.await)?;
        Ok(if wait == 0 { Ok(()) } else { Err(Duration::from_micros(wait)) })
    }
}
