use std::sync::Arc;

use super::binding;
use crate::clock::{self, Timestamp};
use crate::mask::Masked;
use crate::mcp::handle::{NoHandle, RequestState, StateNonce};
use crate::mcp::{SubjectKind, methods};
use crate::opened::Ask;
use crate::policy::Annotations;
use crate::reject::Reject;
use crate::route::Route;
use crate::state::{Once, Op, Shared, SpendError};

/// A `requestState` that a call has used up.
#[derive(Debug)]
pub struct Spent {
    owner: Vec<u8>,
    nonce: StateNonce,
    shared: Option<Arc<Shared>>,
}

impl Spent {
    /// Uses up the `requestState` of a request if its call may have effects. Errs if it was used before, or its use cannot
    /// be remembered.
    ///
    /// Prompts and resources are only read. A tool counts as only reading if its approved definition says so.
    pub async fn of(
        masked: &Masked,
        route: &Route,
        annotations: Option<Annotations>,
        (spent, shared): (&Once, Option<&Arc<Shared>>),
        now: Timestamp,
    ) -> Result<Option<Self>, Reject> {
        let (Some(nonce), Ask::Message(message)) = (masked.handles().state, masked.ask()) else { return Ok(None) };
        if annotations.is_some_and(|annotations| annotations.read_only) {
            return Ok(None);
        }
        if message.listed().is_none_or(|method| method.name != methods::use_of(SubjectKind::Tool)) {
            return Ok(None);
        }
        let owner = binding(route, masked.caller()).owner();
        match spent.spend(&owner, &nonce, now.plus(RequestState::LIFETIME), (now, clock::monotonic())) {
            Ok(()) => {}
            // If the use cannot be remembered, the state must not be used.
            Err(SpendError::Full | SpendError::Spent) => return Err(NoHandle::Spent.into()),
        }
        if let Some(shared) = shared {
            let everywhere = shared.spend(Op::RequestState, &owner, &nonce, RequestState::LIFETIME);
            match Box::pin(everywhere).await {
                Ok(true) => {}
                Ok(false) => return Err(NoHandle::Spent.into()),
                Err(error) => {
                    // Whether it counts as used elsewhere is not known; here it does not.
                    spent.give_back(&owner, &nonce);
                    return Err(error.into());
                }
            }
        }
        Ok(Some(Self { owner, nonce, shared: shared.cloned() }))
    }

    /// Makes the state usable again, after a call that was certainly not made.
    pub fn give_back(&self, spent: &Once) {
        spent.give_back(&self.owner, &self.nonce);
        if let Some(shared) = &self.shared {
            shared.give_back(Op::RequestState, &self.owner, &self.nonce);
        }
    }
}
