use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Format, event};
use crate::audit::{
    Client, Decision, ErrorCode, Event, Fragment, Masked, Policy, Record, Session, Subject, Target, record,
};
use crate::clock::Timestamp;

const OCSF: &str = include_str!("../../../tests/schemas/ocsf-1.8.0.json");
const ECS: &str = include_str!("../../../tests/schemas/ecs-9.4.0.json");

/// The end of a line, as a log with or without a chain has it.
const ENDS: [&str; 2] = [
    r#","instance":"crm-7d4f/0","seq":4182}"#,
    r#","instance":"crm-7d4f/0","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","seq":4182,"prev":"sha256:00","hash":"sha256:11"}"#,
];

const SUBJECT: &str = r#","server":"crm","method":"tools/call","tool":"get_contact","protocol":"2026-07-28","rpc_id":7,"session":"sha256:1f","subject":{"iss":"https://i","sub":"ana","client_id":"cli","act":["bot"],"scopes":["crm:read"],"jti":"j","kid":"k"},"client":{"ip":"10.2.3.4","user_agent":"cli/2","name":"cli","version":"2"},"policy":{"version":"sha256:5f","rule":"crm-read","reason":null,"missing_scopes":[]}"#;

/// A line for each kind of record, and what the formats say of it: class and activity, disposition and status of OCSF,
/// categories, types and outcome of ECS, signature and severity of CEF.
const KINDS: &[(&str, &str, [i64; 4], &str, &str)] = &[
    ("call", r#","decision":"allow","shadow":false"#, [600_399, 1, 0, 1], "api access,allowed unknown", "call:allow 1"),
    (
        "end",
        r#","decision":"allow","shadow":false,"http":200,"duration_ms":2.400,"upstream_ms":1.600"#,
        [600_399, 1, 1, 1],
        "api access,end,allowed success",
        "end:allow 1",
    ),
    (
        "end",
        r#","decision":"allow","shadow":true,"masked":[{"mask":"pii","entity":"IBAN","action":"redact","direction":"result","count":2}],"http":200"#,
        [600_399, 11, 1, 1],
        "api access,end,allowed success",
        "end:allow 1",
    ),
    (
        "end",
        r#","decision":"allow","shadow":false,"http":200,"error":"blocked""#,
        [600_399, 2, 2, 3],
        "api access,end,denied failure",
        "end:allow 6",
    ),
    (
        "end",
        r#","decision":"allow","shadow":true,"http":200,"error":-32603"#,
        [600_399, 15, 2, 1],
        "api access,end,allowed failure",
        "end:allow 1",
    ),
    (
        "call",
        r#","decision":"deny","shadow":false,"http":200,"error":"policy_denied""#,
        [600_399, 2, 2, 3],
        "api access,denied failure",
        "call:deny 6",
    ),
    (
        "call",
        r#","decision":"step_up","shadow":false,"http":403,"error":"insufficient_scope""#,
        [600_399, 23, 2, 2],
        "api access,denied failure",
        "call:step_up 4",
    ),
    (
        "call",
        r#","decision":"refused","shadow":false,"http":400,"error":-32600"#,
        [600_399, 26, 2, 2],
        "api access,denied failure",
        "call:refused 4",
    ),
    (
        "auth_failed",
        r#","decision":"refused","shadow":false,"error":"expired","count":3,"since":"2026-11-22T12:00:00.000Z""#,
        [300_201, 26, 2, 2],
        "authentication start failure",
        "auth_failed:refused 4",
    ),
    ("start", "", [600_203, 0, 1, 1], "process start success", "start 1"),
    ("stop", "", [600_204, 0, 1, 1], "process end success", "stop 1"),
    ("config_reload", "", [600_299, 0, 1, 1], "configuration change success", "config_reload 1"),
    (
        "key_refresh",
        r#","key_refresh":{"issuer":"corp","iss":"https://i","result":"changed","keys":2,"added":["b"],"removed":["a",null]}"#,
        [300_403, 0, 1, 1],
        "iam change success",
        "key_refresh 1",
    ),
    (
        "key_refresh",
        r#","key_refresh":{"issuer":"corp","iss":"https://i","result":"failed","reason":"no answer"}"#,
        [300_499, 0, 2, 3],
        "iam change failure",
        "key_refresh 6",
    ),
    (
        "key_refresh",
        r#","key_refresh":{"issuer":"corp","iss":"https://i","result":"too_old"}"#,
        [300_499, 0, 2, 4],
        "iam change failure",
        "key_refresh 9",
    ),
    (
        "revoked",
        r#","revoked":{"iss":"https://i","event":"session-revoked","issued_until":"2026-11-22T12:00:00.000Z","of":[{"sub":"ana"}]}"#,
        [300_411, 0, 1, 2],
        "iam change success",
        "revoked 4",
    ),
    (
        "tool_drift",
        r#","server":"crm","tool":"get","drift":"changed""#,
        [200_401, 0, 1, 4],
        "intrusion_detection info failure",
        "tool_drift 9",
    ),
    ("checkpoint", r#","kid":"k","signature":"s""#, [100_899, 0, 1, 1], "configuration info success", "checkpoint 1"),
    ("opened", "", [100_805, 0, 1, 1], "configuration info success", "opened 1"),
    (
        "file_deleted",
        r#","deleted":{"file":"audit-20260501T000000000Z.jsonl","bytes":1000,"until":"2026-05-01T00:00:00.000Z","last_seq":9,"last_hash":"sha256:00","kept_days":190}"#,
        [100_802, 0, 1, 1],
        "configuration info success",
        "file_deleted 1",
    ),
    ("of_later", r#","what":{"is":[1]}"#, [99, 0, 1, 1], "configuration info success", "of_later 1"),
];

fn line(kind: &str, members: &str, end: &str) -> String {
    let about = if matches!(kind, "call" | "end") { SUBJECT } else { "" };
    format!(
        r#"{{"v":1,"time":"2026-11-22T12:04:15.302Z","event":"{kind}","id":"01935a","request_id":"01935b"{members}{about}{end}"#
    )
}

fn exported(line: &str, format: Format) -> Value {
    serde_json::from_str(&event(line.as_bytes(), format).unwrap()).unwrap()
}

#[test]
fn every_kind_of_record_has_its_place_in_each_format() {
    for (kind, members, [type_uid, disposition, status, severity], ecs, cef) in KINDS {
        for end in ENDS {
            let line = line(kind, members, end);
            let event = exported(&line, Format::Ocsf);
            let told = ["type_uid", "disposition_id", "status_id", "severity_id"]
                .map(|name| event[name].as_i64().unwrap_or(0));
            assert_eq!(told, [*type_uid, *disposition, *status, *severity], "{line}");
            assert_eq!(event["time"], 1_795_349_055_302_i64, "{line}");
            assert_eq!(flaws_of_ocsf(&event), [""; 0], "{event:#}");
            let event = exported(&line, Format::Ecs);
            let list = |name: &str| {
                event["event"][name]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one.as_str().unwrap())
                    .collect::<Vec<_>>()
                    .join(",")
            };
            assert_eq!(
                format!("{} {} {}", list("category"), list("type"), event["event"]["outcome"].as_str().unwrap()),
                *ecs,
                "{line}"
            );
            assert_eq!(flaws_of_ecs(&event), [""; 0], "{event:#}");
            let (header, _) = read_cef(&super::event(line.as_bytes(), Format::Cef).unwrap());
            assert_eq!(format!("{} {}", header[4], header[6]), *cef, "{line}");
        }
    }
}

#[test]
fn a_call_is_told_in_full() {
    let line = line(
        "end",
        r#","decision":"allow","shadow":false,"http":200,"duration_ms":2.400,"upstream_ms":1.600"#,
        ENDS[1],
    );
    let expected = json!({
        "action_id": 1, "activity_id": 99, "activity_name": "tools/call", "category_uid": 6, "class_name": "API Activity",
        "class_uid": 6003, "disposition_id": 1, "duration": 2, "is_alert": false, "severity_id": 1, "status_code": "200",
        "status_id": 1, "time": 1_795_349_055_302_i64, "type_uid": 600_399,
        "actor": { "app_name": "cli", "app_uid": "cli", "idp": { "issuer": "https://i", "name": "https://i" }, "invoked_by": "bot",
            "session": { "uid": "sha256:1f" }, "user": { "name": "ana", "uid": "ana" } },
        "api": { "operation": "tools/call", "request": { "uid": "01935b" }, "response": { "code": 200 }, "service": { "name": "crm" },
            "token": { "uid": "j" }, "version": "2026-07-28" },
        "authorizations": [{ "decision": "allow" }],
        "dst_endpoint": { "name": "crm", "svc_name": "crm" },
        "http_request": { "user_agent": "cli/2" }, "http_response": { "code": 200 },
        "metadata": { "correlation_uid": "01935b", "event_code": "end", "log_name": "audit", "log_version": "1",
            "original_time": "2026-11-22T12:04:15.302Z", "product": { "name": "Portcullis", "vendor_name": "Portcullis" },
            "profiles": ["security_control", "trace"], "reporter": { "name": "crm-7d4f/0" }, "sequence": 4182, "uid": "01935a",
            "version": "1.8.0" },
        "policy": { "name": "crm", "uid": "crm-read", "version": "sha256:5f" },
        "resources": [{ "name": "get_contact", "role_id": 1, "type": "MCP tool" }],
        "src_endpoint": { "ip": "10.2.3.4" },
        "trace": { "uid": "4bf92f3577b34da6a3ce929d0e0e4736" },
        "unmapped": { "chain": { "hash": "sha256:11", "prev": "sha256:00" }, "client": { "version": "2" }, "duration_ms": 2.4,
            "policy": { "missing_scopes": [] }, "rpc_id": 7, "shadow": false, "subject": { "act": ["bot"], "kid": "k", "scopes": ["crm:read"] },
            "upstream_ms": 1.6 },
    });
    assert_eq!(exported(&line, Format::Ocsf), expected);
    let cef = "CEF:0|Portcullis|Portcullis|1|end:allow|tools/call allow|1|rt=1795349055302 cat=end outcome=success act=allow \
        externalId=01935a deviceExternalId=crm-7d4f/0 app=MCP requestMethod=tools/call dhost=crm suid=ana suser=ana \
        cs4Label=issuer cs4=https://i cs5Label=client id cs5=cli src=10.2.3.4 requestClientApplication=cli/2 cs1Label=tool \
        cs1=get_contact cs2Label=rule cs2=crm-read cs3Label=policy version cs3=sha256:5f cs6Label=request id cs6=01935b \
        cn1Label=HTTP status cn1=200 portcullisClient={\"name\":\"cli\",\"version\":\"2\"} portcullisDurationMs=2.4 \
        portcullisHash=sha256:11 portcullisPolicy={\"missing_scopes\":[]} portcullisPrev=sha256:00 \
        portcullisProtocol=2026-07-28 portcullisRpcId=7 portcullisSeq=4182 portcullisSession=sha256:1f portcullisShadow=false \
        portcullisSubject={\"act\":[\"bot\"],\"jti\":\"j\",\"kid\":\"k\",\"scopes\":[\"crm:read\"]} \
        portcullisTime=2026-11-22T12:04:15.302Z portcullisTraceId=4bf92f3577b34da6a3ce929d0e0e4736 portcullisUpstreamMs=1.6";
    assert_eq!(event(line.as_bytes(), Format::Cef).unwrap(), cef);
}

#[test]
fn what_is_no_record_is_not_exported() {
    for (line, expected) in [
        ("", "not JSON"),
        ("{\"v\":1", "not JSON"),
        ("[]", "not a record of Portcullis: not an object"),
        (
            "{\"v\":2,\"time\":\"2026-11-22T12:04:15.302Z\",\"event\":\"call\"}",
            "not a record of version 1 of Portcullis",
        ),
        ("{\"v\":1,\"time\":\"noon\",\"event\":\"call\"}", "a record without time or event"),
        ("{\"v\":1,\"time\":\"2026-11-22T12:04:15.302Z\",\"event\":7}", "a record without time or event"),
    ] {
        for format in [Format::Cef, Format::Ecs, Format::Ocsf] {
            assert_eq!(event(line.as_bytes(), format), Err(Cow::Borrowed(expected)), "{line}");
        }
    }
}

/// A line as the proxy renders it, from any texts and numbers.
fn any_line() -> impl Strategy<Value = String> {
    let text = || prop_oneof![any::<String>(), "[ -~\\n|=\\\\]{0,12}", Just("get_contact".to_owned())];
    let numbers = (any::<u64>(), any::<u16>(), any::<i32>(), any::<[u8; 16]>(), 0..48_u8, any::<bool>());
    (proptest::collection::vec(text(), 12), numbers).prop_map(|(texts, numbers)| rendered(&texts, numbers))
}

fn rendered(
    texts: &[String],
    (number, status, code, address, kind, flag): (u64, u16, i32, [u8; 16], u8, bool),
) -> String {
    let sanitize: crate::audit::Sanitize = |text| Cow::Borrowed(text);
    let events = [
        Event::AuthFailed,
        Event::Call,
        Event::ConfigReload,
        Event::End,
        Event::KeyRefresh,
        Event::Revoked,
        Event::Start,
        Event::ToolDrift,
    ];
    let decisions = [Decision::Allow, Decision::Deny, Decision::Refused, Decision::StepUp];
    let address = if flag { std::net::IpAddr::from(address) } else { [10, 0, 0, address[0]].into() };
    let scopes: Vec<&str> = texts.iter().take(usize::from(kind) % 4).map(String::as_str).collect();
    let missing: Vec<Box<str>> = scopes.iter().map(|scope| (*scope).into()).collect();
    let subject = record::render_subject(&Subject {
        issuer: &texts[0],
        subject: &texts[1],
        client_id: flag.then_some(&*texts[2]),
        scopes: &scopes,
        token_id: Some(&texts[3]),
        key_id: flag.then_some(&*texts[4]),
        actors: &scopes,
    });
    let client = record::render_client(
        &Client { address, user_agent: Some(texts[5].as_bytes()), name: flag.then_some(&*texts[6]), version: None },
        &address.to_string(),
        sanitize,
    );
    let masked = [Masked { mask: &texts[7], entity: "IBAN", action: "redact", direction: "result", count: number }];
    let id = serde_json::to_string(&texts[8]).unwrap();
    let targets = [
        Target::Prompt(&texts[9]),
        Target::Resource(&texts[9]),
        Target::ResourceTemplate(&texts[9]),
        Target::Tool(&texts[9]),
    ];
    let record = Record {
        decision: (kind % 5 > 0).then(|| decisions[usize::from(kind) % 4]),
        shadow: flag,
        server: Some("crm"),
        method: Some(&texts[10]),
        target: flag.then(|| targets[usize::from(kind) % 4]),
        protocol: Some("2026-07-28"),
        rpc_id: Some(if flag { id.as_bytes() } else { b"-7" }),
        session: flag.then(|| Session::of("s")),
        subject: (kind % 3 > 0).then_some(&subject),
        client: (kind % 7 > 0).then_some(&client),
        policy: flag.then_some(Policy {
            version: "sha256:0",
            rule: Some(&texts[11]),
            reason: (kind > 9).then_some(&*texts[0]),
            missing_scopes: &missing,
        }),
        drift: (kind % 2 > 0).then_some("changed"),
        masked: &masked[..usize::from(flag)],
        status: (kind % 2 > 0).then_some(status),
        error: (kind % 4 > 0).then_some(if flag { ErrorCode::Code(code) } else { ErrorCode::Name("tool_error") }),
        duration: Some(Duration::from_micros(number)),
        upstream: flag.then(|| Duration::from_millis(number)),
        credential: None::<&Fragment>,
        ..Record::new(
            events[usize::from(kind) % 8],
            Timestamp::from_unix_seconds(i64::from(code.unsigned_abs())),
            Uuid::from_u128(u128::from(number)),
        )
    };
    let mut out = Vec::new();
    record::render(&mut out, &record, sanitize);
    String::from_utf8(out).unwrap() + ENDS[usize::from(flag)]
}

proptest! {
    #[test]
    fn whatever_the_proxy_records_can_be_exported(line in any_line()) {
        let record: Value = serde_json::from_str(&line).unwrap();
        let event = exported(&line, Format::Ocsf);
        prop_assert_eq!(flaws_of_ocsf(&event), [""; 0], "{}", line);
        prop_assert_eq!(texts_missing(&record, &event), [""; 0], "{}", line);
        let event = exported(&line, Format::Ecs);
        prop_assert_eq!(flaws_of_ecs(&event), [""; 0], "{}", line);
        prop_assert_eq!(texts_missing(&record, &event), [""; 0], "{}", line);
        let text = super::event(line.as_bytes(), Format::Cef).unwrap();
        prop_assert!(!text.contains(char::is_control), "{}", text);
        let (header, extension) = read_cef(&text);
        prop_assert_eq!(header.len(), 7);
        prop_assert_eq!(&header[..4], ["CEF:0", "Portcullis", "Portcullis", "1"]);
        for (path, key) in [("/subject/sub", "suid"), ("/policy/rule", "cs2"), ("/subject/iss", "cs4"), ("/id", "externalId"), ("/client/user_agent", "requestClientApplication")] {
            if let Some(expected) = record.pointer(path).and_then(Value::as_str) {
                prop_assert_eq!(extension.get(key).map(String::as_str), Some(&*seen(expected)), "{}", text);
            }
        }
    }
}

/// A text with what is not seen escaped, but for ends of lines.
fn seen(text: &str) -> String {
    text.split('\n').map(crate::audit::escape::shown).collect::<Vec<_>>().join("\n")
}

/// Texts of a record that its event does not have.
fn texts_missing(record: &Value, event: &Value) -> Vec<String> {
    fn texts(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) => into.push(text.clone()),
            Value::Array(all) => all.iter().for_each(|one| texts(one, into)),
            Value::Object(members) => members.values().for_each(|one| texts(one, into)),
            Value::Number(number) => into.push(number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }
    let (mut wanted, mut there) = (Vec::new(), Vec::new());
    texts(record, &mut wanted);
    texts(event, &mut there);
    // The version of the record is that of its format.
    wanted.retain(|text| text != "1" && !there.contains(text));
    wanted
}

/// The header and the extension of a line of CEF, unescaped.
fn read_cef(line: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut header, mut field, mut chars) = (Vec::new(), String::new(), line.chars());
    while header.len() < 7 {
        match chars.next().unwrap() {
            '\\' => field.push(chars.next().unwrap()),
            '|' => header.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    // A value ends where a space, letters and digits and an unescaped `=` follow.
    let rest = chars.as_str();
    let keys = regex::Regex::new("(?:^| )([A-Za-z0-9]+)=").unwrap();
    let found: Vec<_> = keys.captures_iter(rest).map(|found| (found.get(0).unwrap(), found[1].to_owned())).collect();
    let mut extension = BTreeMap::new();
    for (at, (place, key)) in found.iter().enumerate() {
        let end = found.get(at + 1).map_or(rest.len(), |(next, _)| next.start());
        let (mut value, mut chars) = (String::new(), rest.get(place.end()..end).unwrap().chars());
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next().unwrap() {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                '=' => panic!("`=` is not escaped: {line}"),
                c => value.push(c),
            }
        }
        assert!(extension.insert(key.clone(), value).is_none(), "`{key}` twice: {line}");
    }
    (header, extension)
}

/// How an event differs from the schema of its class.
fn flaws_of_ocsf(event: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(OCSF).unwrap();
    let class = &schema["classes"][event["class_uid"].to_string()];
    let mut flaws = Vec::new();
    if class["category"] != event["category_uid"] {
        flaws.push("category_uid".to_owned());
    }
    if event["type_uid"].as_i64()
        != event["class_uid"]
            .as_i64()
            .zip(event["activity_id"].as_i64())
            .map(|(class, activity)| class * 100 + activity)
    {
        flaws.push("type_uid".to_owned());
    }
    let none = json!([]);
    let profiles = event["metadata"].get("profiles").unwrap_or(&none).as_array().unwrap();
    if profiles.iter().any(|profile| !class["profiles"].as_array().unwrap().contains(profile)) {
        flaws.push(format!("profiles {profiles:?}"));
    }
    members(&schema, class, event, profiles, "", &mut flaws);
    flaws
}

fn members(schema: &Value, of: &Value, value: &Value, profiles: &[Value], path: &str, flaws: &mut Vec<String>) {
    let Some(given) = value.as_object() else { return flaws.push(format!("{path} is no object")) };
    let attributes = of["attributes"].as_object().unwrap();
    for (name, attribute) in attributes {
        let is_on = attribute.get("profile").is_none_or(|profile| profiles.contains(profile));
        match given.get(name) {
            Some(_) if !is_on => flaws.push(format!("{path}.{name} is of another profile")),
            Some(value) => member(schema, attribute, value, profiles, &format!("{path}.{name}"), flaws),
            None if is_on && attribute["required"] == true => flaws.push(format!("{path}.{name} is missing")),
            None => {}
        }
    }
    flaws.extend(
        given.keys().filter(|name| !attributes.contains_key(*name)).map(|name| format!("{path}.{name} is unknown")),
    );
    if let Some(any) = of["constraints"]["at_least_one"].as_array()
        && !any.iter().any(|name| given.contains_key(name.as_str().unwrap()))
    {
        flaws.push(format!("{path} has none of {any:?}"));
    }
}

fn member(schema: &Value, attribute: &Value, value: &Value, profiles: &[Value], path: &str, flaws: &mut Vec<String>) {
    if attribute["array"] == true {
        let Some(all) = value.as_array() else { return flaws.push(format!("{path} is no list")) };
        let mut one = attribute.clone();
        one["array"] = false.into();
        return all.iter().for_each(|value| member(schema, &one, value, profiles, path, flaws));
    }
    let kind = attribute["type"].as_str().unwrap();
    let fits = match kind {
        "string_t" | "username_t" => value.is_string(),
        "ip_t" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        "integer_t" | "long_t" | "timestamp_t" => value.is_i64(),
        "boolean_t" => value.is_boolean(),
        "object" => value.is_object(),
        object => {
            match schema["objects"].get(object) {
                Some(of) => members(schema, of, value, profiles, path, flaws),
                None => flaws.push(format!("{path}: {object} is not in the schema here")),
            }
            true
        }
    };
    if !fits || attribute.get("enum").is_some_and(|all| !all.as_array().unwrap().contains(value)) {
        flaws.push(format!("{path} is {value}, no {kind}"));
    }
}

/// How an event differs from the fields of ECS, but for those of our own.
fn flaws_of_ecs(event: &Value) -> Vec<String> {
    fn fields(schema: &Value, value: &Value, path: &str, flaws: &mut Vec<String>) {
        if let (Some(members), None) = (value.as_object(), schema["fields"].get(path)) {
            for (name, value) in members.iter().filter(|(name, _)| !path.is_empty() || *name != "portcullis") {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(schema, value, &path, flaws);
            }
            return;
        }
        let Some(kind) = schema["fields"].get(path).and_then(Value::as_str) else {
            return flaws.push(format!("{path} is unknown"));
        };
        let values = match (kind.strip_suffix("[]"), value) {
            (Some(_), Value::Array(all)) => all.iter().collect(),
            (None, value) => vec![value],
            _ => return flaws.push(format!("{path} is no list")),
        };
        for value in values {
            let fits = match kind.trim_end_matches("[]") {
                "long" => value.is_i64(),
                "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
                _ => value.is_string(),
            };
            if !fits || schema["allowed"].get(path).is_some_and(|all| !all.as_array().unwrap().contains(value)) {
                flaws.push(format!("{path} is {value}, no {kind}"));
            }
        }
    }
    let schema: Value = serde_json::from_str(ECS).unwrap();
    let mut flaws = Vec::new();
    fields(&schema, event, "", &mut flaws);
    let category = event["event"]["category"][0].as_str().unwrap();
    let types = schema["types_of_category"][category].as_array().unwrap();
    if event["event"]["type"].as_array().unwrap().iter().any(|kind| !types.contains(kind)) {
        flaws.push(format!("no types of {category}: {}", event["event"]["type"]));
    }
    flaws
}
