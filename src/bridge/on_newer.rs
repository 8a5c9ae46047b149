//! Calls of a client of an older revision at an upstream of 2026-07-28.
//!
//! What the upstream asks before it answers (`input_required`) becomes requests on the stream of the client's call, as servers
//! of the older revisions send them; when all are answered the call is repeated with the answers.

mod listen;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method as Verb;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};

use super::answer::METHOD_NOT_FOUND;
use super::link::Link;
use super::newer::{self, Brought, Question, Told};
use super::told::{Client, TakenBack};
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

/// How long a client may take to answer what a server asks.
const PATIENCE: Duration = Duration::from_mins(10);
/// Events of one call on their way to the client.
const AHEAD: usize = 16;
/// The most times one call asks before it answers.
const ROUNDS: usize = 16;

/// A client's answer to a server's request, as JSON; `None` for an error.
pub(super) type Response = Option<Bytes>;

/// A request of the client.
#[derive(Debug)]
struct Asked {
    client: Arc<Client>,
    document: Document,
    /// As written.
    id: Bytes,
    method: Option<&'static Method>,
    tool: Option<Arc<Tool>>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.client.ends(&self.id);
    }
}

/// Sends what a client of an older revision sends.
pub(super) async fn send(link: Link, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
    let clients = &link.route.bridge.clients;
    let client = match outbound.session() {
        None => None,
        // The client is told that its session is gone, and opens another.
        Some(name) => match clients.get(name) {
            None => return Ok(answer::no_session()),
            client => client,
        },
    };
    let who = || outbound.caller().map(|caller| Who::of(caller));
    let client = client.unwrap_or_else(|| Arc::new(Client::new(who(), Told::of(None))));
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
            let taken_back = client.begins(&id);
            drop(name);
            call(link, Box::new(Asked { client, document, id, method, tool }), taken_back).await
        }
    }
}

/// Passes the answer to a server's request on to the call that waits for it.
fn response(link: &Link, id: Option<Value<'_>>, result: Option<Value<'_>>) {
    if let Some(name) = id.and_then(|id| id.as_str()) {
        link.route.bridge.waiting.resume(&name, result.map(|result| result.raw_bytes()));
    }
}

/// What a session of the proxy's own answers by itself.
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

/// The tool of a call, where its definition has been seen: some of its arguments stand in headers too.
fn tool_of(link: &Link, method: Option<&Method>, root: Value<'_>) -> Option<Arc<Tool>> {
    let Access::Subject { kind: SubjectKind::Tool, pointer } = method?.access else { return None };
    let name = root.get("params")?.pointer(pointer)?.as_str()?;
    link.route.tools.seen(&name)
}

/// Opens a session of the proxy's own, with what the upstream says of itself.
async fn hello(
    link: &Link,
    caller: Option<&Arc<Caller>>,
    document: &Document,
    id: &Bytes,
) -> Result<Box<Answer>, UpstreamError> {
    let told = Told::of(document.root().get("params"));
    if told.is_too_long() {
        return Ok(answer::too_long(id));
    }
    let own = RpcId::own();
    let question = newer::discover(own.raw(), &told);
    let answer = link.post_newer(question, [newer::method_header(DISCOVER)]).await?;
    if !answer.status.is_success() {
        return Ok(answer);
    }
    let media = answer.headers.get(CONTENT_TYPE).cloned();
    let discovered = whole_or_streamed(media.as_ref(), answer.body, &own, Revision::V2026_07_28).await;
    let Ok(discovered) = discovered.map(Inbound::into_document) else { return Ok(answer::unusable()) };
    if discovered.root().get("result").is_none() {
        return Ok(answer::message(newer::response(&discovered, id, None).bytes(&discovered)));
    }
    let revision = told.revision;
    let mut answer = answer::message(newer::initialized(&discovered, id, revision));
    let name = link.route.bridge.clients.open(caller.map(|caller| Who::of(caller)), told);
    if let Ok(name) = http::HeaderValue::from_str(&name) {
        answer.headers.insert(SESSION_ID.clone(), name);
    }
    Ok(answer)
}

/// One round of a call: the upstream's answer, and the id it was asked under.
async fn round(link: &Link, asked: &Asked, brought: &Brought) -> Result<(Box<Answer>, RpcId), UpstreamError> {
    let own = RpcId::own();
    let level = asked.client.level();
    let request = newer::request(&asked.document, own.raw(), &asked.client.told, level.as_deref(), brought);
    let headers = newer::headers(&asked.document, asked.method, asked.tool.as_deref());
    Ok((link.post_newer(request, headers).await?, own))
}

async fn call(link: Link, asked: Box<Asked>, mut taken_back: TakenBack) -> Result<Box<Answer>, UpstreamError> {
    let nothing = Brought::default();
    let (answer, own) = tokio::select! {
        biased;
        () = taken_back.said() => return Ok(answer::unusable()),
        round = round(&link, &asked, &nothing) => round?,
    };
    match media_type(&answer.headers) {
        Media::Json => {
            let (status, headers) = (answer.status, answer.headers);
            let bytes = answer.body.collect_limited(link.most_bytes()).await?;
            let document = match Document::parse_or_return(bytes) {
                Ok(document) => document,
                Err(bytes) => return Ok(Answer::new(status, headers, AnswerBody::whole(bytes))),
            };
            // Under its client's id it would pass for the answer.
            if !newer::is_answer(&document, &own) {
                return Ok(answer::unusable());
            }
            if newer::questions(&document).is_none() {
                let body = newer::response(&document, &asked.id, asked.method).body(document);
                return Ok(answer::older(headers, body));
            }
            Ok(Running::begin(link, (asked, taken_back), own, (AnswerBody::whole(Bytes::new()), Some(document))))
        }
        Media::EventStream if answer.status.is_success() => {
            Ok(Running::begin(link, (asked, taken_back), own, (answer.body, None)))
        }
        Media::EventStream | Media::None | Media::Other => Ok(answer),
    }
}

/// Until the client has gone, or has taken its request back.
async fn is_over(out: &mpsc::Sender<Bytes>, taken_back: &mut TakenBack) {
    tokio::select! {
        () = out.closed() => {}
        () = taken_back.said() => {}
    }
}

/// A call whose answer is a stream, or that asks something first.
struct Running {
    link: Link,
    asked: Box<Asked>,
    taken_back: TakenBack,
    own: RpcId,
    body: AnswerBody,
    splitter: Splitter,
    out: mpsc::Sender<Bytes>,
}

impl Running {
    /// Goes on with what has come: a stream, or the first message of it.
    fn begin(
        link: Link,
        (asked, taken_back): (Box<Asked>, TakenBack),
        own: RpcId,
        (body, first): (AnswerBody, Option<Document>),
    ) -> Box<Answer> {
        let (out, events) = mpsc::channel(AHEAD);
        let splitter = Splitter::new(link.worker.live.current().limits.event_bytes);
        let running = Self { link, asked, taken_back, own, body, splitter, out };
        running.link.clone().begin(running.run(first));
        Answer::events(events)
    }

    async fn run(mut self, mut first: Option<Document>) {
        for _ in 0..ROUNDS {
            let answer = match first.take() {
                Some(answer) => Some(answer),
                None => self.answer().await,
            };
            let Some(answer) = answer else { return };
            let Some((questions, state)) = newer::questions(&answer) else {
                let said = newer::response(&answer, &self.asked.id, self.asked.method);
                return self.say(said.bytes(&answer)).await;
            };
            let Some(responses) = self.ask(questions).await else { return self.give_up().await };
            let brought = Brought { responses, state };
            let next = tokio::select! {
                biased;
                () = is_over(&self.out, &mut self.taken_back) => return,
                next = round(&self.link, &self.asked, &brought) => next,
            };
            let Ok((answer, own)) = next else { return };
            self.own = own;
            match media_type(&answer.headers) {
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

    /// The answer on the stream; what is told before it goes on.
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
                () = is_over(&self.out, &mut self.taken_back) => return None,
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

    /// Asks the client, and waits for all its answers; `None` where it does not or cannot give one.
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
            () = is_over(&self.out, &mut self.taken_back) => None,
            responses = tokio::time::timeout(PATIENCE, all) => responses.ok()?,
        }
    }

    fn client_can(&self, method: &str) -> bool {
        let capability = method.split('/').next().unwrap_or_default();
        let capabilities = Document::parse(self.asked.client.told.capabilities.clone(), &Limits::REQUEST);
        capabilities.is_ok_and(|capabilities| capabilities.root().get(capability).is_some())
    }

    /// The server wants an answer before it gives one, and the client gives none.
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
