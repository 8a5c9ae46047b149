use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::row::Row;
use super::tally::Tally;
use super::timeline::Timeline;
use crate::audit::reading;
use crate::audit::summary::Summary;
use crate::clock::Timestamp;

/// The most events that are told one by one.
const EVENTS: usize = 400;

/// From when until when, the end not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

impl Period {
    fn holds(self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }
}

/// What the records of a period say together.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(super) period: Period,
    /// The first and the last record of the period.
    pub(super) seen: Option<(Timestamp, Timestamp)>,
    /// Records that are not of the period.
    pub(super) outside: u64,
    pub(super) total: Outcomes,
    /// By server, and tool or else method.
    pub(super) calls: Tally<(Box<str>, Box<str>), Outcomes>,
    /// Denials and step-ups.
    pub(super) denials: Tally<Denial, Often>,
    /// Refusals before the rules by server and error.
    pub(super) refusals: Tally<(Box<str>, Box<str>), Often>,
    /// Failed authentications by server and error.
    pub(super) failed_logins: Tally<(Box<str>, Box<str>), Often>,
    /// How many values were masked, in how many calls.
    pub(super) masked: Tally<Hidden, (u64, u64)>,
    /// By server and version: when the first and last decision was made by it, and how many.
    pub(super) policies: Tally<(Box<str>, Box<str>), Often>,
    /// By issuer and subject.
    pub(super) callers: Tally<(Box<str>, Box<str>), Outcomes>,
    pub(super) timeline: Timeline,
    /// What is no decision, by its name.
    pub(super) events: BTreeMap<Box<str>, u64>,
    /// The first of those that are told one by one.
    pub(super) told: Vec<Summary>,
}

/// What denied, and how it was answered.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Denial {
    pub(super) server: Box<str>,
    /// `None` where no rule allows it.
    pub(super) rule: Option<Box<str>>,
    pub(super) error: Box<str>,
}

/// What was masked, how and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hidden {
    pub(super) server: Box<str>,
    pub(super) entity: Box<str>,
    pub(super) action: Box<str>,
    pub(super) direction: Box<str>,
}

/// What became of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) step_up: u64,
    pub(super) refused: u64,
    /// Of the allowed ones, those that have ended.
    pub(super) ended: u64,
    /// Of these, those that ended in an error.
    pub(super) failed: u64,
    /// Of the ended ones, those whose answer a mask did not let pass.
    pub(super) blocked: u64,
    /// Decisions rules in shadow would have made otherwise.
    pub(super) shadow: u64,
}

impl Outcomes {
    pub(super) const fn calls(&self) -> u64 {
        self.allowed + self.denied + self.step_up + self.refused
    }

    fn decided(&mut self, decision: &str, shadow: bool) {
        *match decision {
            "allow" => &mut self.allowed,
            "deny" => &mut self.denied,
            "step_up" => &mut self.step_up,
            _ => &mut self.refused,
        } += 1;
        self.shadow += u64::from(shadow);
    }

    fn ended(&mut self, row: &Row<'_>) {
        self.ended += 1;
        match &row.error {
            Some(error) if error.is_block() => self.blocked += 1,
            Some(_) => self.failed += 1,
            None => {}
        }
    }
}

/// How often something happened, first and last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Often {
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Often {
    fn add(&mut self, count: u64, time: Timestamp) {
        self.first = if self.count == 0 { time } else { self.first.min(time) };
        self.last = self.last.max(time);
        self.count = self.count.saturating_add(count);
    }
}

impl Figures {
    pub(crate) fn new(period: Period) -> Self {
        Self { period, ..Self::default() }
    }

    /// Counts a line; errs with why it is no record.
    pub(crate) fn add(&mut self, line: &[u8]) -> Result<(), Cow<'static, str>> {
        let row: Row<'_> = serde_json::from_slice(line)
            .map_err(|error| if error.is_data() { "not a record of Portcullis" } else { "not JSON" })?;
        if row.v != 1 {
            return Err("not a record of version 1 of Portcullis".into());
        }
        let time = reading::moment(&row.time).ok_or("a record without a time")?;
        if !self.period.holds(time) {
            self.outside += 1;
            return Ok(());
        }
        let (first, last) = self.seen.unwrap_or((time, time));
        self.seen = Some((first.min(time), last.max(time)));
        match (row.event.as_ref(), row.decision.as_deref()) {
            ("call", Some(decision)) => self.decided(&row, decision, time),
            ("end", Some(_)) => self.ended(&row),
            ("auth_failed", _) => {
                let key = (server(&row), row.error.as_ref().map_or_else(|| "other".into(), super::row::Failure::text));
                self.failed_logins.of(key).add(row.count.unwrap_or(1), time);
            }
            (event, _) => self.happened(event, line),
        }
        Ok(())
    }

    fn decided(&mut self, row: &Row<'_>, decision: &str, time: Timestamp) {
        let moment = self.timeline.at(time);
        *match decision {
            "allow" => &mut moment.allowed,
            "deny" | "step_up" => &mut moment.denied,
            _ => &mut moment.refused,
        } += 1;
        for outcomes in [&mut self.total, self.calls.of(called(row)), self.callers.of(caller(row))] {
            outcomes.decided(decision, row.shadow);
        }
        let error = row.error.as_ref().map_or_else(|| decision.into(), super::row::Failure::text);
        match decision {
            "allow" => {}
            "deny" | "step_up" => {
                let rule = row.policy.as_ref().and_then(|policy| policy.rule.as_deref()).map(Box::from);
                self.denials.of(Denial { server: server(row), rule, error }).add(1, time);
            }
            _ => self.refusals.of((server(row), error)).add(1, time),
        }
        if let Some(policy) = &row.policy {
            self.policies.of((server(row), policy.version.as_ref().into())).add(1, time);
        }
        // What was masked before the call is told again when it has ended.
        if row.http.is_some() {
            self.masked(row);
        }
    }

    fn ended(&mut self, row: &Row<'_>) {
        for outcomes in [&mut self.total, self.calls.of(called(row)), self.callers.of(caller(row))] {
            outcomes.ended(row);
        }
        self.masked(row);
    }

    fn masked(&mut self, row: &Row<'_>) {
        for one in &row.masked {
            let [entity, action, direction] =
                [&one.entity, &one.action, &one.direction].map(|text| text.as_ref().into());
            let (values, calls) = self.masked.of(Hidden { server: server(row), entity, action, direction });
            *values = values.saturating_add(one.count);
            *calls += 1;
        }
    }

    fn happened(&mut self, event: &str, line: &[u8]) {
        // Names of later versions are few; a file that is not from a proxy could have many.
        if self.events.len() < 64 || self.events.contains_key(event) {
            *self.events.entry(event.into()).or_default() += 1;
        }
        if self.told.len() < EVENTS {
            let record: Option<Value> = serde_json::from_slice(line).ok();
            self.told.extend(record.as_ref().and_then(Summary::of_event));
        }
    }

    /// Values that were masked, in all.
    pub(super) fn masked_values(&self) -> u64 {
        let others = self.masked.others().map_or(0, |(values, _)| *values);
        self.masked.iter().fold(others, |sum, (_, (values, _))| sum.saturating_add(*values))
    }

    /// Failed authentications, in all.
    pub(super) fn all_failed_logins(&self) -> u64 {
        let others = self.failed_logins.others().map_or(0, |often| often.count);
        self.failed_logins.iter().fold(others, |sum, (_, often)| sum.saturating_add(often.count))
    }

    /// The servers that were called.
    pub(super) fn servers(&self) -> BTreeSet<&str> {
        self.calls.iter().map(|((server, _), _)| &**server).filter(|name| *name != "-").collect()
    }

    /// Whether there is no record of the period at all.
    pub(crate) const fn is_empty(&self) -> bool {
        self.seen.is_none()
    }

    /// The same figures for programs.
    pub(crate) fn json(&self) -> Value {
        let time = |time: Timestamp| String::from_utf8_lossy(&time.rfc3339()).into_owned();
        let often =
            |often: &Often| json!({ "count": often.count, "first": time(often.first), "last": time(often.last) });
        let pairs = |tally: &Tally<(Box<str>, Box<str>), Often>, name: &str| -> Vec<Value> {
            let one = |((server, key), value): (&(Box<str>, Box<str>), &Often)| {
                let mut one = json!({ "server": server, "often": often(value) });
                one[name] = json!(key);
                one
            };
            tally.by_weight(|often| often.count).into_iter().map(one).collect()
        };
        json!({
            "period": {
                "from": self.period.from.map(time), "to": self.period.until.map(time),
                "first_record": self.seen.map(|(first, _)| time(first)), "last_record": self.seen.map(|(_, last)| time(last)),
                "records_outside": self.outside,
            },
            "calls": self.total.json(),
            "by_tool": self.calls.by_weight(Outcomes::calls).into_iter().map(|((server, what), outcomes)| {
                json!({ "server": server, "tool_or_method": what, "calls": outcomes.json() })
            }).collect::<Vec<_>>(),
            "by_caller": self.callers.by_weight(Outcomes::calls).into_iter().map(|((iss, sub), outcomes)| {
                json!({ "iss": iss, "sub": sub, "calls": outcomes.json() })
            }).collect::<Vec<_>>(),
            "denials": self.denials.by_weight(|often| often.count).into_iter().map(|(Denial { server, rule, error }, value)| {
                json!({ "server": server, "rule": rule, "error": error, "often": often(value) })
            }).collect::<Vec<_>>(),
            "refusals": pairs(&self.refusals, "error"),
            "failed_authentications": pairs(&self.failed_logins, "error"),
            "masked": self.masked.by_weight(|(values, _)| *values).into_iter().map(|(Hidden { server, entity, action, direction }, (values, calls))| {
                json!({ "server": server, "entity": entity, "action": action, "direction": direction, "values": values, "calls": calls })
            }).collect::<Vec<_>>(),
            "policies": pairs(&self.policies, "version"),
            "events": self.events,
            "not_counted_apart": {
                "tools": self.calls.others().map(Outcomes::calls), "callers": self.callers.others().map(Outcomes::calls),
            },
        })
    }
}

impl Outcomes {
    fn json(&self) -> Value {
        json!({
            "all": self.calls(), "allowed": self.allowed, "denied": self.denied, "step_up": self.step_up, "refused": self.refused,
            "ended": self.ended, "failed": self.failed, "blocked": self.blocked, "shadow": self.shadow,
        })
    }
}

fn server(row: &Row<'_>) -> Box<str> {
    row.server.as_deref().unwrap_or("-").into()
}

/// The server, and the tool or else the method.
fn called(row: &Row<'_>) -> (Box<str>, Box<str>) {
    (server(row), row.tool.as_deref().or(row.method.as_deref()).unwrap_or("-").into())
}

/// Issuer and subject, of which one without a token has none.
fn caller(row: &Row<'_>) -> (Box<str>, Box<str>) {
    match &row.subject {
        Some(subject) if !subject.anonymous => (subject.iss.as_ref().into(), subject.sub.as_ref().into()),
        Some(_) => ("".into(), "anonymous".into()),
        None => ("".into(), "unknown".into()),
    }
}
