//! Authentication: an access token presented as `Authorization: Bearer` becomes a [`Caller`], or a refusal.
//!
//! [`credential`] reads the token out of a request, [`Verifier::verify`] checks it against what the route accepts
//! ([`Acceptance`]) with the keys of the [`Issuer`] it names, and [`examine()`] explains the same checks one by one. What
//! the client is told is made by [`challenge::Challenges`] and [`metadata`].

mod anonymous;
mod audience;
mod bearer;
mod binding;
mod cache;
pub mod challenge;
mod claimed;
mod claims;
mod claims_set;
mod dpop;
mod error;
mod examine;
mod introspection;
mod issuer;
mod jws;
mod jwt;
mod keys;
mod lexicon;
pub mod metadata;
mod nonce;
mod over;
mod public_key;
mod readmit;
mod revocation;
pub mod signals;
mod signing_key;
mod strangers;
mod strength;
mod unverified;
mod who;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::clock::Timestamp;
use crate::config;
use crate::state::Shared;

pub use audience::Audiences;
pub use bearer::{Bearer, Presented, Proof, Scheme, credential};
pub use binding::{Confirmation, Shown, next_nonce};
pub use cache::{Counts, Epoch, Memo, Verifier};
pub use challenge::Challenges;
pub(crate) use claimed::Claimed;
pub use claims_set::ClaimsSet;
pub use dpop::ProofError;
pub(crate) use error::TOO_WEAK;
pub use error::{CredentialError, VerifyError};
pub use examine::{Check, Decoded, Outcome, decode, examine};
pub(crate) use issuer::{
    Asked, TokenEndpoint, certificate, client_secrets, exchange, explorer, signing_key as private_key,
};
pub use issuer::{Issuer, Issuers, StartError, Status};
pub use keys::Algorithm;
pub(crate) use over::Over;
pub use revocation::{ListError, Listed, Revocations, Revoked};
pub(crate) use signing_key::SigningKey;
pub use strangers::Strangers;
pub(crate) use who::Who;

/// A caller: the identity and rights a verified access token establishes. Immutable, shared, cached.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `iss`, exact.
    pub issuer: Arc<str>,
    /// The issuer's name in `proxy.toml`.
    pub issuer_name: Arc<str>,
    /// The issuer's tenant, for issuers that have several.
    pub tenant: Option<Box<str>>,
    /// `sub`, or the client id for an application's token without one.
    pub subject: Box<str>,
    /// The client the token was issued to: `client_id`, else `azp`, `cid`, `appid`.
    pub client_id: Option<Arc<str>>,
    /// Granted scopes.
    pub scopes: Scopes,
    /// All claims.
    pub claims: ClaimsSet,
    /// `exp`, without leeway.
    pub expires: Timestamp,
    /// When the token stops being accepted: `exp` plus the issuer's clock skew, or when the user's authentication is too old.
    pub until: Timestamp,
    /// Which of the two it is.
    pub(crate) over: Over,
    /// `jti`, else `uti`.
    pub token_id: Option<Box<str>>,
    /// `iat`.
    pub issued: Option<Timestamp>,
    /// Claims most tokens do not have.
    pub particulars: Option<Box<Particulars>>,
    /// `kid` of the key that verified the token.
    pub key_id: Option<Arc<str>>,
    /// Whether there is no token; then the subject is the client's address, and everything else above is empty.
    pub anonymous: bool,
    /// The [edition](Issuer::edition) of its issuer's key set when the token was verified.
    pub(crate) edition: u32,
    /// The claims as a CEL value; converted once.
    pub(crate) expressed: crate::policy::Expressed,
    /// The caller in the audit log; rendered once.
    pub(crate) fragment: std::sync::OnceLock<crate::audit::Fragment>,
}

/// Claims most tokens do not have, kept apart to save memory, since many callers are cached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Particulars {
    /// The actors of the `act` claim, the current one first (RFC 8693 section 4.1); empty without delegation.
    pub actors: Box<[Box<str>]>,
    /// `cnf`: what the token is bound to.
    pub confirmation: Option<Confirmation>,
    /// `sid`: the user's session at the issuer.
    pub session_id: Option<Box<str>>,
}

impl Particulars {
    /// The particulars, if there are any.
    fn any(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl Caller {
    /// The actors, the current one first; empty without delegation.
    pub fn actors(&self) -> &[Box<str>] {
        self.particulars.as_ref().map_or(&[], |particulars| &particulars.actors)
    }

    /// What the token is bound to.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.particulars.as_ref()?.confirmation.as_ref()
    }

    /// The user's session at the issuer.
    pub fn session_id(&self) -> Option<&str> {
        self.particulars.as_ref()?.session_id.as_deref()
    }
}

/// A sorted set of scopes, shared by the callers that have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(Arc<[Box<str>]>);

impl Scopes {
    /// Whether exactly this scope is granted.
    pub fn has(&self, scope: &str) -> bool {
        self.0.binary_search_by(|held| (**held).cmp(scope)).is_ok()
    }

    /// The scopes, in byte order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<Box<str>>> FromIterator<S> for Scopes {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        let mut all: Vec<Box<str>> = scopes.into_iter().map(Into::into).collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }
}

/// Which tokens one server accepts; part of its route.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// Issuers whose tokens are accepted.
    pub issuers: Vec<Arc<Issuer>>,
    /// The operator's revocation lists, by the name of the issuer.
    listed: Vec<(Arc<str>, Arc<Listed>)>,
    /// The identifiers of which `aud` must have one.
    pub audiences: Audiences,
    /// The cache key for verdicts about tokens.
    pub realm: RouteKey,
    /// How strongly and recently users must have signed in (RFC 9470).
    pub authentication: config::Authentication,
    /// What bound tokens require: `DPoP` proofs, client certificates.
    pub(crate) binding: BindingRules,
    /// The store that is shared with other processes, if there is one.
    shared: Option<Arc<Shared>>,
}

/// A server's requirements on bound tokens.
#[derive(Clone, Debug)]
pub(crate) struct BindingRules {
    /// The server's public URL, as `htu` of proofs is compared with.
    target: String,
    algorithms: Vec<Algorithm>,
    proof_age: std::time::Duration,
    nonces: bool,
    proof_required: bool,
    certificate_required: bool,
    terminators: Arc<[config::Network]>,
}

impl BindingRules {
    fn new(server: &config::Server) -> Self {
        let default = config::Dpop::default();
        let dpop = server.access.dpop.as_ref().unwrap_or(&default);
        let mtls = server.access.mtls.clone().unwrap_or_default();
        Self {
            target: dpop::target(&server.resource).unwrap_or_else(|| server.resource.clone()),
            algorithms: dpop.algorithms.iter().filter_map(|name| Algorithm::parse(name)).collect(),
            proof_age: dpop.proof_age,
            nonces: dpop.nonces,
            proof_required: dpop.required,
            certificate_required: mtls.required,
            terminators: mtls.terminators.into(),
        }
    }
}

impl Acceptance {
    /// What `server` accepts, given its running issuers.
    pub fn new(server: &config::Server, issuers: Vec<Arc<Issuer>>) -> Self {
        let audiences = if server.audiences.is_empty() {
            Audiences::new([server.resource.as_str()])
        } else {
            Audiences::new(server.audiences.iter().map(String::as_str))
        };
        let authentication = server.access.authentication.clone();
        let realm = RouteKey::new(&server.name, &audiences, &issuers, &authentication);
        Self {
            issuers,
            listed: Vec::new(),
            audiences,
            realm,
            authentication,
            binding: BindingRules::new(server),
            shared: None,
        }
    }

    /// The same with revocation lists, each with the name of its issuer.
    pub fn denying(mut self, listed: Vec<(Arc<str>, Arc<Listed>)>) -> Self {
        self.realm = self.realm.denying(&listed);
        self.listed = listed;
        self
    }

    /// The same with what processes share.
    pub fn sharing(mut self, shared: Option<&Arc<Shared>>) -> Self {
        self.shared = shared.cloned();
        self
    }

    /// Whether the caller's token is revoked: on the operator's list, or by its issuer since the start.
    pub fn revokes(&self, caller: &Caller) -> bool {
        self.listed.iter().any(|(name, listed)| *name == caller.issuer_name && listed.names(caller))
            || self.issuer(&caller.issuer).is_some_and(|issuer| issuer.revocations().names(caller))
            || self.shared.as_ref().is_some_and(|shared| revocation::is_shared(shared, caller))
    }

    /// Errs if what processes share is not known, so that a token may have been revoked.
    fn knows_revocations(&self) -> Result<(), VerifyError> {
        match &self.shared {
            Some(shared) if !shared.is_current() => Err(VerifyError::StoreUnavailable),
            _ => Ok(()),
        }
    }

    /// The issuer to introspect opaque tokens at.
    fn asked(&self) -> Option<(&Arc<Issuer>, &introspection::Introspector)> {
        self.issuers.iter().find_map(|issuer| Some((issuer, issuer.introspector()?)))
    }

    /// Whether proofs must name nonces.
    pub(crate) const fn wants_nonces(&self) -> bool {
        self.binding.nonces
    }

    /// The issuer with exactly that `iss`.
    fn issuer(&self, iss: &str) -> Option<&Arc<Issuer>> {
        self.issuers.iter().find(|issuer| &**issuer.issuer() == iss)
    }
}

/// The name of a server and a digest of everything it accepts. Verdicts reached with other audiences or issuer settings have
/// another key, even while a request from before a reload is still running.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct RouteKey(Arc<Accepted>);

#[derive(Default, PartialEq, Eq, Hash)]
struct Accepted {
    name: Arc<str>,
    digest: [u64; 2],
}

impl RouteKey {
    fn new(
        name: &Arc<str>,
        audiences: &Audiences,
        issuers: &[Arc<Issuer>],
        authentication: &config::Authentication,
    ) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut part = |bytes: &[u8]| {
            hash.update(&bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        part(name.as_bytes());
        for audience in audiences.iter() {
            part(audience.as_bytes());
        }
        for issuer in issuers {
            part(issuer.digest());
        }
        part(format!("{authentication:?}").as_bytes());
        Self(Arc::new(Accepted { name: Arc::clone(name), digest: words(hash) }))
    }

    /// The same with revocation lists.
    fn denying(&self, listed: &[(Arc<str>, Arc<Listed>)]) -> Self {
        if listed.is_empty() {
            return self.clone();
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        for word in self.0.digest {
            hash.update(&word.to_le_bytes());
        }
        for (name, listed) in listed {
            hash.update(&name.len().to_le_bytes());
            hash.update(name.as_bytes());
            hash.update(listed.digest());
        }
        Self(Arc::new(Accepted { name: Arc::clone(&self.0.name), digest: words(hash) }))
    }

    /// The server's name in `proxy.toml`.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// A hash of the route; collisions are possible.
    fn word(&self) -> u64 {
        self.0.digest[0]
    }
}

/// The first 128 bits of a digest.
fn words(hash: digest::Context) -> [u64; 2] {
    let digest = hash.finish();
    let word = |at: usize| digest.as_ref()[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    [word(0), word(8)]
}

impl fmt::Debug for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

#[cfg(test)]
mod tests;
