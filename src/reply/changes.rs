//! Tells a stream's client that a list has changed: because the server says so, or because a reload has changed what the
//! caller may see. However often that happens, the client is told at a bounded rate, and always of the last change.

use std::time::{Duration, Instant};

use crate::mcp::{ListKind, ListKinds};

/// The interval at which a client is told of changes of one list that does not stop changing.
const SPACING: Duration = Duration::from_secs(5);
/// How many changes of one list a client is told of at once before that.
const BURST: u32 = 4;

/// The changes of lists that one stream tells of.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The lists whose changes the client expects to be told of by the proxy.
    expected: ListKinds,
    /// The lists that have changed since the client was last told.
    untold: ListKinds,
    /// Until when the changes told of so far take, at one each [`SPACING`], by list.
    until: [Option<Instant>; ListKind::ALL.len()],
}

impl Changes {
    /// None yet, on a stream whose client expects to be told of `expected`.
    pub(super) fn of(expected: ListKinds) -> Self {
        Self { expected, ..Self::default() }
    }

    /// Sets the lists whose changes the client expects to be told of.
    pub(super) fn expect(&mut self, kinds: ListKinds) {
        self.expected = kinds;
    }

    /// Whether the client may be told of a change now; if not, it is due later.
    pub(super) fn may_tell(&mut self, kind: ListKind, now: Instant) -> bool {
        if self.due_at(kind).is_some_and(|due| now < due) {
            self.untold.add(kind);
            return false;
        }
        self.untold.take(kind);
        let until = self.until(kind);
        *until = Some(until.map_or(now, |until| until.max(now)) + SPACING);
        true
    }

    /// Notes that lists have changed for the caller: those the client expects to be told of are due.
    pub(super) fn changed(&mut self, kinds: ListKinds) {
        kinds.and(self.expected).iter().for_each(|kind| self.untold.add(kind));
    }

    /// When the next change is due that the client has not been told of; `None` if there is none.
    pub(super) fn next(&self) -> Option<Instant> {
        self.untold.iter().map(|kind| self.due_at(kind)).min().map(|due| due.unwrap_or_else(crate::clock::monotonic))
    }

    /// A list of whose change the client is to be told now.
    pub(super) fn due(&mut self, now: Instant) -> Option<ListKind> {
        let mut untold = self.untold.iter();
        untold.find(|kind| self.may_tell(*kind, now))
    }

    /// The lists that have changed since the client was last told; it is told now, as the stream ends.
    pub(super) fn rest(&mut self) -> ListKinds {
        std::mem::take(&mut self.untold)
    }

    /// From when on the client may be told of a change; `None` for from the beginning on.
    fn due_at(&self, kind: ListKind) -> Option<Instant> {
        let [prompts, resources, tools] = self.until;
        let until = match kind {
            ListKind::Prompts => prompts,
            ListKind::Resources => resources,
            ListKind::Tools => tools,
        };
        until?.checked_sub(SPACING * (BURST - 1))
    }

    const fn until(&mut self, kind: ListKind) -> &mut Option<Instant> {
        let [prompts, resources, tools] = &mut self.until;
        match kind {
            ListKind::Prompts => prompts,
            ListKind::Resources => resources,
            ListKind::Tools => tools,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BURST, Changes, SPACING};
    use crate::clock::monotonic;
    use crate::mcp::{ListKind, ListKinds};

    #[test]
    fn a_client_is_told_at_once_and_of_a_flood_at_a_bounded_rate() {
        let (mut changes, start) = (Changes::default(), monotonic());
        // Ten changes a second for a minute.
        let told = (0..600_u64).filter(|at| changes.may_tell(ListKind::Tools, start + Duration::from_millis(at * 100)));
        assert_eq!(told.count(), (BURST + 59 / 5) as usize);
        // Another list is not held back by it.
        assert!(changes.may_tell(ListKind::Prompts, start));
        // The last change is told of once the time has come, and once.
        let due = changes.next().unwrap();
        assert!(due > start && due <= start + Duration::from_mins(1) + SPACING);
        assert_eq!(changes.due(start), None);
        assert_eq!((changes.due(due), changes.due(due), changes.next()), (Some(ListKind::Tools), None, None));
        // After a quiet time there is room for as many at once as in the beginning.
        let later = due + SPACING * BURST;
        assert_eq!((0..100).filter(|_| changes.may_tell(ListKind::Tools, later)).count(), BURST as usize);
        assert_eq!((changes.rest(), changes.next()), (ListKinds::from_iter([ListKind::Tools]), None));
    }

    #[test]
    fn a_reload_is_told_of_only_where_the_client_expects_it() {
        let (mut changes, now) = (Changes::default(), monotonic());
        changes.changed(ListKinds::ALL);
        assert_eq!((changes.due(now), changes.next()), (None, None));
        changes.expect(ListKinds::from_iter([ListKind::Tools, ListKind::Prompts]));
        for _ in 0..100 {
            changes.changed(ListKinds::from_iter([ListKind::Resources, ListKind::Tools]));
        }
        assert_eq!((changes.due(now), changes.due(now), changes.next()), (Some(ListKind::Tools), None, None));
    }
}
