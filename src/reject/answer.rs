use std::fmt::Write as _;
use std::time::Duration;

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use uuid::Uuid;

use super::{Answer, Asked, Reject, Shape, Status};
use crate::auth::{Challenges, TOO_WEAK, VerifyError};
use crate::body::{Body, ReadError};
use crate::json::quoted;
use crate::mask::{Blocked, Cause, Direction};
use crate::mcp::handle::{NoHandle, TASKS_EXTENSION};
use crate::mcp::{Category, Era, SubjectKind};
use crate::policy::tools::Refused;
use crate::policy::{Denial, OnDeny};
use crate::reply::ReplyError;
use crate::server::AuthorityError;
use crate::state::StoreError;
use crate::upstream::{Busy, CatalogError, GrantError, UpstreamError};

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Where there is no document.
const NO_DOCUMENT: &[u8] = br#"{"error":"not_found"}"#;
/// Codes of our own lie outside the reserved −32768…−32000 (JSON-RPC 2.0, section 5.1).
const UNAUTHENTICATED: i32 = -31401;
const DENIED: i32 = -31403;
const LIMITED: i32 = -31429;
const UPSTREAM_BROKE: i32 = -31502;
const UNAVAILABLE: i32 = -31503;
const UPSTREAM_LATE: i32 = -31504;
const INVALID_REQUEST: i32 = -32600;
/// With 404: the session is gone (2025-03-26 and later, "Session Management").
pub(crate) const NO_SESSION: i32 = INVALID_REQUEST;
const INVALID_PARAMS: i32 = -32602;
const MISSING_CAPABILITY: i32 = -32021;
const RESOURCE_NOT_FOUND: i32 = -32002;

impl Reject {
    pub(super) fn answer(&self, asked: &Asked<'_>) -> Answer {
        match self {
            Self::Admit(problem) => admission(problem),
            Self::Audit(_) => {
                error(503, UNAVAILABLE, "The call could not be recorded and was not made").after(Duration::from_secs(5))
            }
            Self::Authority(AuthorityError::Mismatch | AuthorityError::Missing | AuthorityError::Malformed) => {
                empty(400)
            }
            Self::Forwarded(_) => empty(400),
            Self::Grant(problem) => grant(problem, asked),
            Self::Handle(handle) => unknown_handle(*handle).unless_unanswerable(asked),
            Self::Host => empty(421),
            Self::Blocked { blocked, direction } => block(blocked, *direction, asked),
            Self::Body(ReadError::TooLarge { limit_bytes }) => {
                error(413, INVALID_REQUEST, format!("The request body is larger than {limit_bytes} bytes"))
            }
            Self::Body(ReadError::Broken) => error(400, INVALID_REQUEST, "The request body broke off"),
            Self::Body(ReadError::TooSlow) => error(408, INVALID_REQUEST, "The request body did not arrive in time"),
            Self::Credential(problem) => error(400, UNAUTHENTICATED, problem.description())
                .challenge(asked.challenges.map(|challenges| challenges.malformed(problem.description()))),
            Self::Denied(denial) => denied(denial, asked),
            Self::Method { allow } => Answer { allow: Some(allow), ..empty(405) },
            Self::NoCredentials => error(401, UNAUTHENTICATED, "Authentication required")
                .challenge(asked.challenges.map(Challenges::missing)),
            Self::NoDocument => Answer { shape: Shape::Document, ..empty(404) },
            Self::NotAcceptable => empty(406),
            Self::NotFound => empty(404),
            Self::Origin => empty(403),
            Self::Pseudonym(problem) => {
                let text = format!("Argument {} holds a pseudonym that does not open for this caller", problem.place);
                error(200, DENIED, with_request(text, asked.request_id)).into_tool_error(asked)
            }
            Self::Reply(problem) => reply(problem),
            Self::Session(_) => error(404, INVALID_REQUEST, "Session not found"),
            Self::Store(_) => error(503, UNAVAILABLE, "The call cannot be checked at the moment, and was not made")
                .after(StoreError::RETRY_AFTER),
            Self::Token(problem) => token(problem, asked),
            Self::Unrecorded(_) => error(503, UNAVAILABLE, "The call was made, but how it ended could not be recorded"),
            Self::Definition(refused) => definition(refused, asked),
            Self::Tools(problem) => tools(problem),
            Self::Upstream(problem) => upstream(problem),
        }
    }
}

fn upstream(problem: &UpstreamError) -> Answer {
    if let UpstreamError::Busy(busy) = problem {
        let answer = match busy {
            Busy::Share => error(429, LIMITED, "Too many calls of this caller wait for the upstream server"),
            Busy::Breaker { .. } => error(503, UNAVAILABLE, "The upstream server is not available at the moment"),
            Busy::Processes | Busy::Queue | Busy::Streams | Busy::Waited(_) => {
                error(503, UNAVAILABLE, "The upstream server is busy")
            }
        };
        answer.after(busy.retry_after())
    } else if matches!(problem, UpstreamError::NoSuchSession) {
        reply(&ReplyError::Session)
    } else if problem.is_timeout() {
        error(504, UPSTREAM_LATE, "The upstream server did not answer in time")
    } else if problem.is_unreachable() {
        error(502, UNAVAILABLE, "The upstream server cannot be reached")
    } else {
        error(502, UPSTREAM_BROKE, "The upstream server broke off")
    }
}

/// The tool's definition could not be had, and the call was not made.
fn tools(problem: &CatalogError) -> Answer {
    match problem {
        CatalogError::Upstream(problem) => upstream(problem),
        CatalogError::Slow(_) => error(504, UPSTREAM_LATE, "The upstream server did not list its tools in time"),
        CatalogError::Status { status: 404 } => reply(&ReplyError::Session),
        CatalogError::Status { status: 429 } => reply(&ReplyError::RateLimited { retry_after: None }),
        CatalogError::Status { status: status @ (401 | 403) } => reply(&ReplyError::Credential { status: *status }),
        CatalogError::Status { .. } | CatalogError::Unusable(_) => {
            error(502, UPSTREAM_BROKE, "The upstream server's list of tools is not usable; the call was not made")
        }
    }
}

/// MCP 2025-11-25 and later, "Tool execution errors": so that a model can read what to do better.
fn definition(refused: &Refused, asked: &Asked<'_>) -> Answer {
    let text = match refused {
        Refused::Arguments(violation) => format!("Invalid arguments: {violation}"),
        Refused::Changed => {
            "The tool's definition is not the one that was approved; an administrator must look at it".to_owned()
        }
        Refused::Definition => {
            let name = asked.subject.map(|(_, name)| name).unwrap_or_default();
            return hidden(name, asked);
        }
    };
    let code = if matches!(refused, Refused::Changed) { DENIED } else { INVALID_PARAMS };
    error(200, code, with_request(text, asked.request_id)).into_tool_error(asked)
}

/// What came of asking an authorization server for the upstream's token (RFC 6749 section 5.2, RFC 8693 section 2.2.2): the
/// caller is told to show a better token only where its own is the matter, and never what that server wrote.
fn grant(problem: &GrantError, asked: &Asked<'_>) -> Answer {
    let challenges = asked.challenges;
    match problem {
        GrantError::Forbidden { .. } => {
            let text = "The identity provider does not let this caller use the upstream server".to_owned();
            error(200, DENIED, with_request(text, asked.request_id)).into_tool_error(asked)
        }
        GrantError::Interaction { claims, .. } => error(401, UNAUTHENTICATED, TOO_WEAK)
            .challenge(challenges.map(|challenges| challenges.sign_in(asked.scheme, claims.as_deref()))),
        GrantError::Nobody => Reject::NoCredentials.answer(asked),
        GrantError::Token => token(&VerifyError::Inactive, asked),
        GrantError::Unavailable { retry_after, .. } => {
            error(503, UNAVAILABLE, "There is no credential for the upstream server at the moment").after(*retry_after)
        }
        GrantError::Unusable { .. } => {
            error(502, UPSTREAM_BROKE, "There is no credential for the upstream server; the call was not made")
        }
    }
}

fn token(problem: &VerifyError, asked: &Asked<'_>) -> Answer {
    if let VerifyError::TooMany { retry_after } = problem {
        return error(429, LIMITED, problem.description()).after(*retry_after);
    }
    if let Some(pause) = problem.retry_after() {
        return error(503, UNAVAILABLE, "Access tokens cannot be checked at the moment").after(pause);
    }
    let nonce = match problem {
        VerifyError::NonceWanted { nonce: Some(nonce) } => HeaderValue::from_str(nonce).ok(),
        _ => None,
    };
    let answer = error(401, UNAUTHENTICATED, problem.description())
        .challenge(asked.challenges.map(|challenges| challenges.invalid(asked.scheme, problem)));
    Answer { nonce, ..answer }
}

fn admission(problem: &crate::mcp::AdmitError) -> Answer {
    let http = match problem.category() {
        Category::BadRequest => 400,
        Category::MediaType => 415,
        Category::TooLarge => 413,
        Category::NotFound => 404,
        Category::Rpc => 200,
    };
    if http == 415 {
        return empty(http);
    }
    Answer { data: problem.data(), ..error(http, problem.code(), problem.text()) }
}

fn denied(denial: &Denial, asked: &Asked<'_>) -> Answer {
    match denial {
        Denial::Handle(handle) => unknown_handle(*handle).unless_unanswerable(asked),
        Denial::Hidden { name, .. } => hidden(name, asked),
        Denial::Limited { rule, retry_after } => {
            let text = with_request(format!("Too many calls (rule {rule})"), asked.request_id);
            let data = format!(r#"{{"rule":{},"request_id":"{}"}}"#, quoted(rule), asked.request_id);
            Answer { data: Some(data), ..error(429, LIMITED, text) }.after(*retry_after)
        }
        Denial::Refused { rule, reason, on_deny, argument } => {
            let rule = rule.as_ref().or(argument.as_ref().map(|argument| &argument.rule));
            let mut text = "Denied by policy".to_owned();
            if let Some(rule) = rule {
                let _ = write!(text, " (rule {rule})");
            }
            if let Some(argument) = argument {
                let _ = write!(text, ": argument {} does not meet {}", argument.pointer, argument.word);
            }
            if let Some(reason) = reason {
                let _ = write!(text, ": {reason}");
            }
            let data = rule.map(|rule| format!(r#"{{"rule":{},"request_id":"{}"}}"#, quoted(rule), asked.request_id));
            let answer = Answer { data, ..error(200, DENIED, with_request(text, asked.request_id)) };
            match on_deny {
                OnDeny::Http403 => Answer { http: 403, ..answer },
                OnDeny::ToolError => answer.into_tool_error(asked),
                OnDeny::Error => answer.unless_unanswerable(asked),
            }
        }
        Denial::StepUp { name, scopes, needs, .. } => {
            // Some clients drop the header: the text names what is missing.
            let text = format!("{name} needs {}", needs.join(" "));
            error(403, DENIED, text.clone()).challenge(
                asked.challenges.map(|challenges| {
                    challenges.insufficient(asked.scheme, scopes.iter().map(|scope| &**scope), &text)
                }),
            )
        }
    }
}

/// A handle that does not open, or that opens to what is hidden by now: the client learns no more than that.
fn unknown_handle(handle: NoHandle) -> Answer {
    if handle == NoHandle::Undeclared {
        let needed = format!(r#"{{"requiredCapabilities":{{"extensions":{{"{TASKS_EXTENSION}":{{}}}}}}}}"#);
        return Answer {
            data: Some(needed),
            ..error(400, MISSING_CAPABILITY, "Tasks need the client's capability for them")
        };
    }
    let text = match handle {
        NoHandle::Cursor => "Invalid cursor",
        NoHandle::RequestState => "Invalid requestState",
        NoHandle::Spent => "This requestState was used before; begin again without it",
        NoHandle::Task | NoHandle::Undeclared => "Task not found",
    };
    error(200, INVALID_PARAMS, text)
}

/// What policy hides answers like what does not exist.
fn hidden(name: &str, asked: &Asked<'_>) -> Answer {
    match asked.subject.map(|(kind, _)| kind) {
        Some(SubjectKind::Tool) => error(200, INVALID_PARAMS, format!("Unknown tool: {name}")),
        Some(SubjectKind::Prompt) => error(200, INVALID_PARAMS, format!("Unknown prompt: {name}")),
        Some(SubjectKind::Resource | SubjectKind::ResourceTemplate) => {
            let code = if asked.era == Some(Era::Modern) { INVALID_PARAMS } else { RESOURCE_NOT_FOUND };
            Answer { data: Some(format!(r#"{{"uri":{}}}"#, quoted(name))), ..error(200, code, "Resource not found") }
        }
        None => {
            let http = if asked.era == Some(Era::Modern) { 404 } else { 200 };
            error(http, -32601, "Method not found")
        }
    }
    .unless_unanswerable(asked)
}

fn block(blocked: &Blocked, direction: Direction, asked: &Asked<'_>) -> Answer {
    if let Cause::Often(pause) = blocked.cause {
        return error(429, LIMITED, "Too many messages of this caller were blocked").after(pause);
    }
    let place = match direction {
        Direction::Arguments => "arguments",
        Direction::Result => "result",
    };
    let text = format!("Blocked: {place} contained {} (rule {})", blocked.entity, blocked.mask);
    error(200, DENIED, with_request(text, asked.request_id)).into_tool_error(asked)
}

fn reply(problem: &ReplyError) -> Answer {
    match problem {
        ReplyError::RateLimited { retry_after } => {
            let answer = error(429, LIMITED, "The upstream server asks for fewer calls");
            Answer { retry_after: *retry_after, ..answer }
        }
        ReplyError::NoSession => error(
            400,
            INVALID_REQUEST,
            "The upstream server refused the request; it may want a session: begin with initialize",
        ),
        ReplyError::Refused { status } => error(*status, UPSTREAM_BROKE, "The upstream server refused the request"),
        ReplyError::Session => error(404, INVALID_REQUEST, "Session not found"),
        ReplyError::Credential { .. } => {
            error(502, UPSTREAM_BROKE, "The upstream server refused the proxy's own credential")
        }
        _ => error(502, UPSTREAM_BROKE, "The upstream server's answer is not usable"),
    }
}

fn with_request(mut text: String, request_id: Uuid) -> String {
    if !text.ends_with('.') {
        text.push('.');
    }
    let _ = write!(text, " Request {request_id}");
    text
}

/// Seconds to wait (RFC 9110 section 10.2.3), rounded up: who comes back too early is refused again.
const fn whole_seconds(pause: Duration) -> u64 {
    let whole = pause.as_secs().saturating_add((pause.subsec_nanos() > 0) as u64);
    if whole == 0 { 1 } else { whole }
}

fn empty(http: u16) -> Answer {
    Answer { shape: Shape::Empty, code: None, ..error(http, 0, "") }
}

fn error(http: u16, code: i32, text: impl Into<String>) -> Answer {
    Answer {
        http,
        code: Some(code),
        text: text.into(),
        data: None,
        challenges: Vec::new(),
        nonce: None,
        retry_after: None,
        allow: None,
        shape: Shape::Error,
    }
}

impl Answer {
    fn after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    fn challenge(self, challenges: Option<Vec<HeaderValue>>) -> Self {
        Self { challenges: challenges.unwrap_or_default(), ..self }
    }

    /// A tool error where the message can have one, so that the model reads the text.
    fn into_tool_error(self, asked: &Asked<'_>) -> Self {
        if asked.tool_call && asked.id.is_some() {
            return Self { shape: Shape::ToolError, code: None, ..self };
        }
        self.unless_unanswerable(asked)
    }

    /// Messages without an id have no JSON-RPC answer: HTTP must say no.
    fn unless_unanswerable(self, asked: &Asked<'_>) -> Self {
        if asked.id.is_none() && self.http == 200 { Self { http: 400, ..self } } else { self }
    }

    pub(super) fn into_response(self, asked: &Asked<'_>) -> (Response<Body>, Status) {
        let status = Status { http: self.http, code: self.code };
        let body = match self.shape {
            Shape::Empty => Body::Empty,
            Shape::Document => Body::full(NO_DOCUMENT),
            Shape::Error => Body::full(self.error_object(asked)),
            Shape::ToolError => Body::full(tool_error(asked, &self.text)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if self.shape == Shape::Document {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        if self.shape != Shape::Empty {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for challenge in self.challenges {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        if let Some(nonce) = self.nonce {
            headers.insert(DPOP_NONCE, nonce);
        }
        if let Some(pause) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(pause)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        (response, status)
    }

    /// JSON-RPC 2.0 section 5.1; the id is left out, never null, where it is not known.
    fn error_object(&self, asked: &Asked<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(160 + self.text.len());
        out.extend_from_slice(br#"{"jsonrpc":"2.0","#);
        push_id(&mut out, asked);
        let code = self.code.unwrap_or(INVALID_REQUEST);
        out.extend_from_slice(format!(r#""error":{{"code":{code},"message":{}"#, quoted(&self.text)).as_bytes());
        if let Some(data) = &self.data {
            out.extend_from_slice(br#","data":"#);
            out.extend_from_slice(data.as_bytes());
        }
        out.extend_from_slice(b"}}");
        out
    }
}

fn push_id(out: &mut Vec<u8>, asked: &Asked<'_>) {
    if let Some(id) = asked.id {
        out.extend_from_slice(br#""id":"#);
        out.extend_from_slice(id);
        out.push(b',');
    }
}

/// A `tools/call` result that tells the model why there is none (MCP 2025-11-25 and later, "Tool execution errors").
pub fn tool_error(asked: &Asked<'_>, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(160 + text.len());
    out.extend_from_slice(br#"{"jsonrpc":"2.0","#);
    push_id(&mut out, asked);
    out.extend_from_slice(br#""result":{"#);
    if asked.era == Some(Era::Modern) {
        out.extend_from_slice(br#""resultType":"complete","#);
    }
    out.extend_from_slice(
        format!(r#""content":[{{"type":"text","text":{}}}],"isError":true}}}}"#, quoted(text)).as_bytes(),
    );
    out
}
