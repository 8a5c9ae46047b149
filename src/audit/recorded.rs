//! Proof that the audit log has a request: a [`Recorded`] exists only where the line was written.

use std::borrow::Cow;

use super::{Audit, AuditError, Client, Decision, ErrorCode, Event, Fragment, Policy, Record, Subject, Target, Ticket};
use crate::auth::Caller;
use crate::mask::{Findings, Masked};
use crate::mcp::{ClientSaid, Era, Revision, RpcId, SubjectKind};
use crate::policy::Denial;
use crate::policy::lock::Drift;
use crate::reject::Reject;
use crate::trail::{Ending, Trail};

/// A masked request whose decision is in the audit log. Only [`decided`] makes one.
#[derive(Debug)]
pub struct Recorded(Masked);

impl Recorded {
    /// The request, for the upstream.
    pub(crate) fn into_masked(self) -> Masked {
        self.0
    }
}

/// Writes the decision. Nothing is sent upstream before this returns, and nothing at all if it errs.
pub async fn decided(trail: &mut Trail, masked: Masked) -> Result<Recorded, AuditError> {
    trail.decided(&masked);
    trail.about = Some(about(trail, None));
    let told = super::told::told(&masked, trail.sinks.lane.audit());
    let written = line(trail, Event::Call, Decision::Allow, (None, None), told.as_ref());
    // Before the await: the line is written even if the client disconnects meanwhile, and then needs its `end` line.
    trail.recording();
    if let Err(error) = written.await {
        trail.unrecorded();
        return Err(error);
    }
    trail.called();
    Ok(Recorded(masked))
}

/// Writes how a request ended: an `end` line after its `call` line, or the single `call` line of a refusal. Where a mask or a
/// rule refuses the answer of a call that was allowed, the `end` says so, and by which.
pub(crate) fn ended(trail: &Trail, ending: &Ending, reject: Option<&Reject>, called: bool) -> Ticket {
    let event = if called { Event::End } else { Event::Call };
    let otherwise = if called { Decision::Allow } else { Decision::Refused };
    line(trail, event, reject.and_then(Reject::decision).unwrap_or(otherwise), (Some(ending), reject), None)
}

/// Writes a request that was refused before its caller was known, within the rate limit of such records.
pub(crate) async fn failed_login(trail: &Trail, ending: &Ending) {
    let client = client(trail);
    let mut record = Record::new(Event::AuthFailed, trail.received, trail.request_id);
    record.decision = Some(Decision::Refused);
    record.server = trail.route.as_deref().map(|route| &*route.name);
    record.client = Some(&client);
    let claimed = trail.claimed.as_deref().map(|claimed| super::claimed::render(claimed, trail.sinks.lane.audit()));
    record.told = claimed.as_ref();
    record.status = Some(ending.http);
    record.error = ending.error.map(ErrorCode::Name);
    record.duration = Some(trail.took());
    record.trace = trace(trail);
    trail.sinks.lane.record_failure(&record).await;
}

/// Writes that a tool's definition is not the approved one.
pub(crate) fn drifted(trail: &Trail, tool: &str, drift: Drift) {
    let mut record = Record::new(Event::ToolDrift, trail.received, uuid::Uuid::now_v7());
    record.server = trail.route.as_deref().map(|route| &*route.name);
    record.target = Some(Target::Tool(tool));
    record.drift = Some(drift.as_str());
    // Nothing depends on the line: calls of the tool are decided and recorded on their own.
    let _ = trail.sinks.lane.record(&record).settle();
}

fn line(
    trail: &Trail,
    event: Event,
    decision: Decision,
    (ending, reject): (Option<&Ending>, Option<&Reject>),
    told: Option<&Fragment>,
) -> Ticket {
    // What was decided of the answer has another rule than the call.
    let known = trail.about.as_ref().filter(|_| reject.is_none_or(|reject| !reject.is_decided()));
    let about = known.map_or_else(|| Cow::Owned(about(trail, reject)), Cow::Borrowed);
    let masked = findings(&trail.findings);
    let mut record = Record::new(event, trail.received, trail.request_id);
    record.decision = Some(decision);
    record.shadow = trail.shadow.is_some();
    record.about = Some(&about);
    record.told = told;
    record.masked = &masked;
    record.trace = trace(trail);
    if let Some(ending) = ending {
        record.time = trail.received.plus(trail.took());
        record.status = Some(ending.http);
        record.error = match (ending.error, ending.code, ending.tool_error) {
            (Some(word), ..) => Some(ErrorCode::Name(word)),
            (None, Some(code), _) => Some(ErrorCode::Code(code)),
            (None, None, true) => Some(ErrorCode::Name("tool_error")),
            (None, None, false) => None,
        };
        record.duration = Some(trail.took());
        record.upstream = trail.upstream_took();
        record.credential = record.upstream.and_then(|_| credential(trail));
    }
    trail.sinks.lane.record(&record)
}

/// The trace id of a sampled request.
fn trace(trail: &Trail) -> Option<[u8; 32]> {
    trail.trace.as_ref()?.sampled().map(|(trace, _)| trace.hex())
}

/// The credential sent upstream.
fn credential(trail: &Trail) -> Option<&Fragment> {
    let subject = trail.call.as_ref().and_then(|call| call.subject.as_ref());
    let tool = subject.filter(|(kind, _)| *kind == SubjectKind::Tool).map(|(_, name)| &**name);
    trail.route.as_ref()?.credentials.told(tool)
}

/// Renders what all lines of this request share; a denial adds its reason or the missing scopes.
fn about(trail: &Trail, reject: Option<&Reject>) -> Fragment {
    let call = trail.call.as_ref();
    let client = client(trail);
    let mut record = Record::new(Event::Call, trail.received, trail.request_id);
    record.server = trail.route.as_deref().map(|route| &*route.name);
    record.method = call.and_then(|call| call.method.name());
    record.target = call.and_then(|call| call.subject.as_ref()).map(|(kind, name)| target(*kind, name));
    record.protocol = call.and_then(|call| call.revision).map(Revision::as_str);
    record.rpc_id = call.and_then(|call| call.id.as_ref()).map(|id| RpcId::raw(id).as_ref());
    record.session = trail.session.as_ref().and_then(|session| session.upstream_id.as_deref()).map(super::Session::of);
    record.subject =
        trail.caller.as_deref().map(|caller| caller.fragment.get_or_init(|| subject(caller, trail.sinks.lane.audit())));
    record.client = Some(&client);
    record.policy = policy(trail, reject);
    record.arguments = trail.arguments;
    trail.sinks.lane.audit().about(&record)
}

const fn target(kind: SubjectKind, name: &str) -> Target<'_> {
    match kind {
        SubjectKind::Prompt => Target::Prompt(name),
        SubjectKind::Resource => Target::Resource(name),
        SubjectKind::ResourceTemplate => Target::ResourceTemplate(name),
        SubjectKind::Tool => Target::Tool(name),
    }
}

fn policy<'t>(trail: &'t Trail, reject: Option<&'t Reject>) -> Option<Policy<'t>> {
    let route = trail.route.as_deref()?;
    let denial = match reject {
        Some(Reject::Denied(denial)) => Some(denial),
        _ => None,
    };
    let (reason, missing_scopes) = match denial {
        Some(Denial::Hidden { reason, .. } | Denial::Refused { reason, .. }) => (reason.as_deref(), &[][..]),
        Some(Denial::StepUp { needs, .. }) => (None, &needs[..]),
        Some(Denial::Handle(_) | Denial::Limited { .. }) | None => (None, &[][..]),
    };
    let allowed = trail.rule.as_ref();
    let rule = reject.map_or(allowed, |reject| reject.decided_by(allowed)).map(AsRef::as_ref);
    Some(Policy { version: &route.policy_version, rule, reason, missing_scopes })
}

fn findings(findings: &Findings) -> Vec<super::Masked<'_>> {
    findings
        .iter()
        .map(|finding| super::Masked {
            mask: &finding.mask,
            entity: &finding.entity,
            action: finding.action,
            direction: finding.direction.name(),
            count: finding.count.into(),
        })
        .collect()
}

fn subject(caller: &Caller, audit: &Audit) -> Fragment {
    if caller.anonymous {
        return super::render_anonymous();
    }
    let scopes: Vec<&str> = caller.scopes.iter().collect();
    let actors: Vec<&str> = caller.actors().iter().map(AsRef::as_ref).collect();
    audit.subject(&Subject {
        issuer: &caller.issuer,
        subject: &caller.subject,
        client_id: caller.client_id.as_deref(),
        scopes: &scopes,
        token_id: caller.token_id.as_deref(),
        key_id: caller.key_id.as_deref(),
        actors: &actors,
    })
}

/// Rendered once per connection, as long as its calls say the same of the client.
fn client(trail: &Trail) -> Cow<'_, Fragment> {
    let said = trail.call.as_ref().and_then(|call| call.client.as_ref());
    let text = |bytes| Some(String::from_utf8_lossy(bytes));
    let render = || {
        let (name, version) = (said.and_then(|said| text(&said.name)), said.and_then(|said| text(&said.version)));
        trail.sinks.lane.audit().client(&Client {
            address: trail.peer.address.ip(),
            user_agent: trail.user_agent.as_ref().map(http::HeaderValue::as_bytes),
            name: name.as_deref(),
            version: version.as_deref(),
        })
    };
    // What the first of these says is not what the connection's calls say.
    let is_first = trail.call.as_ref().is_none_or(|call| call.era == Era::Legacy && said.is_some());
    if is_first {
        return Cow::Owned(render());
    }
    let made = || (trail.own_user_agent(), said.map(ClientSaid::detached), render());
    let (agent, known, fragment) = trail.peer.client.get_or_init(made);
    if *agent == trail.user_agent && known.as_ref() == said { Cow::Borrowed(fragment) } else { Cow::Owned(render()) }
}
