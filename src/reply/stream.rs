//! An event stream on its way to the client: each event is rewritten the moment it is complete, and none waits for the next.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::message::{self, Passed};
use super::refusal::Refusals;
use super::{ReplyError, Way};
use crate::auth::VerifyError;
use crate::clock::Timestamp;
use crate::json::Document;
use crate::mcp::session::EventId;
use crate::mcp::sse::{self, Event, EventName, Line, Outgoing, Splitter};
use crate::mcp::{Era, Revision, RpcId};
use crate::opened::{binding, session_key};
use crate::policy::Asker;
use crate::reject::Reject;
use crate::server::drain;
use crate::telemetry::metrics::Held;
use crate::trail::{Ending, Trail};
use crate::upstream::{AnswerBody, UpstreamError};

/// Proxies in between close connections that stay silent; a comment every 15 s keeps them open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Most questions of a server on one stream that it can take back.
const MOST_ASKED: usize = 64;

/// Most bytes of events that are gathered before they are passed on.
const BURST_BYTES: usize = 32 * 1024;

/// A rewritten event stream: the body of an answer.
///
/// It ends with the response it carries, with the upstream, with the caller's token, when a newer policy denies what it
/// was opened for, or when the proxy drains. Dropping it before the response closes the upstream connection at once.
#[derive(Debug)]
pub struct Stream {
    /// `None` once nothing more is to come.
    upstream: Option<AnswerBody>,
    splitter: Splitter,
    way: Box<Way>,
    /// `None` once the audit has the ending.
    trail: Option<Box<Trail>>,
    out: BytesMut,
    /// Whether the upstream's connection has had its turn since the latest chunk.
    stepped_back: bool,
    /// Whether an event carried an id: such a stream may break off and be resumed.
    resumable: bool,
    /// What an `initialize` answered here settled.
    negotiated: Option<Revision>,
    refusals: Refusals,
    /// What the server has asked here: its own id, and the client's.
    asked: Vec<(Bytes, String)>,
    tick: Pin<Box<Sleep>>,
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Ready when keys, revocations or the configuration have changed.
    changed: Pin<Box<OwnedNotified>>,
    /// The epoch up to which it has been looked at whether the caller is still let in.
    checked: u64,
    /// Counts it among the open ones.
    _counted: (drain::Stream, Held),
}

impl Stream {
    pub(super) fn new(mut way: Box<Way>, upstream: AnswerBody, mut trail: Box<Trail>) -> Self {
        // A stream may be idle for hours, and a few bytes of the request would keep all of its buffer.
        way.id = way.id.as_ref().map(RpcId::detached);
        way.arguments.detach();
        trail.detach();
        let gauge = trail.sinks.metrics.streams(&way.route.name, way.stream_kind());
        let counted = (trail.sinks.drain.stream(), Held::new(gauge));
        let drained = Box::pin(trail.sinks.drain.ending().clone().cancelled_owned());
        let changed = Box::pin(way.worker.verifier.shared_epoch().end());
        let splitter = Splitter::new(way.snapshot.limits.event_bytes);
        Self {
            upstream: Some(upstream),
            splitter,
            way,
            trail: Some(trail),
            out: BytesMut::new(),
            stepped_back: false,
            resumable: false,
            negotiated: None,
            refusals: Refusals::default(),
            asked: Vec::new(),
            tick: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
            drained,
            changed,
            checked: u64::MAX,
            _counted: counted,
        }
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// Reads until the response is here, or there will be none; what was read goes out first. Says what it settled.
    ///
    /// What is held back until then is bounded like an answer that comes whole.
    pub(super) async fn until_answered(&mut self) -> Option<Revision> {
        let mut read = BytesMut::new();
        while self.trail.is_some() {
            let Some(chunk) = std::future::poll_fn(|cx| self.poll_chunk(cx)).await else { break };
            read.extend_from_slice(&chunk);
            if read.len() > self.way.snapshot.limits.answer_bytes {
                read.clear();
                self.fail(&UpstreamError::TooLarge.into());
            }
        }
        read.unsplit(std::mem::take(&mut self.out));
        self.out = read;
        self.negotiated
    }

    /// The next bytes for the client; `None` at the end.
    ///
    /// Events that are here already leave together. hyper hands over one chunk at a time and reads the next when this task
    /// has stepped back, so it steps back once behind each; what comes later waits for nothing.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if self.out.len() >= BURST_BYTES {
                return Poll::Ready(Some(self.take()));
            }
            let Some(upstream) = &mut self.upstream else {
                return Poll::Ready((!self.out.is_empty()).then(|| self.take()));
            };
            match Pin::new(upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.stepped_back = false;
                    if let Ok(data) = frame.into_data() {
                        self.feed(data);
                    }
                }
                Poll::Ready(Some(Err(error))) => self.fail(&Reject::Upstream(error)),
                Poll::Ready(None) => self.upstream_ended(),
                Poll::Pending if self.out.is_empty() => ready!(self.poll_idle(cx)),
                Poll::Pending if self.stepped_back => return Poll::Ready(Some(self.take())),
                Poll::Pending => {
                    self.stepped_back = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn take(&mut self) -> Bytes {
        // Memory and all: between events a stream holds none.
        std::mem::take(&mut self.out).freeze()
    }

    /// What happens while the upstream is silent.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drained.as_mut().poll(cx).is_ready() {
            self.finish(Ending::stopped("drain"));
            return Poll::Ready(());
        }
        if self.changed.as_mut().poll(cx).is_ready() {
            // Before it is looked at what has changed, so that no change falls between.
            self.changed.set(self.way.worker.verifier.shared_epoch().end());
            self.still_allowed();
            return Poll::Ready(());
        }
        ready!(self.tick.as_mut().poll(cx));
        self.tick.as_mut().reset(tokio::time::Instant::from_std(crate::clock::monotonic()) + KEEP_ALIVE);
        if self.still_allowed() {
            self.out.extend_from_slice(sse::KEEP_ALIVE);
        }
        Poll::Ready(())
    }

    fn feed(&mut self, data: Bytes) {
        self.splitter.feed(data);
        while let Some(event) = self.splitter.next_event() {
            match event {
                Ok(event) => self.event(event),
                Err(_) => self.fail(&ReplyError::MediaType.into()),
            }
            if self.upstream.is_none() {
                return;
            }
        }
    }

    fn event(&mut self, mut event: Event) {
        if event.name() != Some(EventName::Message) || !self.still_allowed() {
            return;
        }
        let id = self.event_id(&event);
        let data = match event.data.take() {
            Some(data) if !data.is_empty() => data,
            // 2025-11-25, "Sending Messages to the Server": a priming event stays one.
            primed => return self.send(id.as_deref(), event.retry, primed.map(|_| Line::empty()).as_ref()),
        };
        let Some(trail) = &mut self.trail else { return };
        match message::passed(&self.way, data, trail.findings_mut()) {
            Ok(Passed::Aside(bytes)) => self.send(id.as_deref(), event.retry, Some(&Line::of_json(bytes))),
            Ok(Passed::Asked { message, id: own, sealed }) => {
                if self.asked.len() < MOST_ASKED {
                    self.asked.push((own, sealed));
                }
                self.send(id.as_deref(), event.retry, Some(&Line::of_json(message)));
            }
            Ok(Passed::TakenBack(document)) => self.take_back(&document, id.as_deref()),
            Ok(Passed::Dropped) => {}
            Ok(Passed::Refused(bytes)) => self.refusals.tell(&self.way, bytes),
            Ok(Passed::Response(response)) => {
                self.negotiated = response.negotiated;
                self.upstream.iter_mut().for_each(AnswerBody::release);
                let ending = Ending { http: 200, code: response.code, tool_error: response.tool_error, error: None };
                if self.finish(ending) {
                    self.send(id.as_deref(), None, Some(&Line::of_json(response.bytes)));
                }
            }
            Err(reject) => self.fail(&reject),
        }
    }

    /// Tells the client that a question is not asked any more, if it was asked here: it knows it by another id.
    fn take_back(&mut self, document: &Document, event_id: Option<&str>) {
        let Some(named) = document.pointer("/params/requestId") else { return };
        let is_same =
            |own: &Bytes| std::str::from_utf8(own).ok().and_then(RpcId::from_raw).is_some_and(|id| id.is(named));
        let Some(at) = self.asked.iter().position(|(own, _)| is_same(own)) else { return };
        let (_, sealed) = self.asked.swap_remove(at);
        let Some(trail) = &mut self.trail else { return };
        match message::taken_back(&self.way, document, &sealed, trail.findings_mut()) {
            Ok(message) => self.send(event_id, None, Some(&Line::of_json(message))),
            Err(reject) => self.fail(&reject),
        }
    }

    fn send(&mut self, id: Option<&str>, retry: Option<u64>, data: Option<&Line>) {
        Outgoing { name: EventName::Message, id, retry, data }.encode_to(&mut self.out);
    }

    /// The id the client may resume from: the upstream's, sealed with what the stream belongs to; none in 2026-07-28.
    fn event_id(&mut self, event: &Event) -> Option<String> {
        let upstream_id = std::str::from_utf8(event.id.as_deref()?).ok()?;
        // What no header can say cannot be asked for again.
        let is_odd = upstream_id.bytes().any(|byte| !matches!(byte, b' '..=b'~'));
        if self.way.era == Era::Modern || is_odd {
            return None;
        }
        let way = &self.way;
        let id = EventId {
            upstream_id: upstream_id.into(),
            rpc_id: way.id.as_ref().and_then(|id| std::str::from_utf8(id.raw()).ok()).map(Into::into),
            origin: way.origin(),
            task: way.task.as_ref().map(|own| own.task.upstream_id.clone()),
        };
        let key = session_key(way.session.as_ref());
        let binding = binding(&way.route, &way.caller);
        let sealed = id.seal(key, &way.snapshot.seals, &binding, Timestamp::now(), super::SESSION_LIFETIME).ok();
        // Where the client was told no place, it cannot go on from there.
        self.resumable |= sealed.is_some();
        sealed
    }

    /// Whether the caller's token and the policy of now still carry the stream; ends it where they do not.
    fn still_allowed(&mut self) -> bool {
        let now = Timestamp::now();
        if self.way.caller.until <= now {
            self.fail(&Reject::Token(VerifyError::Expired));
            return false;
        }
        // Before it is looked at what has changed, so that no change falls between.
        let epoch = self.way.worker.verifier.epoch();
        let is_reloaded = self.way.worker.live.generation() != self.way.snapshot.generation;
        if self.checked == epoch && !is_reloaded {
            return true;
        }
        self.checked = epoch;
        if is_reloaded {
            return self.reloaded(now);
        }
        match self.way.route.acceptance.readmit(&self.way.caller, None, now) {
            Ok(caller) => self.way.caller = caller,
            Err(error) => self.fail(&Reject::Token(error)),
        }
        self.upstream.is_some()
    }

    /// The same under a newer configuration.
    fn reloaded(&mut self, now: Timestamp) -> bool {
        let snapshot = self.way.worker.live.current();
        let Some(route) = snapshot.route(&self.way.route.path) else {
            self.fail(&Reject::NotFound);
            return false;
        };
        match route.acceptance.readmit(&self.way.caller, Some(&self.way.route.acceptance), now) {
            Ok(caller) => self.way.caller = caller,
            Err(error) => {
                self.fail(&Reject::Token(error));
                return false;
            }
        }
        let decided = {
            let context = self.way.context(now);
            let asker = Asker { policy: &route.policy, ..self.way.asker(&context) };
            asker.still_allows(&self.way)
        };
        if let Err(denial) = decided {
            self.fail(&Reject::Denied(denial));
            return false;
        }
        self.way.route = route;
        self.way.snapshot = snapshot;
        true
    }

    fn upstream_ended(&mut self) {
        if self.way.id.is_none() || self.resumable {
            self.finish(Ending { http: 200, code: None, tool_error: false, error: None });
        } else {
            self.fail(&ReplyError::Missing.into());
        }
    }

    /// Tells the client why there is no answer, where it waits for one, and ends.
    fn fail(&mut self, reject: &Reject) {
        let Some(trail) = &self.trail else { return };
        if let Some(error) = reject.upstream() {
            trail.sinks.metrics.count_upstream_error(&self.way.route.name, error.kind());
        }
        let (bytes, status) = trail.event_for(reject);
        let due = self.way.id.is_some();
        if self.finish(Ending {
            http: 200,
            code: status.code,
            tool_error: status.code.is_none(),
            error: Some(reject.kind()),
        }) && due
        {
            self.send(None, None, Some(&Line::of_json(bytes)));
        }
    }

    /// Writes the ending to the audit before its last byte can leave; says whether it is written.
    fn finish(&mut self, ending: Ending) -> bool {
        self.upstream = None;
        match self.trail.take() {
            Some(trail) => trail.end_now(ending).is_ok(),
            None => false,
        }
    }
}
