use super::{Caller, VerifyError};
use crate::clock::Timestamp;

/// Why a token is no longer accepted from [`Caller::until`] on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Over {
    /// It expired.
    #[default]
    Expired,
    /// Its user signed in too long ago (RFC 9470).
    TooWeak,
}

impl Caller {
    /// Errs once the caller's token is no longer accepted because of its age or its sign-in's, with which of the two it is.
    pub(crate) fn accepted_at(&self, now: Timestamp) -> Result<(), VerifyError> {
        if now < self.until { Ok(()) } else { Err(self.over_error()) }
    }

    /// The error from [`Caller::until`] on.
    pub(super) fn over_error(&self) -> VerifyError {
        match self.over {
            Over::Expired => VerifyError::Expired,
            Over::TooWeak => VerifyError::TooWeak { scopes: self.scopes.clone() },
        }
    }
}
