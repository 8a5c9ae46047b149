use std::time::Duration;

use thiserror::Error;

/// Why no credential could be read out of a request; answered with 400 `invalid_request` (RFC 6750 section 3.1).
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
    /// A token over [`super::bearer::LIMIT_BYTES`].
    #[error("access token over 16 KiB")]
    TooLong,
}

impl CredentialError {
    /// What the client is told.
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

/// Why a presented token does not make a caller. `Display` is for the log and holds nothing of the token.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// No key of the issuer made this signature.
    #[error("signature does not verify")]
    BadSignature,
    /// `cnf`: bound to a key or certificate whose proof this version cannot check (RFC 7800, RFC 9449 section 7.1).
    #[error("token is bound to a key, and bound tokens are not supported")]
    Bound,
    /// `exp` and the leeway are over.
    #[error("token expired")]
    Expired,
    /// The issuer's keys cannot be had, so nothing can be said about the token.
    #[error("keys of the issuer are not available")]
    KeysUnavailable {
        /// When asking again may help.
        retry_after: Duration,
    },
    /// Not a JWT of the accepted shape.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// `nbf` or `iat` lies in the future.
    #[error("token is not valid yet")]
    NotYetValid,
    /// From `iat` to `exp` it is longer than is accepted.
    #[error("token is valid for longer than is accepted")]
    TooLong,
    /// The issuer publishes no such key.
    #[error("key of the token is unknown to its issuer")]
    UnknownKey,
    /// `alg` is not accepted for this issuer or does not fit the key.
    #[error("signature algorithm is not accepted for this issuer or key")]
    WrongAlgorithm,
    /// `aud` names no identifier of this server.
    #[error("token is for another audience")]
    WrongAudience,
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
    /// What the client is told: never which claim failed, except what it must know to refresh.
    pub const fn description(&self) -> &'static str {
        match self {
            Self::Expired => "The access token expired",
            Self::NotYetValid => "The access token is not valid yet",
            Self::KeysUnavailable { .. } => "The access token cannot be checked at the moment",
            Self::BadSignature
            | Self::Bound
            | Self::Malformed(_)
            | Self::TooLong
            | Self::UnknownKey
            | Self::WrongAlgorithm
            | Self::WrongAudience
            | Self::WrongIssuer
            | Self::WrongTenant
            | Self::WrongType(_) => "The access token is not valid for this server",
        }
    }

    /// The `result` label of `portcullis_auth_total`.
    pub const fn result(&self) -> &'static str {
        match self {
            Self::BadSignature | Self::WrongAlgorithm => "bad_signature",
            Self::Bound | Self::TooLong | Self::WrongType(_) => "wrong_type",
            Self::Expired => "expired",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::Malformed(_) => "malformed",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownKey => "unknown_key",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer | Self::WrongTenant => "wrong_issuer",
        }
    }

    /// Whether nothing was found wrong with the token: answered with 503, never 401.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::KeysUnavailable { .. })
    }

    /// The pause of `Retry-After`, where there is one.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::KeysUnavailable { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}
