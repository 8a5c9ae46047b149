//! Turns the outcome of a request into metrics, spans and a log line.

use std::time::Duration;

use tracing::field::display;

use super::metrics::{Decided, ErrorType, MaskLabels, Recorder, Spoken, Target, http_version};
use crate::audit::Decision;
use crate::auth::VerifyError;
use crate::body::ReadError;
use crate::mask::{Blocked, Cause};
use crate::mcp::SubjectKind;
use crate::policy::{Denial, Verdict};
use crate::reject::Reject;
use crate::reply::ReplyError;
use crate::trail::{CalledMethod, Ending, Trail};
use crate::upstream::{CatalogError, GrantError, UpstreamError};

/// Records the metrics, the spans and the access line of an ended request.
///
/// `went_up` is whether the audit has an allowed call, of which this is the end.
pub(crate) fn observe(trail: &Trail, ending: &Ending, reject: Option<&Reject>, went_up: bool) {
    let took = trail.took();
    log(trail, ending, reject, took);
    if let (Some(tracer), Some(trace)) = (&trail.sinks.tracer, &trail.trace) {
        tracer.end(trail, trace, ending, reject);
    }
    let Some(recorder) = trail.recorder() else {
        // It was for no server, and is counted nowhere else.
        trail.sinks.metrics.count_request(&trail.http_method, &"".into(), ending.http, took);
        return ending.error.into_iter().for_each(|reason| trail.sinks.metrics.count_error(None, reason));
    };
    recorder.request(&trail.http_method, ending.http, took);
    match (&trail.caller, reject) {
        (Some(caller), _) if !caller.anonymous => recorder.auth(Some(&caller.issuer_name), "ok"),
        (_, Some(reject @ (Reject::Credential(_) | Reject::NoCredentials | Reject::Token(_)))) => {
            recorder.auth(trail.claimed.as_ref().and_then(|claimed| claimed.issuer.as_ref()), reject.kind());
        }
        (Some(_), _) => recorder.auth(None, "anonymous"),
        (None, _) => {}
    }
    count_decisions(trail, &recorder, reject, went_up);
    if let (Some(Reject::Denied(Denial::Limited { rule, .. })), Some(route)) = (reject, &trail.route) {
        trail.sinks.metrics.count_rate_limited(&route.name, rule);
    }
    if let (Some(call), CalledMethod::Listed(method), Some(revision)) =
        (&trail.call, method(trail), trail.call.as_ref().and_then(|call| call.revision))
    {
        // A client's name of a tool or prompt becomes a label only if the upstream has answered the call without an error.
        let vouched = reject.is_none() && ending.code.is_none();
        let name = call.subject.as_ref().map(|(kind, name)| (*kind, &**name));
        let target = match name {
            Some((SubjectKind::Tool, name)) if vouched => Target::Tool(name),
            Some((SubjectKind::Prompt, name)) if vouched => Target::Prompt(name),
            Some((SubjectKind::Tool, _)) => Target::UnknownTool,
            Some((SubjectKind::Prompt, _)) => Target::UnknownPrompt,
            Some((SubjectKind::Resource | SubjectKind::ResourceTemplate, _)) | None => Target::None,
        };
        let spoken = Spoken { revision: revision.as_str(), http: http_version(trail.http_version) };
        recorder.series(method.name, spoken, target).record(error_type(ending, reject), took);
    }
    count_masked(trail);
    if let Some(reason) = ending.error {
        trail.sinks.metrics.count_error(trail.route.as_ref().map(|route| &route.name), reason);
    }
    if let (Some(error), Some(route)) = (reject.and_then(Reject::upstream), &trail.route) {
        trail.sinks.metrics.count_upstream_error(&route.name, error.kind());
        // If the upstream was not asked, nothing is known of its state.
        if !matches!(error, UpstreamError::Busy(_) | UpstreamError::NoSuchSession) {
            recorder.upstream(!error.is_unreachable());
        }
    } else if trail.upstream_took().is_some() {
        recorder.upstream(true);
    }
}

/// Logs the access line, and the error of a failed request.
fn log(trail: &Trail, ending: &Ending, reject: Option<&Reject>, took: Duration) {
    let (trace_id, span_id) = trail.trace.as_ref().and_then(|trace| trace.sampled()).unzip();
    let (trace_id, span_id) = (trace_id.map(display), span_id.map(display));
    tracing::debug!(
        request_id = %trail.request_id,
        trace_id,
        span_id,
        server = trail.route.as_deref().map(|route| &*route.name),
        method = trail.call.as_ref().and_then(|call| call.method.name()),
        status = ending.http,
        duration_ms = took.as_secs_f64() * 1000.0,
        error = ending.error,
        "request"
    );
    if let Some(Reject::Token(error)) = reject {
        tell_token(trail, error);
    } else if let Some(
        reject @ (Reject::Reply(_) | Reject::Tools(_) | Reject::Upstream(_) | Reject::Audit(_) | Reject::Unrecorded(_)),
    ) = reject
    {
        // Causes are logged for errors of connections and TLS, not for answers of upstreams.
        let error = if reject.upstream().is_some() { crate::cli::chain(reject) } else { reject.to_string() };
        // How often callers are sent away is counted: one that calls without end would fill the log.
        if let Some(UpstreamError::Busy(_)) = reject.upstream() {
            tracing::debug!(request_id = %trail.request_id, trace_id, span_id, error, "request failed");
        } else {
            tracing::warn!(request_id = %trail.request_id, trace_id, span_id, error, "request failed");
        }
    }
}

/// Counts an answer that needed no decision, at a `path` of the configuration.
pub(crate) fn served(trail: &Trail, path: &str, status: u16) {
    trail.sinks.metrics.count_request(&trail.http_method, &path.into(), status, trail.took());
}

/// Logs why a token was refused, and which it was, without a word of its own: anybody can write one.
fn tell_token(trail: &Trail, error: &VerifyError) {
    let claimed = trail.claimed.as_deref();
    tracing::debug!(
        request_id = %trail.request_id,
        %error,
        issuer = claimed.and_then(|claimed| claimed.issuer.as_deref()),
        token = claimed.map(|claimed| &*claimed.digest),
        "token refused"
    );
}

fn method(trail: &Trail) -> CalledMethod {
    trail.call.as_ref().map_or(CalledMethod::Unknown, |call| call.method.clone())
}

/// Counts what the audit's lines of the request say: that a rule allowed the call, and what refused it or its answer.
fn count_decisions(trail: &Trail, recorder: &Recorder, reject: Option<&Reject>, went_up: bool) {
    let allowed = trail.rule.as_ref();
    if went_up && allowed.is_some() {
        recorder.decision(allowed, Decided::Allow);
    }
    if let Some(reject) = reject
        && let Some(decision) = reject.decision()
    {
        let decided = if decision == Decision::StepUp { Decided::StepUp } else { Decided::Deny };
        recorder.decision(reject.decided_by(allowed), decided);
    }
    if let Some(shadow) = &trail.shadow {
        let decided = match shadow.verdict {
            Verdict::Allow => return,
            Verdict::Deny => Decided::ShadowDeny,
            Verdict::StepUp => Decided::ShadowStepUp,
        };
        recorder.decision(shadow.rule.as_ref(), decided);
    }
}

pub(super) fn error_type(ending: &Ending, reject: Option<&Reject>) -> Option<ErrorType> {
    match reject {
        Some(reject) => Some(why(reject, ending)),
        None => match (ending.code, ending.tool_error) {
            (Some(code), _) => Some(ErrorType::Rpc(code.into())),
            (None, true) => Some(ErrorType::ToolError),
            (None, false) => None,
        },
    }
}

fn why(reject: &Reject, ending: &Ending) -> ErrorType {
    match reject {
        Reject::Denied(Denial::Limited { .. })
        | Reject::Token(VerifyError::TooMany { .. })
        | Reject::Blocked { blocked: Blocked { cause: Cause::Often(_), .. }, .. } => ErrorType::RateLimited,
        Reject::Denied(Denial::StepUp { .. }) => ErrorType::InsufficientScope,
        Reject::Grant(GrantError::Forbidden { .. }) => ErrorType::PolicyDenied,
        reject if reject.is_decided() => ErrorType::PolicyDenied,
        Reject::Credential(_)
        | Reject::Grant(GrantError::Interaction { .. } | GrantError::Nobody | GrantError::Token)
        | Reject::NoCredentials
        | Reject::Token(_) => ErrorType::InvalidToken,
        Reject::Body(ReadError::TooSlow) | Reject::Tools(CatalogError::Slow(_)) => ErrorType::Timeout,
        reject if matches!(reject.upstream(), Some(UpstreamError::Busy(_))) => ErrorType::RateLimited,
        reject if reject.upstream().is_some_and(UpstreamError::is_timeout) => ErrorType::Timeout,
        Reject::Tools(_) | Reject::Upstream(_) => ErrorType::ConnectionFailed,
        Reject::Reply(ReplyError::RateLimited { .. }) => ErrorType::RateLimited,
        // Nothing the client could have done better.
        Reject::Audit(_) | Reject::Grant(_) | Reject::Reply(_) | Reject::Store(_) | Reject::Unrecorded(_) => {
            ending.code.map_or(ErrorType::InvalidRequest, |code| ErrorType::Rpc(code.into()))
        }
        _ => ErrorType::InvalidRequest,
    }
}

fn count_masked(trail: &Trail) {
    let Some(route) = &trail.route else { return };
    for finding in &trail.findings {
        let labels = MaskLabels {
            server: route.name.clone(),
            mask: finding.mask.clone(),
            entity: finding.entity.clone(),
            action: finding.action,
            direction: finding.direction.name(),
        };
        trail.sinks.metrics.count_masked(&labels, finding.count.into());
    }
}
