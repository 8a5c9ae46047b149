//! One worker's handles of the metrics of one server, resolved once and kept.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use http::Method;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::{DecisionLabels, Histogram, Metrics, OperationLabels};

/// The most tool and prompt names of one server that are label values.
const NAMES: usize = 200;
/// The label value for everything else, as in the OpenTelemetry conventions.
const OTHER: &str = "_OTHER";

/// The tool or prompt of an operation, as far as it may be a label value. The upstream must have vouched for a name; every
/// other one is [`Target::UnknownTool`] or [`Target::UnknownPrompt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target<'a> {
    /// Neither tool nor prompt.
    None,
    /// A known prompt.
    Prompt(&'a str),
    /// A known tool.
    Tool(&'a str),
    /// A tool that only the client has named.
    UnknownTool,
    /// A prompt that only the client has named.
    UnknownPrompt,
}

impl Target<'_> {
    const fn name(&self) -> &str {
        match self {
            Self::Prompt(name) | Self::Tool(name) => name,
            Self::None => "",
            Self::UnknownPrompt | Self::UnknownTool => OTHER,
        }
    }
}

/// The `error.type` attribute of the OpenTelemetry conventions, as a fixed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ErrorType {
    ConnectionFailed,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    PolicyDenied,
    RateLimited,
    Timeout,
    ToolError,
    /// A JSON-RPC error code, the upstream's or the proxy's.
    Rpc(i64),
}

/// JSON-RPC error codes that are label values: those of JSON-RPC, of MCP and of the proxy.
const CODES: [(i64, &str); 16] = [
    (-32_700, "-32700"),
    (-32_600, "-32600"),
    (-32_601, "-32601"),
    (-32_602, "-32602"),
    (-32_603, "-32603"),
    (-32_002, "-32002"),
    (-32_020, "-32020"),
    (-32_021, "-32021"),
    (-32_022, "-32022"),
    (-32_042, "-32042"),
    (-31_401, "-31401"),
    (-31_403, "-31403"),
    (-31_429, "-31429"),
    (-31_502, "-31502"),
    (-31_503, "-31503"),
    (-31_504, "-31504"),
];
/// Number of variants of [`ErrorType`] other than codes.
const KINDS: usize = 8;

impl ErrorType {
    /// The value of `error.type`.
    pub(crate) fn name(self) -> &'static str {
        self.label().0
    }

    /// The label value, the error code if it is one, and the index in [`Series`].
    fn label(self) -> (&'static str, Option<&'static str>, usize) {
        match self {
            Self::ConnectionFailed => ("connection_failed", None, 0),
            Self::InsufficientScope => ("insufficient_scope", None, 1),
            Self::InvalidRequest => ("invalid_request", None, 2),
            Self::InvalidToken => ("invalid_token", None, 3),
            Self::PolicyDenied => ("policy_denied", None, 4),
            Self::RateLimited => ("rate_limited", None, 5),
            Self::Timeout => ("timeout", None, 6),
            Self::ToolError => ("tool_error", None, 7),
            Self::Rpc(code) => match CODES.iter().position(|(known, _)| *known == code) {
                Some(at) => (CODES[at].1, Some(CODES[at].1), KINDS + at),
                None => (OTHER, Some(OTHER), KINDS + CODES.len()),
            },
        }
    }
}

/// The `decision` label of `portcullis_policy_decisions_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Decided {
    Allow,
    Deny,
    Error,
    ShadowDeny,
    ShadowStepUp,
    StepUp,
}

impl Decided {
    /// The value of the label `decision`.
    pub(crate) const fn name(self) -> &'static str {
        self.label().0
    }

    const fn label(self) -> (&'static str, usize) {
        match self {
            Self::Allow => ("allow", 0),
            Self::Deny => ("deny", 1),
            Self::Error => ("error", 2),
            Self::ShadowDeny => ("shadow_deny", 3),
            Self::ShadowStepUp => ("shadow_step_up", 4),
            Self::StepUp => ("step_up", 5),
        }
    }
}

/// The duration histograms of one operation on one server.
#[derive(Debug)]
pub struct Series {
    metrics: Arc<Metrics>,
    labels: OperationLabels,
    ok: Histogram,
    failed: [OnceLock<Histogram>; KINDS + CODES.len() + 1],
}

impl Series {
    fn new(metrics: Arc<Metrics>, labels: OperationLabels) -> Self {
        let ok = metrics.operations.get_or_create_owned(&labels);
        Self { metrics, labels, ok, failed: [const { OnceLock::new() }; KINDS + CODES.len() + 1] }
    }

    /// Records one operation that took `elapsed`, and how it failed, if it did.
    pub fn record(&self, failed: Option<ErrorType>, elapsed: Duration) {
        let Some(error) = failed else { return self.ok.observe(elapsed) };
        let (error_type, code, at) = error.label();
        let resolve = || {
            let labels =
                OperationLabels { error_type: Some(error_type), rpc_response_status_code: code, ..self.labels.clone() };
            self.metrics.operations.get_or_create_owned(&labels)
        };
        self.failed[at].get_or_init(resolve).observe(elapsed);
    }
}

/// One worker's handles of one server's metrics. Its maps are locked, but not contended.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    server: Arc<str>,
    route: Arc<str>,
    up: Gauge,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    names: usize,
    series: Vec<Methods>,
    requests: Vec<(&'static str, u16, Histogram)>,
    decisions: HashMap<Arc<str>, [Option<Counter>; 6]>,
    auth: Vec<(Arc<str>, &'static str, Counter)>,
}

/// The protocols an operation was sent in, from fixed sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The revision of MCP.
    pub revision: &'static str,
    /// The version of HTTP, as in `network_protocol_version`.
    pub http: &'static str,
}

#[derive(Debug)]
struct Methods {
    method: &'static str,
    spoken: Spoken,
    tools: HashMap<Box<str>, Arc<Series>>,
    prompts: HashMap<Box<str>, Arc<Series>>,
    plain: Option<Arc<Series>>,
}

impl Recorder {
    /// The handles for a server, by its name and its path `route`.
    pub fn new(metrics: Arc<Metrics>, server: Arc<str>, route: Arc<str>) -> Self {
        let up = metrics.upstream_up(&server);
        // Exported from the start, so that an alert can tell zero from missing.
        drop(metrics.tool_drift(&server));
        Self { metrics, server, route, up, known: Mutex::default() }
    }

    /// The series of an operation; `method` must be from a fixed set.
    pub fn series(&self, method: &'static str, spoken: Spoken, target: Target<'_>) -> Arc<Series> {
        let mut guard = self.known();
        let known = &mut *guard;
        let at = known.series.iter().position(|row| row.method == method && row.spoken == spoken);
        let at = at.unwrap_or(known.series.len());
        if at == known.series.len() {
            let (tools, prompts) = (HashMap::new(), HashMap::new());
            known.series.push(Methods { method, spoken, tools, prompts, plain: None });
        }
        let row = &mut known.series[at];
        let names = match target {
            Target::None => {
                return Arc::clone(row.plain.get_or_insert_with(|| self.make(method, spoken, target)));
            }
            Target::Prompt(_) | Target::UnknownPrompt => &mut row.prompts,
            Target::Tool(_) | Target::UnknownTool => &mut row.tools,
        };
        if let Some(series) = names.get(target.name()) {
            return Arc::clone(series);
        }
        let target = match target {
            Target::Tool(_) if known.names >= NAMES => Target::UnknownTool,
            Target::Prompt(_) if known.names >= NAMES => Target::UnknownPrompt,
            Target::Tool(_) | Target::Prompt(_) => {
                known.names += 1;
                target
            }
            Target::None | Target::UnknownPrompt | Target::UnknownTool => target,
        };
        let make = || self.make(method, spoken, target);
        Arc::clone(names.entry(target.name().into()).or_insert_with(make))
    }

    fn make(&self, method: &'static str, spoken: Spoken, target: Target<'_>) -> Arc<Series> {
        let is_tool = matches!(target, Target::Tool(_) | Target::UnknownTool);
        let is_prompt = matches!(target, Target::Prompt(_) | Target::UnknownPrompt);
        let labels = OperationLabels {
            server: Arc::clone(&self.server),
            mcp_method_name: method,
            gen_ai_operation_name: is_tool.then_some("execute_tool"),
            gen_ai_tool_name: is_tool.then(|| target.name().into()),
            gen_ai_prompt_name: is_prompt.then(|| target.name().into()),
            error_type: None,
            rpc_response_status_code: None,
            mcp_protocol_version: spoken.revision,
            network_protocol_name: "http",
            network_protocol_version: spoken.http,
            network_transport: "tcp",
        };
        Arc::new(Series::new(Arc::clone(&self.metrics), labels))
    }

    /// Records one HTTP request on the server's route.
    pub fn request(&self, method: &Method, status: u16, elapsed: Duration) {
        let method = method_name(method);
        let mut known = self.known();
        if let Some((_, _, histogram)) = known.requests.iter().find(|row| row.0 == method && row.1 == status) {
            return histogram.observe(elapsed);
        }
        let histogram = self.metrics.request(method, &self.route, status);
        histogram.observe(elapsed);
        known.requests.push((method, status, histogram));
    }

    /// Counts one decision; `rule` is `None` for the default deny.
    pub fn decision(&self, rule: Option<&Arc<str>>, decided: Decided) {
        let (decision, at) = decided.label();
        let name = rule.map_or("", |rule| rule);
        let resolve = |rule: Arc<str>| {
            let labels = DecisionLabels { server: Arc::clone(&self.server), rule, decision };
            self.metrics.decisions.get_or_create_owned(&labels)
        };
        let mut known = self.known();
        if let Some(row) = known.decisions.get_mut(name) {
            row[at].get_or_insert_with(|| resolve(name.into())).inc();
            return;
        }
        let mut row = [const { None }; 6];
        row[at].get_or_insert_with(|| resolve(name.into())).inc();
        known.decisions.insert(name.into(), row);
    }

    /// Counts one request by the result of authentication.
    pub fn auth(&self, issuer: Option<&Arc<str>>, result: &'static str) {
        let name = issuer.map_or(OTHER, |issuer| issuer);
        let mut known = self.known();
        if let Some((_, _, counter)) = known.auth.iter().find(|row| &*row.0 == name && row.1 == result) {
            counter.inc();
            return;
        }
        let counter = self.metrics.auth(issuer, result);
        counter.inc();
        known.auth.push((name.into(), result, counter));
    }

    /// Sets whether the upstream could be reached.
    pub fn upstream(&self, up: bool) {
        self.up.set(up.into());
    }

    /// All metrics, for events that are too rare to keep a handle.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The label of a version of HTTP.
pub(crate) const fn http_version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_11 => "1.1",
        http::Version::HTTP_2 => "2",
        _ => OTHER,
    }
}

/// The label value of an HTTP method; `_OTHER` for unusual ones, as in the OpenTelemetry conventions.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => OTHER,
    }
}
