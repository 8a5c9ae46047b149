//! `limit`: how often, and how many at once, a rule lets calls pass; and how often a caller is asked for the same scopes.
//!
//! In memory of this process, bounded, or where several processes share a store, rates there. Counts outlive a reload.

mod anonymous;
mod challenge;
mod rate;
mod read;
mod share;
mod shared;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::DefaultClock;

use self::challenge::Challenges;
use self::rate::Rate;
pub(super) use self::read::{LIMIT, read, timeout};
use self::shared::{Everywhere, Pauses};
use super::permit::{Denial, Permit};
use super::{OnDeny, Policy};
use crate::auth::Caller;
use crate::clock;
use crate::reject::Reject;
use crate::state::StoreError;

/// The `Retry-After` for the limit on concurrent calls, as it is unknown when one ends.
const BUSY: Duration = Duration::from_secs(1);

/// A rule's `limit`, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// The number of calls per time, and the burst.
    pub(super) rate: Option<(u32, Duration, u32)>,
    pub(super) concurrency: Option<u32>,
    pub(super) per: Per,
}

/// Whose calls are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Per {
    pub(super) client: bool,
    pub(super) subject: bool,
    pub(super) tool: bool,
}

/// The parts that identify a counter, each with its length, so that no two lists of parts are equal.
type Key = Box<[u8]>;

/// All counters of this process.
#[derive(Debug, Default)]
pub struct Limits {
    /// By server, rule and specification.
    counts: Mutex<HashMap<String, Arc<Count>>>,
    challenges: Challenges,
}

impl Limits {
    fn count(&self, server: &str, rule: &str, spec: &Spec) -> Arc<Count> {
        let mut counts = lock(&self.counts);
        let made = || Arc::new(Count::new(spec));
        Arc::clone(counts.entry(format!("{server}/{rule}/{spec:?}")).or_insert_with(made))
    }
}

/// The counters of one rule.
#[derive(Debug)]
struct Count {
    rate: Option<Rate<DefaultClock>>,
    busy: Mutex<HashMap<Key, u32>>,
    pauses: Pauses,
}

impl Count {
    fn new(spec: &Spec) -> Self {
        let rate = spec.rate.and_then(|(calls, time, burst)| Rate::new(calls, time, burst, DefaultClock::default()));
        Self { rate, busy: Mutex::default(), pauses: Pauses::default() }
    }

    /// Takes one of at most `most` concurrent calls; `None` if all are taken.
    fn occupy(self: &Arc<Self>, key: Key, most: u32) -> Option<Slot> {
        let mut busy = lock(&self.busy);
        let count = busy.entry(key.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Slot { count: Arc::clone(self), key })
    }
}

/// One of the concurrent calls a limit allows, until dropped.
#[derive(Debug)]
pub struct Slot {
    count: Arc<Count>,
    key: Key,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut busy = lock(&self.count.busy);
        if let Some(count) = busy.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                busy.remove(&self.key);
            }
        }
    }
}

/// A rule's limit with its counters.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) spec: Spec,
    count: Arc<Count>,
    /// Where the rate is counted with other processes, if it is.
    everywhere: Option<Everywhere>,
}

impl Limit {
    /// With new counters, until [`Policy::keep_counts`] replaces them by existing ones.
    pub(super) fn new(spec: Spec) -> Self {
        let count = Arc::new(Count::new(&spec));
        Self { spec, count, everywhere: None }
    }

    /// Counts one call. Errs if it exceeds the limit, or where the rate is counted that does not do it.
    async fn enter(&self, caller: &Caller, tool: &str) -> Result<Option<Slot>, Refusal> {
        let key = key(caller, tool, self.spec.per);
        // Before the rate, so that a call refused here does not count there.
        let slot = match self.spec.concurrency {
            Some(most) => Some(self.count.occupy(key.clone(), most).ok_or(Refusal::Wait(BUSY))?),
            None => None,
        };
        match &self.everywhere {
            Some(everywhere) if self.spec.rate.is_some() => {
                Box::pin(self.enter_everywhere(everywhere, caller, &key)).await?;
            }
            _ => self.enter_here(caller, &key).map_err(Refusal::Wait)?,
        }
        Ok(slot)
    }

    /// Counts one call in this process alone. Errs with the time to wait if it exceeds the limit.
    fn enter_here(&self, caller: &Caller, key: &Key) -> Result<(), Duration> {
        match &self.count.rate {
            Some(rate) if self.spec.per.tool => rate.check_chosen(&person(caller), key, clock::monotonic()),
            Some(rate) => rate.check(key),
            None => Ok(()),
        }
    }
}

/// Why a call does not pass a limit.
#[derive(Debug)]
enum Refusal {
    /// The store that counts does not.
    Uncounted(StoreError),
    /// It exceeds the limit, for so long.
    Wait(Duration),
}

impl Refusal {
    fn into_reject(self, rule: Arc<str>) -> Reject {
        match self {
            Self::Uncounted(error) => Reject::Store(error),
            Self::Wait(retry_after) => Reject::Denied(Denial::Limited { rule, retry_after }),
        }
    }
}

/// The counter of who calls, whatever is called.
fn person(caller: &Caller) -> Key {
    key(caller, "", Per { subject: true, ..Per::default() })
}

fn key(caller: &Caller, tool: &str, per: Per) -> Key {
    let mut key = Vec::new();
    let mut part = |text: Option<&str>| {
        key.extend_from_slice(&text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
        key.extend_from_slice(text.unwrap_or_default().as_bytes());
    };
    if per.subject {
        for text in [Some(&*caller.issuer), caller.tenant.as_deref(), Some(&*caller.subject)] {
            part(text);
        }
    }
    if per.client {
        part(Some(&caller.issuer));
        part(caller.client_id.as_deref());
    }
    if per.tool {
        part(Some(tool));
    }
    key.into()
}

impl Policy {
    /// Continues with the counters of this server's rules, such as those from before a reload.
    pub fn keep_counts(&mut self, limits: &Arc<Limits>, server: &str) {
        self.counted = Arc::clone(limits);
        for (rule, limit) in &mut self.limits {
            limit.count = limits.count(server, rule, &limit.spec);
        }
    }

    /// Counts a permitted call if its rule has a limit. The slot is to be held while the call runs. Errs if the limit is
    /// exceeded, or calls cannot be counted.
    pub(crate) async fn enter(&self, permit: &Permit) -> Result<Option<Slot>, Reject> {
        let limited = permit.rule().and_then(|rule| Some((rule, self.limits.get(rule)?)));
        let Some((rule, limit)) = limited else { return Ok(None) };
        let entered = limit.enter(&permit.opened().caller, permit.subject()).await;
        entered.map_err(|refusal| refusal.into_reject(Arc::clone(rule)))
    }

    /// The rule's `timeout`, if it has one.
    pub(crate) fn timeout(&self, rule: Option<&Arc<str>>) -> Option<Duration> {
        self.timeouts.get(rule?).copied()
    }

    /// The denial to answer with: a step-up becomes a refusal if the caller was asked for the same scopes before and came back
    /// with new tokens that still lack them, so that its client does not log in forever.
    pub(crate) fn limit_step_ups(&self, denial: Denial, caller: &Caller) -> Denial {
        match &denial {
            Denial::StepUp { name, rule, scopes, .. }
                if self.counted.challenges.is_one_too_many(caller, name, scopes, clock::monotonic()) =>
            {
                Denial::Refused {
                    rule: Some(Arc::clone(rule)),
                    reason: None,
                    on_deny: OnDeny::default(),
                    argument: None,
                }
            }
            _ => denial,
        }
    }
}

/// Locks a mutex, poisoned or not: the data is consistent after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::{Limit, Limits, Per, Refusal, Slot, Spec};
    use crate::auth::Caller;
    use crate::policy::Policy;
    use crate::policy::tests::{caller, policy};

    /// Without a store there is nothing to wait for.
    fn enter(limit: &Limit, caller: &Caller, tool: &str) -> Result<Option<Slot>, Duration> {
        limit.enter(caller, tool).now_or_never().unwrap().map_err(|refusal| match refusal {
            Refusal::Wait(wait) => wait,
            Refusal::Uncounted(error) => panic!("{error}"),
        })
    }

    #[test]
    fn calls_at_once_are_counted_until_they_end() {
        let per = Per { subject: true, ..Per::default() };
        let limit = Limit::new(Spec { rate: None, concurrency: Some(2), per });
        let (ana, mut kim) = (caller(""), caller(""));
        kim.subject = "kim".into();
        let first = enter(&limit, &ana, "x").unwrap();
        let second = enter(&limit, &ana, "y").unwrap();
        assert!(enter(&limit, &ana, "x").is_err());
        assert!(enter(&limit, &kim, "x").is_ok());
        drop(second);
        assert!(enter(&limit, &ana, "x").is_ok(), "and given back at once");
        drop(first);
        assert!(super::lock(&limit.count.busy).is_empty());
    }

    #[test]
    fn counts_are_of_whom_the_rule_says() {
        let limit = |per| Limit::new(Spec { rate: Some((1, Duration::from_hours(1), 1)), concurrency: None, per });
        let (ana, mut kim) = (caller(""), caller(""));
        kim.subject = "kim".into();
        let (all, subject) = (limit(Per::default()), limit(Per { subject: true, ..Per::default() }));
        let tool = limit(Per { tool: true, subject: true, ..Per::default() });
        for limit in [&all, &subject, &tool] {
            assert!(enter(limit, &ana, "x").is_ok());
            let wait = enter(limit, &ana, "x").unwrap_err();
            assert!(wait > Duration::from_mins(59) && wait <= Duration::from_hours(1), "{wait:?}");
        }
        assert!(enter(&all, &kim, "x").is_err());
        assert!(enter(&subject, &kim, "x").is_ok());
        assert!(enter(&subject, &ana, "y").is_err());
        assert!(enter(&tool, &ana, "y").is_ok());
        // A client of that name at another issuer is another client.
        let (client, mut elsewhere) = (limit(Per { client: true, ..Per::default() }), caller(""));
        elsewhere.issuer = "https://other.example.com".into();
        assert!(enter(&client, &ana, "x").is_ok() && enter(&client, &kim, "x").is_err());
        assert!(enter(&client, &elsewhere, "x").is_ok());
    }

    #[test]
    fn names_a_caller_makes_up_refuse_nobody_else() {
        let per = Per { tool: true, ..Per::default() };
        let limit = Limit::new(Spec { rate: Some((1, Duration::from_hours(1), 1)), concurrency: None, per });
        let (ana, mut kim) = (caller(""), caller(""));
        kim.subject = "kim".into();
        let let_in = (0..110_000).filter(|number| enter(&limit, &ana, &format!("doc:{number}")).is_ok()).count();
        assert_eq!(let_in, 1_000);
        assert!(enter(&limit, &kim, "doc:kim").is_ok());
        assert!(enter(&limit, &kim, "doc:7").is_err(), "counted for all alike");
    }

    #[test]
    fn what_is_counted_outlives_a_reload() {
        let counts = Arc::new(Limits::default());
        let loaded = |server: &str, rate: &str| {
            let rule = format!("[[rule]]\nid = \"r\"\ntools = [\"x\"]\nlimit = {{ rate = \"{rate}\", burst = 1 }}\n");
            let mut policy = policy(&rule);
            policy.keep_counts(&counts, server);
            policy
        };
        let enter = |policy: &Policy| enter(policy.limits.values().next().unwrap(), &caller(""), "x").is_ok();
        assert!(enter(&loaded("crm", "1/h")));
        assert!(!enter(&loaded("crm", "1/h")));
        assert!(enter(&loaded("other", "1/h")), "of another server");
        assert!(enter(&loaded("crm", "2/h")), "another limit");
    }
}
