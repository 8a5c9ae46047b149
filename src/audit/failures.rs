use crate::clock::Timestamp;

use super::record::{ErrorCode, Record, Summary};

/// The most authentication failures per second that get a line each.
const EACH_SECOND: u32 = 100;
/// The most kinds of failure, by server and reason, that are counted separately.
const KINDS: usize = 64;

/// Rate limit for records of authentication failures, which anybody can cause. Beyond it failures are counted by server and
/// reason, so that a flood of them neither fills the disk nor delays the records of decisions.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counted: Vec<Summary>,
    second: i64,
    written: u32,
}

impl Failures {
    /// Whether the failure gets a line of its own; if not, it is counted.
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

    /// Takes the failures counted since the last call.
    pub(super) fn take(&mut self) -> Vec<Summary> {
        std::mem::take(&mut self.counted)
    }

    fn count(&mut self, server: Option<&str>, error: Option<ErrorCode>, time: Timestamp) {
        let same = |summary: &&mut Summary| summary.server.as_deref() == server && summary.error == error;
        if let Some(summary) = self.counted.iter_mut().find(same) {
            summary.count += 1;
            return;
        }
        // Once all entries are in use, the last one counts every other kind too.
        if self.counted.len() >= KINDS
            && let Some(other) = self.counted.last_mut()
        {
            (other.server, other.error, other.count) = (None, None, other.count + 1);
            return;
        }
        self.counted.push(Summary { count: 1, error, server: server.map(Box::from), since: time });
    }
}
