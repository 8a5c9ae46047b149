//! Counts messages of servers that reached nobody, by a fixed reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a message of a server goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Whoever it is for has gone.
    Late,
    /// It is for whoever listens, and nobody does.
    NobodyListens,
    /// It names nobody it could be for.
    Nobodys,
    /// It is no message of MCP's.
    NotMcp,
    /// Its reader has too much to read already.
    ReaderBehind,
    /// A line that does not end.
    TooLong,
    /// It answers what nobody asked.
    Unasked,
}

impl Loss {
    const ALL: [Self; 7] = [
        Self::Late,
        Self::NobodyListens,
        Self::Nobodys,
        Self::NotMcp,
        Self::ReaderBehind,
        Self::TooLong,
        Self::Unasked,
    ];

    /// The label of `portcullis_upstream_messages_dropped_total`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::NobodyListens => "nobody_listens",
            Self::Nobodys => "nobodys",
            Self::NotMcp => "not_mcp",
            Self::ReaderBehind => "reader_behind",
            Self::TooLong => "too_long",
            Self::Unasked => "unasked",
        }
    }
}

/// How many there were since they were last told.
#[derive(Debug, Default)]
pub(super) struct Losses([AtomicU64; Loss::ALL.len()]);

impl Losses {
    pub(super) fn count(&self, loss: Loss) {
        self.0[loss as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Tells them, once.
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
