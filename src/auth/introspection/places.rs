use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The most questions to one issuer at a time about tokens nobody has vouched for, and about others.
const LIMIT_UNKNOWN: usize = 64;
const LIMIT_KNOWN: usize = 32;
/// The most questions of either kind that wait, and how long each may.
const LIMIT_WAITING: usize = 1_024;
const LIMIT_WAIT: Duration = Duration::from_secs(2);

/// What is known of a token before it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Provenance {
    /// Its issuer signed it, or has vouched for it before.
    Known,
    /// Anybody could have made it up.
    Unknown,
}

/// Places for questions to one issuer. Tokens that anybody can make up have their own, so that however many come, those
/// that were good a moment ago are asked about in time.
#[derive(Debug)]
pub(in crate::auth) struct Places {
    known: Line,
    unknown: Line,
}

#[derive(Debug)]
struct Line {
    places: Semaphore,
    waiting: AtomicUsize,
}

impl Places {
    pub(in crate::auth) const fn new() -> Self {
        Self { known: Line::of(LIMIT_KNOWN), unknown: Line::of(LIMIT_UNKNOWN) }
    }

    /// A place, at once or in turn; `None` if none comes in time, or too many wait.
    pub(super) async fn take(&self, provenance: Provenance) -> Option<SemaphorePermit<'_>> {
        let line = match provenance {
            Provenance::Known => &self.known,
            Provenance::Unknown => &self.unknown,
        };
        match line.places.try_acquire() {
            Ok(place) => Some(place),
            Err(_) => line.wait().await,
        }
    }
}

impl Line {
    const fn of(places: usize) -> Self {
        Self { places: Semaphore::const_new(places), waiting: AtomicUsize::new(0) }
    }

    async fn wait(&self) -> Option<SemaphorePermit<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _one_less = OneLess(&self.waiting);
        if before >= LIMIT_WAITING {
            return None;
        }
        timeout(LIMIT_WAIT, self.places.acquire()).await.ok()?.ok()
    }
}

/// One that waits no more once this is dropped, also where its client has gone.
struct OneLess<'a>(&'a AtomicUsize);

impl Drop for OneLess<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{LIMIT_UNKNOWN, LIMIT_WAITING, Places, Provenance};

    #[tokio::test]
    async fn who_waits_has_a_turn_and_who_goes_away_leaves_none() {
        let places = Places::new();
        let mut taken: Vec<_> = (0..LIMIT_UNKNOWN)
            .map(|_| places.take(Provenance::Unknown).now_or_never().flatten().expect("a place"))
            .collect();
        assert!(places.take(Provenance::Known).await.is_some(), "these have their own");
        let mut waiting: Vec<_> = (0..LIMIT_WAITING).map(|_| Box::pin(places.take(Provenance::Unknown))).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        assert!(places.take(Provenance::Unknown).await.is_none(), "too many wait");
        drop(waiting.split_off(1));
        let mut last = Box::pin(places.take(Provenance::Unknown));
        assert!((&mut last).now_or_never().is_none(), "there is room to wait again");
        drop(taken.pop());
        drop(waiting);
        assert!(last.await.is_some(), "its turn");
    }
}
