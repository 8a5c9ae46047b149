//! What `proxy.toml` means: validated once at the edge, in types that cannot hold invalid values.

mod access;
mod backend;
pub mod certificate;
mod credentials;
mod elicitation;
mod expand;
mod grant;
mod hide;
mod issuer;
pub(crate) mod keys;
mod load;
mod metadata;
mod place;
pub mod problem;
pub(crate) mod profiles;
mod proxies;
mod raw;
pub(crate) mod schema;
pub mod secret_source;
mod shown;
mod state;
pub(crate) mod suggest;
mod telemetry;
pub(crate) mod text;
pub(crate) mod units;
mod walk;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub use self::access::{Access, Anonymous, Authentication, Dpop, Mtls, Network};
pub use self::backend::{Backend, Breaker, ChildLimits, Command, Concurrency, Retries, SessionIdle, Sharing, User};
pub use self::credentials::Credential;
pub use self::elicitation::{Elicitation, HostPattern, SecretFields};
pub use self::grant::{AuthorizationServer, Grant, GrantKind, Identity, IdentityJwt, KeyPair, UpstreamAuth};
pub use self::issuer::{
    AnswerFormat, ClientAuthMethod, Discovery, Introspection, Issuer, OAuthClient, OnStart, Signals, Tokens, When,
};
pub(crate) use self::load::{Elsewhere, check_before_writing, load_before_policies};
pub use self::load::{load, parse};
pub use self::metadata::{Localized, Metadata, SignedMetadata};
pub use self::problem::{Problem, Problems, Severity, Source};
pub use self::proxies::{ForwardedHeader, Proxies, ProxyProtocol};
pub use self::state::{OnStoreError, Redis};
pub use self::telemetry::{LogFormat, Sampling, Telemetry, Traces};
use crate::secret::Secret;

/// Everything one process runs from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder `proxy.toml` lies in, empty for the current one; relative paths start there.
    pub directory: PathBuf,
    /// `proxy.toml` itself, as it was named.
    pub path: PathBuf,
    /// The same with what was read of it, secrets overwritten.
    file: Arc<Source>,
    /// The public listener.
    pub server: Listener,
    /// The admin listener, if one is wanted.
    pub admin: Option<Admin>,
    /// Configured issuers by name.
    pub issuers: BTreeMap<Arc<str>, Issuer>,
    /// Protected MCP servers by name.
    pub servers: BTreeMap<Arc<str>, Server>,
    /// Who may call from a browser.
    pub cors: Cors,
    /// Where decisions are recorded.
    pub audit: Audit,
    /// Keys for what travels sealed with the client.
    pub sealing: Sealing,
    /// The store that is shared with other processes; without one all state is this process's own.
    pub state: Option<Redis>,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

impl Config {
    /// The file, for a problem in it.
    pub fn source(&self) -> Arc<Source> {
        Arc::clone(&self.file)
    }

    /// The policy files of a server, to be opened.
    pub fn policy_files(&self, server: &Server) -> Vec<PathBuf> {
        server.policies.iter().map(|path| self.directory.join(path)).collect()
    }
}

/// `[server]`: addresses, TLS and the bounds of what is read from a client.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where to listen; port 0 chooses one.
    pub listen: Vec<SocketAddr>,
    /// The origin clients type, without path; every absolute URL is built from it.
    pub public_url: Url,
    /// Certificate and key; none means plain HTTP.
    pub tls: Option<Tls>,
    /// `tls.hsts`: how long browsers shall use nothing but TLS.
    pub hsts: Option<Duration>,
    /// Whether plain HTTP beyond loopback was asked for by name.
    pub plain_http: bool,
    /// Accepted `Host` authorities besides those of `public_url` and, on loopback listeners, the loopback names.
    pub allowed_hosts: Vec<String>,
    /// Accepted `Origin`s besides `public_url` and `[cors]`.
    pub allowed_origins: Vec<String>,
    /// The proxies in front of it.
    pub proxies: Proxies,
    /// Worker threads; one per core by default.
    pub workers: usize,
    /// Bounds on what is read.
    pub limits: Limits,
    /// How long to answer not-ready before the listener closes on SIGTERM.
    pub drain_delay: Duration,
    /// How long running calls may take after that.
    pub drain_timeout: Duration,
}

impl Listener {
    /// Whether only this machine can connect.
    pub fn is_loopback(&self) -> bool {
        self.listen.iter().all(|address| address.ip().is_loopback())
    }
}

/// `server.tls`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM chain, leaf first.
    pub cert_file: PathBuf,
    /// PEM private key.
    pub key_file: PathBuf,
    /// Whether and by whom clients must be certified.
    pub client_auth: ClientAuth,
}

impl Tls {
    /// Every file it is read from.
    pub fn files(&self) -> Vec<PathBuf> {
        let authorities = match &self.client_auth {
            ClientAuth::Any | ClientAuth::Off => None,
            ClientAuth::Optional(path) | ClientAuth::Required(path) => Some(path.clone()),
        };
        [self.cert_file.clone(), self.key_file.clone()].into_iter().chain(authorities).collect()
    }
}

/// `server.tls.client_ca_file` and `client_certificates`.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// No certificate is asked for.
    Off,
    /// One is asked for; if sent, it must chain to the file's authorities.
    Optional(PathBuf),
    /// One is asked for and any is taken: it stands for nothing but tokens that are bound to it (RFC 8705 section 2.2).
    Any,
    /// Without one the handshake fails.
    Required(PathBuf),
}

/// `server.limits`: bounds on what is read, each with the default of the README.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Limits {
    pub request_bytes: usize,
    pub answer_bytes: usize,
    pub event_bytes: usize,
    pub header_count: usize,
    pub header_bytes: usize,
    pub connections: usize,
    pub connections_per_address: usize,
    pub refused_tokens: Option<(u32, Duration)>,
    pub http2_streams: u32,
    pub header_timeout: Duration,
    pub tls_timeout: Duration,
    pub body_timeout: Duration,
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 1 << 20,
            answer_bytes: 16 << 20,
            event_bytes: 4 << 20,
            header_count: 100,
            header_bytes: 32 << 10,
            connections: 10_000,
            connections_per_address: 1000,
            refused_tokens: Some((300, Duration::from_mins(1))),
            http2_streams: 100,
            header_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_mins(1),
        }
    }
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where `/livez`, `/readyz` and `/metrics` answer.
    pub listen: SocketAddr,
    /// The Unix socket where everything else answers too.
    pub socket: Option<PathBuf>,
    /// What opens everything else over TCP.
    pub token: Option<SecretSource>,
    /// Whether to be ready an upstream must be reached.
    pub ready_upstreams: bool,
}

/// `[servers.NAME]`: one protected MCP server, an OAuth resource of its own.
#[derive(Clone, Debug)]
pub struct Server {
    /// Name in the file.
    pub name: Arc<str>,
    /// Path on the public listener.
    pub path: String,
    /// `public_url` and `path` together: the resource identifier (RFC 9728).
    pub resource: String,
    /// Where it is.
    pub backend: Backend,
    /// How many calls it is asked at once.
    pub concurrency: Concurrency,
    /// When it is left alone.
    pub breaker: Breaker,
    /// What is tried again.
    pub retries: Retries,
    /// PEM authorities to trust for the upstream besides the system's.
    pub upstream_ca_file: Option<PathBuf>,
    /// HTTP version to speak to the upstream.
    pub upstream_http2: bool,
    /// How the proxy shows itself to the upstream.
    pub upstream_auth: UpstreamAuth,
    /// The same for single tools, by exact name.
    pub tool_auth: BTreeMap<String, UpstreamAuth>,
    /// The certificate of the proxy's connections to the upstream.
    pub upstream_client_certificate: Option<KeyPair>,
    /// What the upstream is told of the caller.
    pub identity: Identity,
    /// Names of accepted issuers.
    pub issuers: Vec<Arc<str>>,
    /// Accepted `aud` values.
    pub audiences: Vec<String>,
    /// Policy files as written; [`Config::policy_files`] starts them at [`Config::directory`].
    pub policies: Vec<PathBuf>,
    /// Human-readable name in the metadata document.
    pub resource_name: Option<String>,
    /// `scopes_supported` and the first challenge's scopes, if not drawn from the rules.
    pub scopes_advertised: Option<Vec<String>>,
    /// `_meta` keys let through besides the reserved ones.
    pub meta: Vec<String>,
    /// What it may have users asked.
    pub elicitation: Elicitation,
    /// Whether what client and upstream speak is brought together.
    pub era: EraMode,
    /// How the upstream is spoken to, where that is over HTTP.
    pub transport: Transport,
    /// Who shares what the upstream tells, where that is over HTTP+SSE.
    pub sessions: Sharing,
    /// How long sessions at the upstream may be left alone.
    pub session_idle: SessionIdle,
    /// Where clients of HTTP+SSE find the server.
    pub sse_path: Option<String>,
    /// Timeouts toward the upstream.
    pub timeouts: Timeouts,
    /// What is done with the definitions of its tools.
    pub tools: Tools,
    /// How callers must show themselves, beyond a valid token.
    pub access: Access,
}

/// What the keys of `[servers.NAME]` about tool definitions say.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// Whether arguments must fit the upstream's input schemas.
    pub schema: SchemaMode,
    /// The approved definitions, from the folder of `proxy.toml`.
    pub lock: Option<PathBuf>,
    /// What becomes of a tool whose definition is not the approved one.
    pub on_drift: OnDrift,
    /// What becomes of suspicious text.
    pub lint: LintMode,
}

/// `servers.NAME.era`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EraMode {
    /// The upstream is asked what it speaks, and clients of the other era are translated for.
    #[default]
    Auto,
    /// The upstream speaks revisions before 2026-07-28.
    Legacy,
    /// The upstream speaks 2026-07-28.
    Modern,
    /// Nothing is translated.
    Pass,
}

/// `servers.NAME.transport`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// It is found out: messages are posted, and where there is nothing to post to, a stream is asked for.
    #[default]
    Auto,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// Streamable HTTP, of 2025-03-26 and later.
    StreamableHttp,
}

/// `servers.NAME.on_drift`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// It is not listed, and calls are told why they are refused.
    #[default]
    Block,
    /// It does not exist.
    Hide,
    /// The log says so.
    Warn,
}

/// `servers.NAME.lint`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LintMode {
    /// A definition with suspicious text does not exist.
    Hide,
    /// Suspicious text is taken out; where it cannot be, the definition does not exist.
    Strip,
    /// The log says so.
    #[default]
    Warn,
}

/// `servers.NAME.schema`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaMode {
    /// Arguments that do not fit are refused.
    #[default]
    Enforce,
    /// Nothing is looked at.
    Off,
    /// Arguments that do not fit are logged and pass.
    Report,
}

/// Where a secret is read from, again at each reload.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// `{ credential = "name" }`: a file of that name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// `{ env = "NAME" }`.
    Env(String),
    /// `{ file = "path" }`, one trailing line break cut.
    File(PathBuf),
    /// `{ value = "…" }`, with a warning.
    Value(Secret<String>),
}

/// `servers.NAME.timeouts`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Timeouts {
    pub connect: Duration,
    pub first_byte: Duration,
    pub idle: Duration,
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_mins(5),
            total: Duration::from_mins(10),
        }
    }
}

/// `[cors]`.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Exact origins.
    pub allow_origins: Vec<String>,
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Where lines go; stdout when nothing is configured.
    pub sink: AuditSink,
    /// What happens when a line cannot be written.
    pub on_error: OnAuditError,
    /// Whether each batch is fsynced.
    pub sync: bool,
    /// Whether each line has a hash of the line before it.
    pub chain: bool,
    /// What signs checkpoints; `None` if nothing does.
    pub signing: Option<Signing>,
    /// When a file is full; `None` if the proxy does not rotate it.
    pub rotate: Option<Rotate>,
    /// How long rotated files are kept; `None` for ever.
    pub retention: Option<Duration>,
    /// The file of the key that arguments are hashed with; `None` if nothing of them is recorded.
    pub arguments_key: Option<PathBuf>,
    /// Whether they are recorded as they are after the masks.
    pub masked_arguments: bool,
    /// The file of the keys that subjects are told by digests with; `None` if they are told by name.
    pub subjects_key: Option<PathBuf>,
}

impl Audit {
    /// Records there, and everything else as if nothing was written.
    pub const fn to(sink: AuditSink) -> Self {
        let (chain, sync, masked_arguments) = (false, false, false);
        let (signing, rotate, retention, arguments_key, subjects_key) = (None, None, None, None, None);
        let on_error = OnAuditError::Block;
        Self { sink, on_error, sync, chain, signing, rotate, retention, arguments_key, masked_arguments, subjects_key }
    }
}

/// `audit.rotate`; one of the two at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// The most bytes of a file.
    pub size: Option<usize>,
    /// The longest period in a file, counted from 1970 in UTC.
    pub every: Option<Duration>,
}

/// `audit.signing_key_file` and `audit.checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// A PEM file with an Ed25519 private key.
    pub key_file: PathBuf,
    /// How long lines wait for a checkpoint.
    pub every: Duration,
}

/// `audit.sinks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Append to a file.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

impl fmt::Display for AuditSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Stdout => f.write_str("on standard output"),
        }
    }
}

/// `audit.on_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAuditError {
    /// No line, no call: 503.
    Block,
    /// Count and go on.
    Drop,
}

/// `[sealing]`.
#[derive(Clone, Debug, Default)]
pub struct Sealing {
    /// Master keys, the first usable one seals; none means a random key per process.
    pub keys: Vec<SealingKey>,
}

/// One entry of `sealing.keys`.
#[derive(Clone, Debug)]
pub struct SealingKey {
    /// Up to four ASCII characters.
    pub id: String,
    /// 32 bytes, raw or as base64url or hex text.
    pub file: PathBuf,
    /// RFC 3339; sealing with it starts then.
    pub seal_from: Option<crate::clock::Timestamp>,
    /// RFC 3339; nothing sealed with it opens after.
    pub open_until: Option<crate::clock::Timestamp>,
}

#[cfg(test)]
mod tests;
