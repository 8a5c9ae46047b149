use super::binding;
use crate::clock::{self, Timestamp};
use crate::mask::Masked;
use crate::mcp::handle::{NoHandle, RequestState, StateNonce};
use crate::mcp::{SubjectKind, methods};
use crate::opened::Ask;
use crate::policy::Annotations;
use crate::route::Route;
use crate::state::{Once, SpendError};

/// A state that was brought back, used up by its call.
#[derive(Debug)]
pub struct Spent {
    owner: Vec<u8>,
    nonce: StateNonce,
}

impl Spent {
    /// Uses up the state a request brings back, if its call may have effects: a second one with it is refused.
    ///
    /// Prompts and resources are only read. Of tools only an approved definition says that they are.
    pub fn of(
        masked: &Masked,
        route: &Route,
        annotations: Option<Annotations>,
        spent: &Once,
        now: Timestamp,
    ) -> Result<Option<Self>, NoHandle> {
        let (Some(nonce), Ask::Message(message)) = (masked.handles().state, masked.ask()) else { return Ok(None) };
        if annotations.is_some_and(|annotations| annotations.read_only) {
            return Ok(None);
        }
        if message.listed().is_none_or(|method| method.name != methods::use_of(SubjectKind::Tool)) {
            return Ok(None);
        }
        let owner = binding(route, masked.caller()).owner();
        match spent.spend(&owner, &nonce, now.plus(RequestState::LIFETIME), (now, clock::monotonic())) {
            Ok(()) => Ok(Some(Self { owner, nonce })),
            // What cannot be remembered cannot be used.
            Err(SpendError::Full | SpendError::Spent) => Err(NoHandle::Spent),
        }
    }

    /// The call was certainly not made: the state is as good as before.
    pub fn give_back(&self, spent: &Once) {
        spent.give_back(&self.owner, &self.nonce);
    }
}
