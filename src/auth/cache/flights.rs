use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use tokio::sync::OnceCell;

use super::verdict::{Key, Verdict};
use crate::auth::VerifyError;

type Outcome = Result<Arc<Verdict>, VerifyError>;

/// Running verifications. Requests with the same token wait for the one that runs, and share its outcome (single flight).
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Flight, FixedState>>);

struct Flight {
    outcome: Arc<OnceCell<Outcome>>,
    /// The number of requests that wait for it.
    aboard: usize,
}

impl Flights {
    /// The outcome of the running verification of `key`, or of `verify`. If the request that runs it is dropped, the next one
    /// that waits starts over.
    pub(super) async fn share(&self, key: &Key, verify: impl Future<Output = Outcome>) -> Outcome {
        let seat = Seat::take(self, key);
        seat.outcome.get_or_init(|| verify).await.clone()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Key, Flight, FixedState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's share in a flight, given up when dropped.
struct Seat<'a> {
    flights: &'a Flights,
    key: &'a Key,
    outcome: Arc<OnceCell<Outcome>>,
}

impl<'a> Seat<'a> {
    fn take(flights: &'a Flights, key: &'a Key) -> Self {
        let mut running = flights.running();
        let outcome = if let Some(flight) = running.get_mut(key) {
            flight.aboard += 1;
            Arc::clone(&flight.outcome)
        } else {
            let outcome = Arc::default();
            running.insert(key.clone(), Flight { outcome: Arc::clone(&outcome), aboard: 1 });
            outcome
        };
        drop(running);
        Self { flights, key, outcome }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut running = self.flights.running();
        // The key may have a newer flight by now.
        let Some(flight) = running.get_mut(self.key).filter(|flight| Arc::ptr_eq(&flight.outcome, &self.outcome))
        else {
            return;
        };
        flight.aboard -= 1;
        // A finished flight is only for those already waiting: later requests use the cache, or verify again.
        if flight.aboard == 0 || self.outcome.initialized() {
            running.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::future::{join_all, pending};

    use super::{Flights, Outcome};
    use crate::auth::cache::verdict::Key;
    use crate::auth::{RouteKey, VerifyError};

    fn key(print: u64) -> Key {
        Key { print, epoch: 0, realm: RouteKey::default(), token: print.to_be_bytes().to_vec().into() }
    }

    #[tokio::test]
    async fn all_who_wait_have_one_outcome_and_who_comes_later_another() {
        let (flights, count) = (Flights::default(), AtomicU64::new(0));
        let verify = || async {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Outcome::Err(VerifyError::UnknownKey)
        };
        let (one, other) = (key(1), key(2));
        let outcomes =
            join_all((0..20).map(|at| flights.share(if at % 2 == 0 { &one } else { &other }, verify()))).await;
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().err() == Some(&VerifyError::UnknownKey)));
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert!(flights.running().is_empty());
        flights.share(&one, verify()).await.err().unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 3, "a refusal is for those who waited");
    }

    #[tokio::test]
    async fn who_goes_away_holds_nobody_up() {
        let (flights, key) = (Flights::default(), key(1));
        let mut first = Box::pin(flights.share(&key, pending()));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(flights.share(&key, async { Err(VerifyError::Expired) }));
        assert!(second.as_mut().now_or_never().is_none(), "it waits for the first");
        drop(first);
        assert_eq!(second.await.err(), Some(VerifyError::Expired));
        assert!(flights.running().is_empty());
        let mut alone = Box::pin(flights.share(&key, pending()));
        assert!(alone.as_mut().now_or_never().is_none() && flights.running().len() == 1);
        drop(alone);
        assert!(flights.running().is_empty());
    }
}
