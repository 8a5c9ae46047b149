//! What `proxy.toml` says, key by key, before anything is checked. `walk` has compared it with the table of keys, so
//! serde finds nothing unknown or of the wrong type; should the two ever differ, serde refuses.

mod access;
mod backend;
mod grant;
mod issuer;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

pub(super) use access::{Anonymous, Authentication, Dpop, Elicitation, Localized, Metadata, Mtls};
pub(super) use backend::{Breaker, Concurrency, Retries, Stdio};
pub(super) use grant::{ClientKeys, Identity, KeyPair, ServerKeys, UpstreamAuth};
pub(super) use issuer::{Introspection, Issuer, Jwks, Signals};

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Proxy {
    pub(super) version: Option<Spanned<i64>>,
    pub(super) server: Option<Spanned<Listener>>,
    pub(super) admin: Option<Spanned<Admin>>,
    pub(super) issuers: BTreeMap<Spanned<String>, Spanned<Issuer>>,
    pub(super) servers: BTreeMap<Spanned<String>, Spanned<Server>>,
    pub(super) cors: Option<Cors>,
    pub(super) audit: Option<Audit>,
    pub(super) sealing: Option<Sealing>,
    pub(super) state: Option<Spanned<State>>,
    pub(super) telemetry: Option<Telemetry>,
}

/// `[server]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) listen: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) public_url: Option<Spanned<String>>,
    pub(super) tls: Option<Spanned<Tls>>,
    pub(super) plain_http: Option<Spanned<bool>>,
    pub(super) allowed_hosts: Option<Vec<Spanned<String>>>,
    pub(super) allowed_origins: Option<Vec<Spanned<String>>>,
    pub(super) trusted_proxies: Option<Vec<Spanned<String>>>,
    pub(super) proxy_protocol: Option<Spanned<String>>,
    pub(super) forwarded_header: Option<Spanned<String>>,
    pub(super) workers: Option<Spanned<i64>>,
    pub(super) drain: Option<Drain>,
    pub(super) limits: Option<Limits>,
}

/// `server.tls`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert_file: Option<Spanned<String>>,
    pub(super) key_file: Option<Spanned<String>>,
    pub(super) client_ca_file: Option<Spanned<String>>,
    pub(super) client_certificates: Option<Spanned<String>>,
    pub(super) hsts: Option<Spanned<String>>,
}

/// `server.drain`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    pub(super) delay: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
}

/// `server.limits`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) request_bytes: Option<Spanned<String>>,
    pub(super) answer_bytes: Option<Spanned<String>>,
    pub(super) event_bytes: Option<Spanned<String>>,
    pub(super) header_count: Option<Spanned<i64>>,
    pub(super) header_bytes: Option<Spanned<String>>,
    pub(super) connections: Option<Spanned<i64>>,
    pub(super) connections_per_address: Option<Spanned<i64>>,
    pub(super) refused_tokens: Option<Spanned<String>>,
    pub(super) http2_streams: Option<Spanned<i64>>,
    pub(super) header_timeout: Option<Spanned<String>>,
    pub(super) tls_timeout: Option<Spanned<String>>,
    pub(super) body_timeout: Option<Spanned<String>>,
    pub(super) keep_alive: Option<Spanned<String>>,
}

/// `[admin]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: Option<Spanned<String>>,
    pub(super) beyond_loopback: Option<bool>,
    pub(super) socket: Option<Spanned<String>>,
    pub(super) token: Option<Spanned<Secret>>,
    pub(super) readyz: Option<Readyz>,
}

/// `admin.readyz`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Readyz {
    pub(super) upstreams: Option<bool>,
}

/// `[servers.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) path: Option<Spanned<String>>,
    pub(super) upstream: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) env: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
    pub(super) cwd: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) sessions: Option<Spanned<String>>,
    pub(super) session_idle: Option<Spanned<String>>,
    pub(super) stdio: Option<Stdio>,
    pub(super) concurrency: Option<Concurrency>,
    pub(super) breaker: Option<Breaker>,
    pub(super) retries: Option<Retries>,
    pub(super) policies: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) issuers: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) audiences: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) resource_name: Option<Spanned<String>>,
    pub(super) scopes_advertised: Option<Vec<Spanned<String>>>,
    pub(super) meta: Option<Vec<Spanned<String>>>,
    pub(super) elicitation: Option<Elicitation>,
    pub(super) upstream_ca_file: Option<Spanned<String>>,
    pub(super) upstream_http2: Option<bool>,
    pub(super) timeouts: Option<Timeouts>,
    pub(super) dpop: Option<Dpop>,
    pub(super) mtls: Option<Mtls>,
    pub(super) authentication: Option<Authentication>,
    pub(super) anonymous: Option<Anonymous>,
    pub(super) metadata: Option<Metadata>,
    pub(super) upstream_auth: Option<Spanned<UpstreamAuth>>,
    pub(super) tool_auth: Option<BTreeMap<Spanned<String>, Spanned<UpstreamAuth>>>,
    pub(super) upstream_client_certificate: Option<Spanned<KeyPair>>,
    pub(super) identity: Option<Spanned<Identity>>,
    pub(super) era: Option<Spanned<String>>,
    pub(super) transport: Option<Spanned<String>>,
    pub(super) sse_path: Option<Spanned<String>>,
    pub(super) schema: Option<Spanned<String>>,
    pub(super) lock: Option<Spanned<String>>,
    pub(super) on_drift: Option<Spanned<String>>,
    pub(super) lint: Option<Spanned<String>>,
}

/// `servers.NAME.timeouts`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) connect: Option<Spanned<String>>,
    pub(super) first_byte: Option<Spanned<String>>,
    pub(super) idle: Option<Spanned<String>>,
    pub(super) total: Option<Spanned<String>>,
}

/// Where a secret is read from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) credential: Option<Spanned<String>>,
    pub(super) env: Option<Spanned<String>>,
    pub(super) file: Option<Spanned<String>>,
    pub(super) value: Option<Spanned<String>>,
}

/// `[cors]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cors {
    pub(super) allow_origins: Option<Vec<Spanned<String>>>,
}

/// `[audit]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    pub(super) sinks: Option<Spanned<Vec<Spanned<Sink>>>>,
    pub(super) on_error: Option<Spanned<String>>,
    pub(super) sync: Option<bool>,
    pub(super) signing_key_file: Option<Spanned<String>>,
    pub(super) checkpoint: Option<Spanned<String>>,
    pub(super) arguments: Option<Spanned<String>>,
    pub(super) arguments_key_file: Option<Spanned<String>>,
    pub(super) subjects: Option<Spanned<String>>,
    pub(super) subjects_key_file: Option<Spanned<String>>,
    pub(super) rotate: Option<Spanned<Rotate>>,
    pub(super) retention: Option<Spanned<String>>,
}

/// `audit.rotate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    pub(super) size: Option<Spanned<String>>,
    pub(super) every: Option<Spanned<String>>,
}

/// An entry of `audit.sinks`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sink {
    pub(super) r#type: Option<Spanned<String>>,
    pub(super) path: Option<Spanned<String>>,
    pub(super) chain: Option<Spanned<bool>>,
}

/// `[sealing]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealing {
    pub(super) keys: Option<Vec<Spanned<SealingKey>>>,
}

/// An entry of `sealing.keys`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealingKey {
    pub(super) id: Option<Spanned<String>>,
    pub(super) file: Option<Spanned<String>>,
    pub(super) seal_from: Option<Spanned<String>>,
    pub(super) open_until: Option<Spanned<String>>,
}

/// `[state]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub(super) redis: Option<Spanned<Redis>>,
}

/// `state.redis`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Redis {
    pub(super) url: Option<Spanned<Secret>>,
    pub(super) ca_file: Option<Spanned<String>>,
    pub(super) prefix: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) max_stale: Option<Spanned<String>>,
    pub(super) on_error: Option<Spanned<String>>,
}

/// `[telemetry]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Telemetry {
    pub(super) log_format: Option<Spanned<String>>,
    pub(super) otlp_endpoint: Option<Spanned<String>>,
    pub(super) sampling: Option<Spanned<String>>,
    pub(super) follow_caller: Option<Spanned<bool>>,
    pub(super) service_name: Option<Spanned<String>>,
    pub(super) resource_attributes: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
}
