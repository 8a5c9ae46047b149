use super::Sealing;
use crate::json::{Document, Kind, Splice, Value, digest, quoted};
use crate::mcp::handle::{Cursor, NoHandle, RequestState, StateNonce, TASKS_EXTENSION, Task};
use crate::mcp::{Access, Era, Message, MessageShape, Method};

/// `_meta` key of the task a message belongs to (2025-11-25, "Tasks").
pub(crate) const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// Its `taskId`, as a JSON pointer below `params` or `result`.
const RELATED: &str = "/_meta/io.modelcontextprotocol~1related-task/taskId";

/// Parameters of a call that its repetition may change (2026-07-28, "Multi Round-Trip Requests").
const OF_THE_ROUND: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// A task of the caller, with the handle that the caller has for it.
#[derive(Clone, Debug)]
pub struct OwnTask {
    /// The sealed id, as the client wrote it.
    pub handle: Box<str>,
    /// The task it stands for.
    pub task: Task,
}

/// The opened handles of one message.
#[derive(Debug, Default)]
pub struct Handles {
    /// The digest of a call's parameters, if the server may answer it with `input_required`.
    pub(crate) digest: Option<[u8; 32]>,
    /// The caller's own tasks among those that a subscription names.
    pub(crate) listened: Vec<OwnTask>,
    /// The nonce of the `requestState`, if the request has one.
    pub(crate) state: Option<StateNonce>,
    /// The task that the request is about.
    pub(crate) task: Option<OwnTask>,
    /// The places of handles below `params` or `result`, and the upstream's values. They are pointers, since other edits of
    /// the message move what follows them.
    real: Vec<(&'static str, Box<str>)>,
}

impl Handles {
    /// Opens the handles of a message. Errs if one cannot be opened, or the message needs an extension that its client does
    /// not declare.
    pub(super) fn open(&mut self, message: &Message, sealing: &Sealing<'_>) -> Result<(), NoHandle> {
        let Some(holder) = message.params().or_else(|| message.result()) else { return Ok(()) };
        if let Some(id) = related_task(message, holder, sealing)? {
            self.real.push((RELATED, id));
        }
        let MessageShape::Request { .. } = message.shape() else { return Ok(()) };
        let Some(method) = message.listed() else { return Ok(()) };
        match method.access {
            Access::Task if message.era() == Era::Modern && !message.declares_extension(TASKS_EXTENSION) => {
                return Err(NoHandle::Undeclared);
            }
            Access::Task => {
                let own = asked_task(method, holder, sealing)?;
                self.real.push((method.task_pointer(), own.task.upstream_id.clone()));
                self.task = Some(own);
            }
            Access::Subscriptions => {
                let opened = message.subscribed_tasks().filter_map(|handle| own_task(&handle, sealing).ok());
                self.listened = opened.collect();
            }
            Access::Completion | Access::Free | Access::Named | Access::Subject { .. } => {}
        }
        if let Some(upstream) = cursor(method, holder, sealing)? {
            self.real.push(("/cursor", upstream));
        }
        if method.asks && message.era() == Era::Modern {
            self.digest = Some(digest(holder, &OF_THE_ROUND));
        }
        if let Some(state) = request_state(message, method, self.digest, sealing)? {
            self.state = Some(state.nonce);
            self.real.push(("/requestState", state.upstream));
        }
        Ok(())
    }

    /// Replaces the handles with the upstream's values.
    pub(crate) fn put_back(&self, document: &Document, splice: &mut Splice) {
        for (pointer, real) in &self.real {
            if let Some(value) = holder(document).and_then(|holder| holder.pointer(pointer)) {
                splice.replace(value.span(), quoted(real));
            }
        }
    }
}

fn holder(document: &Document) -> Option<Value<'_>> {
    let root = document.root();
    root.get("params").or_else(|| root.get("result"))
}

fn own_task(handle: &str, sealing: &Sealing<'_>) -> Result<OwnTask, NoHandle> {
    let task = Task::open(handle, sealing.seals, &sealing.binding, sealing.now)?;
    Ok(OwnTask { handle: handle.into(), task })
}

fn asked_task(method: &Method, params: Value<'_>, sealing: &Sealing<'_>) -> Result<OwnTask, NoHandle> {
    let id = params.pointer(method.task_pointer()).ok_or(NoHandle::Task)?;
    own_task(&id.as_str().ok_or(NoHandle::Task)?, sealing)
}

/// The upstream's id of the task that a message is related to; a request must be related to the caller's own. Responses and
/// notifications may also be related to a task that the client runs for a server request, with an id of the client's.
fn related_task(message: &Message, holder: Value<'_>, sealing: &Sealing<'_>) -> Result<Option<Box<str>>, NoHandle> {
    let Some(related) = holder.get("_meta").and_then(|meta| meta.get(RELATED_TASK)) else { return Ok(None) };
    let handle = related.get("taskId").and_then(|id| id.as_str()).ok_or(NoHandle::Task)?;
    match own_task(&handle, sealing) {
        Ok(own) => Ok(Some(own.task.upstream_id)),
        Err(_) if !matches!(message.shape(), MessageShape::Request { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn cursor(method: &Method, params: Value<'_>, sealing: &Sealing<'_>) -> Result<Option<Box<str>>, NoHandle> {
    let cursor = if method.pages { params.get("cursor") } else { None };
    let Some(cursor) = cursor.filter(|cursor| cursor.kind() != Kind::Null) else { return Ok(None) };
    let text = cursor.as_str().ok_or(NoHandle::Cursor)?;
    Cursor::open(&text, method, sealing.seals, &sealing.binding, sealing.now).map(Some)
}

/// The opened `requestState`. Errs unless method and parameters are those of the call that it was issued for, so that what a
/// user agreed to cannot be exchanged.
fn request_state(
    message: &Message,
    method: &Method,
    digest: Option<[u8; 32]>,
    sealing: &Sealing<'_>,
) -> Result<Option<RequestState>, NoHandle> {
    let Some(value) = message.request_state() else { return Ok(None) };
    let text = value.as_str().ok_or(NoHandle::RequestState)?;
    let state = RequestState::open(&text, sealing.seals, &sealing.binding, sealing.now)?;
    let is_of_the_call = state.origin.method == method && digest == Some(state.digest);
    is_of_the_call.then_some(Some(state)).ok_or(NoHandle::RequestState)
}
