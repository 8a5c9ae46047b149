//! The admin endpoints of one process: where they are, and what they do to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpListener, UnixListener};

use super::StartError;
use super::reload::{Reloaded, Reloader};
use crate::audit::By;
use crate::config;
use crate::server::admin::{self, Admin, Control, Readiness, Socket};
use crate::server::drain::Drain;
use crate::telemetry::metrics::Metrics;

/// How often upstreams are tried, where readiness depends on them.
const TRY: Duration = Duration::from_secs(5);

/// The doors of the admin endpoints, open but with nobody behind them yet.
#[derive(Debug)]
pub(super) struct Doors {
    address: SocketAddr,
    listener: TcpListener,
    socket: Option<(Socket, UnixListener)>,
    wanted: config::Admin,
}

/// Where the admin endpoints are.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) socket: Option<Socket>,
}

impl Doors {
    /// Binds what `[admin]` names, if there is one. Errs if it is taken.
    pub(super) async fn open(wanted: Option<&config::Admin>) -> Result<Option<Self>, StartError> {
        let Some(wanted) = wanted.cloned() else { return Ok(None) };
        let failed = |source| StartError::Admin { address: wanted.listen, source };
        let listener = TcpListener::bind(wanted.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let socket = wanted
            .socket
            .as_ref()
            .map(|path| Socket::bind(path).map_err(|source| StartError::AdminSocket { path: path.clone(), source }));
        Ok(Some(Self { address, listener, socket: socket.transpose()?, wanted }))
    }

    /// Serves both until `drain` is over.
    #[expect(clippy::disallowed_methods, reason = "ends with the drain it is given")]
    pub(super) fn serve(
        self,
        (metrics, readiness): (Arc<Metrics>, Arc<Readiness>),
        reloader: &Arc<Reloader>,
        drain: &Drain,
    ) -> Served {
        if self.wanted.ready_upstreams {
            readiness.require_upstreams();
        }
        let (reloader, shown) = (Arc::clone(reloader), Arc::clone(reloader));
        let config = move || shown.shown();
        let reload = move || match reloader.reload(By::Admin) {
            Ok(done) => Ok(told(&done)),
            Err(problems) => Err(format!(
                "{}\n\nnot reloaded: the configuration before stays in force\n",
                problems.render(false).trim_end()
            )),
        };
        let control = Control {
            config: Box::new(config),
            drain: drain.clone(),
            reload: Box::new(reload),
            token: self.wanted.token,
        };
        let admin = Arc::new(Admin { hosts: Vec::new(), metrics, readiness, control });
        let (shared, until) = (Arc::clone(&admin), drain.clone());
        let listener = self.listener;
        tokio::spawn(async move { admin::serve(listener, shared, &until).await });
        let socket = self.socket.map(|(socket, listener)| {
            let until = drain.clone();
            tokio::spawn(async move { admin::serve_socket(listener, admin, &until).await });
            socket
        });
        Served { address: self.address, socket }
    }
}

/// What a reload has changed, a line each.
fn told(Reloaded { changes, generation, restarts, warnings }: &Reloaded) -> String {
    let mut lines = Vec::new();
    for (names, change) in [(&changes.added, "added"), (&changes.changed, "changed"), (&changes.removed, "removed")] {
        lines.extend(names.iter().map(|name| format!("{change}: {name}")));
    }
    for versions in changes.servers.iter().filter(|versions| versions.old != versions.new) {
        let [old, new] = [&versions.old, &versions.new].map(|version| version.as_deref().unwrap_or("none"));
        lines.push(format!("policy of {}: {old} -> {new}", versions.server));
    }
    if lines.is_empty() {
        lines.push("nothing has changed".to_owned());
    }
    lines.extend(restarts.iter().map(|key| format!("needs a restart: {key}")));
    if !warnings.is_empty() {
        lines.push(format!("\n{}\n", warnings.render(false).trim_end()));
    }
    lines.push(format!("reloaded: generation {generation}\n"));
    lines.join("\n")
}

/// Tries all upstreams at intervals, if readiness depends on them; never returns.
pub(super) async fn try_upstreams(reloader: &Reloader, readiness: &Readiness) {
    if !readiness.requires_upstreams() {
        return std::future::pending().await;
    }
    loop {
        let tried = reloader.backends().into_iter().map(|(server, backend)| async move {
            let reached = backend.reach().await;
            (server, reached.inspect_err(|error| tracing::debug!(%error, "upstream not reached")).is_ok())
        });
        readiness.set_upstreams(join_all(tried).await);
        tokio::time::sleep(TRY).await;
    }
}
