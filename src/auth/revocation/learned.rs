//! Revocations an issuer has sent since the start, in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Caller, Denials, Revoked};
use crate::auth::Epoch;
use crate::clock::Timestamp;

/// The most entries of one issuer.
const LIMIT_ENTRIES: usize = 100_000;

/// The revocations of one issuer; they stay in force across reloads.
#[derive(Debug)]
pub struct Revocations {
    epoch: Epoch,
    denials: Mutex<Denials>,
    /// The numbers of event tokens received, by result.
    signals: Mutex<Vec<(&'static str, u64)>>,
}

impl Revocations {
    /// No revocations yet; `epoch` advances with each.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, denials: Mutex::default(), signals: Mutex::default() }
    }

    /// Revokes tokens issued until `last`. Entries older than `keep` can be dropped, as the tokens have expired.
    ///
    /// If there is no room, all tokens issued so far are revoked, since no entry can safely be dropped.
    pub fn revoke(&self, revoked: impl IntoIterator<Item = Revoked>, last: Timestamp, now: Timestamp, keep: Duration) {
        let mut denials = self.denials();
        for revoked in revoked {
            if denials.0.len() >= LIMIT_ENTRIES {
                denials.0.retain(|_, last| last.plus(keep) > now);
            }
            if denials.0.len() >= LIMIT_ENTRIES {
                denials.0.clear();
                denials.add(Revoked::Everyone, now);
                tracing::error!("too many revocations to remember: every token issued so far is revoked");
            }
            denials.add(revoked, last);
        }
        drop(denials);
        // INVARIANT: after the entry is visible, so that no earlier verdict is found in the new epoch.
        self.epoch.advance();
    }

    /// Whether the caller's token is revoked.
    pub fn names(&self, caller: &Caller) -> bool {
        self.denials().hit(caller)
    }

    /// Counts an event token.
    pub(in crate::auth) fn count(&self, result: &'static str) {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        match signals.iter_mut().find(|(known, _)| *known == result) {
            Some((_, count)) => *count += 1,
            None => signals.push((result, 1)),
        }
    }

    /// The numbers of event tokens received since the start, by result.
    pub fn signals(&self) -> Vec<(&'static str, u64)> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.denials().0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn denials(&self) -> MutexGuard<'_, Denials> {
        self.denials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LIMIT_ENTRIES, Revocations, Revoked};
    use crate::auth::{Caller, Epoch, Particulars};
    use crate::clock::Timestamp;
    use crate::policy::tests::caller;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn issued(seconds: Option<i64>) -> Caller {
        let mut caller = caller("");
        caller.issued = seconds.map(at);
        caller.token_id = Some("t".into());
        caller.particulars = Some(Box::new(Particulars { session_id: Some("s".into()), ..Particulars::default() }));
        caller.tenant = Some("acme".into());
        caller.claims.insert("sub".into(), "pairwise".into());
        caller.claims.insert("email".into(), "Ana@Example.com".into());
        caller
    }

    const KEEP: Duration = Duration::from_hours(24);

    #[test]
    fn a_revocation_is_about_what_was_issued_before_it() {
        let every = [
            Revoked::Everyone,
            Revoked::Token("t".into()),
            Revoked::Session("s".into()),
            Revoked::Subject("ana".into()),
            Revoked::Subject("pairwise".into()),
            Revoked::Tenant("acme".into()),
            Revoked::Email("ana@example.com".into()),
        ];
        for revoked in every {
            let epoch = Epoch::default();
            let revocations = Revocations::new(epoch.clone());
            assert!(!revocations.names(&issued(Some(10))));
            revocations.revoke([revoked.clone()], at(100), at(100), KEEP);
            assert_eq!(epoch.now(), 1);
            for (seconds, hit) in [(Some(10), true), (Some(100), true), (Some(101), false), (None, true)] {
                assert_eq!(revocations.names(&issued(seconds)), hit, "{revoked:?} {seconds:?}");
            }
            // An older event takes nothing back.
            revocations.revoke([revoked], at(50), at(101), KEEP);
            assert!(revocations.names(&issued(Some(100))));
        }
        let others = Revocations::new(Epoch::default());
        let names = ["T", "x", "ana2", "s "].map(|name| Revoked::Token(name.into()));
        others.revoke(names, at(100), at(100), KEEP);
        assert!(!others.names(&issued(Some(10))));
    }

    #[test]
    fn without_room_everything_so_far_is_revoked() {
        let revocations = Revocations::new(Epoch::default());
        let many = (0..LIMIT_ENTRIES).map(|at| Revoked::Token(at.to_string().into()));
        revocations.revoke(many, at(100), at(100), KEEP);
        assert!(!revocations.names(&issued(Some(10))));
        revocations.revoke([Revoked::Token("one more".into())], at(200), at(200), KEEP);
        assert!(revocations.names(&issued(Some(200))) && !revocations.names(&issued(Some(201))));
        assert_eq!(revocations.len(), 2);
        let many = (0..LIMIT_ENTRIES).map(|at| Revoked::Token(at.to_string().into()));
        let aged = Revocations::new(Epoch::default());
        aged.revoke(many, at(100), at(100), KEEP);
        let later = at(100).plus(KEEP);
        aged.revoke([Revoked::Token("one more".into())], later, later, KEEP);
        assert_eq!(aged.len(), 1, "what nobody holds any more made room");
        assert!(!aged.names(&issued(Some(10))));
    }
}
