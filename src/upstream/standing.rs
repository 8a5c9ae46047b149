//! Whether an admitted caller is still admitted when its call is finally to be sent.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Caller, VerifyError};
use crate::clock::Timestamp;
use crate::proxy::Worker;
use crate::route::Route;
use crate::trail::Trail;

/// A call that does not wait in a queue is sent within this time, so the clock is read only for tokens that expire sooner.
const SOON: Duration = Duration::from_mins(5);

/// What is needed to recheck the caller of a call that may have waited since the caller was admitted.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    worker: Arc<Worker>,
    route: Arc<Route>,
    /// The epoch in which the caller was admitted.
    epoch: u64,
    ends_soon: bool,
}

impl Standing {
    /// For the request of `caller` with this trail.
    pub(crate) fn of(worker: &Arc<Worker>, route: &Arc<Route>, trail: &Trail, caller: &Caller) -> Self {
        let ends_soon = caller.until <= trail.received.plus(SOON);
        Self { worker: worker.clone(), route: route.clone(), epoch: trail.epoch, ends_soon }
    }

    /// Errs if the caller's token has expired since, or would no longer be accepted. Costs one atomic load if nothing has
    /// changed and the call has not waited in a queue.
    pub(crate) fn check(&self, caller: &Arc<Caller>, has_waited: bool) -> Result<(), VerifyError> {
        if has_waited || self.ends_soon {
            caller.accepted_at(Timestamp::now())?;
        }
        if self.worker.verifier.epoch() == self.epoch {
            return Ok(());
        }
        let newest = self.worker.live.current().route(&self.route.path);
        // A request keeps the configuration that it came under if its route has been removed since.
        let route = newest.as_ref().unwrap_or(&self.route);
        route.acceptance.readmit(caller, Some(&self.route.acceptance), Timestamp::now()).map(drop)
    }
}
