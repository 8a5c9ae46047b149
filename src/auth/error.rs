use std::time::Duration;

use thiserror::Error;

use super::Scopes;
use super::dpop::ProofError;

/// Why the credential of a request could not be read; answered with 400 `invalid_request` (RFC 6750 section 3.1).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CredentialError {
    /// `access_token` among the query parameters, where MCP forbids it.
    #[error("access token in the query string")]
    InQuery,
    /// An `Authorization` field that is not `scheme` or `Bearer token68`.
    #[error("malformed `authorization` field")]
    Malformed,
    /// More than one `Authorization` field.
    #[error("more than one `authorization` field")]
    Repeated,
    /// A token over 16 KiB.
    #[error("access token over 16 KiB")]
    TooLong,
}

impl CredentialError {
    /// The `error_description` for the client.
    pub const fn description(self) -> &'static str {
        match self {
            Self::InQuery => "Access tokens are not accepted in the query string",
            Self::Malformed => "The Authorization header is malformed",
            Self::Repeated => "More than one Authorization header",
            Self::TooLong => "The access token is too long",
        }
    }

    /// The `result` label of `portcullis_auth_total`.
    pub const fn result(self) -> &'static str {
        "malformed"
    }
}

/// The `error_description` for a client whose user has to sign in again.
pub(crate) const TOO_WEAK: &str = "A stronger or more recent authentication is needed";

/// Why a token is refused. `Display` is for the log and has nothing of the token's content.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// No key of the issuer made this signature.
    #[error("signature does not verify")]
    BadSignature,
    /// Bound to a key and sent as a bearer token (RFC 9449 section 7.2), or bound by an unknown confirmation method.
    #[error("token is bound to a key, and came without a proof of it")]
    Bound,
    /// `exp` plus leeway is in the past.
    #[error("token expired")]
    Expired,
    /// The issuer says the token is not active (RFC 7662 section 2.2).
    #[error("token is not active")]
    Inactive,
    /// The issuer could not be asked about the token.
    #[error("issuer cannot be asked about the token")]
    IntrospectionUnavailable {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// The issuer's keys are not available, so the token cannot be verified.
    #[error("keys of the issuer are not available")]
    KeysUnavailable {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// Not a JWT of the accepted shape.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// Too many proofs are remembered to add this one.
    #[error("no room to remember another proof")]
    NoRoom,
    /// A proof needs a nonce from this server, and this one has none, or an expired one (RFC 9449 section 9).
    #[error("proof has no current nonce")]
    NonceWanted {
        /// The nonce to use.
        nonce: Option<Box<str>>,
    },
    /// Not bound where that is required, or sent with a proof although it is not bound to a key.
    #[error("token is not bound to the key it should be")]
    NotBound,
    /// `nbf` or `iat` lies in the future.
    #[error("token is not valid yet")]
    NotYetValid,
    /// The proof of possession is refused.
    #[error("proof of possession: {0}")]
    Proof(#[from] ProofError),
    /// Revoked by its issuer or by the operator.
    #[error("token is revoked")]
    Revoked,
    /// The store that is shared with other processes cannot say whether a proof was used, or the token is revoked.
    #[error("the shared store does not say whether the token is revoked, or its proof was used")]
    StoreUnavailable,
    /// The lifetime from `iat` to `exp` is longer than accepted.
    #[error("token is valid for longer than is accepted")]
    TooLong,
    /// Too many tokens of its sender's address were refused, so that this one was not looked at.
    #[error("too many tokens of this address were refused")]
    TooMany {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// The user's authentication is too weak or too long ago (RFC 9470).
    #[error("authentication behind the token is too weak or too old")]
    TooWeak {
        /// The token's scopes, so that the challenge can request missing ones too.
        scopes: Scopes,
    },
    /// The issuer publishes no such key.
    #[error("key of the token is unknown to its issuer")]
    UnknownKey,
    /// `alg` is not accepted for this issuer or does not fit the key.
    #[error("signature algorithm is not accepted for this issuer or key")]
    WrongAlgorithm,
    /// `aud` names no identifier of this server.
    #[error("token is for another audience")]
    WrongAudience,
    /// The certificate of the connection is not the one the token is bound to (RFC 8705 section 3).
    #[error("token is bound to another certificate")]
    WrongCertificate,
    /// `iss` is not an accepted issuer.
    #[error("token is from an issuer this server does not accept")]
    WrongIssuer,
    /// The tenant claim is not in the allow-list.
    #[error("token is from a tenant that is not accepted")]
    WrongTenant,
    /// Not an access token, or not of the required profile.
    #[error("token is not an access token of the accepted profile: {0}")]
    WrongType(&'static str),
}

impl VerifyError {
    /// The `error_description` for the client. It does not tell which claim failed, except what a client needs to know to
    /// refresh.
    pub const fn description(&self) -> &'static str {
        match self {
            Self::Expired => "The access token expired",
            Self::NotYetValid => "The access token is not valid yet",
            Self::IntrospectionUnavailable { .. } | Self::KeysUnavailable { .. } | Self::StoreUnavailable => {
                "The access token cannot be checked at the moment"
            }
            Self::NoRoom => "The proof cannot be checked at the moment",
            Self::NonceWanted { .. } => "The proof must name the nonce of this answer",
            Self::Proof(_) => "The proof of possession is not valid",
            Self::TooMany { .. } => "Too many access tokens of this address were refused",
            Self::TooWeak { .. } => TOO_WEAK,
            Self::BadSignature
            | Self::Bound
            | Self::Inactive
            | Self::Malformed(_)
            | Self::NotBound
            | Self::Revoked
            | Self::TooLong
            | Self::UnknownKey
            | Self::WrongAlgorithm
            | Self::WrongAudience
            | Self::WrongCertificate
            | Self::WrongIssuer
            | Self::WrongTenant
            | Self::WrongType(_) => "The access token is not valid for this server",
        }
    }

    /// The `result` label of `portcullis_auth_total`.
    pub const fn result(&self) -> &'static str {
        match self {
            Self::BadSignature | Self::WrongAlgorithm => "bad_signature",
            Self::Bound | Self::NotBound | Self::WrongCertificate => "wrong_binding",
            Self::NoRoom => "proofs_full",
            Self::StoreUnavailable => "state_unavailable",
            Self::NonceWanted { .. } => "nonce_wanted",
            Self::Proof(_) => "bad_proof",
            Self::Revoked => "revoked",
            Self::TooMany { .. } => "too_many_refused",
            Self::TooWeak { .. } => "too_weak",
            Self::TooLong | Self::WrongType(_) => "wrong_type",
            Self::Expired => "expired",
            Self::Inactive => "inactive",
            Self::IntrospectionUnavailable { .. } => "introspection_unavailable",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::Malformed(_) => "malformed",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownKey => "unknown_key",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer | Self::WrongTenant => "wrong_issuer",
        }
    }

    /// Whether the token could not be checked, which is answered with 503, never 401.
    pub const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::IntrospectionUnavailable { .. }
                | Self::KeysUnavailable { .. }
                | Self::NoRoom
                | Self::StoreUnavailable
        )
    }

    /// The value of `Retry-After`, if there is one.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::IntrospectionUnavailable { retry_after }
            | Self::KeysUnavailable { retry_after }
            | Self::TooMany { retry_after } => Some(*retry_after),
            Self::NoRoom | Self::StoreUnavailable => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
