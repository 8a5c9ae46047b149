//! What may be used once, by whichever process it reaches.

use std::sync::Arc;
use std::time::Duration;

use super::{Op, Shared, StoreError, name_of};

/// How far apart the clocks of processes may be: so much longer a use is remembered.
const SKEW: Duration = Duration::from_mins(1);

impl Shared {
    /// Uses up `value` of `owner`, which is good for nobody after `lasts`. Returns whether it was not used before. Errs if the
    /// use could not be remembered; then it may be, and nobody may use it.
    pub async fn spend(&self, op: Op, owner: &[u8], value: &[u8], lasts: Duration) -> Result<bool, StoreError> {
        let name = self.single(op, owner, value);
        let seconds = lasts.saturating_add(SKEW).as_secs().saturating_add(1);
        let set = self.link.ask(self.timeout, |mut connection| async move {
            let mut command = redis::cmd("SET");
            command.arg(name).arg(1).arg("NX").arg("EX").arg(seconds);
            command.query_async::<Option<String>>(&mut connection).await
        });
        Ok(self.counted(op, set.await)?.is_some())
    }

    /// Makes a value usable again whose use had no effect, soon.
    pub fn give_back(self: &Arc<Self>, op: Op, owner: &[u8], value: &[u8]) {
        let (shared, name) = (Arc::clone(self), self.single(op, owner, value));
        self.runtime.spawn(async move {
            let removed = shared.link.ask(shared.timeout, |mut connection| async move {
                redis::cmd("DEL").arg(name).query_async::<()>(&mut connection).await
            });
            // One that stays used is safe.
            let _ = shared.counted(Op::GiveBack, removed.await);
        });
    }

    fn single(&self, op: Op, owner: &[u8], value: &[u8]) -> String {
        let kind = if op == Op::Proof { "jti" } else { "spent" };
        format!("{}:{kind}:{}", self.prefix, name_of(&[owner, value]))
    }
}
