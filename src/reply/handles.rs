//! Handles in answers: the upstream's are sealed, and tasks that are not the caller's are removed.

use std::time::Duration;

use super::{ReplyError, Way};
use crate::clock::Timestamp;
use crate::json::{Kind, Splice, Value, quoted};
use crate::mcp::handle::{Cursor, Origin, RequestState, Task, is_plain_id};
use crate::mcp::{Access, Method, methods};
use crate::opened::{OwnTask, RELATED_TASK, binding};
use crate::seal::SealError;

/// Seals the handles of a result, and filters listed tasks. Errs if a handle is invalid or not the caller's.
pub(super) fn in_result(way: &Way, result: Value<'_>, splice: &mut Splice) -> Result<(), ReplyError> {
    let Some(method) = way.method else { return Ok(()) };
    if method.pages {
        cursor(way, method, result, splice)?;
    }
    request_state(way, result, splice)?;
    match (&way.task, methods::lists_tasks(method)) {
        (_, true) => own_tasks(way, result, splice),
        (Some(own), false) => asked_task(way, own, result, splice)?,
        (None, false) => begun_task(way, result, splice)?,
    }
    of_task(way, result, splice)
}

/// Replaces task ids in a notification with the caller's handles; returns the origin of its task, if it has one. Errs if a
/// task is not the caller's.
pub(super) fn in_news(
    way: &Way,
    method: &Method,
    params: Value<'_>,
    splice: &mut Splice,
) -> Result<Option<Origin>, ReplyError> {
    let about =
        (method.access == Access::Task).then(|| params.pointer(method.task_pointer()).ok_or(ReplyError::Handle));
    let mut origin = None;
    for id in about.transpose()?.into_iter().chain(related(params)) {
        let own = known(way, &plain(id)?).ok_or(ReplyError::Handle)?;
        splice.replace(id.span(), quoted(&own.handle));
        origin = origin.or(Some(own.task.origin));
    }
    if let Some(filter) = params.get("notifications") {
        acknowledged(way, filter, splice);
    }
    Ok(origin)
}

/// Replaces the related task of a result or server request with the caller's handle. Errs if the task is not the caller's.
pub(super) fn of_task(way: &Way, holder: Value<'_>, splice: &mut Splice) -> Result<(), ReplyError> {
    let Some(id) = related(holder) else { return Ok(()) };
    let own = known(way, &plain(id)?).ok_or(ReplyError::Handle)?;
    splice.replace(id.span(), quoted(&own.handle));
    Ok(())
}

/// Filters the acknowledgement of a subscription: keeps resources that the caller may read, and tasks that it named
/// (2026-07-28, "Subscriptions").
fn acknowledged(way: &Way, filter: Value<'_>, splice: &mut Splice) {
    let items = |name: &str| filter.get(name).into_iter().flat_map(|list| list.items()).collect::<Vec<_>>();
    let context = way.context(Timestamp::now());
    let reads = |item: &Value<'_>| item.as_str().is_some_and(|uri| way.asker(&context).reads(&uri));
    let resources: Vec<_> = items("resourceSubscriptions").into_iter().map(|item| (item, reads(&item))).collect();
    splice.remove_items(&resources);
    let own = |item: &Value<'_>| item.as_str().and_then(|id| listened(way, &id));
    let tasks: Vec<_> = items("taskIds").into_iter().map(|item| (item, own(&item).is_some())).collect();
    for (item, _) in &tasks {
        if let Some(own) = own(item) {
            splice.replace(item.span(), quoted(&own.handle));
        }
    }
    splice.remove_items(&tasks);
}

fn cursor(way: &Way, method: &'static Method, result: Value<'_>, splice: &mut Splice) -> Result<(), ReplyError> {
    let Some(next) = result.get("nextCursor").filter(|next| next.kind() != Kind::Null) else { return Ok(()) };
    let upstream = next.as_str().ok_or(ReplyError::Handle)?.into();
    let sealed = seal(way, |way, now| {
        Cursor { upstream, method }.seal(&way.snapshot.seals, &binding(&way.route, &way.caller), now)
    })?;
    splice.replace(next.span(), quoted(&sealed));
    Ok(())
}

/// Seals a `requestState` for the call that is answered and its parameters.
fn request_state(way: &Way, result: Value<'_>, splice: &mut Splice) -> Result<(), ReplyError> {
    let Some(state) = result.get("requestState") else { return Ok(()) };
    let (Some(text), Some(origin), Some(digest)) = (state.as_str(), way.origin(), way.digest) else {
        return Err(ReplyError::Handle);
    };
    let sealed = seal(way, |way, now| {
        RequestState::new(text.into(), origin, digest)?.seal(
            &way.snapshot.seals,
            &binding(&way.route, &way.caller),
            now,
        )
    })?;
    splice.replace(state.span(), quoted(&sealed));
    Ok(())
}

/// Replaces the task id in the answer to a request about a task. Errs if it is another task's.
fn asked_task(way: &Way, own: &OwnTask, result: Value<'_>, splice: &mut Splice) -> Result<(), ReplyError> {
    way.worker.state.tasks.remember(&owner(way), &own.task.upstream_id, &own.handle);
    let Some(id) = result.get("taskId") else { return Ok(()) };
    if plain(id)? != own.task.upstream_id {
        return Err(ReplyError::Handle);
    }
    splice.replace(id.span(), quoted(&own.handle));
    Ok(())
}

/// Seals the id of a task that a call has created: in `task` in 2025-11-25, in the result itself in the extension.
fn begun_task(way: &Way, result: Value<'_>, splice: &mut Splice) -> Result<(), ReplyError> {
    for holder in [Some(result), result.get("task")].into_iter().flatten() {
        let Some(id) = holder.get("taskId") else { continue };
        let origin = way.origin().filter(|origin| origin.subject.is_some()).ok_or(ReplyError::Handle)?;
        let task = Task { upstream_id: plain(id)?, origin };
        let handle = seal_task(way, &task, kept(holder))?;
        way.worker.state.tasks.remember(&owner(way), &task.upstream_id, &handle);
        splice.replace(id.span(), quoted(&handle));
    }
    Ok(())
}

/// How long a task is kept: `ttl` of 2025-11-25 or `ttlMs` of the extension, in milliseconds.
fn kept(task: Value<'_>) -> Option<Duration> {
    let millis = task.get("ttl").or_else(|| task.get("ttlMs"))?.as_i64()?;
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// Filters a list of tasks: keeps the caller's own, of tools that it may still call.
fn own_tasks(way: &Way, result: Value<'_>, splice: &mut Splice) {
    let Some(list) = result.get("tasks") else { return };
    if list.kind() != Kind::Array {
        return splice.replace(list.span(), "[]");
    }
    let kept: Vec<_> = list.items().map(|item| (item, own_item(way, item, splice).is_some())).collect();
    splice.remove_items(&kept);
}

/// Replaces the id of a listed task with the caller's handle; `None` if the caller may not see it.
fn own_item(way: &Way, item: Value<'_>, splice: &mut Splice) -> Option<()> {
    let id = item.get("taskId")?;
    let own = known(way, &id.as_str()?)?;
    let context = way.context(Timestamp::now());
    way.asker(&context).follows(&own.task.origin).then(|| splice.replace(id.span(), quoted(&own.handle)))
}

fn related(holder: Value<'_>) -> Option<Value<'_>> {
    holder.get("_meta")?.get(RELATED_TASK)?.get("taskId")
}

/// A task id of the upstream. Errs if it is invalid.
fn plain(id: Value<'_>) -> Result<Box<str>, ReplyError> {
    id.as_str().filter(|id| is_plain_id(id)).map(Into::into).ok_or(ReplyError::Handle)
}

/// The caller's task of an upstream id: the one requested, one subscribed to, or one seen before.
fn known(way: &Way, upstream_id: &str) -> Option<OwnTask> {
    if let Some(own) = way.task.as_ref().filter(|own| *own.task.upstream_id == *upstream_id) {
        return Some(own.clone());
    }
    if let Some(own) = listened(way, upstream_id) {
        return Some(own.clone());
    }
    let handle = way.worker.state.tasks.handle(&owner(way), upstream_id)?;
    let binding = binding(&way.route, &way.caller);
    let task = Task::open(&handle, &way.snapshot.seals, &binding, Timestamp::now()).ok()?;
    Some(OwnTask { handle, task })
}

fn listened<'w>(way: &'w Way, upstream_id: &str) -> Option<&'w OwnTask> {
    way.listened.iter().find(|own| *own.task.upstream_id == *upstream_id)
}

/// The caller's task of a resumed stream, with its known handle or a new one.
pub(super) fn resumed_task(way: &Way, upstream_id: &str) -> Option<OwnTask> {
    known(way, upstream_id).or_else(|| {
        let task = Task { upstream_id: upstream_id.into(), origin: way.origin()? };
        let handle = seal_task(way, &task, None).ok()?;
        Some(OwnTask { handle, task })
    })
}

fn seal_task(way: &Way, task: &Task, kept: Option<Duration>) -> Result<Box<str>, ReplyError> {
    let seals = &way.snapshot.seals;
    seal(way, |way, now| task.seal(seals, &binding(&way.route, &way.caller), now, kept)).map(Into::into)
}

fn seal(way: &Way, how: impl FnOnce(&Way, Timestamp) -> Result<String, SealError>) -> Result<String, ReplyError> {
    how(way, Timestamp::now()).map_err(|_| ReplyError::Handle)
}

fn owner(way: &Way) -> Vec<u8> {
    binding(&way.route, &way.caller).owner()
}
