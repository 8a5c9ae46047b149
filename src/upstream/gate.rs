//! The concurrency limit of an upstream: how many calls it gets at once, and which comes next when there are too many.
//!
//! While there is room a call costs two atomic additions. When there is none, callers wait in a queue that serves them in turn,
//! one call each (round robin), so that one caller's burst does not delay the others. Whatever is needed to finish a waiting
//! call must not wait behind it: answers and notifications of clients, and streams, are counted separately,
//! and one caller has at most half of either.

mod queue;

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::queue::{Full, Queue};
use crate::auth::Caller;
use crate::config;

/// Number of hash buckets in which calls are counted by caller. Callers in the same bucket share one limit.
const CELLS: u64 = 1_024;
/// The most messages without an answer that are in flight at once.
const ASIDE: usize = 1_024;

/// Which limit a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// A message that has no answer of its own: a notification, or a client's response to a server's request.
    Aside,
    /// A request that the upstream processes.
    Call,
    /// A long-lived, mostly silent stream.
    Stream,
}

/// Why a request is not sent for now. No part of it was sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Busy {
    /// The circuit breaker is open.
    #[error("it failed several times in a row, and the circuit breaker is open")]
    Breaker {
        /// Time until the next attempt.
        after: Duration,
    },
    /// The limit of processes is reached, and all of them are busy.
    #[error("its limit of processes is reached")]
    Processes,
    /// The queue is full.
    #[error("its queue is full")]
    Queue,
    /// The caller's share of the queue, the streams or the processes is used up.
    #[error("this caller's share of its room is used up")]
    Share,
    /// The limit of open streams is reached.
    #[error("its limit of open streams is reached")]
    Streams,
    /// The call waited in the queue for the longest time allowed.
    #[error("the call waited in its queue for {0:?}")]
    Waited(Duration),
}

impl Busy {
    /// The label of `portcullis_upstream_errors_total`.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Breaker { .. } => "breaker_open",
            Self::Processes => "processes_full",
            Self::Queue => "queue_full",
            Self::Share => "share_full",
            Self::Streams => "streams_full",
            Self::Waited(_) => "queue_timeout",
        }
    }

    /// How long a client should wait before it tries again.
    pub(crate) const fn retry_after(self) -> Duration {
        match self {
            Self::Breaker { after } => after,
            Self::Processes | Self::Queue | Self::Share | Self::Streams | Self::Waited(_) => Duration::from_secs(1),
        }
    }
}

/// The concurrency limits of one upstream, shared by all threads.
#[derive(Debug)]
pub(super) struct Gate {
    limits: config::Concurrency,
    /// Calls in flight in the upper half, calls waiting in the lower: both are changed in one atomic step.
    state: AtomicU64,
    /// Calls in flight, by hash of the caller.
    cells: Box<[AtomicU32]>,
    queue: Mutex<Queue<oneshot::Sender<Place>>>,
    streams: Count,
    aside: Count,
    /// Randomly keyed, so that no caller can choose its bucket.
    hasher: RandomState,
}

/// A count of one kind, in all and by caller; each caller has at most half of the limit.
#[derive(Debug)]
struct Count {
    all: AtomicUsize,
    cells: Box<[AtomicU32]>,
}

impl Count {
    fn new() -> Self {
        Self { all: AtomicUsize::new(0), cells: (0..CELLS).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Counts one more, in `cell` too; `None` for the proxy's own requests. Errs with `full` if the limit of `most` is reached,
    /// or [`Busy::Share`] if half of it is in `cell`.
    fn take(&self, cell: Option<u16>, most: usize, full: Busy) -> Result<(), Busy> {
        if self.all.fetch_add(1, Ordering::Relaxed) >= most {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(full);
        }
        let own = cell.map_or(0, |cell| self.cells[usize::from(cell)].fetch_add(1, Ordering::Relaxed));
        if own as usize >= most.div_ceil(2) {
            self.give_back(cell);
            return Err(Busy::Share);
        }
        Ok(())
    }

    fn give_back(&self, cell: Option<u16>) {
        if let Some(cell) = cell {
            self.cells[usize::from(cell)].fetch_sub(1, Ordering::Relaxed);
        }
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A slot, which is released when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    room: Room,
    /// The caller's bucket. The proxy's own requests have one only for calls.
    cell: Option<u16>,
    /// Whether the request waited in the queue.
    pub(super) has_waited: bool,
}

fn cell_of(owner: u64) -> u16 {
    u16::try_from(owner % CELLS).unwrap_or(0)
}

const ONE_THERE: u64 = 1 << 32;

const fn there(state: u64) -> u64 {
    state >> 32
}

const fn waiting(state: u64) -> u64 {
    state & (ONE_THERE - 1)
}

impl Gate {
    pub(super) fn new(limits: config::Concurrency) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: AtomicU64::new(0),
            cells: (0..CELLS).map(|_| AtomicU32::new(0)).collect(),
            queue: Mutex::default(),
            streams: Count::new(),
            aside: Count::new(),
            hasher: RandomState::default(),
        })
    }

    /// Takes a slot for a request of `caller`, `None` for the proxy's own; a call waits in the queue if there is none. Errs if
    /// a limit or the caller's share is reached, or after the queue timeout.
    pub(super) async fn enter(self: &Arc<Self>, room: Room, caller: Option<&Caller>) -> Result<Place, Busy> {
        match room {
            Room::Aside | Room::Stream => self.count(room, caller),
            Room::Call => {
                let owner = self.owner(caller);
                match self.step_in(owner) {
                    Some(place) => Ok(place),
                    None => Box::pin(self.wait(owner, caller.is_some())).await,
                }
            }
        }
    }

    /// How many calls are in flight, and how many wait.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.state.load(Ordering::Relaxed);
        (usize::try_from(there(state)).unwrap_or(usize::MAX), usize::try_from(waiting(state)).unwrap_or(usize::MAX))
    }

    /// Takes a slot of a kind that has no queue.
    fn count(self: &Arc<Self>, room: Room, caller: Option<&Caller>) -> Result<Place, Busy> {
        let cell = caller.map(|_| cell_of(self.owner(caller)));
        match room {
            Room::Stream => self.streams.take(cell, self.limits.streams, Busy::Streams)?,
            Room::Aside | Room::Call => self.aside.take(cell, ASIDE, Busy::Queue)?,
        }
        Ok(Place { gate: Arc::clone(self), room, cell, has_waited: false })
    }

    /// A hash of the user: issuer, tenant and subject. Zero for the proxy itself.
    pub(super) fn owner(&self, caller: Option<&Caller>) -> u64 {
        // The client is left out: a user with several clients has one share.
        caller.map_or(0, |caller| self.hasher.hash_one((&caller.issuer, &caller.tenant, &caller.subject)))
    }

    fn cell(&self, owner: u64) -> &AtomicU32 {
        &self.cells[usize::from(cell_of(owner))]
    }

    /// Takes a slot without waiting; `None` if there is none, the caller's share is used up, or others already wait.
    fn step_in(self: &Arc<Self>, owner: u64) -> Option<Place> {
        let most = u64::from(self.limits.max_in_flight);
        let taken = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (waiting(state) == 0 && there(state) < most).then_some(state + ONE_THERE)
        });
        taken.ok()?;
        let place = self.place(owner);
        // Beyond the caller's share, the slot is dropped and thereby released.
        (self.cell(owner).load(Ordering::Relaxed) <= self.limits.per_principal).then_some(place)
    }

    /// The slot just taken, counted for its owner.
    fn place(self: &Arc<Self>, owner: u64) -> Place {
        self.cell(owner).fetch_add(1, Ordering::Relaxed);
        Place { gate: Arc::clone(self), room: Room::Call, cell: Some(cell_of(owner)), has_waited: false }
    }

    /// Waits for a slot. With `is_limited` it errs if the queue is full; the proxy's own requests are not limited, because
    /// calls wait for their answers.
    async fn wait(self: &Arc<Self>, owner: u64, is_limited: bool) -> Result<Place, Busy> {
        let (turn, mut mine) = oneshot::channel();
        let ticket = {
            let mut queue = lock(&self.queue);
            let most = if is_limited { self.limits.queue } else { usize::MAX };
            let ticket = queue.join(owner, turn, most).map_err(|full| match full {
                Full::All => Busy::Queue,
                Full::Own => Busy::Share,
            })?;
            self.state.fetch_add(1, Ordering::AcqRel);
            let unwanted = self.call_next(&mut queue);
            drop(queue);
            drop(unwanted);
            ticket
        };
        // INVARIANT: dropped before the channel, so that no slot is sent to a waiter that has gone.
        let _leave = Leave { gate: self, owner, ticket };
        let limit = self.limits.queue_timeout;
        match timeout(limit, &mut mine).await {
            Ok(Ok(place)) => Ok(place),
            // A slot may have arrived together with the timeout.
            _ => mine.try_recv().map_err(|_| Busy::Waited(limit)),
        }
    }

    /// Hands free slots to waiters. Returns the slots whose waiter has gone; they are to be dropped after the queue's lock is
    /// released.
    fn call_next(self: &Arc<Self>, queue: &mut Queue<oneshot::Sender<Place>>) -> Vec<Place> {
        let most = u64::from(self.limits.max_in_flight);
        let mut unwanted = Vec::new();
        loop {
            let taken = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (waiting(state) > 0 && there(state) < most).then(|| state + ONE_THERE - 1)
            });
            if taken.is_err() {
                return unwanted;
            }
            let has_share = |owner| self.cell(owner).load(Ordering::Relaxed) < self.limits.per_principal;
            let Some((owner, turn)) = queue.next(has_share) else {
                self.state.fetch_sub(ONE_THERE - 1, Ordering::AcqRel);
                return unwanted;
            };
            let mut place = self.place(owner);
            place.has_waited = true;
            unwanted.extend(turn.send(place).err());
        }
    }
}

/// A place in the queue; dropping it leaves the queue.
struct Leave<'g> {
    gate: &'g Arc<Gate>,
    owner: u64,
    ticket: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if lock(&self.gate.queue).leave(self.owner, self.ticket) {
            self.gate.state.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gate = &self.gate;
        match self.room {
            Room::Aside => gate.aside.give_back(self.cell),
            Room::Stream => gate.streams.give_back(self.cell),
            Room::Call => {
                gate.cells[usize::from(self.cell.unwrap_or(0))].fetch_sub(1, Ordering::Relaxed);
                if waiting(gate.state.fetch_sub(ONE_THERE, Ordering::AcqRel)) > 0 {
                    let unwanted = gate.call_next(&mut lock(&gate.queue));
                    drop(unwanted);
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
