//! Nonces for `DPoP` proofs (RFC 9449 section 9): sealed, so that none is kept, any replica knows another's, and each is
//! good for one server and a few minutes.

use std::time::Duration;

use super::Acceptance;
use crate::clock::Timestamp;
use crate::seal::{Binding, Purpose, Seals};

/// How long a nonce is good for; every answer to a proof brings a fresh one.
const LIFETIME: Duration = Duration::from_mins(5);

pub(super) fn fresh(seals: &Seals, acceptance: &Acceptance, now: Timestamp) -> Option<String> {
    seals.seal(Purpose::ProofNonce, &binding(acceptance), &[], now, LIFETIME).ok()
}

pub(super) fn is_good(seals: &Seals, acceptance: &Acceptance, nonce: &str, now: Timestamp) -> bool {
    seals.open(Purpose::ProofNonce, &binding(acceptance), nonce, now).is_ok()
}

/// A nonce is of a server and nobody's: it is asked for before anyone is known.
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
