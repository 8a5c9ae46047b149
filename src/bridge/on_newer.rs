//! Messages of a client of an older revision at an upstream of 2026-07-28.
//!
//! An `input_required` result becomes requests on the stream that answers the client's call, as servers of older revisions
//! send them; once the client has answered all of them, the call is repeated with the responses (2026-07-28, "Multi
//! Round-Trip Requests").

mod listen;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method as Verb;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};

use super::answer::METHOD_NOT_FOUND;
use super::clients::{Cancellation, Client};
use super::link::Link;
use super::newer::{self, Declared, Input, Question};
use super::{answer, event, older};
use crate::auth::{Caller, Who};
use crate::json::{Document, Limits, Value};
use crate::mcp::headers::SESSION_ID;
use crate::mcp::methods::{self, CANCELLED, DISCOVER, INITIALIZE, Method, News, PING, SET_LEVEL, SUBSCRIBE};
use crate::mcp::sse::Splitter;
use crate::mcp::{Access, Era, Inbound, Revision, RpcId, SubjectKind};
use crate::policy::tools::Tool;
use crate::reply::{Media, media_type};
use crate::upstream::{Answer, AnswerBody, Outbound, UpstreamError, whole_or_streamed};

/// How long a client may take to answer the requests of one round.
const PATIENCE: Duration = Duration::from_mins(10);
/// Number of events buffered for the client of one call.
const AHEAD: usize = 16;
/// The most upstream requests for one call, the first included.
const ROUNDS: usize = 16;

/// The `result` of a client's response to a server request, as JSON; `None` for an error.
pub(super) type Response = Option<Bytes>;

/// A client's request, tracked for cancellation until this is dropped.
#[derive(Debug)]
struct Asked {
    client: Arc<Client>,
    document: Document,
    /// The id as the client wrote it, as JSON.
    id: Bytes,
    method: Option<&'static Method>,
    tool: Option<Arc<Tool>>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.client.untrack(&self.id);
    }
}

/// Sends a message, or a GET or DELETE, of a client of an older revision. Errs if the upstream does not answer.
pub(super) async fn send(link: Link, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
    let clients = &link.route.bridge.clients;
    let client = match outbound.session() {
        None => None,
        // The client gets 404 and must open another session (2025-11-25, "Session Management").
        Some(name) => match clients.get(name) {
            None => return Ok(answer::no_session()),
            client => client,
        },
    };
    let who = || outbound.caller().map(|caller| Who::of(caller));
    let client = client.unwrap_or_else(|| Arc::new(Client::new(who(), Declared::of(None))));
    if outbound.verb() == Verb::DELETE {
        let closed = outbound.session().is_some_and(|name| clients.close(name));
        return Ok(if closed { answer::ended() } else { answer::no_session() });
    }
    if outbound.verb() == Verb::GET {
        return Ok(listen::open(&link, client));
    }
    let caller = outbound.caller().cloned();
    let listed = outbound.listed();
    let (Some(document), _) = outbound.into_message() else { return Ok(answer::unusable()) };
    let root = document.root();
    let method = root.get("method").and_then(|method| method.as_str());
    match (method, root.get("id")) {
        (None, id) => {
            response(&link, id, root.get("result"));
            Ok(answer::accepted())
        }
        (Some(method), None) => {
            if method == CANCELLED
                && let Some(id) = root.pointer("/params/requestId")
            {
                client.cancel(id.raw());
            }
            Ok(answer::accepted())
        }
        (Some(name), Some(id)) => {
            let (id, method) = (id.raw_bytes(), listed);
            if let Some(answer) = own(&client, &name, method, root.get("params"), &id) {
                return Ok(answer);
            }
            if name == INITIALIZE {
                return Box::pin(hello(&link, caller.as_ref(), &document, &id)).await;
            }
            let tool = tool_of(&link, method, root);
            let cancellation = client.track(&id);
            drop(name);
            call(link, Box::new(Asked { client, document, id, method, tool }), cancellation).await
        }
    }
}

/// Passes the client's response to a server request on to the call that waits for it; an unknown one is dropped.
fn response(link: &Link, id: Option<Value<'_>>, result: Option<Value<'_>>) {
    if let Some(name) = id.and_then(|id| id.as_str()) {
        link.route.bridge.waiting.resume(&name, result.map(|result| result.raw_bytes()));
    }
}

/// The answer to a request that the proxy answers itself: `ping`, `logging/setLevel`, resource subscriptions and tasks;
/// `None` for requests that go upstream.
fn own(
    client: &Client,
    method: &str,
    row: Option<&Method>,
    params: Option<Value<'_>>,
    id: &Bytes,
) -> Option<Box<Answer>> {
    let text = |name: &str| params.and_then(|params| params.get(name)?.as_str());
    if method == PING {
        return Some(result(id, "{}"));
    }
    if method == SET_LEVEL {
        let level = text("level")?;
        if !older::is_level(&level) {
            return Some(answer::to(id, r#""error":{"code":-32602,"message":"Unknown log level"}"#));
        }
        client.set_level(&level);
        return Some(result(id, "{}"));
    }
    if SUBSCRIBE.contains(&method) {
        let has_room = client.subscribe(&text("uri")?, method == SUBSCRIBE[0]);
        let full = r#""error":{"code":-32602,"message":"The session has as many subscriptions as it may"}"#;
        return Some(if has_room { result(id, "{}") } else { answer::to(id, full) });
    }
    let row = row?;
    let is_task = row.access == Access::Task || methods::lists_tasks(row);
    is_task.then(|| answer::no_tasks(id, Era::Legacy))
}

fn result(id: &Bytes, result: &str) -> Box<Answer> {
    answer::to(id, &format!(r#""result":{result}"#))
}

/// The definition of the called tool, if known: it says which arguments are mirrored in headers.
fn tool_of(link: &Link, method: Option<&Method>, root: Value<'_>) -> Option<Arc<Tool>> {
    let Access::Subject { kind: SubjectKind::Tool, pointer } = method?.access else { return None };
    let name = root.get("params")?.pointer(pointer)?.as_str()?;
    link.route.tools.seen(&name)
}

/// Answers `initialize` from the upstream's `server/discover`, and opens a session that the proxy keeps. Errs if the
/// upstream does not answer.
async fn hello(
    link: &Link,
    caller: Option<&Arc<Caller>>,
    document: &Document,
    id: &Bytes,
) -> Result<Box<Answer>, UpstreamError> {
    let declared = Declared::of(document.root().get("params"));
    if declared.is_too_long() {
        return Ok(answer::too_long(id));
    }
    let own = RpcId::own();
    let question = newer::discover(own.raw(), &declared);
    let answer = link.post_newer(question, [newer::method_header(DISCOVER)]).await?;
    if !answer.status.is_success() {
        return Ok(answer);
    }
    let media = answer.fields.get(&CONTENT_TYPE).cloned();
    let discovered = whole_or_streamed(media.as_ref(), answer.body, &own, Revision::V2026_07_28).await;
    let Ok(discovered) = discovered.map(Inbound::into_document) else { return Ok(answer::unusable()) };
    if discovered.root().get("result").is_none() {
        return Ok(answer::message(newer::response(&discovered, id, None, declared.revision).bytes(&discovered)));
    }
    let revision = declared.revision;
    let mut answer = answer::message(newer::initialized(&discovered, id, revision));
    let name = link.route.bridge.clients.open(caller.map(|caller| Who::of(caller)), declared);
    if let Ok(name) = http::HeaderValue::from_str(&name) {
        answer.fields.set(SESSION_ID.clone(), name);
    }
    Ok(answer)
}

/// Sends one round of a call. Returns the upstream's answer and the id of the request. Errs if the upstream does not answer.
async fn round(link: &Link, asked: &Asked, input: &Input) -> Result<(Box<Answer>, RpcId), UpstreamError> {
    let own = RpcId::own();
    let level = asked.client.level();
    let request = newer::request(&asked.document, own.raw(), &asked.client.declared, level.as_deref(), input);
    let headers = newer::headers(&asked.document, asked.method, asked.tool.as_deref());
    Ok((link.post_newer(request, headers).await?, own))
}

async fn call(link: Link, asked: Box<Asked>, mut cancellation: Cancellation) -> Result<Box<Answer>, UpstreamError> {
    let nothing = Input::default();
    let (answer, own) = tokio::select! {
        biased;
        () = cancellation.requested() => return Ok(answer::unusable()),
        round = round(&link, &asked, &nothing) => round?,
    };
    match media_type(&answer.fields) {
        Media::Json => {
            let (status, fields) = (answer.status, answer.fields);
            let bytes = answer.body.collect_limited(link.most_bytes()).await?;
            let document = match Document::parse_or_return(bytes) {
                Ok(document) => document,
                Err(bytes) => return Ok(Answer::new(status, fields, AnswerBody::whole(bytes))),
            };
            // A response to another request would be taken for the answer once it has the client's id.
            if !newer::is_answer(&document, &own) {
                return Ok(answer::unusable());
            }
            if newer::questions(&document).is_none() {
                let body =
                    newer::response(&document, &asked.id, asked.method, asked.client.declared.revision).body(document);
                return Ok(answer::older(fields, body));
            }
            Ok(Running::begin(link, (asked, cancellation), own, (AnswerBody::whole(Bytes::new()), Some(document))))
        }
        Media::EventStream if answer.status.is_success() => {
            Ok(Running::begin(link, (asked, cancellation), own, (answer.body, None)))
        }
        Media::EventStream | Media::None | Media::Other => Ok(answer),
    }
}

/// Completes when the client has disconnected or cancelled its request.
async fn is_over(out: &mpsc::Sender<Bytes>, cancellation: &mut Cancellation) {
    tokio::select! {
        () = out.closed() => {}
        () = cancellation.requested() => {}
    }
}

/// A call in progress, whose answer to the client is a stream.
struct Running {
    link: Link,
    asked: Box<Asked>,
    cancellation: Cancellation,
    own: RpcId,
    body: AnswerBody,
    splitter: Splitter,
    out: mpsc::Sender<Bytes>,
}

impl Running {
    /// Spawns the rest of the call and returns its answer, a stream; `first` is the upstream's answer if it was not a stream
    /// itself.
    fn begin(
        link: Link,
        (asked, cancellation): (Box<Asked>, Cancellation),
        own: RpcId,
        (body, first): (AnswerBody, Option<Document>),
    ) -> Box<Answer> {
        let (out, events) = mpsc::channel(AHEAD);
        let splitter = Splitter::new(link.worker.live.current().limits.event_bytes);
        let running = Self { link, asked, cancellation, own, body, splitter, out };
        running.link.clone().begin(running.run(first));
        Answer::events(events)
    }

    async fn run(mut self, mut first: Option<Document>) {
        for sent in 1..=ROUNDS {
            let answer = match first.take() {
                Some(answer) => Some(answer),
                None => self.answer().await,
            };
            let Some(answer) = answer else { return };
            let Some((questions, state)) = newer::questions(&answer) else {
                let said =
                    newer::response(&answer, &self.asked.id, self.asked.method, self.asked.client.declared.revision);
                return self.say(said.bytes(&answer)).await;
            };
            if sent == ROUNDS {
                break;
            }
            let Some(responses) = self.ask(questions).await else { return self.give_up().await };
            let input = Input { responses, state };
            let next = tokio::select! {
                biased;
                () = is_over(&self.out, &mut self.cancellation) => return,
                next = round(&self.link, &self.asked, &input) => next,
            };
            let Ok((answer, own)) = next else { return };
            self.own = own;
            match media_type(&answer.fields) {
                Media::Json => {
                    let bytes = answer.body.collect_limited(self.link.most_bytes()).await;
                    let said = bytes.ok().and_then(|bytes| Document::parse(bytes, &Limits::ANSWER).ok());
                    first = said.filter(|said| newer::is_answer(said, &self.own));
                    if first.is_none() {
                        return;
                    }
                }
                Media::EventStream if answer.status.is_success() => {
                    self.body = answer.body;
                    self.splitter = Splitter::new(self.link.worker.live.current().limits.event_bytes);
                }
                Media::EventStream | Media::None | Media::Other => return,
            }
        }
        self.give_up().await;
    }

    /// Reads the stream up to the response to the call, and forwards its log and progress notifications; `None` if the
    /// stream ends without one, or the client has gone.
    async fn answer(&mut self) -> Option<Document> {
        loop {
            while let Some(event) = self.splitter.next_event() {
                let Some(data) = event.ok()?.data.filter(|data| !data.is_empty()) else { continue };
                let document = Document::parse(data, &Limits::ANSWER).ok()?;
                let root = document.root();
                match root.get("method").and_then(|method| method.as_str()) {
                    None if root.get("id").is_some_and(|id| self.own.is(id)) => {
                        self.body.release();
                        return Some(document);
                    }
                    Some(method) if matches!(methods::news(&method), Some(News::Log | News::Progress)) => {
                        self.say(document.bytes().clone()).await;
                    }
                    _ => {}
                }
            }
            tokio::select! {
                biased;
                () = is_over(&self.out, &mut self.cancellation) => return None,
                frame = self.body.frame() => {
                    if let Ok(data) = frame?.ok()?.into_data() {
                        self.splitter.feed(data);
                    }
                }
            }
        }
    }

    async fn say(&self, message: Bytes) {
        let _ = self.out.send(event(message)).await;
    }

    /// Sends the requests to the client and waits for its responses, by key; `None` if it lacks a capability, answers one
    /// with an error, does not answer in time or has gone, or if too many requests wait.
    async fn ask(&mut self, questions: Vec<Question>) -> Option<Vec<(String, Bytes)>> {
        let mut waiting: Vec<(String, oneshot::Receiver<Response>)> = Vec::new();
        for question in questions {
            if !self.client_can(&question.method) {
                return None;
            }
            let (name, response) = self.link.route.bridge.waiting.wait(self.asked.client.who.clone())?;
            self.say(question.request(&name)).await;
            waiting.push((question.key, response));
        }
        let all = async {
            let mut responses = Vec::with_capacity(waiting.len());
            for (key, response) in waiting {
                responses.push((key, response.await.ok()??));
            }
            Some(responses)
        };
        tokio::select! {
            biased;
            () = is_over(&self.out, &mut self.cancellation) => None,
            responses = tokio::time::timeout(PATIENCE, all) => responses.ok()?,
        }
    }

    fn client_can(&self, method: &str) -> bool {
        let capability = method.split('/').next().unwrap_or_default();
        let capabilities = Document::parse(self.asked.client.declared.capabilities.clone(), &Limits::REQUEST);
        capabilities.is_ok_and(|capabilities| capabilities.root().get(capability).is_some())
    }

    /// Answers the call with an error: the server's input requests were not answered.
    async fn give_up(&self) {
        let id = String::from_utf8_lossy(&self.asked.id);
        let is_call = self
            .asked
            .method
            .is_some_and(|method| matches!(method.access, Access::Subject { kind: SubjectKind::Tool, .. }));
        let text = "The server asked something first that this client did not answer";
        let what = if is_call {
            format!(r#""result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":true}}"#)
        } else {
            format!(r#""error":{{"code":{METHOD_NOT_FOUND},"message":"{text}"}}"#)
        };
        self.say(format!(r#"{{"jsonrpc":"2.0","id":{id},{what}}}"#).into()).await;
    }
}
