//! What the dashboard shows. `$server` is a choice of the reader's, `$__rate_interval` Grafana's own.

/// A row of panels.
pub(in super::super) struct Row {
    pub(super) title: &'static str,
    pub(in super::super) panels: &'static [Panel],
}

/// A graph over time.
pub(in super::super) struct Panel {
    pub(in super::super) title: &'static str,
    /// Grafana's name of the unit.
    pub(super) unit: &'static str,
    /// Each expression, and how its lines are named.
    pub(in super::super) queries: &'static [(&'static str, &'static str)],
}

const fn panel(title: &'static str, unit: &'static str, queries: &'static [(&'static str, &'static str)]) -> Panel {
    Panel { title, unit, queries }
}

pub(in super::super) const ROWS: [Row; 5] = [
    Row { title: "Calls", panels: CALLS },
    Row { title: "Who may", panels: DECISIONS },
    Row { title: "Upstreams", panels: UPSTREAMS },
    Row { title: "Issuers", panels: ISSUERS },
    Row { title: "Audit and process", panels: PROCESS },
];

const CALLS: &[Panel] = &[
    panel(
        "Calls by method",
        "reqps",
        &[(
            "sum by (server, mcp_method_name) (rate(mcp_server_operation_duration_seconds_count{server=~\"$server\"}[$__rate_interval]))",
            "{{server}} {{mcp_method_name}}",
        )],
    ),
    panel(
        "Failed calls by kind",
        "reqps",
        &[(
            "sum by (server, error_type) (rate(mcp_server_operation_duration_seconds_count{server=~\"$server\",error_type!=\"\"}[$__rate_interval]))",
            "{{server}} {{error_type}}",
        )],
    ),
    panel(
        "Duration",
        "s",
        &[
            (
                "histogram_quantile(0.5, sum by (le, server) (rate(mcp_server_operation_duration_seconds_bucket{server=~\"$server\"}[$__rate_interval])))",
                "{{server}} p50",
            ),
            (
                "histogram_quantile(0.99, sum by (le, server) (rate(mcp_server_operation_duration_seconds_bucket{server=~\"$server\"}[$__rate_interval])))",
                "{{server}} p99",
            ),
        ],
    ),
    panel(
        "Busiest tools",
        "reqps",
        &[(
            "topk(10, sum by (server, gen_ai_tool_name) (rate(mcp_server_operation_duration_seconds_count{server=~\"$server\",gen_ai_tool_name!=\"\"}[$__rate_interval])))",
            "{{server}} {{gen_ai_tool_name}}",
        )],
    ),
    panel(
        "Slowest tools, p95",
        "s",
        &[(
            "topk(10, histogram_quantile(0.95, sum by (le, server, gen_ai_tool_name) (rate(mcp_server_operation_duration_seconds_bucket{server=~\"$server\",gen_ai_tool_name!=\"\"}[$__rate_interval]))))",
            "{{server}} {{gen_ai_tool_name}}",
        )],
    ),
    panel(
        "Requests by status",
        "reqps",
        &[(
            "sum by (http_response_status_code) (rate(http_server_request_duration_seconds_count[$__rate_interval]))",
            "{{http_response_status_code}}",
        )],
    ),
    panel(
        "In progress",
        "short",
        &[
            ("sum by (instance) (http_server_active_requests)", "{{instance}} requests"),
            ("sum by (server, kind) (portcullis_streams{server=~\"$server\"})", "{{server}} streams: {{kind}}"),
        ],
    ),
    panel(
        "Connections",
        "short",
        &[
            ("sum by (instance) (portcullis_connections)", "{{instance}} open"),
            (
                "sum by (reason) (increase(portcullis_connections_refused_total[$__rate_interval]))",
                "refused: {{reason}}",
            ),
        ],
    ),
    panel(
        "Protocol versions",
        "reqps",
        &[(
            "sum by (server, mcp_protocol_version) (rate(mcp_server_operation_duration_seconds_count{server=~\"$server\"}[$__rate_interval]))",
            "{{server}} {{mcp_protocol_version}}",
        )],
    ),
];

const DECISIONS: &[Panel] = &[
    panel(
        "Tokens by result",
        "reqps",
        &[("sum by (issuer, result) (rate(portcullis_auth_total[$__rate_interval]))", "{{issuer}} {{result}}")],
    ),
    panel(
        "Decisions",
        "reqps",
        &[(
            "sum by (server, decision) (rate(portcullis_policy_decisions_total{server=~\"$server\"}[$__rate_interval]))",
            "{{server}} {{decision}}",
        )],
    ),
    panel(
        "Rules that refuse most",
        "reqps",
        &[(
            "topk(10, sum by (server, rule) (rate(portcullis_policy_decisions_total{server=~\"$server\",decision=~\"deny|step_up\"}[$__rate_interval])))",
            "{{server}} {{rule}}",
        )],
    ),
    panel(
        "Masked values",
        "cps",
        &[(
            "sum by (entity, action, direction) (rate(portcullis_mask_matches_total{server=~\"$server\"}[$__rate_interval]))",
            "{{entity}} {{action}} in {{direction}}",
        )],
    ),
    panel(
        "Limits used up",
        "reqps",
        &[(
            "sum by (server, rule) (rate(portcullis_rate_limited_total{server=~\"$server\"}[$__rate_interval]))",
            "{{server}} {{rule}}",
        )],
    ),
    panel(
        "Refusals and failures by reason",
        "reqps",
        &[(
            "topk(15, sum by (server, reason) (rate(portcullis_errors_total[$__rate_interval])))",
            "{{server}} {{reason}}",
        )],
    ),
];

const UPSTREAMS: &[Panel] = &[
    panel(
        "Answered last",
        "bool_yes_no",
        &[("min by (server) (portcullis_upstream_up{server=~\"$server\"})", "{{server}}")],
    ),
    panel(
        "Errors by kind",
        "reqps",
        &[(
            "sum by (server, kind) (rate(portcullis_upstream_errors_total{server=~\"$server\"}[$__rate_interval]))",
            "{{server}} {{kind}}",
        )],
    ),
    panel(
        "Calls there, and waiting",
        "short",
        &[
            ("sum by (endpoint) (portcullis_upstream_in_flight{server=~\"$server\"})", "{{endpoint}} there"),
            ("sum by (endpoint) (portcullis_upstream_queue{server=~\"$server\"})", "{{endpoint}} waiting"),
        ],
    ),
    panel(
        "Circuit breaker: 0 closed, 1 tries, 2 open",
        "short",
        &[("max by (endpoint) (portcullis_upstream_breaker{server=~\"$server\"})", "{{endpoint}}")],
    ),
    panel(
        "Processes",
        "short",
        &[("sum by (server) (portcullis_upstream_processes{server=~\"$server\"})", "{{server}}")],
    ),
    panel(
        "Tokens for upstreams",
        "reqps",
        &[(
            "sum by (server, grant, result) (rate(portcullis_upstream_token_requests_total{server=~\"$server\"}[$__rate_interval]))",
            "{{server}} {{grant}} {{result}}",
        )],
    ),
    panel(
        "Dropped messages",
        "cps",
        &[(
            "sum by (server, reason) (rate(portcullis_upstream_messages_dropped_total{server=~\"$server\"}[$__rate_interval]))",
            "{{server}} {{reason}}",
        )],
    ),
    panel(
        "Tools that are not as approved",
        "short",
        &[("max by (server) (portcullis_tool_drift{server=~\"$server\"})", "{{server}}")],
    ),
];

const ISSUERS: &[Panel] = &[
    panel("Keys", "short", &[("min by (issuer) (portcullis_jwks_keys)", "{{issuer}}")]),
    panel(
        "Age of the keys",
        "s",
        &[("max by (issuer) (time() - portcullis_jwks_last_success_timestamp_seconds)", "{{issuer}}")],
    ),
    panel(
        "Fetches of keys",
        "cps",
        &[("sum by (issuer, result) (rate(portcullis_jwks_refresh_total[$__rate_interval]))", "{{issuer}} {{result}}")],
    ),
    panel(
        "Tokens that were known",
        "percentunit",
        &[(
            "sum(rate(portcullis_token_cache_requests_total{result=\"hit\"}[$__rate_interval])) / sum(rate(portcullis_token_cache_requests_total[$__rate_interval]))",
            "known",
        )],
    ),
    panel("Revocations", "short", &[("max by (issuer) (portcullis_revocations)", "{{issuer}}")]),
    panel(
        "Security event tokens",
        "cps",
        &[("sum by (issuer, result) (rate(portcullis_signals_total[$__rate_interval]))", "{{issuer}} {{result}}")],
    ),
];

const PROCESS: &[Panel] = &[
    panel(
        "Audit lines",
        "cps",
        &[
            ("sum by (result) (rate(portcullis_audit_events_total[$__rate_interval]))", "{{result}}"),
            ("sum(rate(portcullis_audit_dropped_total[$__rate_interval]))", "dropped"),
        ],
    ),
    panel(
        "Audit files rotated and deleted",
        "short",
        &[("sum by (result) (increase(portcullis_audit_files_total[$__rate_interval]))", "{{result}}")],
    ),
    panel("Audit lines waiting", "short", &[("sum by (instance) (portcullis_audit_queue)", "{{instance}}")]),
    panel("Configuration in force", "short", &[("count by (version) (portcullis_config_info)", "{{version}}")]),
    panel(
        "Last reload succeeded",
        "bool_yes_no",
        &[("min by (instance) (portcullis_config_last_reload_successful)", "{{instance}}")],
    ),
    panel(
        "Configuration loaded",
        "dateTimeFromNow",
        &[("max by (instance) (portcullis_config_last_reload_success_timestamp_seconds) * 1000", "{{instance}}")],
    ),
    panel(
        "Certificates expire in",
        "s",
        &[("min by (name) (portcullis_tls_certificate_expiry_timestamp_seconds - time())", "{{name}}")],
    ),
    panel(
        "CPU",
        "short",
        &[(
            "sum by (instance) (rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) portcullis_build_info)",
            "{{instance}}",
        )],
    ),
    panel(
        "Memory",
        "bytes",
        &[(
            "sum by (instance) (process_resident_memory_bytes and on (instance) portcullis_build_info)",
            "{{instance}}",
        )],
    ),
    panel(
        "Open files",
        "percentunit",
        &[(
            "max by (instance) (process_open_fds / process_max_fds and on (instance) portcullis_build_info)",
            "{{instance}}",
        )],
    ),
    panel("Spans", "cps", &[("sum by (result) (rate(portcullis_trace_spans_total[$__rate_interval]))", "{{result}}")]),
    panel(
        "Shared store",
        "bool_yes_no",
        &[("min by (instance, store) (portcullis_state_up)", "{{instance}} {{store}}")],
    ),
    panel(
        "What the shared store did not do",
        "cps",
        &[("sum by (op) (rate(portcullis_state_errors_total[$__rate_interval]))", "{{op}}")],
    ),
    panel("Versions", "short", &[("count by (version) (portcullis_build_info)", "{{version}}")]),
];
