use std::hash::{Hash, Hasher};
use std::sync::Arc;

use equivalent::Equivalent;

use crate::auth::{Acceptance, Bearer, Caller, RouteKey, VerifyError};
use crate::clock::Timestamp;

/// What a verdict is found by: all bytes of the token, never a part of them or a digest.
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

/// The same as a request has it, for a lookup that copies nothing.
pub(super) struct Place<'a> {
    pub(super) print: u64,
    pub(super) epoch: u64,
    pub(super) realm: &'a RouteKey,
    pub(super) token: &'a [u8],
}

impl Place<'_> {
    /// The key that is kept of it.
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

/// The outcome of a verification that succeeded; refusals are not remembered.
pub(super) struct Verdict {
    pub(super) key: Key,
    pub(super) caller: Arc<Caller>,
    pub(super) until: Timestamp,
    /// What is wrong with it from then on; `None` if that has to be found out again.
    pub(super) after: Option<Over>,
}

/// Why a token that was good is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Over {
    /// It expired.
    Expired,
    /// Its user signed in too long ago.
    TooWeak,
}

impl Verdict {
    /// What it says at `now`, if it says anything.
    pub(super) fn at(&self, now: Timestamp) -> Option<Result<Arc<Caller>, VerifyError>> {
        if now < self.until {
            return Some(Ok(Arc::clone(&self.caller)));
        }
        self.after.map(|over| {
            Err(match over {
                Over::Expired => VerifyError::Expired,
                Over::TooWeak => VerifyError::TooWeak { scopes: self.caller.scopes.clone() },
            })
        })
    }

    /// Whether it will never open anything again.
    pub(super) fn is_over(&self, epoch: u64, now: Timestamp) -> bool {
        self.key.epoch < epoch || self.until <= now
    }

    pub(super) fn is_of(&self, epoch: u64, acceptance: &Acceptance, bearer: Bearer<'_>) -> bool {
        self.key.epoch == epoch && *self.key.token == *bearer.bytes() && self.key.realm == acceptance.realm
    }
}

/// One verdict is another's equal if it is found by the same.
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
