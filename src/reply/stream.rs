//! Rewrites an event stream for the client: each event as soon as it is complete, without waiting for the next.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body::Body as _;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::changes::Changes;
use super::message::{self, Passed, Settled};
use super::refusal::Refusals;
use super::{ReplyError, Way};
use crate::clock::{self, Timestamp};
use crate::json::Document;
use crate::mcp::session::EventId;
use crate::mcp::sse::{self, Event, EventName, Line, Outgoing, Splitter};
use crate::mcp::{Access, Era, ListKind, ListKinds, RpcId, lists};
use crate::opened::{binding, session_key};
use crate::policy::Asker;
use crate::reject::Reject;
use crate::server::drain;
use crate::telemetry::metrics::Held;
use crate::trail::{Ending, Trail};
use crate::upstream::{AnswerBody, UpstreamError};

/// The interval of keep-alive comments: intermediaries close silent connections.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The most server requests of one stream that can be cancelled.
const MOST_REQUESTS: usize = 64;

/// The most bytes of events that are gathered before they are sent on.
const BURST_BYTES: usize = 32 * 1024;

/// A rewritten event stream: the body of an answer.
///
/// It ends with the response it carries, with the upstream, with the caller's token, when a newer policy denies what it
/// was opened for, or when the proxy drains. Dropping it before the response closes the upstream connection at once.
#[derive(Debug)]
pub struct Stream {
    /// `None` once nothing more will come.
    upstream: Option<AnswerBody>,
    splitter: Splitter,
    way: Box<Way>,
    /// `None` once the ending is recorded.
    trail: Option<Box<Trail>>,
    out: BytesMut,
    /// Whether this task has yielded to the upstream's connection since the latest chunk.
    stepped_back: bool,
    /// Whether an event had an id: such a stream may break off and be resumed.
    resumable: bool,
    /// What an `initialize` answered on this stream settled.
    settled: Settled,
    changes: Changes,
    refusals: Refusals,
    /// The server requests on this stream: the server's id, and the client's.
    asked: Vec<(Bytes, String)>,
    tick: Pin<Box<Sleep>>,
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Completes when keys, revocations or the configuration have changed.
    changed: Pin<Box<OwnedNotified>>,
    /// The epoch at which the caller was last admitted.
    checked: u64,
    /// Counts the stream as open.
    _counted: (drain::Stream, Held),
}

impl Stream {
    pub(super) fn new(mut way: Box<Way>, upstream: AnswerBody, mut trail: Box<Trail>) -> Self {
        // A stream may be idle for hours, and a slice of the request would keep its whole buffer alive.
        way.id = way.id.as_ref().map(RpcId::detached);
        way.arguments.detach();
        trail.detach();
        let gauge = trail.sinks.metrics.streams(&way.route.name, way.stream_kind());
        let counted = (trail.sinks.drain.stream(), Held::new(gauge));
        let drained = Box::pin(trail.sinks.drain.ending().clone().cancelled_owned());
        let changed = Box::pin(way.worker.verifier.shared_epoch().end());
        let splitter = Splitter::new(way.snapshot.limits.event_bytes);
        // A session's own stream; a subscription's is acknowledged first.
        let own = way.session.as_ref().filter(|_| trail.http_method == Method::GET && way.method.is_none());
        let expected = own.map_or_else(ListKinds::default, |session| session.lists);
        Self {
            upstream: Some(upstream),
            splitter,
            way,
            trail: Some(trail),
            out: BytesMut::new(),
            stepped_back: false,
            resumable: false,
            settled: Settled::default(),
            changes: Changes::of(expected),
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

    /// Reads up to the response, or the end, and keeps what was read for the client. Returns what the response settles.
    ///
    /// What is kept is limited like a JSON body.
    pub(super) async fn until_answered(&mut self) -> Settled {
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
        self.settled
    }

    /// The next bytes for the client; `None` at the end.
    ///
    /// Events that are already here leave together: hyper hands over one chunk at a time and reads the next only after this
    /// task has yielded, so it yields once after each chunk.
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
        // With its memory: between events a stream has no buffer.
        std::mem::take(&mut self.out).freeze()
    }

    /// Handles drain, changes and keep-alive while the upstream is silent.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drained.as_mut().poll(cx).is_ready() {
            self.finish(Ending::stopped("drain"));
            return Poll::Ready(());
        }
        if self.changed.as_mut().poll(cx).is_ready() {
            // Renewed before the check, so that no change is missed.
            self.changed.set(self.way.worker.verifier.shared_epoch().end());
            self.still_allowed();
            return Poll::Ready(());
        }
        ready!(self.tick.as_mut().poll(cx));
        if self.still_allowed() {
            self.tell_due();
            if self.out.is_empty() {
                self.out.extend_from_slice(sse::KEEP_ALIVE);
            }
        }
        self.wake_in_time();
        Poll::Ready(())
    }

    /// Sets the timer to the next keep-alive, or to when the client is next to be told of a change.
    fn wake_in_time(&mut self) {
        let alive = clock::monotonic() + KEEP_ALIVE;
        let at = self.changes.next().map_or(alive, |due| due.min(alive));
        self.tick.as_mut().reset(tokio::time::Instant::from_std(at));
    }

    /// Tells the client of the changes that are due.
    fn tell_due(&mut self) {
        let now = clock::monotonic();
        while let Some(kind) = self.changes.due(now) {
            self.tell(kind);
        }
    }

    /// Tells the client that a list has changed, in the proxy's own words.
    fn tell(&mut self, kind: ListKind) {
        let listens = self.way.method.is_some_and(|method| method.access == Access::Subscriptions);
        let subscription = self.way.id.as_ref().filter(|_| listens).map(|id| &**id.raw());
        let message = lists::changed(kind, subscription);
        self.send(None, None, Some(&Line::of_json(message.into())));
    }

    /// Passes on the server's notification that a list has changed, unless there were too many.
    fn pass_change(&mut self, kind: ListKind, id: Option<&str>, retry: Option<u64>, bytes: Bytes) {
        if self.changes.may_tell(kind, clock::monotonic()) {
            return self.send(id, retry, Some(&Line::of_json(bytes)));
        }
        if let Some(trail) = &self.trail {
            trail.sinks.metrics.count_dropped(&self.way.route.name, "list_changed", 1);
        }
        self.wake_in_time();
    }

    /// Tells the client of the changes that were not due yet: nothing more comes after.
    fn tell_rest(&mut self) {
        for kind in self.changes.rest().iter() {
            self.tell(kind);
        }
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
            // A priming event stays one (2025-11-25, "Sending Messages to the Server").
            primed => return self.send(id.as_deref(), event.retry, primed.map(|_| Line::empty()).as_ref()),
        };
        let Some(trail) = &mut self.trail else { return };
        match message::passed(&self.way, data, trail.findings_mut()) {
            Ok(Passed::Notification(bytes)) => self.send(id.as_deref(), event.retry, Some(&Line::of_json(bytes))),
            Ok(Passed::Acknowledged(bytes, lists)) => {
                self.changes.expect(lists);
                self.send(id.as_deref(), event.retry, Some(&Line::of_json(bytes)));
            }
            Ok(Passed::Changed(bytes, kind)) => self.pass_change(kind, id.as_deref(), event.retry, bytes),
            Ok(Passed::Request { message, id: own, sealed }) => {
                if self.asked.len() < MOST_REQUESTS {
                    self.asked.push((own, sealed));
                }
                self.send(id.as_deref(), event.retry, Some(&Line::of_json(message)));
            }
            Ok(Passed::Cancelled(document)) => self.cancel(&document, id.as_deref()),
            Ok(Passed::Dropped) => {}
            Ok(Passed::Refused(bytes)) => self.refusals.tell(&self.way, bytes),
            Ok(Passed::Response(response)) => {
                self.settled = response.settled;
                self.tell_rest();
                self.upstream.iter_mut().for_each(AnswerBody::release);
                let ending = Ending { http: 200, code: response.code, tool_error: response.tool_error, error: None };
                if self.finish(ending) {
                    self.send(id.as_deref(), None, Some(&Line::of_json(response.bytes)));
                }
            }
            Err(reject) => self.fail(&reject),
        }
    }

    /// Passes the cancellation of a server request on, with the client's id, if the request was sent on this stream.
    fn cancel(&mut self, document: &Document, event_id: Option<&str>) {
        let Some(named) = document.pointer("/params/requestId") else { return };
        let is_same =
            |own: &Bytes| std::str::from_utf8(own).ok().and_then(RpcId::from_raw).is_some_and(|id| id.is(named));
        let Some(at) = self.asked.iter().position(|(own, _)| is_same(own)) else { return };
        let (_, sealed) = self.asked.swap_remove(at);
        let Some(trail) = &mut self.trail else { return };
        match message::cancellation(&self.way, document, &sealed, trail.findings_mut()) {
            Ok(message) => self.send(event_id, None, Some(&Line::of_json(message))),
            Err(reject) => self.fail(&reject),
        }
    }

    fn send(&mut self, id: Option<&str>, retry: Option<u64>, data: Option<&Line>) {
        Outgoing { name: EventName::Message, id, retry, data }.encode_to(&mut self.out);
    }

    /// The id from which the client may resume: the upstream's, sealed with the call of the stream. `None` in 2026-07-28,
    /// which has none, and if the upstream's cannot be in a header.
    fn event_id(&mut self, event: &Event) -> Option<String> {
        let upstream_id = std::str::from_utf8(event.id.as_deref()?).ok()?;
        // It could not be sent in `Last-Event-ID`.
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
        // Without an id the client cannot resume.
        self.resumable |= sealed.is_some();
        sealed
    }

    /// Whether the caller's token and the current policy still allow the stream; ends it if not.
    fn still_allowed(&mut self) -> bool {
        let now = Timestamp::now();
        if let Err(error) = self.way.caller.accepted_at(now) {
            self.fail(&Reject::Token(error));
            return false;
        }
        // Read before the check, so that no change is missed.
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

    /// The same after a reload, by the new configuration.
    fn reloaded(&mut self, now: Timestamp) -> bool {
        let snapshot = self.way.worker.live.current();
        let Some(route) = snapshot.route(&self.way.route.path) else {
            self.fail(&Reject::NotFound);
            return false;
        };
        match route.acceptance.readmit(&self.way.caller, Some(&self.way.route.acceptance), now) {
            Ok(caller) => {
                if caller.scopes != self.way.caller.scopes {
                    self.changes.changed(ListKinds::ALL);
                }
                self.way.caller = caller;
            }
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
        self.changes.changed(self.way.route.lists.changed(&route.lists));
        self.way.route = route;
        self.way.snapshot = snapshot;
        self.tell_due();
        self.wake_in_time();
        true
    }

    fn upstream_ended(&mut self) {
        self.tell_rest();
        if self.way.id.is_none() || self.resumable {
            self.finish(Ending { http: 200, code: None, tool_error: false, error: None });
        } else {
            self.fail(&ReplyError::Missing.into());
        }
    }

    /// Ends the stream, with an error response if the client waits for one.
    fn fail(&mut self, reject: &Reject) {
        let Some(trail) = &self.trail else { return };
        let (bytes, status) = trail.event_for(reject);
        let due = self.way.id.is_some();
        let (code, tool_error) = (status.code, status.code.is_none());
        if self.over(Ending { http: 200, code, tool_error, error: Some(reject.kind()) }, Some(reject)) && due {
            self.send(None, None, Some(&Line::of_json(bytes)));
        }
    }

    /// Records the ending before the last byte is sent; returns whether it was recorded.
    fn finish(&mut self, ending: Ending) -> bool {
        self.over(ending, None)
    }

    fn over(&mut self, ending: Ending, reject: Option<&Reject>) -> bool {
        self.upstream = None;
        match self.trail.take() {
            Some(trail) => trail.end_now(ending, reject).is_ok(),
            None => false,
        }
    }
}
