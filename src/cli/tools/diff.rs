//! A readable diff of definitions against the approved ones.

use serde_json::{Value, json};

use super::super::Streams;
use super::Listed;
use crate::policy::lock::{Change, Lock, visible};

/// Longest text shown of one side.
const SHOWN: usize = 2_000;

/// One tool that is not as it was approved.
pub(super) enum Drifted {
    /// Not in the lock.
    Added(String),
    /// With another definition.
    Changed(String, Vec<Change>),
    /// In the lock, and no longer offered.
    Gone(String),
}

pub(super) fn compare(lock: &Lock, tools: &[Listed]) -> Vec<Drifted> {
    let mut all = Vec::new();
    for tool in tools {
        let canonical = tool.canonical();
        match lock.drift(&tool.name, &canonical) {
            None => {}
            Some(crate::policy::lock::Drift::Added) => all.push(Drifted::Added(tool.name.clone())),
            Some(crate::policy::lock::Drift::Changed) => {
                all.push(Drifted::Changed(tool.name.clone(), lock.changes(&tool.name, &canonical)));
            }
        }
    }
    let gone = lock.names().filter(|name| !tools.iter().any(|tool| tool.name == **name));
    all.extend(gone.map(|name| Drifted::Gone(name.to_owned())));
    all
}

pub(super) fn print(drift: &[Drifted], as_json: bool, streams: &mut Streams<'_>) {
    if as_json {
        let drift: Vec<Value> = drift.iter().map(Drifted::json).collect();
        return streams.print(json!({ "schema_version": 1, "ok": drift.is_empty(), "drift": drift }));
    }
    for one in drift {
        match one {
            Drifted::Added(name) => streams.print(format_args!("+ {}  is not in the lock", plain(name))),
            Drifted::Gone(name) => streams.print(format_args!("- {}  is no longer offered", plain(name))),
            Drifted::Changed(name, changes) => {
                let parts: Vec<&str> = changes.iter().map(|change| change.part).collect();
                streams.print(format_args!("~ {}  {} changed", plain(name), parts.join(", ")));
                for Change { part, before, after } in changes {
                    for (mark, side) in [('-', before), ('+', after)] {
                        if let Some(text) = side {
                            streams.print(format_args!("    {mark} {part}: {}", shown(text)));
                        }
                    }
                }
            }
        }
    }
    if drift.is_empty() {
        streams.print("every definition is the approved one");
    }
}

/// Foreign text: nothing hides in it, and it is cut.
fn shown(json: &str) -> String {
    let escaped: String = plain(json).replace("\\\"", "\"").replace("\\\\", "\\");
    if escaped.len() <= SHOWN { escaped } else { format!("{}…", escaped.get(..SHOWN).unwrap_or_default()) }
}

fn plain(text: &str) -> String {
    visible(text).trim_matches('"').to_owned()
}

impl Drifted {
    fn json(&self) -> Value {
        match self {
            Self::Added(name) => json!({ "tool": name, "drift": "added" }),
            Self::Gone(name) => json!({ "tool": name, "drift": "gone" }),
            Self::Changed(name, changes) => {
                let changes: Vec<Value> = changes
                    .iter()
                    .map(|change| json!({ "part": change.part, "before": change.before, "after": change.after }))
                    .collect();
                json!({ "tool": name, "drift": "changed", "changes": changes })
            }
        }
    }
}
