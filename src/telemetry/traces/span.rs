//! Builds the spans of an ended request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::otlp::{Attribute, Code, Event, Kind, Link, Span, Status};
use super::{Trace, Tracer, names};
use crate::audit::{Decision, Session};
use crate::clock::Timestamp;
use crate::mask::sanitize;
use crate::mcp::SubjectKind;
use crate::reject::Reject;
use crate::telemetry::metrics::{Decided, ErrorType, http_version, method_name};
use crate::telemetry::observe::error_type;
use crate::trail::{CalledMethod, Ending, Trail};

/// The bits of `flags` about whether the parent belongs to another process (`SpanFlags`).
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The server span, and the client span if the upstream was given one.
pub(super) fn drawn(
    tracer: &Tracer,
    trail: &Trail,
    trace: &Trace,
    ending: &Ending,
    reject: Option<&Reject>,
) -> impl Iterator<Item = Span> {
    let name = name(tracer, trail, ending, reject);
    let failed = error_type(ending, reject).map(ErrorType::name).or(ending.error);
    let status = || {
        let message = ending.error.unwrap_or_default().to_owned();
        failed.map(|_| Status { message, code: Code::Error.into() })
    };
    let shared = about(trail, failed);
    let asked = asked(trail).filter(|_| trace.told).map(|(start, end)| Span {
        trace_id: trace.id.0.to_vec(),
        span_id: trace.client.0.to_vec(),
        parent_span_id: trace.server.0.to_vec(),
        name: name.clone(),
        kind: Kind::Client.into(),
        start_time_unix_nano: nanoseconds(trail, start),
        end_time_unix_nano: nanoseconds(trail, end),
        attributes: shared.iter().cloned().chain(place(trail)).collect(),
        status: status(),
        flags: u32::from(trace.sampled) | KNOWS_REMOTE,
        ..Span::default()
    });
    let link = trace.link.map(|link| Link {
        trace_id: link.trace.0.to_vec(),
        span_id: link.span.0.to_vec(),
        flags: u32::from(link.sampled) | KNOWS_REMOTE | IS_REMOTE,
    });
    let answered = Span {
        trace_id: trace.id.0.to_vec(),
        span_id: trace.server.0.to_vec(),
        parent_span_id: trace.parent.map(|parent| parent.span.0.to_vec()).unwrap_or_default(),
        name,
        kind: Kind::Server.into(),
        start_time_unix_nano: nanoseconds(trail, Duration::ZERO),
        end_time_unix_nano: nanoseconds(trail, trail.took()),
        attributes: shared.into_iter().chain(request(trail, trace, ending)).collect(),
        events: events(trail, reject),
        links: link.into_iter().collect(),
        status: status(),
        flags: u32::from(trace.sampled) | KNOWS_REMOTE | trace.parent.map_or(0, |_| IS_REMOTE),
    };
    [Some(answered), asked].into_iter().flatten()
}

/// When the call to the upstream began and ended, counted from the start of the request.
fn asked(trail: &Trail) -> Option<(Duration, Duration)> {
    let start = trail.sent_after()?;
    Some((start, trail.upstream_took().map_or_else(|| trail.took(), |took| start + took)))
}

fn nanoseconds(trail: &Trail, after: Duration) -> u64 {
    u64::try_from(Timestamp::default().until(trail.received.plus(after)).as_nanos()).unwrap_or(u64::MAX)
}

/// `{mcp.method.name} {target}`. The target is included only if the upstream accepted it, so that callers cannot create any
/// number of span names.
fn name(tracer: &Tracer, trail: &Trail, ending: &Ending, reject: Option<&Reject>) -> String {
    let call = trail.call.as_ref();
    let method = match call.map(|call| &call.method) {
        Some(CalledMethod::Listed(method)) => method.name,
        Some(CalledMethod::Http(method)) => method,
        Some(CalledMethod::Named(_) | CalledMethod::Unknown) | None => {
            return method_name(&trail.http_method).to_owned();
        }
    };
    let vouched = reject.is_none() && ending.code.is_none() && ending.error.is_none();
    match (call.and_then(|call| call.subject.as_ref()), &trail.route) {
        (Some((SubjectKind::Tool | SubjectKind::Prompt, name)), Some(route))
            if vouched && tracer.names(&route.name, name) =>
        {
            format!("{method} {}", foreign(name))
        }
        _ => method.to_owned(),
    }
}

/// The attributes of both spans.
fn about(trail: &Trail, failed: Option<&'static str>) -> Vec<Attribute> {
    let mut all = Vec::with_capacity(24);
    if let Some(route) = &trail.route {
        all.push(Attribute::new(names::SERVER, &*route.name));
    }
    if let Some(error) = failed {
        all.push(Attribute::new(names::ERROR_TYPE, error));
    }
    let Some(call) = &trail.call else { return all };
    if let Some(method) = call.method.name() {
        all.push(Attribute::new(names::METHOD, foreign(method)));
    }
    match &call.subject {
        Some((SubjectKind::Tool, name)) => {
            all.push(Attribute::new(names::OPERATION, names::EXECUTE_TOOL));
            all.push(Attribute::new(names::TOOL, foreign(name)));
        }
        Some((SubjectKind::Prompt, name)) => all.push(Attribute::new(names::PROMPT, foreign(name))),
        // A URI may contain personal data, like an argument.
        Some((SubjectKind::Resource | SubjectKind::ResourceTemplate, _)) | None => {}
    }
    if let Some(revision) = call.revision {
        all.push(Attribute::new(names::PROTOCOL_VERSION, revision.as_str()));
    }
    if let Some(id) = &call.id {
        let raw = String::from_utf8_lossy(id.raw());
        let text = serde_json::from_str::<String>(&raw).map_or(raw, Cow::Owned);
        all.push(Attribute::new(names::RPC_ID, foreign(&text)));
    }
    if let Some(id) = trail.session.as_ref().and_then(|session| session.upstream_id.as_deref()) {
        all.push(Attribute::new(names::SESSION, format!("sha256:{}", Session::of(id).as_str())));
    }
    all
}

/// The attributes of the HTTP request and its client.
fn request(trail: &Trail, trace: &Trace, ending: &Ending) -> Vec<Attribute> {
    let client = trail.peer.address;
    let mut all = vec![
        Attribute::new(names::REQUEST_ID, trail.request_id.to_string()),
        Attribute::new(names::HTTP_REQUEST_METHOD, method_name(&trail.http_method)),
        Attribute::new(names::HTTP_RESPONSE_STATUS, i64::from(ending.http)),
        Attribute::new(names::NETWORK_PROTOCOL, "http"),
        Attribute::new(names::NETWORK_PROTOCOL_VERSION, http_version(trace.version)),
        Attribute::new(names::NETWORK_TRANSPORT, "tcp"),
        Attribute::new(names::CLIENT_ADDRESS, client.ip().to_string()),
    ];
    if client.port() != 0 {
        all.push(Attribute::new(names::CLIENT_PORT, i64::from(client.port())));
    }
    if let Some(route) = &trail.route {
        all.push(Attribute::new(names::HTTP_ROUTE, &*route.path));
    }
    if let Some(code) = ending.code {
        all.push(Attribute::new(names::RPC_STATUS, code.to_string()));
    }
    if let Some(agent) = &trail.user_agent {
        all.push(Attribute::new(names::USER_AGENT, foreign(&String::from_utf8_lossy(agent.as_bytes()))));
    }
    all
}

/// The address of the upstream, if it has only one.
fn place(trail: &Trail) -> Vec<Attribute> {
    let Some(route) = &trail.route else { return Vec::new() };
    let mut upstreams = route.backend.upstreams();
    let (first, second) = (upstreams.next(), upstreams.next());
    match (first, second) {
        (None, _) => vec![Attribute::new(names::NETWORK_TRANSPORT, "pipe")],
        (Some(upstream), None) => {
            let url = upstream.url();
            let port = url.port_or_known_default().map(|port| Attribute::new(names::SERVER_PORT, i64::from(port)));
            let host = url.host_str().map(|host| Attribute::new(names::SERVER_ADDRESS, host));
            let http = [(names::NETWORK_PROTOCOL, "http"), (names::NETWORK_TRANSPORT, "tcp")];
            let http = http.map(|(name, value)| Attribute::new(name, value));
            http.into_iter().chain(host).chain(port).collect()
        }
        (Some(_), Some(_)) => vec![Attribute::new(names::NETWORK_TRANSPORT, "tcp")],
    }
}

/// The events for the policy decision and for each finding of a mask.
fn events(trail: &Trail, reject: Option<&Reject>) -> Vec<Event> {
    let at = nanoseconds(trail, trail.sent_after().unwrap_or_else(|| trail.took()));
    let event = |name: &str, attributes| Event { time_unix_nano: at, name: name.to_owned(), attributes };
    let (decided, rule) = decided(trail, reject).unzip();
    let decision = decided.zip(trail.route.as_ref()).map(|(decided, route)| {
        let mut attributes = vec![
            Attribute::new(names::DECISION, decided.name()),
            Attribute::new(names::POLICY_VERSION, &*route.policy_version),
            Attribute::new(names::SHADOW, trail.shadow.is_some()),
        ];
        attributes.extend(rule.flatten().map(|rule| Attribute::new(names::RULE, &**rule)));
        event(names::DECIDED, attributes)
    });
    let masked = trail.findings.iter().map(|finding| {
        let attributes = vec![
            Attribute::new(names::MASK, &*finding.mask),
            Attribute::new(names::MASK_ENTITY, &*finding.entity),
            Attribute::new(names::MASK_ACTION, finding.action),
            Attribute::new(names::MASK_DIRECTION, finding.direction.name()),
            Attribute::new(names::MASK_COUNT, i64::from(finding.count)),
        ];
        event(names::MASKED, attributes)
    });
    decision.into_iter().chain(masked).collect()
}

/// The decision and the rule that made it, if it was decided at all.
fn decided<'t>(trail: &'t Trail, reject: Option<&'t Reject>) -> Option<(Decided, Option<&'t Arc<str>>)> {
    let allowed = trail.rule.as_ref();
    match reject.and_then(|reject| Some((reject, reject.decision()?))) {
        Some((reject, Decision::StepUp)) => Some((Decided::StepUp, reject.decided_by(allowed))),
        Some((reject, _)) => Some((Decided::Deny, reject.decided_by(allowed))),
        None => allowed.map(|rule| (Decided::Allow, Some(rule))),
    }
}

/// Text from a caller or upstream.
fn foreign(text: &str) -> String {
    sanitize(text)
}
