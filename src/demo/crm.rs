//! The sample upstream: a customer database with fictitious people that speaks MCP over Streamable HTTP, in the `initialize`
//! era (2025-03-26 to 2025-11-25) and the stateless one (2026-07-28).

mod arguments;
mod catalog;
mod data;
mod export;
mod journal;
mod legacy;
mod listen;
mod methods;
mod modern;
mod rpc;
mod tools;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::data::Store;
pub use self::journal::{Entry, Journal, Received};
use self::legacy::Sessions;
use self::listen::{Change, Hub};
use self::rpc::RpcError;
pub use self::tools::TOOLS;
use crate::demo::lock;
use crate::demo::web::{self, Body, Fault, Faults};

const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// What the CRM is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How fast `export_contacts` goes.
    pub pace: Pace,
    /// Which form answers have.
    pub answers: Answers,
    /// Whether 2025-11-25 streams begin with an empty event that has an id.
    pub priming: Priming,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pace: Pace::Every(Duration::from_millis(250)), answers: Answers::Mixed, priming: Priming::Off }
    }
}

/// How fast `export_contacts` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One contact per interval.
    Every(Duration),
    /// One contact per [`Crm::step`], for tests.
    Stepped,
}

/// Which form answers to requests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// JSON, unless the tool streams.
    Json,
    /// Event streams for searches and lists of invoices, JSON for the rest.
    Mixed,
    /// Event streams always.
    Stream,
}

/// Whether streams of 2025-11-25 begin with an empty event that has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priming {
    /// They begin with their first message.
    Off,
    /// They do, and every event has an id.
    On,
}

/// A running CRM. It ends with the runtime it was started on.
#[derive(Clone, Debug)]
pub struct Crm {
    url: String,
    shared: Arc<Shared>,
}

/// What all requests see.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    store: Mutex<Store>,
    sessions: Mutex<Sessions>,
    hub: Hub,
    journal: Journal,
    steps: Semaphore,
    faults: Faults,
}

/// Starts answering `listener` on the current runtime, with the same data every time.
pub fn start(listener: TcpListener, settings: Settings) -> io::Result<Crm> {
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let shared = Arc::new(Shared {
        settings,
        store: Mutex::new(Store::sample()),
        sessions: Mutex::new(Sessions::default()),
        hub: Hub::default(),
        journal: Journal::default(),
        steps: Semaphore::new(0),
        faults: Faults::new(),
    });
    let answering = shared.clone();
    web::serve(listener, shared.faults.clone(), move |request| answer(answering.clone(), request));
    Ok(Crm { url, shared })
}

impl Crm {
    /// The MCP endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was received and what became of it.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Lets stepped exports continue by that many contacts.
    pub fn step(&self, contacts: usize) {
        self.shared.steps.add_permits(contacts);
    }

    /// Tells listeners that the list of tools has changed.
    pub fn announce_tools(&self) {
        self.shared.announce(&Change::Tools);
    }

    /// Ends every open subscription, as a server that shuts down does.
    pub fn end_subscriptions(&self) {
        self.shared.hub.end();
    }

    /// Forgets every session, as a restart does.
    pub fn forget_sessions(&self) {
        lock(&self.shared.sessions).forget();
    }

    /// Switches a fault on, or off.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.faults.set(fault);
    }
}

impl Shared {
    fn announce(&self, change: &Change) {
        let sessions = lock(&self.sessions);
        self.hub.announce(change, |session, uri| sessions.subscribes(session, uri));
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = web::read(body, BODY_LIMIT_BYTES).await;
    shared.journal.received(&head, body.clone().unwrap_or_default());
    if !web::is_local(&head.headers) {
        return web::empty(StatusCode::FORBIDDEN);
    }
    let Some(body) = body else { return web::empty(StatusCode::PAYLOAD_TOO_LARGE) };
    match (head.uri.path(), &head.method) {
        ("/mcp", &Method::POST) => post(&shared, &head.headers, &body),
        ("/mcp", _) if modern::is_named(&head.headers) => web::empty(StatusCode::METHOD_NOT_ALLOWED),
        ("/mcp", &Method::GET) => legacy::listen(&shared, &head.headers),
        ("/mcp", &Method::DELETE) => legacy::end(&shared, &head.headers),
        ("/mcp", _) => web::empty(StatusCode::METHOD_NOT_ALLOWED),
        _ => web::empty(StatusCode::NOT_FOUND),
    }
}

fn post(shared: &Arc<Shared>, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return web::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    if !(accepts(headers, "application/json") && accepts(headers, "text/event-stream")) {
        return web::empty(StatusCode::NOT_ACCEPTABLE);
    }
    let Ok(message) = serde_json::from_slice::<Value>(body) else {
        let error = RpcError::new(rpc::PARSE_ERROR, "the body is not JSON");
        return web::json(StatusCode::BAD_REQUEST, &error.message(None));
    };
    if modern::is_meant(headers, &message) {
        modern::post(shared, headers, message)
    } else {
        legacy::post(shared, headers, message)
    }
}

/// Whether one of the `Accept` ranges is exactly `media_type`.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let lists = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = lists.flat_map(|list| list.split(','));
    ranges.any(|range| range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(media_type)))
}
