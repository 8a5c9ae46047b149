//! `subscriptions/listen` at an older upstream: the session's event stream and `resources/subscribe`, filtered by
//! subscription.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::hub::{Hub, Notification};
use super::tasks::{self, Lookup};
use super::{AHEAD, Asked};
use crate::bridge::link::Link;
use crate::bridge::session::Session;
use crate::bridge::{answer, event, older, task};
use crate::json::{Document, Value, quoted};
use crate::mcp::admit::META_SUBSCRIPTION;
use crate::mcp::methods::{ACKNOWLEDGED, News};
use crate::mcp::{ListKind, ListKinds};
use crate::upstream::Answer;

/// The most resources of one subscription.
const URIS: usize = 256;

struct Subscription {
    link: Link,
    session: Arc<Session>,
    asked: Box<Asked>,
    lists: ListKinds,
    uris: Vec<Box<str>>,
    tasks: Vec<Box<str>>,
    heard: Receiver<Notification>,
    out: mpsc::Sender<Bytes>,
}

/// Opens a client's subscription, and returns its stream.
pub(super) fn open(link: Link, session: Arc<Session>, asked: Asked, params: Option<Value<'_>>) -> Box<Answer> {
    let filter = params.and_then(|params| params.get("notifications"));
    let wants = |name: &str| filter.and_then(|filter| filter.get(name)?.as_bool()) == Some(true);
    // What a caller sees of a list changes with the policy, even if the server's own list never does.
    let has = |kind: &ListKind| session.server_can(&format!("/{}", kind.capability()));
    let lists = ListKind::ALL.into_iter().filter(|kind| wants(kind.filter()) && has(kind)).collect();
    let texts = |name: &str| -> Vec<Box<str>> {
        let items = filter.and_then(|filter| filter.get(name));
        items.iter().flat_map(Value::items).filter_map(|item| Some(item.as_str()?.into())).collect()
    };
    let (uris, mut tasks) = (texts("resourceSubscriptions"), texts("taskIds"));
    if !tasks.is_empty() && !older::declares_tasks(params) {
        return answer::needs_tasks(&asked.id);
    }
    // A server sends notifications of a task in the session that the task was created in.
    let begun = |task: &str| link.route.bridge.tasks.session(&asked.caller, task);
    tasks.retain(|task| session.runs_tasks && begun(task).is_none_or(|begun| Arc::ptr_eq(&begun, &session)));
    let heard = Hub::hear(&link, &session);
    let (out, events) = mpsc::channel(AHEAD);
    // Copied, since slices would keep the whole message alive while the stream is open.
    let asked = Box::new(Asked { id: Bytes::copy_from_slice(&asked.id), stated: asked.stated.kept(), ..asked });
    let subscription = Subscription { link, session, asked, lists, uris: Vec::new(), tasks, heard, out };
    let link = subscription.link.clone();
    // In a task of its own, so that resources are unsubscribed even if the client disconnects meanwhile.
    link.begin(subscription.run(uris));
    Answer::events(events)
}

impl Subscription {
    async fn run(mut self, wanted: Vec<Box<str>>) {
        if self.session.server_can("/resources/subscribe") {
            for uri in wanted.into_iter().take(URIS) {
                if self.out.is_closed() {
                    break;
                }
                if Hub::want(&self.link, &self.session, &uri).await {
                    self.uris.push(uri);
                } else {
                    Hub::leave(&self.link, &self.session, &uri).await;
                }
            }
        }
        self.say(self.acknowledged()).await;
        loop {
            let told = tokio::select! {
                biased;
                () = self.out.closed() => break,
                told = self.heard.recv() => told,
            };
            match told {
                Ok(told) if told.news == News::Task => self.task(&told.document).await,
                Ok(told) if self.asked_for(&told) => self.say(older::news(&told.document, &self.asked.id)).await,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
        for uri in std::mem::take(&mut self.uris) {
            Hub::leave(&self.link, &self.session, &uri).await;
        }
    }

    /// The acknowledgement, with what the subscription covers (2026-07-28, "Subscriptions").
    fn acknowledged(&self) -> Bytes {
        let mut kept: Vec<String> = self.lists.iter().map(|list| format!("\"{}\":true", list.filter())).collect();
        if !self.uris.is_empty() {
            let uris: Vec<String> = self.uris.iter().map(|uri| quoted(uri)).collect();
            kept.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
        }
        if !self.tasks.is_empty() {
            let tasks: Vec<String> = self.tasks.iter().map(|task| quoted(task)).collect();
            kept.push(format!("\"taskIds\":[{}]", tasks.join(",")));
        }
        format!(
            r#"{{"jsonrpc":"2.0","method":"{ACKNOWLEDGED}","params":{{"_meta":{{"{META_SUBSCRIPTION}":{}}},"notifications":{{{}}}}}}}"#,
            String::from_utf8_lossy(&self.asked.id),
            kept.join(",")
        )
        .into()
    }

    /// Sends the state of a task, as in the answer to `tasks/get`, after the server has notified of a change.
    async fn task(&self, document: &Document) {
        let id = document.pointer("/params/taskId").and_then(|id| id.as_str());
        let Some(id) = id.filter(|id| self.tasks.iter().any(|task| **task == **id)) else { return };
        let who = (&*self.asked.caller, &self.asked.stated);
        let found = tokio::select! {
            () = self.out.closed() => return,
            found = tasks::look_up(&self.link, &self.session, who, &id) => found,
        };
        // If the state is unavailable now, the client can still poll the task.
        if let Ok(Lookup::Found(state)) = found
            && let Some(news) = state.with(|task, details| task::news(task, details, &self.asked.id))
        {
            self.say(news).await;
        }
    }

    fn asked_for(&self, told: &Notification) -> bool {
        match told.news {
            News::List(list) => self.lists.has(list),
            News::Resource => uri_of(&told.document).is_some_and(|uri| self.uris.contains(&uri)),
            News::Log | News::Progress | News::Task => false,
        }
    }

    async fn say(&self, message: Bytes) {
        let _ = self.out.send(event(message)).await;
    }
}

fn uri_of(document: &Document) -> Option<Box<str>> {
    Some(document.pointer("/params/uri")?.as_str()?.into())
}
