//! A record in a line for people.

use serde_json::Value;

use super::escape::shown;

/// What a record says, in words that are safe to print.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// As in `2026-11-22`, in UTC.
    pub(crate) date: String,
    /// As in `12:04:11`.
    pub(crate) clock: String,
    /// The decision, or the event that is none.
    pub(crate) verdict: String,
    /// Who, what, why and how long.
    pub(crate) about: String,
}

impl Summary {
    /// Of a record that ends a call or refuses one; `None` for others.
    pub(crate) fn of_decision(record: &Value) -> Option<Self> {
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(shown);
        let decision = text("/decision")?;
        let count = record.get("count").and_then(Value::as_u64);
        if record.get("http").is_none() && count.is_none() {
            return None;
        }
        let who = text("/subject/sub").unwrap_or("-".into());
        let named = ["/tool", "/prompt", "/resource", "/resource_template", "/method"];
        let what = named.into_iter().find_map(text).unwrap_or("-".into());
        let mut notes: Vec<String> = count.map(|count| format!("{count} times")).into_iter().collect();
        if let Some(missing) = list(record, "/policy/missing_scopes") {
            notes.push(shown(&missing.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")).into_owned());
        }
        match record.get("error") {
            Some(Value::String(error)) => notes.push(shown(error).into_owned()),
            Some(Value::Number(code)) => notes.push(code.to_string()),
            _ => {}
        }
        if let Some(masked) = list(record, "/masked") {
            let counted = masked.iter().filter_map(|one| {
                Some(format!("{}×{}", shown(one.get("entity")?.as_str()?), one.get("count")?.as_u64()?))
            });
            notes.push(format!("masked {}", counted.collect::<Vec<_>>().join(" ")));
        }
        if let Some(rule) = text("/policy/rule") {
            notes.push(format!("rule={rule}"));
        }
        let took = record.get("duration_ms").and_then(Value::as_f64).map(|took| format!("  {took:.1}ms"));
        let about = format!("{who:<4} {what:<18} {}{}", notes.join("   "), took.unwrap_or_default());
        Self::new(record, &decision, about)
    }

    /// Of a record that is no decision, such as a start; `None` for decisions, and for checkpoints, of which there are many.
    pub(crate) fn of_event(record: &Value) -> Option<Self> {
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(shown);
        let event = text("/event").filter(|event| record.get("decision").is_none() && event != "checkpoint")?;
        let told =
            ["/key_refresh/issuer", "/key_refresh/result", "/key_refresh/reason", "/revoked/iss", "/revoked/event"];
        let named = ["/server", "/tool", "/drift", "/deleted/file"];
        let about: Vec<_> = named.into_iter().chain(told).filter_map(text).collect();
        Self::new(record, &event, about.join("  "))
    }

    fn new(record: &Value, verdict: &str, about: String) -> Option<Self> {
        let time = shown(record.get("time")?.as_str()?);
        let (date, clock) = (time.get(..10)?.to_owned(), time.get(11..19)?.to_owned());
        Some(Self { date, clock, verdict: verdict.to_owned(), about })
    }
}

/// A list that is not empty.
fn list<'r>(record: &'r Value, pointer: &str) -> Option<&'r Vec<Value>> {
    record.pointer(pointer).and_then(Value::as_array).filter(|all| !all.is_empty())
}

/// `12:04:11 step_up  ana  update_contact     crm:write   rule=crm-update  1.1ms`.
impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:<8} {}", self.clock, self.verdict, self.about)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::Summary;

    fn decision(line: &str) -> Option<String> {
        Summary::of_decision(&serde_json::from_str(line).unwrap()).map(|summary| summary.to_string())
    }

    #[test]
    fn shows_endings_and_refusals_in_a_line_and_beginnings_not() {
        for (line, expected) in [
            (
                r#"{"time":"2026-11-22T12:04:11.302Z","decision":"step_up","tool":"update_contact","subject":{"sub":"ana"},
                "policy":{"rule":"crm-update","missing_scopes":["crm:write"]},"http":403,"duration_ms":1.14}"#,
                Some("12:04:11 step_up  ana  update_contact     crm:write   rule=crm-update  1.1ms"),
            ),
            (
                r#"{"time":"2026-11-22T12:04:15.302Z","decision":"allow","tool":"get_contact","subject":{"sub":"ana"},
                "masked":[{"entity":"EMAIL_ADDRESS","count":2},{"entity":"CREDIT_CARD","count":1}],"http":200,"duration_ms":2.4}"#,
                Some("12:04:15 allow    ana  get_contact        masked EMAIL_ADDRESS×2 CREDIT_CARD×1  2.4ms"),
            ),
            (
                r#"{"time":"2026-11-22T12:04:15.302Z","decision":"refused","error":"missing","count":40}"#,
                Some("12:04:15 refused  -    -                  40 times   missing"),
            ),
            (
                "{\"time\":\"2026-11-22T12:04:15.302Z\",\"decision\":\"deny\",\"tool\":\"a\\u001b[31m\\n\",\"http\":200}",
                Some("12:04:15 deny     -    a\\u{1b}[31m\\u{a}   "),
            ),
            (r#"{"time":"2026-11-22T12:04:15.302Z","decision":"allow"}"#, None),
            (r#"{"time":"noon","decision":"allow","http":200}"#, None),
            ("[]", None),
        ] {
            assert_eq!(decision(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn says_what_happened_besides() {
        for (line, expected) in [
            (r#"{"time":"2026-11-22T12:00:00.302Z","event":"start"}"#, Some("2026-11-22 12:00:00 start    ")),
            (
                r#"{"time":"2026-11-22T12:00:00.302Z","event":"key_refresh","key_refresh":{"issuer":"corp","result":"failed","reason":"no answer"}}"#,
                Some("2026-11-22 12:00:00 key_refresh corp  failed  no answer"),
            ),
            (
                r#"{"time":"2026-11-22T12:00:00.302Z","event":"tool_drift","server":"crm","tool":"get","drift":"changed"}"#,
                Some("2026-11-22 12:00:00 tool_drift crm  get  changed"),
            ),
            (r#"{"time":"2026-11-22T12:00:00.302Z","event":"checkpoint"}"#, None),
            (r#"{"time":"2026-11-22T12:00:00.302Z","event":"call","decision":"allow"}"#, None),
        ] {
            let record: Value = serde_json::from_str(line).unwrap();
            let said = Summary::of_event(&record).map(|summary| format!("{} {summary}", summary.date));
            assert_eq!(said.as_deref(), expected, "{line}");
        }
    }
}
