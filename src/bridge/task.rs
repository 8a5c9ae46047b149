//! Tasks of 2025-11-25 in the form of the tasks extension of 2026-07-28. Pure.
//!
//! In the extension the members of the older `task` object are in the result itself, the names of times have a unit, and the
//! outcome of a task comes with its state: the older server's answer to `tasks/result` becomes part of the answer to
//! `tasks/get`.

use bytes::Bytes;

use super::older;
use crate::json::{Document, Kind, Limits, Splice, Value, quoted};
use crate::mcp::Revision;
use crate::mcp::admit::META_SUBSCRIPTION;
use crate::mcp::methods::TASK_NEWS;
use crate::opened::RELATED_TASK;

/// Members of a task that the extension writes differently, or that only the extension has.
const REWRITTEN: [&str; 11] = [
    "_meta",
    "error",
    "inputRequests",
    "pollInterval",
    "pollIntervalMs",
    "requestState",
    "result",
    "resultType",
    "status",
    "ttl",
    "ttlMs",
];

/// The status of a task of 2025-11-25.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Cancelled,
    /// Completed or failed; which of the two, in the extension's terms, depends on the outcome.
    Ended,
    InputRequired,
    Working,
}

impl Status {
    /// Reads the status of a `task` object; `None` if it is missing or unknown.
    pub(super) fn of(task: Value<'_>) -> Option<Self> {
        Some(match &*task.get("status")?.as_str()? {
            "cancelled" => Self::Cancelled,
            "completed" | "failed" => Self::Ended,
            "input_required" => Self::InputRequired,
            "working" => Self::Working,
            _ => return None,
        })
    }
}

/// What the extension reports of a task beside its status.
#[derive(Clone, Copy, Debug)]
pub(super) enum Details<'t> {
    /// The server's open requests, by unique key; empty if none are known.
    Asks(&'t [(Box<str>, Document)]),
    /// The answer to `tasks/result`.
    Outcome(&'t Document),
}

/// Whether a server can run tools as tasks, by its answer to `initialize`; only 2025-11-25 has that.
pub(super) fn runs_tools(opened: &Document) -> bool {
    let version = opened.pointer("/result/protocolVersion").and_then(|version| version.as_str());
    version.as_deref() == Some(Revision::V2025_11_25.as_str())
        && opened.pointer("/result/capabilities/tasks/requests/tools/call").is_some()
}

/// The task that an answer to a call says was created, and its id (2025-11-25, "Tasks"); `None` for other answers.
pub(super) fn begun(answer: &Document) -> Option<(Value<'_>, Box<str>)> {
    let task = answer.pointer("/result/task")?;
    let id = task.get("taskId")?.as_str()?.into();
    Some((task, id))
}

/// The extension's answer to a call that created a task; `id` is the client's request id, as JSON.
pub(super) fn created(answer: &Document, task: Value<'_>, id: &[u8]) -> Bytes {
    let mut members = vec![(r#""resultType":"task""#).to_owned()];
    members
        .push(task.get("status").map_or_else(|| status("working"), |status| format!(r#""status":{}"#, text(status))));
    members.extend(plain_members(task));
    members.extend(meta(answer.pointer("/result/_meta")));
    response(id, &members)
}

/// The extension's answer to `tasks/get`; `None` for an unknown status.
pub(super) fn got(task: Value<'_>, details: Details<'_>, id: &[u8]) -> Option<Bytes> {
    let mut members = vec![r#""resultType":"complete""#.to_owned()];
    members.extend(detailed(task, details)?);
    members.extend(meta(task.get("_meta")));
    Some(response(id, &members))
}

/// The same as a notification of the subscription `subscription`, its id as JSON.
pub(super) fn news(task: Value<'_>, details: Details<'_>, subscription: &[u8]) -> Option<Bytes> {
    let mut members = detailed(task, details)?;
    let subscription = String::from_utf8_lossy(subscription);
    members.push(format!(r#""_meta":{{"{META_SUBSCRIPTION}":{subscription}}}"#));
    let params = members.join(",");
    Some(format!(r#"{{"jsonrpc":"2.0","method":"{TASK_NEWS}","params":{{{params}}}}}"#).into())
}

/// The extension's answer to `tasks/update` and `tasks/cancel`: an empty result.
pub(super) fn acknowledged(id: &[u8]) -> Bytes {
    response(id, &[r#""resultType":"complete""#.to_owned()])
}

/// A copy of a message without the `_meta` key that names its task, which the extension does not have; `None` if it has
/// none.
pub(super) fn unrelated(answer: &Document) -> Option<Document> {
    let holder = answer.root().get("result").or_else(|| answer.root().get("params"))?;
    let meta = holder.get("_meta").filter(|meta| meta.get(RELATED_TASK).is_some())?;
    let mut splice = Splice::new();
    match meta.members().count() {
        1 => splice.rewrite_object(holder, |member| !member.name_is("_meta"), older::NOTHING),
        _ => splice.rewrite_object(meta, |member| !member.name_is(RELATED_TASK), older::NOTHING),
    }
    Document::parse(splice.apply(answer.bytes()), &Limits::ANSWER).ok()
}

fn response(id: &[u8], members: &[String]) -> Bytes {
    let (id, members) = (String::from_utf8_lossy(id), members.join(","));
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{members}}}}}"#).into()
}

/// The members of the extension's `DetailedTask`; `None` for an unknown status or an unusable outcome.
fn detailed(task: Value<'_>, details: Details<'_>) -> Option<Vec<String>> {
    let (word, more) = match (Status::of(task)?, details) {
        (Status::Cancelled, _) => ("cancelled", None),
        (Status::Ended, Details::Outcome(outcome)) => ended(outcome)?,
        (Status::InputRequired, Details::Asks(questions)) if !questions.is_empty() => {
            ("input_required", Some(asked(questions)))
        }
        // Without its requests or its outcome, the task counts as still working.
        (Status::Ended | Status::InputRequired | Status::Working, _) => ("working", None),
    };
    let mut members = vec![status(word)];
    members.extend(plain_members(task));
    members.extend(more);
    Some(members)
}

/// The status and the outcome. A tool result with `isError` is a result; a task fails only with a JSON-RPC error.
fn ended(outcome: &Document) -> Option<(&'static str, Option<String>)> {
    let root = outcome.root();
    if let Some(error) = root.get("error") {
        return Some(("failed", Some(format!(r#""error":{}"#, text(error)))));
    }
    let unrelated = unrelated(outcome);
    let outcome = unrelated.as_ref().unwrap_or(outcome);
    // Adds the members that 2026-07-28 requires of every result.
    let said = older::response(outcome, &Bytes::from_static(b"0"), None).apply(outcome.bytes());
    let said = Document::parse(said, &Limits::ANSWER).ok()?;
    Some(("completed", Some(format!(r#""result":{}"#, text(said.root().get("result")?)))))
}

fn asked(questions: &[(Box<str>, Document)]) -> String {
    let one = |(key, question): &(Box<str>, Document)| {
        let unrelated = unrelated(question);
        let root = unrelated.as_ref().unwrap_or(question).root();
        let part = |name| root.get(name).map_or_else(|| "{}".to_owned(), text);
        format!(r#"{}:{{"method":{},"params":{}}}"#, quoted(key), part("method"), part("params"))
    };
    format!(r#""inputRequests":{{{}}}"#, questions.iter().map(one).collect::<Vec<_>>().join(","))
}

fn status(word: &str) -> String {
    format!(r#""status":"{word}""#)
}

/// The members that both forms have, and the times by the extension's names, of which `ttlMs` is required.
fn plain_members(task: Value<'_>) -> Vec<String> {
    let members = task.members().filter(|member| !REWRITTEN.contains(&&*member.name()));
    let mut members: Vec<String> =
        members.map(|member| format!("{}:{}", quoted(&member.name()), text(member.value))).collect();
    if task.get("lastUpdatedAt").is_none() {
        members.extend(task.get("createdAt").map(|created| format!(r#""lastUpdatedAt":{}"#, text(created))));
    }
    let millis = |name: &str| task.get(name).and_then(|millis| millis.as_i64()).filter(|millis| *millis >= 0);
    let kept = millis("ttl").map_or_else(|| "null".to_owned(), |millis| millis.to_string());
    members.push(format!(r#""ttlMs":{kept}"#));
    members.extend(millis("pollInterval").map(|millis| format!(r#""pollIntervalMs":{millis}"#)));
    members
}

fn meta(written: Option<Value<'_>>) -> Option<String> {
    let written = written.filter(|meta| meta.kind() == Kind::Object)?;
    let members = written.members().filter(|member| member.name() != RELATED_TASK);
    let members: Vec<String> =
        members.map(|member| format!("{}:{}", quoted(&member.name()), text(member.value))).collect();
    (!members.is_empty()).then(|| format!(r#""_meta":{{{}}}"#, members.join(",")))
}

fn text(value: Value<'_>) -> String {
    String::from_utf8_lossy(value.raw()).into_owned()
}

#[cfg(test)]
mod tests;
