//! Whether an admitted caller would still be admitted: for whatever outlives the check by long, such as a stream.

use std::sync::Arc;

use super::{Acceptance, Caller, Issuer, VerifyError, binding, jwt};
use crate::clock::{self, Timestamp};

impl Acceptance {
    /// Checks whether an admitted caller would be admitted now, without requests to the issuer; while the issuer's keys are not
    /// available it is. `before` is the acceptance that admitted it, if of another configuration. Errs if it is not admitted.
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
        self.knows_revocations()?;
        binding::suffices(self, caller)?;
        // Most reloads change something else, and thousands of streams may check.
        if self.issuer(&caller.issuer).is_some_and(|issuer| {
            issuer.edition() == caller.edition && before.is_none_or(|before| self.accepts_as(before, issuer))
        }) {
            return Ok(Arc::clone(caller));
        }
        match jwt::again(self, caller, now, clock::monotonic()) {
            Ok(again) if is_same(&again, caller) => Ok(Arc::new(again)),
            // Scopes and claims may be read differently now, but not the identity that state is sealed to.
            Ok(_) => Err(VerifyError::WrongType("it names another caller by now")),
            // To be checked again when keys come; edition 0 differs from that of any key set.
            Err(error) if error.is_unavailable() => Ok(Arc::new(Caller { edition: 0, ..(**caller).clone() })),
            Err(error) => Err(error),
        }
    }

    /// Whether `other` has the same settings and the same running issuer.
    fn accepts_as(&self, other: &Self, issuer: &Arc<Issuer>) -> bool {
        self.realm == other.realm && other.issuers.iter().any(|other| Arc::ptr_eq(other, issuer))
    }
}

/// Whether two callers are the same principal.
fn is_same(one: &Caller, other: &Caller) -> bool {
    let name = |caller: &Caller| (caller.tenant.clone(), caller.subject.clone(), caller.client_id.clone());
    one.issuer == other.issuer && name(one) == name(other)
}
