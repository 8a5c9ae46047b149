//! The stream of a session at an older upstream, which there is once, for all subscriptions of the caller.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use http_body_util::BodyExt as _;
use tokio::sync::broadcast;

use crate::bridge::link::Link;
use crate::bridge::session::Session;
use crate::json::{Document, Limits, quoted};
use crate::mcp::methods::{self, News, PING, SUBSCRIBE};
use crate::mcp::sse::Splitter;
use crate::reply::{Media, media_type};
use crate::upstream::Answer;

/// News one subscription may fall behind by; after that it misses some.
const BEHIND: usize = 64;
/// How long to wait before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

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
    /// By how many each resource is asked for.
    uris: Mutex<HashMap<Box<str>, usize>>,
}

impl Default for Hub {
    fn default() -> Self {
        let (told, _) = broadcast::channel(BEHIND);
        Self { told, is_listening: AtomicBool::new(false), uris: Mutex::new(HashMap::new()) }
    }
}

impl Hub {
    /// What is told from now on.
    pub(super) fn hear(link: &Link, session: &Arc<Session>) -> broadcast::Receiver<Told> {
        let heard = session.hub.told.subscribe();
        if !session.hub.is_listening.swap(true, Ordering::AcqRel) {
            link.begin(listen(link.clone(), session.clone()));
        }
        heard
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
    let answer = link.post(session.id(), session.revision(), message.into()).await;
    answer.is_ok_and(|answer| answer.status.is_success())
}

/// Reads the session's stream as long as anybody hears it.
async fn listen(link: Link, session: Arc<Session>) {
    loop {
        tokio::select! {
            () = session.hub.told.closed() => {}
            () = read(&link, &session) => {
                tokio::select! {
                    () = session.hub.told.closed() => {}
                    () = tokio::time::sleep(PAUSE) => continue,
                }
            }
        }
        session.hub.is_listening.store(false, Ordering::Release);
        // Somebody may have come in between.
        if session.hub.told.receiver_count() == 0 || session.hub.is_listening.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

async fn read(link: &Link, session: &Session) {
    let Ok(Answer { status, headers, mut body }) = link.listen(session.id(), session.revision()).await else { return };
    if !status.is_success() || !matches!(media_type(&headers), Media::EventStream) {
        return;
    }
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
        // There is no request of the client it could be asked with.
        let what = if method == PING {
            r#""result":{}"#
        } else {
            r#""error":{"code":-32601,"message":"The client is asked nothing outside of its calls"}"#
        };
        let message = format!(r#"{{"jsonrpc":"2.0","id":{},{what}}}"#, String::from_utf8_lossy(id.raw()));
        let _ = link.post(session.id(), session.revision(), message.into()).await;
        return;
    }
    if let Some(news) = methods::news(&method) {
        if news == News::List("toolsListChanged") {
            link.route.catalog.forget();
        }
        // Nobody may be there just now.
        let _ = session.hub.told.send(Told { news, document });
    }
}
