//! What two looks at the metrics say of servers, tools, issuers and certificates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::scrape::{Scrape, Series};
use crate::clock::Timestamp;

const OPERATIONS: &str = "mcp_server_operation_duration_seconds_bucket";
const DAY: f64 = 86_400.0;

/// Everything that is shown.
pub(super) struct Picture {
    /// What is said of the process, a text each.
    pub(super) process: Process,
    pub(super) servers: Vec<Measured>,
    pub(super) tools: Vec<Measured>,
    pub(super) issuers: Vec<Issuer>,
    /// Name and days left.
    pub(super) certificates: Vec<(String, f64)>,
}

/// The process as a whole.
pub(super) struct Process {
    pub(super) version: String,
    pub(super) config: String,
    pub(super) up_seconds: f64,
    pub(super) active: f64,
    pub(super) reload_failed: bool,
    pub(super) audit_dropped: f64,
}

/// A server, or one of its tools.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) server: String,
    /// Empty for a server.
    pub(super) tool: String,
    /// Calls in a second.
    pub(super) rate: f64,
    /// The bounds below which half, and 99 of 100, calls took; `None` without a call.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) unauthorized: f64,
    pub(super) step_up: f64,
    pub(super) denied: f64,
    pub(super) masked: f64,
    pub(super) failed: f64,
    pub(super) streams: f64,
    /// Whether its upstream answered last, if it was ever asked.
    pub(super) up: Option<bool>,
}

/// An issuer's keys.
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) keys: f64,
    /// Since they were fetched; `None` if they never were.
    pub(super) age_seconds: Option<f64>,
    pub(super) failures: f64,
}

impl Picture {
    /// `before` is the look before `now`, for rates; `window` one further back, for percentiles of the calls since. Without it,
    /// they are of all calls.
    pub(super) fn new(now: &Scrape, before: &Scrape, window: Option<&Scrape>, clock: Timestamp) -> Self {
        let names: BTreeSet<&str> = ["portcullis_tool_drift", "portcullis_errors_total", OPERATIONS]
            .iter()
            .flat_map(|name| now.all(name))
            .map(|series| series.label("server"))
            .filter(|server| !server.is_empty())
            .collect();
        let servers = names.iter().map(|name| server(name, now, before, window)).collect();
        let mut tools: BTreeSet<(&str, &str)> = BTreeSet::new();
        for series in now.all(OPERATIONS).filter(|series| !series.label("gen_ai_tool_name").is_empty()) {
            tools.insert((series.label("server"), series.label("gen_ai_tool_name")));
        }
        let tools = tools.iter().map(|names| tool(*names, now, before, window)).collect();
        let unix = unix_seconds(clock);
        let expiry = now.all("portcullis_tls_certificate_expiry_timestamp_seconds");
        Self {
            process: process(now, unix),
            servers,
            tools,
            issuers: issuers(now, unix),
            certificates: expiry
                .map(|series| (series.label("name").to_owned(), ((series.value - unix) / DAY).floor()))
                .collect(),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let measured = |one: &Measured| {
            let mut told = json!({
                "server": one.server, "calls_per_second": one.rate, "p50_seconds": finite(one.p50),
                "p99_seconds": finite(one.p99), "step_up": one.step_up, "denied": one.denied, "failed": one.failed,
            });
            if one.tool.is_empty() {
                told["unauthorized"] = json!(one.unauthorized);
                told["masked"] = json!(one.masked);
                told["streams"] = json!(one.streams);
                told["upstream_up"] = json!(one.up);
            } else {
                told["tool"] = json!(one.tool);
            }
            told
        };
        let issuer = |one: &Issuer| json!({ "issuer": one.name, "keys": one.keys, "age_seconds": one.age_seconds, "failures": one.failures });
        let Process { version, config, up_seconds, active, reload_failed, audit_dropped } = &self.process;
        json!({
            "schema_version": 1,
            "process": { "version": version, "config": config, "up_seconds": up_seconds, "active_requests": active,
                "last_reload_failed": reload_failed, "audit_lines_dropped": audit_dropped },
            "servers": self.servers.iter().map(measured).collect::<Vec<_>>(),
            "tools": self.tools.iter().map(measured).collect::<Vec<_>>(),
            "issuers": self.issuers.iter().map(issuer).collect::<Vec<_>>(),
            "certificates": self.certificates.iter()
                .map(|(name, days)| json!({ "name": name, "days_left": days })).collect::<Vec<_>>(),
        })
    }
}

/// A bound as JSON has it; calls above all bounds have none.
fn finite(bound: Option<f64>) -> Option<f64> {
    bound.filter(|bound| bound.is_finite())
}

fn process(now: &Scrape, unix: f64) -> Process {
    let text = |name: &str, label: &str| now.all(name).next().map(|series| series.label(label).to_owned());
    let version = text("portcullis_config_info", "version").unwrap_or_default();
    Process {
        version: text("portcullis_build_info", "version").unwrap_or_default(),
        config: version.trim_start_matches("sha256:").chars().take(12).collect(),
        up_seconds: now.value("process_start_time_seconds").map_or(0.0, |start| (unix - start).max(0.0)),
        active: now.value("http_server_active_requests").unwrap_or_default(),
        reload_failed: now.value("portcullis_config_last_reload_successful") == Some(0.0),
        audit_dropped: now.value("portcullis_audit_dropped_total").unwrap_or_default(),
    }
}

fn issuers(now: &Scrape, unix: f64) -> Vec<Issuer> {
    let of = |name: &'static str, issuer: &str| {
        let mut all = now.all(name).filter(|series| series.label("issuer") == issuer);
        all.find(|series| matches!(series.label("result"), "" | "error")).map(|series| series.value)
    };
    let issuer = |series: &Series| {
        let name = series.label("issuer");
        let fetched = of("portcullis_jwks_last_success_timestamp_seconds", name);
        Issuer {
            name: name.to_owned(),
            keys: series.value,
            age_seconds: fetched.map(|at| (unix - at).max(0.0)),
            failures: of("portcullis_jwks_refresh_total", name).unwrap_or_default(),
        }
    };
    now.all("portcullis_jwks_keys").map(issuer).collect()
}

fn server(name: &str, now: &Scrape, before: &Scrape, window: Option<&Scrape>) -> Measured {
    let of = |family: &str, wanted: &dyn Fn(&Series) -> bool| -> f64 {
        let all = now.all(family).filter(|one| one.label("server") == name && wanted(one));
        all.map(|one| one.value).fold(0.0, |sum, value| sum + value)
    };
    let decided = |word: &str| of("portcullis_policy_decisions_total", &|one| one.label("decision") == word);
    // What becomes of credentials is counted under the same words.
    let outcomes: BTreeSet<&str> = now.all("portcullis_auth_total").map(|one| one.label("result")).collect();
    let up = now.all("portcullis_upstream_up").find(|one| one.label("server") == name).map(|one| one.value > 0.0);
    Measured {
        server: name.to_owned(),
        unauthorized: of("portcullis_errors_total", &|one| outcomes.contains(one.label("reason"))),
        step_up: decided("step_up"),
        denied: decided("deny"),
        masked: of("portcullis_mask_matches_total", &|_| true),
        failed: of("portcullis_upstream_errors_total", &|_| true),
        streams: of("portcullis_streams", &|_| true),
        up,
        ..timed(now, before, window, &|one| one.label("server") == name)
    }
}

fn tool((server, tool): (&str, &str), now: &Scrape, before: &Scrape, window: Option<&Scrape>) -> Measured {
    let is = |one: &Series| one.label("server") == server && one.label("gen_ai_tool_name") == tool;
    let ended = |wanted: &dyn Fn(&str) -> bool| -> f64 {
        let all = now.all("mcp_server_operation_duration_seconds_count");
        let all = all.filter(|one| is(one) && wanted(one.label("error_type")));
        all.map(|one| one.value).fold(0.0, |sum, value| sum + value)
    };
    Measured {
        server: server.to_owned(),
        tool: tool.to_owned(),
        step_up: ended(&|word| word == "insufficient_scope"),
        denied: ended(&|word| word == "policy_denied"),
        failed: ended(&|word| !matches!(word, "" | "insufficient_scope" | "policy_denied")),
        ..timed(now, before, window, &is)
    }
}

/// Rate and percentiles of the operations that are wanted.
fn timed(now: &Scrape, before: &Scrape, window: Option<&Scrape>, wanted: &dyn Fn(&Series) -> bool) -> Measured {
    let (counts, then) = (buckets(now, wanted), buckets(before, wanted));
    let total = |counts: &BTreeMap<u64, (f64, f64)>| counts.values().last().map_or(0.0, |(_, count)| *count);
    let elapsed = now.at.saturating_duration_since(before.at).as_secs_f64();
    let rate = if elapsed > 0.0 { ((total(&counts) - total(&then)) / elapsed).max(0.0) } else { 0.0 };
    let older = window.map(|window| buckets(window, wanted)).unwrap_or_default();
    let within: Vec<(f64, f64)> = counts
        .iter()
        .map(|(key, (bound, count))| (*bound, count - older.get(key).map_or(0.0, |(_, count)| *count)))
        .collect();
    Measured { rate, p50: below(0.5, &within), p99: below(0.99, &within), ..Measured::default() }
}

/// How many calls took at most as long as each bound. Bounds are positive, so their bits are in their order.
fn buckets(scrape: &Scrape, wanted: &dyn Fn(&Series) -> bool) -> BTreeMap<u64, (f64, f64)> {
    let mut counts: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for series in scrape.all(OPERATIONS).filter(|series| wanted(series)) {
        let bound = series.label("le").parse().unwrap_or(f64::INFINITY);
        counts.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += series.value;
    }
    counts
}

/// The bound below which that share of the calls is.
fn below(share: f64, counts: &[(f64, f64)]) -> Option<f64> {
    let total = counts.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    counts.iter().find(|(_, count)| *count >= share * total).map(|(bound, _)| *bound)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit in 53 bits")]
fn unix_seconds(moment: Timestamp) -> f64 {
    moment.unix_millis() as f64 / 1000.0
}
