use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::clock::Timestamp;

use super::{Audit, AuditError, Record, lock};

/// The most capacity kept between writes.
const KEPT_BYTES: usize = 64 * 1024;

/// One worker thread's queue in front of the log. Lines recorded by tasks that are ready in the same turn of the event loop
/// are written with one write.
#[derive(Debug)]
pub struct Lane {
    audit: Arc<Audit>,
    queue: Mutex<Queue>,
}

/// Rendered lines that are not written yet, and the results of those whose tickets have not been polled since.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    free: Vec<usize>,
    /// For each line the slot of its ticket; summaries have none.
    owners: Vec<Option<usize>>,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Failed,
    Queued,
    Written,
}

impl Lane {
    /// A new lane, for one worker thread.
    pub fn new(audit: Arc<Audit>) -> Arc<Self> {
        Arc::new(Self { audit, queue: Mutex::default() })
    }

    /// The log this lane writes to.
    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Renders and queues `record`. The ticket resolves when the line is written, together with all others of this turn.
    /// Dropping the ticket writes at once, so that no line is lost with its request.
    pub fn record(self: &Arc<Self>, record: &Record<'_>) -> Ticket {
        let queue = &mut *lock(&self.queue);
        if self.audit.is_summary_due(record.time) {
            queue.push_summaries(&self.audit, record.time);
        }
        // What a rendering that panicked has left must not become part of another line.
        queue.bytes.truncate(queue.ends.last().copied().unwrap_or(0));
        self.audit.render(&mut queue.bytes, record);
        let slot = queue.free.pop().unwrap_or(queue.slots.len());
        queue.slots.resize(queue.slots.len().max(slot + 1), Slot::Queued);
        queue.slots[slot] = Slot::Queued;
        queue.ends.push(queue.bytes.len());
        queue.owners.push(Some(slot));
        Ticket { lane: Arc::clone(self), state: State::Queued(slot) }
    }

    /// Records a failed authentication: written if it is among the first of its second, counted otherwise.
    ///
    /// The client is refused either way, so errors are ignored.
    pub async fn record_failure(self: &Arc<Self>, record: &Record<'_>) {
        if self.audit.admits_failure(record) {
            let _ = self.record(record).await;
        }
    }

    /// Records before returning, for code that cannot await. Errs if the line could not be written.
    pub fn record_now(self: &Arc<Self>, record: &Record<'_>) -> Result<(), AuditError> {
        self.record(record).settle()
    }

    /// Writes what is queued, and the summary of counted failures if their second is over; to be called periodically and at
    /// shutdown.
    pub fn flush(&self, now: Timestamp) {
        let queue = &mut *lock(&self.queue);
        if self.audit.is_summary_due(now) {
            queue.push_summaries(&self.audit, now);
        }
        queue.write(&self.audit);
    }

    /// The result of a line, which is written now if it was not yet. Frees the slot.
    fn settle(&self, slot: usize) -> Result<(), AuditError> {
        let queue = &mut *lock(&self.queue);
        if let Slot::Queued = queue.slots[slot] {
            queue.write(&self.audit);
        }
        queue.free.push(slot);
        match queue.slots[slot] {
            Slot::Written => Ok(()),
            Slot::Failed | Slot::Queued => Err(AuditError),
        }
    }
}

impl Queue {
    fn push_summaries(&mut self, audit: &Audit, now: Timestamp) {
        let (ends, owners) = (&mut self.ends, &mut self.owners);
        audit.summarise(&mut self.bytes, now, |bytes| {
            ends.push(bytes.len());
            owners.push(None);
        });
    }

    fn write(&mut self, audit: &Audit) {
        if self.ends.is_empty() {
            return;
        }
        let written = audit.write(&self.bytes, &self.ends);
        for (index, slot) in self.owners.drain(..).enumerate() {
            if let Some(slot) = slot {
                self.slots[slot] = if index < written { Slot::Written } else { Slot::Failed };
            }
        }
        self.ends.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

/// A queued line: a future that resolves to whether it was written.
#[derive(Debug)]
#[must_use = "nothing may happen before the line is written"]
pub struct Ticket {
    lane: Arc<Lane>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Queued(usize),
    Settled,
    Waited(usize),
}

impl Ticket {
    /// Writes the line now if it is not written yet. Errs if it could not be written.
    pub fn settle(mut self) -> Result<(), AuditError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), AuditError> {
        match std::mem::replace(&mut self.state, State::Settled) {
            State::Queued(slot) | State::Waited(slot) => self.lane.settle(slot),
            State::Settled => Ok(()),
        }
    }
}

impl Future for Ticket {
    type Output = Result<(), AuditError>;

    /// Yields once to the tasks that are ready now; the first ticket polled again writes all lines. It wakes itself instead of
    /// using `yield_now`, which would poll the kernel for events in between.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.state {
            State::Queued(slot) => {
                self.state = State::Waited(slot);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            State::Settled | State::Waited(_) => Poll::Ready(self.finish()),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}
