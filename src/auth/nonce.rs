//! Nonces for `DPoP` proofs (RFC 9449 section 9). They are sealed, so that nothing is stored, replicas accept each other's, and
//! each is valid for one server and a few minutes.

use std::time::Duration;

use super::Acceptance;
use crate::clock::Timestamp;
use crate::seal::{Binding, Purpose, Seals};

/// The lifetime of a nonce; every response to a proof has a fresh one.
const LIFETIME: Duration = Duration::from_mins(5);

pub(super) fn fresh(seals: &Seals, acceptance: &Acceptance, now: Timestamp) -> Option<String> {
    seals.seal(Purpose::ProofNonce, &binding(acceptance), &[], now, LIFETIME).ok()
}

pub(super) fn is_good(seals: &Seals, acceptance: &Acceptance, nonce: &str, now: Timestamp) -> bool {
    seals.open(Purpose::ProofNonce, &binding(acceptance), nonce, now).is_ok()
}

/// Nonces are bound to a server but to no caller, as they are issued before authentication.
fn binding(acceptance: &Acceptance) -> Binding<'_> {
    Binding {
        server: acceptance.realm.name(),
        upstream: &acceptance.binding.target,
        issuer: "",
        tenant: None,
        subject: "",
        client: None,
    }
}
