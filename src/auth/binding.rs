//! Tokens bound to a key (RFC 9449, RFC 8705): whoever presents one must prove possession of the key with every request.
//! Nothing here is cached.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use subtle::ConstantTimeEq as _;

use super::dpop::{self, Expected, ProofError, Proved};
use super::nonce;
use super::{Acceptance, Caller, Presented, Proof, Strangers, VerifyError};
use crate::clock::{self, Timestamp};
use crate::json::{Kind, Value};
use crate::seal::Seals;
use crate::server::Peer;
use crate::state::{Once, Op, SpendError};

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// The longest certificate in a header field, in bytes.
const LIMIT_CERTIFICATE: usize = 16 * 1024;

/// What a token is bound to: `cnf` (RFC 7800 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// `jkt`: the thumbprint of the key that signs `DPoP` proofs (RFC 9449 section 6.1).
    pub key: Option<[u8; 32]>,
    /// `x5t#S256`: the SHA-256 of the client's certificate (RFC 8705 section 3.1).
    pub certificate: Option<[u8; 32]>,
}

impl Confirmation {
    /// Reads `cnf`. Errs on an unknown confirmation method, which could not be checked.
    pub(super) fn read(cnf: Value<'_>) -> Result<Self, VerifyError> {
        let mut found = Self { key: None, certificate: None };
        if cnf.kind() != Kind::Object {
            return Err(VerifyError::Bound);
        }
        for member in cnf.members() {
            let hash = || {
                let text = member.value.as_str()?;
                BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()
            };
            let hash: Option<[u8; 32]> = hash();
            match &*member.name() {
                "jkt" => found.key = Some(hash.ok_or(VerifyError::Bound)?),
                "x5t#S256" => found.certificate = Some(hash.ok_or(VerifyError::Bound)?),
                _ => return Err(VerifyError::Bound),
            }
        }
        if found.key.is_none() && found.certificate.is_none() { Err(VerifyError::Bound) } else { Ok(found) }
    }
}

/// What a request shows besides its token, and what it is held against.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The peer of its connection.
    pub peer: &'a Peer,
    /// Its method.
    pub method: &'a Method,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// The keys of nonces.
    pub seals: &'a Seals,
    /// The proofs already used.
    pub proofs: &'a Once,
    /// How many of its address's tokens may be refused.
    pub strangers: Strangers<'a>,
}

/// A proof that no other process may have seen either.
pub(super) struct Used {
    owner: String,
    value: Vec<u8>,
    lasts: Duration,
}

impl Used {
    /// Uses it up for every process. Errs if one has seen it, or that cannot be known.
    pub(super) async fn everywhere(&self, acceptance: &Acceptance) -> Result<(), VerifyError> {
        let Some(shared) = &acceptance.shared else { return Ok(()) };
        match shared.spend(Op::Proof, self.owner.as_bytes(), &self.value, self.lasts).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ProofError::Replayed.into()),
            Err(_) => Err(VerifyError::StoreUnavailable),
        }
    }
}

/// Checks that the sender of a bound token possesses the key or certificate, and that a token that is not bound was sent as a
/// bearer token. Returns the proof that was used, where other processes are to know. Errs if not.
pub(super) fn check(
    acceptance: &Acceptance,
    caller: &Caller,
    presented: &Presented<'_>,
    shown: &Shown<'_>,
    now: Timestamp,
) -> Result<Option<Box<Used>>, VerifyError> {
    let bound = caller.confirmation();
    if let (None, Presented::Bearer(_)) = (bound, presented) {
        // The common case: an unbound bearer token.
        return if acceptance.binding.proof_required || acceptance.binding.certificate_required {
            Err(VerifyError::NotBound)
        } else {
            Ok(None)
        };
    }
    let Some(bound) = bound else { return Err(VerifyError::NotBound) };
    if acceptance.binding.certificate_required && bound.certificate.is_none() {
        return Err(VerifyError::NotBound);
    }
    if let Some(wanted) = &bound.certificate {
        let same = certificate(acceptance, shown).is_some_and(|found| bool::from(found.ct_eq(wanted)));
        if !same {
            return Err(VerifyError::WrongCertificate);
        }
    }
    match (&bound.key, presented) {
        (Some(key), Presented::Proved { token, proof }) => {
            proved(acceptance, (caller, key), token.bytes(), *proof, shown, now)
        }
        // RFC 9449 section 7.2: a bound token sent as a bearer token, or the reverse.
        (Some(_), _) => Err(VerifyError::Bound),
        (None, Presented::Proved { .. }) => Err(VerifyError::NotBound),
        (None, _) if acceptance.binding.proof_required => Err(VerifyError::NotBound),
        (None, _) => Ok(None),
    }
}

/// Checks that the caller's token is bound as the current configuration requires. Errs if not.
pub(super) fn suffices(acceptance: &Acceptance, caller: &Caller) -> Result<(), VerifyError> {
    let (binding, bound) = (&acceptance.binding, caller.confirmation());
    let has_key = bound.is_some_and(|bound| bound.key.is_some());
    let has_certificate = bound.is_some_and(|bound| bound.certificate.is_some());
    if binding.proof_required && !has_key || binding.certificate_required && !has_certificate {
        Err(VerifyError::NotBound)
    } else {
        Ok(())
    }
}

fn proved(
    acceptance: &Acceptance,
    (caller, key): (&Caller, &[u8; 32]),
    token: &[u8],
    proof: Proof<'_>,
    shown: &Shown<'_>,
    now: Timestamp,
) -> Result<Option<Box<Used>>, VerifyError> {
    let binding = &acceptance.binding;
    let proof = match proof {
        Proof::One(proof) => proof,
        Proof::Missing => return Err(ProofError::Missing.into()),
        Proof::Several => return Err(ProofError::Repeated.into()),
    };
    let expected = Expected {
        method: shown.method,
        target: &binding.target,
        token,
        thumbprint: key,
        algorithms: &binding.algorithms,
        age: binding.proof_age,
        now,
    };
    let Proved { jti, nonce, until } = dpop::check(proof, &expected)?;
    if binding.nonces && !nonce.is_some_and(|nonce| nonce::is_good(shown.seals, acceptance, &nonce, now)) {
        return Err(VerifyError::NonceWanted { nonce: nonce::fresh(shown.seals, acceptance, now).map(Into::into) });
    }
    // The last check, so that a proof that fails another one does not count as used.
    let (owner, value) = spend(shown.proofs, (caller, key), &binding.target, &jti, (until, now))?;
    Ok(acceptance.shared.is_some().then(|| Box::new(Used { owner, value, lasts: now.until(until) })))
}

/// Uses a proof in this process; returns its owner and what is unique to it. It belongs to the caller, so that one with many
/// keys has no more room than one with one.
fn spend(
    proofs: &Once,
    (caller, key): (&Caller, &[u8; 32]),
    target: &str,
    jti: &str,
    (until, now): (Timestamp, Timestamp),
) -> Result<(String, Vec<u8>), VerifyError> {
    let owner = [&*caller.issuer, caller.tenant.as_deref().unwrap_or_default(), &caller.subject].join("\0");
    let value = [&key[..], target.as_bytes(), b"\0", jti.as_bytes()].concat();
    match proofs.spend(owner.as_bytes(), &value, until, (now, clock::monotonic())) {
        Ok(()) => Ok((owner, value)),
        Err(SpendError::Spent) => Err(ProofError::Replayed.into()),
        Err(SpendError::Full) => Err(VerifyError::NoRoom),
    }
}

/// The SHA-256 of the client's certificate: that of this connection or, if the peer is a trusted TLS terminator, the one in its
/// header field (RFC 9440 section 2.2). Other peers' fields are ignored.
fn certificate(acceptance: &Acceptance, shown: &Shown<'_>) -> Option<[u8; 32]> {
    let terminators = &acceptance.binding.terminators;
    let is_terminator =
        shown.peer.sender.is_some_and(|sender| terminators.iter().any(|network| network.contains(sender)));
    if !is_terminator {
        return shown.peer.certificate_digest();
    }
    let mut fields = shown.headers.get_all(CLIENT_CERT).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let text = field.as_bytes().strip_prefix(b":")?.strip_suffix(b":")?;
    if text.len() > LIMIT_CERTIFICATE {
        return None;
    }
    let der = BASE64.decode(text).ok()?;
    digest(&SHA256, &der).as_ref().try_into().ok()
}

/// The nonce for the next proof of this client, for the response to a request with a proof (RFC 9449 section 8.2).
pub fn next_nonce(
    acceptance: &Acceptance,
    presented: &Presented<'_>,
    seals: &Seals,
    now: Timestamp,
) -> Option<HeaderValue> {
    if !acceptance.binding.nonces || !matches!(presented, Presented::Proved { .. }) {
        return None;
    }
    HeaderValue::try_from(nonce::fresh(seals, acceptance, now)?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ProofError, VerifyError, spend};
    use crate::clock::Timestamp;
    use crate::policy::tests::caller;
    use crate::state::Once;

    #[test]
    fn who_has_many_keys_has_no_more_room_for_proofs() {
        let (ana, mut kim) = (caller(""), caller(""));
        kim.subject = "kim".into();
        let proofs = Once::with_room(32);
        let now = Timestamp::from_unix_seconds(1_000);
        let spend = |who, key: u8, target, jti| {
            spend(&proofs, (who, &[key; 32]), target, jti, (now.plus(Duration::from_mins(1)), now)).map(drop)
        };
        assert_eq!(spend(&ana, 1, "a", "1"), Ok(()));
        assert_eq!(spend(&ana, 1, "a", "1"), Err(ProofError::Replayed.into()));
        assert_eq!(spend(&ana, 2, "a", "1"), Ok(()), "another key's");
        for key in 3..100 {
            assert_eq!(spend(&ana, key, "b", "1"), Err(VerifyError::NoRoom));
        }
        assert_eq!(spend(&kim, 1, "a", "1"), Ok(()), "another caller's");
    }
}
