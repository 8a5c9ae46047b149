//! Whether an admitted caller is still admitted when its call is finally to be sent.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Caller, VerifyError};
use crate::clock::Timestamp;
use crate::proxy::Worker;
use crate::route::Route;
use crate::trail::Trail;

/// Within this a call is sent, unless it waits for its turn: only of tokens that end sooner the time is looked at.
const SOON: Duration = Duration::from_mins(5);

/// What is needed to ask once more, of a call that may have waited since its caller was let in.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    worker: Arc<Worker>,
    route: Arc<Route>,
    /// In which its caller was let in.
    epoch: u64,
    ends_soon: bool,
}

impl Standing {
    /// Of the request of `caller` that leaves this trail.
    pub(crate) fn of(worker: &Arc<Worker>, route: &Arc<Route>, trail: &Trail, caller: &Caller) -> Self {
        let ends_soon = caller.until <= trail.received.plus(SOON);
        Self { worker: worker.clone(), route: route.clone(), epoch: trail.epoch, ends_soon }
    }

    /// Refuses a caller whose token has expired since, or would not be let in by what is known now. Costs one atomic load
    /// where nothing has changed and the call has not waited for its turn.
    pub(crate) fn check(&self, caller: &Arc<Caller>, has_waited: bool) -> Result<(), VerifyError> {
        if (has_waited || self.ends_soon) && caller.until <= Timestamp::now() {
            return Err(VerifyError::Expired);
        }
        if self.worker.verifier.epoch() == self.epoch {
            return Ok(());
        }
        let newest = self.worker.live.current().route(&self.route.path);
        // A request is decided by the policy it came under, also where its server is gone by now.
        let route = newest.as_ref().unwrap_or(&self.route);
        route.acceptance.readmit(caller, Some(&self.route.acceptance), Timestamp::now()).map(drop)
    }
}
