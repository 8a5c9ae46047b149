//! Whether an admitted caller would still be admitted: for whatever outlives the check by long, such as a stream.

use std::sync::Arc;

use super::{Acceptance, Caller, Issuer, VerifyError, binding, jwt};
use crate::clock::{self, Timestamp};

impl Acceptance {
    /// The caller as it is let in now, by what is known here and without asking anybody; while its issuer is away that is as
    /// it was let in before. `before` is what let it in, if that is of another configuration.
    pub(crate) fn readmit(
        &self,
        caller: &Arc<Caller>,
        before: Option<&Self>,
        now: Timestamp,
    ) -> Result<Arc<Caller>, VerifyError> {
        if self.revokes(caller) {
            return Err(VerifyError::Revoked);
        }
        if caller.anonymous {
            return Ok(Arc::clone(caller));
        }
        binding::suffices(self, caller)?;
        // Most reloads are about something else, and there may be thousands of streams that ask.
        if self.issuer(&caller.issuer).is_some_and(|issuer| {
            issuer.edition() == caller.edition && before.is_none_or(|before| self.accepts_as(before, issuer))
        }) {
            return Ok(Arc::clone(caller));
        }
        match jwt::again(self, caller, now, clock::monotonic()) {
            Ok(again) if is_same(&again, caller) => Ok(Arc::new(again)),
            // Names, scopes and claims may be read anew, but what is sealed to one is not another's.
            Ok(_) => Err(VerifyError::WrongType("it names another caller by now")),
            // Looked at when keys come: of another issuer's than the caller was verified with, they may be the first as well.
            Err(error) if error.is_unavailable() => Ok(Arc::new(Caller { edition: 0, ..(**caller).clone() })),
            Err(error) => Err(error),
        }
    }

    /// Whether the tokens of that issuer are taken as another accepts them, and from the very same.
    fn accepts_as(&self, other: &Self, issuer: &Arc<Issuer>) -> bool {
        self.realm == other.realm && other.issuers.iter().any(|other| Arc::ptr_eq(other, issuer))
    }
}

/// Whether two are one to everything that is sealed.
fn is_same(one: &Caller, other: &Caller) -> bool {
    let name = |caller: &Caller| (caller.tenant.clone(), caller.subject.clone(), caller.client_id.clone());
    one.issuer == other.issuer && name(one) == name(other)
}
