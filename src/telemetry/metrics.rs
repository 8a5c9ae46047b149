//! Metrics under the names of the OpenTelemetry and Prometheus conventions, and the proxy's own under `portcullis_`.
//!
//! Label values come from the configuration, from fixed sets, or are names that an upstream has vouched for; never from a
//! client alone. A worker resolves labels once and keeps the handles ([`Recorder`]); recording is then a few atomic
//! additions.

mod histogram;
mod labels;
mod process;
mod recorder;
mod store;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub use histogram::Histogram;
pub use labels::MaskLabels;
pub use recorder::{Decided, ErrorType, Recorder, Series, Spoken, Target};
pub(crate) use recorder::{http_version, method_name};

use labels::{
    AuditLabels, AuthLabels, BuildLabels, ConfigLabels, DecisionLabels, EndpointLabels, ErrorLabels, GrantLabels,
    IssuerLabels, NameLabels, OperationLabels, ReasonLabels, RefreshLabels, RequestLabels, ResultLabels, RuleLabels,
    ServerLabels, SinkLabels, StreamLabels, UpstreamErrorLabels,
};

use crate::clock::Timestamp;

/// The state of one endpoint of an upstream.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Endpoint {
    pub server: Arc<str>,
    pub origin: Arc<str>,
    pub in_flight: usize,
    pub waiting: usize,
    /// The circuit breaker: 0 closed, 1 half open, 2 open.
    pub breaker: i64,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Counters of token cache look-ups.
#[derive(Clone, Debug)]
pub struct TokenCache {
    /// The token was in the cache.
    pub hit: Counter,
    /// The token had to be verified.
    pub miss: Counter,
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    operations: Family<OperationLabels, Histogram>,
    requests: Family<RequestLabels, Histogram>,
    active: Arc<OnceLock<Box<dyn Fn() -> usize + Send + Sync>>>,
    connections: Gauge,
    connections_refused: Family<ReasonLabels, Counter>,
    auth: Family<AuthLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    masks: Family<MaskLabels, Counter>,
    jwks_keys: Family<IssuerLabels, Gauge>,
    jwks_success: Family<IssuerLabels, Seconds>,
    jwks_refresh: Family<RefreshLabels, Counter>,
    revocations: Family<IssuerLabels, Gauge>,
    signals: Family<RefreshLabels, Counter>,
    token_cache: TokenCache,
    streams: Family<StreamLabels, Gauge>,
    upstream_up: Family<ServerLabels, Gauge>,
    upstream_errors: Family<UpstreamErrorLabels, Counter>,
    upstream_dropped: Family<ErrorLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    upstream_calls: Family<EndpointLabels, Gauge>,
    upstream_queue: Family<EndpointLabels, Gauge>,
    upstream_breaker: Family<EndpointLabels, Gauge>,
    upstream_processes: Family<ServerLabels, Gauge>,
    tool_drift: Family<ServerLabels, Gauge>,
    token_requests: Family<GrantLabels, Counter>,
    rate_limited: Family<RuleLabels, Counter>,
    audit_events: Family<AuditLabels, Counter>,
    audit_dropped: Family<SinkLabels, Counter>,
    audit_files: Family<AuditLabels, Counter>,
    audit_queue: Family<SinkLabels, Gauge>,
    audit_sequence: Family<SinkLabels, Gauge>,
    reload_successful: Gauge,
    reload_success: Seconds,
    config_info: Family<ConfigLabels, Gauge>,
    certificate_expiry: Family<NameLabels, Seconds>,
    spans: Family<ResultLabels, Counter>,
    store: store::Store,
}

/// Registers metric families by name.
struct Families(Registry);

impl Families {
    fn add<M: prometheus_client::registry::Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add_this(name, help, M::default())
    }

    fn add_this<M: prometheus_client::registry::Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        match name.strip_suffix("_seconds") {
            Some(name) => self.0.register_with_unit(name, help, Unit::Seconds, metric.clone()),
            None => self.0.register(name, help, metric.clone()),
        }
        metric
    }
}

impl Metrics {
    /// The media type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All metrics, at zero. `version` and `commit` name the build.
    pub fn new(version: &'static str, commit: &'static str) -> Self {
        let mut families = Families(Registry::default());
        let active: Arc<OnceLock<Box<dyn Fn() -> usize + Send + Sync>>> = Arc::default();
        let token_cache: Family<ResultLabels, Counter> =
            families.add("portcullis_token_cache_requests", "Tokens looked up, by whether they were known");
        let build: Family<BuildLabels, Gauge> = families.add("portcullis_build_info", "The build that runs, always 1");
        build.get_or_create(&BuildLabels { version, commit }).set(1);
        families.0.register_collector(Box::new(process::Process));
        families.0.register_collector(Box::new(process::Active(Arc::clone(&active))));
        Self {
            operations: families
                .add("mcp_server_operation_duration_seconds", "Duration of MCP requests and notifications"),
            requests: families.add("http_server_request_duration_seconds", "Duration of HTTP requests"),
            active,
            connections: families.add("portcullis_connections", "Open connections of clients"),
            connections_refused: families
                .add("portcullis_connections_refused", "Connections closed before their first request"),
            auth: families.add("portcullis_auth", "Requests by what became of their credential"),
            decisions: families.add("portcullis_policy_decisions", "Decisions by rule"),
            masks: families.add("portcullis_mask_matches", "Values a mask matched"),
            jwks_keys: families.add("portcullis_jwks_keys", "Usable keys of an issuer"),
            jwks_success: families
                .add("portcullis_jwks_last_success_timestamp_seconds", "When an issuer's keys were last fetched"),
            jwks_refresh: families.add("portcullis_jwks_refresh", "Fetches of an issuer's keys"),
            revocations: families.add("portcullis_revocations", "What an issuer has revoked since the start"),
            signals: families.add("portcullis_signals", "Security event tokens, by what became of them"),
            token_cache: TokenCache {
                hit: token_cache.get_or_create_owned(&ResultLabels { result: "hit" }),
                miss: token_cache.get_or_create_owned(&ResultLabels { result: "miss" }),
            },
            streams: families.add("portcullis_streams", "Open streams toward clients"),
            upstream_up: families.add("portcullis_upstream_up", "Whether the upstream answered last"),
            tool_drift: families.add("portcullis_tool_drift", "Tools whose definition is not the approved one"),
            rate_limited: families.add("portcullis_rate_limited", "Calls a rule's limit refused"),
            upstream_errors: families.add("portcullis_upstream_errors", "Calls the upstream failed"),
            upstream_dropped: families
                .add("portcullis_upstream_messages_dropped", "Messages of upstreams that went no further, by why"),
            errors: families.add("portcullis_errors", "Requests refused or failed, by the reason the audit gives"),
            upstream_calls: families.add("portcullis_upstream_in_flight", "Calls at an endpoint"),
            upstream_queue: families.add("portcullis_upstream_queue", "Calls that wait for room at an endpoint"),
            upstream_processes: families
                .add("portcullis_upstream_processes", "Processes of a server that is a program"),
            upstream_breaker: families
                .add("portcullis_upstream_breaker", "Whether an endpoint is left alone: 0 no, 1 tried again, 2 yes"),
            token_requests: families.add(
                "portcullis_upstream_token_requests",
                "Tokens for upstreams that were asked for, by what came of it",
            ),
            audit_events: families.add("portcullis_audit_events", "Audit lines"),
            audit_dropped: families.add("portcullis_audit_dropped", "Audit lines that were not written"),
            audit_files: families.add("portcullis_audit_files", "Audit files that were rotated or deleted"),
            audit_queue: families.add("portcullis_audit_queue", "Audit lines waiting to be written"),
            audit_sequence: families.add("portcullis_audit_sequence", "Number of the newest audit line, its `seq`"),
            reload_successful: families
                .add("portcullis_config_last_reload_successful", "Whether the last reload succeeded"),
            reload_success: families.add(
                "portcullis_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was loaded",
            ),
            config_info: families.add("portcullis_config_info", "The configuration in force, always 1"),
            certificate_expiry: families
                .add("portcullis_tls_certificate_expiry_timestamp_seconds", "When a certificate stops being valid"),
            spans: families.add("portcullis_trace_spans", "Spans of traces, by what became of them"),
            store: store::Store::register(&mut families),
            registry: families.0,
        }
    }

    /// All metrics in the text format of `OpenMetrics`.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// Sets the source of `http_server_active_requests`, once.
    pub fn set_active_requests(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        // A second source is ignored: there is one server in a process.
        let _ = self.active.set(Box::new(count));
    }

    /// Sets the number of open connections, and of those refused since the start by reason.
    pub fn set_connections(&self, open: usize, refused: &[(&'static str, u64)]) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
        for (reason, total) in refused {
            let counter = self.connections_refused.get_or_create(&ReasonLabels { reason });
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Counts a presented credential; `issuer` is the configured name, `None` if the token is of no configured issuer.
    pub fn count_auth(&self, issuer: Option<&Arc<str>>, result: &'static str) {
        self.auth(issuer, result).inc();
    }

    fn auth(&self, issuer: Option<&Arc<str>>, result: &'static str) -> Counter {
        let issuer = issuer.map_or_else(|| Arc::from("_OTHER"), Arc::clone);
        self.auth.get_or_create_owned(&AuthLabels { issuer, result })
    }

    /// Counts `count` values that a mask matched.
    pub fn count_masked(&self, labels: &MaskLabels, count: u64) {
        self.masks.get_or_create(labels).inc_by(count);
    }

    /// Sets the state of an issuer's key set: the number of keys, the time of the last fetch, and the numbers of successful
    /// and failed fetches since the start.
    pub fn set_jwks(&self, issuer: &Arc<str>, keys: usize, last_success: Option<Timestamp>, fetches: [u64; 2]) {
        let labels = IssuerLabels { issuer: Arc::clone(issuer) };
        self.jwks_keys.get_or_create(&labels).set(i64::try_from(keys).unwrap_or(i64::MAX));
        if let Some(at) = last_success {
            self.jwks_success.get_or_create(&labels).set(seconds(at));
        }
        for (result, total) in ["ok", "error"].into_iter().zip(fetches) {
            let labels = RefreshLabels { issuer: Arc::clone(issuer), result };
            let counter = self.jwks_refresh.get_or_create(&labels);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Sets the state of an issuer's revocations: the number of entries, and its event tokens since the start, by result.
    pub fn set_revocations(&self, issuer: &Arc<str>, entries: usize, signals: &[(&'static str, u64)]) {
        let labels = IssuerLabels { issuer: Arc::clone(issuer) };
        self.revocations.get_or_create(&labels).set(i64::try_from(entries).unwrap_or(i64::MAX));
        for (result, total) in signals {
            let counter = self.signals.get_or_create(&RefreshLabels { issuer: Arc::clone(issuer), result });
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Counters of the token cache.
    pub const fn token_cache(&self) -> &TokenCache {
        &self.token_cache
    }

    /// The gauge of open streams of one server; `kind` is `call`, `listen` or `get`.
    pub fn streams(&self, server: &Arc<str>, kind: &'static str) -> Gauge {
        self.streams.get_or_create_owned(&StreamLabels { server: Arc::clone(server), kind })
    }

    /// The gauge of whether a server's upstream could last be reached.
    pub fn upstream_up(&self, server: &Arc<str>) -> Gauge {
        self.upstream_up.get_or_create_owned(&ServerLabels { server: Arc::clone(server) })
    }

    /// The gauge of tools whose definition is not the approved one.
    pub fn tool_drift(&self, server: &Arc<str>) -> Gauge {
        self.tool_drift.get_or_create_owned(&ServerLabels { server: Arc::clone(server) })
    }

    /// Counts a call that a rule's limit refused.
    pub fn count_rate_limited(&self, server: &Arc<str>, rule: &Arc<str>) {
        let labels = RuleLabels { server: Arc::clone(server), rule: Arc::clone(rule) };
        self.rate_limited.get_or_create(&labels).inc();
    }

    /// Counts a request that was refused or failed, by the audit's `reason`; without `server` if no route was found.
    pub fn count_error(&self, server: Option<&Arc<str>>, reason: &'static str) {
        let server = server.map_or_else(|| Arc::from(""), Arc::clone);
        self.errors.get_or_create(&ErrorLabels { server, reason }).inc();
    }

    /// Counts a call that the upstream failed; `kind` is [`UpstreamError::kind`](crate::upstream::UpstreamError::kind).
    pub fn count_upstream_error(&self, server: &Arc<str>, kind: &'static str) {
        self.upstream_errors.get_or_create(&UpstreamErrorLabels { server: Arc::clone(server), kind }).inc();
    }

    /// Counts `count` messages of an upstream that were dropped; `reason` is from a fixed set.
    pub fn count_dropped(&self, server: &Arc<str>, reason: &'static str, count: u64) {
        self.upstream_dropped.get_or_create(&ErrorLabels { server: Arc::clone(server), reason }).inc_by(count);
    }

    /// Sets the number of running processes of a server.
    pub fn set_processes(&self, server: &Arc<str>, count: usize) {
        let labels = ServerLabels { server: Arc::clone(server) };
        self.upstream_processes.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets the gauges of all endpoints, and removes those of endpoints in `before` that are gone.
    pub fn set_endpoints(&self, endpoints: &[Endpoint], before: &[Endpoint]) {
        let is = |one: &Endpoint, other: &Endpoint| one.server == other.server && one.origin == other.origin;
        for gone in before.iter().filter(|gone| !endpoints.iter().any(|endpoint| is(endpoint, gone))) {
            let labels = EndpointLabels { server: Arc::clone(&gone.server), endpoint: Arc::clone(&gone.origin) };
            for family in [&self.upstream_calls, &self.upstream_queue, &self.upstream_breaker] {
                family.remove(&labels);
            }
        }
        for Endpoint { server, origin, in_flight, waiting, breaker } in endpoints {
            let labels = EndpointLabels { server: Arc::clone(server), endpoint: Arc::clone(origin) };
            let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            self.upstream_calls.get_or_create(&labels).set(count(*in_flight));
            self.upstream_queue.get_or_create(&labels).set(count(*waiting));
            self.upstream_breaker.get_or_create(&labels).set(*breaker);
        }
    }

    /// Counts a request for an upstream token; `result` is from a fixed set.
    pub fn count_token_request(&self, server: &Arc<str>, grant: &'static str, result: &'static str) {
        self.token_requests.get_or_create(&GrantLabels { server: Arc::clone(server), grant, result }).inc();
    }

    /// The counter of audit lines; `result` is `written`, `failed` or `summarised`.
    pub fn audit_events(&self, sink: &'static str, result: &'static str) -> Counter {
        self.audit_events.get_or_create_owned(&AuditLabels { sink, result })
    }

    /// The counter of audit lines that were dropped.
    pub fn audit_dropped(&self, sink: &'static str) -> Counter {
        self.audit_dropped.get_or_create_owned(&SinkLabels { sink })
    }

    /// The counter of audit files; `result` is `rotated` or `deleted`.
    pub fn audit_files(&self, sink: &'static str, result: &'static str) -> Counter {
        self.audit_files.get_or_create_owned(&AuditLabels { sink, result })
    }

    /// The gauge of audit lines waiting to be written.
    pub fn audit_queue(&self, sink: &'static str) -> Gauge {
        self.audit_queue.get_or_create_owned(&SinkLabels { sink })
    }

    /// The gauge of the newest audit line's number.
    pub fn audit_sequence(&self, sink: &'static str) -> Gauge {
        self.audit_sequence.get_or_create_owned(&SinkLabels { sink })
    }

    /// The counter of spans; `result` is `sent`, `dropped`, `failed` or `rejected`.
    pub fn spans(&self, result: &'static str) -> Counter {
        self.spans.get_or_create_owned(&ResultLabels { result })
    }

    /// Sets the state of the last reload: the version in force since then, or `None` if it failed.
    pub fn set_reload(&self, loaded: Option<(&Arc<str>, Timestamp)>) {
        self.reload_successful.set(i64::from(loaded.is_some()));
        if let Some((version, now)) = loaded {
            self.reload_success.set(seconds(now));
            self.config_info.clear();
            self.config_info.get_or_create(&ConfigLabels { version: Arc::clone(version) }).set(1);
        }
    }

    /// Sets the expiry of the certificate `name`.
    pub fn set_certificate_expiry(&self, name: &Arc<str>, expires: Timestamp) {
        self.certificate_expiry.get_or_create(&NameLabels { name: Arc::clone(name) }).set(seconds(expires));
    }

    /// Records an HTTP request outside any server's route; `route` is a path of the configuration, or empty for any other.
    pub fn count_request(&self, method: &http::Method, route: &Arc<str>, status: u16, elapsed: Duration) {
        self.request(recorder::method_name(method), route, status).observe(elapsed);
    }

    fn request(&self, method: &'static str, route: &Arc<str>, status: u16) -> Histogram {
        let route = Arc::clone(route);
        self.requests.get_or_create_owned(&RequestLabels {
            http_request_method: method,
            http_route: route,
            http_response_status_code: status,
        })
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit in 53 bits")]
fn seconds(moment: Timestamp) -> f64 {
    moment.unix_millis() as f64 / 1000.0
}

/// Adds one to `gauge` until dropped.
#[derive(Debug)]
pub struct Held(Gauge);

impl Held {
    /// Counts from now on.
    pub fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
pub(crate) mod tests;
