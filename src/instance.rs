//! One running proxy: listeners, worker threads, background tasks, and the reload that replaces its configuration.

mod admin;
mod changes;
mod files;
mod gauges;
mod reload;
mod restart;
mod retention;
mod state;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::audit::{self, Audit, By, Event, Lane, Record};
use crate::auth::{Epoch, Issuers, Memo, Verifier};
use crate::clock::Timestamp;
use crate::config::{Config, Problems, Severity};
use crate::mask;
use crate::proxy::{self, Worker};
use crate::seal::Seals;
use crate::server::admin::{Readiness, Socket};
use crate::server::drain::{self, Drain, GOODBYE, Signal, Summary, Times};
use crate::server::supervisor::{self, Pulse, Pulses};
use crate::server::tls::Tls;
use crate::server::{self, Bound};
use crate::snapshot::{Kept, Live, Snapshot};
use crate::state::{State, Stores};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Tracer;
use crate::trail::Sinks;
use crate::upstream::{Backends, Grants, Pool};

use admin::{Doors, Served};
use files::Contents;
use reload::Reloader;

/// How often a worker writes summaries of counted failures and frees unused connections.
const TICK: Duration = Duration::from_secs(1);

/// How often a process that is not ready yet looks whether it is.
const READY: Duration = Duration::from_millis(100);

/// A proxy that serves until its [`Drain`] is over.
#[derive(Debug)]
pub struct Instance {
    addresses: Vec<SocketAddr>,
    admin: Option<Served>,
    audit: Arc<Audit>,
    backends: Arc<Backends>,
    drain: Drain,
    issuers: Arc<Issuers>,
    live: Arc<Live>,
    readiness: Arc<Readiness>,
    reloader: Arc<Reloader>,
    times: Times,
    tracer: Option<Arc<Tracer>>,
}

/// Why a proxy did not start.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error("cannot listen on admin address {address}")]
    Admin { address: SocketAddr, source: std::io::Error },
    #[error("cannot listen on admin socket `{}`", path.display())]
    AdminSocket { path: PathBuf, source: std::io::Error },
    #[error("cannot open the audit log {sink}")]
    Audit { sink: String, source: std::io::Error },
    #[error("the configuration cannot be used")]
    Config(Problems),
    #[error("no random bytes")]
    Random,
    #[error(transparent)]
    Server(#[from] server::ServerError),
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("cannot send traces")]
    Traces(#[source] reqwest::Error),
}

impl Instance {
    /// Starts serving `config` on sockets that are already bound; background work runs on `background`. Returns the warnings
    /// about the configuration. Errs if the configuration cannot be used, or something of the system is missing.
    ///
    /// `path` is the file to read again on a reload; without one, nothing is reloaded.
    pub async fn start(
        mut config: Config,
        path: Option<PathBuf>,
        bound: Bound,
        background: &Handle,
        drain: Drain,
    ) -> Result<(Self, Problems), StartError> {
        config.server.listen = bound.addresses().to_vec();
        let verifier = Arc::new(Verifier::new());
        let audit = Audit::open(&config.audit, &instance_name(), |text| mask::sanitize(text).into())
            .map_err(|source| unrecorded(&config, source))?;
        let random_seals = Arc::new(Seals::random().map_err(|_| StartError::Random)?);
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), option_env!("PORTCULLIS_COMMIT").unwrap_or("")));
        let epoch = verifier.shared_epoch();
        let stores = Arc::new(Stores::new(background.clone(), metrics.clone(), epoch.clone()));
        let issuers = issuers(background, (epoch, &audit, &stores));
        let grants = Arc::new(Grants::new(background.clone(), metrics.clone(), epoch.clone()));
        let backends: Arc<Backends> = Arc::default();
        let kept = Arc::new(Kept {
            issuers: issuers.clone(),
            backends: backends.clone(),
            grants,
            random_seals,
            pace: Arc::default(),
            limits: Arc::default(),
            stores,
            bridges: Arc::default(),
        });
        let built = files::steady(|seen| {
            *seen = Contents::of(path.as_deref(), &config);
            let (snapshot, warnings) = Snapshot::build(&config, &kept, 1)?;
            Ok((snapshot, warnings, load_tls(&config)?.map(Arc::new)))
        });
        let (built, loaded) = built.map_err(|file| StartError::Config(files::unsteady(file)))?;
        let (snapshot, warnings, tls) = built.map_err(StartError::Config)?;
        let counted = drain.clone();
        metrics.set_active_requests(move || counted.active());
        let live = Arc::new(Live::new(snapshot));
        let readiness = readiness(&issuers, &audit, &live);
        let doors = Doors::open(config.admin.as_ref()).await?;
        let wanted = config.telemetry.traces.as_ref();
        let tracer = wanted.map(|wanted| Tracer::start(wanted, &instance_name(), &metrics, background));
        let tracer = tracer.transpose().map_err(StartError::Traces)?;
        let workers = Workers {
            audit: audit.clone(),
            drain: drain.clone(),
            live: live.clone(),
            metrics: metrics.clone(),
            pulses: readiness.pulses().clone(),
            state: Arc::default(),
            tracer: tracer.clone(),
            verifier: verifier.clone(),
        };
        let (addresses, gate) = (bound.addresses().to_vec(), bound.gate());
        bound.serve(tls.as_ref(), &drain, move |_| {
            let worker = workers.worker();
            move |peer, request| proxy::handle(worker.clone(), peer, request)
        })?;
        readiness.set_listening(addresses.len());
        let times = Times { delay: config.server.drain_delay, timeout: config.server.drain_timeout };
        let reloader = Reloader::new(
            config,
            (path, loaded),
            kept,
            live.clone(),
            verifier,
            (tls, gate),
            audit.clone(),
            metrics.clone(),
            readiness.clone(),
        );
        let admin = doors.map(|doors| doors.serve((metrics, readiness.clone()), &reloader, &drain));
        audit::configured(&audit, By::Start, &changes::first(&live.current()), None);
        Ok((
            Self { addresses, admin, audit, backends, drain, issuers, live, readiness, reloader, times, tracer },
            warnings,
        ))
    }

    /// The addresses it listens on, with the chosen port in place of port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the admin listener, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|served| served.address)
    }

    /// The path of the admin socket, if there is one.
    pub fn admin_socket(&self) -> Option<&Path> {
        self.admin.as_ref()?.socket.as_ref().map(Socket::path)
    }

    /// Waits until the keys of every issuer have been fetched once, or could not be.
    pub async fn settled(&self) {
        for issuer in self.issuers.all() {
            issuer.settled().await;
        }
    }

    /// Logs that the process is ready, once it is; never returns.
    async fn tell_ready(&self) {
        self.settled().await;
        while !self.readiness.is_ready() {
            tokio::time::sleep(READY).await;
        }
        tracing::info!("ready");
        std::future::pending::<()>().await;
    }

    /// Serves until a signal ends it; SIGHUP and changed files cause a reload.
    pub async fn run(&self, signals: &mut mpsc::Receiver<Signal>) -> Summary {
        let reloader = self.reloader.clone();
        let current = self.live.current();
        changes::tell(&changes::first(&current), &current);
        supervisor::ready(&self.readiness);
        let supervised =
            drain::supervise(signals, &self.drain, &self.readiness, self.times, || drop(reloader.reload(By::Signal)));
        let summary = tokio::select! {
            summary = supervised => summary,
            () = watch::watch(&self.reloader) => unreachable_end(),
            () = self.reloader.forget_revoked() => unreachable_end(),
            () = self.tell_ready() => unreachable_end(),
            () = supervisor::keep(&self.readiness) => unreachable_end(),
            () = admin::try_upstreams(&self.reloader, &self.readiness) => unreachable_end(),
            () = gauges::keep(&self.reloader, &self.issuers, &self.audit) => unreachable_end(),
            () = retention::keep(&self.audit) => unreachable_end(),
        };
        if !summary.forced {
            // No call runs any more: sessions kept for later calls are ended, as far as upstreams answer in time.
            let _ = timeout(GOODBYE, self.live.current().end_sessions(&Pool::new())).await;
        }
        self.backends.shut_down().await;
        if let Some(tracer) = &self.tracer {
            tracer.finish(GOODBYE).await;
        }
        if let Some(Served { socket: Some(socket), .. }) = &self.admin {
            socket.remove();
        }
        record_stop(&self.audit);
        self.audit.end(Timestamp::now());
        summary
    }
}

/// The error for an audit log that cannot be opened: a problem in `proxy.toml` if the operator can fix it there.
fn unrecorded(config: &Config, source: std::io::Error) -> StartError {
    match audit::probe::problem(config).filter(|problem| problem.severity == Severity::Error) {
        Some(problem) => StartError::Config([problem].into_iter().collect()),
        None => StartError::Audit { sink: config.audit.sink.to_string(), source },
    }
}

/// Reads the files of `server.tls`. Errs if they cannot be used.
fn load_tls(config: &Config) -> Result<Option<Tls>, Problems> {
    let Some(files) = &config.server.tls else { return Ok(None) };
    Tls::load(files).map(Some).map_err(|error| [error.problem(config, files)].into_iter().collect())
}

/// Records the end of the process. A failure is only logged: calls are refused for the same reason.
fn record_stop(audit: &Arc<Audit>) {
    let record = Record::new(Event::Stop, Timestamp::now(), uuid::Uuid::now_v7());
    if Lane::new(audit.clone()).record_now(&record).is_err() {
        tracing::error!("audit log cannot be written");
    }
}

/// The result type of background work that never ends.
fn unreachable_end() -> Summary {
    Summary { calls: 0, elapsed: Duration::ZERO, forced: true, streams: 0 }
}

/// What each worker thread's state is built from.
#[derive(Clone)]
struct Workers {
    audit: Arc<Audit>,
    drain: Drain,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    pulses: Arc<Pulses>,
    state: Arc<State>,
    tracer: Option<Arc<Tracer>>,
    verifier: Arc<Verifier>,
}

impl Workers {
    /// The state of one worker; must be called on its thread, within its runtime.
    fn worker(&self) -> Arc<Worker> {
        let lane = Lane::new(self.audit.clone());
        let worker = Arc::new(Worker {
            live: self.live.clone(),
            verifier: self.verifier.clone(),
            memo: Memo::default(),
            pool: Pool::new(),
            sinks: Sinks::traced(lane, self.metrics.clone(), self.drain.clone(), self.tracer.clone()),
            state: self.state.clone(),
        });
        tick(worker.clone(), self.drain.clone(), self.pulses.enrol());
        worker
    }
}

/// Every issuer, with whether it is ready: it has had keys, or is not waited for.
fn keys(issuers: &Issuers) -> Vec<(Arc<str>, bool)> {
    let all = issuers.all().into_iter();
    all.map(|issuer| (issuer.name().clone(), issuer.is_ready())).collect()
}

/// No issuers yet.
fn issuers(background: &Handle, (epoch, audit, stores): (&Epoch, &Arc<Audit>, &Arc<Stores>)) -> Arc<Issuers> {
    let issuers = Issuers::new(background.clone(), epoch.clone()).recorded(audit.clone());
    Arc::new(issuers.sharing(stores.clone()))
}

/// What says whether the process is ready, and what else there is to know.
fn readiness(issuers: &Arc<Issuers>, audit: &Arc<Audit>, live: &Arc<Live>) -> Arc<Readiness> {
    let (issuers, audit, live) = (issuers.clone(), audit.clone(), live.clone());
    let readiness = Readiness::new(move || keys(&issuers));
    readiness.set_audit(move || audit.trouble());
    readiness.set_state(move || state::describe(live.current().shared.as_deref()));
    Arc::new(readiness)
}

/// Starts the periodic housekeeping of one worker, which lasts until the process ends.
#[expect(clippy::disallowed_methods, reason = "ends with the worker's runtime")]
fn tick(worker: Arc<Worker>, drain: Drain, pulse: Arc<Pulse>) {
    tokio::spawn(async move {
        let mut generation = worker.live.generation();
        let (mut hits, mut misses) = (0, 0);
        loop {
            let ended = tokio::time::timeout(TICK, drain.ending().cancelled()).await.is_ok();
            pulse.beat();
            let now = Timestamp::now();
            worker.sinks.lane.flush(now);
            worker.sinks.lane.audit().tend(now);
            worker.verifier.tend(now);
            let counts = worker.memo.counts();
            let cache = worker.sinks.metrics.token_cache();
            cache.hit.inc_by(counts.hits - hits);
            cache.miss.inc_by(counts.misses - misses);
            (hits, misses) = (counts.hits, counts.misses);
            if generation != worker.live.generation() {
                generation = worker.live.generation();
                worker.pool.retain(&worker.live.current().upstreams());
            }
            if ended {
                return;
            }
        }
    });
}

/// `host/pid`: how records name the process that wrote them.
fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}
