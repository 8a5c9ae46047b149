//! `export_contacts`: deliberately slow, one event at a time, and cancelled as soon as its client has disconnected.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http::Response;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::data::Contact;
use super::journal::Entry;
use super::rpc::{self, Revision};
use super::tools::Outcome;
use super::{Pace, Priming, Shared};
use crate::demo::web::{self, Body};

/// What a call of the tool asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: Value,
    pub(super) revision: Revision,
    pub(super) contacts: Vec<Contact>,
    /// `_meta.progressToken`: without one no progress is sent.
    pub(super) progress_token: Option<Value>,
    /// Whether the client wants log messages.
    pub(super) logs: Logs,
    /// Notified when the client cancels the request.
    pub(super) cancelled: Option<Arc<Notify>>,
}

/// Whether log messages of level `info` are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logs {
    Unwanted,
    Wanted,
}

/// A running export. Dropping it before its end is noted in the journal.
#[derive(Debug)]
struct Export {
    shared: Arc<Shared>,
    asked: Asked,
    ready: VecDeque<Bytes>,
    sent: usize,
    csv: String,
    events: usize,
    ended: bool,
}

impl Drop for Export {
    fn drop(&mut self) {
        let entry = if self.ended { Entry::ExportFinished } else { Entry::ExportStopped { sent: self.sent } };
        self.shared.journal.add(entry);
    }
}

/// The answer: progress contact by contact, then all of it.
pub(super) fn answer(shared: &Arc<Shared>, asked: Asked, finish: fn(Value) -> Value) -> Response<Body> {
    let mut export = Export {
        shared: shared.clone(),
        asked,
        ready: VecDeque::new(),
        sent: 0,
        csv: "id,name,email,phone,company\n".to_owned(),
        events: 0,
        ended: false,
    };
    export.begin();
    web::events(stream(export, finish))
}

fn stream(export: Export, finish: fn(Value) -> Value) -> impl Stream<Item = Bytes> + Send {
    futures_util::stream::unfold(export, move |mut export| async move {
        while export.ready.is_empty() {
            export.advance(finish).await?;
        }
        export.ready.pop_front().map(|event| (event, export))
    })
}

impl Export {
    fn begin(&mut self) {
        if self.asked.revision == Revision::V2025_11_25 && self.shared.settings.priming == Priming::On {
            let id = self.event_id();
            self.ready.push_back(Bytes::from(format!("id: {id}\nretry: 1000\ndata: \n\n")));
        }
        if self.asked.logs == Logs::Wanted {
            let total = self.asked.contacts.len();
            let data = json!({ "text": format!("export of {total} contacts for ana@example.com"), "total": total });
            let params = json!({ "level": "info", "logger": "crm", "data": data });
            self.push(&rpc::notification("notifications/message", &params));
        }
    }

    /// Waits for the next contact and prepares its event; `None` if there is nothing left to send.
    async fn advance(&mut self, finish: fn(Value) -> Value) -> Option<()> {
        if self.ended {
            return None;
        }
        let Some(contact) = self.asked.contacts.get(self.sent).cloned() else {
            let text = format!("Exported {} contacts.\n\n{}", self.sent, self.csv);
            let result = finish(Outcome::text(text).result(self.asked.revision));
            self.push(&rpc::result(&self.asked.id, &result));
            self.ended = true;
            return Some(());
        };
        self.wait().await?;
        let Contact { id, name, email, phone, company, .. } = &contact;
        self.csv.push_str(&[id, name, email, phone, company].map(String::as_str).join(","));
        self.csv.push('\n');
        self.sent += 1;
        if let Some(token) = &self.asked.progress_token {
            let params = json!({
                "progressToken": token,
                "progress": self.sent,
                "total": self.asked.contacts.len(),
                "message": format!("{name} <{email}>"),
            });
            self.push(&rpc::notification("notifications/progress", &params));
        }
        Some(())
    }

    /// `None` when the client cancelled.
    async fn wait(&self) -> Option<()> {
        let pause = async {
            match self.shared.settings.pace {
                Pace::Every(interval) => tokio::time::sleep(interval).await,
                Pace::Stepped => {
                    if let Ok(permit) = self.shared.steps.acquire().await {
                        permit.forget();
                    }
                }
            }
        };
        let Some(cancelled) = &self.asked.cancelled else {
            pause.await;
            return Some(());
        };
        tokio::select! {
            () = cancelled.notified() => None,
            () = pause => Some(()),
        }
    }

    fn push(&mut self, message: &Value) {
        let primed = self.shared.settings.priming == Priming::On && self.asked.revision == Revision::V2025_11_25;
        let id = primed.then(|| self.event_id());
        self.ready.push_back(rpc::event(self.asked.revision, id.as_deref(), message));
    }

    fn event_id(&mut self) -> String {
        self.events += 1;
        format!("export-{}", self.events)
    }
}
