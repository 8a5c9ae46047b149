use crate::clock::Timestamp;

use super::record::{ErrorCode, Record, Summary};

/// Most failures before authentication that get a line of their own in one second.
const EACH_SECOND: u32 = 100;
/// Most kinds of failure told apart in one summary.
const KINDS: usize = 64;

/// The bound on what people without a token can write into the log. Beyond it failures are counted by server and
/// reason, so that a flood of them takes neither the disk nor the turn of a decided call.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counted: Vec<Summary>,
    second: i64,
    written: u32,
}

impl Failures {
    /// Whether the failure gets a line; otherwise it is counted.
    pub(super) fn admit(&mut self, record: &Record<'_>) -> bool {
        let second = record.time.unix_seconds();
        if self.second != second {
            (self.second, self.written) = (second, 0);
        }
        if self.written < EACH_SECOND {
            self.written += 1;
            return true;
        }
        self.count(record.server, record.error, record.time);
        false
    }

    /// What was counted since the last time.
    pub(super) fn take(&mut self) -> Vec<Summary> {
        std::mem::take(&mut self.counted)
    }

    fn count(&mut self, server: Option<&str>, error: Option<ErrorCode>, time: Timestamp) {
        let same = |summary: &&mut Summary| summary.server.as_deref() == server && summary.error == error;
        if let Some(summary) = self.counted.iter_mut().find(same) {
            summary.count += 1;
            return;
        }
        // Beyond the bound the last entry is for all that has none of its own.
        if self.counted.len() >= KINDS
            && let Some(other) = self.counted.last_mut()
        {
            (other.server, other.error, other.count) = (None, None, other.count + 1);
            return;
        }
        self.counted.push(Summary { count: 1, error, server: server.map(Box::from), since: time });
    }
}
