use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use equivalent::Equivalent;

use crate::auth::{Acceptance, Bearer, Caller, RouteKey, VerifyError};
use crate::clock::Timestamp;

/// Largest setback of the clock that leaves verdicts valid.
const SET_BACK: Duration = Duration::from_mins(1);

/// The key of a verdict, with all bytes of the token rather than a part or a digest.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) print: u64,
    pub(super) epoch: u64,
    pub(super) realm: RouteKey,
    pub(super) token: Arc<[u8]>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.print);
        state.write_u64(self.epoch);
    }
}

/// The same, borrowed from a request, for a lookup without copying.
pub(super) struct Place<'a> {
    pub(super) print: u64,
    pub(super) epoch: u64,
    pub(super) realm: &'a RouteKey,
    pub(super) token: &'a [u8],
}

impl Place<'_> {
    /// An owned key.
    pub(super) fn key(&self) -> Key {
        Key { print: self.print, epoch: self.epoch, realm: self.realm.clone(), token: self.token.into() }
    }
}

impl Hash for Place<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.print);
        state.write_u64(self.epoch);
    }
}

impl Equivalent<Arc<Verdict>> for Place<'_> {
    fn equivalent(&self, verdict: &Arc<Verdict>) -> bool {
        let key = &verdict.key;
        self.print == key.print && self.epoch == key.epoch && *self.token == *key.token && *self.realm == key.realm
    }
}

/// The outcome of a successful verification; refusals are not cached.
pub(super) struct Verdict {
    pub(super) key: Key,
    pub(super) caller: Arc<Caller>,
    /// When it was reached. If the clock shows an earlier time, it was set back since, and the verdict is void.
    pub(super) reached: Timestamp,
    pub(super) until: Timestamp,
    pub(super) after: After,
}

/// What becomes of a token when its verdict is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum After {
    Refused,
    VerifiedAgain,
}

impl Verdict {
    /// The result at `now`; `None` if the token must be verified again.
    pub(super) fn at(&self, now: Timestamp) -> Option<Result<Arc<Caller>, VerifyError>> {
        if self.is_to_come(now) {
            return None;
        }
        if now < self.until {
            return Some(Ok(Arc::clone(&self.caller)));
        }
        match self.after {
            After::Refused => Some(Err(self.caller.over_error())),
            After::VerifiedAgain => None,
        }
    }

    /// Whether it is outdated or past its time.
    pub(super) fn is_over(&self, epoch: u64, now: Timestamp) -> bool {
        self.key.epoch < epoch || self.until <= now || self.is_to_come(now)
    }

    fn is_to_come(&self, now: Timestamp) -> bool {
        now.plus(SET_BACK) < self.reached
    }

    pub(super) fn is_of(&self, epoch: u64, acceptance: &Acceptance, bearer: Bearer<'_>) -> bool {
        self.key.epoch == epoch && *self.key.token == *bearer.bytes() && self.key.realm == acceptance.realm
    }
}

/// Verdicts are equal if their keys are.
impl PartialEq for Verdict {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Verdict {}

impl Hash for Verdict {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}
