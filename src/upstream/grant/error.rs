use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// Why there is no token for the upstream. The reasons are fixed words, for log, metrics and audit; none contains text of
/// the authorization server.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GrantError {
    /// The authorization server issues this caller no token for this upstream.
    #[error("the authorization server gives this caller no token for the upstream: {reason}")]
    Forbidden {
        /// Its error code.
        reason: &'static str,
    },
    /// The user must sign in interactively (`OpenID` Connect Core 1.0 section 3.1.2.6).
    #[error("the authorization server wants the user to sign in: {reason}")]
    Interaction {
        /// Its error code.
        reason: &'static str,
        /// The claims challenge, base64url of a JSON object, for clients that can request a token with these claims.
        claims: Option<Arc<str>>,
    },
    /// The caller has no token that could be exchanged.
    #[error("a caller without a token has none to exchange")]
    Nobody,
    /// The authorization server does not accept the caller's token (RFC 6749 section 5.2, `invalid_grant`).
    #[error("the authorization server does not accept the caller's token")]
    Token,
    /// A temporary failure.
    #[error("no token for the upstream at the moment: {reason}")]
    Unavailable {
        /// What happened.
        reason: &'static str,
        /// Time until another attempt may succeed.
        retry_after: Duration,
    },
    /// The authorization server refuses the proxy or its answer is unusable: an operator must act.
    #[error("no token for the upstream: {reason}")]
    Unusable {
        /// What happened.
        reason: &'static str,
    },
}

impl GrantError {
    /// The `error` of audit and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "exchange_forbidden",
            Self::Interaction { .. } => "exchange_interaction",
            Self::Nobody => "missing",
            Self::Token => "exchange_token",
            Self::Unavailable { .. } => "exchange_unavailable",
            Self::Unusable { .. } => "exchange_unusable",
        }
    }

    /// The `result` label of `portcullis_upstream_token_requests_total`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden { reason }
            | Self::Interaction { reason, .. }
            | Self::Unavailable { reason, .. }
            | Self::Unusable { reason } => reason,
            Self::Nobody => "missing",
            Self::Token => "invalid_grant",
        }
    }

    /// Whether the failure concerns every caller, not only this one.
    pub(super) fn is_of_the_server(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Unusable { reason } => {
                matches!(*reason, "invalid_client" | "unauthorized_client" | "unsupported_grant_type")
            }
            Self::Forbidden { .. } | Self::Interaction { .. } | Self::Nobody | Self::Token => false,
        }
    }
}
