use std::sync::Arc;
use std::time::Duration;

use super::{Limit, Limits, Per, Spec};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::policy::Policy;
use crate::reject::Reject;

/// The rule id in denials of callers without a token that exceed their limit.
pub(super) const ANONYMOUS: &str = "anonymous";

impl Policy {
    /// Sets the rate limit of callers without a token, for each address: the number of requests per time.
    pub fn limit_anonymous(&mut self, rate: (u32, Duration), limits: &Arc<Limits>, server: &str) {
        let spec = Spec {
            rate: Some((rate.0, rate.1, rate.0)),
            concurrency: None,
            per: Per { subject: true, ..Per::default() },
        };
        let count = limits.count(server, "", &spec);
        self.anonymous_limit = Some(Limit { spec, count, everywhere: None });
    }

    /// Whether a caller without a token may do anything at all.
    pub(crate) fn serves_anonymous(&self, now: Timestamp) -> bool {
        self.anonymous.is_some_and(|from| from <= now)
    }

    /// Counts one request of a caller without a token. Errs if the limit is exceeded, or requests cannot be counted.
    pub(crate) async fn enter_anonymous(&self, caller: &Caller) -> Result<(), Reject> {
        let Some(limit) = &self.anonymous_limit else { return Ok(()) };
        let entered = limit.enter(caller, "").await;
        entered.map(drop).map_err(|refusal| refusal.into_reject(ANONYMOUS.into()))
    }
}
