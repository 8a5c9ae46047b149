//! Reloads the configuration as a whole: on any error the old one stays in force.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

use crate::audit::{Audit, Event};
use crate::auth::Verifier;
use crate::clock::Timestamp;
use crate::config::{self, AuditSink, Config, Problems};
use crate::server::admin::Readiness;
use crate::server::tls::Tls;
use crate::snapshot::{Kept, Live, Snapshot};
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Backend;

/// What a reload needs, and the configuration in force.
#[derive(Debug)]
pub(super) struct Reloader {
    audit: Arc<Audit>,
    kept: Arc<Kept>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    path: Option<PathBuf>,
    readiness: Arc<Readiness>,
    running: Mutex<Config>,
    started: Config,
    tls: Option<Arc<Tls>>,
    verifier: Arc<Verifier>,
}

impl Reloader {
    #[expect(clippy::too_many_arguments, reason = "each outlives a reload and is used by it")]
    pub(super) fn new(
        config: Config,
        path: Option<PathBuf>,
        kept: Arc<Kept>,
        live: Arc<Live>,
        verifier: Arc<Verifier>,
        tls: Option<Arc<Tls>>,
        audit: Arc<Audit>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Arc<Self> {
        let started = config.clone();
        let running = Mutex::new(config);
        let reloader = Self { audit, kept, live, metrics, path, readiness, running, started, tls, verifier };
        reloader.succeeded();
        Arc::new(reloader)
    }

    /// Loads the configuration again, and reopens the audit file, which a log rotation may have renamed.
    pub(super) fn reload(&self) {
        if let Err(error) = self.audit.reopen(Timestamp::now()) {
            tracing::error!(%error, "audit file cannot be reopened, the old one stays in use");
        }
        let Some(path) = &self.path else { return };
        match self.load(path) {
            Ok(warnings) => {
                self.succeeded();
                super::record(&self.audit, Event::ConfigReload);
                logs::problems(&warnings);
                tracing::info!(
                    generation = self.live.generation(),
                    warnings = warnings.iter().count(),
                    "configuration reloaded"
                );
            }
            Err(problems) => {
                self.metrics.set_reload(None);
                self.readiness.set_reload(Some(Timestamp::now()));
                logs::problems(&problems);
                tracing::error!("configuration not reloaded, the old one stays in force");
            }
        }
    }

    fn load(&self, path: &Path) -> Result<Problems, Problems> {
        let (mut config, mut warnings) = config::load(path)?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        super::restart::warn(&self.started, &config);
        config.server.listen.clone_from(&running.server.listen);
        let built = Snapshot::build(&config, &self.kept, self.live.generation() + 1);
        let built = built.and_then(|built| super::load_tls(&config).map(|newer| (built, newer)));
        // Issuers, brokers and backends that were started for the rejected configuration are stopped.
        let ((snapshot, more), newer) = built.inspect_err(|_| self.keep(&self.live.current()))?;
        warnings.append(more);
        if let (Some(tls), Some(newer)) = (&self.tls, &newer) {
            tls.replace(newer);
        }
        self.keep(&snapshot);
        self.live.swap(snapshot);
        // INVARIANT: after the swap, so that no verdict of the old snapshot is found under the new epoch.
        self.verifier.advance();
        *running = config;
        Ok(warnings)
    }

    /// Stops issuers, brokers and backends that `snapshot` does not use.
    fn keep(&self, snapshot: &Snapshot) {
        self.kept.issuers.retain(&snapshot.issuers(), &snapshot.receivers());
        self.kept.grants.retain(&snapshot.brokers());
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

    pub(super) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) const fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// The files whose change causes a reload.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let policies = running.servers.values().flat_map(|server| running.policy_files(server));
        let tls = running.server.tls.iter().flat_map(config::Tls::files);
        let locks = running.servers.values().filter_map(|server| server.tools.lock.clone());
        let revoked = running.issuers.values().filter_map(|issuer| issuer.revocation_file.clone());
        let sealing = running.sealing.keys.iter().map(|key| key.file.clone());
        let beside = policies.chain(locks).chain(tls).chain(revoked).chain(sealing).chain(running.credential_files());
        self.path.iter().cloned().chain(beside).collect()
    }

    /// The file name of the audit log, if it is a file.
    pub(super) fn audit_file(&self) -> Option<OsString> {
        match &self.started.audit.sink {
            AuditSink::File(path) => path.file_name().map(ToOwned::to_owned),
            AuditSink::Stdout => None,
        }
    }

    /// SHA-256 over the files' present contents; an unreadable file counts as empty.
    pub(super) fn digest(&self) -> Vec<u8> {
        let mut hash = digest::Context::new(&digest::SHA256);
        for file in self.files() {
            let bytes = std::fs::read(&file).unwrap_or_default();
            hash.update(&bytes.len().to_le_bytes());
            hash.update(&bytes);
        }
        hash.finish().as_ref().to_vec()
    }
}
