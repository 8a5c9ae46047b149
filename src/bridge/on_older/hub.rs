//! The one stream of a session at an older upstream, shared by all subscriptions of the caller.

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
use crate::mcp::methods::{self, News, PING, SUBSCRIBE, TASK_STATUS};
use crate::mcp::sse::Splitter;
use crate::reply::{Media, media_type};
use crate::upstream::Answer;

/// News one subscription may fall behind by; after that it misses some.
const BEHIND: usize = 64;
/// How long to wait before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a stream stays open that nobody hears.
const LINGER: Duration = Duration::from_secs(30);
/// How long a call waits for the stream to be open.
const OPENING: Duration = Duration::from_secs(2);
/// Questions of the server that one call has not looked at yet.
const AHEAD: usize = 8;

/// One message of news.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) news: News,
    pub(super) document: Document,
}

/// Who wants to hear what the server tells on its own stream.
#[derive(Debug)]
pub(in crate::bridge) struct Hub {
    told: broadcast::Sender<Told>,
    is_listening: AtomicBool,
    /// Whether the stream is open, or will not be.
    settled: watch::Sender<bool>,
    /// Whether the server has no such stream.
    has_none: AtomicBool,
    /// The calls that run and whose client can be asked, by their ids; they keep the stream open too.
    attended: Mutex<HashMap<u64, Inbox>>,
    /// By how many each resource is asked for.
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
            attended: Mutex::default(),
            uris: Mutex::new(HashMap::new()),
        }
    }
}

impl Hub {
    /// What is told from now on.
    pub(super) fn hear(link: &Link, session: &Arc<Session>) -> broadcast::Receiver<Told> {
        let heard = session.hub.told.subscribe();
        Self::open(link, session);
        heard
    }

    /// Sees to it that the stream is read; whoever hears it is counted already.
    fn open(link: &Link, session: &Arc<Session>) {
        let is_listening = &session.hub.is_listening;
        if !is_listening.load(Ordering::Acquire) && !is_listening.swap(true, Ordering::AcqRel) {
            link.begin(listen(link.clone(), session.clone()));
        }
    }

    /// What the server asks outside of its calls while the call `own` runs: with no other, it is about that one.
    pub(super) fn attend(link: &Link, session: &Arc<Session>, own: u64) -> Attended {
        session.hub.attended().insert(own, Inbox::default());
        if !session.hub.has_none.load(Ordering::Relaxed) {
            Self::open(link, session);
        }
        Attended { session: session.clone(), own }
    }

    /// Waits until the stream is open, or will not be.
    pub(super) async fn settle(&self) {
        let mut settled = self.settled.subscribe();
        // A server that is slow to open it is not waited for.
        let _ = tokio::time::timeout(OPENING, settled.wait_for(|settled| *settled)).await;
    }

    /// Has the client of the only call that runs asked this; says whether there is one, and it can be.
    fn ask(&self, question: &Document) -> bool {
        let mut attended = self.attended();
        match attended.len() {
            1 => attended.values_mut().all(|inbox| inbox.put(question)),
            _ => false,
        }
    }

    fn attended(&self) -> MutexGuard<'_, HashMap<u64, Inbox>> {
        self.attended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_heard(&self) -> bool {
        self.told.receiver_count() > 0 || !self.attended().is_empty()
    }

    /// Until nobody has heard it for a while.
    async fn unheard(&self, linger: Duration) {
        loop {
            self.told.closed().await;
            tokio::time::sleep(linger).await;
            if !self.is_heard() {
                return;
            }
        }
    }

    /// Counts one more who wants news of `uri`; the first one makes the server tell them.
    pub(super) async fn want(link: &Link, session: &Session, uri: &str) -> bool {
        let is_first = {
            let mut uris = session.hub.uris.lock().unwrap_or_else(PoisonError::into_inner);
            let count = uris.entry(uri.into()).or_default();
            *count += 1;
            *count == 1
        };
        !is_first || tell(link, session, SUBSCRIBE[0], uri).await
    }

    /// Counts one less.
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

/// A call that runs, and what is asked of its client outside of it. As long as it is there, the stream stays open.
#[derive(Debug)]
pub(super) struct Attended {
    session: Arc<Session>,
    own: u64,
}

impl Attended {
    /// Whether the stream it could be asked on is still to be opened.
    pub(super) fn is_early(&self) -> bool {
        let hub = &self.session.hub;
        !hub.has_none.load(Ordering::Relaxed) && !*hub.settled.borrow()
    }

    /// The next question.
    pub(super) async fn question(&self) -> Document {
        poll_fn(|context| match self.session.hub.attended().get_mut(&self.own) {
            Some(inbox) => inbox.poll(context),
            None => Poll::Pending,
        })
        .await
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.session.hub.attended().remove(&self.own);
    }
}

/// Questions that wait to be looked at, and who waits for some. Nearly always there are none, and it has no room for any.
#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<Document>,
    waker: Option<Waker>,
}

impl Inbox {
    /// Takes one more, if there are not too many.
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

/// Reads the session's stream as long as anybody hears it.
async fn listen(link: Link, session: Arc<Session>) {
    let hub = &session.hub;
    // An open stream keeps its session.
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
        // Somebody may have come in between.
        if !session.hub.is_heard() || session.hub.is_listening.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

async fn read(link: &Link, session: &Session) {
    let Ok(answer) = link.listen(&session.within).await else { return };
    let Answer { status, headers, mut body } = *answer;
    if !status.is_success() || !matches!(media_type(&headers), Media::EventStream) {
        // 405 is how a server without one says so (2025-11-25 "Listening for Messages from the Server").
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
        // There is no one request of the client it could be asked with.
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
        if news == News::List("toolsListChanged") {
            link.route.catalog.forget();
        }
        // Nobody may be there just now.
        let _ = session.hub.told.send(Told { news, document });
    }
}
