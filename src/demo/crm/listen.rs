//! Long-lived streams: the GET of older revisions and `subscriptions/listen` of 2026-07-28.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::Response;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::Shared;
use super::journal::Entry;
use super::rpc::{self, Revision};
use crate::demo::lock;
use crate::demo::web::{self, Body};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A listener that is this many messages behind is dropped.
const BACKLOG: usize = 64;

/// Something listeners may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The resource at this address is different.
    Resource(String),
    /// There are more or fewer resources.
    Resources,
    /// The list of tools is different.
    Tools,
}

impl Change {
    fn message(&self, meta: Option<&Value>) -> Value {
        let (method, mut params) = match self {
            Self::Resource(uri) => ("notifications/resources/updated", json!({ "uri": uri })),
            Self::Resources => ("notifications/resources/list_changed", json!({})),
            Self::Tools => ("notifications/tools/list_changed", json!({})),
        };
        if let Some(subscription) = meta {
            params["_meta"] = json!({ "io.modelcontextprotocol/subscriptionId": subscription });
        }
        rpc::notification(method, &params)
    }
}

/// Who hears what.
#[derive(Debug)]
enum Ears {
    /// Everything the session subscribed to, and every list.
    Session(String),
    /// What the filter of the listen request names.
    Subscription { id: Value, filter: Filter },
}

/// The honoured part of `params.notifications`.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    tools: bool,
    resources: bool,
    uris: Vec<String>,
}

impl Filter {
    pub(super) fn read(params: &Map<String, Value>) -> Option<Self> {
        let wanted = params.get("notifications")?.as_object()?;
        let flag = |name: &str| wanted.get(name).and_then(Value::as_bool).unwrap_or(false);
        let uris = match wanted.get("resourceSubscriptions") {
            None => Vec::new(),
            Some(uris) => uris.as_array()?.iter().map(|uri| uri.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        };
        Some(Self { tools: flag("toolsListChanged"), resources: flag("resourcesListChanged"), uris })
    }

    fn honoured(&self) -> Value {
        let mut honoured = Map::new();
        for (name, wanted) in [("toolsListChanged", self.tools), ("resourcesListChanged", self.resources)] {
            if wanted {
                honoured.insert(name.to_owned(), json!(true));
            }
        }
        if !self.uris.is_empty() {
            honoured.insert("resourceSubscriptions".to_owned(), json!(self.uris));
        }
        Value::Object(honoured)
    }

    fn wants(&self, change: &Change) -> bool {
        match change {
            Change::Resource(uri) => self.uris.contains(uri),
            Change::Resources => self.resources,
            Change::Tools => self.tools,
        }
    }
}

#[derive(Debug)]
struct Listener {
    ears: Ears,
    out: mpsc::Sender<Value>,
}

/// All open streams.
#[derive(Debug, Default)]
pub(super) struct Hub(Mutex<Vec<Listener>>);

impl Hub {
    /// Notifies every stream that subscribes to the event, at most one of a session (2025-11-25, "Multiple Connections").
    pub(super) fn announce(&self, change: &Change, subscribes: impl Fn(&str, &str) -> bool) {
        let mut served = HashSet::new();
        lock(&self.0).retain(|listener| {
            if listener.out.is_closed() {
                return false;
            }
            let message = match &listener.ears {
                Ears::Session(session) => {
                    let wanted = match change {
                        Change::Resource(uri) => subscribes(session, uri),
                        Change::Resources | Change::Tools => true,
                    };
                    (wanted && served.insert(session.clone())).then(|| change.message(None))
                }
                Ears::Subscription { id, filter } => filter.wants(change).then(|| change.message(Some(id))),
            };
            message.is_none_or(|message| listener.out.try_send(message).is_ok())
        });
    }

    /// Ends subscriptions with an empty result (subscriptions page of 2026-07-28) and GET streams without one.
    pub(super) fn end(&self) {
        for listener in lock(&self.0).drain(..) {
            if let Ears::Subscription { id, .. } = listener.ears {
                let meta = json!({ "io.modelcontextprotocol/subscriptionId": id });
                let _ = listener.out.try_send(rpc::result(&id, &json!({ "resultType": "complete", "_meta": meta })));
            }
        }
    }

    /// Ends the streams of one session.
    pub(super) fn end_session(&self, session: &str) {
        lock(&self.0).retain(|listener| !matches!(&listener.ears, Ears::Session(name) if name == session));
    }
}

/// The GET stream of a session.
pub(super) fn of_session(shared: &Arc<Shared>, session: String, revision: Revision) -> Response<Body> {
    open(shared, Ears::Session(session), revision, Vec::new())
}

/// The answer to `subscriptions/listen`: the acknowledgement, then what the filter lets through.
pub(super) fn of_subscription(shared: &Arc<Shared>, id: Value, filter: Filter) -> Response<Body> {
    let params = json!({
        "_meta": { "io.modelcontextprotocol/subscriptionId": id },
        "notifications": filter.honoured(),
    });
    let acknowledged = rpc::notification("notifications/subscriptions/acknowledged", &params);
    open(shared, Ears::Subscription { id, filter }, Revision::V2026_07_28, vec![acknowledged])
}

fn open(shared: &Arc<Shared>, ears: Ears, revision: Revision, first: Vec<Value>) -> Response<Body> {
    let (out, messages) = mpsc::channel(BACKLOG);
    for message in first {
        let _ = out.try_send(message);
    }
    lock(&shared.hub.0).push(Listener { ears, out });
    shared.journal.add(Entry::ListenOpened);
    web::events(stream(Open { shared: shared.clone(), messages }, revision))
}

/// The receiving end of a stream; dropping it is noted in the journal.
struct Open {
    shared: Arc<Shared>,
    messages: mpsc::Receiver<Value>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.journal.add(Entry::ListenClosed);
    }
}

fn stream(open: Open, revision: Revision) -> impl Stream<Item = Bytes> + Send {
    futures_util::stream::unfold(open, move |mut open| async move {
        let next = tokio::time::timeout(KEEP_ALIVE, open.messages.recv()).await;
        let bytes = match next {
            Ok(message) => rpc::event(revision, None, &message?),
            Err(_) => Bytes::from_static(b": keep-alive\n\n"),
        };
        Some((bytes, open))
    })
}
