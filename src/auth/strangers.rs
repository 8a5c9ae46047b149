//! Who presents tokens that nobody knows: an address is refused only so many of them at a time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::VerifyError;
use crate::config::Proxies;
use crate::state::Failures;

/// What limits how many tokens an address may have refused.
#[derive(Clone, Copy, Debug)]
pub struct Strangers<'a> {
    /// The refusals so far.
    pub failures: &'a Failures,
    /// So many in that time; `None` for no limit.
    pub limit: Option<(u32, Duration)>,
    /// Whose address is that of many.
    pub proxies: &'a Proxies,
}

impl Strangers<'_> {
    fn limit_of(&self, address: IpAddr) -> Option<(u32, Duration)> {
        self.limit.filter(|_| !self.proxies.speak_for_many(address))
    }

    /// Errs if no unknown token of that address is to be looked at now.
    pub(super) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), VerifyError> {
        let limit = self.limit_of(address);
        match limit.and_then(|limit| self.failures.pause(address, limit, now)) {
            Some(retry_after) => Err(VerifyError::TooMany { retry_after }),
            None => Ok(()),
        }
    }

    /// Notes why a token of that address was refused.
    pub(super) fn note(&self, address: IpAddr, error: &VerifyError, now: Instant) {
        // It could not be checked, or is a good token of somebody who has to sign in again.
        if error.is_unavailable() || matches!(error, VerifyError::TooWeak { .. }) {
            return;
        }
        if let Some(limit) = self.limit_of(address) {
            self.failures.count(address, limit, now);
        }
    }
}
