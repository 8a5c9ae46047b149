//! Tasks of 2025-11-25 in the form of the tasks extension of 2026-07-28. Pure.
//!
//! The members of the older `task` object are in the result itself, times are named by their unit, and the outcome of a task
//! comes with its state: what a server answers to `tasks/result` goes into the answer to `tasks/get`.

use bytes::Bytes;

use super::older;
use crate::json::{Document, Kind, Limits, Splice, Value, quoted};
use crate::mcp::Revision;
use crate::mcp::admit::META_SUBSCRIPTION;
use crate::mcp::methods::TASK_NEWS;
use crate::opened::RELATED_TASK;

/// Members of a task the extension writes otherwise, or that only its own tasks have.
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

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Cancelled,
    /// It has an outcome, which says what kind of one that is.
    Ended,
    InputRequired,
    Working,
}

impl Status {
    /// That of a task; `None` for one that revision does not know.
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

/// What is told of a task beside how it stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told<'t> {
    /// What its server asks, by keys no other question has; nothing, where it asks nothing that is known.
    Asks(&'t [(Box<str>, Document)]),
    /// The answer to `tasks/result`.
    Outcome(&'t Document),
}

/// Whether a server of 2025-11-25 that answered `initialize` so runs tools as tasks.
pub(super) fn runs_tools(opened: &Document) -> bool {
    let version = opened.pointer("/result/protocolVersion").and_then(|version| version.as_str());
    version.as_deref() == Some(Revision::V2025_11_25.as_str())
        && opened.pointer("/result/capabilities/tasks/requests/tools/call").is_some()
}

/// The task an answer says a call goes on as, and the id that has.
pub(super) fn begun(answer: &Document) -> Option<(Value<'_>, Box<str>)> {
    let task = answer.pointer("/result/task")?;
    let id = task.get("taskId")?.as_str()?.into();
    Some((task, id))
}

/// The answer to a call that goes on as a task.
pub(super) fn created(answer: &Document, task: Value<'_>, id: &[u8]) -> Bytes {
    let mut members = vec![(r#""resultType":"task""#).to_owned()];
    members
        .push(task.get("status").map_or_else(|| status("working"), |status| format!(r#""status":{}"#, text(status))));
    members.extend(plain_members(task));
    members.extend(meta(answer.pointer("/result/_meta")));
    response(id, &members)
}

/// The answer to `tasks/get`; `None` for a status nothing is known of.
pub(super) fn got(task: Value<'_>, told: Told<'_>, id: &[u8]) -> Option<Bytes> {
    let mut members = vec![r#""resultType":"complete""#.to_owned()];
    members.extend(detailed(task, told)?);
    members.extend(meta(task.get("_meta")));
    Some(response(id, &members))
}

/// The same as news on the subscription with that id.
pub(super) fn news(task: Value<'_>, told: Told<'_>, subscription: &[u8]) -> Option<Bytes> {
    let mut members = detailed(task, told)?;
    let subscription = String::from_utf8_lossy(subscription);
    members.push(format!(r#""_meta":{{"{META_SUBSCRIPTION}":{subscription}}}"#));
    let params = members.join(",");
    Some(format!(r#"{{"jsonrpc":"2.0","method":"{TASK_NEWS}","params":{{{params}}}}}"#).into())
}

/// The answer to `tasks/update` and `tasks/cancel`: it was heard.
pub(super) fn acknowledged(id: &[u8]) -> Bytes {
    response(id, &[r#""resultType":"complete""#.to_owned()])
}

/// An answer without the task it says it belongs to, which the extension does not tell.
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

/// A task with what there is to be said of it where it stands (the extension's `DetailedTask`).
fn detailed(task: Value<'_>, told: Told<'_>) -> Option<Vec<String>> {
    let (word, more) = match (Status::of(task)?, told) {
        (Status::Cancelled, _) => ("cancelled", None),
        (Status::Ended, Told::Outcome(outcome)) => ended(outcome)?,
        (Status::InputRequired, Told::Asks(questions)) if !questions.is_empty() => {
            ("input_required", Some(asked(questions)))
        }
        // What it asks, or what came of it, cannot be told yet.
        (Status::Ended | Status::InputRequired | Status::Working, _) => ("working", None),
    };
    let mut members = vec![status(word)];
    members.extend(plain_members(task));
    members.extend(more);
    Some(members)
}

/// A tool's own error is an outcome like any other; a task fails where there is no result.
fn ended(outcome: &Document) -> Option<(&'static str, Option<String>)> {
    let root = outcome.root();
    if let Some(error) = root.get("error") {
        return Some(("failed", Some(format!(r#""error":{}"#, text(error)))));
    }
    let unrelated = unrelated(outcome);
    let outcome = unrelated.as_ref().unwrap_or(outcome);
    // With what every result of the newer revision says.
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

/// What both have, and the times by the extension's names: how long a task is kept is always said there.
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
