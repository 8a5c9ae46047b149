//! The event stream of a session at an older upstream, shared by the caller's subscriptions and calls.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use http_body_util::BodyExt as _;
use tokio::sync::{broadcast, watch};

use crate::bridge::link::Link;
use crate::bridge::session::Session;
use crate::json::{Document, Limits, quoted};
use crate::mcp::ListKind;
use crate::mcp::methods::{self, News, PING, SUBSCRIBE, TASK_STATUS};
use crate::mcp::sse::Splitter;
use crate::reply::{Media, media_type};
use crate::upstream::Answer;

/// Number of notifications buffered for one subscription; a slower one misses the oldest.
const BEHIND: usize = 64;
/// How long to wait before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the stream stays open without a subscription or call.
const LINGER: Duration = Duration::from_secs(30);
/// How long a call waits for the stream to open.
const OPENING: Duration = Duration::from_secs(2);
/// The most server requests that wait for one call.
const AHEAD: usize = 8;

/// A notification from the server.
#[derive(Clone, Debug)]
pub(super) struct Notification {
    pub(super) news: News,
    pub(super) document: Document,
}

/// Distributes what the server sends on the stream: notifications to subscriptions, requests to a running call.
#[derive(Debug)]
pub(in crate::bridge) struct Hub {
    told: broadcast::Sender<Notification>,
    is_listening: AtomicBool,
    /// Whether the stream is open, or an attempt to open it has failed.
    settled: watch::Sender<bool>,
    /// Whether the server refuses to open such a stream.
    has_none: AtomicBool,
    /// The inboxes of running calls whose clients accept server requests, by request id. They keep the stream open too.
    inboxes: Mutex<HashMap<u64, Inbox>>,
    /// Number of subscriptions of each resource, by URI.
    uris: Mutex<HashMap<Box<str>, usize>>,
}

impl Default for Hub {
    fn default() -> Self {
        let (told, _) = broadcast::channel(BEHIND);
        Self {
            told,
            is_listening: AtomicBool::new(false),
            settled: watch::Sender::new(false),
            has_none: AtomicBool::new(false),
            inboxes: Mutex::default(),
            uris: Mutex::new(HashMap::new()),
        }
    }
}

impl Hub {
    /// Subscribes to the notifications from now on.
    pub(super) fn hear(link: &Link, session: &Arc<Session>) -> broadcast::Receiver<Notification> {
        let heard = session.hub.told.subscribe();
        Self::open(link, session);
        heard
    }

    /// Starts reading the stream if nobody does. The subscription or call it is for must be registered before.
    fn open(link: &Link, session: &Arc<Session>) {
        let is_listening = &session.hub.is_listening;
        if !is_listening.load(Ordering::Acquire) && !is_listening.swap(true, Ordering::AcqRel) {
            link.begin(listen(link.clone(), session.clone()));
        }
    }

    /// Registers the call `own`: a server request outside of any call is taken to be for the only call that runs.
    pub(super) fn register(link: &Link, session: &Arc<Session>, own: u64) -> CallInbox {
        session.hub.inboxes().insert(own, Inbox::default());
        if !session.hub.has_none.load(Ordering::Relaxed) {
            Self::open(link, session);
        }
        CallInbox { session: session.clone(), own }
    }

    /// Waits until the stream is open, an attempt to open it has failed, or [`OPENING`] has passed.
    pub(super) async fn settle(&self) {
        let mut settled = self.settled.subscribe();
        // On a timeout the call goes on without the stream.
        let _ = tokio::time::timeout(OPENING, settled.wait_for(|settled| *settled)).await;
    }

    /// Passes a server request to the only running call; returns false unless there is exactly one, with room in its inbox.
    fn ask(&self, question: &Document) -> bool {
        let mut inboxes = self.inboxes();
        match inboxes.len() {
            1 => inboxes.values_mut().all(|inbox| inbox.put(question)),
            _ => false,
        }
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<u64, Inbox>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_heard(&self) -> bool {
        self.told.receiver_count() > 0 || !self.inboxes().is_empty()
    }

    /// Completes when nothing has used the stream at the end of an interval of `linger`.
    async fn unheard(&self, linger: Duration) {
        loop {
            self.told.closed().await;
            tokio::time::sleep(linger).await;
            if !self.is_heard() {
                return;
            }
        }
    }

    /// Adds a subscription of a resource; the first one subscribes at the server. Returns false if the server refuses.
    pub(super) async fn want(link: &Link, session: &Session, uri: &str) -> bool {
        let is_first = {
            let mut uris = session.hub.uris.lock().unwrap_or_else(PoisonError::into_inner);
            let count = uris.entry(uri.into()).or_default();
            *count += 1;
            *count == 1
        };
        !is_first || tell(link, session, SUBSCRIBE[0], uri).await
    }

    /// Removes a subscription of a resource; the last one unsubscribes at the server.
    pub(super) async fn leave(link: &Link, session: &Session, uri: &str) {
        let is_last = {
            let mut uris = session.hub.uris.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(count) = uris.get_mut(uri) else { return };
            *count -= 1;
            *count == 0 && uris.remove(uri).is_some()
        };
        if is_last {
            tell(link, session, SUBSCRIBE[1], uri).await;
        }
    }
}

async fn tell(link: &Link, session: &Session, method: &str, uri: &str) -> bool {
    let id = session.next_id();
    let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"uri":{}}}}}"#, quoted(uri));
    let answer = link.post(&session.within, message.into()).await;
    answer.is_ok_and(|answer| answer.status.is_success())
}

/// A running call's registration for server requests outside of it. The stream stays open until it is dropped.
#[derive(Debug)]
pub(super) struct CallInbox {
    session: Arc<Session>,
    own: u64,
}

impl CallInbox {
    /// Whether the stream is still to be opened.
    pub(super) fn is_early(&self) -> bool {
        let hub = &self.session.hub;
        !hub.has_none.load(Ordering::Relaxed) && !*hub.settled.borrow()
    }

    /// Waits for the next server request.
    pub(super) async fn question(&self) -> Document {
        poll_fn(|context| match self.session.hub.inboxes().get_mut(&self.own) {
            Some(inbox) => inbox.poll(context),
            None => Poll::Pending,
        })
        .await
    }
}

impl Drop for CallInbox {
    fn drop(&mut self) {
        self.session.hub.inboxes().remove(&self.own);
    }
}

/// The server requests that wait for a call, and the waker of that call. It is nearly always empty, and allocates nothing
/// then.
#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<Document>,
    waker: Option<Waker>,
}

impl Inbox {
    /// Adds a request; returns false if the inbox is full.
    fn put(&mut self, question: &Document) -> bool {
        let has_room = self.waiting.len() < AHEAD;
        if has_room {
            self.waiting.push_back(question.clone());
            self.waker.iter().for_each(Waker::wake_by_ref);
        }
        has_room
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Document> {
        if let Some(question) = self.waiting.pop_front() {
            return Poll::Ready(question);
        }
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// Reads the session's stream while anything uses it.
async fn listen(link: Link, session: Arc<Session>) {
    let hub = &session.hub;
    // An open stream keeps the session alive, so that it must not linger for longer than an idle session.
    let linger = LINGER.min(link.route.idle.own);
    loop {
        let current = link.current();
        tokio::select! {
            () = hub.unheard(linger) => {}
            () = read(current.as_ref().unwrap_or(&link), &session) => {
                hub.settled.send_replace(true);
                tokio::select! {
                    () = hub.unheard(linger) => {}
                    () = tokio::time::sleep(PAUSE), if !hub.has_none.load(Ordering::Relaxed) => continue,
                }
            }
        }
        hub.settled.send_replace(false);
        session.hub.is_listening.store(false, Ordering::Release);
        // A subscription or call may have been registered meanwhile.
        if !session.hub.is_heard() || session.hub.is_listening.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

async fn read(link: &Link, session: &Session) {
    let Ok(answer) = link.listen(&session.within).await else { return };
    let Answer { status, fields, mut body } = *answer;
    if !status.is_success() || !matches!(media_type(&fields), Media::EventStream) {
        // A server without such a stream answers 405 (2025-11-25, "Listening for Messages from the Server").
        session.hub.has_none.store(status.is_client_error(), Ordering::Relaxed);
        return;
    }
    session.hub.settled.send_replace(true);
    let mut splitter = Splitter::new(link.worker.live.current().limits.event_bytes);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        splitter.feed(data);
        while let Some(event) = splitter.next_event() {
            let Ok(event) = event else { return };
            let data = event.data.filter(|data| !data.is_empty());
            if let Some(Ok(document)) = data.map(|data| Document::parse(data, &Limits::ANSWER)) {
                heard(link, session, document).await;
            }
        }
    }
}

async fn heard(link: &Link, session: &Session, document: Document) {
    let root = document.root();
    let Some(method) = root.get("method").and_then(|method| method.as_str()) else { return };
    if let Some(id) = root.get("id") {
        if method != PING && session.hub.ask(&document) {
            return;
        }
        // There is no call whose client the request could be sent to.
        let what = if method == PING {
            r#""result":{}"#
        } else {
            r#""error":{"code":-32601,"message":"The client is asked nothing outside of its calls"}"#
        };
        let message = format!(r#"{{"jsonrpc":"2.0","id":{},{what}}}"#, String::from_utf8_lossy(id.raw()));
        let _ = link.post(&session.within, message.into()).await;
        return;
    }
    let of_task = (method == TASK_STATUS).then_some(News::Task);
    if let Some(news) = of_task.or_else(|| methods::news(&method)) {
        if news == News::List(ListKind::Tools) {
            link.route.catalog.forget();
        }
        // There may be no subscription just now.
        let _ = session.hub.told.send(Notification { news, document });
    }
}
