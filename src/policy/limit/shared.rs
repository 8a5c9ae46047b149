use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::anonymous::ANONYMOUS;
use super::{Caller, Key, Limit, Policy, Refusal, Spec, lock, person};
use crate::clock;
use crate::state::{Quota, Shared};

/// The most callers of one rule that are known to have to wait.
const MOST: usize = 10_000;

/// A rule whose calls are counted together with other processes.
#[derive(Debug)]
pub(super) struct Everywhere {
    store: Arc<Shared>,
    /// `SERVER:RULE`.
    rule: Box<str>,
}

/// Who has to wait, and until when: the store need not be asked again before.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<HashMap<Key, Instant>>);

impl Pauses {
    fn left(&self, key: &Key, now: Instant) -> Option<Duration> {
        let mut pauses = lock(&self.0);
        let left = pauses.get(key)?.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            pauses.remove(key);
        }
        left
    }

    fn note(&self, key: Key, until: Instant, now: Instant) {
        let mut pauses = lock(&self.0);
        if pauses.len() >= MOST {
            pauses.retain(|_, until| *until > now);
        }
        // Who is not noted asks the store, and is told to wait.
        if pauses.len() < MOST {
            pauses.insert(key, until);
        }
    }
}

impl Spec {
    fn quota(&self) -> Option<Quota> {
        let (calls, time, burst) = self.rate?;
        Some(Quota { interval: time.checked_div(calls)?, burst })
    }
}

impl Policy {
    /// Counts rates in `store`, together with the other processes that serve `server`.
    pub fn count_in(&mut self, store: &Arc<Shared>, server: &str) {
        let at = |rule: &str| Everywhere { store: Arc::clone(store), rule: format!("{server}:{rule}").into() };
        for (rule, limit) in &mut self.limits {
            limit.everywhere = Some(at(rule));
        }
        if let Some(limit) = &mut self.anonymous_limit {
            limit.everywhere = Some(at(ANONYMOUS));
        }
    }
}

impl Limit {
    /// Counts one call together with other processes; if that fails and may, in this one alone.
    pub(super) async fn enter_everywhere(
        &self,
        everywhere: &Everywhere,
        caller: &Caller,
        key: &Key,
    ) -> Result<(), Refusal> {
        let Everywhere { store, rule } = everywhere;
        let now = clock::monotonic();
        if let Some(left) = self.count.pauses.left(key, now) {
            return Err(Refusal::Wait(left));
        }
        let Some(quota) = self.spec.quota() else { return Ok(()) };
        // Names that a caller makes up are bounded as they are without a store.
        let chosen = self.spec.per.tool.then(|| person(caller));
        if let (Some(person), Some(rate)) = (&chosen, &self.count.rate) {
            rate.may_choose(person, key, now).map_err(Refusal::Wait)?;
        }
        match store.count(rule, key, quota).await {
            Ok(Ok(())) => {
                if let (Some(person), Some(rate)) = (&chosen, &self.count.rate) {
                    rate.chose(person, key, now, quota.interval.saturating_mul(quota.burst));
                }
                Ok(())
            }
            Ok(Err(wait)) => {
                self.count.pauses.note(key.clone(), now + wait, now);
                Err(Refusal::Wait(wait))
            }
            Err(_) if store.counts_locally() => self.enter_here(caller, key).map_err(Refusal::Wait),
            Err(error) => Err(Refusal::Uncounted(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Key, MOST, Pauses};
    use crate::clock::monotonic;

    #[test]
    fn who_has_to_wait_is_known_until_the_wait_is_over() {
        let (pauses, now) = (Pauses::default(), monotonic());
        let key = |number: usize| -> Key { Box::from(number.to_le_bytes()) };
        let second = Duration::from_secs(1);
        assert_eq!(pauses.left(&key(0), now), None);
        pauses.note(key(0), now + second, now);
        assert_eq!(pauses.left(&key(0), now), Some(second));
        assert_eq!(pauses.left(&key(1), now), None, "another's");
        assert_eq!(pauses.left(&key(0), now + second), None);
        for number in 0..MOST + 10 {
            pauses.note(key(number), now + second, now);
        }
        assert_eq!(pauses.0.lock().unwrap().len(), MOST, "and no more");
        pauses.note(key(MOST + 10), now + 2 * second, now + second);
        assert_eq!(pauses.0.lock().unwrap().len(), 1, "what is over made room");
    }
}
