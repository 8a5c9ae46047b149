//! Updates metrics that change without a request.

use std::sync::Arc;
use std::time::Duration;

use super::reload::Reloader;
use crate::audit::{Audit, Counts};
use crate::auth::Issuers;
use crate::telemetry::metrics::Endpoint;
use crate::upstream::Phase;

const PAUSE: Duration = Duration::from_secs(1);
/// The name of the only audit sink.
const SINK: &str = "main";

/// Updates them once a second; never returns.
pub(super) async fn keep(reloader: &Reloader, issuers: &Issuers, audit: &Audit) {
    let metrics = reloader.metrics();
    let written = metrics.audit_events(SINK, "written");
    let unwritten = metrics.audit_events(SINK, "failed");
    let suppressed = metrics.audit_events(SINK, "summarised");
    let dropped = metrics.audit_dropped(SINK);
    let rotated = metrics.audit_files(SINK, "rotated");
    let deleted = metrics.audit_files(SINK, "deleted");
    let newest = metrics.audit_sequence(SINK);
    let queue = metrics.audit_queue(SINK);
    let tls: Arc<str> = "server".into();
    let mut told = Counts::default();
    let mut before = Vec::new();
    loop {
        for issuer in issuers.all() {
            let status = issuer.status();
            metrics.set_jwks(issuer.name(), status.keys, status.last_success, [status.succeeded, status.failed]);
            let revocations = issuer.revocations();
            metrics.set_revocations(issuer.name(), revocations.len(), &revocations.signals());
        }
        if let Some(certificate) = reloader.tls() {
            metrics.set_certificate_expiry(&tls, certificate.expires());
        }
        metrics.set_state_up(reloader.store_is_up());
        metrics.set_connections(reloader.gate().open(), &reloader.gate().refused());
        let now = endpoints(reloader);
        metrics.set_endpoints(&now, &before);
        before = now;
        for (server, backend) in reloader.backends() {
            backend.tidy();
            if let Some(processes) = backend.processes() {
                metrics.set_processes(&server, processes);
            }
            for (reason, count) in backend.losses() {
                metrics.count_dropped(&server, reason, count);
            }
        }
        queue.set(i64::try_from(audit.waiting()).unwrap_or(i64::MAX));
        let counts = audit.counts();
        written.inc_by(counts.written - told.written);
        unwritten.inc_by(counts.unwritten - told.unwritten);
        suppressed.inc_by(counts.suppressed - told.suppressed);
        dropped.inc_by(counts.dropped - told.dropped);
        rotated.inc_by(counts.rotated - told.rotated);
        deleted.inc_by(counts.deleted - told.deleted);
        told = counts;
        newest.set(i64::try_from(audit.sequence()).unwrap_or(i64::MAX));
        tokio::time::sleep(PAUSE).await;
    }
}

fn endpoints(reloader: &Reloader) -> Vec<Endpoint> {
    let mut all = Vec::new();
    for (server, backend) in reloader.backends() {
        all.extend(backend.health().into_iter().map(|health| Endpoint {
            server: server.clone(),
            origin: health.origin,
            in_flight: health.in_flight,
            waiting: health.waiting,
            breaker: match health.phase {
                Phase::Closed => 0,
                Phase::HalfOpen => 1,
                Phase::Open => 2,
            },
        }));
    }
    all
}
