//! Shared Signals: security event tokens (RFC 8417) in which an issuer reports changes to sessions and accounts between two
//! logins, pushed (RFC 8935) or polled (RFC 8936).

mod event;
mod poll;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::issuer::Issuer;
use super::jws::Compact;
use super::revocation::{Revocations, Revoked};
use super::{VerifyError, jwt};
use crate::audit::{self, Audit};
use crate::clock::{self, Timestamp};
use crate::json::{Document, Kind, Value};
use crate::secret::Secret;
use crate::state::{Once, StoreError, Stores};

pub(super) use poll::Poller;

/// The longest security event token, in bytes.
pub const LIMIT_BYTES: usize = 64 * 1024;
/// How far a transmitter's clock may be ahead.
const LEEWAY: Duration = Duration::from_mins(5);
/// The most tokens whose `jti` is remembered.
const LIMIT_SEEN: usize = 64 * 1024;

/// Why a security event token is refused (RFC 8935 section 2.4).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SetError {
    /// For another audience.
    #[error("event token is for another audience")]
    Audience,
    /// From another issuer.
    #[error("event token is from another transmitter")]
    Issuer,
    /// Not signed by the transmitter.
    #[error("event token is not signed by its transmitter")]
    Key,
    /// Not a security event token.
    #[error("malformed event token: {0}")]
    Request(&'static str),
    /// The transmitter's keys are not available.
    #[error("keys of the transmitter are not available")]
    Unavailable(Duration),
    /// The sender is not authenticated.
    #[error("sender is not authenticated")]
    Unauthenticated,
}

impl SetError {
    /// The `err` of the response.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Audience => "invalid_audience",
            Self::Issuer => "invalid_issuer",
            Self::Key => "invalid_key",
            Self::Request(_) => "invalid_request",
            Self::Unauthenticated => "authentication_failed",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// The result of an accepted token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Something was revoked.
    Acted,
    /// It was received before.
    Again,
    /// Its events or subjects are unknown here, which is not revealed to the sender.
    Ignored,
}

impl Taken {
    /// The `result` label of `portcullis_signals_total`.
    pub const fn result(self) -> &'static str {
        match self {
            Self::Acted => "acted",
            Self::Again => "again",
            Self::Ignored => "ignored",
        }
    }
}

/// Receives the events of one issuer's transmitter.
#[derive(Debug)]
pub struct Receiver {
    /// The issuer's name in `proxy.toml`.
    pub name: Arc<str>,
    /// The `iss` of the tokens the events are about.
    iss: Arc<str>,
    transmitter: Arc<Issuer>,
    audience: Box<str>,
    token: Option<Secret<String>>,
    keep: Duration,
    revocations: Arc<Revocations>,
    /// The audit log; `None` outside the running proxy.
    audit: Option<Arc<Audit>>,
    /// The store that revocations are shared in.
    stores: Option<Arc<Stores>>,
    seen: Once,
}

impl Receiver {
    /// A receiver of events from `transmitter` about the tokens of `issuer`.
    pub(super) fn new(
        issuer: &Issuer,
        transmitter: Arc<Issuer>,
        audience: &str,
        token: Option<Secret<String>>,
        keep: Duration,
        (audit, stores): (Option<Arc<Audit>>, Option<Arc<Stores>>),
    ) -> Self {
        Self {
            name: Arc::clone(issuer.name()),
            iss: Arc::clone(issuer.issuer()),
            transmitter,
            audience: audience.into(),
            token,
            keep,
            revocations: Arc::clone(issuer.revocations()),
            audit,
            stores,
            seen: Once::with_room(LIMIT_SEEN),
        }
    }

    /// The transmitter.
    pub const fn transmitter(&self) -> &Arc<Issuer> {
        &self.transmitter
    }

    /// Checks the authentication and content type of a push (RFC 8935 section 2.1). Errs if it is not acceptable.
    pub fn accepts(&self, headers: &HeaderMap) -> Result<(), SetError> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None, Some(token)) = (fields.next(), fields.next(), &self.token) else {
            return Err(SetError::Unauthenticated);
        };
        let (scheme, presented) = field.as_bytes().split_at(field.len().min(7));
        if !scheme.eq_ignore_ascii_case(b"bearer ") || !bool::from(presented.ct_eq(token.expose().as_bytes())) {
            return Err(SetError::Unauthenticated);
        }
        let media = headers.get(CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase());
        if media.as_deref() == Some(b"application/secevent+jwt") {
            Ok(())
        } else {
            Err(SetError::Request("content type is not application/secevent+jwt"))
        }
    }

    /// Processes one token; its revocations are in force when this returns. Errs if it is refused.
    pub async fn take(&self, token: &[u8], now: Timestamp) -> Result<Taken, SetError> {
        let outcome = self.read(token, now).await;
        self.revocations.count(outcome.as_ref().map_or_else(|error| error.code(), |taken| taken.result()));
        outcome
    }

    async fn read(&self, token: &[u8], now: Timestamp) -> Result<Taken, SetError> {
        let compact = Compact::read(token).map_err(|_| SetError::Request("not a signed JWT"))?;
        if !compact.header.typ.as_deref().is_some_and(|typ| {
            ["secevent+jwt", "application/secevent+jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name))
        }) {
            return Err(SetError::Request("`typ` is not secevent+jwt"));
        }
        let claims = compact.claims().map_err(|_| SetError::Request("claims are not strict JSON"))?;
        let jti = self.said(claims.root(), now)?;
        let algorithms = &self.transmitter.profile().algorithms;
        let alg = compact.header.alg.filter(|alg| algorithms.contains(alg)).ok_or(SetError::Key)?;
        let keys = self.transmitter.keys(compact.header.kid.as_deref(), alg, clock::monotonic()).await;
        let keys = keys.map_err(|error| match error {
            VerifyError::KeysUnavailable { retry_after } => SetError::Unavailable(retry_after),
            _ => SetError::Key,
        })?;
        jwt::signed_by_one(&compact, &keys, alg).map_err(|_| SetError::Key)?;
        // If the memory is full, the token is processed, since revoking twice is harmless.
        if self.seen.spend(self.iss.as_bytes(), jti.as_bytes(), now.plus(self.keep), (now, clock::monotonic()))
            == Err(crate::state::SpendError::Spent)
        {
            return Ok(Taken::Again);
        }
        let acted = self.act(&claims, now);
        // In force here. Where others are not told, the transmitter is to send it again.
        self.share(acted, now).await.inspect_err(|_| self.seen.give_back(self.iss.as_bytes(), jti.as_bytes()))
    }

    /// Checks the claims every security event token has (RFC 8417 section 2.2); returns its `jti`.
    fn said(&self, claims: Value<'_>, now: Timestamp) -> Result<Box<str>, SetError> {
        let text = |name| claims.get(name).and_then(|value| value.as_str());
        if text("iss").as_deref() != Some(&**self.transmitter.issuer()) {
            return Err(SetError::Issuer);
        }
        let aud = claims.get("aud").ok_or(SetError::Audience)?;
        let is_ours = match aud.kind() {
            Kind::Array => aud.items().any(|item| item.as_str().as_deref() == Some(&*self.audience)),
            _ => aud.as_str().as_deref() == Some(&*self.audience),
        };
        if !is_ours {
            return Err(SetError::Audience);
        }
        if ["sub", "exp"].iter().any(|name| claims.get(name).is_some()) {
            return Err(SetError::Request("`sub` and `exp` are not for event tokens"));
        }
        if claims.get("events").is_none_or(|events| events.kind() != Kind::Object) {
            return Err(SetError::Request("no `events`"));
        }
        match claims.get("iat").and_then(|iat| iat.as_i64()) {
            Some(iat) if Timestamp::from_unix_seconds(iat) <= now.plus(LEEWAY) => {}
            _ => return Err(SetError::Request("no usable `iat`")),
        }
        let jti = text("jti").filter(|jti| !jti.is_empty() && jti.len() <= 512);
        jti.map(Into::into).ok_or(SetError::Request("no usable `jti`"))
    }

    /// Revokes what the events say, in this process. Returns what that is, with the last time of issue.
    fn act(&self, claims: &Document, now: Timestamp) -> Vec<(Vec<Revoked>, Timestamp)> {
        let mut all = Vec::new();
        for (kind, revoked, last) in event::revoked(claims.root(), &self.iss, now) {
            tracing::info!(issuer = %self.name, event = kind, "issuer revokes");
            self.revocations.revoke(revoked.iter().cloned(), last, now, self.keep);
            if let Some(audit) = &self.audit {
                audit::revoked(audit, &self.iss, kind, &revoked, last, now);
            }
            all.push((revoked, last));
        }
        all
    }

    /// Revokes it in all processes. Errs if the store that they share did not take it.
    async fn share(&self, acted: Vec<(Vec<Revoked>, Timestamp)>, now: Timestamp) -> Result<Taken, SetError> {
        let taken = if acted.is_empty() { Taken::Ignored } else { Taken::Acted };
        let Some(shared) = self.stores.as_ref().and_then(|stores| stores.current()) else { return Ok(taken) };
        for (revoked, last) in acted {
            let keep = now.until(last.plus(self.keep));
            for name in revoked.iter().map(|one| one.name(&self.iss)) {
                let written = shared.revoke(&name, last, keep).await;
                written.map_err(|_| SetError::Unavailable(StoreError::RETRY_AFTER))?;
            }
        }
        Ok(taken)
    }
}
