//! Everything that runs from one loaded configuration: an immutable [`Snapshot`], replaced as a whole.

mod documents;
mod hosts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use foldhash::HashMap;
use futures_util::future::join_all;
use http::HeaderValue;
use url::Host;

use crate::auth::signals::Receiver;
use crate::auth::{Acceptance, Challenges, Issuer, Issuers, Listed, metadata};
use crate::bridge::{self, Bridge, Bridges};
use crate::config::{self, Config, Limits, Listener, Problem, Problems, Server};
use crate::cors::Origins;
use crate::mask::{Keyring, Pace};
use crate::policy;
use crate::policy::lock::Lock;
use crate::policy::tools::Tools;
use crate::route::{Found, Route};
use crate::seal::Seals;
use crate::state::{Shared, Stores};
use crate::upstream::{Backend, Backends, Broker, Catalog, Credentials, Grants, Pool, Upstream};
use hosts::Hosts;

/// One loaded configuration, compiled: everything by which requests are decided. Read once per request and held until it
/// ends.
#[derive(Debug)]
pub struct Snapshot {
    /// Number of the load. A stream that sees a newer one is decided again, by the newer policy.
    pub generation: u64,
    /// Limits on what is read from clients and upstreams.
    pub limits: Limits,
    /// The proxies that may forward requests.
    pub proxies: config::Proxies,
    /// `Strict-Transport-Security` of answers over TLS (RFC 6797).
    pub hsts: Option<HeaderValue>,
    /// Origins of web pages that may call (CORS).
    pub origins: Origins,
    /// Keys for sealed state that clients carry.
    pub seals: Arc<Seals>,
    hosts: Hosts,
    metadata: HashMap<Box<str>, Bytes>,
    /// With the path that event tokens are pushed to (RFC 8935); `None` for receivers that only poll (RFC 8936).
    receivers: Vec<(Option<Box<str>>, Arc<Receiver>)>,
    routes: HashMap<Box<str>, Arc<Route>>,
    /// The store that is shared with other processes, if there is one.
    pub shared: Option<Arc<Shared>>,
    /// The routes with an `sse_path`.
    sse: Vec<Arc<Route>>,
}

/// What outlives a reload.
#[derive(Debug)]
pub struct Kept {
    /// The running issuers, with their key sets.
    pub issuers: Arc<Issuers>,
    /// The backends of the servers.
    pub backends: Arc<Backends>,
    /// Tokens for upstreams.
    pub grants: Arc<Grants>,
    /// Sealing keys when none are configured.
    pub random_seals: Arc<Seals>,
    /// Rate limits of pseudonyms and blocked messages, by caller.
    pub pace: Arc<Pace>,
    /// Counts of rules with a `limit`.
    pub limits: Arc<policy::Limits>,
    /// The store that is shared with other processes.
    pub stores: Arc<Stores>,
    /// State of the bridges between clients and upstreams of different eras.
    pub bridges: Arc<Bridges>,
}

impl Snapshot {
    /// Compiles a configuration: loads policies and masks, reads secrets, starts issuers. Returns the warnings too. Errs
    /// with all problems if there is an error among them. `serve`, `check` and reloads all use this.
    pub fn build(config: &Config, kept: &Kept, generation: u64) -> Result<(Self, Problems), Problems> {
        let mut problems = Problems::default();
        let seals = seals(config, kept, &mut problems);
        let listed = listed(config, &mut problems);
        let shared = shared(config, kept, &mut problems);
        let common = Common { kept, seals: &seals, shared: shared.as_ref(), listed: &listed };
        let routes: HashMap<_, _> = config
            .servers
            .values()
            .filter_map(|server| route(config, &common, server, &mut problems))
            .map(|route| (route.path.clone(), Arc::new(route)))
            .collect();
        let receivers = receivers(config, kept, &routes, &mut problems);
        let metadata = documents::all(config, &routes, &mut problems);
        if problems.has_errors() {
            return Err(problems);
        }
        let snapshot = Self {
            generation,
            limits: config.server.limits.clone(),
            proxies: config.server.proxies.clone(),
            hsts: hsts(&config.server),
            origins: origins(config),
            seals,
            hosts: Hosts::of(&config.server),
            metadata,
            receivers,
            sse: routes.values().filter(|route| route.sse_path.is_some()).cloned().collect(),
            routes,
            shared,
        };
        Ok((snapshot, problems))
    }

    /// Whether requests for this authority are served, against DNS rebinding (2025-11-25, "Security Warning").
    pub fn serves_host(&self, authority: &str) -> bool {
        self.hosts.serve(authority)
    }

    /// What is served at a path, compared byte by byte, so that no other spelling of a path is served.
    pub fn find(&self, path: &str) -> Option<Found<'_>> {
        let route = self.routes.get(path).map(Found::Route);
        let metadata = || self.metadata.get(path).map(Found::Metadata);
        let signals = || self.receiver(path).map(Found::Signals);
        route.or_else(metadata).or_else(signals).or_else(|| self.sse(path).map(Found::Sse))
    }

    fn sse(&self, path: &str) -> Option<&Arc<Route>> {
        self.sse.iter().find(|route| route.sse_path.as_deref() == Some(path))
    }

    fn receiver(&self, path: &str) -> Option<&Arc<Receiver>> {
        self.receivers.iter().find(|(at, _)| at.as_deref() == Some(path)).map(|(_, receiver)| receiver)
    }

    /// All receivers of security event tokens (Shared Signals).
    pub fn receivers(&self) -> Vec<Arc<Receiver>> {
        self.receivers.iter().map(|(_, receiver)| receiver.clone()).collect()
    }

    /// All upstreams, whose connections pools keep.
    pub fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.routes.values().flat_map(|route| route.backend.upstreams().cloned()).collect()
    }

    /// The route that uses a bridge, if one does.
    pub(crate) fn over(&self, bridge: &Arc<Bridge>) -> Option<&Arc<Route>> {
        self.routes.values().find(|route| Arc::ptr_eq(&route.bridge, bridge))
    }

    /// The backend of each server, by the server's name.
    pub fn backends(&self) -> Vec<(Arc<str>, Arc<Backend>)> {
        self.routes.values().map(|route| (route.name.clone(), route.backend.clone())).collect()
    }

    /// Ends the sessions that bridges keep at upstreams.
    pub async fn end_sessions(&self, pool: &Pool) {
        join_all(self.routes.values().map(|route| bridge::shut_down(route, pool))).await;
    }

    /// All authorization servers that issue tokens for upstreams.
    pub fn brokers(&self) -> Vec<Arc<Broker>> {
        self.routes.values().flat_map(|route| route.credentials.brokers()).cloned().collect()
    }

    /// Drops upstream tokens obtained for tokens that have been revoked since.
    pub async fn forget_revoked(&self) {
        for route in self.routes.values() {
            for broker in route.credentials.brokers() {
                broker.forget(|caller| route.acceptance.revokes(caller)).await;
            }
        }
    }

    /// All issuers that a server accepts or event tokens come from.
    pub fn issuers(&self) -> Vec<Arc<Issuer>> {
        let accepted = self.routes.values().flat_map(|route| route.acceptance.issuers.iter().cloned());
        accepted.chain(self.receivers.iter().map(|(_, receiver)| receiver.transmitter().clone())).collect()
    }

    /// The policy versions in force, sorted and joined by spaces.
    pub fn version(&self) -> Arc<str> {
        let mut versions: Vec<&str> = self.routes.values().map(|route| &*route.policy_version).collect();
        versions.sort_unstable();
        versions.join(" ").into()
    }

    /// The route of each server.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// The route at a path.
    pub fn route(&self, path: &str) -> Option<Arc<Route>> {
        self.routes.get(path).cloned()
    }
}

/// The current snapshot, which reloads replace.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
}

impl Live {
    /// Starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { generation: AtomicU64::new(snapshot.generation), current: ArcSwap::from_pointee(snapshot) }
    }

    /// The snapshot that new requests are decided by.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The current generation, which is cheaper to read than the snapshot.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts `snapshot` in force for requests that start from now on.
    pub fn swap(&self, snapshot: Snapshot) {
        let generation = snapshot.generation;
        self.current.store(Arc::new(snapshot));
        self.generation.store(generation, Ordering::Release);
    }
}

fn seals(config: &Config, kept: &Kept, problems: &mut Problems) -> Arc<Seals> {
    if config.sealing.keys.is_empty() {
        return kept.random_seals.clone();
    }
    match Seals::load(&config.sealing) {
        Ok(seals) => Arc::new(seals),
        Err(errors) => {
            for error in errors {
                let file = |at| format!("sealing.keys.{at}.file");
                let own = config.sealing.keys.iter().position(|key| Some(&*key.file) == error.file()).map(file);
                let message = format!("sealing.keys: {}", crate::cli::chain(&error));
                problems.push(at(config, own.as_deref().unwrap_or("sealing.keys"), message));
            }
            kept.random_seals.clone()
        }
    }
}

/// The revocation lists of `revocation_file`, by issuer.
fn listed(config: &Config, problems: &mut Problems) -> Vec<(Arc<str>, Arc<Listed>)> {
    let files = config.issuers.values().filter_map(|issuer| Some((issuer, issuer.revocation_file.as_ref()?)));
    files
        .filter_map(|(issuer, file)| match Listed::read(file) {
            Ok(listed) => Some((issuer.name.clone(), Arc::new(listed))),
            Err(error) => {
                let key = format!("issuers.{}.revocation_file", issuer.name);
                let problem = at(config, &key, format!("{key}: {error}"));
                let example = r#"{"sub":"ana","issued_before":1767614400}"#;
                problems.push(
                    problem.help(format!("a line is one object, as in `{example}`; nothing of the file is used")),
                );
                None
            }
        })
        .collect()
}

fn receivers(
    config: &Config,
    kept: &Kept,
    routes: &HashMap<Box<str>, Arc<Route>>,
    problems: &mut Problems,
) -> Vec<(Option<Box<str>>, Arc<Receiver>)> {
    let mut all: Vec<(Option<Box<str>>, Arc<Receiver>)> = Vec::new();
    for issuer in config.issuers.values() {
        let Some(signals) = &issuer.signals else { continue };
        let mut failed = |key: &str, error: String| {
            let table = format!("issuers.{}.signals", issuer.name);
            problems.push(at(config, &format!("{table}{key}"), format!("{table}: {error}")));
        };
        let path = signals.push.as_ref().map(|(path, _)| path.as_str().into());
        if path
            .as_ref()
            .is_some_and(|path| routes.contains_key(path) || all.iter().any(|(at, _)| at.as_ref() == Some(path)))
        {
            failed(".push_path", "`push_path` is the path of something else".to_owned());
            continue;
        }
        let started = kept.issuers.get_or_start(issuer).and_then(|started| kept.issuers.receiver(issuer, &started));
        match started {
            Ok(receiver) => all.extend(receiver.map(|receiver| (path, receiver))),
            Err(error) => failed("", crate::cli::chain(&error)),
        }
    }
    all
}

/// The shared store, if one is configured.
fn shared(config: &Config, kept: &Kept, problems: &mut Problems) -> Option<Arc<Shared>> {
    let started = kept.stores.get_or_start(config.state.as_ref()?);
    started
        .map_err(|error| {
            problems.push(at(config, error.key(), format!("{}: {}", error.key(), crate::cli::chain(&error))));
        })
        .ok()
}

/// What all routes are made with.
struct Common<'a> {
    kept: &'a Kept,
    seals: &'a Arc<Seals>,
    shared: Option<&'a Arc<Shared>>,
    listed: &'a [(Arc<str>, Arc<Listed>)],
}

fn route(config: &Config, common: &Common<'_>, server: &Server, problems: &mut Problems) -> Option<Route> {
    let Common { kept, seals, shared, listed } = *common;
    let files = config.policy_files(server);
    let mut loaded = policy::load(&files, problems);
    loaded.check_issuers(&server.issuers, problems);
    loaded.policy.keep_counts(&kept.limits, &server.name);
    loaded.policy.limit_anonymous(server.access.anonymous.rate, &kept.limits, &server.name);
    if let Some(store) = shared {
        loaded.policy.count_in(store, &server.name);
    }
    let masks = loaded.compile_masks(problems);
    let key = if matches!(server.backend, config::Backend::Command(_)) { "command" } else { "upstream" };
    let backend =
        kept.backends.get_or_make(server).map_err(|error| push(problems, config, server, error.key(key), &error));
    let origin = config.server.public_url.origin().ascii_serialization();
    let credentials = Credentials::new(server, &kept.grants, &origin)
        .map_err(|error| push(problems, config, server, "upstream_auth", &error));
    let issuers = server
        .issuers
        .iter()
        .filter_map(|name| config.issuers.get(name))
        .map(|issuer| kept.issuers.get_or_start(issuer));
    let issuers =
        issuers.collect::<Result<Vec<_>, _>>().map_err(|error| push(problems, config, server, "issuers", &error));
    let scopes: Vec<Box<str>> = match &server.scopes_advertised {
        Some(scopes) => scopes.iter().map(|scope| scope.as_str().into()).collect(),
        None => loaded.policy.scopes_advertised().to_vec(),
    };
    let backend = backend.ok()?;
    let keys = Keyring::new(seals.clone(), server.name.clone(), backend.origin(), kept.pace.clone());
    let tools = tools(config, server, &mut loaded, problems)?;
    Some(Route {
        name: server.name.clone(),
        path: server.path.as_str().into(),
        sse_path: server.sse_path.as_deref().map(Into::into),
        acceptance: Acceptance::new(server, issuers.ok()?).denying(listed.to_vec()).sharing(shared),
        challenges: Challenges::new(&metadata::location(&server.resource), scopes.iter().map(|scope| &**scope))
            .asking(&server.access)
            .held_by(|scope| loaded.policy.holders(scope)),
        scopes: scopes.into(),
        policy: loaded.policy,
        policy_files: loaded.files.into(),
        policy_version: loaded.version.into(),
        lists: loaded.lists.with(&server.tools, &server.meta, tools.lock()),
        tools,
        catalog: Catalog::default(),
        masks: masks?.keyed(keys),
        meta: server.meta.iter().map(|key| key.as_str().into()).collect(),
        elicitation: server.elicitation.clone(),
        bridging: server.era,
        idle: server.session_idle,
        bridge: kept.bridges.get_or_make(&server.name, backend.place()),
        backend,
        repeatable: server.retries.tools.iter().map(|tool| tool.as_str().into()).collect(),
        credentials: credentials.ok()?,
    })
}

/// The tool rules of a server; `None` if its lock file cannot be used.
fn tools(config: &Config, server: &Server, loaded: &mut policy::Loaded, problems: &mut Problems) -> Option<Tools> {
    let lock = match &server.tools.lock {
        Some(path) => {
            let read = Lock::load(path, &server.name);
            Some(
                read.map_err(|found| found.iter().for_each(|problem| problems.push(of_lock(config, server, problem))))
                    .ok()?,
            )
        }
        None => None,
    };
    if let Some(lock) = &lock {
        loaded.check_lock(lock, problems);
    }
    let host = server.backend.host();
    let descriptions = std::mem::take(&mut loaded.descriptions);
    Some(Tools::new(&server.tools, lock, host, loaded.policy.minds_arguments()).describing(descriptions))
}

/// Moves the problem of an unreadable lock file to the key that names the file, since it has no line to show.
fn of_lock(config: &Config, server: &Server, problem: &Problem) -> Problem {
    if !problem.file.text.is_empty() {
        return problem.clone();
    }
    let (file, span) = (config.source(), config.place(&format!("servers.{}.lock", server.name)));
    Problem { file, span, label: format!("`{}`", problem.file.path.display()), ..problem.clone() }
}

fn push(
    problems: &mut Problems,
    config: &Config,
    server: &Server,
    key: &str,
    error: &(dyn std::error::Error + 'static),
) {
    let key = format!("servers.{}.{key}", server.name);
    let message = format!("{key}: {}", crate::cli::chain(error));
    problems.push(Problem::error(&config.source(), config.place(&key), message, ""));
}

/// A problem with what a key of `proxy.toml` names.
fn at(config: &Config, key: &str, message: String) -> Problem {
    Problem::error(&config.source(), config.place(key), message, "")
}

/// For a name of the listener's own: not for an address, which browsers ignore, nor for this machine, all of whose ports they
/// would then ask by TLS.
fn hsts(listener: &Listener) -> Option<HeaderValue> {
    listener.tls.as_ref()?;
    let Some(Host::Domain(name)) = listener.public_url.host() else { return None };
    if name == "localhost" || name.ends_with(".localhost") {
        return None;
    }
    HeaderValue::try_from(format!("max-age={}", listener.hsts?.as_secs())).ok()
}

fn origins(config: &Config) -> Origins {
    let own = config.server.public_url.origin().ascii_serialization();
    let listed = config.server.allowed_origins.iter().chain(&config.cors.allow_origins).map(String::as_str);
    let loopback = loopback_origins(&config.server);
    std::iter::once(own.as_str()).chain(listed).chain(loopback.iter().map(String::as_str)).collect()
}

fn loopback_origins(listener: &Listener) -> Vec<String> {
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    let loopback = listener.listen.iter().filter(|address| address.ip().is_loopback());
    loopback
        .flat_map(|address| {
            ["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{scheme}://{name}:{}", address.port()))
        })
        .collect()
}
