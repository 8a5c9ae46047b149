//! Turns the outcome of a request into metrics and a log line.

use super::metrics::{Decided, ErrorType, MaskLabels, Target};
use crate::mcp::SubjectKind;
use crate::policy::{Denial, Verdict};
use crate::reject::Reject;
use crate::trail::{CalledMethod, Ending, Trail};
use crate::upstream::UpstreamError;

/// Counts one ended request and logs its access line.
pub(crate) fn observe(trail: &Trail, ending: &Ending, reject: Option<&Reject>) {
    let took = trail.took();
    tracing::debug!(
        request_id = %trail.request_id,
        server = trail.route.as_deref().map(|route| &*route.name),
        method = trail.call.as_ref().and_then(|call| call.method.name()),
        status = ending.http,
        duration_ms = took.as_secs_f64() * 1000.0,
        error = ending.error,
        "request"
    );
    log_failure(trail, reject);
    let Some(recorder) = trail.recorder() else { return };
    recorder.request(&trail.http_method, ending.http, took);
    match (&trail.caller, reject) {
        (Some(caller), _) if !caller.anonymous => recorder.auth(Some(&caller.issuer_name), "ok"),
        (_, Some(reject @ (Reject::Credential(_) | Reject::NoCredentials | Reject::Token(_)))) => {
            recorder.auth(None, reject.kind());
        }
        (Some(_), _) => recorder.auth(None, "anonymous"),
        (None, _) => {}
    }
    if let Some(decided) = decided(trail, reject) {
        recorder.decision(trail.rule.as_ref(), decided);
    }
    if let (Some(Reject::Denied(Denial::Limited { rule, .. })), Some(route)) = (reject, &trail.route) {
        trail.sinks.metrics.count_rate_limited(&route.name, rule);
    }
    if let Some(shadow) = &trail.shadow {
        let decided = match shadow.verdict {
            Verdict::Allow => None,
            Verdict::Deny => Some(Decided::ShadowDeny),
            Verdict::StepUp => Some(Decided::ShadowStepUp),
        };
        if let Some(decided) = decided {
            recorder.decision(shadow.rule.as_ref(), decided);
        }
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
        recorder.series(method.name, revision.as_str(), target).record(error_type(ending, reject), took);
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

/// Logs why a request failed.
fn log_failure(trail: &Trail, reject: Option<&Reject>) {
    if let Some(Reject::Token(error)) = reject {
        tracing::debug!(request_id = %trail.request_id, %error, "token refused");
    } else if let Some(
        reject @ (Reject::Reply(_) | Reject::Tools(_) | Reject::Upstream(_) | Reject::Audit(_) | Reject::Unrecorded(_)),
    ) = reject
    {
        // Causes are logged for errors of connections and TLS, not for answers of upstreams.
        let error = if reject.upstream().is_some() { crate::cli::chain(reject) } else { reject.to_string() };
        // How often callers are sent away is counted: one that calls without end would fill the log.
        if let Some(UpstreamError::Busy(_)) = reject.upstream() {
            tracing::debug!(request_id = %trail.request_id, error, "request failed");
        } else {
            tracing::warn!(request_id = %trail.request_id, error, "request failed");
        }
    }
}

fn method(trail: &Trail) -> CalledMethod {
    trail.call.as_ref().map_or(CalledMethod::Unknown, |call| call.method.clone())
}

fn decided(trail: &Trail, reject: Option<&Reject>) -> Option<Decided> {
    match reject {
        Some(Reject::Denied(Denial::StepUp { .. })) => Some(Decided::StepUp),
        Some(Reject::Denied(_)) => Some(Decided::Deny),
        _ => trail.rule.is_some().then_some(Decided::Allow),
    }
}

fn error_type(ending: &Ending, reject: Option<&Reject>) -> Option<ErrorType> {
    match reject {
        Some(Reject::Denied(Denial::StepUp { .. })) => Some(ErrorType::InsufficientScope),
        Some(Reject::Blocked { .. } | Reject::Denied(_)) => Some(ErrorType::PolicyDenied),
        Some(reject) if matches!(reject.upstream(), Some(UpstreamError::Busy(_))) => Some(ErrorType::RateLimited),
        Some(reject) if reject.upstream().is_some_and(UpstreamError::is_timeout) => Some(ErrorType::Timeout),
        Some(Reject::Tools(_) | Reject::Upstream(_)) => Some(ErrorType::ConnectionFailed),
        Some(_) => Some(ErrorType::InvalidRequest),
        None => match (ending.code, ending.tool_error) {
            (Some(code), _) => Some(ErrorType::Rpc(code.into())),
            (None, true) => Some(ErrorType::ToolError),
            (None, false) => None,
        },
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
