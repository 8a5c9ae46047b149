//! A server that speaks over its standard input and output, adapted to look like one that speaks Streamable HTTP.
//!
//! A [`Stdio`] keeps a bounded number of processes. A client's session names its place in one of them; several sessions of one
//! caller, or of all, share a process without seeing anything of each other's, as [`Switchboard`](super::switchboard) ensures.

mod launch;
mod places;
mod process;
mod slot;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

pub(crate) use self::launch::END_NOW;
use self::places::{Opened, Places};
pub(super) use self::process::Process;
use self::slot::{Owner, Slot};
use super::gate::{Place, Room};
use super::lines::{Asked, Lines, Peer};
use super::losses::Losses;
use super::outbound::Passenger;
use super::switchboard::{AHEAD, Heard, OWN, Session};
use super::{Answer, Outbound, UpstreamError};
use crate::auth::{Caller, Who};
use crate::clock;
use crate::config::{self, Sharing};
use crate::json::Document;
use crate::mcp::methods::INITIALIZE;
use crate::mcp::{MessageShape, Revision, RpcId, inbound};

const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The processes of one server.
#[derive(Debug)]
pub(super) struct Stdio {
    server: Arc<config::Server>,
    command: Arc<config::Command>,
    places: Mutex<Places>,
    last: AtomicU64,
    pub(super) losses: Arc<Losses>,
}

impl Stdio {
    pub(super) fn new(server: &config::Server, command: &config::Command) -> Self {
        let (server, command) = (Arc::new(server.clone()), Arc::new(command.clone()));
        Self { server, command, places: Mutex::default(), last: AtomicU64::new(OWN), losses: Arc::default() }
    }

    /// Over all processes: calls in flight, calls waiting, and the breaker state, which is the first that is not closed.
    pub(super) fn health(&self) -> (usize, usize, super::Phase) {
        let places = self.places();
        places.slots.values().fold((0, 0, super::Phase::Closed), |(there, waiting, phase), slot| {
            let (more, later) = slot.gate.load();
            (there + more, waiting + later, if phase == super::Phase::Closed { slot.phase() } else { phase })
        })
    }

    /// How many processes run.
    pub(super) fn processes(&self) -> usize {
        self.places().slots.values().filter(|slot| slot.running().is_some()).count()
    }

    /// Ends every process, and waits until they have ended.
    pub(super) async fn shut_down(&self) {
        let (slots, mut running) = {
            let mut places = self.places();
            (std::mem::take(&mut places.slots), std::mem::take(&mut places.leaving))
        };
        for slot in slots.values() {
            // Includes processes whose input pipe is closed already, since the worker that wrote to it may have ended.
            running.extend(slot.unended().await);
        }
        for process in &running {
            process.stop();
        }
        for process in running {
            process.ended().await;
        }
    }

    /// Sends `outbound` and waits for the beginning of the answer. Errs if there is none.
    pub(super) async fn send(&self, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
        if outbound.caller().is_some_and(|caller| caller.anonymous) && self.command.sessions != Sharing::All {
            // An anonymous caller cannot have a process of its own.
            return Ok(empty(StatusCode::BAD_REQUEST));
        }
        let session = outbound.session();
        match (outbound.verb(), session) {
            (&Method::GET, Some(id)) => self.listen(id, &outbound.passenger()).await,
            (&Method::DELETE, Some(id)) => {
                Ok(empty(if self.close(id) { StatusCode::OK } else { StatusCode::NOT_FOUND }))
            }
            (&Method::POST, _) => self.message(outbound).await,
            _ => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    async fn message(&self, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
        let is_modern = outbound.names_method();
        let opened = outbound.session().map(|id| self.find(id));
        let (message, passenger) = outbound.into_message();
        let message = message.ok_or(UpstreamError::Greeting)?;
        let shape = inbound::shape(&message).map_err(|_| UpstreamError::Greeting)?;
        let is_initialize =
            message.root().get("method").is_some_and(|method| method.as_str().as_deref() == Some(INITIALIZE));
        if let (true, MessageShape::Request { id }) = (is_initialize, &shape) {
            return self.open(&message, id, passenger.caller.as_deref()).await;
        }
        let (number, slot) = match opened {
            Some(Some(opened)) => (opened.number, opened.slot),
            Some(None) => return Err(UpstreamError::NoSuchSession),
            None if is_modern => (OWN, self.slot_without_greeting(passenger.caller.as_deref())?),
            None => return Ok(empty(StatusCode::BAD_REQUEST)),
        };
        match shape {
            MessageShape::Request { id } => self.ask(&slot, number, &message, &id, &passenger, is_modern).await,
            MessageShape::Notification => {
                let process = self.process(&slot).await?;
                let line = process.board().tell(number, &message);
                self.aside(&process, line).await
            }
            MessageShape::Response { .. } => {
                let process = self.process(&slot).await?;
                let line = process.board().reply(number, &message);
                self.aside(&process, line).await
            }
        }
    }

    /// Opens a session. If the process already runs, its earlier answer to `initialize` is reused.
    async fn open(
        &self,
        message: &Document,
        id: &RpcId,
        caller: Option<&Caller>,
    ) -> Result<Box<Answer>, UpstreamError> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let params =
            message.root().get("params").map(|params| Bytes::copy_from_slice(params.raw())).unwrap_or_default();
        let version = message.pointer("/params/protocolVersion").and_then(|version| version.as_str());
        let version = version.and_then(|version| Revision::parse(&version)).unwrap_or(Revision::V2025_11_25);
        let own = || {
            Bytes::from(format!(
                r#"{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"portcullis","version":"{}"}}}}"#,
                env!("CARGO_PKG_VERSION")
            ))
        };
        let (owner, hello) = match self.command.sessions {
            Sharing::All => (Owner::All { greeting: Some(own()) }, own()),
            Sharing::Client => (Owner::Client(number), params),
            Sharing::Principal => {
                let greeting = Some(Bytes::copy_from_slice(digest(&SHA256, &params).as_ref()));
                (Owner::Principal { who: caller.map(Who::of), greeting }, params)
            }
        };
        let who = caller.map(Who::of);
        let slot = self.slot(owner, who.as_ref(), Some(hello))?;
        let ready = slot.ready(&self.server.name, &self.command, self.patience()).await?;
        let greeted = ready.greeted.ok_or(UpstreamError::Greeting)?;
        let name = self.name(Opened { number, who, slot, used: clock::monotonic() })?;
        let text = [br#"{"jsonrpc":"2.0","id":"#.as_slice(), id.raw(), br#","result":"#, &greeted, b"}"].concat();
        let mut answer = Answer::json(StatusCode::OK, text.into());
        answer.fields.set(MCP_SESSION_ID, name);
        Ok(answer)
    }

    /// Registers the session under an unguessable id, although the id is sent only inside the owner's sealed handle. Errs if
    /// the limit of sessions is reached.
    fn name(&self, opened: Opened) -> Result<HeaderValue, UpstreamError> {
        let name = format!("{}-{}", opened.number, uuid::Uuid::new_v4().simple());
        self.places().keep(&name, opened, self.command.idle)?;
        HeaderValue::from_str(&name).map_err(|_| UpstreamError::NoSuchSession)
    }

    fn find(&self, id: &str) -> Option<Opened> {
        let mut places = self.places();
        let opened = places.sessions.get_mut(id)?;
        opened.used = clock::monotonic();
        Some(opened.clone())
    }

    fn close(&self, id: &str) -> bool {
        self.places().close(id)
    }

    fn slot_without_greeting(&self, caller: Option<&Caller>) -> Result<Arc<Slot>, UpstreamError> {
        let owner = match self.command.sessions {
            Sharing::All => Owner::All { greeting: None },
            Sharing::Client | Sharing::Principal => Owner::Principal { who: caller.map(Who::of), greeting: None },
        };
        self.slot(owner, caller.map(Who::of).as_ref(), None)
    }

    /// The slot of `owner`; a new one if a slot is free or an idle one can be evicted. Errs otherwise.
    fn slot(&self, owner: Owner, who: Option<&Who>, hello: Option<Bytes>) -> Result<Arc<Slot>, UpstreamError> {
        let mut places = self.places();
        if let Some(slot) = places.slots.get(&owner) {
            return Ok(Arc::clone(slot));
        }
        // A shared process counts toward no caller's share.
        let who = who.filter(|_| !matches!(owner, Owner::All { .. }));
        places.find_room(who, self.command.processes, self.command.idle)?;
        let slot = Slot::new(owner.clone(), who.cloned(), hello, (&self.server, &self.losses));
        places.slots.insert(owner, Arc::clone(&slot));
        Ok(slot)
    }

    /// Ends processes that have been idle too long; to be called periodically.
    pub(super) fn tidy(&self) {
        self.places().tidy(self.command.idle);
    }

    async fn process(&self, slot: &Slot) -> Result<Arc<Process>, UpstreamError> {
        Ok(slot.ready(&self.server.name, &self.command, self.patience()).await?.process)
    }

    async fn ask(
        &self,
        slot: &Arc<Slot>,
        session: Session,
        message: &Document,
        id: &RpcId,
        passenger: &Passenger,
        is_modern: bool,
    ) -> Result<Box<Answer>, UpstreamError> {
        let place = slot.gate.enter(passenger.room, passenger.caller.as_deref()).await?;
        let process = self.process(slot).await?;
        passenger.check(place.has_waited)?;
        let (to, heard) = mpsc::channel(AHEAD);
        let (number, line) = process.board().ask(session, message, id, to);
        let asked = Asked::new(Peer::Process(Arc::clone(&process)), Some(number));
        let patience = self.patience();
        let is_stream = passenger.room == Room::Stream;
        let first = timeout(patience, first(&process, line, heard)).await;
        let (first, heard) = match first {
            Ok(Some(first)) => first,
            // The process has ended, so there is nothing to cancel.
            Ok(None) => {
                asked.done();
                slot.note(false);
                return Err(UpstreamError::Exited);
            }
            Err(_) => return Err(UpstreamError::FirstByte(patience)),
        };
        slot.note(true);
        Ok(match first {
            Heard::Last(text) => {
                asked.done();
                whole(text, is_modern)
            }
            Heard::Aside(text) => {
                let idle = (!is_stream).then_some(self.server.timeouts.idle);
                streamed(Lines::new(Some(text), heard, asked, idle), place)
            }
        })
    }

    /// Writes a message that has no answer; a message that need not be sent (`None`) is accepted too.
    async fn aside(
        &self,
        process: &Process,
        line: Option<crate::mcp::sse::Line>,
    ) -> Result<Box<Answer>, UpstreamError> {
        if let Some(line) = line {
            let patience = self.patience();
            let written = timeout(patience, process.write(line)).await;
            if !written.map_err(|_| UpstreamError::FirstByte(patience))? {
                return Err(UpstreamError::Exited);
            }
        }
        Ok(empty(StatusCode::ACCEPTED))
    }

    async fn listen(&self, id: &str, passenger: &Passenger) -> Result<Box<Answer>, UpstreamError> {
        let opened = self.find(id).ok_or(UpstreamError::NoSuchSession)?;
        let place = opened.slot.gate.enter(passenger.room, passenger.caller.as_deref()).await?;
        let process = self.process(&opened.slot).await?;
        let (to, heard) = mpsc::channel(AHEAD);
        process.board().listen(opened.number, to);
        let asked = Asked::new(Peer::Process(Arc::clone(&process)), None);
        Ok(streamed(Lines::new(None, heard, asked, None), place))
    }

    fn patience(&self) -> Duration {
        self.server.timeouts.first_byte
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a request, and waits for its first message; `None` if the process has ended.
async fn first(
    process: &Process,
    line: crate::mcp::sse::Line,
    mut heard: mpsc::Receiver<Heard>,
) -> Option<(Heard, mpsc::Receiver<Heard>)> {
    if !process.write(line).await {
        return None;
    }
    let first = heard.recv().await?;
    Some((first, heard))
}

fn empty(status: StatusCode) -> Box<Answer> {
    Answer::bare(status)
}

/// An answer of one message. In 2026-07-28 an unknown method has status 404.
fn whole(text: Bytes, is_modern: bool) -> Box<Answer> {
    let code = || Document::parse(text.clone(), &crate::json::Limits::ANSWER).ok()?.pointer("/error/code")?.as_i64();
    let status = if is_modern && code() == Some(-32601) { StatusCode::NOT_FOUND } else { StatusCode::OK };
    Answer::json(status, text)
}

fn streamed(lines: Lines, place: Place) -> Box<Answer> {
    let mut answer = Answer::lines(lines);
    answer.body.hold(place);
    answer
}
