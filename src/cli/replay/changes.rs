//! Decisions that would change, grouped by new decision and rule.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Streams;
use super::{grouped, rule_or_none};
use crate::audit::history::Decided;
use crate::policy::cases::Verdict;

/// The subject of calls without a token.
const NOBODY: &str = "(without a token)";
/// The most subjects of a group that are kept by name, and that are shown.
const NAMED: usize = 1000;
const SHOWN: usize = 5;
/// The most names of tools, resources and prompts of a group that are kept.
const TARGETS: usize = 20;

/// All decisions that would change, by group.
#[derive(Default)]
pub(super) struct Changes {
    groups: BTreeMap<Key, Group>,
    hasher: RandomState,
}

/// What the decisions of a group have in common; a group is one line of the report.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    server: Box<str>,
    from: Verdict,
    to: Verdict,
    rule: Option<Arc<str>>,
    /// The rule that made the old decision.
    was: Option<Box<str>>,
}

#[derive(Default)]
struct Group {
    count: u64,
    /// The first [`NAMED`] callers by issuer and subject, with the number of their calls.
    subjects: BTreeMap<(Box<str>, Box<str>), u64>,
    /// Hashes of all callers.
    seen: std::collections::HashSet<u64>,
    targets: BTreeMap<Box<str>, u64>,
}

impl Changes {
    /// Adds one decision that would be another.
    pub(super) fn add(&mut self, decided: &Decided, to: Verdict, rule: Option<Arc<str>>) {
        let key = Key { server: decided.server.clone(), from: decided.verdict, to, rule, was: decided.rule.clone() };
        let group = self.groups.entry(key).or_default();
        group.count += 1;
        let sub = if decided.caller.anonymous { NOBODY.into() } else { decided.caller.sub.clone() };
        let who = (decided.caller.issuer.clone(), sub);
        group.seen.insert(self.hasher.hash_one(&who));
        if group.subjects.len() < NAMED || group.subjects.contains_key(&who) {
            *group.subjects.entry(who).or_default() += 1;
        }
        let target = decided.subject.as_ref().map_or(&decided.method, |(_, name)| name);
        if group.targets.len() < TARGETS || group.targets.contains_key(target) {
            *group.targets.entry(target.clone()).or_default() += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn count(&self) -> u64 {
        self.groups.values().map(|group| group.count).sum()
    }

    /// The largest group first.
    fn sorted(&self) -> Vec<(&Key, &Group)> {
        let mut groups: Vec<(&Key, &Group)> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        groups
    }

    /// For people: a line a group.
    pub(super) fn print(&self, decisions: u64, streams: &mut Streams<'_>) {
        let total = super::decisions(decisions);
        match self.count() {
            0 => streams.print(format_args!("{total}, none would change")),
            count => streams.print(format_args!("{total}, {} would change", grouped(count))),
        }
        let servers: std::collections::BTreeSet<&str> = self.groups.keys().map(|key| &*key.server).collect();
        let width = self.groups.values().map(|group| grouped(group.count).len()).max().unwrap_or_default();
        for (key, group) in self.sorted() {
            let server = if servers.len() > 1 { format!("   server {}", key.server) } else { String::new() };
            let was = match (&key.rule, &key.was) {
                (None, Some(was)) => format!(" (was {was})"),
                _ => String::new(),
            };
            let rule = match &key.rule {
                Some(rule) => format!("rule {rule}"),
                None => rule_or_none(None).to_owned(),
            };
            streams.print(format_args!(
                "  {:7} → {:7}  {:>width$}   {rule}{was}{server}   {}",
                key.from.as_str(),
                key.to.as_str(),
                grouped(group.count),
                group.who(),
            ));
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Vec<Value> {
        let group = |(key, group): (&Key, &Group)| {
            let subjects: Vec<Value> = group
                .subjects
                .iter()
                .map(|((iss, sub), count)| json!({ "iss": iss, "sub": sub, "count": count }))
                .collect();
            json!({
                "server": key.server, "from": key.from.as_str(), "to": key.to.as_str(),
                "rule": key.rule, "was": key.was, "count": group.count,
                "subject_count": group.seen.len(), "subjects": subjects, "targets": group.targets,
            })
        };
        self.sorted().into_iter().map(group).collect()
    }
}

impl Group {
    /// `3 subjects: ana, kim, max`.
    fn who(&self) -> String {
        let count = self.seen.len();
        let noun = if count == 1 { "subject" } else { "subjects" };
        let mut names: Vec<String> =
            self.subjects.keys().take(SHOWN).map(|(_, sub)| sub.escape_debug().to_string()).collect();
        if count > names.len() {
            names.push("…".to_owned());
        }
        format!("{count} {noun}: {}", names.join(", "))
    }
}
