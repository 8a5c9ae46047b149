//! Every way a request can fail, and the only code that knows HTTP statuses, JSON-RPC codes and `WWW-Authenticate`.

mod answer;
mod signal;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};
use thiserror::Error;
use uuid::Uuid;

use crate::audit::{AuditError, Decision};
use crate::auth::{Caller, Challenges, CredentialError, Scheme, VerifyError};
use crate::body::{Body, ReadError};
use crate::mask::{Blocked, Cause, Direction, RestoreError};
use crate::mcp::handle::NoHandle;
use crate::mcp::session::NoSession;
use crate::mcp::{AdmitError, Era, SubjectKind};
use crate::opened::OpenError;
use crate::policy::Denial;
use crate::policy::tools::Refused;
use crate::reply::ReplyError;
use crate::server::{AuthorityError, ForwardedError};
use crate::state::StoreError;
use crate::upstream::{CatalogError, GrantError, UpstreamError};

pub(crate) use answer::NO_SESSION;
pub use answer::tool_error;
pub use signal::signal;

/// Why a request was refused. What the client is told is in [`Reject::respond`]; `Display` is for the log.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum Reject {
    #[error("{0}")]
    Admit(#[from] AdmitError),
    #[error("audit: {0}")]
    Audit(#[from] AuditError),
    #[error("authority: {0}")]
    Authority(#[from] AuthorityError),
    #[error("mask `{}` blocks {}", blocked.mask, blocked.entity)]
    Blocked { blocked: Blocked, direction: Direction },
    #[error("body: {0}")]
    Body(#[from] ReadError),
    #[error("credential: {0}")]
    Credential(#[from] CredentialError),
    #[error("{0}")]
    Denied(#[from] Denial),
    #[error("{0}")]
    Forwarded(#[from] ForwardedError),
    #[error("{0}")]
    Grant(#[from] GrantError),
    #[error("{0}")]
    Handle(#[from] NoHandle),
    #[error("host is not served here")]
    Host,
    #[error("method not allowed")]
    Method { allow: &'static str },
    #[error("definition: {0}")]
    Definition(#[from] Refused),
    #[error("no credentials")]
    NoCredentials,
    #[error("no such document")]
    NoDocument,
    #[error("client does not accept an event stream")]
    NotAcceptable,
    #[error("no such path")]
    NotFound,
    #[error("origin is not allowed")]
    Origin,
    #[error("pseudonym: {0}")]
    Pseudonym(#[from] RestoreError),
    #[error("upstream answer: {0}")]
    Reply(#[from] ReplyError),
    #[error("unknown or foreign session")]
    Session(#[from] NoSession),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("token: {0}")]
    Token(#[from] VerifyError),
    #[error("audit: {0}, after the call was made")]
    Unrecorded(AuditError),
    #[error("tools: {0}")]
    Tools(#[from] CatalogError),
    #[error("upstream: {0}")]
    Upstream(#[source] UpstreamError),
}

/// What an answer depends on besides the reason: what was known of the request at the time.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The challenges of the server asked for, once it is known.
    pub challenges: Option<&'a Challenges>,
    /// How the token was presented.
    pub scheme: Scheme,
    /// The era, once the message was admitted.
    pub era: Option<Era>,
    /// The JSON-RPC id as written, once it could be read.
    pub id: Option<&'a Bytes>,
    /// The request id: in the answer's text, its header, the log and the audit.
    pub request_id: Uuid,
    /// What the request was about, once it was admitted.
    pub subject: Option<(SubjectKind, &'a str)>,
    /// Whether a tool error can be answered: the message is a `tools/call` request.
    pub tool_call: bool,
}

/// The status and JSON-RPC error code of an answer, for audit and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// HTTP status.
    pub http: u16,
    /// JSON-RPC error code; `None` for tool errors and answers without one.
    pub code: Option<i32>,
}

impl From<OpenError> for Reject {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Handle(error) => Self::Handle(error),
            OpenError::Session(error) => Self::Session(error),
        }
    }
}

impl From<UpstreamError> for Reject {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Caller(error) => Self::Token(*error),
            other => Self::Upstream(other),
        }
    }
}

impl Reject {
    /// How rules, masks or approved definitions decided, for audit and metrics; `None` if it never came so far, or was
    /// allowed by them.
    pub(crate) const fn decision(&self) -> Option<Decision> {
        match self {
            Self::Denied(Denial::StepUp { .. }) => Some(Decision::StepUp),
            Self::Blocked { .. } | Self::Definition(_) | Self::Denied(_) | Self::Pseudonym(_) => Some(Decision::Deny),
            _ => None,
        }
    }

    /// Whether they said no.
    pub(crate) const fn is_decided(&self) -> bool {
        self.decision().is_some()
    }

    /// The refusal as that caller is told it.
    pub(crate) fn told_to(&self, caller: Option<&Caller>) -> &Self {
        let anonymous = caller.is_some_and(|caller| caller.anonymous);
        if anonymous && self.asks_for_a_token() { &Self::NoCredentials } else { self }
    }

    /// Whether a caller without a token is asked for one instead of being told this: what is not for anyone may be for
    /// somebody, and looks the same whether it is there or not.
    pub(crate) const fn asks_for_a_token(&self) -> bool {
        matches!(
            self,
            Self::Denied(
                Denial::Handle(_)
                    | Denial::Hidden { .. }
                    | Denial::Refused { rule: None, argument: None, .. }
                    | Denial::StepUp { .. }
            ) | Self::Body(ReadError::TooLarge { .. })
                | Self::Handle(_)
                | Self::NoCredentials
                | Self::Reply(ReplyError::Handle)
                | Self::Session(_)
        )
    }
    /// The one answer to this situation (README, "What the client receives"), with what audit and metrics record of it.
    pub fn respond(&self, asked: &Asked<'_>) -> (Response<Body>, Status) {
        self.answer(asked).into_response(asked)
    }

    /// A fixed word for logs, metrics and audit.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Admit(error) => error.kind(),
            Self::Audit(_) | Self::Unrecorded(_) => "audit_unavailable",
            Self::Authority(_) | Self::Host => "host_refused",
            Self::Blocked { blocked: Blocked { cause: Cause::Often(_), .. }, .. } => "blocked_often",
            Self::Blocked { .. } => "blocked",
            Self::Body(ReadError::TooLarge { .. }) => "body_too_large",
            Self::Body(_) => "body_broken",
            Self::Credential(_) => "malformed",
            Self::Denied(Denial::Handle(_) | Denial::Hidden { .. }) => "unknown_name",
            Self::Denied(Denial::Limited { .. }) => "rate_limited",
            Self::Denied(Denial::Refused { .. }) => "policy_denied",
            Self::Denied(Denial::StepUp { .. }) => "insufficient_scope",
            Self::Definition(Refused::Arguments(_)) => "arguments_refused",
            Self::Definition(Refused::Changed) => "definition_changed",
            Self::Definition(Refused::Definition) => "definition_refused",
            Self::Forwarded(_) => "client_unknown",
            Self::Grant(error) => error.kind(),
            Self::Handle(NoHandle::Spent) => "used_before",
            Self::Handle(_) => "unknown_handle",
            Self::Method { .. } => "method_not_allowed",
            Self::NoCredentials => "missing",
            Self::NotAcceptable => "not_acceptable",
            Self::NoDocument | Self::NotFound => "not_found",
            Self::Origin => "origin_refused",
            Self::Pseudonym(_) => "pseudonym",
            Self::Reply(_) => "upstream_reply",
            Self::Session(cause) => cause.name(),
            Self::Store(_) => "state_unavailable",
            Self::Token(error) => error.result(),
            Self::Tools(CatalogError::Upstream(error)) => error.kind(),
            Self::Tools(_) => "upstream_tools",
            Self::Upstream(error) => error.kind(),
        }
    }

    /// What went wrong between the proxy and the upstream, for a call or for its tool's definition.
    pub(crate) fn upstream(&self) -> Option<&UpstreamError> {
        match self {
            Self::Upstream(error) => Some(error),
            Self::Tools(CatalogError::Upstream(error)) => Some(error),
            _ => None,
        }
    }

    /// The rule or mask that decided, where `allowed` is the rule that had allowed the request: that one, unless something
    /// else said no.
    pub(crate) fn decided_by<'r>(&'r self, allowed: Option<&'r Arc<str>>) -> Option<&'r Arc<str>> {
        match self {
            // That no rule allows it is not the word of the rule that allowed something else.
            Self::Denied(denial) => denial.rule(),
            _ => self.rule().or(allowed),
        }
    }

    /// The rule or mask that refused, if one did.
    pub fn rule(&self) -> Option<&Arc<str>> {
        match self {
            Self::Blocked { blocked: Blocked { cause: Cause::Often(_), .. }, .. } => None,
            Self::Blocked { blocked, .. } => Some(&blocked.mask),
            Self::Denied(denial) => denial.rule(),
            Self::Pseudonym(error) => Some(&error.mask),
            _ => None,
        }
    }
}

/// An answer before it is written: one row of the table in the README.
struct Answer {
    http: u16,
    code: Option<i32>,
    text: String,
    data: Option<String>,
    challenges: Vec<HeaderValue>,
    /// `DPoP-Nonce`.
    nonce: Option<HeaderValue>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    shape: Shape,
}

/// What carries the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// No body at all.
    Empty,
    /// A JSON object for any page, as clients that look for documents parse whatever they get.
    Document,
    /// A JSON-RPC error object.
    Error,
    /// A `tools/call` result with `isError`.
    ToolError,
}
