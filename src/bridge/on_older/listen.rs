//! `subscriptions/listen` at an older upstream: its session's stream and `resources/subscribe`, told apart by what was asked.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::AHEAD;
use super::hub::{Hub, Told};
use crate::bridge::event;
use crate::bridge::link::Link;
use crate::bridge::older;
use crate::bridge::session::Session;
use crate::json::{Document, Value, quoted};
use crate::mcp::admit::META_SUBSCRIPTION;
use crate::mcp::methods::{ACKNOWLEDGED, News};
use crate::upstream::Answer;

/// The lists there can be news of, and what the server says if it tells them.
const LISTS: [(&str, &str); 3] = [
    ("promptsListChanged", "/prompts/listChanged"),
    ("resourcesListChanged", "/resources/listChanged"),
    ("toolsListChanged", "/tools/listChanged"),
];

struct Subscription {
    link: Link,
    session: Arc<Session>,
    id: Bytes,
    lists: Vec<&'static str>,
    uris: Vec<Box<str>>,
    heard: Receiver<Told>,
    out: mpsc::Sender<Bytes>,
}

/// Opens the subscription a client asks for under the id `id`.
pub(super) async fn open(link: Link, session: Arc<Session>, id: &Bytes, params: Option<Value<'_>>) -> Answer {
    let asked = params.and_then(|params| params.get("notifications"));
    let wants = |name: &str| asked.and_then(|asked| asked.get(name)?.as_bool()) == Some(true);
    let lists = LISTS.iter().filter(|(name, capability)| wants(name) && session.server_can(capability));
    let lists = lists.map(|(name, _)| *name).collect();
    let uris = asked.and_then(|asked| asked.get("resourceSubscriptions"));
    let uris: Vec<Box<str>> = uris.iter().flat_map(Value::items).filter_map(|uri| Some(uri.as_str()?.into())).collect();
    let heard = Hub::hear(&link, &session);
    let (out, events) = mpsc::channel(AHEAD);
    let mut subscription =
        Subscription { link, session, id: Bytes::copy_from_slice(id), lists, uris: Vec::new(), heard, out };
    if subscription.session.server_can("/resources/subscribe") {
        for uri in uris {
            if Hub::want(&subscription.link, &subscription.session, &uri).await {
                subscription.uris.push(uri);
            } else {
                Hub::leave(&subscription.link, &subscription.session, &uri).await;
            }
        }
    }
    let link = subscription.link.clone();
    link.begin(subscription.run());
    Answer::events(events)
}

impl Subscription {
    async fn run(mut self) {
        self.say(self.acknowledged()).await;
        loop {
            let told = tokio::select! {
                biased;
                () = self.out.closed() => break,
                told = self.heard.recv() => told,
            };
            match told {
                Ok(told) if self.asked_for(&told) => self.say(older::news(&told.document, &self.id)).await,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
        for uri in std::mem::take(&mut self.uris) {
            Hub::leave(&self.link, &self.session, &uri).await;
        }
    }

    /// What it will hear of (2026-07-28 "Subscriptions").
    fn acknowledged(&self) -> Bytes {
        let mut kept: Vec<String> = self.lists.iter().map(|list| format!("\"{list}\":true")).collect();
        if !self.uris.is_empty() {
            let uris: Vec<String> = self.uris.iter().map(|uri| quoted(uri)).collect();
            kept.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
        }
        format!(
            r#"{{"jsonrpc":"2.0","method":"{ACKNOWLEDGED}","params":{{"_meta":{{"{META_SUBSCRIPTION}":{}}},"notifications":{{{}}}}}}}"#,
            String::from_utf8_lossy(&self.id),
            kept.join(",")
        )
        .into()
    }

    fn asked_for(&self, told: &Told) -> bool {
        match told.news {
            News::List(list) => self.lists.contains(&list),
            News::Resource => uri_of(&told.document).is_some_and(|uri| self.uris.contains(&uri)),
            News::Log | News::Progress => false,
        }
    }

    async fn say(&self, message: Bytes) {
        let _ = self.out.send(event(message)).await;
    }
}

fn uri_of(document: &Document) -> Option<Box<str>> {
    Some(document.pointer("/params/uri")?.as_str()?.into())
}
