//! Counts servers' messages that were dropped, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a server's message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Its recipient has disconnected.
    Late,
    /// It is for all open streams, and there is none.
    NobodyListens,
    /// It is not a valid MCP message.
    NotMcp,
    /// Its recipient's queue is full.
    ReaderBehind,
    /// A line exceeds the size limit.
    TooLong,
    /// It answers a request that was not sent.
    Unasked,
    /// It cannot be attributed to a recipient.
    Unattributed,
}

impl Loss {
    const ALL: [Self; 7] = [
        Self::Late,
        Self::NobodyListens,
        Self::NotMcp,
        Self::ReaderBehind,
        Self::TooLong,
        Self::Unasked,
        Self::Unattributed,
    ];

    /// The label of `portcullis_upstream_messages_dropped_total`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::NobodyListens => "nobody_listens",
            Self::NotMcp => "not_mcp",
            Self::ReaderBehind => "reader_behind",
            Self::TooLong => "too_long",
            Self::Unasked => "unasked",
            Self::Unattributed => "nobodys",
        }
    }
}

/// Counts since the last [`Losses::take`].
#[derive(Debug, Default)]
pub(super) struct Losses([AtomicU64; Loss::ALL.len()]);

impl Losses {
    pub(super) fn count(&self, loss: Loss) {
        self.0[loss as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts by label, and resets them.
    pub(super) fn take(&self) -> Vec<(&'static str, u64)> {
        let taken = Loss::ALL.iter().zip(&self.0);
        taken.map(|(loss, count)| (loss.word(), count.swap(0, Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Loss, Losses};

    #[test]
    fn each_is_told_once_under_its_own_word() {
        let losses = Losses::default();
        for (times, loss) in (1..).zip(Loss::ALL) {
            (0..times).for_each(|_| losses.count(loss));
        }
        for (times, (loss, told)) in (1..).zip(Loss::ALL.iter().zip(losses.take())) {
            assert_eq!(told, (loss.word(), times));
        }
        assert!(losses.take().iter().all(|(_, count)| *count == 0));
    }
}
