//! Routes messages between several callers and one process or stream they share: ids and progress tokens are the proxy's own
//! toward the process, and an answer to nothing that was asked is dropped. No I/O.

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

/// The most messages that wait for one reader. What comes beyond is left out, but for the answer itself.
pub(super) const AHEAD: usize = 256;
/// A message of more bytes than this waits only beside few others, so that what waits for a slow reader stays small.
const LARGE: usize = 64 * 1024;
const FEW: usize = 8;
/// The most ids remembered of calls nobody waits for any more, and of questions nobody has answered yet.
const REMEMBERED: usize = 4_096;

/// Where a listen request of 2026-07-28 is named in what belongs to it.
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// JSON-RPC 2.0 section 5.1, for what a server asks of nobody.
const METHOD_NOT_FOUND: i32 = -32601;

/// A message on its way to a client.
#[derive(Debug)]
pub(super) enum Heard {
    /// Something besides the answer.
    Aside(Bytes),
    /// The answer; nothing comes after it.
    Last(Bytes),
}

/// Who speaks to a process: one client's session, or the proxy itself.
pub(super) type Session = u64;
/// The proxy itself. Clients of 2026-07-28, which have no sessions, are all in this one.
pub(super) const OWN: Session = 0;

/// What became of a line of the process.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It went to whom it is for.
    Passed,
    /// It is answered with this.
    Reply(Bytes),
    /// It is not for anybody.
    Dropped(Loss),
    /// It answers what nobody asked.
    Unasked,
    /// It is no message of MCP's.
    Unreadable(InboundError),
}

/// What is under way at one process.
#[derive(Debug)]
pub(super) struct Switchboard {
    /// Whether callers share the process who must not see anything of each other's.
    is_shared: Arc<AtomicBool>,
    /// The latest number of a call.
    last: Arc<AtomicU64>,
    calls: HashMap<u64, Call>,
    /// Calls whose clients went away, the latest of them.
    abandoned: VecDeque<u64>,
    /// The last of those before them.
    forgotten: u64,
    /// Whom the process asked what, by its id, and where.
    questions: VecDeque<(Bytes, Session, mpsc::Sender<Heard>)>,
    /// The streams of sessions that listen.
    listeners: HashMap<Session, mpsc::Sender<Heard>>,
}

#[derive(Debug)]
struct Call {
    session: Session,
    /// As its client wrote it.
    id: Bytes,
    token: Option<Bytes>,
    to: mpsc::Sender<Heard>,
}

impl Switchboard {
    pub(super) fn new(is_shared: bool) -> Self {
        Self::among(Arc::new(AtomicBool::new(is_shared)), Arc::default())
    }

    /// One of several that number their calls together, and hear each other's messages or do not.
    pub(super) fn among(is_shared: Arc<AtomicBool>, last: Arc<AtomicU64>) -> Self {
        Self {
            is_shared,
            last,
            calls: HashMap::new(),
            abandoned: VecDeque::new(),
            forgotten: 0,
            questions: VecDeque::new(),
            listeners: HashMap::new(),
        }
    }

    /// A client's request, as the process gets it, and the number it has there.
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

    /// A client's notification as the process gets it; `None` where it is not told.
    pub(super) fn tell(&self, session: Session, message: &Document) -> Option<Line> {
        let method = message.root().get("method")?.as_str()?;
        if method == CANCELLED {
            // Where ids are not told apart by session a client takes its request back by going away, and no other's by its id.
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
        // The proxy has said itself that it is ready, and what is shared has no roots and asks nothing.
        let is_moot = method == INITIALIZED || self.is_shared() && (method == ROOTS_CHANGED || method == PROGRESS);
        (!is_moot).then(|| Line::of(message))
    }

    /// A client's answer to what the process asked, which must have been asked of just this client; once.
    pub(super) fn reply(&mut self, session: Session, message: &Document) -> Option<Line> {
        let id = message.root().get("id")?;
        let at = self.questions.iter().position(|(asked, whom, _)| *whom == session && is_same(asked, id))?;
        self.questions.remove(at);
        Some(Line::of(message))
    }

    /// A session's own stream, in the place of one it may have had before.
    pub(super) fn listen(&mut self, session: Session, to: mpsc::Sender<Heard>) {
        self.listeners.insert(session, to);
    }

    /// The client of a call went away: what the process is to be told, unless it has answered.
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

    /// Forgets a session: its stream, and what it was asked.
    pub(super) fn forget(&mut self, session: Session) {
        self.listeners.remove(&session);
        self.questions.retain(|(_, whom, _)| *whom != session);
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Whether anybody waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.listeners.values().all(mpsc::Sender::is_closed)
    }

    /// Whether a session waits for nothing, whatever others do.
    pub(super) fn is_idle_for(&self, session: Session) -> bool {
        let listens = self.listeners.get(&session).is_some_and(|listener| !listener.is_closed());
        !listens && self.calls.values().all(|call| call.session != session)
    }

    /// Everybody who waits is told by the end of their channels.
    pub(super) fn clear(&mut self) {
        self.calls.clear();
        self.listeners.clear();
        self.questions.clear();
    }

    /// A line of the process.
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
        // An id that is spelled in any other way is not one of ours.
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
        // One place is always left for it.
        match call.to.try_send(Heard::Last(splice.apply(document.bytes()))) {
            Ok(()) => Outcome::Passed,
            Err(_) => Outcome::Dropped(Loss::Late),
        }
    }

    /// The answer to a call nobody waits for: which of them it was is remembered of the latest, and no fault before that.
    fn unwanted(&mut self, number: u64) -> Outcome {
        let at = self.abandoned.iter().position(|other| *other == number);
        let was_asked = at.and_then(|at| self.abandoned.remove(at)).is_some() || self.was_forgotten(number);
        if was_asked { Outcome::Dropped(Loss::Late) } else { Outcome::Unasked }
    }

    fn was_forgotten(&self, number: u64) -> bool {
        (1..=self.forgotten).contains(&number)
    }

    fn told(&mut self, document: &Document) -> Outcome {
        let Some(params) = document.root().get("params") else { return self.announce(document) };
        // A call is named by the token or the subscription that it alone has.
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
            return Outcome::Dropped(Loss::Nobodys);
        };
        let Some(own) = own(call) else { return Outcome::Dropped(Loss::Nobodys) };
        let mut splice = Splice::new();
        splice.replace(named.span(), own);
        pass(&call.to, splice.apply(document.bytes()))
    }

    /// What names nobody: to everybody who listens, where all of them are one caller's; else where it can only be about one.
    fn announce(&self, document: &Document) -> Outcome {
        let method = document.root().get("method").and_then(|method| method.as_str()).unwrap_or_default();
        if method == CANCELLED {
            return self.taken_back(document);
        }
        let is_about_all = method.ends_with("/list_changed");
        if self.is_shared() && !is_about_all {
            return Outcome::Dropped(Loss::Nobodys);
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

    /// The process takes a question back: whoever was asked is told where they were asked.
    fn taken_back(&self, document: &Document) -> Outcome {
        let Some(id) = document.pointer("/params/requestId") else { return Outcome::Dropped(Loss::Nobodys) };
        match self.questions.iter().find(|(asked, ..)| is_same(asked, id)) {
            Some((_, _, to)) => pass(to, document.bytes().clone()),
            None => Outcome::Dropped(Loss::Nobodys),
        }
    }

    /// What the process asks: of the only one it can mean, and else it is told that there is no such thing.
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

    /// The session a question is for: the only one with a call under way, else the only one that listens.
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

/// The subscription a message belongs to, if it names one.
fn subscription(value: Value<'_>) -> Option<Value<'_>> {
    value.get("_meta")?.get(SUBSCRIPTION)
}

/// Whether a literal is that id: same type, same value, however a string is escaped.
fn is_same(literal: &Bytes, other: Value<'_>) -> bool {
    std::str::from_utf8(literal).ok().and_then(RpcId::from_raw).is_some_and(|id| id.is(other))
}

/// Hands on what is not the answer, unless its reader is behind.
fn pass(to: &mpsc::Sender<Heard>, message: Bytes) -> Outcome {
    if to.is_closed() {
        return Outcome::Dropped(Loss::Late);
    }
    // INVARIANT: the last place is the answer's.
    let waiting = to.max_capacity() - to.capacity();
    if to.capacity() <= 1 || message.len() > LARGE && waiting >= FEW {
        return Outcome::Dropped(Loss::ReaderBehind);
    }
    match to.try_send(Heard::Aside(message)) {
        Ok(()) => Outcome::Passed,
        Err(_) => Outcome::Dropped(Loss::Late),
    }
}

/// Keeps one more; the oldest, where it had to make room.
fn remember<T>(all: &mut VecDeque<T>, one: T) -> Option<T> {
    let oldest = if all.len() >= REMEMBERED { all.pop_front() } else { None };
    all.push_back(one);
    oldest
}

#[cfg(test)]
mod tests;
