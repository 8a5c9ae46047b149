//! Routes messages between several callers and a process or stream that they share: toward the process, ids and progress tokens
//! are the proxy's own, and an answer to a request that was not sent is dropped. No I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::losses::Loss;
use crate::json::{Document, Splice, Value};
use crate::mcp::inbound::{self, InboundError};
use crate::mcp::methods::{CANCELLED, INITIALIZED, PING, PROGRESS, ROOTS_CHANGED};
use crate::mcp::sse::Line;
use crate::mcp::{MessageShape, RpcId};

/// The most queued messages per reader. Further ones are dropped, except the answer itself.
pub(super) const AHEAD: usize = 256;
/// A message of more bytes than this is queued only if fewer than [`FEW`] are, to limit the memory of a slow reader's queue.
const LARGE: usize = 64 * 1024;
const FEW: usize = 8;
/// The most remembered ids of cancelled calls, and of unanswered requests of the process.
const REMEMBERED: usize = 4_096;

/// The `_meta` key with the id of the listen request that a message belongs to (2026-07-28).
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// JSON-RPC 2.0 section 5.1; the answer to a server's request that no client can be given.
const METHOD_NOT_FOUND: i32 = -32601;

/// A message on its way to a client.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message other than the answer.
    Aside(Bytes),
    /// The answer, the last message.
    Last(Bytes),
}

/// The number of a client's session, or [`OWN`].
pub(super) type Session = u64;
/// The session of the proxy itself, and of all clients of 2026-07-28, which has no sessions.
pub(super) const OWN: Session = 0;

/// The outcome of a line of the process.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was delivered.
    Passed,
    /// It is to be answered with this message.
    Reply(Bytes),
    /// It was dropped.
    Dropped(Loss),
    /// It answers a request that was not sent.
    Unasked,
    /// It is not a valid MCP message.
    Unreadable(InboundError),
}

/// The pending calls, requests and listeners of one process.
#[derive(Debug)]
pub(super) struct Switchboard {
    /// Whether different callers share the process, and must not see each other's messages.
    is_shared: Arc<AtomicBool>,
    /// The number of the latest call.
    last: Arc<AtomicU64>,
    /// Calls have this number or a higher one.
    first: u64,
    calls: HashMap<u64, Call>,
    /// The latest calls whose clients disconnected.
    abandoned: VecDeque<u64>,
    /// The highest number of such a call that is no longer in `abandoned`.
    forgotten: u64,
    /// The process's unanswered requests: id, session asked, and where it was delivered.
    questions: VecDeque<(Bytes, Session, mpsc::Sender<Heard>)>,
    /// The event streams of sessions.
    listeners: HashMap<Session, mpsc::Sender<Heard>>,
}

#[derive(Debug)]
struct Call {
    session: Session,
    /// The client's request id, byte for byte.
    id: Bytes,
    token: Option<Bytes>,
    to: mpsc::Sender<Heard>,
}

impl Switchboard {
    pub(super) fn new(is_shared: bool) -> Self {
        Self::among(Arc::new(AtomicBool::new(is_shared)), Arc::default())
    }

    /// A switchboard that shares its call numbers and its `is_shared` flag with others.
    pub(super) fn among(is_shared: Arc<AtomicBool>, last: Arc<AtomicU64>) -> Self {
        Self {
            is_shared,
            first: last.load(Ordering::Relaxed) + 1,
            last,
            calls: HashMap::new(),
            abandoned: VecDeque::new(),
            forgotten: 0,
            questions: VecDeque::new(),
            listeners: HashMap::new(),
        }
    }

    /// Registers a client's request; returns its number and the line for the process.
    pub(super) fn ask(
        &mut self,
        session: Session,
        message: &Document,
        id: &RpcId,
        to: mpsc::Sender<Heard>,
    ) -> (u64, Line) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let own = itoa::Buffer::new().format(number).to_owned();
        let mut splice = Splice::new();
        if let Some(written) = message.root().get("id") {
            splice.replace(written.span(), own.clone());
        }
        let token = message.pointer("/params/_meta/progressToken");
        if let Some(token) = token {
            splice.replace(token.span(), own);
        }
        let token = token.map(|token| Bytes::copy_from_slice(token.raw()));
        self.calls.insert(number, Call { session, id: Bytes::copy_from_slice(id.raw()), token, to });
        (number, Line::of_json(splice.apply(message.bytes())))
    }

    /// A client's notification as the line for the process; `None` if it must not be sent.
    pub(super) fn tell(&self, session: Session, message: &Document) -> Option<Line> {
        let method = message.root().get("method")?.as_str()?;
        if method == CANCELLED {
            // Without sessions, ids of different clients cannot be told apart: there a client cancels by disconnecting.
            if session == OWN {
                return None;
            }
            let cancelled = message.pointer("/params/requestId")?;
            let same = |call: &&Call| call.session == session && is_same(&call.id, cancelled);
            let (number, _) = self.calls.iter().find(|(_, call)| same(call))?;
            let mut splice = Splice::new();
            splice.replace(cancelled.span(), itoa::Buffer::new().format(*number).to_owned());
            return Some(Line::of_json(splice.apply(message.bytes())));
        }
        // The proxy sends its own `initialized`, and a shared process has no client roots and sends no requests.
        let is_moot = method == INITIALIZED || self.is_shared() && (method == ROOTS_CHANGED || method == PROGRESS);
        (!is_moot).then(|| Line::of(message))
    }

    /// A client's answer to a request of the process; `None` unless that request went to `session` and is unanswered.
    pub(super) fn reply(&mut self, session: Session, message: &Document) -> Option<Line> {
        let id = message.root().get("id")?;
        let at = self.questions.iter().position(|(asked, whom, _)| *whom == session && is_same(asked, id))?;
        self.questions.remove(at);
        Some(Line::of(message))
    }

    /// Sets a session's event stream, replacing any earlier one.
    pub(super) fn listen(&mut self, session: Session, to: mpsc::Sender<Heard>) {
        self.listeners.insert(session, to);
    }

    /// Cancels a call whose client disconnected: returns the cancellation for the process, or `None` if it has answered.
    pub(super) fn abandon(&mut self, number: u64) -> Option<Line> {
        self.calls.remove(&number)?;
        if let Some(forgotten) = remember(&mut self.abandoned, number) {
            self.forgotten = self.forgotten.max(forgotten);
        }
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"{CANCELLED}","params":{{"requestId":{number},"reason":"the client went away"}}}}"#
        );
        Some(Line::of_json(text.into()))
    }

    /// Forgets a session: its stream, and the requests sent to it.
    pub(super) fn forget(&mut self, session: Session) {
        self.listeners.remove(&session);
        self.questions.retain(|(_, whom, _)| *whom != session);
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Whether no call and no listener is pending.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.listeners.values().all(mpsc::Sender::is_closed)
    }

    /// Whether no call and no listener of `session` is pending.
    pub(super) fn is_idle_for(&self, session: Session) -> bool {
        let listens = self.listeners.get(&session).is_some_and(|listener| !listener.is_closed());
        !listens && self.calls.values().all(|call| call.session != session)
    }

    /// Drops all calls, listeners and requests, which closes their channels.
    pub(super) fn clear(&mut self) {
        self.calls.clear();
        self.listeners.clear();
        self.questions.clear();
    }

    /// Routes a line of the process.
    pub(super) fn hear(&mut self, line: Bytes) -> Outcome {
        let (document, shape) = match inbound::read(line) {
            Ok(read) => read,
            Err(error) => return Outcome::Unreadable(error),
        };
        match shape {
            MessageShape::Response { id } => self.answered(&document, &id),
            MessageShape::Notification => self.told(&document),
            MessageShape::Request { id } => self.asked(&document, &id),
        }
    }

    fn answered(&mut self, document: &Document, id: &RpcId) -> Outcome {
        // Any other spelling is not an id of ours.
        let number = std::str::from_utf8(id.raw()).ok().and_then(|id| id.parse::<u64>().ok());
        let Some(number) = number else { return Outcome::Unasked };
        let Some(call) = self.calls.remove(&number) else {
            return self.unwanted(number);
        };
        let mut splice = Splice::new();
        if let Some(written) = document.root().get("id") {
            splice.replace(written.span(), call.id.clone());
        }
        if let Some(named) = document.root().get("result").and_then(subscription)
            && named.as_i64().and_then(|named| u64::try_from(named).ok()) == Some(number)
        {
            splice.replace(named.span(), call.id.clone());
        }
        // One place in the queue is reserved for it.
        match call.to.try_send(Heard::Last(splice.apply(document.bytes()))) {
            Ok(()) => Outcome::Passed,
            Err(_) => Outcome::Dropped(Loss::Late),
        }
    }

    /// Handles an answer without a pending call: late if the call was cancelled, or is too old to tell.
    fn unwanted(&mut self, number: u64) -> Outcome {
        let at = self.abandoned.iter().position(|other| *other == number);
        let was_asked = at.and_then(|at| self.abandoned.remove(at)).is_some() || self.was_forgotten(number);
        if was_asked { Outcome::Dropped(Loss::Late) } else { Outcome::Unasked }
    }

    fn was_forgotten(&self, number: u64) -> bool {
        (self.first..=self.forgotten).contains(&number)
    }

    fn told(&mut self, document: &Document) -> Outcome {
        let Some(params) = document.root().get("params") else { return self.announce(document) };
        // A progress token or subscription id identifies one call.
        if let Some(named) = params.get("progressToken") {
            return self.told_call(document, named, |call| call.token.clone());
        }
        if let Some(named) = subscription(params) {
            return self.told_call(document, named, |call| Some(call.id.clone()));
        }
        self.announce(document)
    }

    fn told_call(&self, document: &Document, named: Value<'_>, own: impl Fn(&Call) -> Option<Bytes>) -> Outcome {
        let number = named.as_i64().and_then(|named| u64::try_from(named).ok());
        let Some(call) = number.and_then(|number| self.calls.get(&number)) else {
            return Outcome::Dropped(Loss::Unattributed);
        };
        let Some(own) = own(call) else { return Outcome::Dropped(Loss::Unattributed) };
        let mut splice = Splice::new();
        splice.replace(named.span(), own);
        pass(&call.to, splice.apply(document.bytes()))
    }

    /// Routes a notification that names no call: to all listeners, or else to the only pending call. Where different callers
    /// share the process, only `…/list_changed` is routed.
    fn announce(&self, document: &Document) -> Outcome {
        let method = document.root().get("method").and_then(|method| method.as_str()).unwrap_or_default();
        if method == CANCELLED {
            return self.taken_back(document);
        }
        let is_about_all = method.ends_with("/list_changed");
        if self.is_shared() && !is_about_all {
            return Outcome::Dropped(Loss::Unattributed);
        }
        let mut passed = false;
        for listener in self.listeners.values() {
            passed |= pass(listener, document.bytes().clone()) == Outcome::Passed;
        }
        if !passed && let Some(call) = self.only_call() {
            return pass(&call.to, document.bytes().clone());
        }
        if passed { Outcome::Passed } else { Outcome::Dropped(Loss::NobodyListens) }
    }

    /// Routes the process's cancellation of its own request, to where that was delivered.
    fn taken_back(&self, document: &Document) -> Outcome {
        let Some(id) = document.pointer("/params/requestId") else { return Outcome::Dropped(Loss::Unattributed) };
        match self.questions.iter().find(|(asked, ..)| is_same(asked, id)) {
            Some((_, _, to)) => pass(to, document.bytes().clone()),
            None => Outcome::Dropped(Loss::Unattributed),
        }
    }

    /// Routes a request of the process to the only session that it can be for; otherwise answers it with "method not found".
    fn asked(&mut self, document: &Document, id: &RpcId) -> Outcome {
        let raw = String::from_utf8_lossy(id.raw()).into_owned();
        let method = document.root().get("method").and_then(|method| method.as_str()).unwrap_or_default();
        if method == PING {
            return Outcome::Reply(format!(r#"{{"jsonrpc":"2.0","id":{raw},"result":{{}}}}"#).into());
        }
        if let Some((session, to)) = self.meant()
            && pass(to, document.bytes().clone()) == Outcome::Passed
        {
            let to = to.clone();
            remember(&mut self.questions, (Bytes::from(raw), session, to));
            return Outcome::Passed;
        }
        let text = "nobody can be asked that here";
        let error = format!(r#"{{"code":{METHOD_NOT_FOUND},"message":"{text}"}}"#);
        Outcome::Reply(format!(r#"{{"jsonrpc":"2.0","id":{raw},"error":{error}}}"#).into())
    }

    /// The session that a request of the process is for: the only one with pending calls, or else the only listener.
    fn meant(&self) -> Option<(Session, &mpsc::Sender<Heard>)> {
        if self.is_shared() {
            return None;
        }
        let mut calls = self.calls.values().filter(|call| !call.to.is_closed());
        if let Some(first) = calls.next() {
            return calls.all(|call| call.session == first.session).then_some((first.session, &first.to));
        }
        let mut listeners = self.listeners.iter().filter(|(_, to)| !to.is_closed());
        let (session, to) = listeners.next()?;
        listeners.next().is_none().then_some((*session, to))
    }

    fn only_call(&self) -> Option<&Call> {
        let mut calls = self.calls.values();
        let call = calls.next()?;
        calls.next().is_none().then_some(call)
    }
}

/// The subscription id of a message, if it has one.
fn subscription(value: Value<'_>) -> Option<Value<'_>> {
    value.get("_meta")?.get(SUBSCRIPTION)
}

/// Whether a literal equals an id: same type and value, however a string is escaped.
fn is_same(literal: &Bytes, other: Value<'_>) -> bool {
    std::str::from_utf8(literal).ok().and_then(RpcId::from_raw).is_some_and(|id| id.is(other))
}

/// Delivers a message other than the answer, unless its reader's queue is full.
fn pass(to: &mpsc::Sender<Heard>, message: Bytes) -> Outcome {
    if to.is_closed() {
        return Outcome::Dropped(Loss::Late);
    }
    // INVARIANT: the last place in the queue is reserved for the answer.
    let waiting = to.max_capacity() - to.capacity();
    if to.capacity() <= 1 || message.len() > LARGE && waiting >= FEW {
        return Outcome::Dropped(Loss::ReaderBehind);
    }
    match to.try_send(Heard::Aside(message)) {
        Ok(()) => Outcome::Passed,
        Err(_) => Outcome::Dropped(Loss::Late),
    }
}

/// Appends `one`; returns the oldest if it had to be removed.
fn remember<T>(all: &mut VecDeque<T>, one: T) -> Option<T> {
    let oldest = if all.len() >= REMEMBERED { all.pop_front() } else { None };
    all.push_back(one);
    oldest
}

#[cfg(test)]
mod tests;
