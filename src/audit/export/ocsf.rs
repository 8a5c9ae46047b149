//! Open Cybersecurity Schema Framework 1.8.0: <https://schema.ocsf.io/1.8.0/>.

use serde_json::{Map, Value, json};

use super::parts::{Fate, Parts, set};
use crate::audit::subjects::PREFIX;
use crate::clock::Timestamp;

/// The version of the schema.
const VERSION: &str = "1.8.0";
/// An activity a class has no number for.
const OTHER: i64 = 99;

/// A class of events.
struct Class {
    category: i64,
    uid: i64,
    name: &'static str,
}

const API: Class = Class { category: 6, uid: 6003, name: "API Activity" };
const APPLICATION: Class = Class { category: 6, uid: 6002, name: "Application Lifecycle" };
const AUTHENTICATION: Class = Class { category: 3, uid: 3002, name: "Authentication" };
const BASE: Class = Class { category: 0, uid: 0, name: "Base Event" };
const ENTITY: Class = Class { category: 3, uid: 3004, name: "Entity Management" };
const EVENT_LOG: Class = Class { category: 1, uid: 1008, name: "Event Log Activity" };
const FINDING: Class = Class { category: 2, uid: 2004, name: "Detection Finding" };

/// The event of a record.
pub(super) fn event(mut parts: Parts) -> Value {
    let mut event = Map::new();
    let succeeded = parts.succeeded();
    set(&mut event, "time", Some(parts.time.unix_millis()));
    set(&mut event, "severity_id", Some(parts.severity()));
    set(&mut event, "status_id", Some(succeeded.map_or(0, |succeeded| if succeeded { 1 } else { 2 })));
    metadata(&mut event, &mut parts);
    let kind = parts.event.clone();
    match kind.as_str() {
        "call" | "end" => call(&mut event, &mut parts),
        "auth_failed" => failed_login(&mut event, &mut parts),
        "start" | "stop" | "config_reload" => application(&mut event, &parts),
        "key_refresh" => keys(&mut event, &mut parts),
        "revoked" => revoked(&mut event, &mut parts),
        "tool_drift" => drift(&mut event, &mut parts),
        "checkpoint" => log(&mut event, OTHER, "Checkpoint"),
        "opened" => log(&mut event, 5, "Rotate"),
        "file_deleted" => log(&mut event, 2, "Delete"),
        other => classify(&mut event, &BASE, OTHER, other),
    }
    let mut chain = Map::new();
    for name in ["prev", "hash", "kid", "signature"] {
        set(&mut chain, name, parts.text(name));
    }
    let mut left = parts.left();
    if !chain.is_empty() {
        left.insert("chain".to_owned(), Value::Object(chain));
    }
    if !left.is_empty() {
        set(&mut event, "unmapped", Some(left));
    }
    Value::Object(event)
}

fn metadata(event: &mut Map<String, Value>, parts: &mut Parts) {
    let kind = parts.event.clone();
    let mut profiles = Vec::new();
    if parts.fate().is_some() {
        profiles.push("security_control");
    }
    if parts.peek("trace_id").is_some_and(Value::is_string) && matches!(&*kind, "call" | "end") {
        profiles.push("trace");
    }
    set(event, "metadata.version", Some(VERSION));
    set(event, "metadata.product", Some(json!({ "name": "Portcullis", "vendor_name": "Portcullis" })));
    set(event, "metadata.profiles", (!profiles.is_empty()).then_some(profiles));
    set(event, "metadata.log_name", Some("audit"));
    set(event, "metadata.log_version", Some("1"));
    set(event, "metadata.event_code", Some(kind));
    set(event, "metadata.original_time", parts.text("time"));
    set(event, "metadata.uid", parts.text("id"));
    set(event, "metadata.correlation_uid", parts.text("request_id"));
    set(event, "metadata.sequence", parts.whole("seq"));
    set(event, "metadata.reporter.name", parts.text("instance"));
}

fn classify(event: &mut Map<String, Value>, class: &Class, activity: i64, name: &str) {
    set(event, "category_uid", Some(class.category));
    set(event, "class_uid", Some(class.uid));
    set(event, "class_name", Some(class.name));
    set(event, "activity_id", Some(activity));
    set(event, "activity_name", Some(name));
    set(event, "type_uid", Some(class.uid * 100 + activity));
}

/// A decision, and the end of a call.
fn call(event: &mut Map<String, Value>, parts: &mut Parts) {
    let method = parts.text("method").unwrap_or_else(|| "unknown".to_owned());
    classify(event, &API, OTHER, &method);
    let server = parts.text("server");
    set(event, "api.operation", Some(method));
    set(event, "api.service.name", server.clone());
    set(event, "api.version", parts.text("protocol"));
    set(event, "api.token.uid", parts.text("subject/jti"));
    let request = event.get("metadata").and_then(|metadata| metadata.get("correlation_uid")).cloned();
    set(event, "api.request.uid", request);
    set(event, "dst_endpoint.svc_name", server.clone());
    set(event, "dst_endpoint.name", server.clone());
    if let Some((kind, name)) = parts.target() {
        let kind = kind.replace('_', " ");
        set(event, "resources", Some(json!([{ "name": name, "type": format!("MCP {kind}"), "role_id": 1 }])));
    }
    caller(event, parts);
    control(event, parts, server);
    answer(event, parts);
    set(event, "trace.uid", parts.text("trace_id"));
}

fn caller(event: &mut Map<String, Value>, parts: &mut Parts) {
    let issuer = parts.text("subject/iss");
    match parts.text("subject/sub") {
        Some(sub) => {
            let is_name = !sub.starts_with(PREFIX);
            set(event, "actor.user.name", is_name.then(|| sub.clone()));
            set(event, "actor.user.uid", Some(sub));
        }
        None if parts.peek("subject/anonymous").is_some() => {
            set(event, "actor.user", Some(json!({ "name": "anonymous", "type_id": OTHER, "type": "anonymous" })));
        }
        None => set(event, "actor.user", Some(json!({ "name": "unknown", "type_id": 0 }))),
    }
    set(event, "actor.idp.name", issuer.clone());
    set(event, "actor.idp.issuer", issuer);
    set(event, "actor.app_uid", parts.text("subject/client_id"));
    set(event, "actor.app_name", parts.text("client/name"));
    set(event, "actor.session.uid", parts.text("session"));
    let actor = parts.peek("subject/act").and_then(|actors| actors.get(0)).and_then(Value::as_str);
    set(event, "actor.invoked_by", actor.map(ToOwned::to_owned));
    client(event, parts);
}

/// Where it came from.
fn client(event: &mut Map<String, Value>, parts: &mut Parts) {
    match parts.address("client/ip") {
        Some(address) => set(event, "src_endpoint.ip", Some(address.to_string())),
        // A network, where subjects are keyed.
        None => set(event, "src_endpoint.name", parts.text("client/ip").or_else(|| Some("unknown".to_owned()))),
    }
    set(event, "http_request.user_agent", parts.text("client/user_agent"));
}

/// The profile `security_control`: what was decided, and by what.
fn control(event: &mut Map<String, Value>, parts: &mut Parts, server: Option<String>) {
    let Some(fate) = parts.fate() else { return };
    let (action, disposition) = match fate {
        Fate::Allowed => (1, 1),
        Fate::Blocked | Fate::Denied => (2, 2),
        Fate::Corrected => (4, 11),
        Fate::Detected => (1, 15),
        Fate::Refused => (2, 26),
        Fate::StepUp => (2, 23),
    };
    set(event, "action_id", Some(action));
    set(event, "disposition_id", Some(disposition));
    set(event, "is_alert", Some(matches!(fate, Fate::Blocked | Fate::Denied)));
    let mut policy = Map::new();
    set(&mut policy, "uid", parts.text("policy/rule"));
    set(&mut policy, "version", parts.text("policy/version"));
    set(&mut policy, "desc", parts.text("policy/reason"));
    if !policy.is_empty() {
        set(&mut policy, "name", Some(server.unwrap_or_else(|| "unknown".to_owned())));
        set(event, "policy", Some(policy));
    }
    set(event, "authorizations", parts.text("decision").map(|decision| json!([{ "decision": decision }])));
}

/// How it ended.
fn answer(event: &mut Map<String, Value>, parts: &mut Parts) {
    let (code, word) = parts.error();
    let status = parts.whole("http");
    set(event, "http_response.code", status);
    set(event, "api.response.code", code.or(status));
    set(event, "api.response.error", word.clone());
    set(event, "status_code", code.or(status).map(|code| code.to_string()));
    set(event, "status_detail", word);
    set(event, "count", parts.whole("count"));
    let took = parts.took("duration_ms").and_then(|took| i64::try_from(took.as_millis()).ok());
    set(event, "duration", took);
}

fn failed_login(event: &mut Map<String, Value>, parts: &mut Parts) {
    classify(event, &AUTHENTICATION, 1, "Logon");
    let server = parts.text("server");
    set(event, "user", Some(json!({ "name": "unknown", "type_id": 0 })));
    set(event, "service.name", Some(server.clone().unwrap_or_else(|| "unknown".to_owned())));
    set(event, "auth_protocol_id", Some(6));
    client(event, parts);
    control(event, parts, server);
    let (code, word) = parts.error();
    set(event, "status_code", code.map(|code| code.to_string()));
    set(event, "status_detail", word);
    set(event, "http_response.code", parts.whole("http"));
    set(event, "count", parts.whole("count"));
    let since = parts.text("since");
    let start = since.as_deref().and_then(crate::audit::reading::moment);
    set(event, "start_time", start.map(Timestamp::unix_millis));
    set(event, "end_time", start.map(|_| parts.time.unix_millis()));
}

fn application(event: &mut Map<String, Value>, parts: &Parts) {
    let (activity, name) = match parts.event.as_str() {
        "start" => (3, "Start"),
        "stop" => (4, "Stop"),
        _ => (OTHER, "Reload configuration"),
    };
    classify(event, &APPLICATION, activity, name);
    set(event, "app", Some(json!({ "name": "Portcullis", "vendor_name": "Portcullis" })));
}

/// What is about the log itself.
fn log(event: &mut Map<String, Value>, activity: i64, name: &str) {
    classify(event, &EVENT_LOG, activity, name);
    set(event, "log_name", Some("audit"));
}

fn keys(event: &mut Map<String, Value>, parts: &mut Parts) {
    let result = parts.text("key_refresh/result").unwrap_or_else(|| "unknown".to_owned());
    let activity = if result == "changed" { 3 } else { OTHER };
    classify(event, &ENTITY, activity, if activity == 3 { "Update" } else { &result });
    set(event, "entity", Some(json!({ "type": "keys of an issuer", "type_id": OTHER })));
    set(event, "entity.name", parts.text("key_refresh/issuer"));
    set(event, "entity.uid", Some(parts.text("key_refresh/iss").unwrap_or_else(|| "unknown".to_owned())));
    set(event, "status_detail", Some(parts.text("key_refresh/reason").unwrap_or(result)));
}

fn revoked(event: &mut Map<String, Value>, parts: &mut Parts) {
    classify(event, &ENTITY, 11, "Deactivate");
    set(event, "entity", Some(json!({ "type": "tokens of an issuer", "type_id": OTHER })));
    set(event, "entity.uid", Some(parts.text("revoked/iss").unwrap_or_else(|| "unknown".to_owned())));
    set(event, "status_detail", parts.text("revoked/event"));
}

fn drift(event: &mut Map<String, Value>, parts: &mut Parts) {
    classify(event, &FINDING, 1, "Create");
    // Of a finding, the status is that of its treatment.
    set(event, "status_id", Some(1));
    let uid = event.get("metadata").and_then(|metadata| metadata.get("uid")).cloned();
    set(event, "finding_info.uid", Some(uid.unwrap_or_else(|| "unknown".into())));
    set(event, "finding_info.title", Some("A tool's definition is not the approved one"));
    set(event, "finding_info.types", Some(vec!["tool_drift"]));
    set(event, "finding_info.desc", parts.text("drift"));
    if let Some((kind, name)) = parts.target() {
        let mut resource = json!({ "name": name, "type": format!("MCP {kind}") });
        if let (Some(server), Some(members)) = (parts.text("server"), resource.as_object_mut()) {
            set(members, "namespace", Some(server));
        }
        set(event, "resources", Some(vec![resource]));
    }
}
