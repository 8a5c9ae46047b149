use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::clock::Timestamp;

use super::{Audit, AuditError, Record, lock};

/// Memory kept between turns.
const KEPT_BYTES: usize = 64 * 1024;

/// One worker's way into the log. Lines of tasks that are ready in the same turn of the thread leave in one write.
#[derive(Debug)]
pub struct Lane {
    audit: Arc<Audit>,
    queue: Mutex<Queue>,
}

/// Rendered lines that are not written yet, and what became of those whose tickets have not asked.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    free: Vec<usize>,
    /// The slot of each line; a summary has none.
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
    /// A lane of its own for one worker thread.
    pub fn new(audit: Arc<Audit>) -> Arc<Self> {
        Arc::new(Self { audit, queue: Mutex::default() })
    }

    /// The log this leads to.
    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Renders `record`; the ticket is ready when it is written, together with all others of this turn. A ticket that
    /// is dropped writes at once, so that no line is lost with its request.
    pub fn record(self: &Arc<Self>, record: &Record<'_>) -> Ticket {
        let queue = &mut *lock(&self.queue);
        if self.audit.is_summary_due(record.time) {
            queue.push_summaries(&self.audit, record.time);
        }
        // Whatever a rendering that did not finish has left must not become part of another line.
        queue.bytes.truncate(queue.ends.last().copied().unwrap_or(0));
        self.audit.render(&mut queue.bytes, record);
        let slot = queue.free.pop().unwrap_or(queue.slots.len());
        queue.slots.resize(queue.slots.len().max(slot + 1), Slot::Queued);
        queue.slots[slot] = Slot::Queued;
        queue.ends.push(queue.bytes.len());
        queue.owners.push(Some(slot));
        Ticket { lane: Arc::clone(self), state: State::Queued(slot) }
    }

    /// Records a failure from before there was a caller: written if it is among the first of its second, else counted.
    ///
    /// The caller is refused either way, so there is no error.
    pub async fn record_failure(self: &Arc<Self>, record: &Record<'_>) {
        if self.audit.admits_failure(record) {
            let _ = self.record(record).await;
        }
    }

    /// Records before returning, for where nothing can be awaited.
    pub fn record_now(self: &Arc<Self>, record: &Record<'_>) -> Result<(), AuditError> {
        self.record(record).settle()
    }

    /// Writes what is queued and, if its second is over, what was only counted; to be called now and then, and at the end.
    pub fn flush(&self, now: Timestamp) {
        let queue = &mut *lock(&self.queue);
        if self.audit.is_summary_due(now) {
            queue.push_summaries(&self.audit, now);
        }
        queue.write(&self.audit);
    }

    /// What became of a line; it is written now if it was not yet.
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

/// A line on its way; a future of whether it was written.
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
    /// Writes now if it is not yet written.
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

    /// Steps back once behind the tasks that are ready now; the first to come by again writes for all. Waking oneself
    /// keeps the thread from asking the kernel for events in between, as `yield_now` would.
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
