//! Elastic Common Schema 9: <https://www.elastic.co/docs/reference/ecs>. What it has no field for is below `portcullis`.

use serde_json::{Map, Value, json};

use super::parts::{Fate, Parts, set};
use crate::audit::subjects::PREFIX;

/// The version of the schema the fields are from.
const VERSION: &str = "9.4.0";

/// The event of a record.
pub(super) fn event(mut parts: Parts) -> Value {
    let mut event = Map::new();
    let (category, kind) = category(&parts);
    set(&mut event, "@timestamp", parts.text("time"));
    set(&mut event, "ecs.version", Some(VERSION));
    set(&mut event, "event.kind", Some(if parts.event == "tool_drift" { "alert" } else { "event" }));
    set(&mut event, "event.category", Some(json!([category])));
    set(&mut event, "event.type", Some(kind));
    set(
        &mut event,
        "event.action",
        parts.peek("method").cloned().filter(Value::is_string).or_else(|| Some(parts.event.clone().into())),
    );
    set(&mut event, "event.code", Some(parts.event.clone()));
    set(&mut event, "event.module", Some("portcullis"));
    set(&mut event, "event.dataset", Some("portcullis.audit"));
    set(&mut event, "event.severity", Some(parts.severity()));
    let outcome = parts.succeeded().map_or("unknown", |succeeded| if succeeded { "success" } else { "failure" });
    set(&mut event, "event.outcome", Some(outcome));
    let took = parts.took("duration_ms").and_then(|took| i64::try_from(took.as_nanos()).ok());
    set(&mut event, "event.duration", took);
    set(&mut event, "event.id", parts.text("id"));
    set(&mut event, "event.sequence", parts.whole("seq"));
    set(&mut event, "event.hash", parts.text("hash"));
    set(&mut event, "event.start", parts.text("since"));
    set(&mut event, "http.request.id", parts.text("request_id"));
    set(&mut event, "http.response.status_code", parts.whole("http"));
    set(&mut event, "observer", Some(json!({ "vendor": "Portcullis", "product": "Portcullis", "type": "proxy" })));
    set(&mut event, "observer.name", parts.text("instance"));
    set(&mut event, "trace.id", parts.text("trace_id"));
    what(&mut event, &mut parts);
    who(&mut event, &mut parts);
    why(&mut event, &mut parts);
    let left = parts.left();
    if !left.is_empty() {
        set(&mut event, "portcullis", Some(left));
    }
    Value::Object(event)
}

/// The category of an event, and the types it is of.
fn category(parts: &Parts) -> (&'static str, Vec<&'static str>) {
    match (parts.event.as_str(), parts.fate()) {
        ("auth_failed", _) => ("authentication", vec!["start"]),
        ("end", Some(fate)) => ("api", vec!["access", "end", verdict(fate)]),
        (_, Some(fate)) => ("api", vec!["access", verdict(fate)]),
        ("config_reload", None) => ("configuration", vec!["change"]),
        ("key_refresh" | "revoked", None) => ("iam", vec!["change"]),
        ("start", None) => ("process", vec!["start"]),
        ("stop", None) => ("process", vec!["end"]),
        ("tool_drift", None) => ("intrusion_detection", vec!["info"]),
        (_, None) => ("configuration", vec!["info"]),
    }
}

const fn verdict(fate: Fate) -> &'static str {
    if fate.is_allowed() { "allowed" } else { "denied" }
}

fn what(event: &mut Map<String, Value>, parts: &mut Parts) {
    let server = parts.text("server");
    set(event, "destination.address", server.clone());
    set(event, "server.address", server);
    set(event, "gen_ai.tool.name", parts.text("tool"));
    if event.contains_key("gen_ai") && parts.peek("decision").is_some() {
        set(event, "gen_ai.operation.name", Some("execute_tool"));
    }
}

fn who(event: &mut Map<String, Value>, parts: &mut Parts) {
    let sub = parts.text("subject/sub");
    if let Some(digest) = sub.as_ref().filter(|sub| sub.starts_with(PREFIX)) {
        set(event, "related.hash", Some(json!([digest])));
        set(event, "user.hash", Some(digest.clone()));
    } else if let Some(sub) = sub {
        set(event, "related.user", Some(json!([sub])));
        set(event, "user.id", Some(sub.clone()));
        set(event, "user.name", Some(sub));
    }
    set(event, "user.domain", parts.text("subject/iss"));
    if let Some(address) = parts.address("client/ip") {
        let address = address.to_string();
        set(event, "related.ip", Some(json!([address])));
        set(event, "source.address", Some(address.clone()));
        set(event, "source.ip", Some(address));
    }
    // A network, where subjects are keyed.
    set(event, "source.address", parts.text("client/ip"));
    set(event, "user_agent.original", parts.text("client/user_agent"));
    set(event, "gen_ai.agent.name", parts.text("client/name"));
}

fn why(event: &mut Map<String, Value>, parts: &mut Parts) {
    set(event, "rule.id", parts.text("policy/rule"));
    set(event, "rule.version", parts.text("policy/version"));
    if event.contains_key("rule") {
        let server = event.get("server").and_then(|server| server.get("address")).cloned();
        set(event, "rule.ruleset", server);
    }
    let (code, word) = parts.error();
    let reason = ["policy/reason", "key_refresh/reason", "drift"].into_iter().find_map(|path| parts.text(path));
    set(event, "event.reason", reason.or_else(|| word.clone()));
    set(event, "error.code", code.map(|code| code.to_string()).or(word));
}
