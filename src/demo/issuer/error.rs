//! OAuth errors and how each endpoint returns them.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use crate::demo::web::{self, Body};

/// `error` values of RFC 6749, 7591, 8707 and OIDC that this issuer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    AccessDenied,
    InvalidClient,
    InvalidClientMetadata,
    InvalidGrant,
    InvalidRedirectUri,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    LoginRequired,
    RequestNotSupported,
    ServerError,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
}

impl Code {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::InvalidClient => "invalid_client",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidToken => "invalid_token",
            Self::LoginRequired => "login_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::ServerError => "server_error",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
        }
    }
}

/// One refusal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub(super) struct OauthError {
    pub(super) code: Code,
    pub(super) description: &'static str,
}

impl OauthError {
    pub(super) const fn new(code: Code, description: &'static str) -> Self {
        Self { code, description }
    }

    /// The answer of an endpoint that is called directly (RFC 6749 5.2, RFC 7591 3.2.2).
    pub(super) fn response(&self) -> Response<Body> {
        let (status, challenge) = match self.code {
            Code::InvalidClient => (StatusCode::UNAUTHORIZED, Some("Basic realm=\"portcullis demo\"")),
            Code::InvalidToken => (StatusCode::UNAUTHORIZED, Some("Bearer error=\"invalid_token\"")),
            Code::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, None),
            _ => (StatusCode::BAD_REQUEST, None),
        };
        let body = json!({ "error": self.code.as_str(), "error_description": self.description });
        let mut response = web::json(status, &body);
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<aws_lc_rs::error::Unspecified> for OauthError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::new(Code::ServerError, "no randomness or signature could be had")
    }
}
