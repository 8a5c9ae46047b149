//! The queue: one line per caller, served in turn.

use std::collections::VecDeque;

use foldhash::HashMap;

/// Why a waiter cannot join the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The queue is full.
    All,
    /// The caller's own line is full.
    Own,
}

/// The waiters, by caller, each with a `T` to wake it with.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lines: HashMap<u64, VecDeque<(u64, T)>>,
    /// The callers that have a line, each once, in the order of their turns.
    order: VecDeque<u64>,
    count: usize,
    tickets: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lines: HashMap::default(), order: VecDeque::new(), count: 0, tickets: 0 }
    }
}

impl<T> Queue<T> {
    /// Appends to `owner`'s line and returns a ticket for [`Self::leave`]. Errs if `most` wait already, or half of that in
    /// this line: one caller cannot take the other half.
    pub(super) fn join(&mut self, owner: u64, waiter: T, most: usize) -> Result<u64, Full> {
        if self.count >= most {
            return Err(Full::All);
        }
        let own = self.lines.get(&owner).map_or(0, VecDeque::len);
        if own >= most.div_ceil(2) {
            return Err(Full::Own);
        }
        if own == 0 {
            self.order.push_back(owner);
        }
        self.tickets += 1;
        self.lines.entry(owner).or_default().push_back((self.tickets, waiter));
        self.count += 1;
        Ok(self.tickets)
    }

    /// Removes the first waiter of the next line whose owner passes `may`; that line moves to the end of the order.
    pub(super) fn next(&mut self, may: impl Fn(u64) -> bool) -> Option<(u64, T)> {
        let at = self.order.iter().position(|owner| may(*owner))?;
        let owner = self.order.remove(at)?;
        let line = self.lines.get_mut(&owner)?;
        let (_, waiter) = line.pop_front()?;
        self.count -= 1;
        if line.is_empty() {
            self.lines.remove(&owner);
        } else {
            self.order.push_back(owner);
        }
        Some((owner, waiter))
    }

    /// Removes a waiter; true if it was still in the queue.
    pub(super) fn leave(&mut self, owner: u64, ticket: u64) -> bool {
        let Some(line) = self.lines.get_mut(&owner) else { return false };
        let Some(at) = line.iter().position(|(of, _)| *of == ticket) else { return false };
        line.remove(at);
        self.count -= 1;
        if line.is_empty() {
            self.lines.remove(&owner);
            self.order.retain(|other| *other != owner);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Full, Queue};

    fn drain(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.next(|_| true)).map(|(_, waiter)| waiter).collect()
    }

    #[test]
    fn callers_take_turns_whoever_came_first() {
        let mut queue = Queue::default();
        for (owner, waiter) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            queue.join(owner, waiter, 100).unwrap();
        }
        assert_eq!(drain(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(queue.count, 0);
    }

    #[test]
    fn nobody_fills_more_than_half_of_it() {
        let mut queue = Queue::default();
        assert_eq!(queue.join(1, "a1", 4), Ok(1));
        assert_eq!(queue.join(1, "a2", 4), Ok(2));
        assert_eq!(queue.join(1, "a3", 4), Err(Full::Own));
        assert_eq!(queue.join(2, "b1", 4), Ok(3));
        assert_eq!(queue.join(3, "c1", 4), Ok(4));
        assert_eq!(queue.join(4, "d1", 4), Err(Full::All));
        assert_eq!(Queue::default().join(1, "a", 0), Err(Full::All));
        assert_eq!(Queue::default().join(1, "a", 1), Ok(1));
    }

    #[test]
    fn who_may_not_go_keeps_its_turn() {
        let mut queue = Queue::default();
        for (owner, waiter) in [(1, "a1"), (2, "b1"), (2, "b2")] {
            queue.join(owner, waiter, 100).unwrap();
        }
        assert_eq!(queue.next(|owner| owner == 2), Some((2, "b1")));
        assert_eq!(drain(&mut queue), ["a1", "b2"]);
        assert_eq!(queue.next(|_| true), None);
    }

    proptest! {
        /// Everybody who stands in it is served once, unless they left; its count is right at every step.
        #[test]
        fn serves_each_once(steps in proptest::collection::vec((0..5_u64, 0..3_u8), 0..80)) {
            let mut queue = Queue::default();
            let (mut inside, mut served) = (Vec::new(), 0);
            for (owner, step) in steps {
                match step {
                    0 => if let Ok(ticket) = queue.join(owner, (), 20) { inside.push((owner, ticket)); },
                    1 => if queue.next(|_| true).is_some() { served += 1; },
                    _ => if let Some((owner, ticket)) = inside.pop() {
                        let left = queue.leave(owner, ticket);
                        prop_assert!(!queue.leave(owner, ticket));
                        served += usize::from(left);
                    },
                }
                prop_assert_eq!(queue.count, queue.lines.values().map(std::collections::VecDeque::len).sum::<usize>());
                prop_assert_eq!(queue.order.len(), queue.lines.len());
            }
            let tickets = usize::try_from(queue.tickets).unwrap();
            while queue.next(|_| true).is_some() { served += 1; }
            prop_assert_eq!(served, tickets);
        }
    }
}
