use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// Why there is no token for the upstream. The reasons are fixed words, for log, metrics and audit; what the authorization
/// server wrote is in none of them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GrantError {
    /// The authorization server gives this caller none for this upstream.
    #[error("the authorization server gives this caller no token for the upstream: {reason}")]
    Forbidden {
        /// Its error code.
        reason: &'static str,
    },
    /// It wants to see the user first (`OpenID` Connect Core 1.0 section 3.1.2.6).
    #[error("the authorization server wants the user to sign in: {reason}")]
    Interaction {
        /// Its error code.
        reason: &'static str,
        /// What the next access token must satisfy, base64url of a JSON object, for clients that can ask for it.
        claims: Option<Arc<str>>,
    },
    /// The caller shows no token, and only in somebody's name there is one.
    #[error("a caller without a token has none to exchange")]
    Nobody,
    /// It no longer takes the caller's own token (RFC 6749 section 5.2, `invalid_grant`).
    #[error("the authorization server does not accept the caller's token")]
    Token,
    /// It cannot be had at the moment.
    #[error("no token for the upstream at the moment: {reason}")]
    Unavailable {
        /// What happened.
        reason: &'static str,
        /// When asking again may help.
        retry_after: Duration,
    },
    /// It refuses the proxy, or answers what is no token: an operator must look.
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

    /// Whether it says something of the authorization server, not of one caller.
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
