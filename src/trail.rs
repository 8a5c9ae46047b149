//! The trail of a request: the facts known so far. Stages write to it and never read it; it ends exactly once, and audit,
//! metrics, spans and log are drawn from that ending in one place.

mod call;
mod request_ids;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderValue, Method, Response, Version};
use tokio::sync::oneshot;

use crate::audit::{Arguments, AuditError, Fragment, Lane, Ticket};
use crate::auth::{Caller, Claimed, Scheme};
use crate::body::Body;
use crate::clock::{Timestamp, monotonic};
use crate::mask::{Findings, Masked};
use crate::mcp::session::Session;
use crate::mcp::{AdmitError, ClientSaid, Era, Message, MessageShape, RpcId};
use crate::opened::{Ask, Opened};
use crate::policy;
use crate::reject::{Asked, Reject, Status};
use crate::route::Route;
use crate::server::Peer;
use crate::server::drain::Drain;
use crate::telemetry::metrics::{Metrics, Recorder};
use crate::telemetry::traces::{Trace, Tracer};
pub(crate) use call::{Call, CalledMethod};
pub use request_ids::RequestId;
use request_ids::RequestIds;

/// Where the outcome of a request goes (audit, metrics, log); one per worker thread.
#[derive(Debug)]
pub struct Sinks {
    /// This thread's writer to the audit log.
    pub lane: Arc<Lane>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    pub(crate) tracer: Option<Arc<Tracer>>,
    /// Tells open streams when to end.
    pub drain: Drain,
    /// By server; so few that looking through them is quicker than hashing a name.
    recorders: Mutex<Vec<(Arc<str>, Arc<Recorder>)>>,
    request_ids: Mutex<RequestIds>,
}

impl Sinks {
    /// Sinks for one worker thread.
    pub fn new(lane: Arc<Lane>, metrics: Arc<Metrics>, drain: Drain) -> Arc<Self> {
        Self::traced(lane, metrics, drain, None)
    }

    /// Sinks for one worker thread, with spans if there is a tracer.
    pub(crate) fn traced(
        lane: Arc<Lane>,
        metrics: Arc<Metrics>,
        drain: Drain,
        tracer: Option<Arc<Tracer>>,
    ) -> Arc<Self> {
        Arc::new(Self { lane, metrics, drain, tracer, recorders: Mutex::default(), request_ids: Mutex::default() })
    }

    fn recorder(&self, route: &Route) -> Arc<Recorder> {
        let mut recorders = lock(&self.recorders);
        if let Some((_, recorder)) = recorders.iter().find(|(name, _)| *name == route.name) {
            return recorder.clone();
        }
        let recorder = Arc::new(Recorder::new(self.metrics.clone(), route.name.clone(), route.path.as_ref().into()));
        recorders.push((route.name.clone(), recorder.clone()));
        recorder
    }
}

/// A lock of one thread's own things: whole even after a panic, as entries are only ever added whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The facts of one request; boxed, as it goes from stage to stage.
#[derive(Debug)]
pub struct Trail {
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) request_id: RequestId,
    pub(crate) received: Timestamp,
    started: Instant,
    pub(crate) peer: Arc<Peer>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) http_method: Method,
    pub(crate) http_version: Version,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) caller: Option<Arc<Caller>>,
    scheme: Scheme,
    /// What a token that was refused says of itself.
    pub(crate) claimed: Option<Box<Claimed>>,
    /// The epoch of the verifier in which its caller was let in, or an earlier one.
    pub(crate) epoch: u64,
    pub(crate) call: Option<Call>,
    pub(crate) rule: Option<Arc<str>>,
    /// What rules in shadow would have decided, where that is something else.
    pub(crate) shadow: Option<policy::Foreseen>,
    /// Its place among the calls that may run at once.
    pub(crate) slot: Option<policy::Slot>,
    pub(crate) session: Option<Session>,
    /// What is recorded of the call's arguments.
    pub(crate) arguments: Option<Arguments>,
    pub(crate) findings: Findings,
    /// What the lines of the call have in common, once its decision is written.
    pub(crate) about: Option<Fragment>,
    /// Its trace context, if tracing is on.
    pub(crate) trace: Option<Box<Trace>>,
    sent: Option<Instant>,
    upstream_took: Option<Duration>,
    /// Who waits for the decision.
    told: Option<oneshot::Sender<()>>,
    /// How long it all took, once it has ended.
    ended: Option<Duration>,
    stage: Stage,
}

/// How far a request's record in the audit log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begun,
    Called,
    Ended,
}

/// How a request ended that was not refused.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// HTTP status the client got.
    pub http: u16,
    /// JSON-RPC error code in the answer.
    pub code: Option<i32>,
    /// Whether the answer is a tool error.
    pub tool_error: bool,
    /// Why it ended early, in a fixed word.
    pub error: Option<&'static str>,
}

impl Ending {
    /// A stream that was ended from our side.
    pub(crate) const fn stopped(why: &'static str) -> Self {
        Self { http: 200, code: None, tool_error: false, error: Some(why) }
    }
}

impl Trail {
    /// A request has come.
    pub fn begin(sinks: &Arc<Sinks>, peer: Arc<Peer>, head: &Parts) -> Box<Self> {
        let received = Timestamp::now();
        Box::new(Self {
            sinks: sinks.clone(),
            request_id: lock(&sinks.request_ids).next(received),
            received,
            started: monotonic(),
            peer,
            user_agent: head.headers.get(USER_AGENT).cloned(),
            http_method: head.method.clone(),
            http_version: head.version,
            route: None,
            caller: None,
            scheme: Scheme::Bearer,
            claimed: None,
            epoch: 0,
            call: None,
            rule: None,
            shadow: None,
            slot: None,
            session: None,
            arguments: None,
            findings: Findings::default(),
            about: None,
            trace: sinks.tracer.as_ref().and_then(|tracer| tracer.begin(head)),
            sent: None,
            upstream_took: None,
            told: None,
            ended: None,
            stage: Stage::Begun,
        })
    }

    /// Lets go of the buffer the request was read into, for what is kept longer than it takes to answer.
    pub(crate) fn detach(&mut self) {
        self.user_agent = self.own_user_agent();
        self.about = None;
        if let Some(call) = &mut self.call {
            call.id = call.id.as_ref().map(RpcId::detached);
            call.client = call.client.as_ref().map(ClientSaid::detached);
        }
    }

    /// The user agent in memory of its own.
    pub(crate) fn own_user_agent(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.user_agent.as_ref()?.as_bytes()).ok()
    }

    /// The request id as a header value.
    pub fn request_id_header(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.request_id.text()).unwrap_or(HeaderValue::from_static(""))
    }

    /// The server asked for is known.
    pub fn found(&mut self, route: &Arc<Route>) {
        self.route = Some(route.clone());
    }

    /// A token was presented, and is looked at in that epoch.
    pub const fn presented(&mut self, scheme: Scheme, epoch: u64) {
        (self.scheme, self.epoch) = (scheme, epoch);
    }

    /// The token was refused; this is what it says of itself.
    pub(crate) fn claimed(&mut self, claimed: Claimed) {
        self.claimed = Some(Box::new(claimed));
    }

    /// The caller is known.
    pub fn identified(&mut self, caller: &Arc<Caller>) {
        self.caller = Some(caller.clone());
    }

    /// The message could not be admitted; its id may be known.
    pub fn misread(&mut self, error: &AdmitError) {
        let era = error.era().unwrap_or(Era::Legacy);
        self.call = Some(Call {
            method: CalledMethod::Unknown,
            subject: None,
            id: error.id().cloned(),
            era,
            revision: None,
            client: None,
        });
    }

    /// The message is known.
    pub fn admitted(&mut self, message: &Message) {
        let method = match (message.listed(), message.method()) {
            (Some(listed), _) => CalledMethod::Listed(listed),
            (None, Some(method)) => CalledMethod::Named(method.name().into()),
            (None, None) => CalledMethod::Unknown,
        };
        let id = match message.shape() {
            MessageShape::Request { id } => Some(id.clone()),
            MessageShape::Notification | MessageShape::Response { .. } => None,
        };
        if let (Some(trace), Some(tracer)) = (&mut self.trace, &self.sinks.tracer) {
            tracer.read(trace, message.meta());
        }
        let audit = self.sinks.lane.audit();
        if audit.records_arguments() {
            self.arguments = message.arguments().and_then(|arguments| audit.arguments(arguments.raw()));
        }
        let (subject, era, revision) = (message.kept_subject(), message.era(), Some(call::spoken(message)));
        self.call = Some(Call { method, subject, id, era, revision, client: message.kept_client() });
    }

    /// What stood sealed in the message was put back.
    pub(crate) fn restored(&mut self, opened: &Opened) {
        if let (Ask::Message(message), Some(call)) = (&opened.ask, &mut self.call)
            && message.written_subject().is_some()
        {
            call.subject = message.kept_subject();
        }
    }

    /// What the message's handles belong to is known.
    pub fn opened(&mut self, opened: &Opened) {
        if let (Some(call), Some(own)) = (&mut self.call, &opened.handles.task) {
            call.subject.clone_from(&own.task.origin.subject);
        }
    }

    /// The client asked for a stream.
    pub fn listens(&mut self) {
        self.legacy("GET");
    }

    /// The client ends its session.
    pub fn closes(&mut self) {
        self.legacy("DELETE");
    }

    fn legacy(&mut self, method: &'static str) {
        let method = CalledMethod::Http(method);
        self.call = Some(Call { method, subject: None, id: None, era: Era::Legacy, revision: None, client: None });
    }

    /// The policy allows it, by that rule.
    pub(crate) fn permitted(&mut self, rule: Option<&Arc<str>>) {
        self.rule = rule.cloned();
    }

    /// The decision is made and its record is about to be written.
    pub(crate) fn decided(&mut self, masked: &Masked) {
        self.rule = masked.rule().cloned();
        self.findings = masked.findings().clone();
        self.session = masked.session().cloned();
    }

    /// The decision's line is on its way; from here on the request ends with a line of its own, come what may.
    pub(crate) fn recording(&mut self) {
        self.stage = Stage::Called;
    }

    /// The line could not be written, so that none may follow it.
    pub(crate) fn unrecorded(&mut self) {
        self.stage = Stage::Begun;
    }

    /// The audit log has the decision.
    pub(crate) fn called(&mut self) {
        self.sent = Some(monotonic());
        if let Some(told) = self.told.take() {
            // Who does not wait any more need not know.
            let _ = told.send(());
        }
    }

    /// Has `told` hear of it when the request is allowed and its record written.
    pub(crate) fn tell_decided(&mut self, told: oneshot::Sender<()>) {
        self.told = Some(told);
    }

    /// The head of the upstream's answer is here.
    pub(crate) fn answered(&mut self) {
        self.upstream_took = self.sent.map(|sent| sent.elapsed());
    }

    pub(crate) fn findings_mut(&mut self) -> &mut Findings {
        &mut self.findings
    }

    /// How long it took until its end, or until now.
    pub(crate) fn took(&self) -> Duration {
        self.ended.unwrap_or_else(|| self.started.elapsed())
    }

    pub(crate) fn sent_after(&self) -> Option<Duration> {
        self.sent.map(|sent| sent.saturating_duration_since(self.started))
    }

    pub(crate) const fn upstream_took(&self) -> Option<Duration> {
        self.upstream_took
    }

    fn asked(&self) -> Asked<'_> {
        let call = self.call.as_ref();
        let subject = call.and_then(|call| call.subject.as_ref());
        Asked {
            challenges: self.route.as_ref().map(|route| &route.challenges),
            scheme: self.scheme,
            era: call.map(|call| call.era),
            id: call.and_then(|call| call.id.as_ref()).map(RpcId::raw),
            request_id: self.request_id.uuid,
            subject: subject.map(|(kind, name)| (*kind, &**name)),
            tool_call: call.is_some_and(Call::is_of_a_tool),
        }
    }

    /// The JSON-RPC message that tells a waiting client of a refusal inside a stream.
    pub(crate) fn event_for(&self, reject: &Reject) -> (Bytes, Status) {
        let (response, status) = reject.told_to(self.caller.as_deref()).respond(&self.asked());
        match response.into_body() {
            Body::Full(Some(bytes)) => (bytes, status),
            _ => (Bytes::new(), status),
        }
    }

    /// Ends the request with an answer that needed no decision, at a path of the configuration.
    pub(crate) fn served(mut self: Box<Self>, response: Response<Body>, path: &str) -> Response<Body> {
        self.stage = Stage::Ended;
        crate::telemetry::served(&self, path, response.status().as_u16());
        response
    }

    /// Ends the request with a refusal: recorded first, then answered.
    pub(crate) async fn refuse(mut self: Box<Self>, reject: &Reject) -> Response<Body> {
        let reject = reject.told_to(self.caller.as_deref());
        let (response, status) = reject.respond(&self.asked());
        let ending = Ending { http: status.http, code: status.code, tool_error: false, error: Some(reject.kind()) };
        let nobody = self.caller.as_deref().is_none_or(|caller| caller.anonymous && !reject.is_decided());
        if self.stage == Stage::Begun && nobody {
            crate::telemetry::observe(&self, &ending, Some(reject), false);
            self.stage = Stage::Ended;
            // The caller is refused either way; such failures must not be able to stop the log for others.
            // What is for no server is only counted.
            if self.route.is_some() {
                crate::audit::failed_login(&self, &ending).await;
            }
            return response;
        }
        match self.conclude(&ending, Some(reject)).await {
            Ok(()) => response,
            // Not even the refusal can be recorded: say only that.
            Err(error) => Reject::Audit(error).respond(&self.asked()).0,
        }
    }

    /// Ends the request: the line is written when this returns. The trail comes back where it could not be.
    pub(crate) async fn end(mut self: Box<Self>, ending: Ending) -> Result<(), Box<(AuditError, Box<Self>)>> {
        let stage = self.stage;
        match self.conclude(&ending, None).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // What is tried next is another end of the same call, not a call that was refused.
                self.stage = stage;
                Err(Box::new((error, self)))
            }
        }
    }

    /// Ends the request where nothing can be awaited, with what it is refused for, if it is.
    pub(crate) fn end_now(mut self: Box<Self>, ending: Ending, reject: Option<&Reject>) -> Result<(), AuditError> {
        self.conclude(&ending, reject).settle()
    }

    /// The one place where a request's record, metrics and log line are made.
    fn conclude(&mut self, ending: &Ending, reject: Option<&Reject>) -> Ticket {
        let called = self.stage == Stage::Called;
        self.stage = Stage::Ended;
        self.ended = Some(self.started.elapsed());
        self.tell_drifts();
        crate::telemetry::observe(self, ending, reject, called);
        crate::audit::ended(self, ending, reject, called)
    }

    /// Tells of tool definitions that were found to be other ones since somebody last did.
    fn tell_drifts(&self) {
        let Some(route) = &self.route else { return };
        let Some((count, found)) = route.tools.take_drifts() else { return };
        self.sinks.metrics.tool_drift(&route.name).set(i64::try_from(count).unwrap_or(i64::MAX));
        for (tool, drift) in found {
            crate::audit::drifted(self, &tool, drift);
        }
    }

    /// The handles on the metrics of the server asked for.
    pub(crate) fn recorder(&self) -> Option<Arc<Recorder>> {
        self.route.as_ref().map(|route| self.sinks.recorder(route))
    }
}

impl Drop for Trail {
    /// The client went away, or the task was ended: what was begun upstream still gets its line.
    fn drop(&mut self) {
        if self.stage == Stage::Called {
            let ending = Ending { http: 499, code: None, tool_error: false, error: Some("cancelled") };
            let _ = self.conclude(&ending, None).settle();
        }
    }
}
