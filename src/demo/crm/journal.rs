//! A record of what the CRM received and did, so that tests can check what the proxy sent and when it disconnected.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use tokio::sync::watch;

use crate::demo::lock;

/// Number of entries kept, the newest.
const MOST_ENTRIES: usize = 1_000;

/// A request as received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Every header.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Received {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An export sent its last contact and its result.
    ExportFinished,
    /// An export ended early, after that many contacts: its client went away or cancelled it.
    ExportStopped {
        /// Contacts sent before.
        sent: usize,
    },
    /// A long-lived stream ended.
    ListenClosed,
    /// A long-lived stream (GET, or `subscriptions/listen`) began.
    ListenOpened,
    /// A request came.
    Received(Box<Received>),
}

/// Everything that happened, oldest first.
#[derive(Debug)]
pub struct Journal {
    entries: Mutex<VecDeque<Entry>>,
    changed: watch::Sender<u64>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { entries: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Journal {
    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.entries).iter().cloned().collect()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Received> {
        let entries = self.entries().into_iter();
        entries.filter_map(|entry| if let Entry::Received(received) = entry { Some(*received) } else { None }).collect()
    }

    /// Waits until an entry is one that `wanted` accepts; at once if there is one.
    pub async fn until(&self, wanted: impl Fn(&Entry) -> bool) {
        let mut changed = self.changed.subscribe();
        while !lock(&self.entries).iter().any(&wanted) {
            // The sender lives in `self`, so this cannot fail; if it did, nothing would ever change again.
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Forgets everything so far.
    pub fn clear(&self) {
        lock(&self.entries).clear();
    }

    pub(super) fn received(&self, head: &Parts, body: Bytes) {
        let received =
            Received { method: head.method.clone(), uri: head.uri.clone(), headers: head.headers.clone(), body };
        self.add(Entry::Received(Box::new(received)));
    }

    pub(super) fn add(&self, entry: Entry) {
        let mut entries = lock(&self.entries);
        if entries.len() >= MOST_ENTRIES {
            entries.pop_front();
        }
        entries.push_back(entry);
        drop(entries);
        self.changed.send_modify(|count| *count += 1);
    }
}
