//! Reloads the configuration as a whole: on any error the old one stays in force.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::changes;
use super::files::{self, Contents};
use crate::audit::{self, Audit, By, Changes};
use crate::auth::Verifier;
use crate::clock::Timestamp;
use crate::config::{self, AuditSink, Config, Problems, Severity};
use crate::server::Gate;
use crate::server::admin::Readiness;
use crate::server::supervisor;
use crate::server::tls::Tls;
use crate::snapshot::{Kept, Live, Snapshot};
use crate::state::Standing;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Backend;

/// What a reload did.
#[derive(Debug)]
pub(super) struct Reloaded {
    pub(super) changes: Changes,
    pub(super) generation: u64,
    /// Keys whose change needs a restart.
    pub(super) restarts: Vec<&'static str>,
    pub(super) warnings: Problems,
}

/// What a reload needs, and the configuration in force.
#[derive(Debug)]
pub(super) struct Reloader {
    audit: Arc<Audit>,
    kept: Arc<Kept>,
    live: Arc<Live>,
    loaded: Contents,
    metrics: Arc<Metrics>,
    path: Option<PathBuf>,
    readiness: Arc<Readiness>,
    running: Mutex<Config>,
    started: Config,
    tls: Option<Arc<Tls>>,
    gate: Gate,
    verifier: Arc<Verifier>,
}

impl Reloader {
    #[expect(clippy::too_many_arguments, reason = "each outlives a reload and is used by it")]
    pub(super) fn new(
        config: Config,
        (path, loaded): (Option<PathBuf>, Contents),
        kept: Arc<Kept>,
        live: Arc<Live>,
        verifier: Arc<Verifier>,
        (tls, gate): (Option<Arc<Tls>>, Gate),
        audit: Arc<Audit>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Arc<Self> {
        let started = config.clone();
        let running = Mutex::new(config);
        let reloader =
            Self { audit, kept, live, loaded, metrics, path, readiness, running, started, tls, gate, verifier };
        reloader.succeeded();
        Arc::new(reloader)
    }

    /// Loads the configuration again, and reopens the audit file, which a log rotation may have renamed. Errs with what is wrong
    /// if the configuration before stays in force.
    pub(super) fn reload(&self, by: By) -> Result<Reloaded, Problems> {
        supervisor::reloading();
        let reloaded = self.read_again(by);
        supervisor::ready(&self.readiness);
        reloaded
    }

    fn read_again(&self, by: By) -> Result<Reloaded, Problems> {
        if let Err(error) = self.audit.reopen(Timestamp::now()) {
            tracing::error!(%error, "audit file cannot be reopened, the old one stays in use");
        }
        audit::subjects::read_again(&self.audit);
        let loaded = match &self.path {
            Some(path) => self.load(path),
            None => Ok(self.unchanged()),
        };
        match &loaded {
            Ok(Reloaded { changes, generation, warnings, .. }) => {
                self.succeeded();
                audit::configured(&self.audit, by, changes, None);
                logs::problems(warnings);
                changes::tell(changes, &self.live.current());
                tracing::info!(
                    generation,
                    warnings = warnings.iter().count(),
                    changes = changes.count(),
                    "configuration reloaded"
                );
            }
            Err(problems) => {
                self.metrics.set_reload(None);
                self.readiness.set_reload(Some(Timestamp::now()));
                audit::configured(&self.audit, by, &changes::none(&self.live.current()), Some(&reason(problems)));
                logs::problems(problems);
                tracing::error!("configuration not reloaded, the old one stays in force");
            }
        }
        loaded
    }

    /// What is reloaded where there is no file.
    fn unchanged(&self) -> Reloaded {
        let changes = changes::none(&self.live.current());
        Reloaded { changes, generation: self.live.generation(), restarts: Vec::new(), warnings: Problems::new() }
    }

    fn load(&self, path: &Path) -> Result<Reloaded, Problems> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let read = files::steady(|seen| {
            seen.look([path.to_owned()]);
            let (mut config, mut warnings) = config::load(path)?;
            seen.look(files::beside(&config));
            config.server.listen.clone_from(&running.server.listen);
            let (snapshot, more) = Snapshot::build(&config, &self.kept, self.live.generation() + 1)?;
            let tls = super::load_tls(&config)?;
            warnings.append(more);
            Ok((config, snapshot, tls, warnings))
        });
        let read = read.map_err(files::unsteady).and_then(|(read, _)| read);
        // Issuers, brokers and backends that were started for what was read and not used are stopped.
        let (config, snapshot, tls, warnings) = read.inspect_err(|_| self.keep(&self.live.current()))?;
        let restarts = super::restart::warn(&self.started, &config);
        if let (Some(tls), Some(newer)) = (&self.tls, &tls) {
            tls.replace(newer);
        }
        self.gate.trust(&config.server.proxies);
        let changes = changes::between((&running, &self.live.current()), (&config, &snapshot));
        self.keep(&snapshot);
        self.live.swap(snapshot);
        // INVARIANT: after the swap, so that no verdict of the old snapshot is found under the new epoch.
        self.verifier.advance();
        *running = config;
        Ok(Reloaded { changes, generation: self.live.generation(), restarts, warnings })
    }

    /// Stops issuers, brokers and backends that `snapshot` does not use.
    fn keep(&self, snapshot: &Snapshot) {
        self.kept.issuers.retain(&snapshot.issuers(), &snapshot.receivers());
        self.kept.grants.retain(&snapshot.brokers());
        self.kept.stores.retain(snapshot.shared.as_ref());
        let backends: Vec<_> = snapshot.backends().into_iter().map(|(_, backend)| backend).collect();
        self.kept.backends.retain(&backends);
    }

    /// Drops upstream tokens obtained for a caller's token whenever some may have been revoked; never returns.
    pub(super) async fn forget_revoked(&self) {
        loop {
            let moved = self.verifier.shared_epoch().end();
            self.live.current().forget_revoked().await;
            moved.await;
        }
    }

    /// What is in force, as JSON: the configuration without secrets, and the versions of its policies.
    pub(super) fn shown(&self) -> String {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.live.current();
        let policies = current.servers().map(|route| (route.name.to_string(), json!(route.policy_version)));
        let shown = json!({
            "schema_version": 1,
            "generation": self.live.generation(),
            "file": self.path,
            "version": current.version(),
            "policies": policies.collect::<serde_json::Map<_, _>>(),
            "listen": running.server.listen,
            "config": running.shown(),
        });
        format!("{shown:#}\n")
    }

    fn succeeded(&self) {
        let version = self.live.current().version();
        self.metrics.set_reload(Some((&version, Timestamp::now())));
        self.readiness.set_configured(&version);
        self.readiness.set_reload(None);
    }

    /// The backend of each server, in the current configuration.
    pub(super) fn backends(&self) -> Vec<(Arc<str>, Arc<Backend>)> {
        self.live.current().backends()
    }

    /// Whether the shared store is connected, if there is one.
    pub(super) fn store_is_up(&self) -> Option<bool> {
        Some(self.live.current().shared.as_ref()?.standing() == Standing::Up)
    }

    pub(super) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) const fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    pub(super) const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The files whose change causes a reload, as they were read at the start.
    pub(super) fn loaded(&self) -> Contents {
        self.loaded.clone()
    }

    /// The same files as they are now, and others that the current configuration names.
    pub(super) fn contents(&self) -> Contents {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        Contents::of(self.path.as_deref(), &running)
    }

    /// The file name of the audit log, if it is a file.
    pub(super) fn audit_file(&self) -> Option<OsString> {
        match &self.started.audit.sink {
            AuditSink::File(path) => path.file_name().map(ToOwned::to_owned),
            AuditSink::Stdout => None,
        }
    }
}

/// The first error, for the audit; the log has all.
fn reason(problems: &Problems) -> String {
    let Some(problem) = problems.iter().find(|problem| problem.severity == Severity::Error) else {
        return "unknown".to_owned();
    };
    let (line, _) = problem.file.position(problem.span.start);
    format!("{}:{line}: {}", problem.file.path.display(), problem.message)
}
