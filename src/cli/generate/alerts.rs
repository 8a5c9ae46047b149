//! `portcullis generate alerts`: alert rules for Prometheus, on metrics of this version.

use clap::Args;
use serde_json::{Value, json};

use super::yaml;
use crate::cli::{Exit, Streams};

/// Arguments of `generate alerts`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate alerts > /etc/prometheus/rules/portcullis.yml    below `rule_files`
  portcullis generate alerts | promtool check rules")]
pub(super) struct Alerts {}

/// One rule.
pub(super) struct Alert {
    pub(super) name: &'static str,
    pub(super) expr: &'static str,
    /// For how long it must hold.
    hold: &'static str,
    severity: Severity,
    pub(super) summary: &'static str,
    /// What it means for callers, and where to look.
    pub(super) description: &'static str,
}

/// Who must act: `critical` wakes somebody, `warning` wants a look.
#[derive(Clone, Copy)]
enum Severity {
    Critical,
    Warning,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

use Severity::{Critical, Warning};

pub(super) const ALERTS: [Alert; 21] = [
    Alert {
        name: "PortcullisAbsent",
        expr: "absent(portcullis_build_info)",
        hold: "5m",
        severity: Critical,
        summary: "No Portcullis is seen",
        description: "Prometheus gets metrics of none. Is the process running, and `admin.listen` reached by Prometheus?",
    },
    Alert {
        name: "PortcullisAuditFails",
        expr: "increase(portcullis_audit_events_total{result=\"failed\"}[5m]) > 0",
        hold: "0s",
        severity: Critical,
        summary: "Audit lines cannot be written",
        description: "With `audit.on_error = \"block\"` calls are refused with 503. Is the disk full, or the folder read-only?",
    },
    Alert {
        name: "PortcullisAuditDrops",
        expr: "increase(portcullis_audit_dropped_total[5m]) > 0",
        hold: "0s",
        severity: Critical,
        summary: "Calls go through unrecorded",
        description: "`audit.on_error = \"drop\"` lets calls pass whose lines cannot be written: {{ $value }} in five minutes.",
    },
    Alert {
        name: "PortcullisNoKeys",
        expr: "portcullis_jwks_keys == 0",
        hold: "5m",
        severity: Critical,
        summary: "No keys of issuer {{ $labels.issuer }}",
        description: "Its callers are answered with 503. Is the issuer reached? `portcullis doctor --issuer URL` says why not.",
    },
    Alert {
        name: "PortcullisKeysNotRefreshed",
        expr: "increase(portcullis_jwks_refresh_total{result=\"error\"}[30m]) > 0 \
            unless on (job, instance, issuer) increase(portcullis_jwks_refresh_total{result=\"ok\"}[30m]) > 0",
        hold: "30m",
        severity: Warning,
        summary: "Keys of issuer {{ $labels.issuer }} cannot be fetched",
        description: "The keys that are known are used until `jwks.max_stale` is over. The log says why each fetch failed.",
    },
    Alert {
        name: "PortcullisReloadFailed",
        expr: "portcullis_config_last_reload_successful == 0",
        hold: "5m",
        severity: Warning,
        summary: "The configuration was not reloaded",
        description: "The one before it is in force. `portcullis check` says what is wrong with the new one.",
    },
    Alert {
        name: "PortcullisConfigurationsDiffer",
        expr: "count by (job) (count by (job, version) (portcullis_config_info)) > 1",
        hold: "15m",
        severity: Warning,
        summary: "Replicas of {{ $labels.job }} run different policies",
        description: "What a caller may do depends on which replica answers. Did one of them refuse the reload?",
    },
    Alert {
        name: "PortcullisCertificateExpires",
        expr: "portcullis_tls_certificate_expiry_timestamp_seconds - time() < 14 * 86400",
        hold: "1h",
        severity: Warning,
        summary: "The certificate {{ $labels.name }} expires in {{ $value | humanizeDuration }}",
        description: "A new file is used as soon as it is there, without a restart.",
    },
    Alert {
        name: "PortcullisCertificateExpiresSoon",
        expr: "portcullis_tls_certificate_expiry_timestamp_seconds - time() < 2 * 86400",
        hold: "5m",
        severity: Critical,
        summary: "The certificate {{ $labels.name }} expires in {{ $value | humanizeDuration }}",
        description: "Once it has expired, no client connects.",
    },
    Alert {
        name: "PortcullisUpstreamDown",
        // A gauge is 0 before the first call too.
        expr: "portcullis_upstream_up == 0 and on (job, instance, server) \
            sum by (job, instance, server) (increase(portcullis_upstream_errors_total[10m])) > 0",
        hold: "5m",
        severity: Critical,
        summary: "The upstream of {{ $labels.server }} cannot be reached",
        description: "Calls are answered with 502. `portcullis check` connects to it and says why not.",
    },
    Alert {
        name: "PortcullisBreakerOpen",
        expr: "portcullis_upstream_breaker == 2",
        hold: "5m",
        severity: Warning,
        summary: "{{ $labels.endpoint }} of {{ $labels.server }} keeps failing",
        description: "The endpoint gets no calls but one now and then, to see whether it is back.",
    },
    Alert {
        name: "PortcullisCallsWait",
        expr: "min_over_time(portcullis_upstream_queue[5m]) > 0",
        hold: "10m",
        severity: Warning,
        summary: "Calls of {{ $labels.server }} wait for room",
        description: "{{ $labels.endpoint }} has `concurrency.max_in_flight` calls all the time, and others wait in its queue.",
    },
    Alert {
        name: "PortcullisCallsFail",
        expr: "sum by (job, http_route) (rate(http_server_request_duration_seconds_count{http_response_status_code=~\"5..\"}[10m])) \
            / sum by (job, http_route) (rate(http_server_request_duration_seconds_count[10m])) > 0.05",
        hold: "10m",
        severity: Warning,
        summary: "{{ $value | humanizePercentage }} of the requests to {{ $labels.http_route }} fail",
        description: "`portcullis_errors_total` counts them by reason, and the audit names it in `error`.",
    },
    Alert {
        name: "PortcullisTokensRefused",
        expr: "sum by (job, issuer) (rate(portcullis_auth_total{result!~\"ok|anonymous|missing|expired\"}[15m])) \
            / sum by (job, issuer) (rate(portcullis_auth_total[15m])) > 0.5 \
            and sum by (job, issuer) (rate(portcullis_auth_total[15m])) > 0.1",
        hold: "15m",
        severity: Warning,
        summary: "Most tokens of issuer {{ $labels.issuer }} are refused",
        description: "Somebody tries, or the issuer's tokens have changed. `portcullis token verify` says what is wrong with one.",
    },
    Alert {
        name: "PortcullisUpstreamTokensFail",
        expr: "sum by (job, server, grant, result) (increase(portcullis_upstream_token_requests_total{result!=\"ok\"}[15m])) > 5",
        hold: "5m",
        severity: Warning,
        summary: "No tokens for the upstream of {{ $labels.server }}: {{ $labels.result }}",
        description: "Calls that need one are answered with 502 or 503. The log has what the authorization server answered.",
    },
    Alert {
        name: "PortcullisToolsChanged",
        expr: "portcullis_tool_drift > 0",
        hold: "1m",
        severity: Warning,
        summary: "{{ $value }} tools of {{ $labels.server }} are not as they were approved",
        description: "`portcullis tools {{ $labels.server }} --verify` shows what changed, `--approve TOOL` approves it.",
    },
    Alert {
        name: "PortcullisConnectionsRefused",
        expr: "sum by (job, instance, reason) (increase(portcullis_connections_refused_total[5m])) > 0",
        hold: "5m",
        severity: Warning,
        summary: "Connections are closed before their first request: {{ $labels.reason }}",
        description: "More than `server.limits` allows. One client that opens too many, or a limit that is too low?",
    },
    Alert {
        name: "PortcullisFilesRunOut",
        expr: "process_open_fds / process_max_fds > 0.8 and on (job, instance) portcullis_build_info",
        hold: "10m",
        severity: Warning,
        summary: "{{ $value | humanizePercentage }} of the open files are used",
        description: "Beyond the limit no connection is accepted. Raise it, or lower `server.limits.connections`.",
    },
    Alert {
        name: "PortcullisRestarts",
        expr: "changes(process_start_time_seconds[1h]) > 3 and on (job, instance) portcullis_build_info",
        hold: "0s",
        severity: Warning,
        summary: "It has restarted {{ $value }} times in an hour",
        description: "Sessions end with the process unless `[[sealing.keys]]` are set. The last log lines say why it ended.",
    },
    Alert {
        name: "PortcullisStoreDown",
        expr: "portcullis_state_up == 0",
        hold: "1m",
        severity: Warning,
        summary: "The shared store cannot be reached",
        description: "DPoP proofs are refused now, all tokens after `state.redis.max_stale`. Rate limits are as `on_error` says.",
    },
    Alert {
        name: "PortcullisSpansLost",
        expr: "sum by (job, instance) (increase(portcullis_trace_spans_total{result!=\"sent\"}[15m])) > 0",
        hold: "15m",
        severity: Warning,
        summary: "Traces are incomplete",
        description: "The collector is slow, absent or refuses spans. No call waits for it.",
    },
];

/// Prints.
pub(super) fn run(streams: &mut Streams<'_>) -> Exit {
    let rules: Vec<Value> = ALERTS.iter().map(Alert::rule).collect();
    let file = json!({ "groups": [{ "name": "portcullis", "rules": rules }] });
    let head = format!("# Made by portcullis {}, for the metrics of this version.\n", env!("CARGO_PKG_VERSION"));
    streams.write((head + &yaml::document(&file)).as_bytes());
    Exit::Done
}

impl Alert {
    fn rule(&self) -> Value {
        json!({
            "alert": self.name,
            "annotations": { "description": self.description, "summary": self.summary },
            "expr": self.expr,
            "for": self.hold,
            "labels": { "severity": self.severity.name() },
        })
    }
}
