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

/// In how many cells calls are counted by caller. Two callers in one cell have one share between them, until one is done.
const CELLS: u64 = 1_024;
/// The most messages without an answer on their way at once.
const ASIDE: usize = 1_024;

/// What kind of room a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// A message that has no answer of its own, such as the answer to a server's question.
    Aside,
    /// A request that the upstream works on.
    Call,
    /// A stream that is open and mostly silent.
    Stream,
}

/// Why a request is not sent for now. Nothing of it has left.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Busy {
    /// The upstream failed several times in a row, and is left alone.
    #[error("it failed several times in a row, and the circuit breaker is open")]
    Breaker {
        /// When it is tried again.
        after: Duration,
    },
    /// The limit of processes is reached, and all of them are busy.
    #[error("its limit of processes is reached")]
    Processes,
    /// The queue is full.
    #[error("its queue is full")]
    Queue,
    /// This caller's share is used up: of its queue, its streams or its processes.
    #[error("this caller's share of its room is used up")]
    Share,
    /// The limit of open streams is reached.
    #[error("its limit of open streams is reached")]
    Streams,
    /// Its turn did not come in time.
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

    /// When it may be worth while to ask again.
    pub(crate) const fn retry_after(self) -> Duration {
        match self {
            Self::Breaker { after } => after,
            Self::Processes | Self::Queue | Self::Share | Self::Streams | Self::Waited(_) => Duration::from_secs(1),
        }
    }
}

/// The room at one upstream, shared by all threads.
#[derive(Debug)]
pub(super) struct Gate {
    limits: config::Concurrency,
    /// How many calls are there in the upper half, how many wait in the lower: both change at once or neither does.
    state: AtomicU64,
    /// The calls that are there, by caller.
    cells: Box<[AtomicU32]>,
    queue: Mutex<Queue<oneshot::Sender<Place>>>,
    streams: Count,
    aside: Count,
    /// So that nobody can choose whose cell they share.
    hasher: RandomState,
}

/// How many of one kind there are, and whose; of these one caller has at most half.
#[derive(Debug)]
struct Count {
    all: AtomicUsize,
    cells: Box<[AtomicU32]>,
}

impl Count {
    fn new() -> Self {
        Self { all: AtomicUsize::new(0), cells: (0..CELLS).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Takes room for one more in that cell; none of it where the proxy asks for itself.
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

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    room: Room,
    /// The cell of whose it is; nobody's where the proxy asks for itself, but for calls.
    cell: Option<u16>,
    /// Whether it was waited for.
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

    /// Room for a request of `caller`, who is nobody for what the proxy asks for itself; waits for it where it may.
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

    /// How many calls are there, and how many wait.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.state.load(Ordering::Relaxed);
        (usize::try_from(there(state)).unwrap_or(usize::MAX), usize::try_from(waiting(state)).unwrap_or(usize::MAX))
    }

    /// Room of what is only counted, and not waited for.
    fn count(self: &Arc<Self>, room: Room, caller: Option<&Caller>) -> Result<Place, Busy> {
        let cell = caller.map(|_| cell_of(self.owner(caller)));
        match room {
            Room::Stream => self.streams.take(cell, self.limits.streams, Busy::Streams)?,
            Room::Aside | Room::Call => self.aside.take(cell, ASIDE, Busy::Queue)?,
        }
        Ok(Place { gate: Arc::clone(self), room, cell, has_waited: false })
    }

    /// Whose calls are counted together.
    pub(super) fn owner(&self, caller: Option<&Caller>) -> u64 {
        // A client a person calls with is not somebody else: more clients are no more share.
        caller.map_or(0, |caller| self.hasher.hash_one((&caller.issuer, &caller.tenant, &caller.subject)))
    }

    fn cell(&self, owner: u64) -> &AtomicU32 {
        &self.cells[usize::from(cell_of(owner))]
    }

    /// Takes room without waiting: there must be some, in all and for this caller, and nobody who waits for it.
    fn step_in(self: &Arc<Self>, owner: u64) -> Option<Place> {
        let most = u64::from(self.limits.max_in_flight);
        let taken = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (waiting(state) == 0 && there(state) < most).then_some(state + ONE_THERE)
        });
        taken.ok()?;
        let place = self.place(owner);
        // One beyond the share is given back at once.
        (self.cell(owner).load(Ordering::Relaxed) <= self.limits.per_principal).then_some(place)
    }

    /// The room just taken, counted for its owner.
    fn place(self: &Arc<Self>, owner: u64) -> Place {
        self.cell(owner).fetch_add(1, Ordering::Relaxed);
        Place { gate: Arc::clone(self), room: Room::Call, cell: Some(cell_of(owner)), has_waited: false }
    }

    /// Waits for room. The proxy's own questions wait too, and are not refused for how many do: calls wait for their answer.
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
        // INVARIANT: dropped before the channel, so that room is never given to who is no more.
        let _leave = Leave { gate: self, owner, ticket };
        let limit = self.limits.queue_timeout;
        match timeout(limit, &mut mine).await {
            Ok(Ok(place)) => Ok(place),
            // The turn may have come with the end of the time.
            _ => mine.try_recv().map_err(|_| Busy::Waited(limit)),
        }
    }

    /// Gives room to those who wait, as long as there is some; what nobody takes is to be dropped once the queue is free.
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

/// A place in the queue, given up when dropped.
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
