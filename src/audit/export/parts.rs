use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::audit::reading;
use crate::clock::Timestamp;

/// A record in parts. What a format takes is gone; what is left shows what it has no place for.
#[derive(Debug)]
pub(super) struct Parts {
    /// The kind of event, as in `call`.
    pub(super) event: String,
    pub(super) time: Timestamp,
    left: Map<String, Value>,
}

/// What became of the call a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Allowed,
    /// A mask did not let the answer pass.
    Blocked,
    /// Allowed, and masks changed something.
    Corrected,
    Denied,
    /// Allowed, and rules in shadow would have decided otherwise.
    Detected,
    /// Refused before the rules.
    Refused,
    StepUp,
}

impl Fate {
    /// Whether it was let through.
    pub(super) const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed | Self::Corrected | Self::Detected)
    }
}

impl Parts {
    /// Reads a line; errs with why it is no record.
    pub(super) fn read(line: &[u8]) -> Result<Self, Cow<'static, str>> {
        let mut left: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| if error.is_data() { "not a record of Portcullis: not an object" } else { "not JSON" })?;
        if left.get("v") != Some(&Value::from(1)) {
            return Err("not a record of version 1 of Portcullis".into());
        }
        let time = left.get("time").and_then(Value::as_str).and_then(reading::moment);
        let event = left.remove("event").and_then(|event| event.as_str().map(ToOwned::to_owned));
        let (Some(time), Some(event)) = (time, event) else {
            return Err("a record without time or event".into());
        };
        left.remove("v");
        Ok(Self { event, time, left })
    }

    /// The member at `path`, as in `policy/rule`.
    pub(super) fn peek(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('/');
        let first = self.left.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// Takes the member at `path` if it is `wanted`.
    fn take_if(&mut self, path: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        self.peek(path).filter(|value| wanted(value))?;
        let mut within = &mut self.left;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return within.remove(name);
            }
            within = within.get_mut(name)?.as_object_mut()?;
        }
        None
    }

    /// Takes the text at `path`.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        match self.take_if(path, Value::is_string) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Takes the whole number at `path`.
    pub(super) fn whole(&mut self, path: &str) -> Option<i64> {
        self.take_if(path, Value::is_i64)?.as_i64()
    }

    /// Takes the address at `path`.
    pub(super) fn address(&mut self, path: &str) -> Option<IpAddr> {
        let address = self.peek(path)?.as_str()?.parse().ok()?;
        self.text(path);
        Some(address)
    }

    /// The milliseconds at `path`, which stay.
    pub(super) fn took(&self, path: &str) -> Option<Duration> {
        let millis = self.peek(path)?.as_f64()?;
        Duration::try_from_secs_f64(millis / 1000.0).ok()
    }

    /// Takes the tool, prompt, resource or template, with what it is.
    pub(super) fn target(&mut self) -> Option<(&'static str, String)> {
        ["tool", "prompt", "resource", "resource_template"].into_iter().find_map(|kind| Some((kind, self.text(kind)?)))
    }

    /// Takes the error: its code in JSON-RPC, or a word.
    pub(super) fn error(&mut self) -> (Option<i64>, Option<String>) {
        (self.whole("error"), self.text("error"))
    }

    /// What became of the call; `None` if the record is not about one.
    pub(super) fn fate(&self) -> Option<Fate> {
        let is_blocked = self.peek("error").and_then(Value::as_str).is_some_and(|word| word.starts_with("blocked"));
        let is_masked = self.peek("masked").and_then(Value::as_array).is_some_and(|masked| !masked.is_empty());
        let is_shadowed = self.peek("shadow") == Some(&Value::Bool(true));
        Some(match self.peek("decision")?.as_str()? {
            "allow" if is_blocked => Fate::Blocked,
            "allow" if is_masked => Fate::Corrected,
            "allow" if is_shadowed => Fate::Detected,
            "allow" => Fate::Allowed,
            "deny" => Fate::Denied,
            "refused" => Fate::Refused,
            "step_up" => Fate::StepUp,
            _ => return None,
        })
    }

    /// Whether the call succeeded, or what happened is good; `None` where that is not known yet.
    pub(super) fn succeeded(&self) -> Option<bool> {
        let result = self.peek("key_refresh/result").and_then(Value::as_str);
        match (self.fate(), self.event.as_str()) {
            (Some(Fate::Denied | Fate::Refused | Fate::StepUp), _) => Some(false),
            (Some(_), "end") => Some(self.peek("error").is_none()),
            (Some(_), _) => None,
            (None, "key_refresh") => Some(!matches!(result, Some("failed" | "too_old"))),
            (None, event) => Some(event != "tool_drift"),
        }
    }

    /// How much it matters, from 1 to 4: for the record, worth a look, worth more than one, at once.
    pub(super) fn severity(&self) -> i64 {
        let result = self.peek("key_refresh/result").and_then(Value::as_str);
        match (self.fate(), self.event.as_str(), result) {
            (Some(Fate::Denied | Fate::Blocked), ..) | (None, "key_refresh", Some("failed")) => 3,
            (Some(Fate::Refused | Fate::StepUp), ..) | (None, "revoked", _) => 2,
            (None, "tool_drift", _) | (None, "key_refresh", Some("too_old")) => 4,
            _ => 1,
        }
    }

    /// What no format took: members that are null and objects that were emptied are nothing.
    pub(super) fn left(mut self) -> Map<String, Value> {
        self.left.values_mut().filter_map(Value::as_object_mut).for_each(|members| {
            members.retain(|_, value| !value.is_null());
        });
        self.left.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|members| !members.is_empty()));
        self.left
    }
}

/// Sets what there is of a value at `path`, as in `api.service.name`.
pub(super) fn set(event: &mut Map<String, Value>, path: &str, value: Option<impl Into<Value>>) {
    let Some(value) = value else { return };
    match path.split_once('.') {
        None => {
            event.insert(path.to_owned(), value.into());
        }
        Some((name, rest)) => {
            let within = event.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(within) = within {
                set(within, rest, Some(value));
            }
        }
    }
}
