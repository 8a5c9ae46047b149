use std::sync::Arc;
use std::time::Duration;

use super::{Decided, Endpoint, ErrorType, Held, Histogram, MaskLabels, Metrics, Recorder, Spoken, Target};
use crate::clock::Timestamp;

fn recorder() -> Recorder {
    Recorder::new(Arc::new(Metrics::new("0.1.0", "abc")), "crm".into(), "/crm/mcp".into())
}

const fn spoken(revision: &'static str) -> Spoken {
    Spoken { revision, http: "2" }
}

fn value(text: &str, start: &str, parts: &[&str]) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(start) && parts.iter().all(|part| line.contains(part)))?;
    line.rsplit_once(' ').map(|(_, value)| value.to_owned())
}

#[test]
fn records_operations_by_known_names_only() {
    let recorder = recorder();
    let series = recorder.series("tools/call", spoken("2026-07-28"), Target::Tool("get_contact"));
    series.record(None, Duration::from_millis(15));
    series.record(None, Duration::from_secs(400));
    series.record(Some(ErrorType::PolicyDenied), Duration::from_millis(1));
    series.record(Some(ErrorType::Rpc(-32602)), Duration::from_millis(1));
    series.record(Some(ErrorType::Rpc(12345)), Duration::from_millis(1));
    assert!(Arc::ptr_eq(&series, &recorder.series("tools/call", spoken("2026-07-28"), Target::Tool("get_contact"))));
    recorder.series("tools/call", spoken("2026-07-28"), Target::UnknownTool).record(None, Duration::ZERO);
    recorder.series("tools/list", spoken("2026-07-28"), Target::None).record(None, Duration::ZERO);
    let text = recorder.metrics().encode();
    let bucket = "mcp_server_operation_duration_seconds_bucket";
    let tool = "gen_ai_tool_name=\"get_contact\"";
    let ok = "error_type=\"\"";
    assert_eq!(value(&text, bucket, &["le=\"0.01\"", tool, ok]).as_deref(), Some("0"));
    assert_eq!(value(&text, bucket, &["le=\"0.02\"", tool, ok]).as_deref(), Some("1"));
    assert_eq!(value(&text, bucket, &["le=\"300.0\"", tool, ok]).as_deref(), Some("1"));
    assert_eq!(value(&text, bucket, &["le=\"+Inf\"", tool, ok]).as_deref(), Some("2"));
    for label in ["policy_denied", "-32602", "_OTHER"] {
        let error = format!("error_type=\"{label}\"");
        assert_eq!(value(&text, bucket, &["+Inf", tool, &error]).as_deref(), Some("1"), "{label}");
    }
    assert!(value(&text, bucket, &["gen_ai_tool_name=\"_OTHER\""]).is_some());
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn names_beyond_the_cap_share_a_label() {
    let recorder = recorder();
    for number in 0..300 {
        recorder
            .series("tools/call", spoken("2025-11-25"), Target::Tool(&format!("tool_{number}")))
            .record(None, Duration::ZERO);
    }
    let text = recorder.metrics().encode();
    let counted = text.lines().filter(|line| line.starts_with("mcp_server_operation_duration_seconds_count")).count();
    assert_eq!(counted, 201);
    let other = ["gen_ai_tool_name=\"_OTHER\""];
    assert_eq!(value(&text, "mcp_server_operation_duration_seconds_count", &other).as_deref(), Some("100"));
}

#[test]
fn counts_decisions_credentials_and_requests() {
    let recorder = recorder();
    let rule: Arc<str> = "crm-read".into();
    recorder.decision(Some(&rule), Decided::Allow);
    recorder.decision(Some(&rule), Decided::Allow);
    recorder.decision(Some(&rule), Decided::StepUp);
    recorder.decision(None, Decided::Deny);
    let corp: Arc<str> = "corp".into();
    recorder.auth(Some(&corp), "ok");
    recorder.auth(Some(&corp), "ok");
    recorder.auth(None, "missing");
    recorder.request(&http::Method::POST, 200, Duration::from_millis(3));
    recorder.request(&http::Method::from_bytes(b"BREW").unwrap(), 405, Duration::from_millis(3));
    let text = recorder.metrics().encode();
    let decisions = "portcullis_policy_decisions_total";
    assert_eq!(value(&text, decisions, &["crm-read", "allow"]).as_deref(), Some("2"));
    assert_eq!(value(&text, decisions, &["crm-read", "step_up"]).as_deref(), Some("1"));
    assert_eq!(value(&text, decisions, &["rule=\"\"", "deny"]).as_deref(), Some("1"));
    assert_eq!(value(&text, "portcullis_auth_total", &["corp", "ok"]).as_deref(), Some("2"));
    assert_eq!(value(&text, "portcullis_auth_total", &["_OTHER", "missing"]).as_deref(), Some("1"));
    let requests = "http_server_request_duration_seconds_count";
    assert_eq!(value(&text, requests, &["POST", "/crm/mcp", "\"200\""]).as_deref(), Some("1"));
    assert_eq!(value(&text, requests, &["_OTHER", "\"405\""]).as_deref(), Some("1"));
}

#[test]
fn shows_every_family_under_its_name() {
    let metrics = Metrics::new("0.1.0", "abc");
    let name: Arc<str> = "corp".into();
    let now = Timestamp::from_unix_seconds(1_767_614_400);
    metrics.set_active_requests(|| 3);
    metrics.set_jwks(&name, 2, Some(now), [1, 0]);
    metrics.set_jwks(&name, 2, Some(now), [1, 1]);
    metrics.token_cache().hit.inc();
    let held = Held::new(metrics.streams(&name, "call"));
    metrics.upstream_up(&name).set(1);
    metrics.tool_drift(&name).set(2);
    metrics.count_upstream_error(&name, "timeout");
    metrics.audit_events("file", "ok").inc();
    metrics.audit_dropped("file").inc();
    metrics.audit_queue("file").set(4);
    metrics.audit_sequence("file").set(7);
    metrics.set_reload(Some((&"v1".into(), now)));
    metrics.set_reload(Some((&"v2".into(), now)));
    metrics.set_reload(None);
    metrics.set_certificate_expiry(&"server".into(), now);
    metrics.count_auth(None, "missing");
    let labels = MaskLabels {
        server: name.clone(),
        mask: "pii".into(),
        entity: "EMAIL_ADDRESS".into(),
        action: "redact",
        direction: "result",
    };
    metrics.count_masked(&labels, 2);
    metrics.count_error(Some(&name), "not_json");
    metrics.count_error(None, "not_found");
    let text = metrics.encode();
    for (line, expected) in [
        ("http_server_active_requests ", "3"),
        ("portcullis_jwks_keys{", "2"),
        ("portcullis_jwks_last_success_timestamp_seconds{", "1767614400.0"),
        ("portcullis_token_cache_requests_total{result=\"hit\"}", "1"),
        ("portcullis_streams{", "1"),
        ("portcullis_upstream_up{", "1"),
        ("portcullis_tool_drift{", "2"),
        ("portcullis_upstream_errors_total{", "1"),
        ("portcullis_errors_total{server=\"corp\",reason=\"not_json\"}", "1"),
        ("portcullis_errors_total{server=\"\",reason=\"not_found\"}", "1"),
        ("portcullis_audit_events_total{", "1"),
        ("portcullis_audit_dropped_total{", "1"),
        ("portcullis_audit_queue{", "4"),
        ("portcullis_audit_sequence{", "7"),
        ("portcullis_config_last_reload_successful ", "0"),
        ("portcullis_config_last_reload_success_timestamp_seconds ", "1767614400.0"),
        ("portcullis_config_info{version=\"v2\"}", "1"),
        ("portcullis_tls_certificate_expiry_timestamp_seconds{", "1767614400.0"),
        ("portcullis_mask_matches_total{", "2"),
        ("portcullis_build_info{version=\"0.1.0\",commit=\"abc\"}", "1"),
    ] {
        assert_eq!(value(&text, line, &[]).as_deref(), Some(expected), "{line}\n{text}");
    }
    assert!(value(&text, "portcullis_config_info", &["v1"]).is_none());
    for line in
        ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds ", "process_max_fds "]
    {
        assert!(value(&text, line, &[]).is_some(), "{line}\n{text}");
    }
    assert_eq!(value(&text, "portcullis_jwks_refresh_total", &["error"]).as_deref(), Some("1"));
    drop(held);
    assert_eq!(value(&metrics.encode(), "portcullis_streams{", &[]).as_deref(), Some("0"));
}

/// What is exported once each family has been used with every result of a fixed set.
pub(crate) fn every_family() -> String {
    let recorder = recorder();
    let metrics = recorder.metrics().clone();
    let (name, rule): (Arc<str>, Arc<str>) = ("crm".into(), "crm-read".into());
    let now = Timestamp::from_unix_seconds(1_767_614_400);
    let series = recorder.series("tools/call", spoken("2026-07-28"), Target::Tool("get_contact"));
    series.record(Some(ErrorType::PolicyDenied), Duration::from_millis(1));
    recorder.request(&http::Method::POST, 200, Duration::from_millis(3));
    recorder.auth(Some(&name), "ok");
    recorder.decision(Some(&rule), Decided::Allow);
    recorder.upstream(true);
    metrics.set_active_requests(|| 3);
    metrics.set_jwks(&name, 2, Some(now), [1, 1]);
    metrics.set_revocations(&name, 1, &[("ok", 1)]);
    metrics.tool_drift(&name).set(0);
    metrics.streams(&name, "call").set(1);
    metrics.count_rate_limited(&name, &rule);
    metrics.count_error(Some(&name), "rate_limited");
    metrics.count_upstream_error(&name, "refused");
    metrics.count_dropped(&name, "invalid", 1);
    metrics.set_processes(&name, 1);
    let endpoint =
        Endpoint { server: name.clone(), origin: "http://127.0.0.1:3001".into(), in_flight: 1, waiting: 1, breaker: 0 };
    metrics.set_endpoints(&[endpoint], &[]);
    for result in ["ok", "refused"] {
        metrics.count_token_request(&name, "client_credentials", result);
    }
    for result in ["written", "failed", "summarised"] {
        metrics.audit_events("main", result).inc();
    }
    metrics.audit_dropped("main").inc();
    for result in ["rotated", "deleted"] {
        metrics.audit_files("main", result).inc();
    }
    metrics.set_connections(1, &[("limit", 1)]);
    metrics.audit_queue("main").set(1);
    metrics.audit_sequence("main").set(1);
    for result in ["sent", "failed", "rejected", "dropped"] {
        metrics.spans(result).inc();
    }
    metrics.set_reload(Some((&"v1".into(), now)));
    metrics.set_certificate_expiry(&"server".into(), now);
    metrics.set_state_up(Some(true));
    metrics.count_state_error("rate");
    let (mask, entity) = ("pii".into(), "EMAIL_ADDRESS".into());
    metrics.count_masked(&MaskLabels { server: name, mask, entity, action: "redact", direction: "result" }, 1);
    metrics.encode()
}

#[test]
fn every_family_is_used() {
    let (source, text) = ([include_str!("../metrics.rs"), include_str!("store.rs")].concat(), every_family());
    let names = regex::Regex::new("\"((?:mcp|http|portcullis)_[a-z_]+)\"").unwrap();
    let names: Vec<&str> = names.captures_iter(&source).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(text.lines().any(|line| line.starts_with(&format!("# TYPE {name} "))), "{name}");
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
    }
}

#[test]
fn a_bound_belongs_to_its_bucket() {
    let metrics = Metrics::new("0.1.0", "abc");
    let histogram: Histogram = metrics.request("GET", &"/".into(), 200);
    histogram.observe(Duration::from_millis(10));
    let text = metrics.encode();
    let bucket = "http_server_request_duration_seconds_bucket";
    assert_eq!(value(&text, bucket, &["le=\"0.01\""]).as_deref(), Some("1"));
}
